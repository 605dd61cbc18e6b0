"""One list of lists that are known in full: for what every site has, the same things or copies of them."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from atoll.core.merge import Page, Walk
from atoll.core.merge_source import Described
from atoll.core.order import Direction

T = TypeVar("T")


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
    for site, (items, described) in lists.items():
        stay = []
        for at, identity in enumerate(described.identities or [None] * len(items)):
            if identity is None or identity not in seen:
                stay.append(at)
                seen.add(identity)
        unique = described.only(stay)._replace(identities=None)
        walk.feed(site, [items[at] for at in stay], unique, more=False)
    return walk.page()
