"""How ids of servers are kept that are no site's, on every database; as `contract`."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.stores.contract import Clock

from atoll.store import Aliases, StoreError, open_store
from atoll.store.aliases import DROPPED_SECONDS


@pytest.fixture
async def aliases(url: str, clock: Clock) -> AsyncIterator[Aliases]:
    store = await open_store(url, clock=clock)
    yield store.aliases
    await store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def accept(aliases: Aliases, alias: str = "a", asked: str = "{}") -> None:
    await aliases.accept(alias, project_id="p", user_id="u", asked=asked)


async def test_what_is_accepted_is_known_with_what_was_asked(aliases, clock):
    asked = '{"name": "' + "\u00e9\u4e16" * 40_000 + '"}'
    await accept(aliases, asked=asked)
    one = await aliases.of("a")
    assert (one.project_id, one.user_id, one.state, one.asked) == ("p", "u", "building", asked)
    assert (one.site, one.site_id, one.created_at, one.found) == (None, None, clock.now, False)
    assert await aliases.of("b") is None


async def test_every_change_may_be_made_again(aliases, clock):
    for _ in range(2):
        await accept(aliases)
        clock.now += 10
    assert (await aliases.of("a")).created_at == clock.now - 20
    for _ in range(2):
        assert await aliases.bind("a", "paris", "x")
    await accept(aliases)
    one = await aliases.of("a")
    assert (one.state, one.site, one.site_id, one.asked) == ("bound", "paris", "x", None)
    assert await aliases.drop("a")
    assert not await aliases.drop("a")
    await accept(aliases)
    assert await aliases.of("a") is None


async def test_a_server_that_moves_is_bound_without_having_been_accepted(aliases):
    assert not await aliases.bind("a", "paris", "x")
    assert await aliases.bind("a", "paris", "x", project_id="p", user_id="u")
    assert await aliases.bind("a", "tokyo", "y", project_id="q")
    one = await aliases.of("a")
    assert (one.site, one.site_id, one.project_id) == ("tokyo", "y", "p"), "its owner stays"
    assert await aliases.standing_for("paris", "x") is None
    assert (await aliases.standing_for("tokyo", "y")).id == "a"


async def hidden(aliases: Aliases) -> list[tuple[str | None, str]]:
    """What is not shown, as a gateway that starts hears of it."""
    return [(one.site, one.id) for one in (await aliases.since(0)).aliases if one.state == "hidden"]


async def test_what_a_server_is_to_be_and_what_it_was_is_hidden(aliases):
    for _ in range(2):
        await aliases.hide("tokyo", "y")
    assert await hidden(aliases) == [("tokyo", "y")]
    assert (await aliases.of("y"), await aliases.standing_for("tokyo", "y")) == (None, None)
    for _ in range(2):
        assert await aliases.bind("a", "tokyo", "y", project_id="p")
    assert await hidden(aliases) == []
    await aliases.hide("tokyo", "y")
    assert await hidden(aliases) == [], "an id stands for it"
    assert await aliases.bind("a", "oslo", "z", was=("tokyo", "y"))
    assert await hidden(aliases) == [("tokyo", "y")]
    seen = (await aliases.since(0)).revision
    for _ in range(2):
        await aliases.unhide("tokyo", "y")
    assert [(one.id, one.state) for one in (await aliases.since(seen)).aliases] == [("y", "dropped")]
    await aliases.hide("tokyo", "y")
    assert await aliases.bind("a", "tokyo", "y", was=("oslo", "z"))
    assert await hidden(aliases) == [("oslo", "z")]
    assert await aliases.bind("a", "rome", "w")
    assert await hidden(aliases) == [("oslo", "z")], "what it was is not hidden unless that is said"


@pytest.mark.parametrize("known", [False, True])
async def test_a_site_s_own_server_stays_hidden_when_what_its_id_came_to_mean_is_gone(aliases, known):
    """Its id is the alias: what is on record of the one says nothing of the other."""
    if known:
        assert await aliases.bind("x", "paris", "x", project_id="p")
    for _ in range(2):
        assert await aliases.bind("x", "tokyo", "y", project_id="p", was=("paris", "x"))
        assert await hidden(aliases) == [("paris", "x")]
    assert (await aliases.of("x")).site == "tokyo"
    assert await aliases.release("x", "tokyo", "y")
    assert await hidden(aliases) == [("paris", "x")]
    assert await aliases.of("x") is None
    # It was there all the same, and says so of itself.
    assert (await aliases.find("x", "tokyo", "y", project_id="p")).site == "tokyo"
    assert not await aliases.drop("x"), "Atoll did not make it"
    seen = (await aliases.since(0)).revision
    await aliases.unhide("paris", "x")
    assert [(one.id, one.project_id) for one in (await aliases.since(seen)).aliases] == [("x", "")]
    assert await hidden(aliases) == []


async def test_bound_back_it_is_shown_again_and_the_other_is_not(aliases):
    for _ in range(2):
        assert await aliases.bind("x", "tokyo", "y", project_id="p", was=("paris", "x"))
        for _ in range(2):
            assert await aliases.bind("x", "paris", "x", project_id="p", was=("tokyo", "y"))
            assert await hidden(aliases) == [("tokyo", "y")]
    await aliases.unhide("tokyo", "y")
    assert await hidden(aliases) == []


async def test_one_that_waits_is_dropped_only_while_it_waits(aliases):
    for name in ("a", "b"):
        await aliases.accept(name, project_id="p", user_id="u", asked="{}")
    assert await aliases.drop("a", waiting=True)
    await aliases.fail("b", "why")
    assert await aliases.drop("b", waiting=True)
    await aliases.accept("c", project_id="p", user_id="u", asked="{}")
    assert await aliases.bind("c", "paris", "x")
    assert not await aliases.drop("c", waiting=True)
    assert (await aliases.of("c")).state == "bound"


async def test_nothing_is_bound_to_what_was_dropped(aliases):
    await accept(aliases)
    await aliases.drop("a")
    assert not await aliases.bind("a", "paris", "x", project_id="p")
    assert not await aliases.fail("a", "why")
    assert await aliases.find("a", "paris", "x", project_id="p") is None
    assert await aliases.of("a") is None


async def test_one_that_failed_says_why_first(aliases):
    await accept(aliases)
    assert await aliases.fail("a", "no room", code=409)
    assert await aliases.fail("a", "another reason")
    one = await aliases.of("a")
    assert (one.state, one.message, one.code, one.asked) == ("failed", "no room", 409, "{}")
    await accept(aliases, "b")
    await aliases.bind("b", "paris", "x")
    assert not await aliases.fail("b", "too late")


async def test_a_sites_server_has_one_alias(aliases):
    await accept(aliases)
    await accept(aliases, "b")
    await aliases.bind("a", "paris", "x")
    with pytest.raises(StoreError):
        await aliases.bind("b", "paris", "x")
    assert (await aliases.of("b")).state == "building"
    await aliases.drop("a")
    assert await aliases.bind("b", "paris", "x")


async def test_what_a_server_says_it_is_counts_less_than_what_atoll_made(aliases):
    await accept(aliases)
    await aliases.bind("a", "paris", "x")
    for project in ("p", "q"):
        known = await aliases.find("a", "tokyo", "y", project_id=project)
        assert (known.site, known.found, known.claims) == ("paris", False, ())
    assert (await aliases.find("b", "paris", "x", project_id="p")).id == "a"
    # The other way round what was found makes way.
    await aliases.find("c", "rome", "z", project_id="p")
    assert await aliases.of("c") is None
    assert await aliases.bind("d", "rome", "z", project_id="p")
    assert (await aliases.standing_for("rome", "z")).id == "d"
    await aliases.find("e", "oslo", "w", project_id="p")
    assert await aliases.bind("e", "bern", "v", project_id="p")
    assert (await aliases.of("e")).site == "bern"


async def test_what_servers_of_two_projects_say_does_not_meet(aliases):
    """Whoever comes first: nobody can take an id away from another project."""
    first = await aliases.find("a", "paris", "x", project_id="bad")
    second = await aliases.find("a", "tokyo", "y", project_id="p")
    assert (first.site, second.site) == ("paris", "tokyo")
    assert (first.claims, second.claims) == ((), ())
    changes = await aliases.since(0)
    assert {(one.project_id, one.site) for one in changes.aliases} == {("bad", "paris"), ("p", "tokyo")}
    assert await aliases.bind("a", "rome", "z", project_id="p")
    assert (await aliases.of("a")).site == "rome"


async def test_two_servers_of_a_project_that_say_they_are_one(aliases):
    for _ in range(2):
        for site, own in (("paris", "x"), ("tokyo", "y"), ("paris", "w")):
            known = await aliases.find("a", site, own, project_id="p")
            assert (known.site, known.site_id) == ("paris", "x")
    assert known.claims == ("paris", "tokyo", "paris")
    assert await aliases.forget_found("a")
    assert (await aliases.find("a", "tokyo", "y", project_id="p")).claims == ()


async def test_what_its_site_has_lost_may_be_found_again(aliases):
    await accept(aliases)
    await aliases.bind("a", "paris", "x")
    assert not await aliases.release("a", "tokyo", "x"), "it is elsewhere by now"
    assert await aliases.release("a", "paris", "x")
    assert not await aliases.release("a", "paris", "x")
    assert await aliases.of("a") is None
    assert not await aliases.bind("a", "paris", "x"), "nobody holds it any more"
    assert (await aliases.find("a", "paris", "x", project_id="p")).found
    assert await aliases.bind("a", "tokyo", "y", project_id="p")
    assert (await aliases.of("a")).site == "tokyo"


async def test_changes_are_told_once_and_drops_among_them(aliases):
    for name in ("a", "b", "c"):
        await accept(aliases, name)
    first = await aliases.since(0)
    assert (first.whole, sorted(one.id for one in first.aliases)) == (True, ["a", "b", "c"])
    assert (await aliases.since(first.revision)).aliases == ()
    await aliases.drop("b")
    await aliases.bind("c", "paris", "x")
    second = await aliases.since(first.revision)
    assert not second.whole
    assert {one.id: one.state for one in second.aliases} == {"b": "dropped", "c": "bound"}
    assert {one.id for one in (await aliases.since(0)).aliases} == {"a", "c"}
    # Of a database that knows less than the reader, all is new.
    other = await aliases.since(second.revision + 1000)
    assert (other.whole, {one.id for one in other.aliases}) == (True, {"a", "c"})


async def test_what_was_dropped_long_ago_is_forgotten(aliases, clock):
    await accept(aliases)
    await accept(aliases, "b")
    await aliases.drop("a")
    clock.now += DROPPED_SECONDS - 1
    assert await aliases.prune() == 0
    clock.now += 2
    assert await aliases.prune() == 1
    assert (await aliases.of("b")).state == "building"


async def test_none_is_missed_where_several_write_at_once(aliases, url):
    """Whoever reads in between sees each change in that read or in a later one."""
    others = [await open_store(url) for _ in range(3)]
    seen: set[str] = set()
    revision = 0

    async def write(number: int) -> None:
        for n in range(10):
            await accept(others[number].aliases, f"{number}-{n}")

    async def read() -> None:
        nonlocal revision
        changes = await aliases.since(revision)
        revision = changes.revision
        seen.update(one.id for one in changes.aliases)

    tasks = [asyncio.ensure_future(write(number)) for number in range(3)]
    while not all(task.done() for task in tasks):
        await read()
    await asyncio.gather(*tasks)
    await read()
    assert len(seen) == 30
    for one in others:
        await one.close()
