"""A gateway in this process in front of any sites, on a port of its own."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.raw import Cut, connected

from atoll.core.config import load
from atoll.core.settings import Config
from atoll.gateway.serve import serve, sockets
from atoll.sandbox.simulated import Cloud

Settings = Mapping[str, Any]

# An empty one: loading the machine's certificates takes longer than a test.
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
BUILT_IN = {"mode": "built-in"}
METRICS = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
STOP_SECONDS = 30.0
ELSEWHERE = "serves many tests"
"""The name of a thread in which a gateway is of no single test."""
SETTLE_SECONDS = 180.0
STARTUP_SECONDS = 60.0


async def until(look: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until `look` gives something true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not look():  # noqa: ASYNC110 - what is waited for is in other code
            await asyncio.sleep(0.005)


@dataclass(slots=True)
class Atoll:
    """A running gateway. `stop` begins its end; `task` is done when it has ended."""

    config: Config
    port: int
    stop: asyncio.Event
    task: asyncio.Task[None]
    database: Path

    @property
    def url(self) -> str:
        """Where it is, as its answers say."""
        return self.config.gateway.public_url

    def client(self, token: str = "", **headers: str) -> httpx.AsyncClient:
        """An ordinary client; `token` is sent with every request. To be used with `async with`."""
        if token:
            headers["X-Auth-Token"] = token
        return httpx.AsyncClient(base_url=self.url, verify=TLS, headers=headers, timeout=120.0)

    async def settled(self) -> None:
        """Wait until the sites have been looked at once: until then their versions are not known."""
        async with asyncio.timeout(SETTLE_SECONDS), connected(self.port) as raw:
            while not self._known_versions((await raw.ask(METRICS)).body.decode()):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)

    def _known_versions(self, metrics: str) -> bool:
        """Whether every site's compute service has said which versions it has."""
        said = [line for line in metrics.splitlines() if line.startswith("atoll_site_versions{")]
        return all(
            any(f'service="compute",site="{name}"' in line for line in said)
            for name, site in self.config.sites.items()
            if "compute" in site.endpoints
        )

    async def metrics(self) -> str:
        """What Prometheus would read."""
        async with connected(self.port) as raw:
            return (await raw.ask(METRICS)).body.decode()

    async def end(self) -> None:
        """Stop, and wait until it has ended."""
        self.stop.set()
        async with asyncio.timeout(STOP_SECONDS):
            await self.task


def sites_of(cloud: Cloud, *names: str) -> dict[str, Settings]:
    """The `sites` table for simulated sites (all, or those named)."""
    return {
        site.name: {
            "region": site.region,
            "endpoints": {kind: url for kind, url in site.endpoints.items() if kind != "identity"},
        }
        for site in cloud.sites
        if not names or site.name in names
    }


def configured(auth_url: str, sites: Settings, database: Path, port: int, tables: Settings) -> Config:
    """A configuration for a port that is bound already. Raises ConfigError."""
    scheme = "https" if "tls" in tables.get("gateway", {}) else "http"
    gateway = {
        "listen": f"127.0.0.1:{port}",
        "public_url": f"{scheme}://127.0.0.1:{port}",
        "access_log": "none",
        "drain_seconds": 2.0,
    }
    content = {
        **tables,
        "gateway": {**gateway, **tables.get("gateway", {})},
        "identity": {"auth_url": auth_url, **tables.get("identity", {})} if auth_url else BUILT_IN,
        "store": tables.get("store", {"url": f"sqlite:///{database}"}),
        "sites": sites,
    }
    return load(toml(content), source="test", env={"ATOLL_TEST_SECRET": "hush"})


def toml(content: Settings) -> str:
    """TOML of tables of tables; plain values are written alike in JSON."""
    return "".join(f"{json.dumps(key)} = {_inline(value)}\n" for key, value in content.items())


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    return json.dumps(value)


@asynccontextmanager
async def atoll_before(
    auth_url: str, sites: Settings, database: Path, tables: Settings
) -> AsyncIterator[Atoll]:
    """A gateway in front of sites, serving from the first line of the block to its end."""
    bound = sockets(["127.0.0.1:0"], shared=False)
    port = bound[0].getsockname()[1]
    config = configured(auth_url, sites, database, port, tables)
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.get_running_loop().create_task(serve(config, bound, ready=ready.set, stop=stop))
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        for one in bound:
            one.close()
        task.result()
    running = Atoll(config, port, stop, task, database)
    try:
        yield running
    finally:
        await running.end()


async def answering(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until a gateway in a process of its own answers; a test whose gateway does not start fails."""
    async with asyncio.timeout(STARTUP_SECONDS):
        while process.returncode is None:
            try:
                async with connected(port) as raw:
                    if (await raw.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200:
                        return
            except (OSError, Cut):
                await asyncio.sleep(0.05)
    pytest.fail("it did not start")
