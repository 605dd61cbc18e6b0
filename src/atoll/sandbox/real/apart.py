"""Atoll before clouds that share nothing: a site of the newest release and the older one, as one cloud.

Its Keystone is the built-in one. Each of its users has a project of its own there and at both clouds; of the
administrators Atoll has an administrator's credential for each cloud besides.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atoll.identity.directory import Directory
from atoll.identity.passwords import Passwords
from atoll.identity.setup import ensure_account
from atoll.sandbox.real.api import Cloud, send
from atoll.sandbox.real.catalog import Identity
from atoll.sandbox.real.configuration import write
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.layout import OLDER_INDEX, Layout, region_name
from atoll.sandbox.real.model import Credentials
from atoll.sandbox.real.processes import Processes, Service
from atoll.sandbox.real.seed import ensure_network, image_id
from atoll.sandbox.real.servers import site_admin
from atoll.sandbox.real.tempest import Target
from atoll.store import Registry, open_store
from atoll.trust.sealing import new_key

PROCESS = "atoll-apart"
READY_SECONDS = 30.0
AT_ONCE = 4
PASSWORD = "sandbox-apart"  # noqa: S105 - a throw-away cloud on the loopback; no site knows it
SITE_PASSWORD = "sandbox-credential"  # noqa: S105 - likewise; no user of Atoll's knows it
FIRST = "operator"
MEMBERS = 6  # two workers, each with two users and one more at times
ADMINS = 3
MAX_MICROVERSION = "2.96"  # of nova 2024.1
SERVED = ("compute", "block-storage", "image", "network")  # tempest asks no other


@dataclass(frozen=True)
class Account:
    """A user with a role in a project.

    The one of the project's own name is at each cloud too: Atoll acts there as that one for all users of the
    project, whose roles are the built-in identity's alone.
    """

    name: str
    project: str
    role: str

    @property
    def at_clouds(self) -> bool:
        """Whether the clouds know it."""
        return self.name == self.project

    def credentials(self, auth_url: str, password: str) -> Credentials:
        """It, at one Keystone."""
        return Credentials(auth_url, self.name, password, self.project)


def _accounts() -> Iterator[Account]:
    for number in range(1, MEMBERS + 1):
        project = f"tempest-{number}"
        yield Account(project, project, "member")
        for role in ("reader", "manager"):  # tests ask for these in the project of the member they have
            yield Account(f"{project}-{role}", project, role)
    for number in range(1, ADMINS + 1):
        yield Account(f"tempest-admin-{number}", f"tempest-admin-{number}", "admin")


ACCOUNTS = tuple(_accounts())
OWNERS = tuple(account for account in ACCOUNTS if account.at_clouds)


@dataclass(frozen=True)
class Apart:
    """The gateway, and the entries of sites.json that it stands before: each a cloud of its own name."""

    layout: Layout
    sites: tuple[Mapping[str, Any], ...]

    @property
    def home(self) -> Path:
        """Its configuration, store, key and accounts."""
        return self.layout.run / "apart"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.layout.port_base + 91

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def identity(self) -> str:
        """Its built-in Keystone."""
        return f"{self.url}/identity/v3"

    @property
    def store(self) -> str:
        """The URL of its store."""
        return f"sqlite:///{self.home / 'atoll.db'}"


def apart(layout: Layout) -> Apart:
    """The first of the newest sites and the older one. Raises `SandboxError` where one does not run."""
    described = json.loads(layout.description.read_text()) if layout.description.exists() else []
    older = [site for site in described if site["region"] == region_name(OLDER_INDEX)]
    newer = [site for site in described if site not in older]
    if not older or not newer:
        raise SandboxError("there is no older site beside a newer one: `atoll sandbox up --real --older`")
    return Apart(layout, (newer[0], older[0]))


def configuration(of: Apart) -> str:
    """An atoll.toml: sites with a cloud each, the public networks as one."""
    lines = ["# Written by the sandbox; made anew with each run of tempest.", "[gateway]"]
    lines += [f'listen = "127.0.0.1:{of.port}"']
    lines += [f"access_log = {json.dumps(str(of.layout.logs / 'apart-access.log'))}"]
    lines += ["[identity]", 'mode = "built-in"', "[store]", f"url = {json.dumps(of.store)}"]
    lines += ["[secrets]", f"key = {json.dumps('file:' + str(of.home / 'key'))}"]
    for site in of.sites:
        name = json.dumps(site["name"])
        lines += [f"[clouds.{name}]", f"auth_url = {json.dumps(site['auth_url'])}"]
        lines += [f"[sites.{name}]", f"region = {json.dumps(site['region'])}", f"cloud = {name}"]
        lines += [f"[sites.{name}.endpoints]"]
        lines += [f"{kind} = {json.dumps(site['endpoints'][kind])}" for kind in SERVED]
        lines += [f"[zones.{name}]", f"site = {name}"]
        lines += ['zone = {compute = "nova", block-storage = "nova"}']
    ids = ", ".join(
        f"{json.dumps(site['name'])} = {json.dumps(site['public_network_id'])}" for site in of.sites
    )
    lines += ["[[equivalents]]", 'resource = "network"', 'name = "public"', f"ids = {{{ids}}}"]
    return "\n".join(lines) + "\n"


def front_apart(layout: Layout, say: Callable[[str], None]) -> tuple[tuple[Mapping[str, Any], ...], Target]:
    """Have it run anew, with nothing remembered, with its users and their credentials, for tempest to use.

    Gives the sites, as sites.json has them, and what tempest is pointed at. Raises `SandboxError`.
    """
    of = apart(layout)
    _start(of)
    operator = Cloud(Credentials(of.identity, FIRST, PASSWORD, FIRST), "Atoll")
    projects = _users(operator, PASSWORD, ACCOUNTS)
    for site in of.sites:
        _users(site_admin(site["region"], layout), SITE_PASSWORD, OWNERS)
    for account in OWNERS:
        for site in of.sites:
            _credential(of, operator, account, site, projects[account.project])
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda account: _network(of, account), OWNERS))
    for number, account in enumerate(OWNERS):
        _begin(of, account, of.sites[number % len(of.sites)])
    accounts = of.home / "accounts.yaml"
    write(accounts, json.dumps([_entry(account) for account in ACCOUNTS], indent=1))  # JSON is YAML
    accounts.chmod(0o600)
    say(f"Atoll before {' and '.join(site['name'] for site in of.sites)} answers at {of.url}")
    first = next(account for account in ACCOUNTS if account.role == "admin")
    target = Target(
        admin=first.credentials(of.identity, PASSWORD),
        region="Atoll",
        image_id=image_id("cirros"),
        image_alt_id=image_id("cirros-alt"),
        public_network_id=of.sites[0]["public_network_id"],
        max_microversion=MAX_MICROVERSION,
        accounts=accounts,
    )
    return of.sites, target


def _start(of: Apart) -> None:
    processes = Processes(of.layout)
    processes.stop([PROCESS])
    of.home.mkdir(mode=0o700, exist_ok=True)
    for file in of.home.glob("atoll.db*"):
        file.unlink()
    _write_key(of.home / "key")
    file = of.home / "atoll.toml"
    write(file, configuration(of))
    asyncio.run(_first(of.store))
    command = [sys.executable, "-m", "atoll.cli", "serve", "--config", str(file)]
    processes.start(Service(PROCESS, command, port=of.port))
    processes.wait(PROCESS, lambda: bool(send("GET", f"{of.url}/readyz", {})), READY_SECONDS)


def _write_key(file: Path) -> None:
    """What credentials are sealed with; readable by nobody else from its first moment on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(new_key())


