"""Two Keystones of this run's own, the second of which believes the first, on SQLite and a few ports."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atoll.sandbox.real.api import Cloud
from atoll.sandbox.real.catalog import Identity
from atoll.sandbox.real.configuration import render, write
from atoll.sandbox.real.federation import Admitted, Federation, configure, introduce, serve
from atoll.sandbox.real.keystone import bootstrap, manage, serve_keystone
from atoll.sandbox.real.layout import Layout, locate
from atoll.sandbox.real.model import Credentials, Keystone, Release, newest
from atoll.sandbox.real.older import older_release
from atoll.sandbox.real.processes import Processes

PORTS = int(os.environ.get("ATOLL_FEDERATION_PORTS", "21700"))
PASSWORD = "federation"
USERS = ("demo", "alt_demo")


@dataclass(frozen=True)
class Keystones:
    """`idp` is the clients' own; `federation.sp` the other, which nobody has a password of but its admin."""

    federation: Federation
    processes: Processes

    @property
    def idp(self) -> Keystone:
        """The clients'."""
        return self.federation.idp

    def token(self, user: str = "demo", project: str | None = None) -> str:
        """A token of the clients' Keystone."""
        return Cloud(Credentials(self.idp.url, user, PASSWORD, project or user), "RegionOne").token


def installed() -> str:
    """Why no two Keystones can be started here; "" where they can."""
    layout = locate()
    for venv in (layout.venv, layout.venv_older):
        if not (venv / "bin" / "keystone-manage").exists():
            return f"no Keystone in {venv}: `atoll sandbox up --real --older` installs them"
    return ""


@contextmanager
def keystones(home: Path, say: Callable[[str], None] = print) -> Iterator[Keystones]:
    """Both, running and introduced to each other, and gone at the end."""
    there = locate()
    layout = Layout(home, PORTS)
    for directory in (layout.run, layout.pids, layout.logs):
        directory.mkdir(parents=True, exist_ok=True)
    processes = Processes(layout)
    idp = _keystone(layout, newest(there), "idp", "RegionOne", PORTS)
    sp = _keystone(layout, older_release(there), "sp", "RegionOld", PORTS + 1, uwsgi_port=PORTS + 2)
    web = Path(tempfile.mkdtemp(prefix="atoll-sp-"))  # Apache's own user must get there
    federation = Federation(idp, sp, web, PORTS + 3)
    try:
        for one in (idp, sp):
            _prepare(one)
        configure(federation)
        for one in (idp, sp):
            serve_keystone(one, processes)
            say(f"{one.process} is up")
        _fill(idp, USERS, with_users=True)
        _fill(sp, ("demo",), with_users=False)
        serve(federation, processes)
        introduce(federation, [Admitted("demo", "demo", {"member": "member", "admin": "admin"})])
        yield Keystones(federation, processes)
    finally:
        processes.stop([*reversed(federation.processes), sp.process, idp.process])
        shutil.rmtree(web, ignore_errors=True)


def _keystone(
    layout: Layout, release: Release, name: str, region: str, port: int, uwsgi_port: int | None = None
) -> Keystone:
    return Keystone(
        process=f"federation-{name}",
        region=region,
        port=port,
        database=name,
        directory=layout.run / name,
        release=release,
        admin="admin",
        password=PASSWORD,
        users=(),
        domain_id="default",
        user_domain="Default",
        uwsgi_port=uwsgi_port,
    )


def _prepare(keystone: Keystone) -> None:
    """A configuration, a database of SQLite, keys and an administrator."""
    for directory in ("fernet", "credential"):
        (keystone.directory / directory).mkdir(parents=True, exist_ok=True)
        (keystone.directory / directory).chmod(0o700)
    database = keystone.directory / "keystone.db"
    values = {
        "DATABASE": f"sqlite:///{database}",
        "DIRECTORY": str(keystone.directory),
        "DOMAIN": keystone.domain_id,
    }
    write(keystone.directory / "keystone.conf", render(keystone.release, "keystone.conf", values))
    sqlite3.connect(database).execute("PRAGMA journal_mode=WAL").close()
    manage(keystone, "db_sync")
    bootstrap(keystone)


def _fill(keystone: Keystone, projects: tuple[str, ...], *, with_users: bool) -> None:
    identity = Identity(Cloud(keystone.admin_credentials, keystone.region))
    home = identity.cloud.domain_id
    roles = {name: identity.ensure("roles", name) for name in ("member", "admin")}
    for name in projects:
        project = identity.ensure("projects", name, domain_id=home)
        if with_users:
            user = identity.ensure("users", name, domain_id=home, password=PASSWORD)
            identity.grant(roles["member"], user, f"projects/{project}")
            admin = identity.named("users")["admin"]["id"]
            identity.grant(roles["admin"], admin, f"projects/{project}")
