"""Locations are a cache: lost, failing (R13) or contradicting each other, no resource is lost with them."""

import asyncio
import copy
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, Client, boot, client_of, instances_of, sql, writes

from atoll.sandbox.simulated import Cloud

# A table that is not there would be made again; one that is of another shape stays broken.
BROKEN = "ALTER TABLE locations RENAME COLUMN site TO place; DROP TABLE cursors; DROP TABLE conflicts;"


async def restarted(start_atoll: StartAtoll, cloud: Cloud, atoll: Atoll) -> Atoll:
    """Another process on the same database."""
    await atoll.end()
    again = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    await again.settled()
    return again


async def test_with_the_table_lost_everything_is_found_by_search(
    start_atoll: StartAtoll, cloud: Cloud, atoll: Atoll, user: Client
) -> None:
    servers = [await boot(user, cloud, f"site{number}") for number in (1, 2, 3)]
    volume = await user.post(
        "/block-storage/v3/volumes", json={"volume": {"size": 1, "availability_zone": "site3"}}
    )
    network = await user.post("/network/v2.0/networks", json={"network": {"name": "n"}})
    paths = [f"{SERVERS}/{one}" for one in servers]
    paths.append(f"/block-storage/v3/volumes/{volume.json()['volume']['id']}")
    paths.append(f"/network/v2.0/networks/{network.json()['network']['id']}")
    await atoll.end()
    await sql(atoll.database, "DELETE FROM locations; DELETE FROM cursors; DELETE FROM conflicts;")
    again = await restarted(start_atoll, cloud, atoll)
    async with client_of(again, cloud.keystone.token()) as client:
        for path in paths:
            assert (await client.get(path)).status_code == 200, path
        searches = sum(
            paths[0].rpartition("/")[2] in seen.target for site in cloud.sites for seen in site.listener.seen
        )
        assert (await client.get(paths[0])).status_code == 200
        after = sum(
            paths[0].rpartition("/")[2] in seen.target for site in cloud.sites for seen in site.listener.seen
        )
        assert after == searches + 1, "what was found is remembered"
        assert (await client.delete(paths[1])).status_code == 204


async def test_another_process_needs_no_search(
    start_atoll: StartAtoll, cloud: Cloud, atoll: Atoll, user: Client
) -> None:
    server = await boot(user, cloud, "site2")
    again = await restarted(start_atoll, cloud, atoll)
    for site in cloud.sites:
        site.listener.seen.clear()
    async with client_of(again, cloud.keystone.token()) as client:
        assert (await client.get(f"{SERVERS}/{server}")).status_code == 200
    asked = [site.name for site in cloud.sites for seen in site.listener.seen if server in seen.target]
    assert asked == ["site2"]


async def test_a_create_whose_record_fails_is_answered_and_found(
    start_atoll: StartAtoll, cloud: Cloud, atoll: Atoll, user: Client, log_lines: list[Any]
) -> None:
    """R13: the server is there, so the client is told of it; a log line says what is not on record."""
    await sql(atoll.database, BROKEN)
    server = await boot(user, cloud, "site2")
    assert (await user.get(f"{SERVERS}/{server}")).status_code == 200
    told = [line for line in log_lines if line["event"] == "location_not_recorded"]
    assert [(line["id"], line["site"]) for line in told] == [(server, "site2")]
    # Lists, and things that this process never saw, without a store: the sites are asked.
    site = cloud.site("site3")
    site.bulk(iter([1_700_000_000]))
    behind = (await user.get(f"{SERVERS}/detail")).json()["servers"]
    assert {one["id"] for one in behind} >= {server}
    assert len(behind) == 2
    del start_atoll


async def test_what_is_made_behind_our_back_is_there_at_once(user: Client, cloud: Cloud) -> None:
    assert (await user.get(SERVERS)).json()["servers"] == []
    site = cloud.site("site2")
    site.bulk(iter([1_700_000_000]))
    (instance,) = instances_of(site)
    assert (await user.get(f"{SERVERS}/{instance.id}")).status_code == 200
    assert [one["id"] for one in (await user.get(SERVERS)).json()["servers"]] == [instance.id]


@pytest.fixture
async def claimed_twice(cloud: Cloud) -> str:
    """A server id that two sites claim."""
    cloud.site("site1").bulk(iter([1_700_000_000]))
    (instance,) = instances_of(cloud.site("site1"))
    cloud.site("site3").compute.instances.add(copy.copy(instance))
    return str(instance.id)


