"""What others offer in the place of what a user means: images of other projects, keys of other content."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, Client, client_of

from atoll.sandbox.simulated import Cloud, Site
from atoll.sandbox.simulated.apart import Apart

NAMES = ("paris", "tokyo", "oslo")
KEYPAIRS, IMAGES = "/compute/v2.1/os-keypairs", "/image/v2/images"
BYTES = b"the operator's" * 100


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with Apart(shared=True) as running:
        yield running


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    zones = {name: {"site": name, "zone": "nova"} for name in NAMES}
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=zones)
    await running.settled()
    return running


def offer(site: Site, project: str, visibility: str, **fields: Any) -> str:
    """An image of the same name and bytes as everybody else's; its id."""
    more = {"disk_format": "raw", "container_format": "bare", **fields}
    made = site.image.add("golden", BYTES, owner=project, visibility=visibility, **more)
    return str(made["id"])


async def boot(user: Client, image: str, zone: str) -> int:
    """The status of a server create by the flavor that is the same everywhere."""
    flavors = (await user.get("/compute/v2.1/flavors")).json()["flavors"]
    flavor = next(one["id"] for one in flavors if one["name"] == "m1.nano")
    body = {"name": "vm", "flavorRef": flavor, "imageRef": image, "availability_zone": zone}
    return (await user.post(SERVERS, json={"server": body})).status_code


async def listed(user: Client) -> set[str]:
    """The ids that are listed under the name, those of community images too."""
    found = set()
    for more in ("", "&visibility=community"):
        answer = await user.get(f"{IMAGES}?name=golden{more}")
        found |= {one["id"] for one in answer.json()["images"]}
    return found


@pytest.mark.parametrize("visibility", ["public", "community", "shared"])
async def test_an_image_of_another_project_is_not_used_for_it(user: Client, cloud: Cloud, visibility: str):
    operator, other = cloud.keystone.project_id("admin"), cloud.keystone.project_id("alt_demo")
    theirs = offer(cloud.site("tokyo"), other, visibility)
    golden = offer(cloud.site("paris"), operator, "public")
    copy = offer(cloud.site("oslo"), operator, "public")
    seen = await listed(user)
    assert golden in seen
    assert copy not in seen, "the operator's own are one"
    assert (theirs in seen) == (visibility != "shared")
    assert await boot(user, golden, "tokyo") == 409
    assert [await boot(user, golden, zone) for zone in ("paris", "oslo")] == [202, 202]
    assert len(cloud.site("tokyo").compute.instances) == 0


async def test_community_images_of_one_project_are_each_its_own(user: Client, cloud: Cloud):
    demo = cloud.keystone.project_id("demo")
    ids = {offer(cloud.site(name), demo, "community") for name in NAMES}
    assert await listed(user) == ids
    assert await boot(user, min(ids), "tokyo") + await boot(user, min(ids), "paris") > 202 + 202


async def test_the_check_names_who_differs(user: Client, cloud: Cloud):
    offer(cloud.site("paris"), cloud.keystone.project_id("admin"), "public")
    offer(cloud.site("tokyo"), cloud.keystone.project_id("alt_demo"), "public")
    (missed,) = [
        one
        for one in (await user.get("/atoll/v1/same/check")).json()["near_misses"]
        if one["name"] == "golden"
    ]
    assert "different projects" in missed["reason"]


async def keypair(user: Client, name: str = "k") -> None:
    made = await user.post(KEYPAIRS, json={"keypair": {"name": name}})
    assert made.status_code in {200, 201}, made.text


def change(cloud: Cloud, name: str = "oslo") -> None:
    """Another key under the name, at one site."""
    pair = next(iter(cloud.site(name).compute.keypairs.values()))
    pair["fingerprint"] = "00:11"


async def test_a_key_of_the_same_name_and_another_content_is_not_put_into_a_server(
    user: Client, cloud: Cloud
):
    """Though nobody has listed the keys before."""
    await keypair(user)
    change(cloud)
    flavors = (await user.get("/compute/v2.1/flavors")).json()["flavors"]
    images = (await user.get(f"{IMAGES}?name=cirros")).json()["images"]
    flavor = next(one["id"] for one in flavors if one["name"] == "m1.nano")
    body = {"name": "vm", "flavorRef": flavor, "imageRef": images[0]["id"], "key_name": "k"}
    there = await user.post(SERVERS, json={"server": {**body, "availability_zone": "oslo"}})
    assert there.status_code == 409
    assert "keypair k" in there.text
    for zone in ("paris", "tokyo"):
        here = await user.post(SERVERS, json={"server": {**body, "availability_zone": zone}})
        assert here.status_code == 202, here.text


async def test_such_a_key_is_a_near_miss_and_one_like_the_others_is_not(user: Client, cloud: Cloud):
    await keypair(user)
    change(cloud)
    await keypair(user, "other")
    await user.get(KEYPAIRS)
    missed = (await user.get("/atoll/v1/same/check")).json()["near_misses"]
    (keys,) = [one for one in missed if one["resource"] == "keypair"]
    assert (keys["name"], "oslo" in keys["reason"]) == ("k", True)


async def test_whose_keys_an_administrator_lists_makes_no_difference_to_his_own(
    user: Client, atoll: Atoll, cloud: Cloud
):
    """The user's key is another at one of the sites; the administrator's of the same name is not."""
    await keypair(user)
    change(cloud)
    async with client_of(atoll, cloud.keystone.token("admin", "demo")) as admin:
        await keypair(admin)
        of_demo = f"{KEYPAIRS}?user_id={cloud.keystone.store.id_of('user', 'demo')}"
        assert (
            await admin.get(of_demo, headers={"OpenStack-API-Version": "compute 2.35"})
        ).status_code == 200
        missed = (await admin.get("/atoll/v1/same/check")).json()["near_misses"]
        assert [one for one in missed if one["resource"] == "keypair"] == []
