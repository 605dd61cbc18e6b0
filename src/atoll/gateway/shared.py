"""Shared resources: one thing in every site, under one id or name (flavors, keypairs, images, volume types).

    GET     /…/{collection}/{id}[/…]   any site that has it
    POST    /…/{collection}            all sites, undone if one refuses; images: one site, under an id of ours
    others  /…/{collection}/{id}[/…]   all sites that have it

Lists are in `lists`.
"""

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec
import structlog

from atoll.core.errors import AtollError, SiteTimeout, SiteUnavailable
from atoll.core.spans import find, splice
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.parts import Parts
from atoll.gateway.placed import Placed
from atoll.sites.site import Site

log = structlog.get_logger()

# What lives in one site although its id is valid in all: its bytes are in one place until it is copied.
IN_ONE_SITE = frozenset({"image"})


@dataclass(frozen=True, slots=True)
class _Made:
    """What a site made. `proof` is in it and in nothing that others have made (b"": nothing such)."""

    site: Site
    answer: SiteAnswer
    proof: bytes = b""

    def ident(self, resource: str) -> str:
        """Its id, or what it has in place of one."""
        return _identity_of(self.answer.text, "name" if resource == "keypair" else "id")


class Shared:
    """By id, and create."""

    def __init__(self, parts: Parts, placed: Placed) -> None:
        self._parts = parts
        self._placed = placed

    # -- by id ------------------------------------------------------------------------------------

    async def by_id(self, call: Call) -> None:
        """Answer from any site that has the thing; change it at every site that has it."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        ident = call.match.id.decode("latin-1")
        if call.request.method in {b"GET", b"HEAD"} or route.raw:
            await self._at_one(call, route.resource, ident, raw=route.raw)
        else:
            await self._at_all(call, route.resource, ident)

    async def _at_one(self, call: Call, resource: str, ident: str, *, raw: bool) -> None:
        """Ask the sites one after the other, those that are known to have it first.

        404 when every site that answers says so. An image is in one site: it is 503 while that may be one
        that is away.
        """
        parts = self._parts
        away: dict[str, AtollError] = {}
        order = await self._order(call, resource, ident)
        for position, site in enumerate(order):
            endpoint = parts.endpoint(site, call)
            try:
                response = await parts.forward.send(call, endpoint, raw=raw)
            except SiteUnavailable as error:
                if call.request.has_body and not call.request.body.complete:
                    raise
                away[site.name] = error
                continue
            if response.status == 404 and position < len(order) - 1 and not call.request.has_body:
                await response.body.read_all(1 << 20)
                continue
            if response.status == 404 and away and resource in IN_ONE_SITE:
                response.body.abandon()
                raise none_answered(f"the {resource} {ident}", away)
            await parts.forward.pass_on(call, endpoint, response, raw=raw)
            return
        raise none_answered(f"the {resource} {ident}", away)

    async def _order(self, call: Call, resource: str, ident: str) -> Sequence[Site]:
        """The sites to ask, likeliest first; sites that are known not to answer come last."""
        parts = self._parts
        sites = parts.sites.with_service(call.service_type)
        if len(sites) == 1:
            return sites
        if resource in IN_ONE_SITE:
            known = await parts.locator.recorded(resource, ident)
            if known is None and call.request.has_body:
                having = await parts.locator.having(call, resource, ident)
                known = parts.sites.by_name[min(having)] if having else None
            if known is not None:
                return [known]
        return sorted(sites, key=lambda site: not site.healthy(call.service_type))

    async def _at_all(self, call: Call, resource: str, ident: str) -> None:
        """Carry a change to every site; the first that has the thing answers for all."""
        parts = self._parts
        body = await call.read_body(parts.body_limit) if call.request.has_body else None
        sites = await self._that_may_have(call, resource, ident)
        gathered = await scatter(
            {site.name: self._ask_one(call, site, call.request.method, body) for site in sites}
        )
        parts.locator.gone(resource, ident)
        if gathered.failed:
            raise none_answered(f"the {resource} {ident}", gathered.failed)
        done = {name: one for name, one in gathered.answered.items() if one.status < 300}
        refused = {
            name: one for name, one in gathered.answered.items() if one.status >= 300 and one.status != 404
        }
        name, answer = next(iter((refused or done or gathered.answered).items()))
        if refused and done:
            log.error(
                "shared_change_half_done",
                request_id=call.id,
                resource=resource,
                id=ident,
                done=sorted(done),
                refused=sorted(refused),
            )
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)

    async def _that_may_have(self, call: Call, resource: str, ident: str) -> Sequence[Site]:
        """All sites; for an image those that have it, or one that says that nobody has it."""
        sites = self._parts.sites.with_service(call.service_type)
        if resource not in IN_ONE_SITE or len(sites) == 1:
            return sites
        known = await self._parts.locator.recorded(resource, ident)
        if known is not None:
            return [known]
        having = await self._parts.locator.having(call, resource, ident)
        return [site for site in sites if site.name in having] or sites[:1]

    # -- create -----------------------------------------------------------------------------------

    async def create(self, call: Call) -> None:
        """Make the thing at every site, or at none."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        text = await call.read_body(self._parts.body_limit)
        body = bodies.decoded(text)
        sites = self._parts.sites.with_service(call.service_type)
        if route.resource in IN_ONE_SITE and len(sites) > 1:
            await self._create_in_one(call, text, body)
            return
        if body is None:
            sites = sites[:1]  # one site says what is wrong with it
        given = text
        if body is not None and route.resource == "flavor":
            text = _with_flavor_id(text)
        self._require_all(call, route.resource, sites)
        # The first alone: it refuses for all, or generates what the others import.
        answer = await self._ask_one(call, sites[0], b"POST", text)
        made = [_Made(sites[0], answer)]
        if answer.status < 300 and len(sites) > 1:
            if route.resource == "keypair":
                text = _with_public_key(text, answer.text)
            first = _Made(sites[0], answer, _proof(given, text))
            made = await self._at_the_others(call, first, sites[1:], text)
        last = made[-1]
        self._parts.forward.answer(call, self._parts.endpoint(last.site, call), last.answer)

    def _require_all(self, call: Call, resource: str, sites: Sequence[Site]) -> None:
        """Raise SiteUnavailable while a site is away: nothing is made at only some of them."""
        for site in sites:
            if not site.healthy(call.service_type):
                raise SiteUnavailable(
                    f"A {resource.replace('_', ' ')} is made at every site, and {site.name} is away.",
                    resource=resource,
                    site=site.name,
                    retry_after=5,
                )

    async def _at_the_others(
        self, call: Call, first: _Made, sites: Sequence[Site], text: bytes
    ) -> list[_Made]:
        """Make it at the other sites at once; undo it everywhere when one refuses or fails.

        The last of the list is what the client is told: the first site's answer, or the refusal.
        """
        gathered = await scatter({site.name: self._ask_one(call, site, b"POST", text) for site in sites})
        by_name = {site.name: site for site in sites}
        answered = [_Made(by_name[name], answer) for name, answer in gathered.answered.items()]
        refused = [one for one in answered if one.answer.status >= 300]
        if not refused and not gathered.failed:
            return [*answered, first]
        await self._undo(call, [first, *(one for one in answered if one.answer.status < 300)])
        lost = [by_name[name] for name, error in gathered.failed.items() if isinstance(error, SiteTimeout)]
        await self._undo_unknown(call, first, lost)
        if gathered.failed:
            raise next(iter(gathered.failed.values()))
        return refused

    async def _ask_one(self, call: Call, site: Site, method: bytes, body: bytes | None) -> SiteAnswer:
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        return await self._parts.forward.ask(
            call, self._parts.endpoint(site, call), method, target, body=body
        )

    async def _undo(self, call: Call, made: Sequence[_Made]) -> None:
        """Take back what was made at some sites, since another refused."""
        parts = self._parts
        resource = call.match.route.resource if call.match.route is not None else ""
        for one in made:
            ident = one.ident(resource)
            path = call.path.rstrip(b"/") + b"/" + quote(ident, safe="").encode()
            try:
                undone = await parts.forward.ask(call, parts.endpoint(one.site, call), b"DELETE", path)
            except AtollError as error:
                log.error(  # noqa: TRY400 - the site's reason says it all
                    "undo_failed", request_id=call.id, site=one.site.name, id=ident, reason=str(error)[:256]
                )
            else:
                log.info("undone", request_id=call.id, site=one.site.name, id=ident, status=undone.status)

    async def _undo_unknown(self, call: Call, first: _Made, sites: Sequence[Site]) -> None:
        """Take back what a site may have made although its answer was lost.

        Only what is provably ours: the key that the first site generated, a flavor under an id of our making.
        """
        resource = call.match.route.resource if call.match.route is not None else ""
        for site in sites:
            proof = first.proof
            found = None
            if proof:
                path = call.path.rstrip(b"/") + b"/" + quote(first.ident(resource), safe="").encode()
                with contextlib.suppress(AtollError):
                    found = await self._parts.forward.ask(
                        call, self._parts.endpoint(site, call), b"GET", path
                    )
            if found is not None and found.status == 200 and proof in found.text:
                await self._undo(call, [_Made(site, found)])
            elif found is None or found.status != 404:
                log.error("outcome_unknown", request_id=call.id, site=site.name, resource=resource)

    async def _create_in_one(self, call: Call, text: bytes, body: dict[str, object] | None) -> None:
        """An image: chosen like a placed thing, under an id that is free at every site."""
        if body is not None and not body.get("id"):
            text = splice(text, [((text.index(b"{") + 1,) * 2, b'"id": "%b"%b' % (
                str(uuid.uuid4()).encode(), b", " if body else b""))])  # fmt: skip
        elif body is not None and isinstance(body.get("id"), str):
            having = await self._parts.locator.having(call, "image", str(body["id"]))
            if having:
                # One id is one image: the site that has it refuses in its own words.
                site = self._parts.sites.by_name[min(having)]
                endpoint = self._parts.endpoint(site, call)
                answer = await self._parts.forward.send(call, endpoint, body=text)
                await self._parts.forward.pass_on(call, endpoint, answer)
                return
        await self._placed.create_at_choice(call, text, body)