async def _first(store_url: str) -> None:
    """The first administrator, who makes all others over the API."""
    store = await open_store(store_url)
    passwords = Passwords(now=time.monotonic)
    try:
        registry = Registry(store.intent)
        await registry.load()
        await ensure_account(Directory(registry, passwords), FIRST, FIRST, role="admin", known=PASSWORD)
    finally:
        passwords.close()
        await store.close()


def _users(admin: Cloud, password: str, accounts: Sequence[Account]) -> dict[str, str]:
    """Have the accounts at a Keystone, as its administrator; the ids of their projects by name."""
    identity = Identity(admin)
    home, roles = admin.domain_id, identity.named("roles")
    projects = {}
    for account in accounts:
        projects[account.project] = identity.ensure("projects", account.project, domain_id=home)
        user = identity.ensure("users", account.name, domain_id=home, password=password)
        identity.grant(roles[account.role]["id"], user, f"projects/{projects[account.project]}")
    return projects


def _credential(of: Apart, operator: Cloud, account: Account, site: Mapping[str, Any], project: str) -> None:
    """Give Atoll what it acts with for an account at a cloud."""
    who = account.credentials(site["auth_url"], SITE_PASSWORD)
    auth = {
        "username": who.username,
        "password": who.password,
        "project_name": who.project,
        "user_domain_name": who.user_domain,
        "project_domain_name": who.project_domain,
    }
    body = {"cloud": site["name"], "project_id": project, "auth_type": "password", "auth": auth}
    for admin in (False, True) if account.role == "admin" else (False,):
        headers = {"X-Auth-Token": operator.token}
        send("POST", f"{of.url}/atoll/v1/credentials", headers, {**body, "admin": admin})


def _network(of: Apart, account: Account) -> None:
    """A network of the account's project at each site, and that they are one to it."""
    name = _network_name(account)
    ids = {}
    for number, site in enumerate(of.sites):
        cloud = Cloud(account.credentials(site["auth_url"], SITE_PASSWORD), site["region"])
        mine = {"project_id": cloud.project_id}
        ids[site["name"]] = ensure_network(cloud, "network", name, mine)
        subnet = {"network_id": ids[site["name"]], "ip_version": 4, "cidr": f"10.20{number}.0.0/24"}
        ensure_network(cloud, "subnet", name, {**subnet, **mine})
    token = Cloud(account.credentials(of.identity, PASSWORD), "Atoll").token
    body = {"resource": "network", "ids": ids, "name": name, "project": True}
    send("POST", f"{of.url}/atoll/v1/same", {"X-Auth-Token": token}, body)


def _begin(of: Apart, account: Account, site: Mapping[str, Any]) -> None:
    """Make the first thing of a project at a site: the later ones follow it, unless they name a zone."""
    cloud = Cloud(account.credentials(of.identity, PASSWORD), "Atoll")
    router = {"name": f"{account.project}-router", "availability_zone_hints": [site["name"]]}
    cloud.post("network", "/v2.0/routers", {"router": router})


def _network_name(account: Account) -> str:
    """What the network of its project is called: everybody's has another name, as administrators see all."""
    return f"{account.project}-network"


def _entry(account: Account) -> dict[str, Any]:
    """The account as tempest's accounts.yaml has it."""
    return {
        "username": account.name,
        "password": PASSWORD,
        "project_name": account.project,
        "user_domain_name": "Default",
        "project_domain_name": "Default",
        "roles": [account.role],
        "resources": {"network": _network_name(account)},
    }
