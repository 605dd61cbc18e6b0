"""What a durable run costs: six steps that do nothing, Atoll beside TaskFlow and DBOS.

Each engine is a process of its own that the others wait for, so that all have the whole machine, by turns.
Databases of all wait for the disk at each commit.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import engines
from bench.contest import STEPS, Round, percentile
from bench.measure import ratios, spread
from bench.processes import Cores, NotStarted, load_average
from bench.report import Entry, table

ROUNDS = 7
SECONDS = 1.0
OURS_AT_ONCE, THEIRS_AT_ONCE = 64, 16
END_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Contestant:
    """An engine with a store. `command` follows the Python of its environment."""

    name: str
    command: Sequence[str]
    ours: bool = False

    @property
    def at_once(self) -> int:
        """Runs at a time where there are several: tasks of one thread, or threads."""
        return OURS_AT_ONCE if self.ours else THEIRS_AT_ONCE


@dataclass(slots=True)
class Figures:
    """What a contestant did, a value per round: runs a second, CPU ms of a run.

    `each`: ms of every run. A round in which none was finished counts as if one was.
    """

    rate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)
    failed: int = 0

    def add(self, found: Round) -> None:
        """Take in a round."""
        each = found.each or [found.seconds * 1e3]
        self.rate.append(len(each) / found.seconds)
        self.cpu.append(found.cpu / len(each) * 1e3)
        self.each += each
        self.failed += found.failed


@dataclass(frozen=True, slots=True)
class Goal:
    """That Atoll does so many times the runs of another engine in a second."""

    entry: Entry
    ours: str
    theirs: str
    several: bool
    times: float


def _goal(ours: str, theirs: str, times: float, *, several: bool = False) -> Goal:
    how = "many at once" if several else "one after another"
    entry = Entry(
        name=f"runs of {STEPS} steps, {how}: {ours} beside {theirs}",
        value=None, unit="runs/s", goal=f">= {times:g} x {theirs}", met=None, how="",
    )  # fmt: skip
    return Goal(entry, ours, theirs, several, times)


GOALS = (
    _goal("Atoll on SQLite", "TaskFlow on SQLite", 50.0),
    _goal("Atoll on SQLite", "TaskFlow on SQLite", 200.0, several=True),
    _goal("Atoll on SQLite", "DBOS on SQLite", 5.0),
    _goal("Atoll on SQLite", "DBOS on SQLite", 5.0, several=True),
    _goal("Atoll on SQLite", "DBOS on SQLite with WAL", 5.0),
    _goal("Atoll on SQLite", "DBOS on SQLite with WAL", 5.0, several=True),
    _goal("Atoll on SQLite", "TaskFlow on SQLite, patched", 10.0),
    _goal("Atoll on SQLite", "TaskFlow on SQLite, patched", 10.0, several=True),
    _goal("Atoll on SQLite", "TaskFlow in memory", 1.0),
    _goal("Atoll on SQLite", "TaskFlow in memory", 1.0, several=True),
    _goal("Atoll on PostgreSQL", "DBOS on PostgreSQL", 5.0),
    _goal("Atoll on PostgreSQL", "DBOS on PostgreSQL", 5.0, several=True),
    _goal("Atoll on MariaDB", "Atoll on PostgreSQL", 0.5),
    _goal("Atoll on MariaDB", "Atoll on PostgreSQL", 0.5, several=True),
)
ENTRIES = tuple(goal.entry for goal in GOALS)


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """The figures. Raises NotStarted, OSError."""
    del cores  # each has the whole machine by turns
    with engines.servers("postgresql", "mariadb") as servers, ExitStack() as stack:
        urls = {
            f"{kind} {owner}": server.create(f"bench_{owner}")
            for kind, server in servers.items()
            for owner in ("atoll", "dbos")
        }
        contestants = _contestants(folder, urls, str(engines.python()))
        told = {one: stack.enter_context(started(one, folder)) for one in contestants}
        found = {several: {one.name: Figures() for one in contestants} for several in (False, True)}
        for _ in range(ROUNDS):
            for several, figures in found.items():
                for one, process in told.items():
                    figures[one.name].add(process.turn(one.at_once if several else 1))
    for several, figures in found.items():
        _print(several, figures)
    return [entry_of(goal, found[goal.several]) for goal in GOALS]


def _contestants(folder: Path, urls: Mapping[str, str], other: str) -> list[Contestant]:
    def ours(name: str, url: str) -> Contestant:
        return Contestant(name, (sys.executable, "-m", "bench.contest_atoll", url), ours=True)

    def taskflow(name: str, *arguments: str) -> Contestant:
        return Contestant(name, (other, "-m", "bench.contest_taskflow", *arguments))

    def dbos(name: str, *arguments: str) -> Contestant:
        return Contestant(name, (other, "-m", "bench.contest_dbos", *arguments))

    def file(name: str) -> str:
        return f"sqlite:///{folder / name}.db"

    return [
        ours("Atoll on SQLite", file("atoll")),
        ours("Atoll on PostgreSQL", urls["postgresql atoll"]),
        ours("Atoll on MariaDB", urls["mariadb atoll"]),
        taskflow("TaskFlow on SQLite", file("taskflow")),
        taskflow("TaskFlow on SQLite, patched", file("patched"), "patched"),
        taskflow("TaskFlow in memory", "memory"),
        dbos("DBOS on SQLite", file("dbos")),
        dbos("DBOS on SQLite with WAL", file("wal"), "wal"),
        dbos("DBOS on PostgreSQL", urls["postgresql dbos"]),
    ]


@dataclass(frozen=True, slots=True)
class Started:
    """A contestant that is ready."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def line(self) -> object:
        """The next line that it says; None where it ended."""
        line = self.process.stdout.readline() if self.process.stdout is not None else ""
        return json.loads(line) if line else None

    def turn(self, at_once: int) -> Round:
        """Have it run for a while. Raises NotStarted where it ended."""
        if self.process.stdin is not None:
            self.process.stdin.write(json.dumps({"at_once": at_once, "seconds": SECONDS}) + "\n")
            self.process.stdin.flush()
        found = self.line()
        if not isinstance(found, dict):
            raise NotStarted(f"{self.name} ended in its turn: {self.last_words()}")
        return Round(**found)

    def last_words(self) -> str:
        """The end of what it wrote to its log."""
        return self.log.read_text(errors="replace")[-2000:]


