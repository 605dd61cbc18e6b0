"""The answer to a create is lost on its way from a real service: told as not known, never repeated, found.

Or the client goes away. And what `atoll explain` says of it afterwards.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.e2e.outages.conftest import (
    BUILD_SECONDS,
    SERVERS,
    TWO,
    VERSION,
    Real,
    Start,
    delete,
    recorded,
    server_body,
    told,
    until_gone,
)
from tests.e2e.outages.way import Ask, lost, through
from tests.origin import Exchange
from tests.raw import connected
from tests.running import until
from tests.scenarios.explaining import calls, explained

# What to create, by service: where, and the ending of that path at the site itself.
PLACES = {
    "compute": (SERVERS, "/servers", "/servers?all_tenants=true"),
    "block-storage": ("/block-storage/v3/volumes", "/volumes", "/volumes?all_tenants=true"),
    "network": ("/network/v2.0/networks", "/networks", "/v2.0/networks"),
}


def body_of(service: str, name: str) -> dict[str, Any]:
    return {
        "compute": server_body(name, TWO),
        "block-storage": {"volume": {"name": name, "size": 1, "availability_zone": TWO}},
        "network": {"network": {"name": name, "availability_zone_hints": [TWO]}},
    }[service]


@pytest.mark.parametrize("service", PLACES)
async def test_what_was_made_is_found_though_the_answer_was_lost(
    start: Start, real: Real, token: str, name: str, log_lines: list[Any], service: str, access_log: Path
) -> None:
    path, ending, listed = PLACES[service]
    atoll = await start()
    way = real.ways[TWO][service]
    way.when("POST", ending, lost)
    async with atoll.client(token) as client:
        headers = VERSION if service == "compute" else {}
        answer = await client.post(path, json=body_of(service, name), headers=headers)
        assert answer.status_code == 504, answer.text
        request_id = answer.headers["x-openstack-request-id"]
        assert TWO in answer.text
        assert request_id in answer.text
        found = await told(log_lines, "outcome_found")
        assert (found["site"], found["request_id"]) == (TWO, request_id)
        assert way.asked("POST", ending) == 1, "sent once"
        made = {site: await real.ids(site, service, listed, name) for site in real.sites}
        assert made.pop(TWO) == [found["id"]], "and once only"
        assert set(map(tuple, made.values())) == {()}
        assert recorded(atoll.database, found["id"]) == [TWO]
        assert (await client.get(f"{path}/{found['id']}")).status_code == 200
        await taken_away(client, f"{path}/{found['id']}")
    await says_where_it_was_lost(request_id, access_log)


async def says_where_it_was_lost(request_id: str, log: Path) -> None:
    """`atoll explain` of it: which site, after how long, and how what it made was found."""
    # It was looked for when the request had been answered, and logs are written a few times a second.
    await until(lambda: '"why":"check"' in log.read_text())
    one, shown = await explained(request_id, log)
    assert one["status"] == 504
    (post,) = [call for call in one["calls"] if call["method"] == "POST"]
    assert (post["site"], post["status"]) == (TWO, 0)
    assert post["ms"] > 0
    assert any((call["site"], call["why"]) == (TWO, "check") for call in one["calls"])
    assert TWO in shown
    assert "504 in" in shown


async def taken_away(client: httpx.AsyncClient, path: str) -> None:
    """Delete it, once that can be: what is still being made cannot."""
    if "/volumes/" in path:
        await until_available(client, path)
    assert (await client.delete(path)).status_code in {202, 204}
    await until_gone(client, path)


async def until_available(client: httpx.AsyncClient, path: str) -> None:
    async with asyncio.timeout(BUILD_SECONDS):
        while (await client.get(path)).json()["volume"]["status"] != "available":  # noqa: ASYNC110 - a site's
            await asyncio.sleep(0.2)


async def test_a_client_that_goes_leaves_nothing_unreachable(
    start: Start, real: Real, token: str, name: str, log_lines: list[Any]
) -> None:
    gone = asyncio.Event()

    async def when_it_is_gone(exchange: Exchange, ask: Ask) -> None:
        await gone.wait()
        await through(exchange, ask)

    atoll = await start()
    way = real.ways[TWO]["compute"]
    way.when("POST", "/servers", when_it_is_gone)
    body = json.dumps(server_body(name, TWO)).encode()
    async with connected(atoll.port) as raw:
        head = (
            f"POST {SERVERS} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: application/json\r\nOpenStack-API-Version: compute 2.37\r\n\r\n"
        )
        await raw.send(head.encode() + body)
        await until(lambda: way.asked("POST", "/servers"), 120)
        raw.reset()
    async with atoll.client(token) as client:
        # Atoll has seen the end of that connection when it has answered on a later one.
        assert (await client.get("/healthz")).status_code == 200
        gone.set()
        made: list[str] = []
        async with asyncio.timeout(BUILD_SECONDS):
            while not made:
                made = await real.servers(TWO, name)
        await until(lambda: recorded(atoll.database, made[0]) == [TWO], 120)
        assert (await client.get(f"{SERVERS}/{made[0]}")).status_code == 200
        listed = (await client.get(SERVERS, params={"name": name})).json()["servers"]
        assert [one["id"] for one in listed] == made
        await delete(client, made[0])
    assert [line for line in log_lines if line["event"] == "outcome_not_found"] == []


async def test_the_sandboxs_own_log_explains_a_request(
    real: Real, token: str, start_atoll: StartAtoll
) -> None:
    """One that went to all sites, read from the log of the Atoll that the stock clients use."""
    del start_atoll
    async with httpx.AsyncClient(base_url=f"http://{real.tables['gateway']['listen']}", timeout=30) as client:
        answer = await client.get(f"{SERVERS}/detail", headers={"X-Auth-Token": token})
    assert answer.status_code == 200
    log = Path(real.tables["gateway"]["access_log"])
    one, shown = await explained(answer.headers["x-openstack-request-id"], log)
    asked = {call[0] for call in calls(one)}
    assert asked >= set(real.sites)
    assert all(call["ms"] > 0 for call in one["calls"])
    assert one["status"] == 200
    for site in real.sites:
        assert site in shown
