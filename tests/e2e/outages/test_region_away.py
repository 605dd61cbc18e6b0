"""A real region stopped, or hanging: what is missing is named, nothing is said to be gone, then all is back.

The processes themselves are stopped, so the sandbox's own Atoll and the stock clients meet it too.
"""

import asyncio
import json
import signal
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from tests.e2e.conftest import Command
from tests.e2e.outages.conftest import (
    BUILD_SECONDS,
    MISSING,
    ONE,
    SERVERS,
    TWO,
    Real,
    Start,
    boot,
    until_back,
)
from tests.e2e.sites import STATE

from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Site, main_sites
from atoll.sandbox.real.processes import Processes
from atoll.sandbox.real.region import APIS, start_site, wait_for_apis

# What users reach: a region's own Placement is not theirs.
PUBLIC = [name for service, name in APIS.items() if service != "placement"]
DETAIL = f"{SERVERS}/detail"
SINCE = {"OpenStack-API-Version": "compute 2.69"}
LIMITS = {"deadline_seconds": 20.0}
AGAIN_SECONDS = 180.0


@pytest.fixture
async def region(real: Real, token: str) -> AsyncIterator[tuple[Site, Processes]]:
    """RegionTwo as the sandbox has it; at the end its own Atoll has heard that it is back."""
    assert STATE is not None
    size = json.loads((STATE / "size.json").read_text())
    layout = Layout(STATE.parent, size["port_base"])
    site = main_sites(layout, size["sites"], size["computes"])[1]
    assert site.region == TWO
    yield site, Processes(layout)
    project = real.sites[ONE].mine.project_id
    lists = (SERVERS, f"/block-storage/v3/{project}/volumes", "/image/v2/images", "/network/v2.0/networks")
    url = f"http://{real.tables['gateway']['listen']}"
    async with httpx.AsyncClient(base_url=url, headers={"X-Auth-Token": token}, timeout=60.0) as client:
        async with asyncio.timeout(AGAIN_SECONDS):
            for path in lists:
                while (await client.get(path, params={"limit": "1"})).headers.get(MISSING):  # noqa: ASYNC110 - theirs
                    await asyncio.sleep(0.5)


@asynccontextmanager
async def stopped(region: tuple[Site, Processes]) -> AsyncIterator[None]:
    """Without the APIs of a site."""
    site, processes = region
    try:
        await asyncio.to_thread(processes.stop, [site.process(name) for name in PUBLIC], 0)
        yield
    finally:
        start_site(site, processes)
        await asyncio.to_thread(wait_for_apis, site, processes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # they are to outlive the tests
            processes.children.clear()


@asynccontextmanager
async def hanging(region: tuple[Site, Processes]) -> AsyncIterator[None]:
    """With all APIs of a site held where they are: connections are taken, and nothing ever comes."""
    site, processes = region
    names = [site.process(name) for name in PUBLIC]
    try:
        for name in names:
            processes.signal(name, signal.SIGSTOP)
        yield
    finally:
        for name in names:
            processes.signal(name, signal.SIGCONT)


async def both(client: httpx.AsyncClient, name: str) -> dict[str, str]:
    """A server in each region, by the region's name, `NAME-one` and `NAME-two`."""
    (one,) = await boot(client, f"{name}-one", ONE)
    (two,) = await boot(client, f"{name}-two", TWO)
    return {ONE: one, TWO: two}


async def is_partial(client: httpx.AsyncClient, servers: dict[str, str]) -> None:
    """The list lacks RegionTwo and says so; from 2.69 on what is known of it is UNKNOWN."""
    answer = await client.get(DETAIL)
    assert answer.status_code == 200, answer.text
    assert answer.headers[MISSING].startswith(f"{TWO} (")
    assert ONE not in answer.headers[MISSING]
    mine = [one["id"] for one in answer.json()["servers"] if one["id"] in servers.values()]
    assert mine == [servers[ONE]]
    since = await client.get(DETAIL, headers=SINCE)
    states = {one["id"]: one["status"] for one in since.json()["servers"] if one["id"] in servers.values()}
    assert states == {servers[ONE]: "ACTIVE", servers[TWO]: "UNKNOWN"}
    filtered = await client.get(DETAIL, params={"status": "ACTIVE"}, headers=SINCE)
    assert "UNKNOWN" not in filtered.text
    assert TWO in filtered.headers[MISSING]


async def names_the_region(client: httpx.AsyncClient, path: str, *statuses: int, **headers: str) -> None:
    """A fault that names RegionTwo."""
    answer = await client.get(path, headers=headers)
    assert answer.status_code in statuses, (path, answer.text)
    assert TWO in answer.text


async def is_whole(client: httpx.AsyncClient, servers: dict[str, str]) -> None:
    """Everything is there again, once."""
    await until_back(client)
    for headers in ({}, SINCE):
        answer = await client.get(DETAIL, headers=headers)
        listed = {
            one["id"]: one["status"] for one in answer.json()["servers"] if one["id"] in servers.values()
        }
        assert listed == dict.fromkeys(servers.values(), "ACTIVE")
        assert MISSING not in answer.headers


async def test_a_region_is_stopped_and_comes_back(
    region: tuple[Site, Processes], real: Real, start: Start, cli: Command, token: str, name: str
) -> None:
    strict = await start(direct=True, gateway={"partial": "strict"})
    url = f"http://{real.tables['gateway']['listen']}"
    headers = {"X-Auth-Token": token}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=BUILD_SECONDS) as client,
        strict.client(token) as strictly,
    ):
        servers = await both(client, name)
        async with stopped(region):
            await is_partial(client, servers)
            listed = await asyncio.to_thread(cli, "server", "list")
            assert [row["ID"] for row in listed if row["Name"].startswith(name)] == [servers[ONE]]
            by_name = await asyncio.to_thread(cli.run, "server", "show", f"{name}-two", succeeds=False)
            assert by_name.returncode
            assert TWO in by_name.stderr
            assert "503" in by_name.stderr
            await names_the_region(client, f"{SERVERS}/{servers[TWO]}", 503)
            await names_the_region(client, f"{SERVERS}?name={name}-two", 503)
            await names_the_region(client, SERVERS, 503, **{"X-Atoll-Partial": "refuse"})
            assert (await client.get(f"{SERVERS}/{servers[ONE]}")).status_code == 200
            await names_the_region(strictly, SERVERS, 503)
            allowed = await strictly.get(SERVERS, headers={"X-Atoll-Partial": "allow"})
            assert (allowed.status_code, TWO in allowed.headers[MISSING]) == (200, True)
        await is_whole(client, servers)
        await is_whole(strictly, servers)
        again = await asyncio.to_thread(cli, "server", "list")
        assert {row["ID"] for row in again if row["Name"].startswith(name)} == set(servers.values())


async def test_a_region_hangs_and_goes_on(
    region: tuple[Site, Processes], start: Start, token: str, name: str
) -> None:
    """It costs the deadline at most, and what is elsewhere nothing."""
    atoll = await start(direct=True, limits=LIMITS)
    async with atoll.client(token) as client:
        servers = await both(client, name)
        async with hanging(region):
            await is_partial(client, servers)
            await names_the_region(client, f"{SERVERS}/{servers[TWO]}", 503, 504)
            await names_the_region(client, f"{SERVERS}?name={name}-two", 503, 504)
            assert (await client.get(f"{SERVERS}/{servers[ONE]}")).status_code == 200
        await is_whole(client, servers)
