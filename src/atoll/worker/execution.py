"""One run while a worker has it: its steps are begun once the journal says so, and what they give is written.

A step's result and the intents of the steps that follow share a commit. Whatever is not committed did not
happen: when a write finds the run another's, all tries are broken off and nothing more is said.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
import structlog

from atoll.store.database import StoreError
from atoll.store.run_records import Held
from atoll.store.runs import Runs
from atoll.worker.actions import Action, Doing, Fenced, Secrets
from atoll.workflow.journal import State, StepRecord
from atoll.workflow.machine import Machine, Rest, Signal, What, Work
from atoll.workflow.outcomes import Absent, Broken, Done, Failure, Outcome, Unknown
from atoll.workflow.plan import RESULT_BYTES, Step, references, resolved

_log = structlog.get_logger(__name__)

STORE_SECONDS: Final = 0.2
"""How often a write is tried that the store does not take."""

MOST_TAKEOVERS: Final = 5
"""Workers that may die with a run in their hands before an operator has to look at it."""

LOCK_SECONDS: Final = 30.0
"""How long a run is left that waits for locks to be undone."""

KEEP_SECONDS: Final = 1.0
"""A run whose next try is due so soon is kept; one that waits for longer is let go of."""


class Keeper(Protocol):
    """What a run needs of the worker that has it."""

    @property
    def id(self) -> str:
        """The worker's."""

    def now(self) -> float:
        """The database's time."""

    def lease(self) -> float:
        """The seconds for which runs are certainly this worker's."""

    def backoff(self, tries: int) -> float:
        """The seconds before a try."""

    @property
    def secrets(self) -> Secrets:
        """What opens what is sealed in plans."""


