"""Bringing tables up to date with Alembic. Slow to import: only where a step is due."""

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from atoll.store.database import BUSY_SECONDS, StoreError


def configuration() -> Config:
    """Where Alembic finds the steps."""
    config = Config()
    config.set_main_option("script_location", "atoll.store:migrations")
    return config


def upgrade(connection: Connection) -> None:
    """Do the steps that are due, in the transaction of the connection.

    Raises `StoreError` if the tables are of a later release; the database's errors pass.
    """
    config = configuration()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as exc:
        raise StoreError(f"the database is of another release of Atoll: {exc}") from exc


def migrate_sqlite(path: str) -> None:
    """Bring a SQLite file up to date; of processes at once one does it and the others wait. `StoreError`."""
    url = URL.create("sqlite", database=path)
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # The driver by itself begins at the first write, which is after the look at the version.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            upgrade(connection)
    except SQLAlchemyError as exc:
        raise StoreError(f"cannot migrate the database: {exc}") from exc
