"""Runs: /atoll/v1/runs. Each is accepted here, and watched, paused, cancelled, killed and redone.

What they look like is in `run_shown`, what can be run in `own_definitions`.
"""

import asyncio
import time
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from atoll.core.errors import BadRequest, Conflict, Forbidden, NotFound
from atoll.core.ids import IdForm, canonical
from atoll.gateway.accepting import accept, may_change
from atoll.gateway.call import Call, Caller
from atoll.gateway.own_openapi import PREFIX
from atoll.gateway.own_route import Asked, In, NoBody, NoQuery, Out, Paging, Route, Stream, Who
from atoll.gateway.parts import Parts
from atoll.gateway.run_compared import Compared, compared
from atoll.gateway.run_events import Following, followed
from atoll.gateway.run_explained import Known, SiteSeen, WaitView, explained
from atoll.gateway.run_shown import (
    Do,
    EntryView,
    RunView,
    WholeRunView,
    allowed,
    entry_views,
    pivoted,
    run_view,
    whole_run_view,
)
from atoll.sites.site import Site
from atoll.store.run_records import Run
from atoll.store.run_views import Wanted
from atoll.workflow.journal import DEAD_LETTERS, State
from atoll.workflow.machine import Signal

PRUNED: Final = 10_000
"""Runs that are dropped in one transaction, and how often in one request."""
PRUNES: Final = 10

Title = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")]
Word = Annotated[str, Meta(max_length=64, pattern=r"^[^\x00-\x1f]*$")]
Path = Annotated[str, Meta(max_length=300, pattern=r"^[^\x00-\x1f]*$")]
Key = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]*$")]
StateWord = Literal[
    "", "queued", "running", "undoing", "paused", "parked", "done", "undone", "dirty", "killed"
]
DONE_TO: Final = {
    "pause": "paused", "resume": "resumed", "cancel": "cancelled", "kill": "killed", "redo": "redone",
}  # fmt: skip


class RunStart(In, frozen=True, kw_only=True):
    """What is to be run: a definition, `name` for its newest version or `name@version`, and its input."""

    definition: Title
    input: dict[str, Any] = msgspec.field(default_factory=dict)
    """As the definition says: GET /runs/definitions/{name}."""
    key: Key | None = None
    """Asked again with the same key, the run of the first time is answered. A project's own."""


class RunQuery(Paging, frozen=True, kw_only=True):
    """Which runs; none named: all that the caller may see."""

    state: StateWord = ""
    definition: Word = ""
    """A name, or `name@version`."""
    project_id: Word = ""
    dead: bool = False
    """Dead letters: what an operator has to look at (parked, dirty, killed)."""
    waits: Path = ""
    """What for: `lock/PATH`, `site/NAME`, `retry`, or the first parts of it."""


class LogQuery(In, frozen=True, kw_only=True):
    """Which part of the log."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    marker: Annotated[str, Meta(max_length=18, pattern=r"^[0-9]*$")] = ""
    """Lines after the one with this number."""


class EventsQuery(In, frozen=True, kw_only=True):
    """Where to go on; the header Last-Event-ID says the same, and counts before this."""

    after: Annotated[int, Meta(ge=0, lt=1 << 53)] = 0
    """Lines of the log after the one with this number."""


class KillReason(In, frozen=True, kw_only=True):
    """Why, for the log."""

    reason: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f]*$")] = ""


class RunPrune(In, frozen=True, kw_only=True):
    """Which are dropped: those that were done or undone so many days ago."""

    older_than_days: Annotated[float, Meta(ge=0, le=36500)]


class RunsPage(Out, frozen=True, kw_only=True):
    """A page of the runs, newest first. It may be short, or empty, where there are more: `next` says."""

    runs: list[RunView]
    next: str | None


class RunAnswer(Out, frozen=True, kw_only=True):
    """One run."""

    run: WholeRunView


class LogPage(Out, frozen=True, kw_only=True):
    """A page of a run's log, oldest first."""

    log: list[EntryView]
    next: str | None


class Explanation(Out, frozen=True, kw_only=True):
    """What a run waits for, in words."""

    run_id: str
    state: State
    waits_for: list[WaitView]
    allowed: list[str]


class Pruned(Out, frozen=True, kw_only=True):
    """How many runs were dropped; `more`: ask again for the rest."""

    pruned: int
    more: bool


