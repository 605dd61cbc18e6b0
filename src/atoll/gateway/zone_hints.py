"""Which zone a create asks for, one thing or several in bulk: all of it goes to one site."""

from collections.abc import Mapping
from typing import Any

from atoll.core.errors import Conflict
from atoll.gateway import bodies
from atoll.gateway.parts import Parts
from atoll.services.table import Resource


def place(resource: Resource, body: Mapping[str, Any]) -> str:
    """Where a body names its zone: in the one thing, or in each of many."""
    _, _, below = resource.zone.partition("/")
    return f"{resource.plural}/*/{below}" if resource.plural in body else resource.zone


def asked(parts: Parts, resource: Resource, body: Mapping[str, Any]) -> str | None:
    """The zone that a body asks for; None where it asks for none.

    Raises Conflict where it names zones of more than one site.
    """
    if not resource.zone:
        return None
    where = place(resource, body)
    first = bodies.zone_named(body, where)
    if first is None or not where.endswith("/*"):
        return first
    named = dict.fromkeys(one for one in bodies.values(body, where) if isinstance(one, str) and one)
    sites = {zone: site.name for zone in named if (site := parts.sites.of_zone(zone)) is not None}
    if len(set(sites.values())) > 1:
        words = resource.name.replace("_", " ")
        what = f"Each {words}" if resource.plural in body else f"A {words}"
        places = ", ".join(f"{zone} is at {site}" for zone, site in sites.items())
        raise Conflict(
            f"{what} is at one site, and one request goes to one: the availability zone {places}. "
            f"Ask for what belongs to each site in a request of its own. Nothing was created.",
            resource="availability_zone",
            id=", ".join(sites),
            site=", ".join(dict.fromkeys(sites.values())),
        )
    return first
