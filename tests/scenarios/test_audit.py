"""Who did what, where, with which outcome: an event for each request that changes something."""

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.running import sites_of
from tests.scenarios.conftest import SERVERS, UNKNOWN, client_of, server_body

from atoll.core.errors import BadRequest
from atoll.gateway.webhook import resolved
from atoll.sandbox.simulated import Cloud

PRIVATE = {"private_addresses": True}  # the webhooks are on this machine


def events_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_a_server_is_made_and_deleted_and_somebody_fails_to(
    start_atoll: StartAtoll, cloud: Cloud, tmp_path: Path
) -> None:
    path = tmp_path / "audit.log"
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), audit={"file": str(path)})
    token = cloud.keystone.token()
    async with client_of(atoll, token) as user:
        made = (await user.post(SERVERS, json=server_body(cloud))).json()["server"]["id"]
        assert (await user.get(f"{SERVERS}/{made}")).status_code == 200
        assert (await user.post(f"{SERVERS}/{made}/action", json={"os-stop": None})).status_code == 202
        assert (await user.delete(f"{SERVERS}/{made}")).status_code == 204
        assert (await user.delete(f"{SERVERS}/{UNKNOWN}")).status_code == 404
        assert (await user.post(SERVERS, json={"server": {}})).status_code == 400
    async with client_of(atoll, "nonsense") as stranger:
        assert (await stranger.delete(f"{SERVERS}/{made}")).status_code == 401
    events = events_in(path)
    said = [
        (one["action"], one["outcome"], one["target"]["id"], one["reason"]["reasonCode"]) for one in events
    ]
    assert said == [
        ("create", "success", made, "202"),
        ("update/os-stop", "success", made, "202"),
        ("delete", "success", made, "204"),
        ("delete", "failure", UNKNOWN, "404"),
        ("create", "failure", "unknown", "400"),
        ("delete", "failure", "unknown", "401"),
    ]
    first = events[0]
    assert first["initiator"]["project_id"] == cloud.keystone.project_id("demo")
    assert first["initiator"]["host"]["address"].startswith("127.0.0.1")
    assert first["target"]["typeURI"] == "compute/server"
    assert first["observer"] == {"id": "Atoll", "typeURI": "service/atoll"}
    (asked,) = [one["content"] for one in first["attachments"] if one["name"] == "sites"]
    assert set(asked) <= {site.name for site in cloud.sites}
    assert {"typeURI", "id", "eventType", "eventTime", "requestPath", "requestId"} <= first.keys()
    assert token not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_was_renamed_is_begun_anew(
    start_atoll: StartAtoll, cloud: Cloud, tmp_path: Path
) -> None:
    path = tmp_path / "audit.log"
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), audit={"file": str(path)})
    async with client_of(atoll, cloud.keystone.token()) as user:
        await user.delete(f"{SERVERS}/{UNKNOWN}")
        path.rename(tmp_path / "audit.log.1")
        await user.delete(f"{SERVERS}/{UNKNOWN}")
    assert len(events_in(path)) == len(events_in(tmp_path / "audit.log.1")) == 1


async def test_reads_count_where_they_shall(start_atoll: StartAtoll, cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    settings = {"file": str(path), "reads": True}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), audit=settings)
    async with client_of(atoll, cloud.keystone.token()) as user:
        await user.get(SERVERS)
    assert [one["action"] for one in events_in(path)] == ["read"]


async def test_a_webhook_is_told_everything_once_it_takes_it(start_atoll: StartAtoll, cloud: Cloud) -> None:
    taken: list[dict[str, Any]] = []
    signed: list[bool] = []
    refusals = [500, 302]
    told = asyncio.Event()

    async def webhook(exchange: Exchange) -> None:
        body = await exchange.body()
        if refusals:
            await exchange.answer(refusals.pop(), b"", b"Location: %b/elsewhere" % elsewhere.url.encode())
            return
        expected = "sha256=" + hmac.new(b"hush", body, hashlib.sha256).hexdigest()
        signed.append(exchange.head.header(b"x-atoll-signature") == expected.encode())
        taken.extend(json.loads(body))
        await exchange.answer(204)
        if len(taken) == 3:
            told.set()

    async with Origin(webhook) as origin, Origin() as elsewhere:
        settings = {
            "webhook": f"{origin.url}/events?x=1",
            "webhook_secret": "env:ATOLL_TEST_SECRET",
        }
        atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), audit=settings, limits=PRIVATE)
        async with client_of(atoll, cloud.keystone.token()) as user:
            for _ in range(3):
                await user.delete(f"{SERVERS}/{UNKNOWN}")
        await asyncio.wait_for(told.wait(), 20)
    assert elsewhere.seen == []
    assert all(signed)
    assert len({one["id"] for one in taken}) == 3


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "169.254.169.254", "10.1.2.3", "::1", "::ffff:10.0.0.1"]
)
async def test_a_webhook_leads_to_no_private_address(host):
    with pytest.raises(BadRequest, match="not an address of the public net"):
        await resolved(host, 80, private=False)
    assert await resolved("127.0.0.1", 80, private=True) == "127.0.0.1"


async def test_what_a_webhook_will_never_get_is_counted(start_atoll: StartAtoll, cloud: Cloud) -> None:
    settings = {"webhook": "http://127.0.0.1:1/"}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), audit=settings, limits=PRIVATE)
    async with client_of(atoll, cloud.keystone.token()) as user:
        await user.delete(f"{SERVERS}/{UNKNOWN}")
    with capture_logs() as logs:
        await atoll.end()
    assert [one["events"] for one in logs if one["event"] == "audit_not_sent"] == [1]
