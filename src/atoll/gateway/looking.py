"""Looking at sites as the caller of a request, for a plan."""

from collections.abc import Mapping
from typing import Any

from atoll.core.errors import NotFound, SiteUnavailable
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.parts import Parts
from atoll.services.catalog import SERVICES
from atoll.sites.site import Site


class Looking:
    """Asks sites; of Nova by a microversion, such as 2.46."""

    def __init__(self, parts: Parts, call: Call, version: str) -> None:
        self.parts = parts
        self.call = call.aside(call.deadline, versioned=False)
        self.call.service = SERVICES["compute"]
        self.call.request.index = {b"x-openstack-nova-api-version": version.encode()}

    async def answer(self, site: Site, service: str, target: str) -> SiteAnswer:
        """What a site says to a GET. Raises `SiteUnavailable`, `SiteTimeout`, `BadSiteAnswer`."""
        endpoint = self.parts.reach.endpoint(site, self.call, service)
        return await self.parts.forward.ask(self.call, endpoint, b"GET", target.encode(), why="a run")

    async def asked(self, site: Site, service: str, target: str) -> Any:
        """What a GET shows; None for a 404. Raises as `answer`, and `SiteUnavailable` for other refusals."""
        answer = await self.answer(site, service, target)
        if answer.status == 404:
            return None
        if answer.status != 200:
            text = f"The site {site.name} answers {answer.status} for {target}."
            raise SiteUnavailable(text, site=site.name, retry_after=1)
        return bodies.decoded(answer.text)

    async def shown(self, site: Site, service: str, target: str, key: str, ident: str) -> Mapping[str, Any]:
        """A thing. Raises `NotFound`."""
        answer = await self.asked(site, service, target)
        if answer is None:
            raise NotFound(f"There is no {key} {ident}.", resource=key, id=ident)
        found: Mapping[str, Any] = answer[key]
        return found
