"""How long a client may take: with a head, between requests, and with reading its answer."""

import asyncio

from tests.unit.wire.feeding import Wire

from atoll.wire.message import Request
from atoll.wire.server import Reply, ServerConnection, ServerSettings

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


def connection_of(settings: ServerSettings) -> tuple[ServerConnection, Wire]:
    """A connection that has just been made."""
    wire = Wire()
    connection = wire.protocol = ServerConnection(settings)
    connection.connection_made(wire)
    return connection, wire


def ended(wire: Wire) -> bool:
    """Whether the connection was closed."""
    return wire.closed


async def turns() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


async def nothing(request: Request, reply: Reply) -> None:
    """Answer at once."""
    del request
    reply.send(200, [], b"")


async def test_a_head_that_trickles_in_is_cut_off() -> None:
    """A line now and then must not extend the time: else such clients hold every descriptor."""
    connection, wire = connection_of(ServerSettings(nothing, head_seconds=30, idle_seconds=75))
    await turns()
    start = asyncio.get_running_loop().time()
    connection.data_received(HEAD)
    for seconds in range(29):
        connection.data_received(b"X-A: b\r\n")
        connection.close_if_idle(start + seconds)
        assert not ended(wire)
    connection.data_received(b"X-A: b\r\n")
    connection.close_if_idle(start + 31)
    assert ended(wire)
    await turns()


async def test_an_idle_connection_is_closed_later() -> None:
    connection, wire = connection_of(ServerSettings(nothing, head_seconds=30, idle_seconds=75))
    connection.data_received(HEAD + b"\r\n")
    await turns()
    now = asyncio.get_running_loop().time()
    connection.close_if_idle(now + 74)
    assert not ended(wire)
    connection.close_if_idle(now + 76)
    assert ended(wire)
    await turns()


async def test_empty_lines_for_ever_are_no_request() -> None:
    connection, wire = connection_of(ServerSettings(nothing, head_seconds=30, idle_seconds=75))
    await turns()
    now = asyncio.get_running_loop().time()
    for _ in range(100):
        connection.data_received(b"\r\n")
    connection.close_if_idle(now + 76)
    assert ended(wire)
    await turns()


async def test_a_request_under_way_is_left_alone_and_the_next_finds_the_door_shut_when_draining() -> None:
    go_on = asyncio.Event()

    async def slow(request: Request, reply: Reply) -> None:
        await go_on.wait()
        await nothing(request, reply)

    settings = ServerSettings(slow)
    connection, wire = connection_of(settings)
    connection.data_received(HEAD + b"\r\n")
    await turns()
    settings.draining = True
    connection.close_if_idle(asyncio.get_running_loop().time() + 1000)
    assert not ended(wire)
    go_on.set()
    await turns()
    assert ended(wire)
    assert b"200 OK" in wire.written
    assert b"Connection: close" in wire.written


async def test_a_client_that_never_reads_its_answer_is_cut_off() -> None:
    async def long(request: Request, reply: Reply) -> None:
        del request
        reply.start(200, [], None)
        while True:
            await reply.write(b"x" * 1000)

    connection, wire = connection_of(ServerSettings(long, unread_seconds=300))
    connection.data_received(HEAD + b"\r\n")
    connection.pause_writing()  # the transport's buffer is full
    await turns()
    now = asyncio.get_running_loop().time()
    connection.close_if_idle(now + 299)
    assert not ended(wire)
    connection.close_if_idle(now + 301)
    assert wire.aborted
    await turns()
    assert ended(wire)
