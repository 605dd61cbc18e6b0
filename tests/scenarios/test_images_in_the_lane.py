"""A GET of an image by its id in the lane: answered from callbacks, and as the ordinary way answers.

A query that no site knows sends the same request the ordinary way.
"""

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import httpx
import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.apart import Apart as ApartClouds
from tests.scenarios.apart import apart
from tests.scenarios.conftest import Client, client_of

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.apart import Apart

IMAGES = "/image/v2/images"
FIELDS = {"name": "golden", "disk_format": "raw", "container_format": "bare"}
# What is another in each answer.
OWN = frozenset({"date", "x-openstack-request-id", "x-compute-request-id"})
KEY = "x-openstack-request-id"


def asked(cloud: Cloud, ident: str, site: str = "") -> list[str]:
    """The request ids under which sites were asked for an image, in the words of the lane or of `images`."""
    return [
        seen.header(KEY)
        for one in cloud.sites
        if site in {"", one.name}
        for seen in one.listener.seen
        if (seen.method, seen.target.removeprefix("/image")) == ("GET", f"/v2/images/{ident}")
    ]


def alike(one: httpx.Response, other: httpx.Response) -> None:
    """Hold two answers against each other."""
    assert (one.status_code, one.text) == (other.status_code, other.text)
    shown = [{key: value for key, value in each.headers.items() if key not in OWN} for each in (one, other)]
    assert shown[0] == shown[1]


async def both(user: Client, ident: str) -> httpx.Response:
    """An image by both ways, which must not differ; what the lane says, once it can."""
    ordinary = await user.get(f"{IMAGES}/{ident}?x=1")
    for _ in range(3):
        answer = await user.get(f"{IMAGES}/{ident}")
        alike(answer, ordinary)
    alike(answer, await user.get(f"{IMAGES}/{ident}?x=1"))
    return answer


def in_lane(cloud: Cloud, ident: str) -> bool:
    """Whether a site was last asked for an image by the lane, twice: its request ids count on from one."""
    last = [asked(cloud, ident, site.name)[-2:] for site in cloud.sites]
    return any(len(two) == 2 and two[0] != two[1] and two[0][:-8] == two[1][:-8] for two in last)


def put(cloud: Cloud, site: str, ident: str = "", **fields: Any) -> str:
    """An image that was made at a site without Atoll; its id."""
    more = {"owner": cloud.keystone.project_id("demo"), "visibility": "private", **fields}
    more |= {"disk_format": "raw", "container_format": "bare"}
    name = more.pop("name", "golden")
    data = more.pop("data", b"golden")
    return str(cloud.site(site).image.add(name, data, image_id=ident or None, **more)["id"])


def public(cloud: Cloud, *sites: str) -> str:
    """A public image of one id at some sites."""
    ident = str(uuid.uuid4())
    for site in sites:
        put(cloud, site, ident, visibility="public")
    return ident


# -- of one site --------------------------------------------------------------------------------------


async def test_one_that_was_made_through_atoll(user: Client, cloud: Cloud) -> None:
    made = await user.post(IMAGES, json={**FIELDS, "atoll_sites": "site2"})
    ident = made.json()["id"]
    answer = await both(user, ident)
    assert (answer.status_code, answer.json()["id"]) == (200, ident)
    assert in_lane(cloud, ident)
    assert not asked(cloud, ident, "site1"), "it is on record"


async def test_one_that_was_found(user: Client, cloud: Cloud) -> None:
    ident = put(cloud, "site3")
    answer = await both(user, ident)
    assert (answer.status_code, answer.json()["id"]) == (200, ident)
    assert in_lane(cloud, ident)
    assert len(asked(cloud, ident, "site1")) == 1, "the search"


