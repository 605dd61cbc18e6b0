"""The events of a run: what is told of it, and when a stream ends. The store is in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from atoll.gateway.run_events import Following, followed
from atoll.store import Store, StoreError, open_store
from atoll.store.run_records import NewRun
from atoll.workflow.journal import Entry
from atoll.workflow.machine import Signal, fresh
from atoll.workflow.plan import Plan, Step

PLAN = Plan(steps=(Step(name="copy", action="a.b@1"),))
RUN = "01a20000-0000-7000-8000-000000000000"


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """A store with one run, whose log lost its first four lines."""
    opened = await open_store("sqlite://")
    journal = fresh(PLAN)
    journal.log, journal.number = [Entry(5, 5.0, "do", 0), Entry(6, 6.0, "failed", 0, "no\nroom")], 6
    run = NewRun(id=RUN, definition="d@1", project_id="p", user_id="u", plan=PLAN, journal=journal)
    await opened.runs.accept(run)
    yield opened
    await opened.close()


def told(events: list[bytes]) -> list[tuple[str, Any]]:
    """(name, data) of events."""
    lines = b"".join(events).decode().split("\n")
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    return list(
        zip(names, (json.loads(line[6:]) for line in lines if line.startswith("data: ")), strict=True)
    )


async def test_lines_that_are_not_kept_are_said_to_be_lost(store: Store) -> None:
    news = told(await Following(store.run_views, RUN, 0).news())
    assert [name for name, _ in news] == ["lost", "log", "log", "state"]
    assert news[0][1] == {"from": 1, "to": 4}
    assert news[2][1]["text"] == "no\nroom"
    for after, names in ((4, ["log", "log", "state"]), (5, ["log", "state"]), (99, ["state"])):
        assert [name for name, _ in told(await Following(store.run_views, RUN, after).news())] == names


async def test_only_what_is_new_is_told(store: Store) -> None:
    following = Following(store.run_views, RUN, 4)
    await following.news()
    assert await following.news() == []
    await store.runs.signal(RUN, Signal.PAUSE)
    ((name, data),) = told(await following.news())
    assert (name, data["stop"]) == ("state", "pause")
    await store.runs.kill(RUN, "enough")
    names = told(await following.news())
    assert [name for name, _ in names] == ["log", "state", "end"]
    assert following.ended


async def test_a_stream_shows_life_while_nothing_happens(store: Store) -> None:
    following = Following(store.run_views, RUN, 6)
    async with asyncio.timeout(30), aclosing(followed(following, lambda: False, quiet=0.05)) as stream:
        first, state, alive = [await anext(stream) for _ in range(3)]
    assert (first, alive) == (b"retry: 1000\n\n", b":\n\n")
    assert [name for name, _ in told([state])] == ["state"]


async def test_a_stream_ends_by_itself(store: Store) -> None:
    following = Following(store.run_views, RUN, 6)
    async with asyncio.timeout(30):
        parts = [one async for one in followed(following, lambda: False, seconds=0.01)]
    assert parts[0] == b"retry: 1000\n\n"
    assert not following.ended


async def test_a_stream_ends_with_its_gateway(store: Store) -> None:
    following = Following(store.run_views, RUN, 6)
    assert [one async for one in followed(following, lambda: True)] == [b"retry: 1000\n\n"]


async def test_a_store_that_is_away_ends_no_stream(store: Store) -> None:
    following = Following(store.run_views, RUN, 6)
    await store.close()
    with pytest.raises(StoreError):
        await following.news()
    async with asyncio.timeout(30), aclosing(followed(following, lambda: False, quiet=0.01)) as stream:
        parts = [await anext(stream) for _ in range(3)]
    assert set(parts[1:]) == {b":\n\n"}
