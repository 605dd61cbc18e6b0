"""The journal of runs: accepted, taken up, written, given back. How they are shown is in `run_views`.

Every write of a worker holds only while the run is its own (`owner`, `fence`); 0 rows: it is another's by
now. Leases are in the database's time, so that the clocks of machines need not agree. A lease is a worker's,
not a run's: it costs one write a second however many runs it has.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are parameters

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from atoll.core.errors import Conflict, NotFound
from atoll.store import run_admission
from atoll.store.database import Access, Clash, Connection, Database, stated
from atoll.store.run_records import Accepted, Acting, Beat, Due, Held, NewRun
from atoll.workflow.journal import ENDED, Entry, Journal, State
from atoll.workflow.machine import Rest, Signal, redone
from atoll.workflow.plan import Plan

LOOK_SECONDS: Final = 30.0
"""How often a run that waits for a lock is looked at, should nobody have told that it is free."""

AT_ONCE: Final = 64
"""Runs in one statement."""

_SIZES: Final = (1, 4, 16, AT_ONCE)
_ENCODE: Final = msgspec.json.Encoder().encode
_PLAN: Final = msgspec.json.Decoder(Plan)
_JOURNAL: Final = msgspec.json.Decoder(Journal)
_ACTING: Final = msgspec.json.Decoder(Acting)

_ACCEPT: Final = """
    INSERT INTO runs (id, definition, project_id, user_id, purpose, request_key, state, owner, fence,
        takeovers, admitted, holds, due_at, waits, number, unsent, created_at, changed_at, acting, plan,
        journal)
    VALUES (:id, :definition, :project_id, :user_id, :purpose, :request_key, :state, :owner, 1,
        0, :admitted, :holds, {due}, :waits, :number, :unsent, {now}, {now}, :acting, :plan, :journal)"""
_IS_MINE: Final = "id = :id AND owner = :owner AND fence = :fence"
_OBEYED: Final = "stop = CASE WHEN stop = :obeyed THEN NULL ELSE stop END"
_WRITE: Final = f"""
    UPDATE runs SET state = :state, journal = :journal, number = :number, unsent = :unsent, {_OBEYED},
        takeovers = CASE WHEN :forward = 1 THEN 0 ELSE takeovers END, changed_at = {{now}}
    WHERE {_IS_MINE}"""
# Whatever stands after SET has its indexes written, changed or not: most commits change none of those.
_WRITE_ON: Final = f"""
    UPDATE runs SET journal = :journal, number = :number, changed_at = {{now}}
    WHERE {_IS_MINE} AND state = :state AND stop IS NULL AND takeovers = 0"""
# MariaDB sets columns one after the other, each from what those before are by then: `stop` and `owner` last.
_LEAVE: Final = f"""
    UPDATE runs SET state = :state, journal = :journal, number = :number, unsent = :unsent,
        due_at = CASE WHEN stop IS NOT NULL AND stop <> :obeyed THEN {{now}} ELSE :due_at END,
        {_OBEYED}, owner = NULL, waits = :waits, changed_at = {{now}}
    WHERE {_IS_MINE}"""
# `due_at` and `waits` are those of an ended run already while somebody has it: their indexes are left alone.
_END: Final = f"""
    UPDATE runs SET state = :state, journal = :journal, number = :number, {{unsent}} {_OBEYED}, owner = NULL,
        ended_at = {{now}}, progress = NULL, changed_at = {{now}}
    WHERE {_IS_MINE}"""
_PROGRESS: Final = f"UPDATE runs SET progress = :progress WHERE {_IS_MINE}"
_HELD_COLUMNS: Final = """
    id, definition, project_id, user_id, fence, takeovers, stop, holds, admitted, acting, plan, journal"""
_DUE: Final = """
    SELECT id, fence, admitted, plan, stop FROM runs WHERE due_at <= {now} ORDER BY due_at LIMIT :most"""
_IS_DUE: Final = """
    SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM runs WHERE due_at <= {now} LIMIT 1) AS due),
        (SELECT COUNT(*) FROM workers WHERE lease_until < {now})"""
_TAKE: Final = """
    UPDATE runs SET owner = :owner, fence = fence + 1, due_at = NULL, waits = '', admitted = :admitted
    WHERE id = :id AND fence = :fence AND due_at IS NOT NULL"""
_TAKE_THESE: Final = """
    UPDATE runs SET owner = :owner, fence = fence + 1, due_at = NULL, waits = ''
    WHERE id IN ({ids}) AND due_at <= {now} AND (admitted = 1 OR stop IS NOT NULL)"""
_THESE: Final = f"SELECT {_HELD_COLUMNS} FROM runs WHERE id IN ({{ids}}) AND owner = :owner"
_DEFER: Final = """
    UPDATE runs SET due_at = {now} + :seconds, waits = :waits
    WHERE id = :id AND fence = :fence AND due_at IS NOT NULL"""
_BEAT: Final = "UPDATE workers SET lease_until = {now} + :seconds, runs = :runs WHERE id = :id"
_DEAD: Final = "SELECT id FROM workers WHERE lease_until < {now}"
_BURY: Final = "DELETE FROM workers WHERE id = :id AND lease_until < {now}"
_FREE: Final = """
    UPDATE runs SET owner = NULL, due_at = {now}, fence = fence + 1, takeovers = takeovers + :counts
    WHERE owner = :id"""
_MINE: Final = "SELECT id, stop FROM runs WHERE owner = :id"
_SIGNAL: Final = """
    UPDATE runs SET stop = {stop}, changed_at = {now},
        due_at = CASE WHEN owner IS NULL THEN {now} ELSE due_at END,
        state = CASE WHEN state IN ('paused', 'parked') AND owner IS NULL THEN 'queued' ELSE state END
    WHERE id = :id AND ended_at IS NULL"""
_JOIN: Final = """
    INSERT INTO workers (id, about, runs, began_at, lease_until)
    VALUES (:id, :about, 0, {now}, {now} + :seconds)"""


class Runs:
    """The journal in a database. All raise `StoreError`. `published`: whether somebody relays the log."""

    def __init__(self, database: Database, *, published: bool = False) -> None:
        self._database = database
        self._unsent = 1 if published else None
        self._end = _END.replace("{unsent}", "unsent = :unsent," if published else "")
        self._told: list[Callable[[], None]] = []

    async def accept(self, run: NewRun, owner: str | None = None, begun: Journal | None = None) -> Accepted:
        """Put a run down, with what it locks and reserves.

        `owner` takes it at once where nothing waits, its journal then as `begun` says. Raises `Conflict`
        where it cannot be, with nothing done.
        """
        try:
            if run.plan.holds:
                accepted = await self._database.run(
                    Access.DURABLE, lambda it: self._admitted(it, run, owner, begun)
                )
            else:
                accepted, sql, values = self._accepted(run, owner, begun, "")
                await self._database.change(sql, values)
        except Clash:
            return await self._known(run)
        if not accepted.held:
            await self._database.notify()
        return accepted

    def _admitted(
        self, connection: Connection, run: NewRun, owner: str | None, begun: Journal | None
    ) -> Accepted:
        number = run_admission.take_turn(connection)
        waits = run_admission.ask(connection, run.id, run.plan, number)
        accepted, sql, values = self._accepted(run, owner, begun, waits)
        connection.change(stated(sql, connection.now), values)
        return accepted

    def _accepted(
        self, run: NewRun, owner: str | None, begun: Journal | None, waits: str
    ) -> tuple[Accepted, str, dict[str, Any]]:
        """What becomes of a run that waits for something ("": nothing), and the statement that says so."""
        held = owner is not None and not waits
        journal = begun if held and begun is not None else run.journal
        due = "NULL" if held else f"{{now}} + {LOOK_SECONDS}" if waits else "{now}"
        values = {
            "id": run.id,
            "definition": run.definition,
            "project_id": run.project_id,
            "user_id": run.user_id,
            "purpose": run.plan.purpose,
            "request_key": run.request_key,
            "state": (State.RUNNING if held else State.QUEUED).value,
            "owner": owner if held else None,
            "admitted": int(not waits),
            "holds": int(run.plan.holds),
            "waits": waits,
            "number": journal.number,
            "unsent": self._unsent,
            "acting": _text(run.acting),
            "plan": _text(run.plan),
            "journal": _text(journal),
        }
        return Accepted(id=run.id, waits=waits, held=held), _ACCEPT.replace("{due}", due), values

    async def _known(self, run: NewRun) -> Accepted:
        """The run that is there already: that of a first request with the key, or this very one."""
        sql = """SELECT id, acting FROM runs WHERE id = :id OR
            (project_id = :project_id AND request_key = :request_key)"""
        values = {"id": run.id, "project_id": run.project_id, "request_key": run.request_key}
        rows = await self._database.run(Access.READ, lambda it: it.rows(sql, values))
        if not rows:
            raise Conflict("Another run of this key came and went at the same time: ask once more.")
        run_id, acting = rows[0]
        return Accepted(id=run_id, again=True, asked=_ACTING.decode(acting or "{}").asked)

    async def write(
        self, held: Held, owner: str, state: State, *, obeyed: str | None = None, forward: bool = False
    ) -> bool:
        """Commit the journal of a run; False where it is not the worker's any more.

        `obeyed`: the signal that this obeys. `forward`: a step was done, so that it is no run that kills
        its workers.
        """
        values = {
            **self._journal(held, owner, obeyed),
            "state": state.value,
            "forward": int(forward),
        }
        if self._unsent is None and await self._database.change(_WRITE_ON, values):
            return True
        return bool(await self._database.change(_WRITE, values))

    async def leave(self, held: Held, owner: str, rest: Rest, *, obeyed: str | None = None) -> bool:
        """Commit the journal and let go of a run, to be taken up as `rest` says; False as for `write`.

        An ended one gives back what it holds, and what it touched is suspect where it ended dirty.
        """
        values = {**self._journal(held, owner, obeyed), "state": rest.state.value}
        if rest.state not in ENDED:
            return bool(
                await self._database.change(_LEAVE, {**values, "due_at": rest.at, "waits": rest.waits})
            )
        if not held.holds:
            return bool(await self._database.change(self._end, values))

        def work(connection: Connection) -> int | None:
            if not connection.change(stated(self._end, connection.now), values):
                return None
            woken = run_admission.give_back(connection, held.id, held.plan)
            if rest.state is State.DIRTY:
                suspect(connection, held.id, held.plan)
            return woken

        woken = await self._database.run(Access.DURABLE, work)
        if woken:
            for told in self._told:
                told()
        return woken is not None

    def _journal(self, held: Held, owner: str, obeyed: str | None) -> dict[str, Any]:
        return {
            "id": held.id,
            "owner": owner,
            "fence": held.fence,
            "obeyed": obeyed or "",
            "journal": _text(held.journal),
            "number": held.journal.number,
            "unsent": self._unsent,
        }

    async def give_up(self, held: Held, owner: str, seconds: float, *, counts: bool) -> None:
        """Let go of a run that cannot be gone on with here. `counts`: as if the worker had died with it."""
        sql = f"""
            UPDATE runs SET due_at = {{now}} + :seconds, takeovers = takeovers + :counts, owner = NULL
            WHERE {_IS_MINE}"""
        values = {"id": held.id, "owner": owner, "fence": held.fence, "seconds": seconds}
        await self._database.change(sql, {**values, "counts": int(counts)})

    async def free(self, run_id: str, owner: str) -> None:
        """Let others have a run that a worker has by the store alone."""
        sql = """
            UPDATE runs SET due_at = {now}, fence = fence + 1, owner = NULL
            WHERE id = :id AND owner = :owner"""
        await self._database.change(sql, {"id": run_id, "owner": owner})

    async def progress(self, owner: str, every: Sequence[tuple[Held, Mapping[str, Any]]]) -> None:
        """Write how far runs have come: for show, so it may be lost."""
        values = [
            {"id": held.id, "owner": owner, "fence": held.fence, "progress": _text(one)}
            for held, one in every
        ]
        await self._database.run(Access.WRITE, lambda it: it.change_each(_PROGRESS, values))

    def expect(self, runs: int) -> None:
        """Take in how many runs are worked on here, so that their commits can be one."""
        self._database.expect(runs)

    async def listen(self, told: Callable[[], None]) -> None:
        """Have `told` called when there is something to look at: what ends here, or the database tells."""
        self._told.append(told)
        await self._database.listen(told)

    async def due(self) -> Due:
        """What there is to do: runs that wait to be taken up, workers that show no life."""
        row = (await self._rows(_IS_DUE, {}))[0]
        return Due(runs=bool(row[0]), dead=bool(row[1]))

    async def take(self, owner: str, most: int) -> list[Held]:
        """Take up runs that are due, those first that have been for longest."""
        rows = await self._rows(_DUE, {"most": most})
        # One that waits for locks and is to stand or to be undone is taken without them, for that alone.
        free = [row[0] for row in rows if row[2] or row[4] is not None]
        taken: list[Held] = []
        for first in range(0, len(free), AT_ONCE):
            taken += await self._taken_together(owner, free[first : first + AT_ONCE])
        for run_id, fence, admitted, plan, stop in rows:
            if not admitted and stop is None:
                values = {"id": run_id, "fence": fence, "owner": owner, "admitted": 1}
                work = functools.partial(_taken, values=values, plan=plan)
                with contextlib.suppress(Clash):
                    if await self._database.run(Access.DURABLE, work):
                        taken += await self._held(owner, [run_id])
        return taken

    async def _taken_together(self, owner: str, ids: Sequence[str]) -> list[Held]:
        """Take those that nobody was faster with: two exchanges, however many there are."""
        sql, values = _with_ids(_TAKE_THESE, ids)
        # Nothing is done before the next write of theirs, which lasts, and this with it.
        changed = await self._database.change(sql, {**values, "owner": owner}, lasting=False)
        return await self._held(owner, ids) if changed else []

    async def _held(self, owner: str, ids: Sequence[str]) -> list[Held]:
        """Give those runs that a worker has, in the order of the ids."""
        sql, values = _with_ids(_THESE, ids)
        found = {row[0]: row for row in await self._rows(sql, {**values, "owner": owner})}
        return [held_of(found[one]) for one in ids if one in found]

    async def join(self, worker: str, about: str, seconds: float) -> float:
        """Begin to be a worker; the database's time."""
        values = {"id": worker, "about": about[:255], "seconds": seconds}

        def work(connection: Connection) -> float:
            connection.change(stated(_JOIN, connection.now), values)
            return _now(connection)

        return await self._database.run(Access.WRITE, work)

    async def beat(self, worker: str, runs: int, seconds: float) -> Beat:
        """Show life for some seconds more, and free the runs of those that do not."""
        values = {"id": worker, "runs": runs, "seconds": seconds}

        def work(connection: Connection) -> Beat:
            now = connection.now
            alive = bool(connection.change(stated(_BEAT, now), values))
            reaped = 0
            for (dead,) in connection.rows(stated(_DEAD, now)):
                if connection.change(stated(_BURY, now), {"id": dead}):
                    reaped += connection.change(stated(_FREE, now), {"id": dead, "counts": 1})
            mine = {row[0]: row[1] for row in connection.rows(_MINE, {"id": worker})} if alive else {}
            return Beat(now=_now(connection), alive=alive, mine=mine, reaped=reaped)

        return await self._database.run(Access.WRITE, work)

    async def part(self, worker: str) -> int:
        """Cease to be a worker: what it has is to be taken up by others at once; how many runs."""

        def work(connection: Connection) -> int:
            connection.change("DELETE FROM workers WHERE id = :id", {"id": worker})
            return connection.change(stated(_FREE, connection.now), {"id": worker, "counts": 0})

        return await self._database.run(Access.WRITE, work)

    async def signal(self, run_id: str, signal: Signal | None) -> bool:
        """Have a run paused or cancelled, or (None) go on; whether there is one that has not ended.

        Whoever works on it obeys, or else whoever takes it up.
        """
        if signal is None:  # a cancel that came meanwhile stands
            sql = _SIGNAL.format(now="{now}", stop="CASE WHEN stop = 'term' THEN stop END")
            changed = await self._database.change(sql, {"id": run_id})
        else:
            sql = _SIGNAL.format(now="{now}", stop=":stop")
            changed = await self._database.change(sql, {"id": run_id, "stop": signal.value})
        await self._database.notify()
        return bool(changed)

    async def kill(self, run_id: str, why: str) -> bool:
        """Close a run as it stands: what it touched is suspect. False where it has ended already."""

        def work(connection: Connection) -> bool:
            held = _one(connection, run_id)
            journal = held.journal
            journal.number += 1
            journal.log.append(Entry(journal.number, _now(connection), "killed", text=why[:1000]))
            sql = """
                UPDATE runs SET state = 'killed', stop = NULL, owner = NULL, fence = fence + 1, due_at = NULL,
                    waits = '', ended_at = {now}, changed_at = {now}, journal = :journal, number = :number,
                    unsent = :unsent
                WHERE id = :id AND fence = :fence AND number = :before AND ended_at IS NULL"""
            values = {
                "id": run_id,
                "fence": held.fence,
                "before": journal.number - 1,
                "journal": _text(journal),
                "number": journal.number,
                "unsent": self._unsent,
            }
            if not connection.change(stated(sql, connection.now), values):
                return False
            if held.holds:
                run_admission.give_back(connection, run_id, held.plan)
            suspect(connection, run_id, held.plan)
            return True

        for _ in range(_KILLS):
            if await self._database.run(Access.DURABLE, work):
                return True
            rows = await self._rows("SELECT ended_at FROM runs WHERE id = :id", {"id": run_id})
            if not rows or rows[0][0] is not None:
                return False
        raise Conflict("The run is written too often to be closed: try again.")

    async def redo(self, run_id: str, *, trust_id: str = "") -> State | None:
        """Have an ended or parked run tried once more; None where it is neither, and what it is otherwise.

        `trust_id`: by which it acts from now on; "": as before.

        Raises `Conflict` where what it needs is suspect through another run, or reserved.
        """

        def work(connection: Connection) -> State | None:
            rows = connection.rows("SELECT state FROM runs WHERE id = :id", {"id": run_id})
            if not rows:
                raise NotFound(f"There is no run {run_id}.", resource="run", id=run_id)
            state = State(rows[0][0])
            if state not in {State.UNDONE, State.DIRTY, State.KILLED, State.PARKED}:
                return None
            held = _one(connection, run_id)
            waits = ""
            if held.holds and state is not State.PARKED:
                number = run_admission.take_turn(connection)
                connection.change("DELETE FROM suspects WHERE run_id = :id", {"id": run_id})
                waits = run_admission.ask(connection, run_id, held.plan, number)
            journal = redone(held.plan, held.journal, state)
            journal.number += 1
            journal.log.append(Entry(journal.number, _now(connection), "redone", text=state.value))
            sql = """
                UPDATE runs SET state = 'queued', stop = NULL, takeovers = 0, fence = fence + 1,
                    ended_at = NULL, due_at = {now}, waits = :waits, admitted = :admitted,
                    journal = :journal, number = :number, unsent = :unsent, acting = :acting,
                    changed_at = {now}
                WHERE id = :id AND fence = :fence AND owner IS NULL"""
            acting = msgspec.structs.replace(held.acting, trust_id=trust_id) if trust_id else held.acting
            values = {
                "id": run_id,
                "acting": _text(acting),
                "fence": held.fence,
                "waits": waits,
                "admitted": int(not waits),
                "journal": _text(journal),
                "number": journal.number,
                "unsent": self._unsent,
            }
            return state if connection.change(stated(sql, connection.now), values) else None

        return await self._database.run(Access.DURABLE, work)

    async def wake(self, waits: str) -> int:
        """Have the runs taken up that wait for something, as `site/NAME`; how many."""
        sql = "UPDATE runs SET due_at = {now} WHERE waits = :waits AND due_at IS NOT NULL"
        woken = await self._change(Access.WRITE, sql, {"waits": waits})
        await self._database.notify()
        return woken

    async def prune(self, older_than: float, most: int = 10_000) -> int:
        """Drop the runs that ended so many seconds ago, some thousands at a time; how many.

        Those whose log is to be published stay until it was.
        """
        unsent = "" if self._unsent is None else "AND unsent IS NULL"

        def work(connection: Connection) -> int:
            sql = f"""
                SELECT id FROM runs WHERE state IN ('done', 'undone') AND ended_at < {{now}} - :seconds
                {unsent} LIMIT :most"""
            rows = connection.rows(stated(sql, connection.now), {"seconds": older_than, "most": most})
            connection.change_each("DELETE FROM runs WHERE id = :id", [{"id": row[0]} for row in rows])
            return len(rows)

        return await self._database.run(Access.SWEEP, work)

    async def cleared(self, resource: str) -> bool:
        """Take in that a suspect resource was looked at; whether it was one."""
        sql = "DELETE FROM suspects WHERE resource = :resource"
        return bool(await self._change(Access.WRITE, sql, {"resource": resource}))

    async def _change(self, access: Access, sql: str, values: Mapping[str, Any]) -> int:
        return await self._database.run(access, lambda it: it.change(stated(sql, it.now), values))

    async def _rows(self, sql: str, values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        return await self._database.run(Access.READ, lambda it: it.rows(stated(sql, it.now), values))


_KILLS: Final = 20


def _with_ids(sql: str, ids: Sequence[str]) -> tuple[str, dict[str, str]]:
    """A statement with names for so many ids in the place of `{ids}`, and their values.

    Few sizes, the last id several times: each size is a statement that databases prepare.
    """
    size = next(one for one in _SIZES if one >= len(ids))
    names = {f"id{place}": ids[min(place, len(ids) - 1)] for place in range(size)}
    return sql.replace("{ids}", ", ".join(f":{name}" for name in names)), names


def _taken(connection: Connection, *, values: Mapping[str, Any], plan: str) -> bool:
    """Take a run, where nobody was faster, once it is granted what it wants."""
    run_admission.take_turn(connection)
    waits = run_admission.grant(connection, values["id"], _PLAN.decode(plan))
    if waits:
        connection.change(
            stated(_DEFER, connection.now),
            {"id": values["id"], "fence": values["fence"], "seconds": LOOK_SECONDS, "waits": waits},
        )
        return False
    if connection.change(_TAKE, values):
        return True
    raise Clash("another worker took it")  # so that what was granted is not


def suspect(connection: Connection, run_id: str, plan: Plan) -> None:
    """Put down that what a run touched has to be looked at."""
    for resource in plan.touches:
        values = {"resource": resource, "run_id": run_id}
        connection.change("DELETE FROM suspects WHERE resource = :resource", values)
        sql = "INSERT INTO suspects (resource, run_id, since) VALUES (:resource, :run_id, {now})"
        connection.change(stated(sql, connection.now), values)


def _one(connection: Connection, run_id: str) -> Held:
    rows = connection.rows(f"SELECT {_HELD_COLUMNS} FROM runs WHERE id = :id", {"id": run_id})
    if not rows:
        raise NotFound(f"There is no run {run_id}.", resource="run", id=run_id)
    return held_of(rows[0])


def _now(connection: Connection) -> float:
    return float(connection.rows(stated("SELECT {now}", connection.now))[0][0])


def held_of(row: Sequence[Any]) -> Held:
    """A row of the columns that a worker needs."""
    run_id, definition, project_id, user_id, fence, takeovers, stop, holds, admitted, *rest = row
    acting, plan, journal = rest
    return Held(
        id=run_id,
        definition=definition,
        project_id=project_id,
        user_id=user_id,
        fence=int(fence),
        takeovers=int(takeovers),
        stop=stop,
        holds=bool(holds),
        admitted=bool(admitted),
        acting=_ACTING.decode(acting) if acting else Acting(),
        plan=_PLAN.decode(plan),
        journal=_JOURNAL.decode(journal),
    )


def _text(value: object) -> str:
    return _ENCODE(value).decode()
