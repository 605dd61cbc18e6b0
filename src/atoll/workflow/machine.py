"""How a run goes on: told what happened, it says what to do next and what to write down before.

No clock, no I/O: `now` is given, in database time. The rules, in the order in which they matter:

- A step is INTENT in the journal before anything is done for it. Who takes up a run and finds INTENT looks
  first whether it was done (UNKNOWN) and repeats only what was not.
- A step that certainly made nothing is not undone; every other one that was tried is, also without a result.
- A step is undone when all that needed it are. What cannot be undone is RESIDUE, and so is what it needs;
  the rest is undone all the same.
- Past a pivot there is no way back: the run waits for an operator instead.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import msgspec

from atoll.workflow.journal import LOG_ENTRIES, Entry, Journal, State, StepRecord, StepState
from atoll.workflow.outcomes import (
    Absent,
    Broken,
    Done,
    Failed,
    Failure,
    Outcome,
    Refused,
    SiteAway,
    Stopped,
    Unavailable,
    Withheld,
)
from atoll.workflow.plan import Graph, Plan, Step

AWAY_SECONDS: Final = 60.0
"""How often a site that is away is tried for a run that waits for it, where nobody tells that it is back."""

LOOKS: Final = 8
"""How often the outcome of a try is looked up before an operator has to."""


class Signal(Enum):
    """What somebody wants of a run."""

    PAUSE = "pause"
    TERM = "term"


class What(Enum):
    """What a worker is to do of a step."""

    DO = "do"
    VERIFY = "verify"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Work:
    """One try that is to be made, once what the journal says is written."""

    place: int
    what: What


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is to be done now: the run is in `state` until `at` (None: until somebody wants it).

    `waits` says what for: `retry`, `site/NAME`, "".
    """

    state: State
    at: float | None = None
    waits: str = ""


_SETTLED: Final = frozenset({StepState.WAITING, StepState.UNDONE, StepState.RESIDUE})
_BEGUN: Final = frozenset({StepState.INTENT, StepState.UNKNOWN, StepState.AGAIN, StepState.DONE})


