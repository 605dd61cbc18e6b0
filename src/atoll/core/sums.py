"""Quota and usage arithmetic over sites: totals add up, per-object limits take the minimum, -1 gives -1.

What is written is divided so that the sum, or the minimum, of the shares is what was written, and no site
gets less than it uses where that can be.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

UNLIMITED: Final = -1

# Every key that the services' quota sets have. Keys that are in neither list are totals too: Cinder makes
# some of volume types (`volumes_ssd`), Neutron of its extensions.
TOTALS: Final = {
    "compute": frozenset(
        {"instances", "cores", "ram", "floating_ips", "fixed_ips", "security_groups", "server_groups"}
    ),
    "block-storage": frozenset(
        {"volumes", "snapshots", "gigabytes", "backups", "backup_gigabytes", "groups"}
    ),
    "network": frozenset(
        {"network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule",
         "rbac_policy", "subnetpool", "trunk"}
    ),
}  # fmt: skip
# Limits on one object, or on what is the same at every site: two sites do not make a server with twice the
# metadata, nor a user with twice the keypairs.
PER_OBJECT: Final = {
    "compute": frozenset(
        {"metadata_items", "injected_files", "injected_file_content_bytes", "injected_file_path_bytes",
         "key_pairs", "server_group_members", "security_group_rules"}
    ),
    "block-storage": frozenset({"per_volume_gigabytes"}),
    "network": frozenset({"router_route"}),
}  # fmt: skip
# The same under the names that `limits` gives them.
PER_OBJECT_IN_LIMITS: Final = frozenset(
    {"maxImageMeta", "maxPersonality", "maxPersonalitySize", "maxServerMeta", "maxSecurityGroupRules",
     "maxServerGroupMembers", "maxTotalKeypairs"}
)  # fmt: skip
_MINIMAL: Final = frozenset().union(*PER_OBJECT.values()) | PER_OBJECT_IN_LIMITS

# Figures without limits: -1 is a number like another there (a hypervisor's free disk may be below zero).
_FIGURES: Final = frozenset({"hypervisor_statistics", "tenant_usage", "tenant_usages", "volume-summary"})
# Lists with one item for each project.
_OF_PROJECTS: Final = frozenset({"tenant_usages", "quotas"})
# What is the same in every share.
_KEPT: Final = frozenset({"id", "name", "project_id", "tenant_id", "start", "stop"})

_INTEGER: Final = re.compile(r"-?\d{1,18}\Z", re.ASCII)


def combine(shares: Sequence[Any]) -> Any:
    """One document for the shares of several sites, of the same shape.

    Numbers are combined by their key, lists that differ are appended (reports of one project added up),
    everything else is the first site's.
    """
    return _combine("", shares, bounded=True)


def _combine(key: str, values: Sequence[Any], *, bounded: bool) -> Any:
    first = values[0]
    bounded = bounded and key not in _FIGURES
    if isinstance(first, dict):
        return _objects(key, [value for value in values if isinstance(value, dict)], bounded=bounded)
    if isinstance(first, bool) or key in _KEPT:
        return first
    if isinstance(first, int | float):
        return _numbers(key, [value for value in values if isinstance(value, int | float)], bounded=bounded)
    if isinstance(first, list):
        return _lists(key, [value for value in values if isinstance(value, list)])
    return first


def _objects(key: str, values: Sequence[Mapping[str, Any]], *, bounded: bool) -> dict[str, Any]:
    keys = dict.fromkeys(name for value in values for name in value)
    per_object = key in _MINIMAL
    together = {}
    for name in keys:
        present = [value[name] for value in values if name in value]
        # {"key_pairs": {"limit": 100, "in_use": 1}}: the limit of a per-object figure is its minimum
        together[name] = _combine(key if per_object and name == "limit" else name, present, bounded=bounded)
    if "overall_status" in together:
        together["overall_status"] = _audited(together)
    return together


def _audited(report: Mapping[str, Any]) -> str:
    """The line by which Nova sums up a usage audit, for the hosts of all sites."""
    done, hosts = report.get("num_hosts_done"), report.get("num_hosts")
    share = "ALL" if done == hosts else f"{done} of {hosts}"
    return f"{share} hosts done. {report.get('total_errors')} errors."


def _numbers(key: str, values: Sequence[float], *, bounded: bool) -> float:
    if bounded and UNLIMITED in values:
        return UNLIMITED
    if key in _MINIMAL:
        return min(values)
    return sum(values)


def _lists(key: str, values: Sequence[list[Any]]) -> list[Any]:
    items = [item for value in values for item in value]
    if key in _OF_PROJECTS:
        reports: dict[str, list[Any]] = {}
        for report in items:
            reports.setdefault(report.get("tenant_id", ""), []).append(report)
        return [_combine(key, of_one, bounded=key != "tenant_usages") for of_one in reports.values()]
    if key == "server_usages":
        return items  # a server is at one site only
    joined: list[Any] = []
    for item in items:
        if item not in joined:
            joined.append(item)
    return joined


def divided(
    service: str, quota: Mapping[str, Any], used: Sequence[Mapping[str, int]], *, level: bool = False
) -> list[dict[str, Any]]:
    """The members of a quota set as they are set at each site; `used` is what each one uses, by member.

    A total gives every site what it uses, and the rest evenly, what remains to the first; with `level` it is
    even, but for the sites that use more than that. A total below what all use gives none more than it uses.
    Limits on one object, -1 and whatever is no number are for every site as they are. A number that came as
    text stays text.
    """
    shares: list[dict[str, Any]] = [{} for _ in used]
    for key, value in quota.items():
        whole = integer(value)
        if whole is None or whole < 0 or key in PER_OBJECT.get(service, ()):
            parts: list[Any] = [value] * len(used)
        else:
            parts = _parts(whole, [max(one.get(key, 0), 0) for one in used], level=level)
        for share, part in zip(shares, parts, strict=True):
            share[key] = str(part) if isinstance(value, str) and whole is not None else part
    return shares


def _parts(total: int, used: Sequence[int], *, level: bool) -> list[int]:
    """A total for each site. The sum is the total, whatever is used."""
    rest = total - sum(used)
    if rest < 0:
        return _lowered(total, used)
    if level:
        return _raised(total, used)
    each, remains = divmod(rest, len(used))
    return [floor + each + (at < remains) for at, floor in enumerate(used)]


def _raised(total: int, used: Sequence[int]) -> list[int]:
    """As even as it can be with no site below what it uses, which is less than the total for all."""
    parts = [0] * len(used)
    order = sorted(range(len(used)), key=lambda at: (-used[at], at))
    for done, at in enumerate(order):
        parts[at] = max(used[at], -(-total // (len(order) - done)))
        total -= parts[at]
    return parts


def _lowered(total: int, used: Sequence[int]) -> list[int]:
    """As even as it can be with no site above what it uses, which is more than the total for all."""
    parts = [0] * len(used)
    order = sorted(range(len(used)), key=lambda at: (used[at], -at))
    for done, at in enumerate(order):
        parts[at] = min(used[at], total // (len(order) - done))
        total -= parts[at]
    return parts


def integer(value: Any) -> int | None:
    """The whole number that a service would read, None where there is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and _INTEGER.match(value) else None
