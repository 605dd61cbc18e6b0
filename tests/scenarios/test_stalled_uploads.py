"""A client that stops in the middle of its upload is told so: no site is blamed for it."""

import asyncio
import gc
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, Origin
from tests.raw import connected
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, client_of, created_anywhere

from atoll.sandbox.simulated import Cloud

IMAGES = "/image/v2/images"
IMPATIENT = {"deadline_seconds": 0.5}


@pytest.fixture
async def impatient(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway that waits half a second."""
    return await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=IMPATIENT)


def head(cloud: Cloud, method: str, path: str, *lines: str, kind: str = "application/json") -> bytes:
    given = [
        f"{method} {path} HTTP/1.1",
        "Host: x",
        f"X-Auth-Token: {cloud.keystone.token()}",
        f"Content-Type: {kind}",
        *lines,
    ]
    return "\r\n".join(given).encode() + b"\r\n\r\n"


FRAMED = {
    "length": ("Content-Length: 1000", b"x" * 10),
    "chunks": ("Transfer-Encoding: chunked", b"3\r\nxxx\r\n"),
}


@pytest.mark.parametrize("framing", FRAMED)
async def test_a_body_that_atoll_reads(impatient: Atoll, cloud: Cloud, framing: str) -> None:
    line, part = FRAMED[framing]
    async with connected(impatient.port) as raw:
        answer = await raw.ask(head(cloud, "POST", SERVERS, line) + part)
        assert answer.status == 408
        assert b"did not come in time" in answer.body
        assert b"site" not in answer.body
        await raw.ended()
    assert set(created_anywhere(cloud).values()) == {0}


@pytest.mark.parametrize("framing", FRAMED)
@pytest.mark.parametrize("nothing_at_all", [False, True])
async def test_a_body_that_streams(
    impatient: Atoll, cloud: Cloud, log_lines: list[Any], framing: str, nothing_at_all: bool
) -> None:
    line, part = FRAMED[framing]
    kind = "application/octet-stream"
    async with client_of(impatient, cloud.keystone.token()) as client:
        fields = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        image = (await client.post(IMAGES, json=fields)).json()["id"]
        for _ in range(4):  # often enough that a site would be taken to be away
            async with connected(impatient.port) as raw:
                asking = head(cloud, "PUT", f"{IMAGES}/{image}/file", line, kind=kind)
                answer = await raw.ask(asking + (b"" if nothing_at_all else part))
                assert answer.status == 408
                assert b"did not come in time" in answer.body
                await raw.ended()
        assert (await client.get(f"{IMAGES}/{image}")).json()["status"] == "queued"
        whole = {"Content-Type": kind}
        stored = await client.put(f"{IMAGES}/{image}/file", content=b"data", headers=whole)
        assert stored.status_code == 204
    assert [line for line in log_lines if line["event"] == "site_down"] == []


async def test_an_upload_that_stalls_is_no_error_of_atolls(
    impatient: Atoll, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even one that asyncio logs when nobody asks what became of the site's answer."""
    line, part = FRAMED["length"]
    kind = "application/octet-stream"
    async with client_of(impatient, cloud.keystone.token()) as client:
        fields = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        image = (await client.post(IMAGES, json=fields)).json()["id"]
        async with connected(impatient.port) as raw:
            answer = await raw.ask(head(cloud, "PUT", f"{IMAGES}/{image}/file", line, kind=kind) + part)
            assert answer.status == 408
            await raw.ended()
    gc.collect()
    assert [one.getMessage() for one in caplog.get_records("call") if one.name == "asyncio"] == []


async def test_a_slow_client_is_not_a_stalled_one(start_atoll: StartAtoll, cloud: Cloud) -> None:
    """A part each tenth of a second, for longer than the deadline: only a long hold-up comes near that."""
    limits = {"deadline_seconds": 2.0}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    async with client_of(atoll, cloud.keystone.token()) as client:
        fields = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        image = (await client.post(IMAGES, json=fields)).json()["id"]
        async with connected(atoll.port) as raw:
            line = "Content-Length: 22"
            kind = "application/octet-stream"
            await raw.send(head(cloud, "PUT", f"{IMAGES}/{image}/file", line, kind=kind))
            for _ in range(22):
                await asyncio.sleep(0.1)
                await raw.send(b"x")
            assert (await raw.answer(b"PUT")).status == 204
        assert (await client.get(f"{IMAGES}/{image}")).json()["size"] == 22


@pytest.mark.parametrize("goes_on", [False, True])
async def test_whoever_keeps_the_other_waiting_for_100_continue_is_named(
    start_atoll: StartAtoll, cloud: Cloud, goes_on: bool
) -> None:
    """Before the site's 100 it is the site that is slow, after it the client."""

    async def script(exchange: Exchange) -> None:
        if exchange.head.method != b"PUT":
            await exchange.answer(200, b'{"id": "00000000-0000-4000-8000-000000000000"}')
            return
        if goes_on:
            await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.reader.read()

    async with Origin(script) as origin:
        endpoints = {"image": f"{origin.url}/image", "compute": f"{origin.url}/compute/v2.1"}
        atoll = await start_atoll(
            cloud.keystone.auth_url, {"one": {"region": "one", "endpoints": endpoints}}, limits=IMPATIENT
        )
        async with connected(atoll.port) as raw:
            path = f"{IMAGES}/00000000-0000-4000-8000-000000000000/file"
            lines = ("Content-Length: 1000", "Expect: 100-continue")
            answer = await raw.ask(head(cloud, "PUT", path, *lines, kind="application/octet-stream"))
            assert answer.status == (408 if goes_on else 504)
            assert answer.informational == ([100] if goes_on else [])
            assert (b"The site one" in answer.body) is not goes_on
        await atoll.end()
