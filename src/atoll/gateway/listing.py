"""A list under way: what was asked of whom, and what came back beside the items."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from urllib.parse import parse_qsl

from atoll.core.errors import AtollError, BadRequest, SiteUnavailable
from atoll.core.meanings import Meanings
from atoll.core.merge import Page
from atoll.core.server_says import marked
from atoll.gateway import network_lists, versions
from atoll.gateway.accepted_list import ACCEPTED, AcceptedList
from atoll.gateway.call import Call
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.items import COPY, Item, Reader
from atoll.gateway.parts import Parts
from atoll.gateway.queries import ListQuery
from atoll.gateway.times import lacks_only
from atoll.services.table import Kind, Resource
from atoll.sites.site import Site

# Glance's pages are this long when nobody says otherwise (limit_param_default).
IMAGE_PAGE = 25
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
    accepted: AcceptedList | None = None  # what no site has yet, where that may be shown
    count: int | None = None  # of all items, as far as the sites say it
    deleted_marker: str | None = None  # the site that no longer knows the client's
    left_out: set[tuple[str, str]] = field(default_factory=set)  # (site, id) of servers that are not shown

    @property
    def kind(self) -> Kind:
        """What the list is of."""
        route = self.call.match.route
        return route.kind if route is not None else Kind.PLACED

    @property
    def walked(self) -> bool:
        """Whether a page is merged from what it takes of each site; else every site's list is read whole."""
        return self.kind is not Kind.SHARED or of_images(self.call)

    @property
    def asked_marker(self) -> str | None:
        """The marker as the client sent it: what it means may have changed since the page before."""
        if self.resource.name != "server" or self.call.asked_query is None:
            return self.query.marker
        return dict(parse_qsl(self.call.asked_query.decode("latin-1"))).get("marker", self.query.marker)

    def missing(self) -> dict[str, str]:
        """The sites that have no part in it, with the reason."""
        gone = {*self.failed, *self.refused}
        return {site.name: self.reason(site.name) for site in self.sites if site.name in gone}

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


class Listings:
    """Says of a request for a list what that means."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def of(
        self, call: Call, resource: Resource, query: ListQuery, sites: Sequence[Site], *, detail: bool
    ) -> Listing:
        """A list that is asked for, of some sites. Raises BadRequest for an order that no answer shows."""
        shown = [(resource.shown.get(key, key), way) for key, way in query.sort]
        hidden = [key for key, _ in query.sort if key in resource.unseen]
        if hidden:
            keys = ", ".join(hidden)
            raise BadRequest(f"Lists over several sites cannot be sorted by {keys}: no answer shows it.")
        brief = bool(resource.brief) and bool(resource.detail) and not detail
        says = resource.name == "server" and bool(self._expected(call, self._parts.servers(call)))
        brief = brief and (says or any(key not in resource.brief for key, _ in shown))
        path = call.path.rstrip(b"/")
        if query.zone is not None:
            sites = [site for site in sites if query.zone in site.zones] or sites
        limit = query.limit
        if call.service_type == "image":
            limit = min(limit or IMAGE_PAGE, self._parts.page_limit)
        elif not resource.paged or versions.before(call, resource.paged_since):
            limit = None
        elif call.service_type != "network":
            limit = min(limit or self._parts.page_limit, self._parts.page_limit)
        accepted = None
        servers, caller = self._parts.servers(call), call.caller
        if resource.name == "server" and servers.waits(caller.project_id, every=caller.is_admin):
            accepted = AcceptedList(self._parts, call, resource, query, sites)
        left_out: set[tuple[str, str]] = set()
        return Listing(
            call=call,
            resource=resource,
            query=query,
            sites=sites,
            path=path,
            brief=brief,
            times_at=lacks_only([key for key, _ in shown], resource.brief) if brief and not says else None,
            limit=limit,
            reader=self.reader(call, resource, query, left_out),
            accepted=accepted,
            left_out=left_out,
        )

    def outdated(self, listing: Listing, page: Page[Item]) -> bool:
        """Whether servers that were read, shown or left out, mean something else by now.

        Not all of them can be right then: one was read before a run put down what it is.
        """
        then, now = self._parts.servers(listing.call), self._parts.aliases.now
        if then is now or listing.resource.name != "server":
            return False
        if self._expected(listing.call, now) - self._expected(listing.call, then):
            return True
        project_id = listing.call.caller.project_id

        def changed(site: str, ident: str) -> bool:
            if site == ACCEPTED:
                return ident not in now.accepted
            shown = [one.shown(site, ident, project_id) for one in (then, now)]
            return then.hides(site, ident) != now.hides(site, ident) or shown[0] != shown[1]

        places = chain(zip(page.origins, page.ids, strict=True), listing.left_out)
        return any(changed(site, ident) for site, ident in places)

    def reader(
        self, call: Call, resource: Resource, query: ListQuery, left_out: set[tuple[str, str]] | None = None
    ) -> Reader:
        """What reads its pages, by what is known to be one thing; servers not shown go into `left_out`."""
        defaults = self._parts.equivalents.defaults
        made = network_lists.reader(call, resource, query, self.identity(call, left_out), defaults)
        servers = self._parts.servers(call)
        if resource.name == "server" and self._expected(call, servers):
            made.expected = lambda site, item: servers.is_expected(site, *marked(bytes(item)))
        return made

    @staticmethod
    def _expected(call: Call, servers: Meanings) -> frozenset[str]:
        """The aliases that servers may say they are, which are not to be shown beside them."""
        return servers.expected(call.caller.project_id, every=call.caller.is_admin)

    def identity(
        self, call: Call, left_out: set[tuple[str, str]] | None = None
    ) -> Callable[[str, str], Hashable] | None:
        """What tells copies by site and id; None where nothing has any."""
        route, equivalents = call.match.route, self._parts.equivalents
        if route is None or (route.kind is Kind.SHARED and not of_images(call)):
            return lambda _, ident: ident
        if route.resource == "server" and (servers := self._parts.servers(call)).hiding:
            return _Hiding(servers, set() if left_out is None else left_out)
        if not equivalents.has(call, route.resource):
            return None
        if of_images(call):
            return lambda site, ident: equivalents.copy_of(call, site, ident)

        def group(site: str, ident: str) -> Hashable:
            found = equivalents.of_site(call, route.resource, site, ident)
            return found.id if found is not None else None

        return group


@dataclass(frozen=True, slots=True)
class _Hiding:
    """Tells servers that are not shown, and remembers them."""

    servers: Meanings
    left_out: set[tuple[str, str]]

    def __call__(self, site: str, ident: str, /) -> Hashable:
        if site == ACCEPTED or not self.servers.hides(site, ident):
            return None
        self.left_out.add((site, ident))
        return COPY


def of_images(call: Call) -> bool:
    """Whether images are called for."""
    return (
        call.service_type == "image" and call.match.route is not None and call.match.route.resource == "image"
    )


class Shares:
    """How many items were taken from each site for a list's first page, the last time that it was asked for.

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
            self._known[key] = page.taken
        for oldest in list(islice(self._known, max(0, len(self._known) - self._most))):
            del self._known[oldest]


def _first_page(listing: Listing) -> object:
    query, call = listing.query, listing.call
    if query.marker is not None or query.offset or not listing.walked:
        return None
    return call.caller.project_id, call.request.path, query.rest, listing.limit
