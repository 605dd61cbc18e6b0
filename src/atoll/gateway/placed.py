"""Placed resources: each lives in one site, under that site's id.

    GET PUT PATCH DELETE POST  /…/{collection}/{id}[/…]   to the site of the id
    POST                       /…/{collection}            to the site that is chosen

Lists are in `lists`. Must not know one service from another: what differs is in the tables.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from urllib.parse import unquote

import msgspec
import structlog

from atoll.core.choose import CHOSEN, Candidate, Reason, Thing, Want, choose
from atoll.core.errors import BadSiteAnswer, Conflict, NotFound, SiteTimeout
from atoll.gateway import bodies, look_alikes, versions
from atoll.gateway.call import Call
from atoll.gateway.equivalents import at_site
from atoll.gateway.forward import SiteAnswer, read_json
from atoll.gateway.outcomes import Lost
from atoll.gateway.parts import Parts
from atoll.gateway.placements import Facts
from atoll.same.compare import BY_NAME
from atoll.services.table import Ref, Resource, Route
from atoll.sites.site import Site
from atoll.store import Sighting
from atoll.wire.message import Response

log = structlog.get_logger()

# Answers of whoever stands before a service that does not answer: the work may be done all the same.
UNCERTAIN = frozenset({500, 502, 504})
# How services say at once that there is no room (not that a quota is used up).
NO_ROOM = re.compile(rb"No valid host|No more IP addresses|IpAddressGenerationFailure|No valid backend")
# Security groups of this name are in every site and project.
EVERYWHERE = frozenset({("security_group", "default")})


class Placed:
    """By id, and create."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._last_chosen: dict[str, float] = {}

    # -- by id ------------------------------------------------------------------------------------

    async def by_id(self, call: Call) -> None:
        """Pass the request on to the site of its id."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        ident = call.match.id.decode("latin-1")
        parts = self._parts
        site = self._equivalent(call, route.resource, ident) if parts.equivalents.table else None
        site = site or parts.locator.cached(route.resource, ident)
        found = True
        if site is None or not parts.reach.reaches(call, site):
            site, found = await self._locate(call, route.resource, ident)
        if call.request.method != b"GET":
            parts.locator.refuse_conflict(route.resource, ident)
        endpoint = parts.endpoint(site, call)
        body = None
        if found and (route.refs or route.zones) and call.request.has_body:
            body = await self._checked_body(call, site, route)
        response = await parts.forward.send(call, endpoint, raw=route.raw, body=body)
        status = response.status
        if status == 404:
            parts.locations.deleted(route.resource, ident, site.name)
        elif call.request.method == b"POST" and 200 <= status < 300:
            await self._learn_side_effect(call, site, response)
        await parts.forward.pass_on(call, endpoint, response, raw=route.raw)

    def _equivalent(self, call: Call, resource: str, ident: str) -> Site | None:
        """A site of what is one thing at several: the one whose own id it is, else the first that is well."""
        parts = self._parts
        ids = parts.equivalents.ids(call, resource, ident)
        if not ids:
            return None
        names = sorted(ids, key=lambda name: ids[name] != ident)
        well = [name for name in names if parts.sites.by_name[name].healthy(call.service_type)]
        name = (well or names)[0]
        if ids[name] != ident:
            call.path = at_site(call, ids[name])
            text = f"{ident} is {ids[name]} there"
            call.reasons.append(Reason(site=name, rule="equivalent", text=text))
        return parts.sites.by_name[name]

    async def _locate(self, call: Call, resource: str, ident: str) -> tuple[Site, bool]:
        """The site to ask, and whether the id is there: that it is nowhere, any site can say."""
        parts = self._parts
        try:
            return await parts.locator.site_of(call, resource, ident), True
        except NotFound:
            if resource == "network" and call.request.method == b"GET" and not bodies.is_id(ident):
                await look_alikes.refuse_ambiguous(parts, call, unquote(ident))
            # It is nowhere: one site says so, in the words of its service.
            site = parts.reach.sites(call)[0]
            text = f"no site has {ident}: this one says so in the words of its service"
            call.reasons.append(Reason(site=site.name, rule="nowhere", text=text))
            return site, False

    async def _checked_body(self, call: Call, site: Site, route: Route) -> bytes:
        """The body, if everything it names is at the site of the id. Raises Conflict otherwise."""
        parts, refs = self._parts, route.refs
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
        for place in route.zones:
            zone = bodies.zone_named(body, place)
            if zone is not None and zone in site.zones:
                text = bodies.with_zone(text, place, parts.endpoint(site, call).zones[zone])
        return parts.equivalents.body_at(call, text, refs, site.name)

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
            site = parts.reach.default(call)
        else:
            site, zone = await self._choose(call, resource, refs, body)
            if resource.zone and zone is not None:
                text = self._zone_at(text, resource, parts.endpoint(site, call).zones.get(zone))
            text = parts.equivalents.body_at(call, text, refs, site.name)
        answer = await self._made(call, resource, site, text)
        parts.forward.answer(call, parts.endpoint(site, call), answer)

    async def _made(self, call: Call, resource: Resource, site: Site, text: bytes) -> SiteAnswer:
        """Send a create and remember what it made; what is lost of the answer is looked for."""
        parts = self._parts
        lost = Lost(resource=resource, site=site, body=bodies.decoded(text) or {}, began=time.time())
        try:
            response = await parts.forward.send(call, parts.endpoint(site, call), body=text)
        except (SiteTimeout, BadSiteAnswer) as error:
            raise parts.outcomes.lost(call, lost, error) from error
        location = response.index.get(b"location", b"")
        try:
            answer = SiteAnswer(
                response.status, response, await read_json(parts.endpoint(site, call), response)
            )
        except BadSiteAnswer as error:
            if response.status >= 300:
                raise
            made = await self._learn(call, resource, site, location, b"")
            if not made:
                raise parts.outcomes.lost(call, lost, error) from error
            words = resource.name.replace("_", " ")
            raise BadSiteAnswer(f"{error} The {words} {made[0]} was created.", site=site.name) from error
        if answer.status >= 400 and NO_ROOM.search(answer.text):
            site.full = (lost.began, answer.text[:255].decode("utf-8", "replace"))
        unsaid = answer.status in UNCERTAIN
        if answer.status < 300 and not await self._learn(call, resource, site, location, answer.text):
            unsaid = bool(answer.text) and bodies.decoded(answer.text) is None
        if unsaid:
            parts.outcomes.look(call, lost)
        return answer

    @staticmethod
    def _zone_at(text: bytes, resource: Resource, here: str | None) -> bytes:
        if resource.zone.endswith("/*") and here is None:
            return bodies.without_hints(text, resource.zone)
        return bodies.with_zone(text, resource.zone, here)

    async def _choose(
        self, call: Call, resource: Resource, refs: Sequence[Ref], body: dict[str, object]
    ) -> tuple[Site, str | None]:
        """The site for a new resource and the zone that was asked for, with every reason logged."""
        parts = self._parts
        zone = bodies.zone_named(body, resource.zone) if resource.zone else None
        sites = parts.reach.sites(call)
        self._reaches_zone(call, zone, sites)
        if len(sites) == 1 and sites[0].accepts_creates:
            call.reasons.append(Reason(site=sites[0].name, rule=CHOSEN, text="no other has this service"))
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
        facts = await parts.placements.facts(project)
        candidates = self._candidates(call, sites, facts)
        want = Want(
            resource=resource.name,
            service=call.service_type,
            zone=zone,
            zones={zone: site.name for site in sites for zone in site.zones},
            named=tuple(things),
            together=parts.together,
            spread=parts.spread,
            follow=parts.follow,
        )
        if without := versions.lacking(call, sites):
            candidates = _speaking(call, want, candidates, without, sites)
        try:
            choice = choose(want, candidates, call.reasons)
        except Conflict as error:
            networks = [thing.id for thing in things if thing.resource == "network"]
            raise await look_alikes.explained(parts, call, error, networks) from error
        log.info(
            "site_chosen",
            request_id=call.id,
            resource=resource.name,
            site=choice.site,
            project_id=project,
            reasons=[str(reason) for reason in choice.reasons],
        )
        self._last_chosen[choice.site] = parts.forward.now()
        # Before the answer: the project's next create must find its home while this one is under way.
        parts.placements.chosen(facts, resource.name, choice.site)
        return parts.sites.by_name[choice.site], zone

    def _reaches_zone(self, call: Call, zone: str | None, sites: Sequence[Site]) -> None:
        """Refuse a zone of a site where the caller is nobody; no other site's is meant. Raises Forbidden."""
        asked = self._parts.sites.of_zone(zone) if zone is not None else None
        if asked is not None and asked not in sites and call.service_type in asked.endpoints:
            self._parts.endpoint(asked, call)

    def _candidates(self, call: Call, sites: Sequence[Site], facts: Facts) -> list[Candidate]:
        return [
            Candidate(
                site=site.name,
                state=site.state,
                state_reason=site.reason,
                healthy=site.healthy(call.service_type),
                away=site.endpoints[call.service_type].origin.breaker.reason,
                unsteady=site.unsteady(call.service_type),
                placed_of_project=facts.of_project.get(site.name, 0),
                home=site.name == facts.home,
                load=facts.load.get(site.name, 0),
                follow=site.name == facts.beginning,
                last_chosen=self._last_chosen.get(site.name, 0.0),
            )
            for site in sites
        ]

    async def _sites_of(self, call: Call, resource: str, ident: str) -> frozenset[str]:
        """The sites that have what a body names; empty where no site has it and one of them will say so."""
        locator = self._parts.locator
        if (resource, ident) in EVERYWHERE:
            return frozenset()
        if resource in BY_NAME:
            return await self._parts.equivalents.having(call, resource, ident)
        if resource == "security_group" and not bodies.is_id(ident):
            return await locator.named(call, resource, ident)
        return await locator.having(call, resource, ident, perhaps=True)

    async def _learn(
        self, call: Call, resource: Resource, site: Site, location: bytes, text: bytes
    ) -> list[str]:
        """Remember where the new things are; the ids that the answer named.

        A failure of the store must not lose them: a search finds them.
        """
        made = _things(text, resource)
        ident = location.rpartition(b"/")[2].decode("latin-1")
        if not made and bodies.is_id(ident):
            made = [_Made(id=ident)]
        for item in made:
            owner = item.project_id or item.tenant_id or call.caller.project_id
            ident = str(item.id)
            call.made.append(ident)
            self._parts.locator.created(resource.name, ident)
            self._parts.outcomes.answered(resource.name, ident)
            await self._parts.locations.created(
                Sighting(resource_type=resource.name, id=ident, site=site.name, project_id=owner)
            )
        return [str(item.id) for item in made]


