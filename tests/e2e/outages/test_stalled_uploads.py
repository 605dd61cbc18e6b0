"""A client that stops in the middle of an upload to a real Glance."""

import asyncio
from typing import Any

import pytest
from tests.e2e.outages.conftest import Real, Start
from tests.raw import connected

IMAGES = "/image/v2/images"
DEADLINE = 30.0
WHOLE = b"the whole of it" * 1000
FRAMED = {
    "length": ("Content-Length: 1000000", WHOLE),
    "chunks": ("Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(WHOLE), WHOLE)),
}


@pytest.mark.parametrize("framing", FRAMED)
async def test_an_upload_that_stalls_leaves_an_image_without_data(
    start: Start, real: Real, token: str, name: str, log_lines: list[Any], framing: str
) -> None:
    """As Glance has it: the image can be uploaded to anew; no site is blamed, no other has a part of it."""
    atoll = await start(direct=True, limits={"deadline_seconds": DEADLINE})
    line, part = FRAMED[framing]
    async with atoll.client(token) as user:
        fields = {"name": name, "disk_format": "raw", "container_format": "bare"}
        made = await user.post(IMAGES, json=fields)
        assert made.status_code == 201, made.text
        image = made.json()["id"]
        having = [site for site in real.sites if await real.ids(site, "image", "/v2/images", name)]
        async with connected(atoll.port) as raw:
            head = (
                f"PUT {IMAGES}/{image}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\n"
                f"Content-Type: application/octet-stream\r\n{line}\r\n\r\n"
            )
            await raw.send(head.encode() + part)
            answer = await raw.answer(b"PUT", wait=10 * DEADLINE)
            assert answer.status == 408, answer.body
            assert b"did not come in time" in answer.body
        states = [await glance_gave_up(real, site, image) for site in having]
        assert {state["status"] for state in states} == {"queued"}
        assert {state["size"] for state in states} == {None}
        assert [site for site in real.sites if await real.ids(site, "image", "/v2/images", name)] == having
        kind = {"Content-Type": "application/octet-stream"}
        stored = await user.put(f"{IMAGES}/{image}/file", content=WHOLE, headers=kind)
        assert stored.status_code == 204, stored.text
        assert (await user.get(f"{IMAGES}/{image}/file")).content == WHOLE
        assert (await user.delete(f"{IMAGES}/{image}")).status_code == 204
    assert [one for one in log_lines if one["event"] == "site_down"] == []


async def glance_gave_up(real: Real, site: str, image: str) -> Any:
    """The image at a site, once Glance has noticed that no more comes."""
    async with asyncio.timeout(300):
        path = f"/v2/images/{image}"
        while (shown := await real.at(site, "image", path))["status"] == "saving":  # noqa: ASYNC110 - a site's
            await asyncio.sleep(0.3)
    return shown
