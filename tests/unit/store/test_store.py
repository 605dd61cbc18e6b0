"""What is of SQLite files alone. What every database has to do (`tests.stores.contract`) is run here too."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool
from tests.stores.contract import *  # noqa: F403
from tests.stores.contract import OPEN, server, where

from atoll.store import StoreError, open_store
from atoll.store.migrate import configuration, migrate_sqlite
from atoll.store.opening import open_database
from atoll.store.schema import HEAD


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state/atoll.db"


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
    assert not {"alembic", "sqlalchemy", "asyncpg"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("nonsense", "is not a database URL"),
        ("oracle://x", "oracle is not a database Atoll knows: there are sqlite, postgresql, mariadb, mysql"),
        ("postgresql+psycopg://x", "Atoll does not use psycopg for postgresql: write postgresql://"),
        ("sqlite+aiosqlite:////tmp/atoll.db", "a SQLite URL has no driver, host or options"),
        ("sqlite:////tmp/atoll.db?mode=ro", "a SQLite URL has no driver, host or options"),
        ("sqlite:////proc/nowhere/atoll.db", "cannot make /proc/nowhere for the database"),
        ("sqlite:////dev/null", "cannot open the database"),
    ],
)
async def test_what_cannot_be_opened_says_why(bad, message):
    with pytest.raises(StoreError, match=message):
        await open_store(bad)


@pytest.mark.parametrize(
    "version", ["DELETE FROM alembic_version", "UPDATE alembic_version SET version_num = '0001'"]
)
async def test_older_tables_are_migrated(url, tmp_path, version):
    store = await open_store(url)
    await store.learn([server("a", "paris")], "create")
    await store.close()
    with sqlite3.connect(tmp_path / "state" / "atoll.db") as file:
        file.execute(version)
    file.close()
    store = await open_store(url)
    assert await where(store, "a") == "paris"
    await store.close()
    with sqlite3.connect(tmp_path / "state" / "atoll.db") as file:
        assert file.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    file.close()


async def test_a_store_in_memory():
    store = await open_store("sqlite://")
    await store.learn([server("a", "paris")], "create")
    assert await where(store, "a") == "paris"
    await store.close()


async def test_a_closed_store_is_a_store_error(url):
    store = await open_store(url)
    await store.close()
    with pytest.raises(StoreError):
        await store.locate("server", "a")
