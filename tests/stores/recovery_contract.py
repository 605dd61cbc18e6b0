"""How copies of servers are kept, on every database; as `contract`."""

from collections.abc import AsyncIterator

import pytest

from atoll.store import RecoveryPoint, RecoveryPoints, open_store

CONTENT = '{"name": "' + "\u00e9\u4e16" * 40_000 + '"}'


@pytest.fixture
async def points(url: str) -> AsyncIterator[RecoveryPoints]:
    store = await open_store(url)
    yield store.recovery_points
    await store.close()


def point(ident: str, server: str = "s", project_id: str = "p") -> RecoveryPoint:
    """One of a server."""
    return RecoveryPoint(
        id=ident, server=server, project_id=project_id, user_id="u", source="paris", own="x", target="tokyo",
        content=CONTENT, made_at=1700000000.5,
    )  # fmt: skip


async def test_they_are_given_newest_first_to_their_project(points: RecoveryPoints) -> None:
    for ident in ("1", "2"):
        await points.put(point(ident))
        await points.put(point(ident))
    await points.put(point("3", server="t"))
    await points.put(point("4", project_id="q"))
    assert await points.of("s", "p") == [point("2"), point("1")]
    assert [one.id for one in await points.page("p", after="1", limit=2)] == ["2", "3"]
    assert [one.id for one in await points.page(None, after="", limit=9)] == ["1", "2", "3", "4"]
    assert [one.id for one in await points.page(None, after="", limit=9, server="t")] == ["3"]
    assert [one.id for one in await points.page("p", after="", limit=9, source="paris")] == ["1", "2", "3"]
    assert [one.id for one in await points.page("p", after="1", limit=1, target="tokyo")] == ["2"]
    assert await points.page("p", after="", limit=9, source="paris", target="oslo") == []
    for _ in range(2):
        await points.drop("2")
    assert await points.of("s", "p") == [point("1")]


async def test_one_is_claimed_by_one_run_only(points: RecoveryPoints) -> None:
    await points.put(point("1"))
    for _ in range(2):
        claimed = await points.claim("1", "run")
        assert claimed is not None
        assert claimed.claimed_by == "run"
    assert await points.claim("1", "other") is None
    assert await points.claim("2", "run") is None
    await points.release("1", "other")
    assert await points.claim("1", "other") is None
    for _ in range(2):
        await points.release("1", "run")
    assert await points.claim("1", "other") is not None


async def test_what_a_run_has_left_can_be_claimed_in_its_place(points: RecoveryPoints) -> None:
    await points.put(point("1"))
    await points.claim("1", "killed")
    assert await points.claim("1", "other", instead_of="another") is None
    for _ in range(2):
        claimed = await points.claim("1", "other", instead_of="killed")
        assert claimed is not None
        assert claimed.claimed_by == "other"
    assert await points.claim("1", "killed", instead_of="killed") is None
