"""Connections to a site: what is repeated, what never is, and how much a site may take."""

import asyncio
import re
import time
from functools import partial
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.origin import Exchange, ok
from tests.raw import Message, Raw, connected
from tests.running import sites_of, until
from tests.wire.conftest import SERVER, StartFront, pass_time

from atoll.sandbox.simulated import Cloud

ACTION = SERVER + b"/action"
REBOOT = b'{"reboot": {"type": "HARD"}}'


async def stale(exchange: Exchange) -> None:
    """Answer only the first request of a connection, as a site whose connections end silently."""
    await exchange.body()
    if exchange.nth:
        exchange.drop()
    else:
        await exchange.answer(200, b"{}")


async def many(front: Any, count: int) -> list[Message]:
    """Requests at the same time, each on its own connection."""

    async def one() -> Message:
        async with connected(front.port) as raw:
            return await raw.ask(front.request(b"GET", SERVER))

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_a_get_on_a_stale_connection_is_repeated_once(start_front: StartFront) -> None:
    front = await start_front()
    front.origin.close_connections()
    front.origin.script = stale
    async with connected(front.port) as raw:
        assert (await raw.ask(front.request(b"GET", SERVER))).status == 200
        assert (await raw.ask(front.request(b"GET", SERVER))).status == 200
    assert len(front.origin.seen) == 3


async def test_the_repetition_goes_on_a_new_connection(start_front: StartFront) -> None:
    """After a restart of a site all its kept connections are stale, not only the last used one."""
    front = await start_front()
    front.origin.close_connections()

    async def slow(exchange: Exchange) -> None:
        await exchange.body()
        await asyncio.sleep(0.05)
        await exchange.answer(200, b"{}")

    front.origin.script = slow
    assert {one.status for one in await many(front, 4)} == {200}
    front.origin.script = stale
    front.origin.seen.clear()
    async with connected(front.port) as raw:
        assert (await raw.ask(front.request(b"GET", SERVER))).status == 200
    assert len(front.origin.seen) == 2


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"DELETE"])
async def test_what_changes_something_is_never_sent_twice(start_front: StartFront, method: bytes) -> None:
    front = await start_front(stale)
    target = ACTION if method == b"POST" else SERVER
    async with connected(front.port) as raw:
        # On a connection that was used before, which `stale` ends.
        answer = await raw.ask(front.request(method, target, body=REBOOT))
    # It may have been done: that is said, with the site's name, and nothing is tried again.
    assert answer.status == 504
    assert b"one" in answer.body
    assert len(front.origin.seen) == 1


