"""Bodies on their way through: not held, not changed, not finished before they are."""

import asyncio
import hashlib

import pytest
from tests.origin import Exchange
from tests.raw import Cut, Raw, connected, read_body
from tests.running import until
from tests.wire.conftest import IMAGE_FILE, SERVER, StartFront, pass_time

from atoll.wire.body import HIGH_WATER

PIECE = bytes(range(256)) * 1024  # 256 KiB
PIECES = 200  # 50 MiB
OCTETS = b"Content-Type: application/octet-stream"
# What may be on its way: our two bodies, and the buffers of four sockets, which grow on this host alone.
IN_FLIGHT = 2 * HIGH_WATER + 28 * 1024 * 1024


async def test_50_mib_up_arrive_as_they_left(start_front: StartFront) -> None:
    received = hashlib.sha256()
    sizes = []

    async def script(exchange: Exchange) -> None:
        left = int(exchange.head.header(b"content-length") or 0)
        while left:
            data = await exchange.reader.read(1 << 16)
            received.update(data)
            left -= len(data)
            sizes.append(len(data))
        await exchange.answer(204)

    front = await start_front(script)
    length = b"Content-Length: %d" % (len(PIECE) * PIECES)
    async with connected(front.port) as raw:
        await raw.send(front.request(b"PUT", IMAGE_FILE, OCTETS, length))
        for _ in range(PIECES):
            await raw.send(PIECE)
        answer = await raw.answer(b"PUT", wait=20)
    assert answer.status == 204
    assert sum(sizes) == len(PIECE) * PIECES
    assert received.digest() == hashlib.sha256(PIECE * PIECES).digest()


async def test_50_mib_down_arrive_as_they_left(start_front: StartFront) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n" + OCTETS + b"\r\n")
        await exchange.send(b"Content-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
        for _ in range(PIECES):
            await exchange.send(PIECE)

    front = await start_front(script)
    async with connected(front.port) as raw:
        answer = await raw.ask(front.request(b"GET", IMAGE_FILE))
    assert answer.header(b"content-length") == b"%d" % (len(PIECE) * PIECES)
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(PIECE * PIECES).digest()


async def _stalled(sent: list[int]) -> None:
    """Wait until a sender that has sent something gets no further, however often the loop turns."""
    before = looks = 0
    async with asyncio.timeout(30):
        while looks < 20:
            await asyncio.sleep(0.01)
            looks = looks + 1 if before == sum(sent) > 0 else 0
            before = sum(sent)


async def test_a_site_that_does_not_read_stops_the_client(start_front: StartFront) -> None:
    read_on = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await read_on.wait()
        await exchange.body()
        await exchange.answer(204)

    front = await start_front(script)
    sent: list[int] = []

    async def upload(raw: Raw) -> None:
        for _ in range(PIECES):
            await raw.send(PIECE)
            sent.append(len(PIECE))

    async with connected(front.port) as raw:
        length = b"Content-Length: %d" % (len(PIECE) * PIECES)
        await raw.send(front.request(b"PUT", IMAGE_FILE, OCTETS, length))
        uploading = asyncio.create_task(upload(raw))
        await _stalled(sent)
        assert sum(sent) < IN_FLIGHT, "the gateway took what the site did not"
        read_on.set()
        await uploading
        assert (await raw.answer(b"PUT", wait=20)).status == 204


async def test_a_client_that_does_not_read_stops_the_site(start_front: StartFront) -> None:
    sent: list[int] = []

    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\n" + OCTETS + b"\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES)
        )
        for _ in range(PIECES):
            await exchange.send(PIECE)
            sent.append(len(PIECE))

    front = await start_front(script)
    async with connected(front.port) as raw:
        await raw.send(front.request(b"GET", IMAGE_FILE))
        await _stalled(sent)
        assert sum(sent) < IN_FLIGHT, "the gateway took what the client did not"
        assert len((await raw.answer(wait=20)).body) == len(PIECE) * PIECES


async def test_the_body_is_not_asked_for_before_the_site_asks(start_front: StartFront) -> None:
    go_on = asyncio.Event()
    at_site = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        assert exchange.head.header(b"expect") == b"100-continue"
        at_site.set()
        await go_on.wait()
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await exchange.body() == b"hello"
        await exchange.answer(204)

    front = await start_front(script)
    async with connected(front.port) as raw:
        await raw.send(
            front.request(b"PUT", IMAGE_FILE, OCTETS, b"Content-Length: 5", b"Expect: 100-continue")
        )
        await at_site.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await raw.reader.readexactly(1)
        go_on.set()
        assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await raw.send(b"hello")
        assert (await raw.answer(b"PUT")).status == 204


