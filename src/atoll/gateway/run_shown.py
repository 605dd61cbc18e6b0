"""Runs as the own API shows them, and what may be done with one now. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from atoll.gateway.own_route import Out
from atoll.store.run_records import Run
from atoll.workflow.journal import Entry, Journal, State, StepState
from atoll.workflow.machine import Signal, past_pivot
from atoll.workflow.plan import Plan

Do = Literal["pause", "resume", "cancel", "kill", "redo"]

ATTEMPTS: Final = 20
"""The newest attempts of a step that are shown."""

_AGAIN: Final = frozenset({State.UNDONE, State.DIRTY, State.KILLED})
_PUT_OFF: Final = frozenset({StepState.AGAIN, StepState.UNKNOWN, StepState.UNDO_AGAIN})


class AttemptView(Out, frozen=True, kw_only=True):
    """One try of a step, or of its undo. `outcome` is the log's last word of it; null: none yet."""

    what: Literal["do", "undo"]
    began_at: str
    ended_at: str | None
    outcome: str | None
    text: str


class ProgressView(Out, frozen=True, kw_only=True):
    """How far something is; `of` null where the end is not known."""

    done: float
    of: float | None
    unit: str


class StepView(Out, frozen=True, kw_only=True):
    """A step. `error` is that of the last try, `result` what it gave, `again_at` when it is tried again."""

    name: str
    action: str
    site: str
    after: list[str]
    pivot: bool
    """There is no way back once it has begun."""
    afterwards: bool
    """It only clears up: what the run was started for is done without it."""
    state: str
    tries: int
    undo_tries: int
    error: str
    result: Any
    again_at: str | None
    waits_for: str
    """The site that it waits for."""
    attempts: list[AttemptView]
    progress: ProgressView | None


class RunView(Out, frozen=True, kw_only=True):
    """A run as lists have it. `stop`: what somebody wants of it that is not obeyed yet.

    `waits` says what for: `lock/PATH`, `reserve/NAME`, `site/NAME`, `retry`. `worker`: who has it now.
    """

    id: str
    definition: str
    purpose: str
    project_id: str
    user_id: str
    key: str | None
    state: State
    stop: str | None
    waits: str
    due_at: str | None
    worker: str | None
    takeovers: int
    """Workers that died while they had it, since the last step that was done."""
    created_at: str
    changed_at: str
    ended_at: str | None
    progress: dict[str, ProgressView]
    """Of the steps that are under way, by their names."""


class Residue(Out, frozen=True, kw_only=True):
    """What could not be undone, and why."""

    step: str
    site: str
    text: str


class WholeRunView(RunView, frozen=True, kw_only=True):
    """A run with its steps. `reason`: why it is undone, or parked. `allowed`: what may be done now."""

    reason: str
    back: bool
    """It is being undone, or was."""
    fulfilled: bool
    """What it was started for is done for good: what is left only clears up."""
    steps: list[StepView]
    residue: list[Residue]
    allowed: list[str]


class EntryView(Out, frozen=True, kw_only=True):
    """A line of the log. `step` null: of the run itself."""

    number: int
    at: str
    what: str
    step: str | None
    text: str


def allowed(state: State, stop: str | None, *, pivoted: bool = False) -> tuple[Do, ...]:
    """What may be done with a run that is in a state, where somebody may want something of it already.

    `pivoted`: a step has begun that cannot be undone.
    """
    if state in _AGAIN:
        return ("redo",)
    if state is State.DONE:
        return ()
    given: list[Do] = []
    if state is State.PARKED:
        given.append("redo")
    elif state is State.PAUSED or stop == Signal.PAUSE.value:
        given.append("resume")
    elif stop is None:
        given.append("pause")
    if not pivoted and state is not State.UNDOING and stop != Signal.TERM.value:
        given.append("cancel")
    return (*given, "kill")


def pivoted(run: Run) -> bool:
    """Whether a step of a run has begun that cannot be undone."""
    return run.plan is not None and run.journal is not None and past_pivot(run.plan, run.journal)


def run_view(run: Run) -> RunView:
    """A run as lists have it."""
    return RunView(**_plain(run))


