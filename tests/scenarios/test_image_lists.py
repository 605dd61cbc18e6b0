"""Lists of images over sites that grew apart: in pages, in order, each image once."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import Client, client_of

from atoll.sandbox.simulated import Cloud, Fault

IMAGES = "/image/v2/images"
BASE = 1_700_000_000


class Clock:
    """What the sites take for the time, in seconds since 1970."""

    def __init__(self) -> None:
        self.now = BASE

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def clock() -> Clock:
    """The time that images are made at."""
    return Clock()


@pytest.fixture
async def cloud(clock: Clock) -> AsyncIterator[Cloud]:
    """Three sites without any image."""
    async with Cloud(3) as running:
        for site in running.sites:
            site.image.images.clear()
            site.clock = clock
        yield running


def put(cloud: Cloud, clock: Clock, site: int, at: int, name: str, **more: Any) -> str:
    """An image of the user's at a site, made `at` so many seconds."""
    clock.now = BASE + at
    owner = cloud.keystone.project_id("demo")
    data = more.pop("data", name.encode())
    made = cloud.sites[site].image.add(name, data, owner=owner, **{"visibility": "private"} | more)
    return str(made["id"])


def spread(cloud: Cloud, clock: Clock, count: int) -> None:
    """Images at all sites, one made after the other."""
    for at in range(count):
        put(cloud, clock, at % 3, 10 * at, f"image-{at:03d}")


async def pages(user: Client, limit: int, **query: str) -> list[dict[str, Any]]:
    """All pages as one, by Glance's own links."""
    found: list[dict[str, Any]] = []
    answer = await user.get(IMAGES, params={"limit": str(limit), **query})
    for _ in range(200):
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += body["images"]
        if "next" not in body:
            return found
        answer = await user.get("/image" + body["next"])
    raise AssertionError("it does not end")


def names(found: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in found]


def asked(cloud: Cloud) -> list[int]:
    """How many images each site was asked for in lists since this was last called."""
    counts = []
    for site in cloud.sites:
        targets = [urlsplit(one.target) for one in site.listener.seen]
        lists = [parse_qs(one.query) for one in targets if one.path.endswith("/v2/images")]
        counts.append(sum(int(one["limit"][0]) for one in lists))
        site.listener.seen.clear()
    return counts


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
@pytest.mark.parametrize("order", ["created_at:desc", "name:asc", "size:asc,created_at:desc"])
async def test_copies_that_stand_pages_apart_are_listed_once(
    user: Client, cloud: Cloud, clock: Clock, limit: int, order: str
) -> None:
    spread(cloud, clock, 30)
    for site, at in ((0, 5), (1, 155), (2, 295)):
        put(cloud, clock, site, at, "golden", data=b"gold")
    found = [await pages(user, limit, sort=order) for _ in range(3)]
    assert sorted(names(found[0])) == sorted([f"image-{at:03d}" for at in range(30)] + ["golden"])
    assert found[0] == found[1] == found[2]
    key = order.split(":", maxsplit=1)[0]
    values = [one[key] for one in found[0]]
    assert values == sorted(values, reverse=order.startswith("created_at"))


async def test_a_page_costs_each_site_about_a_page(user: Client, cloud: Cloud, clock: Clock) -> None:
    spread(cloud, clock, 300)
    put(cloud, clock, 0, 1, "golden")
    put(cloud, clock, 1, 2999, "golden")
    await user.get(IMAGES, params={"limit": "10"})  # everything is compared once
    asked(cloud)
    assert len((await user.get(IMAGES, params={"limit": "10"})).json()["images"]) == 10
    assert max(asked(cloud)) <= 20
    assert len(await pages(user, 100)) == 301


async def test_a_copy_made_beside_is_found_when_it_shows(user: Client, cloud: Cloud, clock: Clock) -> None:
    spread(cloud, clock, 30)
    first = put(cloud, clock, 0, 500, "golden")
    assert names(await pages(user, 10)).count("golden") == 1
    put(cloud, clock, 1, 510, "golden")
    found = await pages(user, 10)
    assert names(found).count("golden") == 1
    assert {one["id"] for one in found if one["name"] == "golden"} == {first}


