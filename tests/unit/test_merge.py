"""merge(pages of the sites) is sort(union), whatever the layout, the page sizes and the failures."""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import BadSiteAnswer
from atoll.core.merge import Page, Walk
from atoll.core.merge_source import Described
from atoll.core.order import Direction, SortKey
from atoll.core.whole import merge_whole


class Item(NamedTuple):
    id: str
    key: SortKey
    site: str
    copy_of: str | None = None


def described(items: Sequence[Item]) -> Described:
    copies = [item.copy_of for item in items]
    return Described(
        [item.id for item in items], [[item.key for item in items]], copies if any(copies) else None
    )


class Looked:
    """Says what items are when it is asked, and counts for how many; some are none."""

    looked = 0

    def __init__(self, items: Sequence[Item], none: frozenset[str] = frozenset()) -> None:
        self.items, self.none = items, none

    def part(self, start: int, stop: int) -> Described:
        some = self.items[start:stop]
        Looked.looked += len(some)
        if not self.none.isdisjoint(item.id for item in some):
            raise BadSiteAnswer("what are no things", site=some[0].site)
        return described(some)


def known(lists: dict[str, list[Item]]) -> dict[str, tuple[list[Item], Described]]:
    return {site: (items, described(items)) for site, items in lists.items()}


def ordered(items: list[Item], direction: Direction) -> list[Item]:
    """Stable, so that what ties keeps the order it had."""

    def rank(item: Item) -> tuple[Any, ...]:
        key = item.key
        return (0,) if key is None else (2, key.casefold()) if isinstance(key, str) else (1, key)

    # Ties stay in place even when reversing.
    return sorted(items, key=rank, reverse=direction == "desc")


class Sites:
    """Sites that page as services do."""

    def __init__(
        self,
        lists: dict[str, list[Item]],
        *,
        maximum: dict[str, int] | None = None,
        failing: dict[str, int] | None = None,
        none: frozenset[str] = frozenset(),
    ) -> None:
        self.lists, self.maximum, self.failing = lists, maximum or {}, dict(failing or {})
        self.none = none
        self.requests: list[int] = []

    def serve(self, walk: Walk[Item], order: random.Random | None = None) -> Page[Item]:
        while needs := walk.needs():
            assert not walk.needs()
            self.requests.append(len(needs))
            if order:
                order.shuffle(needs)
            for need in needs:
                assert need.limit > 0
                if self.failing.get(need.site, 99) == 0:
                    walk.fail(need.site, "503")
                    continue
                if need.site in self.failing:
                    self.failing[need.site] -= 1
                items, more = self.answer(need.site, need.marker, need.limit)
                walk.feed(need.site, items, Looked(items, self.none), more=more)
        assert walk.complete
        return walk.page()

    def answer(self, site: str, marker: str | None, limit: int) -> tuple[list[Item], bool]:
        items = self.lists[site]
        start = 0 if marker is None else next(i for i, item in enumerate(items) if item.id == marker) + 1
        stop = start + min(limit, self.maximum.get(site, 1000))
        return items[start:stop], stop < len(items)


def walk_all(
    sites: Sites, direction: Direction, limit: int, order: random.Random | None = None
) -> list[list[Item]]:
    """Read every page, each by the markers of the one before."""
    pages = []
    markers: dict[str, str | None] | None = None
    missing: set[str] = set()
    while True:
        left = [site for site in sites.lists if site not in missing]
        walk = Walk[Item](left, sort=[("key", direction)], limit=limit, markers=markers)
        page = sites.serve(walk, order)
        pages.append(page.items)
        missing |= set(page.missing)
        markers = page.markers
        if not page.more:
            return pages


def spread(counts: list[int]) -> dict[str, list[Item]]:
    return {f"s{n}": [Item(f"{n}-{i}", i, f"s{n}") for i in range(count)] for n, count in enumerate(counts)}


KEYS = st.one_of(st.none(), st.integers(0, 6), st.sampled_from(["a", "A", "b", "B", ""]))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[dict[str, list[Item]], Direction]:
    direction: Direction = draw(st.sampled_from(["asc", "desc"]))
    lists = {}
    for number in range(draw(st.integers(1, 5))):
        keys = draw(st.lists(KEYS, max_size=12))
        items = [Item(f"{number}-{i}", key, f"s{number}") for i, key in enumerate(keys)]
        lists[f"s{number}"] = ordered(items, direction)
    return lists, direction


