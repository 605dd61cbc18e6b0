"""A statement by its driver alone: one exchange with the database, and a third of SQLAlchemy's CPU time.

A journal writes seven times for a run of six steps. Statements are those of the rest of the store.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from atoll.store.database import StoreError, stated
from atoll.store.drivers import Transient

NAMED: Final = re.compile(r"(?<![:\w]):(\w+)")
"""A parameter in a statement, as the rest of the store writes it."""


class Way(Protocol):
    """A driver. What it raises passes through."""

    now: str
    """The database's time, in its SQL."""

    async def connect(self) -> Any:
        """Open a connection that commits each statement by itself."""

    async def change(self, connection: Any, sql: str, values: Mapping[str, Any]) -> int:
        """Run a statement; give how many rows it changed."""

    def fault(self, error: Exception) -> StoreError | None:
        """What an error means; None where it is not the driver's."""

    def usable(self, connection: Any) -> bool:
        """Whether a connection can be used on after an error of the database's."""

    def drop(self, connection: Any) -> None:
        """End a connection without a word."""

    async def close(self, connection: Any) -> None:
        """End a connection as is polite."""


class Direct:
    """A few connections of their own. Raises what `Database.change` raises, and `Transient`.

    `recycle`: seconds after which an idle connection is not used again.
    """

    def __init__(self, way: Way, size: int, recycle: float) -> None:
        self._way = way
        self._recycle = recycle
        self._idle: list[tuple[Any, float]] = []
        self._free = asyncio.Semaphore(size)

    async def change(self, sql: str, values: Mapping[str, Any]) -> int:
        """Run one statement, which is its own transaction; give how many rows it changed."""
        way, statement = self._way, stated(sql, self._way.now)
        async with self._free:
            connection = self._taken()
            try:
                if connection is None:
                    connection = await way.connect()
                changed = await way.change(connection, statement, values)
            except Exception as error:
                fault = way.fault(error)
                known = fault is not None and not isinstance(fault, Transient)
                self._return(connection, usable=known and way.usable(connection))
                if fault is None:
                    raise
                raise fault from error
            except BaseException:
                self._return(connection, usable=False)
                raise
            self._return(connection, usable=True)
            return changed

    def _taken(self) -> Any:
        """An idle connection, the one that was used last; None where there is none."""
        oldest = asyncio.get_running_loop().time() - self._recycle
        while self._idle:
            connection, since = self._idle.pop()
            if since >= oldest:
                return connection
            self._way.drop(connection)
        return None

    def _return(self, connection: Any, *, usable: bool) -> None:
        if connection is None:
            return
        if usable:
            self._idle.append((connection, asyncio.get_running_loop().time()))
        else:
            self._way.drop(connection)

    async def close(self) -> None:
        """Close every connection."""
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            try:
                await self._way.close(connection)
            except Exception as error:
                if self._way.fault(error) is None:
                    raise