async def test_the_same_bytes_twice_at_one_site_stay_two(user: Client, cloud: Cloud, clock: Clock) -> None:
    spread(cloud, clock, 30)
    for at in (5, 6):
        put(cloud, clock, 0, at, "golden")
    put(cloud, clock, 1, 155, "golden")
    await user.get(IMAGES)
    asked(cloud)
    for _ in range(2):
        assert names(await pages(user, 5)).count("golden") == 2
    assert max(asked(cloud)) < 500, "nothing new was there to compare"


async def test_what_is_gone_beside_is_shown_by_its_copy(user: Client, cloud: Cloud, clock: Clock) -> None:
    spread(cloud, clock, 30)
    first, second = (put(cloud, clock, site, 500 + site, "golden") for site in (0, 1))
    assert names(await pages(user, 10)).count("golden") == 1
    del cloud.sites[0].image.images[first]
    found = {one["name"]: one["id"] for one in await pages(user, 10)}
    assert found["golden"] in {first, second}
    assert (await user.get(f"{IMAGES}/{found['golden']}")).json()["name"] == "golden"


async def test_another_image_under_the_same_id_is_never_listed(
    user: Client, cloud: Cloud, clock: Clock
) -> None:
    spread(cloud, clock, 30)
    ident = put(cloud, clock, 0, 5, "golden")
    assert len(await pages(user, 10)) == 31
    clock.now = BASE + 1000
    cloud.sites[2].image.add("golden", b"evil", owner="x", image_id=ident, visibility="public")
    for _ in range(2):
        hashes = {one["os_hash_value"] for one in await pages(user, 100) if one["id"] == ident}
        assert hashes == {cloud.sites[0].image.images[ident]["os_hash_value"]}
    assert names(await pages(user, 10)).count("golden") == 1


async def test_a_copy_made_beside_atoll_never_follows_itself(
    user: Client, cloud: Cloud, clock: Clock
) -> None:
    """Clients take a page that ends with its own marker for a list without an end."""
    spread(cloud, clock, 3)
    await pages(user, 1)
    ident = put(cloud, clock, 0, 100, "golden")
    put(cloud, clock, 2, 90, "golden", image_id=ident)
    assert names(await pages(user, 1)) == ["golden", "image-002", "image-001", "image-000"]


async def test_another_private_image_under_the_same_id_stays_hidden_whoever_is_looked_at(
    user: Client, atoll: Atoll, cloud: Cloud, clock: Clock
) -> None:
    """What is public is compared by itself, and what others are shown: a private image is in neither."""
    spread(cloud, clock, 3)
    ident = put(cloud, clock, 0, 15, "golden")
    put(cloud, clock, 2, 12, "left over", image_id=ident)
    shown = ["image-002", "golden", "image-001", "image-000"]
    assert names(await pages(user, 1)) == shown
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        made = await admin.post(IMAGES, json={"name": "more", "visibility": "public"})
        assert made.status_code == 201, made.text
        assert (await admin.delete(f"{IMAGES}/{made.json()['id']}")).status_code == 204
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        assert await pages(other, 10) == []
    assert names(await pages(user, 1)) == shown
    assert (await user.get(f"{IMAGES}/{ident}")).json()["name"] == "golden"


async def test_hidden_images_are_listed_once_too(user: Client, cloud: Cloud, clock: Clock) -> None:
    spread(cloud, clock, 30)
    for site in (0, 1):
        put(cloud, clock, site, 10 * site, "golden", os_hidden=True)
    assert "golden" not in names(await pages(user, 10))
    assert names(await pages(user, 1, os_hidden="true")) == ["golden"]


async def test_hidden_images_are_one_whatever_was_listed(user: Client, cloud: Cloud, clock: Clock) -> None:
    """A list shows none of them: that says nothing of whether they are there."""
    spread(cloud, clock, 3)
    for site in (0, 1):
        put(cloud, clock, site, 10 * site, "golden", os_hidden=True)
    (hidden,) = await pages(user, 1, os_hidden="true")
    assert len(await pages(user, 10)) == 3
    assert (await user.delete(f"{IMAGES}/{hidden['id']}")).status_code == 204
    assert await pages(user, 10, os_hidden="true") == []


