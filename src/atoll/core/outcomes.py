"""Telling what a create made from all else that a site shows, when the site's answer was lost.

Pure. Claims nothing that could be another's: what was made carries no mark of the request that made it.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

ALIKE: Final = (
    "name", "description", "size", "network_id", "volume_id", "device_id", "floating_network_id", "port_id",
    "security_group_id", "source_volid", "snapshot_id", "cidr", "mac_address",
)  # fmt: skip
"""Fields that an answer shows as the body gave them: they have to be the same."""

EMPTY: Final = frozenset({"name", "description", "device_id"})
"""Of these, what is not given stays empty."""

# Nova numbers the servers of one request.
_NUMBERED: Final = re.compile(r"-\d+\Z")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a create asked for, by whom and when (seconds since 1970, by the site's clock)."""

    bodies: tuple[Mapping[str, Any], ...]
    """One for each thing."""
    project_id: str
    user_id: str
    since: float
    until: float

    @property
    def most(self) -> int:
        """How many things it can have made."""
        return sum(_count(body) for body in self.bodies)


def asked(body: Mapping[str, Any], envelope: str, plural: str) -> tuple[Mapping[str, Any], ...]:
    """The things that a create body describes: one in its envelope, several in bulk, or bare (Glance)."""
    if isinstance(body.get(plural), list):
        return tuple(one for one in body[plural] if isinstance(one, dict))
    one = body.get(envelope, body)
    return (one,) if isinstance(one, dict) else ()


def told_apart(
    items: Iterable[Mapping[str, Any]], wanted: Asked, others: Collection[str]
) -> tuple[list[str], str]:
    """The ids of what the create made among the items of a list; else none, and why.

    `others` are ids that are known to have been made by other requests.
    """
    alike = [item for item in items if str(item.get("id")) not in others and _may_be(item, wanted)]
    times = {str(item["id"]): _time(item.get("created_at") or item.get("created")) for item in alike}
    found = [ident for ident, at in times.items() if at is not None and wanted.since <= at <= wanted.until]
    if None in times.values():
        return [], "what is there does not show when it was made"
    if not found:
        return [], "nothing of it is there"
    if len(found) > wanted.most:
        return [], f"it cannot be told from others made at the same time: {', '.join(sorted(found))}"
    return found, ""


def _may_be(item: Mapping[str, Any], wanted: Asked) -> bool:
    if "id" not in item or item.get("status") == "DELETED":
        return False
    if item.get("user_id", wanted.user_id) != wanted.user_id:
        return False
    return any(_alike(item, body, wanted.project_id) for body in wanted.bodies)


def _alike(item: Mapping[str, Any], body: Mapping[str, Any], project: str) -> bool:
    owner = item.get("project_id") or item.get("tenant_id") or item.get("os-vol-tenant-attr:tenant_id")
    if owner and owner != (body.get("project_id") or body.get("tenant_id") or project):
        return False
    for key in ALIKE:
        given, shown = body.get(key), item.get(key)
        if key not in item or (given is None and (key not in EMPTY or not shown)) or _same(given, shown):
            continue
        if key == "name" and _count(body) > 1 and _same(given, _NUMBERED.sub("", str(shown))):
            continue
        return False
    return True


def _same(given: object, shown: object) -> bool:
    return str(given).strip().lower() == str(shown).strip().lower()


def _count(body: Mapping[str, Any]) -> int:
    counts = [body.get("min_count"), body.get("max_count")]
    return max((int(one) for one in counts if isinstance(one, int | str) and str(one).isdigit()), default=1)


def _time(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def listed(text: bytes, plural: str) -> Sequence[Mapping[str, Any]] | None:
    """The items of a list answer; None for what is no such list."""
    try:
        content = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        return msgspec.json.decode(content[plural], type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        return None
