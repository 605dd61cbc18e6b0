"""A worker of Atoll's as `atoll serve` has it, in this process: what a measurement drives."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from atoll.core.ids import time_ordered
from atoll.store.database import Access, Connection, Database
from atoll.store.opening import open_database
from atoll.store.run_records import NewRun
from atoll.store.runs import Runs
from atoll.worker.actions import Action, Doing
from atoll.worker.worker import Settings, Worker
from atoll.workflow.journal import ENDED, State
from atoll.workflow.machine import fresh
from atoll.workflow.plan import Plan, Step

LOOK_SECONDS = 2.0


class Told(Runs):
    """The journal, with a word to whoever waits for the end of a run."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ends: dict[str, asyncio.Future[State]] = {}

    def end_of(self, run_id: str) -> "asyncio.Future[State]":
        """How a run ends, once that is committed. To be asked for before it is accepted."""
        return self.ends.setdefault(run_id, asyncio.get_running_loop().create_future())

    async def leave(self, held: Any, owner: str, rest: Any, **options: Any) -> bool:
        """As the journal does it."""
        left = await super().leave(held, owner, rest, **options)
        if left and rest.state in ENDED:
            self._tell(held.id, rest.state)
        return left

    def _tell(self, run_id: str, state: State) -> None:
        if (end := self.ends.pop(run_id, None)) is not None:
            # Once the worker has taken in, too, that it has one less.
            asyncio.get_running_loop().call_soon(end.set_result, state)

    async def look_after(self, database: Database) -> None:
        """Tell of those, too, whose last commit nobody saw: a worker that loses its lease breaks off."""
        before: set[str] = set()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for one in before & self.ends.keys():
                if (state := await database.run(Access.READ, partial(_ended, run_id=one))) is not None:
                    self._tell(one, state)
            before = set(self.ends)


def _ended(connection: Connection, run_id: str) -> State | None:
    sql = "SELECT state FROM runs WHERE id = :id AND ended_at IS NOT NULL"
    rows = connection.rows(sql, {"id": run_id})
    return State(rows[0][0]) if rows else None


@dataclass(frozen=True, slots=True)
class Durable:
    """The journal and a worker on it."""

    database: Database
    runs: Told
    worker: Worker

    async def waiting(self, what: str) -> int:
        """How many runs wait for something, nobody working on them."""
        sql = "SELECT count(*) FROM runs WHERE waits = :waits AND owner IS NULL"
        rows = await self.database.run(Access.READ, lambda it: it.rows(sql, {"waits": what}))
        return int(rows[0][0])

    async def done(self, run: NewRun) -> None:
        """Accept a run, and wait until it is done. Raises RuntimeError where it ends otherwise."""
        end = self.runs.end_of(run.id)
        await self.worker.accept(run)
        state = await end
        if state is not State.DONE:
            raise RuntimeError(f"a run ended as {state.value}")


@asynccontextmanager
async def durable(url: str, actions: Iterable[Action], settings: Settings) -> AsyncIterator[Durable]:
    """A worker that works, on a database that is made where it is not there."""
    database = await open_database(url)
    try:
        runs = Told(database)
        worker = Worker(runs, {one.name: one for one in actions}, settings)
        await worker.start()
        looking = asyncio.create_task(runs.look_after(database))
        try:
            yield Durable(database, runs, worker)
        finally:
            looking.cancel()
            await worker.close()
    finally:
        await database.close()


def new_run(plan: Plan) -> NewRun:
    """A run of a plan, not accepted yet."""
    return NewRun(
        id=time_ordered(time.time_ns(), secrets.randbits(62)),
        definition="bench@1",
        project_id="0ec3fefb53714f79949e4bf3a7c26720",
        user_id="c4b6a6f6f48d47cc9713aec491245ec7",
        plan=plan,
        journal=fresh(plan),
    )


def one_after_another(steps: int, action: str, **more: Any) -> Plan:
    """A plan whose steps need each the one before."""
    return Plan(
        steps=tuple(
            Step(name=f"s{number}", action=action, after=(f"s{number - 1}",) if number else ())
            for number in range(steps)
        ),
        **more,
    )


async def _nothing(_: Doing) -> None:
    return None


NOTHING = Action(name="bench.nothing@1", do=_nothing)
"""An action that does nothing."""
