"""Allocations of placement: a consumer's, at the site of the resource providers that the body names.

PUT POST  …/allocations[/{consumer}]  POST …/reshaper   the site of the providers; of several sites: 409
PUT with none, DELETE                                   the site where the consumer has some
"""

from collections.abc import Iterator
from typing import Any

from atoll.core.errors import Conflict
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.parts import Parts
from atoll.sites.site import Site

PROVIDER = "resource_provider"


class Allocations:
    """Changes to allocations."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Pass a change on to the one site that it is about. Raises Conflict."""
        parts = self._parts
        body = bodies.decoded(await call.read_body(parts.body_limit)) if call.request.has_body else None
        named = dict.fromkeys(providers(body or {}))
        sites: dict[str, list[str]] = {}
        for ident in named:
            for name in await parts.locator.having(call, PROVIDER, ident):
                sites.setdefault(name, []).append(ident)
        if len(sites) > 1:
            where = "; ".join(f"{', '.join(some)} at {name}" for name, some in sites.items())
            raise Conflict(
                f"One request cannot allocate from resource providers of several sites: {where}. "
                "Make one for each.",
                resource=PROVIDER,
                id=", ".join(named),
                site=", ".join(sites),
            )
        site = parts.sites.by_name[next(iter(sites))] if sites else await self._of_consumer(call)
        endpoint = parts.endpoint(site, call)
        await parts.forward.pass_on(call, endpoint, await parts.forward.send(call, endpoint))

    async def _of_consumer(self, call: Call) -> Site:
        """The site where the consumer has something, else the first."""
        parts, sites = self._parts, self._parts.reach.sites(call)
        if not call.match.id or len(sites) == 1:
            return sites[0]
        gathered = await scatter(
            {
                site.name: parts.forward.ask(
                    call, parts.endpoint(site, call), b"GET", call.path, why="search"
                )
                for site in sites
            }
        )
        for name, answer in gathered.answered.items():
            if (bodies.decoded(answer.text) or {}).get("allocations"):
                return parts.sites.by_name[name]
        if gathered.failed:
            raise none_answered("the consumer's allocations", gathered.failed)
        return sites[0]


def providers(body: dict[str, Any]) -> Iterator[str]:
    """The resource providers of a body: keys of objects from 1.12 on, named in a list before."""
    some = body.get("allocations", body)
    if isinstance(some, list):
        for one in some:
            provider = one.get(PROVIDER) if isinstance(one, dict) else None
            if isinstance(provider, dict):
                yield str(provider.get("uuid", ""))
        return
    yield from (ident for ident in body.get("inventories", ()) if bodies.is_id(ident))
    if not isinstance(some, dict):
        return
    for ident, one in some.items():
        inner = one.get("allocations") if isinstance(one, dict) else None
        if inner is None:
            if isinstance(one, dict) and "resources" in one and bodies.is_id(ident):
                yield ident
        else:  # of several consumers: each with allocations of its own
            yield from providers({"allocations": inner})
