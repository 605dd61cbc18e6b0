"""SQLite: one thread that reads and one that writes, each with a connection of its own."""

import asyncio
import contextlib
import functools
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

import structlog

from atoll.store.database import (
    BUSY_SECONDS,
    Access,
    Clash,
    Connection,
    MissingTable,
    StoreError,
    T,
    make_directory,
    stated,
)
from atoll.store.schema import HEAD, NAMES, TABLES, VERSION

_log = structlog.get_logger(__name__)

_LOCKED_TRIES: Final = 100
_LOCKED_PAUSE: Final = 0.05
_NOTHING: Final[Mapping[str, Any]] = {}

_NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"

CHECKPOINT_PAGES: Final = 8000
"""Of 4 KB: the log is written back when it is so long, and whoever commits then waits for it."""

TOGETHER: Final = 256
"""Writes that share one transaction at the most: each adds to how long the first one waits."""

PACE_SECONDS: Final = 0.025
"""What has to be on the disk waits so long after the last transaction was begun, where others may write
meanwhile: a commit costs as much CPU as the writes of four runs. Nothing against a call to a site."""

ENOUGH: Final = 8
"""So many share a commit before that, where all who may write wait."""

COMPANY_SECONDS: Final = 0.25
"""One alone is taken for such so long after there were others."""


class _Connection:
    """`Connection` over the driver's."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.driver = driver
        self._durable = False

    @property
    def now(self) -> str:
        """The database's time."""
        return _NOW

    def begin(self, access: Access) -> None:
        """Begin a transaction."""
        if access is Access.READ:
            self.driver.execute("BEGIN")
            return
        durable = access is Access.DURABLE
        if durable is not self._durable:
            # With WAL, NORMAL may lose the last commits in a power cut, never the database: the sites know
            # where their resources are anyway. They do not know what a run was about to do.
            self.driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        # One that reads first and writes then could not wait for another writer: begun as IMMEDIATE it can.
        self.driver.execute("BEGIN IMMEDIATE")

    def rows(self, sql: str, values: Mapping[str, Any] = _NOTHING, /) -> list[tuple[Any, ...]]:
        """Give all rows."""
        return self.driver.execute(sql, values).fetchall()

    def change(self, sql: str, values: Mapping[str, Any] = _NOTHING, /) -> int:
        """Run one statement; give how many rows it changed."""
        return self.driver.execute(sql, values).rowcount

    def change_each(self, sql: str, values: Iterable[Mapping[str, Any]], /) -> None:
        """Run one statement for each of some values."""
        self.driver.executemany(sql, values)


@dataclass(slots=True, eq=False)
class _Waiting:
    """Some work that has to be done, and what is to be told of it."""

    access: Access
    work: Callable[[Connection], Any]
    told: asyncio.Future[Any]
    given: Any = None
    failed: BaseException | None = None

    def tell(self) -> None:
        if self.told.done():  # nobody waits for it any more
            return
        if self.failed is not None:
            self.told.set_exception(self.failed)
        else:
            self.told.set_result(self.given)


class _Thread:
    """A thread that does one thing after the other. A pool's future for each would be a third of a hop."""

    def __init__(self, name: str) -> None:
        self._todo: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.put = self._todo.put
        Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (work := self._todo.get()) is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody to be told
                work()

    def end(self) -> None:
        """End, once what it was given before is done."""
        self._todo.put(None)


