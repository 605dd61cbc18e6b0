"""All that one process works on: it shows life, takes up what is due, and obeys what is wanted of its runs.

Between two beats the lease is counted on the clock that no one sets: a worker that was frozen, or whose store
is away, stops acting by itself when its lease is over, before anybody takes over.
"""

import asyncio
import contextlib
import os
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from atoll.store.database import StoreError
from atoll.store.run_records import Accepted, Held, NewRun
from atoll.store.runs import Runs
from atoll.worker.actions import NO_SECRETS, Action, Secrets
from atoll.worker.execution import Execution
from atoll.workflow.journal import ENDED, State
from atoll.workflow.machine import Signal, begun_anew

_log = structlog.get_logger(__name__)

BACKOFF_SECONDS: Final = (0.5, 60.0)
"""The wait before the second try of a step, and the longest; doubled from one to the other."""


UNKNOWN_SECONDS: Final = 30.0
"""How long a run is left to others whose actions are not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a worker works. Times in seconds."""

    lease: float = 3.0
    poll: float = 0.25
    """How often it looks for what is due, where nobody tells it."""
    runs: int = 64
    """At a time."""
    stop: float = 2.0
    """How long tries may go on when the worker is to stop."""


Ended = Callable[[Held, State], Awaitable[None]]


class Worker:
    """Works until `close`. `clock`: seconds of the monotonic clock.

    `ended` is called once this worker has ended a run; not where it dies just then.
    """

    def __init__(
        self,
        runs: Runs,
        actions: Mapping[str, Action],
        settings: Settings | None = None,
        *,
        ended: Ended | None = None,
        secrets: Secrets = NO_SECRETS,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._runs = runs
        self._actions = actions
        self._settings = settings or Settings()
        self._on_end = ended
        self.secrets = secrets
        self._clock = clock or asyncio.get_running_loop().time
        self._jitter = jitter
        self._offset = 0.0
        self._until = 0.0
        self._executions: dict[str, Execution] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._due = asyncio.Event()
        self._closing = False
        self._more = False
        self._taking = False
        self._strays: set[str] = set()
        self.id = ""

    def now(self) -> float:
        """The database's time, as of the last beat."""
        return self._offset + self._clock()

    def lease(self) -> float:
        """The seconds for which runs are certainly this worker's."""
        return self._until - self._clock()

    def backoff(self, tries: int) -> float:
        """The seconds before a try: doubled each time, and up to half as much again by chance."""
        first, longest = BACKOFF_SECONDS
        return min(longest, first * 2.0 ** min(tries - 1, 20)) * (1.0 + 0.5 * self._jitter())

    @property
    def running(self) -> int:
        """Runs that it has."""
        return len(self._executions)

    async def start(self) -> None:
        """Begin to work. Raises `StoreError`."""
        await self._join()
        await self._runs.listen(self._due.set)
        loop = asyncio.get_running_loop()
        self._loops = [loop.create_task(self._beats()), loop.create_task(self._takes())]

    async def _join(self) -> None:
        worker = f"{uuid.uuid4().hex[:20]}"
        before = self._clock()
        now = await self._runs.join(worker, f"{socket.gethostname()} pid {os.getpid()}", self._settings.lease)
        self.id, self._until = worker, before + self._settings.lease
        self._offset = now - (before + self._clock()) / 2

    async def accept(self, run: NewRun) -> Accepted:
        """Accept a run, and begin with it where there is room. Raises `Conflict`, `StoreError`."""
        if self._closing or self.lease() <= 0 or self.running >= self._settings.runs:
            accepted = await self._runs.accept(run)
            self._more = True
            self._fill()
            return accepted
        held = Held(
            id=run.id,
            definition=run.definition,
            project_id=run.project_id,
            user_id=run.user_id,
            fence=1,
            takeovers=0,
            stop=None,
            holds=run.plan.holds,
            acting=run.acting,
            plan=run.plan,
            journal=begun_anew(run.journal),
        )
        execution = self._execution(held)
        accepted = await self._runs.accept(run, self.id, held.journal)
        if accepted.held:
            self._begin(execution, written=True)
        return accepted

    def tell(self, run_id: str, signal: Signal | None) -> None:
        """Pass on at once what is wanted of a run, where this worker has it; look for it where not."""
        execution = self._executions.get(run_id)
        if execution is not None:
            execution.tell(signal)
        else:
            self._due.set()

    def look(self) -> None:
        """Look now for what is due."""
        self._due.set()

    async def _beats(self) -> None:
        """Show life three times within a lease."""
        while True:
            await asyncio.sleep(self._settings.lease / 3)
            await self._beat()

    async def _beat(self) -> None:
        try:
            if self.lease() <= 0:
                await self._rejoin()
                return
            async with asyncio.timeout(self.lease()):
                await self._shown()
        except (StoreError, TimeoutError) as error:
            _log.warning("worker_cannot_beat", error=str(error))
            if self.lease() <= 0:
                await self._abandon()

    async def _shown(self) -> None:
        before, seconds = self._clock(), self._settings.lease
        had = dict(self._tasks)
        beat = await self._runs.beat(self.id, self.running, seconds)
        if not beat.alive:
            self._until = before
            await self._rejoin()
            return
        self._until = before + seconds
        self._offset = beat.now - (before + self._clock()) / 2
        for run_id, task in had.items():
            if run_id not in beat.mine:
                task.cancel()  # it was killed: nobody is to go on with it
            elif (stop := beat.mine[run_id]) is not None and run_id in self._executions:
                self._executions[run_id].tell(Signal(stop))
        await self._free_strays(beat.mine)
        if beat.reaped:
            _log.warning("worker_takes_over", runs=beat.reaped)
            self._due.set()
        await self._show_progress()

    async def _free_strays(self, mine: Iterable[str]) -> None:
        """Let go of runs that are this worker's by the store, and that it has not begun for two beats.

        The answer of the store was lost that said so: to an acceptance, or to taking them up.
        """
        strays = {run_id for run_id in mine if run_id not in self._executions}
        for run_id in strays & self._strays:
            _log.warning("run_not_begun", run=run_id)
            await self._runs.free(run_id, self.id)
            self._due.set()
        self._strays = strays

    async def _rejoin(self) -> None:
        """Be a new worker: the old one's lease is over, and what it had is anybody's."""
        _log.warning("worker_lost_its_lease", worker=self.id, runs=self.running)
        await self._abandon()
        await self._runs.part(self.id)
        await self._join()
        self._due.set()

    async def _abandon(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _show_progress(self) -> None:
        told = [one for one in self._executions.values() if one.progressed]
        if not told:
            return
        for one in told:
            one.progressed = False
        with contextlib.suppress(StoreError):
            await self._runs.progress(self.id, [(one.held, dict(one.progress)) for one in told])

    async def _takes(self) -> None:
        """Take up what is due, as often as the settings say and whenever somebody tells."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.poll):
                    await self._due.wait()
            self._due.clear()
            self._taking = True
            try:
                await self._take_up(self._settings.runs - self.running)
            except StoreError as error:
                _log.warning("worker_cannot_look", error=str(error))
            self._taking = False
            self._fill()

    async def _take_up(self, room: int) -> None:
        """Take up what is due, as far as there is room."""
        if room <= 0:
            return
        self._more = False
        if self.lease() <= 0:
            return
        due = await self._runs.due()
        if due.dead:
            await self._beat()
            due = await self._runs.due()
        if due.runs:
            taken = await self._runs.take(self.id, room)
            self._more = len(taken) == room
            for held in taken:
                await self._take(held)

    def _fill(self) -> None:
        """Have some of those taken up that wait for room, several at once."""
        if self._more and not self._taking and self.running <= self._settings.runs * 3 // 4:
            self._due.set()

    async def _take(self, held: Held) -> None:
        unknown = {step.action for step in held.plan.steps} - self._actions.keys()
        if unknown:  # of another release, whose workers know them
            _log.warning("run_not_known", run=held.id, actions=sorted(unknown))
            with contextlib.suppress(StoreError):  # it is a stray then
                await self._runs.give_up(held, self.id, UNKNOWN_SECONDS, counts=False)
            return
        self._begin(self._execution(held), written=False)

    def _execution(self, held: Held) -> Execution:
        execution = Execution(held, self._actions, self._runs, self)
        execution.prepare()
        return execution

    def _begin(self, execution: Execution, *, written: bool) -> None:
        run_id = execution.held.id
        self._executions[run_id] = execution
        self._runs.expect(self.running)
        task = asyncio.get_running_loop().create_task(self._run(execution, written=written))
        self._tasks[run_id] = task
        task.add_done_callback(lambda _: self._ended(run_id, task))

    def _ended(self, run_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run_id) is task:
            del self._tasks[run_id]
            del self._executions[run_id]
            self._runs.expect(self.running)
        self._fill()

    async def _run(self, execution: Execution, *, written: bool) -> None:
        worker, held = self.id, execution.held
        try:
            rest = await execution.run(written=written)
        except Exception:  # noqa: BLE001 - a bug shall not leave a run with a worker that does not go on with it
            _log.exception("run_broke", run=held.id)
            with contextlib.suppress(StoreError):
                await self._runs.give_up(held, worker, BACKOFF_SECONDS[1], counts=True)
            return
        if rest is not None and rest.state in ENDED and self._on_end is not None:
            await self._on_end(held, rest.state)

    def abandon(self) -> None:
        """Stop at once, as if it were dead: nothing is said to anybody."""
        for task in (*self._loops, *self._tasks.values()):
            task.cancel()

    async def close(self) -> None:
        """Stop: what is under way may end for a moment, the rest is for others."""
        self._closing = True
        for task in self._loops[1:]:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=self._settings.stop)
        await self._abandon()
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._runs.part(self.id)
