"""Where a value stands in a JSON text, so that it alone can be replaced and every other byte stays.

Decoding and encoding again would keep the meaning but not the bytes; a gateway that promises to change
nothing else must not re-write what it does not understand. The text is taken to be valid JSON (the callers
decode it first); on other text the result is meaningless but never an endless loop.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]+")
_BLANK = re.compile(rb"\s*")
_SPACE = re.compile(rb"[\s,:]*")
# The next byte that matters when a whole object or array is skipped.
_NEXT = re.compile(rb'["\[\]{}]')

Span = tuple[int, int]
Path = tuple[str, ...]
EACH = "*"


def _skip(text: bytes, at: int) -> int:
    """The end of the value that starts at `at`."""
    first = text[at : at + 1]
    if first == b'"':
        found = _STRING.match(text, at)
        return found.end() if found else len(text)
    if first not in {b"{", b"["}:
        found = _SCALAR.match(text, at)
        return found.end() if found else at + 1
    depth = 0
    while found := _NEXT.search(text, at):
        at = found.end()
        mark = found.group()
        if mark == b'"':
            string = _STRING.match(text, at - 1)
            at = string.end() if string else len(text)
        elif mark in b"[{":
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                return at
    return len(text)


def _members(text: bytes, at: int) -> Iterator[tuple[str, int, int]]:
    """The members of the object or array at `at` as (key or "*", start, end of the value)."""
    array = text[at : at + 1] == b"["
    at += 1
    while True:
        at = _end_of(_SPACE, text, at)
        if at >= len(text) or text[at] in b"]}":
            return
        key = EACH
        if not array:
            end = _skip(text, at)
            key = _unquoted(text[at:end])
            at = _end_of(_SPACE, text, end)
        end = _skip(text, at)
        yield key, at, end
        at = end


def _end_of(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _unquoted(raw: bytes) -> str:
    inner = raw[1:-1]
    if b"\\" not in inner:
        return inner.decode("utf-8", "replace")
    import json  # noqa: PLC0415 - escaped keys are rare

    return str(json.loads(raw))


def find(text: bytes, path: Path, at: int | None = None) -> Iterator[Span]:
    """Every (start, end) of the values at `path`; "*" stands for each member of an array or object."""
    if at is None:
        at = _end_of(_SPACE, text, 0)
    if not path:
        yield at, _skip(text, at)
        return
    if text[at : at + 1] not in {b"{", b"["}:
        return
    wanted, rest = path[0], path[1:]
    for key, start, end in _members(text, at):
        if wanted in {key, EACH}:
            if rest:
                yield from find(text, rest, start)
            else:
                yield start, end


def around(text: bytes, marks: Sequence[int]) -> Iterator[tuple[Path, Span]]:
    """The innermost values that some places (ascending) lie in, each with its path, where "*" is an array's.

    What is a key, or between values, is in none.
    """
    at = _end_of(_SPACE, text, 0)
    yield from _around(text, at, _skip(text, at), marks, ())


def _around(text: bytes, at: int, stop: int, marks: Sequence[int], path: Path) -> Iterator[tuple[Path, Span]]:
    if text[at : at + 1] not in {b"{", b"["}:
        yield path, (at, stop)
        return
    for key, start, end in _members(text, at):
        first = bisect_left(marks, start)
        if first == len(marks):
            return
        if marks[first] < end:
            yield from _around(text, start, end, marks[first:], (*path, key))


def member(text: bytes, path: Path) -> Span | None:
    """Where a member stands with its key and one comma: what to cut to take it out of its object."""
    for start, _ in find(text, path[:-1]):
        if text[start : start + 1] != b"{":
            continue
        before = start + 1
        for key, at, end in _members(text, start):
            if key == path[-1]:
                after = _end_of(_BLANK, text, end)
                if text[after : after + 1] == b",":
                    first = _end_of(_SPACE, text, before)
                    return first, _end_of(_BLANK, text, after + 1)
                return before, end
            before = end
            del at
    return None


def splice(text: bytes, changes: Iterable[tuple[Span, bytes]]) -> bytes:
    """The text with each span replaced; spans must not overlap."""
    parts = []
    last = 0
    for (start, end), new in sorted(changes):
        parts += [text[last:start], new]
        last = end
    return b"".join([*parts, text[last:]])