async def test_a_refusal_in_place_of_100_reaches_the_client_with_no_body_sent(
    start_front: StartFront,
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(409, b'{"conflict": 1}')
        assert await exchange.reader.read() == b"", "body bytes nobody asked for"

    front = await start_front(script)
    async with connected(front.port) as raw:
        lines = (OCTETS, b"Content-Length: 5", b"Expect: 100-continue")
        answer = await raw.ask(front.request(b"PUT", IMAGE_FILE, *lines))
        assert (answer.status, answer.body, answer.informational) == (409, b'{"conflict": 1}', [])


async def test_an_early_answer_stops_the_upload_and_reaches_the_client(start_front: StartFront) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.reader.readexactly(10)
        await exchange.answer(413, b'{"too": "large"}', b"Connection: close")

    front = await start_front(script)
    sent = 0
    async with connected(front.port) as raw:
        length = b"Content-Length: %d" % (len(PIECE) * PIECES)
        await raw.send(front.request(b"PUT", IMAGE_FILE, OCTETS, length))
        answering = asyncio.create_task(raw.answer(b"PUT"))
        while not answering.done() and sent < PIECES:
            await raw.send(PIECE)
            sent += 1
        answer = await answering
    assert (answer.status, answer.body) == (413, b'{"too": "large"}')
    assert sent < PIECES


async def test_chunked_stays_chunked_up(start_front: StartFront) -> None:
    async def script(exchange: Exchange) -> None:
        assert exchange.head.header(b"transfer-encoding") == b"chunked"
        assert exchange.head.all(b"content-length") == []
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.body()
        await exchange.answer(204)

    front = await start_front(script)
    async with connected(front.port) as raw:
        lines = (OCTETS, b"Transfer-Encoding: chunked", b"Expect: 100-continue")
        await raw.send(front.request(b"PUT", IMAGE_FILE, *lines))
        await raw.reader.readuntil(b"\r\n\r\n")
        await raw.send(b"3\r\nabc\r\n")
        await asyncio.sleep(0.01)
        await raw.send(b"4;ext=1\r\ndefg\r\n0\r\nX-Trailer: dropped\r\n\r\n")
        assert (await raw.answer(b"PUT")).status == 204
    assert front.origin.seen[0].body == b"abcdefg"


async def test_chunked_stays_chunked_down_and_comes_as_it_is_sent(start_front: StartFront) -> None:
    read = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\n" + OCTETS + b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        await read.wait()  # the first part has to have come before the second leaves
        await exchange.send(b"2\r\nde\r\n0\r\n\r\n")

    front = await start_front(script)
    async with connected(front.port) as raw:
        await raw.send(front.request(b"GET", IMAGE_FILE))
        head = await raw.reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower()
        assert b"content-length" not in head.lower()
        assert await raw.reader.readexactly(8) == b"3\r\nabc\r\n"
        read.set()
        assert await raw.reader.readexactly(12) == b"2\r\nde\r\n0\r\n\r\n"


async def test_for_http_1_0_the_end_of_the_body_is_the_close(start_front: StartFront) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n" + OCTETS + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.01)
        await exchange.send(b"3\r\nabc\r\n0\r\n\r\n")

    front = await start_front(script)
    async with connected(front.port) as raw:
        await raw.send(front.request(b"GET", IMAGE_FILE).replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await raw.answer()
        assert answer.all(b"transfer-encoding") == []
        assert answer.body == b"abc"


async def test_head_keeps_the_length_and_has_no_body(start_front: StartFront) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 77\r\n\r\n"
        )

    front = await start_front(script)
    async with connected(front.port) as raw:
        for _ in range(2):  # the connections have to be good for another request
            answer = await raw.ask(front.request(b"HEAD", SERVER))
            assert (answer.status, answer.header(b"content-length")) == (200, b"77")
    assert [one.method for one in front.origin.seen] == [b"HEAD", b"HEAD"]
    assert front.origin.accepted <= 2


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_leave_the_connection_usable(
    start_front: StartFront, status: int
) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.body()
        await exchange.answer(status, b"", b'ETag: "x"')

    front = await start_front(script)
    async with connected(front.port) as raw:
        for _ in range(2):
            answer = await raw.ask(front.request(b"GET", SERVER))
            assert (answer.status, answer.header(b"etag"), answer.body) == (status, b'"x"', b"")


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
async def test_a_body_the_site_cuts_is_cut_for_the_client(start_front: StartFront, framing: bytes) -> None:
    async def script(exchange: Exchange) -> None:
        part = b"5\r\nhello\r\n" if b"chunked" in framing else b"hello"
        await exchange.send(b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\n\r\n%b" % (OCTETS, framing, part))
        await asyncio.sleep(0.02)
        exchange.drop()

    front = await start_front(script)
    async with connected(front.port) as raw:
        with pytest.raises(Cut):
            await raw.ask(front.request(b"GET", IMAGE_FILE))


async def test_json_the_site_cuts_is_a_fault_and_not_half_an_answer(start_front: StartFront) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"a": '
        )
        exchange.drop()

    front = await start_front(script)
    async with connected(front.port) as raw:
        answer = await raw.ask(front.request(b"GET", SERVER))
        assert answer.status == 502
        assert b"one" in answer.body


async def test_a_get_whose_client_left_is_cancelled_at_the_site(start_front: StartFront) -> None:
    at_site = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        at_site.set()
        assert await exchange.reader.read() == b""
        exchange.head.headers.append((b"cancelled", b"yes"))

    front = await start_front(script)
    raw = await Raw.open(front.port)
    await raw.send(front.request(b"GET", SERVER))
    await at_site.wait()
    raw.reset()
    await until(lambda: front.origin.seen[0].header(b"cancelled"))


async def test_a_download_whose_client_left_is_cut_at_the_site(start_front: StartFront) -> None:
    """Else the site goes on sending into a buffer, and the connection is never free again."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n" + OCTETS + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(2 * PIECES):  # more than all buffers hold, and an end if nobody cuts it
            await exchange.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))

    front = await start_front(script)
    raw = await Raw.open(front.port)
    await raw.send(front.request(b"GET", IMAGE_FILE))
    await raw.reader.readexactly(1 << 20)
    raw.reset()
    async with asyncio.timeout(10):
        await front.origin.gone.wait()


async def test_a_post_whose_client_left_runs_to_its_end(start_front: StartFront) -> None:
    at_site, go_on = asyncio.Event(), asyncio.Event()
    outcome: list[bytes] = []

    async def script(exchange: Exchange) -> None:
        await exchange.body()
        at_site.set()
        await go_on.wait()
        try:
            await asyncio.wait_for(exchange.reader.read(), 0.1)
            outcome.append(b"cut")
        except TimeoutError:
            outcome.append(b"kept")
        await exchange.answer(202)

    front = await start_front(script)
    raw = await Raw.open(front.port)
    await raw.send(front.request(b"POST", SERVER + b"/action", body=b'{"reboot": {"type": "SOFT"}}'))
    await at_site.wait()
    raw.reset()
    await asyncio.sleep(0.02)
    go_on.set()
    await until(lambda: outcome)
    assert outcome == [b"kept"]


async def test_an_upload_whose_client_left_is_cut_at_the_site(start_front: StartFront) -> None:
    """Half an image must never look like a whole one."""
    got: list[BaseException] = []

    async def script(exchange: Exchange) -> None:
        try:
            await read_body(exchange.reader, exchange.head, until_close=False)
        except Cut as cut:
            got.append(cut)
            raise

    front = await start_front(script)
    raw = await Raw.open(front.port)
    await raw.send(front.request(b"PUT", IMAGE_FILE, OCTETS, b"Transfer-Encoding: chunked"))
    await raw.send(b"5\r\nhello\r\n")
    await until(lambda: front.origin.seen)
    raw.reset()
    async with asyncio.timeout(10):
        await front.origin.gone.wait()
    assert len(got) == 1


async def test_a_client_that_pauses_longer_than_a_site_may_is_not_cut(start_front: StartFront) -> None:
    """While we hold the site back, its silence is our doing."""
    sent: list[int] = []

    async def script(exchange: Exchange) -> None:
        await exchange.send(
            b"HTTP/1.1 200 OK\r\n" + OCTETS + b"\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES)
        )
        for _ in range(PIECES):
            await exchange.send(PIECE)
            sent.append(len(PIECE))

    front = await start_front(script, limits={"deadline_seconds": 20})
    async with connected(front.port) as raw:
        await raw.send(front.request(b"GET", IMAGE_FILE))
        await _stalled(sent)
        pass_time(21)
        await asyncio.sleep(0.01)  # the gateway looks who is late
        assert len((await raw.answer(wait=20)).body) == len(PIECE) * PIECES


async def test_a_body_that_never_comes_is_not_waited_for(start_front: StartFront) -> None:
    front = await start_front(limits={"deadline_seconds": 20})
    async with connected(front.port) as raw:
        await raw.send(front.request(b"POST", b"/compute/v2.1/servers", b"Content-Length: 100"))
        await front.atoll.metrics()  # by then the gateway has read the head
        pass_time(21)
        answer = await raw.answer(b"POST")
        assert answer.status in {400, 408}
    assert front.origin.seen == []
