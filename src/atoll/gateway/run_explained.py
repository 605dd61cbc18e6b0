"""What a run waits for, in words: of what is known of it, its workers and its sites. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from atoll.gateway.own_route import Out
from atoll.gateway.run_shown import fulfilled, moment
from atoll.store.run_records import LockRow, Run
from atoll.workflow.journal import ENDED, Journal, State, StepState
from atoll.workflow.plan import Plan

WaitKind = Literal["lock", "reserve", "site", "retry", "step", "worker", "operator", "nothing"]


class WaitView(Out, frozen=True, kw_only=True):
    """One thing that a run waits for. `until`: when it goes on by itself, where that is known."""

    what: WaitKind
    text: str
    run_id: str | None = None
    site: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSeen:
    """How a site is, as this gateway sees it. `since` in seconds since 1970."""

    away: bool
    reason: str = ""
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known beside the run. `now` is in database time, `workers` the ids of those alive.

    `blocking`: the lock that is in the way; `foreign`: it is of a project that the caller may not see.
    """

    now: float
    workers: Collection[str]
    sites: Mapping[str, SiteSeen] = field(default_factory=dict)
    blocking: LockRow | None = None
    foreign: bool = False
    unknown: Collection[str] = ()
    """Actions of its plan that this release does not know."""


def explained(run: Run, known: Known) -> list[WaitView]:
    """What a run with its plan and journal waits for: several things, where several steps do."""
    if run.plan is None or run.journal is None:
        raise ValueError(f"the run {run.id} was read without its plan")
    if run.state in ENDED:
        return [WaitView(what="nothing", text=_end(run.state, run.journal))]
    if run.state is State.PAUSED:
        return [_operator(f"It was paused: `atoll run resume {run.id}` lets it go on.")]
    if run.state is State.PARKED:
        why = run.journal.reason
        return [_operator(f"It cannot go on by itself: {why}. `atoll run redo {run.id}` tries it again.")]
    waits = [*_admission(run, known), *_steps(run.plan, run.journal, known)]
    if run.owner is None:
        waits += _nobody(run, known)
    elif run.owner not in known.workers:
        waits.append(
            WaitView(what="worker", text="Its worker has died: another one takes it over within seconds.")
        )
    if run.stop is not None:
        obeyed = "paused" if run.stop == "pause" else "undone"
        waits.append(WaitView(what="step", text=f"It is to be {obeyed} once the steps under way have ended."))
    if waits and fulfilled(run.plan, run.journal):
        text = "What it was started for is done. What is left clears up after it."
        waits.insert(0, WaitView(what="nothing", text=text))
    return waits or [WaitView(what="nothing", text="It goes on.")]


def _operator(text: str) -> WaitView:
    return WaitView(what="operator", text=text)


def _end(state: State, journal: Journal) -> str:
    match state:
        case State.DONE:
            return "It is done."
        case State.UNDONE:
            return f"It was undone, and nothing of it is left: {journal.reason}."
        case State.DIRTY:
            return f"It was undone but for what its residue names: {journal.reason}."
    return "It was closed as it stood: what it touched is to be looked at."


def _admission(run: Run, known: Known) -> list[WaitView]:
    """What it waits for before it may begin."""
    kind, _, name = run.waits.partition("/")
    until = None if run.due_at is None else moment(run.due_at)
    if kind == "reserve":
        text = f"Too little is left of {name}: it goes on when other runs that hold some have ended."
        return [WaitView(what="reserve", text=text, until=until)]
    if kind != "lock":
        return []
    blocking = known.blocking
    if blocking is None:
        text = f"The lock {name} is free by now: it goes on within seconds."
        return [WaitView(what="lock", text=text, until=until)]
    does = "holds" if blocking.granted else "asked for first"
    if known.foreign:
        return [WaitView(what="lock", text=f"A run of another project {does} the lock {name}.")]
    purpose = f" ({blocking.purpose})" if blocking.purpose else ""
    text = f"Run {blocking.run_id}{purpose}, which is {blocking.state.value}, {does} the lock {name}."
    since = moment(blocking.created_at)
    return [WaitView(what="lock", text=text, run_id=blocking.run_id, since=since)]


def _steps(plan: Plan, journal: Journal, known: Known) -> list[WaitView]:
    """What is under way, and what is to be tried again."""
    waits = []
    began = {one.step: one.time for one in journal.log if one.what == "do" or one.what == "undo"}
    for place, (step, record) in enumerate(zip(plan.steps, journal.steps, strict=True)):
        back = record.state in {StepState.UNDOING, StepState.UNDO_AGAIN}
        name = f"the undo of {step.name}" if back else step.name
        if record.state in {StepState.INTENT, StepState.UNDOING}:
            number = record.undo_tries if back else record.tries
            since = moment(began[place]) if place in began else None
            text = f"Try {number} of {name} is under way."
            waits.append(WaitView(what="step", text=text, site=step.site or None, since=since))
        elif record.state in {StepState.AGAIN, StepState.UNDO_AGAIN, StepState.UNKNOWN}:
            waits.append(_again(name, record.site, record.error, record.at, known))
    return waits


def _again(name: str, site: str, error: str, at: float, known: Known) -> WaitView:
    until = moment(at) if at > known.now else None
    when = f"at {until}" if until else "at once"
    if not site:
        why = f": {error}" if error else ""
        text = f"A try of {name} failed{why}. The next one is {when}."
        return WaitView(what="retry", text=text, until=until)
    seen = known.sites.get(site, SiteSeen(away=False))
    if not seen.away:
        text = f"The site {site} was away for {name} ({error}): it is tried again {when}."
        return WaitView(what="site", text=text, site=site, until=until)
    since = None if seen.since is None else moment(seen.since)
    for_long = f" since {since}" if since else ""
    text = f"The site {site} is away{for_long} ({seen.reason or error}): {name} waits for it."
    return WaitView(what="site", text=text, site=site, since=since, until=until)


def _nobody(run: Run, known: Known) -> list[WaitView]:
    """Why no worker has it."""
    if not known.workers:
        text = "No worker is alive: it goes on when one is (`atoll serve` has one)."
        return [WaitView(what="worker", text=text)]
    if known.unknown:
        actions = ", ".join(sorted(known.unknown))
        text = f"This release does not know {actions}: a worker of another one takes it."
        return [WaitView(what="worker", text=text)]
    if run.due_at is not None and run.due_at <= known.now:
        text = f"It waits for a worker with room: {len(known.workers)} are alive."
        return [WaitView(what="worker", text=text, since=moment(run.due_at))]
    return []
