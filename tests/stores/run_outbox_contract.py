"""The outbox of runs, on every database: `url` gives an empty one."""

from collections.abc import AsyncIterator

import pytest
from tests.stores.run_view_contract import accept, name_of

from atoll.store import Store, open_store


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url, published=True)
    yield opened
    await opened.close()


async def numbers(store: Store) -> list[tuple[int, int]]:
    """(number, sent) of what waits."""
    return [(one.number, one.sent) for one in await store.run_outbox.waiting("", 10)]


async def test_what_waits_is_given_by_pages_in_the_order_of_ids(store: Store) -> None:
    for number in (3, 1, 2):
        await accept(store, number)
    first = await store.run_outbox.waiting("", 2)
    assert [one.id for one in first] == [name_of(1), name_of(2)]
    assert [one.id for one in await store.run_outbox.waiting(first[-1].id, 2)] == [name_of(3)]
    assert await store.run_outbox.waiting(name_of(3), 2) == []


async def test_a_mark_holds_for_what_it_says_and_for_no_line_written_since(store: Store) -> None:
    await accept(store, 1)
    await store.runs.kill(name_of(1), "a")
    news = await store.run_outbox.news(name_of(1), 0, 10)
    assert news is not None
    assert [(one.number, one.what, one.text) for one in news.lines] == [(1, "killed", "a")]
    await store.runs.redo(name_of(1))
    await store.run_outbox.sent(name_of(1), 1)
    assert await numbers(store) == [(2, 1)]
    await store.run_outbox.sent(name_of(1), 2)
    assert await numbers(store) == []
    await store.run_outbox.sent(name_of(1), 1)  # said late, by one that was frozen
    await store.runs.kill(name_of(1), "b")
    assert await numbers(store) == [(3, 2)]


async def test_lines_come_in_parts_and_a_run_that_is_gone_has_none(store: Store) -> None:
    await accept(store, 1)
    for _ in range(2):
        await store.runs.kill(name_of(1), "")
        await store.runs.redo(name_of(1))
    news = await store.run_outbox.news(name_of(1), 0, 3)
    assert news is not None
    assert ([one.number for one in news.lines], news.upto) == ([1, 2, 3], 3)
    news = await store.run_outbox.news(name_of(1), 3, 3)
    assert news is not None
    assert ([one.number for one in news.lines], news.upto, news.state) == ([4], 4, "queued")
    assert await store.run_outbox.news(name_of(2), 0, 3) is None
