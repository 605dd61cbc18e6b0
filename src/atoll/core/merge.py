"""One list over many sites: a k-way merge that says which pages it needs and is fed with them. Sends nothing.

    walk = Walk(sites, sort=[("created_at", "desc")], limit=1000, describe=describe)
    while needs := walk.needs():
        for need in needs: ... ask the site, in parallel ...
            walk.feed(need.site, items, more=there_is_a_next_link)   # or walk.fail(need.site, reason)
    walk.page()

A site's order is taken as it comes and never re-sorted, since services break ties by what nobody sees. Only
the heads are compared, on the sort keys; ties go by site order. How much is asked of whom is the other half
of the work: see `_first_ask` and `Walk.needs`.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

Direction = Literal["asc", "desc"]
SortKey = str | int | float | None

READ_FACTOR: Final = 3
"""How many items may be read for one answered, where the layout of the data leaves a choice."""

SLACK: Final = 3.5
"""Standard deviations above the mean share that the first round asks of each site.

With 100 sites and a page of 1000 randomly spread items, nearly every page is then done in one round."""

_MAX_DOUBLINGS: Final = 20  # more would make no difference, only big numbers

DEFAULT_MAX_PAGE: Final = 1000
"""Items in one request to a site: the services' own default maximum."""


class Described(NamedTuple):
    """What the merge has to know about an item."""

    id: str
    """What the site takes as marker."""
    keys: tuple[SortKey, ...]
    """The values of the sort keys, in their order; None for null."""
    identity: Hashable = None
    """For shared kinds: what makes copies one. None: it is nobody's copy."""