class _Made(msgspec.Struct):
    id: str | int
    project_id: str | None = None
    tenant_id: str | None = None


def _speaking(
    call: Call, want: Want, candidates: list[Candidate], without: Sequence[Site], sites: Sequence[Site]
) -> list[Candidate]:
    """The candidates that have the version asked for. Raises NotAcceptable where only others would do."""
    needed = {site.name for site in sites}.intersection(*(thing.sites for thing in want.named))
    if want.zone is not None and want.zone in want.zones:
        needed &= {want.zones[want.zone]}
    names = {site.name for site in without}
    if needed and needed <= names:
        raise versions.refusal(call, [site for site in without if site.name in needed], sites)
    text = "it does not have the version asked for"
    call.reasons += [Reason(site=site.name, rule="version", text=text) for site in without]
    return [candidate for candidate in candidates if candidate.site not in names]


def _things(text: bytes, resource: Resource) -> list[_Made]:
    """The new things in an answer: one in its envelope, several in a bulk answer, or bare (Glance)."""
    try:
        content = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        if resource.envelope in content:
            return [msgspec.json.decode(content[resource.envelope], type=_Made)]
        if resource.plural in content:
            return msgspec.json.decode(content[resource.plural], type=list[_Made])
        return [msgspec.json.decode(text, type=_Made)] if "id" in content else []
    except (msgspec.DecodeError, UnicodeDecodeError):
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
