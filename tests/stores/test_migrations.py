"""Tables on PostgreSQL and MariaDB: from nothing, the release before, an interrupted start."""

import asyncio
from collections.abc import Callable

import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect
from sqlalchemy.pool import NullPool
from tests.stores.contract import OPEN, run_at_once, server, where
from tests.stores.plain import changed, on, scalar

from atoll.store import Cursor, open_store
from atoll.store.migrate import configuration
from atoll.store.opening import open_database
from atoll.store.schema import HEAD

INSERT = """
    INSERT INTO locations (resource_type, id, site, seen_at, source)
    VALUES ('server', '{}', '{}', 1.0, 'list')"""


def at_step(step: str) -> Callable[[sqlalchemy.Connection], None]:
    """Bring tables to a step of the migrations, as a release of that time did."""

    def work(connection: sqlalchemy.Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, step)

    return work


def shape(connection: sqlalchemy.Connection) -> dict[str, set[str]]:
    """The columns, indexes and keys of all tables, in words that do not depend on the database."""
    seen = inspect(connection)
    return {
        table: {f"{column['name']} {column['nullable']}" for column in seen.get_columns(table)}
        | {f"{index['name']} {index['column_names']}" for index in seen.get_indexes(table)}
        | {f"key {seen.get_pk_constraint(table)['constrained_columns']}"}
        for table in seen.get_table_names()
    }


async def test_an_empty_database_gets_the_tables_that_sqlite_has(database_url, tmp_path):
    sqlite = f"sqlite:///{tmp_path}/atoll.db"
    for url in (sqlite, database_url):
        await (await open_store(url)).close()
    file = sqlalchemy.create_engine(sqlite, poolclass=NullPool)
    with file.begin() as connection:
        expected = shape(connection)
    assert await on(database_url, shape) == expected


async def test_the_release_before_is_brought_up_to_date(database_url):
    previous = ScriptDirectory.from_config(configuration()).get_revision(HEAD).down_revision
    assert isinstance(previous, str)
    await on(database_url, at_step(previous))
    await changed(database_url, INSERT.format("a", "paris"), INSERT.format("b", "tokyo"))
    store = await open_store(database_url)
    assert (await where(store, "a"), await where(store, "b")) == ("paris", "tokyo")
    await store.learn([server("A", "rome")], "list")
    assert await where(store, "a") == "paris"
    await store.save_cursor("p", "q", "x", Cursor(markers={f"{n:060}": "x" * 36 for n in range(1000)}))
    await store.close()
    assert await scalar(database_url, "SELECT version_num FROM alembic_version") == HEAD


async def test_several_gateways_start_on_the_release_before(database_url):
    await on(database_url, at_step("0001"))
    await asyncio.to_thread(run_at_once, OPEN, *((database_url, str(n)) for n in range(3)))
    store = await open_store(database_url)
    assert await store.count_by_site("server") == {"paris": 3}
    await store.close()


async def test_a_start_that_was_interrupted_is_finished(database_url):
    """MariaDB keeps every table at once: a gateway killed on its way leaves some of them, and no version."""
    await on(database_url, at_step(HEAD))
    await changed(
        database_url, INSERT.format("a", "paris"), "DROP TABLE conflicts", "DELETE FROM alembic_version"
    )
    store = await open_store(database_url)
    assert await where(store, "a") == "paris"
    assert await store.conflicts() == []
    await store.close()


async def test_open_tables_are_left_as_they_are(database_url):
    await (await open_database(database_url)).close()
    before = await on(database_url, shape)
    await (await open_database(database_url)).close()
    assert await on(database_url, shape) == before
