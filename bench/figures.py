"""From measurements to entries: what is compared with what, and what the goal is."""

from collections.abc import Callable, Mapping
from dataclasses import replace as changed
from platform import python_version
from statistics import median

from msgspec.structs import replace

from bench import measure, peers
from bench.measure import BUSY, Cost, ratios, spread
from bench.peers import Setting, Target
from bench.processes import Cores, load_average
from bench.report import Entry, table
from bench.things import COUNT, SERVER, THINGS, Thing

CPU_ROUNDS = 6
LATENCY_ROUNDS = 5
START_ROUNDS = 7
# Rounds that may be done again, for each kind of thing, because the machine was busy with something else.
CPU_SPARE = 6


def _entries(thing: Thing) -> tuple[Entry, Entry]:
    """(CPU, latency) of a kind of thing, not measured yet."""
    asked = "by-id GET" if thing is SERVER else f"by-id GET of {_a(thing)}"
    return (
        Entry(
            name=f"{asked}: CPU of a request", value=None, unit="us", goal="<= 2 x HAProxy", met=None, how=""
        ),
        Entry(
            name=f"{asked}: added median latency",
            value=None,
            unit="us",
            goal="<= 3 x HAProxy",
            met=None,
            how="",
        ),
    )


def _a(thing: Thing) -> str:
    return f"an {thing.name}" if thing.name[0] in "aeio" else f"a {thing.name}"


BY_ID = {thing.name: _entries(thing) for thing in THINGS}
CPU, LATENCY = BY_ID[SERVER.name]
HEALTHZ = Entry(name="start to the first answer", value=None, unit="s", goal="< 1 s", met=None, how="")
SHOWN = Entry(name="start to the first server shown", value=None, unit="s", goal="< 1 s", met=None, how="")
MEMORY = Entry(
    name="resident memory, idle, 3 sites", value=None, unit="MB", goal="< 120 MB", met=None, how=""
)

Settings = Callable[[str], Setting]


def filled(
    entry: Entry,
    value: float,
    how: str,
    *,
    limit: float,
    peer: float | None = None,
    ratio: float | None = None,
) -> Entry:
    """An entry with its figure; it is met when the ratio (without one: the value) is at most `limit`."""
    return Entry(
        name=entry.name,
        value=round(value, 3),
        unit=entry.unit,
        goal=entry.goal,
        met=(value if ratio is None else ratio) <= limit,
        how=how,
        peer=None if peer is None else round(peer, 3),
        ratio=None if ratio is None else round(ratio, 3),
    )


def start(settings: Settings) -> list[Entry]:
    """How fast Atoll is there, and how large. Raises NotStarted."""
    found = measure.start_up(settings("start"), START_ROUNDS)
    machine = f"{load_average()}, `python -c pass` {spread([one.bare for one in found])} s"
    healthz, server = [one.healthz for one in found], [one.server for one in found]
    print(f"\nStarts, in seconds: {spread(healthz)}; {machine}.")
    how = (
        f"median of {START_ROUNDS} spawns of `atoll serve`, empty state, warm page cache, one core; {machine}"
    )
    return [
        filled(HEALTHZ, median(healthz), f"{how}; GET /healthz {spread(healthz)}", limit=1.0),
        filled(SHOWN, median(server), f"{how}; token, search and forward {spread(server)}", limit=1.0),
        filled(
            MEMORY,
            max(one.resident_mb for one in found),
            f"VmRSS {measure.SETTLE_SECONDS:g} s after the first answer, largest of {START_ROUNDS}",
            limit=120.0,
        ),
    ]


