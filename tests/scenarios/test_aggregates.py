"""Aggregates and the zones they make: Atoll's names inward and outward."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import Client, client_of, writes

from atoll.core.ids import qualify
from atoll.sandbox.simulated import Cloud

PATH = "/compute/v2.1/os-aggregates"
ZONES = {
    "paris": {"site": "site1", "zone": "nova"},
    "oslo": {"site": "site2", "zone": "nova"},
    "bergen": {"site": "site2", "zone": "az-2"},
    "rome": {"site": "site3"},
}


@pytest.fixture
async def zoned(start_atoll: StartAtoll, cloud: Cloud) -> AsyncIterator[Client]:
    """The administrator of a gateway whose zones have names of their own; rome is all of site3."""
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token("admin")) as client:
        yield client


async def made(client: Client, name: str, zone: str | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"name": name} | ({"availability_zone": zone} if zone else {})
    return shown(await client.post(PATH, json={"aggregate": body}))


def shown(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["aggregate"])


def zone_at(cloud: Cloud, site: str, number: int = 1) -> str | None:
    """What a site has as the zone of one of its aggregates."""
    metadata: dict[str, str] = cloud.site(site).compute.aggregates.by_id[number]["metadata"]
    return metadata.get("availability_zone")


async def act(client: Client, ident: int, **action: Any) -> httpx.Response:
    return await client.post(f"{PATH}/{ident}/action", json=action)


@pytest.mark.parametrize(
    ("zone", "site", "number", "there"),
    [("paris", "site1", 0, "nova"), ("oslo", "site2", 1, "nova"), ("bergen", "site2", 1, "az-2"),
     ("rome", "site3", 2, "rome")],
)  # fmt: skip
async def test_an_aggregate_is_made_where_its_zone_is(
    zoned: Client, cloud: Cloud, zone: str, site: str, number: int, there: str
) -> None:
    one = await made(zoned, "a", zone)
    assert (one["id"], one["availability_zone"]) == (qualify(number, 1), zone)
    assert zone_at(cloud, site) == there
    (listed,) = (await zoned.get(PATH)).json()["aggregates"]
    assert listed == shown(await zoned.get(f"{PATH}/{one['id']}"))
    assert listed["availability_zone"] == zone
    assert listed["metadata"] == {"availability_zone": zone}
    assert one.items() <= listed.items()


async def test_a_zone_is_changed_within_its_site(zoned: Client, cloud: Cloud) -> None:
    ident = (await made(zoned, "a", "oslo"))["id"]
    body = {"aggregate": {"name": "b", "availability_zone": "bergen"}}
    one = shown(await zoned.put(f"{PATH}/{ident}", json=body))
    assert (one["id"], one["availability_zone"], zone_at(cloud, "site2")) == (ident, "bergen", "az-2")
    metadata = {"availability_zone": "oslo", "name": "oslo", "id": "7"}
    one = shown(await act(zoned, ident, set_metadata={"metadata": metadata}))
    assert (one["id"], one["availability_zone"], zone_at(cloud, "site2")) == (ident, "oslo", "nova")
    assert one["metadata"] == metadata
    kept = cloud.site("site2").compute.aggregates.by_id[1]["metadata"]
    assert kept == {**metadata, "availability_zone": "nova"}


@pytest.mark.parametrize("way", ["PUT", "set_metadata"])
async def test_a_zone_of_another_site_is_a_conflict(zoned: Client, cloud: Cloud, way: str) -> None:
    ident = (await made(zoned, "a", "oslo"))["id"]
    before = len(writes(cloud))
    for zone, site in (("paris", "site1"), ("rome", "site3")):
        if way == "PUT":
            body = {"aggregate": {"availability_zone": zone}}
            answer = await zoned.put(f"{PATH}/{ident}", json=body)
        else:
            answer = await act(zoned, ident, set_metadata={"metadata": {"availability_zone": zone}})
        assert answer.status_code == 409
        message = answer.json()["conflictingRequest"]["message"]
        assert zone in message
        assert site in message
        assert "site2" in message
    assert len(writes(cloud)) == before
    assert zone_at(cloud, "site2") == "nova"


async def test_a_zone_that_is_not_atolls_passes_as_it_is(zoned: Client, cloud: Cloud) -> None:
    ident = (await made(zoned, "a", "mars"))["id"]
    assert (ident, zone_at(cloud, "site1")) == (1, "mars")
    other = (await made(zoned, "b", "oslo"))["id"]
    one = shown(await act(zoned, other, set_metadata={"metadata": {"availability_zone": "mars"}}))
    assert (one["availability_zone"], zone_at(cloud, "site2")) == ("mars", "mars")
    one = shown(await zoned.put(f"{PATH}/{other}", json={"aggregate": {"availability_zone": "venus"}}))
    assert (one["availability_zone"], zone_at(cloud, "site2")) == ("venus", "venus")


async def test_an_aggregate_without_a_zone(zoned: Client) -> None:
    one = await made(zoned, "a")
    assert (one["id"], one["availability_zone"]) == (1, None)
    one = shown(await act(zoned, 1, set_metadata={"metadata": {"ssd": "true", "gone": None}}))
    assert (one["availability_zone"], one["metadata"]) == (None, {"ssd": "true"})


async def test_what_is_refused_names_the_aggregate_as_clients_know_it(zoned: Client) -> None:
    ident = (await made(zoned, "1", "oslo"))["id"]
    host = "site2-compute1"
    assert shown(await act(zoned, ident, add_host={"host": host}))["hosts"] == [host]
    answer = await act(zoned, ident, add_host={"host": host})
    assert answer.json()["conflictingRequest"]["message"] == f"Aggregate {ident} already has host {host}."
    answer = await act(zoned, ident, remove_host={"host": "1"})
    said = f"Cannot remove host 1 in aggregate {ident}"
    assert answer.json() == {"itemNotFound": {"code": 404, "message": said}}
    answer = await zoned.delete(f"{PATH}/{ident}")
    said = f"Cannot remove host from aggregate {ident}. Reason: Host aggregate is not empty."
    assert answer.json() == {"badRequest": {"code": 400, "message": said}}
    body = {"aggregate": {"availability_zone": None}}
    answer = await zoned.put(f"{PATH}/{ident}", json=body)
    why = "Aggregate 1 does not support empty named availability zone"
    said = f"Cannot update aggregate {ident}. Reason: {why}."
    assert answer.json()["badRequest"]["message"] == said
    assert (await act(zoned, ident, remove_host={"host": host})).status_code == 200
    assert (await zoned.delete(f"{PATH}/{ident}")).status_code == 200
    assert (await zoned.get(PATH)).json() == {"aggregates": []}


async def test_a_change_of_an_aggregate_of_a_site_that_is_away(zoned: Client, cloud: Cloud) -> None:
    ident = (await made(zoned, "a", "oslo"))["id"]
    cloud.site("site2").refuse()
    for answer in (
        await zoned.get(f"{PATH}/{ident}"),
        await zoned.put(f"{PATH}/{ident}", json={"aggregate": {"name": "b"}}),
        await act(zoned, ident, set_metadata={"metadata": {"a": "b"}}),
    ):
        assert answer.status_code == 503
