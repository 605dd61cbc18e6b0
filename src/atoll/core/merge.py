"""One list over many sites: a k-way merge that says which pages it needs and is fed with them. Sends nothing.

    walk = Walk(sites, sort=[("created_at", "desc")], limit=1000)
    while needs := walk.needs():
        for need in needs: ... ask the site, in parallel ...
            walk.feed(need.site, items, described, more=there_is_a_next_link)  # or walk.fail(site, why)
    walk.page()

A site's order is taken as it comes and never re-sorted, since services break ties by what nobody sees. Only
the heads are compared, on the sort keys; ties go by site order. How much is asked of whom is the other half
of the work: see `_first_ask` and `Walk.needs`.

The merge itself is one stable sort, in C, of what the sites sent: an item that its site lists behind one it
should precede takes that one's rank (`_effective`), and so each site's order stands.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

Direction = Literal["asc", "desc"]
SortKey = str | int | float | None

READ_FACTOR: Final = 3
"""How many items may be read for one answered, where the layout of the data leaves a choice.

One of them is kept for the second round, in which one site may turn out to have the whole page."""

READ_FLOOR: Final = 400
"""So many items may be read for however small a page: they cost less than another round."""

SLACK: Final = 3.5
"""Standard deviations above the mean share that the first round asks of each site.

With a few sites and a page of 1000 randomly spread items, nearly every page is then done in one round."""

LOOK_AHEAD: Final = 10
"""How many pages a walk up to a marker may read at once: what it drops must not fill the memory."""

_MAX_DOUBLINGS: Final = 20  # more would make no difference, only big numbers

TRAIL: Final = 3
"""How many items before a marker are remembered, in case it is deleted while a client reads the page."""

DEFAULT_MAX_PAGE: Final = 1000
"""Items in one request to a site: the services' own default maximum."""


class Described(NamedTuple):
    """What the merge has to know about the items of a page: a value for each, in their order."""

    ids: Sequence[str]
    """What the site takes as marker."""
    keys: Sequence[Sequence[SortKey]]
    """For each sort key in turn its values; None for null."""
    identities: Sequence[Hashable] | None = None
    """For shared kinds: what makes copies one. None: it is nobody's copy."""


