"""PostgreSQL and MariaDB, by SQLAlchemy's asyncio engine.

Whatever the database does, `run` is done within a bound: requests wait for it.
"""

import asyncio
import contextlib
import functools
import importlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy
import structlog
from sqlalchemy import URL, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from atoll.store.database import Access, Connection, MissingTable, StoreError, T
from atoll.store.direct import Direct
from atoll.store.drivers import NOW, Driver, Transient, driver_of, translated
from atoll.store.schema import HEAD, NAMES, VERSION

_log = structlog.get_logger(__name__)

Listen = Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
"""Has something called for each `notify` of any process, until cancelled."""

SECONDS: Final[Mapping[Access, float]] = {
    Access.READ: 2.0,
    Access.WRITE: 4.0,
    Access.DURABLE: 4.0,
    Access.SWEEP: 300.0,
}
"""How long work may take, the wait for a connection and every try included. Searching the sites takes less
than a database that answers no sooner, and the record of a create is waited for by a client."""

OPEN_SECONDS: Final = 60.0
"""How long opening may take: another gateway may be changing the tables."""

LOCK_SECONDS: Final = 50.0
"""Less, so that the reason is told."""

CLOSE_SECONDS: Final = 2.0
"""How long to say goodbye to the database."""

PAUSE_SECONDS: Final = 1.0
"""How long a database that did not answer is left alone; then one piece of work tries it."""

POOL_SIZE: Final = 5
"""Connections that a process has for reading, and as many for writing."""

RECYCLE_SECONDS: Final = 600
"""Firewalls forget connections that were idle for longer, without a word."""

_TRIES: Final = 4  # of work that another transaction, or the end of a connection, was in the way of
_TRY_PAUSE: Final = 0.02
_LOCK_KEY: Final = 0x41746F6C6C  # any number, the same in every process
NOTIFY: Final = "SELECT pg_notify('atoll', '')"
_NOTHING: Final[Mapping[str, Any]] = {}
_statement = functools.lru_cache(maxsize=512)(text)  # reading one anew takes as long as running it


class _Connection:
    """`Connection` over SQLAlchemy's."""

    def __init__(self, connection: sqlalchemy.Connection) -> None:
        self._connection = connection

    @property
    def now(self) -> str:
        """The database's time."""
        return NOW[self._connection.dialect.name]

    def rows(self, sql: str, values: Mapping[str, Any] = _NOTHING, /) -> Sequence[Sequence[Any]]:
        """Give all rows."""
        return [tuple(row) for row in self._connection.execute(_statement(sql), values)]

    def change(self, sql: str, values: Mapping[str, Any] = _NOTHING, /) -> int:
        """Run one statement; give how many rows it changed."""
        return self._connection.execute(_statement(sql), values).rowcount

    def change_each(self, sql: str, values: Iterable[Mapping[str, Any]], /) -> None:
        """Run one statement for each of some values."""
        if given := list(values):  # together: one exchange, where the driver can
            self._connection.execute(_statement(sql), given)


