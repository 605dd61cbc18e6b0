"""Placed resources: each lives in one site, under that site's id.

    GET PUT PATCH DELETE POST  /…/{collection}/{id}[/…]   to the site of the id
    POST                       /…/{collection}            to the site that is chosen

Lists are in `lists`. Must not know one service from another: what differs is in the tables.
"""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import msgspec
import structlog

from atoll.core.choose import CHOSEN, Candidate, Reason, Want, choose
from atoll.core.errors import (
    BadSiteAnswer,
    Conflict,
    Forbidden,
    NotFound,
    SiteTimeout,
    SiteUnavailable,
    TooManyRequests,
)
from atoll.gateway import (
    backup_records,
    bodies,
    hosts,
    look_alikes,
    server_bringing,
    together,
    versions,
    zone_hints,
)
from atoll.gateway.aliases import BY_ID, SERVER, AliasLearnt
from atoll.gateway.call import Call
from atoll.gateway.default_groups import GROUP, SHOWING
from atoll.gateway.equivalents import at_site
from atoll.gateway.forward import SiteAnswer, read_json, rewritten
from atoll.gateway.locate import missing
from atoll.gateway.outcomes import Lost
from atoll.gateway.parts import Parts
from atoll.gateway.placements import Facts
from atoll.services.table import Ref, Resource, Route
from atoll.sites.site import Endpoint, Site
from atoll.store import Sighting
from atoll.wire.message import Response

log = structlog.get_logger()

# Answers of whoever stands before a service that does not answer: the work may be done all the same.
UNCERTAIN = frozenset({500, 502, 504})
# How services say at once that there is no room (not that a quota is used up).
NO_ROOM = re.compile(rb"No valid host|No more IP addresses|IpAddressGenerationFailure|No valid backend")


