"""How runs go: what waits, what is refused, what is obeyed, what is left over."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.unit.worker.world import World, chain, fan, new_run
from tests.virtual import Mortal, run_virtually

from atoll.core.errors import Conflict
from atoll.store.database import Access, StoreError
from atoll.store.run_records import Acting
from atoll.store.runs import Runs
from atoll.worker.actions import Action
from atoll.worker.worker import Settings, Worker
from atoll.workflow.journal import Journal, StepState
from atoll.workflow.locks import Mode, Want
from atoll.workflow.machine import Machine, Signal, What, fresh
from atoll.workflow.outcomes import Absent, Done, Refused, Unknown
from atoll.workflow.plan import Plan, Reserve, Step

Story = Callable[[World], Awaitable[None]]


def tell(story: Story, seed: int = 0) -> None:
    """Run a story in a world of its own."""

    async def told() -> None:
        world = World(seed)
        await story(world)
        await world.close()

    run_virtually(told())


def runs_of(world: World) -> Runs:
    """The journal, as the API has it."""
    return Runs(Mortal(world.store))


def journal_of(world: World, ident: str = "run-1") -> Journal:
    """What is written of a run."""
    text = world.store.rows(f"SELECT journal FROM runs WHERE id = '{ident}'")[0][0]  # noqa: S608
    return msgspec.json.decode(text, type=Journal)


def said(world: World, ident: str = "run-1") -> list[str]:
    """What the log says, by its words."""
    return [entry.what for entry in journal_of(world, ident).log]


def test_what_cannot_be_undone_is_residue_and_the_rest_is_undone() -> None:
    async def story(world: World) -> None:
        world.place.stuck, world.place.refused = {"m1"}, {"last"}
        worker, _ = await world.worker()
        await worker.accept(new_run(fan(3)))
        assert await world.ended(seconds=86400) == "dirty"
        # What the stuck one needs stays, the others are gone.
        assert set(world.place.things) == {"run-1.1.0", "run-1.1.2"}
        steps = journal_of(world).steps
        assert [one.state for one in steps] == ["residue", "undone", "residue", "undone", "failed"]
        assert "409" in steps[2].error
        assert world.held() == 0
        world.place.stuck = set()
        assert await runs_of(world).redo("run-1") == "dirty"
        assert await world.ended() == "undone"
        assert world.place.things == {}

    tell(story)


def test_what_a_dirty_run_touched_is_suspect_until_it_is_undone_after_all() -> None:
    async def story(world: World) -> None:
        world.place.stuck, world.place.refused = {"s0"}, {"s1"}
        plan = chain(2, touches=("server/x",))
        worker, _ = await world.worker()
        await worker.accept(new_run(plan))
        assert await world.ended(seconds=86400) == "dirty"
        with pytest.raises(Conflict, match=r"server/x is suspect since run run-1"):
            await worker.accept(new_run(plan, "run-2"))
        assert not world.store.rows("SELECT 1 FROM runs WHERE id = 'run-2'")
        world.place.stuck = set()
        await runs_of(world).redo("run-1")
        assert await world.ended() == "undone"
        world.place.refused = set()
        await worker.accept(new_run(plan, "run-3"))
        assert await world.ended("run-3") == "done"

    tell(story)


def test_a_run_that_wants_a_lock_waits_for_it_and_goes_on_when_it_is_free() -> None:
    async def story(world: World) -> None:
        worker, _ = await world.worker()
        assert (await worker.accept(new_run(chain(6)))).held
        second = await worker.accept(new_run(chain(2), "run-2"))
        assert (second.held, second.waits) == (False, "lock/project/p/server/x")
        assert await world.ended() == "done"
        freed = asyncio.get_running_loop().time()
        assert await world.ended("run-2") == "done"
        assert asyncio.get_running_loop().time() - freed < 1.0
        assert world.held() == 0

    tell(story)


def test_locks_are_given_in_the_order_of_asking_so_that_no_writer_starves() -> None:
    async def story(world: World) -> None:
        def one(ident: str, mode: Mode) -> Any:
            step = Step(name="s", action="test.make@1")
            return new_run(Plan(steps=(step,), locks=(Want("project/p", mode),)), ident)

        journal = runs_of(world)
        assert (await journal.accept(one("r1", Mode.R))).waits == ""
        assert (await journal.accept(one("w", Mode.W))).waits == "lock/project/p"
        assert (await journal.accept(one("r2", Mode.R))).waits == "lock/project/p"

    tell(story)


def test_a_run_that_there_was_no_room_for_begins_as_soon_as_there_is() -> None:
    async def story(world: World) -> None:
        mortal = Mortal(world.store)
        worker = Worker(Runs(mortal), world.place.actions(mortal), Settings(runs=1, poll=60.0))
        world.workers.append(worker)
        await worker.start()
        first = await worker.accept(new_run(chain(1), "run-1"))
        alone = Plan(steps=(Step(name="a", action="test.make@1", input={"name": "a"}),))
        second = await worker.accept(new_run(alone, "run-2"))
        assert (first.held, second.held) == (True, False)
        assert await world.ended("run-2", seconds=5.0) == "done"

    tell(story)


def test_more_than_there_is_is_refused_and_what_is_taken_for_now_is_waited_for() -> None:
    async def story(world: World) -> None:
        step = Step(name="s", action="test.make@1")
        worker, _ = await world.worker()

        def plan(amount: float, *, refuse: bool) -> Plan:
            return Plan(
                steps=(step,), reserves=(Reserve(name="link", amount=amount, limit=2, refuse=refuse),)
            )

        assert (await worker.accept(new_run(plan(2, refuse=True), "a"))).held
        with pytest.raises(Conflict, match=r"link: 2 of 2 are taken, and it needs 1"):
            await worker.accept(new_run(plan(1, refuse=True), "b"))
        with pytest.raises(Conflict, match="it needs 3"):
            await worker.accept(new_run(plan(3, refuse=False), "c"))
        assert (await worker.accept(new_run(plan(1, refuse=False), "d"))).waits == "reserve/link"
        assert await world.ended("d") == "done"
        assert [row[0] for row in world.store.rows("SELECT id FROM runs ORDER BY id")] == ["a", "d"]

    tell(story)


def test_a_site_that_is_away_costs_no_try_and_wakes_what_waits_for_it() -> None:
    async def story(world: World) -> None:
        world.place.away = {"oslo"}
        worker, _ = await world.worker()
        for number in range(50):
            plan = Plan(steps=chain(3).steps)
            await worker.accept(new_run(plan, f"run-{number}"))
        await asyncio.sleep(900)
        assert worker.running == 0  # nobody sits and waits
        assert journal_of(world).steps[1].tries == 0
        assert len(journal_of(world).log) < 10
        world.place.away = set()
        assert await runs_of(world).wake("site/oslo") == 50
        back = asyncio.get_running_loop().time()
        for number in range(50):
            assert await world.ended(f"run-{number}") == "done"
        assert asyncio.get_running_loop().time() - back < 3.0

    tell(story)


def test_a_site_that_comes_back_is_found_without_being_told() -> None:
    async def story(world: World) -> None:
        world.place.away = {"oslo"}
        worker, _ = await world.worker()
        await worker.accept(new_run(chain(3)))
        await asyncio.sleep(100)
        world.place.away = set()
        assert await world.ended(seconds=70) == "done"

    tell(story)


@pytest.mark.parametrize("when", [0.0, 0.06, 0.2])
def test_a_paused_run_stands_until_it_is_told_to_go_on(when: float) -> None:
    async def story(world: World) -> None:
        worker, _ = await world.worker()
        await worker.accept(new_run(chain(6)))
        await asyncio.sleep(when)
        assert await runs_of(world).signal("run-1", Signal.PAUSE)
        worker.tell("run-1", Signal.PAUSE)
        assert await world.ended() == "paused"
        made = dict(world.place.made)
        assert len(made) < 6
        await asyncio.sleep(1000)
        assert world.place.made == made
        assert worker.running == 0
        await runs_of(world).signal("run-1", None)
        await asyncio.sleep(1)
        assert await world.ended() == "done"

    tell(story)


def test_any_worker_obeys_what_was_said_while_nobody_had_the_run() -> None:
    async def story(world: World) -> None:
        await runs_of(world).accept(new_run(chain(3)))
        await runs_of(world).signal("run-1", Signal.TERM)
        await world.worker()
        assert await world.ended() == "undone"
        assert world.place.made == {}

    tell(story)


@pytest.mark.parametrize(("signal", "end"), [(Signal.TERM, "undone"), (Signal.PAUSE, "paused")])
def test_a_run_that_waits_for_a_lock_obeys_all_the_same(signal: Signal, end: str) -> None:
    async def story(world: World) -> None:
        world.place.away = {"paris", "oslo"}
        worker, _ = await world.worker()
        await worker.accept(new_run(chain(2)))
        await worker.accept(new_run(chain(2), "run-2"))
        await asyncio.sleep(1)
        await runs_of(world).signal("run-2", signal)
        assert await world.ended("run-2", seconds=5) == end
        assert not any(record.tries for record in journal_of(world, "run-2").steps)
        world.place.away = set()
        await runs_of(world).wake("site/paris")
        assert await world.ended(seconds=60) == "done"
        if signal is Signal.PAUSE:
            assert world.state("run-2") == "paused"
            await runs_of(world).signal("run-2", None)
            await asyncio.sleep(5)
            assert world.state("run-2") == "done"
        assert world.held() == 0

    tell(story)


def test_a_cancel_that_came_before_it_was_told_to_go_on_stands() -> None:
    async def story(world: World) -> None:
        await runs_of(world).accept(new_run(chain(2)))
        await runs_of(world).signal("run-1", Signal.TERM)
        await runs_of(world).signal("run-1", None)
        await world.worker()
        assert await world.ended() == "undone"

    tell(story)


def test_a_step_that_takes_long_is_broken_off_when_its_run_is_killed_elsewhere() -> None:
    async def story(world: World) -> None:
        gone: list[str] = []

        async def long(_: object) -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                gone.append("broken off")

        action = Action(name="test.long@1", do=long)
        worker = Worker(runs_of(world), {"test.long@1": action}, Settings())
        await worker.start()
        world.workers.append(worker)
        await worker.accept(new_run(Plan(steps=(Step(name="s", action="test.long@1", seconds=7200),))))
        await asyncio.sleep(2)
        await runs_of(world).kill("run-1", "by somebody at another gateway")
        await asyncio.sleep(1.5)
        assert (gone, worker.running) == (["broken off"], 0)
        assert world.state() == "killed"

    tell(story)


def test_a_signal_reaches_a_worker_of_another_machine_by_its_next_beat() -> None:
    async def story(world: World) -> None:
        worker, _ = await world.worker()
        steps = tuple(
            Step(name=f"s{n}", action="test.make@1", after=(f"s{n - 1}",) if n else ()) for n in range(100)
        )
        await worker.accept(new_run(Plan(steps=steps)))
        await runs_of(world).signal("run-1", Signal.TERM)
        await asyncio.sleep(1.2)
        assert "turned" in said(world)
        assert await world.ended() == "undone"
        assert world.place.things == {}

    tell(story)


def test_a_killed_run_is_closed_at_once_and_what_it_touched_is_suspect() -> None:
    async def story(world: World) -> None:
        plan = chain(6, touches=("server/x",))
        worker, _ = await world.worker()
        await worker.accept(new_run(plan))
        await asyncio.sleep(0.12)
        assert await runs_of(world).kill("run-1", "asked for by alice")
        assert world.state() == "killed"
        assert world.held() == 0
        made = len(world.place.made)
        await asyncio.sleep(10)
        assert len(world.place.made) <= made + 1  # what was on its way to a site
        assert worker.running == 0
        assert not await runs_of(world).kill("run-1", "again")
        assert world.store.rows("SELECT resource, run_id FROM suspects") == [("server/x", "run-1")]
        assert await runs_of(world).redo("run-1") == "killed"
        await asyncio.sleep(5)
        assert world.state() == "undone"
        assert world.place.things == {}
        assert world.store.rows("SELECT resource FROM suspects") == []

    tell(story)


async def killing(world: World) -> None:
    """A run that one worker after the other died of, and one more that looks at it."""
    first, _ = await world.worker(dies_at=2, after=True)
    await first.accept(new_run(chain(3)))
    for _ in range(8):
        await world.worker(dies_at=2)
        await asyncio.sleep(5)
    await world.worker()
    assert await world.ended() == "parked"


def test_a_run_that_kills_its_workers_is_parked_for_an_operator() -> None:
    async def story(world: World) -> None:
        await killing(world)
        assert "workers died" in journal_of(world).reason
        assert await runs_of(world).redo("run-1") == "parked"
        await asyncio.sleep(5)
        assert world.state() == "done"
        assert max(world.place.made.values()) == 1

    tell(story)


def test_a_run_that_kills_its_workers_can_be_cancelled() -> None:
    async def story(world: World) -> None:
        await killing(world)
        await runs_of(world).signal("run-1", Signal.TERM)
        await asyncio.sleep(5)
        assert world.state() == "undone"
        assert world.place.things == {}
        assert world.held() == 0

    tell(story)


def test_a_pivot_has_no_way_back() -> None:
    async def story(world: World) -> None:
        world.place.refused = {"s2"}
        steps = chain(3).steps
        plan = Plan(steps=(steps[0], msgspec.structs.replace(steps[1], pivot=True), steps[2]))
        worker, _ = await world.worker()
        await worker.accept(new_run(plan))
        assert await world.ended() == "parked"
        assert set(world.place.things) == {"run-1.1.0", "run-1.1.1"}
        world.place.refused = set()
        await runs_of(world).redo("run-1")
        await asyncio.sleep(5)
        assert world.state() == "done"
        assert world.place.made == {f"run-1.1.{place}": 1 for place in range(3)}

    tell(story)


def test_an_undone_run_that_is_redone_makes_everything_anew() -> None:
    async def story(world: World) -> None:
        world.place.refused = {"s2"}
        worker, _ = await world.worker()
        await worker.accept(new_run(chain(3)))
        assert await world.ended() == "undone"
        world.place.refused = set()
        assert await runs_of(world).redo("run-1") == "undone"
        worker.look()
        await asyncio.sleep(5)
        assert world.state() == "done"
        assert world.place.things == {f"run-1.2.{place}": 1 for place in range(3)}

    tell(story)


def test_what_failed_days_ago_can_still_be_redone() -> None:
    async def story(world: World) -> None:
        world.place.refused = {"s2"}
        worker, _ = await world.worker()
        await worker.accept(new_run(chain(3)))
        assert await world.ended() == "undone"
        worker.abandon()
        await asyncio.sleep(30 * 86400.0)
        world.place.refused = set()
        await world.worker()
        await runs_of(world).redo("run-1")
        await asyncio.sleep(5)
        assert world.state() == "done"

    tell(story)


def test_a_key_that_is_used_again_gives_the_run_of_the_first_time() -> None:
    async def story(world: World) -> None:
        worker, _ = await world.worker()
        acting = Acting(asked="a digest")
        first = await worker.accept(new_run(chain(2), "a", request_key="deploy-7", acting=acting))
        again = await worker.accept(new_run(chain(3), "b", request_key="deploy-7"))
        assert (first.id, again.id, again.again, again.asked) == ("a", "a", True, "a digest")
        await world.ended("a")
        assert world.held() == 0

    tell(story)


def test_a_store_that_is_away_for_half_a_minute_loses_nothing() -> None:
    async def story(world: World) -> None:
        worker, _ = await world.worker()
        await world.worker()
        await worker.accept(new_run(chain(6)))
        await asyncio.sleep(0.12)
        world.store.away = True
        await asyncio.sleep(30)
        assert worker.running == 0
        world.store.away = False
        await asyncio.sleep(10)
        assert world.state() == "done"
        assert world.place.made == {f"run-1.1.{place}": 1 for place in range(6)}

    tell(story)


class Deaf(Mortal):
    """A store whose answer to one commit is lost."""

    def __init__(self, world: World) -> None:
        super().__init__(world.store)
        self._loses = True

    async def run(self, access: Access, work: Any) -> Any:
        given = await super().run(access, work)
        if access is Access.DURABLE and self._loses:
            self._loses = False
            raise StoreError("the answer was lost")
        return given


@pytest.mark.parametrize("plan", [chain(3), Plan(steps=chain(3).steps)], ids=["with locks", "without"])
def test_a_run_whose_acceptance_was_answered_by_nobody_is_done_all_the_same(plan: Plan) -> None:
    async def story(world: World) -> None:
        deaf = Deaf(world)
        worker = Worker(Runs(deaf), world.actions(deaf), Settings())
        await worker.start()
        world.workers.append(worker)
        with pytest.raises(StoreError):
            await worker.accept(new_run(plan))
        assert await world.ended(seconds=10) == "done"
        assert world.place.made == {f"run-1.1.{place}": 1 for place in range(3)}

    tell(story)


def test_a_run_that_was_taken_up_and_nobody_was_told_is_done_all_the_same() -> None:
    async def story(world: World) -> None:
        await runs_of(world).accept(new_run(chain(3)))
        deaf = Deaf(world)
        worker = Worker(Runs(deaf), world.actions(deaf), Settings())
        await worker.start()
        world.workers.append(worker)
        assert await world.ended(seconds=10) == "done"

    tell(story)


def test_what_this_release_does_not_know_is_left_to_a_worker_that_does() -> None:
    async def story(world: World) -> None:
        worker, _ = await world.worker()
        plan = Plan(steps=(Step(name="s", action="later.thing@3"),))
        await runs_of(world).accept(new_run(plan))
        await asyncio.sleep(100)
        assert (world.state(), worker.running) == ("queued", 0)
        assert world.store.rows("SELECT takeovers FROM runs") == [(0,)]

    tell(story)


def test_what_a_step_gives_has_to_be_json_and_small() -> None:
    async def story(world: World) -> None:
        async def odd(_: object) -> object:
            return {"it": object()}

        async def large(_: object) -> object:
            return "x" * 100_000

        async def broken(_: object) -> object:
            raise KeyError("secret")

        actions = {
            f"test.{name}@1": Action(name=f"test.{name}@1", do=do)
            for name, do in (("odd", odd), ("large", large), ("broken", broken))
        }
        worker = Worker(runs_of(world), actions, Settings())
        await worker.start()
        world.workers.append(worker)
        for name in actions:
            await worker.accept(new_run(Plan(steps=(Step(name="s", action=name),)), name))
            assert await world.ended(name) == "undone"
        assert "cannot be stored" in journal_of(world, "test.odd@1").reason
        assert "100,002 bytes" in journal_of(world, "test.large@1").reason
        assert journal_of(world, "test.broken@1").reason == "s: a fault of Atoll's: KeyError"

    tell(story)


def test_a_refusal_after_a_try_whose_answer_was_lost_is_undone_all_the_same() -> None:
    plan = Plan(steps=(Step(name="s", action="test.make@1"),))
    machine = Machine(plan, fresh(plan), lambda _: 1.0)
    (do,) = machine.advance(0.0, None)
    machine.settle(do, Unknown("lost"), 1.0)
    (look,) = machine.advance(1.0, None)
    assert look.what is What.VERIFY
    machine.settle(look, Absent(), 2.0)  # it may still be on its way
    (again,) = machine.advance(2.0, None)
    machine.settle(again, Refused("there is one already"), 3.0)
    (undo,) = machine.advance(3.0, None)
    assert undo.what is What.UNDO
    machine.settle(undo, Done(), 4.0)
    assert machine.rest(None).state == "undone"


def test_an_outcome_that_nobody_can_tell_is_for_an_operator() -> None:
    plan = Plan(steps=(Step(name="s", action="test.make@1"),))
    machine = Machine(plan, fresh(plan), lambda _: 1.0)
    (work,) = machine.advance(0.0, None)
    now = 0.0
    for _ in range(20):
        machine.settle(work, Unknown("it says nothing"), now)
        now += 100.0
        works = machine.advance(now, None)
        if not works:
            break
        (work,) = works
    assert machine.rest(None).state == "parked"
    assert machine.journal.steps[0].state is StepState.UNKNOWN
