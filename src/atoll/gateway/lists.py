"""Lists over sites: what one cloud holding the union would answer.

    GET /…/{collection}[/detail]

The order, the pages and what to ask of whom are `core.merge`'s; this file asks the sites and writes the
answer. Items pass as raw bytes; only links, zones and equivalents in them are changed.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from atoll.core.errors import AtollError, BadRequest, BadSiteAnswer, NotImplementedHere, TooManyRequests
from atoll.core.merge import Described, Need, Page, Walk, merge_whole
from atoll.gateway import queries
from atoll.gateway.call import Call
from atoll.gateway.equivalents import Equivalents
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer, rewrite
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.gateway.queries import ListQuery
from atoll.gateway.shared import IN_ONE_SITE
from atoll.services.table import Kind, Resource
from atoll.sites.site import Site
from atoll.store import Cursor, Sighting, StoreError

log = structlog.get_logger()

Item = msgspec.Raw

# Glance's pages are this long when nobody says otherwise (limit_param_default).
IMAGE_PAGE = 25


@dataclass(slots=True)
class _Listing:
    """A list under way: what was asked, and what came back beside the items."""

    call: Call
    resource: Resource
    query: ListQuery
    sites: Sequence[Site]
    path: bytes
    brief: bool
    limit: int | None
    describe: Callable[[Item], Described]
    first: dict[str, SiteAnswer] = field(default_factory=dict)  # by site
    refused: dict[str, SiteAnswer] = field(default_factory=dict)
    failed: dict[str, AtollError] = field(default_factory=dict)
    count: int = 0


class Lists:
    """Merges the lists of all sites."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Answer one page."""
        route, service = call.match.route, call.service
        assert route is not None and service is not None  # noqa: S101, PT018 - matched before
        parts = self._parts
        sites = parts.sites.with_service(call.service_type)
        resource = service.by_name.get(route.resource)
        query = queries.parse(resource, call.request.query) if resource is not None else None
        if len(sites) == 1 or resource is None or query is None or query.limit == 0:
            # One site alone, or what a service refuses in words of its own.
            await self._alone(call, sites[0])
            return
        if query.reverse:
            raise NotImplementedHere("page_reverse is not carried out over several sites.")
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        listing = self._listing(call, resource, query, sites, detail=route.detail)
        if route.kind is Kind.SHARED:
            page = await self._whole(listing)
        else:
            page = await self._walk(listing)
        if page is None or (query.marker is not None and not page.marker_found):
            # The service's own fault for a marker that is nowhere, or for what every site refuses.
            await self._refusal(listing)
            return
        self._report_missing(listing, page)
        await self._answer(listing, page, kept=route.kind is Kind.PLACED)

    async def _alone(self, call: Call, site: Site) -> None:
        parts = self._parts
        endpoint = parts.endpoint(site, call)
        response = await parts.forward.send(call, endpoint)
        await parts.forward.pass_on(call, endpoint, response)

    def _listing(
        self, call: Call, resource: Resource, query: ListQuery, sites: Sequence[Site], *, detail: bool
    ) -> _Listing:
        shown = [(resource.shown.get(key, key), way) for key, way in query.sort]
        hidden = [key for key, _ in query.sort if key in resource.unseen]
        if hidden:
            keys = ", ".join(hidden)
            raise BadRequest(f"Lists over several sites cannot be sorted by {keys}: no answer shows it.")
        brief = bool(resource.brief) and bool(resource.detail) and not detail
        brief = brief and any(key not in resource.brief for key, _ in shown)
        path = call.path.rstrip(b"/")
        if query.zone is not None:
            sites = [site for site in sites if query.zone in site.zones] or sites
        limit = query.limit
        if call.service_type == "image":
            limit = min(limit or IMAGE_PAGE, self._parts.page_limit)
        elif call.service_type != "network":
            limit = min(limit or self._parts.page_limit, self._parts.page_limit)
        return _Listing(
            call=call,
            resource=resource,
            query=query,
            sites=sites,
            path=path + b"/detail" if brief else path,
            brief=brief,
            limit=limit,
            describe=describer(resource, [key for key, _ in shown], self._identity(call)),
        )

    def _identity(self, call: Call) -> Callable[[str], object]:
        route = call.match.route
        if route is not None and route.kind is Kind.SHARED:
            return lambda ident: ident
        equivalents: Equivalents = self._parts.equivalents

        def group(ident: str) -> object:
            found = equivalents.group(ident)
            return found.id if found is not None else None

        return group if equivalents else lambda _: None

    # -- asking -----------------------------------------------------------------------------------

    async def _walk(self, listing: _Listing) -> Page[Item] | None:
        """One page of the merged list; None when every site refuses."""
        query = listing.query
        cursor = None
        if query.marker is not None:
            cursor = await self._load_cursor(listing, query.marker)
        names = [site.name for site in listing.sites]
        missing: Mapping[str, str] = {}
        if cursor is not None:
            missing = cursor.missing
            names = [name for name in names if name not in missing]
        walk: Walk[Item] = Walk(
            names,
            sort=query.sort,
            limit=listing.limit,
            describe=listing.describe,
            markers=cursor.markers if cursor is not None else None,
            after=query.marker if cursor is None else None,
            offset=query.offset,
            max_page=self._parts.page_limit,
        )
        while needs := walk.needs():
            for name, items, more in await self._ask(listing, needs):
                if items is None or not self._legible(listing, name, walk.feed, name, items, more=more):
                    walk.fail(name, _reason(listing, name))
        if not listing.first:
            return None
        page = walk.page()
        if missing:
            page = msgspec.structs.replace(page, missing={**missing, **page.missing}, marker_found=True)
        elif cursor is not None:
            page = msgspec.structs.replace(page, marker_found=True)
        return page

    async def _whole(self, listing: _Listing) -> Page[Item] | None:
        """A page of a list of shared things: every site's list is read, and each thing shown once."""
        lists: dict[str, list[Item]] = {}
        needs = [Need(site.name, None, self._parts.page_limit) for site in listing.sites]
        while needs:
            further = []
            for name, items, more in await self._ask(listing, needs):
                if items is None or not self._legible(listing, name, list, map(listing.describe, items)):
                    continue
                lists.setdefault(name, []).extend(items)
                if more and items:
                    further.append(Need(name, listing.describe(items[-1]).id, self._parts.page_limit))
            needs = further
        if not listing.first:
            return None
        page = merge_whole(
            {site.name: lists[site.name] for site in listing.sites if site.name in lists},
            sort=listing.query.sort,
            describe=listing.describe,
            limit=listing.limit,
            after=listing.query.marker,
            offset=listing.query.offset,
        )
        missing = {name: _reason(listing, name) for name in {*listing.failed, *listing.refused}}
        return msgspec.structs.replace(page, missing=missing)

    async def _ask(
        self, listing: _Listing, needs: Sequence[Need]
    ) -> list[tuple[str, list[Item] | None, bool]]:
        """One round: the items of each site asked and whether it has more; None for one that failed."""
        parts, call = self._parts, listing.call
        asked = {}
        for need in needs:
            site = parts.sites.by_name[need.site]
            target = listing.path + b"?" + self._site_query(listing, site, need)
            asked[need.site] = parts.forward.ask(call, parts.endpoint(site, call), b"GET", target)
        gathered = await scatter(asked)
        listing.failed.update(gathered.failed)
        came: list[tuple[str, list[Item] | None, bool]] = [(name, None, False) for name in gathered.failed]
        for name, answer in gathered.answered.items():
            if answer.status != 200:
                listing.refused[name] = answer
                came.append((name, None, False))
                continue
            try:
                items, more = self._read(listing, name, answer)
            except BadSiteAnswer as error:
                listing.failed[name] = error
                came.append((name, None, False))
                continue
            came.append((name, items, more))
        return came

    @staticmethod
    def _legible(
        listing: _Listing, name: str, take: Callable[..., object], *given: object, **more: object
    ) -> bool:
        """Whether a site's items could be read by what takes them in; else the site is missing."""
        try:
            take(*given, **more)
        except (msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError) as error:
            log.warning("items_not_read", site=name, reason=str(error)[:256])
            listing.failed[name] = BadSiteAnswer(
                f"The site {name} answered what are no {listing.resource.plural}.", site=name
            )
            listing.first.pop(name, None)
            return False
        return True

    def _site_query(self, listing: _Listing, site: Site, need: Need) -> bytes:
        query = listing.query
        first = site.name not in listing.first
        if query.zone is not None and query.zone in site.zones:
            query = dataclasses.replace(query, rest=queries.with_zone(query, site.zones[query.zone]))
        # Neutron gives everything when no limit is named, and sorts only when told to.
        limit = None if listing.limit is None else need.limit
        text = query.at_site(limit=limit, marker=need.marker, count=query.with_count and first)
        return self._parts.equivalents.query_at(text, site.name)

    def _read(self, listing: _Listing, site: str, answer: SiteAnswer) -> tuple[list[Item], bool]:
        """The items of a page and whether the site says there are more. Raises BadSiteAnswer."""
        plural = listing.resource.plural
        try:
            content = msgspec.json.decode(answer.text, type=dict[str, msgspec.Raw])
            items = msgspec.json.decode(content[plural], type=list[msgspec.Raw])
            if site not in listing.first:
                listing.first[site] = answer
                if "count" in content:
                    listing.count += msgspec.json.decode(content["count"], type=int)
            more = "next" in content
            if f"{plural}_links" in content:
                links = msgspec.json.decode(content[f"{plural}_links"], type=list[dict[str, Any]])
                more = any(link.get("rel") == "next" for link in links)
        except (msgspec.MsgspecError, KeyError) as error:
            raise BadSiteAnswer(
                f"The site {site} answered what is not a list of {plural}.", site=site
            ) from error
        return items, more

    # -- answering --------------------------------------------------------------------------------

    async def _refusal(self, listing: _Listing) -> None:
        """Answer what every site refuses, in the words of the first that did; 503 when none answered."""
        call = listing.call
        if not listing.first:
            statuses = {answer.status for answer in listing.refused.values()}
            if 429 in statuses:
                waits = [one.response.index.get(b"retry-after", b"1") for one in listing.refused.values()]
                raise TooManyRequests(
                    "The sites ask for patience.",
                    retry_after=max(float(wait) for wait in waits if wait.isdigit()),
                )
            if listing.refused and listing.brief:
                # What was read was the detailed list: the fault has to be the brief one's.
                await self._alone(call, listing.sites[0])
                return
            if listing.refused:
                name, answer = next(iter(listing.refused.items()))
                site = self._parts.sites.by_name[name]
                self._parts.forward.answer(call, self._parts.endpoint(site, call), answer)
                return
            raise none_answered(f"its {listing.resource.plural.replace('_', ' ')}", listing.failed)
        missing = {**listing.failed}
        if missing:
            raise none_answered("the marker", missing)
        await self._alone(call, listing.sites[0])

    def _report_missing(self, listing: _Listing, page: Page[Item]) -> None:
        """Name the sites that are missing, or refuse to answer without them."""
        if not page.missing:
            return
        route = listing.call.match.route
        everywhere = route is not None and route.kind is Kind.SHARED and route.resource not in IN_ONE_SITE
        default = not self._parts.strict and (everywhere or not listing.query.look_up)
        if not allows_partial(listing.call, default=default):
            failed = {
                name: listing.failed.get(name) or BadSiteAnswer(reason, site=name)
                for name, reason in page.missing.items()
            }
            raise none_answered(f"its {listing.resource.plural.replace('_', ' ')}", failed)
        add_missing(listing.call, page.missing)

    async def _answer(self, listing: _Listing, page: Page[Item], *, kept: bool) -> None:
        call, parts = listing.call, self._parts
        endpoints = {site.name: parts.endpoint(site, call) for site in listing.sites}
        last = ""
        texts = []
        for item, site in zip(page.items, page.origins, strict=True):
            raw = bytes(item)
            if listing.brief:
                raw = cut_down(item, listing.resource.brief)
            texts.append(rewrite(endpoints[site], raw, call, item=True))
        if page.items:
            last = listing.describe(page.items[-1]).id
        plural = listing.resource.plural
        body = [b'{"%b": [%b]' % (plural.encode(), b", ".join(texts))]
        if listing.query.with_count:
            body.append(b', "count": %d' % listing.count)
        if page.more and last and page.markers is not None and listing.limit is not None:
            body.append(self._next(listing, last))
            if kept:
                await self._save_cursor(listing, last, Cursor(markers=page.markers, missing=page.missing))
        first_name, first = next(iter(listing.first.items()))
        if call.service_type == "image":
            body.append(self._image_extras(listing, first))
        body.append(b"}")
        parts.forward.answer(call, endpoints[first_name], first, b"".join(body))
        if kept:
            self._learn(listing, page)

    def _next(self, listing: _Listing, last: str) -> bytes:
        call = listing.call
        query = queries.next_query(call.service_type, call.request.query, last)
        path = call.path.decode("latin-1")
        if call.service_type == "image":
            return b', "next": %b' % msgspec.json.encode(f"{path}?{query}")
        url = f"{self._parts.public_url}{call.request.path.decode('latin-1')}?{query}"
        links = [{"rel": "next", "href": url}]
        return b', "%b_links": %b' % (listing.resource.plural.encode(), msgspec.json.encode(links))

    @staticmethod
    def _image_extras(listing: _Listing, first: SiteAnswer) -> bytes:
        content = msgspec.json.decode(first.text, type=dict[str, msgspec.Raw])
        path = listing.call.path.decode("latin-1")
        kept = queries.first_query(listing.call.request.query)
        extras = b', "first": %b' % msgspec.json.encode(f"{path}?{kept}" if kept else path)
        if "schema" in content:
            extras += b', "schema": %b' % bytes(content["schema"])
        return extras

    def _learn(self, listing: _Listing, page: Page[Item]) -> None:
        """Remember where the things passing by are: the next request for one of them needs no search."""
        rows = [
            Sighting(resource_type=listing.resource.name, id=listing.describe(item).id, site=site)
            for item, site in zip(page.items, page.origins, strict=True)
        ]
        self._parts.locations.learn(rows, "list")

    async def _load_cursor(self, listing: _Listing, marker: str) -> Cursor | None:
        """Where the sites stood after the page before; None sends the walk back to the start."""
        try:
            return await self._parts.store.load_cursor(*self._cursor_key(listing), marker)
        except StoreError as error:
            log.warning("cursor_not_read", reason=str(error)[:256])
            return None

    async def _save_cursor(self, listing: _Listing, last: str, cursor: Cursor) -> None:
        try:
            await self._parts.store.save_cursor(*self._cursor_key(listing), last, cursor)
        except StoreError as error:
            log.warning("cursor_not_saved", reason=str(error)[:256])

    @staticmethod
    def _cursor_key(listing: _Listing) -> tuple[str, str]:
        """Whose walk of which list: a cursor counts for the same project and query only."""
        call = listing.call
        asked = b"\0".join((call.request.path, *sorted(listing.query.rest)))
        return call.caller.project_id, hashlib.sha256(asked).hexdigest()


