"""Glance's tasks, caches, stores and what it tells of itself, over sites."""

from functools import partial
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import ZONES, Client, client_of, writes

from atoll.sandbox.simulated import Cloud, Fault

TASKS = "/image/v2/tasks"
CACHE = "/image/v2/cache"
PUBLIC = "cirros"


# -- tasks ----------------------------------------------------------------------------------------


def several(cloud: Cloud) -> list[str]:
    """Tasks at all sites, made in turn a minute apart; their ids, the newest first."""
    made = []
    for number in range(6):
        site = cloud.sites[number % 3]
        site.clock = partial(float, 1_700_000_000.0 + number * 60)
        task = site.image.admin.add_task("import" if number % 2 else "api_image_import", {}, "p")
        task["status"] = "success" if number < 4 else "failure"
        made.append(str(task["id"]))
    return made[::-1]


async def test_a_task_is_at_one_site_and_found_by_its_id(admin: Client, user: Client, cloud: Cloud) -> None:
    body = {"type": "import", "input": {"import_from": "http://example.org/i", "image_properties": {}}}
    answer = await admin.post(TASKS, json=body)
    assert answer.status_code == 201, answer.text
    ident = answer.json()["id"]
    assert sum(ident in site.image.admin.tasks for site in cloud.sites) == 1
    other = cloud.site("site2").image.admin.add_task("import", {}, "p")["id"]
    for one in (ident, other):
        assert (await admin.get(f"{TASKS}/{one}")).json()["id"] == one
        refused = await admin.delete(f"{TASKS}/{one}")
        assert (refused.status_code, "not permitted on Glance Tasks" in refused.text) == (405, True)
        assert (await user.get(f"{TASKS}/{one}")).status_code == 403
    nowhere = await admin.get(f"{TASKS}/99999999-8888-4777-8666-555555555555")
    assert (nowhere.status_code, "Task not found" in nowhere.text) == (404, True)


async def test_tasks_are_listed_as_of_one_cloud(admin: Client, user: Client, cloud: Cloud) -> None:
    newest_first = several(cloud)

    async def ids(query: str) -> list[str]:
        found: list[str] = []
        path = f"{TASKS}?{query}"
        while path:
            page = (await admin.get(path)).json()
            assert page["schema"] == "/v2/schemas/tasks"
            found += [one["id"] for one in page["tasks"]]
            path = f"/image{page['next']}" if "next" in page else ""
        return found

    assert await ids("") == newest_first
    assert await ids("limit=1") == newest_first
    assert await ids("limit=4&sort_dir=asc") == newest_first[::-1]
    assert await ids("status=failure") == newest_first[:2]
    by_type = await ids("limit=2&sort_key=type&sort_dir=asc")
    assert (sorted(by_type), set(by_type[:3])) == (sorted(newest_first), set(newest_first[1::2]))
    assert (await user.get(TASKS)).status_code == 403
    cloud.site("site2").faults.add(Fault("refuse"))
    partial = await admin.get(TASKS)
    assert len(partial.json()["tasks"]) == 4
    assert "site2" in partial.headers["x-atoll-missing-sites"]


# -- caches ---------------------------------------------------------------------------------------


@pytest.fixture
def cached(cloud: Cloud) -> str:
    """An image that is in the caches of site1 and site2; site3 caches nothing. Its id."""
    ident = cloud.sites[0].image_id(PUBLIC)
    for site in cloud.sites[:2]:
        site.image.admin.caches = True
        site.image.admin.cached[ident] = 10
    cloud.site("site2").image.admin.queued.append("other")
    return ident


def caches(cloud: Cloud) -> list[tuple[int, int]]:
    """(cached, queued) of each site."""
    return [(len(site.image.admin.cached), len(site.image.admin.queued)) for site in cloud.sites]


async def test_what_is_cached_is_shown_of_all_sites(
    admin: Client, user: Client, cloud: Cloud, cached: str
) -> None:
    shown = (await admin.get(CACHE)).json()
    assert {one["image_id"] for one in shown["cached_images"]} == {cached}
    assert shown["queued_images"] == ["other"]
    of_one = (await admin.get(f"{CACHE}?atoll_site=site1")).json()
    assert (len(of_one["cached_images"]), of_one["queued_images"]) == (1, [])
    assert (await user.get(CACHE)).status_code == 403
    for site in cloud.sites:
        site.image.admin.caches = False
    nowhere = await admin.get(CACHE)
    assert (nowhere.status_code, "not supported at this site" in nowhere.text) == (404, True)


@pytest.mark.parametrize(
    ("target", "left"), [("", (0, 0)), ("cache", (0, 1)), ("queue", (1, 0))], ids=["both", "cache", "queue"]
)
async def test_caches_are_emptied_as_far_as_was_said(
    admin: Client, cloud: Cloud, cached: str, target: str, left: tuple[int, int]
) -> None:
    del cached
    headers = {"X-Image-Cache-Clear-Target": target} if target else {}
    answer = await admin.delete(CACHE, headers=headers)
    assert answer.status_code == 204, answer.text
    assert caches(cloud)[1] == left


