"""What belongs to a site: hypervisors, services, aggregates, migrations.

GET   /…/{collection}          every site's, integer ids qualified by the site's number
any   /…/{collection}/{id}…    the site in the upper bits of an integer id, or after host@; else by search
POST  /…/{collection}          the zone's site where the body names one, else the default site
"""

import msgspec

from atoll.core.errors import BadSiteAnswer
from atoll.core.ids import qualify, unqualify, unqualify_host
from atoll.core.spans import find, splice
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import rewrite
from atoll.gateway.locate import not_found
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.sites.site import Endpoint, Site

IDS = 1 << 53  # what is not below is no integer id of any site's; a UUID may be all digits, too
ZONE_PLACE = "{envelope}/availability_zone"


class PerSite:
    """Lists of all sites, and single ones by qualified id."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Answer from the site meant, or from all for a list."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        if call.match.id:
            await self._by_id(call)
        elif call.request.method in {b"GET", b"HEAD"}:
            await self._list(call)
        else:
            await self._create(call)

    async def _list(self, call: Call) -> None:
        parts = self._parts
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        sites = parts.sites.with_service(call.service_type)
        gathered = await scatter(
            {site.name: parts.forward.ask(call, parts.endpoint(site, call), b"GET", target) for site in sites}
        )
        good = {name: one for name, one in gathered.answered.items() if one.status == 200}
        if not good:
            if not gathered.answered:
                raise none_answered("its list", gathered.failed)
            name, one = next(iter(gathered.answered.items()))
            parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), one)
            return
        missing = gathered.missing() | {
            name: f"it answered {one.status}" for name, one in gathered.answered.items() if name not in good
        }
        if missing:
            if not allows_partial(call, default=not parts.strict):
                raise none_answered("its list", gathered.failed)
            add_missing(call, missing)
        envelope = ""
        items: list[bytes] = []
        for name, one in good.items():
            site = parts.sites.by_name[name]
            envelope, found = _items(site, one.text)
            items += [outward(parts.endpoint(site, call), item, site, call) for item in found]
        name, first = next(iter(good.items()))
        text = b'{"%b": [%b]}' % (envelope.encode(), b", ".join(items))
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), first, text)

    async def _by_id(self, call: Call) -> None:
        parts = self._parts
        ident = call.match.id.decode("latin-1")
        site, local = self._site_of(call, ident)
        if site is None:
            await self._search(call)
            return
        endpoint = parts.endpoint(site, call)
        if local != ident:
            call.path = call.path.replace(b"/" + call.match.id, b"/" + local.encode(), 1)
        if call.request.method not in {b"GET", b"HEAD"}:
            response = await parts.forward.send(call, endpoint)
            await parts.forward.pass_on(call, endpoint, response)
            return
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        answer = await parts.forward.ask(call, endpoint, b"GET", target)
        text = qualified(rewrite(endpoint, answer.text, call), site)
        parts.forward.answer(call, endpoint, answer, text)

    def _site_of(self, call: Call, ident: str) -> tuple[Site | None, str]:
        sites = self._parts.sites
        if len(ident) <= len(str(IDS)) and ident.isascii() and ident.isdecimal() and int(ident) < IDS:
            number, local = unqualify(int(ident))
            for site in sites:
                if site.number == number:
                    return site, str(local)
            raise not_found(call.match.route.resource if call.match.route else "resource", ident)
        host, name = unqualify_host(ident, list(sites.by_name))
        if name is not None:
            return sites.by_name[name], host
        return None, ident

    async def _search(self, call: Call) -> None:
        """Ask the sites one after the other: a host name or a UUID says nothing about its site."""
        parts = self._parts
        sites = parts.sites.with_service(call.service_type)
        body = await call.read_body(parts.body_limit) if call.request.has_body else None
        for position, site in enumerate(sites):
            endpoint = parts.endpoint(site, call)
            response = await parts.forward.send(call, endpoint, body=body)
            if response.status == 404 and position < len(sites) - 1:
                await response.body.read_all(1 << 20)
                continue
            await parts.forward.pass_on(call, endpoint, response)
            return

    async def _create(self, call: Call) -> None:
        parts = self._parts
        text = await call.read_body(parts.body_limit)
        site = parts.sites.default
        body = bodies.decoded(text) or {}
        for envelope in body:
            place = ZONE_PLACE.format(envelope=envelope)
            zone = bodies.zone_named(body, place)
            if zone is not None and (chosen := parts.sites.of_zone(zone)) is not None:
                site = chosen
                text = bodies.with_zone(text, place, parts.endpoint(site, call).zones[zone])
        endpoint = parts.endpoint(site, call)
        response = await parts.forward.send(call, endpoint, body=text)
        await parts.forward.pass_on(call, endpoint, response)


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


def outward(endpoint: Endpoint, item: bytes, site: Site, call: Call) -> bytes:
    """An item of a list as clients see it."""
    return qualified(rewrite(endpoint, item, call), site)


def qualified(text: bytes, site: Site) -> bytes:
    """The text with integer ids (its own, or its envelope's) carrying the site's number."""
    if site.number == 0:
        return text
    changes = []
    for path in (("id",), ("*", "id")):
        for start, end in find(text, path):
            if text[start:end].isdigit():
                changes.append(((start, end), b"%d" % qualify(site.number, int(text[start:end]))))
    return splice(text, changes)
