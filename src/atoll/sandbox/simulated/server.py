"""A small HTTP/1.1 server for simulated sites: asyncio protocol, llhttp parsing, nothing of the gateway's.

It shares no code with `atoll.wire` on purpose, so that a bug there cannot hide behind the same bug here.
Handlers get a `Request` whose body streams and return a `Response` whose body may stream. They may raise
`Drop` to end the connection without an answer.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import cast

import httptools

READ_HIGH_WATER = 256 * 1024  # bytes of request body kept before reading pauses: bounds memory on upload
TURNS = 4  # of the loop, within which what was accepted has become a connection
DRAIN_SECONDS = 2.0  # how long an answered, unread upload may linger, so that the answer is not lost to a RST
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_REASONS |= {207: "Multi Status", 413: "Request Entity Too Large", 416: "Request Range Not Satisfiable"}


class Drop(Exception):
    """Raised by a handler to close the connection unanswered; `reset` sends RST instead of FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("connection dropped")
        self.reset = reset


class Response:
    """An answer: `body` is bytes, or an async iterator with `length` known, or None for chunked.

    `cut` closes the connection after that many body bytes, Content-Length untouched. `close` ends keep-alive.
    """

    __slots__ = ("body", "close", "cut", "headers", "length", "status")

    def __init__(
        self,
        status: int = 200,
        headers: list[tuple[str, str]] | None = None,
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        length: int | None = None,
        close: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers if headers is not None else []
        self.body = body
        self.length = len(body) if isinstance(body, bytes) else length
        self.close = close
        self.cut: int | None = None

    def header(self, name: str) -> str | None:
        """The first header of that name (any case), or None."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


class Request:
    """A request: `target` is the raw path and query, `headers` are (lower-case name, value) in wire order.

    `served` counts the requests this connection answered before, so 0 is a fresh connection.
    """

    __slots__ = ("_body", "headers", "method", "path", "query", "served", "target", "url_root")

    def __init__(
        self, method: str, target: str, headers: list[tuple[str, str]], body: "_Body", scheme: str = "http"
    ) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.served = 0
        self._body = body
        self.url_root = f"{scheme}://" + (self.header("host") or "127.0.0.1")

    def header(self, name: str) -> str | None:
        """The first header of that lower-case name, or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])

    def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces, as they arrive. Sends `100 Continue` first if the client waits for it."""
        return self._body.chunks()


Handler = Callable[[Request], Awaitable[Response]]


class _Body:
    """The body of one request: filled by the parser, drained by the handler, bounded by pausing."""

    __slots__ = ("_chunks", "_connection", "_size", "_waiter", "complete", "expects")

    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self.complete = False
        self.expects = False

    def feed(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > READ_HIGH_WATER:
            self._connection.pause()
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def discard(self) -> None:
        self._chunks.clear()
        self._size = 0
        self._connection.resume()

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.expects:
            self.expects = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while True:
            while self._chunks:
                data = self._chunks.popleft()
                self._size -= len(data)
                if self._size <= READ_HIGH_WATER // 2:
                    self._connection.resume()
                yield data
            if self.complete:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


def stop_listening(server: asyncio.Server) -> None:
    """Have new connections refused from now on, and the server closed a little later.

    One that was accepted this very moment becomes a connection after this, and is to be ended then. Closed at
    once, asyncio's server would lose it: nobody would ever close its socket.
    """
    loop = server.get_loop()
    for one in server.sockets:
        loop.remove_reader(one.fileno())
        with contextlib.suppress(OSError):  # not where that is for connections only
            one.shutdown(socket.SHUT_RDWR)

    def close(turns: int) -> None:
        if turns:
            loop.call_soon(close, turns - 1)
        else:
            server.close()

    close(TURNS)


class _Connection(asyncio.Protocol):
    def __init__(self, server: "Server") -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._queue: deque[tuple[Request, _Body, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._served = 0
        self._paused = False
        self._draining: _Body | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body = _Body(self)

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self._server.accepted += 1
        if not self._server.listening:
            self.drop(reset=True)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._server.connections.discard(self)
        self._transport = None
        self._can_write.set()
        if self._idle is not None:
            self._idle.cancel()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an Upgrade header is only ignored, as the services do
        except httptools.HttpParserError:
            self.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.close()

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    # llhttp callbacks
    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", [], _Body(self)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        method = self._parser.get_method().decode()
        scheme = self._server.scheme
        request = Request(method, self._url.decode("latin-1"), self._headers, self._body, scheme)
        self._body.expects = (request.header("expect") or "").lower() == "100-continue"
        self._queue.append((request, self._body, self._parser.should_keep_alive()))
        self._next()

    def on_body(self, data: bytes) -> None:
        if self._draining is not self._body:
            self._body.feed(data)

    def on_message_complete(self) -> None:
        self._body.complete = True
        self._body.wake()
        if self._draining is self._body:
            self.close()

    # answering
    def _next(self) -> None:
        if self._task is None and self._queue and self._draining is None:
            request, body, keep_alive = self._queue.popleft()
            request.served = self._served
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._serve(request, body, keep_alive=keep_alive))

    async def _serve(self, request: Request, body: _Body, *, keep_alive: bool) -> None:
        try:
            response = await self._server.handler(request)
            await self._answer(request, response, keep_alive and body.complete and not response.close)
        except Drop as drop:
            self.drop(reset=drop.reset)
            return
        except asyncio.CancelledError:
            return
        except Exception as exc:  # noqa: BLE001 - a bug in a handler must not hang the client
            self._server.on_error(exc)
            self.drop(reset=True)
            return
        self._served += 1
        self._task = None
        if response.cut is None and not response.close and keep_alive and body.complete:
            self._wait_idle()
            self._next()
        elif body.complete or body.expects or response.cut is not None:
            self.close()  # a client still waiting for 100 has no body on its way
        else:  # an early answer: read the rest away for a moment, else its arrival resets the answer
            self._draining = body
            body.discard()
            self._idle = asyncio.get_running_loop().call_later(DRAIN_SECONDS, self.close)

    def _wait_idle(self) -> None:
        if self._server.idle_seconds is not None and not self._queue:
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(self._server.idle_seconds, self.close)

    async def _answer(self, request: Request, response: Response, keep_alive: bool) -> None:
        length, bare = response.length, request.method == "HEAD" or response.status in (204, 304)
        head = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}"]
        head += [f"{name}: {value}" for name, value in response.headers]
        if response.status != 204:
            head.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
        if not keep_alive:
            head.append("Connection: close")
        start = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        if bare:
            self.write(start)
        elif isinstance(response.body, bytes):
            self.write(start + (response.body if response.cut is None else response.body[: response.cut]))
        else:
            self.write(start)
            await self._stream(response.body, chunked=length is None, cut=response.cut)

    async def _stream(self, body: AsyncIterator[bytes], *, chunked: bool, cut: int | None) -> None:
        sent = 0
        async for data in body:
            if self._transport is None:
                return
            piece = data if cut is None else data[: max(0, cut - sent)]
            sent += len(piece)
            self.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked and piece else piece)
            if cut is not None and sent >= cut:
                return
            await self._can_write.wait()
        if chunked:
            self.write(b"0\r\n\r\n")

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def drop(self, *, reset: bool) -> None:
        """Close unanswered: with RST (SO_LINGER 0) or a plain FIN."""
        if self._transport is None:
            return
        if reset:
            raw = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()


class Server:
    """Listens on 127.0.0.1 and answers with `handler`.

    `idle_seconds` closes a kept connection after that long without a request (None: never). `errors` keeps
    the exceptions of handlers: a test should find it empty. `tls` is set before the start, for https.
    """

    def __init__(self, handler: Handler, *, idle_seconds: float | None = None) -> None:
        self.handler = handler
        self.idle_seconds = idle_seconds
        self.connections: set[_Connection] = set()
        self.accepted = 0
        self.errors: list[Exception] = []
        self.tls: ssl.SSLContext | None = None
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`; the port is known once started."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def scheme(self) -> str:
        """How its URLs begin."""
        return "http" if self.tls is None else "https"

    @property
    def listening(self) -> bool:
        """Whether new connections are accepted."""
        return self._server is not None

    def on_error(self, exc: Exception) -> None:
        """Keep a handler's exception for whoever looks."""
        self.errors.append(exc)

    async def start(self, port: int = 0) -> None:
        """Listen on `port` (0: any free one, or the one had before a `refuse`). Raises OSError if taken."""
        loop = asyncio.get_running_loop()
        wanted = port or self.port
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", wanted, backlog=512, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Stop listening and reset every open connection; `start()` listens again on the same port."""
        if self._server is not None:
            stop_listening(self._server)
            self._server = None
        for connection in list(self.connections):
            connection.drop(reset=True)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self.tls is not None:
            await asyncio.sleep(0.01)  # a handshake that the client has given up ends
        self.refuse()
        for _ in range(TURNS + 2):
            await asyncio.sleep(0)  # what was just accepted becomes a connection, and ends
