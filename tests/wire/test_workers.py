"""Several workers on one address: they end together, and what they count is one sum, whoever dies."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from bench.ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from tests.raw import connected
from tests.running import answering, configured, sites_of, toml, until

from atoll.sandbox.simulated import Cloud


def _config_file(cloud: Cloud, database: Path, folder: Path, port: int, **gateway: Any) -> Path:
    """The file that `atoll serve` reads."""
    tables = {
        "gateway": {
            "listen": f"127.0.0.1:{port}",
            "public_url": f"http://127.0.0.1:{port}",
            "access_log": "none",
            **gateway,
        },
        "identity": {"auth_url": cloud.keystone.auth_url},
        "store": {"url": f"sqlite:///{database}"},
        "sites": sites_of(cloud),
    }
    configured(cloud.keystone.auth_url, sites_of(cloud), database, port, {})
    path = folder / "atoll.toml"
    path.write_text(toml(tables))
    path.chmod(0o600)
    return path


@asynccontextmanager
async def _serving(path: Path, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """`atoll serve` in a process of its own, from its first answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "atoll.cli", "serve", "--config", str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        await answering(port, process)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def test_two_workers_serve_one_address_and_end_together(
    cloud: Cloud, database: Path, tmp_path: Path
) -> None:
    port = free_port()
    path = _config_file(cloud, database, tmp_path, port, workers=2)
    async with _serving(path, port) as process:
        request = b"GET /compute/v2.1/servers HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %b\r\n\r\n" % (
            cloud.keystone.token().encode()
        )
        statuses = set()
        for _ in range(10):
            async with connected(port) as raw:
                statuses.add((await raw.ask(request)).status)
        assert statuses == {200}
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.stdout is not None
        async with asyncio.timeout(30):
            said = await process.stdout.read()
            assert await process.wait() == 0
        assert time.monotonic() - started < 25
        assert said.count(b'"serving"') == 2, said
        assert said.count(b'"stopped"') == 2
        assert b"Traceback" not in said


def _request(path: str, token: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\n\r\n".encode()


async def _scraped(port: int) -> dict[str, float]:
    """What one scrape says of GETs of servers by id, by sample; whichever worker answers."""
    async with connected(port) as raw:
        text = (await raw.ask(_request("/metrics"))).body.decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("route") == "servers/{id}" and sample.labels["method"] == "GET":
                found[f"{sample.name} {sample.labels['status']} {sample.labels.get('le')}"] = sample.value
    return found


async def _all_told(port: int, asked: int) -> None:
    """Every scrape says that so many were answered."""
    name = "atoll_request_duration_seconds_count 200 None"
    async with asyncio.timeout(30):  # a worker counts just after the client has its answer
        while (await _scraped(port)).get(name, 0) < asked:  # noqa: ASYNC110 - it is in other processes
            await asyncio.sleep(0.005)
    first, *others = [await _scraped(port) for _ in range(12)]
    assert first[name] == first["atoll_request_duration_seconds_bucket 200 +Inf"] == asked
    assert all(other == first for other in others)


async def _ask(port: int, request: bytes, connections: int) -> int:
    """Ask five times on each connection, so that each worker gets its part; how often it was."""
    for _ in range(connections):
        async with connected(port) as raw:
            for _ in range(5):
                assert (await raw.ask(request)).status == 200
    return 5 * connections


def _children(pid: int) -> set[int]:
    return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def _kill_one(pid: int) -> None:
    workers = _children(pid)
    assert len(workers) == 3
    gone = min(workers)
    os.kill(gone, signal.SIGKILL)
    await until(lambda: gone not in _children(pid))


async def test_any_worker_tells_what_all_counted_also_those_that_died(
    cloud: Cloud, database: Path, tmp_path: Path
) -> None:
    port, token = free_port(), cloud.keystone.token()
    path = _config_file(cloud, database, tmp_path, port, workers=3)
    body = {"server": {"name": "vm", "flavorRef": "42", "imageRef": cloud.sites[0].image_id("cirros")}}
    async with _serving(path, port) as process:
        async with httpx.AsyncClient(headers={"X-Auth-Token": token}, timeout=30) as client:
            made = await client.post(f"http://127.0.0.1:{port}/compute/v2.1/servers", json=body)
        request = _request(f"/compute/v2.1/servers/{made.json()['server']['id']}", token)
        asked = await _ask(port, request, 30)
        await _all_told(port, asked)
        for _ in range(2):
            await _kill_one(process.pid)
            await _all_told(port, asked)
            await until(lambda: len(_children(process.pid)) == 3, 10.0)
            asked += await _ask(port, request, 15)
            await _all_told(port, asked)


async def test_a_site_that_is_added_is_served_by_every_worker(
    cloud: Cloud, database: Path, tmp_path: Path
) -> None:
    port = free_port()
    path = _config_file(cloud, database, tmp_path, port, workers=2)
    body = {
        "name": "new",
        "region": "r",
        "endpoints": {"compute": "http://192.0.2.1/v2.1"},
        "state": "draining",
    }
    async with (
        _serving(path, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        headers = {"X-Auth-Token": cloud.keystone.token("admin"), "Connection": "close"}
        refused = await client.post("/atoll/v1/sites", json=body, headers=headers)
        assert (refused.status_code, "private" in refused.text) == (400, True)
        zone = {"name": "new", "site": "site2", "zone": "nova"}
        made = await client.post("/atoll/v1/zones", json=zone, headers=headers)
        assert made.status_code == 201, made.text
        # The kernel spreads connections over the workers: many in a row reach both.
        statuses: list[int] = []
        async with asyncio.timeout(30):
            while statuses[-20:] != [200] * 20:
                answer = await client.get("/atoll/v1/zones/new", headers=headers)
                statuses.append(answer.status_code)
        assert set(statuses) <= {200, 404}
