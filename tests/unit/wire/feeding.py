"""A server connection without a socket: bytes are fed to it, what it writes and hands on is kept."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from atoll.wire.message import ProtocolRefused, Request
from atoll.wire.server import ClientGone, Reply, ServerConnection, ServerSettings

TURNS = 12  # of the event loop, after which everything that can happen has happened


@dataclass(frozen=True, slots=True)
class Got:
    """A request as the handler got it; `body` is None where it was cut or broken."""

    method: bytes
    target: bytes
    lines: tuple[bytes, ...]
    body: bytes | None


class Wire(asyncio.Transport):
    """A transport that keeps what is written. `reading` follows pause and resume."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.reading = True
        self.closed = False
        self.aborted = False
        self.protocol: ServerConnection

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()


@dataclass(slots=True)
class Fed:
    """What came of some bytes: requests handed on whole, the statuses answered, how it ended."""

    requests: list[Got] = field(default_factory=list)
    broken: list[Got] = field(default_factory=list)
    written: bytes = b""
    closed: bool = False
    aborted: bool = False

    @property
    def statuses(self) -> list[int]:
        """The status of each answer."""
        return [int(status) for status in re.findall(rb"(?m)^HTTP/1\.1 (\d{3}) ", self.written)]


async def feed(
    pieces: Sequence[bytes], *, header_bytes: int = 64 * 1024, eof: bool = True, patient: bool = True
) -> Fed:
    """Feed pieces to a connection whose handler answers 200 to each whole request.

    `patient` lets the connection work after each piece; without it all of them come at once.
    """
    fed = Fed()

    async def handler(request: Request, reply: Reply) -> None:
        target = request.path + (b"?" + request.query if request.query else b"")
        try:
            body = await request.body.read_all(1 << 24)
        except (ProtocolRefused, ClientGone):
            fed.broken.append(Got(request.method, target, tuple(request.lines), None))
            reply.send(400, [], b"")
            return
        fed.requests.append(Got(request.method, target, tuple(request.lines), body))
        reply.send(200, [], b"")

    wire = Wire()
    connection = wire.protocol = ServerConnection(ServerSettings(handler, header_bytes=header_bytes))
    connection.connection_made(wire)
    for piece in pieces:
        if wire.closed:
            break
        connection.data_received(piece)
        if patient:
            await _turn()
    await _turn()
    fed.closed, fed.aborted = wire.closed, wire.aborted
    if eof and not wire.closed:
        connection.connection_lost(None)
    await _turn()
    fed.written = bytes(wire.written)
    return fed


async def _turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
