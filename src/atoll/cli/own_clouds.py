"""`atoll serve --clouds`: entries of your own clouds.yaml as one cloud, with nothing else to set up.

Logs in at each, takes the endpoints of their catalogues for sites, keeps what it needs under one directory,
makes a user of the built-in identity and notes it down in clouds.yaml.
"""

import asyncio
import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from atoll.cli.first_look import logged_in as logged_in_at
from atoll.cli.first_look import look
from atoll.cli.found_clouds import Arranged, Failed, arranged, logged_in
from atoll.cli.own_configuration import Earlier, configuration
from atoll.core.config import load
from atoll.core.settings import Config, ConfigError
from atoll.identity.directory import Directory
from atoll.identity.entries import EntryError, read_entry, write_entry
from atoll.identity.passwords import COST, Cost, Passwords
from atoll.identity.setup import Account, ensure_account
from atoll.store import Registry, StoreError, open_store
from atoll.trust.login import Login

PROJECT: Final = "default"
QUICK: Final = Cost(10, 8, 1)
"""What logging in at one's own Atoll costs: a millisecond instead of a quarter of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is to be served, and how to use it.

    `projects` are the further entries of clouds.yaml by the entry of another project that each is for; `said`
    what there is to say of the clouds, `logins` those that were made, by entry.
    """

    config: Config
    path: Path
    clouds_file: Path
    entry: str
    account: Account
    projects: Mapping[str, str]
    said: Sequence[str]
    logins: Mapping[str, Login]


def prepare(
    names: Sequence[str], *, listen: str, entry: str, state: Path | None, environment: Mapping[str, str]
) -> Prepared:
    """Find out what the entries are, and set up what is missing. Raises ClickException."""
    _check(names, entry, listen)
    home = state or _state_home(environment) / entry
    earlier = Earlier(home)
    made = _made(names, earlier)
    url = f"http://{listen}/identity/v3"
    file = _clouds_file()
    entries = {name: f"{entry}-{name}" for cloud in made.clouds for name in cloud.projects}
    urls = {url, earlier.url}
    known, *_ = (_noted_down(file, one, urls) for one in (entry, *entries.values()))
    path = home / "atoll.toml"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        account, ids = asyncio.run(_account(f"sqlite:///{home / 'atoll.db'}", known, list(entries)))
        numbers = earlier.numbers([site.name for _, site in made.sites()])
        text = configuration(made.clouds, listen=listen, home=home, projects=ids, numbers=numbers)
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(text)
        config = load(text, source=str(path), env=environment)
        write_entry(file, entry, _entry(account, url, PROJECT))
        for name, one in entries.items():
            write_entry(file, one, _entry(account, url, _project(name)))
    except StoreError as error:
        raise click.ClickException(f"{home / 'atoll.db'} cannot be opened: {error}") from error
    except OSError as error:
        raise click.ClickException(f"{home}: {error.strerror}; --state names another place") from error
    except (ConfigError, EntryError) as error:
        raise click.ClickException(str(error)) from error
    left = [f"{name} is left out: {reason}" for name, reason in made.left.items()]
    return Prepared(
        config=config, path=path, clouds_file=file, entry=entry, account=account, projects=entries,
        said=[*left, *made.notes], logins=made.logins,
    )  # fmt: skip


def _check(names: Sequence[str], entry: str, listen: str) -> None:
    """See what is wrong before anything is asked or written down. Raises ClickException."""
    if not names:
        raise click.ClickException("--clouds names no entry of clouds.yaml")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise click.ClickException(f"--clouds names {', '.join(repeated)} twice")
    if entry in names:
        raise click.ClickException(
            f"{entry} is the entry that this Atoll is to have itself: --entry names another"
        )
    host, colon, port = listen.rpartition(":")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536):
        raise click.ClickException(f"--listen {listen} is not address:port, such as 127.0.0.1:8774")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((host.strip("[]"), int(port)))
    except OSError as error:
        raise click.ClickException(
            f"cannot listen at {listen}: {error.strerror}. --listen names another place, "
            "such as 127.0.0.1:8775"
        ) from error


def _made(names: Sequence[str], earlier: Earlier) -> Arranged:
    """What the entries are together. Raises ClickException where none can be used."""
    found, failed = logged_in(names)
    made = arranged(found)
    _keep(made, failed, earlier, names)
    if not made.clouds:
        told = "\n".join(f"  {name}: {reason}" for name, reason in made.left.items())
        raise click.ClickException(f"none of these clouds can be used:\n{told}")
    return made


def _project(entry: str) -> str:
    """What the project of Atoll's is called that stands for an entry."""
    return f"{entry}-project" if entry == PROJECT else entry


