"""Quota and usage arithmetic over sites: totals add up, per-object limits take the minimum, -1 gives -1."""

from collections.abc import Mapping, Sequence
from typing import Any

UNLIMITED = -1

# Limits on one object: two sites do not make a server with twice the metadata.
PER_OBJECT = frozenset(
    {
        "maxImageMeta", "maxPersonality", "maxPersonalitySize", "maxServerMeta", "maxSecurityGroupRules",
        "maxServerGroupMembers", "maxTotalKeypairs", "metadata_items", "injected_files",
        "injected_file_content_bytes", "injected_file_path_bytes", "injected_file_path_size", "key_pairs",
        "server_group_members", "security_group_rules", "per_volume_gigabytes",
    }
)  # fmt: skip
# Figures that are usage although they stand beside limits: -1 has no meaning there.
_KEPT = frozenset({"id", "name", "project_id", "tenant_id", "start", "stop"})


def combine(shares: Sequence[Any]) -> Any:
    """One document for the shares of several sites, of the same shape.

    Numbers are combined by their key, lists that differ are appended, everything else is the first site's.
    """
    return _combine("", shares)


def _combine(key: str, values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return _objects(key, [value for value in values if isinstance(value, dict)])
    if isinstance(first, bool) or key in _KEPT:
        return first
    if isinstance(first, int | float):
        return _numbers(key, [value for value in values if isinstance(value, int | float)])
    if isinstance(first, list):
        joined = []
        for value in values:
            joined += [one for one in value if one not in joined] if isinstance(value, list) else []
        return joined
    return first


def _objects(key: str, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    keys = dict.fromkeys(name for value in values for name in value)
    per_object = key in PER_OBJECT
    together = {}
    for name in keys:
        present = [value[name] for value in values if name in value]
        # {"key_pairs": {"limit": 100, "in_use": 1}}: the limit of a per-object figure is its minimum
        together[name] = _combine(key if per_object and name == "limit" else name, present)
    return together


def _numbers(key: str, values: Sequence[float]) -> float:
    if UNLIMITED in values:
        return UNLIMITED
    if key in PER_OBJECT:
        return min(values)
    return sum(values)


def divided(body: Mapping[str, Any], parts: int) -> list[dict[str, Any]]:
    """A quota body as it is set at each of `parts` sites: totals divided evenly, the rest to the first."""
    return [_share(body, parts, index) for index in range(parts)]


def _share(body: Mapping[str, Any], parts: int, index: int) -> dict[str, Any]:
    share: dict[str, Any] = {}
    for key, value in body.items():
        if isinstance(value, Mapping):
            share[key] = _share(value, parts, index)
        elif isinstance(value, bool) or not isinstance(value, int) or key in PER_OBJECT or value < 0:
            share[key] = value
        else:
            each, rest = divmod(value, parts)
            share[key] = each + (1 if index < rest else 0)
    return share
