"""A message body on its way through: bounded in memory, with back-pressure to whoever sends it."""

import asyncio
import math
from collections import deque
from collections.abc import Callable

# A sender is paused above this many buffered bytes and resumed below half of it: large enough that a
# transfer is not broken into small wake-ups, small enough that a thousand transfers fit in memory.
HIGH_WATER = 256 * 1024


def nothing() -> None:
    """Neither pause nor resume, nor close: what is whole needs none of it."""


class BodyTooLarge(Exception):
    """More bytes came than the reader was ready to hold."""


class Body:
    """Bytes fed by a protocol and read by one task.

    `pause` and `resume` act on the transport that feeds. `error` set by the feeder is raised to the reader
    after the bytes that came before it. Whoever reads a body that is `hurried` need not wait long for it.
    """

    hurried = True

    __slots__ = (
        "_abandoned",
        "_chunks",
        "_limit",
        "_pause",
        "_paused",
        "_resume",
        "_size",
        "_too_much",
        "_waiter",
        "complete",
        "error",
        "received",
    )

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._pause = pause
        self._resume = resume
        self._paused = False
        self._abandoned = False
        self._waiter: asyncio.Future[None] | None = None
        self.complete = False
        self.error: Exception | None = None
        self.received = 0
        self._limit: float = math.inf
        self._too_much: Exception = BodyTooLarge()

    @classmethod
    def whole(cls, data: bytes) -> "Body":
        """A body that has come in one piece."""
        body = cls(nothing, nothing)
        body.feed(data)
        body.complete = True
        return body

    def feed(self, data: bytes) -> None:
        """Take bytes from the wire."""
        if self._abandoned:
            return
        self._chunks.append(data)
        size = len(data)
        self._size += size
        self.received += size
        if self.received > self._limit:
            self.fail(self._too_much)
            self.abandon()
            return
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()
        if self._waiter is not None:
            self._wake()

    def bound(self, limit: int, error: Exception) -> None:
        """Raise an error to the reader once more than `limit` bytes have come."""
        self._limit, self._too_much = limit, error

    def finish(self) -> None:
        """The message ended where it should."""
        self.complete = True
        if self._waiter is not None:
            self._wake()

    def fail(self, error: Exception) -> None:
        """The message ended where it should not."""
        if not self.complete and self.error is None:
            self.error = error
            if self._waiter is not None:
                self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _take(self) -> bytes:
        data = b"".join(self._chunks) if len(self._chunks) > 1 else self._chunks[0]
        self._chunks.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self._resume()
        return data

    def taken(self) -> bytes:
        """What has arrived, without waiting."""
        return self._take() if self._chunks else b""

    async def read(self) -> bytes:
        """Whatever has arrived, waiting for at least one byte; b"" at the end.

        Raises the feeder's error when the body was cut.
        """
        while not self._chunks:
            if self.complete:
                return b""
            if self.error is not None:
                raise self.error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    async def read_all(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes; raises BodyTooLarge beyond."""
        if self.complete and self._size <= limit:
            return self._take() if self._chunks else b""
        parts = []
        total = 0
        while data := await self.read():
            total += len(data)
            if total > limit:
                raise BodyTooLarge
            parts.append(data)
        return b"".join(parts)

    def abandon(self) -> None:
        """Drop what is buffered and all that is still to come."""
        if not self.complete:
            self._abandoned = True
        self.discard()

    def discard(self) -> None:
        """Drop what is buffered, so that the connection can go on."""
        if self._chunks:
            self._take()


class Fed(Body):
    """A body that a task feeds piece by piece: it can wait until its reader has dealt with all before."""

    hurried = False

    __slots__ = ("_hungry",)

    def __init__(self) -> None:
        super().__init__(nothing, nothing)
        self._hungry = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Take a piece; the reader may hold on to it for as long as it takes."""
        self._hungry.clear()
        super().feed(data)

    async def read(self) -> bytes:
        """As `Body.read`; to come back for more says that all before is dealt with."""
        if not self._chunks:
            self._hungry.set()
        return await super().read()

    async def hungry(self) -> bool:
        """Wait until the reader comes (back) for more, which is then True."""
        return await self._hungry.wait()


# The body of every message that has none: complete, and nothing changes it.
EMPTY = Body(nothing, nothing)
EMPTY.finish()
