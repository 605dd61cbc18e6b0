"""How a change of a shared thing is taken back: what has to be read before, and the requests that undo it.

Pure: bodies in, requests out. Paths are what follows the thing's own: `os-extra_specs/hw:cpu_policy`.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

# Maps of specs below a flavor or a type, and the key that they stand under in a body.
SPECS: Final = {"os-extra_specs": "extra_specs", "extra_specs": "extra_specs", "group_specs": "group_specs"}
# Actions that give and take a project's access, where the access is read, and how it names a project there.
ACCESS: Final = {
    "addTenantAccess": ("removeTenantAccess", "os-flavor-access", "flavor_access", "tenant_id"),
    "addProjectAccess": ("removeProjectAccess", "os-volume-type-access", "volume_type_access", "project_id"),
}
# How the volumes of a type are encrypted, and what of that is written; `{}` is shown where they are not.
ENCRYPTION: Final = "encryption"
_ENCRYPTED: Final = ("provider", "cipher", "key_size", "control_location")
# What a site says to a request that takes back what was not there.
NOTHING_THERE: Final = frozenset({404, 409})


class Request(NamedTuple):
    """A request on the thing at one site; `body` None: without one, `under` a name that it has since."""

    method: bytes
    tail: str
    body: bytes | None = None
    under: str = ""


class Way(NamedTuple):
    """What has to be read before a change, and how it is taken back.

    `read` is the tail of what is read (None: the change cannot be taken back), `fine` refusals which say that
    the site is as wanted already.
    """

    read: str | None
    fine: frozenset[int] = frozenset()


def way(method: bytes, tail: str, body: Mapping[str, Any] | None) -> Way:
    """What is known of a change before anything is asked."""
    first, _, key = tail.partition("/")
    if first in SPECS and (body is not None or method == b"DELETE"):
        return Way(first, frozenset({404}) if method == b"DELETE" and key else frozenset())
    if first == ENCRYPTION and (body is not None or method == b"DELETE"):
        return Way(ENCRYPTION, frozenset({404}) if method == b"DELETE" else frozenset())
    if tail == "action" and body is not None:
        for add, (remove, read, _, _) in ACCESS.items():
            if remove in body:
                return Way(read, frozenset({404}))
            if add in body:
                return Way(read)
    if not tail and method == b"PUT" and body is not None:
        return Way("")
    return Way(None)


def undo(
    method: bytes, tail: str, body: Mapping[str, Any] | None, before: Mapping[str, Any]
) -> list[Request] | None:
    """The requests that bring back what was read before; None where there is no way back."""
    first, _, key = tail.partition("/")
    if first in SPECS:
        old = before.get(SPECS[first])
        return _specs(method, first, key, body or {}, old) if isinstance(old, dict) else None
    if first == ENCRYPTION:
        return _encryption(method, body or {}, before)
    if tail == "action":
        return _access(body or {}, before)
    if not tail and method == b"PUT" and body:
        return _fields(body, before)
    return None


def already(method: bytes, tail: str, body: Mapping[str, Any] | None, before: Mapping[str, Any]) -> bool:
    """Whether a project has the access that is to be given: the site's 409 is no refusal then."""
    del method
    for add, (_, _, plural, named) in ACCESS.items():
        if tail == "action" and body is not None and add in body:
            return _project(body[add]) in {one.get(named) for one in before.get(plural, ())}
    return False


def shows(method: bytes, tail: str, body: Mapping[str, Any] | None, seen: Mapping[str, Any]) -> bool:
    """Whether what is read afterwards shows that the change was made."""
    first, _, key = tail.partition("/")
    if first in SPECS:
        now = seen.get(SPECS[first])
        if not isinstance(now, dict):
            return False
        if method == b"DELETE":
            return key not in now
        wanted = (body or {}).get(SPECS[first], body) or {}
        return all(str(now.get(name)) == str(value) for name, value in wanted.items())
    if first == ENCRYPTION:
        wanted = _encrypted(body or {}).items()
        return not seen if method == b"DELETE" else all(seen.get(key) == value for key, value in wanted)
    if tail == "action":
        return _access_shows(body or {}, seen)
    shown = _inner(seen)
    return all(shown.get(name) == value for name, value in _inner(body or {}).items())


def _specs(
    method: bytes, coll: str, key: str, body: Mapping[str, Any], old: Mapping[str, Any]
) -> list[Request]:
    written = [key] if method == b"DELETE" or key else list(body.get(SPECS[coll]) or {})
    back = {name: old[name] for name in written if name in old}
    requests = []
    if back:
        requests.append(Request(b"POST", coll, msgspec.json.encode({SPECS[coll]: back})))
    if method != b"DELETE":
        requests += [
            Request(b"DELETE", f"{coll}/{quote(name, safe='')}") for name in written if name not in old
        ]
    return requests


def _encrypted(body: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = body.get(ENCRYPTION)
    return inner if isinstance(inner, Mapping) else {}


def _encryption(method: bytes, body: Mapping[str, Any], before: Mapping[str, Any]) -> list[Request] | None:
    """Cinder asks for an id of the encryption in a path, and goes by the type alone."""
    old = {key: before[key] for key in _ENCRYPTED if before.get(key) is not None}
    written = msgspec.json.encode({ENCRYPTION: old})
    if method == b"POST":
        return [] if old else [Request(b"DELETE", f"{ENCRYPTION}/any")]
    if not old:
        return []
    if method == b"DELETE":
        return [Request(b"POST", ENCRYPTION, written)]
    if any(key not in old for key in _encrypted(body)):
        return None
    return [Request(b"PUT", f"{ENCRYPTION}/any", written)]


def _access(body: Mapping[str, Any], before: Mapping[str, Any]) -> list[Request] | None:
    for add, (remove, _, plural, named) in ACCESS.items():
        had = {one.get(named) for one in before.get(plural, ())}
        for this, other, changes in ((add, remove, False), (remove, add, True)):
            if this in body:
                if (_project(body[this]) in had) is not changes:
                    return []  # it was as wanted before
                return [Request(b"POST", "action", msgspec.json.encode({other: body[this]}))]
    return None


def _access_shows(body: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    for add, (remove, _, plural, named) in ACCESS.items():
        there = {one.get(named) for one in seen.get(plural, ())}
        if add in body:
            return _project(body[add]) in there
        if remove in body:
            return _project(body[remove]) not in there
    return False


def _fields(body: Mapping[str, Any], before: Mapping[str, Any]) -> list[Request] | None:
    """The old values of the fields that were given."""
    given, old = _inner(body), _inner(before)
    if any(name not in old for name in given):
        return None
    back: dict[str, Any] = {name: old[name] for name in given}
    for envelope, value in body.items():
        if isinstance(value, dict) and len(body) == 1:
            back = {envelope: back}
    return [Request(b"PUT", "", msgspec.json.encode(back))]


def _inner(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands in the one envelope, or the content itself where there is none."""
    values = list(content.values())
    return values[0] if len(values) == 1 and isinstance(values[0], dict) else content


def _project(value: Any) -> Any:
    return next(iter(value.values()), None) if isinstance(value, dict) else None
