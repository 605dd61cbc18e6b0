"""What a request names, where each of it is, and what is said where it cannot be served together."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from atoll.core import bring
from atoll.core.bring import Lack, Place
from atoll.core.choose import Thing, Want, where, words
from atoll.core.errors import AtollError, Conflict, TooManyRequests
from atoll.core.outcomes import listed
from atoll.gateway import bodies, hosts
from atoll.gateway.call import Call
from atoll.gateway.locate import show_target
from atoll.gateway.parts import Parts
from atoll.same import by_name
from atoll.same.compare import BY_NAME
from atoll.services.catalog import HOMES, SERVICES
from atoll.services.table import Ref
from atoll.sites.site import Site

EVERYWHERE: Final = frozenset({("security_group", "default")})
"""Security groups of this name are in every site and project."""

NAMED: Final = {"security_group": "name", "floatingip": "floating_ip_address", "network": "name"}
"""What may be named otherwise than by its id: by what its lists are asked for. Networks are Nova's pools."""

ALIKE: Final = frozenset({"network", "subnet", "security_group"})
"""What of the same name at two sites may be declared to be one."""

# The version in which a flavor shows its extra specs.
_VERSION: Final = b"2.61"


async def things(parts: Parts, call: Call, body: Mapping[str, Any], refs: Sequence[Ref]) -> list[Thing]:
    """What a body names, with the sites that have it; without what no site has, which one of them will say.

    Raises SiteUnavailable where something may be at a site that does not answer.
    """
    wanted = bodies.named(body, refs)
    having = await asyncio.gather(
        *(_sites_of(parts, call, kind, ident) for kind, ident in wanted), return_exceptions=True
    )
    found = []
    for (kind, ident), sites in zip(wanted, having, strict=True):
        if isinstance(sites, BaseException):
            raise sites
        if sites:
            found.append(Thing(resource=kind, id=ident, sites=sites))
    return found


async def _sites_of(parts: Parts, call: Call, resource: str, ident: str) -> frozenset[str]:
    """The sites that have what a body names; empty where no site has it, or every one."""
    if (resource, ident) in EVERYWHERE:
        return frozenset()
    if resource == hosts.HOST:
        return await hosts.having(parts, call, ident)
    if resource in BY_NAME:
        return await parts.equivalents.having(call, resource, ident)
    if resource in NAMED and not bodies.is_id(ident):
        return await parts.locator.named(call, resource, ident, by=NAMED[resource])
    return await parts.locator.having(call, resource, ident, perhaps=True)


# -- what is said ---------------------------------------------------------------------------------


async def refusal(parts: Parts, call: Call, want: Want, sites: Sequence[str]) -> Conflict:
    """A create that no site can take: each thing with its site, and how to have all of it in one."""
    if not want.named:
        return Conflict(where(want), resource=want.resource)
    site = parts.sites.by_name[bring.target(want, sites)]
    more = await _advice(parts, call, [one for one in want.named if site.name not in one.sites], site)
    if common := bring.together(want).intersection(sites):
        more = f"{bring.by_zone(want, min(common, key=sites.index))} {more}"
    return Conflict(f"{where(want)} {more} Nothing was created.", resource=want.resource)


async def apart(parts: Parts, call: Call, lacking: Sequence[Thing], site: Site) -> Conflict:
    """A request to what is at a site, that names things which are not."""
    route = call.match.route
    what = words(route.resource) if route is not None else "resource"
    ident = call.match.id.decode("latin-1")
    named = "; ".join(
        f"the {words(one.resource)} {one.id} is at {', '.join(sorted(one.sites))}" for one in lacking
    )
    more = await _advice(parts, call, lacking, site)
    return Conflict(
        f"{named[0].upper()}{named[1:]} and the {what} {ident} at {site.name}: "
        f"one request cannot join two sites. {more} Nothing was changed.",
        resource=lacking[0].resource,
        id=lacking[0].id,
        site=site.name,
    )


def ambiguous(parts: Parts, call: Call, want: Want, sites: Sequence[Site]) -> Conflict | None:
    """What is said of a name that means different things at the sites that are left; None where none does."""
    left = [one.name for one in sites if one.accepts_creates]
    left = [name for name in left if want.zone is None or want.zones.get(want.zone) == name]
    left = [name for name in left if all(name in one.sites for one in want.named)]
    for one in want.named if len(left) > 1 else ():
        if one.resource == hosts.HOST:
            return hosts.ambiguous(one.id, left)
        if one.resource not in BY_NAME:
            continue
        name, meanings = parts.equivalents.meaning(call, one.resource, one.id)
        here = {site: meaning for site, meaning in meanings.items() if site in left}
        if differences := by_name.unlike(here, by_name.VISIBLE):
            zones = [zone for zone, site in want.zones.items() if site in here]
            return Conflict(
                f"The {words(one.resource)} {name} means different things: {by_name.said(differences)}. "
                f"Name an availability zone to say which: {' or '.join(zones)}. Nothing was created.",
                resource=one.resource,
                id=one.id,
                site=", ".join(here),
            )
    return None


