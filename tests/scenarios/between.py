"""What tests put between Atoll and a site, and an Atoll in a process that can be killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from bench.ports import free_port
from tests.origin import Exchange, Script
from tests.running import TLS, Settings, answering, toml

OF_ONE_HOP = {b"content-length", b"connection", b"transfer-encoding"}
SITE_SECONDS = 60.0

Moment = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """Do nothing."""


async def passed_on(url: str, exchange: Exchange) -> httpx.Response:
    """What the service at `url` answers to a request that came here; `url` is without a path."""
    head, body = exchange.head, await exchange.body()
    headers = [pair for pair in head.headers if pair[0] not in OF_ONE_HOP]
    async with httpx.AsyncClient(verify=TLS, timeout=SITE_SECONDS) as client:
        return await client.request(
            head.method.decode(), url + head.target.decode(), headers=headers, content=body
        )


async def hand_back(exchange: Exchange, said: httpx.Response) -> None:
    """Answer what a service answered."""
    kept = [b"%b: %b" % pair for pair in said.headers.raw if pair[0].lower() not in OF_ONE_HOP]
    await exchange.answer(said.status_code, said.content, *kept)


def between(url: str, *, before: Moment = at_once, after: Moment = at_once) -> Script:
    """A script that passes everything on to a site; `before` and `after` a POST reached it, it calls these.

    The site gets what was sent whoever still waits for the answer, as it would behind a proxy.
    """

    async def ask(exchange: Exchange) -> httpx.Response:
        if exchange.head.method == b"POST":
            await before()
        return await passed_on(url, exchange)

    async def script(exchange: Exchange) -> None:
        said = await asyncio.shield(asyncio.ensure_future(ask(exchange)))
        if exchange.head.method == b"POST":
            await after()
        await hand_back(exchange, said)

    return script


@asynccontextmanager
async def process_before(
    auth_url: str, sites: Settings, database: Path, folder: Path, **more: Any
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`atoll serve` in a process of its own, and its URL; `more` are tables of settings."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    tables: dict[str, Any] = {
        "gateway": {"listen": f"127.0.0.1:{port}", "public_url": url, "access_log": "none"},
        "identity": {"auth_url": auth_url},
        "store": {"url": f"sqlite:///{database}"},
        "sites": sites,
        **more,
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
