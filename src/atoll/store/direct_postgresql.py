"""PostgreSQL by asyncpg: single statements, and notifications."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import asyncpg

from atoll.store.database import StoreError
from atoll.store.direct import NAMED
from atoll.store.drivers import NOW, Transient, kind_of_state

CHANNEL: Final = "atoll"

LISTEN_SECONDS: Final = 2.0
"""How long a database is left alone that ended the connection notifications come by."""

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
    text = NAMED.sub(lambda match: f"${names.setdefault(match[1], len(names) + 1)}", sql)
    return text, tuple(names)


class Postgresql:
    """`Way` of `direct`. `options`: SQLAlchemy's for the driver."""

    now = NOW["postgresql"]

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = {key: one for key, one in options.items() if key not in _OF_SQLALCHEMY}

    async def connect(self) -> Any:
        """Open a connection."""
        return await asyncpg.connect(**self._options)

    async def change(self, connection: Any, sql: str, values: Mapping[str, Any]) -> int:
        """Run a statement; give how many rows it changed."""
        text, names = numbered(sql)
        status: str = await connection.execute(text, *[values[name] for name in names])
        return int(status.rpartition(" ")[2])

    def fault(self, error: Exception) -> StoreError | None:
        """What an error means."""
        if isinstance(error, asyncpg.PostgresError):
            return kind_of_state(error.sqlstate)(f"the database failed: {error}")
        if isinstance(error, asyncpg.InterfaceError | OSError):
            return Transient(f"the database failed: {error}")
        return None

    def usable(self, connection: Any) -> bool:
        """Whether a connection can be used on."""
        return connection is not None and not connection.is_closed()

    def drop(self, connection: Any) -> None:
        """End a connection without a word."""
        connection.terminate()

    async def close(self, connection: Any) -> None:
        """End a connection as is polite."""
        await connection.close(timeout=1.0)

    async def listen(self, told: Callable[[], None]) -> None:
        """Have `told` called for each notification, until cancelled; a connection that ends is made anew."""
        while True:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await self._listen(told)
            await asyncio.sleep(LISTEN_SECONDS)

    async def _listen(self, told: Callable[[], None]) -> None:
        connection, gone = await self.connect(), asyncio.Event()
        connection.add_termination_listener(lambda *_: gone.set())
        try:
            await connection.add_listener(CHANNEL, lambda *_: told())
            told()  # for what was told meanwhile
            await gone.wait()
        finally:
            connection.terminate()
