"""Bodies: bounded, with back-pressure, and honest about their end."""

import asyncio

import pytest

from atoll.wire.body import HIGH_WATER, Body, BodyTooLarge, Fed


class Feeder:
    """Counts what a body asks of the transport that feeds it."""

    def __init__(self) -> None:
        self.paused = 0
        self.resumed = 0

    def pause(self) -> None:
        self.paused += 1

    def resume(self) -> None:
        self.resumed += 1


@pytest.fixture
def feeder() -> Feeder:
    return Feeder()


@pytest.fixture
def body(feeder: Feeder) -> Body:
    return Body(feeder.pause, feeder.resume)


async def test_the_feeder_is_held_above_the_mark_and_let_go_once_read(body: Body, feeder: Feeder) -> None:
    for _ in range(8):
        body.feed(bytes(HIGH_WATER // 4))
    assert (feeder.paused, feeder.resumed) == (1, 0)
    assert len(await body.read()) == 2 * HIGH_WATER
    assert (feeder.paused, feeder.resumed) == (1, 1)


async def test_what_came_before_a_cut_is_read_before_it_is_told(body: Body) -> None:
    body.feed(b"abc")
    body.fail(ConnectionError("cut"))
    assert await body.read() == b"abc"
    with pytest.raises(ConnectionError):
        await body.read()


async def test_a_finished_body_cannot_fail(body: Body) -> None:
    body.feed(b"abc")
    body.finish()
    body.fail(ConnectionError("the connection was closed after it"))
    assert await body.read_all(10) == b"abc"
    assert await body.read() == b""


async def test_a_reader_waits_for_bytes_and_for_the_end(body: Body) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(body.feed, b"ab")
    loop.call_later(0.001, body.feed, b"cd")
    loop.call_later(0.002, body.finish)
    assert await body.read_all(4) == b"abcd"


@pytest.mark.parametrize("complete", [False, True])
async def test_more_than_the_limit_is_not_held(body: Body, complete: bool) -> None:
    body.feed(b"abcde")
    if complete:
        body.finish()
    with pytest.raises(BodyTooLarge):
        await body.read_all(4)


async def test_an_abandoned_body_keeps_nothing_and_holds_nobody(body: Body, feeder: Feeder) -> None:
    body.feed(bytes(2 * HIGH_WATER))
    body.abandon()
    body.feed(bytes(2 * HIGH_WATER))
    assert (feeder.paused, feeder.resumed) == (1, 1)
    body.finish()
    assert await body.read() == b""


async def test_a_bound_ends_a_body_that_goes_beyond_it(body: Body) -> None:
    body.bound(5, OverflowError("too much"))
    body.feed(b"12345")
    assert await body.read() == b"12345"
    body.feed(b"6")
    with pytest.raises(OverflowError):
        await body.read()


async def test_who_feeds_knows_when_the_reader_is_done_with_a_piece() -> None:
    body = Fed()
    hungry = asyncio.ensure_future(body.hungry())
    await asyncio.sleep(0)
    assert not hungry.done(), "nobody reads yet"
    reading = asyncio.ensure_future(body.read())
    await hungry
    body.feed(b"piece")
    assert await reading == b"piece"
    again = asyncio.ensure_future(body.hungry())
    await asyncio.sleep(0)
    assert not again.done(), "the reader has the piece, and has not come back"
    reading = asyncio.ensure_future(body.read())
    await again
    body.finish()
    assert await reading == b""
