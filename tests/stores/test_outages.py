"""A PostgreSQL or MariaDB that is away, silent, busy or back again: `StoreError` in a time, never a hang.

The times here are bounds that a hang would exceed, not measurements.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from tests.stores.contract import server as seen
from tests.stores.contract import where
from tests.stores.relay import Relay
from tests.stores.servers import PASSWORD, QUOTED, USER, Server

from atoll.store import Cursor, Store, StoreError, open_store
from atoll.store.database import Access
from atoll.store.drivers import driver_of
from atoll.store.opening import open_database

HANG = 20.0
HOLD = "UPDATE locations SET project_id = 'x' WHERE resource_type = 'server' AND id = 'a'"
SETTINGS = {
    "postgresql": ("SHOW idle_in_transaction_session_timeout", "30s"),
    "mariadb": ("SELECT @@idle_transaction_timeout", 30),
}


@pytest.fixture
async def store(database_url: str, relay: Relay) -> AsyncIterator[Store]:
    """On a database behind the relay, with server a at paris."""
    opened = await open_store(relay.url(database_url))
    await opened.learn([seen("a", "paris")], "create")
    yield opened
    async with asyncio.timeout(HANG):
        await opened.close()


async def back(store: Store) -> None:
    """Wait until the store reads and writes again."""
    async with asyncio.timeout(HANG):
        while True:
            with contextlib.suppress(StoreError):
                await store.learn([seen("b", "tokyo")], "create")
                assert await where(store, "b") == "tokyo"
                return
            await asyncio.sleep(0.05)


async def test_connections_that_ended_are_made_again_and_nobody_notices(store: Store, relay: Relay) -> None:
    for turn in range(3):
        relay.cut()
        assert await where(store, "a") == "paris"
        relay.cut()
        assert await store.learn([seen(f"c{turn}", "rome")], "list") == []


async def test_a_server_that_was_restarted_is_not_noticed(server: Server, database_url: str) -> None:
    store = await open_store(database_url)
    await store.learn([seen("a", "paris")], "create")
    server.stop()
    server.start()
    assert await where(store, "a") == "paris"
    await store.learn([seen("b", "tokyo")], "create")
    await store.close()


async def test_a_server_that_is_away_is_a_store_error_until_it_is_back(
    server: Server, database_url: str
) -> None:
    store = await open_store(database_url)
    await store.learn([seen("a", "paris")], "create")
    server.stop()
    try:
        async with asyncio.timeout(HANG):
            for _ in range(3):
                with pytest.raises(StoreError):
                    await store.locate("server", "a")
                with pytest.raises(StoreError):
                    await store.learn([seen("b", "paris")], "create")
            with pytest.raises(StoreError):
                await store.save_cursor("p1", "q", "a", Cursor(markers={}))
            with pytest.raises(StoreError, match="cannot open the database"):
                await open_store(database_url)
    finally:
        server.start()
    assert await where(store, "a") == "paris"
    await back(store)
    await store.close()


async def test_a_silent_database_is_a_store_error_and_then_not_waited_for(store: Store, relay: Relay) -> None:
    """As when a cable is pulled: nothing ever answers, and nothing is refused."""
    relay.hold()
    async with asyncio.timeout(HANG):
        with pytest.raises(StoreError, match="did not answer within 2 s"):
            await store.locate("server", "a")
        # Many more than would be done in the time if each waited for itself.
        for _ in range(100):
            with pytest.raises(StoreError, match="did not answer"):
                await store.locate("server", "a")
    relay.release()
    await back(store)
    assert await where(store, "a") == "paris"


async def test_a_silent_database_that_comes_back_as_another_one(store: Store, relay: Relay) -> None:
    """A failover: the old connections are never heard of again, new ones are answered."""
    relay.hold(for_good=True)
    with pytest.raises(StoreError, match="did not answer"):
        await store.locate("server", "a")
    relay.release()
    await back(store)
    # All of the pool, not only the first connection of it.
    for _ in range(4):
        found = await asyncio.gather(*(where(store, "a") for _ in range(20)), return_exceptions=True)
    assert found == ["paris"] * 20


async def test_a_silent_database_does_not_keep_us_from_ending(database_url: str, relay: Relay) -> None:
    store = await open_store(relay.url(database_url))
    relay.hold()
    async with asyncio.timeout(HANG):
        await store.close()


async def test_a_database_that_was_removed_is_a_store_error_and_made_again_when_it_is_back(
    server: Server, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    store = await open_store(database_url)
    await store.learn([seen("a", "paris")], "create")
    server.drop(name)
    for _ in range(3):
        with pytest.raises(StoreError):
            await store.locate("server", "a")
    server.create(name)
    await back(store)
    assert await where(store, "a") is None
    await store.close()


async def test_a_row_that_another_holds_is_a_store_error(store: Store, database_url: str) -> None:
    """And what is not held goes on meanwhile, reading as well as writing."""
    engine = create_async_engine(driver_of(database_url)[0], poolclass=NullPool)
    async with engine.begin() as other:
        await other.execute(text(HOLD))
        async with asyncio.timeout(HANG):
            with pytest.raises(StoreError, match="did not answer within 4 s"):
                await store.learn([seen("a", "paris")], "create")
        await back(store)
        assert await where(store, "a") == "paris"
    await engine.dispose()
    await store.learn([seen("a", "paris")], "create")


async def test_requests_that_are_given_up_leave_no_connection_behind(store: Store) -> None:
    """Clients go away at any moment; five connections serve hundreds of them."""
    dice = random.Random(7)  # noqa: S311
    for _ in range(30):
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(where(store, "a")) for _ in range(10)]
        tasks += [asyncio.ensure_future(store.learn([seen(f"{n}", "rome")], "list")) for n in range(5)]
        await asyncio.sleep(dice.random() / 200)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(HANG):
        await back(store)
        for _ in range(10):
            assert await asyncio.gather(*(where(store, "a") for _ in range(20))) == ["paris"] * 20


async def test_a_stalled_gateway_holds_no_row_for_long(server: Server, database_url: str) -> None:
    """What holds rows and says no more is ended by the server."""
    statement, expected = SETTINGS[server.kind.name]
    database = await open_database(database_url)
    for access in (Access.WRITE, Access.SWEEP):
        assert await database.run(access, lambda it: it.rows(statement)) == [(expected,)]
    await database.close()


@pytest.mark.parametrize(
    ("right", "wrong"), [(QUOTED, "guessed"), (f"{USER}:", "nobody:"), ("/atoll", "/nowhere")]
)
async def test_what_cannot_be_opened_says_why_and_no_secret(
    database_url: str, right: str, wrong: str
) -> None:
    with pytest.raises(StoreError, match=r"cannot open the database: .*(nobody|atoll|nowhere)") as failed:
        await open_store(database_url.replace(right, wrong))
    for secret in (PASSWORD, QUOTED, "guessed"):
        assert secret not in str(failed.value)
