"""Creation times that lists have shown: by them a brief list can be sorted that does not show them.

Nova and Cinder sort by creation, and only their detailed lists show it. It never changes, so what was read
once need not be read again: the brief list is then asked for in brief, a fifth of the bytes.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from atoll.core.merge_source import Described
from atoll.core.order import SortKey

# Times kept, about 250 bytes each: the first pages of ten projects over a hundred sites.
TIMES = 20_000
# Lists (project, site) of which the last page's times were known.
LISTS = 20_000


class Times:
    """What this process remembers of creations; all of it can be read again."""

    def __init__(self, most: int = TIMES) -> None:
        self._most = most
        self._made: dict[str, SortKey] = {}
        self._lists: dict[tuple[str, str], None] = {}

    def likely(self, project: str, site: str) -> bool:
        """Whether times of a project's things at a site have been read: a first list has to read them."""
        return (project, site) in self._lists

    def learn(self, project: str, site: str, described: Described, at: int) -> None:
        """Remember the times of a page; they are its key number `at`."""
        self._lists[project, site] = None
        _bound(self._lists, LISTS)
        for ident, made in zip(described.ids, described.keys[at], strict=True):
            self._made.pop(ident, None)  # what is seen last goes last
            self._made[ident] = made
        _bound(self._made, self._most)

    def sort_keys(self, described: Described, at: int) -> tuple[Described, int]:
        """The page with its times as its key number `at`; how many items from its first hold all unknown."""
        times = [self._made.get(ident) for ident in described.ids]
        unknown = len(times)
        while unknown and times[unknown - 1] is not None:
            unknown -= 1
        keys: list[Sequence[SortKey]] = list(described.keys)
        keys[at] = times
        return described._replace(keys=keys), unknown


def _bound(memory: dict[Any, Any], most: int) -> None:
    """Forget the oldest entries beyond a number."""
    for key in list(islice(memory, max(0, len(memory) - most))):
        del memory[key]


def lacks_only(keys: Sequence[str], brief: Sequence[str]) -> int | None:
    """The place of the creation time among sort keys, where a brief list shows all but that."""
    lacking = [at for at, key in enumerate(keys) if key not in brief]
    return lacking[0] if [keys[at] for at in lacking] in (["created"], ["created_at"]) else None
