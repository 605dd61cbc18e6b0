"""Several write one quota at once, by several gateways: what is read afterwards is what one of them wrote."""

import asyncio
import hashlib
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import sql

from atoll.sandbox.simulated import Cloud, Fault


@pytest.fixture
async def other(start_atoll: StartAtoll, atoll: Atoll, cloud: Cloud) -> Atoll:
    """A second gateway with the database of the first."""
    assert atoll.database.exists()
    return await start_atoll(cloud.keystone.auth_url, sites_of(cloud))


SERVICES = ("compute", "block-storage", "network")
KEYS = {"compute": "cores", "block-storage": "volumes", "network": "port"}


def path_of(service: str, cloud: Cloud) -> str:
    """Where a service has demo's quota, as an administrator asks."""
    project, own = cloud.keystone.project_id("demo"), cloud.keystone.project_id("admin")
    return {
        "compute": f"/compute/v2.1/os-quota-sets/{project}",
        "block-storage": f"/block-storage/v3/{own}/os-quota-sets/{project}",
        "network": f"/network/v2.0/quotas/{project}",
    }[service]


def parts_of(service: str, cloud: Cloud) -> list[int]:
    """What each site has of it."""
    project, key = cloud.keystone.project_id("demo"), KEYS[service]
    stored: dict[str, Any] = {
        "compute": lambda site: site.compute.quota,
        "block-storage": lambda site: site.block_storage.quota,
        "network": lambda site: site.network.extras.quotas,
    }
    return [stored[service](site)[project][key] for site in cloud.sites]


async def write(client: httpx.AsyncClient, service: str, cloud: Cloud, value: int) -> httpx.Response:
    envelope = "quota" if service == "network" else "quota_set"
    return await client.put(path_of(service, cloud), json={envelope: {KEYS[service]: value}})


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("gateways", ["one gateway", "two gateways"])
async def test_no_site_keeps_a_part_of_the_others_total(
    atoll: Atoll, other: Atoll, cloud: Cloud, service: str, gateways: str
) -> None:
    token = cloud.keystone.token("admin")
    second = other if gateways == "two gateways" else atoll
    # The first write is slow at its second site: the other's would be there and at the third before it.
    faults = cloud.site("site2").faults
    faults.add(Fault("latency", method="PUT", count=1, seconds=0.3))
    async with atoll.client(token) as one, second.client(token) as two:

        async def after() -> httpx.Response:
            await until(lambda: faults.hits)
            return await write(two, service, cloud, 60)

        answers = await asyncio.gather(write(one, service, cloud, 30), after())
        assert [answer.status_code for answer in answers] == [200, 200]
        assert parts_of(service, cloud) == [20, 20, 20]


async def test_many_at_once(atoll: Atoll, other: Atoll, cloud: Cloud) -> None:
    token = cloud.keystone.token("admin")
    for site in cloud.sites:
        site.faults.add(Fault("latency", method="PUT", distribution="uniform", high=0.03))
    async with atoll.client(token) as one, other.client(token) as two:
        values = [30 * number for number in range(1, 9)]
        writes = [write((one, two)[at % 2], "compute", cloud, value) for at, value in enumerate(values)]
        answers = await asyncio.gather(*writes)
    assert [answer.status_code for answer in answers] == [200] * 8
    assert [answer.json()["quota_set"]["cores"] for answer in answers] == values
    (part,) = set(parts_of("compute", cloud))
    assert 3 * part in values


async def test_who_does_not_get_its_turn_has_written_nothing(
    start_atoll: StartAtoll, atoll: Atoll, cloud: Cloud
) -> None:
    hasty = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits={"deadline_seconds": 3.0})
    ident = hashlib.sha256(cloud.keystone.project_id("demo").encode()).hexdigest()
    lease = f"quota compute quota_set {ident}"
    columns = "name, holder, beat"
    await sql(atoll.database, f"INSERT INTO leases ({columns}) VALUES ('{lease}', 'other', 1);")  # noqa: S608
    async with hasty.client(cloud.keystone.token("admin")) as client:
        answer = await write(client, "compute", cloud, 30)
    assert answer.status_code == 409
    assert "Nothing was written" in answer.json()["conflictingRequest"]["message"]
    assert [site.compute.quota for site in cloud.sites] == [{}, {}, {}]