def _reason(listing: _Listing, name: str) -> str:
    if (error := listing.failed.get(name)) is not None:
        return str(error)
    answer = listing.refused.get(name)
    return f"it answered {answer.status}" if answer is not None else "it did not answer"


def cut_down(item: Item, fields: Sequence[str]) -> bytes:
    """An item of a detailed list as the brief list shows it."""
    content = msgspec.json.decode(item, type=dict[str, msgspec.Raw])
    kept = [b'"%b": %b' % (name.encode(), bytes(content[name])) for name in fields if name in content]
    return b"{%b}" % b", ".join(kept)


def describer(
    resource: Resource, keys: Sequence[str], identity: Callable[[str], object]
) -> Callable[[Item], Described]:
    """What reads of an item as much as the merge has to know."""
    nest, _, id_field = resource.identity.rpartition("/")
    marker_field = id_field if nest else "id"
    names = [marker_field, id_field, *(key.rpartition("/")[2] for key in keys)]
    fields = {name: f"field_{index}" for index, name in enumerate(dict.fromkeys(names))}
    shape: Any = msgspec.defstruct(
        "Shown", [(alias, Any, None) for alias in fields.values()], rename={v: k for k, v in fields.items()}
    )
    decode = msgspec.json.Decoder(dict[str, shape] if nest else shape).decode
    marker, same = fields[marker_field], fields[id_field]
    sorts = [fields[key.rpartition("/")[2]] for key in keys]

    def describe(item: Item) -> Described:
        shown = decode(item)
        if nest:
            shown = shown[nest]
        ident = str(getattr(shown, marker))
        values = tuple(_sortable(getattr(shown, name)) for name in sorts)
        return Described(ident, values, identity(str(getattr(shown, same))))

    return describe


def _sortable(value: object) -> str | int | float | None:
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
