"""A site's service written by hand: keeps every byte that arrives, and answers as the test says."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

from tests.raw import Cut, Message, read_body, read_head

from atoll.sandbox.simulated.server import TURNS, stop_listening

Script = Callable[["Exchange"], Awaitable[None]]

# What the gateway's look-out asks for by itself: answered here, so that tests count only what they sent.
PROBES = frozenset({b"/compute/v2.1/", b"/image/versions"})


class Exchange:
    """One request on a connection of the origin: its head is read, its body is the script's to read."""

    def __init__(
        self, head: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nth: int
    ) -> None:
        self.head = head
        self.reader = reader
        self.writer = writer
        self.nth = nth  # on this connection, from 0

    async def body(self) -> bytes:
        """The whole request body."""
        self.head.body = await read_body(self.reader, self.head, until_close=False)
        return self.head.body

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, status: int, body: bytes = b"", *lines: bytes) -> None:
        """A whole answer; JSON unless a line says otherwise."""
        given = b"".join(line + b"\r\n" for line in lines)
        if b"content-type:" not in given.lower():
            given += b"Content-Type: application/json\r\n"
        length = b"" if status in {204, 304} else b"Content-Length: %d\r\n" % len(body)
        await self.send(b"HTTP/1.1 %d X\r\n%b%b\r\n%b" % (status, given, length, body))

    def drop(self, *, reset: bool = False) -> None:
        """End the connection here and now."""
        if reset:
            self.writer.transport.abort()
        else:
            self.writer.close()


async def ok(exchange: Exchange) -> None:
    """Read everything and answer `{}`."""
    await exchange.body()
    await exchange.answer(200, b"{}")


class Origin:
    """Listens on 127.0.0.1. `seen` has the heads (with bodies, where read) of all requests, in order."""

    def __init__(self, script: Script = ok) -> None:
        self.script = script
        self.seen: list[Message] = []
        self.accepted = 0
        self.gone = asyncio.Event()  # whether a connection was closed under a script
        self.errors: list[BaseException] = []
        self.port = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server
        self._listening = False

    async def __aenter__(self) -> Self:
        await self._listen(0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        for _turn in range(TURNS + 2):
            await asyncio.sleep(0)  # what was accepted just now gets its task, which ends
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self.errors == []

    @property
    def url(self) -> str:
        """Its root."""
        return f"http://127.0.0.1:{self.port}"

    def site(self, region: str = "one") -> dict[str, Any]:
        """The settings of a site whose compute and image services this is."""
        endpoints = {"compute": f"{self.url}/compute/v2.1", "image": f"{self.url}/image"}
        return {"region": region, "endpoints": endpoints}

    def close_connections(self) -> None:
        """End every connection, as a site that is restarted does."""
        for task in list(self._tasks):
            task.cancel()

    def refuse(self) -> None:
        """Stop: connections end, new ones are refused."""
        self._listening = False
        stop_listening(self._server)
        self.close_connections()

    async def accept(self) -> None:
        """Listen again after `refuse`, where it did before."""
        await self._listen(self.port)

    async def _listen(self, port: int) -> None:
        self._listening = True
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 20)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            if self._listening:
                await self._requests(reader, writer)
        except asyncio.CancelledError:
            pass  # the end of the test, or of the site; asyncio.streams would report it as an error
        finally:
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)  # not before: the end of the test waits for what is closed

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nth = 0
        while not writer.is_closing():
            try:
                head = await read_head(reader)
            except Cut:
                return
            exchange = Exchange(head, reader, writer, nth)
            if head.method == b"GET" and head.target in PROBES:
                await exchange.answer(404)
                continue
            nth += 1
            self.seen.append(head)
            try:
                await self.script(exchange)
            except (Cut, ConnectionError):
                self.gone.set()
                return
            except Exception as error:  # noqa: BLE001 - told at the end of the test
                self.errors.append(error)
                return
