"""What accepting a run costs where a million finished ones are in the journal, beside an empty one.

    python -m bench.acceptance URL

is a contestant, see `bench.contest`: it accepts runs, and nobody works on them.
"""

import asyncio
import json
import secrets
import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import uvloop

from atoll.core.ids import time_ordered
from atoll.store.opening import open_database
from atoll.store.runs import Runs
from atoll.worker.worker import Settings
from bench.contest import STEPS, percentile, said, tasks
from bench.durable import NOTHING, durable, new_run, one_after_another
from bench.measure import ratios, spread
from bench.processes import Cores, load_average
from bench.report import Entry, table
from bench.runs import Contestant, Figures, Started, started

FINISHED = 1_000_000
ROUNDS = 7
AT_ONCE = 64
ENTRIES = tuple(
    Entry(
        name=f"runs accepted, {how}: beside {FINISHED:,} finished ones, on SQLite",
        value=None,
        unit="runs/s",
        goal=">= 0.8 x an empty journal",
        met=None,
        how="",
    )
    for how in ("one after another", f"{AT_ONCE} at once")
)
_TIMES = ("created_at", "changed_at", "ended_at")


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """The figures. Raises NotStarted, OSError, SubprocessError."""
    del cores
    full, empty = folder / "full.db", folder / "empty.db"
    asyncio.run(_one_done(f"sqlite:///{full}"))
    fill(full, FINISHED)
    size = full.stat().st_size / 1e9
    found = {at_once: {"full": Figures(), "empty": Figures()} for at_once in (1, AT_ONCE)}
    with ExitStack() as stack:
        told: dict[str, Started] = {}
        for name, file in (("full", full), ("empty", empty)):
            command = (sys.executable, "-m", "bench.acceptance", f"sqlite:///{file}")
            told[name] = stack.enter_context(started(Contestant(name, command, ours=True), folder))
        for number in range(ROUNDS):
            for at_once, figures in found.items():
                for name in sorted(told, reverse=bool(number % 2)):
                    figures[name].add(told[name].turn(at_once))
    print(f"\nRuns accepted; {size:.1f} GB with {FINISHED:,} finished ones; {load_average()}.\n")
    print(table(("", "runs/s", "p50 ms", "p99 ms", "CPU ms/run"), _rows(found)))
    entries = []
    for entry, figures in zip(ENTRIES, found.values(), strict=True):
        ours, peer = figures["full"], figures["empty"]
        ratio = ratios(ours.rate, peer.rate)
        how = (
            f"medians of {ROUNDS} rounds by turns, ratio {spread(ratio)}; "
            f"p50/p99 {percentile(ours.each, 0.5):.2f}/{percentile(ours.each, 0.99):.2f} ms, "
            f"empty {percentile(peer.each, 0.5):.2f}/{percentile(peer.each, 0.99):.2f}; "
            f"CPU {spread(ours.cpu)} ms, empty {spread(peer.cpu)}; "
            f"a file of {size:.1f} GB, warm page cache; {load_average()}"
        )
        value, other, each = median(ours.rate), median(peer.rate), median(ratio)
        entries.append(
            msgspec.structs.replace(
                entry,
                value=round(value, 1),
                peer=round(other, 1),
                ratio=round(each, 3),
                met=each >= 0.8,
                how=how,
            )
        )
    return entries


def _rows(found: Mapping[int, Mapping[str, Figures]]) -> list[tuple[str, ...]]:
    return [
        (
            f"{name} journal, {at_once} at once",
            spread(one.rate, 0),
            f"{percentile(one.each, 0.5):.2f}",
            f"{percentile(one.each, 0.99):.2f}",
            spread(one.cpu),
        )
        for at_once, figures in found.items()
        for name, one in figures.items()
    ]


async def _one_done(url: str) -> None:
    """A journal with one finished run: what the others are like."""
    async with durable(url, [NOTHING], Settings()) as ours:
        await ours.done(new_run(one_after_another(STEPS, NOTHING.name)))


def fill(file: Path, count: int) -> None:
    """Put so many runs into a journal, each like the one that is there, a second after the other."""
    with closing(sqlite3.connect(file, isolation_level=None)) as journal:
        for pragma in ("synchronous=OFF", "journal_mode=DELETE", "cache_size=-1000000"):
            journal.execute(f"PRAGMA {pragma}").fetchall()
        indexes = journal.execute(
            "SELECT name, sql FROM sqlite_master "
            "WHERE type = 'index' AND tbl_name = 'runs' AND sql IS NOT NULL"
        ).fetchall()
        columns = [row[1] for row in journal.execute("PRAGMA table_info(runs)")]
        values = ", ".join(
            "id_of(place)" if name == "id" else f"{name} - {count} + place" if name in _TIMES else name
            for name in columns
        )
        for name, _ in indexes:
            journal.execute(f"DROP INDEX {name}")
        begin = time.time_ns() - count * 1_000_000_000
        journal.create_function(
            "id_of", 1, lambda place: time_ordered(begin + place * 1_000_000_000, secrets.randbits(62))
        )
        journal.execute("BEGIN")
        journal.execute(
            f"""
            INSERT INTO runs ({", ".join(columns)})
            WITH RECURSIVE places (place) AS (
                SELECT 1 UNION ALL SELECT place + 1 FROM places WHERE place < ?)
            SELECT {values} FROM places CROSS JOIN (SELECT * FROM runs LIMIT 1)""",  # noqa: S608 - the table's own columns
            (count - 1,),
        )
        for _, sql in indexes:
            journal.execute(sql)
        journal.execute("COMMIT")
        journal.execute("ANALYZE")


async def _accept(url: str) -> None:
    plan = one_after_another(STEPS, NOTHING.name)
    database = await open_database(url)
    runs = Runs(database)

    async def one() -> None:
        await runs.accept(new_run(plan))

    try:
        await one()
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            told: dict[str, Any] = json.loads(line)
            said(await tasks(one, told["at_once"], told["seconds"]))
    finally:
        await database.close()


if __name__ == "__main__":
    uvloop.run(_accept(sys.argv[1]))
