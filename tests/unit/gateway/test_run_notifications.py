"""Notifications of runs, on a bus that fails or takes its time. On a real one: tests/stores."""

import asyncio
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.running import until

from atoll.gateway import run_notifications
from atoll.gateway.run_notifications import Notifications
from atoll.gateway.secret_files import secret_text
from atoll.store.run_outbox import Line, News
from atoll.worker.relay import Untold
from atoll.workflow.journal import State


def news(run_id: str, *numbers: int) -> News:
    """Lines of a run."""
    lines = [Line(number=one, time=1_800_000_000.5, what="done", step="copy", site="oslo") for one in numbers]
    return News(
        run_id=run_id, definition="d@1", project_id="p", state=State.DONE, lines=lines, upto=numbers[-1]
    )


class Taken:
    """A bus that keeps what it is given, and refuses after so many. Called with a URL, it is connected to."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.url = ""
        self.given: list[tuple[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.closed = False

    def __call__(self, url: str) -> "Taken":
        self.url = url
        return self

    def close(self) -> None:
        self.closed = True

    def send(self, topic: str, message: Mapping[str, Any]) -> None:
        self.begun.set()
        self.gate.wait(60)
        if len(self.given) >= self.room:
            raise OSError("rabbit://u:hush@h is gone")
        self.given.append((topic, message))

    def numbers(self) -> list[int]:
        """The lines that it has."""
        return [one["payload"]["number"] for _, one in self.given]


def bus_to(taken: Taken, *topics: str) -> Notifications:
    """Notifications on such a bus."""
    return Notifications(lambda: "rabbit://h", topics, taken)


async def test_what_is_sent_again_has_the_id_that_it_had() -> None:
    taken = Taken()
    bus = bus_to(taken, "notifications")
    for _ in range(2):
        await bus.tell([news("r1", 1, 2), news("r2", 7)])
    ids = [one["message_id"] for _, one in taken.given]
    assert ids[:3] == ids[3:]
    assert len(set(ids)) == 3
    assert taken.numbers() == [1, 2, 7, 1, 2, 7]
    topic, first = taken.given[0]
    assert (topic, first["event_type"], first["priority"]) == ("notifications.info", "run.done", "INFO")
    assert first["timestamp"] == "2027-01-15 08:00:00.500000"
    assert (first["payload"]["run_id"], first["payload"]["site"]) == ("r1", "oslo")


async def test_what_was_not_delivered_is_said_without_a_login_and_nothing_after_it_is_sent() -> None:
    taken = Taken(room=3)
    with pytest.raises(Untold, match="OSError: rabbit://h is gone"):
        await bus_to(taken, "a", "b").tell([news("r1", 1, 2, 3)])
    assert [(topic, one["payload"]["number"]) for topic, one in taken.given] == [
        ("a.info", 1), ("b.info", 1), ("a.info", 2),
    ]  # fmt: skip


async def test_who_is_cancelled_sends_nothing_more_and_meanwhile_nothing_else_is_sent() -> None:
    taken = Taken()
    bus = bus_to(taken, "a")
    taken.gate.clear()
    first = asyncio.ensure_future(bus.tell([news("r1", 1, 2)]))
    await until(taken.begun.is_set)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(Untold, match="still at what it was told before"):
        await bus.tell([news("r1", 1, 2)])
    taken.gate.set()
    async with asyncio.timeout(30):
        while True:
            try:
                await bus.tell([news("r1", 1, 2)])
                break
            except Untold:
                await asyncio.sleep(0.01)
    assert taken.numbers() == [1, 1, 2]


async def test_the_end_closes_what_is_open() -> None:
    taken = Taken()
    bus = bus_to(taken, "a")
    await bus.tell([news("r1", 1)])
    await bus.close()
    assert taken.closed


async def test_the_end_does_not_wait_for_a_broker_that_says_nothing(monkeypatch) -> None:
    monkeypatch.setattr(run_notifications, "CLOSE_SECONDS", 0.1)
    taken = Taken()
    bus = bus_to(taken, "a")
    await bus.tell([news("r1", 1)])
    taken.gate.clear()
    taken.begun.clear()
    second = asyncio.ensure_future(bus.tell([news("r1", 2)]))
    await until(taken.begun.is_set)
    second.cancel()
    async with asyncio.timeout(30):
        await bus.close()
    taken.gate.set()


async def test_the_url_is_read_from_its_file_when_it_is_connected_to(tmp_path: Path) -> None:
    taken, file = Taken(), tmp_path / "url"
    bus = Notifications(partial(secret_text, f"file:{file}"), ("a",), taken)
    with pytest.raises(Untold, match="FileNotFoundError"):
        await bus.tell([news("r1", 1)])
    file.write_text("rabbit://u:p@h/\n")
    await bus.tell([news("r1", 1)])
    assert taken.url == "rabbit://u:p@h/"
