"""What every database has to keep: run on SQLite files by `make test`, on all three by `make stores`.

Taken into a module of tests by `from tests.stores.contract import *`; `url` there gives an empty database.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from atoll.store import Conflict, Cursor, Held, Made, Sighting, Store, StoreError, open_store
from atoll.store.database import Access, Connection
from atoll.store.opening import open_database


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(url: str, clock: Clock) -> AsyncIterator[Store]:
    opened = await open_store(url, clock=clock)
    yield opened
    await opened.close()


async def behind(url: str, *statements: str) -> None:
    """Change a database behind the back of who has it open."""

    def work(connection: Connection) -> None:
        for statement in statements:
            connection.change(statement)

    database = await open_database(url)
    await database.run(Access.WRITE, work)
    await database.close()


def server(name: str, site: str, project: str | None = "p1") -> Sighting:
    return Sighting(resource_type="server", id=name, site=site, project_id=project, created_at=5.0)


async def where(store: Store, name: str) -> str | None:
    location = await store.locate("server", name)
    return location.site if location else None


async def test_what_was_created_is_found(store):
    assert await store.learn([server("a", "paris")], "create") == []
    location = await store.locate("server", "a")
    assert (location.site, location.project_id, location.created_at) == ("paris", "p1", 5.0)
    assert (location.deleted, location.conflicting) == (False, ())
    assert await store.locate("volume", "a") is None
    assert await store.locate("server", "b") is None


async def test_many_are_found_at_once(store):
    assert await store.learn([server(str(n), "paris") for n in range(1500)], "list") == []
    found = await store.locate_many("server", [str(n) for n in range(1000, 3000)])
    assert len(found) == 500
    assert await store.locate_many("server", []) == {}


@pytest.mark.parametrize("source", ["list", "search"])
async def test_what_a_list_or_a_search_shows_never_replaces_a_record(store, source):
    await store.learn([server("a", "paris")], "create")
    conflict = Conflict(resource_type="server", id="a", sites=("paris", "tokyo"))
    assert await store.learn([server("a", "tokyo")], source) == [conflict]
    assert await where(store, "a") == "paris"
    assert await store.conflicts() == [conflict]
    location = await store.locate("server", "a")
    assert location.conflicting == ("paris", "tokyo")
    (third,) = await store.learn([server("a", "rome")], source)
    assert third.sites == ("paris", "tokyo", "rome")
    assert await store.learn([server("a", "paris")], source) == []


async def test_two_sites_in_one_batch_conflict_and_the_first_stays(store):
    (conflict,) = await store.learn([server("a", "paris"), server("a", "tokyo")], "list")
    assert conflict.sites == ("paris", "tokyo")
    assert await where(store, "a") == "paris"


async def test_a_create_is_authoritative(store):
    await store.learn([server("a", "paris")], "list")
    (conflict,) = await store.learn([server("a", "tokyo")], "create")
    assert conflict.sites == ("tokyo", "paris")
    assert await where(store, "a") == "tokyo"


async def test_a_tombstone_keeps_the_site(store, clock):
    await store.learn([server("a", "paris")], "create")
    assert not await store.tombstone("server", "a", site="tokyo")
    assert await store.tombstone("server", "a", site="paris")
    assert not await store.tombstone("server", "a")
    location = await store.locate("server", "a")
    assert (location.site, location.deleted) == ("paris", True)
    await store.learn([server("a", "paris")], "list")
    assert (await store.locate("server", "a")).deleted, "the list may have been on its way before the 404"
    clock.now += 61
    await store.learn([server("a", "paris")], "list")
    assert not (await store.locate("server", "a")).deleted


async def test_a_tombstone_is_of_who_sees_the_thing(store):
    """What another project is told is not there may be."""
    await store.learn([server("a", "paris", "p"), server("b", "paris", None)], "create")
    assert not await store.tombstone("server", "a", site="paris", project_id="q")
    assert await store.tombstone("server", "a", site="paris", project_id="p")
    assert await store.tombstone("server", "b", site="paris", project_id="q"), "it is not known whose it is"


async def test_a_list_completes_what_a_search_did_not_know(store):
    await store.learn([server("a", "paris", None)], "search")
    await store.learn([server("a", "paris", "p2")], "list")
    assert (await store.locate("server", "a")).project_id == "p2"
    await store.learn([server("a", "paris", None)], "create")
    assert (await store.locate("server", "a")).project_id == "p2"


async def test_resources_are_counted_by_site(store):
    await store.learn([server("a", "paris"), server("b", "paris", "p2"), server("c", "tokyo")], "list")
    await store.learn([Sighting(resource_type="volume", id="v", site="tokyo", project_id="p1")], "list")
    await store.tombstone("server", "b")
    assert await store.count_by_site("server") == {"paris": 1, "tokyo": 1}
    assert await store.count_by_site_of_project("p1", ["server", "volume"]) == {"paris": 1, "tokyo": 2}
    assert await store.count_by_site_of_project("p1", []) == {}


def made(name: str, site: str, project: str, at: float, kind: str = "network") -> Sighting:
    return Sighting(resource_type=kind, id=name, site=site, project_id=project, created_at=at)


async def test_what_was_made_since_a_moment_is_counted_deleted_or_not(store):
    things = [made("a", "paris", "p1", 5.0), made("b", "paris", "p1", 6.0), made("c", "tokyo", "p2", 7.0)]
    await store.learn([*things, made("r", "tokyo", "p2", 8.0, "router")], "list")
    await store.tombstone("network", "b")
    assert await store.count_made(["network", "server"], since=5.0) == {"paris": 1, "tokyo": 1}
    assert await store.count_made(["network", "router"], since=0.0) == {"paris": 2, "tokyo": 2}


async def test_the_newest_thing_of_a_project_is_found(store):
    await store.learn([made("a", "paris", "p1", 5.0), made("b", "tokyo", "p1", 9.0)], "list")
    await store.learn([made("i", "rome", "p1", 10.0, "image"), made("c", "rome", "p2", 11.0)], "list")
    await store.learn([Sighting(resource_type="network", id="n", site="rome", project_id="p3")], "list")
    assert await store.newest_of("p1", ["network", "server"]) == Made("tokyo", 9.0)
    await store.tombstone("network", "b")
    assert await store.newest_of("p1", ["network", "server"]) == Made("tokyo", 9.0)
    assert await store.newest_of("p3", ["network"]) is None


async def test_where_the_last_project_began_is_found(store):
    assert await store.newest_beginning(["network"], since=0.0) is None
    await store.learn([made("a", "paris", "p1", 5.0), made("b", "tokyo", "p2", 6.0)], "list")
    await store.learn([made("c", "rome", "p1", 7.0), made("d", "rome", "p2", 8.0)], "list")
    assert await store.newest_beginning(["network", "server"], since=0.0) == Made("tokyo", 6.0)
    assert await store.newest_beginning(["network"], since=6.0) is None
    await store.tombstone("network", "b")
    assert await store.newest_beginning(["network"], since=5.5) == Made("tokyo", 6.0)


async def test_a_site_can_be_forgotten(store):
    await store.learn([server("a", "paris"), server("b", "tokyo")], "list")
    await store.learn([server("a", "tokyo")], "list")
    assert await store.forget("paris") == 1
    assert (await where(store, "a"), await where(store, "b")) == (None, "tokyo")
    assert await store.conflicts() == []


async def test_all_locations_can_be_forgotten(store):
    await store.learn([server("a", "paris"), server("a", "tokyo")], "list")
    await store.clear_locations()
    assert await where(store, "a") is None
    assert await store.conflicts() == []


async def test_a_cursor_is_kept_for_an_hour(store, clock):
    cursor = Cursor(markers={"paris": "a", "tokyo": None}, missing={"rome": "timeout"})
    await store.save_cursor("p1", "servers?limit=2", "a", Cursor(markers={}))
    await store.save_cursor("p1", "servers?limit=2", "a", cursor)
    assert await store.load_cursor("p1", "servers?limit=2", "a") == cursor
    assert await store.load_cursor("p2", "servers?limit=2", "a") is None
    assert await store.load_cursor("p1", "servers?limit=3", "a") is None
    clock.now += 3601
    assert await store.load_cursor("p1", "servers?limit=2", "a") is None


async def test_what_is_old_is_pruned(store, clock):
    await store.save_cursor("p1", "q", "a", Cursor(markers={}))
    await store.learn([server("a", "paris"), server("b", "paris")], "list")
    await store.tombstone("server", "a")
    pruned = await store.prune(clock.now)
    assert (pruned.cursors, pruned.tombstones) == (0, 0)
    pruned = await store.prune(clock.now + 8 * 86400)
    assert (pruned.cursors, pruned.tombstones) == (1, 1)
    assert await where(store, "b") == "paris"


async def test_a_lease_is_one_holders_at_a_time(url, store):
    async with contextlib.AsyncExitStack() as stack:
        others = [await open_store(url) for _ in range(3)]
        for one in others:
            stack.push_async_callback(one.close)
        everyone = [store, *others] * 3
        took = [one.leases.take("a", f"{at}") for at, one in enumerate(everyone)]
        told = await asyncio.gather(*took)
        (winner,) = (f"{at}" for at, held in enumerate(told) if held is None)
        assert {held.holder for held in told if held is not None} <= {winner, ""}
        assert await store.leases.take("b", "else") is None
        await others[0].leases.give_back("a", "somebody else")
        held = await store.leases.take("a", "late")
        assert held == Held(winner, 0)
        assert await others[1].leases.beat("a", winner)
        assert await store.leases.take("a", "late", stale=held) == Held(winner, 1), "it shows life"
        told = await asyncio.gather(
            *(one.leases.take("a", f"new{at}", stale=Held(winner, 1)) for at, one in enumerate(everyone))
        )
        assert told.count(None) == 1, "one takes it over"
        assert not await store.leases.beat("a", winner)
        (heir,) = (f"new{at}" for at, held in enumerate(told) if held is None)
        await store.leases.give_back("a", heir)
        assert await others[2].leases.take("a", "late") is None


async def test_it_outlives_the_process(url, store):
    await store.learn([server("a", "paris")], "create")
    other = await open_store(url)
    assert await where(other, "a") == "paris"
    await other.close()


async def test_ids_differ_in_case_and_in_blanks(store):
    """MariaDB takes them for one unless it is told, and a keypair may be called so."""
    names = ["web", "Web", "web ", "wéb", "web\n", "東京", "🏝"]
    assert await store.learn([server(name, f"site{n}") for n, name in enumerate(names)], "list") == []
    assert [await where(store, name) for name in names] == [f"site{n}" for n in range(len(names))]
    for name in names:
        await store.save_cursor("p1", "keypairs", name, Cursor(markers={"paris": name}))
    for name in names:
        assert await store.load_cursor("p1", "keypairs", name) == Cursor(markers={"paris": name})


async def test_a_cursor_of_a_thousand_sites(store):
    """More than the 64 KB that a MariaDB TEXT holds."""
    cursor = Cursor(markers={f"site-{n:058}": "0f0f0f0f-1111-4222-8333-444444444444" for n in range(1000)})
    await store.save_cursor("p1", "servers", "a", cursor)
    assert await store.load_cursor("p1", "servers", "a") == cursor


@pytest.mark.parametrize("unfit", ["x" * 256, "nul\0", "half a character \ud83c"])
async def test_an_id_that_no_database_holds_is_left_out(store, unfit):
    """A site may say anything; what it says must not keep the rest from being learnt."""
    assert (
        await store.learn([server("a", "paris"), server(unfit, "paris"), server("b", "paris")], "list") == []
    )
    assert await store.count_by_site("server") == {"paris": 2}
    assert await where(store, unfit) is None
    await store.save_cursor("p1", "q", unfit, Cursor(markers={}))
    assert await store.load_cursor("p1", "q", unfit) is None


async def test_it_is_empty_until_something_is_learnt(store):
    assert await store.is_empty()
    await store.learn([server("a", "paris")], "list")
    assert not await store.is_empty()


async def test_times_are_kept_to_the_microsecond(store):
    await store.learn(
        [Sighting(resource_type="server", id="a", site="paris", created_at=1_795_255_200.123456)], "create"
    )
    location = await store.locate("server", "a")
    assert (location.created_at, location.project_id) == (1_795_255_200.123456, None)


async def test_writers_wait_for_each_other(url, store):
    other = await open_store(url)
    writes = (one.learn([server(f"{n}", "paris")], "create") for n in range(40) for one in (store, other))
    assert all(conflicts == [] for conflicts in await asyncio.gather(*writes))
    assert await store.count_by_site("server") == {"paris": 40}
    await other.close()


WRITE = """
import asyncio, random, sys
from atoll.store import Cursor, Sighting, open_store
async def main(url, me):
    store = await open_store(url)
    def seen(*names):
        return [Sighting(resource_type="server", id=str(name), site=me) for name in names]
    for turn in range(10):
        # The same new things, in an order of its own, as all that list at once see them.
        names = [f"{turn}-{n}" for n in range(60)]
        random.shuffle(names)
        await store.learn(seen(*names), "list")
        await store.learn(seen(f"{me}-{turn}"), "create")
        await store.save_cursor("p1", "q", f"{turn}", Cursor(markers={"paris": "a"}))
        await store.tombstone("server", f"{me}-{turn - 1}")
    await store.close()
