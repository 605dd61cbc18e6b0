"""Accepted servers, which no site has, as one more source of a list of servers."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from atoll.core.accepted_servers import Accepted, brief, fits, shown
from atoll.core.merge import Page
from atoll.core.merge_source import Need
from atoll.core.order import Order
from atoll.gateway.alias_routes import view
from atoll.gateway.call import Call
from atoll.gateway.items import Item, Read, Reader
from atoll.gateway.parts import Parts
from atoll.gateway.queries import ListQuery
from atoll.services.table import Others, Resource
from atoll.sites.site import Site

ACCEPTED: Final = ""
"""Stands for them among the names of sites."""

_OFF: Final = frozenset({"0", "f", "false", "off", "n", "no"})
# Where a list begins, whose it is and how it is sorted is no filter.
_NO_FILTERS: Final = frozenset(
    {"limit", "marker", "sort_key", "sort_dir", "all_tenants", "project_id", "tenant_id"}
)


class AcceptedList:
    """Those that a list shows, in its order."""

    def __init__(
        self, parts: Parts, call: Call, resource: Resource, query: ListQuery, sites: Sequence[Site]
    ) -> None:
        self._reader = Reader(resource, [resource.shown.get(key, key) for key, _ in query.sort], None)
        asked = view(parts, call, list(sites), listed=True)
        found = [(one, shown(one, asked)) for one in _of(parts.servers(call).accepted.values(), call)]
        order = Order([way for _, way in query.sort])
        keys = [[item.get(resource.shown.get(key, key)) for _, item in found] for key, _ in query.sort]
        places = order.sorted(order.ranks(keys, len(found)))
        self._ids = [found[at][0].id for at in places]
        self._items = [Item(msgspec.json.encode(found[at][1])) for at in places]
        route = call.match.route
        detail = route is not None and route.detail
        self._texts = {
            one.id: msgspec.json.encode(item if detail else brief(one, asked)) for one, item in found
        }

    async def page(self, need: Need) -> Read:
        """The next ones, as a site would answer them."""
        start = self._ids.index(need.marker) + 1 if need.marker in self._ids else 0
        items = self._items[start : start + need.limit]
        return Read(items, self._reader.of(ACCEPTED, items), start + need.limit < len(self._ids), None)

    def among(
        self, page: Page[Item], others: Callable[[Sequence[Item], Sequence[str]], list[bytes]]
    ) -> list[bytes]:
        """The items of a page as clients see them; `others` gives those of sites, with the site of each."""
        rest = [at for at, origin in enumerate(page.origins) if origin != ACCEPTED]
        texts = iter(others([page.items[at] for at in rest], [page.origins[at] for at in rest]))
        both = zip(page.ids, page.origins, strict=True)
        return [self._texts[ident] if origin == ACCEPTED else next(texts) for ident, origin in both]


def _of(accepted: Iterable[Accepted], call: Call) -> list[Accepted]:
    """Those of them that a caller's query asks for."""
    pairs = parse_qsl(call.request.query.decode("latin-1"), keep_blank_values=True)
    given, caller, route = dict(pairs), call.caller, call.match.route
    every = caller.is_admin and "all_tenants" in given and given["all_tenants"].lower() not in _OFF
    project = given.get("project_id") or given.get("tenant_id") if every else caller.project_id
    # What the service would not hear from this caller.
    unheard = {
        name for name, rule in (route.admin_queries if route is not None else {}).items()
        if rule is Others.DROPPED and not caller.is_admin
    }  # fmt: skip
    filters = [pair for pair in pairs if pair[0] not in _NO_FILTERS | unheard]
    return [one for one in accepted if project in {None, one.project_id} and fits(one, filters)]
