"""The group of workers, at a coordinator that does what it likes. Real ones: tests/stores."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Collection, Sequence
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.running import until

from atoll.store.database import StoreError
from atoll.store.run_records import WorkerRow
from atoll.worker import group as group_module
from atoll.worker.group import Apart, Group, Member, Seen, apart


def row(worker: str, lease_until: float = 20.0) -> WorkerRow:
    """A worker of the database's."""
    return WorkerRow(id=worker, about="", runs=0, began_at=0.0, lease_until=lease_until)


def test_what_is_on_one_side_alone_is_told_apart_and_nothing_while_the_group_is_not_seen() -> None:
    c = Member(id="c", about="h pid 1")
    seen = Seen(members=(Member(id="a", about=""), c))
    assert apart(seen, [row("a"), row("b")], 10.0) == Apart(("b",), (c,))
    assert apart(seen, [row("a"), row("b", 5.0), row("c", 5.0)], 10.0) == Apart((), (c,))
    assert apart(Seen(reason="away"), [row("a")], 10.0) == Apart()


class Coordinator:
    """A coordinator of one, which fails while `away` says so.

    It is silent while the gate is shut, and lets nobody in while the door is. `connected`: when it was.
    """

    def __init__(self) -> None:
        self.away: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.door = threading.Event()
        self.door.set()
        self.others: set[str] = set()
        self.here: set[str] = set()
        self.connected: list[float] = []

    def __call__(self, url: str, group: str, member: str) -> "Coordinator":
        assert (url, group) == ("redis://u:hush@h", "g")
        self.connected.append(time.monotonic())
        self._member = member
        self._fail()
        return self

    def join(self) -> None:
        self.door.wait(30.0)
        self.here.add(self._member)

    def members(self) -> Collection[str]:
        self.gate.wait(30.0)
        self._fail()
        return self.here | self.others

    def leave(self) -> None:
        self.here.clear()

    def close(self) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.away is not None:
            raise self.away


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(group_module, "BACKOFF_SECONDS", (0.05, 0.05))
    monkeypatch.setattr(group_module, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(group_module, "COMPARE_SECONDS", 0.05)
    monkeypatch.setattr(group_module, "FRESH_SECONDS", 0.3)


async def nobody() -> tuple[Sequence[WorkerRow], float]:
    """A database that does not answer."""
    raise StoreError("away")


@contextlib.asynccontextmanager
async def running(coordinator: Coordinator, workers: Any = nobody) -> AsyncIterator[Group]:
    """A group that worker `a` is in."""
    group = Group("g", lambda: "redis://u:hush@h", coordinator)
    task = asyncio.ensure_future(group.run(lambda: "a", workers))
    yield group
    coordinator.gate.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def ids(group: Group) -> list[str] | None:
    """Its members."""
    members = group.seen().members
    return None if members is None else [one.id for one in members]


async def test_a_coordinator_that_says_nothing_is_not_believed_for_long() -> None:
    coordinator = Coordinator()
    async with running(coordinator) as group:
        await until(lambda: ids(group) == ["a"])
        coordinator.gate.clear()
        await until(lambda: ids(group) is None)
        assert group.seen().reason.startswith("it has said nothing for ")
        coordinator.gate.set()
        await until(lambda: ids(group) == ["a"])
    assert coordinator.here == set()


async def test_who_is_not_a_member_any_more_joins_again_after_a_wait() -> None:
    coordinator = Coordinator()
    with capture_logs() as logs:
        async with running(coordinator) as group:
            await until(lambda: ids(group) == ["a"])
            coordinator.door.clear()
            coordinator.here.clear()
            await until(lambda: ids(group) is None)
            coordinator.door.set()
            await until(lambda: ids(group) == ["a"])
            assert len(coordinator.connected) == 2
            coordinator.away = OSError("redis://u:hush@h refused")
            await until(lambda: group.seen().reason == "OSError: redis://h refused")
            await until(lambda: len(coordinator.connected) >= 5)
    assert min(after - before for before, after in pairwise(coordinator.connected)) >= 0.05
    assert [one["event"] for one in logs] == ["group_lost", "group_joined_again", "group_lost"]
    assert logs[0]["reason"] == "LookupError: the session of this worker was ended"


async def test_who_comes_and_goes_is_logged() -> None:
    coordinator = Coordinator()
    with capture_logs() as logs:
        async with running(coordinator) as group:
            await until(lambda: ids(group) == ["a"])
            coordinator.others = {"b@h_pid_7"}
            await until(lambda: logs)
            coordinator.others = set()
            await until(lambda: len(logs) == 2)
    assert [(one["event"], one["joined"], one["left"]) for one in logs] == [
        ("group_changed", ["b h pid 7"], []),
        ("group_changed", [], ["b h pid 7"]),
    ]


async def test_a_disagreement_is_logged_when_it_lasts_and_when_it_is_over() -> None:
    coordinator = Coordinator()
    coordinator.others = {"b@h_pid_7"}
    rows = [row("a"), row("c")]

    async def workers() -> tuple[Sequence[WorkerRow], float]:
        return rows, 10.0

    def compared() -> list[Any]:
        return [one for one in logs if one["event"] == "group_compared"]

    with capture_logs() as logs:
        async with running(coordinator, workers) as group:
            await until(compared)
            coordinator.others = set()
            await until(lambda: ids(group) == ["a"])
            rows.pop()
            await until(lambda: len(compared()) == 2)
            await asyncio.sleep(0.2)
    assert [(one["log_level"], one["not_in_group"], one["not_in_database"]) for one in compared()] == [
        ("warning", ["c"], ["b h pid 7"]),
        ("info", [], []),
    ]
