"""The answer to a create is lost (R13): told as not known, never repeated, and what was made is found.

Also what follows a yes of the site: the client goes, Atoll is stopped, or killed. R14: clocks differ.
"""

import asyncio
import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.origin import Origin
from tests.raw import connected
from tests.running import TLS, Atoll, Settings, sites_of, until
from tests.scenarios.between import between, process_before
from tests.scenarios.conftest import SERVERS, boot, client_of, instances_of, server_body

from atoll.sandbox.simulated import Cloud, Fault

VOLUMES = "/block-storage/v3/volumes"
NETWORKS = "/network/v2.0/networks"
PORTS = "/network/v2.0/ports"
IMAGES = "/image/v2/images"
QUICK = {"deadline_seconds": 10.0, "outcome_seconds": 1.5}


def recorded(database: Path, ident: str) -> list[str]:
    """The sites that the table names for an id."""
    connection = sqlite3.connect(database, timeout=30)
    try:
        rows = connection.execute("SELECT site FROM locations WHERE id = ?", (ident,)).fetchall()
    finally:
        connection.close()
    return [site for (site,) in rows]


def told(log_lines: list[Any], *events: str) -> list[Any]:
    return [line for line in log_lines if line["event"] in events]


def through(cloud: Cloud, origin: Origin) -> dict[str, Settings]:
    """The sites, with what stands before the compute service of site2."""
    sites = sites_of(cloud)
    endpoints = {**sites["site2"]["endpoints"], "compute": f"{origin.url}/compute/v2.1"}
    return {**sites, "site2": {**sites["site2"], "endpoints": endpoints}}


