"""Runs of which something cannot be opened: they wait for an operator, whatever is to be done of them."""

import asyncio
from typing import Any

import pytest
from tests.unit.worker.test_runs import journal_of, runs_of, tell
from tests.unit.worker.world import World, new_run

from atoll.trust.run_secrets import RunSecrets
from atoll.worker.actions import NO_SECRETS, Action, Doing
from atoll.workflow.journal import StepState
from atoll.workflow.machine import Machine, What, Work, fresh
from atoll.workflow.outcomes import Refused, Withheld
from atoll.workflow.plan import Plan, Step

SECRETS = RunSecrets([], "sqlite:///:memory:")


class Site:
    """Makes something, opens what is secret in `do` or `undo` of it, and may refuse what comes after."""

    def __init__(self, opens: str, refusal: str = "") -> None:
        self.opens, self.refusal = opens, refusal
        self.given: list[Any] = []

    def actions(self) -> dict[str, Action]:
        """The steps."""
        make = Action(name="test.make@1", do=self.make, undo=self.unmake)
        return {one.name: one for one in (make, Action(name="test.end@1", do=self.end))}

    async def make(self, doing: Doing) -> None:
        """Make it."""
        self.given.append(doing.opened(doing.input)["user_data"] if self.opens == "do" else "")

    async def unmake(self, doing: Doing) -> None:
        """Have it gone."""
        if self.opens == "undo":
            doing.opened(doing.input)
        self.given.clear()

    async def end(self, doing: Doing) -> None:
        """Say what is wrong, as Nova does."""
        if self.refusal:
            given = doing.opened(doing.input) if "{" in self.refusal else ""
            raise Refused(self.refusal.format(given))


def plan() -> Plan:
    """Something made with a secret, then an end."""
    given = SECRETS.sealed({"name": "vm", "user_data": "hush-hush-hush"})
    make = Step(name="make", action="test.make@1", input=given)
    return Plan(steps=(make, Step(name="end", action="test.end@1", input=given, after=("make",))))


@pytest.mark.parametrize(("opens", "refusal", "end"), [("do", "", "done"), ("undo", "400", "undone")])
def test_it_waits_until_the_key_is_there(opens: str, refusal: str, end: str) -> None:
    async def story(world: World) -> None:
        site = Site(opens, refusal)
        world.actions = lambda _: site.actions()
        world.secrets = NO_SECRETS
        without, _ = await world.worker()
        await without.accept(new_run(plan()))
        assert await world.ended() == "parked"
        journal = journal_of(world)
        assert "there is no key here" in journal.parked
        assert (journal.steps[0].tries, journal.steps[0].undo_tries) == (int(opens == "undo"), 0)
        await asyncio.sleep(600.0)
        assert world.state() == "parked"
        without.abandon()
        world.secrets = SECRETS
        await world.worker()
        await runs_of(world).redo("run-1")
        await asyncio.sleep(60)
        assert world.state() == end
        assert site.given == (["hush-hush-hush"] if end == "done" else [])

    tell(story)


def test_what_a_site_repeats_is_not_written_down() -> None:
    async def story(world: World) -> None:
        site = Site("do", "400: {} is not right")
        world.actions, world.secrets = (lambda _: site.actions()), SECRETS
        worker, _ = await world.worker()
        await worker.accept(new_run(plan()))
        assert await world.ended() == "undone"
        assert "'user_data': '(sealed)'" in journal_of(world).reason
        assert "hush" not in str(world.store.rows("SELECT * FROM runs"))

    tell(story)


@pytest.mark.parametrize(
    ("state", "what", "then"),
    [
        (StepState.INTENT, What.DO, StepState.AGAIN),
        (StepState.UNKNOWN, What.VERIFY, StepState.UNKNOWN),
        (StepState.UNDOING, What.UNDO, StepState.UNDO_AGAIN),
    ],
)
def test_it_costs_no_try(state: StepState, what: What, then: StepState) -> None:
    journal = fresh(plan())
    record = journal.steps[0]
    record.state, record.tries, record.looks, record.undo_tries = state, 3, 3, 3
    journal.back = what is What.UNDO
    Machine(plan(), journal, float).settle(Work(0, what), Withheld("the key abcd is not there"), 100.0)
    assert (record.state, record.tries + record.looks + record.undo_tries) == (then, 8)
    assert "abcd" in journal.parked
    assert journal.reason
