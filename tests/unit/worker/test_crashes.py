"""A worker that dies at any commit: another one ends what it began, and nothing is lost or made twice."""

import asyncio

import msgspec
import pytest
from tests.unit.worker.world import World, chain, fan, new_run
from tests.virtual import Mortal, run_virtually

from atoll.store.runs import Runs
from atoll.worker.worker import Worker
from atoll.workflow.journal import Journal
from atoll.workflow.machine import Signal
from atoll.workflow.plan import Plan

PLANS = {"chain": chain(6), "fan": fan(4), "one": chain(1)}
COMMITS = {"chain": 7, "fan": 5, "one": 2}  # of the way forward: steps side by side share them
STORIES = ("forward", "refused", "cancelled")


async def _story(world: World, plan: Plan, story: str, *, dies_at: int, after: bool) -> tuple[str, int]:
    """Run a plan by a worker that dies at a commit, with another one there: its end, the first's commits."""
    if story == "refused":
        world.place.refused = {plan.steps[-1].name}
    worker, mortal = await world.worker(dies_at=dies_at, after=after)
    accepting = asyncio.create_task(worker.accept(new_run(plan)))
    await asyncio.wait(
        {accepting, died := asyncio.create_task(mortal.died.wait())}, return_when="FIRST_COMPLETED"
    )
    second, _ = await world.worker()
    if mortal.dead and not world.store.rows("SELECT 1 FROM runs"):
        await second.accept(new_run(plan))  # nobody was told that it was accepted: asked for once more
    if story == "cancelled":
        await asyncio.sleep(0.12)
        await Runs(Mortal(world.store)).signal("run-1", Signal.TERM)
    state = await world.ended()
    for task in (accepting, died):
        task.cancel()
    await world.close()
    return state, mortal.commits


def _check(world: World, plan: Plan, story: str, state: str) -> None:
    marks = [f"run-1.1.{place}" for place in range(len(plan.steps))]
    assert world.held() == 0
    if state == "done":
        assert story in {"forward", "cancelled"}
        assert world.place.things == dict.fromkeys(marks, 1)
    else:
        assert (state, story == "forward") == ("undone", False)
        assert world.place.things == {}
    assert max(world.place.made.values(), default=0) <= 1


@pytest.mark.parametrize(
    ("name", "story"),
    # A plan of one step has nothing to undo when it is refused.
    [(name, story) for name in PLANS for story in STORIES if name != "one" or story == "forward"],
)
def test_every_crash_point_of_a_plan_ends_as_if_nobody_had_died(name: str, story: str) -> None:
    plan = PLANS[name]

    async def clean() -> int:
        world = World()
        state, commits = await _story(world, plan, story, dies_at=0, after=False)
        _check(world, plan, story, state)
        return commits

    async def crashed(at: int, *, after: bool) -> bool:
        world = World()
        state, _ = await _story(world, plan, story, dies_at=at, after=after)
        _check(world, plan, story, state)
        return True

    commits = run_virtually(clean())
    assert commits >= COMMITS[name]
    for at in range(1, commits + 1):
        for after in (False, True):
            assert run_virtually(crashed(at, after=after)), (at, after)


@pytest.mark.parametrize("seed", range(30))
def test_workers_that_die_among_sites_that_fail_leave_no_trace_of_it(seed: int) -> None:
    async def story() -> None:
        world = World(seed)
        world.place.faults = 0.15
        plans = [chain(4), fan(3)]
        for number, plan in enumerate(plans * 2):
            worker, _ = await world.worker(
                dies_at=world.random.randint(2, 12), after=world.random.random() < 0.5
            )
            asyncio.create_task(worker.accept(new_run(plan, f"run-{number}")))  # noqa: RUF006 - it may die
        await asyncio.sleep(1.0)
        survivor, _ = await world.worker()
        for number, plan in enumerate(plans * 2):
            if not world.knows(f"run-{number}"):
                await survivor.accept(new_run(plan, f"run-{number}"))
        for number, plan in enumerate(plans * 2):
            state = await world.ended(f"run-{number}", seconds=86400.0)
            marks = {f"run-{number}.1.{place}": 1 for place in range(len(plan.steps))}
            there = {
                mark: count for mark, count in world.place.things.items() if mark.startswith(f"run-{number}.")
            }
            assert there == (marks if state == "done" else {}), state
            assert state in {"done", "undone"}
        assert world.held() == 0
        await world.close()

    run_virtually(story())


async def _stood_still(world: World, worker: Worker, mortal: Mortal) -> None:
    """Have a worker stand still where it does, another one take over, and the first go on."""
    accepting = asyncio.create_task(worker.accept(new_run(chain(4))))
    await mortal.frozen.wait()
    worker._loops[0].cancel()  # noqa: SLF001 - it does not learn from a beat that its lease is over
    second, _ = await world.worker()
    while not second.running:  # noqa: ASYNC110 - what is waited for is in other code
        await asyncio.sleep(0.01)
    mortal.thaw()
    assert await world.ended() == "done"
    await asyncio.sleep(10.0)
    assert worker.running == 0
    await accepting


@pytest.mark.parametrize(
    ("commit", "after"), [(commit, after) for commit in (2, 3, 4, 5) for after in (False, True)][:-1]
)
def test_a_worker_that_stood_still_past_its_lease_does_nothing_more(commit: int, *, after: bool) -> None:
    async def story() -> None:
        world = World()
        await _stood_still(world, *await world.worker(freezes_at=commit, after=after))
        assert world.place.made == {f"run-1.1.{place}": 1 for place in range(4)}
        await world.close()

    run_virtually(story())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("commit", [2, 3, 4])
def test_who_does_not_know_that_its_lease_is_over_cannot_write(commit: int, *, after: bool) -> None:
    async def story() -> None:
        world = World()
        # As after a migration of its machine: by its clock no time has passed.
        worker, mortal = await world.worker(freezes_at=commit, after=after, clock=lambda: 1.0)
        first = worker.id
        await _stood_still(world, worker, mortal)
        journal = msgspec.json.decode(world.store.rows("SELECT journal FROM runs")[0][0], type=Journal)
        taken = [entry.text for entry in journal.log if entry.what == "taken"]
        assert taken == [first, world.workers[1].id]
        numbers = [entry.number for entry in journal.log]
        assert numbers == list(range(1, len(numbers) + 1))
        lost = next(place for place, entry in enumerate(journal.log) if entry.what == "lost")
        assert [entry.what for entry in journal.log[lost:]].count("done") >= 4 - commit
        await world.close()

    run_virtually(story())


@pytest.mark.parametrize("skew", [-90.0, 90.0, 86400.0 * 3])
def test_workers_whose_clocks_differ_work_together(skew: float) -> None:
    async def story() -> None:
        world = World()
        loop = asyncio.get_running_loop()
        worker, _ = await world.worker(dies_at=4, clock=lambda: loop.time() + skew)
        second, _ = await world.worker()
        await worker.accept(new_run(chain(6)))
        begun = loop.time()
        assert await world.ended() == "done"
        assert loop.time() - begun < 3.0 + 0.5 + 1.0  # the lease, the look, and the work
        assert world.place.made == {f"run-1.1.{place}": 1 for place in range(6)}
        assert abs(worker.now() - second.now()) < 0.1
        await world.close()

    run_virtually(story())
