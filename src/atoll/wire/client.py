"""The side that talks to sites: one connection, one exchange at a time.

A connection knows nothing of pools or sites. It says of each failure whether any byte of an answer had come,
because that decides what may be repeated.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import httptools

from atoll.wire.body import Body
from atoll.wire.heads import Answers
from atoll.wire.message import HOP_BY_HOP, HeaderNames, Response
from atoll.wire.outbox import Outbox

# Answer heads over this are refused: a site's answer is not trusted more than a client's request.
HEAD_LIMIT = 128 * 1024
NAMES = HeaderNames(HOP_BY_HOP | {b"location"})
ANSWERS = Answers(NAMES)


class Broken(Exception):
    """The connection ended or the answer made no sense.

    `answered` is False when not one byte of an answer had come: then, and only then, the site may not have
    seen the request, and an idempotent one may be sent again.
    """

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class DeadlinePassed(Broken):
    """No answer, or no further byte of one, in time."""


class Exchange:
    """One request and its answer on a connection, told of each step as it happens."""

    __slots__ = ("deadline", "informational", "method", "response", "stall")

    def __init__(self, method: bytes, deadline: float, stall: float) -> None:
        self.method = method
        self.deadline = deadline
        self.stall = stall
        self.response: Response | None = None
        self.informational: Callable[[int], None] | None = None

    def answered(self, response: Response) -> None:
        """The head of the answer has come; its body follows."""

    def finished(self, response: Response) -> None:
        """The answer is complete."""

    def whole(self, response: Response, text: bytes) -> None:
        """Head and body have come in one piece: instead of `answered` and `finished`."""
        response.body = Body.whole(text)
        self.answered(response)
        self.finished(response)

    def failed(self, error: Broken) -> None:
        """There will be no (further) answer."""


class AwaitedExchange(Exchange):
    """An exchange that a task waits for: await `head`, then read `response.body`.

    `held` says that the sender of the body waits for the site's 100.
    """

    __slots__ = ("_loop", "_patience", "head", "held")

    def __init__(self, loop: asyncio.AbstractEventLoop, method: bytes, deadline: float, stall: float) -> None:
        super().__init__(method, deadline, stall)
        self._loop = loop
        self._patience: asyncio.Timeout | None = None
        self.head: asyncio.Future[Response] = loop.create_future()
        self.held = False

    def go_on(self) -> None:
        """The site's 100 has come: from now on it is the sender of the body who may be slow."""
        self.held = False
        if self._patience is not None and self.response is None:
            self.deadline = math.inf
            self._patience.reschedule(self._loop.time() + self.stall)

    async def next_of(self, body: Body) -> bytes:
        """The next part of the request body; the time it takes is not the site's.

        Raises TimeoutError when it does not come in time.
        """
        if (data := body.taken()) or self.response is not None:
            return data or await body.read()
        if not self.held:
            self.deadline = math.inf
        try:
            patience = self.stall if body.hurried and not self.held else None
            async with asyncio.timeout(patience) as self._patience:
                return await body.read()
        finally:
            self._patience = None
            if self.response is None and not self.held:
                self.deadline = self._loop.time() + self.stall

    def answered(self, response: Response) -> None:
        """Wake the task."""
        if not self.head.done():
            self.head.set_result(response)

    def finished(self, response: Response) -> None:
        """End the body that the task reads."""
        response.body.finish()

    def failed(self, error: Broken) -> None:
        """Raise in the task, where it waits or reads."""
        if not self.head.done():
            self.head.set_exception(error)
        elif self.response is not None:
            self.response.body.fail(error)


