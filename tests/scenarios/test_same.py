"""Clouds that grew apart are one cloud: one thing under one id, translated at each site."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, atoll_before, sites_of
from tests.scenarios.conftest import SERVERS, Client, client_of, sql

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.apart import Apart

NAMES = ("paris", "tokyo", "oslo")
FLAVORS, IMAGES, NETWORKS = "/compute/v2.1/flavors", "/image/v2/images", "/network/v2.0/networks"
ZONES = {name: {"site": name, "zone": "nova"} for name in NAMES}


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """Three sites that grew apart behind one Keystone."""
    async with Apart(shared=True) as running:
        yield running


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway before them, with a zone for each."""
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await running.settled()
    return running


async def named(client: httpx.AsyncClient, path: str, **filters: str) -> dict[str, list[str]]:
    """A list as names with their ids."""
    answer = await client.get(path, params=filters)
    assert answer.status_code == 200, answer.text
    found: dict[str, list[str]] = {}
    for one in answer.json()[path.rpartition("/")[2]]:
        found.setdefault(one["name"], []).append(one["id"])
    return found


def own_id(cloud: Cloud, site: str, name: str) -> str:
    """The id of a flavor at a site."""
    return next(key for key, one in cloud.site(site).compute.flavors.items() if one["name"] == name)


async def booted(client: httpx.AsyncClient, zone: str, **more: Any) -> dict[str, Any]:
    """A server made as the stock client makes it: by names looked up in merged lists."""
    flavors, images = await named(client, FLAVORS), await named(client, IMAGES)
    body = {"name": f"vm-{zone}", "flavorRef": flavors["m1.nano"][0], "imageRef": images["cirros"][0]}
    body |= {"availability_zone": zone, **more}
    answer = await client.post(SERVERS, json={"server": body})
    assert answer.status_code == 202, answer.text
    shown = await client.get(f"{SERVERS}/{answer.json()['server']['id']}")
    server: dict[str, Any] = shown.json()["server"]
    return server


async def test_each_is_listed_once_and_what_differs_stays_two(user: Client, cloud: Cloud) -> None:
    flavors, images = await named(user, FLAVORS), await named(user, IMAGES)
    assert {name: len(ids) for name, ids in flavors.items()} == {
        "m1.nano": 1, "m1.micro": 1, "m1.tiny": 1, "m1.small": 2,
    }  # fmt: skip
    assert {name: len(ids) for name, ids in images.items()} == {"cirros": 1, "cirros-alt": 2}
    # Three flavors have the id 1: it is the one of the first site.
    assert flavors["m1.nano"] == ["1"]
    assert set(flavors["m1.small"]) == {
        own_id(cloud, "paris", "m1.small"),
        own_id(cloud, "tokyo", "m1.small"),
    }
    assert images["cirros"] == [cloud.site("paris").image_id("cirros")]


@pytest.mark.parametrize("zone", NAMES)
async def test_a_server_is_made_anywhere_by_the_same_ids(user: Client, cloud: Cloud, zone: str) -> None:
    server = await booted(user, zone)
    (made,) = cloud.site(zone).compute.instances.of(cloud.keystone.project_id("demo"))
    assert made.flavor["id"] == own_id(cloud, zone, "m1.nano")
    assert made.image_id == cloud.site(zone).image_id("cirros")
    image = cloud.site("paris").image_id("cirros")
    assert (server["flavor"]["id"], server["image"]["id"]) == ("1", image)
    assert server["flavor"]["links"][0]["href"].endswith("/compute/flavors/1")
    assert server["image"]["links"][0]["href"].endswith(f"/compute/images/{image}")


async def test_lists_show_the_same_ids_and_filter_by_them(user: Client, cloud: Cloud) -> None:
    for zone in NAMES:
        await booted(user, zone)
    image = cloud.site("paris").image_id("cirros")
    listed = (await user.get(f"{SERVERS}/detail")).json()["servers"]
    assert {(one["flavor"]["id"], one["image"]["id"]) for one in listed} == {("1", image)}
    for filters in ({"flavor": "1"}, {"image": image}):
        assert len((await user.get(SERVERS, params=filters)).json()["servers"]) == 3
    # At the other sites another flavor is called 1: their servers of that are not of this one.
    tiny = (await named(user, FLAVORS))["m1.tiny"][0]
    assert (await user.get(SERVERS, params={"flavor": tiny})).json()["servers"] == []


