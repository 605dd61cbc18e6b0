"""A process from its start to its end: TLS, what operators look at, draining, several workers."""

import asyncio
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, ok
from tests.raw import Cut, Raw, connected
from tests.running import sites_of, until
from tests.wire.conftest import SERVER, StartFront

from atoll.sandbox.simulated import Cloud


async def _at_origin(seen: list[Any]) -> None:
    await until(lambda: seen)


async def test_draining_finishes_what_is_under_way(start_front: StartFront, log_lines: list[Any]) -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await ok(exchange)

    front = await start_front(slow, gateway={"drain_seconds": 20})
    async with connected(front.port) as busy, connected(front.port) as idle, connected(front.port) as kept:
        front.origin.script = ok
        assert (await kept.ask(front.request(b"GET", SERVER))).status == 200
        front.origin.seen.clear()
        front.origin.script = slow
        await busy.send(front.request(b"GET", SERVER))
        await _at_origin(front.origin.seen)
        front.atoll.stop.set()
        assert await idle.ended() == b""
        assert await kept.ended() == b""
        with pytest.raises(OSError, match=r".*"):
            await Raw.open(front.port)
        assert not front.atoll.task.done()
        release.set()
        answer = await busy.answer()
        assert (answer.status, answer.header(b"connection")) == (200, b"close")
        await busy.ended()
    await front.atoll.end()
    assert "drain_cut" not in [line["event"] for line in log_lines]


async def test_draining_ends_when_its_time_is_up(start_front: StartFront, log_lines: list[Any]) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.reader.read()

    front = await start_front(silent, gateway={"drain_seconds": 0.1})
    async with connected(front.port) as raw:
        await raw.send(front.request(b"POST", SERVER + b"/action", body=b"{}"))
        await _at_origin(front.origin.seen)
        front.atoll.stop.set()
        with pytest.raises(Cut):
            await raw.answer(b"POST")
    await front.atoll.end()
    assert "drain_cut" in [line["event"] for line in log_lines]


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of our own for 127.0.0.1."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", str(key), "-out", str(cert)]  # fmt: skip
    subprocess.run(words, check=True, capture_output=True)  # noqa: S603 - the words above
    key.chmod(0o600)
    return cert, key


async def test_tls(start_atoll: StartAtoll, cloud: Cloud, tmp_path: Path) -> None:
    cert, key = await asyncio.to_thread(_certificate, tmp_path)
    atoll = await start_atoll(
        cloud.keystone.auth_url,
        sites_of(cloud),
        gateway={"tls": {"cert_file": str(cert), "key_file": str(key)}},
    )
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cert)
    token = cloud.keystone.token().encode()
    async with connected(atoll.port, trusting) as raw:
        answer = await raw.ask(
            b"GET /compute/v2.1/servers HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %b\r\n\r\n" % token
        )
        assert (answer.status, json.loads(answer.body)) == (200, {"servers": []})
    async with connected(atoll.port) as plain:
        await plain.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in await plain.ended()
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    async with connected(atoll.port, trusting) as older:
        assert (await older.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


async def test_what_operators_look_at(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    await atoll.settled()
    async with atoll.client() as client:
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/readyz")).status_code == 200
        async with atoll.client(cloud.keystone.token()) as user:
            assert (await user.get("/compute/v2.1/servers")).status_code == 200
        text = await atoll.metrics()
        assert 'route="servers",service="compute",status="200"' in text
        assert (
            'atoll_site_request_duration_seconds_count{service="compute",site="site2",status="200"}' in text
        )
        assert (await client.post("/healthz")).status_code == 405
        assert (await client.get("/nothing")).status_code == 404
        assert (await client.get("/atoll/v1/sites")).status_code == 401


async def test_not_ready_without_a_site_but_alive(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))
    await atoll.settled()
    site = cloud.sites[0]
    site.refuse()
    token = cloud.keystone.token()
    async with atoll.client(token) as client:
        for service in (
            "compute/v2.1/servers",
            "block-storage/v3/volumes",
            "image/v2/images",
            "network/v2.0/networks",
        ):
            for _ in range(4):
                assert (await client.get(f"/{service}")).status_code == 503
        answer = await client.get("/readyz")
        assert (answer.status_code, "no site" in answer.text) == (503, True)
        assert (await client.get("/healthz")).status_code == 200