def whole_run_view(run: Run) -> WholeRunView:
    """A run that was read with its plan and its journal."""
    if run.plan is None or run.journal is None:
        raise ValueError(f"the run {run.id} was read without its plan")
    attempts = attempts_of(run.journal)
    progress = _progress(run)
    steps = [
        StepView(
            name=step.name,
            action=step.action,
            site=step.site,
            after=list(step.after),
            pivot=step.pivot,
            afterwards=step.afterwards,
            state=record.state.value or "waiting",
            tries=record.tries,
            undo_tries=record.undo_tries,
            error=record.error,
            result=record.result,
            again_at=moment(record.at) if record.at and record.state in _PUT_OFF else None,
            waits_for=record.site,
            attempts=attempts.get(place, [])[-ATTEMPTS:],
            progress=progress.get(step.name),
        )
        for place, (step, record) in enumerate(zip(run.plan.steps, run.journal.steps, strict=True))
    ]
    return WholeRunView(
        **_plain(run),
        reason=run.journal.reason,
        back=run.journal.back,
        fulfilled=fulfilled(run.plan, run.journal),
        steps=steps,
        residue=[
            Residue(step=one.name, site=one.site, text=one.error)
            for one in steps
            if one.state == StepState.RESIDUE.value
        ],
        allowed=list(allowed(run.state, run.stop, pivoted=pivoted(run))),
    )


def attempts_of(journal: Journal) -> dict[int, list[AttemptView]]:
    """The tries of each step by its place in the plan, oldest first, as far as the log goes back."""
    found: dict[int, list[AttemptView]] = {}
    for entry in journal.log:
        if entry.step < 0:
            continue
        tries = found.setdefault(entry.step, [])
        if entry.what in {"do", "undo"}:
            what: Literal["do", "undo"] = "do" if entry.what == "do" else "undo"
            began = moment(entry.time)
            tries.append(AttemptView(what=what, began_at=began, ended_at=None, outcome=None, text=""))
        elif tries:
            last = tries[-1]
            tries[-1] = AttemptView(
                what=last.what,
                began_at=last.began_at,
                ended_at=moment(entry.time),
                outcome=entry.what,
                text=entry.text,
            )
    return found


def entry_views(entries: Iterable[Entry], names: Sequence[str]) -> list[EntryView]:
    """Lines of a log, with the names of the steps."""
    return [
        EntryView(
            number=one.number,
            at=moment(one.time),
            what=one.what,
            step=names[one.step] if 0 <= one.step < len(names) else None,
            text=one.text,
        )
        for one in entries
    ]


def finished(journal: Journal) -> tuple[int, int]:
    """(the steps that are done, or undone where it is undone; how many there are to be)."""
    wanted = journal.steps
    if journal.back:
        wanted = [one for one in wanted if one.tries > 0]
        return sum(one.state in {StepState.UNDONE, StepState.RESIDUE} for one in wanted), len(wanted)
    return sum(one.state is StepState.DONE for one in wanted), len(wanted)


def fulfilled(plan: Plan, journal: Journal) -> bool:
    """Whether what a run was started for is done, and stays so: what is left only clears up."""
    records = zip(plan.steps, journal.steps, strict=True)
    left = [step for step, record in records if record.state is not StepState.DONE]
    final = not left or past_pivot(plan, journal)
    return final and not journal.back and all(step.afterwards for step in left)


def moment(seconds: float) -> str:
    """A moment to the millisecond: steps take less than a second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "definition": run.definition,
        "purpose": run.purpose,
        "project_id": run.project_id,
        "user_id": run.user_id,
        "key": run.request_key,
        "state": run.state,
        "stop": run.stop,
        "waits": run.waits,
        "due_at": _maybe(run.due_at),
        "worker": run.owner,
        "takeovers": run.takeovers,
        "created_at": moment(run.created_at),
        "changed_at": moment(run.changed_at),
        "ended_at": _maybe(run.ended_at),
        "progress": _progress(run),
    }


def _maybe(seconds: float | None) -> str | None:
    return None if seconds is None else moment(seconds)


def _progress(run: Run) -> dict[str, ProgressView]:
    return {name: ProgressView(**one) for name, one in run.progress.items()}
