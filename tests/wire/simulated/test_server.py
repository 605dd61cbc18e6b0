"""The simulated sites' own HTTP server: keep-alive, bodies, expectations, streaming, early answers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from atoll.sandbox.simulated.server import Drop, Request, Response, Server


async def echo(request: Request) -> Response:
    if request.path == "/drop":
        raise Drop
    if request.path == "/early":
        return Response(413, [], b"too much")
    if request.path == "/stream":
        return Response(200, [], pieces(), length=None)
    body = await request.read()
    return Response(200, [("X-Served", str(request.served))], body)


async def pieces() -> AsyncIterator[bytes]:
    for piece in (b"one", b"two", b"three"):
        yield piece


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server(echo)
    await server.start()
    yield server
    await server.close()
    assert server.errors == []


async def exchange(server: Server, *sent: bytes, wait: int = 1) -> bytes:
    """Send pieces, then read until `wait` answers' header ends were seen or the peer closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    got = b""
    try:
        for piece in sent:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        while got.count(b"\r\n\r\n") < wait or not got.endswith((b"x", b"\r\n\r\n")):
            data = await asyncio.wait_for(reader.read(65536), 30)
            if not data:
                break
            got += data
    finally:
        writer.close()
    return got


async def test_keep_alive_and_pipelined_requests(server: Server) -> None:
    one = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
    got = await exchange(server, one + one, wait=2)
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert b"X-Served: 0" in got
    assert b"X-Served: 1" in got
    assert b"Connection: close" not in got


async def test_chunked_request_body(server: Server) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = await exchange(server, head, b"3\r\nabc\r\n", b"1\r\nx\r\n0\r\n\r\n")
    assert got.endswith(b"abcx")


async def test_expect_100_continue(server: Server) -> None:
    head = b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    got = await exchange(server, head, b"x", wait=2)
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_early_answer_instead_of_100(server: Server) -> None:
    head = b"PUT /early HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    got = await exchange(server, head)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in got
    assert b"Connection: close" in got


async def test_streamed_answer_is_chunked(server: Server) -> None:
    got = await exchange(server, b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n", wait=2)
    assert got.endswith(b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")


async def test_head_has_length_and_no_body(server: Server) -> None:
    got = await exchange(server, b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
    assert got.endswith(b"Content-Length: 0\r\n\r\n")


async def test_drop_closes_unanswered(server: Server) -> None:
    assert await exchange(server, b"GET /drop HTTP/1.1\r\nHost: h\r\n\r\n") == b""


async def test_malformed_request_is_400(server: Server) -> None:
    assert (await exchange(server, b"\x00\x01\x02\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_refuse_and_start_again_on_the_same_port(server: Server) -> None:
    port = server.port
    server.refuse()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)
    await server.start()
    assert server.port == port
    assert await exchange(server, b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
