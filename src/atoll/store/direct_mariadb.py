"""MariaDB by asyncmy: single statements."""

import functools
from collections.abc import Mapping
from typing import Any, Final

import asyncmy
from asyncmy import errors

from atoll.store.database import Clash, StoreError
from atoll.store.direct import NAMED
from atoll.store.drivers import NOW, Transient, kind_of_number

GONE: Final = frozenset({2006, 2013, 2014, 2045, 2055, 4031})
"""Of the client: the connection has ended, or cannot be used."""


@functools.lru_cache(maxsize=512)
def formatted(sql: str) -> str:
    """A statement with `%(name)s` in the place of each name."""
    return NAMED.sub(r"%(\1)s", sql.replace("%", "%%"))


class Mariadb:
    """`Way` of `direct`. `options`: SQLAlchemy's for the driver."""

    now = NOW["mariadb"]

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = {**options, "autocommit": True}

    async def connect(self) -> Any:
        """Open a connection."""
        return await asyncmy.connect(**self._options)

    async def change(self, connection: Any, sql: str, values: Mapping[str, Any]) -> int:
        """Run a statement; give how many rows it changed, those too that were so already."""
        cursor = connection.cursor()
        changed: int = await cursor.execute(formatted(sql), dict(values))
        return changed

    def fault(self, error: Exception) -> StoreError | None:
        """What an error means."""
        if isinstance(error, errors.IntegrityError):
            return Clash(f"the database failed: {_said(error)}")
        if isinstance(error, errors.InterfaceError | OSError | EOFError | AttributeError) or (
            isinstance(error, errors.MySQLError) and _number(error) in GONE
        ):
            return Transient(f"the database failed: {_said(error)}")  # the driver has no transport any more
        if isinstance(error, errors.MySQLError):
            return kind_of_number(_number(error))(f"the database failed: {_said(error)}")
        return None

    def usable(self, connection: Any) -> bool:
        """Whether a connection can be used on."""
        return connection is not None and bool(connection.connected)

    def drop(self, connection: Any) -> None:
        """End a connection without a word."""
        connection.close()

    async def close(self, connection: Any) -> None:
        """End a connection as is polite."""
        await connection.ensure_closed()


def _number(error: Exception) -> object:
    return next(iter(error.args), None)


def _said(error: Exception) -> str:
    """The server's words, without its number."""
    return str(error.args[1] if len(error.args) > 1 else error)
