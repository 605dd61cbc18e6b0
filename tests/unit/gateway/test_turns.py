"""One change of a thing at a time: within a process, over processes, and when one of them is killed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.running import until

from atoll.core.errors import Conflict
from atoll.gateway.turns import Turns
from atoll.store import Store, StoreError, open_store

STALE = 0.2


@pytest.fixture
async def stores(database: Path) -> AsyncIterator[list[Store]]:
    """Two that share a database, as two gateways do."""
    opened = [await open_store(f"sqlite:///{database}") for _ in range(2)]
    yield opened
    for one in opened:
        await one.close()


def later(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_changes_of_one_thing_never_overlap_and_those_of_two_do(stores: list[Store]) -> None:
    turns = [Turns(store.leases) for store in stores]
    inside: dict[str, int] = {"a": 0, "b": 0}
    most: dict[str, int] = {"a": 0, "b": 0, "both": 0}

    async def change(at: int, name: str) -> None:
        async with turns[at].turn(name, "It", until=later(20)):
            inside[name] += 1
            most[name] = max(most[name], inside[name])
            most["both"] = max(most["both"], sum(inside.values()))
            await asyncio.sleep(0.02)
            inside[name] -= 1

    await asyncio.gather(*(change(at % 2, name) for at in range(4) for name in ("a", "b")))
    assert most == {"a": 1, "b": 1, "both": 2}
    for name in ("a", "b"):
        assert await stores[0].leases.take(name, "another") is None, "it is given back"


async def test_who_was_killed_blocks_the_others_for_a_while_only(stores: list[Store]) -> None:
    assert await stores[0].leases.take("a", "killed") is None
    before = later(0)
    async with Turns(stores[1].leases, stale=STALE).turn("a", "It", until=later(5)):
        assert later(0) - before >= STALE
    assert later(0) - before < 5


def leave_gaps_out() -> None:
    """Have the loop's clock stand still while it is held up: who is, shows no life."""
    loop = asyncio.get_running_loop()
    real = loop.time
    last, gaps = real(), 0.0

    def time() -> float:
        nonlocal last, gaps
        before, last = last, real()
        gaps += max(0.0, last - before - STALE / 4)
        return last - gaps

    loop.time = time  # type: ignore[method-assign]


async def test_who_shows_life_is_waited_for(stores: list[Store]) -> None:
    leave_gaps_out()
    began = asyncio.Event()
    order: list[str] = []

    async def long() -> None:
        async with Turns(stores[0].leases, stale=STALE).turn("a", "It", until=later(5)):
            began.set()
            await asyncio.sleep(3 * STALE)
            order.append("long")

    async def short() -> None:
        await began.wait()
        async with Turns(stores[1].leases, stale=STALE).turn("a", "It", until=later(5)):
            order.append("short")

    await asyncio.gather(long(), short())
    assert order == ["long", "short"]


@pytest.mark.parametrize("other", [0, 1])
async def test_who_waited_long_enough_is_told_that_nothing_was_done(stores: list[Store], other: int) -> None:
    turns = [Turns(store.leases) for store in stores]
    async with turns[0].turn("a", "The quota x", until=later(1)):
        with pytest.raises(Conflict, match=r"The quota x is being changed .* Nothing was written"):
            async with turns[other].turn("a", "The quota x", until=later(0.05)):
                pytest.fail("it is not its turn")


async def test_who_was_taken_over_from_does_not_say_that_all_is_well(stores: list[Store]) -> None:
    async def change() -> None:
        async with Turns(stores[0].leases, stale=STALE).turn("a", "It", until=later(1)):
            held = await stores[1].leases.take("a", "other")
            assert held is not None
            while held is not None:  # it may show life in between
                held = await stores[1].leases.take("a", "other", stale=held)
            await until(lambda: logs)

    with capture_logs() as logs, pytest.raises(Conflict, match="may have been changed by another"):
        await change()
    assert [one["event"] for one in logs] == ["turn_lost"]
    assert await stores[1].leases.beat("a", "other"), "it is not given back in another's name"


async def test_one_that_another_took_over_meanwhile_is_not_taken_over_again(stores: list[Store]) -> None:
    first, second = (store.leases for store in stores)
    assert await first.take("a", "killed") is None
    held = await second.take("a", "second")
    assert held is not None
    assert await first.take("a", "first", stale=held) is None
    again = await second.take("a", "second", stale=held)
    assert again is not None
    assert again.holder == "first"


async def test_without_a_database_turns_are_taken_in_the_process(stores: list[Store]) -> None:
    turns = Turns(stores[0].leases)
    await stores[0].close()
    with pytest.raises(StoreError):
        await stores[0].leases.take("b", "x")
    inside = 0

    async def change() -> None:
        nonlocal inside
        async with turns.turn("a", "It", until=later(5)):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(change(), change())