def _keep(made: Arranged, failed: Sequence[Failed], earlier: Earlier, names: Sequence[str]) -> None:
    """Add the clouds that are away now and were there before; say of the others why they are not."""
    served = {name for cloud in made.clouds for name in (cloud.name, *cloud.projects)}
    for one in failed:
        cloud = earlier.cloud(one, names)
        sites = {site.name for _, site in made.sites()}
        if cloud is None or cloud.name in served or sites & {site.name for site in cloud.sites}:
            made.left[one.name] = one.reason
        else:
            made.clouds.append(cloud)
            made.notes.append(
                f"{one.name} is away: {one.reason}; its sites are as last time, and used once it is back"
            )


def _state_home(environment: Mapping[str, str]) -> Path:
    given = environment.get("XDG_STATE_HOME")
    return (Path(given) if given else Path.home() / ".local" / "state") / "atoll"


def _clouds_file() -> Path:
    """The clouds.yaml that openstacksdk finds, or would."""
    from openstack.config import OpenStackConfig  # noqa: PLC0415 - slow to import

    found = OpenStackConfig().config_filename
    return Path(found) if found else Path.home() / ".config" / "openstack" / "clouds.yaml"


def _noted_down(path: Path, entry: str, urls: Collection[str]) -> str:
    """The password that was noted down earlier.

    Raises ClickException where the entry is of another cloud: not of one of the `urls` that this has or had.
    """
    try:
        auth = read_entry(path, entry).get("auth", {})
    except EntryError as error:
        raise click.ClickException(str(error)) from error
    if auth and auth.get("auth_url") not in urls:
        raise click.ClickException(
            f"{path} has an entry {entry} already, for {auth.get('auth_url')}: --entry names another"
        )
    return str(auth.get("password", ""))


def _entry(account: Account, url: str, project: str) -> dict[str, Any]:
    return {
        "auth": {
            "auth_url": url,
            "username": account.user.name,
            "password": account.password,
            "project_name": project,
            "user_domain_id": "default",
            "project_domain_id": "default",
        },
        "region_name": "Atoll",
        "identity_api_version": "3",
    }


async def _account(store_url: str, known: str, entries: Sequence[str]) -> tuple[Account, dict[str, str]]:
    """The user, and the ids of its projects: its own ("") and those that stand for entries."""
    store = await open_store(store_url)
    # One of 32 random characters, as is made here, is guessed no sooner for being hashed fast.
    cost = QUICK if len(known) in {0, 32} else COST
    passwords = Passwords(now=time.monotonic, cost=cost)
    try:
        registry = Registry(store.intent)
        await registry.load()
        directory = Directory(registry, passwords)
        account = await ensure_account(directory, getpass.getuser(), PROJECT, role="admin", known=known)
        ids = {"": account.project.id}
        for one in entries:
            name = _project(one)
            project = directory.project_named(name) or await directory.create_project(name)
            await directory.assign(account.user.id, project.id, "admin")
            ids[one] = project.id
        return account, ids
    finally:
        passwords.close()
        await store.close()


def told(prepared: Prepared) -> list[str]:
    """What to say before the first request: what could not be used, and how to use the rest."""
    sites = prepared.config.sites
    lines = [
        *prepared.said,
        f"One cloud of {len(sites)}: {', '.join(sites)}, at http://{prepared.config.gateway.listen[0]}",
    ]
    if given := os.environ.get("OS_CLIENT_CONFIG_FILE"):
        lines.append(f"  export OS_CLIENT_CONFIG_FILE={given}")
    lines.append(f"  export OS_CLOUD={prepared.entry}        # in {prepared.clouds_file}")
    for name, entry in prepared.projects.items():
        lines.append(f"  export OS_CLOUD={entry}        # for {name}, another project of the same cloud")
    lines.append(f"  export ATOLL_CONFIG={prepared.path}    # for atoll site, zone, same, where, explain")
    return lines


@dataclass(frozen=True, slots=True)
class Served:
    """What is to be served, what to call once it is, and logins that were made."""

    config: Config
    ready: Callable[[], None]
    logins: Mapping[str, Login]


def serve_clouds(names: Sequence[str], *, listen: str, entry: str, state: Path | None) -> Served:
    """Prepare what is to be served. Raises ClickException."""
    prepared = prepare(names, listen=listen, entry=entry, state=state, environment=os.environ)

    def ready() -> None:
        for line in told(prepared):
            click.echo(line)
        # The gateway has this thread: it is asked from another.
        threading.Thread(target=_first_look, args=(prepared,), daemon=True).start()

    return Served(prepared.config, ready, prepared.logins)


def _first_look(prepared: Prepared) -> None:
    account = prepared.account
    url = f"http://{prepared.config.gateway.listen[0]}"
    try:
        gateway = logged_in_at(url, account.user.name, account.password, account.project.name)
    except OSError as error:
        click.echo(f"its own user cannot log in: {error}", err=True)
        return
    look(gateway, click.echo)
