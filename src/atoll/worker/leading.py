"""What one process of all that share the database does, for as long as it shows life."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from atoll.store.database import StoreError
from atoll.store.leases import Held, Leases

_log = structlog.get_logger(__name__)

STALE_SECONDS: Final = 6.0
"""How long who leads may show no life before another process does."""

BEATS: Final = 4
"""How many beats fall into that time, for one may be late."""

LOOK_SECONDS: Final = 2.0
"""How often the others look whether nobody leads."""

PARTING_SECONDS: Final = 1.0
"""How long giving it back may take at the end; what was not given back lapses."""


async def lead(leases: Leases, name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Have `work` done whenever it is this process that leads, for ever; it is cancelled when it does not.

    For a moment two may be at it, where one was frozen: it has to bear that.
    """
    holder = uuid.uuid4().hex
    while True:
        await _taken(leases, name, holder)
        _log.info("leads", name=name)
        try:
            await _led(leases, name, holder, work)
        except Exception:  # noqa: BLE001 - a bug shall be seen, and not end what is to go on for ever
            _log.exception("lead_broke", name=name)
        finally:
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(PARTING_SECONDS):
                    await leases.give_back(name, holder)
        await asyncio.sleep(LOOK_SECONDS)  # who lost it does not run after it


async def _taken(leases: Leases, name: str, holder: str) -> None:
    """Wait until nobody has the lease, or who has it shows no life."""
    now = asyncio.get_running_loop().time
    seen: Held | None = None
    since = now()
    while True:
        stale = seen if seen is not None and now() - since >= STALE_SECONDS else None
        try:
            held = await leases.take(name, holder, stale=stale)
            if held is None:
                return
            if held != seen:
                seen, since = held, now()
        except StoreError as error:
            _log.warning("lead_not_taken", name=name, reason=str(error)[:256])
            seen = None
        await asyncio.sleep(LOOK_SECONDS)


async def _led(leases: Leases, name: str, holder: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work until the lease is another's, or may be."""
    doing = asyncio.ensure_future(work())
    beating = asyncio.ensure_future(_beat(leases, name, holder))
    try:
        await asyncio.wait({doing, beating}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()  # it goes on for ever, or raises
    finally:
        for task in (doing, beating):
            task.cancel()
        await asyncio.gather(doing, beating, return_exceptions=True)


async def _beat(leases: Leases, name: str, holder: str) -> None:
    """Show life until that fails for as long as others wait for it."""
    now = asyncio.get_running_loop().time
    shown = now()
    while True:
        await asyncio.sleep(STALE_SECONDS / BEATS)
        before = now()
        try:
            if not await leases.beat(name, holder):
                _log.warning("lead_lost", name=name)
                return
            shown = before
        except StoreError as error:
            _log.warning("lead_not_shown", name=name, reason=str(error)[:256])
            if now() - shown >= STALE_SECONDS:
                return
