"""Uploads and downloads of images: what a GiB costs through Atoll and through HAProxy, and what memory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.bulk import FILE
from bench.figures import filled
from bench.load import LoadFailed
from bench.measure import ratios, spread
from bench.peers import Setting, haproxy_running
from bench.ports import free_port, free_ports
from bench.processes import Cores, Process, get, load_average, pinned, running, wait_for
from bench.report import Entry, table

GIB = 1 << 30
ROUNDS = 5
AT_ONCE = 4
WARM = 16 << 20
LOAD_SECONDS = 300
LIMIT = 3.0
GROWTH_MB = 20.0


def _entry(what: str) -> Entry:
    goal = f"<= {LIMIT:g} x HAProxy"
    return Entry(name=f"{what}: CPU of a GiB", value=None, unit="s", goal=goal, met=None, how="")


# (direction, at once) -> the figure
CASES = {
    ("up", 1): _entry("image upload of 1 GiB"),
    ("down", 1): _entry("image download of 1 GiB"),
    ("up", AT_ONCE): _entry(f"{AT_ONCE} image uploads of 1 GiB at once"),
    ("down", AT_ONCE): _entry(f"{AT_ONCE} image downloads of 1 GiB at once"),
}
GROWTH = Entry(
    name=f"{AT_ONCE} images of 1 GiB at once: growth of memory",
    value=None,
    unit="MB",
    goal=f"< {GROWTH_MB:g} MB",
    met=None,
    how="",
)
ENTRIES = (*CASES.values(), GROWTH)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and the path under which it has the image."""

    process: Process
    port: int
    path: str


@dataclass(slots=True)
class Cost:
    """CPU seconds for a GiB, and the largest growth of resident memory (10^6 bytes), a value per round."""

    cpu: list[float] = field(default_factory=list)
    growth: list[float] = field(default_factory=list)


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """All figures. Raises NotStarted and LoadFailed."""
    with _proxies(folder, cores) as proxies:
        for proxy in proxies.values():
            for way in ("up", "down"):
                _load(proxy, way, WARM, AT_ONCE, cores)
        costs = {case: {name: Cost() for name in proxies} for case in CASES}
        for case, found in costs.items():
            for _ in range(ROUNDS):
                for name, proxy in proxies.items():
                    _round(proxy, *case, found[name], cores)
    print(f"\n{_table(costs)}")
    entries = [_filled(case, found["Atoll"], found["HAProxy"]) for case, found in costs.items()]
    most = max(growth for found in costs.values() for growth in found["Atoll"].growth)
    how = f"largest VmRSS less that before, of {ROUNDS} rounds of each kind; {load_average()}"
    return [*entries, filled(GROWTH, most, how, limit=GROWTH_MB)]


def _round(proxy: Proxy, way: str, count: int, cost: Cost, cores: Cores) -> None:
    before = proxy.process.resident_mb()
    proxy.process.forget_largest()
    cpu = proxy.process.cpu_seconds()
    _load(proxy, way, GIB, count, cores)
    cost.cpu.append((proxy.process.cpu_seconds() - cpu) / count)
    cost.growth.append(proxy.process.largest_mb() - before)


def _load(proxy: Proxy, way: str, size: int, count: int, cores: Cores) -> None:
    words = [str(proxy.port), proxy.path, way, str(size), str(count)]
    command = [*pinned(cores.rest), sys.executable, "-m", "bench.bulk", "load", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LOAD_SECONDS)
    if done.returncode:
        raise LoadFailed(f"{done.returncode} of {count} went wrong: {done.stderr.strip()[-300:]}")


@contextmanager
def _proxies(folder: Path, cores: Cores) -> Iterator[dict[str, Proxy]]:
    os.sched_setaffinity(0, cores.rest)
    sites = free_ports(2)
    with ExitStack() as stack:
        for number, port in enumerate(sites):
            words = ["site", str(port), str(GIB), *(["has"] if not number else [])]
            command = [sys.executable, "-m", "bench.bulk", *words]
            log = folder / f"site{number}.log"
            site = stack.enter_context(running(command, cores=cores.rest, log=log))
            wait_for(site, lambda port=port: get(port, "/v2/images"))  # type: ignore[misc]  # bound as it is now
        port, process = stack.enter_context(haproxy_running(Setting(folder, sites, cores.measured)))
        yield {
            "HAProxy": Proxy(process, port, FILE),
            "Atoll": stack.enter_context(_atoll(folder, sites, cores)),
        }


@contextmanager
def _atoll(folder: Path, sites: list[int], cores: Cores) -> Iterator[Proxy]:
    port = free_port()
    file = folder / "atoll.toml"
    file.write_text(f"""
[gateway]
listen = "127.0.0.1:{port}"
access_log = "{folder / "access.log"}"
[identity]
auth_url = "http://127.0.0.1:{sites[0]}/v3"
[store]
url = "sqlite:///{folder / "atoll.db"}"
[sites.a]
region = "a"
endpoints = {{image = "http://127.0.0.1:{sites[0]}"}}
[sites.b]
region = "b"
endpoints = {{image = "http://127.0.0.1:{sites[1]}"}}
""")
    command = [sys.executable, "-m", "atoll.cli", "serve", "-c", str(file)]
    with running(command, cores=[cores.measured], log=folder / "atoll.log") as process:
        wait_for(process, lambda: get(port, "/healthz"))
        yield Proxy(process, port, f"/image{FILE}")


def _filled(case: tuple[str, int], ours: Cost, theirs: Cost) -> Entry:
    each = ratios(ours.cpu, theirs.cpu)
    how = (
        f"user+sys of the process, medians of {ROUNDS} rounds by turns; ratio {spread(each)}; "
        f"a peer that discards, two sites; {load_average()}"
    )
    peer = median(theirs.cpu)
    return filled(CASES[case], median(ours.cpu), how, limit=LIMIT, peer=peer, ratio=median(each))


def _table(costs: dict[tuple[str, int], dict[str, Cost]]) -> str:
    rows = []
    for (way, count), found in costs.items():
        each = ratios(found["Atoll"].cpu, found["HAProxy"].cpu)
        for name, cost in found.items():
            shown = spread(each) if name == "Atoll" else "1"
            cells = [f"{way}, {count} at once", name, spread(cost.cpu), shown, f"{max(cost.growth):.1f}"]
            rows.append(cells)
    return table(("1 GiB", "proxy", "CPU s/GiB", "x HAProxy", "memory +MB"), rows)
