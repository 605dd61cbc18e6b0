"""Hosts of block storage: which site has one, as far as their names tell."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, urlencode

from atoll.core.errors import Conflict
from atoll.core.ids import unqualify_host
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import scatter
from atoll.gateway.locate import missing
from atoll.gateway.parts import Parts
from atoll.services.table import Ref
from atoll.sites.site import Site

HOST = "host"
"""What bodies name one as, in the tables."""


async def having(parts: Parts, call: Call, asked: str) -> frozenset[str]:
    """The sites that have a host; it may be said with its pool (`host@backend#pool`) or site (`host@site`).

    Raises SiteUnavailable where one that does not answer may be the only one.
    """
    host, named = unqualify_host(asked, list(parts.sites.by_name))
    if named is not None:
        return frozenset({named})
    parts.limiter.take(call.caller.project_id, parts.forward.now())
    path = f"/v3/{call.caller.project_id}/os-hosts/{quote(host.partition('#')[0], safe='')}".encode()
    gathered = await scatter(
        {
            site.name: parts.forward.ask(
                call, parts.reach.endpoint(site, call, "block-storage"), b"GET", path, why="search"
            )
            for site in parts.reach.sites(call, "block-storage")
        }
    )
    found = frozenset(name for name, one in gathered.answered.items() if one.status == 200)
    if not found and (away := gathered.missing()):
        raise missing(HOST, asked, away)
    return found


async def site_of(parts: Parts, call: Call, asked: str) -> Site:
    """The site that has a host; the first where none has, to say so. Raises Conflict where several have."""
    found = await having(parts, call, asked)
    if len(found) > 1:
        raise ambiguous(asked, sorted(found))
    return parts.sites.by_name[next(iter(found))] if found else parts.reach.sites(call)[0]


def ambiguous(asked: str, sites: Sequence[str]) -> Conflict:
    """What is said of a host that is one at several sites."""
    names = " or ".join(f"{asked}@{site}" for site in sites)
    return Conflict(
        f"The host {asked} is one at {' and one at '.join(sites)}: name {names}.",
        resource=HOST,
        id=asked,
        site=", ".join(sites),
    )


def asked_for(call: Call, text: bytes, place: str) -> str:
    """The host that a request names: `?name` in its query, else at a place of its body; "" for none."""
    if place.startswith("?"):
        return dict(parse_qsl(call.request.query.decode("latin-1"))).get(place[1:], "")
    return bodies.value_at(bodies.decoded(text) or {}, place) or ""


def at_site(parts: Parts, call: Call, text: bytes, place: str) -> tuple[bytes, bytes]:
    """(query, body) of a request with the host in it as its site has it."""
    query = call.request.query
    if place.startswith("?"):
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        here = [(key, _local(parts, value) if key == place[1:] else value) for key, value in pairs]
        return (query if here == pairs else urlencode(here).encode()), text
    return query, body_at(parts, text, [Ref(place, HOST)])


def body_at(parts: Parts, text: bytes, refs: Sequence[Ref]) -> bytes:
    """A body with the hosts in it as their site has them."""
    hosts = [one for one in refs if one.resource == HOST]
    return bodies.with_ids(text, hosts, lambda _, host: _local(parts, host)) if hosts else text


def _local(parts: Parts, host: str) -> str:
    return unqualify_host(host, list(parts.sites.by_name))[0]
