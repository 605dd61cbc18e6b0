"""How a change of Cinder's specs of quality of service is taken back, as `inverses` has it for flavors.

Pure. Cinder associates types with specs, and parts them, in answer to a GET: `associate?vol_type_id=…`. Which
types have them is asked at `associations`; the ids there are each site's own.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import msgspec

from atoll.core.inverses import Request, Way

# GETs that change something.
CHANGING_GETS: Final = frozenset({"associate", "disassociate", "disassociate_all"})


def way(method: bytes, tail: str, body: object) -> Way:
    """What is known of a change before anything is asked."""
    del method
    if tail.partition("?")[0] in CHANGING_GETS:
        return Way("associations")
    return Way("" if tail in {"", "delete_keys"} and isinstance(body, Mapping) else None)


def undo(method: bytes, tail: str, body: object, before: Mapping[str, Any]) -> list[Request] | None:
    """The requests that bring back what was read before; None where there is no way back."""
    del method
    name, _, query = tail.partition("?")
    if name in CHANGING_GETS:
        had = _types(before)
        if name == "disassociate_all":
            return [_associated(one) for one in had]
        wanted = dict(parse_qsl(query)).get("vol_type_id", "")
        if (wanted in had) is (name == "associate"):
            return []  # it was as wanted before
        return [_parted(wanted) if name == "associate" else _associated(wanted)]
    old = _set(before)
    written = _keys(body) if tail == "delete_keys" else list(_given(body, "qos_specs"))
    back = {key: old[key] for key in written if key in old}
    new = [key for key in written if key not in old] if tail == "" else []
    requests = []
    if back:
        requests.append(Request(b"PUT", "", msgspec.json.encode({"qos_specs": back})))
    if new:
        requests.append(Request(b"PUT", "delete_keys", msgspec.json.encode({"keys": new})))
    return requests


def already(method: bytes, tail: str, body: object, before: Mapping[str, Any]) -> bool:
    """Whether a refusal says that it is as wanted already: one cloud would refuse it, too."""
    del method, tail, body, before
    return False


def shows(method: bytes, tail: str, body: object, seen: Mapping[str, Any]) -> bool:
    """Whether what is read afterwards shows that the change was made."""
    del method
    name, _, query = tail.partition("?")
    if name in CHANGING_GETS:
        there, wanted = _types(seen), dict(parse_qsl(query)).get("vol_type_id", "")
        if name == "disassociate_all":
            return not there
        return (wanted in there) is (name == "associate")
    now = _set(seen)
    if tail == "delete_keys":
        return not any(key in now for key in _keys(body))
    return all(str(now.get(key)) == str(value) for key, value in _given(body, "qos_specs").items())


def _given(content: object, name: str) -> Mapping[str, Any]:
    """An object in an object; empty where there is none."""
    inner = content.get(name) if isinstance(content, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _keys(body: object) -> list[str]:
    keys = body.get("keys") if isinstance(body, Mapping) else None
    return [str(key) for key in keys] if isinstance(keys, list) else []


def _set(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The specs with who consumes them, as they are written."""
    one = _given(shown, "qos_specs")
    return {**_given(one, "specs"), "consumer": one.get("consumer")}


def _types(shown: Mapping[str, Any]) -> list[str]:
    types = shown.get("qos_associations")
    every = types if isinstance(types, list) else []
    return [str(one["id"]) for one in every if isinstance(one, Mapping) and "id" in one]


def _associated(kind: str) -> Request:
    return Request(b"GET", f"associate?vol_type_id={quote(kind, safe='')}")


def _parted(kind: str) -> Request:
    return Request(b"GET", f"disassociate?vol_type_id={quote(kind, safe='')}")
