"""Writes to SQLite that share a commit: what waits for company, and what does not."""

import asyncio
from collections import Counter

import pytest

from atoll.store import sqlite
from atoll.store.database import Access, Connection, StoreError
from atoll.store.sqlite import Sqlite, open_sqlite

LONG = 3600.0
SEVERAL = sqlite.ENOUGH
ADD = "INSERT INTO leases (name, holder, beat) VALUES (:name, 'a', 0)"


@pytest.fixture
async def database(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "PACE_SECONDS", LONG)
    opened = await open_sqlite(f"{tmp_path}/atoll.db")
    yield opened
    await opened.close()


async def _written(database: Sqlite, name: str, done: Counter[str], access: Access = Access.DURABLE) -> None:
    def work(connection: Connection) -> None:
        done[name] += 1
        connection.change(ADD, {"name": name})

    await database.run(access, work)


async def _names(database: Sqlite) -> set[str]:
    rows = await database.run(Access.READ, lambda it: it.rows("SELECT name FROM leases"))
    return {row[0] for row in rows}


async def test_one_alone_waits_for_nobody(database):
    done: Counter[str] = Counter()
    for writers in (0, 1):
        database.expect(writers)
        for number in range(3):
            await _written(database, f"{writers}-{number}", done)
    assert len(await _names(database)) == 6


async def test_some_at_once_wait_for_each_other_and_then_share(database):
    done: Counter[str] = Counter()
    await _written(database, "first", done)
    database.expect(SEVERAL)
    some = []
    for number in range(SEVERAL):
        assert await _names(database) == {"first"}, "it waits for those who are to come"
        some.append(asyncio.create_task(_written(database, f"{number}", done)))
        await asyncio.sleep(0)
    await asyncio.gather(*some)
    assert len(await _names(database)) == 1 + SEVERAL


async def test_the_failure_of_one_takes_nothing_from_those_it_shares_a_commit_with(database):
    done: Counter[str] = Counter()
    await _written(database, "there", done)
    database.expect(SEVERAL)
    names = [*(f"{number}" for number in range(1, SEVERAL)), "there"]
    ends = await asyncio.gather(*(_written(database, name, done) for name in names), return_exceptions=True)
    assert [isinstance(one, StoreError) for one in ends] == [*[False] * (SEVERAL - 1), True]
    assert await _names(database) == set(names)
    assert done["1"] == 2, "all were done again, each by itself"


async def test_a_write_that_a_request_waits_for_takes_the_others_along(database):
    done: Counter[str] = Counter()
    await _written(database, "first", done)
    database.expect(64)
    waits = asyncio.create_task(_written(database, "waits", done))
    await asyncio.sleep(0)
    await _written(database, "now", done, Access.WRITE)
    await waits


async def test_one_of_which_the_others_have_ended_goes_on(database, monkeypatch):
    monkeypatch.setattr(sqlite, "COMPANY_SECONDS", -1.0)
    done: Counter[str] = Counter()
    await _written(database, "first", done)
    database.expect(2)
    waits = asyncio.create_task(_written(database, "waits", done))
    await asyncio.sleep(0)
    database.expect(1)
    await waits


async def test_nobody_waits_for_longer_than_the_pace(database, monkeypatch):
    monkeypatch.setattr(sqlite, "PACE_SECONDS", 0.01)
    done: Counter[str] = Counter()
    database.expect(64)
    for number in range(3):
        await _written(database, f"{number}", done)


async def test_what_waits_when_the_database_is_closed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "PACE_SECONDS", LONG)
    opened = await open_sqlite(f"{tmp_path}/closed.db")
    done: Counter[str] = Counter()
    await _written(opened, "first", done)
    opened.expect(64)
    waits = asyncio.create_task(_written(opened, "waits", done))
    await asyncio.sleep(0)
    await opened.close()
    with pytest.raises(StoreError, match="closed"):
        await waits
    assert done["waits"] == 0
