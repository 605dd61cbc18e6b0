"""What a list shows where an id comes to mean another server while the list is read: each server, once.

A list is held after each answer of a site in turn; another gateway changes what ids mean there.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.running import Atoll
from tests.scenarios.conftest import SERVERS, Client, boot
from tests.scenarios.test_accepted_servers import accepted
from tests.scenarios.test_moving_lists import PATHS

from atoll.gateway import list_reads, lists
from atoll.gateway.forward import Forward
from atoll.sandbox.simulated import Cloud
from atoll.store import Store, open_store

ANOTHER = "77777777-8888-4777-8666-555555555555"
Happens = Callable[[], Awaitable[Any]]


@pytest.fixture
async def store(atoll: Atoll) -> AsyncIterator[Store]:
    """The gateway's database, as another process has it open."""
    opened = await open_store(f"sqlite:///{atoll.database}")
    yield opened
    await opened.close()


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch, user: Client) -> Callable[[int, Happens], None]:
    """Have something happen, and be known, after that many answers of sites to lists."""

    def at(number: int, happens: Happens) -> None:
        read, turn, left = list_reads.ListReads._read, asyncio.Lock(), number  # noqa: SLF001 - where it waits

        async def reading(*given: Any, **more: Any) -> Any:
            nonlocal left
            page = await read(*given, **more)
            async with turn:
                left -= 1
                if left == 0:
                    await happens()
                    await user.get(f"{SERVERS}/{ANOTHER}")  # what is not known makes a gateway look
            return page

        monkeypatch.setattr(list_reads.ListReads, "_read", reading)

    return at


async def ids(user: Client, path: str) -> list[str]:
    """The ids in a list; it names no site that is missing."""
    answer = await user.get(path)
    assert answer.status_code == 200, answer.text
    assert "x-atoll-missing-sites" not in answer.headers
    return [one["id"] for one in answer.json()["servers"]]


def delete(cloud: Cloud, ident: str) -> None:
    """A server of the first site is gone."""
    compute = cloud.site("site1").compute
    server = compute.instances.get(ident)
    assert server is not None
    compute.servers.remove(server)


