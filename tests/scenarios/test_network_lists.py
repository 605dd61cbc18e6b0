"""Lists of Neutron's over sites as one Neutron would answer them: pages both ways, links, fields, filters."""

import random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import UNKNOWN, Client, client_of, sql

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.network_kinds import KINDS

NETWORKS = "/network/v2.0/networks"


def fill(cloud: Cloud, counts: tuple[int, ...], *, names: int = 5, seed: int = 0) -> None:
    """Networks of demo at each site and no other, with names that many have."""
    chance = random.Random(seed)  # noqa: S311 - the same at each run
    for site, count in zip(cloud.sites, counts, strict=True):
        site.network.records.of("networks").clear()
        for _ in range(count):
            given = {"name": f"n{chance.randrange(names)}", "mtu": chance.randrange(1000, 1004)}
            site.network.records.store(KINDS["networks"], cloud.keystone.project_id("demo"), given)


async def whole(client: Client, **query: str) -> list[str]:
    """The ids of the list in its own order."""
    answer = await client.get(NETWORKS, params=query)
    assert answer.status_code == 200, answer.text
    assert "networks_links" not in answer.json()
    return [one["id"] for one in answer.json()["networks"]]


async def backwards(client: Client, limit: int, marker: str | None = None, **query: str) -> list[list[str]]:
    """All pages from the marker, or the end, to the start, by markers that a client makes itself."""
    pages: list[list[str]] = []
    while True:
        at = {"marker": marker} if marker else {}
        params = {"limit": str(limit), "page_reverse": "True", **query, **at}
        answer = await client.get(NETWORKS, params=params)
        assert answer.status_code == 200, answer.text
        page = [one["id"] for one in answer.json()["networks"]]
        if not page:
            return pages
        pages.insert(0, page)
        marker = page[0]
        assert len(pages) < 200, "it does not end"


SORTS: list[dict[str, str]] = [
    {},
    {"sort_key": "name", "sort_dir": "asc"},
    {"sort_key": "name", "sort_dir": "desc"},
    {"sort_key": "mtu", "sort_dir": "asc"},
]


@pytest.mark.parametrize("sort", SORTS, ids=lambda one: "-".join(one.values()) or "unsorted")
@pytest.mark.parametrize(
    ("limit", "counts"), [(1, (2, 3, 1)), (4, (9, 0, 7)), (7, (20, 1, 11)), (50, (5, 5, 5))]
)
async def test_pages_backwards_are_the_same_list_from_its_end(
    user: Client, cloud: Cloud, limit: int, counts: tuple[int, ...], sort: dict[str, str]
) -> None:
    fill(cloud, counts, seed=limit)
    wanted = await whole(user, **sort)
    pages = await backwards(user, limit, **sort)
    assert [one for page in pages for one in page] == wanted
    assert all(len(page) == limit for page in pages[1:])


@pytest.mark.parametrize("sort", SORTS, ids=lambda one: "-".join(one.values()) or "unsorted")
async def test_backwards_from_any_item_whatever_is_on_record(
    user: Client, cloud: Cloud, atoll: Atoll, sort: dict[str, str]
) -> None:
    fill(cloud, (6, 4, 5))
    wanted = await whole(user, **sort)
    for at in (0, 1, 5, 9, 14):
        await sql(atoll.database, "DELETE FROM cursors;")
        params = {"limit": "3", "page_reverse": "true", "marker": wanted[at], **sort}
        found = (await user.get(NETWORKS, params=params)).json()["networks"]
        assert [one["id"] for one in found] == wanted[max(0, at - 3) : at]


async def test_sites_with_smaller_pages_backwards(user: Client, cloud: Cloud) -> None:
    fill(cloud, (9, 9, 9))
    cloud.sites[0].network.page_limit, cloud.sites[2].network.page_limit = 2, 3
    wanted = await whole(user, sort_key="name", sort_dir="asc")
    pages = await backwards(user, 10, sort_key="name", sort_dir="asc")
    assert [one for page in pages for one in page] == wanted


