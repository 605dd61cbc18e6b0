"""The measurements. Peers take turns in rounds, so that a noisy moment of the machine hits all alike."""

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from bench.load import wrk
from bench.peers import Setting, Start, Target, ask, atoll_cold
from bench.processes import Cores, awake, core_ticks, get, pinned, wait_for

# Enough for the fastest proxy to have a request waiting whenever it is done with one.
CONNECTIONS = 64
# Seconds of load on one proxy in one round.
CPU_SECONDS = 2
# Below this share a proxy's cost is that of waiting and waking, not of requests.
BUSY = 0.95
LATENCY_SECONDS = 1
SETTLE_SECONDS = 2.0


@dataclass(slots=True)
class Cost:
    """What one proxy took under load, a value per round.

    `cpu_us`: user and system microseconds for a request. `rate`: requests a second. `busy` and `own`: the
    share of its core that was busy, and busy with the proxy.
    """

    cpu_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)

    def add(self, other: "Cost") -> None:
        """Take in further rounds."""
        self.cpu_us += other.cpu_us
        self.rate += other.rate
        self.busy += other.busy
        self.own += other.own


@dataclass(frozen=True, slots=True)
class Started:
    """One start. Seconds from spawning `atoll serve` to its answers; resident memory (10^6 bytes) when idle.

    `bare` are the seconds that Python itself took just before, which tell how busy the machine was.
    """

    healthz: float
    server: float
    resident_mb: float
    bare: float


def cost(targets: Mapping[str, Target], cores: Cores, rounds: int, *, spare: int = 0) -> dict[str, Cost]:
    """Load each target in turn, `rounds` times, the cores of load and sites awake. Raises LoadFailed.

    A round in which the core of one of them was less busy than `BUSY` is done again, `spare` times in all:
    then something else on the machine held the load back.
    """
    costs = {name: Cost() for name in targets}
    with awake(cores.rest):
        while rounds:
            found = {name: _load(target, cores) for name, target in targets.items()}
            if spare and min(one.busy[0] for one in found.values()) < BUSY:
                spare -= 1
                continue
            rounds -= 1
            for name, one in found.items():
                costs[name].add(one)
    return costs


def _load(target: Target, cores: Cores) -> Cost:
    looks: list[tuple[float, float, int, int]] = []

    def look() -> None:
        looks.append((time.perf_counter(), target.process.cpu_seconds(), *core_ticks(cores.measured)))

    cpu = target.process.cpu_seconds()
    load = wrk(
        target.port,
        target.path,
        connections=CONNECTIONS,
        seconds=CPU_SECONDS,
        cores=cores.rest,
        look=look,
    )
    spent = (target.process.cpu_seconds() - cpu) / load.requests * 1e6
    took, own, busy, ticks = (after - before for before, after in zip(*looks, strict=True))
    return Cost([spent], [load.rate], [busy / ticks], [own / took])


def latency(
    targets: Mapping[str, Target], site: tuple[int, str], cores: Cores, rounds: int
) -> tuple[list[float], dict[str, list[float]]]:
    """Median microseconds at one connection, per round: straight to the site, and what each target adds.

    `site` is its port and the path there.
    """
    direct: list[float] = []
    added: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(rounds):
        load = wrk(*site, connections=1, seconds=LATENCY_SECONDS, cores=cores.rest)
        direct.append(load.median_us)
        for name, target in targets.items():
            load = wrk(target.port, target.path, connections=1, seconds=LATENCY_SECONDS, cores=cores.rest)
            added[name].append(load.median_us - direct[-1])
    return direct, added


def once(start: Start, setting: Setting, cores: Cores) -> tuple[Cost, float]:
    """One round of load on a slow peer, and its median microseconds at one connection."""
    with start(setting) as target:
        found = cost({"": target}, cores, 1)[""]
        load = wrk(target.port, target.path, connections=1, seconds=LATENCY_SECONDS, cores=cores.rest)
        return found, load.median_us


def start_up(setting: Setting, rounds: int) -> list[Started]:
    """Start Atoll afresh, with no state of an earlier round. Raises NotStarted."""
    found = []
    for number in range(rounds):
        folder = setting.folder / f"start{number}"
        folder.mkdir()
        found.append(_start_up(Setting(folder, setting.sites, setting.core)))
    return found


def _start_up(setting: Setting) -> Started:
    bare = _bare(setting.core)
    with atoll_cold(setting) as target:
        healthz = wait_for(target.process, lambda: get(target.port, "/healthz"))
        server = wait_for(target.process, lambda: ask(target))
        time.sleep(SETTLE_SECONDS)
        return Started(healthz, server, target.process.resident_mb(), bare)


def _bare(core: int) -> float:
    """Seconds that Python takes to start and do nothing."""
    begin = time.perf_counter()
    subprocess.run([*pinned([core]), sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - begin


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Ours over theirs, round by round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def spread(values: list[float], digits: int = 2) -> str:
    """The median of some rounds with the range they had."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