asyncio.run(main(*sys.argv[1:]))
"""


def run_at_once(code: str, *arguments: tuple[str, ...]) -> None:
    """Run a program in as many processes as there are arguments; none of them may fail."""
    started = [
        subprocess.Popen([sys.executable, "-c", code, *each], stderr=subprocess.PIPE)  # noqa: S603
        for each in arguments
    ]
    for process in started:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr.decode()


async def test_several_processes_write_the_same(url, store):
    """Nothing is lost, nobody gives up, and what one wrote the others do not replace."""
    sites = ("paris", "tokyo", "rome")
    await asyncio.to_thread(run_at_once, WRITE, *((url, site) for site in sites))
    locations = await store.locate_many("server", [f"{turn}-{n}" for turn in range(10) for n in range(60)])
    assert len(locations) == 600
    for location in locations.values():
        assert set(location.conflicting) == set(sites)
        assert location.conflicting[0] == location.site
    for site in sites:
        own = await store.locate_many("server", [f"{site}-{turn}" for turn in range(10)])
        assert [own[f"{site}-{turn}"].deleted for turn in range(10)] == [True] * 9 + [False]
    assert await store.load_cursor("p1", "q", "9") == Cursor(markers={"paris": "a"})


OPEN = """
import asyncio, sys
from atoll.store import Sighting, open_store
async def main(url, me):
    store = await open_store(url)
    await store.learn([Sighting(resource_type="server", id=me, site="paris")], "create")
    await store.close()