async def list_runs(asked: Asked[RunQuery, NoBody]) -> RunsPage:
    """List runs, newest first."""
    query = asked.query
    states = {State(query.state)} if query.state else set(State)
    if query.dead:
        states &= DEAD_LETTERS
    if not states:
        return RunsPage(runs=[], next=None)
    wanted = Wanted(
        states=() if states == set(State) else tuple(sorted(states)),
        definition=query.definition,
        project_id=_project(asked.caller, query.project_id),
        waits=query.waits,
    )
    page = await asked.parts.store.run_views.list_runs(wanted, after=query.marker, limit=query.limit)
    return RunsPage(runs=[run_view(one) for one in page.runs], next=page.next)


async def show_run(asked: Asked[NoQuery, NoBody]) -> RunAnswer:
    """Show a run: its steps with their tries, what they gave, what went wrong, and what may be done now."""
    return RunAnswer(run=whole_run_view(await _own(asked)))


async def start_run(asked: Asked[NoQuery, RunStart]) -> RunAnswer:
    """Have something run. It is accepted once the answer says so, and ends whatever dies meanwhile.

    What cannot be run as things are is refused, with nothing done. `Location` is where it is watched.
    """
    body = asked.body
    run_id = await accept(asked.parts, asked.call, body.definition, body.input, body.key)
    return await started(asked.parts, asked.call, run_id)


async def show_log(asked: Asked[LogQuery, NoBody]) -> LogPage:
    """Show the log of a run: every try, and what became of it. The newest few thousand lines are kept."""
    run = await _own(asked)
    query = asked.query
    if run.plan is None or run.journal is None:
        raise _gone(run.id)
    after = int(query.marker or 0)
    lines = [one for one in run.journal.log if one.number > after]
    page = lines[: query.limit]
    return LogPage(
        log=entry_views(page, [step.name for step in run.plan.steps]),
        next=str(page[-1].number) if len(lines) > len(page) else None,
    )


async def follow_run(asked: Asked[EventsQuery, NoBody]) -> Stream:
    """Follow a run: server-sent events until it has ended.

    `log` is a line of the log, with its number as id; `state`, `progress`, and at last `end`. A stream that
    ends without `end` is to be asked for again, with `Last-Event-ID`.
    """
    run = await _own(asked)
    given = asked.call.header(b"last-event-id").strip()
    if given and not (given.isdecimal() and len(given) <= 18):
        raise BadRequest("Last-Event-ID is to be a number, as `id` of an event said.")
    after = int(given) if given else asked.query.after
    following = Following(asked.parts.store.run_views, run.id, after)
    reply = asked.call.reply
    return Stream(parts=followed(following, lambda: reply.draining))


async def explain_run(asked: Asked[NoQuery, NoBody]) -> Explanation:
    """Say what a run waits for: a lock and who has it, a site, a retry, a worker, an operator."""
    run, parts = await _own(asked), asked.parts
    views = parts.store.run_views
    workers, now = await views.workers()
    blocking = None
    if run.waits.startswith("lock/"):
        blocking = await views.in_the_way(run.waits.removeprefix("lock/"), run.id)
    known = Known(
        now=now,
        workers={one.id for one in workers if one.lease_until >= now},
        sites={site.name: _seen(site) for site in parts.sites},
        blocking=blocking,
        foreign=blocking is not None and not _may_see(asked.caller, blocking.project_id),
        unknown={step.action for step in run.plan.steps} - parts.actions.by_name.keys() if run.plan else (),
    )
    return Explanation(
        run_id=run.id,
        state=run.state,
        waits_for=explained(run, known),
        allowed=list(allowed(run.state, run.stop, pivoted=pivoted(run))),
    )


async def compare_run(asked: Asked[NoQuery, NoBody]) -> Compared:
    """Look what a run has left at the sites, beside what is to be there. Nothing is changed.

    One that acted as its user cannot do so once it has ended well: it is looked at as who asks.
    """
    run, caller = await _own(asked), asked.caller
    token = caller.token if caller.project_id == run.project_id else b""
    return await compared(run, asked.parts.actions.by_name, token)


async def pause_run(asked: Asked[NoQuery, NoBody]) -> RunAnswer:
    """Pause a run once the steps under way have ended. What it holds it keeps."""
    return await _signalled(asked, "pause", Signal.PAUSE)