@pytest.fixture
async def quick(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway that waits and looks only for a short time."""
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=QUICK)
    await running.settled()
    return running


def things(cloud: Cloud) -> dict[str, tuple[str, dict[str, Any], str]]:
    """What to create at site2: (path, body, the service's name in faults)."""
    network = next(
        one["id"]
        for one in cloud.site("site2").network.records.of("networks").values()
        if one["name"] == "private"
    )
    return {
        "server": (SERVERS, server_body(cloud, "lost", availability_zone="site2"), "compute"),
        "volume": (VOLUMES, {"volume": {"name": "lost", "size": 1, "availability_zone": "site2"}}, "volume"),
        "network": (NETWORKS, {"network": {"name": "lost", "availability_zone_hints": ["site2"]}}, "network"),
        "port": (PORTS, {"port": {"name": "lost", "network_id": network}}, "network"),
        "nameless port": (PORTS, {"port": {"network_id": network}}, "network"),
        "ports": (PORTS, {"ports": [{"name": "lost", "network_id": network}] * 2}, "network"),
        "image": (IMAGES, {"name": "lost", "disk_format": "raw", "container_format": "bare"}, "image"),
    }


@pytest.mark.parametrize("kind", ["server", "volume", "network", "port", "nameless port", "ports", "image"])
@pytest.mark.parametrize("fault", ["die_after_commit", "cut"])
async def test_what_was_made_is_found_though_the_answer_was_lost(
    quick: Atoll, cloud: Cloud, log_lines: list[Any], kind: str, fault: Any
) -> None:
    path, body, service = things(cloud)[kind]
    for site in cloud.sites:
        site.faults.add(Fault(fault, service=service, method="POST", count=1))
    async with client_of(quick, cloud.keystone.token()) as client:
        before = len((await client.get(path)).json()[path.rpartition("/")[2]])
        answer = await client.post(path, json=body)
        assert answer.status_code in {502, 504}
        assert "site" in answer.text
        made = (await client.get(path)).json()[path.rpartition("/")[2]]
        count = 2 if kind == "ports" else 1
        assert len(made) == before + count, "sent once, and once only"
        ids = {one["id"] for one in made if one.get("name") in {"lost", ""} and one["id"] in answer.text}
        if not ids:
            await until(lambda: len(told(log_lines, "outcome_found")) == count)
            found = told(log_lines, "outcome_found")
            assert {line["request_id"] for line in found} == {answer.headers["x-openstack-request-id"]}
            assert all(line["request_id"] in answer.text for line in found)
            assert {line["resource"] for line in found} == {kind.rpartition(" ")[2].removesuffix("s")}
            ids = {line["id"] for line in found}
            assert all(line["site"] in answer.text for line in found)
        assert len(ids) == count
        assert all(len(recorded(quick.database, one)) == 1 for one in ids)
        for ident in ids:
            assert (await client.get(f"{path}/{ident}")).status_code == 200


async def test_a_504_names_site_and_request_and_is_never_repeated(
    start_atoll: StartAtoll, cloud: Cloud, log_lines: list[Any]
) -> None:
    limits = {"deadline_seconds": 2.5, "outcome_seconds": 0.5}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    cloud.site("site2").faults.add(Fault("stall", service="compute", method="POST", count=1))
    async with client_of(atoll, cloud.keystone.token()) as client:
        answer = await client.post(SERVERS, json=server_body(cloud, availability_zone="site2"))
    assert answer.status_code == 504
    assert "site2" in answer.text
    posts = [
        dict(seen.headers)["x-openstack-request-id"]
        for seen in cloud.site("site2").listener.seen
        if seen.method == "POST"
    ]
    await until(lambda: told(log_lines, "outcome_not_found"))
    assert len(posts) == 1
    assert posts[0] in answer.text
    (line,) = told(log_lines, "outcome_not_found")
    assert line["request_id"] in answer.text
    assert (line["site"], line["resource"], line["id"]) == ("site2", "server", None)
    assert told(log_lines, "outcome_found") == []


async def test_what_a_slow_site_makes_after_the_504_is_found(
    start_atoll: StartAtoll, cloud: Cloud, log_lines: list[Any]
) -> None:
    """The first looks see nothing: the site has not begun yet."""
    limits = {"deadline_seconds": 2.0, "outcome_seconds": 60.0}
    site, begins = cloud.site("site2"), asyncio.Event()

    async def before() -> None:
        await begins.wait()

    async with Origin(between(site.url, before=before)) as origin:
        atoll = await start_atoll(cloud.keystone.auth_url, through(cloud, origin), limits=limits)
        async with client_of(atoll, cloud.keystone.token()) as client:
            answer = await client.post(SERVERS, json=server_body(cloud, availability_zone="site2"))
            assert answer.status_code == 504
            await until(lambda: any("limit=200" in one.target for one in site.listener.seen))
            assert instances_of(site) == []
            begins.set()
            await until(lambda: told(log_lines, "outcome_found"))
            (instance,) = instances_of(site)
            assert told(log_lines, "outcome_found")[0]["id"] == instance.id
            assert recorded(atoll.database, instance.id) == ["site2"]
        await atoll.end()


async def test_what_cannot_be_told_apart_is_not_claimed(
    quick: Atoll, cloud: Cloud, log_lines: list[Any]
) -> None:
    """Another made one of the same name at that moment behind our back: it is anybody's guess."""
    site = cloud.site("site2")
    site.faults.add(Fault("die_after_commit", service="compute", method="POST", count=1))
    site.faults.add(Fault("latency", service="compute", method="GET", path="limit=200"))  # the first look
    async with client_of(quick, cloud.keystone.token()) as client:
        body = server_body(cloud, "twin", availability_zone="site2")
        answer = await client.post(SERVERS, json=body)
        assert answer.status_code == 504
        async with client_of(quick, cloud.keystone.token()) as behind:
            behind.base_url = site.url
            twin = await behind.post("/compute/v2.1/servers", json=server_body(cloud, "twin"))
            assert twin.status_code == 202
        site.faults.clear()
        await until(lambda: told(log_lines, "outcome_not_found", "outcome_found"))
        (line,) = told(log_lines, "outcome_not_found", "outcome_found")
        assert line["event"] == "outcome_not_found"
        assert twin.json()["server"]["id"] in line["reason"]
        assert len(instances_of(site)) == 2, "and nothing is deleted"
        for instance in instances_of(site):
            assert (await client.get(f"{SERVERS}/{instance.id}")).status_code == 200


async def test_what_others_made_is_not_taken_for_it(quick: Atoll, cloud: Cloud, log_lines: list[Any]) -> None:
    """Nothing was made: neither what was there before, nor what another create was told of, is claimed."""
    site = cloud.site("site2")
    site.bulk(iter([1_700_000_000]))
    (old,) = instances_of(site)
    old.name = "same"
    async with client_of(quick, cloud.keystone.token()) as client:
        await boot(client, cloud, "site2", name="same")
        await boot(client, cloud, "site2", name="other")
        site.faults.add(Fault("reset", service="compute", method="POST", count=1))
        body = server_body(cloud, "same", availability_zone="site2")
        assert (await client.post(SERVERS, json=body)).status_code == 504
        await until(lambda: told(log_lines, "outcome_not_found", "outcome_found"))
    assert told(log_lines, "outcome_found") == []


@pytest.mark.parametrize("skew", [90, -90])
async def test_a_site_whose_clock_is_off_is_understood(
    start_atoll: StartAtoll, cloud: Cloud, log_lines: list[Any], skew: int
) -> None:
    """R14: the times of a site are compared with the time at that site."""
    site = cloud.site("site2")
    site.clock = lambda: time.time() + skew
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=QUICK)
    async with client_of(atoll, cloud.keystone.token()) as client:
        await boot(client, cloud, "site2", name="before")
        site.faults.add(Fault("die_after_commit", service="compute", method="POST", count=1))
        body = server_body(cloud, "lost", availability_zone="site2")
        assert (await client.post(SERVERS, json=body)).status_code == 504
        await until(lambda: told(log_lines, "outcome_found"))
        (lost,) = [one.id for one in instances_of(site) if one.name == "lost"]
        assert [line["id"] for line in told(log_lines, "outcome_found")] == [lost]


# -- after the site said yes ----------------------------------------------------------------------


async def test_a_client_that_goes_leaves_nothing_unreachable(
    quick: Atoll, cloud: Cloud, log_lines: list[Any]
) -> None:
    site = cloud.site("site2")
    site.faults.add(Fault("latency", seconds=0.2, service="compute", method="POST"))
    body = json.dumps(server_body(cloud, availability_zone="site2")).encode()
    token = cloud.keystone.token()
    async with connected(quick.port) as raw:
        await raw.send(
            b"POST %b HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %b\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (SERVERS.encode(), token.encode(), len(body), body)
        )
        await until(lambda: site.faults.hits)
    await until(lambda: instances_of(site))
    (instance,) = instances_of(site)
    await until(lambda: recorded(quick.database, instance.id) == ["site2"])
    async with client_of(quick, token) as client:
        assert (await client.get(f"{SERVERS}/{instance.id}")).status_code == 200
    assert told(log_lines, "outcome_found", "outcome_not_found") == []


async def test_a_create_under_way_when_atoll_is_stopped_runs_to_its_end(quick: Atoll, cloud: Cloud) -> None:
    site = cloud.site("site2")
    site.faults.add(Fault("latency", seconds=0.3, service="compute", method="POST"))
    async with client_of(quick, cloud.keystone.token()) as client:
        asking = asyncio.create_task(client.post(SERVERS, json=server_body(cloud, availability_zone="site2")))
        await until(lambda: site.faults.hits)
        quick.stop.set()
        answer = await asking
    assert answer.status_code == 202
    await quick.end()
    assert recorded(quick.database, answer.json()["server"]["id"]) == ["site2"]


async def test_looks_under_way_when_atoll_is_stopped_are_told(
    start_atoll: StartAtoll, cloud: Cloud, log_lines: list[Any]
) -> None:
    limits = {"outcome_seconds": 600.0}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    cloud.site("site2").faults.add(Fault("reset", service="compute", method="POST"))
    async with client_of(atoll, cloud.keystone.token()) as client:
        body = server_body(cloud, availability_zone="site2")
        assert (await client.post(SERVERS, json=body)).status_code == 504
    await atoll.end()
    assert len(told(log_lines, "outcome_not_found")) == 1


async def test_killed_right_after_the_site_said_yes(
    start_atoll: StartAtoll, cloud: Cloud, database: Path, tmp_path: Path
) -> None:
    """SIGKILL between the site's 202 and all that would follow: the server is found all the same."""
    site = cloud.site("site2")
    running: list[asyncio.subprocess.Process] = []

    async def kill() -> None:
        running[0].kill()
        await running[0].wait()

    async with (
        Origin(between(site.url, after=kill)) as origin,
        process_before(cloud.keystone.auth_url, through(cloud, origin), database, tmp_path) as (process, url),
    ):
        running.append(process)
        headers = {"X-Auth-Token": cloud.keystone.token()}
        async with httpx.AsyncClient(base_url=url, verify=TLS, headers=headers, timeout=30) as client:
            with pytest.raises(httpx.TransportError):
                await client.post(SERVERS, json=server_body(cloud, availability_zone="site2"))
    (instance,) = instances_of(site)
    assert recorded(database, instance.id) == [], "killed before it could remember"
    again = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    async with client_of(again, cloud.keystone.token()) as client:
        assert (await client.get(f"{SERVERS}/{instance.id}")).status_code == 200
        assert [one["id"] for one in (await client.get(SERVERS)).json()["servers"]] == [instance.id]
        assert (await client.delete(f"{SERVERS}/{instance.id}")).status_code == 204
