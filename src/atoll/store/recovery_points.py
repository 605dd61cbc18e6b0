"""Copies of servers at other sites, from which they are made anew when their own site is dead.

One is written when all that belongs to it is there. Who uses one, or drops it, claims it first.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are parameters

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from atoll.store.database import Access, Connection, Database


class RecoveryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of a server. `made_at`: seconds since 1970."""

    id: str
    """Of the run that made it: later ones sort after."""
    server: str
    """The id that its users hold."""
    project_id: str
    user_id: str
    source: str
    own: str
    """The id that the server had at its site, the source."""
    target: str
    """The site that has the copies."""
    content: str
    """What is made of it, in JSON; only its writer knows what is in it."""
    claimed_by: str | None = None
    """The run that uses it, or drops it."""
    made_at: float


_COLUMNS: Final = ", ".join(RecoveryPoint.__struct_fields__)
_INSERT: Final = (
    f"INSERT INTO recovery_points ({_COLUMNS}) "
    f"VALUES ({', '.join(f':{one}' for one in RecoveryPoint.__struct_fields__)})"
)
_CLAIM: Final = """
    UPDATE recovery_points SET claimed_by = :run_id
    WHERE id = :id AND (claimed_by IS NULL OR claimed_by = :run_id OR claimed_by = :instead_of)"""
_RELEASE: Final = "UPDATE recovery_points SET claimed_by = NULL WHERE id = :id AND claimed_by = :run_id"
_DROP: Final = "DELETE FROM recovery_points WHERE id = :id"


class RecoveryPoints:
    """The recovery points in a database. All raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, point: RecoveryPoint) -> None:
        """Write one down. May be done again."""

        def do(connection: Connection) -> None:
            if not _rows(connection, "id = :id", {"id": point.id}):
                connection.change(_INSERT, msgspec.structs.asdict(point))

        await self._database.run(Access.WRITE, do)

    async def drop(self, ident: str) -> None:
        """Forget one. May be done again."""
        await self._change(_DROP, {"id": ident})

    async def claim(self, ident: str, run_id: str, instead_of: str = "") -> RecoveryPoint | None:
        """Have a run be the only one to use or drop it; None where it is another's, or not there.

        `instead_of`: a run that has ended without giving it back. May be done again.
        """

        def do(connection: Connection) -> RecoveryPoint | None:
            connection.change(_CLAIM, {"id": ident, "run_id": run_id, "instead_of": instead_of})
            found = _rows(connection, "id = :id AND claimed_by = :run_id", {"id": ident, "run_id": run_id})
            return found[0] if found else None

        return await self._database.run(Access.WRITE, do)

    async def release(self, ident: str, run_id: str) -> None:
        """Let others have it. May be done again."""
        await self._change(_RELEASE, {"id": ident, "run_id": run_id})

    async def of(self, server: str, project_id: str) -> list[RecoveryPoint]:
        """Give those of a server, the newest first."""
        where = "server = :server AND project_id = :project_id ORDER BY id DESC"
        return await self._look(where, {"server": server, "project_id": project_id})

    async def page(
        self,
        project_id: str | None,
        *,
        after: str,
        limit: int,
        server: str = "",
        source: str = "",
        target: str = "",
    ) -> list[RecoveryPoint]:
        """Give so many of a project's (None: of all), by id, after one; of a server or sites where named."""
        of = {"server": server or None, "source": source or None, "target": target or None}
        wanted = {"project_id": project_id, **of}
        values = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(["id > :after", *(f"{name} = :{name}" for name in values)])
        return await self._look(
            f"{where} ORDER BY id LIMIT :limit", {"after": after, "limit": limit, **values}
        )

    async def _look(self, where: str, values: Mapping[str, Any]) -> list[RecoveryPoint]:
        return await self._database.run(Access.READ, lambda connection: _rows(connection, where, values))

    async def _change(self, sql: str, values: Mapping[str, Any]) -> None:
        await self._database.run(Access.WRITE, lambda connection: connection.change(sql, values))


def _rows(connection: Connection, where: str, values: Mapping[str, Any]) -> list[RecoveryPoint]:
    return [
        _point(row)
        for row in connection.rows(f"SELECT {_COLUMNS} FROM recovery_points WHERE {where}", values)
    ]


def _point(row: Sequence[Any]) -> RecoveryPoint:
    return RecoveryPoint(**dict(zip(RecoveryPoint.__struct_fields__, row, strict=True)))
