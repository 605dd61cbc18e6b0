"""Locations in memory: what is written when, and what happens while the store fails."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.running import until

from atoll.store import Conflict, Location, Locations, Sighting, Source, StoreError


class MemoryStore:
    """A store in memory that can fail."""

    def __init__(self) -> None:
        self.sites: dict[tuple[str, str], str] = {}
        self.learnt: list[tuple[str, list[str]]] = []
        self.tombstones: list[tuple[str, str, str | None]] = []
        self.found: list[Conflict] = []
        self.failing = False
        self.empty = False
        self.written = asyncio.Event()

    def _check(self) -> None:
        if self.failing:
            raise StoreError("the database failed: gone")

    async def locate(self, resource_type: str, id: str) -> Location | None:  # noqa: A002
        self._check()
        site = self.sites.get((resource_type, id))
        return None if site is None else Location(resource_type=resource_type, id=id, site=site)

    async def learn(self, sightings: Sequence[Sighting], source: Source) -> list[Conflict]:
        self._check()
        self.written.set()
        self.learnt.append((source, [sighting.id for sighting in sightings]))
        conflicts = []
        for sighting in sightings:
            recorded = self.sites.setdefault(sighting.key, sighting.site)
            if recorded != sighting.site:
                sites = (recorded, sighting.site)
                conflicts.append(Conflict(resource_type=sighting.resource_type, id=sighting.id, sites=sites))
        return conflicts

    async def tombstone(
        self,
        resource_type: str,
        id: str,  # noqa: A002
        *,
        site: str | None = None,
        project_id: str = "",
    ) -> bool:
        del project_id
        self._check()
        self.tombstones.append((resource_type, id, site))
        return True

    async def conflicts(self) -> list[Conflict]:
        self._check()
        return self.found

    async def forget(self, site: str) -> int:
        self._check()
        before = len(self.sites)
        self.sites = {key: at for key, at in self.sites.items() if at != site}
        return before - len(self.sites)

    async def forget_one(self, resource_type: str, id: str) -> None:  # noqa: A002
        self._check()
        self.sites.pop((resource_type, id), None)

    async def is_empty(self) -> bool:
        self._check()
        return self.empty


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def locations(store: MemoryStore) -> Locations:
    return Locations(store)


def server(name: str, site: str = "paris") -> Sighting:
    return Sighting(resource_type="server", id=name, site=site)


async def test_what_is_created_is_written_before_the_answer(store, locations):
    assert await locations.created(server("a"))
    assert store.learnt == [("create", ["a"])]
    assert locations.cached("server", "a") == "paris"


async def test_a_create_survives_a_failing_store(store, locations):
    store.failing = True
    with capture_logs() as logs:
        assert not await locations.created(server("a"))
    assert [(log["event"], log["id"], log["site"]) for log in logs] == [
        ("location_not_recorded", "a", "paris")
    ]
    assert locations.cached("server", "a") == "paris"


async def test_a_create_that_was_not_recorded_is_when_the_store_works_again(store, locations):
    store.failing = True
    with capture_logs():
        await locations.created(server("a"))
    store.failing = False
    assert await locations.flush()
    assert store.learnt == [("create", ["a"])]
    assert locations.waiting == 0


async def test_what_a_list_shows_is_known_at_once_and_written_later(store, locations):
    locations.learn([server("a"), server("b", "tokyo")], "list")
    locations.learn([server("c")], "search")
    assert locations.cached("server", "b") == "tokyo"
    assert store.learnt == []
    assert await locations.flush()
    assert store.learnt == [("list", ["a", "b"]), ("search", ["c"])]
    assert locations.waiting == 0


async def test_what_is_known_is_not_written_again(locations):
    locations.learn([server("a")], "list")
    locations.learn([server("a")], "list")
    assert locations.waiting == 1


async def test_with_the_table_lost_lists_teach_again(store, locations):
    """Also what this process knows: others do not, and what is counted comes from the table."""
    await locations.created(server("a"))
    store.sites["server", "b"] = "tokyo"
    await locations.find("server", "b")
    locations.learn([server("a"), server("b", "tokyo")], "list")
    assert locations.waiting == 0, "all on record"
    store.sites.clear()
    store.empty = True
    running = asyncio.create_task(locations.run())
    with capture_logs() as logs:
        await until(lambda: logs)
    running.cancel()
    await asyncio.wait([running])
    assert [(log["event"], log["count"]) for log in logs] == [("locations_lost", 2)]
    locations.learn([server("a"), server("b", "tokyo")], "list")
    assert await locations.flush()
    assert store.sites == {("server", "a"): "paris", ("server", "b"): "tokyo"}


async def test_a_new_table_that_is_still_being_filled_is_not_lost(store, locations):
    store.empty = True
    locations.learn([server("a")], "list")
    running = asyncio.create_task(locations.run())
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            await store.written.wait()
    running.cancel()
    await asyncio.wait([running])
    assert logs == []


async def test_what_does_not_fit_is_dropped_and_learnt_another_time(store):
    locations = Locations(store, queue_size=2)
    locations.learn([server("a"), server("b"), server("c")], "list")
    assert (locations.waiting, locations.dropped) == (2, 1)
    assert locations.cached("server", "c") is None
    await locations.flush()
    locations.learn([server("c")], "list")
    assert locations.waiting == 1


async def test_the_least_used_falls_out_of_memory(store):
    locations = Locations(store, cache_size=2)
    locations.learn([server("a"), server("b")], "list")
    assert locations.cached("server", "a") == "paris"
    locations.learn([server("c")], "list")
    assert locations.cached("server", "b") is None
    assert locations.cached("server", "a") == "paris"


async def test_what_is_not_in_memory_is_looked_up(store, locations):
    store.sites["server", "a"] = "tokyo"
    assert locations.cached("server", "a") is None
    assert (await locations.find("server", "a")).site == "tokyo"
    assert locations.cached("server", "a") == "tokyo"
    assert await locations.find("server", "b") is None


async def test_a_failing_store_finds_nothing_and_says_so_in_the_log(store, locations):
    store.failing = True
    with capture_logs() as logs:
        assert await locations.find("server", "a") is None
    assert [log["event"] for log in logs] == ["location_not_read"]


async def test_what_could_not_be_written_waits(store, locations):
    locations.learn([server("a"), server("b")], "list")
    locations.deleted("server", "c", "paris")
    store.failing = True
    with capture_logs() as logs:
        assert not await locations.flush()
    assert [(log["event"], log["count"]) for log in logs] == [("locations_not_written", 3)]
    store.failing = False
    assert await locations.flush()
    assert store.learnt == [("list", ["a", "b"])]
    assert store.tombstones == [("server", "c", "paris")]


async def test_two_sites_with_one_id_are_a_conflict(locations):
    await locations.created(server("a", "paris"))
    with capture_logs() as logs:
        locations.learn([server("a", "tokyo")], "list")
        await locations.flush()
        locations.learn([server("a", "tokyo")], "list")
        await locations.flush()
    assert [log["event"] for log in logs] == ["location_conflict"]
    assert locations.conflicting("server", "a") == ("paris", "tokyo")
    assert locations.conflicting("server", "b") == ()
    assert locations.cached("server", "a") == "paris"


async def test_a_site_can_be_forgotten(locations):
    await locations.created(server("a", "paris"))
    locations.learn([server("a", "tokyo"), server("b", "tokyo")], "list")
    assert await locations.forget("paris") == 1
    assert locations.cached("server", "a") is None
    assert locations.cached("server", "b") == "tokyo"


async def test_it_writes_by_itself_and_reads_the_conflicts_of_others(store, locations):
    store.found = [Conflict(resource_type="server", id="x", sites=("paris", "tokyo"))]
    running = asyncio.create_task(locations.run())
    locations.learn([server("a")], "list")
    async with asyncio.timeout(30):
        await store.written.wait()
    assert locations.conflicting("server", "x") == ("paris", "tokyo")
    running.cancel()
    await asyncio.wait([running])
    locations.learn([server("b")], "list")
    await locations.close()
    assert store.learnt == [("list", ["a"]), ("list", ["b"])]


async def test_closing_does_not_wait_for_a_failing_store(store, locations):
    locations.learn([server("a")], "list")
    store.failing = True
    with capture_logs() as logs:
        await locations.close()
    assert [log["event"] for log in logs] == ["locations_not_written", "locations_not_written"]


async def test_one_resource_is_forgotten_here_and_in_the_store(
    locations: Locations, store: MemoryStore
) -> None:
    for ident in ("1", "2"):
        await locations.created(Sighting(resource_type="server", id=ident, site="paris"))
    await locations.forget_one("server", "1")
    assert locations.cached("server", "1") is None
    assert locations.cached("server", "2") == "paris"
    assert list(store.sites) == [("server", "2")]


async def test_what_waits_to_be_written_is_forgotten_too(locations: Locations, store: MemoryStore) -> None:
    locations.learn([server("a"), server("b")], "list")
    await locations.forget_one("server", "a")
    await locations.close()
    assert list(store.sites) == [("server", "b")]


@pytest.mark.parametrize("which", ["a site", "a resource"])
async def test_what_is_just_being_written_is_forgotten_too(which: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MemoryStore):
        async def learn(self, sightings: Sequence[Sighting], source: Source) -> list[Conflict]:
            begun.set()
            await go_on.wait()
            return await super().learn(sightings, source)

    store = Slow()
    locations = Locations(store)
    locations.learn([server("a")], "list")
    writing = asyncio.create_task(locations.flush())
    await begun.wait()
    what = locations.forget("paris") if which == "a site" else locations.forget_one("server", "a")
    forgetting = asyncio.create_task(what)
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(writing, forgetting)
    assert not store.sites
    assert locations.cached("server", "a") is None


async def test_what_was_read_before_it_was_forgotten_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    locations = Locations(store)
    read, go_on = asyncio.Event(), asyncio.Event()

    def slow(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def slowly(*given: str) -> Any:
            answer = await method(*given)
            read.set()
            await go_on.wait()
            return answer

        return slowly

    store.sites["server", "a"] = "paris"
    store.found = [Conflict(resource_type="server", id="a", sites=("paris", "tokyo"))]
    monkeypatch.setattr(store, "locate", slow(store.locate))
    monkeypatch.setattr(store, "conflicts", slow(store.conflicts))
    finding = asyncio.create_task(locations.find("server", "a"))
    await read.wait()
    read.clear()
    running = asyncio.create_task(locations.run())
    await read.wait()
    await locations.forget_one("server", "a")
    go_on.set()
    await finding
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert locations.cached("server", "a") is None
    assert locations.conflicting("server", "a") == ()


async def test_what_is_seen_elsewhere_is_not_changed_until_the_store_has_said_where_it_is(
    locations: Locations, store: MemoryStore
) -> None:
    await locations.created(server("a"))
    locations.learn([server("a", "tokyo")], "list")
    assert locations.conflicting("server", "a") == ("paris", "tokyo")
    await locations.flush()
    assert locations.conflicting("server", "a") == ("paris", "tokyo")
    store.sites.clear()  # forgotten by another process
    await locations.forget_one("server", "a")
    await locations.created(server("b"))
    store.sites.clear()
    locations.learn([server("b", "tokyo")], "list")
    assert locations.conflicting("server", "b") == ("paris", "tokyo")
    await locations.flush()
    assert locations.conflicting("server", "b") == ()
    assert locations.cached("server", "b") == "tokyo"


async def test_what_is_gone_and_on_record_elsewhere_is_looked_up_again(
    locations: Locations, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await locations.created(server("a"))
    assert locations.recorded("server", "a")
    locations.deleted("server", "a", "paris")
    assert not locations.recorded("server", "a"), "a list that shows it is to be heard"
    await locations.flush()
    assert locations.cached("server", "a") == "paris", "who polls it is to see it"
    store.sites["server", "a"] = "tokyo"

    async def no_news(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(store, "tombstone", no_news)
    locations.deleted("server", "a", "paris")
    await locations.flush()
    assert locations.cached("server", "a") is None
