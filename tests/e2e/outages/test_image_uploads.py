"""An upload to two real Glances of which one, or the client, goes away in the middle."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.e2e.outages.conftest import ONE, TWO, Real
from tests.e2e.outages.way import lost
from tests.raw import connected
from tests.running import Atoll

IMAGES = "/image/v2/images"
KIND = {"Content-Type": "application/octet-stream"}
PART = b"part" * 100_000
LOOK_SECONDS = 180.0


@pytest.fixture
async def atoll(start_atoll: StartAtoll, real: Real) -> Atoll:
    """One site is reached directly, the other by a way that can be closed."""
    sites = {ONE: real.direct[ONE], TWO: real.by_ways[TWO]}
    running = await start_atoll(real.auth_url, sites, **real.settings())
    await running.settled()
    return running


async def made(user: httpx.AsyncClient, name: str) -> str:
    """An image at both sites, without bytes; its id."""
    fields = {"name": name, "disk_format": "raw", "container_format": "bare", "atoll_sites": "all"}
    answer = await user.post(IMAGES, json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def head(token: str, image: str) -> bytes:
    """The head of an upload of ten parts."""
    lines = (
        f"X-Auth-Token: {token}\r\nContent-Type: application/octet-stream\r\nContent-Length: {10 * len(PART)}"
    )
    return f"PUT {IMAGES}/{image}/file HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode()


async def states(real: Real, image: str, wanted: str) -> dict[str, Any]:
    """The status of an image at the sites themselves, as soon as all have the one wanted."""
    async with asyncio.timeout(LOOK_SECONDS):
        while True:
            shown = {name: await real.at(name, "image", f"/v2/images/{image}") for name in real.sites}
            found = {name: one["status"] for name, one in shown.items()}
            if set(found.values()) == {wanted}:
                return shown
            await asyncio.sleep(0.2)


async def test_a_site_that_goes_away_in_the_middle(atoll: Atoll, real: Real, token: str, name: str) -> None:
    async with atoll.client(token) as user:
        image = await made(user, name)
        async with connected(atoll.port) as raw:
            await raw.send(head(token, image) + PART * 3)
            async with asyncio.timeout(LOOK_SECONDS):
                path = f"/v2/images/{image}"
                while (await real.at(ONE, "image", path))["status"] != "saving":  # noqa: ASYNC110 - a site's
                    await asyncio.sleep(0.1)
            real.refuse(TWO)
            answer = await raw.answer(b"PUT", wait=LOOK_SECONDS)
        assert answer.status in {503, 504}
        assert TWO.encode() in answer.body
        assert all(one["size"] is None for one in (await states(real, image, "queued")).values())
        await real.accept(TWO)
        async with asyncio.timeout(LOOK_SECONDS):
            again = await user.put(f"{IMAGES}/{image}/file", content=PART, headers=KIND)
            while again.status_code == 503:  # the gateway asks it again after a while
                await asyncio.sleep(0.5)
                again = await user.put(f"{IMAGES}/{image}/file", content=PART, headers=KIND)
        assert again.status_code == 204, again.text
        await states(real, image, "active")
        assert (await user.delete(f"{IMAGES}/{image}")).status_code == 204


async def test_a_client_that_goes_away_in_the_middle(atoll: Atoll, real: Real, token: str, name: str) -> None:
    async with atoll.client(token) as user:
        image = await made(user, name)
        async with connected(atoll.port) as raw:
            await raw.send(head(token, image) + PART * 3)
            await asyncio.sleep(1.0)
        await states(real, image, "queued")
        assert (await user.delete(f"{IMAGES}/{image}")).status_code == 204


async def test_an_answer_that_is_lost_when_all_is_stored(
    atoll: Atoll, real: Real, token: str, name: str
) -> None:
    """Bytes that are stored cannot be taken out of an image again: it is deleted at both."""
    async with atoll.client(token) as user:
        image = await made(user, name)
        real.ways[TWO]["image"].when("PUT", "/file", lost)
        answer = await user.put(f"{IMAGES}/{image}/file", content=PART, headers=KIND)
        assert answer.status_code == 504, answer.text
        assert "deleted at" in answer.text
        assert (await user.get(f"{IMAGES}/{image}")).status_code == 404