async def test_a_site_that_fails_in_the_middle_of_a_comparing_loses_nothing(
    start_atoll: StartAtoll, cloud: Cloud, clock: Clock
) -> None:
    spread(cloud, clock, 12)
    for site, at in ((0, 5), (1, 6)):
        put(cloud, clock, site, at, "golden")
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits={"page_limit": 3})
    async with client_of(atoll, cloud.keystone.token()) as user:
        (ident,) = [one["id"] for one in await pages(user, 3) if one["name"] == "golden"]
        fault = Fault("status", status=500, service="image", path="marker=")
        cloud.sites[1].faults.add(fault)
        late = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits={"page_limit": 3})
        async with client_of(late, user.token) as other:
            answer = await other.get(IMAGES)
            assert cloud.sites[1].name in answer.headers["X-Atoll-Missing-Sites"]
            cloud.sites[1].faults.clear()
            assert (await other.delete(f"{IMAGES}/{ident}")).status_code == 204
        assert not any("golden" in names(list(site.image.images.values())) for site in cloud.sites)


async def test_one_shared_by_others_is_listed_once(
    user: Client, atoll: Atoll, cloud: Cloud, clock: Clock
) -> None:
    """Its copies have one id, but whose they are is another project."""
    spread(cloud, clock, 30)
    project = cloud.keystone.project_id("alt_demo")
    ident = put(cloud, clock, 0, 15, "golden", visibility="shared")
    for site, at in ((1, 155), (2, 295)):
        put(cloud, clock, site, at, "golden", visibility="shared", image_id=ident)
    for one in cloud.sites:
        one.image.members[ident] = {project: {"member_id": project, "status": "accepted"}}
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        for _ in range(2):
            assert [one["id"] for one in await pages(other, 1)] == [ident]
    assert [one["id"] for one in await pages(user, 5)].count(ident) == 1


async def test_a_marker_of_ones_own_choice(user: Client, cloud: Cloud, clock: Clock) -> None:
    spread(cloud, clock, 9)
    copies = [put(cloud, clock, site, 35 + 10 * site, "golden") for site in (0, 1)]
    every = await pages(user, 100)
    for one in every:
        after = (await user.get(IMAGES, params={"limit": "100", "marker": one["id"]})).json()["images"]
        assert after == every[every.index(one) + 1 :]
    # Either of its ids means the image.
    for ident in copies:
        after = (await user.get(IMAGES, params={"limit": "100", "marker": ident})).json()["images"]
        assert "golden" not in names(after)
    answer = await user.get(IMAGES, params={"marker": "00000000-0000-0000-0000-000000000000"})
    assert answer.status_code in {400, 404}


async def test_another_gateway_begins_by_comparing(
    user: Client, cloud: Cloud, clock: Clock, start_atoll: StartAtoll
) -> None:
    spread(cloud, clock, 30)
    for site, at in ((0, 5), (1, 155)):
        put(cloud, clock, site, at, "golden")
    second = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    async with client_of(second, cloud.keystone.token()) as client:
        assert names(await pages(client, 4)) == names(await pages(user, 4))


async def test_a_site_that_comes_back_is_compared(user: Client, cloud: Cloud, clock: Clock) -> None:
    """While it was away nothing could be said of what it has."""
    spread(cloud, clock, 30)
    for site, at in ((0, 5), (1, 295)):
        put(cloud, clock, site, at, "golden")
    cloud.sites[1].faults.add(Fault("status", status=500, service="image"))
    answer = await user.get(IMAGES, params={"limit": "100"})
    assert names(answer.json()["images"]).count("golden") == 1
    assert cloud.sites[1].name in answer.headers["X-Atoll-Missing-Sites"]
    cloud.sites[1].faults.clear()
    assert names(await pages(user, 100)).count("golden") == 1


async def test_a_site_that_answers_what_are_no_images_is_named(
    user: Client, cloud: Cloud, clock: Clock
) -> None:
    spread(cloud, clock, 9)
    broken = put(cloud, clock, 1, 500, "broken")
    cloud.sites[1].image.images[broken]["id"] = None
    for _ in range(2):
        answer = await user.get(IMAGES, params={"limit": "100"})
        assert answer.status_code == 200
        assert cloud.sites[1].name in answer.headers["X-Atoll-Missing-Sites"]
        assert len(answer.json()["images"]) == 6
