"""The first page of a list that was asked for before is asked of each site as it lay then."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from bench.backend import TOKEN
from bench.cloud import Cloud, listen
from bench.ports import free_ports
from tests.conftest import StartAtoll

SITES, PER_SITE, PAGE = 4, 600, 500
SERVERS = "/compute/v2.1/servers/detail"


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """Sites of which the first has all of the newest servers."""
    ports = free_ports(SITES)
    cloud = Cloud(ports, PER_SITE, 0.0)
    cloud.lay_out("sorted")
    servers = await listen(cloud, ports)
    yield cloud
    for server in servers:
        server.close()


@pytest.fixture
async def client(cloud: Cloud, start_atoll: StartAtoll) -> AsyncIterator[httpx.AsyncClient]:
    sites = {
        f"site{number}": {"region": f"site{number}", "endpoints": {"compute": f"{site.base}/v2.1"}}
        for number, site in enumerate(cloud.sites)
    }
    atoll = await start_atoll(f"{cloud.sites[0].base}/v3", sites)
    async with atoll.client(TOKEN) as client:
        yield client


async def page(client: httpx.AsyncClient, cloud: Cloud, query: str) -> tuple[list[str], dict[str, Any]]:
    """(ids, what the sites were asked) of a page."""
    cloud.counted()
    answer = await client.get(f"{SERVERS}?{query}")
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["servers"]], json.loads(cloud.counted())


async def test_it_takes_one_round_and_says_the_same(client: httpx.AsyncClient, cloud: Cloud) -> None:
    first, asked = await page(client, cloud, f"limit={PAGE}")
    again, asked_again = await page(client, cloud, f"limit={PAGE}")
    assert (asked["rounds"], asked_again["rounds"]) == (2, 1)
    assert asked_again["bytes"] < 0.6 * asked["bytes"]
    assert again == first


async def test_a_page_of_another_length_and_a_later_one_are_asked_as_ever(
    client: httpx.AsyncClient, cloud: Cloud
) -> None:
    first, _ = await page(client, cloud, f"limit={PAGE}")
    shorter, asked = await page(client, cloud, f"limit={PAGE - 1}")
    assert asked["rounds"] == 2
    assert shorter == first[:-1]
    later, _ = await page(client, cloud, f"limit={PAGE}&marker={first[-1]}")
    assert len({*first, *later}) == 2 * PAGE
    assert later[: PER_SITE - PAGE] == [f"{one[:-12]}{number:012x}" for number, one in zip(
        range(PAGE, PER_SITE), [first[0]] * (PER_SITE - PAGE), strict=True
    )]  # fmt: skip


async def test_a_list_that_has_changed_is_right_all_the_same(client: httpx.AsyncClient, cloud: Cloud) -> None:
    await page(client, cloud, f"limit={PAGE}")
    cloud.lay_out("uniform")
    changed, asked = await page(client, cloud, f"limit={PAGE}")
    sites = [int(one[:8], 16) for one in changed]
    assert sites == [number % SITES for number in range(PAGE)]
    assert asked["rounds"] >= 2, "little was asked of those that had none"
    assert (await page(client, cloud, f"limit={PAGE}"))[1]["rounds"] == 1