class Execution:
    """One run. Made and run in one task; `tell` comes from others of the loop."""

    def __init__(self, held: Held, actions: Mapping[str, Action], journal: Runs, keeper: Keeper) -> None:
        self.held = held
        self._actions = actions
        self._journal = journal
        self._keeper = keeper
        self._machine = Machine(held.plan, held.journal, keeper.backoff)
        self._signal = Signal(held.stop) if held.stop else None
        self._obeyed: str | None = None
        self._wake = asyncio.Event()
        self._doings: dict[int, Doing] = {}
        self._trying: dict[asyncio.Task[Outcome], Work] = {}
        self._forward = False
        self._prepared: list[Work] = []
        self._only: Rest | None = None
        self._written = -1
        self.progress: dict[str, Any] = {}
        self.progressed = False

    def tell(self, signal: Signal | None) -> None:
        """Somebody wants something of it."""
        self._signal = signal
        if signal is Signal.TERM:
            for doing in self._doings.values():
                doing.stopping = True
        self._wake.set()

    def prepare(self) -> None:
        """Take in that this worker begins with it: to be called once, before `run`."""
        machine, now = self._machine, self._keeper.now()
        if not self.held.admitted:
            self._only = self._without_locks(now)
            return
        machine.taken_up(now, self._keeper.id)
        if self.held.takeovers >= MOST_TAKEOVERS and self._signal is not Signal.TERM:
            machine.park(now, f"{self.held.takeovers} workers died while they had it")
        self._prepared = machine.advance(now, self._signal)
        self._obey()

    def _without_locks(self, now: float) -> Rest:
        """What becomes of a run that was not granted what it wants, and is to stand or to be undone."""
        if self._signal is Signal.PAUSE:
            return Rest(State.PAUSED)
        if not any(record.tries for record in self.held.journal.steps):
            self._machine.turn_back(now, "cancelled")
            return self._machine.rest(None)
        return Rest(State.QUEUED, now + LOCK_SECONDS, "lock")

    def _obey(self) -> None:
        if self._signal is Signal.TERM:
            self._obeyed, self._signal = Signal.TERM.value, None

    async def run(self, *, written: bool = False) -> Rest | None:
        """Go on until it rests; None where it is not this worker's any more.

        `written`: the journal is in the store as `prepare` left it.
        """
        if written:
            self._written = self.held.journal.number
        try:
            return await self._run()
        except Fenced:
            return None
        finally:
            await self._break_off()

    async def _run(self) -> Rest:
        machine, keeper = self._machine, self._keeper
        if self._only is not None:
            return await self._leave(self._only)
        works = self._prepared
        while True:
            if not works and not machine.active:
                rest = machine.rest(self._signal)
                if not self._kept(rest):
                    return await self._leave(rest)
            if self._written != self.held.journal.number:
                await self._write()
            for work in works:
                self._begin(work)
            await self._something()
            works = machine.advance(keeper.now(), self._signal)
            self._obey()

    def _kept(self, rest: Rest) -> bool:
        return rest.at is not None and rest.at - self._keeper.now() < KEEP_SECONDS

    async def _something(self) -> None:
        """Wait until a try ends, one is due, or somebody wants something, and take it in."""
        due = self._machine.next_due()
        timer = None
        if due is not None:
            seconds = max(0.001, due - self._keeper.now())
            timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        await self._wake.wait()
        self._wake.clear()
        if timer is not None:
            timer.cancel()
        for task in [task for task in self._trying if task.done()]:
            self._settle(self._trying.pop(task), task.result())

    def _settle(self, work: Work, outcome: Outcome) -> None:
        if isinstance(outcome, Done) and work.what is not What.UNDO:
            outcome = _storable(outcome)
            self._forward = True
        self.progress.pop(self.held.plan.steps[work.place].name, None)
        self._machine.settle(work, outcome, self._keeper.now())

    async def _write(self) -> None:
        self._written = self.held.journal.number
        obeyed, self._obeyed = self._obeyed, None
        forward, self._forward = self._forward, False
        await self._stored(
            lambda: self._journal.write(
                self.held, self._keeper.id, self._machine.state, obeyed=obeyed, forward=forward
            )
        )

    async def _leave(self, rest: Rest) -> Rest:
        if rest.at is None:
            self._machine.note(self._keeper.now(), rest.state.value)
        obeyed = self._signal.value if self._signal else self._obeyed
        await self._stored(lambda: self._journal.leave(self.held, self._keeper.id, rest, obeyed=obeyed))
        return rest

    async def _stored(self, write: Callable[[], Awaitable[bool]]) -> None:
        """Have something written, however long the store takes. Raises `Fenced` where it is no use."""
        while True:
            try:
                if await write():
                    return
            except StoreError as error:
                _log.warning("run_not_written", run=self.held.id, error=str(error))
                if self._keeper.lease() <= 0:
                    raise Fenced from error
                await asyncio.sleep(STORE_SECONDS)
            else:
                raise Fenced

    def _begin(self, work: Work) -> None:
        step, record = self.held.plan.steps[work.place], self.held.journal.steps[work.place]
        action = self._actions[step.action]
        task = asyncio.get_running_loop().create_task(self._tried(work, step, record, action))
        self._trying[task] = work
        task.add_done_callback(lambda _: self._wake.set())

    async def _tried(self, work: Work, step: Step, record: StepRecord, action: Action) -> Outcome:
        """One try, whatever comes of it."""
        if work.what is What.VERIFY and action.verify is None:
            return Absent()
        if work.what is What.UNDO and action.undo is None:
            return Done()
        try:
            doing = self._doing(work, step, record)
            self._doings[work.place] = doing
            async with asyncio.timeout(step.seconds):
                return await _called(work.what, action, doing)
        except Failure as failure:
            failure.args = (doing.veiled(str(failure)),)
            return failure
        except TimeoutError:
            return Unknown(f"there was no answer within {step.seconds:g} s")
        except (Fenced, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug shall end one run, and be seen
            _log.exception("step_broke", run=self.held.id, step=step.name, action=step.action)
            return Broken(f"a fault of Atoll's: {type(error).__name__}")
        finally:
            self._doings.pop(work.place, None)

    def _doing(self, work: Work, step: Step, record: StepRecord) -> Doing:
        held = self.held
        given: Mapping[str, Any] = step.input
        if given and any(references(given)):
            records = zip(held.plan.steps, held.journal.steps, strict=True)
            given = resolved(given, {one.name: record.result for one, record in records})
        return Doing(
            run_id=held.id,
            mark=f"{held.id}.{held.journal.generation}.{work.place}",
            site=step.site,
            input=given,
            result=record.result,
            project_id=held.project_id,
            user_id=held.user_id,
            acting=held.acting,
            reason=held.journal.reason,
            again=record.tries > 1 or bool(record.error),
            lease=self._keeper.lease,
            secrets=self._keeper.secrets,
            progress=lambda done, of, unit: self._progress(step.name, done, of, unit),
        )

    def _progress(self, name: str, done: float, of: float | None, unit: str) -> None:
        self.progress[name] = {"done": done, "of": of, "unit": unit}
        self.progressed = True

    async def _break_off(self) -> None:
        for task in self._trying:
            task.cancel()
        if self._trying:
            await asyncio.gather(*self._trying, return_exceptions=True)


async def _called(what: What, action: Action, doing: Doing) -> Outcome:
    doing.check()
    if what is What.DO:
        return Done(await action.do(doing))
    if what is What.VERIFY and action.verify is not None:
        return await action.verify(doing)
    if action.undo is not None:
        await action.undo(doing)
    return Done()


def _storable(done: Done) -> Outcome:
    try:
        text = msgspec.json.encode(done.result)
    except (TypeError, ValueError, OverflowError) as error:
        return Broken(f"what it gave cannot be stored: {error}")
    if len(text) > RESULT_BYTES:
        return Broken(f"what it gave has {len(text):,} bytes, and {RESULT_BYTES:,} is the most")
    return Done(msgspec.json.decode(text))  # what another worker would read
