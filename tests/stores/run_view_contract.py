"""How runs, locks and workers are read, on every database: `url` gives an empty one."""

from collections.abc import AsyncIterator, Sequence

import pytest

from atoll.store import Store, open_store
from atoll.store.opening import open_database
from atoll.store.run_records import Accepted, NewRun
from atoll.store.run_views import RunViews, Wanted
from atoll.workflow.journal import State
from atoll.workflow.locks import Mode, Want
from atoll.workflow.machine import Rest, Signal, fresh
from atoll.workflow.plan import Plan, Step


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.close()


@pytest.fixture
async def few(url: str) -> AsyncIterator[RunViews]:
    """Views that read three runs for a page."""
    database = await open_database(url)
    yield RunViews(database, looked_at=3)
    await database.close()


def name_of(number: int) -> str:
    return f"0000{number:04d}-0000-7000-8000-000000000000"


async def accept(
    store: Store,
    number: int,
    *locks: Want,
    definition: str = "copy@1",
    project: str = "p1",
    owner: str | None = None,
) -> Accepted:
    """Accept a run with one step."""
    plan = Plan(
        steps=(Step(name="a", action="a.b@1"),),
        purpose=f"number {number}",
        locks=locks,
        touches=tuple(one.path for one in locks),
    )
    run = NewRun(
        id=name_of(number),
        definition=definition,
        project_id=project,
        user_id="u1",
        plan=plan,
        journal=fresh(plan),
        request_key=f"k{number}",
    )
    return await store.runs.accept(run, owner, fresh(plan))


async def end(store: Store, state: State) -> None:
    """Take up what is due and have it end in a state."""
    for held in await store.runs.take("w1", 100):
        held.journal.number += 1
        assert await store.runs.leave(held, "w1", Rest(state))


async def found(views: RunViews, limit: int = 100, **wanted: object) -> list[int]:
    """The numbers of all runs that are wanted, page by page."""
    numbers: list[int] = []
    marker: str | None = ""
    while marker is not None:
        page = await views.list_runs(Wanted(**wanted), after=marker, limit=limit)  # type: ignore[arg-type]  # by name
        assert len(page.runs) <= limit
        assert page.next is None or not marker or page.next < marker, "it comes to an end"
        numbers += [int(one.id[4:8]) for one in page.runs]
        marker = page.next
    return numbers


async def test_a_run_is_read_whole(store: Store) -> None:
    await accept(store, 1)
    run = await store.run_views.show(name_of(1))
    assert run is not None
    assert (run.state, run.purpose, run.request_key, run.progress) == (State.QUEUED, "number 1", "k1", {})
    assert run.plan is not None
    assert run.journal == fresh(run.plan)
    assert run.changed_at == pytest.approx(run.created_at, abs=0.1)
    assert run.due_at == pytest.approx(run.created_at, abs=1)
    assert await store.run_views.show(name_of(2)) is None
    assert await store.run_views.heard(name_of(2)) is None
    await store.runs.signal(name_of(1), Signal.PAUSE)
    heard = await store.run_views.heard(name_of(1))
    assert heard is not None
    assert (heard.state, heard.stop, heard.number) == (State.QUEUED, "pause", 0)


async def test_a_run_is_found_by_its_key_and_project(store: Store) -> None:
    await accept(store, 1)
    assert await store.run_views.by_key("p1", "k1") == (name_of(1), "")
    assert await store.run_views.by_key("p2", "k1") is None
    assert await store.run_views.by_key("p1", "k2") is None


async def test_many_are_taken_up_together_those_first_that_have_been_due_for_longest(store: Store) -> None:
    for number in range(70):
        await accept(store, number)
    assert [held.id for held in await store.runs.take("w1", 3)] == [name_of(number) for number in range(3)]
    await store.runs.signal(name_of(5), Signal.TERM)
    taken = await store.runs.take("w2", 100)
    assert sorted(held.id for held in taken) == sorted(name_of(number) for number in range(3, 70))
    assert {held.fence for held in taken} == {2}, "each changed hands once"
    assert [held.id for held in taken if held.stop == "term"] == [name_of(5)]
    assert await store.runs.take("w3", 100) == []


async def test_progress_is_read(store: Store) -> None:
    await accept(store, 1)
    (held,) = await store.runs.take("w1", 1)
    await store.runs.progress("w1", [(held, {"a": {"done": 1, "of": None, "unit": "B"}})])
    (run,) = (await store.run_views.list_runs(Wanted(), limit=1)).runs
    assert run.progress["a"]["done"] == 1
    assert run.owner == "w1"


