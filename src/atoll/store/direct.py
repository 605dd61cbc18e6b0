"""PostgreSQL by its driver alone, for a single statement: one exchange, and a third of SQLAlchemy's CPU time.

A journal writes seven times for a run of six steps. Statements are those of the rest of the store.
"""

import asyncio
import contextlib
import functools
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from atoll.store.database import StoreError, stated
from atoll.store.drivers import Driver, Transient, kind_of_state

NOW: Final = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"
"""The database's time."""

CHANNEL: Final = "atoll"

LISTEN_SECONDS: Final = 2.0
"""How long a database is left alone that ended the connection notifications come by."""

_NAMED: Final = re.compile(r"(?<![:\w]):(\w+)")
_OF_SQLALCHEMY: Final = (
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "async_fallback",
    "async_creator_fn",
)


@functools.lru_cache(maxsize=512)
def numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """A statement with `$1` in the place of the first name, and the names in their order."""
    names: dict[str, int] = {}
    text = _NAMED.sub(lambda match: f"${names.setdefault(match[1], len(names) + 1)}", sql)
    return text, tuple(names)


class Direct:
    """A few connections of their own. Raises what `Database.run` raises, and `Transient`."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], size: int) -> None:
        self._connect = connect
        self._idle: list[Any] = []
        self._free = asyncio.Semaphore(size)

    async def change(self, sql: str, values: Mapping[str, Any]) -> int:
        """Run one statement, which is its own transaction; give how many rows it changed."""
        statement, names = numbered(stated(sql, NOW))
        async with self._free:
            connection = None
            try:
                connection = self._idle.pop() if self._idle else await self._connect()
                status: str = await connection.execute(statement, *[values[name] for name in names])
            except asyncpg.PostgresError as error:
                self._keep(connection)
                raise kind_of_state(error.sqlstate)(f"the database failed: {error}") from error
            except (asyncpg.InterfaceError, OSError) as error:
                _drop(connection)
                raise Transient(f"the database failed: {error}") from error
            except BaseException:
                _drop(connection)
                raise
            self._keep(connection)
            return int(status.rpartition(" ")[2])

    async def listen(self, told: Callable[[], None]) -> None:
        """Have `told` called for each notification, until cancelled; a connection that ends is made anew."""
        while True:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._listen(told)
            await asyncio.sleep(LISTEN_SECONDS)

    async def _listen(self, told: Callable[[], None]) -> None:
        connection, gone = await self._connect(), asyncio.Event()
        connection.add_termination_listener(lambda *_: gone.set())
        try:
            await connection.add_listener(CHANNEL, lambda *_: told())
            told()  # for what was told meanwhile
            await gone.wait()
        finally:
            connection.terminate()

    def _keep(self, connection: Any) -> None:
        if connection is not None and not connection.is_closed():
            self._idle.append(connection)

    async def close(self) -> None:
        """Close every connection."""
        idle, self._idle = self._idle, []
        for connection in idle:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StoreError):
                await connection.close(timeout=1.0)


def _drop(connection: Any) -> None:
    if connection is not None:
        connection.terminate()


def direct(engine: AsyncEngine, url: URL, driver: Driver, size: int) -> Direct:
    """Connections to the database of an engine, set up like its own."""
    _, options = engine.dialect.create_connect_args(url)
    named = {**options, **driver.arguments}
    for name in _OF_SQLALCHEMY:
        named.pop(name, None)
    return Direct(lambda: asyncpg.connect(**named), size)
