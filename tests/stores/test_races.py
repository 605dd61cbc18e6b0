"""Gateways that write the same row at the same moment, on PostgreSQL and MariaDB.

SQLite lets one of them write at a time, so there this cannot happen.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.stores.contract import server, where

from atoll.store import Store, open_store
from atoll.store.database import Access, Connection, Database, T
from atoll.store.opening import open_database


async def meanwhile(url: str, what: str, site: str) -> None:
    """What another gateway does: a 404, or something learnt."""
    store = await open_store(url)
    if what == "tombstone":
        await store.tombstone("server", "a", site=site)
    else:
        await store.learn([server("a", site)], "create" if what == "create" else "list")
    await store.close()


class Interrupted:
    """A database on which another gateway does something between our first look and our first write."""

    def __init__(self, database: Database, other: Callable[[], None]) -> None:
        self._database = database
        self._other: Callable[[], None] | None = other

    async def run(self, access: Access, work: Callable[[Connection], T]) -> T:
        return await self._database.run(access, lambda it: work(_Late(it, self._once)))

    async def change(self, sql: str, values: Mapping[str, Any], *, lasting: bool = True) -> int:
        return await self._database.change(sql, values, lasting=lasting)

    def expect(self, writers: int) -> None:
        self._database.expect(writers)

    async def notify(self) -> None:
        await self._database.notify()

    async def listen(self, told: Callable[[], None]) -> None:
        await self._database.listen(told)

    async def close(self) -> None:
        await self._database.close()

    def _once(self) -> None:
        other, self._other = self._other, None
        if other is not None:
            other()


class _Late:
    def __init__(self, connection: Connection, before: Callable[[], None]) -> None:
        self._connection, self._before = connection, before
        self.now = connection.now

    def rows(self, sql: str, values: Mapping[str, Any] = {}, /) -> Sequence[Sequence[Any]]:
        return self._connection.rows(sql, values)

    def change(self, sql: str, values: Mapping[str, Any] = {}, /) -> int:
        self._before()
        return self._connection.change(sql, values)

    def change_each(self, sql: str, values: Iterable[Mapping[str, Any]], /) -> None:
        self._before()
        self._connection.change_each(sql, values)


@pytest.fixture
async def race(database_url: str):
    """A store whose first write comes after what another gateway does."""
    opened = []

    async def start(what: str, site: str, clock: Callable[[], float]) -> Store:
        def other() -> None:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, meanwhile(database_url, what, site)).result()

        store = Store(Interrupted(await open_database(database_url), other), clock=clock)
        opened.append(store)
        return store

    yield start
    for store in opened:
        await store.close()


async def plain(url: str, clock: Callable[[], float]) -> Store:
    return await open_store(url, clock=clock)


async def test_both_see_it_first(race):
    store = await race("list", "tokyo", lambda: 1.0)
    (conflict,) = await store.learn([server("a", "paris")], "search")
    assert conflict.sites == ("tokyo", "paris")
    assert await where(store, "a") == "tokyo"


async def test_a_create_at_the_same_moment_is_not_replaced_by_a_list(race, database_url):
    """The list confirms paris, of a day ago; the create says tokyo, and is right."""
    before = await plain(database_url, lambda: 1.0)
    await before.learn([server("a", "paris")], "list")
    await before.close()
    store = await race("create", "tokyo", lambda: 1e6)
    await store.learn([server("a", "paris")], "list")
    assert await where(store, "a") == "tokyo"


async def test_a_404_at_the_same_moment_is_not_undone_by_a_list(race, database_url):
    before = await plain(database_url, lambda: 1.0)
    await before.learn([server("a", "paris")], "list")
    await before.close()
    store = await race("tombstone", "paris", lambda: 1e6)
    await store.learn([server("a", "paris")], "list")
    assert (await store.locate("server", "a")).deleted


async def test_two_find_a_conflict_at_the_same_moment(race, database_url):
    before = await plain(database_url, lambda: 1.0)
    await before.learn([server("a", "paris"), server("a", "tokyo")], "list")
    await before.close()
    store = await race("list", "rome", lambda: 1.0)
    await store.learn([server("a", "oslo")], "list")
    (conflict,) = await store.conflicts()
    assert conflict.sites[0] == "paris"
    assert set(conflict.sites) == {"paris", "tokyo", "rome", "oslo"}
