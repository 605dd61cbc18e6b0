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
should precede takes that one's rank (`Order.effective`), and so each site's order stands. More is read than
one page shows, so what items are is looked at as late as can be, a part of a site's page at a time.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec

from atoll.core.errors import BadSiteAnswer
from atoll.core.merge_source import Describes, Need, Source
from atoll.core.order import Direction, Order, SortKey

T = TypeVar("T")

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

NEWS: Final = 3
"""So many items more than the last time a site is asked for, and a tenth: some have come and gone since."""

DEFAULT_MAX_PAGE: Final = 1000
"""Items in one request to a site: the services' own default maximum."""


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
    taken: dict[str, int]
    """Per site how many items were taken from it, copies that are not shown too."""
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
    lists of shared kinds, whose keys may differ by site, see `core.whole`). `shares` are how many items were
    taken from each site for this very page the last time: the first round asks accordingly.
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
        shares: Mapping[str, int] | None = None,
    ) -> None:
        starts, before = markers or {}, earlier or {}
        self._order = Order([direction for _, direction in sort])
        levels = {site: self._order.rank(one) for site, one in (keys or {}).items()}
        self._sources = [
            Source[T](site, place, [*before.get(site, ()), starts.get(site)], levels.get(site))
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
        self._due = self._read = self._dropped = self._copies = self._rounds = 0
        self._shares = shares or {}
        self._items: list[T] = []
        self._ids: list[str] = []
        self._origins: list[str] = []

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
        if self._limit is not None and len(self._ids) >= self._limit:
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
        asks = self._first_round() if self._rounds == 1 else self._further_round()
        self._due = len(asks)
        return [source.ask(size, self._max_page) for source, size in asks]

    def _first_round(self) -> list[tuple[Source[T], int]]:
        """Of whom to ask how much while nothing is known: what each had the last time, or all the same."""
        sources, remaining = self._sources, self._remaining()
        if self._limit is None:
            return [(source, self._max_page) for source in sources]
        each, mean = _first_ask(remaining, len(sources)), math.ceil(remaining / len(sources))
        asks = []
        for source in sources:
            share = self._shares.get(source.site)
            if self._searched is None:
                source.part = (mean if share is None else share) + 1
            asks.append((source, each if share is None else min(remaining, share + share // 10 + NEWS)))
        return asks

    def _further_round(self) -> list[tuple[Source[T], int]]:
        """Of whom to ask how much when the page is not full and some have no more items that are known."""
        remaining = self._remaining()
        first = [source for source in self._sources if source.blocks]
        wanted, most = self._with_copies(remaining)
        each = _first_ask(wanted, len(first)) if self._limit is not None else self._max_page
        each = min(each, most)
        asks = [(source, each) for source in first]
        in_all = wanted + len(self._ids) + self._dropped
        left = max(READ_FACTOR * in_all, READ_FLOOR) - self._read - each * len(first)
        least = 0 if self._rounds < 3 else remaining * 2 ** min(self._rounds - 3, _MAX_DOUBLINGS)
        # Of a big page a few items more are not worth the look at all that is known.
        if in_all <= READ_FLOOR or max(left, least) * 4 >= remaining:
            behind = self._run_dry(wanted)
            share = max(left // len(behind), math.ceil(least / len(behind))) if behind else 0
            asks += [(source, min(wanted - rank, most, share)) for rank, source in behind if share > 0]
        return asks

    def feed(
        self,
        site: str,
        items: Sequence[T],
        described: Describes,
        *,
        more: bool,
    ) -> None:
        """Take what a site answered to its last request.

        `more` says whether the site has a next page; only that tells, a short page does not (a site may have
        a smaller maximum of its own). A site that says `more` and does not get on takes no further part, nor
        does one whose items turn out to be none, once they are looked at.
        """
        source = self._by_name[site]
        if not source.asked:
            return
        self._read += len(items)
        try:
            source.take_in(items, described, more=more)
            source.describe(source.part, self._order)
            source.part = None
        except BadSiteAnswer as error:
            source.fail(str(error))
        source.asked = False
        self._answered()

    def lost(self, site: str) -> bool:
        """Take that a site no longer knows the item it was to go on after: it is asked after one before that.

        False, and nothing happens, where there is none.
        """
        source = self._by_name[site]
        try:
            source.describe(None, self._order)
        except BadSiteAnswer:
            return False
        if not source.lose():
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
            items=self._items,
            ids=self._ids,
            origins=self._origins,
            markers={source.site: source.taken[-1] for source in self._sources if source.failed is None},
            earlier={source.site: source.taken[:-1] for source in self._sources if source.failed is None},
            keys={
                source.site: self._order.keys(source.level)
                for source in self._sources
                if source.failed is None and source.level is not None
            },
            more=any(source.known or source.more for source in self._sources),
            missing={source.site: source.failed for source in self._sources if source.failed is not None},
            taken={source.site: source.at for source in self._sources},
            marker_found=self._searched is None,
            seen=frozenset(self._seen),
        )

    def _answered(self) -> None:
        """One answer fewer is due; after the last of a round, take what can be taken."""
        self._due -= 1
        turn = 0
        while not (self._due or self.complete or self._blocked):
            for source in self._sources:
                if source.later and source.runs_short(turn):
                    self._describe(source, None)
            if not self._blocked:  # what is looked at may turn out to have been on a page already
                self._take()
            turn += 1

    @property
    def _blocked(self) -> bool:
        return any(source.blocks for source in self._sources)

    def _describe(self, source: Source[T], most: int | None) -> None:
        try:
            source.describe(most, self._order)
        except BadSiteAnswer as error:
            source.fail(str(error))

    def _take(self) -> None:
        """Take items in merged order until the page is full or it is not known what a site has next."""
        ahead = _Ahead(self._sources, self._order)
        at, end = 0, ahead.end
        one_by_one = any(source.told_apart for source in self._sources)
        while at < end and (one_by_one or self._searched is not None or self._to_skip or self._before):
            if len(self._ids) == self._limit:
                return
            self._take_one(ahead.owner(at))
            at += 1
        if self._limit is not None:
            end = min(end, at + self._limit - len(self._ids))
        items, ids, origins = ahead.columns(at, end)
        self._items += items
        self._ids += ids
        self._origins += origins
        for site, count in Counter(origins).items():
            self._by_name[site].at += count

    def _take_one(self, source: Source[T]) -> None:
        at = source.at
        source.at += 1
        if self._is_shown(source, at):
            self._items.append(source.items[at])
            self._ids.append(source.ids[at])
            self._origins.append(source.site)
        else:
            self._dropped += 1

    def _is_shown(self, source: Source[T], at: int) -> bool:
        if self._before is not None:
            if self._order.precedes((source.ranks[at], source.place), self._before):
                return False
            self._before = None
        identity = source.identities[at]
        known = identity is not None and identity in self._seen
        if identity is not None:
            self._seen.add(identity)
        if self._searched is not None:
            if self._searched in {source.ids[at], identity}:
                self._searched = None
            return False
        if known:
            self._copies += 1
            return False
        if self._to_skip:
            self._to_skip -= 1
            return False
        return True

    def _remaining(self) -> int:
        """How many items in merged order the page may still need."""
        if self._limit is None:
            return self._max_page
        remaining = self._limit - len(self._ids) + self._to_skip
        if self._searched is not None:  # nobody knows how far: each round reads as much again
            remaining += max(self._limit, min(self._dropped, LOOK_AHEAD * self._limit))
        return remaining

    def _with_copies(self, remaining: int) -> tuple[int, int]:
        """(how many items, copies too, the page may still take; of one site), going by those taken so far."""
        if not (self._ids and self._copies):
            return remaining, self._max_page
        wanted = math.ceil(remaining * (1 + self._copies / len(self._ids)))
        return wanted, remaining + remaining // 10 + NEWS

    def _run_dry(self, within: int) -> list[tuple[int, Source[T]]]:
        """Give the sites that run out of known items within the next `within`, by when they do.

        A dry run of `_take` that passes the sites whose next item is not known.
        """
        while True:
            ahead = _Ahead(self._sources, self._order)
            dry = [(at + 1, ahead.owner(at)) for at in ahead.lasts if at < within - 1]
            unsure = [source for _, source in dry if source.later]
            if not unsure:
                return dry
            for source in unsure:
                self._describe(source, None)


class _Ahead(Generic[T]):
    """What is described of all sources and not taken, in merged order.

    `lasts` are the places of the last item of each source that may have others after it, and in front of the
    first of them is the `end` of what can be taken.
    """

    def __init__(self, sources: Sequence[Source[T]], order: Order) -> None:
        ranks: list[Any] = []
        self._owners: list[Source[T]] = []
        self._items: list[T] = []
        self._ids: list[str] = []
        self._sites: list[str] = []
        lasts = set()
        for source in sources:
            if count := source.ahead:
                ranks += source.ranks[source.at :]
                self._owners += [source] * count
                self._items += source.items[source.at : len(source.ranks)]
                self._ids += source.ids[source.at :]
                self._sites += [source.site] * count
                if source.more or source.later:
                    lasts.add(len(ranks) - 1)
        self._merged = order.sorted(ranks)
        self.lasts = [at for at, one in enumerate(self._merged) if one in lasts] if lasts else []
        self.end = self.lasts[0] + 1 if self.lasts else len(ranks)

    def owner(self, at: int) -> Source[T]:
        """Whose an item is."""
        return self._owners[self._merged[at]]

    def columns(self, start: int, stop: int) -> tuple[list[T], list[str], list[str]]:
        """Some of them: the items, their ids, their sites."""
        taken = self._merged[start:stop]
        return (
            [self._items[one] for one in taken],
            [self._ids[one] for one in taken],
            [self._sites[one] for one in taken],
        )


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
