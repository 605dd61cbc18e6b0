"""What belongs to a site: hypervisors, services, aggregates, migrations.

GET   /…/{collection}             every site's, integer ids qualified by the site's number; in pages, by
                                  `lists`, from the microversion on that has them
GET   /…/{collection}/{x}/search  every site's that match; 404 only where none has any
any   /…/{collection}/{id}…       the site in the upper bits of an integer id, or after host@; else by search
any   /…/servers/{id}/migrations… the site of the server
POST  /…/{collection}             the zone's site where the body names one, else the default site
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote_plus

import msgspec

from atoll.core.errors import AtollError, BadSiteAnswer, Conflict, NotFound, SiteUnavailable
from atoll.core.ids import unqualify, unqualify_host
from atoll.core.spans import Path, find, splice
from atoll.gateway import bodies, hosts, versions
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer, rewrite
from atoll.gateway.lists import Lists
from atoll.gateway.of_site import INTERNAL, in_zone, integer, internal, local, outward
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.services.table import Resource, Route, Shape
from atoll.sites.site import Site

# Filters that make a list a look-up: a missing site may be the one that has the thing.
PATTERN = "hypervisor_hostname_pattern"
LOOK_UPS = frozenset({PATTERN, "host", "source_compute", "instance_uuid"})
# How Nova's messages name what an integer id stands for.
_NAMED = rb"(?i)(\b(?:aggregate|migration|service|with id) '?)%b(?![\w-])"


class PerSite:
    """Lists of all sites, and single ones by qualified id."""

    def __init__(self, parts: Parts, lists: Lists) -> None:
        self._parts = parts
        self._lists = lists

    async def handle(self, call: Call) -> None:
        """Answer from the site meant, or from all for a list."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        if route.at_all:
            await self._at_all(call)
        elif route.of_host and await self._of_host(call, route.of_host):
            pass
        elif route.below:
            await self._below(call, route)
        elif route.shape is Shape.LIST and not call.match.id and _in_pages(call):
            await self._lists.of_sites(call, LOOK_UPS)
        elif route.shape is Shape.LIST:
            await self._list(call)
        elif route.shape is Shape.BY_ID:
            await self._by_id(call, route)
        else:
            await self._create(call, route)

    # -- lists ------------------------------------------------------------------------------------

    async def _list(self, call: Call) -> None:
        parts = self._parts
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        sites, zone = parts.reach.sites(call), _zone_wanted(call)
        if zone:
            sites = [site for site in sites if zone in {*site.zones, internal(site)}] or sites
        gathered = await scatter(
            {
                site.name: parts.forward.ask(
                    call, parts.endpoint(site, call), b"GET", self._list_target(call, site, zone)
                )
                for site in sites
            }
        )
        filters = {name for name, value in parse_qsl(call.request.query.decode("latin-1")) if value}
        matching = bool(call.match.id) or PATTERN in filters
        good = {name: one for name, one in gathered.answered.items() if one.status == 200}
        # Of a pattern, 404 says that nothing matches there.
        without = {name for name, one in gathered.answered.items() if matching and one.status == 404}
        missing = gathered.failed | {
            name: SiteUnavailable(f"it answered {one.status}", site=name)
            for name, one in gathered.answered.items()
            if name not in without and name not in good
        }
        if not good:
            if not gathered.answered or (without and missing):
                raise none_answered("its list", missing)
            name, one = next(iter(gathered.answered.items()))
            parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), one)
            return
        if missing:
            look_up = matching or not LOOK_UPS.isdisjoint(filters)
            if not allows_partial(call, default=not parts.strict and not look_up):
                raise none_answered("its list", missing)
            add_missing(call, {name: str(error) for name, error in missing.items()})
        self._joined(call, good, zone)

    def _list_target(self, call: Call, site: Site, zone: str) -> bytes:
        """Path and query of a list at a site, with the zone it is to be of in the site's words.

        A zone that is all of a site has none there: what is not in it is left out of the answer.
        """
        if not zone:
            return _target(call)
        here = self._parts.endpoint(site, call).zones.get(zone)
        here = INTERNAL if zone == internal(site) else here
        rest = [part for part in call.request.query.split(b"&") if not part.startswith(b"zone=")]
        rest += [b"zone=" + quote_plus(here).encode()] if here is not None else []
        return call.path + (b"?" + b"&".join(rest) if rest else b"")

    def _joined(self, call: Call, answers: Mapping[str, SiteAnswer], zone: str) -> None:
        """Answer with the items of all sites, site by site; of a zone, if one was asked for."""
        parts = self._parts
        envelope = ""
        items: list[bytes] = []
        for name, one in answers.items():
            site = parts.sites.by_name[name]
            envelope, found = _items(site, one.text)
            endpoint = parts.endpoint(site, call)
            items += [outward(call, endpoint, site, item, ()) for item in found]
        if zone:
            items = in_zone(items, zone)
        name, first = next(iter(answers.items()))
        text = b'{"%b": [%b]}' % (envelope.encode(), b", ".join(items))
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), first, text)

    # -- by id ------------------------------------------------------------------------------------

    async def _by_id(self, call: Call, route: Route) -> None:
        ident = call.match.id.decode("latin-1")
        site, here = self._site_of(ident)
        if site is None:
            await self._search(call)
            return
        body = await self._body(call)
        if body is not None and route.zones:
            body = self._zones_inward(call, route, site, body)
        call.path = _renamed(call.path, ident, here)
        self._answer(call, site, await self._ask(call, site, body), (ident, here))

    def _site_of(self, ident: str) -> tuple[Site | None, str]:
        """(the site that an id names, the id there); None where it names none.

        A number that no site has is left for one of them to miss: it is beyond the ids of all.
        """
        sites = self._parts.sites
        if (whole := integer(ident)) is not None:
            number, _ = unqualify(whole)
            site = next((site for site in sites if site.number == number), sites.default)
            return site, local(ident, site)
        host, name = unqualify_host(ident, list(sites.by_name))
        return (sites.by_name[name], host) if name is not None else (None, ident)

    async def _search(self, call: Call) -> None:
        """Ask the sites one after the other: a host name or a UUID says nothing about its site."""
        body = await self._body(call)
        away: dict[str, AtollError] = {}
        nowhere: tuple[Site, SiteAnswer] | None = None
        for site in self._parts.reach.sites(call):
            try:
                answer = await self._ask(call, site, body)
            except SiteUnavailable as error:
                away[site.name] = error
                continue
            if answer.status != 404:
                self._answer(call, site, answer)
                return
            nowhere = nowhere or (site, answer)
        if away or nowhere is None:
            raise none_answered(call.match.id.decode("latin-1"), away)
        self._answer(call, *nowhere)

    async def _below(self, call: Call, route: Route) -> None:
        """What hangs below a placed thing is at its site; an id of another site's is none of it."""
        parts, ident = self._parts, call.match.id.decode("latin-1")
        try:
            site = await parts.locator.site_of(call, route.below, ident)
        except NotFound:
            site = parts.reach.sites(call)[0]  # it is nowhere: one site says so, in its own words
        if call.request.method != b"GET":
            parts.locator.refuse_conflict(route.below, ident)
        part = _part_below(call.path, call.match.id)
        here = local(part, site)
        call.path = _renamed(call.path, part, here)
        answer = await self._ask(call, site, await self._body(call))
        self._answer(call, site, answer, (part, here))

    # -- by host, and at all ------------------------------------------------------------------------

    async def _of_host(self, call: Call, place: str) -> bool:
        """Answer from the site of the host that a request names; False where it names none."""
        parts = self._parts
        text = await self._body(call)
        asked = hosts.asked_for(call, text or b"", place)
        if not asked:
            return False
        site = await hosts.site_of(parts, call, asked)
        call.request.query, body = hosts.at_site(parts, call, text or b"", place)
        self._answer(call, site, await self._ask(call, site, body if text is not None else None))
        return True

    async def _at_all(self, call: Call) -> None:
        """Ask every site, and put together what they list. Raises where one does not answer."""
        parts, text = self._parts, await self._body(call)
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        sites = parts.reach.sites(call)
        gathered = await scatter({site.name: self._ask(call, site, text) for site in sites})
        if gathered.failed:
            raise none_answered("this", gathered.failed)
        answers = gathered.answered
        refused = {name: one for name, one in answers.items() if one.status >= 300}
        name, first = next(iter((refused or answers).items()))
        if refused or not first.text.strip():
            parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), first)
        else:
            self._joined(call, answers, "")

    # -- create -----------------------------------------------------------------------------------

    async def _create(self, call: Call, route: Route) -> None:
        parts = self._parts
        text = await call.read_body(parts.body_limit)
        site = parts.reach.default(call)
        resource = call.service.by_name.get(route.resource) if call.service is not None else None
        if resource is not None and resource.zone:
            zone = bodies.zone_named(bodies.decoded(text) or {}, resource.zone)
            if zone is not None and (chosen := parts.sites.of_zone(zone)) is not None:
                site = chosen
                text = self._with_zone(call, site, text, resource.zone, zone)
        self._answer(call, site, await self._ask(call, site, text))

    # -- inward and outward -----------------------------------------------------------------------

    def _zones_inward(self, call: Call, route: Route, site: Site, text: bytes) -> bytes:
        """A body with zones in the site's words. Raises Conflict for a zone of another site."""
        body = bodies.decoded(text) or {}
        for place in route.zones:
            zone = bodies.zone_named(body, place)
            other = self._parts.sites.of_zone(zone) if zone is not None else None
            if zone is None or other is None:
                continue
            if other is not site:
                ident = call.match.id.decode("latin-1")
                raise Conflict(
                    f"The availability zone {zone} is at {other.name} and the {route.resource} {ident} at "
                    f"{site.name}: it can have no zone of another site.",
                    resource=route.resource,
                    id=ident,
                    site=f"{other.name}, {site.name}",
                )
            text = self._with_zone(call, site, text, place, zone)
        return text

    def _with_zone(self, call: Call, site: Site, text: bytes, place: str, zone: str) -> bytes:
        """The body with the site's name of a zone; a zone that is all of a site has no other name there."""
        here = self._parts.endpoint(site, call).zones.get(zone)
        return text if here is None else bodies.with_zone(text, place, here)

    async def _body(self, call: Call) -> bytes | None:
        if call.request.has_body or call.request.method in {b"POST", b"PUT"}:
            return await call.read_body(self._parts.body_limit)
        return None

    async def _ask(self, call: Call, site: Site, body: bytes | None) -> SiteAnswer:
        endpoint = self._parts.endpoint(site, call)
        return await self._parts.forward.ask(call, endpoint, call.request.method, _target(call), body=body)

    def _answer(self, call: Call, site: Site, answer: SiteAnswer, named: tuple[str, str] = ("", "")) -> None:
        """Give the client what a site said of one thing; `named` is its id as (sent, at the site)."""
        endpoint, text = self._parts.endpoint(site, call), answer.text
        if b"json" not in answer.response.index.get(b"content-type", b""):
            pass
        elif answer.status < 400:
            text = outward(call, endpoint, site, text, _envelope(call, text))
        else:
            text = _named_as_sent(rewrite(endpoint, text, call), *named)
        self._parts.forward.answer(call, endpoint, answer, text)


