"""What the database keeps, against SQLite files."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from atoll.store import Conflict, Cursor, Sighting, Store, StoreError, open_store
from atoll.store.database import Access, Connection
from atoll.store.migrate import configuration, migrate_sqlite
from atoll.store.opening import open_database
from atoll.store.schema import HEAD


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "sqlite+aiosqlite"])
def url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Of a file, by the driver itself and by SQLAlchemy, as other databases are."""
    return f"{request.param}:///{tmp_path}/state/atoll.db"


@pytest.fixture
async def store(url: str, clock: Clock) -> AsyncIterator[Store]:
    opened = await open_store(url, clock=clock)
    yield opened
    await opened.close()


def server(name: str, site: str, project: str | None = "p1") -> Sighting:
    return Sighting(resource_type="server", id=name, site=site, project_id=project, created_at=5.0)


async def where(store: Store, name: str) -> str | None:
    location = await store.locate("server", name)
    return location.site if location else None


async def test_what_was_created_is_found(store):
    assert await store.learn([server("a", "paris")], "create") == []
    location = await store.locate("server", "a")
    assert (location.site, location.project_id, location.created_at) == ("paris", "p1", 5.0)
    assert (location.deleted, location.conflicting) == (False, ())
    assert await store.locate("volume", "a") is None
    assert await store.locate("server", "b") is None


async def test_many_are_found_at_once(store):
    assert await store.learn([server(str(n), "paris") for n in range(1500)], "list") == []
    found = await store.locate_many("server", [str(n) for n in range(1000, 3000)])
    assert len(found) == 500
    assert await store.locate_many("server", []) == {}


@pytest.mark.parametrize("source", ["list", "search"])
async def test_what_a_list_or_a_search_shows_never_replaces_a_record(store, source):
    await store.learn([server("a", "paris")], "create")
    conflict = Conflict(resource_type="server", id="a", sites=("paris", "tokyo"))
    assert await store.learn([server("a", "tokyo")], source) == [conflict]
    assert await where(store, "a") == "paris"
    assert await store.conflicts() == [conflict]
    location = await store.locate("server", "a")
    assert location.conflicting == ("paris", "tokyo")
    (third,) = await store.learn([server("a", "rome")], source)
    assert third.sites == ("paris", "tokyo", "rome")
    assert await store.learn([server("a", "paris")], source) == []


async def test_two_sites_in_one_batch_conflict_and_the_first_stays(store):
    (conflict,) = await store.learn([server("a", "paris"), server("a", "tokyo")], "list")
    assert conflict.sites == ("paris", "tokyo")
    assert await where(store, "a") == "paris"


async def test_a_create_is_authoritative(store):
    await store.learn([server("a", "paris")], "list")
    (conflict,) = await store.learn([server("a", "tokyo")], "create")
    assert conflict.sites == ("tokyo", "paris")
    assert await where(store, "a") == "tokyo"


async def test_a_tombstone_keeps_the_site(store, clock):
    await store.learn([server("a", "paris")], "create")
    assert not await store.tombstone("server", "a", site="tokyo")
    assert await store.tombstone("server", "a", site="paris")
    assert not await store.tombstone("server", "a")
    location = await store.locate("server", "a")
    assert (location.site, location.deleted) == ("paris", True)
    await store.learn([server("a", "paris")], "list")
    assert (await store.locate("server", "a")).deleted, "the list may have been on its way before the 404"
    clock.now += 61
    await store.learn([server("a", "paris")], "list")
    assert not (await store.locate("server", "a")).deleted


async def test_a_list_completes_what_a_search_did_not_know(store):
    await store.learn([server("a", "paris", None)], "search")
    await store.learn([server("a", "paris", "p2")], "list")
    assert (await store.locate("server", "a")).project_id == "p2"
    await store.learn([server("a", "paris", None)], "create")
    assert (await store.locate("server", "a")).project_id == "p2"


async def test_resources_are_counted_by_site(store):
    await store.learn([server("a", "paris"), server("b", "paris", "p2"), server("c", "tokyo")], "list")
    await store.learn([Sighting(resource_type="volume", id="v", site="tokyo", project_id="p1")], "list")
    await store.tombstone("server", "b")
    assert await store.count_by_site("server") == {"paris": 1, "tokyo": 1}
    assert await store.count_by_site_of_project("p1", ["server", "volume"]) == {"paris": 1, "tokyo": 2}
    assert await store.count_by_site_of_project("p1", []) == {}


async def test_what_was_deleted_counts_as_load_for_an_hour(store, clock):
    await store.learn([server("a", "paris"), server("b", "paris"), server("c", "tokyo")], "create")
    await store.tombstone("server", "b")
    assert await store.count_lately("server") == {"paris": 2, "tokyo": 1}
    clock.now += 3601
    assert await store.count_lately("server") == {"paris": 1, "tokyo": 1}


async def test_a_site_can_be_forgotten(store):
    await store.learn([server("a", "paris"), server("b", "tokyo")], "list")
    await store.learn([server("a", "tokyo")], "list")
    assert await store.forget("paris") == 1
    assert (await where(store, "a"), await where(store, "b")) == (None, "tokyo")
    assert await store.conflicts() == []


async def test_all_locations_can_be_forgotten(store):
    await store.learn([server("a", "paris"), server("a", "tokyo")], "list")
    await store.clear_locations()
    assert await where(store, "a") is None
    assert await store.conflicts() == []


async def test_a_cursor_is_kept_for_an_hour(store, clock):
    cursor = Cursor(markers={"paris": "a", "tokyo": None}, missing={"rome": "timeout"})
    await store.save_cursor("p1", "servers?limit=2", "a", Cursor(markers={}))
    await store.save_cursor("p1", "servers?limit=2", "a", cursor)
    assert await store.load_cursor("p1", "servers?limit=2", "a") == cursor
    assert await store.load_cursor("p2", "servers?limit=2", "a") is None
    assert await store.load_cursor("p1", "servers?limit=3", "a") is None
    clock.now += 3601
    assert await store.load_cursor("p1", "servers?limit=2", "a") is None


