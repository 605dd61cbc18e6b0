"""R3: lists while a site is away, stalls or refuses, and the known servers of such a site (UNKNOWN)."""

import sqlite3
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, Client, boot, client_of, instances_of, server_body

from atoll.sandbox.simulated import Cloud, Fault

MISSING = "x-atoll-missing-sites"
DETAIL = f"{SERVERS}/detail"
SINCE = {"OpenStack-API-Version": "compute 2.69"}
BEFORE = {"OpenStack-API-Version": "compute 2.68"}


async def on_record(atoll: Atoll, where: str, *idents: str) -> None:
    """Wait until the location table says so of these servers: it is written behind."""

    def have() -> bool:
        with sqlite3.connect(atoll.database, timeout=30) as connection:
            found = connection.execute(f"SELECT id FROM locations WHERE {where} IS NOT NULL")  # noqa: S608
            return set(idents) <= {row[0] for row in found}

    await until(have)


@pytest.fixture
async def servers(user: Client, cloud: Cloud) -> dict[str, str]:
    """A server in each site, by the site's name."""
    return {name: await boot(user, cloud, name, name=name) for name in ("site1", "site2", "site3")}


def unknown(answer: Any) -> list[dict[str, Any]]:
    """What an answer lists as UNKNOWN."""
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json()["servers"] if one.get("status") == "UNKNOWN"]