def _resource(call: Call) -> Resource | None:
    route, service = call.match.route, call.service
    return service.by_name.get(route.resource) if service is not None and route is not None else None


def _in_pages(call: Call) -> bool:
    """Whether a list is one that comes in pages, in the version asked for; what has a pattern never does."""
    resource = _resource(call)
    if resource is None or resource.paged_since == (0, 0) or versions.before(call, resource.paged_since):
        return False
    return not any(part.startswith(PATTERN.encode() + b"=") for part in call.request.query.split(b"&"))


def _zone_wanted(call: Call) -> str:
    """The zone that a list of hosts is to be of; "" for any."""
    if call.match.route is None or call.match.route.resource != "host":
        return ""
    return dict(parse_qsl(call.request.query.decode("latin-1"))).get("zone", "")


def _target(call: Call) -> bytes:
    return call.path + (b"?" + call.request.query if call.request.query else b"")


def _part_below(path: bytes, ident: bytes) -> str:
    """What follows in a path after an id and the name of a collection; "" where nothing does."""
    return b"".join(path.partition(b"/" + ident + b"/")[2].split(b"/")[1:2]).decode("latin-1")


def _renamed(path: bytes, sent: str, local: str) -> bytes:
    """A path with an id in it as the site has it."""
    if sent == local:
        return path
    return b"/".join(local.encode() if part == sent.encode("latin-1") else part for part in path.split(b"/"))