def requests(targets: Mapping[str, Target], site: int, cores: Cores, settings: Settings) -> list[Entry]:
    """What a request costs, Atoll beside its peers, thing by thing. Raises NotStarted and LoadFailed."""
    entries = []
    for thing in THINGS:
        asked = {
            name: peers.visited(changed(one, path=thing.at_site if name == "HAProxy" else thing.at_atoll))
            for name, one in targets.items()
        }
        costs = measure.cost(asked, cores, CPU_ROUNDS, spare=CPU_SPARE)
        direct, added = measure.latency(asked, (site, thing.at_site), cores, LATENCY_ROUNDS)
        rows = {name: (cost, spread(added[name], 0)) for name, cost in costs.items()}
        if thing is SERVER:
            rows |= _naive(cores, settings, median(direct))
        print(
            f"\n{_a(thing).capitalize()}. Median straight to the site, one connection: "
            f"{spread(direct, 0)} us.\n"
        )
        print(_table(rows))
        for name, (one, _) in rows.items():
            if min(one.busy) < BUSY:
                print(f"Not saturated: {name}'s core was only {min(one.busy):.0%} busy in one of its rounds.")
        cpu, slower = BY_ID[thing.name]
        entries.append(cpu_entry(costs["Atoll"], costs["HAProxy"], cpu))
        entries.append(_latency_entry(added["Atoll"], added["HAProxy"], slower))
    resident = targets["Atoll"].process.resident_mb()
    print(f"\nAtoll's resident memory after the load: {resident:.0f} MB.")
    return entries


def _naive(cores: Cores, settings: Settings, direct: float) -> dict[str, tuple[Cost, str]]:
    """What a server costs by the proxies that anybody would write first."""
    rows = {}
    for name, begin in (("aiohttp", peers.aiohttp), ("Flask + requests", peers.flask)):
        cost, median_us = measure.once(begin, settings(name.split()[0]), cores)
        rows[name] = (cost, f"{median_us - direct:.0f}")
    return rows


def cpu_entry(ours: Cost, theirs: Cost, of: Entry = CPU) -> Entry:
    """The entry of what a request costs; a goal reached on a core that was idle at times stays open."""
    each = ratios(ours.cpu_us, theirs.cpu_us)
    busy, own = min(*ours.busy, *theirs.busy), min(*ours.own, *theirs.own)
    how = (
        f"user+sys of the process over the requests answered, {COUNT} by turns, "
        f"{measure.CONNECTIONS} connections, medians of "
        f"{CPU_ROUNDS} rounds by turns, load and sites on cores kept awake; ratio {spread(each)}; "
        f"the core at least {busy:.0%} busy, {own:.0%} with the proxy; Python {python_version()}; "
        f"{load_average()}"
    )
    entry = filled(of, median(ours.cpu_us), how, limit=2.0, peer=median(theirs.cpu_us), ratio=median(each))
    if busy < BUSY:
        # Waiting and waking make each request dearer, most for the faster one: a goal that is missed so is
        # missed, one that is reached so is not proven.
        met = None if entry.met else False
        return replace(entry, met=met, how=f"{how}: less busy than the {BUSY:.0%} that it takes")
    return entry


def _latency_entry(ours: list[float], theirs: list[float], of: Entry) -> Entry:
    how = (
        f"wrk, one connection, median through the proxy less median straight to the site, medians of "
        f"{LATENCY_ROUNDS} rounds by turns; Atoll {spread(ours, 0)}, HAProxy {spread(theirs, 0)}"
    )
    peer = median(theirs)
    return filled(of, median(ours), how, limit=3.0, peer=peer, ratio=median(ours) / peer)


def _table(rows: Mapping[str, tuple[Cost, str]]) -> str:
    reference = median(rows["HAProxy"][0].cpu_us)
    return table(
        ("proxy", "CPU us/request", "x HAProxy", "requests/s", "core busy", "by it", "added p50 us"),
        [
            (
                name,
                spread(cost.cpu_us, 1),
                f"{median(cost.cpu_us) / reference:.2f}",
                f"{median(cost.rate):.0f}",
                f"{min(cost.busy):.0%}",
                f"{median(cost.own):.0%}",
                added,
            )
            for name, (cost, added) in rows.items()
        ],
    )
