"""`atoll explain` on the logs of real traffic: what it says of a request is what was done for it."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, ZONES, boot, client_of, server_body, sql
from tests.scenarios.explaining import calls, explained, run, written

from atoll.sandbox.simulated import Cloud, Fault

NAMES = ("site1", "site2", "site3")
MINE = "req-0a1b2c3d-4e5f-4a6b-8c7d-9e8f7a6b5c4d"
ID = "x-openstack-request-id"

Start = Callable[[str], Awaitable[tuple[Atoll, Path]]]


@pytest.fixture
def start(start_atoll: StartAtoll, cloud: Cloud, tmp_path: Path) -> Start:
    """A gateway with an access log of its own, and that log."""

    async def start(name: str) -> tuple[Atoll, Path]:
        log = tmp_path / f"{name}.log"
        tables: dict[str, Any] = {"gateway": {"access_log": str(log)}, "zones": ZONES}
        atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), **tables)
        await atoll.settled()
        return atoll, log

    return start


async def test_a_server_on_record_by_the_id_that_its_site_gave(start: Start, cloud: Cloud) -> None:
    """The lane answers; what the client has of it is the site's own request id."""
    atoll, log = await start("one")
    async with client_of(atoll, cloud.keystone.token()) as user:
        server = await boot(user, cloud, "zone2")
        answer = await user.get(f"{SERVERS}/{server}")
    one, shown = await explained(answer.headers[ID], log)
    assert one["request_id"] != answer.headers[ID]
    assert one["route"] == {
        "template": "servers/{id}",
        "kind": "placed",
        "resource": "server",
        "means": "it goes to the site of its id",
    }
    assert calls(one) == [("site2", "", "GET", f"/v2.1/servers/{server}", 200)]
    assert one["calls"][0]["site_request_id"] == answer.headers[ID]
    assert (one["status"], one["bytes"]) == (200, len(answer.content))
    assert one["client"].startswith("127.0.0.1:")
    assert (one["user_id"], one["project_id"]) != ("", "")
    assert "token_ms" not in one or one["token_ms"] is None
    assert "on record, so nobody was asked" in shown
    assert f"GET {SERVERS}/{server}   200 in" in shown
    by_own_id, _ = await explained(one["request_id"], log)
    assert by_own_id == one
    assert user.token not in shown + json.dumps(one)


async def test_a_server_that_is_on_no_record(start: Start, cloud: Cloud) -> None:
    atoll, _ = await start("one")
    async with client_of(atoll, cloud.keystone.token()) as user:
        server = await boot(user, cloud, "zone2")
    await atoll.end()
    await sql(atoll.database, "DELETE FROM locations;")
    again, log = await start("two")
    async with client_of(again, cloud.keystone.token()) as user:
        answer = await user.delete(f"{SERVERS}/{server}", headers={ID: MINE})
    assert answer.status_code == 204
    one, shown = await explained(MINE, log)
    path = f"/v2.1/servers/{server}"
    # A search is a GET, whatever is searched for.
    assert sorted(calls(one)[:3]) == [
        ("site1", "search", "GET", path, 404),
        ("site2", "search", "GET", path, 200),
        ("site3", "search", "GET", path, 404),
    ]
    assert calls(one)[3:] == [("site2", "", "DELETE", path, 204)]
    assert one["calls"][3]["at_ms"] >= max(c["at_ms"] + c["ms"] for c in one["calls"][:3]) - 5
    assert one["token_ms"] is not None, "the second gateway had to have the token validated"
    assert "not on record, so 3 sites were asked: found at site2" in shown
    assert "is it valid, and whose" in shown


async def test_what_is_nowhere(start: Start, cloud: Cloud) -> None:
    atoll, log = await start("one")
    ident = "99999999-8888-4777-8666-555555555555"
    async with client_of(atoll, cloud.keystone.token()) as user:
        assert (await user.get(f"{SERVERS}/{ident}", headers={ID: MINE})).status_code == 404
    one, shown = await explained(MINE, log)
    assert [call[4] for call in calls(one)] == [404, 404, 404, 404]
    assert "found at none" in shown
    assert "no site has 99999999-8888-4777-8666-555555555555" in shown
    assert "as the site site1 answered" in shown


