"""Every other service of the sites: placement, orchestration, load balancing, DNS, keys and so on.

    /{service}/[{version}/[{project}/]]…   what all sites have of it, as its table in `services.other` says
    /{service}@{site}/…                    one site's, as it is

Must not know one service from another: what differs is in the tables, and in `allocations`.
"""

import re
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import replace
from typing import Final

from atoll.core.errors import Conflict, NotFound, NotImplementedHere
from atoll.core.other_links import OtherLinks, inward, links_of
from atoll.gateway import bodies, policy
from atoll.gateway.alike import Alike
from atoll.gateway.allocations import Allocations
from atoll.gateway.call import Call
from atoll.gateway.discovery import Discovery
from atoll.gateway.fanout import scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.locate import missing
from atoll.gateway.parts import Parts
from atoll.gateway.placed import Placed
from atoll.gateway.united import United
from atoll.services.other import ACCOUNT_ROUTE, OTHER
from atoll.services.table import Kind, Route, Service
from atoll.sites.site import Endpoint, Site
from atoll.store import Sighting

REMEMBERED_SECONDS: Final = 30.0
"""How long it is believed that what has a name, not an id, is at a site: another may be made elsewhere."""
REMEMBERED: Final = 10_000
NOT_THERE: Final = frozenset({400, 404, 410})
_VERSION = re.compile(rb"v\d+(\.\d+)?\Z")

Authenticate = Callable[[Call, Service], Awaitable[None]]


