"""Locations in memory, in front of the store: looked up without a wait, learnt off the request path.

The store may fail at any time without a request failing: what is not on record is searched for.
"""

import asyncio
import contextlib
import itertools
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Final, Literal, Protocol

import structlog

from atoll.store.database import StoreError
from atoll.store.records import Conflict, Location, Sighting, Source

_log = structlog.get_logger(__name__)

CACHE_SIZE: Final = 200_000
"""Locations kept in memory: about 60 MB when full."""

QUEUE_SIZE: Final = 20_000
"""Sightings that wait to be written; any more are dropped and learnt another time."""

BATCH: Final = 1000
"""Sightings written in one transaction."""

GATHER_SECONDS: Final = 0.05
"""How long sightings gather before they are written."""

PAUSE_SECONDS: Final = 1.0
"""How long to leave a failing database alone."""

LOOK_SECONDS: Final = 60.0
"""How often to read the conflicts that other processes found, and to see whether the table was lost."""

TEACH_SECONDS: Final = 3600.0
"""How long what is on record is not written again: a database that fails over may lose its last moments."""

CREATE_SECONDS: Final = 5.0
"""How long the answer to a create waits for its record: rather late than without, but not for ever."""

CLOSE_SECONDS: Final = 5.0
"""How long closing may take to write what waits."""

_LearntLater = Literal["list", "search"]
_SOURCES: Final[tuple[Source, ...]] = ("create", "list", "search")


class LocationStore(Protocol):
    """What is needed of the store; every method may raise `StoreError`."""

    async def locate(self, resource_type: str, id: str) -> Location | None:  # noqa: A002 - OpenStack's word
        """Give the location of one resource."""

    async def learn(self, sightings: Sequence[Sighting], source: Source) -> list[Conflict]:
        """Record sightings; give the conflicts."""

    async def tombstone(
        self,
        resource_type: str,
        id: str,  # noqa: A002
        *,
        site: str | None = None,
        project_id: str = "",
    ) -> bool:
        """Put down that the site has said 404, to somebody of a project; whether that is news."""

    async def conflicts(self) -> list[Conflict]:
        """Give every id that several sites claim."""

    async def forget(self, site: str) -> int:
        """Drop every location at a site."""

    async def forget_one(self, resource_type: str, id: str) -> None:  # noqa: A002 - OpenStack's word
        """Drop what is on record of one resource."""

    async def is_empty(self) -> bool:
        """Whether there is no location at all."""