@given(
    layouts(),
    st.integers(1, 9),
    st.dictionaries(st.sampled_from(["s0", "s1", "s2"]), st.integers(1, 3)),
    st.randoms(),
)
def test_pages_are_the_sorted_union_each_once(layout, limit, maximum, order):
    lists, direction = layout
    pages = walk_all(Sites(lists, maximum=maximum), direction, limit, order)
    union = [item for items in lists.values() for item in items]  # in site order, which breaks ties
    assert [item for page in pages for item in page] == ordered(union, direction)
    assert all(len(page) == limit for page in pages[:-1])


@given(layouts(), st.one_of(st.none(), st.integers(1, 9)))
def test_one_walk_without_limit_is_the_sorted_union(layout, limit):
    lists, direction = layout
    walk = Walk[Item](list(lists), sort=[("key", direction)], limit=None, max_page=limit or 7)
    union = [item for items in lists.values() for item in items]
    assert Sites(lists).serve(walk).items == ordered(union, direction)


@given(layouts(), st.integers(1, 9), st.dictionaries(st.sampled_from(["s0", "s1", "s2"]), st.integers(0, 2)))
def test_a_failing_site_takes_no_further_part_and_costs_no_other_item(layout, limit, failing):
    lists, direction = layout
    maximum = dict.fromkeys(lists, 2)
    pages = walk_all(Sites(lists, maximum=maximum, failing=failing), direction, limit)
    got = [item for page in pages for item in page]
    assert len(set(got)) == len(got)
    for site, items in lists.items():
        of_site = [item for item in got if item.site == site]
        if site in failing:
            assert of_site == items[: len(of_site)]
        else:
            assert of_site == items
    assert ordered(got, direction) == got or set(failing) & set(lists)


@given(layouts(), st.integers(1, 9), st.integers(0, 30), st.integers(1, 4))
def test_after_walks_from_the_start_to_the_item(layout, limit, index, maximum):
    lists, direction = layout
    union = ordered([item for items in lists.values() for item in items], direction)
    after = union[index].id if index < len(union) else "nowhere"
    walk = Walk[Item](list(lists), sort=[("key", direction)], limit=limit, after=after)
    page = Sites(lists, maximum=dict.fromkeys(lists, maximum)).serve(walk)
    assert page.marker_found == (index < len(union))
    assert page.items == (union[index + 1 : index + 1 + limit] if page.marker_found else [])


@given(layouts(), st.integers(1, 9), st.integers(0, 30))
def test_offset_drops_that_many(layout, limit, offset):
    lists, direction = layout
    union = ordered([item for items in lists.values() for item in items], direction)
    walk = Walk[Item](list(lists), sort=[("key", direction)], limit=limit, offset=offset)
    assert Sites(lists).serve(walk).items == union[offset : offset + limit]


def test_nulls_come_first_ascending_and_last_descending():
    lists = {"a": [Item("1", None, "a"), Item("2", "b", "a")], "b": [Item("3", "a", "b")]}
    assert [item.id for item in merge_whole(known(lists), sort=[("key", "asc")]).items] == [
        "1",
        "3",
        "2",
    ]
    lists = {"a": [Item("2", "b", "a"), Item("1", None, "a")], "b": [Item("3", "a", "b")]}
    assert [item.id for item in merge_whole(known(lists), sort=[("key", "desc")]).items] == [
        "2",
        "3",
        "1",
    ]


def test_the_order_of_a_site_is_not_changed():
    lists = {"a": [Item("1", 5, "a"), Item("2", 1, "a"), Item("3", 9, "a")], "b": [Item("4", 2, "b")]}
    page = merge_whole(known(lists), sort=[("key", "asc")])
    assert [item.id for item in page.items if item.site == "a"] == ["1", "2", "3"]


def test_of_copies_the_first_in_order_stays_and_the_first_site_on_a_tie():
    lists = {
        "a": [Item("1", 1, "a", "x"), Item("2", 3, "a", "y")],
        "b": [Item("3", 1, "b", "x"), Item("4", 2, "b", "y"), Item("5", 4, "b")],
    }
    walk = Walk[Item](["a", "b"], sort=[("key", "asc")], limit=10)
    assert [item.id for item in Sites(lists).serve(walk).items] == ["1", "4", "5"]
    whole = merge_whole(known(lists), sort=[("key", "asc")])
    assert [item.id for item in whole.items] == ["1", "2", "5"]


