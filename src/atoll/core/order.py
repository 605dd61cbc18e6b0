"""The order of a merged list: sort keys as the services compare them, over all sites."""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Literal

Direction = Literal["asc", "desc"]
SortKey = str | int | float | None


class Order:
    """The order of a merged list, by the directions of its sort keys.

    Where all keys go down the whole sort is turned round, which costs nothing; where some do, each of their
    values is wrapped.
    """

    def __init__(self, directions: Sequence[Direction]) -> None:
        self._reversed = bool(directions) and "asc" not in directions
        wrapped = [way == "desc" and not self._reversed for way in directions]
        self._components = [_descending if one else _component for one in wrapped]
        self._later: Callable[[Any, Any], Any] = min if self._reversed else max

    def ranks(self, keys: Sequence[Sequence[SortKey]], count: int) -> list[Any]:
        """What to compare, for each of so many items: `keys` are the values of each sort key in turn."""
        columns = [map(component, column) for component, column in zip(self._components, keys, strict=True)]
        if len(columns) == 1:
            return list(columns[0])
        return list(zip(*columns, strict=True)) if columns else [()] * count

    def rank(self, keys: Sequence[SortKey]) -> Any:
        """What to compare for one item with these sort keys."""
        return self.ranks([[key] for key in keys], 1)[0]

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

    def sorted(self, ranks: Sequence[Any]) -> list[int]:
        """The places of ranks, in merged order."""
        return sorted(range(len(ranks)), key=ranks.__getitem__, reverse=self._reversed)


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
