"""Lists over sites: what one cloud holding the union would answer.

    GET /…/{collection}[/detail]

The order, the pages and what to ask of whom are `core.merge`'s; this file asks the sites and writes the
answer. Items pass as raw bytes; only links, zones and equivalents in them are changed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import structlog

from atoll.core.errors import (
    BadRequest,
    TooManyRequests,
)
from atoll.core.merge import Page, Walk
from atoll.core.merge_source import Described, Need
from atoll.core.whole import merge_whole
from atoll.gateway import network_lists, next_pages, of_site, queries, versions
from atoll.gateway.accepted_list import ACCEPTED
from atoll.gateway.aliases import AliasLearnt
from atoll.gateway.call import Call
from atoll.gateway.cursors import Cursors
from atoll.gateway.default_groups import GROUP, SHOWING
from atoll.gateway.fanout import none_answered
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.image_lists import ImageLists, compare
from atoll.gateway.items import COPY, Cut, Item, Read, joined, made_by, one_list, outward
from atoll.gateway.list_reads import ListReads
from atoll.gateway.listing import Listing, Listings, Shares
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.gateway.shared import IN_ONE_SITE
from atoll.gateway.unknown import unknown_servers
from atoll.services.table import Kind, Resource, Route
from atoll.sites.site import Endpoint, Site
from atoll.store import Cursor, Sighting

log = structlog.get_logger()

AGAIN: Final = 2
"""How often a page is read again whose servers were moved while it was read."""


class Lists:
    """Merges the lists of all sites."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._cursors = Cursors(parts.store)
        self._shares = Shares()
        self._listings = Listings(parts)
        self._reads = ListReads(parts)
        self._images = ImageLists(parts, self._listings, self._reads, self._walk)

    async def handle(self, call: Call) -> None:
        """Answer one page."""
        route, service = call.match.route, call.service
        assert route is not None and service is not None  # noqa: S101, PT018 - matched before
        parts = self._parts
        sites = parts.reach.sites(call)
        resource = service.by_name.get(route.resource)
        query = None
        if resource is not None:
            paged = not versions.before(call, resource.paged_since)
            query = queries.parse(resource, call.request.query, paged=paged)
            if query is not None and call.service_type == "network":
                query = network_lists.as_meant(query, resource)
        alone = len(sites) == 1
        if alone and route.resource == "server":
            alone = not parts.servers(call).waits(call.caller.project_id, every=call.caller.is_admin)
        if alone or resource is None or query is None or query.limit == 0:
            # One site alone, or what a service refuses in words of its own.
            await self._alone(call, sites[0])
            return
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        for kind in self._of_types(call, route, resource):
            await parts.equivalents.current(call, kind)
        if route.kind is Kind.PLACED:
            sites = await self._of_ids(resource, queries.ids(call.request.query)) or sites
        if query.reverse:
            sites = sites[::-1]
        await self._one_page(self._listings.of(call, resource, query, sites, detail=route.detail))

    async def of_sites(self, call: Call, look_ups: frozenset[str]) -> None:
        """Answer one page of what belongs to a site each, by ids that say which; `look_ups` need every site.

        A site's order is its own, so without sort keys one site's come after the other's.
        """
        route, service, parts = call.match.route, call.service, self._parts
        assert route is not None and service is not None  # noqa: S101, PT018 - matched before
        sites, resource = parts.reach.sites(call), service.by_name[route.resource]
        query = queries.parse_plain(resource, call.request.query, look_ups)
        if query is None or query.limit == 0 or (len(sites) == 1 and not sites[0].number):
            await self._alone(call, sites[0])
            return
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        await self._one_page(self._listings.of(call, resource, query, sites, detail=False))

    async def _one_page(self, listing: Listing) -> None:
        """Read what the page takes of the sites, and answer it.

        What servers are is as it was when that began. Raises AliasLearnt where that has changed meanwhile,
        and there is time to begin anew.
        """
        began, call = self._parts.forward.now(), listing.call
        call.table = self._parts.equivalents.table
        page = await self._page(listing)
        query, kind = listing.query, listing.kind
        if page is not None and call.learnt < AGAIN and self._listings.outdated(listing, page):
            now = self._parts.forward.now()
            if call.deadline - now > 2 * (now - began):
                raise AliasLearnt(listing.resource.name)
        if page is None:
            await self._refusal(listing)
            return
        if query.marker is not None and not page.marker_found:
            await self._unknown_marker(listing)
            return
        if listing.walked:
            self._shares.learn(listing, page)
        self._report_missing(listing, page)
        await self._answer(listing, page)
        if kind is Kind.PLACED:
            self._learn(listing, page)

    async def _page(self, listing: Listing) -> Page[Item] | None:
        """One page; None when every site refuses."""
        if listing.kind is not Kind.SHARED:
            return await self._walk(listing)
        if listing.walked:
            return await self._images.page(listing)
        return await self._whole(listing)

    async def _of_ids(self, resource: Resource, ids: Sequence[str]) -> list[Site]:
        """The sites of the ids that a list is to be of, where all are on record: no other is needed then.

        Terraform and the SDKs look networks and ports up so; they must not fail for a site they do not use.
        """
        found = [await self._parts.locator.recorded(resource.name, ident) for ident in ids]
        sites = {site.name: site for site in found if site is not None}
        return list(sites.values()) if None not in found else []

    @staticmethod
    def _of_types(call: Call, route: Route, resource: Resource) -> list[str]:
        """The types of things that must be known as one before the list is asked for."""
        if route.kind is Kind.SHARED:
            return [resource.name]
        if call.service_type == "network":
            return [GROUP] if resource.name in SHOWING else []
        return (
            [kind for kind, _ in queries.named_ids(call.request.query)] if resource.name == "server" else []
        )

    async def _alone(self, call: Call, site: Site) -> None:
        parts = self._parts
        endpoint = parts.endpoint(site, call)
        name = call.match.route.resource if call.match.route is not None else ""
        call.request.query = parts.equivalents.query_at(call, name, call.request.query, site.name)
        response = await parts.forward.send(call, endpoint)
        await parts.forward.pass_on(call, endpoint, response)

    # -- asking -----------------------------------------------------------------------------------

    async def _walk(self, listing: Listing) -> Page[Item] | None:
        """One page of the merged list; None when every site refuses."""
        query = listing.query
        cursor = Cursor(markers={})
        kept = None
        if query.marker is not None:
            kept = await self._cursors.load(listing.call, query.rest, listing.asked_marker or query.marker)
            if kept is None and query.reverse:
                kept = await self._from_marker(listing, query.marker)
            cursor = kept or cursor
        names = [site.name for site in listing.sites if site.name not in cursor.missing]
        if listing.accepted is not None:
            names.insert(0, ACCEPTED)
        walk: Walk[Item] = Walk(
            names,
            sort=query.sort,
            limit=listing.limit,
            markers=cursor.markers,
            earlier=cursor.earlier,
            keys=cursor.keys,
            last=cursor.last,
            after=query.marker if kept is None else None,
            offset=query.offset,
            max_page=self._parts.page_limit,
            seen=(*cursor.seen, COPY),
            shares=self._shares.of(listing) if not listing.resource.by_offset else self._all(listing),
        )
        while needs := walk.needs():
            for need, came in await self._reads.round(listing, needs, walk):
                if came is None and not (self._has_lost_marker(listing, need) and walk.lost(need.site)):
                    walk.fail(need.site, listing.reason(need.site))
        if not listing.first:
            return None
        page = walk.page()
        if not page.items and len(page.missing) == len(listing.sites):
            listing.failed = {name: listing.error(name, why) for name, why in page.missing.items()}
            return None
        return msgspec.structs.replace(
            page,
            missing={**cursor.missing, **page.missing},
            marker_found=page.marker_found and listing.deleted_marker is None,
        )

    @staticmethod
    def _all(listing: Listing) -> Mapping[str, int]:
        """All that a page could be of each site, at once: there is no going on after an item."""
        return {site.name: (listing.limit or 0) + listing.query.offset for site in listing.sites}

    def _has_lost_marker(self, listing: Listing, need: Need) -> bool:
        """Whether a site refused because the item it was to go on after is gone.

        If that is the client's own marker, the service is to say so, as it does for one site.
        """
        answer = listing.refused.get(need.site)
        named = need.marker or ""
        if listing.kind is Kind.PER_SITE:
            named = f"[{of_site.local(named, self._parts.sites.by_name[need.site])}]"  # it may be one digit
        lost = (
            answer is not None
            and need.marker is not None
            and answer.status in {400, 404}
            and named.encode() in answer.text
        )
        if lost and need.marker == listing.query.marker:
            listing.deleted_marker = need.site
            return False
        if lost:
            del listing.refused[need.site]
        return lost

    async def _whole(self, listing: Listing) -> Page[Item] | None:
        """A page of a list of shared things: every site's list is read, and each thing shown once."""
        pages = await self._reads.whole(listing)
        if not listing.first:
            return None
        if listing.resource.name == "keypair":
            gone = listing.missing()
            whole = [one for one in pages if one not in gone and not listing.query.filtered]
            await compare(self._parts.equivalents, listing, pages, whole)
        listing.call.table = self._parts.equivalents.table  # nothing was left out till now
        page = merge_whole(
            {
                site.name: self._joined(listing, site.name, pages)
                for site in listing.sites
                if site.name in pages
            },
            sort=listing.query.sort,
            limit=listing.limit,
            after=listing.query.marker,
            offset=listing.query.offset,
        )
        return msgspec.structs.replace(page, missing=listing.missing())

    def _joined(
        self, listing: Listing, site: str, pages: Mapping[str, Sequence[Read]]
    ) -> tuple[list[Item], Described]:
        """The pages of one site's whole list as one, by the ids that clients see."""
        call, resource = listing.call, listing.resource
        items, described = one_list(pages[site])
        equivalents = self._parts.equivalents
        if not equivalents.seen(call).has(resource.name):
            return items, described
        name = resource.name
        stay = [
            at
            for at, ident in enumerate(described.ids)
            if not equivalents.is_another(call, name, ident, site)
            or equivalents.shown(call, name, site, ident) != ident
        ]
        described = described.only(stay)
        ids = [equivalents.shown(call, name, site, ident) for ident in described.ids]
        same = ids if resource.identity == "id" else described.identities or described.ids
        return [items[at] for at in stay], described._replace(ids=ids, identities=same)

    # -- answering --------------------------------------------------------------------------------

    async def _refusal(self, listing: Listing) -> None:
        """Answer what every site refuses, in the words of the first that did; 503 when none answered."""
        call = listing.call
        waits = [wait for name in listing.refused if (wait := listing.patience(name)) is not None]
        if waits:
            raise TooManyRequests("The sites ask for patience.", retry_after=max(waits))
        first = next((site for site in listing.sites if site.name in listing.refused), None)
        if first is not None and listing.brief:
            # What was read was the detailed list: the fault has to be the brief one's.
            await self._alone(call, first)
        elif first is not None:
            self._say(listing, first.name, listing.refused[first.name])
        else:
            raise none_answered(f"its {listing.resource.plural.replace('_', ' ')}", listing.failed)

    async def _unknown_marker(self, listing: Listing) -> None:
        """Answer the service's own fault for a marker that is gone or nowhere; 503 while it may be away."""
        if listing.deleted_marker is not None:
            self._say(listing, listing.deleted_marker, listing.refused[listing.deleted_marker])
            return
        away = {name: listing.error(name) for name in (*listing.refused, *listing.failed)}
        if away:
            raise none_answered("the marker", away)
        call = listing.call
        target = call.path + b"?" + call.request.query
        for site in listing.sites:
            # One that still has it, deleted, would answer with a list of its own: that is not the answer.
            answer = await self._parts.forward.ask(call, self._parts.endpoint(site, call), b"GET", target)
            if answer.status != 200:
                self._say(listing, site.name, answer)
                return
        raise BadRequest(f"marker [{listing.query.marker}] not found")

    def _say(self, listing: Listing, name: str, answer: SiteAnswer) -> None:
        """Answer what one site said."""
        endpoint = self._parts.endpoint(self._parts.sites.by_name[name], listing.call)
        self._parts.forward.answer(listing.call, endpoint, answer)

    def _report_missing(self, listing: Listing, page: Page[Item]) -> None:
        """Name the sites that are missing, or refuse to answer without them."""
        if not page.missing:
            return
        route = listing.call.match.route
        everywhere = route is not None and route.kind is Kind.SHARED and route.resource not in IN_ONE_SITE
        default = not self._parts.strict and (everywhere or not listing.query.look_up)
        if not allows_partial(listing.call, default=default):
            failed = {name: listing.error(name, reason) for name, reason in page.missing.items()}
            raise none_answered(f"its {listing.resource.plural.replace('_', ' ')}", failed)
        add_missing(listing.call, page.missing)

    async def _answer(self, listing: Listing, page: Page[Item]) -> None:
        call, parts = listing.call, self._parts
        endpoints = {site.name: parts.endpoint(site, call) for site in listing.sites}
        first_name, first = next(
            (site.name, listing.first[site.name]) for site in listing.sites if site.name in listing.first
        )
        saved = None
        if listing.walked and page.ids and (page.more or listing.query.limit is not None):
            last = self._held(listing, page)
            saved = asyncio.ensure_future(self._cursors.save(call, listing.query.rest, page, last))
            await asyncio.sleep(0)  # it is written while the items are
        texts = self._outward(listing, page, endpoints)
        if listing.resource.name == "server" and page.missing:
            texts = await self._unknown(listing, page, first) + texts
        if saved is not None:
            await saved
        tail = [b"]"]
        if listing.query.with_count and listing.count is not None:
            tail.append(b', "count": %d' % listing.count)
        if listing.query.reverse:
            texts.reverse()
        if call.service_type == "network":
            if listing.limit is not None:
                tail.append(self._links(listing, page))
        elif page.more and page.ids and listing.limit is not None:
            last = self._held(listing, page)
            tail.append(next_pages.link(call, listing.resource, last, parts.public_url))
        if call.service_type == "image":
            tail.append(next_pages.images(call, first, texts, parts.equivalents.copies(call, page.ids)))
        tail.append(b"}")
        body = joined(b'{"%b": [' % listing.resource.plural.encode(), texts, b"".join(tail))
        parts.forward.answer(call, endpoints[first_name], first, body)

    def _outward(self, listing: Listing, page: Page[Item], endpoints: Mapping[str, Endpoint]) -> list[bytes]:
        """The items as clients see them."""
        call, by_name = listing.call, self._parts.sites.by_name
        if listing.kind is Kind.PER_SITE:
            return [
                of_site.outward(call, endpoints[site], by_name[site], bytes(item), ())
                for item, site in zip(page.items, page.origins, strict=True)
            ]
        few = network_lists.Fields.of(call, listing.resource, listing.query)
        cuts = dict.fromkeys(endpoints if few else listing.cut, few or Cut(listing.resource.brief))
        envelope = listing.resource.envelope

        def of_sites(items: Sequence[Item], origins: Sequence[str]) -> list[bytes]:
            return outward(items, origins, endpoints, cuts, call, envelope)

        if listing.accepted is not None:
            return listing.accepted.among(page, of_sites)
        return of_sites(page.items, page.origins)

    async def _unknown(self, listing: Listing, page: Page[Item], said: SiteAnswer) -> list[bytes]:
        """The known servers of missing sites, as far as there is room for them on the page."""
        room = (listing.limit or 0) - len(page.ids)
        detail = listing.call.match.route is not None and listing.call.match.route.detail
        return await unknown_servers(
            listing.call, self._parts, said, page.missing, room=room, but=set(page.ids), detail=detail
        )

    def _links(self, listing: Listing, page: Page[Item]) -> bytes:
        """The links of a page of Neutron's."""
        ends = [self._shown(listing, page, at) for at in (0, -1)] if page.ids else []
        if listing.query.reverse:
            ends.reverse()
        full = len(page.ids) == listing.limit
        return network_lists.links(listing.call, listing.resource, self._parts.public_url, ends, full=full)

    def _held(self, listing: Listing, page: Page[Item]) -> str:
        """The last id of a page as the client sees it: the next page is asked for by that."""
        last, call = self._shown(listing, page, -1), listing.call
        if listing.resource.name != "server":
            return last
        return self._parts.servers(call).shown(page.origins[-1], last, call.caller.project_id)

    def _shown(self, listing: Listing, page: Page[Item], at: int) -> str:
        """An id of a page as the client sees it."""
        if not listing.walked:
            return page.ids[at]
        site, ident = page.origins[at], page.ids[at]
        return self._parts.equivalents.shown(listing.call, listing.resource.name, site, ident)

    async def _from_marker(self, listing: Listing, marker: str) -> Cursor | None:
        """Where a walk that is not sorted begins: at the marker's site, behind that each site whole.

        None where its site is not on record.
        """
        site = await self._parts.locator.recorded(listing.resource.name, marker)
        if listing.query.sort or site is None or site not in listing.sites:
            return None
        listing.sites = listing.sites[listing.sites.index(site) :]
        return Cursor(markers={site.name: marker})

    def _learn(self, listing: Listing, page: Page[Item]) -> None:
        """Remember where the things passing by are: the next request for one of them needs no search."""
        name, locations = listing.resource.name, self._parts.locations
        marks = self._parts.marks if name == "server" else None
        rows = []
        for item, ident, site in zip(page.items, page.ids, page.origins, strict=True):
            seen = locations.cached(name, ident) == site
            if site == ACCEPTED or (seen and locations.recorded(name, ident)):
                continue
            project, made = made_by(item)
            if marks is not None and not seen:
                marks.passed(listing.call, site, ident, bytes(item))
            rows.append(
                Sighting(resource_type=name, id=ident, site=site, project_id=project, created_at=made)
            )
        locations.learn(rows, "list")