class Need(NamedTuple):
    """A request the walk needs next."""

    site: str
    marker: str | None
    limit: int


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page over sites, and where each site stands after it."""

    items: list[T]
    ids: list[str]
    origins: list[str]
    """The site of each item."""
    markers: dict[str, str | None]
    """Per site the last id taken from it on this or an earlier page (None: none yet): the next page's
    start."""
    earlier: dict[str, list[str | None]]
    """Per site some ids taken before that one, oldest first (None: its list's start): where to start if the
    marker is gone by then."""
    keys: dict[str, list[SortKey]]
    """Per site the sort keys that its last item counted by; none where nothing was taken."""
    more: bool
    """Whether a site has, or says it has, items after this page."""
    missing: dict[str, str]
    """Sites that took no (further) part, with the reason."""
    marker_found: bool
    """False if the walk was to start after an item that no site has."""
    seen: frozenset[Hashable]
    """The identities shown on this or an earlier page."""


class Walk(Generic[T]):
    """A walk over the lists of several sites, up to one page of the merged list.

    `sites` are in site order. `limit` None means everything there is. `markers`, `earlier` and `keys` start
    each site where an earlier page ended, with an item of the site `last`: what has come to stand before that
    one since is not shown. Without them, `after` walks from the start and drops everything up to
    and including the item of that id; `offset` drops that many items. Items with an identity in `seen`, or
    met before on this walk, are dropped: the first in the merged order stays, the first site's on a tie (for
    lists of shared kinds, whose keys may differ by site, see `merge_whole`).
    """

    def __init__(  # noqa: PLR0913 - one argument per query parameter of a list
        self,
        sites: Sequence[str],
        *,
        sort: Sequence[tuple[str, Direction]],
        limit: int | None,
        markers: Mapping[str, str | None] | None = None,
        earlier: Mapping[str, Sequence[str | None]] | None = None,
        keys: Mapping[str, Sequence[SortKey]] | None = None,
        last: str | None = None,
        after: str | None = None,
        offset: int = 0,
        max_page: int = DEFAULT_MAX_PAGE,
        seen: Iterable[Hashable] = (),
    ) -> None:
        starts, before = markers or {}, earlier or {}
        self._order = _Order([direction for _, direction in sort])
        levels = {site: self._order.rank(one) for site, one in (keys or {}).items()}
        self._sources = [
            _Source[T](site, place, [*before.get(site, ()), starts.get(site)], levels.get(site))
            for place, site in enumerate(sites)
        ]
        self._by_name = {source.site: source for source in self._sources}
        # The last item of the page before, until an item after it is met.
        self._before: tuple[Any, int] | None = None
        if last in levels and last in self._by_name:
            self._before = levels[last], self._by_name[last].place
        self._limit = limit
        self._max_page = max(1, max_page)
        self._searched, self._to_skip = after, offset
        self._seen = set(seen)
        self._due = self._read = self._dropped = self._rounds = 0
        self._page: list[tuple[T, str, str]] = []
        # Of each item in merged order that is known but not taken, the source.
        self._ahead: list[_Source[T]] = []

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
        return not any(source.more or source.known for source in self._sources)

    def needs(self) -> list[Need]:
        """Give the next requests, to be made at once; none when the page is complete or answers are due.

        Nothing can be taken past a site whose next item is not known. After the first round the sites that
        would run dry within this page are asked for more: the one that blocks for all it could have in the
        page, those behind it for a share of what may still be read, and for more from the third round on.
        """
        if self._due or self.complete:
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
            left = max(READ_FACTOR * in_all, READ_FLOOR) - self._read - each * len(first)
            least = 0 if self._rounds < 3 else remaining * 2 ** min(self._rounds - 3, _MAX_DOUBLINGS)
            share = max(left // len(behind), math.ceil(least / len(behind)))
            asks += [(source, min(remaining - rank, share)) for rank, source in behind if share > 0]
        self._due = len(asks)
        return [source.ask(min(size, self._max_page)) for source, size in asks]

    def feed(
        self,
        site: str,
        items: Sequence[T],
        described: Described,
        *,
        more: bool,
    ) -> None:
        """Take what a site answered to its last request.

        `more` says whether the site has a next page; only that tells, a short page does not (a site may have
        a smaller maximum of its own). A site that says `more` and does not get on takes no further part.
        """
        source = self._by_name[site]
        if not source.asked:
            return
        self._read += len(items)
        if more and (not described.ids or described.ids[-1] == source.resume[-1]):
            source.fail("its list does not get on: the next page starts where this one did")
        else:
            source.take_in(items, described, self._order)
            source.more = more
        source.asked = False
        self._answered()

    def lost(self, site: str) -> bool:
        """Take that a site no longer knows the item it was to go on after: it is asked after one before that.

        False, and nothing happens, where there is none.
        """
        if not self._by_name[site].lose():
            return False
        self._answered()
        return True

    def fail(self, site: str, reason: str) -> None:
        """Leave the site out of the rest of the walk; what was taken from it stays."""
        source = self._by_name[site]
        self._due += not source.asked
        source.fail(reason)
        self._answered()

    def page(self) -> Page[T]:
        """Give the page as far as it is known; whole once `complete`."""
        return Page(
            items=[item for item, _, _ in self._page],
            ids=[one for _, one, _ in self._page],
            origins=[site for _, _, site in self._page],
            markers={source.site: source.taken[-1] for source in self._sources if source.failed is None},
            earlier={source.site: source.taken[:-1] for source in self._sources if source.failed is None},
            keys={
                source.site: self._order.keys(source.level)
                for source in self._sources
                if source.failed is None and source.level is not None
            },
            more=any(source.known or source.more for source in self._sources),
            missing={source.site: source.failed for source in self._sources if source.failed is not None},
            marker_found=self._searched is None,
            seen=frozenset(self._seen),
        )

    def _answered(self) -> None:
        """One answer fewer is due; after the last of a round, take what can be taken."""
        self._due -= 1
        if not self._due:
            self._ahead = self._order.merged(self._sources)
            self._take()

    def _take(self) -> None:
        """Take items in merged order until the page is full or a site's next item is not known."""
        if any(source.blocks for source in self._sources):
            return
        page = self._page
        full = len(page) + len(self._ahead) if self._limit is None else self._limit
        taken = 0
        for source in self._ahead:
            if len(page) >= full:
                break
            taken += 1
            at = source.at
            source.at += 1
            if self._is_shown(source, at):
                page.append((source.items[at], source.ids[at], source.site))
            else:
                self._dropped += 1
            if source.blocks:
                break
        del self._ahead[:taken]

    def _is_shown(self, source: "_Source[T]", at: int) -> bool:
        if self._before is not None:
            if self._order.precedes((source.ranks[at], source.place), self._before):
                return False
            self._before = None
        identity = source.identities[at]
        if identity is not None:
            if identity in self._seen:
                return False
            self._seen.add(identity)
        if self._searched is not None:
            if source.ids[at] == self._searched:
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
            remaining += max(self._limit, min(self._dropped, LOOK_AHEAD * self._limit))
        return remaining

    def _run_dry(self, within: int) -> list[tuple[int, "_Source[T]"]]:
        """Give the sites that run out of known items within the next `within`, by when they do.

        A dry run of `_take` that passes the sites whose next item is not known.
        """
        dry = [(0, source) for source in self._sources if source.blocks]
        left = {id(source): source.known for source in self._sources if source.more}
        for rank, source in enumerate(self._ahead[: within - 1], 1):
            if source.more:
                left[id(source)] -= 1
                if not left[id(source)]:
                    dry.append((rank, source))
        return dry


