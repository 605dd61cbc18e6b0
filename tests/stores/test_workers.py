"""Workers in processes of their own, killed and frozen at random under load, on every store."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.stores.one_worker import LEASE, there

from atoll.store.database import Access, Database
from atoll.store.opening import open_database
from atoll.store.run_records import NewRun
from atoll.store.runs import Runs
from atoll.workflow.locks import Want
from atoll.workflow.machine import Signal, fresh
from atoll.workflow.plan import Plan, Reserve, Step

RUNS = 40
SECONDS = 6.0
"""How long workers are killed and frozen."""


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await open_database(url)
    yield opened
    await opened.close()


def plan_of(number: int) -> Plan:
    """Steps one after the other and side by side; some refused at their end, some that share a lock."""
    refuse = {"refuse": True} if number % 5 == 0 else {}
    steps = (
        Step(name="a", action="site.make@1", tries=10),
        Step(name="b", action="site.make@1", input={"of": {"$from": "a.mark"}}, tries=10),
        Step(name="c", action="site.make@1", after=("a",), tries=10),
        Step(name="d", action="site.make@1", input=refuse, after=("b", "c"), tries=10),
    )
    locks = (Want(f"thing/{number % 7}"),) if number % 3 == 0 else ()
    reserves = (Reserve(name="link", amount=1, limit=3),) if number % 4 == 0 else ()
    return Plan(steps=steps, locks=locks, reserves=reserves)


class Workers:
    """Processes that come and go."""

    def __init__(self, url: str, folder: Path) -> None:
        self._arguments = (sys.executable, "-m", "tests.stores.one_worker", url, str(folder))
        self.alive: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        """One more."""
        process = await asyncio.create_subprocess_exec(*self._arguments, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"working\n"
        self.alive.append(process)

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """One less, in the middle of whatever it does."""
        self.alive.remove(process)
        process.kill()
        await process.wait()

    async def freeze(self, process: asyncio.subprocess.Process) -> None:
        """One stands still past its lease, and goes on."""
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE * 1.6)
        process.send_signal(signal.SIGCONT)

    async def close(self) -> None:
        """No more."""
        for process in self.alive:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.alive:
            await process.wait()


STATES = "SELECT id, state FROM runs"
HELD = "SELECT (SELECT COUNT(*) FROM run_locks) + (SELECT COUNT(*) FROM run_reserves)"
OPEN = "SELECT COUNT(*) FROM runs WHERE owner IS NOT NULL OR due_at IS NOT NULL"


async def rows(database: Database, sql: str) -> Sequence[Sequence[Any]]:
    """Look at the tables."""
    return await database.run(Access.READ, lambda it: it.rows(sql))


async def ended(database: Database) -> dict[str, str]:
    """Every run's state, once none is left open."""
    async with asyncio.timeout(60):
        while True:
            states: dict[str, str] = {row[0]: row[1] for row in await rows(database, STATES)}
            if set(states.values()) <= {"done", "undone", "dirty", "parked"}:
                return states
            await asyncio.sleep(0.1)


async def accept(runs: Runs, number: int) -> None:
    """One more run; some are cancelled at once."""
    plan, name = plan_of(number), f"run-{number:03}"
    await runs.accept(
        NewRun(id=name, definition="test@1", project_id="p", user_id="u", plan=plan, journal=fresh(plan))
    )
    if number % 9 == 0:
        await runs.signal(name, Signal.TERM)


async def trouble(workers: Workers, chance: random.Random) -> None:
    """Kill one, or have it stand still."""
    victim = chance.choice(workers.alive)
    if chance.random() < 0.6:
        await workers.kill(victim)
        await workers.start()
    else:
        await workers.freeze(victim)


async def test_workers_that_are_killed_and_frozen_lose_nothing_and_double_nothing(
    url: str, database: Database, tmp_path: Path
) -> None:
    chance = random.Random(int(os.environ.get("ATOLL_SEED", "1")))  # noqa: S311 - repeatable
    folder = tmp_path / "site"
    folder.mkdir()
    workers, runs, loop = Workers(url, folder), Runs(database), asyncio.get_running_loop()
    for _ in range(3):
        await workers.start()
    end, number = loop.time() + SECONDS, 0
    try:
        while loop.time() < end or number < RUNS:
            if number < RUNS:
                await accept(runs, number)
                number += 1
            if loop.time() < end and chance.random() < 0.12:
                await trouble(workers, chance)
            await asyncio.sleep(0.05)
        states = await ended(database)
    finally:
        await workers.close()
    assert Counter(states.values()).keys() == {"done", "undone"}, states
    for number in range(RUNS):
        name = f"run-{number:03}"
        made = [len(there(folder, f"{name}.1.{place}")) for place in range(4)]
        assert made == ([1] * 4 if states[name] == "done" else [0] * 4), name
        assert states[name] == "undone" or number % 5
    assert (await rows(database, HELD))[0][0] == 0
    assert (await rows(database, OPEN))[0][0] == 0
