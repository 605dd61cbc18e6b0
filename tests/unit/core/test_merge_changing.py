"""Page after page of lists that change between them, at sites that forget what is deleted, as Cinder does."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from atoll.core.merge import Page, Walk
from atoll.core.merge_source import TRAIL, Described
from atoll.core.order import Direction


class Item(NamedTuple):
    id: str
    key: str | None
    site: int


class Change(NamedTuple):
    """What happens to a site's list between two pages: an item is put in (with a key), or taken out."""

    site: int
    place: int
    key: str | None


KEYS = st.one_of(st.none(), st.sampled_from(["a", "A", "b", "B", "c"]))
LISTS = st.lists(st.lists(KEYS, max_size=8), min_size=1, max_size=4)
CHANGES = st.lists(
    st.lists(
        st.one_of(
            st.builds(Change, st.integers(0, 3), st.integers(0, 12), KEYS.filter(bool)),
            st.builds(Change, st.integers(0, 3), st.integers(0, 12), st.none()),
        ),
        max_size=2,
    ),
    max_size=8,
)


def rank(key: str | None) -> tuple[int, str]:
    return (0, "") if key is None else (2, key.casefold())


class World:
    """Sites whose lists are in order and stay so; `largest` is the largest page of each."""

    def __init__(self, lists: list[list[str | None]], direction: Direction, largest: int) -> None:
        self.direction, self.largest = direction, largest
        self.lists: list[list[Item]] = [[] for _ in lists]
        self.made = 0
        for site, keys in enumerate(lists):
            for key in keys:
                self.put(site, 0, key)

    def put(self, site: int, place: int, key: str | None) -> None:
        """A new item, at a place of its own among those that tie."""
        items = self.lists[site]
        items.insert(place % (len(items) + 1), Item(f"{site}-{self.made}", key, site))
        items.sort(key=lambda one: rank(one.key), reverse=self.direction == "desc")
        self.made += 1

    def change(self, changes: Sequence[Change]) -> None:
        for one in changes:
            site = one.site % len(self.lists)
            if one.key is not None:
                self.put(site, one.place, one.key)
            elif self.lists[site]:
                del self.lists[site][one.place % len(self.lists[site])]

    def union(self) -> list[str]:
        every = [one for items in self.lists for one in items]
        every.sort(key=lambda one: rank(one.key), reverse=self.direction == "desc")
        return [one.id for one in every]

    def page(self, limit: int, last: Page[Item] | None) -> Page[Item]:
        walk = Walk[Item](
            [str(site) for site in range(len(self.lists)) if last is None or str(site) not in last.missing],
            sort=[("key", self.direction)],
            limit=limit,
            markers=last.markers if last else None,
            earlier=last.earlier if last else None,
            keys=last.keys if last else None,
            last=last.origins[-1] if last else None,
        )
        while needs := walk.needs():
            for need in needs:
                items = self.lists[int(need.site)]
                known = [one.id for one in items]
                if need.marker is not None and need.marker not in known:
                    if not walk.lost(need.site):
                        walk.fail(need.site, "forgot")
                    continue
                start = known.index(need.marker) + 1 if need.marker is not None else 0
                came = items[start : start + min(need.limit, self.largest)]
                described = Described([one.id for one in came], [[one.key for one in came]])
                walk.feed(need.site, came, described, more=start + len(came) < len(items))
        return walk.page()


@given(LISTS, st.sampled_from(["asc", "desc"]), st.integers(1, 6), st.integers(1, 5), CHANGES)
def test_what_stays_is_shown_once_and_in_order(lists, direction, limit, largest, changes):
    world = World(lists, direction, largest)
    before = world.union()
    found: list[str] = []
    gone: set[str] = set()
    page: Page[Item] | None = None
    for change in [[], *changes, *[[]] * (len(before) + 20)]:
        there = set(world.union())
        world.change(change)
        gone |= there - set(world.union())
        page = world.page(limit, page)
        if not page.items:
            break
        found += page.ids
    assert page is not None
    assert not page.items, "it does not end"
    assert len(set(found)) == len(found)
    now = world.union()
    assert [one for one in found if one in set(now)] == [one for one in now if one in set(found)]
    left_out = set(before) - gone - set(found)
    assert {one.partition("-")[0] for one in left_out} <= set(page.missing), "of no site that took part"


@given(LISTS, st.integers(1, 6), st.integers(1, TRAIL))
def test_a_site_that_forgets_a_few_takes_part_still(lists, limit, count):
    world = World(lists, "asc", 8)
    before = world.union()
    page = world.page(limit, None)
    for items in world.lists:
        taken = [one.id for one in items if one.id in page.ids]
        items[:] = [one for one in items if one.id not in taken[-count:]]
    after = world.page(len(before) + 1, page) if page.items else page
    assert after.missing == {}
    assert page.ids + after.ids == before


def test_what_comes_to_stand_before_the_last_item_is_not_shown():
    """As one cloud would: a page begins after its marker, whichever site has it."""
    world = World([["b"], []], "asc", 8)
    page = world.page(1, None)
    world.put(1, 0, "a")
    world.put(1, 0, "c")
    after = world.page(5, page)
    assert [one.key for one in after.items] == ["c"]
