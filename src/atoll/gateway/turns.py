"""One change of a thing at a time, over all gateways that share the database.

Within a process turns are taken in order. Where the database fails they are taken within the process alone:
no request fails because of it (ADR 9).
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Final
from weakref import WeakValueDictionary

import structlog

from atoll.core.errors import Conflict
from atoll.store import Held, Leases, StoreError

log = structlog.get_logger()

STALE_SECONDS: Final = 6.0
"""How long a holder may show no life before its turn is over: a killed one blocks nobody for longer."""

BEATS: Final = 4
"""How many beats fall into that time, for one may be late."""

LOOK_SECONDS: Final = 0.1
"""How often who waits looks: a change of a quota takes about as long."""


class Turns:
    """Who may change what, for all requests of a gateway. `stale` is STALE_SECONDS."""

    def __init__(self, leases: Leases, *, stale: float = STALE_SECONDS) -> None:
        self._leases = leases
        self._stale = stale
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def turn(self, name: str, what: str, *, until: float) -> AsyncIterator[None]:
        """Do a change when it is its turn. `until` is when to stop waiting, by the loop's clock.

        Raises Conflict, before anything is done, where another change of `what` takes longer; and after it
        where this one took so long that another began.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        holder = uuid.uuid4().hex
        try:
            async with asyncio.timeout_at(until):
                await lock.acquire()
        except TimeoutError as error:
            raise _busy(what) from error
        try:
            shared = await self._taken(name, holder, what, until)
            beating = asyncio.ensure_future(self._beat(name, holder)) if shared else None
            try:
                yield
            finally:
                lost = beating is not None and beating.done()
                if beating is not None:
                    beating.cancel()
                    await asyncio.shield(self._given_back(name, holder))
            if lost:
                raise Conflict(f"{what} may have been changed by another request at the same time.")
        finally:
            lock.release()

    async def _taken(self, name: str, holder: str, what: str, until: float) -> bool:
        """Wait for the lease; whether there is one. Raises Conflict."""
        now = asyncio.get_running_loop().time
        seen: Held | None = None
        since = now()
        try:
            while True:
                stale = seen if seen is not None and now() - since >= self._stale else None
                held = await self._leases.take(name, holder, stale=stale)
                if held is None:
                    return True
                if held != seen:
                    seen, since = held, now()
                if now() >= until:
                    raise _busy(what)
                await asyncio.sleep(LOOK_SECONDS)
        except StoreError as error:
            log.warning("turn_not_shared", name=name, reason=str(error)[:256])
            return False

    async def _beat(self, name: str, holder: str) -> None:
        """Show life until cancelled; ends by itself when the lease is another's."""
        while True:
            await asyncio.sleep(self._stale / BEATS)
            try:
                if not await self._leases.beat(name, holder):
                    log.warning("turn_lost", name=name)
                    return
            except StoreError as error:
                log.warning("turn_not_shown", name=name, reason=str(error)[:256])

    async def _given_back(self, name: str, holder: str) -> None:
        try:
            await self._leases.give_back(name, holder)
        except StoreError as error:
            log.warning("turn_not_given_back", name=name, reason=str(error)[:256])


def _busy(what: str) -> Conflict:
    return Conflict(f"{what} is being changed by another request. Nothing was written: try again.")
