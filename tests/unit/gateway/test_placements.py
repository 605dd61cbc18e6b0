"""A project's home, and where the last one began: in memory and on record."""

from collections.abc import AsyncIterator

import pytest

from atoll.gateway.placements import FOLLOW_SECONDS, Placements
from atoll.store import Sighting, Store, open_store


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    opened = await open_store("sqlite:///:memory:", clock=clock)
    yield opened
    await opened.close()


async def record(store: Store, project: str, site: str, name: str, resource_type: str = "network") -> None:
    thing = Sighting(resource_type=resource_type, id=name, site=site, project_id=project)
    await store.learn([thing], "create")


async def test_the_home_is_where_the_last_thing_went_on_record_or_on_its_way(store, clock):
    one, other = Placements(store, clock), Placements(store, clock)
    one.chosen(await one.facts("p"), "network", "paris")
    assert (await one.facts("p")).home == "paris"
    assert (await other.facts("p")).home == "", "it is not on record yet"
    await record(store, "p", "paris", "a")
    clock.now += 1
    other.chosen(await other.facts("p"), "network", "tokyo")
    await record(store, "p", "tokyo", "b")
    assert (await one.facts("p")).home == "tokyo"


async def test_what_is_on_its_way_counts_at_once_and_what_others_made_a_second_later(store, clock):
    placements = Placements(store, clock)
    facts = await placements.facts("p")
    for resource in ("network", "server", "router"):
        placements.chosen(facts, resource, "paris")
    await record(store, "q", "tokyo", "a")
    assert (await placements.facts("p")).load == {"paris": 2}
    clock.now += 1
    assert (await placements.facts("p")).load == {"tokyo": 1}
    clock.now += 3600
    assert (await placements.facts("p")).load == {}


async def test_the_last_beginning_is_followed_for_a_minute(store, clock):
    placements = Placements(store, clock)
    assert (await placements.facts("p")).beginning == ""
    placements.chosen(await placements.facts("p"), "network", "paris")
    assert (await placements.facts("q")).beginning == "paris"
    clock.now += 1
    await record(store, "r", "tokyo", "a")
    assert (await placements.facts("q")).beginning == "tokyo"
    placements.chosen(await placements.facts("r"), "network", "rome")
    assert (await placements.facts("q")).beginning == "tokyo", "r had begun before"
    clock.now += FOLLOW_SECONDS
    assert (await placements.facts("q")).beginning == ""


async def test_nobody_begins_by_looking_at_security_groups(store, clock):
    """Each site makes a default group for whoever looks: nobody chose a place for it."""
    placements = Placements(store, clock)
    await record(store, "p", "paris", "a")
    clock.now += 1
    for project in ("p", "q"):
        await record(store, project, "tokyo", f"default of {project}", "security_group")
    assert (await placements.facts("p")).home == "paris"
    assert (await placements.facts("q")).home == ""
    assert (await placements.facts("r")).beginning == "paris"
    clock.now += 1
    await record(store, "q", "rome", "b")
    assert (await placements.facts("r")).beginning == "rome", "q begins after it has looked"


async def test_without_times_on_record_the_counts_tell(store, clock):
    things = [
        Sighting(resource_type="network", id=name, site=site, project_id="p")
        for name, site in (("a", "paris"), ("b", "tokyo"), ("c", "tokyo"))
    ]
    await store.learn(things, "search")
    facts = await Placements(store, clock).facts("p")
    assert (facts.home, facts.of_project) == ("", {"paris": 1, "tokyo": 2})


async def test_without_a_store_memory_has_to_do(store, clock, log_lines):
    placements = Placements(store, clock)
    placements.chosen(await placements.facts("p"), "network", "paris")
    await store.close()
    assert (await placements.facts("p")).home == "paris"
    assert (await placements.facts("q")).beginning == "paris"
    assert {line["event"] for line in log_lines} == {"counts_not_read"}
