"""The connections to one origin of a site: pooled, bounded, each exchange under one deadline.

What may be repeated is decided here and nowhere else: a GET once, on a connection that broke before any byte
of an answer; anything else only ever goes out once, on a connection that is new or surely alive.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from atoll.core.errors import AtollError, BadSiteAnswer, RequestTimeout, SiteTimeout, SiteUnavailable
from atoll.sites.addresses import public_address
from atoll.sites.breaker import Breaker
from atoll.sites.certificates import machines
from atoll.sites.steadiness import Steadiness
from atoll.wire.body import Body
from atoll.wire.client import AwaitedExchange, Broken, Connection, DeadlinePassed, Exchange
from atoll.wire.message import Response
from atoll.wire.outbox import Outbox

# A kept connection is taken to be alive for this long (seconds) until the site has been seen to close one
# earlier: the shortest keep-alive met in the field is two seconds.
ASSUMED_KEEP_ALIVE = 2.0
# What was learnt of it counts for this long (seconds): a restart closes connections early too.
FORGIVEN_SECONDS = 600.0
# Idle connections are closed by us after this long, before most servers would do it.
IDLE_LIMIT = 50.0
# How often deadlines and idle connections are looked at (seconds). A deadline is late by at most this much.
SWEEP = 0.25
TRIM_TICKS = 20
EXPECTS = b"\r\nExpect: 100-continue\r\n"
REPEATABLE = frozenset({b"GET", b"HEAD"})
# When to ask again what an operator's notice forbids (seconds): work on a site takes minutes.
NOTICE_SECONDS = 60.0


class Watch:
    """Looks after the deadlines of all origins with one timer, however many sites there are."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.origins: list[Origin] = []
        self.active: set[Origin] = set()
        self.outbox = Outbox()
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(SWEEP, self._sweep)

    def _sweep(self) -> None:
        now = self.loop.time()
        for origin in list(self.active):
            if not origin.expire(now):
                self.active.discard(origin)
        self._ticks += 1
        if self._ticks % TRIM_TICKS == 0:
            for origin in list(self.origins):
                origin.trim(now)
        self._timer = self.loop.call_later(SWEEP, self._sweep)

    def close(self) -> None:
        """Stop watching and close every connection."""
        if self._timer is not None:
            self._timer.cancel()
        for origin in list(self.origins):
            origin.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one origin may take: connections at once, requests waiting for one, seconds."""

    connections: int = 100
    queue: int = 1000
    connect_seconds: float = 3.0
    stall_seconds: float = 60.0


class Origin:
    """scheme://host:port of a site's endpoint, and the connections to it."""

    def __init__(
        self,
        url: str,
        *,
        site: str,
        watch: Watch,
        bounds: Bounds | None = None,
        tls: ssl.SSLContext | None = None,
        public: bool = False,
    ) -> None:
        parts = urlsplit(url)
        self.site = site
        self.host = parts.hostname or ""
        self.secure = parts.scheme == "https"
        self.port = parts.port or (443 if self.secure else 80)
        self.netloc = parts.netloc.encode()
        self.breaker = Breaker()
        self.steadiness = Steadiness(since=watch.loop.time())
        self.notice = ""  # why the operator lets nothing be changed there: only reads go out
        self._retired = False
        self.tls = (tls or machines()) if self.secure else None
        self._public = public  # whether it may be at public addresses only
        self._bounds = bounds or Bounds()
        self.stall_seconds = self._bounds.stall_seconds  # how long an answer may stand still
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._keep_alive = ASSUMED_KEEP_ALIVE
        self._learnt_at = 0.0
        self._watch = watch
        self._loop = watch.loop
        watch.origins.append(self)
        self.on_breaker: Callable[[str, bool, str], None] | None = None

    # -- sending ----------------------------------------------------------------------------------

    async def exchange(
        self,
        method: bytes,
        head: bytes,
        *,
        deadline: float,
        body: Body | None = None,
        chunked: bool = False,
        informational: Callable[[int], None] | None = None,
    ) -> Response:
        """Send one request and return the head of its answer; the body streams behind it.

        `head` is complete (with a small body appended, if there is one); `body` streams after it. `deadline`
        is loop time. Raises SiteUnavailable when nothing was done, SiteTimeout when that is not known,
        BadSiteAnswer for an answer that is not HTTP.
        """
        now = self._loop.time()
        if self.notice and method not in REPEATABLE:
            raise SiteUnavailable(
                f"The site {self.site} is {self.notice}: nothing is changed there now.",
                site=self.site,
                retry_after=NOTICE_SECONDS,
            )
        if not self.breaker.closed and not self.breaker.admits(now):
            raise self._away(self.breaker.reason, max(1.0, self.breaker.retry_at - now))
        repeatable = method in REPEATABLE and body is None
        try:
            return await self._send(method, head, deadline, repeatable, body, chunked, informational)
        except Broken as broken:
            raise self.failure(broken, repeatable=repeatable) from broken
        except SiteUnavailable as away:
            self._failed(str(away))
            if self.notice:
                raise self._away(str(away), NOTICE_SECONDS) from away
            raise
        except BaseException:
            # The client went away or we have a bug: that says nothing about the site.
            self.breaker.probing = False
            raise

    def _away(self, why: str, retry_after: float) -> SiteUnavailable:
        notice = f"is {self.notice} and " if self.notice else ""
        text = f"The site {self.site} {notice}does not answer ({why})."
        return SiteUnavailable(text, site=self.site, retry_after=retry_after)

    def failure(self, broken: Broken, *, repeatable: bool) -> AtollError:
        """What a broken exchange means for its request, told to the breaker."""
        self._failed(str(broken))
        if isinstance(broken, DeadlinePassed) or (not broken.answered and not repeatable):
            return SiteTimeout(f"The site {self.site} gave no answer: {broken}.", site=self.site)
        if not broken.answered:
            return SiteUnavailable(
                f"The site {self.site} closed the connection.", site=self.site, retry_after=1
            )
        return BadSiteAnswer(f"The answer of the site {self.site} broke off: {broken}.", site=self.site)

    def begin(self, exchange: Exchange, head: bytes) -> Connection | None:
        """Start an exchange without a body on an idle connection; None where there is none, or no good sign.

        For requests that need no waiting: the exchange is told of its end, nothing is repeated.
        """
        if self.breaker.failures or not self.breaker.closed:
            return None
        connection = self._take(fresh=False)
        if connection is not None:
            self._busy.add(connection)
            self._watch.active.add(self)
            connection.begin(exchange, head, more=False)
        return connection

    def closed_early(self, connection: Connection, broken: Broken) -> bool:
        """Whether a kept connection just turned out to be dead, so that a GET may go out again."""
        stale = not broken.answered and not isinstance(broken, DeadlinePassed) and connection.uses > 1
        if stale:
            self._closed_early(connection)
        return stale

    async def _send(
        self,
        method: bytes,
        head: bytes,
        deadline: float,
        repeatable: bool,
        body: Body | None,
        chunked: bool,
        informational: Callable[[int], None] | None,
    ) -> Response:
        for last in (False, True):
            # The second time on a new one: after a restart of the site all its kept connections are dead.
            kept = None if last else self._take(fresh=not repeatable)
            connection = kept or await self._open(deadline)
            fresh = connection.uses == 0
            exchange = AwaitedExchange(self._loop, method, deadline, self.stall_seconds)
            if body is not None and informational is not None:
                exchange.held = EXPECTS in head
                exchange.informational = _going_on(exchange, informational)
            self._busy.add(connection)
            self._watch.active.add(self)
            connection.begin(exchange, head, more=body is not None)
            try:
                if body is None:
                    response = await exchange.head
                else:
                    response = await self._upload(connection, exchange, body, chunked=chunked)
            except Broken as broken:
                if not fresh and not broken.answered and not isinstance(broken, DeadlinePassed):
                    self._closed_early(connection)
                    if repeatable and not last:
                        continue
                raise
            except asyncio.CancelledError:
                connection.close()
                raise
            if not self.breaker.closed or self.breaker.failures:
                self._succeeded()
            response.repeated = last
            return response
        raise AssertionError  # pragma: no cover - the loop returns or raises

    @staticmethod
    async def _upload(
        connection: Connection, exchange: AwaitedExchange, body: Body, *, chunked: bool
    ) -> Response:
        """Send the body while listening: an answer that comes early ends the upload."""
        loop = asyncio.get_running_loop()
        pump = loop.create_task(_pump(connection, exchange, body, chunked=chunked))
        try:
            waits: set[asyncio.Future[Any]] = {pump, exchange.head}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and not exchange.head.done():
                pump.result()  # the client broke off: raise it here, before any answer
                return await exchange.head
            response = await exchange.head
        except BaseException:
            if not exchange.head.done():
                exchange.head.cancel()  # nobody asks for it any more
                connection.close()
            raise
        finally:
            if not pump.done():
                pump.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pump
                connection.stop_after_answer()
            if exchange.head.done() and not exchange.head.cancelled():
                exchange.head.exception()
        return response

    # -- connections ------------------------------------------------------------------------------

    def _take(self, *, fresh: bool) -> Connection | None:
        """An idle connection: the last used one, for it is the likeliest to be alive."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.lost or connection.ours:
                continue
            if fresh:
                age = self._loop.time() - connection.idle_since
                if age > self._keep_alive * 0.75:
                    connection.close()
                    continue
            return connection
        return None

    async def _open(self, deadline: float) -> Connection:
        while len(self._busy) + self._opening >= self._bounds.connections:
            await self._queue(deadline)
            if (connection := self._take(fresh=True)) is not None:
                return connection
        self._opening += 1
        try:
            wait = min(self._bounds.connect_seconds, max(0.0, deadline - self._loop.time()))
            async with asyncio.timeout(wait):
                at = await public_address(self.host, self.port) if self._public else self.host
                _, connection = await self._loop.create_connection(
                    self._new, at, self.port, ssl=self.tls, server_hostname=self.host if self.tls else None
                )
        except (OSError, TimeoutError, UnicodeError) as error:  # a host name that cannot be one is the last
            why = "timed out" if isinstance(error, TimeoutError) else _short(error)
            if isinstance(error, ssl.SSLCertVerificationError):
                why = f"its certificate is not trusted ({error.verify_message}); cacert names its authority"
            raise SiteUnavailable(
                f"The site {self.site} cannot be reached (connect: {why}).", site=self.site, retry_after=5
            ) from error
        finally:
            self._opening -= 1
            if self._waiters:
                self._wake_one()
        return connection

    def _new(self) -> Connection:
        return Connection(self._back, self._gone, self._watch.outbox)

    async def _queue(self, deadline: float) -> None:
        """Wait for a connection to come free. Raises SiteUnavailable when too many wait already."""
        if len(self._waiters) >= self._bounds.queue:
            raise SiteUnavailable(
                f"The site {self.site} has {self._bounds.connections} requests under way "
                f"and {self._bounds.queue} waiting.",
                site=self.site,
                retry_after=1,
            )
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                await waiter
        except TimeoutError as error:
            raise SiteUnavailable(
                f"The site {self.site} is busy: no connection came free in time.",
                site=self.site,
                retry_after=1,
            ) from error
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _back(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if self._retired and not self._waiters:
            connection.close()
            return
        self._idle.append(connection)
        if self._waiters:
            self._wake_one()

    def _gone(self, connection: Connection) -> None:
        if connection in self._busy:
            self._busy.discard(connection)
            if self._waiters:
                self._wake_one()
        elif connection in self._idle:
            self._idle.remove(connection)
            self._closed_early(connection)

    def _closed_early(self, connection: Connection) -> None:
        """The site closed a kept connection: remember how long it keeps one."""
        if not connection.ours:
            self._learnt_at = self._loop.time()
            self._keep_alive = min(self._keep_alive, max(self._loop.time() - connection.idle_since, 0.0))

    def expire(self, now: float) -> bool:
        """End the exchanges whose deadline has passed; whether any is under way."""
        for connection in list(self._busy):
            exchange = connection.exchange
            if exchange is not None and exchange.deadline < now:
                connection.expire()
        return bool(self._busy)

    def trim(self, now: float) -> None:
        """Close connections that have been idle for long; trust a site again that has behaved for long."""
        if now - self._learnt_at > FORGIVEN_SECONDS:
            self._keep_alive = ASSUMED_KEEP_ALIVE
        for connection in [c for c in self._idle if self._retired or now - c.idle_since > IDLE_LIMIT]:
            connection.close()
        if self._retired and not self._busy and not self._opening:
            self._watch.origins.remove(self)
            self._watch.active.discard(self)

    # -- health -----------------------------------------------------------------------------------

    def _succeeded(self) -> None:
        if self.breaker.succeeded():
            self.steadiness.back(self._loop.time())
            if self.on_breaker is not None:
                self.on_breaker(self.site, True, "")

    def _failed(self, reason: str) -> None:
        now = self._loop.time()
        if self.breaker.failed(now, reason):
            self.steadiness.lost(now)
            if self.on_breaker is not None:
                self.on_breaker(self.site, False, reason)

    @property
    def unsteady(self) -> str:
        """Why it cannot be counted on for what is new; "" where it can."""
        now = self._loop.time()
        return "" if self.steadiness.steady(now) else self.steadiness.why(now)

    def counts(self) -> tuple[int, int, int]:
        """(busy, idle, waiting) now."""
        return len(self._busy), len(self._idle), len(self._waiters)

    def retire(self) -> None:
        """Nothing new goes there: what is idle is closed now, what is busy when it is done."""
        self._retired = True
        for connection in list(self._idle):
            connection.close()

    def close(self) -> None:
        """Close every connection."""
        for connection in [*self._busy, *self._idle]:
            connection.close()


async def _pump(connection: Connection, exchange: AwaitedExchange, body: Body, *, chunked: bool) -> None:
    """Move the request body, as far as the site takes it. Raises RequestTimeout for a client that stalls."""
    while data := await _from_client(exchange, body):
        if exchange.response is not None or connection.lost:
            return
        await connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
    if chunked:
        await connection.write(b"0\r\n\r\n")
    connection.end_of_request()


async def _from_client(exchange: AwaitedExchange, body: Body) -> bytes:
    try:
        return await exchange.next_of(body)
    except TimeoutError as error:
        raise RequestTimeout("The request body did not come in time.") from error


def _going_on(exchange: AwaitedExchange, informational: Callable[[int], None]) -> Callable[[int], None]:
    def told(status: int) -> None:
        exchange.go_on()
        informational(status)

    return told


def _short(error: BaseException) -> str:
    text = str(error)
    return text if len(text) < 100 else text[:100] + "…"
