"""What passes with a request and what never does: ids, tokens, and who the caller claims to be."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.origin import Exchange
from tests.raw import connected
from tests.wire.conftest import IMAGE_FILE, SERVER, Front, StartFront

from atoll.gateway.forward import IDENTITY_HEADERS
from atoll.wire.heads import OFTEN

GLOBAL_ID = b"req-11111111-2222-4333-8444-555555555555"

CLAIMS = {
    "roles": b"X-Roles: admin",
    "roles in lower case": b"x-roles: admin",
    "roles as WSGI reads them": b"X_Roles: admin",
    "a mixed spelling": b"X_User-Id: 1",
    "the project": b"X-Project-Id: other",
    "the old name of the project": b"X-Tenant-Id: other",
    "the user": b"X-User-Id: root",
    "the status": b"X-Identity-Status: Confirmed",
    "a service's": b"X-Service-Roles: service",
    "a service's token": b"X-Service-Token: abc",
    "the system": b"OpenStack-System-Scope: all",
    "the admin project": b"X-Is-Admin-Project: True",
    "the catalogue": b"X-Service-Catalog: []",
    "where it came from": b"X-Forwarded-For: 10.0.0.1",
    "by which scheme": b"X-Forwarded-Proto: https",
    "and under which prefix": b"X-Forwarded-Prefix: /evil",
    "and by whose hand": b"Forwarded: for=10.0.0.1;host=evil",
}


@pytest.mark.parametrize("claim", CLAIMS)
async def test_nobody_says_who_they_are_to_a_site(start_front: StartFront, claim: str) -> None:
    front = await start_front()
    line = CLAIMS[claim]
    async with connected(front.port) as raw:
        answer = await raw.ask(front.request(b"GET", SERVER, line, b"X-Kept: yes"))
    assert answer.status == 200
    (seen,) = front.origin.seen
    assert seen.header(b"x-kept") == b"yes"
    claimed = line.partition(b":")[0].lower().replace(b"_", b"-")
    assert all(name.replace(b"_", b"-") != claimed for name, _ in seen.headers)
    assert claimed in IDENTITY_HEADERS


async def test_what_connection_nominates_stays_on_its_hop(start_front: StartFront) -> None:
    front = await start_front()
    lines = (
        b"Connection: close, X-Mine",
        b"X-Mine: 1",
        b"X-Kept: 2",
        b"TE: trailers",
        b"Keep-Alive: timeout=9",
    )
    async with connected(front.port) as raw:
        await raw.ask(front.request(b"POST", SERVER + b"/action", *lines, body=b"{}"))
    (seen,) = front.origin.seen
    assert seen.all(b"x-mine") == seen.all(b"te") == seen.all(b"keep-alive") == seen.all(b"connection") == []
    assert seen.header(b"x-kept") == b"2"
    assert seen.body == b"{}"


@pytest.mark.parametrize("name", [b"X-Auth-Token", b"Content-Length", b"content-type", b"Host"])
async def test_what_a_message_needs_cannot_be_nominated_away(start_front: StartFront, name: bytes) -> None:
    """A site would be asked by nobody, or for something else, while we took the caller as known."""
    front = await start_front()
    async with connected(front.port) as raw:
        answer = await raw.ask(front.request(b"POST", SERVER, b"Connection: keep-alive, " + name, body=b"{}"))
    assert answer.status == 400
    assert front.origin.seen == []


async def test_a_nominated_claim_is_gone_all_the_same(start_front: StartFront) -> None:
    front = await start_front()
    lines = (b"Connection: X-Something", b"X-Roles: admin", b"X_ROLES: admin")
    async with connected(front.port) as raw:
        await raw.ask(front.request(b"GET", SERVER, *lines))
    assert all(b"roles" not in name for name, _ in front.origin.seen[0].headers)


async def test_everything_else_passes_in_its_order(start_front: StartFront) -> None:
    front = await start_front()
    mine = [b"X-B: 2", b"X-A: 1", b"Accept: application/json", b"User-Agent: me", b"X-B: 3", b'If-Match: "e"',
            b"Range: bytes=0-1", b"X-Odd: \xc3\xa4;=,"]  # fmt: skip
    async with connected(front.port) as raw:
        await raw.ask(front.request(b"GET", SERVER, *mine))
    names = {line.partition(b":")[0].lower() for line in mine}
    got = [b"%b: %b" % pair for pair in front.origin.seen[0].headers if pair[0] in names]
    assert [line.lower() for line in got] == [line.lower() for line in mine]


async def test_hop_by_hop_headers_of_the_answer_stay_behind(start_front: StartFront) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(
            200, b"{}", b"Keep-Alive: timeout=5", b"Proxy-Authenticate: Basic", b"X-Kept: 1",
            b"Set-Cookie: a=1",            b"Set-Cookie: b=2", b"Upgrade: h2c",
        )  # fmt: skip

    front = await start_front(script)
    async with connected(front.port) as raw:
        answer = await raw.ask(front.request(b"GET", SERVER))
    assert answer.header(b"x-kept") == b"1"
    assert answer.all(b"set-cookie") == [b"a=1", b"b=2"]
    for name in (b"keep-alive", b"proxy-authenticate", b"upgrade"):
        assert answer.all(name) == []


async def test_heads_that_come_again_pass_as_the_first_did(start_front: StartFront) -> None:
    """A head is soon known by its form: new values pass, what is said of the bytes of the body does not."""

    async def script(exchange: Exchange) -> None:
        tag, date = b'ETag: "%d"' % exchange.nth, b"Date: day %d" % exchange.nth
        await exchange.answer(200, b'{"server": {}}', b"X-First: 1", date, tag, b"X-Last: 2")

    front = await start_front(script)
    days = set()
    async with connected(front.port) as raw:
        for _ in range(OFTEN + 4):
            answer = await raw.ask(front.request(b"GET", SERVER))
            days.add(answer.header(b"date"))
            names = [name for name, _ in answer.headers]
            assert names[names.index(b"x-first") :][:3] == [b"x-first", b"date", b"x-last"]
            assert answer.header(b"etag") is None
            assert answer.body == b'{"server": {}}'
    assert len(days) == OFTEN + 4


async def test_a_request_id_goes_through_every_hop(start_front: StartFront, tmp_path: Path) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(
            200, b"{}", b"x-openstack-request-id: req-of-the-site", b"x-compute-request-id: req-2"
        )

    log = tmp_path / "access.log"
    front = await start_front(script, gateway={"access_log": str(log)})
    async with connected(front.port) as raw:
        given = await raw.ask(front.request(b"GET", SERVER, b"X-OpenStack-Request-ID: " + GLOBAL_ID))
        made = await raw.ask(front.request(b"GET", SERVER))
        bad = await raw.ask(front.request(b"GET", SERVER, b"X-OpenStack-Request-ID: req-1\tx"))
    sent = [one.header(b"x-openstack-request-id") for one in front.origin.seen]
    assert sent[0] == GLOBAL_ID
    assert all(one is not None and one.startswith(b"req-") and len(one) == 40 for one in sent)
    assert len(set(sent)) == 3
    for answer in (given, made, bad):
        assert answer.header(b"x-openstack-request-id") == b"req-of-the-site"
        assert answer.header(b"x-compute-request-id") == b"req-2"
    await front.atoll.end()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = [line["event"] for line in lines if line["request_id"] == GLOBAL_ID.decode()]
    assert events == ["site_answered", "request_answered"]


async def test_a_fault_of_ours_carries_the_request_id(start_front: StartFront) -> None:
    front = await start_front()
    async with connected(front.port) as raw:
        await raw.send(
            b"GET %b HTTP/1.1\r\nHost: x\r\nX-OpenStack-Request-ID: %b\r\n\r\n" % (SERVER, GLOBAL_ID)
        )
        answer = await raw.answer()
    assert answer.status == 401
    assert answer.header(b"x-openstack-request-id") is not None
    assert front.origin.seen == []


async def _provoke(front: Front, secrets: dict[str, str]) -> None:
    """Every kind of request that has a secret somewhere, well and badly answered."""
    body = json.dumps(
        {"server": {"name": "x", "adminPass": secrets["password"], "user_data": secrets["data"]}}
    )
    log_in = {"auth": {"identity": {"methods": ["password"], "password": {"user": {
        "name": "demo", "domain": {"id": "default"}, "password": secrets["password"]}}}}}  # fmt: skip
    requests = [
        front.request(b"GET", SERVER + b"?token=" + secrets["query"].encode()),
        front.request(
            b"POST", b"/compute/v2.1/servers", b"Content-Type: application/json", body=body.encode()
        ),
        front.request(b"GET", b"/nowhere?token=" + secrets["query"].encode()),
        front.request(b"POST", b"/identity/v3/auth/tokens", body=json.dumps(log_in).encode()),
        b"GET %b HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %b\r\n\r\n" % (SERVER, secrets["bad"].encode()),
        front.request(b"GET", SERVER, b"X-Service-Token: " + secrets["service"].encode()),
        front.request(b"GET", SERVER, b"Authorization: Basic " + secrets["basic"].encode()),
        front.request(
            b"GET", b"/identity/v3/auth/tokens", b"X-Subject-Token: " + secrets["subject"].encode()
        ),
        front.request(b"GET", SERVER, b"X-Auth-Token: " + secrets["second"].encode()),
        b"GET /\x00%b HTTP/1.1\r\nX-Auth-Token: %b\r\n\r\n" % (secrets["broken"].encode(), front.token),
    ]
    for request in requests:
        async with connected(front.port) as raw:
            await raw.ask(request)


async def test_no_secret_in_any_log_line(
    start_front: StartFront, tmp_path: Path, log_lines: list[Any]
) -> None:
    log = tmp_path / "access.log"
    front = await start_front(gateway={"access_log": str(log)})
    kinds = ("password", "data", "query", "bad", "service", "basic", "subject", "second", "broken")
    secrets = {kind: f"verysecret{kind}" for kind in kinds}
    await _provoke(front, secrets)

    async def broken(exchange: Exchange) -> None:
        await exchange.send(b"NONSENSE " + exchange.head.header(b"x-auth-token") + b"\r\n\r\n")  # type: ignore[operator]
        exchange.drop()

    front.origin.script = broken
    await _provoke(front, secrets)
    metrics = await front.atoll.metrics()
    await front.atoll.end()
    written = log.read_text() + repr(log_lines) + metrics
    assert "request_answered" in written
    assert front.token.decode() not in written
    assert [kind for kind, secret in secrets.items() if secret in written] == []


@pytest.mark.parametrize("method", [b"GET", b"PUT"])
async def test_a_coding_the_client_asked_for_passes_where_bytes_are_not_read(
    start_front: StartFront, method: bytes
) -> None:
    front = await start_front()
    async with connected(front.port) as raw:
        await raw.ask(front.request(method, IMAGE_FILE, b"Accept-Encoding: gzip"))
        await raw.ask(front.request(b"GET", SERVER, b"Accept-Encoding: gzip"))
    file, server = front.origin.seen
    assert file.header(b"accept-encoding") == b"gzip"
    assert server.header(b"accept-encoding") in (None, b"identity")
