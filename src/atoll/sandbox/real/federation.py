"""Make one Keystone trust another's word: Keystone to Keystone, by SAML, with Apache and mod_shib between.

The first signs assertions of its own users (the identity provider). Before the second stands an Apache that
lets one path through to those only whose assertion Shibboleth's daemon has verified (the service provider).
Nothing of the system's own Apache and Shibboleth is used but their programs.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atoll.sandbox.real.api import Cloud, Refused
from atoll.sandbox.real.catalog import Identity
from atoll.sandbox.real.commands import Argument, find, run
from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import DATA, install_packages
from atoll.sandbox.real.keystone import FEDERATION, manage, serve_keystone
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Keystone
from atoll.sandbox.real.older import PREFIX
from atoll.sandbox.real.ports import answers
from atoll.sandbox.real.processes import Processes, Service

PACKAGES: Final = {
    "apache2": "apache2",
    "shibd": "libapache2-mod-shib",
    "xmlsec1": "xmlsec1",
    "openssl": "openssl",
}
MODULES: Final = Path("/usr/lib/apache2/modules")
IDENTITY_PROVIDER: Final = "atoll"  # the first Keystone, as the second calls it
SERVICE_PROVIDER: Final = "older"  # the second, as the first calls it
PROTOCOL: Final = "saml2"
WEB_USER: Final = "www-data"
CERTIFICATE_DAYS: Final = 3650
_TEMPLATES: Final = ("apache.conf", "shibboleth2.xml", "attribute-map.xml", "shibd.logger", "native.logger")


@dataclass(frozen=True)
class Admitted:
    """Who comes from `project` of the first Keystone gets to `there` of the second, by role."""

    project: str
    there: str
    roles: Mapping[str, str]


@dataclass(frozen=True)
class Federation:
    """Two Keystones, the second of which believes the first. `directory` is Apache's and Shibboleth's.

    Apache's own user has to get there. `port` is Apache's, the next one Shibboleth's daemon's.
    """

    idp: Keystone
    sp: Keystone
    directory: Path
    port: int
    prefix: str = ""  # of the names of its processes

    @property
    def url(self) -> str:
        """The second Keystone as those see it who come with an assertion."""
        return f"http://127.0.0.1:{self.port}/v3"

    @property
    def auth_url(self) -> str:
        """Where an assertion becomes a token."""
        return f"{self.url}/OS-FEDERATION/identity_providers/{IDENTITY_PROVIDER}/protocols/{PROTOCOL}/auth"

    @property
    def sp_url(self) -> str:
        """Where an assertion is handed in."""
        return f"http://127.0.0.1:{self.port}/Shibboleth.sso/SAML2/ECP"

    @property
    def idp_entity(self) -> str:
        """What the first Keystone calls itself in assertions."""
        return f"{self.idp.url}/OS-FEDERATION/saml2/idp"

    @property
    def processes(self) -> tuple[str, str]:
        """The names of its processes."""
        return f"{self.prefix}shibd", f"{self.prefix}apache"


def federate(layout: Layout, idp: Keystone, sp: Keystone, processes: Processes) -> None:
    """Have the Keystone of the older site believe the others': their `demo` and `admin` have a project there.

    What users of it have to know is in federation.json. Raises `SandboxError`.
    """
    of = Federation(idp, sp, web_directory(layout), sp.port + 2, prefix=PREFIX)
    if configure(of):
        processes.stop([idp.process, sp.process])
    for keystone in (idp, sp):
        serve_keystone(keystone, processes)
    admin = Identity(Cloud(sp.admin_credentials, sp.region))
    admin.ensure("projects", idp.users[0], domain_id=admin.cloud.domain_id)
    serve(of, processes)
    members = Admitted(idp.users[0], idp.users[0], {"member": "member", "admin": "admin"})
    introduce(of, [members, Admitted(idp.admin, sp.admin, {"admin": "admin"})])
    theirs = Cloud(idp.admin_credentials, idp.region).project_id
    settings = {"auth_url": of.url, "service_provider": SERVICE_PROVIDER}
    write(layout.federation, json.dumps({**settings, "projects": {theirs: admin.cloud.project_id}}))


def web_directory(layout: Layout) -> Path:
    """What Apache and Shibboleth read; Apache's own user gets to no private directory."""
    whose = hashlib.sha256(bytes(layout.state)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"atoll-sp-{whose}"


def missing_packages() -> list[str]:
    """Name the Debian packages whose programs are not here."""
    missing = {package for program, package in PACKAGES.items() if not find(program)}
    if not (MODULES / "mod_shib.so").exists():
        missing.add("libapache2-mod-shib")
    return sorted(missing)


def require_packages(*, install: bool, say: Callable[[str], None]) -> None:
    """Have Apache, Shibboleth and xmlsec1. Raises `SandboxError` naming what is missing."""
    install_packages(missing_packages, install=install, say=say)


def configure(of: Federation) -> bool:
    """Write what the Keystones read, certificates too; whether that is new, so that they must start anew."""
    idp_values = {"DIRECTORY": str(of.idp.directory), "URL": of.idp.url, "PROTOCOL": PROTOCOL}
    key, certificate = (of.idp.directory / "saml" / name for name in ("key.pem", "cert.pem"))
    _certificate(key, certificate, "atoll-sandbox-idp")
    changed = _write(of.idp.directory / FEDERATION, _filled("idp.conf", idp_values))
    changed |= _write(of.sp.directory / FEDERATION, _filled("sp.conf", idp_values))
    metadata = of.idp.directory / "saml" / "metadata.xml"
    if changed or not metadata.exists():
        said = manage(of.idp, "saml_idp_metadata")
        write(metadata, said[said.index("<") :])
    return changed


def serve(of: Federation, processes: Processes) -> None:
    """Have Shibboleth's daemon and Apache run, before the second Keystone."""
    _directory(of)
    shibd, apache = of.processes
    daemon: list[Argument] = [find("shibd") or "shibd", "-F", "-f", "-p", of.directory / "shibd.pid"]
    daemon += ["-c", of.directory / "shibboleth2.xml"]
    processes.start(Service(shibd, daemon, port=of.port + 1))
    processes.wait(shibd, lambda: listens(of.port + 1))
    server: list[Argument] = [find("apache2") or "apache2", "-D", "FOREGROUND", "-f"]
    processes.start(Service(apache, [*server, of.directory / "apache.conf"], port=of.port))
    processes.wait(apache, lambda: answers(of.port, "/v3"))


def introduce(of: Federation, admitted: Sequence[Admitted]) -> None:
    """Tell each Keystone of the other, and what the second makes of the first's users.

    A group PROJECT-ROLE there has the role on the project, and who comes from the first's PROJECT with the
    first's ROLE is in the group.
    """
    idp = Identity(Cloud(of.idp.admin_credentials, of.idp.region))
    provider = {"sp_url": of.sp_url, "auth_url": of.auth_url, "enabled": True}
    _put(idp.cloud, f"service_providers/{SERVICE_PROVIDER}", "service_provider", provider)
    sp = Identity(Cloud(of.sp.admin_credentials, of.sp.region))
    home, roles = sp.cloud.domain_id, sp.named("roles")
    for one in admitted:
        project = sp.named("projects")[one.there]["id"]
        for theirs, role in one.roles.items():
            group = sp.ensure("groups", f"{one.project}-{theirs}", domain_id=home)
            sp.cloud.call("PUT", "identity", f"/projects/{project}/groups/{group}/roles/{roles[role]['id']}")
    remote = {"remote_ids": [of.idp_entity], "enabled": True}
    _put(sp.cloud, f"identity_providers/{IDENTITY_PROVIDER}", "identity_provider", remote)
    _put(sp.cloud, "mappings/atoll", "mapping", {"rules": _rules(admitted, home)})
    protocol = {"mapping_id": "atoll"}
    _put(sp.cloud, f"identity_providers/{IDENTITY_PROVIDER}/protocols/{PROTOCOL}", "protocol", protocol)


def _rules(admitted: Sequence[Admitted], domain_id: str) -> list[dict[str, Any]]:
    """Who somebody is at the second Keystone: themselves, and in the groups of project and role."""
    user = {"user": {"name": "{0}@{1}"}}
    named = [{"type": "openstack_user"}, {"type": "openstack_user_domain"}]
    rules: list[dict[str, Any]] = []
    for one in admitted:
        for theirs in one.roles:
            group = {"group": {"name": f"{one.project}-{theirs}", "domain": {"id": domain_id}}}
            conditions = [
                {"type": "openstack_project", "any_one_of": [one.project]},
                {"type": "openstack_roles", "any_one_of": [theirs]},
            ]
            rules.append({"local": [user, group], "remote": [*named, *conditions]})
    return rules


def _put(cloud: Cloud, path: str, kind: str, body: Mapping[str, Any]) -> None:
    """Make something of federation, or bring it up to date."""
    try:
        cloud.call("PUT", "identity", f"/OS-FEDERATION/{path}", {kind: body})
    except Refused as refused:
        if refused.status != 409:
            raise
        cloud.call("PATCH", "identity", f"/OS-FEDERATION/{path}", {kind: body})


def listens(port: int) -> bool:
    """Whether somebody listens. Raises OSError while nobody does."""
    socket.create_connection(("127.0.0.1", port), 5).close()
    return True


def _directory(of: Federation) -> None:
    """The files of Apache and Shibboleth, to be read by Apache's user but for the key."""
    home = of.directory
    home.mkdir(exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != os.geteuid():
        raise SandboxError(f"{home} is somebody else's: remove it, then start again")
    home.chmod(0o755)
    _certificate(home / "sp-key.pem", home / "sp-cert.pem", "atoll-sandbox-sp")
    values = {
        "DIRECTORY": str(home),
        "PORT": str(of.port),
        "SHIBD": str(of.port + 1),
        "UWSGI": str(of.sp.uwsgi_port),
        "MODULES": str(MODULES),
        "IDP": IDENTITY_PROVIDER,
        "PROTOCOL": PROTOCOL,
        "ENTITY": f"http://127.0.0.1:{of.port}/shibboleth",
        "IDP_ENTITY": of.idp_entity,
    }
    for name in _TEMPLATES:
        _write(home / name, _filled(name, values))
    shutil.copyfile(of.idp.directory / "saml" / "metadata.xml", home / "idp-metadata.xml")
    (home / "native.log").touch()
    if os.geteuid() == 0:
        shutil.chown(home / "native.log", WEB_USER)


def _certificate(key: Path, certificate: Path, name: str) -> None:
    if key.exists() and certificate.exists():
        return
    key.parent.mkdir(parents=True, exist_ok=True)
    words: list[Argument] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        f"/CN={name}",
    ]
    run([*words, "-days", CERTIFICATE_DAYS, "-keyout", key, "-out", certificate])
    key.chmod(0o600)


def _filled(name: str, values: Mapping[str, str]) -> str:
    text = (DATA / "federation" / name).read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _write(path: Path, text: str) -> bool:
    """Write a file where it is not so already; whether it was written."""
    if path.exists() and path.read_text() == text:
        return False
    write(path, text)
    return True
