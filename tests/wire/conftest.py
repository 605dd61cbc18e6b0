"""A gateway in front of one site written by hand, and a token that its Keystone knows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.origin import Origin, Script, ok
from tests.raw import Raw
from tests.running import Atoll

from atoll.sandbox.simulated import Keystone

UUID = "0f0f0f0f-1111-4222-8333-444444444444"
SERVER = f"/compute/v2.1/servers/{UUID}".encode()
IMAGE_FILE = f"/image/v2/images/{UUID}/file".encode()


def pass_time(seconds: float) -> None:
    """Have the loop's clock go on by so much at once, as it does for all that is in this process."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]


@dataclass(slots=True)
class Front:
    """A gateway, the one site behind it, and a user's token."""

    atoll: Atoll
    origin: Origin
    keystone: Keystone
    token: bytes

    @property
    def port(self) -> int:
        return self.atoll.port

    def request(self, method: bytes, target: bytes, *lines: bytes, body: bytes = b"") -> bytes:
        """A request with the token; a body brings its length unless a line frames it."""
        framed = any(line.lower().startswith((b"content-length:", b"transfer-encoding:")) for line in lines)
        length = (b"Content-Length: %d" % len(body),) if body and not framed else ()
        head = (b"%b %b HTTP/1.1" % (method, target), b"Host: x", b"X-Auth-Token: " + self.token)
        return b"\r\n".join([*head, *lines, *length, b"", b""]) + body

    async def warm(self) -> None:
        """Have the token known to the gateway, so that what is measured is not Keystone."""
        raw = await Raw.open(self.port)
        try:
            assert (await raw.ask(self.request(b"GET", SERVER))).status == 200
        finally:
            await raw.close()
        self.origin.seen.clear()


StartFront = Callable[..., Awaitable[Front]]


@pytest.fixture
async def start_front(start_atoll: StartAtoll) -> AsyncIterator[StartFront]:
    """Start gateways: called with a script and tables of settings."""
    keystone = Keystone("keystone")
    await keystone.start()
    origins: list[Origin] = []

    async def start(script: Script = ok, **tables: Any) -> Front:
        origin = await Origin(ok).__aenter__()
        origins.append(origin)
        atoll = await start_atoll(keystone.auth_url, {"one": origin.site()}, **tables)
        front = Front(atoll, origin, keystone, keystone.token().encode())
        await front.warm()
        origin.script = script
        return front

    yield start
    for origin in origins:
        await origin.__aexit__()
    await keystone.close()