# -- away ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["uniform", "hot", "sorted"])
async def test_a_site_that_stalls_costs_its_own_servers_only(
    start_atoll: StartAtoll, cloud: Cloud, layout: Any
) -> None:
    """Within the deadline, and with time left for the rounds that the others need."""
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits={"deadline_seconds": 4.0})
    cloud.bulk(300, layout)
    cloud.site("site2").faults.add(Fault("stall", service="compute"))
    async with client_of(atoll, cloud.keystone.token()) as client:
        answer = await client.get(SERVERS, params={"limit": "200"})
    assert answer.status_code == 200, answer.text
    assert answer.headers[MISSING].startswith("site2 (")
    assert "site1" not in answer.headers[MISSING]
    assert "site3" not in answer.headers[MISSING]
    there = [one for name in ("site1", "site3") for one in instances_of(cloud.site(name))]
    wanted = [one.id for one in sorted(there, key=lambda one: -one.created)]
    assert [one["id"] for one in answer.json()["servers"]] == wanted[:200]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("rate_limit", service="compute", retry_after=7), "it answered 429"),
        (Fault("status", service="compute", status=403), "it answered 403"),
        (Fault("status", service="compute", status=500), "it answered 500"),
        (Fault("not_json", service="compute"), "what are no servers"),
        (Fault("cut", service="compute"), "broke off"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_a_site_that_refuses_is_missing_with_its_reason(
    user: Client, cloud: Cloud, servers: dict[str, str], fault: Fault, reason: str
) -> None:
    cloud.site("site2").faults.add(fault)
    answer = await user.get(DETAIL)
    assert answer.status_code == 200, answer.text
    assert {one["id"] for one in answer.json()["servers"]} == {servers["site1"], servers["site3"]}
    assert reason in answer.headers[MISSING]


async def test_a_look_up_says_how_long_a_busy_site_wants_to_be_left_alone(user: Client, cloud: Cloud) -> None:
    cloud.site("site2").faults.add(Fault("rate_limit", service="compute", retry_after=7))
    answer = await user.get(DETAIL, params={"name": "x"})
    assert answer.status_code == 503
    assert "site2" in answer.text
    assert answer.headers["retry-after"] == "7"


async def test_every_site_busy_is_429(user: Client, cloud: Cloud) -> None:
    for wait, site in enumerate(cloud.sites, 3):
        site.faults.add(Fault("rate_limit", service="compute", retry_after=wait))
    answer = await user.get(DETAIL)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "5", "the longest of them"


async def test_what_every_site_refuses_is_refused_as_the_first_says(user: Client, cloud: Cloud) -> None:
    for site in cloud.sites:
        site.faults.add(Fault("status", service="compute", status=403))
    answer = await user.get(DETAIL)
    assert answer.status_code == 403
    assert set(answer.json()) == {"forbidden"}
    assert MISSING not in answer.headers


# -- UNKNOWN -------------------------------------------------------------------------------------------


async def test_known_servers_of_a_missing_site_are_listed_as_novas_down_cells(
    user: Client, cloud: Cloud, servers: dict[str, str]
) -> None:
    shown = (await user.get(f"{SERVERS}/{servers['site2']}")).json()["server"]
    cloud.site("site2").refuse()
    answer = await user.get(DETAIL, headers=SINCE)
    (one,) = unknown(answer)
    assert answer.json()["servers"][0] == one, "Nova puts them first"
    assert list(one) == ["id", "status", "tenant_id", "created", "links"]
    assert {key: one[key] for key in ("id", "tenant_id", "links")} == {
        key: shown[key] for key in ("id", "tenant_id", "links")
    }
    assert one["created"].endswith("Z")
    assert {one["id"] for one in answer.json()["servers"]} == set(servers.values())
    assert "site2" in answer.headers[MISSING]
    (brief,) = unknown(await user.get(SERVERS, headers=SINCE))
    assert brief == {"id": servers["site2"], "status": "UNKNOWN", "links": shown["links"]}


async def test_with_the_project_in_the_path_it_is_in_the_links(
    user: Client, cloud: Cloud, servers: dict[str, str]
) -> None:
    path = f"/compute/v2.1/{cloud.keystone.project_id('demo')}/servers"
    shown = (await user.get(f"{path}/{servers['site2']}")).json()["server"]
    cloud.site("site2").refuse()
    (one,) = unknown(await user.get(f"{path}/detail", headers=SINCE))
    assert one["links"] == shown["links"]


@pytest.mark.parametrize(
    "query", ["limit=10", "sort_key=created_at", "sort_dir=asc", "status=ACTIVE", "changes-since=2020-01-01"]
)
async def test_not_with_filters_pages_or_sorting(
    user: Client, cloud: Cloud, servers: dict[str, str], query: str
) -> None:
    cloud.site("site2").refuse()
    answer = await user.get(f"{DETAIL}?{query}", headers=SINCE)
    assert unknown(answer) == []
    assert "site2" in answer.headers[MISSING]
    assert len(unknown(await user.get(DETAIL, headers=SINCE))) == len(servers) - 2


async def test_not_before_2_69(user: Client, cloud: Cloud, servers: dict[str, str]) -> None:
    cloud.site("site2").refuse()
    assert unknown(await user.get(DETAIL, headers=BEFORE)) == []
    assert unknown(await user.get(DETAIL)) == []
    assert [one["id"] for one in unknown(await user.get(DETAIL, headers=SINCE))] == [servers["site2"]]
    newest = {"X-OpenStack-Nova-API-Version": "latest"}
    assert [one["id"] for one in unknown(await user.get(DETAIL, headers=newest))] == [servers["site2"]]


async def test_only_ones_own_but_for_administrators_of_all_projects(
    user: Client, admin: Client, cloud: Cloud, atoll: Atoll, servers: dict[str, str]
) -> None:
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        theirs = await boot(other, cloud, "site2", name="theirs")
        cloud.site("site2").refuse()
        assert [one["id"] for one in unknown(await other.get(DETAIL, headers=SINCE))] == [theirs]
        refused = await other.get(f"{DETAIL}?all_tenants=1", headers=SINCE)
        assert refused.status_code == 403
    assert [one["id"] for one in unknown(await user.get(DETAIL, headers=SINCE))] == [servers["site2"]]
    assert unknown(await admin.get(DETAIL, headers=SINCE)) == []
    every = unknown(await admin.get(f"{DETAIL}?all_tenants=1", headers=SINCE))
    assert {one["id"] for one in every} == {theirs, servers["site2"]}
    assert {one["tenant_id"] for one in every} == {
        cloud.keystone.project_id("demo"), cloud.keystone.project_id("alt_demo")
    }  # fmt: skip


async def test_what_was_only_ever_seen_in_a_list_is_known_too(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    cloud.bulk(9, "uniform")
    listed = (await user.get(DETAIL)).json()["servers"]
    wanted = {one.id for one in instances_of(cloud.site("site2"))}
    await on_record(atoll, "project_id", *wanted)
    cloud.site("site2").refuse()
    found = unknown(await user.get(DETAIL, headers=SINCE))
    assert {one["id"]: one["created"] for one in found} == {
        one["id"]: one["created"] for one in listed if one["id"] in wanted
    }


async def test_what_was_only_ever_searched_for_is_known_too(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    cloud.bulk(3, "uniform")
    (one,) = instances_of(cloud.site("site2"))
    assert (await user.get(f"{SERVERS}/{one.id}")).status_code == 200
    await on_record(atoll, "project_id", one.id)
    cloud.site("site2").refuse()
    assert [each["id"] for each in unknown(await user.get(DETAIL, headers=SINCE))] == [one.id]


async def test_a_deleted_server_is_not_unknown(
    user: Client, cloud: Cloud, atoll: Atoll, servers: dict[str, str]
) -> None:
    """Once its site has said that it is gone."""
    second = await boot(user, cloud, "site2", name="second")
    assert (await user.delete(f"{SERVERS}/{second}")).status_code == 204
    assert (await user.get(f"{SERVERS}/{second}")).status_code == 404
    await on_record(atoll, "deleted_at", second)
    cloud.site("site2").refuse()
    assert [one["id"] for one in unknown(await user.get(DETAIL, headers=SINCE))] == [servers["site2"]]


async def test_a_full_page_has_no_room_for_them(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits={"page_limit": 3})
    async with client_of(atoll, cloud.keystone.token()) as client:
        away = [await boot(client, cloud, "site2") for _ in range(2)]
        for number in range(2):
            await boot(client, cloud, "site1", name=f"vm{number}")
        cloud.site("site2").refuse()
        one_of_them = unknown(await client.get(DETAIL, headers=SINCE))
        assert len(one_of_them) == 1
        assert one_of_them[0]["id"] in away
        await boot(client, cloud, "site1")
        assert unknown(await client.get(DETAIL, headers=SINCE)) == []


async def test_a_site_that_answers_again_has_its_servers_listed_once(
    user: Client, cloud: Cloud, servers: dict[str, str]
) -> None:
    cloud.site("site2").faults.add(Fault("status", service="compute", status=500, count=1))
    assert len(unknown(await user.get(DETAIL, headers=SINCE))) == 1
    answer = await user.get(DETAIL, headers=SINCE)
    assert unknown(answer) == []
    assert sorted(one["id"] for one in answer.json()["servers"]) == sorted(servers.values())
    assert MISSING not in answer.headers


async def test_who_refuses_a_partial_list_gets_none(
    user: Client, cloud: Cloud, servers: dict[str, str]
) -> None:
    cloud.site("site2").refuse()
    answer = await user.get(DETAIL, headers={**SINCE, "X-Atoll-Partial": "refuse"})
    assert answer.status_code == 503
    assert servers["site2"] not in answer.text


async def test_one_server_of_a_missing_site_is_503(
    user: Client, cloud: Cloud, servers: dict[str, str]
) -> None:
    """Nova would show its flavor, image and user: nobody here has them, and nothing is made up."""
    cloud.site("site2").refuse()
    answer = await user.get(f"{SERVERS}/{servers['site2']}", headers=SINCE)
    assert answer.status_code == 503
    assert "site2" in answer.text


async def test_a_server_made_while_its_site_answered_nothing_else_is_listed(
    user: Client, cloud: Cloud
) -> None:
    """Created, its site gone before anybody listed it: it is known by its create alone."""
    made = await user.post(SERVERS, json=server_body(cloud, availability_zone="site3"))
    cloud.site("site3").refuse()
    assert [one["id"] for one in unknown(await user.get(DETAIL, headers=SINCE))] == [
        made.json()["server"]["id"]
    ]
