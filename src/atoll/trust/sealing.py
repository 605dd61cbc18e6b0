"""Encryption of what is secret in records: Fernet, under keys that are files or environment variables.

The newest key seals; older ones still open. A record says by a fingerprint under which key it is.
"""

import base64
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

KEY_BYTES: Final = 32
_OTHERS: Final = 0o077


class SecretsError(Exception):
    """A key cannot be used, or is not there for what is sealed; says what to do. Never shows a key."""


def new_key() -> str:
    """A new key, as text of one line."""
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


def fingerprint(key: str) -> str:
    """What tells keys apart without showing them."""
    return hashlib.sha256(b"atoll key " + key.encode()).hexdigest()[:8]


def read_key(reference: str, env: Mapping[str, str]) -> str:
    """The key that `file:/path` or `env:NAME` stands for. Raises SecretsError."""
    form, _, name = reference.partition(":")
    if form == "env":
        text = env.get(name, "")
        if not text:
            raise SecretsError(f"secrets.key: the environment variable {name} is not set")
    elif form == "file":
        text = _file(Path(name))
    else:
        raise SecretsError("secrets.key: a key is given as file:/path or env:NAME, never itself")
    key = text.strip()
    try:
        right = len(base64.urlsafe_b64decode(key)) == KEY_BYTES
    except ValueError:
        right = False
    if not right:
        raise SecretsError(f"secrets.key: {reference} holds no key: `atoll secrets new-key` makes one")
    return key


def _file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & _OTHERS or not stat.S_ISREG(status.st_mode):
                raise SecretsError(f"secrets.key: {path} can be read or changed by others: chmod 600 it")
            if status.st_uid not in {0, os.geteuid()}:
                raise SecretsError(f"secrets.key: {path} belongs to another user: chown it to Atoll's")
            return file.read(4096)
    except FileNotFoundError as error:
        raise SecretsError(
            f"secrets.key: there is no file {path}: `atoll secrets new-key --file {path}` makes one"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise SecretsError(f"secrets.key: {path} cannot be read ({reason})") from error


class Sealer:
    """Seals and opens. Keys come newest first; without any it can do neither."""

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys = {fingerprint(key): key for key in keys}

    def __repr__(self) -> str:
        """Which keys it has, not the keys."""
        return f"<Sealer {' '.join(self._keys)}>"

    def has(self, under: str) -> bool:
        """Whether it has the key of a fingerprint."""
        return under in self._keys

    @property
    def newest(self) -> str:
        """The fingerprint of the key that seals. Raises SecretsError."""
        if not self._keys:
            raise SecretsError(
                "there is no key to keep credentials under: make one with `atoll secrets new-key --file "
                'PATH` and name it in the configuration: [secrets] key = "file:PATH"'
            )
        return next(iter(self._keys))

    def seal(self, value: Mapping[str, Any]) -> tuple[str, str]:
        """(text, fingerprint of the key it is under). Raises SecretsError."""
        from cryptography.fernet import Fernet  # noqa: PLC0415 - not needed where there is no credential

        under = self.newest
        return Fernet(self._keys[under]).encrypt(msgspec.json.encode(value)).decode(), under

    def open(self, text: str, under: str) -> dict[str, Any]:
        """What was sealed. Raises SecretsError where the key is not there or is another."""
        from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415

        key = self._keys.get(under)
        if key is None:
            raise SecretsError(_no_key({under}))
        try:
            opened: dict[str, Any] = msgspec.json.decode(Fernet(key).decrypt(text.encode()))
        except InvalidToken as error:
            raise SecretsError(f"what is kept under the key {under} was changed or is not whole") from error
        return opened

    def check(self, unders: Iterable[str]) -> None:
        """Make sure of the keys for all that is sealed. Raises SecretsError naming what to do."""
        wanted = set(unders)
        if wanted and not self._keys:
            raise SecretsError(
                f"{_no_key(wanted)}. There is no key in the configuration: name the file it is in, "
                '[secrets] key = "file:PATH"'
            )
        if missing := wanted - self._keys.keys():
            raise SecretsError(_no_key(missing))


def _no_key(missing: Iterable[str]) -> str:
    return (
        f"credentials are kept under a key that is not there (fingerprint {', '.join(sorted(missing))}): "
        "name it in [secrets] key beside the newer ones, or remove these credentials with "
        "`atoll secrets forget`"
    )
