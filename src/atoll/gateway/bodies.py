"""What a request body names, and the few bytes of it that are changed for a site."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from atoll.core.spans import find, member, splice
from atoll.services.table import Ref

# A name that could not be an id: security groups are named either way.
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\Z")

# What may be named by its URL, as clients did once.
BY_URL = frozenset({"flavor", "image"})
_SCHEMES = ("http://", "https://")


def decoded(text: bytes) -> dict[str, Any] | None:
    """A JSON object, or None for anything else: the service called says what is wrong with it."""
    try:
        body = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def named(body: Mapping[str, Any], refs: Sequence[Ref]) -> list[tuple[str, str]]:
    """Every (type, id or name) that a body names, each once."""
    found: dict[tuple[str, str], None] = {}
    for ref in refs:
        for value in _values(body, ref.steps, ref.only_if):
            if isinstance(value, str | int) and not isinstance(value, bool):
                for one in _each(str(value), ref):
                    found[(ref.resource, named_by(ref.resource, one))] = None
    return list(found)


def _each(value: str, ref: Ref) -> list[str]:
    """What a text names: itself, or each of several."""
    some = value.split(ref.separator) if ref.separator else [value]
    return [one.strip() for one in some if one.strip()]


def named_by(resource: str, value: str) -> str:
    """The id that a text names: the services take a URL of a flavor or an image for the last part of it."""
    if resource in BY_URL and value.startswith(_SCHEMES):
        return value.partition("?")[0].rpartition("/")[2] or value
    return value


def _values(node: Any, steps: Sequence[str], only_if: tuple[str, str] | None) -> Iterator[Any]:
    if not steps:
        yield node
        return
    step, rest = steps[0], steps[1:]
    if step == "*":
        if isinstance(node, list):
            for element in node:
                yield from _values(element, rest, only_if)
    elif isinstance(node, dict) and step in node:
        if not rest and only_if is not None and node.get(only_if[0]) != only_if[1]:
            return
        yield from _values(node[step], rest, only_if)


def values(body: Mapping[str, Any], place: str) -> Iterator[Any]:
    """What stands at a place of a body, `*` in it for each element."""
    return _values(body, place.split("/"), None)


def value_at(body: Mapping[str, Any], place: str) -> str | None:
    """The text at a place of a body."""
    return next((value for value in _values(body, place.split("/"), None) if isinstance(value, str)), None)


def is_id(value: str) -> bool:
    """Whether a value that may be a name or an id is an id."""
    return _UUID.match(value) is not None


def zone_named(body: Mapping[str, Any], place: str) -> str | None:
    """The availability zone a body asks for (without Nova's `:host:node`), None when it asks for none."""
    for value in _values(body, place.split("/"), None):
        if isinstance(value, str) and value:
            return value.partition(":")[0]
    return None


def with_zone(text: bytes, place: str, zone: str | None) -> bytes:
    """The body with its zone in the site's words; None takes the member out, for the site to decide."""
    changes = []
    for start, end in find(text, tuple(place.split("/"))):
        asked = msgspec.json.decode(text[start:end])
        if not isinstance(asked, str) or not asked:
            continue
        _, colon, host = asked.partition(":")
        if zone is None and not colon:
            whole = member(text, tuple(place.split("/")))
            changes.append((whole or (start, end), b""))
        elif zone is not None:
            changes.append(((start, end), msgspec.json.encode(f"{zone}{colon}{host}")))
    return splice(text, changes)


def without_hints(text: bytes, place: str) -> bytes:
    """The body with an empty list in place of its zone hints, for a site that has no zones of its own."""
    array = tuple(place.split("/"))[:-1]
    return splice(text, [(span, b"[]") for span in find(text, array)])


def with_ids(text: bytes, refs: Sequence[Ref], at: Callable[[str, str], str]) -> bytes:
    """The body with the ids that a site has; `at` gives the site's of a type and an id."""
    changes = {}
    for ref in refs:
        for start, end in _spans(text, ref):
            ident = msgspec.json.decode(text[start:end])
            if not isinstance(ident, str | int) or isinstance(ident, bool):
                continue
            meant = [named_by(ref.resource, one) for one in _each(str(ident), ref)]
            here = [at(ref.resource, one) for one in meant]
            if here != meant:
                changes[(start, end)] = msgspec.json.encode(ref.separator.join(here))
    return splice(text, changes.items())


def _spans(text: bytes, ref: Ref) -> Iterator[tuple[int, int]]:
    """Where a body names something at a place, and its sibling says that it is of the type meant."""
    if ref.only_if is None:
        yield from find(text, ref.steps)
        return
    key, wanted = ref.only_if
    for start, _ in find(text, ref.steps[:-1]):
        for begin, end in find(text, (key,), start):
            if msgspec.json.decode(text[begin:end]) == wanted:
                yield from find(text, ref.steps[-1:], start)
