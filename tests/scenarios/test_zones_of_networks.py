"""A zone that a network can be asked for is one that is listed, whether or not its site's Neutron has any."""

from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import Client, client_of

from atoll.sandbox.simulated import Cloud

NETWORK = "/network/v2.0"
KINDS = ("network", "router")
# Neutron of a simulated site has no zones, as none has without agents.
ZONES = {
    "paris": {"site": "site1"},
    "oslo": {"site": "site2", "zone": {"compute": "nova"}},
    "rome": {"site": "site3", "zone": "az-1"},
}


async def zones(client: Client, query: str = "") -> Any:
    return (await client.get(f"{NETWORK}/availability_zones{query}")).json()["availability_zones"]


async def test_a_zone_that_leaves_the_choice_to_its_site_is_listed(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token("demo")) as client:
        listed = await zones(client)
        assert sorted((one["name"], one["resource"], one["state"]) for one in listed) == [
            ("oslo", "network", "available"),
            ("oslo", "router", "available"),
            ("paris", "network", "available"),
            ("paris", "router", "available"),
        ]
        for name, site in (("paris", "site1"), ("oslo", "site2")):
            body = {"network": {"name": name, "availability_zone_hints": [name]}}
            made = (await client.post(f"{NETWORK}/networks", json=body)).json()["network"]
            assert made["availability_zone_hints"] == [name]
            assert made["id"] in cloud.site(site).network.records.of("networks")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=oslo", [{"name": "oslo", "resource": kind, "state": "available"} for kind in KINDS]),
        ("resource=router&fields=name", [{"name": "oslo"}, {"name": "paris"}]),
        ("state=unavailable", []),
        ("name=rome", []),
    ],
)
async def test_they_are_filtered_by_the_names_that_are_shown(
    start_atoll: StartAtoll, cloud: Cloud, query: str, found: list[dict[str, str]]
) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token("demo")) as client:
        assert sorted(await zones(client, f"?{query}"), key=str) == found


async def test_a_zone_of_a_site_that_is_away_is_not_and_the_site_is_named(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    cloud.site("site2").refuse()
    async with client_of(atoll, cloud.keystone.token("demo")) as client:
        answer = await client.get(f"{NETWORK}/availability_zones")
        assert {one["name"] for one in answer.json()["availability_zones"]} == {"paris"}
        assert "site2" in answer.headers["X-Atoll-Missing-Sites"]