# How services say that a project's quota is used up; nothing was made then.
OVER_QUOTA = frozenset({403, 409, 413})
USED_UP = re.compile(
    rb"[Qq]uota (exceeded|has been met)|over quota|exceeds allowed [^.]*quota"
    rb"|Maximum number of \w+ (allowed|exceeded)|is over a limit for"
)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Where a new thing can go, the best site first, the zone asked for, what is known of the project."""

    sites: Sequence[Site]
    zone: str | None
    facts: Facts = field(default_factory=lambda: Facts(""))


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
        if route.blind and await parts.locator.recorded(route.resource, ident) is None:
            await self._in_turn(call, route)
            return
        if route.resource in SHOWING and call.service_type == "network":
            await parts.equivalents.current(call, GROUP)
        known = parts.equivalents.table or parts.equivalents.defaults
        site = self._equivalent(call, route.resource, ident) if known else None
        site = site or parts.locator.cached(route.resource, ident)
        found = True
        if site is None or not parts.reach.reaches(call, site):
            site, found = await self._locate(call, route.resource, ident)
        if call.request.method != b"GET":
            parts.locator.refuse_conflict(route.resource, ident)
        endpoint = parts.endpoint(site, call)
        response = await self._sent(call, site, endpoint, checked=found)
        if response.status == 404 and call.path.endswith(b"/" + call.match.id):
            sees = call.caller.sees(apart=endpoint.grant is not None)
            parts.locations.deleted(route.resource, ident, site.name, sees)
        elif route.resource == GROUP and call.request.method == b"DELETE":
            parts.equivalents.defaults.deleted(ident)
        await self._pass_on(call, site, route, response)
        if response.status == 404 and parts.aliases.now.known:
            await parts.aliases.not_there(call, site.name, response)

    async def _sent(self, call: Call, site: Site, endpoint: Endpoint, *, checked: bool) -> Response:
        """What a site answers; what the body names is `checked` before that.

        Where the server was moved away meanwhile it raises AliasLearnt for what can be asked again, and
        Conflict for what was done to the old one.
        """
        route, body = call.match.route, None
        assert route is not None  # noqa: S101 - matched before
        if checked and (route.refs or route.zones) and call.request.has_body:
            body = await self._checked_body(call, site, route)
        response = await self._parts.forward.send(call, endpoint, raw=route.raw, body=body)
        if self._means_another(call):
            method, again = call.request.method, not call.request.has_body or call.text is not None
            whole = method == b"DELETE" and call.path.endswith(b"/" + call.match.id)
            if whole or (response.status == 404 and again):
                response.close()
                raise AliasLearnt(_asked(call))
            if method not in {b"GET", b"HEAD"} and response.status < 300:
                response.close()
                ident = _asked(call)
                text = f"The server {ident} was moved just now, and the old one was changed. Do it again."
                raise Conflict(text, resource=SERVER, id=ident)
        return response

    def _means_another(self, call: Call) -> bool:
        """Whether the id of a server has come to mean another one since the call began."""
        route, now = call.match.route, self._parts.aliases.now
        if now is call.servers or route is None or not route.template.startswith(BY_ID):
            return False
        bound = now.bound(_asked(call), call.caller.project_id)
        return bound is not None and bound.id.encode() != call.match.id

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
        except NotFound as nowhere:
            if resource == "network" and call.request.method == b"GET" and not bodies.is_id(ident):
                await look_alikes.refuse_ambiguous(parts, call, unquote(ident))
            # It is nowhere: one site says so, in the words of its service.
            has_not = (
                one for one in parts.reach.sites(call) if not parts.locator.hidden(resource, ident, one)
            )
            site = next(has_not, None)
            if site is None:
                raise nowhere from None
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
        named = await together.things(parts, call, body, refs)
        if lacking := [one for one in named if site.name not in one.sites]:
            raise await together.apart(parts, call, lacking, site)
        for place in route.zones:
            zone = bodies.zone_named(body, place)
            if zone is not None and zone in site.zones:
                text = bodies.with_zone(text, place, parts.endpoint(site, call).zones[zone])
            elif zone is not None and (conflict := together.other_zone(parts, call, zone, site)):
                raise conflict
        return parts.equivalents.body_at(call, text, refs, site.name)

    async def _in_turn(self, call: Call, route: Route) -> None:
        """Send what somebody may ask of a thing without seeing it to one site after the other.

        One that has it not says 404 and has done nothing. Raises SiteUnavailable where a site that may have
        it does not answer, and none of the others has it.
        """
        parts, ident = self._parts, call.match.id.decode("latin-1")
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        text = await call.read_body(parts.body_limit)
        away: dict[str, str] = {}
        nowhere: tuple[Site, SiteAnswer] | None = None
        for site in parts.reach.sites(call):
            endpoint = parts.endpoint(site, call)
            try:
                answer = await parts.forward.ask(call, endpoint, b"POST", call.path, body=text)
            except SiteUnavailable as error:
                away[site.name] = str(error)
                continue
            if answer.status != 404:
                await self._learn_makes(call, site, route, answer)
                parts.forward.answer(call, endpoint, answer)
                return
            nowhere = nowhere or (site, answer)
        if away or nowhere is None:
            raise missing(route.resource, ident, away)
        parts.forward.answer(call, parts.endpoint(nowhere[0], call), nowhere[1])

    async def _pass_on(self, call: Call, site: Site, route: Route, response: Response) -> None:
        """Give the client the site's answer, and remember what it says was made."""
        parts, endpoint = self._parts, self._parts.endpoint(site, call)
        if call.request.method == b"POST" and 200 <= response.status < 300:
            location = response.index.get(b"location", b"")
            if b"/images/" in location:
                # An image made from a server, before 2.45.
                await self._made_beside(call, site, "image", location.rpartition(b"/")[2].decode("latin-1"))
            if route.makes and b"json" in response.index.get(b"content-type", b""):
                answer = SiteAnswer(response.status, response, await read_json(endpoint, response))
                await self._learn_makes(call, site, route, answer)
                parts.forward.answer(call, endpoint, answer)
                return
        await parts.forward.pass_on(call, endpoint, response, raw=route.raw)

    async def _learn_makes(self, call: Call, site: Site, route: Route, answer: SiteAnswer) -> None:
        """Remember what an answer says was made, but for what the request had named."""
        content = bodies.decoded(answer.text) if answer.status < 300 else None
        if content is None:
            return
        given = set(bodies.named(bodies.decoded(call.text or b"") or {}, route.refs))
        for resource, ident in bodies.named(content, route.makes):
            if (resource, ident) not in given:
                await self._made_beside(call, site, resource, ident)

    async def _made_beside(self, call: Call, site: Site, resource: str, ident: str) -> None:
        if not bodies.is_id(ident):
            return
        self._parts.locator.created(resource, ident)
        await self._parts.locations.created(
            Sighting(resource_type=resource, id=ident, site=site.name, project_id=call.caller.project_id)
        )

    # -- create -----------------------------------------------------------------------------------

    async def create(self, call: Call) -> None:
        """Choose a site, make the thing there, remember where it is."""
        text = await call.read_body(self._parts.body_limit)
        body = bodies.decoded(text)
        if body is not None and backup_records.RECORD in body:
            body = await backup_records.with_its_volume(self._parts.locator, body)
        await self.create_at_choice(call, text, body)

    async def create_at_choice(self, call: Call, text: bytes, body: dict[str, object] | None) -> None:
        """Create what a body describes (None: no JSON object) at the site that is chosen for it."""
        route, service = call.match.route, call.service
        assert route is not None and service is not None  # noqa: S101, PT018 - matched before
        parts = self._parts
        resource = service.by_name.get(route.resource) or Resource(name=route.resource, plural="", path="")
        refs = route.refs or resource.refs
        if resource.name in SHOWING and call.service_type == "network":
            await parts.equivalents.current(call, GROUP)
        if body is None:
            # Not a body any site could read: one of them says so in its own words.
            site = parts.reach.default(call)
            answer = await self._made(call, resource, site, text)
        else:
            choice = await self._choose(call, resource, refs, body)
            if choice is None:
                return

            def make(site: Site) -> Awaitable[SiteAnswer]:
                here = text
                if resource.zone and choice.zone is not None:
                    zone = parts.endpoint(site, call).zones.get(choice.zone)
                    here = self._zone_at(here, zone_hints.place(resource, body), zone)
                here = hosts.body_at(parts, parts.equivalents.body_at(call, here, refs, site.name), refs)
                return self._made(call, resource, site, here)

            site, answer = await self._where_quota_is_left(call, resource, choice, make)
        endpoint = parts.endpoint(site, call)
        many = None
        if body is not None and resource.plural in body and answer.status < 300:
            place, project_id = (resource.plural, "*"), call.caller.project_id
            many = rewritten(endpoint, answer.text, place, project_id, call)
        parts.forward.answer(call, endpoint, answer, many)

    async def _where_quota_is_left(
        self, call: Call, resource: Resource, choice: _Chosen, make: Callable[[Site], Awaitable[SiteAnswer]]
    ) -> tuple[Site, SiteAnswer]:
        """Make it at the site chosen; where its quota is used up, at the next one that could take it.

        The user knows one quota, which is divided over the sites. Where no site has any of it left, the
        refusal is that of the first.
        """
        parts, (first, *others) = self._parts, choice.sites
        refusal = await make(first)
        if refusal.status not in OVER_QUOTA or not USED_UP.search(refusal.text):
            return first, refusal
        text = "its quota is used up there"
        call.reasons.append(Reason(site=first.name, rule="quota", text=text))
        for site in others:
            try:
                parts.limiter.take(call.caller.project_id, parts.forward.now())
                answer = await make(site)
            except (Forbidden, SiteUnavailable, TooManyRequests) as error:
                log.info("next_site_not_tried", request_id=call.id, site=site.name, reason=str(error))
                continue
            if answer.status < 300 or answer.status in UNCERTAIN:
                text = f"the quota at {first.name} is used up"
                call.reasons.append(Reason(site=site.name, rule=CHOSEN, text=text))
                self._last_chosen[site.name] = parts.forward.now()
                parts.placements.chosen(choice.facts, resource.name, site.name)
                return site, answer
            call.reasons.append(Reason(site=site.name, rule="quota", text=f"it answered {answer.status}"))
        return first, refusal

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
    def _zone_at(text: bytes, place: str, here: str | None) -> bytes:
        if place.endswith("/*") and here is None:
            return bodies.without_hints(text, place)
        return bodies.with_zone(text, place, here)

    async def _choose(
        self, call: Call, resource: Resource, refs: Sequence[Ref], body: dict[str, object]
    ) -> _Chosen | None:
        """The sites for a new resource and the zone that was asked for, with every reason logged.

        None: it is answered, and done by a run.
        """
        parts = self._parts
        zone = zone_hints.asked(parts, resource, body)
        sites = parts.reach.sites(call)
        self._reaches_zone(call, zone, sites)
        if len(sites) == 1 and sites[0].accepts_creates:
            call.reasons.append(Reason(site=sites[0].name, rule=CHOSEN, text="no other has this service"))
            return _Chosen([sites[0]], zone)
        things = await together.things(parts, call, body, refs)
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
        if conflict := together.ambiguous(parts, call, want, sites):
            raise conflict
        try:
            choice = choose(want, candidates, call.reasons)
        except Conflict as error:
            if await server_bringing.brought(parts, call, want, sites, body):
                return None
            raise await together.refusal(parts, call, want, [site.name for site in sites]) from error
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
        best_first = [parts.sites.by_name[name] for name in (choice.site, *choice.others)]
        return _Chosen(best_first, zone, facts)

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
                Sighting(
                    resource_type=resource.kept_as or resource.name,
                    id=ident,
                    site=site.name,
                    project_id=owner,
                )
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


def _asked(call: Call) -> str:
    """The id in the path, as the client sent it."""
    return call.alias or call.match.id.decode("latin-1")