def _with_flavor_id(text: bytes) -> bytes:
    """A flavor without an id of its own gets one here, so that it is the same at every site."""
    for start, end in find(text, ("flavor", "id")):
        if text[start:end] in {b"null", b'"auto"', b'""'}:
            return splice(text, [((start, end), b'"%b"' % str(uuid.uuid4()).encode())])
        return text
    for start, _ in find(text, ("flavor",)):
        inside = b'"id": "%b", ' % str(uuid.uuid4()).encode()
        return splice(text, [((start + 1, start + 1), inside)])
    return text


def _with_public_key(text: bytes, answer: bytes) -> bytes:
    """The body for the other sites: the key that the first site generated is imported there."""
    try:
        made: Mapping[str, Mapping[str, object]] = msgspec.json.decode(answer)
        public_key = made["keypair"]["public_key"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return text
    for _ in find(text, ("keypair", "public_key")):
        return text
    for start, _ in find(text, ("keypair",)):
        inside = b'"public_key": %b, ' % msgspec.json.encode(public_key)
        return splice(text, [((start + 1, start + 1), inside)])
    return text


def _proof(given: bytes, sent: bytes) -> bytes:
    """What was put into a body on its way: an id or a key that nobody else has."""
    if given == sent:
        return b""
    for path in (("flavor", "id"), ("keypair", "public_key")):
        for start, end in find(sent, path):
            return sent[start:end].strip(b'"')
    return b""


def _identity_of(text: bytes, key: str) -> str:
    try:
        content = msgspec.json.decode(text)
        first = next(iter(content.values()))
        return str(first[key] if isinstance(first, dict) else content[key])
    except (msgspec.DecodeError, KeyError, StopIteration, AttributeError):
        return ""
