"""What commands print: a table for people, JSON for programs."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

format_option = click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print.",
)  # fmt: skip


NARROW: Final = 40
"""No column is made narrower than that: ids stay whole."""


def show(rows: Sequence[Mapping[str, Any]], form: str, *, empty: str = "Nothing to show.") -> None:
    """Print rows with equal keys. On a terminal, columns but the last end with `…` where lines would wrap."""
    if form == "json":
        click.echo(json.dumps([dict(row) for row in rows], indent=2, default=str))
        return
    if not rows:
        click.echo(empty)
        return
    keys = list(rows[0])
    cells = [[_cell(row.get(key)) for key in keys] for row in rows]
    widths = [max(len(key), *(len(line[column]) for line in cells)) for column, key in enumerate(keys)]
    if sys.stdout.isatty():
        *others, last = widths
        room = shutil.get_terminal_size().columns - 2 * len(others)
        widths = [*fitted(others, room - min(last, NARROW)), last]
    heads = [key.replace("_", " ").upper() for key in keys]
    for line in (heads, *cells):
        shown = (short(cell, width).ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(shown).rstrip())


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """The widths of columns that take no more than `room` together, as far as `NARROW` lets them."""
    most = max(widths, default=0)
    while most > NARROW and sum(min(one, most) for one in widths) > room:
        most -= 1
    return [min(one, most) for one in widths]


def short(text: str, width: int) -> str:
    """A text that takes no more than `width`."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value) or "-"
    return str(value)
