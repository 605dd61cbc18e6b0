"""Telling others of runs: every line at least once, in order, whatever is away meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from structlog.testing import capture_logs
from tests.unit.worker.world import World, chain, new_run
from tests.virtual import Mortal, VirtualStore, run_virtually

from atoll.store.leases import Leases
from atoll.store.run_outbox import News, RunOutbox
from atoll.store.run_records import Held
from atoll.store.runs import Runs
from atoll.worker.relay import AHEAD, Relay, Untold
from atoll.workflow.journal import LOG_ENTRIES, State
from atoll.workflow.machine import Machine, Rest, fresh
from atoll.workflow.plan import Plan, Step

PLAN = Plan(steps=(Step(name="s0", action="test.make@1", site="oslo"),))
OWNER = "w"


class Ear:
    """A receiver. `heard` has what it took: (run, number of the line), in order."""

    def __init__(self, name: str = "ear") -> None:
        self.name = name
        self.heard: list[tuple[str, int]] = []
        self.news: list[News] = []
        self.away = False
        self.dislikes: set[str] = set()
        self.seconds = 0.01
        self.asked = 0

    async def tell(self, news: Sequence[News]) -> None:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        if self.away:
            raise Untold("it answered 500")
        if self.dislikes & {one.run_id for one in news}:
            raise Untold("it answered 400")
        assert sum(len(one.lines) for one in news) <= 101
        self.news += news
        self.heard += [(one.run_id, line.number) for one in news for line in one.lines]

    def of(self, run_id: str = "run-1") -> list[int]:
        """The lines of a run that it has, as they came."""
        return [number for run, number in self.heard if run == run_id]


class Scene:
    """A store, somebody who writes runs there, and relays."""

    def __init__(self) -> None:
        self.store = VirtualStore()
        self.runs = Runs(Mortal(self.store), published=True)
        self.held: dict[str, Held] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def relay(self, *ears: Ear, ahead: int = AHEAD) -> tuple[asyncio.Task[None], Mortal]:
        """Have one more process relay."""
        mortal = Mortal(self.store)
        relay = Relay(RunOutbox(mortal), Leases(mortal), ears, ahead=ahead, jitter=lambda: 0.0)
        task = asyncio.get_running_loop().create_task(relay.run())
        self._tasks.append(task)
        return task, mortal

    async def write(self, lines: int, run_id: str = "run-1") -> None:
        """Put lines into the log of a run, one a commit."""
        if run_id not in self.held:
            journal = fresh(PLAN)
            run = new_run(PLAN, run_id)
            await self.runs.accept(run, OWNER, journal)
            self.held[run_id] = Held(
                id=run_id, definition=run.definition, project_id="p", user_id="u", fence=1, takeovers=0,
                stop=None, holds=False, acting=run.acting, plan=PLAN, journal=journal,
            )  # fmt: skip
        held = self.held[run_id]
        for number in range(lines):
            Machine(PLAN, held.journal, lambda _: 1.0).note(self.store.now(), "do", 0, f"text {number}")
            assert await self.runs.write(held, OWNER, State.RUNNING)

    def unsent(self) -> list[str]:
        """The runs of which not all was told."""
        return [row[0] for row in self.store.rows("SELECT id FROM runs WHERE unsent = 1 ORDER BY id")]

    async def quiet(self, seconds: float = 600.0) -> None:
        """Wait until all was told."""
        end = asyncio.get_running_loop().time() + seconds
        while self.unsent():
            assert asyncio.get_running_loop().time() < end, self.unsent()
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def tell(story: Callable[[Scene], Awaitable[None]]) -> None:
    """Run a story in a scene of its own."""

    async def told() -> None:
        scene = Scene()
        try:
            await story(scene)
        finally:
            await scene.close()

    run_virtually(told())


def test_a_run_is_told_from_its_first_line_to_its_last() -> None:
    async def story(scene: Scene) -> None:
        ear = Ear()
        scene.relay(ear)
        await scene.write(3)
        await scene.quiet()
        await scene.write(2)
        await scene.runs.leave(scene.held["run-1"], OWNER, Rest(State.DONE))
        await scene.quiet()
        assert ear.of() == [1, 2, 3, 4, 5]
        first = ear.news[0]
        assert (first.definition, first.project_id) == ("test@1", "p")
        line = first.lines[0]
        assert (line.what, line.step, line.site, line.text) == ("do", "s0", "oslo", "text 0")
        assert ear.news[-1].state is State.DONE
        assert scene.store.rows("SELECT sent, unsent FROM runs") == [(5, None)]

    tell(story)


def test_what_real_workers_write_is_told_while_they_are_not_kept_waiting() -> None:
    async def told() -> None:
        world = World()
        ear = Ear()
        ear.away = True
        mortal = Mortal(world.store)
        relay = asyncio.ensure_future(Relay(RunOutbox(mortal), Leases(mortal), [ear]).run())
        worker, _ = await world.worker(published=True)
        await worker.accept(new_run(chain(6)))
        assert await world.ended(seconds=5.0) == "done"
        ear.away = False
        await asyncio.sleep(120)
        (number,) = world.store.rows("SELECT number FROM runs")[0]
        assert ear.of() == list(range(1, number + 1))
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        await world.close()

    run_virtually(told())


def test_a_receiver_that_refuses_for_hours_is_told_all_in_order_and_asked_seldom() -> None:
    async def story(scene: Scene) -> None:
        ear = Ear()
        ear.away = True
        scene.relay(ear)
        for _ in range(8):
            await scene.write(30, "run-1")
            await scene.write(30, "run-2")
            await asyncio.sleep(1800)
        assert ear.heard == []
        assert 4 * 3600 / 61 < ear.asked < 4 * 3600 / 60 + 10
        with capture_logs() as logs:
            ear.away = False
            await scene.quiet(120)
        assert ear.of("run-1") == ear.of("run-2") == list(range(1, 241))
        assert [one["receiver"] for one in logs if one["event"] == "run_events_taken_again"] == ["ear"]

    tell(story)


def test_one_run_that_a_receiver_takes_offence_at_holds_up_no_other() -> None:
    async def story(scene: Scene) -> None:
        ear = Ear()
        ear.dislikes = {"run-3"}
        scene.relay(ear)
        for number in range(1, 7):
            await scene.write(2, f"run-{number}")
        await asyncio.sleep(30)
        assert scene.unsent() == ["run-3"]
        await scene.write(1, "run-2")
        await asyncio.sleep(65)
        assert scene.unsent() == ["run-3"]
        ear.dislikes = set()
        await scene.quiet()
        for number in range(1, 7):
            assert ear.of(f"run-{number}") == ([1, 2, 3] if number == 2 else [1, 2])

    tell(story)


def test_after_a_failure_that_is_over_many_are_told_at_once_again() -> None:
    async def story(scene: Scene) -> None:
        ear = Ear()
        ear.away = True
        names = [f"run-{number}" for number in range(20)]
        for name in names:
            await scene.write(1, name)
        scene.relay(ear)
        await asyncio.sleep(0.5)
        ear.away = False
        await scene.quiet()
        asked = ear.asked
        for name in names:
            await scene.write(1, name)
        await scene.quiet()
        assert (len(ear.heard), ear.asked - asked <= 3) == (40, True)

    tell(story)


def test_the_store_goes_away_and_comes_back() -> None:
    async def story(scene: Scene) -> None:
        ear = Ear()
        scene.relay(ear)
        await scene.write(3)
        await scene.quiet()
        scene.store.away = True
        await asyncio.sleep(30)
        scene.store.away = False
        await scene.write(3)
        await scene.quiet(60)
        assert ear.of() == [1, 2, 3, 4, 5, 6]

    tell(story)


def test_a_mark_that_could_not_be_written_is_written_later_and_nothing_is_told_twice() -> None:
    async def story(scene: Scene) -> None:
        ear = Ear()
        ear.seconds = 2.0
        await scene.write(3)
        scene.relay(ear)
        await asyncio.sleep(1.0)  # the receiver has it in hand
        scene.store.away = True
        await asyncio.sleep(3.0)
        assert ear.of() == [1, 2, 3]
        scene.store.away = False
        await scene.quiet(30)
        assert ear.of() == [1, 2, 3]

    tell(story)


def test_a_line_written_while_others_are_told_is_told_too() -> None:
    async def story(scene: Scene) -> None:
        ear = Ear()
        ear.seconds = 1.0
        scene.relay(ear)
        await scene.write(1)
        await asyncio.sleep(0.7)
        await scene.write(1)
        await asyncio.sleep(0.5)
        assert scene.unsent() == ["run-1"]
        await scene.quiet()
        assert ear.of() == [1, 2]

    tell(story)


def test_two_processes_and_one_of_them_tells_until_it_dies() -> None:
    async def story(scene: Scene) -> None:
        ears = Ear("first"), Ear("second")
        _, first = scene.relay(ears[0])
        await asyncio.sleep(1)
        scene.relay(ears[1])
        await scene.write(4)
        await scene.quiet()
        assert (ears[0].of(), ears[1].of()) == ([1, 2, 3, 4], [])
        first.die()
        await scene.write(4)
        await scene.quiet(12)
        assert ears[1].of() == [5, 6, 7, 8]

    tell(story)


def test_a_process_that_ends_leaves_the_telling_to_the_next_at_once() -> None:
    async def story(scene: Scene) -> None:
        ears = Ear("first"), Ear("second")
        task, _ = scene.relay(ears[0])
        await asyncio.sleep(1)
        scene.relay(ears[1])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await scene.write(2)
        await scene.quiet(3)
        assert (ears[0].of(), ears[1].of()) == ([], [1, 2])

    tell(story)


def test_a_process_that_was_frozen_tells_at_most_what_it_had_in_hand() -> None:
    async def story(scene: Scene) -> None:
        ears = Ear("first"), Ear("second")
        _, first = scene.relay(ears[0])
        await asyncio.sleep(1)
        scene.relay(ears[1])
        first.freeze()
        await scene.write(3)
        await scene.quiet(15)
        await asyncio.sleep(0.25)  # so that it looks in between when the other one does
        first.thaw()
        await asyncio.sleep(6)
        for _ in range(20):
            await scene.write(1)
            await asyncio.sleep(0.3)
        await scene.quiet()
        assert ears[1].of() == list(range(1, 24))
        assert ears[0].of() in ([], [1, 2, 3])
        assert scene.store.rows("SELECT sent FROM runs") == [(23,)]

    tell(story)


def test_a_slow_receiver_holds_up_no_other() -> None:
    async def story(scene: Scene) -> None:
        quick, slow = Ear("quick"), Ear("slow")
        slow.away = True
        scene.relay(quick, slow)
        await scene.write(3)
        await scene.write(3, "run-2")
        await asyncio.sleep(2)
        assert (quick.of(), quick.of("run-2")) == ([1, 2, 3], [1, 2, 3])
        await scene.write(1)
        await asyncio.sleep(30)
        assert quick.of() == [1, 2, 3, 4]
        slow.away = False
        await scene.quiet()
        for ear in (quick, slow):
            assert (ear.of(), ear.of("run-2")) == ([1, 2, 3, 4], [1, 2, 3])

    tell(story)


def test_what_is_known_of_a_receiver_that_is_before_the_others_has_a_bound() -> None:
    async def story(scene: Scene) -> None:
        quick, slow = Ear("quick"), Ear("slow")
        slow.away = True
        scene.relay(quick, slow, ahead=3)
        for number in range(1, 7):
            await scene.write(1, f"run-{number}")
            await asyncio.sleep(1)
        await asyncio.sleep(60)
        assert [run for run, _ in quick.heard] == ["run-1", "run-2", "run-3"]
        slow.away = False
        await scene.quiet()
        for ear in (quick, slow):
            assert sorted(ear.heard) == [(f"run-{number}", 1) for number in range(1, 7)]

    tell(story)


def test_lines_that_are_not_kept_any_more_are_named() -> None:
    async def story(scene: Scene) -> None:
        ear = Ear()
        ear.away = True
        scene.relay(ear)
        await scene.write(LOG_ENTRIES + 1)
        ear.away = False
        await scene.quiet(600)
        dropped = LOG_ENTRIES // 10
        assert ear.of() == list(range(dropped, LOG_ENTRIES + 2))
        lost = ear.news[0].lines[0]
        assert (lost.what, lost.text) == ("lost", f"lines 1 to {dropped} are not kept any more")

    tell(story)


def test_a_bug_of_a_receiver_is_seen_and_ends_nothing() -> None:
    async def story(scene: Scene) -> None:
        class Broken(Ear):
            async def tell(self, news: Sequence[News]) -> None:
                if not self.asked:
                    self.asked += 1
                    raise KeyError("a bug")
                await super().tell(news)

        ear = Broken()
        scene.relay(ear)
        with capture_logs() as logs:
            await scene.write(2)
            await scene.quiet(30)
        assert ear.of() == [1, 2]
        assert [one["name"] for one in logs if one["event"] == "lead_broke"] == ["runs/relay"]

    tell(story)


@pytest.mark.parametrize("published", [True, False])
def test_what_was_not_told_is_not_pruned_while_somebody_is_to_be_told(published: bool) -> None:
    async def story(scene: Scene) -> None:
        await scene.write(1)
        await scene.runs.leave(scene.held["run-1"], OWNER, Rest(State.DONE))
        await asyncio.sleep(10)
        runs = Runs(Mortal(scene.store), published=published)
        assert await runs.prune(5.0) == int(not published)
        if published:
            await RunOutbox(Mortal(scene.store)).sent("run-1", 1)
            assert await runs.prune(5.0) == 1

    tell(story)


def test_where_nobody_is_told_nothing_is_put_down_for_it() -> None:
    async def story(scene: Scene) -> None:
        scene.runs = Runs(Mortal(scene.store))
        await scene.write(2)
        assert scene.store.rows("SELECT unsent, sent FROM runs") == [(None, None)]

    tell(story)