async def test_rebuild_and_resize_are_translated(user: Client, cloud: Cloud) -> None:
    server = await booted(user, "tokyo")
    micro = (await named(user, FLAVORS))["m1.micro"][0]
    action = f"{SERVERS}/{server['id']}/action"
    assert (await user.post(action, json={"resize": {"flavorRef": micro}})).status_code == 202
    (made,) = cloud.site("tokyo").compute.instances.of(cloud.keystone.project_id("demo"))
    assert made.flavor["id"] == own_id(cloud, "tokyo", "m1.micro") == "1"
    assert (await user.post(action, json={"confirmResize": None})).is_success
    image = cloud.site("paris").image_id("cirros")
    rebuilt = await user.post(action, json={"rebuild": {"imageRef": image}})
    assert rebuilt.status_code == 202
    assert rebuilt.json()["server"]["image"]["id"] == image
    assert made.image_id == cloud.site("tokyo").image_id("cirros")


async def test_each_is_shown_under_its_one_id_by_whatever_site_is_there(user: Client, cloud: Cloud) -> None:
    flavor = (await named(user, FLAVORS))["m1.micro"][0]
    image = (await named(user, IMAGES))["cirros"][0]
    cloud.site("paris").refuse()
    shown = (await user.get(f"{FLAVORS}/{flavor}")).json()["flavor"]
    assert (shown["id"], shown["name"]) == (flavor, "m1.micro")
    shown = (await user.get(f"{IMAGES}/{image}")).json()
    assert (shown["id"], shown["self"], shown["name"]) == (image, f"/v2/images/{image}", "cirros")
    assert (await user.get(f"{IMAGES}/{image}/file")).content
    await cloud.site("paris").start()


async def test_ids_stay_when_the_first_site_is_away_or_another_gateway_asks(
    user: Client, cloud: Cloud, database: Path
) -> None:
    before = await named(user, FLAVORS), await named(user, IMAGES)
    cloud.site("paris").refuse()
    sites = sites_of(cloud, "oslo", "tokyo", "paris")
    async with (
        atoll_before(cloud.keystone.auth_url, sites, database, {"zones": ZONES}) as second,
        client_of(second, cloud.keystone.token()) as client,
    ):
        after = await named(client, FLAVORS), await named(client, IMAGES)
    for old, new in zip(before, after, strict=True):
        assert all(set(ids) <= set(old[name]) for name, ids in new.items())
    assert after[0]["m1.nano"] == ["1"]
    await cloud.site("paris").start()


async def test_an_image_with_other_bytes_is_booted_only_where_it_is(user: Client, cloud: Cloud) -> None:
    other = cloud.site("tokyo").image_id("cirros-alt")
    assert other in (await named(user, IMAGES))["cirros-alt"]
    flavor = (await named(user, FLAVORS))["m1.nano"][0]
    body = {"name": "vm", "flavorRef": flavor, "imageRef": other}
    assert (await user.post(SERVERS, json={"server": body})).status_code == 202
    assert len(cloud.site("tokyo").compute.instances) == 1
    refused = await user.post(SERVERS, json={"server": {**body, "availability_zone": "oslo"}})
    assert refused.status_code == 409
    assert "tokyo" in refused.text


async def test_an_image_under_the_id_of_anothers_is_hidden_and_never_booted(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    """The site that joins with it is the first in the order: what was recorded counts for more."""
    early = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "tokyo", "oslo"))
    token = cloud.keystone.token()
    async with client_of(early, token) as client:
        image = (await named(client, IMAGES))["cirros"][0]
    hostile = cloud.site("paris").image
    hostile.images.clear()
    hostile.add(
        "cirros", b"evil" * 100, owner="x", image_id=image,
        visibility="public", disk_format="raw", container_format="bare",
    )  # fmt: skip
    late = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await late.settled()
    async with client_of(late, token) as client:
        assert (await named(client, IMAGES))["cirros"] == [image]
        flavor = (await named(client, FLAVORS))["m1.nano"][0]
        body = {"name": "vm", "flavorRef": flavor, "imageRef": image}
        refused = await client.post(SERVERS, json={"server": {**body, "availability_zone": "paris"}})
        assert refused.status_code == 409
        for _ in range(4):
            assert (await client.post(SERVERS, json={"server": body})).status_code == 202
        assert len(cloud.site("paris").compute.instances) == 0
        for name in ("tokyo", "oslo"):
            cloud.site(name).refuse()
        assert b"evil" not in (await client.get(f"{IMAGES}/{image}/file")).content
        for name in ("tokyo", "oslo"):
            await cloud.site(name).start()


