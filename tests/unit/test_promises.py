"""The pages of what is promised and of what must not come back name tests that there are."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGES = TESTS.parent / "docs" / "reference"


def named(page: str) -> list[tuple[str, str]]:
    """(file, function) of each test on a page; `::name` alone is of the file named last."""
    found, file = [], ""
    for text in re.findall(r"`([^`]+)`", (PAGES / page).read_text()):
        path, _, name = text.partition("::")
        if path.endswith(".py"):
            file = path
        elif path or not name:
            continue
        found.append((file, name))
    return found


@pytest.mark.parametrize(("page", "least"), [("trust.md", 51), ("regressions.md", 60)])
def test_each_of_them_is_there(page: str, least: int) -> None:
    tests = named(page)
    assert len(tests) >= least
    functions = {
        file: re.findall(r"^(?:async )?def (\w+)\(", (TESTS / file).read_text(), re.MULTILINE)
        for file in {file for file, _ in tests}
    }
    assert [(file, name) for file, name in tests if name and name not in functions[file]] == []
