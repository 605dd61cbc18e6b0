"""The network that Neutron makes for a project that asks: `/network/v2.0/auto-allocated-topology/{project}`.

    GET     the project's, where a site has made one; else the default site makes it
    DELETE  at every site that has made one

A GET makes something, so it goes to one site for each project whatever sites are away. Which has made one is
told by the name that Neutron gives such a network.
"""

from collections.abc import Sequence
from typing import Final

from atoll.core.errors import SiteUnavailable
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.everywhere import Change, Everywhere
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.parts import Parts
from atoll.sites.site import Site
from atoll.store import Sighting

NAME: Final = "auto_allocated_network"
CALLERS: Final = "None"
"""What clients write for their own project."""


class AutoTopology:
    """Finds and passes on."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._everywhere = Everywhere(parts)

    async def handle(self, call: Call) -> None:
        """Answer from the site that has it. Raises SiteUnavailable where one that may have it is away."""
        parts = self._parts
        sites = parts.reach.sites(call)
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        having = await self._having(call, sites) if len(sites) > 1 else list(sites)
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        if call.request.method == b"DELETE":
            changes = [Change(site=one, method=b"DELETE", target=target) for one in having or sites[:1]]
            answers = await self._everywhere.carry_out(call, "Deleting the project's network", changes)
            name, answer = next(iter(answers.items()))
            parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)
            return
        site = having[0] if having else self._for_new(call)
        endpoint = parts.endpoint(site, call)
        answer = await parts.forward.ask(call, endpoint, call.request.method, target)
        await self._learn(call, site, answer)
        parts.forward.answer(call, endpoint, answer)

    def _for_new(self, call: Call) -> Site:
        """The default site: for as long as it is away nothing is made anywhere."""
        site = self._parts.reach.default(call)
        if site.notice or not site.accepts_creates:
            why = site.notice or site.state
            raise SiteUnavailable(
                f"The network of a project is made at {site.name}, and that is {why}. Nothing was made.",
                resource="network",
                site=site.name,
                retry_after=5,
            )
        return site

    async def _having(self, call: Call, sites: Sequence[Site]) -> list[Site]:
        parts, project = self._parts, call.match.id.decode("latin-1")
        project = call.caller.project_id if project == CALLERS else project
        target = f"/v2.0/networks?name={NAME}&project_id={project}&fields=id".encode()
        gathered = await scatter(
            {
                site.name: parts.forward.ask(call, parts.endpoint(site, call), b"GET", target, why="search")
                for site in sites
            }
        )
        failed = dict(gathered.failed)
        having = []
        for site in sites:
            answer = gathered.answered.get(site.name)
            content = bodies.decoded(answer.text) if answer is not None and answer.status == 200 else None
            if content is None and site.name not in failed:
                failed[site.name] = SiteUnavailable(f"The site {site.name} did not say.", site=site.name)
            elif content is not None and content.get("networks"):
                having.append(site)
        if failed and (not having or call.request.method == b"DELETE"):
            raise none_answered("the project's network, and nothing was changed", failed)
        return having

    async def _learn(self, call: Call, site: Site, answer: SiteAnswer) -> None:
        content = bodies.decoded(answer.text) if answer.status < 300 else None
        made = (content or {}).get("auto_allocated_topology")
        ident = made.get("id") if isinstance(made, dict) else None
        if isinstance(ident, str) and bodies.is_id(ident):
            self._parts.locator.created("network", ident)
            await self._parts.locations.created(
                Sighting(resource_type="network", id=ident, site=site.name, project_id=call.caller.project_id)
            )