@contextmanager
def started(one: Contestant, folder: Path) -> Iterator[Started]:
    """A contestant, once it is ready. Raises NotStarted."""
    log = folder / f"{one.name}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            one.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(engines.ROOT)},
        )
    found = Started(one.name, process, log)
    try:
        if found.line() != {"ready": True}:
            raise NotStarted(f"{one.name} did not start: {found.last_words()}")
        yield found
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _print(several: bool, figures: Mapping[str, Figures]) -> None:
    print(
        f"\nRuns of {STEPS} durable steps that do nothing, "
        + (f"{OURS_AT_ONCE} tasks or {THEIRS_AT_ONCE} threads at once" if several else "one after another")
        + f"; medians of {ROUNDS} rounds of {SECONDS:g} s by turns; {load_average()}.\n"
    )
    reference = figures["Atoll on SQLite"].rate
    print(
        table(
            ("engine", "runs/s", "best", "p50 ms", "p99 ms", "CPU ms/run", "failed", "Atoll on SQLite is"),
            [
                (
                    name,
                    spread(one.rate, 1),
                    f"{max(one.rate):.1f}",
                    f"{percentile(one.each, 0.5):.1f}",
                    f"{percentile(one.each, 0.99):.1f}",
                    spread(one.cpu),
                    str(one.failed),
                    f"{median(ratios(reference, one.rate)):.1f} x",
                )
                for name, one in figures.items()
            ],
        )
    )


def entry_of(goal: Goal, figures: Mapping[str, Figures]) -> Entry:
    """The entry of a goal, of what all contestants did."""
    ours, theirs = figures[goal.ours], figures[goal.theirs]
    each = ratios(ours.rate, theirs.rate)
    at_once = f"{OURS_AT_ONCE} tasks, theirs {THEIRS_AT_ONCE} threads" if goal.several else "1"
    how = (
        f"at once: {at_once}; medians of {ROUNDS} rounds of {SECONDS:g} s by turns; ratio {spread(each, 1)}; "
        f"p50/p99 {percentile(ours.each, 0.5):.1f}/{percentile(ours.each, 0.99):.1f} ms, theirs "
        f"{percentile(theirs.each, 0.5):.1f}/{percentile(theirs.each, 0.99):.1f}; CPU {spread(ours.cpu)} ms "
        f"a run, theirs {spread(theirs.cpu)}; each commit waits for the disk; {load_average()}"
    )
    return Entry(
        name=goal.entry.name,
        value=round(median(ours.rate), 3),
        unit=goal.entry.unit,
        goal=goal.entry.goal,
        met=median(each) >= goal.times,
        how=how,
        peer=round(median(theirs.rate), 3),
        ratio=round(median(each), 3),
    )
