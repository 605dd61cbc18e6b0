"""`atoll serve --clouds`: entries of your own clouds.yaml as one cloud, with nothing else to set up.

Logs in at each, takes the endpoints of their catalogues for sites, keeps what it needs under one directory,
makes a user of the built-in identity and notes it down in clouds.yaml.
"""

import asyncio
import getpass
import json
import os
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from atoll.cli.config_commands import endpoints_by_region
from atoll.cli.first_look import logged_in, look
from atoll.core.config import load
from atoll.core.settings import Config, ConfigError
from atoll.identity.directory import Directory
from atoll.identity.entries import EntryError, read_entry, write_entry
from atoll.identity.passwords import Passwords
from atoll.identity.setup import Account, ensure_account
from atoll.store import Registry, open_store
from atoll.trust.clouds_yaml import Entry
from atoll.trust.clouds_yaml import read_entry as read_cloud
from atoll.trust.login import Login, LoginError, login

PROJECT: Final = "default"
AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that could be logged in with: its regions with their endpoints by service type."""

    name: str
    entry: Entry
    login: Login
    regions: Mapping[str, Mapping[str, str]]

    @property
    def sites(self) -> dict[str, str]:
        """The region of each of its sites, by the site's name."""
        if len(self.regions) == 1:
            return {self.name: next(iter(self.regions))}
        return {f"{self.name}-{region}": region for region in self.regions}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is to be served, and how to use it."""

    config: Config
    path: Path
    clouds_file: Path
    entry: str
    account: Account
    failed: Mapping[str, str]


def prepare(
    names: Sequence[str], *, listen: str, entry: str, state: Path | None, environment: Mapping[str, str]
) -> Prepared:
    """Find out what the entries are, and set up what is missing. Raises ClickException."""
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise click.ClickException(f"--clouds names {', '.join(repeated)} twice")
    if entry in names:
        raise click.ClickException(
            f"{entry} is the entry that this Atoll is to have itself: --entry names another"
        )
    found, failed = _logged_in(names)
    if not found:
        told = "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
        raise click.ClickException(f"none of these clouds can be used:\n{told}")
    _require_keystones(found)
    home = state or _state_home(environment) / entry
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "atoll.toml"
    clouds_file = _clouds_file()
    url = f"http://{listen}/identity/v3"
    known = _noted_down(clouds_file, entry, url)
    account = asyncio.run(_account(f"sqlite:///{home / 'atoll.db'}", known))
    text = configuration(
        found, listen=listen, home=home, project_id=account.project.id, numbers=_numbers(path)
    )
    path.write_text(text)
    path.chmod(0o600)
    try:
        config = load(text, source=str(path), env=environment)
        write_entry(clouds_file, entry, _entry(account, url))
    except (ConfigError, EntryError) as error:
        raise click.ClickException(str(error)) from error
    return Prepared(
        config=config, path=path, clouds_file=clouds_file, entry=entry, account=account, failed=failed
    )


def configuration(
    found: Sequence[Found], *, listen: str, home: Path, project_id: str, numbers: Mapping[str, int]
) -> str:
    """An atoll.toml for these clouds; `numbers` are those that sites had before, which they keep."""
    lines = [
        "# Written by `atoll serve --clouds`, and made anew by it each time.",
        "[gateway]",
        f"listen = {json.dumps(listen)}",
        f"access_log = {json.dumps(str(home / 'access.log'))}",
        "[identity]",
        'mode = "built-in"',
        "[store]",
        f"url = {json.dumps('sqlite:///' + str(home / 'atoll.db'))}",
        "[limits]",
        "private_addresses = true",
        "[audit]",
        f"file = {json.dumps(str(home / 'audit.log'))}",
    ]
    free = max(numbers.values(), default=-1) + 1
    for one in found:
        cloud = one.entry.cloud
        lines += [f"[clouds.{json.dumps(one.name)}]", f"auth_url = {json.dumps(cloud.auth_url)}"]
        lines += [f"verify = {json.dumps(cloud.verify)}"]
        lines += [f"cacert = {json.dumps(cloud.cacert)}"] if cloud.cacert else []
        # Who is an administrator there asks as one what only administrators may.
        for admin in (False, True) if "admin" in one.login.roles else (False,):
            lines += ["[[credentials]]", f"cloud = {json.dumps(one.name)}"]
            lines += [f"project_id = {json.dumps(project_id)}", f"clouds_yaml = {json.dumps(one.name)}"]
            lines += [f"admin = {json.dumps(admin)}"]
        for site, region in one.sites.items():
            number = numbers.get(site, free)
            free += number == free
            lines += [f"[sites.{json.dumps(site)}]", f"region = {json.dumps(region)}"]
            lines += [f"cloud = {json.dumps(one.name)}", f"number = {number}"]
            lines += [f"[sites.{json.dumps(site)}.endpoints]"]
            lines += [
                f"{service} = {json.dumps(url)}" for service, url in sorted(one.regions[region].items())
            ]
    return "\n".join(lines) + "\n"


def _logged_in(names: Sequence[str]) -> tuple[list[Found], dict[str, str]]:
    """Those that can be used, and why the others cannot."""
    found, failed = [], {}
    with ThreadPoolExecutor(min(AT_ONCE, len(names))) as threads:
        for name, one in zip(names, threads.map(_log_in, names), strict=True):
            if isinstance(one, Found):
                found.append(one)
            else:
                failed[name] = one
    return found, failed


def _require_keystones(found: Sequence[Found]) -> None:
    """Refuse two entries of one Keystone: one user of it is who Atoll acts as. Raises ClickException."""
    first: dict[str, str] = {}
    for one in found:
        other = first.setdefault(one.entry.cloud.auth_url, one.name)
        if other != one.name:
            raise click.ClickException(
                f"{other} and {one.name} are entries of one Keystone, {one.entry.cloud.auth_url}: name one "
                "of them; with several `regions`, or none, in the entry each region is a site"
            )


def _log_in(name: str) -> Found | str:
    try:
        entry = read_cloud(name)
        who = login(entry.cloud, entry.options, private=True, catalog=True)
    except LoginError as error:
        return str(error)
    regions = endpoints_by_region([dict(one) for one in who.catalog], entry.regions, who.project_id)
    if not regions:
        wanted = f" in {', '.join(entry.regions)}" if entry.regions else ""
        return f"its catalogue has no public endpoint of a service that can be served{wanted}"
    return Found(name, entry, who, regions)


def _numbers(path: Path) -> dict[str, int]:
    """The numbers of the sites of an earlier configuration: ids that users keep have them in."""
    try:
        sites: dict[str, dict[str, Any]] = tomllib.loads(path.read_text()).get("sites", {})
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    return {name: int(one["number"]) for name, one in sites.items()}


def _state_home(environment: Mapping[str, str]) -> Path:
    given = environment.get("XDG_STATE_HOME")
    return (Path(given) if given else Path.home() / ".local" / "state") / "atoll"


def _clouds_file() -> Path:
    """The clouds.yaml that openstacksdk finds, or would."""
    from openstack.config import OpenStackConfig  # noqa: PLC0415 - slow to import

    found = OpenStackConfig().config_filename
    return Path(found) if found else Path.home() / ".config" / "openstack" / "clouds.yaml"


def _noted_down(path: Path, entry: str, url: str) -> str:
    """The password that was noted down earlier. Raises ClickException where the entry is of another cloud."""
    try:
        auth = read_entry(path, entry).get("auth", {})
    except EntryError as error:
        raise click.ClickException(str(error)) from error
    if auth and auth.get("auth_url") != url:
        raise click.ClickException(
            f"{path} has an entry {entry} already, for {auth.get('auth_url')}: --entry names another, "
            "or --listen says where it was"
        )
    return str(auth.get("password", ""))


def _entry(account: Account, url: str) -> dict[str, Any]:
    return {
        "auth": {
            "auth_url": url,
            "username": account.user.name,
            "password": account.password,
            "project_name": account.project.name,
            "user_domain_id": "default",
            "project_domain_id": "default",
        },
        "region_name": "Atoll",
        "identity_api_version": "3",
    }


async def _account(store_url: str, known: str) -> Account:
    store = await open_store(store_url)
    passwords = Passwords(now=time.monotonic)
    try:
        registry = Registry(store.intent)
        await registry.load()
        return await ensure_account(
            Directory(registry, passwords), getpass.getuser(), PROJECT, role="admin", known=known
        )
    finally:
        passwords.close()
        await store.close()


def told(prepared: Prepared) -> list[str]:
    """What to say before the first request: what could not be used, and how to use the rest."""
    lines = [f"{name} is left out: {reason}" for name, reason in prepared.failed.items()]
    sites = ", ".join(prepared.config.sites)
    lines.append(
        f"One cloud of {len(prepared.config.sites)}: {sites}, at http://{prepared.config.gateway.listen[0]}"
    )
    lines.append(f"  export OS_CLOUD={prepared.entry}        # in {prepared.clouds_file}")
    lines.append(f"  export ATOLL_CONFIG={prepared.path}    # for atoll site, zone, same, where, explain")
    if given := os.environ.get("OS_CLIENT_CONFIG_FILE"):
        lines.insert(-2, f"  export OS_CLIENT_CONFIG_FILE={given}")
    return lines


def serve_clouds(
    names: Sequence[str], *, listen: str, entry: str, state: Path | None
) -> tuple[Config, Callable[[], None]]:
    """Prepare; give what is to be served, and what to call once it is. Raises ClickException."""
    if not names:
        raise click.ClickException("--clouds names no entry of clouds.yaml")
    prepared = prepare(names, listen=listen, entry=entry, state=state, environment=os.environ)

    def ready() -> None:
        for line in told(prepared):
            click.echo(line)
        # The gateway has this thread: it is asked from another.
        threading.Thread(target=_first_look, args=(prepared,), daemon=True).start()

    return prepared.config, ready


def _first_look(prepared: Prepared) -> None:
    account = prepared.account
    url = f"http://{prepared.config.gateway.listen[0]}"
    try:
        gateway = logged_in(url, account.user.name, account.password, account.project.name)
    except OSError as error:
        click.echo(f"its own user cannot log in: {error}", err=True)
        return
    look(gateway, click.echo)