async def test_a_private_image_is_never_anothers(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    demo = cloud.keystone.project_id("demo")
    ids = [
        cloud.site(name).image.add("mine", b"secret" * 50, owner=demo, visibility="private")["id"]
        for name in ("paris", "tokyo")
    ]
    assert (await named(user, IMAGES))["mine"] == [ids[0]]
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        assert "mine" not in await named(other, IMAGES)
        answer = await other.get(f"{IMAGES}/{ids[0]}")
        assert answer.status_code == 404
        assert ids[1] not in answer.text
    assert (await user.get(f"{IMAGES}/{ids[0]}")).status_code == 200


async def test_keypairs_of_one_name_and_two_keys_are_one_and_used_where_they_are(
    user: Client, cloud: Cloud
) -> None:
    made = await user.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "k"}})
    assert made.status_code in {200, 201}
    pairs = cloud.site("oslo").compute.keypairs
    next(iter(pairs.values()))["fingerprint"] = "00:11"
    listed = (await user.get("/compute/v2.1/os-keypairs")).json()["keypairs"]
    assert [one["keypair"]["name"] for one in listed] == ["k"]
    flavor, image = (await named(user, FLAVORS))["m1.nano"][0], (await named(user, IMAGES))["cirros"][0]
    body = {
        "name": "vm",
        "flavorRef": flavor,
        "imageRef": image,
        "key_name": "k",
        "availability_zone": "oslo",
    }
    refused = await user.post(SERVERS, json={"server": body})
    assert refused.status_code == 409
    assert "keypair k" in refused.text


async def test_what_a_site_had_is_kept_while_it_does_not_answer(user: Client, cloud: Cloud) -> None:
    await named(user, FLAVORS)
    cloud.site("tokyo").refuse()
    flavors = await named(user, FLAVORS)
    assert flavors["m1.nano"] == ["1"]
    await cloud.site("tokyo").start()
    server = await booted(user, "tokyo")
    assert server["flavor"]["id"] == "1"


async def test_a_site_too_old_to_list_extra_specs_is_compared_by_them(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    old = cloud.site("oslo").compute
    old.max_minor = 53
    own = old.flavors[own_id(cloud, "oslo", "m1.micro")]
    own["extra_specs"] = {"hw:cpu_policy": "dedicated"}
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await running.settled()
    async with client_of(running, cloud.keystone.token()) as client:
        flavors = await named(client, FLAVORS)
    assert {name: len(ids) for name, ids in flavors.items()} == {
        "m1.nano": 1, "m1.micro": 2, "m1.tiny": 1, "m1.small": 2,
    }  # fmt: skip


async def test_a_failing_store_does_not_keep_things_from_being_one(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    await sql(atoll.database, "DROP TABLE intent")
    assert (await named(user, FLAVORS))["m1.nano"] == ["1"]
    server = await booted(user, "tokyo")
    assert server["flavor"]["id"] == "1"
    assert len(cloud.site("tokyo").compute.instances) == 1


async def test_volumes_say_which_image_they_were_made_from(user: Client, cloud: Cloud) -> None:
    image = (await named(user, IMAGES))["cirros"][0]
    body = {
        "volume": {"size": 1, "imageRef": image, "availability_zone": "tokyo", "metadata": {"image_id": "x"}}
    }
    made = await user.post("/block-storage/v3/volumes", json=body)
    assert made.status_code == 202, made.text
    assert len(cloud.site("tokyo").block_storage.volumes) == 1
    volume = made.json()["volume"]["id"]

    async def shown() -> dict[str, Any]:
        answer = await user.get(f"/block-storage/v3/volumes/{volume}")
        found: dict[str, Any] = answer.json()["volume"]
        return found

    said = await shown()
    assert said["metadata"] == {"image_id": "x"}
    assert said["volume_image_metadata"]["image_id"] == image