async def test_a_post_takes_no_connection_that_may_be_closing(start_front: StartFront) -> None:
    """One that the site has been seen to close after a while is not trusted for as long again."""
    front = await start_front()

    async def short(exchange: Exchange) -> None:
        await ok(exchange)
        writer = exchange.writer
        asyncio.get_running_loop().call_later(0.1, writer.close)

    front.origin.close_connections()
    front.origin.script = short
    async with connected(front.port) as raw:
        await raw.ask(front.request(b"GET", SERVER))
        async with asyncio.timeout(30):
            while re.search(r'state="idle"} [1-9]', await front.atoll.metrics()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        front.origin.script = ok
        accepted = front.origin.accepted
        await raw.ask(front.request(b"GET", SERVER))
        pass_time(1.4)  # of a site that was never seen to close one it would be trusted yet
        assert (await raw.ask(front.request(b"POST", ACTION, body=REBOOT))).status == 200
    assert front.origin.accepted == accepted + 2


async def test_a_slow_site_holds_its_share_and_no_more(start_front: StartFront) -> None:
    release = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await release.wait()
        await ok(exchange)

    front = await start_front(slow, limits={"site_connections": 2, "site_queue": 3})
    waiting = asyncio.create_task(many(front, 5))
    async with asyncio.timeout(30):
        while not re.search(r'state="waiting"} 3', await front.atoll.metrics()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with connected(front.port) as raw:
        started = time.monotonic()
        refused = await raw.ask(front.request(b"GET", SERVER))
        assert time.monotonic() - started < 10
    assert refused.status == 503
    assert b"one" in refused.body
    assert refused.header(b"retry-after") is not None
    assert len(front.origin.seen) == 2
    release.set()
    assert [one.status for one in await waiting] == [200] * 5


async def test_the_deadline_is_a_504_that_names_the_site(start_front: StartFront) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.reader.read()

    front = await start_front(silent, limits={"deadline_seconds": 20})
    async with connected(front.port) as raw:
        await raw.send(front.request(b"POST", ACTION, body=REBOOT))
        await until(lambda: front.origin.seen)
        pass_time(10)
        with pytest.raises(TimeoutError):
            await raw.answer(b"POST", wait=0.05)
        pass_time(11)
        answer = await raw.answer(b"POST")
    assert answer.status == 504
    assert b"one" in answer.body
    assert len(front.origin.seen) == 1


async def test_a_body_that_stalls_is_cut(start_front: StartFront) -> None:
    begun = asyncio.Event()

    async def stalls(exchange: Exchange) -> None:
        await exchange.send(
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a"'
        )
        await asyncio.sleep(0.01)  # the gateway reads it
        begun.set()
        await exchange.reader.read()

    front = await start_front(stalls, limits={"deadline_seconds": 20})
    async with connected(front.port) as raw:
        await raw.send(front.request(b"GET", SERVER))
        await begun.wait()
        pass_time(21)
        answer = await raw.answer()
    assert answer.status in {502, 504}
    assert b"one" in answer.body


NONSENSE = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    ),
    "a folded header": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "a split header": b"HTTP/1.1 200 OK\r\nX-A: b\nX-B: c\r\nContent-Length: 2\r\n\r\n{}",
    "a chunk size that is none": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 400_000,
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_an_answer_that_is_none_is_a_502_that_names_the_site(
    start_front: StartFront, name: str
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(NONSENSE[name])
        await exchange.reader.read()

    front = await start_front(script, limits={"deadline_seconds": 20})
    async with connected(front.port) as raw:
        answer = await raw.ask(front.request(b"GET", SERVER))
    assert answer.status == 502
    assert b"one" in answer.body


@pytest.mark.parametrize("apart", [False, True])
async def test_what_follows_an_answer_is_nobodys_answer(start_front: StartFront, apart: bool) -> None:
    """A second answer on a kept connection must not become another client's."""
    extra = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"evil":1}'

    async def script(exchange: Exchange) -> None:
        await exchange.body()
        whole = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        if apart:
            await exchange.send(whole)
            await asyncio.sleep(0.02)
            await exchange.send(extra)
        else:
            await exchange.send(whole + extra)

    front = await start_front(script)
    for method, target in ((b"GET", SERVER), (b"POST", ACTION), (b"GET", SERVER), (b"POST", ACTION)):
        async with connected(front.port) as raw:
            answer = await raw.ask(front.request(method, target, body=REBOOT if method == b"POST" else b""))
        assert (answer.status, answer.body) == (200, b"{}")
        await asyncio.sleep(0.04 if apart else 0)


def _more_than(seen: list[Message], count: int) -> bool:
    return len(seen) > count


async def test_a_client_that_left_gives_its_connection_back(start_front: StartFront) -> None:
    """A hundred clients that give up must not use up the site's share."""

    async def slow(exchange: Exchange) -> None:
        assert await exchange.reader.read() == b""

    front = await start_front(slow, limits={"site_connections": 2, "site_queue": 1})
    for _ in range(6):
        raw = await Raw.open(front.port)
        await raw.send(front.request(b"GET", SERVER))
        before = len(front.origin.seen)
        await until(partial(_more_than, front.origin.seen, before))
        raw.reset()
    front.origin.script = ok
    async with connected(front.port) as last:
        assert (await last.ask(front.request(b"GET", SERVER))).status == 200


async def test_a_site_that_is_gone_is_not_asked_again_and_again(
    start_atoll: StartAtoll, log_lines: list[Any]
) -> None:
    async with Cloud(1) as cloud:
        site = cloud.sites[0]
        atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
        await atoll.settled()
        async with atoll.client(cloud.keystone.token()) as client:
            assert (await client.get("/compute/v2.1/servers")).status_code == 200
            site.refuse()
            for _ in range(4):
                answer = await client.get("/compute/v2.1/servers")
                assert answer.status_code == 503
                assert "site1" in answer.text
            assert float(answer.headers["retry-after"]) >= 1
            assert 'atoll_site_up{service="compute",site="site1"} 0.0' in await atoll.metrics()
            await site.start()
            async with asyncio.timeout(30):
                while (await client.get("/compute/v2.1/servers")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert 'atoll_site_up{service="compute",site="site1"} 1.0' in await atoll.metrics()
        told = [line["event"] for line in log_lines if line.get("service") == "compute"]
        assert [event for event in told if event in {"site_down", "site_up"}] == ["site_down", "site_up"]
