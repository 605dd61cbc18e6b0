"""What a run has left at the sites, looked at now, beside what is to be there. It changes nothing.

To make the sites as they are to be is to have the run redone.
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from atoll.core.errors import AtollError, BadRequest
from atoll.gateway.own_route import Out
from atoll.store.run_records import Run
from atoll.worker.actions import Action, Doing, Left
from atoll.workflow.journal import Journal, State, StepRecord, StepState
from atoll.workflow.machine import past_pivot
from atoll.workflow.outcomes import Failure
from atoll.workflow.plan import Plan, Step, references, resolved

SECONDS: Final = 30.0
"""How long the look at one step may take."""

SIDE_BY_SIDE: Final = 8

REDONE: Final = frozenset({State.KILLED, State.DIRTY, State.PARKED})

OVER: Final = frozenset({State.DONE, State.UNDONE})
"""Their trusts have ended."""

_NOTHING: Final = frozenset({StepState.WAITING, StepState.UNDONE})


class ComparedStep(Out, frozen=True, kw_only=True):
    """A step that may have left something."""

    name: str
    site: str
    action: str
    journal: str
    """How it stands in the journal."""
    there: str
    """What is there of it now, in words; "" for nothing."""
    unknown: str
    """Why that cannot be told; "" where it can."""
    wanted: bool
    """It is to be there."""


class Compared(Out, frozen=True, kw_only=True):
    """A run beside the sites. `differs`: the names of the steps of which the sites are not as they are to be.

    `fix`: what makes them so; "" where nothing does, or a worker has the run.
    """

    run_id: str
    state: State
    steps: list[ComparedStep]
    differs: list[str]
    fix: Literal["redo", ""]


async def compared(run: Run, actions: Mapping[str, Action], token: bytes = b"") -> Compared:
    """Look at all that a run may have left at the sites; it was read with its plan and its journal.

    `token`: of somebody of its project, for a run that has ended well and cannot act as its user any more.
    """
    if run.plan is None or run.journal is None:
        raise ValueError(f"the run {run.id} was read without its plan")
    turn, pivoted = asyncio.Semaphore(SIDE_BY_SIDE), past_pivot(run.plan, run.journal)
    back = run.journal.back or (run.state in {State.KILLED, State.DIRTY} and not pivoted)

    async def look(step: Step, doing: Doing, left: Left, record: StepRecord) -> ComparedStep:
        async with turn:
            there, unknown = await _looked(doing, left)
        return ComparedStep(
            name=step.name,
            site=step.site,
            action=step.action,
            journal=record.state.value,
            there=there,
            unknown=unknown,
            wanted=not back and not step.pivot,
        )

    every = _to_look_at(run, run.plan, run.journal, actions, token if run.state in OVER else b"")
    steps = await asyncio.gather(*(look(*one) for one in every))
    differs = [one.name for one in steps if one.unknown or bool(one.there) != one.wanted]
    return Compared(
        run_id=run.id,
        state=run.state,
        steps=list(steps),
        differs=differs,
        fix="redo" if run.state in REDONE else "",
    )


def _to_look_at(
    run: Run, plan: Plan, journal: Journal, actions: Mapping[str, Action], token: bytes
) -> Iterator[tuple[Step, Doing, Left, StepRecord]]:
    """The steps that may have left something."""
    records = list(zip(plan.steps, journal.steps, strict=True))
    results = {step.name: record.result for step, record in records}
    for place, (step, record) in enumerate(records):
        action = actions.get(step.action)
        if (
            action is None
            or action.left is None
            or record.tries == 0
            or record.state in _NOTHING
            or record.clean
        ):
            continue
        try:
            given = resolved(step.input, results) if any(references(step.input)) else step.input
        except BadRequest:
            continue  # what it needed never came to be
        doing = Doing(
            run_id=run.id,
            mark=f"{run.id}.{journal.generation}.{place}",
            site=step.site,
            input=given,
            result=record.result,
            project_id=run.project_id,
            user_id=run.user_id,
            acting=run.acting,
            token=token,
            lease=lambda: SECONDS,
            progress=lambda *_: None,
        )
        yield step, doing, action.left, record


async def _looked(doing: Doing, left: Left) -> tuple[str, str]:
    """(what is there, why that cannot be told)."""
    try:
        async with asyncio.timeout(SECONDS):
            return await left(doing), ""
    except (Failure, AtollError) as error:
        return "", str(error) or type(error).__name__
    except TimeoutError:
        return "", f"there was no answer within {SECONDS:g} s"