def _items(site: Site, text: bytes) -> tuple[str, list[bytes]]:
    """The one array of a list answer, and the key it stands under."""
    try:
        content = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise BadSiteAnswer(f"The site {site.name} answered what is not JSON.", site=site.name) from error
    for key, raw in content.items():
        if bytes(raw).lstrip().startswith(b"["):
            items = msgspec.json.decode(raw, type=list[msgspec.Raw])
            return key, [bytes(item) for item in items]
    key, raw = next(iter(content.items()), ("", msgspec.Raw(b"{}")))
    return key, [bytes(raw)]


def _envelope(call: Call, text: bytes) -> Path:
    """Where in an answer the thing stands: in its envelope, or each in the array of a list."""
    resource = _resource(call)
    if resource is None:
        return ()
    return (resource.plural, "*") if next(find(text, (resource.plural,)), None) else (resource.envelope,)


def _named_as_sent(text: bytes, sent: str, local: str) -> bytes:
    """A site's fault with the id that the client sent where its message names the site's own."""
    if sent == local:
        return text
    pattern = re.compile(_NAMED % re.escape(local.encode("latin-1")))
    changes = [
        ((start, end), pattern.sub(lambda found: found.group(1) + sent.encode(), text[start:end], count=1))
        for start, end in find(text, ("*", "message"))
    ]
    return splice(text, changes)
