"""A client that sends exactly the bytes it is given and reads exactly what comes: no library between."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

WAIT = 30.0


class Cut(Exception):
    """The connection ended before the message did; `so_far` is what came of its body."""

    def __init__(self, so_far: bytes) -> None:
        super().__init__(f"cut after {len(so_far)} bytes")
        self.so_far = so_far


@dataclass(slots=True)
class Message:
    """A request or an answer as it was on the wire. Header names are lower case, in order."""

    start: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    informational: list[int] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status, of an answer."""
        return int(self.start.split(b" ")[1])

    @property
    def method(self) -> bytes:
        """The method, of a request."""
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        """The target, of a request."""
        return self.start.split(b" ")[1]

    def header(self, name: bytes) -> bytes | None:
        """The one header of that lower-case name; None without it, a failed test for several."""
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """Every header of that lower-case name."""
        return [value for key, value in self.headers if key == name]


async def read_head(reader: asyncio.StreamReader) -> Message:
    """A start line and headers. Raises Cut at the end of the stream."""
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        raise Cut(error.partial) from error
    except ConnectionResetError as error:
        raise Cut(b"") from error
    start, *lines = text[:-4].split(b"\r\n")
    pairs = [line.partition(b":") for line in lines]
    return Message(start, [(name.lower(), value.strip()) for name, _, value in pairs])


async def read_body(reader: asyncio.StreamReader, head: Message, *, until_close: bool) -> bytes:
    """The body that a head announces. Raises Cut."""
    if (head.header(b"transfer-encoding") or b"").lower() == b"chunked":
        return await _chunks(reader)
    length = head.header(b"content-length")
    if length is not None:
        return await _exactly(reader, int(length))
    return await reader.read() if until_close else b""


async def _exactly(reader: asyncio.StreamReader, size: int) -> bytes:
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise Cut(error.partial) from error


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    try:
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
    except (asyncio.IncompleteReadError, ConnectionResetError) as error:
        raise Cut(b"".join(parts)) from error
    return b"".join(parts)


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None = None) -> Self:
        """Connect to 127.0.0.1. Raises OSError."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=1 << 20))

    async def send(self, data: bytes) -> None:
        """Send bytes, as fast as they are taken."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, method: bytes = b"GET", *, wait: float = WAIT) -> Message:
        """The next final answer with its body. Raises Cut, TimeoutError."""
        async with asyncio.timeout(wait):
            informational: list[int] = []
            while True:
                head = await read_head(self.reader)
                if 100 <= head.status < 200:
                    informational.append(head.status)
                    continue
                head.informational = informational
                if method != b"HEAD" and head.status not in {204, 304}:
                    head.body = await read_body(self.reader, head, until_close=True)
                return head

    async def ask(self, data: bytes) -> Message:
        """Send a request and read its answer."""
        await self.send(data)
        return await self.answer(data.split(b" ", 1)[0])

    async def ended(self, *, wait: float = WAIT) -> bytes:
        """Whatever still comes until the other side closes. Raises TimeoutError if it does not."""
        async with asyncio.timeout(wait):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def reset(self) -> None:
        """Go away without a word."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close, and wait for it."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            return


@asynccontextmanager
async def connected(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    """A connection for the length of a block."""
    raw = await Raw.open(port, tls)
    try:
        yield raw
    finally:
        await raw.close()
