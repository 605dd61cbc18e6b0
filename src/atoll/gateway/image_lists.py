"""Lists of images: merged page by page once it is known which of them are one.

Copies of an image, the same name and bytes of one owner at several sites, may stand pages apart. So all that
a project is shown is read and compared once (see `equivalents`), and again from time to time; what of it is
one thing is on record then, and a page is merged from what it takes of each site, like any other list. Of
copies the first in the order of the list is shown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from atoll.core.merge import Page, Walk
from atoll.gateway import queries
from atoll.gateway.equivalents import Equivalents
from atoll.gateway.items import COPY, Item, Read
from atoll.gateway.list_reads import ListReads
from atoll.gateway.listing import Listing, Listings
from atoll.gateway.looks import WHOLE_SECONDS
from atoll.gateway.parts import Parts

COMPARED: Final = frozenset({"public", "private", "shared"})
"""What a list without filters may show; others' community images and hidden ones are in none."""


class ImageLists:
    """Merges the lists of images of all sites; `walk` merges a page of what it takes of each."""

    def __init__(
        self,
        parts: Parts,
        listings: Listings,
        reads: ListReads,
        walk: Callable[[Listing], Awaitable[Page[Item] | None]],
    ) -> None:
        self._parts = parts
        self._listings = listings
        self._reads = reads
        self._walk = walk

    async def page(self, listing: Listing) -> Page[Item] | None:
        """One page; None when every site refuses."""
        call, now, looks = listing.call, self._parts.forward.now(), self._parts.equivalents.images
        if not comparable(listing.query.rest) or not looks.known(call):
            return await self._of_all(listing)
        page = await self._walk(listing)
        # A client that is shown its marker again takes the list for one without an end.
        if page is not None and (
            listing.query.marker in page.ids or repeated(page, self._listings.identity(call))
        ):
            page = await self._of_all(listing)
        if looks.due(call, now, listing.first):
            looks.begin(call, lambda: self._look(listing))
        return page

    async def _look(self, listing: Listing) -> None:
        """Compare all images that a caller is shown, beside an answer."""
        call = listing.call.aside(self._parts.forward.now() + WHOLE_SECONDS)
        call.service, call.path = listing.call.service, listing.call.path
        query = queries.parse(listing.resource, b"")
        assert query is not None  # noqa: S101 - nothing is asked for
        await self._compared(self._listings.of(call, listing.resource, query, listing.sites, detail=False))

    async def _compared(self, listing: Listing) -> dict[str, list[Read]]:
        """Every site's list of images, whole, once it is known what of it is one."""
        if listing.query.filtered:
            pages = await self._reads.whole(listing)
            await compare(self._parts.equivalents, listing, pages, ())
            return pages
        # Those that are hidden are there all the same.
        hidden = self._unseen(listing)
        pages, more = await asyncio.gather(self._reads.whole(listing), self._reads.whole(hidden))
        every = {site: [*some, *more.get(site, ())] for site, some in pages.items()}
        lacking = {*listing.missing(), *hidden.missing()}
        whole = [site for site in pages if site not in lacking]
        await compare(self._parts.equivalents, listing, every, whole)
        count = sum(len(page.items) for some in every.values() for page in some)
        self._parts.equivalents.images.learn(listing.call, self._parts.forward.now(), whole, count)
        return pages

    def _unseen(self, listing: Listing) -> Listing:
        """The list of what a list without filters does not show."""
        query = queries.parse(listing.resource, b"os_hidden=true")
        assert query is not None  # noqa: S101 - nothing odd is asked for
        return self._listings.of(listing.call, listing.resource, query, listing.sites, detail=False)

    async def _of_all(self, listing: Listing) -> Page[Item] | None:
        """A page of all that the sites have, read and compared."""
        pages = await self._compared(listing)
        if not listing.first:
            return None
        sites = [site.name for site in listing.sites if site.name in pages]
        listing.call.table = self._parts.equivalents.table  # what is one is known only now
        reader = self._listings.reader(listing.call, listing.resource, listing.query)
        walk = Walk[Item](
            sites, sort=listing.query.sort, limit=listing.limit, after=listing.query.marker,
            max_page=1, seen=(COPY,),
        )  # fmt: skip
        walk.needs()
        for site in sites:
            items = [item for page in pages[site] for item in page.items]
            walk.feed(site, items, reader.of(site, items), more=False)
        page = walk.page()
        return msgspec.structs.replace(page, missing={**page.missing, **listing.missing()})


async def compare(
    equivalents: Equivalents, listing: Listing, pages: Mapping[str, Sequence[Read]], whole: Collection[str]
) -> None:
    """Find out what of lists is one thing, before each is shown once; of the `whole` sites it is all."""
    shown = [(site, item) for site, some in pages.items() for page in some for item in page.items]
    await equivalents.passed(listing.call, listing.resource.name, shown, sites=whole)


def comparable(rest: Collection[bytes]) -> bool:
    """Whether a list shows nothing but what is compared once for all; `rest` are its filters."""
    filters = dict(parse_qsl(b"&".join(rest).decode("latin-1")))
    return "os_hidden" not in filters and filters.get("visibility", "public") in COMPARED


class _Content(msgspec.Struct, gc=False):
    """What can make an image one with another."""

    name: Any = None
    owner: Any = None
    visibility: Any = None
    os_hash_value: Any = None


_contents = msgspec.json.Decoder(list[_Content]).decode


def repeated(page: Page[Item], copy_of: Callable[[str, str], object] | None) -> bool:
    """Whether images of two sites look like one and are not known as such: then all are to be compared.

    Public ones are always compared, and community images are one with themselves only.
    """
    found = _contents(b"[%b]" % b",".join(page.items))
    sites: dict[object, str] = {}
    for one, ident, site in zip(found, page.ids, page.origins, strict=True):
        if copy_of is not None and copy_of(site, ident) is not None:
            continue
        if sites.setdefault(ident, site) != site:
            return True
        if one.os_hash_value and one.visibility in {"private", "shared"}:
            content = str(one.owner), str(one.name), str(one.os_hash_value)
            if sites.setdefault(content, site) != site:
                return True
    return False
