"""A contest of engines: each in a process of its own, told over its stdin to run for a while, by turns.

A contestant says `{"ready": true}`, then for each line `{"at_once": N, "seconds": S}` what it did: see
`Round`. It needs the standard library only, so that it runs in any environment.
"""

import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

STEPS = 6


@dataclass(frozen=True, slots=True)
class Round:
    """What was done in one turn. `seconds` of time, `cpu` seconds of all threads, `each` ms of each run."""

    seconds: float
    cpu: float
    each: list[float]
    failed: int = 0
    """Runs that the engine gave up, as where its database was locked for too long."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all is not above (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("there are no values")
    rank = max(1, -int(-len(values) * share // 1))
    return sorted(values)[rank - 1]


def said(found: Round) -> None:
    """Tell what was done."""
    line = {"seconds": found.seconds, "cpu": found.cpu, "each": [round(one, 3) for one in found.each]}
    print(json.dumps({**line, "failed": found.failed}), flush=True)


def threads(one: Callable[[], None], at_once: int, seconds: float) -> Round:
    """Run something again and again in some threads; one: in this one."""
    begin, cpu = time.perf_counter(), time.process_time()
    end = begin + seconds
    failed: list[Exception] = []

    def again(_: int) -> list[float]:
        each = []
        while (before := time.perf_counter()) < end:
            try:
                one()
            except Exception as error:  # noqa: BLE001 - whatever an engine raises
                failed.append(error)
            else:
                each.append((time.perf_counter() - before) * 1e3)
        return each

    if at_once == 1:
        every = again(0)
    else:
        with ThreadPoolExecutor(at_once) as pool:
            every = [took for each in pool.map(again, range(at_once)) for took in each]
    return _round(time.perf_counter() - begin, time.process_time() - cpu, every, failed)


async def tasks(one: Callable[[], Awaitable[None]], at_once: int, seconds: float) -> Round:
    """Run something again and again in some tasks."""
    import asyncio  # noqa: PLC0415 - threads need none

    begin, cpu = time.perf_counter(), time.process_time()
    end = begin + seconds
    every: list[float] = []
    failed: list[Exception] = []

    async def again() -> None:
        while (before := time.perf_counter()) < end:
            try:
                await one()
            except Exception as error:  # noqa: BLE001 - whatever an engine raises
                failed.append(error)
            else:
                every.append((time.perf_counter() - before) * 1e3)

    await asyncio.gather(*(again() for _ in range(at_once)))
    return _round(time.perf_counter() - begin, time.process_time() - cpu, every, failed)


def _round(seconds: float, cpu: float, every: list[float], failed: list[Exception]) -> Round:
    for error in failed:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return Round(seconds, cpu, every, len(failed))


def compete(one: Callable[[], None]) -> None:
    """Be a contestant that runs in threads, until stdin ends."""
    one()  # what is made at first use is made
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        told: dict[str, Any] = json.loads(line)
        said(threads(one, told["at_once"], told["seconds"]))
