"""Usage reports over sites: the figures of the union, in pages of any size."""

from collections import Counter
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import UNKNOWN, Client, client_of

from atoll.sandbox.simulated import Cloud, Fault

PATH = "/compute/v2.1/os-simple-tenant-usage"
WHEN = "start=2026-01-01T00:00:00&end=2026-01-02T00:00:00"
START = 1767225600  # 2026-01-01 in seconds
TOTALS = ("total_hours", "total_memory_mb_usage", "total_vcpus_usage", "total_local_gb_usage")
HELD = {"site1": {"demo": 2, "alt_demo": 1}, "site2": {"demo": 3}, "site3": {"alt_demo": 2, "admin": 1}}
MISSING = "x-atoll-missing-sites"


@pytest.fixture
def hours(cloud: Cloud) -> Counter[str]:
    """The hours of each project on the day that is asked for: servers begin at every full hour of it."""
    found: Counter[str] = Counter()
    for site, projects in HELD.items():
        for project, count in projects.items():
            begun = range(START, START + 3600 * count, 3600)
            cloud.site(site).bulk(iter(begun), project)
            found[cloud.keystone.project_id(project)] += sum(24 - hour for hour in range(count))
    return found


@pytest.fixture
def pager(admin: Client) -> Client:
    """The administrator, asking in the version since which there are pages."""
    admin.headers["OpenStack-API-Version"] = "compute 2.40"
    return admin


def link_of(answer: httpx.Response) -> str | None:
    """The path of the next page."""
    assert answer.status_code == 200, answer.text
    (name, content), *more = answer.json().items()
    assert isinstance(content, list | dict)
    if not more:
        return None
    ((links, ((link),)),) = more
    assert (links, link["rel"]) == (f"{name}_links", "next")
    url = urlsplit(link["href"])
    return f"{url.path}?{url.query}"


async def pages(client: Client, target: str) -> list[Any]:
    """The content of each page, following the links."""
    found, following = [], target
    while following:
        answer = await client.get(following)
        found.append(next(iter(answer.json().values())))
        following = link_of(answer) or ""
    return found


@pytest.mark.parametrize("version", ["2.1", "2.39", "2.40", "2.75"])
async def test_each_project_is_reported_once_with_the_figures_of_all_sites(
    admin: Client, hours: Counter[str], version: str
) -> None:
    admin.headers["OpenStack-API-Version"] = f"compute {version}"
    answer = await admin.get(f"{PATH}?{WHEN}")
    assert link_of(answer) is None
    reports = answer.json()["tenant_usages"]
    assert {one["tenant_id"]: one["total_hours"] for one in reports} == hours
    assert len(reports) == 3
    for one in reports:
        assert one["total_memory_mb_usage"] == one["total_hours"] * 128
        assert (one["start"], one["stop"]) == ("2026-01-01T00:00:00.000000", "2026-01-02T00:00:00.000000")
        assert "server_usages" not in one
    detailed = (await admin.get(f"{PATH}?{WHEN}&detailed=1")).json()["tenant_usages"]
    assert {one["tenant_id"]: len(one["server_usages"]) for one in detailed} == {
        project: sum(held.get(name, 0) for held in HELD.values())
        for name, project in zip(("demo", "alt_demo", "admin"), hours, strict=True)
    }


