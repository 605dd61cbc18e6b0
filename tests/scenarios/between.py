"""What tests put between Atoll and a simulated site, and an Atoll in a process that can be killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.origin import Exchange, Script
from tests.running import TLS, Settings, answering, toml

from atoll.gateway.serve import sockets
from atoll.sandbox.simulated import Cloud, Site

OF_ONE_HOP = {b"host", b"content-length", b"connection"}

Moment = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Do nothing."""


def between(site: Site, *, before: Moment = at_once, after: Moment = at_once) -> Script:
    """A script that passes everything on to a site; `before` and `after` a POST reached it, it calls these.

    The site gets what was sent whoever still waits for the answer, as it would behind a proxy.
    """

    async def ask(exchange: Exchange, body: bytes) -> httpx.Response:
        head = exchange.head
        if head.method == b"POST":
            await before()
        headers = [pair for pair in head.headers if pair[0] not in OF_ONE_HOP]
        async with httpx.AsyncClient(verify=TLS) as client:
            return await client.request(
                head.method.decode(), site.url + head.target.decode(), headers=headers, content=body
            )

    async def script(exchange: Exchange) -> None:
        said = await asyncio.shield(asyncio.ensure_future(ask(exchange, await exchange.body())))
        if exchange.head.method == b"POST":
            await after()
        kept = [b"%b: %b" % pair for pair in said.headers.raw if pair[0].lower() not in OF_ONE_HOP]
        await exchange.answer(said.status_code, said.content, *kept)

    return script


@asynccontextmanager
async def process_before(
    cloud: Cloud, sites: Settings, database: Path, folder: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`atoll serve` in a process of its own, and its URL."""
    (bound,) = sockets(["127.0.0.1:0"], shared=False)
    port = int(bound.getsockname()[1])
    bound.close()
    url = f"http://127.0.0.1:{port}"
    tables: dict[str, Any] = {
        "gateway": {"listen": f"127.0.0.1:{port}", "public_url": url, "access_log": "none"},
        "identity": {"auth_url": cloud.keystone.auth_url},
        "store": {"url": f"sqlite:///{database}"},
        "sites": sites,
    }
    file = folder / "atoll.toml"
    file.write_text(toml(tables))
    file.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "atoll.cli", "serve", "--config", str(file),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=dict(os.environ),
    )  # fmt: skip
    try:
        await answering(port, process)
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
