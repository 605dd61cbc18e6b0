"""Shared resources: one thing in every site, under one id or name (flavors, keypairs, images, volume types).

    GET     /…/{collection}/{id}[/…]   any site that has it
    POST    /…/{collection}            all sites, undone if one refuses; images: where `images` says
    PUT     /v2/images/{id}/file       all sites that have the image, see `image_uploads`
    others  /…/{collection}/{id}[/…]   all sites that have it

Lists are in `lists`.
"""

from collections.abc import Sequence
from urllib.parse import unquote

from atoll.core.errors import AtollError, SiteUnavailable, TooLarge
from atoll.core.qos_inverses import CHANGING_GETS
from atoll.gateway import bodies, versions
from atoll.gateway.call import Call
from atoll.gateway.equivalents import at_site
from atoll.gateway.fanout import none_answered
from atoll.gateway.image_uploads import ImageUploads
from atoll.gateway.images import Images
from atoll.gateway.locate import not_found
from atoll.gateway.parts import Parts
from atoll.gateway.placed import Placed
from atoll.gateway.shared_changes import SharedChanges, tail
from atoll.gateway.shared_creates import SharedCreates
from atoll.sites.site import Site

# What may live in one site although its id is valid in all: its bytes are where they were put.
IN_ONE_SITE = frozenset({"image"})


