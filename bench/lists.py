"""Lists over many sites: how long the first page takes, what it reads and costs, what a whole walk keeps.

The sites are `bench.cloud`'s, in one process on a core of its own; Atoll has the other. Its CPU is what the
kernel counted for all its threads from before a page to a quarter of a second after it: what it writes down
about a page is in it. Pages for which Atoll or the sites had to wait for their core are asked for again, as
long as there are spare ones: then something else on the machine was measured.
"""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from msgspec.structs import replace

from bench import peers
from bench.backend import HEADERS
from bench.figures import filled
from bench.measure import spread
from bench.ports import free_ports
from bench.processes import (
    Cores,
    NotStarted,
    Process,
    get,
    load_average,
    pinned,
    running,
    wait_for,
)
from bench.report import Entry, table

SITES, MANY = 100, 1000
PER_SITE = 1000
PAGE = 1000
DELAY_MS = 50
LAYOUTS = ("uniform", "hot", "sorted")
WARM, ROUNDS = 3, 9
SPARE = 60
WAITED_MS = 3.0
SETTLE_SECONDS = 0.25
PEER_SECONDS = 200
# Of lists whose pages take seconds fewer are asked for, and none again.
SLOW_SECONDS, SLOW_ROUNDS = 1.0, 3
DETAIL = "/compute/v2.1/servers/detail"
LIMITS = "/compute/v2.1/limits"
# What says which microversions it has.
VERSIONED = frozenset({"compute", "block-storage"})
# What one site is asked for on the first page, about: the peer is asked for as much.
SHARE = 20


def _entry(name: str, unit: str, goal: str) -> Entry:
    return Entry(name=name, value=None, unit=unit, goal=goal, met=None, how="")


@dataclass(frozen=True, slots=True)
class Listed:
    """A list: its service, what it is called in figures, where Atoll and a site have it, and its query."""

    service: str
    name: str
    path: str
    at_site: str
    plural: str
    query: str = ""

    @property
    def target(self) -> str:
        """What Atoll is asked for."""
        return f"{self.path}?limit={PAGE}{self.query}" if self.plural != "servers" else self.path

    @property
    def share(self) -> str:
        """What one site is asked for, about."""
        return f"{self.at_site}?limit={SHARE}{self.query}"

    def entries(self) -> dict[str, Entry]:
        """Its figures."""
        name = f"first 1,000 of {self.name}, {SITES} sites"
        return {
            "time": _entry(f"{name}: uniform", "ms", "<= 1.5 x the slowest site"),
            "rounds": _entry(f"{name}: rounds, any layout", "", "1 if uniform, else <= 2"),
            "bytes": _entry(f"{name}: bytes read", "KB", "<= 3 x answered"),
            "cpu": _entry(f"{name}: CPU of Atoll, any layout", "ms", "<= 40 ms"),
        }