class _Lane:
    """A thread with its connection, which is used nowhere else."""

    def __init__(self, name: str) -> None:
        self._thread = _Thread(f"atoll-store-{name}")
        self._connection: _Connection | None = None

    async def open(self, path: str) -> None:
        """Connect. Raises the driver's errors."""
        self._connection = _Connection(await self._do(lambda: _connect(path)))

    async def run(self, access: Access, work: Callable[[Connection], T]) -> T:
        """Do some work in a transaction. Raises the driver's errors."""
        connection = self._connection
        if connection is None:
            raise StoreError("the database is closed")
        return await self._do(lambda: _transaction(connection, access, work))

    async def close(self) -> None:
        """Close the connection and end the thread, once what it does is done."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._do(connection.driver.close)
        self._thread.end()

    async def _do(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        one = _Waiting(Access.READ, lambda _: work(), loop.create_future())

        def do() -> None:
            try:
                one.given = work()
            except BaseException as error:  # noqa: BLE001 - told to who waits
                one.failed = error
            loop.call_soon_threadsafe(one.tell)

        self._thread.put(do)
        given: T = await one.told
        return given


class _Writer(_Lane):
    """Writes that wait are done in one transaction: it is the commit that takes the time, and the CPU."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._waiting: deque[_Waiting] = deque()
        self._busy = False
        self._expected = 0
        self._company = float("-inf")
        self._begun = float("-inf")
        self._later: asyncio.TimerHandle | None = None

    def expect(self, writers: int) -> None:
        """Take in how many there are that may write soon."""
        self._expected = writers
        if writers > 1:
            self._company = asyncio.get_running_loop().time()
        self._look()

    async def run(self, access: Access, work: Callable[[Connection], T]) -> T:
        """Do some work in a transaction, its own or one that it shares. Raises the driver's errors."""
        if self._connection is None:
            raise StoreError("the database is closed")
        if access is Access.READ or access is Access.SWEEP:
            return await super().run(access, work)
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(access, work, told))
        self._look()
        return await told

    def _look(self) -> None:
        """Have what waits written: now, or shortly with what others are about to write."""
        if self._busy or not self._waiting:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        early = self._begun + PACE_SECONDS - now
        if early <= 0 or self._all_wait(now) or self._waiting[-1].access is Access.WRITE:
            self._busy = True
            loop.call_soon(self._next)  # with what is asked for in this turn of the loop
        elif self._later is None:
            self._later = loop.call_later(early, self._look_again)

    def _all_wait(self, now: float) -> bool:
        """Whether nobody else is likely to write soon, or enough share the commit already."""
        alone = self._expected <= 1 and now - self._company > COMPANY_SECONDS
        return alone or len(self._waiting) >= max(self._expected, ENOUGH)

    def _look_again(self) -> None:
        self._later = None
        self._look()

    def _next(self) -> None:
        connection, loop = self._connection, asyncio.get_running_loop()
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if connection is None:
            self._busy = False
            self._refuse()
            return
        some = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER))]
        self._begun = loop.time()
        self._thread.put(lambda: self._do_these(loop, connection, some))

    async def close(self) -> None:
        """Close the connection, and tell those who wait that their writes are not done."""
        await super().close()
        self._refuse()

    def _refuse(self) -> None:
        for one in self._waiting:
            one.failed = StoreError("the database is closed")
            one.tell()
        self._waiting.clear()

    def _do_these(
        self, loop: asyncio.AbstractEventLoop, connection: _Connection, some: list[_Waiting]
    ) -> None:
        _together(connection, some)
        loop.call_soon_threadsafe(self._tell, some)

    def _tell(self, some: list[_Waiting]) -> None:
        self._busy = False
        for one in some:
            one.tell()
        self._look()


class Sqlite:
    """An open SQLite file with current tables. SQLite lets one write at a time, which the thread sees to."""

    def __init__(self, path: str, reader: _Lane, writer: _Writer) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer

    async def run(self, access: Access, work: Callable[[Connection], T]) -> T:
        """Do some work in a transaction; raises `StoreError`."""
        lane = self._reader if access is Access.READ else self._writer
        try:
            return await lane.run(access, work)
        except (sqlite3.Error, OSError) as exc:
            error = _told("the database failed", exc)
            if not isinstance(error, MissingTable):
                raise error from exc
        _log.warning("tables_made_again", error=str(error))
        with _translated("the database failed"):
            await self.bring_up_to_date()
            return await lane.run(access, work)

    async def bring_up_to_date(self) -> None:
        """Make the tables that are not there, and change those of an earlier release.

        Raises `StoreError` if they are of a later one, and the driver's errors.
        """
        writer = self._writer
        version = await writer.run(Access.READ, _version)
        if version not in {None, HEAD}:
            from atoll.store.migrate import migrate_sqlite  # noqa: PLC0415 - slow to import, seldom due

            await asyncio.to_thread(functools.partial(migrate_sqlite, self._path))
        if not await writer.run(Access.READ, _complete):
            await writer.run(Access.WRITE, _make_tables)

    async def change(self, sql: str, values: Mapping[str, Any], *, lasting: bool = True) -> int:
        """Run one statement; raises `StoreError`."""
        access = Access.DURABLE if lasting else Access.WRITE
        return await self.run(access, lambda it: it.change(stated(sql, _NOW), values))

    def expect(self, writers: int) -> None:
        """Have what these write at about the same time share a commit."""
        self._writer.expect(writers)

    async def notify(self) -> None:
        """Nothing: SQLite tells nobody."""

    async def listen(self, told: Callable[[], None]) -> None:
        """Nothing: SQLite tells nobody."""

    async def close(self) -> None:
        """Close both connections."""
        with _translated("the database failed"):
            for lane in dict.fromkeys((self._writer, self._reader)):
                await lane.close()


