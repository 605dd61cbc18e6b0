"""The page of what is promised about trust names tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "trust.md"


def named() -> list[tuple[str, str]]:
    """(file, function) of each test on the page; `::name` alone is of the file named last."""
    found, file = [], ""
    for text in re.findall(r"`([^`]+)`", PAGE.read_text()):
        path, _, name = text.partition("::")
        if path.endswith(".py"):
            file = path
        elif path or not name:
            continue
        found.append((file, name))
    return found


def test_each_of_them_is_there() -> None:
    tests = named()
    assert len(tests) > 50
    functions = {
        file: re.findall(r"^(?:async )?def (\w+)\(", (TESTS / file).read_text(), re.MULTILINE)
        for file in {file for file, _ in tests}
    }
    assert [(file, name) for file, name in tests if name and name not in functions[file]] == []
