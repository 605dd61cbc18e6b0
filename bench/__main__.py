"""Run everything, or what is named (`PARTS`), print the tables, write `results.json`."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from bench import (
    acceptance,
    arrivals,
    backend,
    credentials,
    credentials_cpu,
    drain,
    figures,
    images,
    lists,
    own_clouds,
    packages,
    peers,
    runs,
    takeover,
)
from bench.load import LoadFailed
from bench.peers import Setting
from bench.ports import free_ports
from bench.processes import Cores, NotStarted
from bench.report import Entry, entries_table, write

SITES = 3


def main() -> int:
    """Measure. The exit status says whether measuring worked, not whether the goals are met."""
    wanted = sys.argv[1:] or list(PARTS)
    if not PARTS.keys() >= set(wanted):
        print(f"python -m bench [{' | '.join(PARTS)}] ...: all of them where none is named.")
        return 2
    cores, why = _ready()
    entries: list[Entry] = []
    for name in wanted:
        measure, unmeasured = PARTS[name]
        if cores is None:
            found = _unmeasured(unmeasured, why)
        else:
            with tempfile.TemporaryDirectory(prefix="atoll-bench-") as folder:
                found = measure(Path(folder), cores)
        entries += [replace(one, part=name) for one in found]
    print(f"\n{entries_table(entries)}")
    write(entries)
    print("\nWritten to bench/results.json; `make docs` makes its page of them.")
    return int(any(entry.value is None for entry in entries))


STARTING = (figures.HEALTHZ, figures.SHOWN, figures.MEMORY)
REQUESTS = tuple(entry for entries in figures.BY_ID.values() for entry in entries)


def _ready() -> tuple[Cores | None, str]:
    missing = packages.provide()
    if missing:
        wanted = " ".join(packages.PROGRAMS[name] for name in missing)
        return (
            None,
            f"{', '.join(missing)} missing; as root: apt-get install --no-install-recommends {wanted}",
        )
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None, "one core only, and the proxy and its load need one each"
    return Cores(measured=cores[1], rest=(cores[0], *cores[2:5])), ""


def _requests(folder: Path, cores: Cores) -> list[Entry]:
    ports = free_ports(SITES)

    def setting(name: str, services: Sequence[str] = peers.COMPUTE) -> Setting:
        made = folder / name
        made.mkdir()
        return Setting(made, ports, cores.measured, services)

    def requests(stack: ExitStack) -> list[Entry]:
        targets = {
            "HAProxy": stack.enter_context(peers.haproxy(setting("haproxy"))),
            "Atoll": stack.enter_context(peers.atoll(setting("atoll", tuple(peers.PATHS)))),
        }
        return figures.requests(targets, ports[0], cores, setting)

    with ExitStack() as stack:
        try:
            stack.enter_context(backend.sites(ports, setting("sites").folder, cores=cores.rest))
        except NotStarted as error:
            return _unmeasured((*REQUESTS, *STARTING), f"the site did not start: {error}")
        starting = _attempt(lambda: figures.start(setting), STARTING)
        return _attempt(lambda: requests(stack), REQUESTS) + starting


def _lists(folder: Path, cores: Cores) -> list[Entry]:
    return _attempt(lambda: lists.measure(folder, cores), lists.ENTRIES)


def _credentials(folder: Path, cores: Cores) -> list[Entry]:
    return _attempt(lambda: credentials.measure(folder, cores), credentials.ENTRIES)


def _credentials_cpu(folder: Path, cores: Cores) -> list[Entry]:
    return _attempt(lambda: credentials_cpu.cpu(folder, cores), credentials_cpu.ENTRIES)


def _own_clouds(folder: Path, cores: Cores) -> list[Entry]:
    return _attempt(lambda: own_clouds.measure(folder, cores), own_clouds.ENTRIES)


def _images(folder: Path, cores: Cores) -> list[Entry]:
    return _attempt(lambda: images.measure(folder, cores), images.ENTRIES)


def _part(measure: Callable[[Path, Cores], list[Entry]], entries: Sequence[Entry]) -> "Part":
    """A measurement that has all cores, whichever another one kept to."""

    def measured(folder: Path, cores: Cores) -> list[Entry]:
        os.sched_setaffinity(0, {cores.measured, *cores.rest})
        return _attempt(lambda: measure(folder, cores), entries)

    return measured, entries


def _attempt(measure: Callable[[], list[Entry]], entries: Sequence[Entry]) -> list[Entry]:
    """What a measurement gave, or its entries with the reason why it gave nothing."""
    try:
        return measure()
    except (NotStarted, LoadFailed, OSError, subprocess.SubprocessError) as error:
        return _unmeasured(entries, str(error))


def _unmeasured(entries: Sequence[Entry], why: str) -> list[Entry]:
    print(f"Not measured: {why}")
    return [replace(entry, how=why) for entry in entries]


Part = tuple[Callable[[Path, Cores], list[Entry]], Sequence[Entry]]
PARTS: Mapping[str, Part] = {
    "requests": (_requests, (*REQUESTS, *STARTING)),
    "lists": (_lists, lists.ENTRIES),
    "credentials": (_credentials, credentials.ENTRIES),
    "credentials-cpu": (_credentials_cpu, credentials_cpu.ENTRIES),
    "images": (_images, images.ENTRIES),
    "own-clouds": (_own_clouds, own_clouds.ENTRIES),
    "runs": _part(runs.measure, runs.ENTRIES),
    "runs-takeover": _part(takeover.measure, takeover.ENTRIES),
    "runs-arrivals": _part(arrivals.measure, arrivals.ENTRIES),
    "runs-drain": _part(drain.measure, drain.ENTRIES),
    "runs-acceptance": _part(acceptance.measure, acceptance.ENTRIES),
}

if __name__ == "__main__":
    sys.exit(main())
