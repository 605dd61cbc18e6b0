"""Runs, their locks and their workers as they are shown. Writes nothing.

A list of runs reads what an index has in its order, newest first, and of that no more than a bound: with a
million runs that ended, a page costs as much as with a hundred. Where the bound is met before the page is
full, the page is short and says where the next one goes on.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are parameters

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from atoll.store.database import Access, Connection, Database
from atoll.store.run_records import Acting, LockRow, Run, Suspect, WorkerRow
from atoll.workflow.journal import ENDED, Journal, State
from atoll.workflow.locks import Mode, Row, in_the_way
from atoll.workflow.plan import Plan

LOOKED_AT: Final = 5000
"""Runs that are read for a page, of each state that is asked for."""

OPEN: Final = tuple(one for one in State if one not in ENDED)
_COLUMNS: Final = """id, definition, project_id, user_id, purpose, request_key, state, stop, owner, takeovers,
    due_at, waits, number, created_at, changed_at, ended_at, progress"""
_LOCKS: Final = """
    SELECT l.path, l.mode, l.run_id, l.granted, r.definition, r.purpose, r.project_id, r.state, r.created_at
    FROM run_locks l JOIN runs r ON r.id = l.run_id"""
_ON_PATH: Final = "SELECT path, mode, run_id, number, granted FROM run_locks WHERE path = :path"

_PLAN: Final = msgspec.json.Decoder(Plan)
_JOURNAL: Final = msgspec.json.Decoder(Journal)
_ACTING: Final = msgspec.json.Decoder(Acting)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs; "" and () stand for any."""

    states: tuple[State, ...] = ()
    definition: str = ""
    """A name, or `name@version`."""
    project_id: str = ""
    waits: str = ""
    """What for: `lock/server/ID`, `site/paris`, or the first parts of it."""


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs; `next` is the marker of the one after, None where there is none."""

    runs: Sequence[Run]
    next: str | None


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a run again and again by those who follow it."""

    state: State
    stop: str | None
    waits: str
    number: int
    progress: Mapping[str, Any]


