"""Tables of commands."""

import os
import shutil
import sys

import pytest

from atoll.cli.output import NARROW, fitted, short, show


@pytest.mark.parametrize(
    ("widths", "room", "found"),
    [
        ([36, 10], 80, [36, 10]),
        ([36, 100, 10], 106, [36, 60, 10]),
        ([36, 100, 90, 10], 166, [36, 60, 60, 10]),
        ([36, 100, 50], 40, [36, NARROW, NARROW]),
        ([], 10, []),
    ],
)
def test_columns_that_are_too_wide_are_narrowed_the_widest_first(
    widths: list[int], room: int, found: list[int]
) -> None:
    assert fitted(widths, room) == found


def test_what_is_cut_says_so() -> None:
    assert (short("abcdef", 6), short("abcdefg", 6)) == ("abcdef", "abcde…")


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_has_narrow_columns(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((80, 24)))
    show([{"id": "i" * 36, "about": "a" * 90, "error": "e" * 50}], "table")
    head, line = capsys.readouterr().out.splitlines()
    assert line == "  ".join(["i" * 36, "a" * 39 + "…" if terminal else "a" * 90, "e" * 50])
    assert head.split() == ["ID", "ABOUT", "ERROR"]
