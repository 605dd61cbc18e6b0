"""What stands sealed in plans of runs and in recovery points: put under another key, counted, left out.

A plan is written once and only read by those who work on its run, so it can be written anew under them.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are parameters

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from atoll.core.errors import Conflict
from atoll.store.database import Access, Connection, Database

AT_ONCE: Final = 200
"""Rows that are looked for in one statement."""

_TRIES: Final = 20
_LIKE: Final = '%"$sealed":[%'
_COLUMNS: Final = {"runs": ("plan", "acting"), "recovery_points": ("content",)}
_GUARDS: Final = {"runs": "AND fence = :fence", "recovery_points": ""}

Change = Callable[[Any], Any]
"""Of the content of a column, as JSON has it."""


class SealedValues:
    """Those in a database. All raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def change_runs(self, change: Change) -> int:
        """Have all changed in plans, and in what was asked for; of how many runs. Raises `Conflict`."""
        return await self._changed("runs", change)

    async def change_points(self, change: Change) -> int:
        """Have all changed in recovery points; in how many. Raises `Conflict`."""
        return await self._changed("recovery_points", change)

    async def _changed(self, table: str, change: Change) -> int:
        count, after = 0, ""
        while ids := await self._ids(table, after):
            for ident in ids:
                count += await self._one(table, ident, change)
            after = ids[-1]
        return count

    async def open_runs(self, under: str) -> int:
        """Count the runs that have not ended and have something under a key."""
        sql = "SELECT COUNT(*) FROM runs WHERE ended_at IS NULL AND plan LIKE :like"
        values = {"like": f"{_LIKE[:-1]}{msgspec.json.encode(under).decode()}%"}
        rows = await self._database.run(Access.READ, lambda it: it.rows(sql, values))
        return int(rows[0][0])

    async def _ids(self, table: str, after: str) -> Sequence[str]:
        where = " OR ".join(f"{column} LIKE :like" for column in _COLUMNS[table])
        sql = f"SELECT id FROM {table} WHERE id > :after AND ({where}) ORDER BY id LIMIT {AT_ONCE}"
        values = {"after": after, "like": _LIKE}
        rows = await self._database.run(Access.READ, lambda it: it.rows(sql, values))
        return [str(row[0]) for row in rows]

    async def _one(self, table: str, ident: str, change: Change) -> bool:
        """Write a row anew; whether there was anything to change."""
        columns, guard = _COLUMNS[table], _GUARDS[table]
        read = [*columns, *(["fence"] if guard else [])]
        sql = f"SELECT {', '.join(read)} FROM {table} WHERE id = :id"
        sets = ", ".join(f"{column} = :{column}" for column in columns)

        def work(connection: Connection) -> bool | None:
            for row in connection.rows(sql, {"id": ident}):
                old = dict(zip(read, row, strict=True))
                new = {column: _text(old[column], change) for column in columns}
                if new == {column: old[column] for column in columns}:
                    return False
                values = {**old, **new, "id": ident}
                done = connection.change(f"UPDATE {table} SET {sets} WHERE id = :id {guard}", values)
                return True if done else None
            return False

        for _ in range(_TRIES):
            if (done := await self._database.run(Access.DURABLE, work)) is not None:
                return done
        raise Conflict(f"{ident} is written too often: try again.")


def _text(text: str | None, change: Change) -> str | None:
    if not text or '"$sealed":[' not in text:
        return text
    return msgspec.json.encode(change(msgspec.json.decode(text))).decode()