async def test_two_sites_claim_one_id_found_by_search(user: Client, cloud: Cloud, claimed_twice: str) -> None:
    path = f"{SERVERS}/{claimed_twice}"
    assert (await user.get(path)).status_code == 200
    await _refused_writes(user, cloud, path)


async def test_two_sites_claim_one_id_seen_in_a_list(user: Client, cloud: Cloud, claimed_twice: str) -> None:
    assert (await user.get(SERVERS)).status_code == 200
    await _refused_writes(user, cloud, f"{SERVERS}/{claimed_twice}")


async def test_two_sites_claim_one_id_nobody_looked_before(
    user: Client, cloud: Cloud, claimed_twice: str
) -> None:
    await _refused_writes(user, cloud, f"{SERVERS}/{claimed_twice}")


async def _refused_writes(user: Client, cloud: Cloud, path: str) -> None:
    """No write hits one of them by chance; the answer names both."""
    for answer in (
        await user.delete(path),
        await user.put(path, json={"server": {"name": "x"}}),
        await user.post(f"{path}/action", json={"os-stop": None}),
    ):
        assert answer.status_code == 409, answer.text
        assert "site1" in answer.text
        assert "site3" in answer.text
    assert writes(cloud) == []


async def test_a_deleted_server_is_404_to_whoever_polls(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud, "site2")
    assert (await user.delete(f"{SERVERS}/{server}")).status_code == 204
    for site in cloud.sites:
        site.listener.seen.clear()
    for _ in range(3):
        assert (await user.get(f"{SERVERS}/{server}")).status_code == 404
    assert [site.name for site in cloud.sites for _ in site.listener.seen] == ["site2"] * 3, "no search"


async def test_what_is_nowhere_is_not_searched_for_again_at_once(user: Client, cloud: Cloud) -> None:
    path = f"{SERVERS}/01234567-89ab-4cde-8f01-23456789abcd"
    assert (await user.get(path)).status_code == 404
    asked = sum(len(site.listener.seen) for site in cloud.sites)
    assert (await user.get(path)).status_code == 404
    assert sum(len(site.listener.seen) for site in cloud.sites) <= asked + 1
    assert (await user.get(f"{SERVERS}/not-an-id")).status_code == 404


async def test_what_a_list_has_just_shown_can_be_forgotten_at_once(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    """It is known from that moment on, and written down a little later."""
    cloud.site("site2").bulk(iter(range(20)), "demo")
    for one in (await user.get(f"{SERVERS}/detail")).json()["servers"]:
        where = f"/atoll/v1/locations/{one['id']}"
        assert (await admin.delete(where)).status_code == 204
        assert (await admin.get(where)).json()["locations"] == []
    assert (await admin.delete(where)).status_code == 404


async def test_a_lost_table_is_filled_again_by_lists(
    start_atoll: StartAtoll,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: list[dict[str, object]],
) -> None:
    """Also with what the gateway still knows."""
    monkeypatch.setattr("atoll.store.locations.LOOK_SECONDS", 0.2)
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    async with (
        client_of(atoll, cloud.keystone.token()) as user,
        client_of(atoll, cloud.keystone.token("admin")) as admin,
    ):
        server = await boot(user, cloud, "site2")
        await sql(atoll.database, "DELETE FROM locations;")
        await until(lambda: any(line["event"] == "locations_lost" for line in log_lines))
        async with asyncio.timeout(30):
            while not (await admin.get(f"/atoll/v1/locations/{server}")).json()["locations"]:
                assert server in (await user.get(SERVERS)).text
                await asyncio.sleep(0.05)


async def test_forgotten_at_one_gateway_the_others_find_it_where_it_is(
    start_atoll: StartAtoll, user: Client, admin: Client, cloud: Cloud, claimed_twice: str
) -> None:
    second = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    path = f"{SERVERS}/{claimed_twice}"
    async with client_of(second, cloud.keystone.token()) as other:
        for one in (user, other):
            assert (await one.get(path)).status_code == 200
        (known,) = (await admin.get(f"/atoll/v1/locations/{claimed_twice}")).json()["locations"]
        at_it = cloud.site(known["site"]).compute.instances
        gone = at_it.get(claimed_twice)
        assert gone is not None
        gone.gone = 1_700_000_001
        at_it.touch(gone)
        assert (await admin.delete(f"/atoll/v1/locations/{claimed_twice}")).status_code == 204
        assert (await user.get(path)).status_code == 200
        async with asyncio.timeout(30):
            while (await other.get(path)).status_code != 200:  # noqa: ASYNC110 - HTTP
                await asyncio.sleep(0.05)