class Shared:
    """By id, and create."""

    def __init__(self, parts: Parts, placed: Placed) -> None:
        self._parts = parts
        self._changes = SharedChanges(parts)
        self._creates = SharedCreates(parts)
        self._images = Images(parts, placed, self._creates)
        self._uploads = ImageUploads(parts)

    # -- by id ------------------------------------------------------------------------------------

    async def by_id(self, call: Call) -> None:
        """Answer from any site that has the thing; change it at every site that has it."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        ident = unquote(call.match.id.decode("latin-1"))
        if route.raw and call.request.method == b"PUT":
            await self._upload(call, route.resource, ident)
        elif route.raw or (call.request.method in {b"GET", b"HEAD"} and not _changes(call, route.resource)):
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
        path, order = call.path, await self._order(call, resource, ident)
        ids = parts.equivalents.ids(call, resource, ident) or {}
        if len(ids) > 1 and self._images.shows(call, ident, ids):
            await self._images.show(call, order, ident)
            return
        if len(ids) > 1 and self._images.lists_tasks(call):
            await self._images.show_tasks(call, order, ids)
            return
        for position, site in enumerate(order):
            if position == 1:  # from here on it is a search
                parts.limiter.take(call.caller.project_id, parts.forward.now())
            endpoint = parts.endpoint(site, call)
            call.path = path
            if site.name in ids:
                call.path = at_site(call, ids[site.name])
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

    async def _upload(self, call: Call, resource: str, ident: str) -> None:
        """Pass bytes on to every site that has the image. Raises TooLarge, and what `ImageUploads` raises."""
        limit, request = self._parts.config.limits.upload_bytes, call.request
        too_large = TooLarge(f"The upload is over {limit} bytes.", resource=resource, id=ident)
        if (request.content_length or request.body.received) > limit:
            raise too_large
        if request.has_body:
            request.body.bound(limit, too_large)
        sites = await self._that_may_have(call, resource, ident, anew=False)
        if len(sites) > 1:
            await self._uploads.upload(call, sites, ident)
        else:
            await self._at_one(call, resource, ident, raw=True)

    async def _order(self, call: Call, resource: str, ident: str) -> Sequence[Site]:
        """The sites to ask, likeliest first; sites that are known not to answer come last."""
        parts = self._parts
        sites = parts.reach.sites(call)
        if len(sites) == 1:
            return sites
        without = versions.lacking(call, sites)

        def order(some: Sequence[Site]) -> Sequence[Site]:
            return sorted(some, key=lambda site: (site in without, not site.healthy(call.service_type)))

        await parts.equivalents.current(call, resource)
        same = self._same(call, resource, ident, sites)
        if same is not None:
            return order(same)
        if resource in IN_ONE_SITE:
            known = parts.locator.cached(resource, ident)
            if known is None and not parts.locator.seen(call.caller, resource, ident, parts.forward.now()):
                known = await parts.locator.recorded(resource, ident)
            if known is not None:
                return [known]
            having = await self._having(call, resource, ident)
            same = self._same(call, resource, ident, sites)
            if same or having:
                return order(same or [site for site in sites if site.name in having])
        return order(sites)

    async def _having(self, call: Call, resource: str, ident: str) -> frozenset[str]:
        """The sites that have an image; none where that cannot be said."""
        try:
            return await self._parts.locator.having(call, resource, ident)
        except SiteUnavailable:
            return frozenset()

    def _same(self, call: Call, resource: str, ident: str, sites: Sequence[Site]) -> Sequence[Site] | None:
        """The sites of what is known to be one thing, the one whose own the id is first; None: not known.

        Raises NotFound where the id is kept for what is nowhere now.
        """
        ids = self._parts.equivalents.ids(call, resource, ident)
        if ids is None:
            return None
        if not ids:
            raise not_found(resource, ident)
        having = [site for site in sites if site.name in ids]
        return sorted(having, key=lambda site: ids[site.name] != ident)

    async def _at_all(self, call: Call, resource: str, ident: str) -> None:
        """Carry a change to every site that may have the thing."""
        parts = self._parts
        sites = await self._that_may_have(call, resource, ident)
        if resource in IN_ONE_SITE:
            await self._images.check(call, tail(call), [site.name for site in sites])
        if len(sites) == 1:
            endpoint = parts.endpoint(sites[0], call)
            ids = parts.equivalents.ids(call, resource, ident) or {}
            call.path = at_site(call, ids.get(sites[0].name, ident))
            query = call.request.query
            call.request.query = parts.equivalents.query_at(call, resource, query, sites[0].name)
            response = await parts.forward.send(call, endpoint)
            parts.locator.gone(resource, ident)
            await parts.forward.pass_on(call, endpoint, response)
            return
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        if call.request.method == b"DELETE" and not tail(call):
            await self._changes.delete(call, sites)
        else:
            await self._changes.change(call, sites)

    async def _that_may_have(
        self, call: Call, resource: str, ident: str, *, anew: bool = True
    ) -> Sequence[Site]:
        """All sites but those where the id is another thing's; what is public is looked at `anew` first.

        For an image those that have it, or one that says that nobody has it.
        """
        parts = self._parts
        sites = parts.reach.sites(call)
        if len(sites) == 1:
            return sites
        await parts.equivalents.current(call, resource, anew=anew)
        same = self._same(call, resource, ident, sites)
        if resource not in IN_ONE_SITE:
            another = parts.equivalents.is_another
            names = {site.name for site in same or ()}
            return [one for one in sites if one.name in names or not another(call, resource, ident, one.name)]
        if same is not None:
            return same
        known = await parts.locator.recorded(resource, ident)
        if known is not None:
            return [known]
        having = await parts.locator.having(call, resource, ident)
        return [site for site in sites if site.name in having] or sites[:1]

    # -- create -----------------------------------------------------------------------------------

    async def create(self, call: Call) -> None:
        """Make the thing at every site (an image: at its sites), or at none."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        text = await call.read_body(self._parts.body_limit)
        body = bodies.decoded(text)
        sites = self._parts.reach.sites(call)
        if route.resource in IN_ONE_SITE:
            await self._images.create(call, text, body)
            return
        if len(sites) > 1:
            self._parts.limiter.take(call.caller.project_id, self._parts.forward.now())
        # Of what is no body one site says what is wrong with it.
        await self._creates.create(call, text, sites if body is not None else sites[:1])


def _changes(call: Call, resource: str) -> bool:
    """Whether a GET changes something: Cinder associates types with specs in answer to one."""
    return resource == "qos_spec" and tail(call) in CHANGING_GETS