async def test_a_list_of_which_a_site_is_missing(start: Start, cloud: Cloud) -> None:
    atoll, log = await start("one")
    cloud.site("site3").refuse()
    async with client_of(atoll, cloud.keystone.token()) as user:
        answer = await user.get(f"{SERVERS}?limit=5&name=", headers={ID: MINE, "X-Atoll-Partial": "allow"})
    assert answer.status_code == 200
    one, shown = await explained(MINE, log)
    assert one["route"]["means"] == "the lists of all sites are merged"
    assert {(c["site"], c["status"]) for c in one["calls"]} == {("site1", 200), ("site2", 200), ("site3", 0)}
    assert all("?" not in call["path"] for call in one["calls"])
    assert list(one["missing"]) == ["site3"]
    assert "MISSING IN THE ANSWER\n  site3  The site site3 cannot be reached" in shown


async def test_a_create_says_why_its_site_and_why_not_the_others(start: Start, cloud: Cloud) -> None:
    atoll, log = await start("one")
    async with client_of(atoll, cloud.keystone.token()) as user:
        zoned = await user.post(
            SERVERS, json=server_body(cloud, availability_zone="zone2"), headers={ID: MINE}
        )
        free = await user.post(SERVERS, json=server_body(cloud))
    assert zoned.status_code == free.status_code == 202
    one, shown = await explained(MINE, log)
    rules = {(reason["site"], reason["rule"]) for reason in one["reasons"]}
    assert {("site1", "availability_zone"), ("site3", "availability_zone"), ("site2", "chosen")} <= rules
    assert calls(one)[-1] == ("site2", "", "POST", "/v2.1/servers", 202)
    # What the body names was looked for: by GETs of its own path, at every site.
    assert {(c[1], c[2]) for c in calls(one)[:-1]} <= {("search", "GET"), ("same", "GET")}
    assert all(c[3].startswith(("/v2/images", "/v2.1/flavors")) for c in calls(one)[:-1])
    assert "left out  availability zone zone2 is not there" in shown
    one, shown = await explained(free.headers[ID], log)
    points = {(r["site"], r["rule"]): r["points"] for r in one["reasons"] if r.get("points") is not None}
    assert set(points) == {(site, rule) for site in NAMES for rule in ("together", "spread")}
    assert [r["site"] for r in one["reasons"] if r["rule"] == "chosen"] == [calls(one)[-1][0]]
    assert "points, " in shown


async def test_a_create_that_no_site_can_take_says_what_was_considered(start: Start, cloud: Cloud) -> None:
    atoll, log = await start("one")
    async with client_of(atoll, cloud.keystone.token()) as user:
        volume = await user.post(
            "/block-storage/v3/volumes", json={"volume": {"size": 1, "availability_zone": "zone3"}}
        )
        named = [
            {"uuid": volume.json()["volume"]["id"], "source_type": "volume", "destination_type": "volume"}
        ]
        body = server_body(cloud, availability_zone="zone1", block_device_mapping_v2=named)
        answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 409
    one, shown = await explained(answer.headers[ID], log)
    assert one["fault"] == "conflict"
    assert one["message"] == answer.json()["conflictingRequest"]["message"]
    assert {reason["site"] for reason in one["reasons"]} == set(NAMES)
    assert [call for call in calls(one) if call[2] != "GET"] == []
    assert "Atoll's own fault, conflict: No site can take the server" in shown


