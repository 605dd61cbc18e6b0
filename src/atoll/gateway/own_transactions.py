"""Transactions: /atoll/v1/transactions. Each is a run of the definition `transaction`, under the run's id."""

from typing import Any, Final

import msgspec

from atoll.gateway.accepting import accept, planned
from atoll.gateway.own_route import Asked, NoQuery, Out, Route, Who
from atoll.gateway.own_runs import Key, RunAnswer, started
from atoll.gateway.transaction_run import TransactionInput
from atoll.workflow.plan import Plan, needed
from atoll.workflow.sealed import hidden

TITLE: Final = "transaction"


class NewTransaction(TransactionInput, frozen=True, kw_only=True):
    """What is to be created, and what deleted: all of it, or nothing."""

    key: Key | None = None
    """Asked again with the same key, the run of the first time is answered. A project's own."""


class PlannedStep(Out, frozen=True, kw_only=True):
    """A step as it would be. `after`: all that has to be done before. What is secret is `(sealed)`."""

    name: str
    action: str
    after: list[str]
    pivot: bool
    input: dict[str, Any]


class PlanView(Out, frozen=True, kw_only=True):
    """What would be done, in an order in which none stands before one that it needs."""

    purpose: str
    steps: list[PlannedStep]


class PlanAnswer(Out, frozen=True, kw_only=True):
    """A plan."""

    plan: PlanView


async def start_transaction(asked: Asked[NoQuery, NewTransaction]) -> RunAnswer:
    """Create and delete things of several services and sites, all of them or none, as a run.

    Creates go as they need each other; what one gave stands in the body of another as
    `{"$from": "NAME.id"}`. What is to be deleted is deleted once all is created, since there is no way back
    from that. Where a create is refused, what was created is deleted again.
    """
    run_id = await accept(asked.parts, asked.call, TITLE, _given(asked.body), asked.body.key)
    return await started(asked.parts, asked.call, run_id)


async def plan_transaction(asked: Asked[NoQuery, NewTransaction]) -> PlanAnswer:
    """Show what a transaction would do, and do nothing."""
    return PlanAnswer(plan=_view(await planned(asked.parts, asked.call, TITLE, _given(asked.body))))


def _given(body: NewTransaction) -> dict[str, Any]:
    given: dict[str, Any] = msgspec.to_builtins(body)
    del given["key"]
    return given


def _view(plan: Plan) -> PlanView:
    return PlanView(
        purpose=plan.purpose,
        steps=[
            PlannedStep(
                name=one.name,
                action=one.action,
                after=sorted(needed(one)),
                pivot=one.pivot,
                input=hidden(one.input),
            )
            for one in plan.steps
        ],
    )


ROUTES = (
    Route(
        method="POST", path="/transactions", who=Who.OWN, handle=start_transaction, body=NewTransaction,
        answer=RunAnswer, status=202,
    ),
    Route(
        method="POST", path="/transactions/plan", who=Who.OWN, handle=plan_transaction, body=NewTransaction,
        answer=PlanAnswer,
    ),
)  # fmt: skip
