"""The side that clients connect to: one protocol object and one task per connection.

Must not decide anything about a request but whether it is HTTP; the handler does the rest.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httptools

from atoll.wire.body import EMPTY, Body
from atoll.wire.heads import Head, Heads, target_of
from atoll.wire.message import (
    HOP_BY_HOP,
    PLAIN_CONNECTION,
    SINGLE,
    STATUS_LINES,
    HeaderNames,
    ProtocolRefused,
    Request,
    check_request,
    status_line,
)
from atoll.wire.outbox import Outbox

# Pipelined requests kept while one is answered; more are left in the socket.
PIPELINE = 16
# Unread upload bytes that are cheaper to swallow than a new connection.
SWALLOW = 64 * 1024
TARGET_LIMIT = 16 * 1024
# How long a client may go on sending after its early answer.
LINGER_SECONDS = 2.0

SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})

Handler = Callable[[Request, "Reply"], Awaitable[None]]
Refusal = Callable[[int, str, Request | None], tuple[Iterable[bytes], bytes]]


class ClientGone(Exception):
    """The client closed its connection before its answer was complete."""


def plain_refusal(status: int, reason: str, request: Request | None) -> tuple[list[bytes], bytes]:
    """The body of a refusal below the level of any service: plain text."""
    del status, request
    return [b"Content-Type: text/plain; charset=UTF-8\r\n"], reason.encode() + b"\n"


@dataclass(slots=True)
class ServerSettings:
    """What a listener is given: the handler, and the bounds of a connection (bytes, seconds)."""

    handler: Handler
    drop: frozenset[bytes] = frozenset()
    header_bytes: int = 64 * 1024
    idle_seconds: float = 75.0
    head_seconds: float = 30.0
    unread_seconds: float = 300.0  # that a client may leave its answer unread
    refusal: Refusal = plain_refusal
    # Takes a GET without a body (its header section, its target) that can be answered without waiting for
    # anything but a site; it then calls one of `lane_…`. False: nothing was done, the handler gets it.
    # Before a known section nobody has looked at the target yet: it takes only those of PLAIN_TARGET.
    lane: "Callable[[Head, bytes, ServerConnection], bool] | None" = None
    heads: Heads = field(default_factory=Heads)
    outbox: Outbox = field(default_factory=Outbox)
    connections: "set[ServerConnection]" = field(default_factory=set)
    draining: bool = False
    names: HeaderNames = field(init=False)

    def __post_init__(self) -> None:
        self.names = HeaderNames(self.drop | HOP_BY_HOP, as_wsgi=True)


class Reply:
    """The answer to one request: either `send` at once, or `start`, `write`…, `finish`."""

    __slots__ = ("_chunked", "_connection", "_left", "_request", "finished", "sent", "started", "status")

    def __init__(self, connection: "ServerConnection", request: Request) -> None:
        self._connection = connection
        self._request = request
        self._chunked = False
        self._left: int | None = None
        self.started = False
        self.finished = False
        self.status = 0
        self.sent = 0

    @property
    def draining(self) -> bool:
        """Whether the server is to end: an answer that goes on without end ends now."""
        return self._connection.draining

    def _end_of_head(self) -> bytes:
        if self._connection.will_close(self._request):
            return b"Connection: close\r\n\r\n"
        return b"Connection: keep-alive\r\n\r\n" if self._request.version == "1.0" else b"\r\n"

    def send(self, status: int, lines: Iterable[bytes], body: bytes) -> None:
        """Answer at once; `lines` are whole header lines without a length."""
        self.started = self.finished = True
        self.status = status
        self.sent = len(body)
        if status == 408:
            self._connection.close_after = True  # the rest of the body is not waited for
        if status == 204 or status == 304:
            head = (status_line(status), *lines, self._end_of_head())
        else:
            head = (status_line(status), *lines, b"Content-Length: %d\r\n" % len(body), self._end_of_head())
            if self._request.method != b"HEAD":
                head = (*head, body)
        self._connection.write_now(b"".join(head))

    def send_head(self, status: int, lines: Iterable[bytes], content_length: int | None) -> None:
        """Answer a HEAD, or a status without a body, keeping the length the site gave."""
        self.started = self.finished = True
        self.status = status
        length = () if content_length is None else (b"Content-Length: %d\r\n" % content_length,)
        self._connection.write_now(b"".join((status_line(status), *lines, *length, self._end_of_head())))

    def start(self, status: int, lines: Iterable[bytes], content_length: int | None) -> None:
        """Begin an answer whose body follows; without a length it is chunked (HTTP/1.0: until the close)."""
        self.started = True
        self.status = status
        self._left = content_length
        if content_length is not None:
            framing = b"Content-Length: %d\r\n" % content_length
        elif self._request.version == "1.1":
            self._chunked = True
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            framing = b""
            self._connection.close_after = True
        self._connection.write_now(b"".join((status_line(status), *lines, framing, self._end_of_head())))

    async def write(self, data: bytes) -> None:
        """Send a part of the body and wait while the client reads slower than we write.

        Raises ClientGone.
        """
        self.sent += len(data)
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._connection.write_now(data)
        await self._connection.writable()

    def finish(self) -> None:
        """The body is complete."""
        if self._chunked:
            self._connection.write_now(b"0\r\n\r\n")
        self.finished = True

    def informational(self, status: int) -> None:
        """Pass on a 1xx, so that the client sends its body."""
        if not self.started:
            self._connection.write_now(status_line(status) + b"\r\n")

    def abort(self) -> None:
        """Cut the connection: the only honest end of a body that broke half-way."""
        self._connection.abort()


class ServerConnection(asyncio.Protocol):
    """One client connection; requests on it are answered one after the other."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._names = settings.names
        self._head_limit = settings.header_bytes
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._queue: deque[Request] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._write_paused = False
        self._reading_paused = 0
        self._gone = False
        self._refused: ProtocolRefused | None = None
        self._current: Request | None = None
        self._head_bytes = 0
        self._in_head = False
        self._between = True  # two requests: the parser has not begun another
        self._for_lane: Request | None = None
        self._head: Head | None = None  # of the last request that was for the lane
        self._lane_busy = False
        self._handed: tuple[Request, Reply, Awaitable[None]] | None = None
        self.on_gone: Callable[[], None] | None = None  # the lane's, while it has a request
        self.busy = False
        self.close_after = False
        self.peer = ""
        self.logged = b""  # the peer, for the access log
        self._unread_since: float | None = None
        self.since = self._loop.time()  # of the idle wait, or of the first byte of a head

    @property
    def draining(self) -> bool:
        """Whether the server is to end."""
        return self._settings.draining

    # -- asyncio's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving."""
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self.peer = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
        self.logged = self.peer.encode()
        self._settings.connections.add(self)
        self._task = self._loop.create_task(self._serve())

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever reads or writes."""
        del exc
        self._gone = True
        for request in self._queue:
            request.body.fail(ClientGone())
        current = self._current
        if current is not None:
            current.body.fail(ClientGone())
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(ClientGone())
            self._drained.exception()  # the writer may be elsewhere
        if self.on_gone is not None:
            self.on_gone()
        self._wake()
        if current is not None and current.method in SAFE and self._task is not None:
            # Nobody waits for the answer. What changes something runs to its end: half-done is worse.
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; refuse what is not HTTP."""
        between = self._between and not self.busy
        if between and self._known(data):
            return
        if self._refused is not None:
            return
        in_head = self._in_head
        try:
            self._parser.feed_data(data)
            if between and self._head is not None:
                self._settings.heads.remember(data, self._head)
            if in_head and self._in_head:
                # The parser keeps an unfinished header to itself: count what it swallows.
                self._head_bytes += len(data)
                if self._head_bytes > self._head_limit:
                    self._refuse_head()
        except httptools.HttpParserUpgrade:
            # Answered as an ordinary request; the connection then ends, for what follows is not HTTP/1.1.
            self.close_after = True
        except ProtocolRefused as refused:
            self._refuse(refused)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(
                cause
                if isinstance(cause, ProtocolRefused)
                else ProtocolRefused(400, f"Not HTTP/1.1: {error}.")
            )

    def _known(self, data: bytes) -> bool:
        """Whether the header section is a known one, and the lane takes the request."""
        end = data.find(b"\r\n")
        head = self._settings.heads.get(data[end:])
        if head is None or self._waiter is None or self._refused is not None:
            return False
        target = target_of(data, end)
        return target is not None and self._in_lane(head, target)

    def _in_lane(self, head: Head, target: bytes) -> bool:
        lane = self._settings.lane
        if lane is None or self._settings.draining:
            return False
        self.busy = self._lane_busy = True
        if lane(head, target, self):
            return True
        self.busy = self._lane_busy = False
        return False

    def eof_received(self) -> bool:
        """Treat a half-closed connection as closed: clients that do this have gone."""
        return False

    def pause_writing(self) -> None:
        """Remember that the client reads slowly."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Let the writer go on."""
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # -- the parser's side ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a new head."""
        self._in_head = True
        self._between = False
        self._head = None
        self._target = b""
        self._index: dict[bytes, bytes] = {}
        self._lines: list[bytes] = []
        self._duplicates: set[bytes] = set()
        if not self.busy:
            self.since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """Collect the target, which may come in parts."""
        self._target += url
        if len(self._target) > TARGET_LIMIT:
            raise ProtocolRefused(414, f"The request target is over {TARGET_LIMIT} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Index a header and keep its line; trailers come here too and are dropped."""
        if not self._in_head:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._head_limit:
            self._refuse_head()
        lower, passed_on = self._names[name]
        index = self._index
        if lower in index:
            self._duplicates.add(lower)
            index[lower] += b", " + value
        else:
            index[lower] = value
        if passed_on:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def _refuse_head(self) -> None:
        raise ProtocolRefused(431, f"The header section is over {self._head_limit} bytes.")

    def on_headers_complete(self) -> None:
        """Hand the request over; its body follows."""
        self._in_head = False
        self._head_bytes = 0
        parser = self._parser
        request = Request(parser.get_method(), self._target, self._index, self._lines)
        request.version = parser.get_http_version()
        check_request(request, self._duplicates)
        request.keep_alive = parser.should_keep_alive()
        request.peer = self.peer
        request.started = self._loop.time()
        body = Body(self._pause_reading, self._resume_reading) if request.has_body else EMPTY
        request.body = self._body = body
        connection = request.index.get(b"connection")
        if connection is not None and (nominated := connection.lower()) not in PLAIN_CONNECTION:
            _drop_nominated(request, nominated)
        if (
            request.method == b"GET"
            and request.content_length == 0
            and request.version == "1.1"
            and request.keep_alive
            and self._waiter is not None
            and not self.busy
        ):
            self._for_lane = request
        else:
            self._enqueue(request)

    def _enqueue(self, request: Request) -> None:
        self._queue.append(request)
        if len(self._queue) >= PIPELINE:
            self._pause_reading()
        if not self.busy:
            self._wake()

    def on_body(self, data: bytes) -> None:
        """Pass a part of the body on."""
        self._body.feed(data)

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._between = True
        self._body.finish()
        request = self._for_lane
        if request is not None:
            self._for_lane = None
            self._head = Head(request.index, request.lines)
            if not self._in_lane(self._head, self._target):
                self._enqueue(request)

    # -- the lane's side --------------------------------------------------------------------------

    def request(self, head: Head, target: bytes, started: float) -> Request:
        """The request that the lane has taken, for those who need more of it than its parts."""
        request = Request(b"GET", target, head.index, head.lines)
        request.body = EMPTY
        request.peer = self.peer
        request.started = started
        return request

    def lane_answers(self, status: int, lines: Iterable[bytes], body: bytes) -> None:
        """Answer what the lane has taken; go on with what came meanwhile."""
        self.on_gone = None
        self.busy = self._lane_busy = False
        self.since = self._loop.time()
        closing = self._settings.draining or self.close_after
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        if closing:
            length = b"Connection: close\r\n" + length
        answer = b"".join((STATUS_LINES.get(status) or status_line(status), *lines, length, body))
        if closing:
            self.write_now(answer)
            self._transport.close()
            return
        self._settings.outbox.put(self, answer)
        if self._queue or self._refused is not None:
            self._wake()

    def lane_hands_over(self, request: Request, reply: Reply, answering: Awaitable[None]) -> None:
        """The lane has an answer that takes longer: the connection's task goes on with it."""
        self.on_gone = None
        self._handed = (request, reply, answering)
        self._wake()

    def lane_failed(self, request: Request) -> None:
        """The lane could not answer and nothing was sent: the handler gets the request."""
        self.on_gone = None
        self.busy = self._lane_busy = False
        self._queue.appendleft(request)
        self._wake()

    # -- the task's side --------------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            while (work := await self._next()) is not None:
                request, reply, answering = work
                self._current = request
                await answering
                if not self._after(request, reply):
                    await self._linger(request)
                    break
        except (ClientGone, asyncio.CancelledError):
            if not self._gone:
                raise
        finally:
            self._current = None
            self.busy = False
            self._settings.connections.discard(self)
            if not self._gone:
                self._transport.close()

    async def _next(self) -> "tuple[Request, Reply, Awaitable[None]] | None":
        """The next request and what answers it; None when there will be none."""
        while self._handed is None and (self._lane_busy or not self._queue):
            if self._gone or (self._settings.draining and not self._lane_busy):
                return None
            if self._refused is not None and not self._lane_busy:
                self._answer_refusal(self._refused)
                return None
            if not self._lane_busy:
                self.busy = False
                self.since = self._loop.time()
            self._waiter = self._loop.create_future()
            await self._waiter
        self.busy = True
        if self._handed is not None:
            handed, self._handed = self._handed, None
            self._lane_busy = False
            return handed
        if len(self._queue) >= PIPELINE:
            self._resume_reading()
        request = self._queue.popleft()
        reply = Reply(self, request)
        return request, reply, self._settings.handler(request, reply)

    async def _linger(self, request: Request) -> None:
        """Let a client that is still sending read its answer: closing at once would reset it away."""
        if self._gone or request.body.complete or self._refused is not None:
            return
        request.body.abandon()
        if self._transport.can_write_eof():
            with contextlib.suppress(OSError):  # it has gone this very moment
                self._transport.write_eof()
        self._waiter = self._loop.create_future()
        handle = self._loop.call_later(LINGER_SECONDS, self._wake)
        try:
            await self._waiter
        finally:
            handle.cancel()

    def _after(self, request: Request, reply: Reply) -> bool:
        """Whether the connection can carry another request after this one."""
        self._current = None
        if not reply.finished or self._gone:
            self.abort()
            return False
        if self.will_close(request):
            return False
        request.body.discard()
        return True

    def will_close(self, request: Request) -> bool:
        """Whether the connection ends with this answer."""
        if not request.keep_alive or self.close_after or self._settings.draining:
            return True
        if request.body.complete:
            return False
        # The client is still sending: swallow a little, else the upload ends here.
        left = None if request.content_length is None else request.content_length - request.body.received
        if request.expects_continue or left is None or left > SWALLOW:
            self.close_after = True
            return True
        return False

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _pause_reading(self) -> None:
        self._reading_paused += 1
        if self._reading_paused == 1 and not self._gone:
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused -= 1
            if not self._reading_paused and not self._gone:
                self._transport.resume_reading()

    def _refuse(self, refused: ProtocolRefused) -> None:
        self._refused = refused
        self._in_head = False
        if self._current is not None and not self._current.body.complete:
            self._current.body.fail(refused)
        elif self._queue and not self._queue[-1].body.complete:
            self._queue[-1].body.fail(refused)
        self._wake()

    def _answer_refusal(self, refused: ProtocolRefused) -> None:
        lines, body = self._settings.refusal(refused.status, str(refused), None)
        length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        self.write_now(b"".join((status_line(refused.status), *lines, length, body)))

    def write_now(self, data: bytes) -> None:
        """Write to the client; bytes for one that has gone are dropped."""
        if not self._gone:
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the client has read enough. Raises ClientGone."""
        if self._gone:
            raise ClientGone
        if self._write_paused:
            self._drained = self._loop.create_future()
            self._unread_since = self._loop.time()
            try:
                await self._drained
            finally:
                self._drained = self._unread_since = None

    def abort(self) -> None:
        """Cut the connection."""
        if not self._gone:
            self._transport.abort()

    def close_if_idle(self, now: float) -> None:
        """Close when nothing was asked, or nothing read, for longer than allowed; called by a sweep."""
        if self._unread_since is not None and now - self._unread_since > self._settings.unread_seconds:
            self.abort()
        if self.busy or self._queue:
            return
        limit = self._settings.head_seconds if self._in_head else self._settings.idle_seconds
        if self._settings.draining or now - self.since > limit:
            self._transport.close()


def _drop_nominated(request: Request, connection: bytes) -> None:
    """Drop the headers that `Connection` declares to be of this hop only (RFC 9110 7.6.1).

    Raises ProtocolRefused for one that says what the message is or whose: no site must get it without.
    """
    names = {token.strip() for token in connection.split(b",")} - PLAIN_CONNECTION
    for name in sorted(names & SINGLE):
        raise ProtocolRefused(400, f"The header {name.decode()} is not of one hop only.")
    request.lines = [line for line in request.lines if line.split(b":", 1)[0].lower() not in names]
