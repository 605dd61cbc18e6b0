"""A contestant: TaskFlow, six tasks of a linear flow that do nothing.

    python -m bench.contest_taskflow CONNECTION [patched]

CONNECTION is `memory`, or what its SQLAlchemy backend takes. `patched`: its tables are built once and not at
each operation, SQLite's journal is a WAL, and connections are kept.
"""

import contextlib
import logging
import sqlite3
import sys
from types import SimpleNamespace
from typing import Any

import sqlalchemy
from taskflow import engines, task
from taskflow.patterns import linear_flow
from taskflow.persistence import backends
from taskflow.persistence.backends import impl_sqlalchemy

from bench.contest import STEPS, compete

THREADS = 16


class Nothing(task.Task):
    """A task that does nothing."""

    def execute(self) -> None:
        """Do nothing."""


def _kept(connection: str) -> sqlalchemy.Engine:
    engine = sqlalchemy.create_engine(
        connection,
        poolclass=sqlalchemy.QueuePool,
        pool_size=THREADS,
        connect_args={"check_same_thread": False, "timeout": 30},
    )

    def opened(driver: sqlite3.Connection, _: Any) -> None:
        driver.execute("PRAGMA journal_mode=WAL")
        driver.execute("PRAGMA synchronous=FULL")

    sqlalchemy.event.listen(engine, "connect", opened)
    return engine


def _backend(connection: str, *, patched: bool) -> Any:
    stock = backends.fetch({"connection": connection})
    with contextlib.closing(stock.get_connection()) as opened:
        opened.upgrade()
    if not patched:
        return stock
    made = impl_sqlalchemy.tables.fetch(sqlalchemy.MetaData())
    impl_sqlalchemy.tables = SimpleNamespace(fetch=lambda _: made)
    return impl_sqlalchemy.SQLAlchemyBackend({"connection": connection}, engine=_kept(connection))


def main() -> None:
    """Compete."""
    logging.disable(logging.CRITICAL)
    backend = _backend(sys.argv[1], patched="patched" in sys.argv[2:])

    def one() -> None:
        flow = linear_flow.Flow("six").add(*(Nothing(f"s{number}") for number in range(STEPS)))
        engine = engines.load(flow, backend=backend, engine="serial")
        engine.run()
        if engine.storage.get_flow_state() != "SUCCESS":
            raise RuntimeError(engine.storage.get_flow_state())

    compete(one)


if __name__ == "__main__":
    main()