async def test_the_links_lead_forth_and_back_through_all_pages(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    fill(cloud, (5, 4, 4))
    query = {"sort_key": "name", "sort_dir": "asc", "admin_state_up": "True"}
    wanted = await whole(user, **query)
    url, there = f"{NETWORKS}?limit=5&{'&'.join(f'{key}={value}' for key, value in query.items())}", []
    while True:
        body = (await user.get(url)).json()
        there.append([one["id"] for one in body["networks"]])
        links = {one["rel"]: one["href"] for one in body["networks_links"]}
        assert links["previous"].startswith(f"{atoll.url}{NETWORKS}?limit=5&sort_key=name")
        if "next" not in links:
            break
        url = links["next"]
    assert [one for page in there for one in page] == wanted
    assert [len(page) for page in there] == [5, 5, 3]
    back = (await user.get(links["previous"])).json()
    assert [one["id"] for one in back["networks"]] == there[1]
    links = {one["rel"]: one["href"] for one in back["networks_links"]}
    assert set(links) == {"next", "previous"}
    first = (await user.get(links["previous"])).json()
    assert [one["id"] for one in first["networks"]] == there[0]
    links = {one["rel"]: one["href"] for one in first["networks_links"]}
    none = (await user.get(links["previous"])).json()
    assert none["networks"] == []
    assert [one["rel"] for one in none["networks_links"]] == ["next"]
    forth = dict(parse_qsl(urlsplit(links["next"]).query))
    assert forth["marker"] == there[0][-1]
    assert "page_reverse" not in forth


async def test_without_a_limit_nothing_is_said_of_pages(user: Client, cloud: Cloud) -> None:
    """As in Neutron: 0 is none, and a marker that is nothing's does not matter."""
    fill(cloud, (3, 2, 2))
    wanted = await whole(user)
    for query in ("limit=0", f"marker={UNKNOWN}", "page_reverse=True", f"limit=0&marker={wanted[3]}"):
        answer = await user.get(f"{NETWORKS}?{query}")
        assert answer.status_code == 200, answer.text
        assert [one["id"] for one in answer.json()["networks"]] == wanted, query
        assert "networks_links" not in answer.json()


@pytest.mark.parametrize("way", ["", "&page_reverse=True"])
async def test_a_marker_that_is_nowhere(user: Client, cloud: Cloud, way: str) -> None:
    fill(cloud, (3, 2, 2))
    answer = await user.get(f"{NETWORKS}?limit=2&marker={UNKNOWN}{way}")
    assert answer.status_code == 404
    assert answer.json()["NeutronError"]["type"] == "NetworkNotFound"


async def test_what_is_one_thing_stands_where_it_does_forwards(start_atoll: StartAtoll, cloud: Cloud) -> None:
    fill(cloud, (3, 3, 3))
    ids = [list(site.network.records.of("networks")) for site in cloud.sites]
    one = {site.name: ids[number][1] for number, site in enumerate(cloud.sites)}
    atoll = await start_atoll(
        cloud.keystone.auth_url,
        sites_of(cloud),
        equivalents=[{"resource": "network", "name": "one", "ids": one}],
    )
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token()) as user:
        wanted = await whole(user)
        assert len(wanted) == 7
        for limit in (1, 2, 5, 9):
            pages = await backwards(user, limit)
            assert [one for page in pages for one in page] == wanted


async def test_a_site_away_is_missing_from_a_page_backwards(user: Client, cloud: Cloud) -> None:
    fill(cloud, (3, 2, 2))
    wanted = await whole(user)
    cloud.site("site2").refuse()
    answer = await user.get(f"{NETWORKS}?limit=4&page_reverse=True")
    assert "site2" in answer.headers["x-atoll-missing-sites"]
    assert [one["id"] for one in answer.json()["networks"]] == [*wanted[1:3], *wanted[5:]]


@pytest.mark.parametrize(
    "fields", [("name",), ("name", "mtu"), ("id",), ("router:external", "id"), ("nothing",)]
)
async def test_only_the_fields_that_are_asked_for(
    user: Client, cloud: Cloud, fields: tuple[str, ...]
) -> None:
    fill(cloud, (3, 2, 2))
    query: list[tuple[str, Any]] = [("fields", one) for one in fields]
    ordered = [*query, ("sort_key", "mtu"), ("sort_dir", "asc"), ("limit", "5")]
    for asked in (query, ordered):
        found = (await user.get(NETWORKS, params=asked)).json()["networks"]
        assert len(found) == (7 if asked is query else 5)
        assert all(set(one) == set(fields) - {"nothing"} for one in found)