async def resume_run(asked: Asked[NoQuery, NoBody]) -> RunAnswer:
    """Let a run go on that was paused, or is to be."""
    return await _signalled(asked, "resume", None)


async def cancel_run(asked: Asked[NoQuery, NoBody]) -> RunAnswer:
    """Have a run undone once the steps under way have ended."""
    return await _signalled(asked, "cancel", Signal.TERM)


async def kill_run(asked: Asked[NoQuery, KillReason]) -> RunAnswer:
    """Close a run as it stands, undoing nothing. What it touches is suspect until it was looked at."""
    run = await _may(asked, "kill")
    why = f"by {asked.caller.user_id}"
    if asked.body.reason:
        why += f": {asked.body.reason}"
    if not await asked.parts.store.runs.kill(run.id, why):
        raise await _refusal(asked.parts, run.id, "kill")
    asked.parts.worker.tell(run.id, Signal.TERM)  # it finds its journal closed, and breaks off
    asked.parts.worker.look()  # others may have waited for what it held
    return await _shown(asked.parts, run.id)


async def redo_run(asked: Asked[NoQuery, NoBody]) -> RunAnswer:
    """Try a run once more that was undone, ended in the middle, or waits for an operator."""
    run = await _may(asked, "redo")
    trust_id = await _trusted_anew(asked, run)
    if await asked.parts.store.runs.redo(run.id, trust_id=trust_id) is None:
        await asked.parts.delegation.drop(trust_id)
        raise await _refusal(asked.parts, run.id, "redo")
    if trust_id:
        await asked.parts.delegation.drop(run.acting.trust_id)
    asked.parts.worker.look()
    return await _shown(asked.parts, run.id)


async def _trusted_anew(asked: Asked[NoQuery, NoBody], run: Run) -> str:
    """A trust for a run that acts as its user and is redone by that one; "": it keeps what it has."""
    if not run.acting.trust_id:
        return ""
    if (asked.caller.user_id, asked.caller.project_id) == (run.user_id, run.project_id):
        return await asked.parts.delegation.make(asked.call)
    if run.state is State.UNDONE:
        text = f"The run {run.id} acts as the user {run.user_id} and is undone: only that user redoes it."
        raise Conflict(text, resource="run", id=run.id)
    return ""


async def prune_runs(asked: Asked[NoQuery, RunPrune]) -> Pruned:
    """Drop runs that ended well long ago. Dead letters stay until they are redone."""
    pruned = 0
    for _ in range(PRUNES):
        dropped = await asked.parts.store.runs.prune(asked.body.older_than_days * 86400.0, PRUNED)
        pruned += dropped
        if dropped < PRUNED:
            return Pruned(pruned=pruned, more=False)
    return Pruned(pruned=pruned, more=True)


async def started(parts: Parts, call: Call, run_id: str) -> RunAnswer:
    """What is answered where a run was accepted."""
    call.extra_lines.append(b"Location: %b\r\n" % f"{PREFIX}/runs/{run_id}".encode())
    return await _shown(parts, run_id)


async def _signalled(asked: Asked[NoQuery, NoBody], do: Do, signal: Signal | None) -> RunAnswer:
    """Put down what somebody wants of a run, and tell its worker. Asked twice it is done once."""
    run = await _may(asked, do, signal)
    parts = asked.parts
    if signal is None or run.stop != signal.value:
        if not await parts.store.runs.signal(run.id, signal):
            raise await _refusal(parts, run.id, do)
        parts.worker.tell(run.id, signal)
    return await _shown(parts, run.id)


async def _may(
    asked: Asked[NoQuery, NoBody] | Asked[NoQuery, KillReason], do: Do, signal: Signal | None = None
) -> Run:
    """The run named, where something may be done with it now. Raises Forbidden, NotFound, Conflict."""
    may_change(asked.caller)
    run = await _own(asked)
    asked_before = signal is not None and run.stop == signal.value
    if not asked_before and do not in allowed(run.state, run.stop, pivoted=pivoted(run)):
        raise _conflict(run, do)
    return run


async def _refusal(parts: Parts, run_id: str, do: Do) -> Exception:
    """What to say where a run changed between the look and the act."""
    run = await parts.store.run_views.show(run_id)
    return _gone(run_id) if run is None else _conflict(run, do)


