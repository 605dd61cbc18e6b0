"""How fast runs are finished that waited for a site, once it is there again: beside runs that did not wait.

    python -m bench.drain URL COUNT

is the process that is measured: it accepts so many runs whose site is away, has them all parked, and then
wakes them. Prints a `Drained` as JSON.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from atoll.store.run_records import NewRun
from atoll.worker.actions import Action, Doing
from atoll.worker.worker import Settings
from atoll.workflow.journal import State
from atoll.workflow.outcomes import SiteAway
from bench import engines
from bench.contest import STEPS
from bench.durable import durable, new_run, one_after_another
from bench.measure import ratios, spread
from bench.processes import Cores, NotStarted, load_average
from bench.report import Entry, table

COUNT = 1000
ROUNDS = 3
WAIT_SECONDS = 300.0
POLL_SECONDS = 0.01
SITE = "bench"
STORES = ("SQLite", "PostgreSQL", "MariaDB")
ENTRIES = tuple(
    Entry(
        name=f"{COUNT:,} runs that waited for a site, on {store}",
        value=None,
        unit="runs/s",
        goal=">= 0.8 x runs that did not wait",
        met=None,
        how="",
    )
    for store in STORES
)


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds for the runs that waited, from their being woken; for as many that did not; CPU seconds."""

    waited: float
    fresh: float
    waited_cpu: float
    fresh_cpu: float


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """The figures. Raises NotStarted, OSError, SubprocessError."""
    del cores
    found: dict[str, list[Drained]] = {store: [] for store in STORES}
    with engines.servers("postgresql", "mariadb") as servers:
        for number in range(ROUNDS):
            for store, each in found.items():
                server = servers.get(store.lower())
                url = (
                    f"sqlite:///{folder}/{number}.db" if server is None else server.create(f"bench_{number}")
                )
                each.append(_once(url))
    return _entries(found)


def _once(url: str) -> Drained:
    done = subprocess.run(
        [sys.executable, "-m", "bench.drain", url, str(COUNT)],
        capture_output=True, text=True, check=False, timeout=WAIT_SECONDS,
    )  # fmt: skip
    if done.returncode:
        raise NotStarted(f"The worker ended: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Drained)  # the log is before it


def _entries(found: Mapping[str, list[Drained]]) -> list[Entry]:
    print(f"\n{COUNT:,} runs of {STEPS} steps, medians of {ROUNDS} rounds by turns; {load_average()}.\n")
    rates = {
        store: ([COUNT / one.waited for one in each], [COUNT / one.fresh for one in each])
        for store, each in found.items()
    }
    print(
        table(
            ("store", "waited, runs/s", "seconds", "CPU ms/run", "not waited, runs/s", "CPU ms/run", "ratio"),
            [
                (
                    store,
                    spread(rates[store][0], 0),
                    f"{median(one.waited for one in each):.2f}",
                    f"{median(one.waited_cpu for one in each) / COUNT * 1e3:.2f}",
                    spread(rates[store][1], 0),
                    f"{median(one.fresh_cpu for one in each) / COUNT * 1e3:.2f}",
                    spread(ratios(*rates[store])),
                )
                for store, each in found.items()
            ],
        )
    )
    entries = []
    for entry, (store, each) in zip(ENTRIES, found.items(), strict=True):
        waited, fresh = rates[store]
        ratio = median(ratios(waited, fresh))
        how = (
            f"from `wake` to the last commit, {median(one.waited for one in each):.2f} s; {STEPS} steps "
            f"that do nothing, {Settings().runs} runs at a time, one worker; beside as many that did not "
            f"wait; medians of {ROUNDS} rounds by turns, "
            f"ratio {spread(ratios(waited, fresh))}; {load_average()}"
        )
        entries.append(
            msgspec.structs.replace(
                entry, value=round(median(waited), 1), peer=round(median(fresh), 1), ratio=round(ratio, 3),
                met=ratio >= 0.8, how=how,
            )
        )  # fmt: skip
    return entries


async def _drain(url: str, count: int) -> Drained:
    away = True

    async def do(_: Doing) -> None:
        if away:
            raise SiteAway(SITE, "it does not answer")

    plan = one_after_another(STEPS, "bench.do@1")
    async with durable(url, [Action(name="bench.do@1", do=do)], Settings()) as ours:

        async def accepted(run: NewRun, *, wait: bool) -> asyncio.Future[State]:
            async with gate:
                end = ours.runs.end_of(run.id)
                await ours.worker.accept(run)
                if wait:
                    await end
            return end

        async def all_accepted(*, wait: bool) -> list[asyncio.Future[State]]:
            return await asyncio.gather(*(accepted(new_run(plan), wait=wait) for _ in range(count)))

        gate = asyncio.Semaphore(Settings().runs)
        ends = await all_accepted(wait=False)
        while await ours.waiting(f"site/{SITE}") < count:  # noqa: ASYNC110 - the journal tells nobody
            await asyncio.sleep(POLL_SECONDS)
        away, cpu, begin = False, time.process_time(), time.perf_counter()
        if await ours.runs.wake(f"site/{SITE}") != count:
            raise RuntimeError("some runs were not woken")
        ours.worker.look()
        await asyncio.wait(ends, timeout=WAIT_SECONDS)
        waited, waited_cpu = time.perf_counter() - begin, time.process_time() - cpu
        cpu, begin = time.process_time(), time.perf_counter()
        ends += await all_accepted(wait=True)
        fresh, fresh_cpu = time.perf_counter() - begin, time.process_time() - cpu
        if not all(end.done() and end.result() is State.DONE for end in ends):
            raise RuntimeError("a run was not done")
        return Drained(waited=waited, fresh=fresh, waited_cpu=waited_cpu, fresh_cpu=fresh_cpu)


if __name__ == "__main__":
    print(msgspec.json.encode(uvloop.run(_drain(sys.argv[1], int(sys.argv[2])))).decode())
