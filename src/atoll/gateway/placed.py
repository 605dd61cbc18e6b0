"""Placed resources: each lives in one site, under that site's id.

    GET PUT PATCH DELETE POST  /…/{collection}/{id}[/…]   to the site of the id
    POST                       /…/{collection}            to the site that is chosen

Lists are in `lists`. Must not know one service from another: what differs is in the tables.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from atoll.core.choose import Candidate, Thing, Want, choose
from atoll.core.errors import Conflict, NotFound
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.forward import SiteAnswer, read_json
from atoll.gateway.parts import Parts
from atoll.services.table import Ref, Resource
from atoll.sites.site import Site
from atoll.store import Sighting
from atoll.wire.message import Response

log = structlog.get_logger()

# Security groups of this name are in every site and project.
EVERYWHERE = frozenset({("security_group", "default")})


class Placed:
    """By id, and create."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._last_chosen: dict[tuple[str, str], float] = {}

    # -- by id ------------------------------------------------------------------------------------

    async def by_id(self, call: Call) -> None:
        """Pass the request on to the site of its id."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        ident = call.match.id.decode("latin-1")
        parts = self._parts
        site = parts.locator.cached(route.resource, ident)
        if site is None:
            site = await self._locate(call, route.resource, ident)
        if call.request.method != b"GET":
            parts.locator.refuse_conflict(route.resource, ident)
        endpoint = parts.endpoint(site, call)
        body = None
        if route.refs and call.request.has_body:
            body = await self._checked_body(call, site, route.refs)
        response = await parts.forward.send(call, endpoint, raw=route.raw, body=body)
        status = response.status
        if status == 404:
            parts.locations.deleted(route.resource, ident, site.name)
        elif call.request.method == b"POST" and 200 <= status < 300:
            await self._learn_side_effect(call, site, response)
        await parts.forward.pass_on(call, endpoint, response, raw=route.raw)

    async def _locate(self, call: Call, resource: str, ident: str) -> Site:
        parts = self._parts
        group = parts.equivalents.group(ident)
        if group is not None:
            for name in group.ids:
                site = parts.sites.by_name[name]
                if site.healthy(call.service_type):
                    call.path = call.path.replace(ident.encode(), group.ids[name].encode())
                    return site
        try:
            return await parts.locator.site_of(call, resource, ident)
        except NotFound:
            # It is nowhere: one site says so, in the words of its service.
            return parts.sites.with_service(call.service_type)[0]

    async def _checked_body(self, call: Call, site: Site, refs: Sequence[Ref]) -> bytes:
        """The body, if everything it names is at the site of the id. Raises Conflict otherwise."""
        parts = self._parts
        text = await call.read_body(parts.body_limit)
        body = bodies.decoded(text)
        if body is None:
            return text
        for resource, ident in bodies.named(body, refs):
            sites = await self._sites_of(call, resource, ident)
            if sites and site.name not in sites:
                raise Conflict(
                    f"The {resource.replace('_', ' ')} {ident} is at {', '.join(sorted(sites))} and the "
                    f"{call.match.route.resource.replace('_', ' ') if call.match.route else 'resource'} "
                    f"{call.match.id.decode('latin-1')} at {site.name}: "
                    "one request cannot join two sites. Make what belongs together in one availability zone.",
                    resource=resource,
                    id=ident,
                    site=site.name,
                )
        return bodies.with_ids(text, refs, parts.equivalents, site.name)

    async def _learn_side_effect(self, call: Call, site: Site, response: Response) -> None:
        """An image made from a server, a volume from an upload: the site has it under the id it names."""
        location = response.index.get(b"location")
        if location is None or b"/images/" not in location:
            return
        ident = location.rpartition(b"/")[2].decode("latin-1")
        if bodies.is_id(ident):
            await self._parts.locations.created(
                Sighting(resource_type="image", id=ident, site=site.name, project_id=call.caller.project_id)
            )

    # -- create -----------------------------------------------------------------------------------

    async def create(self, call: Call) -> None:
        """Choose a site, make the thing there, remember where it is."""
        text = await call.read_body(self._parts.body_limit)
        await self.create_at_choice(call, text, bodies.decoded(text))

    async def create_at_choice(self, call: Call, text: bytes, body: dict[str, object] | None) -> None:
        """Create what a body describes (None: no JSON object) at the site that is chosen for it."""
        route, service = call.match.route, call.service
        assert route is not None and service is not None  # noqa: S101, PT018 - matched before
        parts = self._parts
        resource = service.by_name.get(route.resource) or Resource(name=route.resource, plural="", path="")
        refs = route.refs or resource.refs
        if body is None:
            # Not a body any site could read: one of them says so in its own words.
            site = parts.sites.default
        else:
            site, zone = await self._choose(call, resource, refs, body)
            if resource.zone and zone is not None:
                text = self._zone_at(text, resource, site, zone)
            text = bodies.with_ids(text, refs, parts.equivalents, site.name)
        endpoint = parts.endpoint(site, call)
        response = await parts.forward.send(call, endpoint, body=text)
        if response.status >= 300:
            await parts.forward.pass_on(call, endpoint, response)
            return
        answer = SiteAnswer(response.status, response, await read_json(site.name, response))
        await self._learn(call, resource, site, answer)
        parts.forward.answer(call, endpoint, answer)

    @staticmethod
    def _zone_at(text: bytes, resource: Resource, site: Site, zone: str) -> bytes:
        here = site.zones.get(zone)
        if resource.zone.endswith("/*"):
            if here is None:
                return bodies.without_hints(text, resource.zone)
            return bodies.with_zone(text, resource.zone, here)
        return bodies.with_zone(text, resource.zone, here)

    async def _choose(
        self, call: Call, resource: Resource, refs: Sequence[Ref], body: dict[str, object]
    ) -> tuple[Site, str | None]:
        """The site for a new resource and the zone that was asked for, with every reason logged."""
        parts = self._parts
        zone = bodies.zone_named(body, resource.zone) if resource.zone else None
        sites = parts.sites.with_service(call.service_type)
        if len(sites) == 1:
            return sites[0], zone
        wanted = bodies.named(body, refs)
        having = await asyncio.gather(
            *(self._sites_of(call, kind, ident) for kind, ident in wanted), return_exceptions=True
        )
        things = []
        for (kind, ident), found in zip(wanted, having, strict=True):
            if isinstance(found, BaseException):
                raise found
            if (kind, ident) not in EVERYWHERE and found:
                things.append(Thing(resource=kind, id=ident, sites=found))
        project = _project_of(body) or call.caller.project_id
        candidates = await self._candidates(call, resource, sites, project)
        want = Want(
            resource=resource.name,
            service=call.service_type,
            zone=zone,
            zones={zone: site.name for site in sites for zone in site.zones},
            named=tuple(things),
            together=parts.together,
            spread=parts.spread,
        )
        choice = choose(want, candidates)
        call.reasons += [f"{reason.site}: {reason.text}" for reason in choice.reasons]
        log.info(
            "site_chosen",
            request_id=call.id,
            resource=resource.name,
            site=choice.site,
            project_id=project,
            reasons=[f"{reason.site}: {reason.text}" for reason in choice.reasons],
        )
        self._last_chosen[(resource.name, choice.site)] = parts.forward.now()
        # Before the answer: the project's next create must find its home while this one is under way.
        parts.set_home(project, choice.site)
        return parts.sites.by_name[choice.site], zone

    async def _candidates(
        self, call: Call, resource: Resource, sites: Sequence[Site], project: str
    ) -> list[Candidate]:
        parts = self._parts
        of_project, load = await parts.counts(project, resource.name)
        home = parts.homes.get(project)
        if home is not None:
            # Where its last thing was put: what comes next most likely has to meet it.
            of_project = {home: max(1, of_project.get(home, 0))}
        return [
            Candidate(
                site=site.name,
                state=site.state,
                healthy=site.healthy(call.service_type),
                away=site.endpoints[call.service_type].origin.breaker.reason,
                placed_of_project=of_project.get(site.name, 0),
                load=load.get(site.name, 0),
                last_chosen=self._last_chosen.get((resource.name, site.name), 0.0),
            )
            for site in sites
        ]

    async def _sites_of(self, call: Call, resource: str, ident: str) -> frozenset[str]:
        """The sites that have what a body names; empty where no site has it and one of them will say so."""
        locator = self._parts.locator
        if (resource, ident) in EVERYWHERE or resource == "keypair":
            return frozenset()
        if resource == "security_group" and not bodies.is_id(ident):
            return await locator.named(call, resource, ident)
        return await locator.having(call, resource, ident, perhaps=True)

    async def _learn(self, call: Call, resource: Resource, site: Site, answer: SiteAnswer) -> None:
        """Remember where the new things are. A failure here must not lose them: a search finds them."""
        try:
            content = msgspec.json.decode(answer.text, type=dict[str, msgspec.Raw])
        except msgspec.DecodeError:
            return
        for raw in _items(content, resource):
            try:
                item = msgspec.json.decode(raw, type=_Made)
            except msgspec.DecodeError:
                continue
            owner = item.project_id or item.tenant_id or call.caller.project_id
            ident = str(item.id)
            self._parts.locator.created(resource.name, ident)
            await self._parts.locations.created(
                Sighting(resource_type=resource.name, id=ident, site=site.name, project_id=owner)
            )


class _Made(msgspec.Struct):
    id: str | int
    project_id: str | None = None
    tenant_id: str | None = None


def _items(content: dict[str, msgspec.Raw], resource: Resource) -> list[msgspec.Raw]:
    """The new things in an answer: one in its envelope, several in a bulk answer, or bare (Glance)."""
    if resource.envelope in content:
        return [content[resource.envelope]]
    if resource.plural in content:
        return msgspec.json.decode(content[resource.plural], type=list[msgspec.Raw])
    if "id" in content:
        return [msgspec.Raw(msgspec.json.encode(content))]
    return []


def _project_of(body: dict[str, object]) -> str | None:
    """The project an admin makes something for."""
    for part in body.values():
        first = part[0] if isinstance(part, list) and part else part
        if isinstance(first, dict):
            owner = first.get("project_id") or first.get("tenant_id")
            if isinstance(owner, str):
                return owner
    return None
