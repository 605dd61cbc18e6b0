"""What goes by its name at every site (types of volumes and groups, QoS specs), and its meaning there. Pure.

A name alone makes such things one: clients name them so. Where the name means different things at two sites a
client that names it gets one or the other, so that is told.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

Meaning = Mapping[str, str]
"""What a type is, by the names of what it has: `{"multiattach": "<is> True"}`."""

VISIBLE: Final = frozenset({"is_public", "multiattach", "replication_enabled"})
"""What everybody is shown of a type of volumes, so that it can be compared on behalf of anybody."""

OF_A_SITE: Final = frozenset({"volume_backend_name", "RESKEY:availability_zones"})
"""What names parts of the site, and is another at each by its nature."""

_SPECS: Final = {"volume_type": "extra_specs", "group_type": "group_specs", "qos_spec": "specs"}
_FIELDS: Final = ("is_public", "consumer")


def meanings(resource: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Meaning]:
    """What each thing in a site's list means, by its name."""
    return {str(one.get("name")): meaning(resource, one) for one in items if isinstance(one, Mapping)}


def meaning(resource: str, item: Mapping[str, Any]) -> Meaning:
    """What one is, as far as it is shown."""
    specs = item.get(_SPECS[resource])
    found = {key: str(item[key]) for key in _FIELDS if key in item}
    if isinstance(specs, Mapping):
        found |= {str(key): str(value) for key, value in specs.items() if key not in OF_A_SITE}
    return found


def unlike(by_site: Mapping[str, Meaning], keys: Collection[str] | None = None) -> dict[str, dict[str, str]]:
    """Where sites differ: by the name of what differs, what each site has for it ("" for nothing).

    `keys` are what is compared; None: all that any site shows.
    """
    every = sorted({key for one in by_site.values() for key in one if keys is None or key in keys})
    found = {key: {site: one.get(key, "") for site, one in by_site.items()} for key in every}
    return {key: values for key, values in found.items() if len(set(values.values())) > 1}


def said(differences: Mapping[str, Mapping[str, str]]) -> str:
    """Differences in words: `multiattach is <is> True at paris and nothing at tokyo`."""
    parts = []
    for key, values in differences.items():
        having: dict[str, list[str]] = {}
        for site, value in values.items():
            having.setdefault(value, []).append(site)
        places = [f"{value or 'nothing'} at {', '.join(sites)}" for value, sites in having.items()]
        parts.append(f"{key} is {' and '.join(places)}")
    return "; ".join(parts)
