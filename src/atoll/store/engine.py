"""Any database but SQLite, by SQLAlchemy's asyncio engine."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy
from sqlalchemy import event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from atoll.store.database import BUSY_SECONDS, Access, Clash, Connection, StoreError, T, make_directory
from atoll.store.schema import HEAD, VERSION

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}

_LOCK_SECONDS: Final = 60
_LOCK_KEY: Final = 0x41746F6C6C  # any number, the same in every process
_LOCKED_TRIES: Final = 100
_LOCKED_PAUSE: Final = 0.05
_NOTHING: Final[Mapping[str, Any]] = {}


class _Connection:
    """`Connection` over SQLAlchemy's."""

    def __init__(self, connection: sqlalchemy.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, values: Mapping[str, Any] = _NOTHING, /) -> Sequence[Sequence[Any]]:
        """Give all rows."""
        return [tuple(row) for row in self._connection.execute(text(sql), values)]

    def change(self, sql: str, values: Mapping[str, Any] = _NOTHING, /) -> int:
        """Run one statement; give how many rows it changed."""
        return self._connection.execute(text(sql), values).rowcount

    def change_each(self, sql: str, values: Iterable[Mapping[str, Any]], /) -> None:
        """Run one statement for each of some values."""
        # One by one: given together, a value that is None in the first would be of no type in all.
        for one in values:
            self._connection.execute(text(sql), one)


class Engine:
    """An open database with current tables."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._immediate = engine.execution_options(atoll_immediate=True)
        # SQLite lets one write at a time; waiting here is quicker and fairer than its polling.
        self._turn = asyncio.Lock() if _is_sqlite(engine) else contextlib.nullcontext()

    async def run(self, access: Access, work: Callable[[Connection], T]) -> T:
        """Do some work in a transaction; raises `StoreError`."""
        with _translated("the database failed"):
            if access is Access.READ:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(lambda it: work(_Connection(it)))
            async with self._turn, self._immediate.begin() as connection:
                return await connection.run_sync(lambda it: work(_Connection(it)))

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def open_engine(url: str) -> Engine:
    """Open a database by its URL; raises `StoreError`."""
    parsed = _parse(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        make_directory(parsed.database or ":memory:")
    try:
        engine = create_async_engine(parsed, pool_pre_ping=not sqlite)
    except ImportError as exc:
        raise StoreError(f"{parsed.drivername} needs the package {exc.name}: install it") from exc
    if sqlite:
        _tune_sqlite(engine)
    try:
        await _prepare(engine)
    except BaseException:
        await engine.dispose()
        raise
    return Engine(engine)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise StoreError("the store's url is not a database URL: write sqlite:///PATH") from exc
    name = parsed.get_backend_name()
    if name not in _DRIVERS:
        raise StoreError(f"{name} is not a database Atoll knows: there are {', '.join(_DRIVERS)}")
    return parsed.set(drivername=_DRIVERS[name]) if "+" not in parsed.drivername else parsed


def _tune_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, see below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        # A transaction that reads first and writes then could not wait for another writer.
        immediate = connection.get_execution_options().get("atoll_immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


async def _prepare(engine: AsyncEngine) -> None:
    """Migrate under a lock, so that of processes starting at once one does it and the others wait."""
    for attempt in range(_LOCKED_TRIES):
        try:
            async with engine.execution_options(atoll_immediate=True).begin() as connection:
                await _lock(connection)
                await connection.run_sync(_upgrade)
                await _unlock(connection)
        except OperationalError as exc:
            # Switching SQLite to WAL does not wait for other connections, whatever the busy timeout says.
            if "locked" not in str(exc) or attempt == _LOCKED_TRIES - 1:
                raise StoreError(f"cannot open the database: {_brief(exc)}") from exc
            await asyncio.sleep(_LOCKED_PAUSE)
        except (SQLAlchemyError, OSError) as exc:
            raise StoreError(f"cannot open the database: {_brief(exc)}") from exc
        else:
            return


def _upgrade(connection: sqlalchemy.Connection) -> None:
    known = inspect(connection).has_table("alembic_version")
    if known and connection.scalar(text(VERSION)) == HEAD:
        return
    from atoll.store.migrate import upgrade  # noqa: PLC0415 - slow to import, seldom due

    upgrade(connection)


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


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except IntegrityError as exc:
        raise Clash(f"{what}: {_brief(exc)}") from exc
    except (SQLAlchemyError, OSError) as exc:
        raise StoreError(f"{what}: {_brief(exc)}") from exc


def _is_sqlite(engine: AsyncEngine) -> bool:
    return engine.dialect.name == "sqlite"


def _brief(exc: BaseException) -> str:
    """Give the driver's own words, without the statement and its parameters."""
    cause = getattr(exc, "orig", None) or exc
    return str(cause).partition("\n")[0] or type(cause).__name__
