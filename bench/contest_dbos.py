"""A contestant: DBOS, six steps of a workflow that do nothing.

    python -m bench.contest_dbos URL [wal]

`wal`: the journal of the SQLite file is a WAL, which DBOS does not ask for.
"""

import sqlite3
import sys

from dbos import DBOS

from bench.contest import STEPS, compete


@DBOS.step()
def nothing() -> None:
    """Do nothing."""


@DBOS.workflow()
def six() -> None:
    """Six steps."""
    for _ in range(STEPS):
        nothing()


def main() -> None:
    """Compete."""
    url = sys.argv[1]
    if "wal" in sys.argv[2:]:
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            file.execute("PRAGMA journal_mode=WAL")
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "enable_otlp": False})
    DBOS.launch()
    try:
        compete(six)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main()
