"""A world without waiting: time that goes on when nobody is busy, a store in memory that can be pulled away.

Everything runs in one thread and in one order, so that what failed fails again.
"""

import asyncio
import selectors
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from atoll.store.database import Access, Clash, Connection, StoreError, stated
from atoll.store.schema import TABLES

T = TypeVar("T")

_EPOCH: Final = 1_800_000_000.0


class _Leap(selectors.SelectSelector):
    """Takes no time: what would have been waited for is added up."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise AssertionError("everybody waits, and nothing will happen any more")
            self.elapsed += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time leaps to whatever is due next."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        """Seconds since the loop was made, all of them waited by nobody."""
        return 1000.0 + self._leap.elapsed


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end in time of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


class _Row:
    """`Connection` over SQLite's."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.driver = driver

    now = "virtual_now()"

    def rows(self, sql: str, values: Mapping[str, Any] | None = None, /) -> Sequence[Sequence[Any]]:
        return self.driver.execute(sql, values or {}).fetchall()

    def change(self, sql: str, values: Mapping[str, Any] | None = None, /) -> int:
        return self.driver.execute(sql, values or {}).rowcount

    def change_each(self, sql: str, values: Iterable[Mapping[str, Any]], /) -> None:
        self.driver.executemany(sql, values)


class VirtualStore:
    """The tables of a store, in memory; its clock is the loop's, moved by `skew` from those of workers."""

    def __init__(self) -> None:
        self._driver = sqlite3.connect(":memory:", isolation_level=None)
        self._driver.create_function("virtual_now", 0, self.now)
        for statement in TABLES:
            self._driver.execute(statement)
        self.away = False

    @staticmethod
    def now() -> float:
        """The store's time."""
        return _EPOCH + asyncio.get_running_loop().time()

    def do(self, access: Access, work: Callable[[Connection], T]) -> T:
        """Do some work in a transaction."""
        if self.away:
            raise StoreError("the store is away")
        self._driver.execute("BEGIN" if access is Access.READ else "BEGIN IMMEDIATE")
        try:
            given = work(_Row(self._driver))
        except BaseException as error:
            self._driver.execute("ROLLBACK")
            if isinstance(error, sqlite3.IntegrityError):
                raise Clash(str(error)) from error
            raise
        self._driver.execute("COMMIT")
        return given

    def rows(self, sql: str) -> Sequence[Sequence[Any]]:
        """Look at what is there."""
        return self._driver.execute(sql).fetchall()


class Mortal:
    """The store as one worker sees it: the worker dies at a commit, before it or after it.

    `dies_at` counts the commits of journals from 1. What a dead worker waits for never comes.
    """

    def __init__(
        self, store: VirtualStore, *, dies_at: int = 0, freezes_at: int = 0, after: bool = False
    ) -> None:
        self.store = store
        self.dead = False
        self.died = asyncio.Event()
        self.frozen = asyncio.Event()
        self._thawed = asyncio.Event()
        self._thawed.set()
        self.commits = 0
        self._dies_at, self._freezes_at, self._after = dies_at, freezes_at, after

    async def run(self, access: Access, work: Callable[[Connection], T]) -> T:
        """Do some work in a transaction, or die over it."""
        await asyncio.sleep(0.001)
        await self.living()
        if access is not Access.DURABLE:
            return self.store.do(access, work)
        self.commits += 1
        await self._fate(self.commits, after=False)
        given = self.store.do(access, work)
        await self._fate(self.commits, after=True)
        return given

    async def change(self, sql: str, values: Mapping[str, Any], *, lasting: bool = True) -> int:
        """Run one statement, or die over it, also where it need not last."""
        del lasting
        return await self.run(Access.DURABLE, lambda it: it.change(stated(sql, it.now), values))

    async def _fate(self, commit: int, *, after: bool) -> None:
        if after is self._after and commit == self._dies_at:
            self.die()
        if after is self._after and commit == self._freezes_at:
            self.freeze()
        await self.living()

    def die(self) -> None:
        """Be dead from now on."""
        self.dead = True
        self.died.set()

    def freeze(self) -> None:
        """Stand still until `thaw`, as a stopped process does."""
        self._thawed.clear()
        self.frozen.set()

    def thaw(self) -> None:
        """Go on."""
        self._thawed.set()

    async def living(self) -> None:
        """Return for the living; the dead wait for ever."""
        await self._thawed.wait()
        if self.dead:
            await asyncio.Event().wait()

    def expect(self, writers: int) -> None:
        """Nothing: each commits at once."""

    async def notify(self) -> None:
        """Nothing: nobody is told."""

    async def listen(self, told: Callable[[], None]) -> None:
        """Nothing: nobody is told."""

    async def close(self) -> None:
        """Nothing: the store outlives its workers."""