class Locations:
    """The locations this process knows. `run` writes what is learnt, and has to run for that."""

    def __init__(
        self, store: LocationStore, *, cache_size: int = CACHE_SIZE, queue_size: int = QUEUE_SIZE
    ) -> None:
        self._store = store
        self._cache: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._cache_size, self._queue_size = cache_size, queue_size
        self._recorded: set[tuple[str, str]] = set()
        self._waiting: deque[tuple[Source, Sighting]] = deque()
        self._gone: deque[tuple[tuple[str, str], str, str]] = deque()
        self._conflicts: dict[tuple[str, str], tuple[str, ...]] = {}
        self._perhaps: set[tuple[str, str]] = set()  # conflicts that the store has not confirmed
        self._forgotten = 0  # how often something was: what was read before that counts no more
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self.dropped = 0
        """How many sightings were dropped because too many waited."""

    @property
    def waiting(self) -> int:
        """How many sightings and tombstones are not written yet."""
        return len(self._waiting) + len(self._gone)

    def cached(self, resource_type: str, id: str) -> str | None:  # noqa: A002
        """Give the site of a resource if it is in memory."""
        site = self._cache.get((resource_type, id))
        if site is not None:
            self._cache.move_to_end((resource_type, id))
        return site

    def recorded(self, resource_type: str, id: str) -> bool:  # noqa: A002
        """Whether what is in memory was written down, or is being, since everything was last written anew."""
        return (resource_type, id) in self._recorded

    def conflicting(self, resource_type: str, id: str) -> tuple[str, ...]:  # noqa: A002
        """Give the sites that claim an id, if it is more than one: writes to it are refused."""
        return self._conflicts.get((resource_type, id), ())

    async def find(self, resource_type: str, id: str) -> Location | None:  # noqa: A002
        """Give the location on record. A failing store is logged and None: then the sites are searched."""
        before = self._forgotten
        try:
            location = await self._store.locate(resource_type, id)
        except StoreError as exc:
            _log.warning("location_not_read", resource_type=resource_type, id=id, error=str(exc))
            return None
        if location is not None and self._forgotten == before:
            self._remember((resource_type, id), location.site)
            self._recorded.add((resource_type, id))
            if location.conflicting:
                self._conflicts[resource_type, id] = location.conflicting
        return location

    def learn(self, sightings: Iterable[Sighting], source: _LearntLater) -> None:
        """Take in what a list or a search showed; written later, dropped if too much waits.

        What is known elsewhere may be at two sites: nothing is changed there until the store has said so.
        """
        for sighting in sightings:
            key = sighting.key
            known = self._cache.get(key)
            if known == sighting.site and key in self._recorded:
                continue
            if len(self._waiting) >= self._queue_size:
                self.dropped += 1
                continue
            if known is None:
                self._remember(key, sighting.site)
            elif known != sighting.site and key not in self._conflicts:
                self._conflicts[key] = (known, sighting.site)
                self._perhaps.add(key)
            self._recorded.add(key)
            self._waiting.append((source, sighting))
        if self._waiting:
            self._wake.set()

    async def created(self, sighting: Sighting) -> bool:
        """Record what was just created, before the client is told of it.

        If the store fails, the resource is there all the same: it is logged as `location_not_recorded` and
        False, the client gets its answer, this process knows the site and writes it down later, and the
        others search for it until then.
        """
        self._remember(sighting.key, sighting.site)
        try:
            async with asyncio.timeout(CREATE_SECONDS):
                self._note(await self._store.learn([sighting], "create"))
        except (StoreError, TimeoutError) as exc:
            _log.error(
                "location_not_recorded",
                resource_type=sighting.resource_type,
                id=sighting.id,
                site=sighting.site,
                error=str(exc) or "the database did not answer in time",
            )
            if len(self._waiting) < self._queue_size:
                self._waiting.append(("create", sighting))
                self._wake.set()
            return False
        self._recorded.add(sighting.key)
        return True

    def deleted(
        self,
        resource_type: str,
        id: str,  # noqa: A002
        site: str,
        project_id: str = "",
    ) -> None:
        """Take in that the site said 404; with a `project_id` to somebody who sees no other project's things.

        Requests still go there: clients that poll a delete must see it. A list that shows it again counts.
        """
        self._recorded.discard((resource_type, id))
        if len(self._gone) < self._queue_size:
            self._gone.append(((resource_type, id), site, project_id))
            self._wake.set()

    async def forget(self, site: str) -> int:
        """Forget everything about a site, here and in the store; raises `StoreError`."""
        async with self._writing:  # what is just being written would be there again
            self._forgotten += 1
            self._recorded -= {key for key, at in self._cache.items() if at == site}
            self._cache = OrderedDict((key, at) for key, at in self._cache.items() if at != site)
            self._waiting = deque(entry for entry in self._waiting if entry[1].site != site)
            self._conflicts = {key: sites for key, sites in self._conflicts.items() if site not in sites}
            gone = await self._store.forget(site)
            self._forgotten += 1
            return gone

    async def forget_one(self, resource_type: str, id: str) -> None:  # noqa: A002 - OpenStack's word
        """Forget where one resource is, here and in the store; raises `StoreError`."""
        key = resource_type, id
        async with self._writing:
            self._forgotten += 1
            self._waiting = deque(entry for entry in self._waiting if entry[1].key != key)
            self.evict(resource_type, id)
            self._conflicts.pop(key, None)
            await self._store.forget_one(resource_type, id)
            self._forgotten += 1

    def evict(self, resource_type: str, id: str) -> None:  # noqa: A002 - OpenStack's word
        """Forget where one resource is here in memory, for it is looked up elsewhere from now on."""
        self._cache.pop((resource_type, id), None)
        self._recorded.discard((resource_type, id))

    async def run(self) -> None:
        """Write what is learnt, in batches, until cancelled."""
        loop = asyncio.get_running_loop()
        due, teach = loop.time(), loop.time() + TEACH_SECONDS
        while True:
            now = loop.time()
            if now >= teach:
                self._recorded.clear()
                teach = now + TEACH_SECONDS
            if now >= due:
                await self._look()
                due = now + LOOK_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            if self._wake.is_set():
                self._wake.clear()
                await asyncio.sleep(GATHER_SECONDS)
                await self._write_all()

    async def close(self) -> None:
        """Write what waits, as far as that is quickly done. Cancel `run` first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while self.waiting and await self.flush():
                    pass
        if self.waiting:
            _log.warning("locations_not_written", count=self.waiting)

    async def flush(self) -> bool:
        """Write one batch; on a failure of the store it goes on waiting, and the answer is False."""
        async with self._writing:
            return await self._flush()

    async def _flush(self) -> bool:
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        gone = [self._gone.popleft() for _ in range(min(BATCH, len(self._gone)))]
        written = False
        try:
            for source in _SOURCES:
                sightings = [sighting for origin, sighting in batch if origin == source]
                if sightings:
                    conflicts = await self._store.learn(sightings, source)
                    self._note(conflicts)
                    self._settle(sightings, conflicts)
            for key, site, project_id in gone:
                if await self._store.tombstone(*key, site=site, project_id=project_id):
                    continue
                location = await self._store.locate(*key)
                if location is None or location.site != site:  # another process has learnt better
                    self.evict(*key)
            written = True
        except StoreError as exc:
            _log.warning("locations_not_written", count=len(batch) + len(gone), error=str(exc))
        finally:
            if not written:  # writing a part of it twice does no harm
                self._waiting.extendleft(reversed(batch))
                self._gone.extendleft(reversed(gone))
        return written

    async def _write_all(self) -> None:
        while self.waiting:
            if not await self.flush():
                await asyncio.sleep(PAUSE_SECONDS)

    async def _look(self) -> None:
        """See what others found out, and whether the table has to be filled again."""
        before = self._forgotten
        try:
            lost = bool(self._recorded) and not self.waiting and await self._store.is_empty()
            conflicts = await self._store.conflicts()
        except StoreError as exc:
            _log.warning("conflicts_not_read", error=str(exc))
            return
        if before == self._forgotten:
            perhaps = {key: self._conflicts[key] for key in self._perhaps if key in self._conflicts}
            self._conflicts = perhaps | {(one.resource_type, one.id): one.sites for one in conflicts}
        if lost:
            _log.warning("locations_lost", count=len(self._recorded))
            self._recorded.clear()

    def _settle(self, sightings: Iterable[Sighting], conflicts: Iterable[Conflict]) -> None:
        """Take in that what the store has not contradicted is where it was seen."""
        apart = {(one.resource_type, one.id) for one in conflicts}
        for sighting in sightings:
            key = sighting.key
            if key in self._perhaps and key not in apart:
                self._conflicts.pop(key, None)
                self._remember(key, sighting.site)
            self._perhaps.discard(key)

    def _note(self, conflicts: Iterable[Conflict]) -> None:
        for conflict in conflicts:
            key = (conflict.resource_type, conflict.id)
            if key in self._perhaps or self._conflicts.get(key) != conflict.sites:
                _log.warning("location_conflict", resource_type=key[0], id=key[1], sites=conflict.sites)
            self._conflicts[key] = conflict.sites
            self._remember(key, conflict.sites[0])

    def _remember(self, key: tuple[str, str], site: str) -> None:
        self._cache[key] = site
        self._cache.move_to_end(key)
        for oldest in list(itertools.islice(self._cache, max(0, len(self._cache) - self._cache_size))):
            del self._cache[oldest]
            self._recorded.discard(oldest)
