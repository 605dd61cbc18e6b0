"""R4: lists over sites in pages: the union, in order, each item once, whatever the sites' own page sizes."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, Client, client_of, instances_of, sql

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.cloud import Layout

DETAIL = f"{SERVERS}/detail"
LAYOUTS: tuple[Layout, ...] = ("uniform", "hot", "sorted")


def expected(cloud: Cloud) -> list[str]:
    """The ids of all servers, newest first, as one cloud would list them."""
    alike = [one for site in cloud.sites for one in instances_of(site)]
    return [one.id for one in sorted(alike, key=lambda one: -one.created)]


async def pages(client: Client, path: str, limit: int, **query: str) -> list[list[dict[str, Any]]]:
    """All pages, by the marker that a client makes of the last id."""
    found: list[list[dict[str, Any]]] = []
    marker: dict[str, str] = {}
    while True:
        answer = await client.get(path, params={"limit": str(limit), **query, **marker})
        assert answer.status_code == 200, answer.text
        page = answer.json()["servers"]
        if not page:
            return found
        found.append(page)
        marker = {"marker": page[-1]["id"]}
        assert len(found) < 200, "it does not end"


def ids(found: list[list[dict[str, Any]]]) -> list[str]:
    """The ids of all pages."""
    return [one["id"] for page in found for one in page]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("limit", [1, 7, 30, 100])
async def test_pages_are_the_union_in_order_each_once(
    user: Client, cloud: Cloud, layout: Layout, limit: int
) -> None:
    cloud.bulk(60, layout)
    wanted = expected(cloud)
    found = await pages(user, SERVERS, limit)
    assert ids(found) == wanted
    assert all(len(page) == limit for page in found[:-1]), "a short page is the end, to clients"


async def test_sites_with_smaller_pages_than_asked_for(user: Client, cloud: Cloud) -> None:
    cloud.bulk(60, "uniform")
    cloud.sites[0].compute.max_limit, cloud.sites[1].compute.max_limit = 3, 7
    assert ids(await pages(user, DETAIL, 25)) == expected(cloud)
    assert len((await user.get(SERVERS)).json()["servers"]) == 60


async def test_next_links_lead_through_all_pages_at_the_gateway(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    cloud.bulk(20, "hot")
    url, found = f"{DETAIL}?limit=6&status=ACTIVE", []
    while url:
        body = (await user.get(url)).json()
        found += [one["id"] for one in body["servers"]]
        links = [one["href"] for one in body.get("servers_links", []) if one["rel"] == "next"]
        url = links[0] if links else ""
        if url:
            assert url.startswith(atoll.url + DETAIL)
            assert parse_qs(urlsplit(url).query)["status"] == ["ACTIVE"], "the filter goes on"
    assert found == expected(cloud)


@pytest.mark.parametrize(("key", "field"), [("display_name", "name"), ("created_at", "created")])
@pytest.mark.parametrize("way", ["asc", "desc"])
async def test_sorted_as_asked(user: Client, cloud: Cloud, key: str, field: str, way: str) -> None:
    cloud.bulk(30, "uniform")
    found = await pages(user, DETAIL, 8, sort_key=key, sort_dir=way)
    values = [one[field] for page in found for one in page]
    assert values == sorted(values, reverse=way == "desc")
    assert len(set(ids(found))) == 30


async def test_a_filter_holds_over_all_pages(user: Client, cloud: Cloud) -> None:
    cloud.bulk(30, "uniform")
    found = await pages(user, DETAIL, 4, name="site2-")
    assert len(ids(found)) == 10
    assert all(one["name"].startswith("site2-") for page in found for one in page)


async def test_with_every_cursor_lost_the_pages_go_on(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    cloud.bulk(30, "uniform")
    wanted = expected(cloud)
    first = (await user.get(SERVERS, params={"limit": "8"})).json()["servers"]
    await sql(atoll.database, "DELETE FROM cursors;")
    second = (await user.get(SERVERS, params={"limit": "8", "marker": first[-1]["id"]})).json()["servers"]
    assert [one["id"] for one in first + second] == wanted[:16]


async def test_a_marker_of_ones_own_choice(user: Client, cloud: Cloud) -> None:
    cloud.bulk(30, "uniform")
    wanted = expected(cloud)
    answer = await user.get(SERVERS, params={"limit": "5", "marker": wanted[12]})
    assert [one["id"] for one in answer.json()["servers"]] == wanted[13:18]


async def test_an_unknown_marker_is_refused_in_the_services_words(user: Client, cloud: Cloud) -> None:
    cloud.bulk(6, "uniform")
    marker = "01234567-89ab-4cde-8f01-23456789abcd"
    answer = await user.get(SERVERS, params={"limit": "2", "marker": marker})
    assert answer.status_code == 400
    assert answer.json() == {"badRequest": {"code": 400, "message": f"marker [{marker}] not found"}}


async def test_a_site_that_missed_a_page_stays_out_of_the_walk_and_is_named(
    user: Client, cloud: Cloud
) -> None:
    cloud.bulk(30, "uniform")
    cloud.site("site2").refuse()
    first = await user.get(SERVERS, params={"limit": "8"})
    assert "site2" in first.headers["x-atoll-missing-sites"]
    await cloud.site("site2").start()
    last, found = first.json()["servers"], [one["id"] for one in first.json()["servers"]]
    while last:
        answer = await user.get(SERVERS, params={"limit": "8", "marker": last[-1]["id"]})
        last = answer.json()["servers"]
        found += [one["id"] for one in last]
        if last:
            assert "site2" in answer.headers["x-atoll-missing-sites"]
    missed = {one.id for one in instances_of(cloud.site("site2"))}
    assert found == [one for one in expected(cloud) if one not in missed]


async def test_ones_own_pages_are_nobody_elses(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    cloud.bulk(12, "uniform")
    cloud.bulk(6, "uniform", project="alt_demo")
    mine = {one["id"] for one in (await user.get(SERVERS)).json()["servers"]}
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        theirs = {one["id"] for one in (await other.get(SERVERS)).json()["servers"]}
    assert (len(mine), len(theirs)) == (12, 6)
    assert not mine & theirs


async def test_another_process_goes_on_where_one_stood(
    start_atoll: StartAtoll, user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    cloud.bulk(30, "hot")
    first = (await user.get(SERVERS, params={"limit": "10"})).json()["servers"]
    other = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    async with client_of(other, cloud.keystone.token()) as client:
        marker = first[-1]["id"]
        second = (await client.get(SERVERS, params={"limit": "10", "marker": marker})).json()["servers"]
    assert [one["id"] for one in first + second] == expected(cloud)[:20]
    del atoll


async def test_a_page_costs_each_site_about_a_page(user: Client, cloud: Cloud) -> None:
    """Not the whole list, and not one request after the other."""
    cloud.bulk(300, "uniform")
    for site in cloud.sites:
        site.listener.seen.clear()
    assert len((await user.get(SERVERS, params={"limit": "10"})).json()["servers"]) == 10
    assert [len(site.listener.seen) for site in cloud.sites] == [1, 1, 1]


@pytest.mark.parametrize("query", ["limit=-1", "limit=x", "sort_dir=up", "sort_key=nothing"])
async def test_what_no_service_takes_is_refused(user: Client, cloud: Cloud, query: str) -> None:
    cloud.bulk(6, "uniform")
    assert (await user.get(f"{SERVERS}?{query}")).status_code == 400


async def test_shared_things_are_listed_once(user: Client) -> None:
    for path, key in (("/compute/v2.1/flavors", "flavors"), ("/image/v2/images", "images")):
        found = (await user.get(path)).json()[key]
        assert len(found) == len({one["id"] for one in found}) > 0
    assert len((await user.get("/compute/v2.1/flavors")).json()["flavors"]) == 4