async def test_a_shared_create_that_was_undone(
    start: Start, cloud: Cloud, log_lines: list[Any], tmp_path: Path
) -> None:
    atoll, log = await start("one")
    body = {"flavor": {"name": "m1.odd", "ram": 64, "vcpus": 1, "disk": 1, "id": "odd"}}
    cloud.site("site3").faults.add(Fault("status", status=403, service="compute", method="POST", count=1))
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        refused = await admin.post("/compute/v2.1/flavors", json=body, headers={ID: MINE})
    assert refused.status_code == 403
    # The events, as they are written off a terminal.
    events = tmp_path / "events.log"
    stamp = "2026-11-21T10:00:00.000000Z"
    lines = [{**line, "level": line["log_level"], "timestamp": stamp} for line in log_lines]
    events.write_text("".join(f"{json.dumps(line, default=str)}\n" for line in lines))
    await until(lambda: written(MINE, (log,)))
    one, shown = await explained(MINE, log)
    made = [call for call in calls(one) if call[2] == "POST"]
    assert made[0] == ("site1", "", "POST", "/v2.1/flavors", 200)
    assert sorted(made[1:]) == [
        ("site2", "", "POST", "/v2.1/flavors", 200),
        ("site3", "", "POST", "/v2.1/flavors", 403),
    ]
    undone = [call for call in calls(one) if call[2] == "DELETE"]
    assert sorted(undone) == [
        ("site1", "undo", "DELETE", "/v2.1/flavors/odd", 202),
        ("site2", "undo", "DELETE", "/v2.1/flavors/odd", 202),
    ]
    assert "as the site site3 answered" in shown
    status, text = await run("--log", str(log), "--log", str(events), "--format", "json", MINE)
    assert status == 0
    (one,) = json.loads(text)
    assert [(event["event"], event["data"]["site"]) for event in one["events"]] == [
        ("undone", "site1"),
        ("undone", "site2"),
    ]


async def test_a_get_that_was_sent_again_keeps_its_id(start: Start, cloud: Cloud) -> None:
    """A kept connection ends without a word: the lane loses the request, and it goes out again."""
    atoll, log = await start("one")
    async with client_of(atoll, cloud.keystone.token()) as user:
        server = await boot(user, cloud, "zone2")
        await user.get(f"{SERVERS}/{server}")
        cloud.site("site2").faults.add(Fault("reset", service="compute", method="GET", count=1))
        answer = await user.get(f"{SERVERS}/{server}")
    assert answer.status_code == 200
    one, shown = await explained(answer.headers[ID], log)
    path = f"/v2.1/servers/{server}"
    assert calls(one) == [("site2", "", "GET", path, 0), ("site2", "", "GET", path, 200)]
    assert one["calls"][0]["repeated"]
    assert "none, sent again" in shown
    asked = [seen for seen in cloud.site("site2").listener.seen if seen.target.endswith(path)]
    names = [value for seen in asked[-2:] for name, value in seen.headers if name.lower() == ID]
    assert names == [one["request_id"]] * 2, "the site has both under one global id"


async def test_a_part_of_a_list_that_was_sent_twice(start: Start, cloud: Cloud) -> None:
    atoll, log = await start("one")
    async with client_of(atoll, cloud.keystone.token()) as user:
        await user.get(SERVERS)
        cloud.site("site2").faults.add(Fault("reset", service="compute", method="GET", count=1))
        answer = await user.get(SERVERS, headers={ID: MINE})
    assert answer.status_code == 200
    one, shown = await explained(MINE, log)
    assert {(c["site"], c["status"], c["repeated"]) for c in one["calls"]} == {
        ("site1", 200, False),
        ("site2", 200, True),
        ("site3", 200, False),
    }
    assert "200, sent twice" in shown


async def test_the_last_requests_and_the_last_failures(start: Start, cloud: Cloud) -> None:
    atoll, log = await start("one")
    async with client_of(atoll, cloud.keystone.token()) as user:
        server = await boot(user, cloud, "zone2")
        cloud.site("site2").refuse()
        away = await user.get(f"{SERVERS}/{server}")
        await user.get(f"{SERVERS}/no-such-id", headers={ID: MINE})
    assert away.status_code == 503
    await until(lambda: written(MINE, (log,)))
    status, text = await run("--log", str(log), "--last", "2", "--format", "json")
    assert status == 0
    assert [(row["request_id"], row["status"]) for row in json.loads(text)] == [
        (away.headers[ID], 503),
        (MINE, 404),
    ]
    status, text = await run("--log", str(log), "--last", "--failed", "--with", server)
    assert status == 0
    assert away.headers[ID] in text
    assert MINE not in text
    status, text = await run("--log", str(log), away.headers[ID])
    assert "Atoll's own fault, site_unavailable: The site site2 cannot be reached" in text
