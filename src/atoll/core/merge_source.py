"""One site of a merged list: what is known of its own list, and how far that has been taken."""

from collections.abc import Hashable, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from atoll.core.order import Order, SortKey

T = TypeVar("T")

TRAIL: Final = 3
"""How many items before a marker are remembered, in case it is deleted while a client reads the page."""

REPEATS: Final = 5
"""How often in a row a site may say that others follow, and show none that was not on a page already."""


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


class Source(Generic[T]):
    """One site of a walk: what is known of its list, and how far (`at`) it has been taken.

    `ids`, `ranks` (effective, see `Order`) and `identities` are of the first `items`, `later` can describe
    the others: (page, from which of its items on, up to which). `before` are ids from before this walk, the
    marker last, and `start` is the rank that this one had; `resume` are those after which it can be asked,
    the last one first, and `last` is one still further on, the end of its last answer.

    A site may show an item again after itself: Nova does, while a server is being placed and so in two
    tables, or one that was `gone` for a moment. Those `passed` are left out of what it answers next.
    """

    __slots__ = (
        "asked", "at", "before", "failed", "gone", "identities", "ids", "items", "last", "later", "more",
        "part", "passed", "place", "ranks", "repeated", "resume", "site", "start", "told_apart",
    )  # fmt: skip

    def __init__(self, site: str, place: int, before: list[str | None], start: Any) -> None:
        self.site = site
        self.place = place
        self.before = before
        self.start = start
        self.resume = list(before)
        self.gone: list[str | None] = []
        self.passed: set[str | None] = set()
        self.repeated = 0
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

    def ask(self, limit: int, most: int) -> Need:
        """Ask for so many items, and for more if all it showed was on a page already."""
        self.asked = True
        return Need(self.site, self.marker, min(limit << self.repeated, most))

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
        self.gone.append(lost)
        self.last = None
        return True

    def runs_short(self, turn: int) -> bool:
        """Whether it is time to have all its items described.

        At once where the next one is not; with each turn of one round sooner, so that there are few.
        """
        used = turn > 0 and self.at > 0 and (turn > 1 or self.ahead <= self.at)
        return used or not self.ahead or turn > 2

    def take_in(self, items: Sequence[T], described: Describes, *, more: bool) -> None:
        """Take what came. Raises BadSiteAnswer."""
        marker = self.marker
        if more and (not items or self._ends_with(marker, items, described)):
            self._repeats()
        else:
            self.last = None
            self.passed = {*self.before, *self.gone, *self.ids} if marker is not None or self.gone else set()
            if items:
                self.later.append((described, 0, len(items)))
            self.items += items
            self.more = more

    @staticmethod
    def _ends_with(marker: str | None, items: Sequence[T], described: Describes) -> bool:
        """Whether the page after one that came would be the same. Raises BadSiteAnswer."""
        return marker is not None and described.part(len(items) - 1, len(items)).ids[-1] == marker

    def _repeats(self) -> None:
        """All that it showed was on a page already, or nothing: it may have left out what it cut."""
        self.repeated += 1
        if self.more and self.repeated > REPEATS:
            self.fail("its list does not get on: it shows the same again and again")

    def describe(self, most: int | None, order: Order) -> None:
        """Describe the next items, `most` of them (None: all). Raises BadSiteAnswer."""
        while self.later and most != 0:
            page, start, stop = self.later[0]
            end = stop if most is None else min(stop, start + most)
            part = page.part(start, end)
            if end == stop:
                del self.later[0]
            else:
                self.later[0] = page, end, stop
            self._append(part, order)
            most = None if most is None else most - (end - start)

    def _append(self, described: Described, order: Order) -> None:
        if not self.passed.isdisjoint(described.ids):
            self.last = described.ids[-1]
            start, stop = len(self.ids), len(self.ids) + len(described.ids)
            stay = [at for at, one in enumerate(described.ids) if one not in self.passed]
            self.items[start:stop] = [self.items[start + at] for at in stay]
            described = described.only(stay)
            if not stay:
                self._repeats()
                return
        elif described.ids:
            self.last = None
        self.repeated = 0
        last = self.ranks[-1:] or ([] if self.start is None else [self.start])
        self.ranks += order.effective(order.ranks(described.keys, len(described.ids)), last)
        self.ids += described.ids
        self.resume += described.ids
        self.told_apart |= described.identities is not None
        self.identities += described.identities or [None] * len(described.ids)

    def fail(self, reason: str) -> None:
        """Leave it out from here on; what was taken stays."""
        self.failed = reason
        self.more = self.asked = False
        self.later.clear()
        for column in (self.items, self.ids, self.ranks, self.identities):
            del column[self.at :]