class Other:
    """Answers for the services in `services.other`. `authenticate` finds out who asks, or raises."""

    def __init__(
        self, parts: Parts, placed: Placed, discovery: Discovery, authenticate: Authenticate
    ) -> None:
        self._parts = parts
        self._placed = placed
        self._discovery = discovery
        self._authenticate = authenticate
        self._united = United(parts)
        self._alike = Alike(parts)
        self._allocations = Allocations(parts)
        self._named: dict[Hashable, tuple[float, str]] = {}

    def service(self, segment: bytes) -> Service | None:
        """The service that the first part of a path names, with or without a site; None for no such."""
        name = segment.partition(b"@")[0].decode("latin-1")
        return OTHER.get(name) if self._parts.sites.with_service(name) else None

    async def handle(self, call: Call, service: Service, segments: Sequence[bytes]) -> None:
        """Answer a path that begins with one of the services."""
        call.service = service
        name, at, site = segments[1].partition(b"@")
        call.path = call.request.path[len(segments[1]) + 1 :] or b"/"
        tail = _tail(service, list(segments[2:]))
        public = not any(segments[2:]) or (bool(_VERSION.match(segments[2])) and not any(segments[3:]))
        if at:
            await self._at_site(call, site.decode("latin-1"), tail, public=public)
            return
        if public:
            await self._discovery.handle(call)
            return
        await self._authenticate(call, service)
        call.path = _with_project(call, service, tail)
        call.match = service.match(call.request.method, tail)
        route = call.match.route
        await policy.check(self._parts, call, route)
        if not self._parts.reach.sites(call):
            self._parts.endpoint(self._parts.sites.with_service(name.decode())[0], call)
        await self._dispatch(call, route)

    async def _dispatch(self, call: Call, route: Route | None) -> None:
        if call.request.has_body and not (route is not None and route.raw):
            await call.read_body(self._parts.body_limit)
        kind = route.kind if route is not None else None
        if route is None:
            await self._the_only(call)
        elif kind is Kind.UNITED and call.request.method == b"POST":
            await self._create(call, route)
        elif kind is Kind.UNITED:
            await self._united.handle(call)
        elif kind is Kind.ALIKE:
            await self._alike.handle(call)
        elif kind is Kind.ALLOCATED:
            await self._allocations.handle(call)
        elif kind is Kind.ANY_SITE:
            await self._pass(call, self._parts.reach.default(call))
        else:
            await self._by_id(call, route)

    async def _pass(self, call: Call, site: Site, route: Route | None = None) -> int:
        """Pass the request on to a site; the status of its answer."""
        parts = self._parts
        endpoint = parts.endpoint(site, call)
        raw = route is not None and route.raw
        self._inward(call, site)
        response = await parts.forward.send(call, endpoint, raw=raw)
        await parts.forward.pass_on(call, endpoint, response, raw=raw)
        return response.status

    def _inward(self, call: Call, site: Site) -> None:
        """The body with links as the site has them."""
        if call.text:
            bases = {
                name.encode(): one.links.bases[0][0] for name, one in site.endpoints.items() if name in OTHER
            }
            call.text = inward(call.text, self._parts.public_url.encode(), bases)

    async def _the_only(self, call: Call) -> None:
        """What belongs to a site, where only one has the service. Raises NotImplementedHere."""
        sites = self._parts.reach.sites(call)
        if len(sites) > 1:
            url = f"{self._parts.public_url}/{call.service_type}@{sites[0].name}"
            names = ", ".join(site.name for site in sites)
            raise NotImplementedHere(
                f"This path of the service {call.service_type} belongs to a site, and several have it "
                f"({names}): ask one of them, below {url}.",
                site=names,
            )
        await self._pass(call, sites[0])

    async def _create(self, call: Call, route: Route) -> None:
        text = call.text or b""
        body, linked = bodies.decoded(text), self._linked(text)
        if not linked:
            await self._placed.create_at_choice(call, text, body)
            return
        # What is named by its URL has the site's own in the body that goes there.
        resource = OTHER[call.service_type].by_name[route.resource]
        named = [one for one in bodies.named(body or {}, resource.refs) if "/" not in one[1]]
        sites: dict[str, str] = {}
        for kind, ident in (*linked, *named):
            for name in await self._parts.locator.having(call, kind, ident):
                sites[name] = f"{kind.replace('_', ' ')} {ident} at {name}"
        if len(sites) > 1:
            where = ", ".join(sites.values())
            raise Conflict(f"What this names is at different sites: {where}.", site=", ".join(sites))
        name = next(iter(sites), "")
        site = self._parts.sites.by_name[name] if name else self._parts.reach.default(call)
        await self._pass(call, site)

    def _linked(self, text: bytes) -> list[tuple[str, str]]:
        """(type, id) of what a body names by its URL at Atoll."""
        found = []
        for service, path in links_of(text, self._parts.public_url.encode()):
            table = OTHER.get(service)
            match = table.match(b"GET", _tail(table, path.split(b"/"))) if table is not None else None
            if match is not None and match.route is not None and match.id:
                found.append((match.route.resource, match.id.decode("latin-1")))
        return found

    # -- by id ------------------------------------------------------------------------------------

    async def _by_id(self, call: Call, route: Route) -> None:
        ident = call.match.id.decode("latin-1")
        site = await self._known(call, route, ident) or await self._search(call, route, ident)
        if site is None:
            # It is nowhere: one site says so, or makes it where the client gives the name.
            site = self._parts.reach.default(call)
        if await self._pass(call, site, route) == 404 and call.path.endswith(call.match.id):
            self._named.pop(self._key(call, route, ident), None)
            sees = call.caller.sees(apart=self._parts.endpoint(site, call).grant is not None)
            self._parts.locations.deleted(route.resource, ident, site.name, sees)

    @staticmethod
    def _key(call: Call, route: Route, ident: str) -> Hashable:
        return (call.caller.key, route.resource, ident)

    async def _known(self, call: Call, route: Route, ident: str) -> Site | None:
        """The site on record of an id, or lately of a name, which means something to its project only."""
        parts = self._parts
        sites = parts.reach.sites(call)
        if len(sites) == 1:
            return sites[0]
        if bodies.is_id(ident):
            site = await parts.locator.recorded(route.resource, ident)
            if call.request.method not in {b"GET", b"HEAD"}:
                parts.locator.refuse_conflict(route.resource, ident)
        else:
            until, name = self._named.get(self._key(call, route, ident), (0.0, ""))
            site = parts.sites.by_name.get(name) if until > parts.forward.now() else None
        return site if site in sites else None

    async def _search(self, call: Call, route: Route, ident: str) -> Site | None:
        """The site that has it, None where all say that they have not.

        Raises SiteUnavailable where one does not say, Conflict for a change to what several have.
        """
        parts = self._parts
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        target = call.path[: call.path.index(call.match.id) + len(call.match.id)]
        method = b"HEAD" if route.raw else b"GET"
        gathered = await scatter(
            {
                site.name: parts.forward.ask(call, parts.endpoint(site, call), method, target, why="search")
                for site in parts.reach.sites(call)
            }
        )
        there = [name for name, one in gathered.answered.items() if one.status < 400]
        # Somebody else's is there, too.
        there = there or [name for name, one in gathered.answered.items() if one.status == 403]
        if not there:
            away = gathered.missing() | _unclear(gathered.answered)
            if away:
                raise missing(route.resource, ident, away)
            return None
        if len(there) > 1 and call.request.method not in {b"GET", b"HEAD"}:
            raise Conflict(
                f"The {_words(route)} {ident} is at more than one site: {', '.join(there)}. "
                f"Name the site: {parts.public_url}/{call.service_type}@{there[0]}.",
                resource=route.resource,
                id=ident,
                site=", ".join(there),
            )
        self._remember(call, route, ident, there)
        return parts.sites.by_name[there[0]]

    def _remember(self, call: Call, route: Route, ident: str, there: Sequence[str]) -> None:
        parts = self._parts
        if bodies.is_id(ident):
            project = call.caller.project_id
            found = [
                Sighting(resource_type=route.resource, id=ident, site=name, project_id=project)
                for name in there
            ]
            parts.locations.learn(found, "search")
            return
        if len(self._named) >= REMEMBERED:
            self._named.clear()
        until = parts.forward.now() + REMEMBERED_SECONDS
        self._named[self._key(call, route, ident)] = (until, there[0])

    # -- of one site ------------------------------------------------------------------------------

    async def _at_site(self, call: Call, name: str, tail: list[bytes], *, public: bool) -> None:
        """Pass the request on to the site that the path names, and its answer with links that name it too."""
        parts, service = self._parts, call.service
        assert service is not None  # noqa: S101 - set by `handle`
        site = parts.sites.by_name.get(name)
        if site is None or service.service_type not in site.endpoints:
            raise NotFound(f"There is no site {name} with the service {service.service_type}.", site=name)
        if public and b"x-auth-token" not in call.request.index:
            endpoint = parts.reach.anybody(site, service.service_type)
        else:
            await self._authenticate(call, service)
            call.match = service.match(call.request.method, tail)
            await policy.check(parts, call, call.match.route)
            endpoint = parts.endpoint(site, call)
        if call.request.has_body and not (call.match.route is not None and call.match.route.raw):
            await call.read_body(parts.body_limit)
            self._inward(call, site)
        endpoint = self._qualified(endpoint)
        raw = call.match.route is not None and call.match.route.raw
        response = await parts.forward.send(call, endpoint, raw=raw)
        await parts.forward.pass_on(call, endpoint, response, raw=raw)

    def _qualified(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint with links that name its site, and no id or zone changed."""
        links = endpoint.links
        assert isinstance(links, OtherLinks)  # noqa: S101 - made so for these services
        ours = f"{self._parts.public_url}/{endpoint.service_type}@{endpoint.site}".encode()
        learnt = replace(endpoint.learnt, links=links.at(ours))
        return replace(endpoint, learnt=learnt, names=(), same=None)


def _words(route: Route) -> str:
    return route.resource.replace("_", " ")


def _unclear(answered: dict[str, SiteAnswer]) -> dict[str, str]:
    """The sites whose answer to a search says nothing, with it."""
    return {
        name: f"it answered {one.status}" for name, one in answered.items() if one.status not in NOT_THERE
    }


def _with_project(call: Call, service: Service, tail: Sequence[bytes]) -> bytes:
    """The path with the caller's project in it, where the service wants one and the client left it out."""
    parts = call.path.split(b"/")
    if service.project_in_path == "never" or len(parts) < 3 or service.project_form.match(parts[2]):
        return call.path
    prefix = b"AUTH_" if service.service_type == "object-store" else b""
    return b"/".join([*parts[:2], prefix + call.caller.project_id.encode(), *tail])


def _tail(service: Service, parts: list[bytes]) -> list[bytes]:
    """A path below its version and project, where it has them."""
    if parts and _VERSION.match(parts[0]):
        parts = parts[1:]
    if parts and service.project_in_path == "optional" and service.project_form.match(parts[0]):
        parts = parts[1:]
        if service.service_type == "object-store" and not any(parts):
            return [ACCOUNT_ROUTE.encode()]
    return parts
