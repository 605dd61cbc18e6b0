"""R17: a filter, key or comparator is honoured or refused, as one site would. R14: clocks and time zones."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import TLS, Atoll, sites_of
from tests.scenarios.conftest import SERVERS, Client, boot, client_of

from atoll.sandbox.simulated import Cloud

VOLUMES = "/block-storage/v3/volumes"
ODD = [
    (SERVERS, "limit=-1"),
    (SERVERS, "limit=x"),
    (SERVERS, "sort_key=nothing"),
    (SERVERS, "sort_dir=sideways"),
    (SERVERS, "changes-since=yesterday"),
    (SERVERS, "status=NO_SUCH_STATUS"),
    (SERVERS, "no_such_filter=1"),
    (f"{SERVERS}/detail", "deleted=maybe"),
    (VOLUMES, "no_such_filter=1"),
    (VOLUMES, "sort=nothing:asc"),
    (VOLUMES, "created_at=about:2020-01-01"),
    (VOLUMES, "limit=-1"),
    ("/network/v2.0/networks", "no_such_filter=1"),
    ("/network/v2.0/networks", "sort_key=nothing&sort_dir=asc"),
    ("/network/v2.0/networks", "limit=x"),
    ("/image/v2/images", "created_at=about:2020-01-01T00:00:00"),
    ("/image/v2/images", "sort_key=nothing"),
    ("/image/v2/images", "visibility=no_such"),
]


@pytest.mark.parametrize(("path", "query"), ODD)
@pytest.mark.parametrize("version", ["2.1", "2.90"])
async def test_odd_filters_are_answered_as_one_site_does(
    user: Client, cloud: Cloud, path: str, query: str, version: str
) -> None:
    headers = {"OpenStack-API-Version": f"compute {version}, volume 3.60"}
    answer = await user.get(f"{path}?{query}", headers=headers)
    site = cloud.sites[0]
    own_path = path.replace("/block-storage/v3", f"/volume/v3/{cloud.keystone.project_id('demo')}")
    async with httpx.AsyncClient(
        verify=TLS, headers={**headers, "X-Auth-Token": user.token}, timeout=30
    ) as client:
        own = await client.get(f"{site.url}{own_path}?{query}")
    assert answer.status_code == own.status_code, (answer.text, own.text)
    if own.status_code >= 400:
        assert _told(answer) == _told(own)


def _told(answer: httpx.Response) -> Any:
    """A fault, without what differs each time."""
    if "json" not in answer.headers["content-type"]:
        return answer.text
    return answer.json()


async def test_filters_that_are_honoured_are_honoured_over_all_sites(user: Client, cloud: Cloud) -> None:
    wanted = {await boot(user, cloud, f"site{n}", name="wanted") for n in (1, 3)}
    for n in (1, 2, 3):
        await boot(user, cloud, f"site{n}", name="other")
    listed = (await user.get(f"{SERVERS}?name=wanted")).json()["servers"]
    assert {one["id"] for one in listed} == wanted
    for size, zone in ((1, "site1"), (2, "site2"), (3, "site3")):
        body = {"volume": {"size": size, "name": f"v{size}", "availability_zone": zone}}
        assert (await user.post(VOLUMES, json=body)).status_code == 202
    named = (await user.get(f"{VOLUMES}?name=v2")).json()["volumes"]
    assert [one["name"] for one in named] == ["v2"]
    small = (await user.get("/image/v2/images?size_max=1")).json()["images"]
    assert small == []


@pytest.fixture
def far_away() -> Iterator[None]:
    """This process in a time zone that is not UTC, and not a whole number of hours from it."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Kathmandu"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("far_away")
async def test_a_time_zone_that_is_not_utc(atoll: Atoll, user: Client, cloud: Cloud) -> None:
    """Tokens end when they end; what was made a moment ago is from a moment ago."""
    before = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    server = await boot(user, cloud, "site2")
    listed = (await user.get(f"{SERVERS}?changes-since={before}")).json()["servers"]
    assert [one["id"] for one in listed] == [server]
    for left, status in ((1800.0, 200), (-1.0, 401)):
        token = cloud.keystone.token()
        cloud.keystone.store.tokens[token].expires_at = time.time() + left
        async with atoll.client(token) as client:
            assert (await client.get(SERVERS)).status_code == status


@pytest.mark.parametrize("skew", [90, -90])
async def test_a_site_whose_clock_is_off_is_served_and_listed_in_its_own_order(
    start_atoll: StartAtoll, cloud: Cloud, skew: int
) -> None:
    cloud.site("site2").clock = lambda: time.time() + skew
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    async with client_of(atoll, cloud.keystone.token()) as client:
        servers = [await boot(client, cloud, name) for name in ("site1", "site2", "site3")]
        for server in servers:
            assert (await client.get(f"{SERVERS}/{server}")).status_code == 200
        listed = (await client.get(f"{SERVERS}/detail")).json()["servers"]
        assert {one["id"] for one in listed} == set(servers)
        created = [one["created"] for one in listed]
        assert created == sorted(created, reverse=True)
        pages = []
        marker = ""
        while page := (await client.get(f"{SERVERS}?limit=1{marker}")).json()["servers"]:
            pages += [one["id"] for one in page]
            marker = f"&marker={page[-1]['id']}"
        assert pages == [one["id"] for one in listed]
