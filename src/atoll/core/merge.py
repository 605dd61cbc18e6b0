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
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from atoll.core.errors import BadSiteAnswer
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

    def part(self, start: int, stop: int) -> "Described":
        """The same of the items from `start` to before `stop`."""
        identities = None if self.identities is None else self.identities[start:stop]
        return Described(self.ids[start:stop], [column[start:stop] for column in self.keys], identities)

    def only(self, stay: Sequence[int]) -> "Described":
        """The same of the items in these places."""
        identities = None if self.identities is None else [self.identities[at] for at in stay]
        return Described(
            [self.ids[at] for at in stay], [[column[at] for at in stay] for column in self.keys], identities
        )


class Describes(Protocol):
    """What can say of the items of a page what the merge has to know, when it has to."""

    def part(self, start: int, stop: int) -> Described:
        """Of the items from `start` to before `stop`. Raises BadSiteAnswer for what is none."""


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
        return [source.ask(min(size, self._max_page)) for source, size in asks]

    def _first_round(self) -> list[tuple["_Source[T]", int]]:
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

    def _further_round(self) -> list[tuple["_Source[T]", int]]:
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
            if more and not source.gets_on(items, described):
                source.fail("its list does not get on: the next page starts where this one did")
            else:
                source.take_in(items, described)
                source.more = more
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
        while not (self._due or self.complete or any(source.blocks for source in self._sources)):
            for source in self._sources:
                if source.later and source.runs_short(turn):
                    self._describe(source, None)
            self._take()
            turn += 1

    def _describe(self, source: "_Source[T]", most: int | None) -> None:
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

    def _take_one(self, source: "_Source[T]") -> None:
        at = source.at
        source.at += 1
        if self._is_shown(source, at):
            self._items.append(source.items[at])
            self._ids.append(source.ids[at])
            self._origins.append(source.site)
        else:
            self._dropped += 1

    def _is_shown(self, source: "_Source[T]", at: int) -> bool:
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

    def _run_dry(self, within: int) -> list[tuple[int, "_Source[T]"]]:
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


class _Source(Generic[T]):
    """One site of a walk: what is known of its list, and how far (`at`) it has been taken.

    `ids`, `ranks` (effective, see `Order`) and `identities` are of the first `items`, `later` can describe
    the others: (page, from which of its items on, up to which). `before` are ids from before this walk, the
    marker last, and `start` is the rank that this one had; `resume` are those after which it can be asked,
    the last one first, and `last` is one still further on, the end of its last answer.
    """

    __slots__ = (
        "asked", "at", "before", "failed", "gone", "identities", "ids", "items", "last", "later", "more",
        "part", "place", "ranks", "resume", "site", "start", "told_apart",
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
        self.told_apart = False
        self.part: int | None = None  # how many items of the next answer are described at first; None: all
        self.later: list[tuple[Describes, int, int]] = []
        self.last: str | None = None
        self.at = 0
        self.more = True  # until the site says otherwise
        self.asked = False
        self.failed: str | None = None

    @property
    def known(self) -> int:
        """How many items are known that are not taken."""
        return len(self.items) - self.at

    @property
    def ahead(self) -> int:
        """How many of them are described."""
        return len(self.ranks) - self.at

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

    @property
    def marker(self) -> str | None:
        """After which item it is asked next; all are to be described."""
        return self.resume[-1] if self.last is None else self.last

    def ask(self, limit: int) -> Need:
        self.asked = True
        return Need(self.site, self.marker, limit)

    def lose(self) -> bool:
        """Whether there is an item before the one that the site no longer knows: it is asked after that.

        All are to be described.
        """
        lost = self.marker
        rest = self.resume[:-1] if self.resume[-1] == lost else self.resume
        if not self.asked or not rest:
            return False
        if len(rest) < len(self.resume) and not self.ids:
            self.before.pop()
        self.asked = False
        self.resume = rest
        self.gone.add(lost)
        self.last = None
        return True

    def runs_short(self, turn: int) -> bool:
        """Whether it is time to have all its items described.

        At once where the next one is not; with each turn of one round sooner, so that there are few.
        """
        used = turn > 0 and self.at > 0 and (turn > 1 or self.ahead <= self.at)
        return used or not self.ahead or turn > 2

    def gets_on(self, items: Sequence[T], described: Describes) -> bool:
        """Whether the page after one that came would be another. Raises BadSiteAnswer."""
        if not items or self.marker is None:
            return bool(items)
        return described.part(len(items) - 1, len(items)).ids[-1] != self.marker

    def take_in(self, items: Sequence[T], described: Describes) -> None:
        """Take what came. What was lost as a marker and is there after all has been on a page already."""
        self.last = None
        if self.gone and items:
            whole = described.part(0, len(items))
            self.last = whole.ids[-1]
            stay = [at for at, one in enumerate(whole.ids) if one not in self.gone]
            items, described = [items[at] for at in stay], whole.only(stay)
        if items:
            self.later.append((described, 0, len(items)))
        self.items += items

    def describe(self, most: int | None, order: Order) -> None:
        """Describe the next items, `most` of them (None: all). Raises BadSiteAnswer."""
        while self.later and most != 0:
            page, start, stop = self.later[0]
            end = stop if most is None else min(stop, start + most)
            self._append(page.part(start, end), order)
            if end == stop:
                del self.later[0]
            else:
                self.later[0] = page, end, stop
            most = None if most is None else most - (end - start)

    def _append(self, described: Described, order: Order) -> None:
        last = self.ranks[-1:] or ([] if self.start is None else [self.start])
        self.ranks += order.effective(order.ranks(described.keys, len(described.ids)), last)
        self.ids += described.ids
        self.resume += described.ids
        self.told_apart |= described.identities is not None
        self.identities += described.identities or [None] * len(described.ids)

    def fail(self, reason: str) -> None:
        self.failed = reason
        self.more = self.asked = False
        self.later.clear()
        for column in (self.items, self.ids, self.ranks, self.identities):
            del column[self.at :]


class _Ahead(Generic[T]):
    """What is described of all sources and not taken, in merged order.

    `lasts` are the places of the last item of each source that may have others after it, and in front of the
    first of them is the `end` of what can be taken.
    """

    def __init__(self, sources: Sequence[_Source[T]], order: Order) -> None:
        ranks: list[Any] = []
        self._owners: list[_Source[T]] = []
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

    def owner(self, at: int) -> _Source[T]:
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
