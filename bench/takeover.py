"""How soon another worker goes on with a run whose worker was killed, or is frozen.

Two worker processes share a SQLite file. The one that is in the middle of a run's third step is sent a
signal; the time is taken until the other one looks whether that step was done.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from atoll.store.opening import open_database
from atoll.store.runs import Runs
from atoll.worker.actions import Action, Doing
from atoll.worker.worker import Settings
from atoll.workflow.outcomes import Absent
from bench.contest import percentile
from bench.durable import durable, new_run, one_after_another
from bench.measure import spread
from bench.processes import Cores, NotStarted, Process, load_average, running
from bench.report import Entry

TIMES = 16
LEASE = Settings().lease
STEPS, STEP = 6, 2
LONG_SECONDS, SHORT_SECONDS = 30.0, 0.02
WAIT_SECONDS = 30.0
POLL_SECONDS = 0.002
SIGNALS = {"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}
ENTRIES = tuple(
    Entry(
        name=f"another worker goes on with the run of one that is {what}: {which}",
        value=None,
        unit="s",
        goal="<= lease + 0.5 s",
        met=None,
        how="",
    )
    for what in SIGNALS
    for which in ("median", "longest")
)


class Line(msgspec.Struct, array_like=True):
    """What a worker wrote down: `clock` seconds of the machine's monotonic clock, who, what, which step."""

    clock: float
    pid: int
    what: str
    step: int


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """The figures. Raises NotStarted, OSError."""
    entries = []
    for number, (what, sent) in enumerate(SIGNALS.items()):
        (folder / str(number)).mkdir()
        found = asyncio.run(_several(folder / str(number), sent, cores))
        print(
            f"\nThe worker {what} in step {STEP + 1}: until another looks at it, in seconds: "
            f"{spread(found)}; p90 {percentile(found, 0.9):.2f}; lease {LEASE:g} s, "
            f"{TIMES} times; {load_average()}."
        )
        how = (
            f"SIG{sent.name.removeprefix('SIG')} in the middle of a step; until the other worker looks "
            f"whether it was done; {TIMES} times, {spread(found)}; two processes, one SQLite file, "
            f"lease {LEASE:g} s; {load_average()}"
        )
        limit = LEASE + 0.5
        values = (percentile(found, 0.5), max(found))
        for entry, value in zip(ENTRIES[2 * number : 2 * number + 2], values, strict=True):
            entries.append(msgspec.structs.replace(entry, value=round(value, 3), met=value <= limit, how=how))
    return entries


@dataclass(slots=True)
class _Scene:
    """Workers on one file, and what they wrote down."""

    folder: Path
    cores: Cores
    stack: ExitStack
    count: int = 0

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'runs.db'}"

    def lines(self) -> list[Line]:
        text = (self.folder / "lines").read_bytes() if (self.folder / "lines").exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        return [msgspec.json.decode(line, type=Line) for line in whole.splitlines()]

    def worker(self) -> Process:
        self.count += 1
        command = [sys.executable, "-m", "bench.takeover", self.url, str(self.folder / "lines")]
        log = self.folder / f"worker-{self.count}.log"
        return self.stack.enter_context(
            running(command, cores=(self.cores.measured, *self.cores.rest), log=log)
        )


async def _several(folder: Path, sent: signal.Signals, cores: Cores) -> list[float]:
    by_chance = random.Random(1)  # noqa: S311 - the same each time
    with ExitStack() as stack:
        scene = _Scene(folder, cores, stack)
        database = await open_database(scene.url)
        runs = Runs(database)
        workers = [scene.worker(), scene.worker()]
        try:
            for one in workers:
                await _until(scene, _is_there(one.pid))
            found = []
            for _ in range(TIMES):
                await asyncio.sleep(by_chance.uniform(0.0, LEASE))  # at any moment between two beats
                found.append(await _once(scene, runs, workers, sent))
        finally:
            for one in workers:  # those frozen too
                _send(one.pid, signal.SIGKILL)
            await database.close()
        return found


async def _once(scene: _Scene, runs: Runs, workers: list[Process], sent: signal.Signals) -> float:
    """Seconds until the other worker looks at the step; another worker is there in place of the one lost."""
    before = len(scene.lines())
    await runs.accept(new_run(one_after_another(STEPS, "bench.step@1")))
    begun = await _until(scene, lambda line: (line.what, line.step) == ("do", STEP), before)
    await asyncio.sleep(0.1)
    at = time.monotonic()
    _send(begun.pid, sent)
    seen = len(scene.lines())
    looked = await _until(scene, lambda line: (line.what, line.step) == ("verify", STEP), seen)
    again = await _until(scene, lambda line: (line.what, line.step) == ("do", STEP), seen)
    if begun.pid in {looked.pid, again.pid} or sorted(_steps(scene, before)) != _expected():
        raise NotStarted(f"the run went on wrongly: {scene.lines()[before:]}")
    _send(begun.pid, signal.SIGKILL)
    lost = next(one for one in workers if one.pid == begun.pid)
    workers[workers.index(lost)] = fresh = scene.worker()
    await _until(scene, _is_there(fresh.pid))
    await _until(scene, lambda line: (line.what, line.step) == ("done", STEPS - 1), seen)
    return looked.clock - at


def _is_there(pid: int) -> Callable[[Line], bool]:
    return lambda line: (line.pid, line.what) == (pid, "there")


def _steps(scene: _Scene, before: int) -> list[int]:
    lines = scene.lines()[before:]
    return [line.step for line in lines if line.what == "do" and line.step <= STEP]


def _expected() -> list[int]:
    """Each step before once, the one that was cut off twice."""
    return [*range(STEP + 1), STEP]


async def _until(scene: _Scene, wanted: Callable[[Line], bool], since: int = 0) -> Line:
    begin = time.monotonic()
    while time.monotonic() - begin < WAIT_SECONDS:
        for line in scene.lines()[since:]:
            if wanted(line):
                return line
        await asyncio.sleep(POLL_SECONDS)
    raise NotStarted(f"it did not come in {WAIT_SECONDS:g} s: {scene.lines()[since:]}")


def _send(pid: int, sent: signal.Signals) -> None:
    try:
        os.kill(pid, sent)
    except ProcessLookupError:
        return


async def _work(url: str, lines: Path) -> None:
    """Be a worker until killed. The third step takes long, unless it was looked at before."""
    looked: set[str] = set()

    def wrote(what: str, step: int) -> None:
        line = msgspec.json.encode(Line(time.monotonic(), os.getpid(), what, step)) + b"\n"
        os.write(file, line)

    async def do(doing: Doing) -> None:
        step = int(doing.mark.rpartition(".")[2])
        wrote("do", step)
        long = step == STEP and doing.mark not in looked
        await asyncio.sleep(LONG_SECONDS if long else SHORT_SECONDS)
        wrote("done", step)

    async def verify(doing: Doing) -> Absent:
        wrote("verify", int(doing.mark.rpartition(".")[2]))
        looked.add(doing.mark)
        return Absent()

    file = os.open(lines, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with durable(url, [Action(name="bench.step@1", do=do, verify=verify)], Settings()):
        wrote("there", -1)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_work(sys.argv[1], Path(sys.argv[2])))
