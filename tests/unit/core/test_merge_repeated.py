"""Lists of a site that shows an item once more after itself, as Nova does with a server that was just placed.

Until a server is placed Nova has it in another table, which comes first in its lists; for a moment it is in
both. What is asked for after it is then found in the first one, and the other is given from its start.
"""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.merge import Page, Walk
from atoll.core.merge_source import TRAIL, Described

LARGEST = 1000
NOW = 9


class Item(NamedTuple):
    id: str
    key: int


class Nova:
    """A site with servers in two tables, the newest first in each: those not placed yet, and the others."""

    def __init__(self, name: str, placed: list[int], accepted: int) -> None:
        self.placed = [Item(f"{name}-{at}", key) for at, key in enumerate(sorted(placed, reverse=True))]
        self.accepted = [Item(f"{name}-new-{at}", NOW) for at in range(accepted)]
        self.both = 0
        """How many of those accepted, the oldest ones, are in the other table as well."""

    def place(self) -> None:
        """One that was accepted is placed."""
        if self.both < len(self.accepted):
            self.both += 1
            self.placed.insert(0, self.accepted[-self.both])

    def settle(self) -> None:
        """What is in both tables is no more in the first."""
        if self.both:
            del self.accepted[-self.both :]
        self.both = 0

    def page(self, marker: str | None, limit: int) -> tuple[list[Item], bool]:
        first = [one.id for one in self.accepted]
        if marker in first:
            found = [*self.accepted[first.index(marker) + 1 :], *self.placed]
        elif marker is not None:
            found = self.placed[[one.id for one in self.placed].index(marker) + 1 :]
        else:
            found = [*self.accepted, *self.placed]
        once = list(dict.fromkeys(found))
        return once[:limit], len(once) >= limit > 0


def answer(walk: Walk[Item], site: Nova, name: str, marker: str | None, limit: int) -> None:
    items, more = site.page(marker, limit)
    walk.feed(name, items, Described([one.id for one in items], [[one.key for one in items]]), more=more)


def page(
    sites: dict[str, Nova], limit: int, last: Page[Item] | None, turns: list[int], largest: int = LARGEST
) -> Page[Item]:
    walk = Walk[Item](
        list(sites), sort=[("key", "desc")], limit=limit,
        markers=last.markers if last else None, earlier=last.earlier if last else None,
        keys=last.keys if last else None, last=last.origins[-1] if last else None, max_page=largest,
    )  # fmt: skip
    rounds = 0
    while needs := walk.needs():
        rounds += 1
        assert rounds < 50, "it does not end"
        for need in needs:
            answer(walk, sites[need.site], need.site, need.marker, need.limit)
            for site in sites.values():
                turn = turns.pop() if turns else 1
                if turn == 1:
                    site.place()
                elif turn == 2:
                    site.settle()
    return walk.page()


SITES = st.lists(
    st.tuples(st.lists(st.integers(7, NOW), max_size=5), st.integers(0, TRAIL)), min_size=1, max_size=3
)


@given(SITES, st.integers(1, 6), st.lists(st.integers(0, 2), max_size=30))
def test_each_is_shown_once_and_no_site_is_left_out(made, limit, turns):
    sites = {str(at): Nova(str(at), *one) for at, one in enumerate(made)}
    there = {one.id for site in sites.values() for one in site.placed}
    found: list[str] = []
    last = page(sites, limit, None, turns)
    while last.items:
        assert last.missing == {}
        found += last.ids
        assert len(found) < 100, "it does not end"
        last = page(sites, limit, last, turns)
    assert last.missing == {}
    assert len(found) == len(set(found))
    assert there <= set(found)


@pytest.mark.parametrize("count", [1, 2, TRAIL + 1])
def test_those_that_stay_in_both_hold_nothing_up(count):
    """A page of one at a time, all the while."""
    site = Nova("s", [8, 7], count)
    for _ in range(count):
        site.place()
    found, last = [], None
    while (last := page({"s": site}, 1, last, [0] * 100)).items:
        found += last.ids
    assert last.missing == {}
    assert found == [*(f"s-new-{at}" for at in range(count)), "s-0", "s-1"]


def test_a_site_that_gives_the_same_page_whatever_it_is_asked_is_left_out():
    items = [Item(str(at), 1) for at in range(3)]
    walk = Walk[Item](["s"], sort=[("key", "asc")], limit=10)
    asked = 0
    while needs := walk.needs():
        asked += len(needs)
        walk.feed("s", items, Described([one.id for one in items], [[1] * 3]), more=True)
    assert walk.page().ids == ["0", "1", "2"]
    assert list(walk.page().missing) == ["s"]
    assert asked < 10


def test_a_site_that_goes_round_in_circles_is_left_out():
    walk = Walk[Item](["s"], sort=[("key", "asc")], limit=10)
    asked = 0
    while needs := walk.needs():
        asked += len(needs)
        item = Item(str(asked % 3), 1)
        walk.feed("s", [item], Described([item.id], [[1]]), more=True)
    assert sorted(walk.page().ids) == ["0", "1", "2"]
    assert list(walk.page().missing) == ["s"]
    assert asked < 12