async def test_what_is_old_is_pruned(store, clock):
    await store.save_cursor("p1", "q", "a", Cursor(markers={}))
    await store.learn([server("a", "paris"), server("b", "paris")], "list")
    await store.tombstone("server", "a")
    pruned = await store.prune(clock.now)
    assert (pruned.cursors, pruned.tombstones) == (0, 0)
    pruned = await store.prune(clock.now + 8 * 86400)
    assert (pruned.cursors, pruned.tombstones) == (1, 1)
    assert await where(store, "b") == "paris"


async def test_it_outlives_the_process(url, store):
    await store.learn([server("a", "paris")], "create")
    other = await open_store(url)
    assert await where(other, "a") == "paris"
    await other.close()


async def test_writers_wait_for_each_other(url, store):
    other = await open_store(url)
    writes = (one.learn([server(f"{n}", "paris")], "create") for n in range(40) for one in (store, other))
    assert all(conflicts == [] for conflicts in await asyncio.gather(*writes))
    assert await store.count_by_site("server") == {"paris": 40}
    await other.close()


def _shape(path: str) -> dict[str, set[str]]:
    """The columns, indexes and keys of the tables of a SQLite file."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    seen = inspect(engine)
    return {
        table: {f"{c['name']} {c['type']} {c['nullable']}" for c in seen.get_columns(table)}
        | {f"{index['name']} {index['column_names']}" for index in seen.get_indexes(table)}
        | {f"key {','.join(seen.get_pk_constraint(table)['constrained_columns'])}"}
        for table in seen.get_table_names()
    }


async def test_the_migrations_make_the_tables_of_the_schema(tmp_path):
    await (await open_database(f"sqlite:///{tmp_path}/fresh.db")).close()
    migrate_sqlite(f"{tmp_path}/migrated.db")
    assert _shape(f"{tmp_path}/fresh.db") == _shape(f"{tmp_path}/migrated.db")
    # The one that Alembic made is not touched again.
    await (await open_database(f"sqlite:///{tmp_path}/migrated.db")).close()


def test_the_head_is_that_of_the_migrations():
    assert ScriptDirectory.from_config(configuration()).get_current_head() == HEAD


def test_nothing_slow_is_imported_to_open_a_sqlite_file(tmp_path):
    url = f"sqlite:///{tmp_path}/atoll.db"
    code = OPEN + "print(*sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, url, "a"], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"alembic", "sqlalchemy", "aiosqlite"} & set(done.stdout.split())


OPEN = """
import asyncio, sys
from atoll.store import Sighting, open_store
async def main(url, me):
    store = await open_store(url)
    await store.learn([Sighting(resource_type="server", id=me, site="paris")], "create")
    await store.close()
asyncio.run(main(*sys.argv[1:]))
"""


async def test_several_processes_may_start_at_once(url):
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN, url, str(n)], stderr=subprocess.PIPE)  # noqa: ASYNC220, S603
        for n in range(3)
    ]
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr.decode()
    store = await open_store(url)
    assert await store.count_by_site("server") == {"paris": 3}
    await store.close()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("nonsense", "is not a database URL"),
        ("oracle://x", "oracle is not a database Atoll knows"),
        ("sqlite:////proc/nowhere/atoll.db", "cannot make /proc/nowhere for the database"),
        ("sqlite:////dev/null", "cannot open the database"),
    ],
)
async def test_what_cannot_be_opened_says_why(bad, message):
    with pytest.raises(StoreError, match=message):
        await open_store(bad)


async def test_a_database_of_a_later_release_is_left_alone(url):
    database = await open_database(url)
    await database.run(
        Access.WRITE, lambda connection: connection.change("UPDATE alembic_version SET version_num = '9999'")
    )
    await database.close()
    with pytest.raises(StoreError, match="another release of Atoll"):
        await open_store(url)


async def test_a_failing_database_is_a_store_error(url, store):
    database = await open_database(url)
    await database.run(Access.WRITE, lambda connection: connection.change("DROP TABLE locations"))
    await database.close()
    with pytest.raises(StoreError, match="no such table: locations"):
        await store.locate("server", "a")


async def test_older_tables_are_migrated(tmp_path):
    url = f"sqlite:///{tmp_path}/atoll.db"
    database = await open_database(url)
    # As before the first step: known to Alembic, nothing in it.

    def undo(connection: Connection) -> None:
        for table in ("locations", "conflicts", "cursors"):
            connection.change(f"DROP TABLE {table}")
        connection.change("DELETE FROM alembic_version")

    await database.run(Access.WRITE, undo)
    await database.close()
    store = await open_store(url)
    assert await store.learn([server("a", "paris")], "create") == []
    await store.close()


async def test_a_store_in_memory():
    store = await open_store("sqlite://")
    await store.learn([server("a", "paris")], "create")
    assert await where(store, "a") == "paris"
    await store.close()


async def test_a_closed_store_is_a_store_error(tmp_path):
    store = await open_store(f"sqlite:///{tmp_path}/atoll.db")
    await store.close()
    with pytest.raises(StoreError):
        await store.locate("server", "a")


async def test_work_that_fails_leaves_nothing(url):
    database = await open_database(url)

    def work(connection: Connection) -> None:
        connection.change("INSERT INTO conflicts VALUES ('server', 'a', '[]', 1.0)")
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(Access.WRITE, work)
    assert await database.run(Access.READ, lambda c: len(c.rows("SELECT id FROM conflicts"))) == 0
    await database.close()