async def open_sqlite(path: str) -> Sqlite:
    """Open a file (`:memory:` for none), made with its tables if it is not there; raises `StoreError`."""
    make_directory(path)
    writer = _Writer("write")
    # What is in memory belongs to its connection, so there is only one.
    reader: _Lane = writer if path == ":memory:" else _Lane("read")
    database = Sqlite(path, reader, writer)
    try:
        with _translated("cannot open the database"):
            await writer.open(path)
            await database.bring_up_to_date()
            if reader is not writer:
                await reader.open(path)
    except BaseException:
        await database.close()
        raise
    return database


def _version(connection: Connection) -> str | None:
    """Give the step of the migrations that the tables are at; None where there are none."""
    if not connection.rows("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"):
        return None
    rows = connection.rows(VERSION)
    return str(rows[0][0]) if rows else ""


def _complete(connection: Connection) -> bool:
    there = {row[0] for row in connection.rows("SELECT name FROM sqlite_master")}
    return there.issuperset((*NAMES, "alembic_version"))


def _make_tables(connection: Connection) -> None:
    """Make those tables that are not there; another process may do so at the same time."""
    for statement in TABLES:
        connection.change(statement)


def _connect(path: str) -> sqlite3.Connection:
    for _ in range(_LOCKED_TRIES):
        try:
            return _connect_once(path)
        except sqlite3.OperationalError as exc:
            # Switching to WAL does not wait for other connections, whatever the busy timeout says.
            if "locked" not in str(exc):
                raise
            time.sleep(_LOCKED_PAUSE)
    return _connect_once(path)


def _connect_once(path: str) -> sqlite3.Connection:
    # No isolation level: transactions begin where `_transaction` says.
    driver = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        driver.execute("PRAGMA journal_mode=WAL")
        driver.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        driver.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        driver.close()
        raise
    return driver


def _transaction(connection: _Connection, access: Access, work: Callable[[Connection], T]) -> T:
    driver = connection.driver
    connection.begin(access)
    try:
        given = work(connection)
        driver.execute("COMMIT")
    except BaseException:
        if driver.in_transaction:
            driver.execute("ROLLBACK")
        raise
    return given


def _together(connection: _Connection, some: Sequence[_Waiting]) -> None:
    """Do some writes in one transaction; one that fails takes nothing from the others."""
    access = Access.WRITE if all(one.access is Access.WRITE for one in some) else Access.DURABLE
    try:
        if len(some) == 1:
            some[0].given = _transaction(connection, access, some[0].work)
        else:
            _shared(connection, access, some)
    except BaseException as error:  # noqa: BLE001 - told to those who wait
        for one in some:
            one.failed = one.failed or error


def _shared(connection: _Connection, access: Access, some: Sequence[_Waiting]) -> None:
    """Do some writes in a transaction; where one fails, do all again, each so that it can be taken back."""

    def all_of_them(connection: Connection) -> None:
        for one in some:
            one.given = one.work(connection)

    try:
        _transaction(connection, access, all_of_them)
    except Exception:  # noqa: BLE001 - which one it is of is found by doing them once more
        _transaction(connection, access, lambda _: _one_by_one(connection, some))


def _one_by_one(connection: _Connection, some: Sequence[_Waiting]) -> None:
    driver = connection.driver
    for one in some:
        driver.execute("SAVEPOINT one")
        try:
            one.given = one.work(connection)
        except BaseException as error:
            if not driver.in_transaction:  # SQLite has taken all of it back
                raise
            one.failed = error
            driver.execute("ROLLBACK TO one")
        driver.execute("RELEASE one")


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        raise _told(what, exc) from exc


def _told(what: str, exc: Exception) -> StoreError:
    """What an error of the driver's is to the rest."""
    if isinstance(exc, sqlite3.IntegrityError):
        return Clash(f"{what}: {exc}")
    kind = MissingTable if "no such table" in str(exc) else StoreError
    return kind(f"{what}: {exc}")