def test_merge_whole_cuts_a_page_out():
    lists = spread([3, 3])
    page = merge_whole(known(lists), sort=[("key", "asc")], after="1-0", limit=2)
    assert [item.id for item in page.items] == ["0-1", "1-1"]
    assert page.more
    assert page.origins == ["s0", "s1"]
    assert page.markers == {"s0": "0-1", "s1": "1-1"}


def test_a_site_that_repeats_its_page_is_left_out():
    walk = Walk[Item](["a"], sort=[("key", "asc")], limit=10)
    item = Item("1", 1, "a")
    sizes = []
    while needs := walk.needs():
        (need,) = needs
        sizes.append(need.limit)
        walk.feed("a", [item], described([item]), more=True)
    assert need.marker == "1"
    assert sizes == [10, 9, 18, 36, 72, 144, 288], "it may only be that it shows one again"
    assert walk.complete
    assert list(walk.page().missing) == ["a"]


def test_a_site_with_empty_pages_and_next_links_is_left_out():
    walk = Walk[Item](["a"], sort=[("key", "asc")], limit=10)
    while walk.needs():
        walk.feed("a", [], described([]), more=True)
    assert walk.complete
    assert list(walk.page().missing) == ["a"]
    assert walk.rounds == 6, "it may only be that it left out what it cut"


def test_an_empty_page_with_a_next_link_is_asked_for_longer():
    walk = Walk[Item](["a"], sort=[("key", "asc")], limit=10)
    item = Item("1", 1, "a")
    (first,) = walk.needs()
    walk.feed("a", [], described([]), more=True)
    (second,) = walk.needs()
    walk.feed("a", [item], described([item]), more=False)
    assert (first.limit, second.limit) == (10, 20)
    assert (walk.page().ids, walk.page().missing) == (["1"], {})


def test_no_sites_is_an_empty_page():
    walk = Walk[Item]([], sort=[("key", "asc")], limit=10)
    assert walk.complete
    assert walk.page().items == []
    assert not walk.page().more


def layout_of(name: str, sites: int, total: int) -> dict[str, list[Item]]:
    """The newest first, as servers are listed."""
    chance = random.Random(7)  # noqa: S311 - a layout, no secret
    places: Sequence[int] = range(sites)
    owner: Callable[[int], int] = {
        "interleaved": lambda i: i % sites,
        "random": lambda _: chance.choice(places),
        "hot": lambda i: 0 if i < total // 2 else i % sites,
        "by_site": lambda i: i * sites // total,
    }[name]
    lists: dict[str, list[Item]] = {f"s{n}": [] for n in places}
    for i in range(total):
        site = f"s{owner(i)}"
        lists[site].append(Item(str(i), total - i, site))
    return lists


@pytest.mark.parametrize(
    ("layout", "sites", "limit", "rounds", "factor"),
    [
        ("interleaved", 100, 1000, 1, 3),
        ("random", 100, 1000, 2, 3),
        ("hot", 100, 1000, 2, 3),
        ("by_site", 100, 1000, 5, 5),
        ("interleaved", 3, 1000, 1, 3),
        ("random", 3, 1000, 1, 3),
        ("hot", 3, 1000, 2, 3),
        ("by_site", 3, 1000, 2, 3),
        ("interleaved", 100, 20, 1, 15),
        ("random", 100, 20, 2, 15),
        ("interleaved", 100, 100, 1, 3),
        ("random", 100, 100, 2, 4),
        ("interleaved", 1, 1000, 1, 1),
    ],
)
def test_rounds_and_reading_are_bounded(layout, sites, limit, rounds, factor):
    source = Sites(layout_of(layout, sites, 20_000))
    walk = Walk[Item](list(source.lists), sort=[("key", "desc")], limit=limit)
    page = source.serve(walk)
    assert [item.id for item in page.items] == [str(i) for i in range(limit)]
    assert walk.rounds <= rounds
    assert walk.items_read <= factor * limit


@pytest.mark.parametrize("per_site", [30, 100])
def test_many_small_sites_one_after_the_other_take_few_rounds(per_site):
    source = Sites(layout_of("by_site", 100, 100 * per_site))
    walk = Walk[Item](list(source.lists), sort=[("key", "desc")], limit=1000)
    assert len(source.serve(walk).items) == 1000
    assert walk.rounds <= 5
    assert walk.items_read <= 4500


def test_deep_sites_one_after_the_other_take_two_rounds():
    source = Sites(layout_of("by_site", 50, 100_000))
    walk = Walk[Item](list(source.lists), sort=[("key", "desc")], limit=1000)
    assert len(source.serve(walk).items) == 1000
    assert walk.rounds == 2
    assert walk.items_read <= 3000