class Connection(asyncio.Protocol):
    """One connection to a site. `on_idle` and `on_lost` tell its pool; `idle_since` is loop time."""

    __slots__ = (
        "_answered", "_complete", "_drained", "_head_bytes", "_in_head", "_index", "_keep_alive", "_lines",
        "_loop", "_on_idle", "_on_lost", "_outbox", "_parser", "_sending", "_transport", "_until_eof",
        "_write_paused", "exchange", "idle_since", "lost", "ours", "uses",
    )  # fmt: skip

    def __init__(
        self,
        on_idle: "Callable[[Connection], None]",
        on_lost: "Callable[[Connection], None]",
        outbox: Outbox,
    ) -> None:
        self._outbox = outbox
        self._loop = asyncio.get_running_loop()
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._parser: Any = None
        self._transport: asyncio.Transport
        self._write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._sending = False
        self._answered = False
        self._complete = True
        self._until_eof = False
        self._keep_alive = True
        self._head_bytes = 0
        self._in_head = False
        self._index: dict[bytes, bytes] = {}
        self._lines: list[bytes] = []
        self.exchange: Exchange | None = None
        self.lost = False
        self.ours = False  # whether it was us who closed
        self.idle_since = self._loop.time()
        self.uses = 0

    # -- asyncio's side ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange under way, then tell the pool."""
        self.lost = True
        if self._until_eof and exc is None and self.exchange is not None:
            self._finish()
        self._fail(Broken(f"connection lost: {exc or 'closed by the site'}", answered=self._answered))
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._on_lost(self)

    def eof_received(self) -> bool:
        """Close on our side too."""
        return False

    def data_received(self, data: bytes) -> None:
        """Feed the parser; anything outside an exchange breaks the connection."""
        exchange = self.exchange
        if exchange is None:
            self.close()
            return
        self._answered = True
        if exchange.response is None:
            if not self._head_bytes and not self._sending and exchange.method != b"HEAD":
                read = ANSWERS.read(data)
                if read is not None:
                    self._whole(exchange, *read)
                    return
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT and len(data) < self._head_bytes:
                self._break("the head of the answer is too large")
                return
        else:
            exchange.deadline = self._loop.time() + exchange.stall
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self.exchange is exchange:
                self._break(f"not an HTTP/1.1 answer: {error}")
            else:
                self.close()

    def pause_writing(self) -> None:
        """Remember that the site reads slowly."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """Let the sender go on."""
        self._write_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # -- the parser's side ------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a head; a second final answer to one request is refused."""
        if self._complete:
            raise ValueError("an answer nobody asked for")
        self._index = {}
        self._lines = []
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Index a header and keep its line; trailers are dropped."""
        if not self._in_head:
            return
        lower, passed_on = NAMES[name]
        index = self._index
        if lower in index:
            index[lower] += b", " + value
        else:
            index[lower] = value
        if passed_on:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        """Hand the head over, unless it is informational."""
        self._in_head = False
        exchange = self.exchange
        if exchange is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            if status == 101:
                raise ValueError("the site switched protocols unasked")
            if exchange.informational is not None:
                exchange.informational(status)
            return
        self._keep_alive = self._parser.should_keep_alive()
        body = Body(self._pause_reading, self._resume_reading)
        response = Response(status, self._index, self._lines, body, self.close)
        exchange.response = response
        exchange.deadline = self._loop.time() + exchange.stall
        self._head_bytes = 0
        bodiless = exchange.method == b"HEAD" or status == 204 or status == 304
        self._until_eof = (
            not bodiless and response.content_length is None and b"transfer-encoding" not in self._index
        )
        exchange.answered(response)
        if exchange.method == b"HEAD":
            # The parser would wait for the body that the length announces: it is done with this one.
            self._parser = None
            self._finish()

    def on_body(self, data: bytes) -> None:
        """Pass a part of the body on."""
        exchange = self.exchange
        if exchange is not None and exchange.response is not None:
            exchange.response.body.feed(data)

    def on_message_complete(self) -> None:
        """End the exchange, unless this was informational."""
        exchange = self.exchange
        if exchange is not None and exchange.response is not None:
            self._finish()

    # -- the caller's side ------------------------------------------------------------------------

    def begin(self, exchange: Exchange, head: bytes, *, more: bool) -> None:
        """Send a head (with its body, if that is already there); `more` says that `write` follows."""
        self.exchange = exchange
        self._answered = False
        self._complete = False
        self._until_eof = False
        self._head_bytes = 0
        self._sending = more
        self.uses += 1
        if self.lost:
            self._fail(Broken("connection lost", answered=False))
            return
        if more:
            self._transport.write(head)
        else:
            self._outbox.put(self, head)

    def write_now(self, data: bytes) -> None:
        """Write, unless the connection has ended meanwhile."""
        if not self.lost:
            self._transport.write(data)

    async def write(self, data: bytes) -> None:
        """Send a part of the request body, waiting while the site reads slower than we send."""
        exchange = self.exchange
        if self.lost or exchange is None:
            return
        self._transport.write(data)
        if exchange.response is None:
            exchange.deadline = max(exchange.deadline, self._loop.time() + exchange.stall)
        if self._write_paused:
            self._drained = self._loop.create_future()
            try:
                await self._drained
            finally:
                self._drained = None

    def end_of_request(self) -> None:
        """The request body is complete."""
        self._sending = False
        if self._complete:
            self._release()

    def _pause_reading(self) -> None:
        self._transport.pause_reading()
        if self.exchange is not None:
            # It is the client who is slow: the site is not to blame, and not to be cut.
            self.exchange.deadline = math.inf

    def _resume_reading(self) -> None:
        if not self.lost:
            self._transport.resume_reading()
        if self.exchange is not None:
            self.exchange.deadline = self._loop.time() + self.exchange.stall

    def _finish(self) -> None:
        exchange, self.exchange = self.exchange, None
        self._complete = True
        if not self._sending:
            self._release()
        if exchange is not None and exchange.response is not None:
            exchange.finished(exchange.response)
        # else: an early answer; whoever sends closes or ends the request.

    def _whole(self, exchange: Exchange, response: Response, text: bytes, keeps: bool) -> None:
        """An answer that came in one piece: the parser has not seen it."""
        self.exchange = None
        self._complete = True
        self._keep_alive = keeps
        exchange.response = response
        self._release()
        exchange.whole(response, text)

    def _release(self) -> None:
        if self.lost:
            return
        if not self._keep_alive or self._until_eof:
            self._transport.close()
            return
        self.idle_since = self._loop.time()
        self._on_idle(self)

    def _fail(self, error: Broken) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        exchange.failed(error)

    def _break(self, why: str) -> None:
        self._fail(Broken(why, answered=True))
        self.close()

    def expire(self) -> None:
        """The deadline of the exchange has passed."""
        self._fail(DeadlinePassed("no answer in time", answered=self._answered))
        self.close()

    def stop_after_answer(self) -> None:
        """An answer came while the request was still being sent: the connection cannot be used again."""
        self._keep_alive = False
        self._sending = False
        if self._complete:
            self.close()

    def close(self) -> None:
        """Close at once; what was not sent is dropped."""
        if not self.lost:
            self.ours = True
            self._transport.abort()
