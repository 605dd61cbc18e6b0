"""An Atoll of the test's own before the real sites, by ways that fail when told to."""

import asyncio
import sqlite3
import tomllib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.e2e.outages.way import Way
from tests.e2e.sites import CLOUD, STATE, Site, sites
from tests.running import Atoll, until

SERVERS = "/compute/v2.1/servers"
ONE, TWO = "RegionOne", "RegionTwo"
MISSING = "x-atoll-missing-sites"
# Servers without a network are quick to make; a version that knows of that.
VERSION = {"OpenStack-API-Version": "compute 2.37"}
BUILD_SECONDS = 300.0
BACK_SECONDS = 300.0

Start = Callable[..., Awaitable[Atoll]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A bare site has no Atoll before it that could be tested."""
    for item in items:
        if Path(__file__).parent in item.path.parents and CLOUD != "atoll":
            item.add_marker(pytest.mark.skip(reason="these are about Atoll: ATOLL_E2E_CLOUD is a bare site"))


@dataclass
class Real:
    """Two of the sandbox's sites, and what its own Atoll is configured with; that reaches them `direct`."""

    auth_url: str
    tables: dict[str, Any]
    sites: dict[str, Site]
    direct: dict[str, Any]
    ways: dict[str, dict[str, Way]] = field(default_factory=dict)

    @property
    def by_ways(self) -> dict[str, Any]:
        """The sites as they are reached by the ways."""
        return {
            name: {**site, "endpoints": {kind: way.url for kind, way in self.ways[name].items()}}
            for name, site in self.direct.items()
        }

    def settings(self, names: Collection[str] = (ONE, TWO)) -> dict[str, Any]:
        """The zones of some of them, and what is one thing at these."""
        zones = {name: zone for name, zone in self.tables["zones"].items() if zone["site"] in names}
        same = [
            {**one, "ids": {name: ident for name, ident in one["ids"].items() if name in names}}
            for one in self.tables.get("equivalents", [])
        ]
        return {"zones": zones, "equivalents": [one for one in same if len(one["ids"]) > 1]}

    def refuse(self, name: str) -> None:
        """Let nobody reach a site."""
        for way in self.ways[name].values():
            way.origin.refuse()

    async def accept(self, name: str) -> None:
        """Let it be reached again."""
        for way in self.ways[name].values():
            await way.origin.accept()

    async def at(self, name: str, service: str, path: str) -> Any:
        """What the site itself says to its administrator."""
        return await asyncio.to_thread(self.sites[name].admin.get, service, path)

    async def ids(self, name: str, service: str, path: str, called: str) -> list[str]:
        """The ids of what a list of the site itself has under a name."""
        key = path.partition("?")[0].rpartition("/")[2]
        return [one["id"] for one in (await self.at(name, service, path))[key] if one["name"] == called]

    async def servers(self, name: str, called: str) -> list[str]:
        """The ids of the servers of a name at a site itself."""
        return await self.ids(name, "compute", "/servers?all_tenants=true", called)


@pytest.fixture
def name() -> Iterator[str]:
    """A name no other test uses; after the test it is swept from all sites, and none may keep any of it."""
    prefix = f"e2e-{uuid.uuid4().hex[:10]}"
    yield prefix
    with ThreadPoolExecutor() as pool:
        left = [item for items in pool.map(lambda site: site.sweep(prefix), sites()) for item in items]
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def token() -> str:
    """The ordinary user's."""
    return sites()[0].mine.token


@pytest.fixture(scope="session")
def admin_token() -> str:
    """The administrator's."""
    return sites()[0].admin.token


@pytest.fixture
async def real() -> AsyncIterator[Real]:
    """RegionOne and RegionTwo, with a way to each service."""
    assert STATE is not None
    tables = tomllib.loads((STATE / "atoll.toml").read_text())
    direct = {name: tables["sites"][name] for name in (ONE, TWO)}
    two = {site.name: site for site in sites() if site.name in direct}
    found = Real(tables["identity"]["auth_url"], tables, two, direct)
    async with AsyncExitStack() as stack:
        for name, site in found.direct.items():
            found.ways[name] = {
                kind: await stack.enter_async_context(Way(url)) for kind, url in site["endpoints"].items()
            }
        yield found


@pytest.fixture
def access_log(tmp_path: Path) -> Path:
    """Where the test's own Atolls write a line for each request."""
    return tmp_path / "access.log"


@pytest.fixture
def start(start_atoll: StartAtoll, real: Real, access_log: Path) -> Start:
    """Start an Atoll before the sites, by the ways or `direct`; called with tables of settings.

    Another one of the same test has the same database.
    """

    async def begin(
        *, direct: bool = False, only: Collection[str] = (ONE, TWO), **tables: dict[str, Any]
    ) -> Atoll:
        gateway = {"access_log": str(access_log), **tables.pop("gateway", {})}
        every = real.direct if direct else real.by_ways
        reached = {name: every[name] for name in only}
        atoll = await start_atoll(real.auth_url, reached, gateway=gateway, **real.settings(only), **tables)
        await atoll.settled()
        return atoll

    return begin


def server_body(name: str, zone: str | None = None, **fields: Any) -> dict[str, Any]:
    """The body of a create that is done in a moment; to be sent with `VERSION`."""
    from atoll.sandbox.real.seed import image_id  # noqa: PLC0415

    if zone is not None:
        fields["availability_zone"] = zone
    image = image_id("cirros")
    return {"server": {"name": name, "imageRef": image, "flavorRef": "42", "networks": "none", **fields}}


async def boot(client: httpx.AsyncClient, name: str, zone: str, count: int = 1) -> list[str]:
    """Servers at a site, ACTIVE; their ids, in the order of its lists.

    Several are `name-1`, `name-2` and so on, made at the same moment.
    """
    body = server_body(name, zone, **({"min_count": count} if count > 1 else {}))
    answer = await client.post(SERVERS, json=body, headers=VERSION)
    assert answer.status_code == 202, answer.text
    found: list[Any] = []
    async with asyncio.timeout(BUILD_SECONDS):
        while len(found) < count or any(one["status"] == "BUILD" for one in found):
            await asyncio.sleep(0.3)
            listed = await client.get(f"{SERVERS}/detail", params={"name": f"^{name}"})
            assert listed.status_code == 200, listed.text
            found = [one for one in listed.json()["servers"] if one["OS-EXT-AZ:availability_zone"] == zone]
    assert {one["status"] for one in found} == {"ACTIVE"}
    return [one["id"] for one in found]


async def delete(client: httpx.AsyncClient, *servers: str) -> None:
    """Delete servers, and wait until they are gone."""
    for one in servers:
        assert (await client.delete(f"{SERVERS}/{one}")).status_code == 204
    for one in servers:
        await until_gone(client, f"{SERVERS}/{one}")


async def until_gone(client: httpx.AsyncClient, path: str) -> None:
    """Wait for the 404."""
    async with asyncio.timeout(BUILD_SECONDS):
        while (await client.get(path)).status_code != 404:  # noqa: ASYNC110 - what is waited for is a site's
            await asyncio.sleep(0.2)


async def until_back(client: httpx.AsyncClient) -> None:
    """Wait until a list lacks no site: one that was away is asked again after a while."""
    async with asyncio.timeout(BACK_SECONDS):
        while (await client.get(SERVERS, params={"limit": "1"})).headers.get(MISSING):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.2)


def recorded(database: Path, ident: str) -> list[str]:
    """The sites that the table of locations names for an id."""
    connection = sqlite3.connect(database, timeout=5)
    try:
        rows = connection.execute("SELECT site FROM locations WHERE id = ?", (ident,)).fetchall()
    finally:
        connection.close()
    return [site for (site,) in rows]


async def told(log_lines: list[Any], event: str) -> Any:
    """The one event of that name, once it is there."""
    await until(lambda: any(line["event"] == event for line in log_lines), 300)
    (line,) = [line for line in log_lines if line["event"] == event]
    return line
