"""Networks of one name at several sites that nobody has declared to be one: what a fault says about them."""

from typing import Final
from urllib.parse import quote

from atoll.core.errors import Conflict
from atoll.core.outcomes import listed
from atoll.gateway.call import Call
from atoll.gateway.fanout import scatter
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