async def test_one_that_is_deleted_is_gone_and_stays_on_record(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    made = await user.post(IMAGES, json={**FIELDS, "atoll_sites": "site2"})
    ident = made.json()["id"]
    assert (await user.delete(f"{IMAGES}/{ident}")).status_code == 204
    assert (await both(user, ident)).status_code == 404
    assert in_lane(cloud, ident)
    await asyncio.sleep(0.2)  # what is gone is written off the request path
    with closing(sqlite3.connect(atoll.database)) as database:
        kept = database.execute("SELECT site, deleted_at FROM locations WHERE id = ?", (ident,)).fetchall()
    assert kept == [("site2", None)], "an image that a site does not show may be shown to another caller"


async def test_one_of_another_project(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    made = await user.post(IMAGES, json={**FIELDS, "atoll_sites": "site2"})
    ident = made.json()["id"]
    found = put(cloud, "site3")
    assert (await user.get(f"{IMAGES}/{found}")).status_code == 200
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        for one in (ident, found):
            assert (await both(other, one)).status_code == 404
        assert in_lane(cloud, ident)


async def test_a_token_that_was_revoked(user: Client, cloud: Cloud) -> None:
    ident = (await user.post(IMAGES, json={**FIELDS, "atoll_sites": "site2"})).json()["id"]
    await both(user, ident)
    before = len(asked(cloud, ident))
    gone = await user.delete("/identity/v3/auth/tokens", headers={"X-Subject-Token": user.token})
    assert gone.status_code == 204
    answers = [await user.get(f"{IMAGES}/{ident}{query}") for query in ("", "?x=1")]
    assert [one.status_code for one in answers] == [401, 401]
    assert len(asked(cloud, ident)) == before


@pytest.mark.parametrize("action", ["drain", "maintain"])
async def test_a_site_that_takes_nothing_new_still_shows(
    user: Client, admin: Client, cloud: Cloud, action: str
) -> None:
    ident = (await user.post(IMAGES, json={**FIELDS, "atoll_sites": "site2"})).json()["id"]
    changed = await admin.post(f"/atoll/v1/sites/site2/{action}", json={"reason": "new racks"})
    assert changed.status_code == 200, changed.text
    assert (await both(user, ident)).status_code == 200
    assert in_lane(cloud, ident)


async def test_where_there_is_but_one_site(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site2"))
    ident = put(cloud, "site2")
    async with client_of(atoll, cloud.keystone.token()) as user:
        assert (await both(user, ident)).json()["id"] == ident
        assert in_lane(cloud, ident)
        assert (await both(user, str(uuid.uuid4()))).status_code == 404


# -- of several sites ---------------------------------------------------------------------------------


async def test_a_public_one_of_several_sites(user: Client, cloud: Cloud) -> None:
    ident = public(cloud, "site1", "site3")
    answer = await both(user, ident)
    assert answer.json()["atoll_sites"] == "site1,site3"
    assert in_lane(cloud, ident)
    assert not asked(cloud, ident, "site3")
    heads = [one for one in cloud.site("site1").listener.seen if one.target.endswith(ident)]
    assert {one.header("user-agent") for one in heads} == {""}, "each is asked in words of Atoll's own"


async def test_the_next_site_is_asked_where_the_first_shows_it_no_more(user: Client, cloud: Cloud) -> None:
    ident = public(cloud, "site1", "site2", "site3")
    assert (await both(user, ident)).json()["atoll_sites"] == "all"
    del cloud.site("site1").image.images[ident]
    assert (await both(user, ident)).json()["id"] == ident
    # What is made is looked at when images are next used, and so is what is gone.
    assert (await user.post(IMAGES, json=FIELDS)).status_code == 201
    assert (await both(user, ident)).json()["atoll_sites"] == "site2,site3"
    before = len(asked(cloud, ident, "site1"))
    await both(user, ident)
    assert in_lane(cloud, ident)
    assert len(asked(cloud, ident, "site1")) == before
    cloud.site("site2").refuse()
    assert (await both(user, ident)).json()["id"] == ident
    assert asked(cloud, ident, "site3")
    await cloud.site("site2").start()


async def test_the_next_site_is_asked_where_the_first_is_away(user: Client, cloud: Cloud) -> None:
    ident = public(cloud, "site1", "site3")
    await both(user, ident)
    cloud.site("site1").refuse()
    assert (await both(user, ident)).json()["id"] == ident
    assert asked(cloud, ident, "site3")
    await cloud.site("site1").start()


async def test_a_private_one_of_several_sites_is_asked_for_at_each(user: Client, cloud: Cloud) -> None:
    ident = (await user.post(IMAGES, json={**FIELDS, "atoll_sites": "all"})).json()["id"]
    answer = await both(user, ident)
    assert answer.json()["atoll_sites_status"] == "site1=queued,site2=queued,site3=queued"
    assert not in_lane(cloud, ident)


async def test_what_was_changed_is_looked_at_before_it_is_shown(admin: Client, cloud: Cloud) -> None:
    """The public images of all sites are compared anew after each change through Atoll."""
    ident = public(cloud, "site1", "site2")
    await both(admin, ident)

    def looks() -> int:
        return sum("visibility=public" in one.target for one in cloud.site("site2").listener.seen)

    before = looks()
    await both(admin, ident)
    assert looks() == before
    patch = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    steps = [{"op": "replace", "path": "/visibility", "value": "private"}]
    changed = await admin.patch(f"{IMAGES}/{ident}", json=steps, headers=patch)
    assert changed.status_code == 200, changed.text
    before = looks()
    answer = await admin.get(f"{IMAGES}/{ident}")
    assert looks() > before
    alike(answer, await admin.get(f"{IMAGES}/{ident}?x=1"))


async def test_who_polls_sees_what_has_changed(user: Client, cloud: Cloud) -> None:
    ident = public(cloud, "site1", "site2", "site3")
    assert (await both(user, ident)).json()["atoll_sites"] == "all"
    cloud.site("site1").image.images[ident]["name"] = "silver"
    assert (await both(user, ident)).json()["name"] == "silver"
    cloud.site("site1").image.images[ident]["name"] = "golden"
    del cloud.site("site3").image.images[ident]
    await both(user, ident)
    assert (await user.post(IMAGES, json=FIELDS)).status_code == 201  # images are looked at anew
    answer = await both(user, ident)
    assert (answer.json()["atoll_sites"], answer.json()["name"]) == ("site1,site2", "golden")
    assert in_lane(cloud, ident)


# -- of sites that grew apart -------------------------------------------------------------------------


@pytest.fixture
async def grown() -> AsyncIterator[Cloud]:
    """Sites with images of one name and content under an id of each site's own."""
    async with Apart(shared=True) as running:
        yield running


@pytest.fixture
async def asking(start_atoll: StartAtoll, grown: Cloud) -> AsyncIterator[Client]:
    """The user demo of a gateway before them."""
    atoll = await start_atoll(grown.keystone.auth_url, sites_of(grown))
    async with client_of(atoll, grown.keystone.token()) as client:
        yield client


async def test_one_of_other_ids_elsewhere(asking: Client, grown: Cloud) -> None:
    ids = {site.name: site.image_id("cirros") for site in grown.sites}
    answer = await both(asking, ids["paris"])
    assert answer.json()["id"] == ids["paris"]
    assert in_lane(grown, ids["paris"])
    # Another site's own id is for that site, and is shown as the id that all have of it.
    answer = await both(asking, ids["tokyo"])
    assert answer.json()["id"] == ids["paris"]
    assert in_lane(grown, ids["tokyo"])
    del grown.site("paris").image.images[ids["paris"]]
    assert (await both(asking, ids["paris"])).json()["id"] == ids["paris"]
    assert asked(grown, ids["tokyo"], "tokyo") or asked(grown, ids["oslo"], "oslo")


async def test_one_that_turns_out_to_be_anothers(asking: Client, grown: Cloud) -> None:
    first, second = (put(grown, site, name="mine") for site in ("paris", "tokyo"))
    assert (await both(asking, second)).json()["id"] == second
    assert in_lane(grown, second)
    assert (await asking.get(IMAGES)).status_code == 200  # which compares what it passes on
    answer = await asking.get(f"{IMAGES}/{second}")
    assert answer.json()["id"] == first
    assert (await both(asking, second)).text == answer.text
    assert in_lane(grown, second)


async def test_one_that_is_hidden_behind_anothers_id(asking: Client, grown: Cloud) -> None:
    ident = grown.site("paris").image_id("cirros")
    assert (await both(asking, ident)).status_code == 200
    put(grown, "oslo", ident, visibility="public", name="evil", data=b"evil")
    assert (await asking.get(IMAGES)).status_code == 200  # which compares what it passes on
    for one in (ident, f"{ident}@oslo"):
        assert "evil" not in (await both(asking, one)).text
    grown.site("paris").refuse()
    assert "evil" not in (await both(asking, ident)).text
    await grown.site("paris").start()


# -- of clouds that share nothing ---------------------------------------------------------------------


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[ApartClouds]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        yield made


async def test_with_a_credential_of_the_site(start_atoll: StartAtoll, clouds: ApartClouds) -> None:
    credentials = clouds.credentials("demo")
    atoll = await start_atoll(clouds.auth_url, clouds.sites, credentials=credentials, **clouds.tables)
    cloud = clouds.cloud
    ident = str(uuid.uuid4())
    for site in cloud.sites:
        site.image.add(
            "golden", b"golden", owner="x", image_id=ident, visibility="public", disk_format="raw",
            container_format="bare",
        )  # fmt: skip
    async with client_of(atoll, clouds.keystone.token()) as user:
        made = await user.post(IMAGES, json={**FIELDS, "atoll_sites": "site2"})
        assert made.status_code == 201, made.text
        for one in (ident, made.json()["id"]):
            answer = await both(user, one)
            assert (answer.status_code, answer.json()["id"]) == (200, one)
            assert in_lane(cloud, one)
        assert clouds.keystone.project_id("demo") == answer.json()["owner"]
        heads = [one for site in cloud.sites for one in site.listener.seen if one.target.endswith(ident)]
        assert user.token not in {one.header("x-auth-token") for one in heads}
        assert {one.header("user-agent") for one in heads} == {""}
