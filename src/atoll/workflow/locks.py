"""Named locks on paths, with modes for a whole and for a part of it.

`server/ID` in W is exclusive. Whoever locks a path intends something in every path above it (IR, IW), so
that a lock on `project/P` in W conflicts with one on `project/P/quota` in R. After TROPIC's and Gray's modes.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta


class Mode(StrEnum):
    """What is done with a path."""

    IR = "IR"
    """Something below it is read."""
    IW = "IW"
    """Something below it is written."""
    R = "R"
    W = "W"


Path = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^/\x00-\x1f]+(/[^/\x00-\x1f]+)*$")]

_TOGETHER: Final = {
    Mode.IR: {Mode.IR, Mode.IW, Mode.R},
    Mode.IW: {Mode.IR, Mode.IW},
    Mode.R: {Mode.IR, Mode.R},
    Mode.W: set[Mode](),
}

_STRONGER: Final = {
    (Mode.IR, Mode.IW): Mode.IW,
    (Mode.IR, Mode.R): Mode.R,
    (Mode.IW, Mode.R): Mode.W,  # "R and IW" has no mode of its own here
}


class Want(msgspec.Struct, frozen=True, order=True):
    """A lock that is wanted. Sorted by path, so that all take them in one order."""

    path: Path
    mode: Mode = Mode.W


def all_wanted(wants: Iterable[Want]) -> list[Want]:
    """The locks with those on what is above, each path once, in the order in which they are taken."""
    modes: dict[str, Mode] = {}
    for want in wants:
        _add(modes, want.path, want.mode)
        intention = Mode.IR if want.mode in {Mode.R, Mode.IR} else Mode.IW
        above = want.path
        while "/" in above:
            above = above.rpartition("/")[0]
            _add(modes, above, intention)
    return [Want(path, modes[path]) for path in sorted(modes)]


def _add(modes: dict[str, Mode], path: str, mode: Mode) -> None:
    other = modes.get(path, mode)
    if other is not mode:
        pair = (other, mode) if (other, mode) in _STRONGER else (mode, other)
        mode = _STRONGER.get(pair, Mode.W)
    modes[path] = mode


def go_together(one: Mode, other: Mode) -> bool:
    """Whether two runs may have a path at once."""
    return other in _TOGETHER[one]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A lock that is held or waited for; `number` is the place in the order of asking."""

    path: str
    mode: Mode
    run_id: str
    number: int
    granted: bool


def in_the_way(mine: Sequence[Row], others: Iterable[Row]) -> Row | None:
    """The first lock that a run waits for: one that is held, or asked for before; None for none.

    Those who asked before go first, so that no writer waits for ever for readers that keep coming.
    """
    wanted = {row.path: row for row in mine}
    for row in sorted(others, key=lambda row: (row.path, row.number)):
        own = wanted.get(row.path)
        if own is None or row.run_id == own.run_id or go_together(own.mode, row.mode):
            continue
        if row.granted or row.number < own.number:
            return row
    return None