class RunViews:
    """Reads what `runs` writes. All raise `StoreError`. `looked_at`: the bound of a page."""

    def __init__(self, database: Database, *, looked_at: int = LOOKED_AT) -> None:
        self._database = database
        self._looked_at = looked_at

    async def show(self, run_id: str) -> Run | None:
        """Give one run with its plan and its journal."""
        sql = f"SELECT {_COLUMNS}, plan, journal, acting FROM runs WHERE id = :id"
        rows = await self._rows(sql, {"id": run_id})
        return _run(rows[0]) if rows else None

    async def by_key(self, project_id: str, request_key: str) -> tuple[str, Any] | None:
        """(id of the run that a project has asked for with a key, the digest of what it asked for)."""
        sql = "SELECT id, acting FROM runs WHERE project_id = :project_id AND request_key = :request_key"
        rows = await self._rows(sql, {"project_id": project_id, "request_key": request_key})
        return (rows[0][0], _ACTING.decode(rows[0][1] or "{}").asked) if rows else None

    async def heard(self, run_id: str) -> Heard | None:
        """Give what may have changed of a run, without its journal."""
        sql = "SELECT state, stop, waits, number, progress FROM runs WHERE id = :id"
        rows = await self._rows(sql, {"id": run_id})
        if not rows:
            return None
        state, stop, waits, number, progress = rows[0]
        return Heard(state=State(state), stop=stop, waits=waits, number=number, progress=_progress(progress))

    async def list_runs(self, wanted: Wanted, *, after: str = "", limit: int) -> RunPage:
        """Give runs without plan and journal, newest first, after the one with the id `after`."""
        states = wanted.states or (OPEN if wanted.waits else ())
        of_project, others = _split(wanted, states)

        def look(connection: Connection) -> list[tuple[list[Run], str]]:
            kinds: list[str | None] = [None] if of_project else [one.value for one in states]
            return [self._window(connection, one, wanted, others, after, limit) for one in kinds or [None]]

        found = await self._database.run(Access.READ, look)
        seen_to = max(end for _, end in found)
        runs = sorted((one for some, _ in found for one in some), key=lambda one: one.id, reverse=True)
        runs = [one for one in runs if one.id >= seen_to]
        page = runs[:limit]
        return RunPage(runs=page, next=page[-1].id if len(runs) > limit else seen_to or None)

    async def locks(
        self, *, project_id: str = "", path: str = "", after: tuple[str, str] = ("", ""), limit: int
    ) -> list[LockRow]:
        """Give who has locks and who waits for one, by path and run, after one of them.

        Of a project, and at or below a path, where they are given.
        """
        where = ["(l.path > :path OR (l.path = :path AND l.run_id > :run_id))"]
        values: dict[str, Any] = {"path": after[0], "run_id": after[1]}
        if project_id:
            where.append("r.project_id = :project_id")
            values["project_id"] = project_id
        if path:
            where.append(_below("l.path"))
            values |= _below_values(path)
        sql = f"{_LOCKS} WHERE {' AND '.join(where)} ORDER BY l.path, l.run_id LIMIT {limit:d}"
        return [_lock(row) for row in await self._rows(sql, values)]

    async def in_the_way(self, path: str, run_id: str) -> LockRow | None:
        """Give a lock on a path that a run waits for: one that is held, or was asked for before."""

        def look(connection: Connection) -> LockRow | None:
            every = [
                Row(path=path, mode=Mode(mode), run_id=run, number=number, granted=bool(granted))
                for path, mode, run, number, granted in connection.rows(_ON_PATH, {"path": path})
            ]
            own = [one for one in every if one.run_id == run_id]
            blocking = in_the_way(own, every)
            if blocking is None:
                return None
            values = {"path": path, "run_id": blocking.run_id}
            rows = connection.rows(f"{_LOCKS} WHERE l.path = :path AND l.run_id = :run_id", values)
            return _lock(rows[0]) if rows else None

        return await self._database.run(Access.READ, look)

    async def suspects(self, *, after: str = "", limit: int) -> list[Suspect]:
        """Give what killed and dirty runs left to be looked at, by resource, after one of them."""
        sql = f"""
            SELECT resource, run_id, since FROM suspects WHERE resource > :after
            ORDER BY resource LIMIT {limit:d}"""
        rows = await self._rows(sql, {"after": after})
        return [Suspect(resource=row[0], run_id=row[1], since=row[2]) for row in rows]

    async def workers(self) -> tuple[list[WorkerRow], float]:
        """(the workers, those first that are there for longest; the database's time)."""
        sql = "SELECT id, about, runs, began_at, lease_until FROM workers ORDER BY began_at, id"

        def look(connection: Connection) -> tuple[list[WorkerRow], float]:
            rows = [
                WorkerRow(id=row[0], about=row[1], runs=row[2], began_at=row[3], lease_until=row[4])
                for row in connection.rows(sql)
            ]
            return rows, float(connection.rows(f"SELECT {connection.now}")[0][0])

        return await self._database.run(Access.READ, look)

    def _window(
        self,
        connection: Connection,
        state: str | None,
        wanted: Wanted,
        others: Sequence[State],
        after: str,
        limit: int,
    ) -> tuple[list[Run], str]:
        """(runs out of the next ones of an index; the last id that was looked at, "" where that was all)."""
        key = "project_id" if state is None else "state"
        read = {key: state or wanted.project_id, "after": after}
        inside = [f"{key} = :{key}"] if read[key] else []
        if after:
            inside.append("id < :after")
        outside, picked = _picked(wanted, others)
        if state is not None and wanted.project_id:
            outside.append("project_id = :project_id")
            picked["project_id"] = wanted.project_id
        read = {name: value for name, value in read.items() if value}
        inner = f"FROM runs{' WHERE ' if inside else ''}{' AND '.join(inside)} ORDER BY id DESC"
        if not outside:
            rows = connection.rows(f"SELECT {_COLUMNS} {inner} LIMIT {limit + 1:d}", read)
            return [_run(row) for row in rows], ""
        rows = connection.rows(
            f"SELECT {_COLUMNS} FROM (SELECT {_COLUMNS} {inner} LIMIT {self._looked_at:d}) AS seen "
            f"WHERE {' AND '.join(outside)} ORDER BY id DESC LIMIT {limit + 1:d}",
            read | picked,
        )
        if len(rows) > limit:
            return [_run(row) for row in rows], ""
        last = connection.rows(f"SELECT id {inner} LIMIT 1 OFFSET {self._looked_at - 1:d}", read)
        return [_run(row) for row in rows], last[0][0] if last else ""

    async def _rows(self, sql: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        return await self._database.run(Access.READ, lambda it: it.rows(sql, values))


def _split(wanted: Wanted, states: Sequence[State]) -> tuple[bool, Sequence[State]]:
    """(whether the index of the project is read; the states that are picked out of what is read).

    Most runs have ended well: those of one project are fewer than those of that state. Others are few.
    """
    common = not states or bool({State.DONE, State.UNDONE} & {*states})
    of_project = bool(wanted.project_id) and common
    return of_project, states if of_project else ()


def _picked(wanted: Wanted, states: Sequence[State]) -> tuple[list[str], dict[str, Any]]:
    """Conditions on what an index gave, with their values."""
    conditions: list[str] = []
    values: dict[str, Any] = {}
    if states:
        named = {f"state{number}": one.value for number, one in enumerate(states)}
        conditions.append(f"state IN ({', '.join(f':{name}' for name in named)})")
        values |= named
    if wanted.definition:
        if "@" in wanted.definition:
            conditions.append("definition = :definition")
            values["definition"] = wanted.definition
        else:
            conditions.append("SUBSTR(definition, 1, :length) = :definition")
            values |= {"definition": f"{wanted.definition}@", "length": len(wanted.definition) + 1}
    if wanted.waits:
        conditions.append(_below("waits"))
        values |= _below_values(wanted.waits)
    return conditions, values


def _below(column: str) -> str:
    return f"({column} = :whole OR SUBSTR({column}, 1, :parts) = :start)"


def _below_values(path: str) -> dict[str, Any]:
    return {"whole": path, "start": f"{path}/", "parts": len(path) + 1}


def _run(row: Sequence[Any]) -> Run:
    *plain, progress = row[:17]
    names = [name.strip() for name in _COLUMNS.split(",")][:16]
    values = dict(zip(names, plain, strict=True))
    whole = row[17:]
    return Run(
        **values | {"state": State(values["state"])},
        progress=_progress(progress),
        plan=_PLAN.decode(whole[0]) if whole else None,
        journal=_JOURNAL.decode(whole[1]) if whole else None,
        acting=_ACTING.decode(whole[2] or "{}") if whole else Acting(),
    )


def _progress(text: str | None) -> Mapping[str, Any]:
    given: Mapping[str, Any] = msgspec.json.decode(text) if text else {}
    return given


def _lock(row: Sequence[Any]) -> LockRow:
    path, mode, run_id, granted, definition, purpose, project_id, state, created_at = row
    return LockRow(
        path=path,
        mode=mode,
        run_id=run_id,
        granted=bool(granted),
        definition=definition,
        purpose=purpose,
        project_id=project_id,
        state=State(state),
        created_at=created_at,
    )
