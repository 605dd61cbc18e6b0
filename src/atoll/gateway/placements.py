"""What placing a create has to know: a project's home, where projects begin, what each site took lately.

All of it is read from the table that the gateways share, by indexes, so a create costs the same however many
locations there are, and any process comes to the same choice. In memory is only what is on its way.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from atoll.store import Made, Store, StoreError

PLACED_TYPES: Final = (
    "server",
    "volume",
    "snapshot",
    "network",
    "subnet",
    "port",
    "router",
    "security_group",
    "floatingip",
)
"""What a project has somewhere for its next things to join: not the images it may use anywhere."""

BEGINNING_TYPES: Final = tuple(one for one in PLACED_TYPES if one != "security_group")
"""What shows on record where a project began: every site makes a security group for whoever looks at them."""

LOAD_TYPES: Final = ("server", "volume", "network")
"""What a site's load is counted by: what projects begin with, and what weighs."""

LATELY_SECONDS: Final = 3600.0
"""How far back load is counted, so that every site gets its share of each hour."""

FOLLOW_SECONDS: Final = 60.0
"""A project that begins so long after another has nothing to do with it."""

LOAD_SECONDS: Final = 1.0
"""How old the load of the other processes may be; what this one places counts at once."""

HOMES: Final = 100_000
"""Projects whose last create is remembered until it is on record, which takes seconds."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known for placing a project's create. Sites are named; empty is none."""

    project: str
    home: str = ""
    """Where the project's last thing went."""
    of_project: Mapping[str, int] = field(default_factory=dict)
    """How many things it has at each site, read where it has no home."""
    load: Mapping[str, int] = field(default_factory=dict)
    """How much was made at each site in the last hour."""
    beginning: str = ""
    """Where the last project began, read where this one begins."""


class Placements:
    """The facts, and the choices of this process that are not on record yet. `now` is seconds since 1970."""

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._homes: OrderedDict[str, Made] = OrderedDict()
        self._beginning: Made | None = None
        self._load: Counter[str] = Counter()
        self._load_at = 0.0

    async def facts(self, project: str) -> Facts:
        """What a choice for a project needs. A failing store is logged; what is in memory has to do then."""
        of_project: Mapping[str, int] = {}
        home = beginning = None
        try:
            await self._count()
            home = await self._store.newest_of(project, BEGINNING_TYPES)
            if home is None and project not in self._homes:
                of_project = await self._store.count_by_site_of_project(project, PLACED_TYPES)
                since = self._now() - FOLLOW_SECONDS
                beginning = await self._store.newest_beginning(BEGINNING_TYPES, since=since)
        except StoreError as error:
            _log.warning("counts_not_read", reason=str(error)[:256])
        # Memory is looked at after every wait: another request may have been placed meanwhile.
        home = _later(self._homes.get(project), home)
        if home is not None:
            return Facts(project, home=home.site, load=self._load)
        last = _later(self._beginning, beginning)
        follow = last.site if last is not None and self._now() - last.at < FOLLOW_SECONDS else ""
        return Facts(project, of_project=of_project, load=self._load, beginning=follow)

    def chosen(self, facts: Facts, resource: str, site: str) -> None:
        """Take in what was chosen by some facts, before the create is sent."""
        made = Made(site, self._now())
        if not facts.home and facts.project not in self._homes:
            self._beginning = made
        self._homes[facts.project] = made
        self._homes.move_to_end(facts.project)
        if len(self._homes) > HOMES:
            self._homes.popitem(last=False)
        if resource in LOAD_TYPES:
            self._load[site] += 1

    async def _count(self) -> None:
        now = self._now()
        if now - self._load_at < LOAD_SECONDS:
            return
        # Before the wait: one request reads, the others go on with what is there.
        self._load_at = now
        self._load = Counter(await self._store.count_made(LOAD_TYPES, since=now - LATELY_SECONDS))


def _later(one: Made | None, other: Made | None) -> Made | None:
    if one is None or other is None:
        return one or other
    return one if one.at >= other.at else other