def other_zone(parts: Parts, call: Call, zone: str, site: Site) -> Conflict | None:
    """What is said of a zone that is another site's than the thing in the path; None where it is no zone."""
    other = parts.sites.of_zone(zone)
    if other is None or other is site:
        return None
    what = words(call.match.route.resource) if call.match.route is not None else "resource"
    ident = call.match.id.decode("latin-1")
    zones = ", ".join(site.zones)
    return Conflict(
        f"The availability zone {zone} is in {other.name} and the {what} {ident} at {site.name}, "
        f"which it cannot leave: name one of that site's ({zones}). Nothing was changed.",
        resource="availability_zone",
        id=zone,
        site=site.name,
    )


async def _advice(parts: Parts, call: Call, lacking: Sequence[Thing], site: Site) -> str:
    """How to have at a site what it lacks; as much of it as can be found out.

    Where it is is looked at anew the next time: that may come after the commands.
    """
    for one in lacking:
        parts.locator.stale(one.resource, one.id)
    place = Place(
        site=site.name,
        zone=next(iter(site.zones), ""),
        region=site.region,
        cloud=site.cloud,
        operated=parts.operator.operates(call, site) and _of_one_cloud(parts, lacking, site),
        delegated=parts.delegation.possible,
    )
    try:
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        lacks = await asyncio.gather(*(_lack(parts, call, one, site) for one in lacking[: bring.MOST]))
    except TooManyRequests:
        lacks = [Lack(thing=one, at=min(one.sites)) for one in lacking[: bring.MOST]]
    rest = [Lack(thing=one) for one in lacking[bring.MOST :]]
    return bring.advice([*lacks, *rest], place)


def _of_one_cloud(parts: Parts, lacking: Sequence[Thing], site: Site) -> bool:
    """Whether all that a site lacks is at sites of its cloud: between others no run copies anything."""
    return all(parts.sites.by_name[at].cloud == site.cloud for one in lacking for at in one.sites)


async def _lack(parts: Parts, call: Call, thing: Thing, site: Site) -> Lack:
    """What is to be known of a thing for its command; less where nobody says it."""
    at = min(thing.sites, key=list(parts.sites.by_name).index)
    group = parts.equivalents.group(call, thing.resource, thing.id)
    if group is not None and site.name in group.ids and group.id != thing.id:
        return Lack(thing=thing, at=at, one=group.id)
    try:
        said = await shown(parts, call, thing, parts.sites.by_name[at])
        alike = ""
        if thing.resource in ALIKE and said.get("name"):
            alike = await _alike(parts, call, thing.resource, str(said["name"]), site)
    except AtollError:
        return Lack(thing=thing, at=at)
    return Lack(thing=thing, at=at, shown=said, alike=alike)


async def shown(parts: Parts, call: Call, thing: Thing, site: Site) -> Mapping[str, Any]:
    """What a site says of a thing of its own. Raises what `Forward.ask` raises."""
    if thing.resource in NAMED and not bodies.is_id(thing.id):
        return {"name": thing.id} if NAMED[thing.resource] == "name" else {}
    ids = parts.equivalents.ids(call, thing.resource, thing.id) or {}
    service_type, target = show_target(call, thing.resource, ids.get(site.name, thing.id))
    asked = call.aside(call.deadline, versioned=False)
    if thing.resource == "flavor":
        asked.request.index = {b"x-openstack-nova-api-version": _VERSION}
    endpoint = parts.reach.endpoint(site, call, service_type)
    answer = await parts.forward.ask(asked, endpoint, b"GET", target, why="check")
    content = bodies.decoded(answer.text) if answer.status == 200 else None
    envelope = SERVICES[service_type].by_name[thing.resource].envelope
    shown = (content or {}).get(envelope, content)
    return shown if isinstance(shown, dict) else {}


async def _alike(parts: Parts, call: Call, resource: str, name: str, site: Site) -> str:
    """The id of the one thing of a name at a site; "" where there is none, or several."""
    service = SERVICES[HOMES[resource]]
    one = service.by_name[resource]
    target = f"/{service.versions[0]}/{one.path}?name={quote(name, safe='')}&fields=id".encode()
    endpoint = parts.reach.endpoint(site, call, service.service_type)
    answer = await parts.forward.ask(call, endpoint, b"GET", target, why="search")
    items = listed(answer.text, one.plural) or () if answer.status == 200 else ()
    return str(items[0].get("id")) if len(items) == 1 else ""