class Need(NamedTuple):
    """A request the walk needs next."""

    site: str
    marker: str | None
    limit: int


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page over sites, and where each site stands after it."""

    items: list[T]
    origins: list[str]
    """The site of each item."""
    markers: dict[str, str | None]
    """Per site the last id taken from it on this or an earlier page (None: none yet): the next page's
    start."""
    more: bool
    """Whether a site has, or says it has, items after this page."""
    missing: dict[str, str]
    """Sites that took no (further) part, with the reason."""
    marker_found: bool
    """False if the walk was to start after an item that no site has."""


class Walk(Generic[T]):
    """A walk over the lists of several sites, up to one page of the merged list.

    `sites` are in site order. `describe` is called once per item. `limit` None means everything there is.
    `markers` start each site where an earlier page ended. Without them, `after` walks from the start and
    drops everything up to and including the item of that id; `offset` drops that many items. Items with an
    identity in `seen`, or met before on this walk, are dropped: the first in the merged order stays, the
    first site's on a tie (for lists of shared kinds, whose keys may differ by site, see `merge_whole`).
    """

    def __init__(  # noqa: PLR0913 - one argument per query parameter of a list
        self,
        sites: Sequence[str],
        *,
        sort: Sequence[tuple[str, Direction]],
        limit: int | None,
        describe: Callable[[T], Described],
        markers: Mapping[str, str | None] | None = None,
        after: str | None = None,
        offset: int = 0,
        max_page: int = DEFAULT_MAX_PAGE,
        seen: Sequence[Hashable] = (),
    ) -> None:
        starts = markers or {}
        self._sources = [_Source[T](site, place, starts.get(site)) for place, site in enumerate(sites)]
        self._by_name = {source.site: source for source in self._sources}
        self._descending = tuple(direction == "desc" for _, direction in sort)
        self._limit = limit
        self._describe = describe
        self._max_page = max(1, max_page)
        self._searched, self._to_skip = after, offset
        self._seen = set(seen)
        self._read = self._dropped = self._rounds = 0
        self._page: list[tuple[T, str]] = []
        # The next known item of each site that has one, and the sites whose next item is not known.
        self._heads: list[tuple[tuple[Any, ...], int]] = []
        self._blocking = set(range(len(self._sources)))

    @property
    def rounds(self) -> int:
        """How many rounds of requests it took so far."""
        return self._rounds

    @property
    def items_read(self) -> int:
        """How many items the sites sent so far."""
        return self._read

    @property
    def complete(self) -> bool:
        """Whether the page is full, or no site has any more."""
        if self._limit is not None and len(self._page) >= self._limit:
            return True
        return not self._heads and not self._blocking

    def needs(self) -> list[Need]:
        """Give the next requests, to be made at once; none when the page is complete or answers are due.

        Nothing can be taken past a site whose next item is not known. After the first round the sites that
        would run dry within this page are asked for more: the one that blocks for all it could have in the
        page, those behind it for a share of what may still be read, which doubles with each round.
        """
        if self.complete or any(source.asked for source in self._sources):
            return []
        self._rounds += 1
        remaining = self._remaining()
        dry = self._run_dry(remaining)
        first_rank = dry[0][0]
        first = [source for rank, source in dry if rank == first_rank]
        wanted = remaining - first_rank
        each = _first_ask(wanted, len(first)) if self._limit is not None else self._max_page
        asks = [(source, each) for source in first]
        behind = dry[len(first) :]
        if behind:
            in_all = remaining + len(self._page) + self._dropped
            left = READ_FACTOR * in_all - self._read - each * len(first)
            least = remaining * 2 ** min(self._rounds - 3, _MAX_DOUBLINGS)
            share = math.ceil(max(left, least) / len(behind))
            asks += [(source, min(remaining - rank, share)) for rank, source in behind]
        return [source.ask(min(size, self._max_page)) for source, size in asks]

    def feed(self, site: str, items: Sequence[T], *, more: bool, next_marker: str | None = None) -> None:
        """Take what a site answered to its last request.

        `more` says whether the site has a next page; only that tells, a short page does not (a site may have
        a smaller maximum of its own). `next_marker` is the marker of the site's next link where it has one. A
        site that says `more` and does not get on takes no further part.
        """
        source = self._by_name[site]
        if not source.asked:
            return
        self._read += len(items)
        described = [self._describe(item) for item in items]
        marker = next_marker or (described[-1].id if described else None)
        source.asked = False
        if more and (marker is None or marker == source.fetched):
            source.fail("its list does not get on: the next page starts where this one did")
        else:
            source.fetched, source.more = marker, more
            was_dry = not source.buffer
            source.buffer.extend(
                (self._rank(d.keys), d, item) for d, item in zip(described, items, strict=True)
            )
            if was_dry and source.buffer:
                heapq.heappush(self._heads, (source.buffer[0][0], source.place))
        self._settle(source)
        self._take()

    def fail(self, site: str, reason: str) -> None:
        """Leave the site out of the rest of the walk; what was taken from it stays."""
        source = self._by_name[site]
        source.fail(reason)
        self._settle(source)
        self._take()

    def page(self) -> Page[T]:
        """Give the page as far as it is known; whole once `complete`."""
        return Page(
            items=[item for item, _ in self._page],
            origins=[site for _, site in self._page],
            markers={source.site: source.taken for source in self._sources if source.failed is None},
            more=any(source.buffer or source.more for source in self._sources),
            missing={source.site: source.failed for source in self._sources if source.failed is not None},
            marker_found=self._searched is None,
        )

    def _settle(self, source: "_Source[T]") -> None:
        """Put down whether the site's next item is known, after anything happened to it."""
        if source.more and not source.buffer:
            self._blocking.add(source.place)
        else:
            self._blocking.discard(source.place)
        if source.failed is not None:
            self._heads = [head for head in self._heads if head[1] != source.place]
            heapq.heapify(self._heads)

    def _take(self) -> None:
        """Take items in merged order until the page is full or a site's next item is not known."""
        while self._heads and not self._blocking and not self.complete:
            self._take_from(self._sources[self._heads[0][1]])

    def _take_from(self, source: "_Source[T]") -> None:
        """Take the next item of the site whose head comes first."""
        _, described, item = source.buffer.popleft()
        source.taken = described.id
        if source.buffer:
            heapq.heapreplace(self._heads, (source.buffer[0][0], source.place))
        else:
            heapq.heappop(self._heads)
            self._settle(source)
        if self._is_shown(described):
            self._page.append((item, source.site))
        else:
            self._dropped += 1

    def _is_shown(self, described: Described) -> bool:
        if described.identity is not None:
            if described.identity in self._seen:
                return False
            self._seen.add(described.identity)
        if self._searched is not None:
            if described.id == self._searched:
                self._searched = None
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        return True

    def _remaining(self) -> int:
        """How many items in merged order the page may still need."""
        if self._limit is None:
            return self._max_page
        remaining = self._limit - len(self._page) + self._to_skip
        if self._searched is not None:  # nobody knows how far: each round reads as much again
            remaining += max(self._limit, self._dropped)
        return remaining

    def _run_dry(self, within: int) -> list[tuple[int, "_Source[T]"]]:
        """Give the sites that run out of known items within the next `within`, by when they do.

        A dry run of `_take` that passes the sites whose next item is not known.
        """
        dry = [(0, source) for source in self._sources if source.more and not source.buffer]
        heads = list(self._heads)
        taken = [0] * len(self._sources)
        for rank in range(1, within):
            if not heads:
                break
            source = self._sources[heads[0][1]]
            taken[source.place] += 1
            if taken[source.place] < len(source.buffer):
                heapq.heapreplace(heads, (source.buffer[taken[source.place]][0], source.place))
                continue
            heapq.heappop(heads)
            if source.more:
                dry.append((rank, source))
        return dry

    def _rank(self, keys: tuple[SortKey, ...]) -> tuple[Any, ...]:
        return tuple(
            _Descending(_component(key)) if descending else _component(key)
            for key, descending in zip(keys, self._descending, strict=True)
        )


