"""How the certificates of a cloud's services are checked, and what Atoll shows of its own there."""

import functools
import ssl
from dataclasses import dataclass
from pathlib import Path


class CertificatesError(Exception):
    """A file of certificates or a key cannot be used; says which and why, without what is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """What is said of one cloud, as requests and clouds.yaml have it. Paths are of this machine.

    `cacert`: a file (PEM) or directory of authorities in the place of the machine's. `cert` and `key`: what
    Atoll shows; the key may be in the file of the certificate.
    """

    verify: bool = True
    cacert: str = ""
    cert: str = ""
    key: str = ""


def context_of(said: Certificates) -> ssl.SSLContext:
    """What connections are made with. Raises CertificatesError."""
    if said == Certificates():
        return machines()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if said.verify and not said.cacert:
        context.load_default_certs()
    if said.cacert:
        _load_authorities(context, said.cacert)
    if not said.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if said.cert:
        _load_own(context, said)
    return context


@functools.cache
def machines() -> ssl.SSLContext:
    """The machine's certificates; loading them takes 30 ms, so all who want nothing else share them."""
    return ssl.create_default_context()


def nobody() -> ssl.SSLContext:
    """What trusts no certificate at all, for where it cannot be known which are good."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    directory = Path(path).is_dir()
    try:
        context.load_verify_locations(None if directory else path, path if directory else None)
    except ssl.SSLError as error:
        raise CertificatesError(f"{path} (cacert) holds no certificates in PEM") from error
    except OSError as error:
        raise CertificatesError(f"{path} (cacert) cannot be read: {error.strerror}") from error


def _load_own(context: ssl.SSLContext, said: Certificates) -> None:
    files = " and ".join(filter(None, (said.cert, said.key)))
    try:
        context.load_cert_chain(said.cert, said.key or None, password=_no_password)
    except ssl.SSLError as error:
        raise CertificatesError(f"{files} (cert, key) are no certificate with its key in PEM") from error
    except OSError as error:
        raise CertificatesError(f"{files} (cert, key) cannot be read: {error.strerror}") from error


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal.
    raise CertificatesError("the key of its client certificate (key) has a password: give it without one")
