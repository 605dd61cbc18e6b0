"""Hypervisors and migrations of several sites in pages: as one Nova whose cells they are would list them."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import UNKNOWN, Client, sql

from atoll.core.ids import qualify
from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.compute_migrations import Migration

HYPERVISORS = "/compute/v2.1/os-hypervisors"
MIGRATIONS = "/compute/v2.1/os-migrations"
MISSING = "x-atoll-missing-sites"
LOSE_CURSORS = "DELETE FROM cursors;"
AT = 1_700_000_000


def version(number: str) -> dict[str, str]:
    return {"OpenStack-API-Version": f"compute {number}"}


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """As everywhere, but for the limit on lists, which a few hundred in a second meet."""
    limits = {"fan_out_per_second": 100_000, "fan_out_burst": 100_000}
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    await running.settled()
    return running


async def pages(admin: Client, path: str, limit: int, v: str, **query: str) -> list[list[dict[str, Any]]]:
    """All pages, by the links that are given."""
    found: list[list[dict[str, Any]]] = []
    params = {"limit": str(limit), **query}
    url = path
    while True:
        answer = await admin.get(url, params=params, headers=version(v))
        assert answer.status_code == 200, answer.text
        content = answer.json()
        name = path.split("/os-")[1].removesuffix("/detail")
        found.append(content[name])
        assert len(found) < 100, "it does not end"
        links = content.get(f"{name}_links")
        if links is None:
            return found
        assert [one["rel"] for one in links] == ["next"]
        assert links[0]["href"].startswith(f"{admin.base_url}".rstrip("/") + path)
        params = dict(parse_qsl(urlsplit(links[0]["href"]).query))


def migrate(cloud: Cloud, made: list[tuple[int, int]]) -> list[str]:
    """Migrations, each as (site, second); their UUIDs in the order of a list, the newest first."""
    for site in cloud.sites:
        site.compute.migrations.all.clear()
        if not len(site.compute.instances):
            site.bulk(iter([AT]))
    for at, second in made:
        compute = cloud.sites[at].compute
        (instance, *_) = compute.instances.of(None)
        all_ = compute.migrations.all
        all_.append(Migration(len(all_) + 1, instance, "migration", AT + second))
    ranked = [
        (-one.created, at, -one.id, one.uuid)
        for at, site in enumerate(cloud.sites)
        for one in site.compute.migrations.all
    ]
    return [uuid for *_, uuid in sorted(ranked)]


COUNTS = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
VERSIONS = st.sampled_from(["2.33", "2.52", "2.53", "2.88"])


@given(counts=COUNTS, limit=st.integers(1, 8), most=st.integers(1, 4), v=VERSIONS, detail=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_pages_of_hypervisors_are_all_site_by_site_each_once(
    admin: Client, cloud: Cloud, counts: tuple[int, int, int], limit: int, most: int, v: str, detail: bool
) -> None:
    wanted = []
    for site, count in zip(cloud.sites, counts, strict=True):
        site.compute.hypervisors, site.compute.max_limit = count, most
        wanted += [f"{site.name}-compute{number}" for number in range(1, count + 1)]
    found = await pages(admin, HYPERVISORS + ("/detail" if detail else ""), limit, v)
    assert [one["hypervisor_hostname"] for page in found for one in page] == wanted
    assert all(len(page) == limit for page in found[:-1])
    if v in {"2.33", "2.52"}:
        numbers = [qualify(at, number) for at, count in enumerate(counts) for number in range(1, count + 1)]
        assert [one["id"] for page in found for one in page] == numbers


MADE = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=14)


@given(made=MADE, limit=st.integers(1, 6), most=st.integers(1, 4), v=st.sampled_from(["2.59", "2.80"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_pages_of_migrations_are_all_newest_first_each_once(
    admin: Client, cloud: Cloud, made: list[tuple[int, int]], limit: int, most: int, v: str
) -> None:
    for site in cloud.sites:
        site.compute.max_limit = most
    wanted = migrate(cloud, made)
    found = await pages(admin, MIGRATIONS, limit, v)
    assert [one["uuid"] for page in found for one in page] == wanted
    assert all(len(page) == limit for page in found[:-1])


@pytest.mark.parametrize("v", ["2.33", "2.53"])
async def test_a_page_is_found_again_from_its_marker_alone(
    admin: Client, atoll: Atoll, cloud: Cloud, v: str
) -> None:
    for site in cloud.sites:
        site.compute.hypervisors = 3
    listed = (await admin.get(HYPERVISORS, headers=version(v))).json()["hypervisors"]
    assert len({one["id"] for one in listed}) == 9
    for at, one in enumerate(listed):
        await sql(atoll.database, LOSE_CURSORS)
        answer = await admin.get(f"{HYPERVISORS}?marker={one['id']}&limit=2", headers=version(v))
        assert answer.json()["hypervisors"] == listed[at + 1 : at + 3]


@pytest.mark.parametrize(
    ("path", "v", "marker"),
    [
        (HYPERVISORS, "2.33", str(qualify(1, 77))),
        (HYPERVISORS, "2.53", UNKNOWN),
        (MIGRATIONS, "2.59", UNKNOWN),
    ],
)
async def test_an_unknown_marker_is_the_services_fault_and_503_while_a_site_is_away(
    admin: Client, cloud: Cloud, path: str, v: str, marker: str
) -> None:
    answer = await admin.get(f"{path}?marker={marker}", headers=version(v))
    assert (answer.status_code, answer.json()["badRequest"]["message"]) == (
        400,
        f"marker [{marker}] not found",
    )
    cloud.site("site3").refuse()
    assert (await admin.get(f"{path}?marker={marker}", headers=version(v))).status_code == 503


async def test_a_site_that_is_away_is_missing_from_every_page_and_look_ups_need_it(
    admin: Client, cloud: Cloud
) -> None:
    wanted = migrate(cloud, [(at, at) for at in (0, 1, 2)])
    cloud.site("site2").refuse()
    first = await admin.get(f"{MIGRATIONS}?limit=1", headers=version("2.59"))
    (shown,) = first.json()["migrations"]
    assert shown["uuid"] == wanted[0]
    second = await admin.get(first.json()["migrations_links"][0]["href"], headers=version("2.59"))
    assert [one["uuid"] for one in second.json()["migrations"]] == wanted[2:]
    assert all("site2" in answer.headers[MISSING] for answer in (first, second))
    for look_up in (f"instance_uuid={UNKNOWN}", "host=site1-compute1", "source_compute=site1-compute1"):
        answer = await admin.get(f"{MIGRATIONS}?{look_up}", headers=version("2.59"))
        assert answer.status_code == 503
        assert "site2" in answer.text


async def test_a_filter_is_the_sites_own_on_every_page(admin: Client, cloud: Cloud) -> None:
    migrate(cloud, [(at, second) for second in range(3) for at in (0, 1, 2)])
    since = {"changes-since": "2023-01-01T00:00:00Z", "changes-before": "2033-01-01T00:00:00Z"}
    found = await pages(admin, MIGRATIONS, 2, "2.66", **since)
    assert len([one for page in found for one in page]) == 9
    for site in cloud.sites:
        asked = [seen.target for seen in site.listener.seen if "os-migrations" in seen.target]
        assert asked
        assert all(dict(parse_qsl(urlsplit(one).query)).items() >= since.items() for one in asked)


@pytest.mark.parametrize("query", ["limit=-1", "limit=x", "limit=1&sort_dir=sideways"])
@pytest.mark.parametrize("path", [HYPERVISORS, MIGRATIONS])
async def test_what_a_site_refuses_is_refused(admin: Client, path: str, query: str) -> None:
    assert (await admin.get(f"{path}?{query}", headers=version("2.80"))).status_code == 400
