"""How a change of a namespace of metadata definitions is taken back, as `inverses` has it for flavors.

Pure. All is read in one: a namespace shows all its parts. Paths are what follows its own: `objects/NAME`,
`properties`, `resource_types/NAME`. What is renamed is changed back under its new name.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from atoll.core.inverses import Request, Way

# What a namespace says of itself when it is written; a PUT takes away what it does not say.
FIELDS: Final = ("namespace", "display_name", "description", "visibility", "protected", "owner")
# Nobody may write these.
READ_ONLY: Final = frozenset({"self", "schema", "created_at", "updated_at"})
# The parts of a namespace, and the key under which it shows each.
PARTS: Final = {
    "objects": "objects",
    "properties": "properties",
    "tags": "tags",
    "resource_types": "resource_type_associations",
}


def way(method: bytes, tail: str, body: object) -> Way:
    """What is known of a change before anything is asked."""
    part, _, name = tail.partition("/")
    if not tail:
        return Way("" if method == b"PUT" and isinstance(body, Mapping) else None)
    if part not in PARTS:
        return Way(None)
    return Way("", frozenset({404}) if method == b"DELETE" and name else frozenset())


def undo(method: bytes, tail: str, body: object, before: Mapping[str, Any]) -> list[Request] | None:
    """The requests that bring back what was read before; None where there is no way back."""
    part, _, rest = tail.partition("/")
    given = body if isinstance(body, Mapping) else {}
    if not tail:
        old = {key: before[key] for key in FIELDS if key in before}
        return [Request(b"PUT", "", msgspec.json.encode(old), under=_renamed(given, "namespace", before))]
    if part not in PARTS:
        return None
    had, name = _by_name(part, before), unquote(rest) or str(given.get("name", ""))
    if not rest and (part == "tags" or method == b"DELETE"):
        return _all_back(part, had)
    if method == b"PUT":
        now = quote(str(given.get("name") or name), safe="")
        return [Request(b"PUT", f"{part}/{now}", msgspec.json.encode(had[name]))] if name in had else []
    if method == b"POST":
        return [] if name in had else [Request(b"DELETE", f"{part}/{quote(name, safe='')}")]
    return [_made(part, had[name])] if name in had else []


def already(method: bytes, tail: str, body: object, before: Mapping[str, Any]) -> bool:
    """Whether a refusal says that it is as wanted already: one cloud would refuse it, too."""
    del method, tail, body, before
    return False


def shows(method: bytes, tail: str, body: object, seen: Mapping[str, Any]) -> bool:
    """Whether what is read afterwards shows that the change was made."""
    part, _, rest = tail.partition("/")
    given = body if isinstance(body, Mapping) else {}
    if not tail:
        return all(seen.get(key) == value for key, value in given.items())
    there, name = _by_name(part, seen), unquote(rest) or str(given.get("name", ""))
    if not rest and method == b"DELETE":
        return not there
    if not rest and part == "tags":
        tags = given.get("tags")
        every = tags if isinstance(tags, list) else []
        return all(isinstance(one, Mapping) and str(one.get("name")) in there for one in every)
    if method == b"DELETE":
        return name not in there
    if method == b"PUT":
        name = str(given.get("name") or name)
    shown = there.get(name, {})
    return bool(shown) and all(shown.get(key) == value for key, value in given.items())


def _renamed(given: Mapping[str, Any], key: str, before: Mapping[str, Any]) -> str:
    """The name that a change gave; "" where it is the one before."""
    name = str(given.get(key) or "")
    return "" if name == before.get(key) else name


def _by_name(part: str, shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The things of a part by name, each as it is written."""
    things = shown.get(PARTS.get(part, ""))
    if isinstance(things, Mapping):  # properties, whose name is the key alone
        things = [{"name": name, **one} for name, one in things.items() if isinstance(one, Mapping)]
    if not isinstance(things, list):
        return {}
    return {
        str(one["name"]): {key: value for key, value in one.items() if key not in READ_ONLY}
        for one in things
        if isinstance(one, Mapping) and "name" in one
    }


def _made(part: str, thing: Mapping[str, Any]) -> Request:
    """What makes a thing that was deleted."""
    if part == "tags":
        return Request(b"POST", f"tags/{quote(str(thing['name']), safe='')}")
    return Request(b"POST", part, msgspec.json.encode(thing))


def _all_back(part: str, had: Mapping[str, Mapping[str, Any]]) -> list[Request]:
    """What brings a whole part back, whatever is there now."""
    away = [Request(b"DELETE", part)]
    if part == "tags":
        tags = [{"name": name} for name in had]
        return away + ([Request(b"POST", "tags", msgspec.json.encode({"tags": tags}))] if tags else [])
    return away + [_made(part, thing) for thing in had.values()]