@pytest.mark.parametrize(
    ("layout", "looked"), [("interleaved", 1.2), ("random", 2.2), ("hot", 2.4), ("by_site", 2.2)]
)
def test_what_is_not_shown_is_hardly_looked_at(layout, looked):
    source = Sites(layout_of(layout, 50, 100_000))
    walk = Walk[Item](list(source.lists), sort=[("key", "desc")], limit=1000)
    Looked.looked = 0
    assert len(source.serve(walk).items) == 1000
    assert Looked.looked <= looked * 1000


def test_a_site_whose_items_are_none_is_left_out_once_they_would_be_shown():
    lists = spread([30, 30])
    first = Sites(lists, none=frozenset({"1-2"}))
    page = first.serve(Walk[Item](list(lists), sort=[("key", "asc")], limit=20))
    assert {item.site for item in page.items[6:]} == {"s0"}
    assert [item.id for item in page.items if item.site == "s0"] == [
        f"0-{i}" for i in range(len(page.items))
    ][:20]
    assert page.missing == {"s1": "what are no things"}
    later = Sites(lists, none=frozenset({"1-19"}))
    page = later.serve(Walk[Item](list(lists), sort=[("key", "asc")], limit=20))
    assert not page.missing
    assert len(page.items) == 20


@given(layouts(), st.integers(1, 12), st.data())
def test_what_sites_had_the_last_time_changes_how_they_are_asked_and_nothing_else(layout, limit, data):
    lists, direction = layout
    shares = data.draw(st.dictionaries(st.sampled_from([*lists, "elsewhere"]), st.integers(0, 20)))
    plain = Sites(lists).serve(Walk[Item](list(lists), sort=[("key", direction)], limit=limit))
    told = Sites(lists).serve(Walk[Item](list(lists), sort=[("key", direction)], limit=limit, shares=shares))
    assert (told.items, told.markers, told.more) == (plain.items, plain.markers, plain.more)


@pytest.mark.parametrize("layout", ["interleaved", "random", "hot", "by_site"])
@pytest.mark.parametrize("limit", [20, 1000])
def test_a_page_that_is_asked_for_again_takes_one_round(layout, limit):
    lists = layout_of(layout, 100, 100_000)
    page = Sites(lists).serve(Walk[Item](list(lists), sort=[("key", "desc")], limit=limit))
    shares = page.taken
    # Some are gone meanwhile, and some have come.
    again = {
        site: [Item(f"new-{site}", 1_000_000, site)] * (number % 10 == 0) + items[number % 5 == 0 :]
        for number, (site, items) in enumerate(lists.items())
    }
    source = Sites(again)
    walk = Walk[Item](list(again), sort=[("key", "desc")], limit=limit, shares=shares)
    page = source.serve(walk)
    assert page.items == ordered([item for items in again.values() for item in items], "desc")[:limit]
    assert walk.rounds == 1
    assert walk.items_read <= 1.6 * limit + 3 * len(again)


def copied(sites: int, count: int, own: int = 0) -> dict[str, list[Item]]:
    """Every site has the same things, made there a while after the first, and some of its own between."""
    lists = {}
    for number in range(sites):
        site = f"s{number}"
        same = [Item(f"{number}-{i}", 1000 * i + number, site, copy_of=f"thing-{i}") for i in range(count)]
        mine = [Item(f"{number}-own-{i}", 1000 * i + 500 + number, site) for i in range(own)]
        lists[site] = ordered([*same, *mine], "asc")
    return lists


@pytest.mark.parametrize("sites", [2, 3, 100])
@pytest.mark.parametrize("limit", [25, 200])
@pytest.mark.parametrize("own", [0, 30])
def test_what_every_site_has_takes_two_rounds_and_then_one(sites, limit, own):
    lists = copied(sites, 300, own)
    source = Sites(lists)
    walk = Walk[Item](list(lists), sort=[("key", "asc")], limit=limit)
    page = source.serve(walk)
    assert len(page.items) == limit
    copies = [item.copy_of for item in page.items if item.copy_of]
    assert len(copies) == len(set(copies))
    assert walk.rounds <= 2
    again = Walk[Item](list(lists), sort=[("key", "asc")], limit=limit, shares=page.taken)
    assert Sites(lists).serve(again).items == page.items
    assert again.rounds == 1
    assert again.items_read <= 1.2 * sum(page.taken.values()) + 5 * sites