async def test_an_image_is_queued_where_it_can_be_cached(admin: Client, cloud: Cloud, cached: str) -> None:
    assert (await admin.put(f"{CACHE}/{cached}")).status_code == 202
    assert caches(cloud) == [(1, 1), (1, 2), (0, 0)]
    assert (await admin.delete(f"{CACHE}/{cached}")).status_code == 204
    assert caches(cloud) == [(0, 0), (0, 1), (0, 0)]
    nowhere = await admin.put(f"{CACHE}/99999999-8888-4777-8666-555555555555")
    assert (nowhere.status_code, "not found" in nowhere.text) == (404, True)


async def test_what_was_pruned_is_told_of_all(admin: Client, cloud: Cloud, cached: str) -> None:
    assert (await admin.post(f"{CACHE}/clean")).status_code == 200
    assert [method for _, method, target in writes(cloud) if "clean" in target] == ["POST"] * 3
    answer = await admin.post(f"{CACHE}/prune")
    assert answer.json() == {"total_files_pruned": 2, "total_bytes_pruned": 20}
    assert caches(cloud)[:2] == [(0, 0), (0, 1)]
    assert cached not in cloud.sites[0].image.admin.cached


async def test_a_site_that_is_away_may_have_more(admin: Client, cloud: Cloud, cached: str) -> None:
    del cached
    cloud.site("site2").faults.add(Fault("refuse"))
    shown = await admin.get(CACHE)
    assert len(shown.json()["cached_images"]) == 1
    assert "site2" in shown.headers["x-atoll-missing-sites"]
    answer = await admin.delete(CACHE)
    assert (answer.status_code, "site2" in answer.text) == (503, True)
    assert "done at site1" in answer.text


# -- what a site can do ---------------------------------------------------------------------------


async def test_stores_are_those_of_all_sites(user: Client, cloud: Cloud) -> None:
    cloud.site("site2").image.admin.stores = [{"id": "ceph", "default": "true"}, {"id": "file"}]
    stores = (await user.get("/image/v2/info/stores")).json()["stores"]
    assert stores == [{"id": "file", "default": "true"}, {"id": "ceph"}]


async def test_ways_to_import_are_those_of_every_site(user: Client, cloud: Cloud) -> None:
    cloud.site("site3").image.admin.import_methods = ["web-download", "glance-direct"]
    shown = (await user.get("/image/v2/info/import")).json()["import-methods"]
    assert (shown["value"], shown["type"]) == (["glance-direct", "web-download"], "array")


@pytest.mark.parametrize("fault", ["not_json", "wrong_json", "cut"])
@pytest.mark.parametrize("what", ["info/import", "info/stores", "cache"])
async def test_a_site_that_says_something_else_is_missing(
    admin: Client, cloud: Cloud, cached: str, what: str, fault: Any
) -> None:
    del cached
    cloud.site("site2").faults.add(Fault(fault, service="image", method="GET"))
    answer = await admin.get(f"/image/v2/{what}")
    assert answer.status_code == 200, answer.text
    assert "site2" in answer.headers["x-atoll-missing-sites"]


async def test_bytes_are_taken_out_of_a_store_where_they_are(admin: Client, cloud: Cloud) -> None:
    ident = cloud.sites[0].image_id(PUBLIC)
    for site in cloud.sites[1:]:
        site.image.admin.stores.append({"id": "ceph"})
    cloud.site("site3").image.images[ident]["stores"] = "file,ceph"
    cloud.site("site2").image.images[ident]["stores"] = "ceph,file"
    assert (await admin.delete(f"/image/v2/stores/ceph/{ident}")).status_code == 204
    assert [site.image.images[ident]["stores"] for site in cloud.sites] == ["file"] * 3
    nowhere = await admin.delete(f"/image/v2/stores/nobody/{ident}")
    assert (nowhere.status_code, "not available on this node" in nowhere.text) == (409, True)


async def test_schemas_and_discovery_of_a_site_that_answers(user: Client, cloud: Cloud) -> None:
    cloud.site("site1").faults.add(Fault("refuse"))
    assert (await user.get("/image/v2/schemas/image")).json()["name"] == "image"
    methods = await user.get("/image/v2/info/import")
    assert methods.json()["import-methods"]["value"] == ["glance-direct", "web-download", "copy-image"]
    assert "site1" in methods.headers["x-atoll-missing-sites"]


async def test_a_protected_image_that_one_site_refuses_is_at_none(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    before = [len(site.image.images) for site in cloud.sites]
    cloud.site("site3").faults.add(Fault("status", service="image", method="POST", status=403, count=1))
    async with client_of(atoll, cloud.keystone.token()) as user:
        body = {"name": "kept", "protected": True, "atoll_sites": "all"}
        answer = await user.post("/image/v2/images", json=body)
    assert answer.status_code == 403, answer.text
    assert [len(site.image.images) for site in cloud.sites] == before