@pytest.mark.parametrize("limit", range(1, 12))
@pytest.mark.parametrize("detailed", [0, 1])
async def test_pages_of_any_size_add_up_to_the_union(
    pager: Client, hours: Counter[str], limit: int, detailed: int
) -> None:
    whole = (await pager.get(f"{PATH}?{WHEN}&detailed=1")).json()["tenant_usages"]
    found = await pages(pager, f"{PATH}?{WHEN}&limit={limit}&detailed={detailed}")
    total: Counter[str] = Counter()
    for page in found:
        for report in page:
            total[report["tenant_id"]] += report["total_hours"]
    assert total == hours
    assert len(found) == -(-9 // limit)
    if detailed:
        listed = [one["instance_id"] for page in found for report in page for one in report["server_usages"]]
        union = {one["instance_id"] for report in whole for one in report["server_usages"]}
        assert len(listed) == len(union) == 9
        assert set(listed) == union


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
async def test_the_report_of_one_project(
    pager: Client, cloud: Cloud, hours: Counter[str], limit: int
) -> None:
    project = cloud.keystone.project_id("demo")
    whole = (await pager.get(f"{PATH}/{project}?{WHEN}")).json()["tenant_usage"]
    assert (whole["total_hours"], len(whole["server_usages"])) == (hours[project], 5)
    found = await pages(pager, f"{PATH}/{project}?{WHEN}&limit={limit}")
    assert len(found) == -(-5 // limit)
    for name in TOTALS:
        assert sum(page[name] for page in found) == pytest.approx(whole[name])
    listed = [one["instance_id"] for page in found for one in page["server_usages"]]
    assert sorted(listed) == sorted(one["instance_id"] for one in whole["server_usages"])


async def test_a_link_keeps_what_was_asked(pager: Client, cloud: Cloud, hours: Counter[str]) -> None:
    assert hours
    project = cloud.keystone.project_id("admin")
    target = f"/compute/v2.1/{project}/os-simple-tenant-usage?limit=2&{WHEN}&detailed=1"
    following = link_of(await pager.get(target))
    assert following is not None
    assert following.startswith(f"/compute/v2.1/{project}/os-simple-tenant-usage?")
    asked = dict(parse_qsl(following.partition("?")[2]))
    assert asked.keys() == {"detailed", "end", "limit", "marker", "start"}
    assert (asked["detailed"], asked["limit"]) == ("1", "2")


async def test_sites_whose_own_pages_are_shorter(pager: Client, cloud: Cloud, hours: Counter[str]) -> None:
    for site in cloud.sites:
        site.compute.max_limit = 2
    found = await pages(pager, f"{PATH}?{WHEN}")
    total: Counter[str] = Counter()
    for page in found:
        for report in page:
            total[report["tenant_id"]] += report["total_hours"]
    assert total == hours


async def test_what_is_nobodys(pager: Client, cloud: Cloud) -> None:
    project = cloud.keystone.project_id("demo")
    assert (await pager.get(f"{PATH}/{project}?{WHEN}")).json() == {"tenant_usage": {}}
    assert (await pager.get(f"{PATH}?{WHEN}&limit=1")).json() == {"tenant_usages": []}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (f"marker={UNKNOWN}", f"Marker {UNKNOWN} could not be found."),
        ("marker=", "Marker  could not be found."),
        ("limit=x", "Invalid input for query parameters limit. Value: x. 'x' does not match '^[0-9]*$'"),
        ("start=x", "Invalid datetime string: Datetime is in invalid format"),
    ],
)
async def test_what_every_site_refuses(pager: Client, query: str, message: str) -> None:
    answer = await pager.get(f"{PATH}?{query}")
    assert answer.json() == {"badRequest": {"code": 400, "message": message}}


async def test_figures_are_never_silently_smaller(pager: Client, cloud: Cloud, hours: Counter[str]) -> None:
    cloud.site("site2").refuse()
    project = cloud.keystone.project_id("demo")
    for target in (f"{PATH}?{WHEN}", f"{PATH}/{project}?{WHEN}", f"{PATH}?{WHEN}&limit=5"):
        answer = await pager.get(target)
        assert answer.status_code == 503
        assert "site2" in answer.json()["serviceUnavailable"]["message"]
        partial = await pager.get(target, headers={"X-Atoll-Partial": "allow"})
        assert partial.status_code == 200
        assert "site2" in partial.headers[MISSING]
    report = (await pager.get(f"{PATH}/{project}?{WHEN}", headers={"X-Atoll-Partial": "allow"})).json()
    assert report["tenant_usage"]["total_hours"] == 47 < hours[project]


async def test_a_page_that_needs_no_other_site_is_whole(
    pager: Client, cloud: Cloud, hours: Counter[str]
) -> None:
    assert hours
    last = cloud.site("site1").compute.instances.sorted(None, [("project_id", "asc"), ("uuid", "asc")])[0].id
    cloud.site("site2").refuse()
    first = await pager.get(f"{PATH}?{WHEN}&limit=3&detailed=1")
    assert link_of(first) is not None  # site2 may have more
    assert MISSING not in first.headers
    second = await pager.get(f"{PATH}?{WHEN}&limit=1&marker={last}")
    assert second.status_code == 200
    # The server may be at the site that is away.
    assert (await pager.get(f"{PATH}?{WHEN}&marker={UNKNOWN}")).status_code == 503


async def test_a_site_that_refuses_is_the_answer(pager: Client, cloud: Cloud, hours: Counter[str]) -> None:
    assert hours
    cloud.site("site3").faults.add(Fault("status", status=403, service="compute", path="tenant-usage"))
    assert (await pager.get(f"{PATH}?{WHEN}")).status_code == 403


async def test_the_share_of_one_site(pager: Client, hours: Counter[str]) -> None:
    assert hours
    answer = await pager.get(f"{PATH}?{WHEN}&atoll_site=site2")
    (report,) = answer.json()["tenant_usages"]
    assert report["total_hours"] == 24 + 23 + 22


async def test_one_site_alone_answers_for_itself(start_atoll: StartAtoll, cloud: Cloud) -> None:
    """With one site its own answer passes, link and all."""
    cloud.site("site1").bulk(iter(range(START, START + 3)), "demo")
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token("admin")) as client:
        client.headers["OpenStack-API-Version"] = "compute 2.40"
        assert len(await pages(client, f"{PATH}?{WHEN}&limit=2")) == 2