async def several(store: Store) -> None:
    """Ten runs: 1 to 4 done, 5 and 6 undone, 7 killed, 8 dirty, 9 and 10 queued."""
    for state, numbers in ((State.DONE, (1, 2, 3, 4)), (State.UNDONE, (5, 6)), (State.DIRTY, (8,))):
        for number in numbers:
            await accept(store, number, project=f"p{number % 2}", definition=f"copy@{1 + number % 2}")
        await end(store, state)
    for number in (7, 9, 10):
        await accept(store, number, project=f"p{number % 2}", definition="move@1")
    assert await store.runs.kill(name_of(7), "why not")


WANTED: Sequence[tuple[dict[str, object], list[int]]] = (
    ({}, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
    ({"project_id": "p1"}, [9, 7, 5, 3, 1]),
    ({"project_id": "p3"}, []),
    ({"states": (State.DONE,)}, [4, 3, 2, 1]),
    ({"states": (State.DIRTY, State.KILLED, State.PARKED)}, [8, 7]),
    ({"states": (State.DONE, State.QUEUED)}, [10, 9, 4, 3, 2, 1]),
    ({"states": (State.DONE,), "project_id": "p1"}, [3, 1]),
    ({"states": (State.QUEUED,), "project_id": "p0"}, [10]),
    ({"definition": "copy"}, [8, 6, 5, 4, 3, 2, 1]),
    ({"definition": "cop"}, []),
    ({"definition": "copy@2"}, [5, 3, 1]),
    ({"definition": "copy@2", "states": (State.DONE,), "project_id": "p1"}, [3, 1]),
    ({"definition": "copy@1", "states": (State.DIRTY, State.DONE)}, [8, 4, 2]),
    ({"waits": "lock"}, []),
)


async def test_runs_are_found_newest_first_in_pages_of_any_size(store: Store, few: RunViews) -> None:
    await several(store)
    for wanted, numbers in WANTED:
        for limit in (1, 2, 3, 100):
            for views in (store.run_views, few):
                assert await found(views, limit, **wanted) == numbers, (wanted, limit)


async def test_no_more_is_read_for_a_page_than_the_bound(store: Store, few: RunViews) -> None:
    await several(store)
    page = await few.list_runs(Wanted(definition="copy@2"), limit=100)
    assert ([one.id for one in page.runs], page.next) == ([], name_of(8)), "of 10, 9 and 8 none is one"


async def test_who_waits_for_what_and_who_is_in_the_way(store: Store) -> None:
    door = Want("door/1", Mode.W)
    assert (await accept(store, 1, door, owner="w1")).held
    assert (await accept(store, 2, door)).waits == "lock/door/1"
    assert (await accept(store, 3, Want("door", Mode.R))).waits == "lock/door"
    assert await found(store.run_views, waits="lock") == [3, 2]
    assert await found(store.run_views, waits="lock/door/1") == [2]
    assert await found(store.run_views, waits="lock/doo") == []
    blocking = await store.run_views.in_the_way("door/1", name_of(2))
    assert blocking is not None
    assert (blocking.run_id, blocking.purpose, blocking.granted) == (name_of(1), "number 1", True)
    assert await store.run_views.in_the_way("door/1", name_of(1)) is None
    assert await store.run_views.in_the_way("nothing", name_of(1)) is None
    locks = await store.run_views.locks(limit=100)
    assert [(one.path, one.run_id[4:8], one.mode, one.granted) for one in locks] == [
        ("door", "0001", "IW", True), ("door", "0002", "IW", False), ("door", "0003", "R", False),
        ("door/1", "0001", "W", True), ("door/1", "0002", "W", False),
    ]  # fmt: skip
    rest = await store.run_views.locks(after=("door", name_of(2)), limit=2)
    assert rest == locks[2:4]
    assert await store.run_views.locks(path="door/1", limit=9) == locks[3:]
    assert await store.run_views.locks(project_id="p2", limit=9) == []


async def test_what_a_killed_run_touched_is_listed(store: Store) -> None:
    await accept(store, 1, Want("b"), Want("a"))
    await store.runs.kill(name_of(1), "")
    suspects = await store.run_views.suspects(limit=9)
    assert [(one.resource, one.run_id) for one in suspects] == [("a", name_of(1)), ("b", name_of(1))]
    assert await store.run_views.suspects(after="a", limit=9) == suspects[1:]


async def test_workers_are_listed_with_their_time(store: Store) -> None:
    await store.runs.join("w1", "here", 30.0)
    await store.runs.join("w2", "there", -30.0)
    workers, now = await store.run_views.workers()
    assert [(one.id, one.about, one.lease_until > now) for one in workers] == [
        ("w1", "here", True), ("w2", "there", False),
    ]  # fmt: skip
