"""The database: opening it, its migrations, and transactions whose errors are `StoreError`.

SQLite by default; nothing outside this module knows which database it is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}

BUSY_SECONDS: Final = 10
"""How long SQLite waits for another process's write; those take milliseconds."""

_LOCK_SECONDS: Final = 60
_LOCK_KEY: Final = 0x41746F6C6C  # any number, the same in every process
_LOCKED_TRIES: Final = 100
_LOCKED_PAUSE: Final = 0.05


class StoreError(Exception):
    """The database cannot be opened, or did not do what it was asked to."""


class Database:
    """An open database with current tables. `read` and `write` give one transaction each."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._immediate = engine.execution_options(atoll_immediate=True)
        # SQLite lets one write at a time; waiting here is quicker and fairer than its polling.
        self._turn = asyncio.Lock() if _is_sqlite(engine) else None

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection to read over; raises `StoreError`."""
        with translated():
            async with self._engine.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give a transaction, committed at the end; raises `StoreError`."""
        with translated():
            async with self._turn or contextlib.nullcontext(), self._immediate.begin() as connection:
                yield connection

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


@contextlib.contextmanager
def translated() -> Any:
    """Turn what the driver raises into `StoreError`."""
    try:
        yield
    except (SQLAlchemyError, OSError) as exc:
        raise StoreError(f"the database failed: {_brief(exc)}") from exc


async def open_database(url: str) -> Database:
    """Open the database and bring its tables up to date; any number of processes may do so at once.

    Raises `StoreError` if it cannot be reached, its driver is not installed or its tables are of a later
    release.
    """
    parsed = _parse(url)
    _make_directory(parsed)
    try:
        engine = create_async_engine(parsed, pool_pre_ping=not _names_sqlite(parsed))
    except ImportError as exc:
        raise StoreError(f"{parsed.drivername} needs the package {exc.name}: install it") from exc
    if _is_sqlite(engine):
        _tune_sqlite(engine)
    try:
        await _migrate(engine)
    except BaseException:
        await engine.dispose()
        raise
    return Database(engine)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise StoreError("the store's url is not a database URL: write sqlite:///PATH") from exc
    name = parsed.get_backend_name()
    if name not in _DRIVERS:
        raise StoreError(f"{name} is not a database Atoll knows: there are {', '.join(_DRIVERS)}")
    return parsed.set(drivername=_DRIVERS[name]) if "+" not in parsed.drivername else parsed


def _make_directory(url: URL) -> None:
    if not _names_sqlite(url) or not url.database or url.database == ":memory:":
        return
    folder = Path(url.database).parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise StoreError(f"cannot make {folder} for the database: {exc.strerror}") from exc


def _tune_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, see below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode=WAL")
        # With WAL this may lose the last commits in a power cut, never the database; the sites know them
        # anyway.
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes then could not wait for another writer.
        immediate = connection.get_execution_options().get("atoll_immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


async def _migrate(engine: AsyncEngine) -> None:
    """Migrate under a lock, so that of processes starting at once one does it and the others wait."""
    for attempt in range(_LOCKED_TRIES):
        try:
            async with engine.execution_options(atoll_immediate=True).begin() as connection:
                await _lock(connection)
                await connection.run_sync(_upgrade)
                await _unlock(connection)
        except CommandError as exc:
            raise StoreError(f"the database is of another release of Atoll: {exc}") from exc
        except OperationalError as exc:
            # Switching to WAL does not wait for other connections, whatever the busy timeout says.
            if "locked" not in str(exc) or attempt == _LOCKED_TRIES - 1:
                raise StoreError(f"cannot open the database: {_brief(exc)}") from exc
            await asyncio.sleep(_LOCKED_PAUSE)
        except (SQLAlchemyError, OSError) as exc:
            raise StoreError(f"cannot open the database: {_brief(exc)}") from exc
        else:
            return


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "atoll.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _lock(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    elif connection.dialect.name == "mysql":
        held = await connection.scalar(text("SELECT GET_LOCK('atoll_migrate', :s)"), {"s": _LOCK_SECONDS})
        if not held:
            raise StoreError("another process has been migrating the database for a minute")


async def _unlock(connection: AsyncConnection) -> None:
    if connection.dialect.name == "mysql":
        await connection.execute(text("SELECT RELEASE_LOCK('atoll_migrate')"))


def _is_sqlite(engine: AsyncEngine) -> bool:
    return engine.dialect.name == "sqlite"


def _names_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _brief(exc: BaseException) -> str:
    """Give the driver's own words, without the statement and its parameters."""
    cause = getattr(exc, "orig", None) or exc
    return str(cause).partition("\n")[0] or type(cause).__name__