class _Patience:
    """Whether to ask a database that did not answer lately."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._until = 0.0

    def check(self) -> None:
        """Raise `StoreError` while it is left alone; the one that passes tries it for all."""
        now = asyncio.get_running_loop().time()
        if self._reason is None:
            return
        if now < self._until:
            raise StoreError(self._reason)
        self._until = now + max(SECONDS[Access.WRITE], PAUSE_SECONDS)

    def lost(self, reason: str) -> None:
        """Take in that it does not answer."""
        self._reason = reason
        self._until = asyncio.get_running_loop().time() + PAUSE_SECONDS

    def answered(self) -> None:
        """Take in that it does."""
        self._reason = None


class Engine:
    """An open database with current tables."""

    def __init__(
        self, readers: AsyncEngine, writers: AsyncEngine, single: Direct, listen: Listen | None
    ) -> None:
        self._readers, self._writers, self._single, self._listen = readers, writers, single, listen
        self._patience = _Patience()
        self._left: set[asyncio.Task[Any]] = set()
        self._making: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    async def run(self, access: Access, work: Callable[[Connection], T]) -> T:
        """Do some work in a transaction; raises `StoreError`."""
        engine = self._readers if access is Access.READ else self._writers
        self._patience.check()
        return await self._within(SECONDS[access], self._tried(lambda: _transaction(engine, work)))

    async def change(self, sql: str, values: Mapping[str, Any], *, lasting: bool = True) -> int:
        """Run one statement, which is its own transaction and lasts; raises `StoreError`."""
        del lasting
        self._patience.check()
        seconds = SECONDS[Access.DURABLE]
        try:
            async with asyncio.timeout(seconds):  # what is broken off waits for nothing: no task is left
                changed = await self._tried(lambda: self._single.change(sql, values))
        except TimeoutError:
            raise self._silent(seconds) from None
        self._patience.answered()
        return changed

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work, again where another transaction or the end of a connection was in the way."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await work()
            except Transient:
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(_TRY_PAUSE * attempt)
            except MissingTable:
                self._make_again()
                raise
        raise AssertionError("unreachable")

    def _make_again(self) -> None:
        """Have the tables made, if that is not under way: no request waits for it."""
        if self._making is None or self._making.done():
            self._making = asyncio.get_running_loop().create_task(self._made_again())

    async def _made_again(self) -> None:
        try:
            await asyncio.to_thread(importlib.import_module, "atoll.store.migrate")  # takes half a second
            await self.open()
        except StoreError as exc:
            _log.warning("tables_not_made", error=str(exc))
        else:
            _log.warning("tables_made_again")

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Do some work within a time; what takes longer is left to end by itself.

        Taking back a query, and closing its connection, wait for the database too.
        """
        task = asyncio.get_running_loop().create_task(work)
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            self._leave(task)
            raise
        if task.done():
            self._patience.answered()
            return task.result()
        self._leave(task)
        raise self._silent(seconds)

    def _silent(self, seconds: float) -> StoreError:
        reason = f"the database did not answer within {seconds:g} s"
        self._patience.lost(reason)
        return StoreError(reason)

    def _leave(self, task: asyncio.Task[Any]) -> None:
        def ended(one: asyncio.Task[Any]) -> None:
            self._left.discard(one)
            if not one.cancelled():
                one.exception()  # it is nobody's now

        self._left.add(task)
        task.add_done_callback(ended)
        task.cancel()

    async def open(self) -> None:
        """Bring the tables up to date; raises `StoreError`, also if they are of a later release."""
        await self._within(OPEN_SECONDS, self._bring_up_to_date())

    async def _bring_up_to_date(self) -> None:
        """Make the tables that are not there, and change those of an earlier release.

        Done under a lock, so that of processes at once one does it and the others wait.
        """
        with translated("cannot open the database"):
            async with self._writers.begin() as connection:
                await _lock(connection)
                try:
                    await connection.run_sync(_bring_up_to_date)
                finally:
                    await _unlock(connection)

    def expect(self, writers: int) -> None:
        """Nothing: these databases see to it themselves."""

    async def notify(self) -> None:
        """Tell all who listen, where the database can do that; for speed, so it may fail."""
        if self._listen is not None:
            with contextlib.suppress(StoreError):
                await self.change(NOTIFY, {})

    async def listen(self, told: Callable[[], None]) -> None:
        """Have `told` called for each `notify` of any process, where the database can do that."""
        if self._listen is not None:
            self._listening = asyncio.get_running_loop().create_task(self._listen(told))

    async def close(self) -> None:
        """Close every connection."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._making is not None:
            self._making.cancel()
        with contextlib.suppress(StoreError):
            await self._within(CLOSE_SECONDS, self._single.close())
        for engine in (self._readers, self._writers):
            with contextlib.suppress(StoreError):
                await self._within(CLOSE_SECONDS, engine.dispose())


async def _transaction(engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
    with translated("the database failed"):
        async with engine.begin() as connection:
            return await connection.run_sync(lambda it: work(_Connection(it)))


async def open_engine(url: str) -> Engine:
    """Open a database by its URL; raises `StoreError`."""
    parsed, driver = driver_of(url)

    def engine(**options: Any) -> AsyncEngine:
        return create_async_engine(
            parsed,
            connect_args=dict(driver.arguments),
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_recycle=RECYCLE_SECONDS,
            **options,
        )

    try:
        # Without a transaction a look-up is one exchange with the database.
        readers = engine(isolation_level="AUTOCOMMIT", pool_reset_on_return=None)
        # What is read before a write is what others committed, also after waiting for them.
        writers = engine(isolation_level="READ COMMITTED")
    except ImportError as exc:
        raise StoreError(f"{driver.name} needs the package {exc.name}: install it") from exc
    # It logs what MariaDB remarks on a statement of Alembic's, in lines that are not ours.
    logging.getLogger("asyncmy").setLevel(logging.ERROR)
    single, listen = _direct(readers, parsed, driver)
    database = Engine(readers, writers, single, listen)
    try:
        await database.open()
    except BaseException:
        await database.close()
        raise
    return database


def _direct(engine: AsyncEngine, url: URL, driver: Driver) -> tuple[Direct, Listen | None]:
    """The driver by itself, set up as an engine sets it up, and how it listens, where it can."""
    _, options = engine.dialect.create_connect_args(url)
    options = {**options, **driver.arguments}
    if driver.name.startswith("postgresql"):
        from atoll.store.direct_postgresql import Postgresql  # noqa: PLC0415 - one of two is installed

        postgresql = Postgresql(options)
        return Direct(postgresql, POOL_SIZE, RECYCLE_SECONDS), postgresql.listen
    from atoll.store.direct_mariadb import Mariadb  # noqa: PLC0415

    return Direct(Mariadb(options), POOL_SIZE, RECYCLE_SECONDS), None


def _bring_up_to_date(connection: sqlalchemy.Connection) -> None:
    there = set(inspect(connection).get_table_names())
    if "alembic_version" not in there or connection.scalar(text(VERSION)) != HEAD:
        _upgrade(connection)
        there = set(inspect(connection).get_table_names())
    if not there.issuperset(NAMES):
        # The steps make what is not there, and leave the rest as it is.
        connection.execute(text("DELETE FROM alembic_version"))
        _upgrade(connection)


def _upgrade(connection: sqlalchemy.Connection) -> None:
    from atoll.store.migrate import upgrade  # noqa: PLC0415 - slow to import, seldom due

    upgrade(connection)


async def _lock(connection: AsyncConnection) -> None:
    if connection.dialect.name == "postgresql":  # falls with the transaction
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        return
    # Of the server, not of the database: the name has to say which.
    held = await connection.scalar(
        text("SELECT GET_LOCK(CONCAT('atoll.', MD5(DATABASE())), :seconds)"), {"seconds": LOCK_SECONDS}
    )
    if not held:
        raise StoreError("another process has been changing the tables for too long")


async def _unlock(connection: AsyncConnection) -> None:
    if connection.dialect.name != "postgresql":
        await connection.execute(text("SELECT RELEASE_LOCK(CONCAT('atoll.', MD5(DATABASE())))"))