def _conflict(run: Run, do: Do) -> Conflict:
    late = pivoted(run)
    now = ", ".join(allowed(run.state, run.stop, pivoted=late)) or "nothing"
    why = f"is {run.state.value}"
    if do == "cancel" and late and run.ended_at is None:
        why += " and past a step that cannot be undone"
    text = f"The run {run.id} {why}: it cannot be {DONE_TO[do]}. Allowed now: {now}."
    return Conflict(text, resource="run", id=run.id)


async def _shown(parts: Parts, run_id: str) -> RunAnswer:
    run = await parts.store.run_views.show(run_id)
    if run is None:
        raise _gone(run_id)
    return RunAnswer(run=whole_run_view(run))


async def _own(
    asked: Asked[NoQuery, NoBody]
    | Asked[NoQuery, KillReason]
    | Asked[LogQuery, NoBody]
    | Asked[EventsQuery, NoBody],
) -> Run:
    """The run named, where the caller may see it. Raises NotFound."""
    (name,) = asked.names
    run_id = canonical(IdForm.UUID, name)
    run = await asked.parts.store.run_views.show(run_id) if run_id else None
    if run is None or not _may_see(asked.caller, run.project_id):
        raise _gone(name)
    return run


def _gone(run_id: str) -> NotFound:
    return NotFound(f"There is no run {run_id}.", resource="run", id=run_id)


def _may_see(caller: Caller, project_id: str) -> bool:
    return caller.is_admin or (bool(caller.project_id) and project_id == caller.project_id)


def _project(caller: Caller, project_id: str) -> str:
    """Whose: "" for all, of administrators only."""
    if caller.is_admin:
        return project_id
    if project_id not in {"", caller.project_id} or not caller.project_id:
        raise Forbidden("Only administrators see the runs of other projects.")
    return caller.project_id


def _seen(site: Site) -> SiteSeen:
    """How a site is; away where any of its services is."""
    now = asyncio.get_running_loop().time()
    for name, endpoint in site.endpoints.items():
        origin = endpoint.origin
        if not origin.breaker.closed:
            since = time.time() - (now - origin.steadiness.since)
            return SiteSeen(away=True, reason=f"{name}: {origin.breaker.reason}", since=since)
    return SiteSeen(away=bool(site.trouble), reason=site.trouble)


ROUTES = (
    Route(method="GET", path="/runs", who=Who.OWN, handle=list_runs, query=RunQuery, answer=RunsPage),
    Route(
        method="POST", path="/runs", who=Who.OWN, handle=start_run, body=RunStart, answer=RunAnswer,
        status=202,
    ),
    Route(
        method="POST", path="/runs/prune", who=Who.ADMIN, handle=prune_runs, body=RunPrune, answer=Pruned
    ),
    Route(method="GET", path="/runs/{id}", who=Who.OWN, handle=show_run, answer=RunAnswer),
    Route(
        method="GET", path="/runs/{id}/log", who=Who.OWN, handle=show_log, query=LogQuery, answer=LogPage
    ),
    Route(
        method="GET", path="/runs/{id}/events", who=Who.OWN, handle=follow_run, query=EventsQuery,
        streams=True,
    ),
    Route(method="GET", path="/runs/{id}/explain", who=Who.OWN, handle=explain_run, answer=Explanation),
    Route(method="GET", path="/runs/{id}/compare", who=Who.OWN, handle=compare_run, answer=Compared),
    Route(
        method="POST", path="/runs/{id}/pause", who=Who.OWN, handle=pause_run, body=NoBody, answer=RunAnswer,
        status=202,
    ),
    Route(
        method="POST", path="/runs/{id}/resume", who=Who.OWN, handle=resume_run, body=NoBody,
        answer=RunAnswer, status=202,
    ),
    Route(
        method="POST", path="/runs/{id}/cancel", who=Who.OWN, handle=cancel_run, body=NoBody,
        answer=RunAnswer, status=202,
    ),
    Route(
        method="POST", path="/runs/{id}/kill", who=Who.OWN, handle=kill_run, body=KillReason, answer=RunAnswer
    ),
    Route(
        method="POST", path="/runs/{id}/redo", who=Who.OWN, handle=redo_run, body=NoBody, answer=RunAnswer,
        status=202,
    ),
)  # fmt: skip
