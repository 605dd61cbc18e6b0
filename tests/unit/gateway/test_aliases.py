"""What runs do with aliases, and what is whose, as one process knows it; over a real store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from atoll.core.accepted_servers import AskedFlavor, AskedServer
from atoll.gateway.aliases import Aliases
from atoll.store import Locations, Sighting, Store, open_store

ASKED = AskedServer(name="vm", flavor=AskedFlavor(id="42"))
ALIAS = "aaaaaaaa-0000-4000-8000-000000000001"
OWN = "bbbbbbbb-0000-4000-8000-000000000001"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/atoll.db")
    yield opened
    await opened.close()


@pytest.fixture
def locations(store: Store) -> Locations:
    return Locations(store)


@pytest.fixture
def aliases(store: Store, locations: Locations) -> Aliases:
    return Aliases(store.aliases, locations)


async def accept(aliases: Aliases) -> None:
    await aliases.accept(ALIAS, project_id="p", user_id="u", asked=ASKED)


async def test_a_run_from_acceptance_to_the_end(aliases, locations):
    assert not aliases.now.known
    for _ in range(2):
        await accept(aliases)
    assert aliases.now.means(ALIAS, "any").status == "BUILD"
    assert aliases.now.waits("p", every=False)
    assert not aliases.now.waits("q", every=False)
    for _ in range(2):
        assert await aliases.bind(ALIAS, "site1", OWN)
    assert (aliases.now.bound(ALIAS, "").site, aliases.now.bound(ALIAS, "").id) == ("site1", OWN)
    assert not aliases.now.accepted
    assert aliases.now.shown("site1", OWN, "p") == ALIAS
    assert aliases.now.shown("site2", OWN, "p") == OWN
    assert locations.cached("server", OWN) == "site1"
    body = b'{"server": {"id": "%b"}}' % OWN.encode()
    assert aliases.now.outward("site1", "compute", "p")(body) == body.replace(OWN.encode(), ALIAS.encode())
    assert aliases.now.outward("site2", "compute", "p") is None
    assert aliases.now.outward("site1", "image", "p") is None
    assert await aliases.drop(ALIAS)
    assert not aliases.now.known
    assert aliases.now.outward("site1", "compute", "p") is None


async def test_a_move_forgets_where_the_server_was(aliases, locations, store):
    await locations.created(Sighting(resource_type="server", id=ALIAS, site="site1", project_id="p"))
    assert await aliases.bind(ALIAS, "site2", OWN, project_id="p", user_id="u")
    assert locations.cached("server", ALIAS) is None
    assert await store.locate("server", ALIAS) is None
    assert aliases.now.hides("site1", ALIAS)
    assert not aliases.now.hides("site2", OWN)


async def test_deleting_cancels_the_run_once(aliases):
    cancelled = []

    async def cancel(one):
        cancelled.append((one.id, one.state, one.project_id))

    aliases.on_delete(cancel)
    await accept(aliases)
    assert await aliases.delete(ALIAS)
    assert not await aliases.delete(ALIAS)
    assert cancelled == [(ALIAS, "building", "p")]
    assert not await aliases.bind(ALIAS, "site1", OWN)


async def test_what_has_come_to_a_site_meanwhile_is_not_cancelled(aliases, store):
    cancelled = []

    async def cancel(one):
        cancelled.append(one)

    aliases.on_delete(cancel)
    await accept(aliases)
    await store.aliases.bind(ALIAS, "site1", OWN)  # by another process
    assert not await aliases.delete(ALIAS)
    assert cancelled == []
    assert aliases.now.bound(ALIAS, "").id == OWN, "it is known from then on"


async def test_one_that_failed_has_its_reason(aliases):
    await accept(aliases)
    assert await aliases.fail(ALIAS, "no room", code=400)
    shown = aliases.now.means(ALIAS, "p")
    assert (shown.status, shown.message, shown.code) == ("ERROR", "no room", 400)
    assert not await aliases.fail(OWN, "never accepted")


async def test_a_404_counts_only_where_its_own_project_is_told(aliases):
    await aliases.bind(ALIAS, "site1", OWN, project_id="p")
    await aliases.gone("site1", OWN, "q")
    await aliases.gone("site2", OWN, "p")
    assert aliases.now.bound(ALIAS, "p").id == OWN
    await aliases.gone("site1", OWN, "p")
    assert not aliases.now.known
    # If it is there all the same, its metadata bring it back, to its project.
    await aliases.found(ALIAS, "site1", OWN, project_id="p")
    assert aliases.now.bound(ALIAS, "p").id == OWN
    assert await aliases.bind(ALIAS, "site1", OWN, project_id="p")
    assert aliases.now.bound(ALIAS, "q").id == OWN
    assert list(aliases.now.known) == [ALIAS]


async def test_what_is_forgotten_of_another_projects_leaves_ones_own(aliases):
    await aliases.found(ALIAS, "site2", OWN, project_id="bad")
    await aliases.bind(ALIAS, "site1", OWN, project_id="p")
    await aliases.gone("site2", OWN, "bad")
    await aliases.forget(ALIAS)
    assert list(aliases.now.known) == [ALIAS]
    assert aliases.now.bound(ALIAS, "p").site == "site1"


async def test_what_was_found_counts_in_its_project(aliases):
    await aliases.found(ALIAS, "site1", OWN, project_id="p")
    assert aliases.now.bound(ALIAS, "p").id == OWN
    assert aliases.now.bound(ALIAS, "q") is None
    assert aliases.now.shown("site1", OWN, "q") == OWN
    assert aliases.now.outward("site1", "compute", "q") is None
    assert not aliases.now.hides("site2", ALIAS)
    await aliases.found(ALIAS, "site2", OWN.replace("1", "2"), project_id="p")
    assert (aliases.now.contested("site1"), aliases.now.contested("site2")) == ([ALIAS], [ALIAS])
    assert await aliases.forget(ALIAS)
    assert not aliases.now.known


async def test_others_see_changes_and_a_lost_table(aliases, store):
    await accept(aliases)
    other = Aliases(store.aliases, Locations(store))
    assert await other.learnt(ALIAS, "p")
    await aliases.bind(ALIAS, "site1", OWN)
    following = asyncio.ensure_future(other.follow())
    async with asyncio.timeout(30):
        while other.now.accepted:  # noqa: ASYNC110 - another process, to it
            await asyncio.sleep(0.02)
    following.cancel()
    assert other.now.shown("site1", OWN, "p") == ALIAS
    await aliases.drop(ALIAS)
    assert not await other.learnt(ALIAS, "p")


async def test_what_this_release_does_not_understand_is_passed_over(aliases, store, log_lines):
    await store.aliases.accept(ALIAS, project_id="p", user_id="u", asked="[1]")
    await aliases.load()
    assert not aliases.now.known
    assert [line["event"] for line in log_lines] == ["alias_not_read"]