def merge_whole(
    lists: Mapping[str, tuple[Sequence[T], Described]],
    *,
    sort: Sequence[tuple[str, Direction]],
    limit: int | None = None,
    after: str | None = None,
    offset: int = 0,
) -> Page[T]:
    """Merge lists that are known in full, given in site order; of copies the first site's stays.

    For shared kinds: copies may have other values at other sites (`created_at`), so which one is shown can
    only be said once every list is known. `after` and `limit` then cut a page out.
    """
    seen: set[Hashable] = set()
    walk = Walk[T](list(lists), sort=sort, limit=limit, after=after, offset=offset, max_page=1)
    walk.needs()
    for site, (items, (ids, keys, identities)) in lists.items():
        stay = []
        for at, identity in enumerate(identities or [None] * len(ids)):
            if identity is None or identity not in seen:
                stay.append(at)
                seen.add(identity)
        described = Described([ids[at] for at in stay], [[column[at] for at in stay] for column in keys])
        walk.feed(site, [items[at] for at in stay], described, more=False)
    return walk.page()


class _Source(Generic[T]):
    """One site of a walk: what is known of its list, and how far (`at`) it has been taken.

    `before` are ids from before this walk, the marker last, and `start` is the rank that this one had;
    `resume` are those after which it can be asked, the last one first. `ranks` are effective, see `_Order`.
    """

    __slots__ = (
        "asked", "at", "before", "failed", "gone", "identities", "ids", "items", "more", "place", "ranks",
        "resume", "site", "start",
    )  # fmt: skip

    def __init__(self, site: str, place: int, before: list[str | None], start: Any) -> None:
        self.site = site
        self.place = place
        self.before = before
        self.start = start
        self.resume = list(before)
        self.gone: set[str | None] = set()
        self.items: list[T] = []
        self.ids: list[str] = []
        self.ranks: list[Any] = []
        self.identities: list[Hashable] = []
        self.at = 0
        self.more = True  # until the site says otherwise
        self.asked = False
        self.failed: str | None = None

    @property
    def known(self) -> int:
        """How many items are known that are not taken."""
        return len(self.items) - self.at

    @property
    def blocks(self) -> bool:
        """Whether its next item is not known."""
        return self.more and self.at == len(self.items)

    @property
    def level(self) -> Any:
        """The rank of the last item taken, now or before; None where nothing was."""
        return self.ranks[self.at - 1] if self.at else self.start

    @property
    def taken(self) -> list[str | None]:
        """The last few ids taken, the very last one last."""
        return [*self.before, *self.ids[max(0, self.at - TRAIL - 1) : self.at]][-TRAIL - 1 :]

    def ask(self, limit: int) -> Need:
        self.asked = True
        return Need(self.site, self.resume[-1], limit)

    def lose(self) -> bool:
        """Whether there is an item before the one that the site no longer knows: it is asked after that."""
        if not self.asked or len(self.resume) < 2:
            return False
        self.asked = False
        self.gone.add(self.resume.pop())
        if not self.ids:
            self.before.pop()
        return True

    def take_in(self, items: Sequence[T], described: Described, order: "_Order") -> None:
        """Take what came. What was lost as a marker and is there after all has been on a page already."""
        ranks = order.ranks(described)
        identities = described.identities or [None] * len(items)
        if self.gone.isdisjoint(described.ids):
            self.items += items
            self.ids += described.ids
            self.identities += identities
        else:
            stay = [at for at, one in enumerate(described.ids) if one not in self.gone]
            self.items += [items[at] for at in stay]
            self.ids += [described.ids[at] for at in stay]
            self.identities += [identities[at] for at in stay]
            ranks = [ranks[at] for at in stay]
        last = self.ranks[-1:] or ([] if self.start is None else [self.start])
        self.ranks += order.effective(ranks, last)
        self.resume += described.ids

    def fail(self, reason: str) -> None:
        self.failed = reason
        self.more = self.asked = False
        for column in (self.items, self.ids, self.ranks, self.identities):
            del column[self.at :]


