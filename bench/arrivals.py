"""Starts of servers as an hour of a large cloud has them, at one to five times their rate.

The rate is a synthetic curve: a constant stream with one peak, 8,417 starts in an hour in all. What is run is
the part around the peak, at its own rate. Starts are scheduled beforehand and do not wait for each other, and
latency counts from the time a start was scheduled for: whoever is late pays for it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from random import Random

import msgspec

from bench.contest import percentile
from bench.ports import free_port
from bench.processes import Cores, NotStarted, get, load_average, running, wait_for
from bench.report import Entry, table

HOUR = 3600
STEADY, MORE, PEAK_AT, WIDTH = 1.9, 12.1, 2880.0, 52.0
"""Starts a second: `STEADY`, and up to `MORE` besides at `PEAK_AT`, a bell of this width (seconds)."""

WINDOW = 30.0
"""Seconds around the peak that are run, for each multiple."""

MULTIPLES = (1, 2, 3, 4, 5)
SEED = 8417
HOSTS, SLOTS = 12_500, 8
SPARE_SECONDS = 60.0
MODES = {"logical only": ("", 15.0), "simulated sites": ("site", 60.0)}
"""By what is done in a step: the argument of the worker, and the most of a core that it may need, in %."""


def rate(time: float) -> float:
    """Starts a second at a time of the hour (seconds)."""
    return STEADY + MORE * exp(-((time - PEAK_AT) ** 2) / (2 * WIDTH**2))


def schedule(multiple: float, begin: float, seconds: float, seed: int = SEED) -> list[float]:
    """When servers are started, in seconds from `begin`: a Poisson process of this rate, by thinning."""
    by_chance = Random(seed)  # noqa: S311 - the same for all
    most = multiple * (STEADY + MORE)
    found, time = [], by_chance.expovariate(most)
    while time < seconds:
        if by_chance.random() * most < multiple * rate(begin + time):
            found.append(time)
        time += by_chance.expovariate(most)
    return found


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker did with a schedule. Milliseconds from when a start was scheduled, one for each."""

    accepted: list[float]
    done: list[float]
    cpu_seconds: float
    seconds: float
    refused: int
    waited: int
    """Runs that had to wait for a lock or for room on a host."""


def _entry(mode: str, what: str, unit: str, goal: str) -> Entry:
    name = f"{MULTIPLES[-1]} x an EC2 hour's peak, {mode}: {what}"
    return Entry(name=name, value=None, unit=unit, goal=goal, met=None, how="")


ENTRIES = tuple(
    _entry(mode, what, unit, goal)
    for mode, (_, most) in MODES.items()
    for what, unit, goal in (("p99 until committed", "s", "< 0.5 s"), ("CPU", "% of a core", f"< {most:g} %"))
)


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """The figures. Raises NotStarted, OSError, SubprocessError."""
    del cores  # worker and sites have the whole machine
    port = free_port()
    every = tuple(sorted(os.sched_getaffinity(0)))
    entries: list[Entry] = []
    command = [sys.executable, "-m", "bench.arrivals_site", str(port)]
    with running(command, cores=every, log=folder / "site.log") as site:
        wait_for(site, lambda: get(port, "/ready"))
        for number, (mode, (argument, most)) in enumerate(MODES.items()):
            address = f"http://127.0.0.1:{port}" if argument else ""
            found = {one: _run(folder / f"{number}-{one}.db", one, address) for one in MULTIPLES}
            entries += entries_of(mode, most, found)
    return entries


def _run(file: Path, multiple: int, address: str) -> Found:
    arguments = (f"sqlite:///{file}", str(multiple), str(WINDOW), address)
    done = subprocess.run(
        [sys.executable, "-m", "bench.arrivals_worker", *arguments],
        capture_output=True, text=True, check=False, timeout=WINDOW + 2 * SPARE_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise NotStarted(f"The worker ended: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Found)  # the log is before it


def entries_of(mode: str, most: float, found: Mapping[int, Found]) -> list[Entry]:
    """The entries of a mode that may need so much of a core (%), of what was done by multiple."""
    stated = (
        f"{mode}, Atoll on SQLite, {WINDOW:g} s around the peak of the hour at its own rate, "
        f"{HOSTS:,} hosts of {SLOTS}"
    )
    print(f"\nStarts of servers, {stated}; {load_average()}.\n")
    print(
        table(
            (
                "rate",
                "starts",
                "a second",
                "accepted p50 ms",
                "p99",
                "committed p50 ms",
                "p99",
                "CPU",
                "waited",
            ),
            [(f"{multiple} x", *_row(one)) for multiple, one in found.items()],
        )
    )
    last = found[MULTIPLES[-1]]
    p99, cpu = percentile(last.done, 0.99) / 1e3, _cpu(last)
    each = ", ".join(
        f"{multiple} x {percentile(one.done, 0.5):.0f}/{percentile(one.done, 0.99):.0f} ms {_cpu(one):.1f} %"
        for multiple, one in found.items()
    )
    how = (
        f"{stated}; p50/p99 from the scheduled start to the commit that ends the run, and CPU of the "
        f"process that accepts and works: {each}; acceptance p99 {percentile(last.accepted, 0.99):.0f} ms; "
        f"{load_average()}"
    )
    mine = [entry for entry in ENTRIES if f", {mode}:" in entry.name]
    return [
        msgspec.structs.replace(mine[0], value=round(p99, 3), met=p99 < 0.5, how=how),
        msgspec.structs.replace(mine[1], value=round(cpu, 1), met=cpu < most, how=how),
    ]


def _row(one: Found) -> Sequence[str]:
    return (
        str(len(one.done)),
        f"{len(one.done) / WINDOW:.1f}",
        *(f"{percentile(values, share):.1f}" for values in (one.accepted, one.done) for share in (0.5, 0.99)),
        f"{_cpu(one):.1f} %",
        str(one.waited),
    )


def _cpu(one: Found) -> float:
    return one.cpu_seconds / one.seconds * 100.0


def begin_of_window(seconds: float) -> float:
    """The time of the hour at which what is run begins."""
    return PEAK_AT - seconds / 2
