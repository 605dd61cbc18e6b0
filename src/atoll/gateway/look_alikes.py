"""Networks of one name at several sites that nobody has declared to be one: what a fault says about them."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from atoll.core.errors import Conflict, TooManyRequests
from atoll.core.outcomes import listed
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import scatter
from atoll.gateway.locate import show_target
from atoll.gateway.parts import Parts

_SAID: Final = 6
"""Sites named in a message; of more it is said how many."""


async def networks_named(parts: Parts, call: Call, name: str) -> dict[str, str]:
    """The one network of a name at each site that has just one. Raises TooManyRequests."""
    parts.limiter.take(call.caller.project_id, parts.forward.now())
    target = f"/v2.0/networks?name={quote(name, safe='')}&fields=id".encode()
    gathered = await scatter(
        {
            site.name: parts.forward.ask(
                call, parts.reach.endpoint(site, call, "network"), b"GET", target, why="search"
            )
            for site in parts.reach.sites(call, "network")
        }
    )
    found = {}
    for site, answer in gathered.answered.items():
        items = listed(answer.text, "networks") or () if answer.status == 200 else ()
        if len(items) == 1:
            found[site] = str(items[0].get("id"))
    return found


async def refuse_ambiguous(parts: Parts, call: Call, name: str) -> None:
    """Raise Conflict for the name of several networks that are not one: a client asks for them by name."""
    found = await networks_named(parts, call, name)
    ids = {parts.equivalents.shown(call, "network", site, ident) for site, ident in found.items()}
    if len(ids) > 1:
        raise Conflict(declare(name, found), resource="network", id=name, site=", ".join(found))


async def explained(parts: Parts, call: Call, error: Conflict, idents: Sequence[str]) -> Conflict:
    """A conflict of things at several sites, with what to do where networks of one name are the reason."""
    for ident in idents:
        site = parts.locator.cached("network", ident)
        if site is None:
            continue
        endpoint = parts.reach.endpoint(site, call, "network")
        answer = await parts.forward.ask(
            call, endpoint, b"GET", show_target(call, "network", ident)[1], why="search"
        )
        shown = (bodies.decoded(answer.text) or {}).get("network") if answer.status == 200 else None
        name = shown.get("name") if isinstance(shown, dict) else None
        try:
            found = await networks_named(parts, call, name) if isinstance(name, str) and name else {}
        except TooManyRequests:
            return error
        if len(found) > 1:
            return Conflict(
                f"{error} {declare(name or '', found)}", resource="network", id=ident, site=", ".join(found)
            )
    return error


def declare(name: str, found: dict[str, str]) -> str:
    """What networks have that name where, and how to say that they are one."""
    some = list(found.items())[:_SAID]
    where = ", ".join(f"{ident} at {site}" for site, ident in some)
    more = f" and {len(found) - _SAID} more" if len(found) > _SAID else ""
    pairs = " ".join(f"{site}={ident}" for site, ident in found.items())
    return (
        f"The name {name} is that of several networks, each its own: {where}{more}. Name one by its id, "
        "or have them used as one, in each zone the zone's: "
        f"atoll same add network {pairs} --name {name} --project"
    )
