"""Figures as entries and tables."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

RESULTS = Path(__file__).with_name("results.json")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. `peer` is the peer's figure in the same unit, `ratio` ours over it.

    `part` is that of the bench which takes it. `met` is None where the figure could not be taken or does not
    prove anything; `how` then says why.
    """

    name: str
    part: str = ""
    value: float | None
    unit: str
    goal: str
    met: bool | None
    how: str
    peer: float | None = None
    ratio: float | None = None


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under a head, first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = []
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def entries_table(entries: Sequence[Entry]) -> str:
    """All entries, one line each."""
    words = {True: "yes", False: "NO", None: "open"}
    return table(
        ("figure", "value", "peer", "ratio", "goal", "met"),
        [
            (
                entry.name,
                "-" if entry.value is None else f"{entry.value:g} {entry.unit}",
                "-" if entry.peer is None else f"{entry.peer:g} {entry.unit}",
                "-" if entry.ratio is None else f"{entry.ratio:g}",
                entry.goal,
                words[entry.met],
            )
            for entry in entries
        ],
    )


def write(entries: Sequence[Entry], path: Path = RESULTS) -> None:
    """Write the entries as JSON, for whoever compares runs; others that are there stay."""
    before = msgspec.json.decode(path.read_bytes(), type=list[Entry]) if path.exists() else []
    together = {entry.name: entry for entry in (*before, *entries)}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(list(together.values()))) + b"\n")