asyncio.run(main(*sys.argv[1:]))
"""


async def test_several_processes_may_start_at_once(url):
    await asyncio.to_thread(run_at_once, OPEN, *((url, str(n)) for n in range(3)))
    store = await open_store(url)
    assert await store.count_by_site("server") == {"paris": 3}
    await store.close()


async def test_a_database_of_a_later_release_is_left_alone(url):
    await (await open_store(url)).close()
    await behind(url, "UPDATE alembic_version SET version_num = '9999'", "DROP TABLE cursors")
    with pytest.raises(StoreError, match="another release of Atoll"):
        await open_store(url)


@pytest.mark.parametrize("tables", [("locations",), ("cursors", "conflicts", "alembic_version", "locations")])
async def test_a_table_that_was_dropped_is_made_again(url, store, tables):
    await store.learn([server("a", "paris")], "create")
    await behind(url, *(f"DROP TABLE {table}" for table in tables))
    async with asyncio.timeout(30):
        while not await works(store):  # noqa: ASYNC110 - it is made behind our back
            await asyncio.sleep(0.05)
    assert (await store.locate("server", "b")).conflicting == ("paris", "tokyo")


async def works(store: Store) -> bool:
    """Whether every table can be read and written."""
    try:
        await store.locate("server", "a")
        await store.learn([server("b", "paris"), server("b", "tokyo")], "list")
        await store.save_cursor("p1", "q", "a", Cursor(markers={}))
    except StoreError:
        return False
    return True


async def test_a_table_that_was_dropped_is_made_again_at_a_start(url):
    await (await open_store(url)).close()
    await behind(url, "DROP TABLE conflicts")
    store = await open_store(url)
    assert await store.conflicts() == []
    await store.close()


async def test_a_failing_database_is_a_store_error(url, store):
    await behind(url, "ALTER TABLE locations RENAME COLUMN site TO place")
    with pytest.raises(StoreError, match=r"the database failed: .*site"):
        await store.learn([server("a", "paris")], "create")
    await behind(url, "ALTER TABLE locations RENAME COLUMN place TO site")
    await store.learn([server("a", "paris")], "create")


async def test_work_that_fails_leaves_nothing(url):
    database = await open_database(url)

    def work(connection: Connection) -> None:
        connection.change("INSERT INTO conflicts VALUES ('server', 'a', '[]', 1.0)")
        raise LookupError

    with pytest.raises(LookupError):
        await database.run(Access.WRITE, work)
    assert await database.run(Access.READ, lambda c: len(c.rows("SELECT id FROM conflicts"))) == 0
    await database.close()
