"""Pages of lists, read from sites: one of each at once, or all that they have.

A brief list whose order it does not show is read in detail, as far as times are not known from before.
"""

import dataclasses
from collections.abc import Awaitable, Sequence

from atoll.core.errors import BadSiteAnswer
from atoll.core.merge import Walk
from atoll.core.merge_source import Need
from atoll.gateway import of_site, queries
from atoll.gateway.accepted_list import ACCEPTED
from atoll.gateway.call import Call
from atoll.gateway.fanout import scatter
from atoll.gateway.items import Item, Read
from atoll.gateway.listing import Listing
from atoll.gateway.parts import Parts
from atoll.gateway.times import Times
from atoll.services.table import Kind
from atoll.sites.site import Site


class ListReads:
    """Asks the sites for what a list needs of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._times = Times()

    async def round(
        self, listing: Listing, needs: Sequence[Need], walk: Walk[Item] | None = None
    ) -> list[tuple[Need, Read | None]]:
        """One round: what each site answered that was asked; None for one that failed or refused.

        A walk is fed with each answer when it comes, while others are on their way. A round has half of the
        time that is left, so that one site that stalls leaves some for the others.
        """
        parts, now = self._parts, self._parts.forward.now()
        call = listing.call.aside(now + (listing.call.deadline - now) / 2)
        asked = {}
        for need in needs:
            page: Awaitable[Read | None]
            if need.site == ACCEPTED and listing.accepted is not None:
                page = listing.accepted.page(need)
            else:
                page = self._page(listing, call, parts.sites.by_name[need.site], need)
            asked[need.site] = page if walk is None else _fed(walk, need, page)
        gathered = await scatter(asked)
        listing.failed.update(gathered.failed)
        return [(need, gathered.answered.get(need.site)) for need in needs]

    async def _page(self, listing: Listing, call: Call, site: Site, need: Need) -> Read | None:
        """A page of one site, read while others are on their way; None where it refuses.

        Raises what `forward.ask` raises, BadSiteAnswer too for what is no list.
        """
        if not listing.brief:
            return await self._read(listing, call, site, need, detail=False)
        project, at = call.caller.project_id, listing.times_at
        if at is not None and self._times.likely(project, site.name):
            page = await self._read(listing, call, site, need, detail=False)
            if page is None:
                return None
            described, unknown = self._times.sort_keys(page.whole(), at)
            if unknown:
                few = need._replace(limit=unknown)
                read = await self._read(listing, call, site, few, detail=True)
                if read is None:
                    return None
                self._times.learn(project, site.name, read.whole(), at)
                described, unknown = self._times.sort_keys(page.whole(), at)
            if not unknown:
                return page._replace(described=described)
        page = await self._read(listing, call, site, need, detail=True)
        if page is not None:
            listing.cut.add(site.name)
            if at is not None:
                self._times.learn(project, site.name, page.whole(), at)
        return page

    async def _read(
        self, listing: Listing, call: Call, site: Site, need: Need, *, detail: bool
    ) -> Read | None:
        """One page, of the list as it was asked for or of the detailed one."""
        path = listing.path + b"/detail" if detail else listing.path
        target = path + b"?" + self._site_query(listing, site, need)
        answer = await self._parts.forward.ask(call, self._parts.endpoint(site, call), b"GET", target)
        if answer.status != 200:
            listing.refused[site.name] = answer
            return None
        page = listing.reader.read(site.name, answer.text)
        if listing.limit is not None and listing.resource.ends.goes_on(need.limit, len(page.items)):
            page = page._replace(more=True)
        if listing.kind is Kind.PER_SITE:
            page = page._replace(described=of_site.described(page.whole(), site))
        elif not listing.walked:
            page = page._replace(described=page.whole())
        if site.name not in listing.first:
            listing.first[site.name] = answer
            if page.total is not None:
                listing.count = (listing.count or 0) + page.total
        return page

    def _site_query(self, listing: Listing, site: Site, need: Need) -> bytes:
        query = listing.query
        first = site.name not in listing.first
        if query.zone is not None and query.zone in site.zones:
            here = self._parts.endpoint(site, listing.call).zones[query.zone]
            query = dataclasses.replace(query, rest=queries.with_zone(query, here))
        # Neutron gives everything when no limit is named, and sorts only when told to.
        limit = None if listing.limit is None else need.limit
        marker = need.marker
        if marker is not None and listing.kind is Kind.PER_SITE:
            marker = of_site.local(marker, site)
        text = query.at_site(limit=limit, marker=marker, count=query.with_count and first)
        return self._parts.equivalents.query_at(listing.call, listing.resource.name, text, site.name)

    async def whole(self, listing: Listing) -> dict[str, list[Read]]:
        """Every site's list, whole; of one that fails what came before."""
        pages: dict[str, list[Read]] = {}
        needs = [Need(site.name, None, self._parts.page_limit) for site in listing.sites]
        while needs:
            further = []
            for need, came in await self.round(listing, needs):
                if came is None:
                    continue
                try:
                    ids = came.whole().ids
                except BadSiteAnswer as error:
                    listing.failed[need.site] = error
                    continue
                pages.setdefault(need.site, []).append(came)
                if came.more and ids and ids[-1] != need.marker:
                    further.append(Need(need.site, ids[-1], self._parts.page_limit))
            needs = further
        return pages


async def _fed(walk: Walk[Item], need: Need, page: Awaitable[Read | None]) -> Read | None:
    """A page that a walk waits for, as far as there is one."""
    came = await page
    if came is not None:
        walk.feed(need.site, came.items, came.described, more=came.more)
    return came