SERVERS = (
    Listed("compute", "servers/detail", DETAIL, "/v2.1/servers/detail", "servers"),
    Listed("compute", "servers", "/compute/v2.1/servers", "/v2.1/servers", "servers"),
)
PORTS = "/network/v2.0/ports"
# Without a sort key Neutron has an order of each site's own, and Atoll one site's ports behind the other's.
OTHERS = (
    Listed("block-storage", "volumes/detail", "/block-storage/v3/volumes/detail",
           "/volume/v3/volumes/detail", "volumes"),
    Listed("network", "ports by id", PORTS, PORTS, "ports", "&sort_key=id&sort_dir=asc"),
    Listed("network", "ports", PORTS, PORTS, "ports"),
    Listed("image", "images", "/image/v2/images", "/image/v2/images", "images"),
)  # fmt: skip
SDK = _entry(f"first 1,000 of servers/detail, {SITES} sites: openstacksdk", "ms", "< a loop over regions")
WALK = _entry(f"walk of {SITES * PER_SITE:,} servers: memory grown", "MB", "< 50 MB")
FAR = _entry(f"first 1,000 of servers/detail, {MANY:,} sites", "s", "< 2 s")
SUM = _entry(f"limits over {MANY:,} sites", "s", "< 1 s")
ENTRIES = (
    *(entry for one in (*SERVERS, *OTHERS) for entry in one.entries().values()),
    SDK, WALK, FAR, SUM,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setup:
    """A running Atoll before running sites."""

    atoll: Process
    cloud: Process
    port: int
    sites: list[int]

    def lay_out(self, layout: str) -> None:
        """Give the things their ages."""
        get(self.sites[0], f"/layout/{layout}")

    def counted(self) -> dict[str, int]:
        """What the sites were asked since the last time: requests, rounds, bytes."""
        found: dict[str, int] = json.loads(get(self.sites[0], "/counted")[1])
        return found


@dataclass(slots=True)
class Pages:
    """First pages of one layout, a value each: seconds, CPU (ms) of Atoll and of the sites, rounds, bytes.

    `beside` are the requests that were made beside the list, for security groups or what is public.
    `waited` are the milliseconds that both had to wait for a core; `unknown` is what was read for one byte on
    the very first page, when nothing was known of the things (one value); `unknown_rounds` its rounds.
    """

    seconds: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    sites_cpu: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    beside: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    unknown: float = 0.0
    unknown_rounds: int = 0


def measure(folder: Path, cores: Cores) -> list[Entry]:
    """All figures of lists. Raises NotStarted and OSError."""
    os.sched_setaffinity(0, cores.rest)
    with _setup(folder / "lists", SITES, cores) as setup:
        found = _pages(folder / "lists", setup, cores, SERVERS)
        found.append(_walk(setup))
        found.append(_sdk(folder, setup, cores, found[0]))
    for service in dict.fromkeys(one.service for one in OTHERS):
        found += _of_service(folder / service, cores, service)
    with _setup(folder / "many", MANY, cores) as setup:
        found += _many(setup)
    return found


def _of_service(folder: Path, cores: Cores, service: str) -> list[Entry]:
    """The figures of one service's lists; as for servers, the sites have that service alone.

    Where one cannot be had, what is not measured says why, and the others are.
    """
    lists = [one for one in OTHERS if one.service == service]
    try:
        with _setup(folder, SITES, cores, [service]) as setup:
            return _pages(folder, setup, cores, lists)
    except (NotStarted, http.client.HTTPException, OSError, subprocess.SubprocessError) as error:
        print(f"Not measured: {service}: {error}")
        return [replace(entry, how=str(error)) for one in lists for entry in one.entries().values()]


@contextmanager
def _setup(
    folder: Path, count: int, cores: Cores, services: Sequence[str] = peers.COMPUTE
) -> Iterator[Setup]:
    folder.mkdir()
    sites = free_ports(count)
    ports = folder / "ports.json"
    ports.write_text(json.dumps(sites))
    command = [sys.executable, "-m", "bench.cloud", str(ports), str(PER_SITE), str(DELAY_MS)]
    with running(command, cores=cores.rest[:1], log=folder / "cloud.log") as cloud:
        wait_for(cloud, lambda: get(sites[-1], "/v2.1/"))
        setting = peers.Setting(folder, sites, cores.measured, services)
        with peers.atoll_cold(setting) as target:
            wait_for(target.process, lambda: get(target.port, "/healthz"))
            _until_known(target, services)
            yield Setup(target.process, cloud, target.port, sites)


def _until_known(target: peers.Target, services: Sequence[str]) -> None:
    """Wait until Atoll has looked at its sites: that is not the cost of a list."""
    for _ in range(200 if VERSIONED.intersection(services) else 0):
        if get(target.port, "/metrics")[1].count(b"\natoll_site_versions{") >= 1:
            break
        time.sleep(0.05)
    time.sleep(1.0)


def _cpu_ms(process: Process) -> float:
    """Milliseconds that all threads of a process have run."""
    files = [file for pid in process.tree() for file in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(file.read_text().split()[0]) for file in files) / 1e6


def _waited_ms(setup: Setup) -> float:
    """Milliseconds that the main threads of Atoll and of the sites were ready and had no core."""
    files = [Path(f"/proc/{one.pid}/schedstat") for one in (setup.atoll, setup.cloud)]
    return sum(int(file.read_text().split()[1]) for file in files) / 1e6


class _Client:
    """A client on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> tuple[float, bytes]:
        """(seconds, body). Raises NotStarted for anything but a 200."""
        begin = time.perf_counter()
        self._connection.request("GET", path, headers=HEADERS)
        answer = self._connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - begin
        if answer.status != 200 or "x-atoll-missing-sites" in answer.headers:
            raise NotStarted(f"{path}: {answer.status}, {answer.headers}, {body[:500]!r}")
        return took, body


# -- a hundred sites -----------------------------------------------------------------------------------


def _pages(folder: Path, setup: Setup, cores: Cores, lists: Sequence[Listed]) -> list[Entry]:
    """First pages of some lists in all layouts."""
    client = _Client(setup.port)
    first = Pages()
    _page(setup, client, lists[0], first)  # connects to every site, and learns a thousand locations
    begun = (
        f"; the very first page, connecting to every site, took {first.cpu[0]:.0f} ms of CPU "
        f"and {first.beside[0]} requests beside the list"
    )
    entries: list[Entry] = []
    rows = []
    for one in lists:
        alone = _alone(setup, one)
        found = {layout: _layout(setup, client, one, layout) for layout in (*LAYOUTS, "random")}
        rows += [_row(one, layout, pages) for layout, pages in found.items()]
        setup.lay_out("uniform")
        slowest = _at_once(folder, one, cores)
        print(f"The slowest of {SITES} sites for {one.name}: {slowest:.1f} ms; one alone {alone:.1f} ms.")
        entries += page_entries(one.entries(), found, (slowest, alone), begun if one is lists[0] else "")
    print(f"\nFirst {PAGE} over {SITES} sites of {PER_SITE}.\n")
    head = ("list and layout", "ms", "rounds", "beside", "CPU ms", "of the sites", "KB read", "x answered")
    print(table(head, rows))
    return entries


def _layout(setup: Setup, client: _Client, listed: Listed, layout: str) -> Pages:
    setup.lay_out(layout)
    pages, spare, rounds = Pages(), SPARE, ROUNDS
    for number in range(WARM):
        one = Pages()
        _page(setup, client, listed, one)
        if not number:
            pages.unknown, pages.unknown_rounds = _over(one), one.rounds[0]
        if one.seconds[0] > SLOW_SECONDS:
            spare, rounds = 0, SLOW_ROUNDS
            break
    while len(pages.seconds) < rounds:
        one = Pages()
        _page(setup, client, listed, one)
        if spare and one.waited[0] > WAITED_MS:
            spare -= 1
            continue
        for name in ("seconds", "waited", "cpu", "sites_cpu", "rounds", "beside", "read", "answered"):
            getattr(pages, name).extend(getattr(one, name))
    return pages


def _page(setup: Setup, client: _Client, listed: Listed, pages: Pages) -> None:
    setup.counted()
    before = _cpu_ms(setup.atoll), _cpu_ms(setup.cloud)
    waited = _waited_ms(setup)
    seconds, body = client.get(listed.target)
    pages.waited.append(_waited_ms(setup) - waited)
    time.sleep(SETTLE_SECONDS)
    pages.cpu.append(_cpu_ms(setup.atoll) - before[0])
    pages.sites_cpu.append(_cpu_ms(setup.cloud) - before[1])
    counted = setup.counted()
    pages.seconds.append(seconds)
    pages.rounds.append(counted["rounds"])
    pages.beside.append(counted["beside"])
    pages.read.append(counted["bytes"])
    pages.answered.append(len(body))
    if len(json.loads(body)[listed.plural]) != PAGE:
        raise NotStarted(f"{listed.target}: not a page of {PAGE}")


def _at_once(folder: Path, listed: Listed, cores: Cores) -> float:
    """Milliseconds until the slowest site has answered, all asked at once from Atoll's core (`at_once`)."""
    ports = str(folder / "ports.json")
    command = [sys.executable, "-m", "bench.at_once", ports, listed.share, str(ROUNDS)]
    done = subprocess.run(
        [*pinned([cores.measured]), *command],
        capture_output=True, text=True, timeout=PEER_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotStarted(f"All sites at once: {done.stderr[-1000:]}")
    times: list[float] = json.loads(done.stdout)["ms"]
    return median(times)


def _alone(setup: Setup, listed: Listed) -> float:
    """Milliseconds of the slowest site, each asked for its share of a page alone, the best of three tries."""
    times = []
    for port in setup.sites:
        client = _Client(port)
        client.get("/v2.1/")
        times.append(min(client.get(listed.share)[0] for _ in range(3)))
    return max(times) * 1e3


def page_entries(
    wanted: Mapping[str, Entry], found: Mapping[str, Pages], base: tuple[float, float], begun: str
) -> list[Entry]:
    """The figures of a list, of its pages by layout; `base`: ms of the slowest site, and of one alone."""
    uniform = median(found["uniform"].seconds)
    slowest, alone = base
    beside = f"when a client that only reads has the last site's; {uniform * 1e3 / alone:.2f} x one alone"
    machine = load_average()
    took = ", ".join(f"{name} {median(pages.seconds) * 1e3:.0f}" for name, pages in found.items())
    rounds = {name: max(found[name].rounds) for name in LAYOUTS}
    said = ", ".join(f"{name} {count}" for name, count in rounds.items())
    asked = len(found["uniform"].seconds)
    beside_list = max(max(found[name].beside) for name in LAYOUTS)
    unseen = max(found[name].unknown_rounds for name in LAYOUTS)
    drawn = f"drawn by lot {min(found['random'].rounds)} to {max(found['random'].rounds)}"
    worst = max(LAYOUTS, key=lambda name: _over(found[name]))
    read, answered = median(found[worst].read) / 1e3, median(found[worst].answered) / 1e3
    seen = f"{max(found[name].unknown for name in LAYOUTS):.1f} x for things never seen before"
    dearest = max(LAYOUTS, key=lambda name: median(found[name].cpu))
    cpu = ", ".join(f"{name} {spread(pages.cpu, 1)}" for name, pages in found.items())
    sites = median(found[dearest].sites_cpu)
    in_one = rounds["uniform"] == 1 and max(rounds.values()) <= 2
    in_time = filled(
        wanted["time"], uniform * 1e3,
        f"median of {asked}, one client, each site answers in {DELAY_MS} ms; {took} ms; beside: {beside} "
        f"({alone:.0f} ms); {machine}",
        limit=1.5, peer=slowest, ratio=uniform * 1e3 / slowest,
    )  # fmt: skip
    waited = median(found["uniform"].waited)
    if not in_time.met and waited > WAITED_MS:
        # It was the machine that was slow; what is missed so is not proven to be missed.
        in_time = replace(in_time, met=None, how=f"{in_time.how}: {waited:.0f} ms were waits for a core")
    return [
        in_time,
        filled(
            wanted["rounds"], max(rounds.values()),
            f"most requests to one site for one of {asked} pages: {said}; {drawn}; at most {unseen} for "
            f"things never seen before; at most {beside_list} requests for a page beside the list",
            limit=2 if in_one else 0,
        ),
        filled(
            wanted["bytes"], read,
            f"bodies, worst layout ({worst}), things seen before; beside: bytes answered; {seen}",
            limit=3.0, peer=answered, ratio=read / answered,
        ),
        filled(
            wanted["cpu"], median(found[dearest].cpu),
            f"all threads, medians of {asked} pages: {cpu}; the sites' own {sites:.0f} ms; {machine}{begun}",
            limit=40.0,
        ),
    ]  # fmt: skip


def _over(pages: Pages) -> float:
    return median(pages.read) / median(pages.answered)


def _row(listed: Listed, layout: str, pages: Pages) -> tuple[str, ...]:
    return (
        f"{listed.name} {layout}",
        spread([one * 1e3 for one in pages.seconds], 0),
        f"{min(pages.rounds)} to {max(pages.rounds)}",
        f"{max(pages.beside)}",
        spread(pages.cpu, 1),
        spread(pages.sites_cpu, 1),
        f"{median(pages.read) / 1e3:.0f}",
        f"{_over(pages):.2f}",
    )


def _walk(setup: Setup) -> Entry:
    """All servers in pages, by the next links."""
    setup.lay_out("uniform")
    client = _Client(setup.port)
    path = f"{DETAIL}?limit={PAGE}"
    before, most, seen = setup.atoll.resident_mb(), 0.0, set()
    begin, cpu = time.perf_counter(), _cpu_ms(setup.atoll)
    pages = 0
    while path:
        content = json.loads(client.get(path)[1])
        seen |= {one["id"] for one in content["servers"]}
        most = max(most, setup.atoll.resident_mb())
        links = [one["href"] for one in content.get("servers_links", ()) if one["rel"] == "next"]
        path = "?".join(urlsplit(links[0])[2:4]) if links else ""
        pages += 1
    took, cpu = time.perf_counter() - begin, _cpu_ms(setup.atoll) - cpu
    if len(seen) != SITES * PER_SITE:
        raise NotStarted(f"The walk saw {len(seen)} servers.")
    how = (
        f"resident memory, most of {pages} pages of {PAGE} less that before, the locations of all servers "
        f"learnt on the way included; from {before:.0f} MB; {took:.0f} s, {cpu / pages:.0f} ms of CPU a page"
    )
    return filled(WALK, most - before, how, limit=50.0)


def _sdk(folder: Path, setup: Setup, cores: Cores, ours: Entry) -> Entry:
    """The same page by a loop over regions, on Atoll's core."""
    setup.lay_out("uniform")
    command = [sys.executable, "-m", "bench.lists_sdk", str(folder / "lists" / "ports.json"), str(PAGE)]
    done = subprocess.run(
        [*pinned([cores.measured]), *command],
        capture_output=True, text=True, timeout=PEER_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotStarted(f"The loop over regions: {done.stderr[-1000:]}")
    loop = json.loads(done.stdout)
    value = ours.value or 0.0
    how = (
        f"the uniform page above; beside: openstacksdk asks region after region for its first {PAGE}, sorts, "
        f"takes {PAGE} as JSON; one run, {loop['cpu_ms']:.0f} ms of CPU, imports not counted"
    )
    return filled(SDK, value, how, limit=1.0, peer=loop["ms"], ratio=value / loop["ms"])


# -- a thousand sites ----------------------------------------------------------------------------------


def _many(setup: Setup) -> list[Entry]:
    """The first page and the limits over a thousand sites."""
    client = _Client(setup.port)
    setup.lay_out("uniform")
    first, _ = client.get(DETAIL)
    pages, cpu = _timed(setup, lambda: client.get(DETAIL)[0])
    sums, sum_cpu = _timed(setup, lambda: client.get(LIMITS)[0])
    machine = load_average()
    return [
        filled(
            FAR,
            max(first, *pages),
            f"slowest of {ROUNDS + 1}; the first, connecting to every site, {first:.2f} s, "
            f"then {spread(pages)} s; {cpu:.0f} ms of CPU of Atoll; {machine}",
            limit=2.0,
        ),
        filled(
            SUM,
            max(sums),
            f"slowest of {ROUNDS}: {spread(sums)} s; {sum_cpu:.0f} ms of CPU of Atoll; {machine}",
            limit=1.0,
        ),
    ]


def _timed(setup: Setup, ask: Callable[[], float]) -> tuple[list[float], float]:
    """Seconds of some requests, and the median of Atoll's CPU (ms) for one."""
    times: list[float] = []
    cpu: list[float] = []
    spare = SPARE
    while len(times) < ROUNDS:
        before, waited = _cpu_ms(setup.atoll), _waited_ms(setup)
        took = ask()
        if spare and _waited_ms(setup) - waited > 10 * WAITED_MS:
            spare -= 1
            continue
        times.append(took)
        time.sleep(SETTLE_SECONDS)
        cpu.append(_cpu_ms(setup.atoll) - before)
    return times, median(cpu)
