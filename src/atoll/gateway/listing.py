"""A list under way: what was asked of whom, and what came back beside the items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from atoll.core.errors import AtollError, SiteUnavailable
from atoll.core.merge import Page
from atoll.gateway.call import Call
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.items import Item, Reader
from atoll.gateway.queries import ListQuery
from atoll.services.table import Kind, Resource
from atoll.sites.site import Site

# Lists of which it is known how their first page lay; a number for each site.
LISTS = 200


@dataclass(slots=True)
class Listing:
    """A list under way: what was asked, and what came back beside the items."""

    call: Call
    resource: Resource
    query: ListQuery
    sites: Sequence[Site]
    path: bytes
    brief: bool  # although the detailed list may have to be read, for its order
    times_at: int | None  # which of the sort keys is the creation, where the brief list lacks only that
    limit: int | None
    reader: Reader
    cut: set[str] = field(default_factory=set)  # the sites whose detailed list was read instead
    first: dict[str, SiteAnswer] = field(default_factory=dict)  # by site
    refused: dict[str, SiteAnswer] = field(default_factory=dict)
    failed: dict[str, AtollError] = field(default_factory=dict)
    count: int = 0
    deleted_marker: str | None = None  # the site that no longer knows the client's

    @property
    def kind(self) -> Kind:
        """What the list is of."""
        route = self.call.match.route
        return route.kind if route is not None else Kind.PLACED

    def reason(self, site: str) -> str:
        """Why a site has no part in it."""
        if (error := self.failed.get(site)) is not None:
            return str(error)
        answer = self.refused.get(site)
        return f"it answered {answer.status}" if answer is not None else "it did not answer"

    def error(self, site: str, reason: str = "") -> AtollError:
        """What keeps a site from being part of it."""
        failed = self.failed.get(site)
        if failed is not None:
            return failed
        text = reason or self.reason(site)
        return SiteUnavailable(f"The site {site}: {text}.", site=site, retry_after=self.patience(site))

    def patience(self, site: str) -> float | None:
        """How long (seconds) a site that said 429 wants to be left alone; None for another."""
        answer = self.refused.get(site)
        if answer is None or answer.status != 429:
            return None
        wait = answer.response.index.get(b"retry-after", b"")
        return float(wait) if wait.isdigit() else 1.0


class Shares:
    """How many items of a list's first page each site had, the last time that it was asked for.

    Lists are asked for again and again, and little of them changes: what each site is asked for follows.
    """

    def __init__(self, most: int = LISTS) -> None:
        self._most = most
        self._known: dict[object, Mapping[str, int]] = {}

    def of(self, listing: Listing) -> Mapping[str, int] | None:
        """What is known of a page that begins a list; None where it is another page, or nothing is known."""
        return self._known.get(_first_page(listing))

    def learn(self, listing: Listing, page: Page[Item]) -> None:
        """Remember a page, if it begins a list and is full: what is short is read to its end anyway."""
        key = _first_page(listing)
        if key is None:
            return
        self._known.pop(key, None)  # what is seen last goes last
        if page.more and not page.missing and len(page.ids) == listing.limit:
            shares = dict.fromkeys((site.name for site in listing.sites), 0)
            for site in page.origins:
                shares[site] += 1
            self._known[key] = shares
        for oldest in list(islice(self._known, max(0, len(self._known) - self._most))):
            del self._known[oldest]


def _first_page(listing: Listing) -> object:
    query, call = listing.query, listing.call
    if query.marker is not None or query.offset or listing.kind is not Kind.PLACED:
        return None
    return call.caller.project_id, call.request.path, query.rest, listing.limit