def peopled(cloud: Cloud) -> dict[str, str]:
    """Networks, subnets, ports, routers of demo at each site, tagged; what they may be found by."""
    who = cloud.keystone.store.issue(
        cloud.keystone.store.id_of("user", "demo"),
        cloud.keystone.project_id("demo"),
        ["password"],
        frozenset({"member", "reader"}),
    )
    named: dict[str, str] = {"project": cloud.keystone.project_id("demo")}
    for number, site in enumerate(cloud.sites):
        records = site.network.records

        def make(kind: str, records: Any = records, **given: Any) -> dict[str, Any]:
            return dict(records.create(who, KINDS[kind], given))

        tags = [["red"], ["red", "blue"], []][number]
        network = make("networks", name=f"n{number}", tags=tags, description="mine")
        subnet = make(
            "subnets", network_id=network["id"], cidr=f"10.9{number}.0.0/24", ip_version=4, tags=tags
        )
        router = make("routers", name="r", tags=tags)
        group = make("security-groups", name="web", tags=tags)
        given = {"name": "p", "device_id": "vm", "tags": tags, "security_groups": [group["id"]]}
        port = make("ports", network_id=network["id"], **given)
        things = {"network": network, "subnet": subnet, "port": port, "router": router, "group": group}
        named |= {f"{kind}{number}": one["id"] for kind, one in things.items()}
        named |= {f"ip{number}": port["fixed_ips"][0]["ip_address"], f"mac{number}": port["mac_address"]}
    return named


FILTERS = [
    "networks?name=n0&name=n2",
    "networks?tags=red",
    "networks?tags=red,blue",
    "networks?tags-any=blue,green",
    "networks?not-tags=red",
    "networks?not-tags-any=red,blue",
    "networks?router:external=True",
    "networks?shared=False&status=ACTIVE",
    "networks?project_id={project}&admin_state_up=True",
    "networks?tenant_id={project}&description=mine",
    "networks?id={network0}&id={network2}",
    "networks?mtu=1450&fields=id&fields=mtu",
    "subnets?network_id={network1}",
    "subnets?cidr=10.91.0.0/24&ip_version=4",
    "subnets?enable_dhcp=True&sort_key=cidr&sort_dir=desc",
    "ports?network_id={network0}&network_id={network2}",
    "ports?device_id=vm&device_owner=",
    "ports?fixed_ips=subnet_id={subnet1}",
    "ports?fixed_ips=ip_address={ip1}",
    "ports?mac_address={mac2}",
    "ports?security_groups={group0}",
    "ports?name=p&fields=name",
    "routers?name=r&tags=blue",
    "security-groups?name=web",
    "security-groups?id={group0}&id={group1}",
    "security-group-rules?security_group_id={group1}&direction=egress",
    "security-group-rules?security_group_id={group2}&ethertype=IPv6",
]


def alike(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items without what Atoll shows in its own words: zones, and the group `default`."""
    ours = {"availability_zone_hints", "security_groups"}
    return [{key: value for key, value in one.items() if key not in ours} for one in items]


@pytest.mark.parametrize("asked", FILTERS)
async def test_a_filter_finds_what_it_finds_at_the_sites(user: Client, cloud: Cloud, asked: str) -> None:
    path = asked.format_map(peopled(cloud))
    key = path.partition("?")[0].replace("-", "_")
    through = await user.get(f"/network/v2.0/{path}")
    assert through.status_code == 200, through.text
    found = []
    for site in cloud.sites:
        async with httpx.AsyncClient(headers={"x-auth-token": user.token}, timeout=30) as direct:
            found += (await direct.get(f"{site.endpoints['network']}/v2.0/{path}")).json()[key]
    if "sort_key=cidr" in path:
        found.sort(key=lambda one: one["cidr"], reverse=True)
    assert alike(through.json()[key]) == alike(found)
    assert found


@pytest.mark.parametrize(
    "asked", ["networks?nothing=1", "ports?colour=red", "subnets?admin_state_up=True&x=y"]
)
async def test_a_filter_that_nothing_has_is_refused_as_neutron_does(user: Client, asked: str) -> None:
    answer = await user.get(f"/network/v2.0/{asked}")
    assert answer.status_code == 400
    error = answer.json()["NeutronError"]
    assert error["type"] == "HTTPBadRequest"
    assert error["message"].endswith("is invalid attribute for filtering")
