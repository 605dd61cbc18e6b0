"""Pages of usage reports: whatever their size, together they are every site's servers, each once."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from atoll.core.usage import Ask, Pages, Share

Servers = Mapping[str, Sequence[str]]
sites = st.lists(st.integers(0, 7), min_size=1, max_size=5).map(
    lambda counts: {
        f"site{at}": [f"{at}-{number}" for number in range(count)] for at, count in enumerate(counts)
    }
)
limits = st.integers(1, 9)


def page_of(servers: Servers, ask: Ask, longest: int = 1000) -> list[str]:
    """What a site answers."""
    held = servers[ask.site]
    start = held.index(ask.marker) + 1 if ask.marker is not None else 0
    return list(held[start : start + min(ask.limit or longest, longest)])


def walked(
    servers: Servers, limit: int | None, *, longest: int = 1000, away: Sequence[str] = ()
) -> list[tuple[list[str], Pages]]:
    """Every page with its servers, following the markers."""
    found: list[tuple[list[str], Pages]] = []
    names, marker = list(servers), None
    while not found or found[-1][1].more:
        pages = Pages(names, limit=limit, marker=marker)
        came: dict[str, list[str]] = {}
        while needs := pages.needs():
            for ask in needs:
                if ask.site in away:
                    pages.fail(ask)
                    continue
                page = page_of(servers, ask, longest)
                last = page[-1] if page else ""
                pages.feed(ask, Share(len(page), last, len(page) == min(ask.limit or longest, longest)))
                if not ask.probe:
                    came[ask.site] = page
        found.append(([one for name in pages.taken for one in came[name]], pages))
        marker = pages.last
        names = names[names.index(f"site{marker.partition('-')[0]}") :] if marker else names
    return found


@given(sites, limits)
def test_pages_of_any_size_are_the_union(servers: Servers, limit: int) -> None:
    pages = walked(servers, limit)
    everything = [one for held in servers.values() for one in held]
    assert [one for page, _ in pages for one in page] == everything
    # All are full but the last, and a link is there only if something follows it.
    assert all(len(page) == limit for page, _ in pages[:-1])
    assert len(pages) == max(1, -(-len(everything) // limit))


@given(sites, limits, st.integers(1, 3))
def test_a_site_with_shorter_pages_than_asked_for_loses_nothing(
    servers: Servers, limit: int, longest: int
) -> None:
    pages = walked(servers, limit, longest=longest)
    assert [one for page, _ in pages for one in page] == [one for held in servers.values() for one in held]


@given(sites, limits, st.data())
def test_a_site_that_is_away_is_said_to_be_lacking_once_it_matters(
    servers: Servers, limit: int, data: st.DataObject
) -> None:
    away = data.draw(st.sets(st.sampled_from(list(servers)), min_size=1))
    pages = walked(servers, limit, away=list(away))
    assert {name for _, page in pages for name in page.lacking} == away
    there = [one for name, held in servers.items() if name not in away for one in held]
    assert [one for page, _ in pages for one in page] == there


@given(sites)
def test_without_pages_it_is_all_at_once(servers: Servers) -> None:
    ((page, pages),) = walked(servers, None)
    assert page == [one for held in servers.values() for one in held]
    assert not pages.more
