"""The zone of a host has one name, whichever list shows it, and hosts are found by that name."""

from collections.abc import AsyncIterator

import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import Client, client_of

from atoll.sandbox.simulated import Cloud

COMPUTE = "/compute/v2.1"
# Oslo is one of two zones of its site, rome all of another.
ZONES = {
    "paris": {"site": "site1", "zone": "nova"},
    "oslo": {"site": "site2", "zone": "nova"},
    "bergen": {"site": "site2", "zone": "az-2"},
    "rome": {"site": "site3"},
}
OF_COMPUTE = {"site1-compute1": "paris", "site2-compute1": "oslo", "site3-compute1": "rome"}
OF_CONTROL = {
    "site1-control": "internal", "site2-control": "internal@site2", "site3-control": "internal@site3",
}  # fmt: skip


@pytest.fixture
async def zoned(start_atoll: StartAtoll, cloud: Cloud) -> AsyncIterator[Client]:
    """The administrator of a gateway whose zones have names of their own."""
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token("admin")) as client:
        yield client


async def zones_in(client: Client, path: str, key: str, host: str) -> dict[str, str]:
    """The zone of each host in a list."""
    answer = await client.get(f"{COMPUTE}/{path}")
    assert answer.status_code == 200, answer.text
    return {one[host]: one["zone"] for one in answer.json()[key]}


async def test_every_list_says_the_same(zoned: Client) -> None:
    wanted = OF_COMPUTE | OF_CONTROL
    assert await zones_in(zoned, "os-services", "services", "host") == wanted
    assert await zones_in(zoned, "os-hosts", "hosts", "host_name") == wanted
    listed = (await zoned.get(f"{COMPUTE}/os-availability-zone/detail")).json()["availabilityZoneInfo"]
    shown = [(host, one["zoneName"]) for one in listed for host in one.get("hosts") or {}]
    assert sorted(shown) == sorted(wanted.items())


async def test_a_zone_that_is_all_of_a_site_has_the_hosts_of_all_its_zones(
    zoned: Client, cloud: Cloud
) -> None:
    compute = cloud.site("site3").compute
    compute.zones, compute.hypervisors = ["nova", "az-2"], 3
    listed = (await zoned.get(f"{COMPUTE}/os-availability-zone/detail")).json()["availabilityZoneInfo"]
    (rome,) = (one for one in listed if one["zoneName"] == "rome")
    assert sorted(rome["hosts"]) == [f"site3-compute{number}" for number in (1, 2, 3)]
    assert rome["zoneState"] == {"available": True}


@pytest.mark.parametrize("zone", [*OF_COMPUTE.values(), *OF_CONTROL.values()])
async def test_hosts_are_found_by_the_zone_they_show(zoned: Client, cloud: Cloud, zone: str) -> None:
    wanted = {host: name for host, name in (OF_COMPUTE | OF_CONTROL).items() if name == zone}
    # Only the zone's own site is asked: the others may be away.
    own = next(iter(wanted)).partition("-")[0]
    for site in cloud.sites:
        if site.name != own:
            site.refuse()
    assert await zones_in(zoned, f"os-hosts?zone={zone}", "hosts", "host_name") == wanted


@pytest.mark.parametrize("zone", ["bergen", "nowhere", "nova", "az-2", "internal@site1"])
async def test_what_no_host_shows_finds_none(zoned: Client, zone: str) -> None:
    assert await zones_in(zoned, f"os-hosts?zone={zone}", "hosts", "host_name") == {}


async def test_hosts_are_gone_where_nova_has_them_no_more(zoned: Client) -> None:
    answer = await zoned.get(f"{COMPUTE}/os-hosts", headers={"OpenStack-API-Version": "compute 2.43"})
    assert answer.status_code == 404


async def test_services_of_cinder_show_its_zone(zoned: Client, cloud: Cloud) -> None:
    own = cloud.keystone.project_id("admin")
    listed = (await zoned.get(f"/block-storage/v3/{own}/os-services")).json()["services"]
    assert {one["zone"] for one in listed} == {"paris", "oslo", "rome"}
