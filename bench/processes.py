"""Processes of a measurement: started on a core of their own, watched through /proc, stopped by their id."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Everything here starts in well under a second; a machine shared with others may take longer (seconds).
START_SECONDS = 20.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.002


class NotStarted(Exception):
    """A process of the measurement did not come up; the message holds the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of whatever is measured, and those of load and backend."""

    measured: int
    rest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Process:
    """A running process. `born` is the `time.perf_counter` of its start."""

    pid: int
    born: float
    log: Path

    def tree(self) -> list[int]:
        """The process and all its descendants."""
        found = [self.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            found += [int(child) for child in children.read_text().split()]
        return found

    def cpu_seconds(self) -> float:
        """User and system time of the process and its descendants so far."""
        return sum(_cpu_ticks(pid) for pid in self.tree()) / TICKS

    def resident_mb(self) -> float:
        """Resident memory (10^6 bytes) of the process and its descendants, shared pages counted in each."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.tree())
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def largest_mb(self) -> float:
        """The most resident memory (10^6 bytes) since it was last forgotten, of each at its own time."""
        return sum(_largest_kb(pid) for pid in self.tree()) * 1024 / 1e6

    def forget_largest(self) -> None:
        """Count the largest resident memory from now on."""
        for pid in self.tree():
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _largest_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _cpu_ticks(pid: int) -> int:
    # The command's name stands in parentheses and may hold anything; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def core_ticks(core: int) -> tuple[int, int]:
    """(busy, all) ticks of a core since the machine started."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            ticks = [int(field) for field in fields[:8]]
            return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    raise LookupError(f"There is no core {core}.")


def load_average() -> str:
    """How much ran on this machine in the last minute, in words."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def pinned(cores: Sequence[int]) -> list[str]:
    """What stands before a command that is to run on some cores only."""
    return ["taskset", "-c", ",".join(map(str, cores))]


@contextmanager
def running(
    command: Sequence[str], *, cores: Sequence[int], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """A process (and what it starts) pinned to cores, its output in a file; stopped at the end."""
    with log.open("ab") as out:
        born = time.perf_counter()
        child = subprocess.Popen(
            [*pinned(cores), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **(env or {})},
        )
    try:
        yield Process(child.pid, born, log)
    finally:
        _stop(child)


_SPIN = """
import os
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while True:
    pass
"""


@contextmanager
def awake(cores: Sequence[int]) -> Iterator[None]:
    """Cores that do not sleep: on each spins a process that gives way to every other.

    On a virtual machine waking a core that sleeps is a call to the hypervisor, charged to whoever wakes it:
    of two proxies the slower one finds its load and its site asleep more often, and pays for that too.
    """
    with ExitStack() as stack:
        for core in cores:
            command = [sys.executable, "-c", _SPIN]
            stack.enter_context(running(command, cores=[core], log=Path(os.devnull)))
        yield


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(STOP_SECONDS)


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """(status, body) of one request on a connection of its own. Raises OSError and HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_for(process: Process, ask: Callable[[], tuple[int, bytes]]) -> float:
    """Seconds from the start of a process to its first 200. Raises NotStarted."""
    last = ""
    while time.perf_counter() - process.born < START_SECONDS:
        try:
            status, body = ask()
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        else:
            if status == 200:
                return time.perf_counter() - process.born
            last = f"{status} {body[:200]!r}"
        time.sleep(POLL_SECONDS)
    written = process.log.read_text(errors="replace")[-2000:]
    raise NotStarted(f"No answer in {START_SECONDS:.0f} s ({last}).\n{written}")