def whose(cloud: Cloud) -> dict[str, Any]:
    """To whom an alias belongs."""
    return {"project_id": cloud.keystone.project_id("demo"), "user_id": "user"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_move_is_done(
    user: Client, cloud: Cloud, store: Store, after: Any, path: str, number: int
) -> None:
    """The new one was hidden, and the old one shown; then it is the other way round."""
    alias = str(uuid.uuid4())
    old = await boot(user, cloud, "site1")
    new = await boot(user, cloud, "site2")
    await store.aliases.bind(alias, "site1", old, **whose(cloud))
    await store.aliases.hide("site2", new)
    await user.get(f"{SERVERS}/{alias}")
    assert await ids(user, path) == [alias]
    after(number, lambda: store.aliases.bind(alias, "site2", new, was=("site1", old)))
    assert await ids(user, path) == [alias]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_move_has_a_server_at_the_target(
    user: Client, cloud: Cloud, store: Store, after: Any, path: str, number: int
) -> None:
    old = await boot(user, cloud, "site1")
    new = await boot(user, cloud, "site2")
    after(number, lambda: store.aliases.hide("site2", new))
    assert await ids(user, path) == [old]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_first_move(
    user: Client, cloud: Cloud, store: Store, after: Any, path: str, number: int
) -> None:
    old = await boot(user, cloud, "site1")
    new = await boot(user, cloud, "site2")
    await store.aliases.hide("site2", new)
    await user.get(f"{SERVERS}/{ANOTHER}")
    of = whose(cloud)
    after(number, lambda: store.aliases.bind(old, "site2", new, was=("site1", old), **of))
    assert await ids(user, path) == [old]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_an_accepted_server_comes_to_a_site(
    user: Client, cloud: Cloud, store: Store, after: Any, path: str, number: int
) -> None:
    alias = await accepted(user, store, cloud)
    assert await ids(user, path) == [alias]
    new = await boot(user, cloud, "site2")
    after(number, lambda: store.aliases.bind(alias, "site2", new))
    assert await ids(user, path) == [alias]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_what_was_moved_away_is_gone_at_last(
    user: Client, cloud: Cloud, store: Store, after: Any, path: str, number: int
) -> None:
    alias = str(uuid.uuid4())
    old = await boot(user, cloud, "site1")
    new = await boot(user, cloud, "site2")
    await store.aliases.bind(alias, "site2", new, was=("site1", old), **whose(cloud))
    await user.get(f"{SERVERS}/{alias}")

    async def gone() -> None:
        delete(cloud, old)
        await store.aliases.unhide("site1", old)

    after(number, gone)
    assert await ids(user, path) == [alias]


async def test_one_that_moves_again_and_again_is_shown_all_the_same(
    user: Client, cloud: Cloud, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read together is shown together, however often it has changed meanwhile."""
    alias = str(uuid.uuid4())
    places = [("site1", await boot(user, cloud, "site1")), ("site2", await boot(user, cloud, "site2"))]
    await store.aliases.bind(alias, *places[0], was=places[1], **whose(cloud))
    await user.get(f"{SERVERS}/{alias}")
    read, rounds = lists.Lists._walk, 0  # noqa: SLF001 - the same

    async def walked(*given: Any) -> Any:
        nonlocal rounds
        rounds += 1
        page = await read(*given)
        await store.aliases.bind(alias, *places[rounds % 2], was=places[(rounds + 1) % 2])
        await user.get(f"{SERVERS}/{ANOTHER}")
        return page

    monkeypatch.setattr(lists.Lists, "_walk", walked)
    assert await ids(user, SERVERS) == [alias]
    assert rounds == 1 + lists.AGAIN


@pytest.mark.parametrize("below", ["", "/metadata", "/os-interface"])
@pytest.mark.parametrize("gone", [False, True])
async def test_it_is_moved_while_it_is_asked_for(
    user: Client, cloud: Cloud, store: Store, monkeypatch: pytest.MonkeyPatch, below: str, gone: bool
) -> None:
    """The id in the answer is the one asked for; where the old one is gone by now, the new one is asked."""
    alias = str(uuid.uuid4())
    old = await boot(user, cloud, "site1", name="old")
    new = await boot(user, cloud, "site2", name="new")
    await store.aliases.bind(alias, "site1", old, **whose(cloud))
    await store.aliases.hide("site2", new)
    await user.get(f"{SERVERS}/{alias}")
    send, held = Forward.send, False

    async def sending(*given: Any, **more: Any) -> Any:
        nonlocal held
        first, held = not held, True
        if first and gone:
            delete(cloud, old)
        response = await send(*given, **more)
        if first:
            await store.aliases.bind(alias, "site2", new, was=("site1", old))
            await user.get(f"{SERVERS}/{ANOTHER}")
        return response

    monkeypatch.setattr(Forward, "send", sending)
    answer = await user.get(f"{SERVERS}/{alias}{below}")
    assert answer.status_code == 200, answer.text
    if not below:
        server = answer.json()["server"]
        assert (server["id"], server["name"]) == (alias, "new" if gone else "old")
        assert old not in answer.text
        assert new not in answer.text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_server_comes_that_is_not_to_be_shown(
    user: Client, cloud: Cloud, store: Store, after: Any, path: str, number: int
) -> None:
    """Another gateway says so, and makes it, while the list is read."""
    server = await boot(user, cloud, "site2")
    project = cloud.keystone.project_id("demo")

    async def comes() -> None:
        await store.aliases.expect(server, "site1", project_id=project)
        await boot(user, cloud, "site1", metadata={"atoll_id": server})

    after(number, comes)
    assert await ids(user, path) == [server]
    assert await ids(user, path) == [server]
    await store.aliases.expect_no_more(server)
    await user.get(f"{SERVERS}/{ANOTHER}")
    assert len(await ids(user, SERVERS)) == 2