def merge_whole(
    lists: Mapping[str, Sequence[T]],
    *,
    sort: Sequence[tuple[str, Direction]],
    describe: Callable[[T], Described],
    limit: int | None = None,
    after: str | None = None,
    offset: int = 0,
) -> Page[T]:
    """Merge lists that are known in full, given in site order; of copies the first site's stays.

    For shared kinds: copies may have other values at other sites (`created_at`), so which one is shown can
    only be said once every list is known. `after` and `limit` then cut a page out.
    """
    seen: set[Hashable] = set()
    walk = Walk[T](
        list(lists), sort=sort, limit=limit, describe=describe, after=after, offset=offset, max_page=1
    )
    walk.needs()
    for site, items in lists.items():
        kept = []
        for item in items:
            identity = describe(item).identity
            if identity is None or identity not in seen:
                kept.append(item)
                seen.add(identity)
        walk.feed(site, kept, more=False)
    return walk.page()


class _Source(Generic[T]):
    """One site of a walk."""

    def __init__(self, site: str, place: int, marker: str | None) -> None:
        self.site, self.place = site, place
        self.buffer: deque[tuple[tuple[Any, ...], Described, T]] = deque()
        self.fetched = self.taken = marker
        self.more = True  # until the site says otherwise
        self.asked = False
        self.failed: str | None = None

    def ask(self, limit: int) -> Need:
        self.asked = True
        return Need(self.site, self.fetched, limit)

    def fail(self, reason: str) -> None:
        self.failed = reason
        self.more = self.asked = False
        self.buffer.clear()


def _first_ask(wanted: int, sites: int) -> int:
    """Give how much to ask of each of `sites` for `wanted` items in all: the mean share and slack.

    The slack covers the spread of randomly distributed items, but never makes the round read more than
    `READ_FACTOR` times what is wanted, as long as everyone is asked for a little more than the mean.
    """
    if sites == 1:
        return wanted
    mean = wanted / sites
    ample = math.ceil(mean + SLACK * math.sqrt(mean)) + 1
    frugal = max(READ_FACTOR * wanted // sites, math.ceil(mean) + 1)
    return max(1, min(ample, frugal, wanted))


def _component(key: SortKey) -> tuple[Any, ...]:
    """Order one value as MySQL's default collations do: null first, text without regard to case."""
    if key is None:
        return (0,)
    if isinstance(key, str):
        return (2, key.casefold())
    return (1, key)


class _Descending:
    """Turns the order of a value round."""

    __slots__ = ("value",)

    def __init__(self, value: tuple[Any, ...]) -> None:
        self.value = value

    def __lt__(self, other: "_Descending") -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)
