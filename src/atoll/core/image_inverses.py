"""How a change of an image that is at several sites is taken back, as `inverses` has it for flavors.

Pure. An image stands in no envelope, and its PATCH is a list of operations. Paths are what follows its
own: `members/ID`, `tags/NAME`, `actions/deactivate`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from atoll.core.inverses import Request, Way

# Each action, what takes it back, and the status of an image that it makes.
ACTIONS: Final = {"deactivate": ("reactivate", "deactivated"), "reactivate": ("deactivate", "active")}
# The names of operations in the older form of patches, which are their keys.
OPERATIONS: Final = ("add", "replace", "remove")
# What a site says of a tag or a member that is not there, or is there already.
NOT_THERE: Final = frozenset({404})
THERE: Final = frozenset({409})


def way(method: bytes, tail: str, body: object) -> Way:
    """What is known of a change before anything is asked."""
    first, _, rest = tail.partition("/")
    if not tail and method == b"PATCH" and isinstance(body, list):
        return Way("")
    if first == "tags" and rest:
        return Way("", NOT_THERE if method == b"DELETE" else frozenset())
    if first == "actions" and rest in ACTIONS:
        return Way("")
    if first == "members":
        return Way("members", NOT_THERE if method == b"DELETE" else frozenset())
    return Way(None)


def already(method: bytes, tail: str, body: object, before: Mapping[str, Any]) -> bool:
    """Whether a project is a member already: the site's 409 is no refusal then."""
    return tail == "members" and method == b"POST" and _member(_named(body), before) is not None


def undo(method: bytes, tail: str, body: object, before: Mapping[str, Any]) -> list[Request] | None:
    """The requests that bring back what was read before; None where there is no way back."""
    first, _, rest = tail.partition("/")
    if not tail and isinstance(body, list):
        return _patched_back(body, before)
    if first == "tags":
        had = unquote(rest) in before.get("tags", ())
        if had is (method != b"DELETE"):
            return []
        return [Request(b"PUT" if had else b"DELETE", tail)]
    if first == "actions":
        opposite, made = ACTIONS[rest]
        return [] if before.get("status") == made else [Request(b"POST", f"actions/{opposite}")]
    if first == "members":
        return _member_back(method, unquote(rest) or _named(body), before)
    return None


def shows(method: bytes, tail: str, body: object, seen: Mapping[str, Any]) -> bool:
    """Whether what is read afterwards shows that the change was made."""
    first, _, rest = tail.partition("/")
    if first == "tags":
        return (unquote(rest) in seen.get("tags", ())) is (method != b"DELETE")
    if first == "actions":
        return bool(seen.get("status") == ACTIONS[rest][1])
    if first == "members":
        member = _member(unquote(rest) or _named(body), seen)
        if method == b"PUT" and isinstance(body, Mapping):
            return member is not None and member.get("status") == body.get("status")
        return (member is not None) is (method != b"DELETE")
    return isinstance(body, list) and all(_shown(one, seen) for one in operations(body))


def operations(patch: Sequence[object]) -> list[tuple[str, str, Any]]:
    """(operation, property, value) of a patch in either of its forms; what is no operation is left out."""
    found = []
    for one in patch:
        if not isinstance(one, Mapping):
            continue
        older = next((name for name in OPERATIONS if name in one), "")
        path = one.get(older) if older else one.get("path")
        if isinstance(path, str):
            name = path.removeprefix("/").partition("/")[0].replace("~1", "/").replace("~0", "~")
            found.append((older or str(one.get("op")), name, one.get("value")))
    return found


def _patched_back(patch: Sequence[object], before: Mapping[str, Any]) -> list[Request] | None:
    """A patch in the form of the one given, for it goes out under the same content type."""
    older = any(isinstance(one, Mapping) and "op" not in one for one in patch)
    back: list[dict[str, Any]] = []
    for name in dict.fromkeys(name for _, name, _ in operations(patch)):
        path = "/" + name.replace("~", "~0").replace("/", "~1")
        # To add what is there is to replace it; what is not there cannot be removed.
        what = "add" if name in before else "remove"
        operation = {what: path} if older else {"op": what, "path": path}
        back.append(operation | ({"value": before[name]} if name in before else {}))
    return [Request(b"PATCH", "", msgspec.json.encode(back))] if back else None


def _shown(operation: tuple[str, str, Any], seen: Mapping[str, Any]) -> bool:
    what, name, value = operation
    if what == "remove":
        return name not in seen
    shown = seen.get(name)
    return sorted(shown) == sorted(value) if isinstance(shown, list) else bool(shown == value)


def _member_back(method: bytes, project: str, before: Mapping[str, Any]) -> list[Request] | None:
    old, path = _member(project, before), f"members/{quote(project, safe='')}"
    if method == b"POST":
        return [] if old is not None else [Request(b"DELETE", path)]
    if old is None:
        return []
    status = msgspec.json.encode({"status": old.get("status")})
    if method == b"PUT":
        return [Request(b"PUT", path, status)]
    added = Request(b"POST", "members", msgspec.json.encode({"member": project}))
    # Its owner makes a member, but only the member can say that it takes the image.
    return [added] if old.get("status") == "pending" else None


def _member(project: str, shown: Mapping[str, Any]) -> Mapping[str, Any] | None:
    members = [one for one in shown.get("members", ()) if isinstance(one, Mapping)]
    return next((one for one in members if one.get("member_id") == project), None)


def _named(body: object) -> str:
    return str(body.get("member")) if isinstance(body, Mapping) else ""