class _Order:
    """The order of a merged list, by the directions of its sort keys.

    Where all keys go down the whole sort is turned round, which costs nothing; where some do, each of their
    values is wrapped.
    """

    def __init__(self, directions: Sequence[Direction]) -> None:
        self._reversed = bool(directions) and "asc" not in directions
        wrapped = [way == "desc" and not self._reversed for way in directions]
        self._components = [_descending if one else _component for one in wrapped]
        self._later: Callable[[Any, Any], Any] = min if self._reversed else max

    def ranks(self, described: Described) -> list[Any]:
        """What to compare, for each item of a page."""
        columns = [
            map(component, column) for component, column in zip(self._components, described.keys, strict=True)
        ]
        if len(columns) == 1:
            return list(columns[0])
        return list(zip(*columns, strict=True)) if columns else [()] * len(described.ids)

    def rank(self, keys: Sequence[SortKey]) -> Any:
        """What to compare for one item with these sort keys."""
        return self.ranks(Described([""], [[key] for key in keys]))[0]

    def keys(self, rank: Any) -> list[SortKey]:
        """Sort keys that have a rank."""
        components = [rank] if len(self._components) == 1 else rank
        plain = [one.value if isinstance(one, _Descending) else one for one in components]
        return [one[1] if len(one) > 1 else None for one in plain]

    def precedes(self, one: tuple[Any, int], other: tuple[Any, int]) -> bool:
        """Whether an item stands before another in the merged list; each is (rank, place of its site)."""
        if one[0] == other[0]:
            return one[1] < other[1]
        return bool(one[0] > other[0]) if self._reversed else bool(one[0] < other[0])

    def effective(self, ranks: Sequence[Any], last: Sequence[Any]) -> Sequence[Any]:
        """The ranks of a site's next items as they count: never before that of the item before it."""
        return list(accumulate((*last, *ranks), self._later))[len(last) :]

    def merged(self, sources: Sequence[_Source[T]]) -> list[_Source[T]]:
        """The source of each item that is known and not taken, in merged order."""
        ranks: list[Any] = []
        owners: list[_Source[T]] = []
        for source in sources:
            ranks += source.ranks[source.at :]
            owners += [source] * source.known
        return [
            owners[one] for one in sorted(range(len(ranks)), key=ranks.__getitem__, reverse=self._reversed)
        ]


def _first_ask(wanted: int, sites: int) -> int:
    """Give how much to ask of each of `sites` for `wanted` items in all: the mean share and slack.

    The slack covers the spread of randomly distributed items. Of what may be read it leaves as much as one
    site may be asked for next, as long as everyone is asked for a little more than the mean.
    """
    if sites == 1:
        return wanted
    mean = wanted / sites
    ample = math.ceil(mean + SLACK * math.sqrt(mean)) + 1
    frugal = max((max(READ_FACTOR * wanted, READ_FLOOR) - wanted) // sites, math.ceil(mean) + 1)
    return max(1, min(ample, frugal, wanted))


def _component(key: SortKey) -> tuple[Any, ...]:
    """Order one value as MySQL's default collations do: null first, text without regard to case."""
    if key is None:
        return (0,)
    if isinstance(key, str):
        return (2, key.casefold())
    return (1, key) if isinstance(key, int | float) else (2, str(key))


def _descending(key: SortKey) -> "_Descending":
    return _Descending(_component(key))


class _Descending:
    """Turns the order of a value round."""

    __slots__ = ("value",)

    def __init__(self, value: tuple[Any, ...]) -> None:
        self.value = value

    def __lt__(self, other: "_Descending") -> bool:
        return other.value < self.value

    def __gt__(self, other: "_Descending") -> bool:
        return other.value > self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)