class Machine:
    """One run. `backoff` gives the seconds before a try, by the number of those before (1, 2, …)."""

    def __init__(self, plan: Plan, journal: Journal, backoff: Callable[[int], float]) -> None:
        self._plan = plan
        self._graph = Graph(plan)
        self._backoff = backoff
        self._active: set[int] = set()
        self._open = 0
        self.journal = journal

    @property
    def active(self) -> bool:
        """Whether tries are under way."""
        return bool(self._active)

    @property
    def state(self) -> State:
        """What is shown of the run while it is worked on."""
        return State.UNDOING if self.journal.back else State.RUNNING

    def note(self, now: float, what: str, step: int = -1, text: str = "") -> None:
        """Put a line into the log."""
        journal = self.journal
        journal.number += 1
        journal.log.append(Entry(journal.number, now, what, step, text[:1000]))
        if len(journal.log) > LOG_ENTRIES:
            del journal.log[: LOG_ENTRIES // 10]

    def taken_up(self, now: float, by: str) -> None:
        """Take in that a worker begins with the run as it stands: whatever was under way is not known."""
        for place, record in enumerate(self.journal.steps):
            if record.state is StepState.INTENT:
                record.state, record.at = StepState.UNKNOWN, now
                self.note(now, "lost", place, "its worker is gone: whether it was done is looked up")
            elif record.state is StepState.UNDOING:
                record.state, record.at = StepState.UNDO_AGAIN, now
            elif record.site:
                record.at = now  # it may be back: somebody may have said so
        self.note(now, "taken", text=by)

    def turn_back(self, now: float, reason: str) -> bool:
        """Have the run undone; False where it is too late for that."""
        if self.journal.back:
            self.journal.parked = ""
        else:
            if self._past_pivot():
                return False
            self.journal.back, self.journal.parked, self.journal.reason = True, "", reason
            for record in self.journal.steps:
                record.at = 0.0  # an undo is not put off by what a try waited for
            self.note(now, "turned", text=reason)
        return True

    def _past_pivot(self) -> bool:
        return past_pivot(self._plan, self.journal)

    def advance(self, now: float, signal: Signal | None) -> list[Work]:
        """Begin what can be begun: to be done once the journal is written."""
        if signal is Signal.TERM and not self.journal.back and not self.turn_back(now, "cancelled"):
            self.note(now, "refused", text="too late to cancel: what has begun cannot be undone")
        if signal is Signal.PAUSE or self.journal.parked:
            return []
        return self._begun(now, self._next_back if self.journal.back else self._next_forward)

    def _begun(self, now: float, next_of: Callable[[int, StepRecord], What | None]) -> list[Work]:
        begun: list[Work] = []
        active, width, steps = self._active, self._plan.width, self.journal.steps
        for place in range(self._first_open(), len(steps)):
            if len(active) >= width:
                break
            record = steps[place]
            if record.at > now or place in active:
                continue
            what = next_of(place, record)
            if what is not None:
                self._begin(now, place, record, what)
                begun.append(Work(place, what))
        return begun

    def _first_open(self) -> int:
        """The place before which nothing is to be begun."""
        if self.journal.back:
            return 0
        steps = self.journal.steps
        while self._open < len(steps) and steps[self._open].state is StepState.DONE:
            self._open += 1
        return self._open

    def _begin(self, now: float, place: int, record: StepRecord, what: What) -> None:
        self._active.add(place)
        if what is What.VERIFY:
            record.looks += 1
            return
        if what is What.DO:
            record.state, record.tries = StepState.INTENT, record.tries + 1
        else:
            record.state, record.undo_tries = StepState.UNDOING, record.undo_tries + 1
        record.site = ""
        self.note(now, what.value, place)

    def _next_forward(self, place: int, record: StepRecord) -> What | None:
        state = record.state
        if state is StepState.WAITING:
            steps = self.journal.steps
            for one in self._graph.needs[place]:
                if steps[one].state is not StepState.DONE:
                    return None
            return What.DO
        if state is StepState.UNKNOWN:
            return What.VERIFY
        return What.DO if state is StepState.AGAIN else None

    def _next_back(self, place: int, record: StepRecord) -> What | None:
        if not _to_undo(record):
            return None
        steps = self.journal.steps
        if any(_to_undo(steps[one]) for one in self._graph.needed_by[place]):
            return None
        if any(steps[one].state is StepState.RESIDUE for one in self._graph.needed_by[place]):
            record.state = StepState.RESIDUE
            record.error = record.error or "something that needs it is still there"
            return None
        return What.UNDO

    def settle(self, work: Work, outcome: Outcome, now: float) -> None:
        """Take in how a try ended."""
        self._active.discard(work.place)
        record, step = self.journal.steps[work.place], self._plan.steps[work.place]
        if isinstance(outcome, Failure):
            record.error = str(outcome)[:1000]
        if isinstance(outcome, SiteAway):
            self._wait_for(work, record, outcome, now)
        elif isinstance(outcome, Withheld):
            self._not_tried(work, record)
            self.park(now, f"{step.name}: {outcome}")
        elif work.what is What.DO:
            self._settle_do(work.place, record, step, outcome, now)
        elif work.what is What.VERIFY:
            self._settle_verify(work.place, record, step, outcome, now)
        else:
            self._settle_undo(work.place, record, step, outcome, now)

    def _wait_for(self, work: Work, record: StepRecord, away: SiteAway, now: float) -> None:
        """Put a try off that a site was not there for."""
        record.site, record.at = away.site, now + AWAY_SECONDS
        self._not_tried(work, record)
        self._note_once(now, "away", work.place, f"{away.site}: {away}")

    @staticmethod
    def _not_tried(work: Work, record: StepRecord) -> None:
        """Take back that a try was begun: nothing came of it."""
        if work.what is What.DO:
            record.state, record.tries = StepState.AGAIN, record.tries - 1
        elif work.what is What.UNDO:
            record.state, record.undo_tries = StepState.UNDO_AGAIN, record.undo_tries - 1
        else:
            record.looks -= 1

    def _note_once(self, now: float, what: str, place: int, text: str) -> None:
        """Put a line into the log; where it says so already, leave out what came of it: it may take days."""
        log = self.journal.log
        said = [at for at, entry in enumerate(log) if entry.step == place and entry.what == what]
        if said and log[said[-1]].text == text[:1000]:
            later = log[said[-1] + 1 :]
            log[said[-1] + 1 :] = [entry for entry in later if entry.step != place and entry.what != "taken"]
        else:
            self.note(now, what, place, text)

    def _done(self, place: int, record: StepRecord, done: Done, now: float) -> None:
        record.state, record.result, record.error = StepState.DONE, done.result, ""
        self.note(now, "done", place)

    def _settle_do(self, place: int, record: StepRecord, step: Step, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, Done):
            self._done(place, record, outcome, now)
        elif isinstance(outcome, Unavailable):
            self._try_again(place, record, step, now, outcome.after)
        elif isinstance(outcome, Refused):
            self._fail(place, record, step, now, clean=record.tries == 1)
        elif isinstance(outcome, Failed | Stopped | Broken):
            self._fail(place, record, step, now, clean=False)
        else:
            record.state, record.at = StepState.UNKNOWN, now
            self.note(now, "unknown", place, record.error)

    def _try_again(
        self, place: int, record: StepRecord, step: Step, now: float, after: float | None = None
    ) -> None:
        if record.tries >= step.tries:
            record.error = f"after {record.tries} tries: {record.error or 'it was not done'}"
            self._fail(place, record, step, now, clean=False)
            return
        record.state, record.at = StepState.AGAIN, now + max(after or 0.0, self._backoff(record.tries))
        self.note(now, "failed", place, record.error)

    def _fail(self, place: int, record: StepRecord, step: Step, now: float, *, clean: bool) -> None:
        record.state, record.clean = StepState.FAILED, clean
        self.note(now, "failed", place, record.error)
        if step.pivot and not clean:
            self.park(now, f"{step.name}: {record.error}")
        elif not self.turn_back(now, f"{step.name}: {record.error}"):
            self.park(now, f"{step.name}: {record.error}; what has begun cannot be undone")

    def park(self, now: float, reason: str) -> None:
        """Have an operator look at it."""
        self.journal.parked = self.journal.reason = reason
        self.note(now, "parked", text=reason)

    def _settle_verify(
        self, place: int, record: StepRecord, step: Step, outcome: Outcome, now: float
    ) -> None:
        if isinstance(outcome, Done):
            record.looks = 0
            self._done(place, record, outcome, now)
        elif isinstance(outcome, Absent):
            record.looks = 0
            self.note(now, "absent", place)
            if record.tries < step.tries:
                record.state, record.at = StepState.AGAIN, now
            else:
                self._try_again(place, record, step, now)
        elif record.looks < LOOKS and not isinstance(outcome, Refused | Broken):
            record.at = now + self._backoff(record.looks)
            self.note(now, "unknown", place, record.error)
        elif self.journal.back:
            record.state = StepState.FAILED  # its undo looks for what it made
        else:
            self.park(now, f"{step.name}: whether it was done cannot be told: {record.error}")

    def _settle_undo(self, place: int, record: StepRecord, step: Step, outcome: Outcome, now: float) -> None:
        if isinstance(outcome, Done | Absent):
            record.state, record.error = StepState.UNDONE, ""
            self.note(now, "undone", place)
        elif isinstance(outcome, Refused) or record.undo_tries >= step.undo_tries:
            record.state = StepState.RESIDUE
            self.note(now, "residue", place, record.error)
        else:
            after = outcome.after if isinstance(outcome, Unavailable) else None
            record.state = StepState.UNDO_AGAIN
            record.at = now + max(after or 0.0, self._backoff(record.undo_tries))
            self.note(now, "failed", place, record.error)

    def next_due(self) -> float | None:
        """When the first of what is put off is due; None where nothing is."""
        if self.journal.parked:
            return None
        return min((record.at for record in self._put_off()), default=None)

    def _put_off(self) -> Iterator[StepRecord]:
        """The steps that would be gone on with, were it time."""
        steps = self.journal.steps
        back, active = self.journal.back, self._active
        for place, record in enumerate(steps):
            if not back:
                waits = record.state is StepState.AGAIN or record.state is StepState.UNKNOWN
                if waits and place not in active:
                    yield record
            elif place in active or not _to_undo(record):
                continue
            elif not any(_to_undo(steps[one]) for one in self._graph.needed_by[place]):
                yield record

    def rest(self, signal: Signal | None) -> Rest:
        """What the run is to be left as, where `advance` gave nothing and nothing is under way."""
        if self.journal.parked:
            return Rest(State.PARKED)
        ended = self._ended()
        if ended is not None:
            return Rest(ended)
        if signal is Signal.PAUSE:
            return Rest(State.PAUSED)
        first = min(self._put_off(), key=lambda record: record.at)
        return Rest(self.state, first.at, f"site/{first.site}" if first.site else "retry")

    def _ended(self) -> State | None:
        steps = self.journal.steps
        if not self.journal.back:
            return State.DONE if all(record.state is StepState.DONE for record in steps) else None
        if any(_to_undo(record) for record in steps):
            return None
        return State.DIRTY if any(record.state is StepState.RESIDUE for record in steps) else State.UNDONE

    def residue(self) -> Sequence[tuple[str, str]]:
        """(name, why) of each step whose effect could not be undone."""
        records = zip(self._plan.steps, self.journal.steps, strict=True)
        return [(step.name, record.error) for step, record in records if record.state is StepState.RESIDUE]


def _to_undo(record: StepRecord) -> bool:
    """Whether something of a step may be there that is still to be undone."""
    if record.state in _SETTLED or (record.state is StepState.FAILED and record.clean):
        return False
    return record.tries > 0 or record.state is not StepState.AGAIN


def past_pivot(plan: Plan, journal: Journal) -> bool:
    """Whether a step has begun that cannot be undone."""
    records = zip(plan.steps, journal.steps, strict=True)
    return any(step.pivot and record.tries > 0 and record.state in _BEGUN for step, record in records)


def fresh(plan: Plan) -> Journal:
    """The journal of a run that has not begun."""
    return Journal(steps=[StepRecord() for _ in plan.steps])


def begun_anew(journal: Journal) -> Journal:
    """A copy of a journal of which no step has begun."""
    return msgspec.structs.replace(
        journal, steps=[copy.copy(record) for record in journal.steps], log=list(journal.log)
    )


def redone(plan: Plan, journal: Journal, state: State) -> Journal:
    """The journal of an ended or parked run that is to be tried once more, with the bounds of a new one.

    One that was undone begins anew. One that is dirty or was killed is undone as far as it is not, unless
    there is no way back. One that is parked goes on where it stood.
    """
    if state is State.UNDONE:
        return Journal(
            steps=fresh(plan).steps,
            generation=journal.generation + 1,
            log=journal.log,
            number=journal.number,
        )
    journal.parked = ""
    for record in journal.steps:
        record.at, record.looks, record.undo_tries, record.tries = 0.0, 0, 0, min(record.tries, 1)
        if record.state is StepState.RESIDUE:
            record.state = StepState.UNDO_AGAIN
    if state is not State.PARKED and not past_pivot(plan, journal):
        journal.back, journal.reason = True, journal.reason or "killed"
    if not journal.back:
        for record in journal.steps:
            if record.state is StepState.FAILED:
                record.state = StepState.UNKNOWN
        journal.reason = ""
    return journal
