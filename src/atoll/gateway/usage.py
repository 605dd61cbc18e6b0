"""Usage reports of several sites as one: each project's figures added up, in pages of servers.

GET /compute/v2.1/os-simple-tenant-usage[/{project}]

A page is a part of the figures of the servers in it, as Nova has it; how pages lie over sites is
`core.usage`. Figures that lack a site are 503, unless the client allows partial answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote_plus

import msgspec

from atoll.core.errors import AtollError, BadSiteAnswer
from atoll.core.sums import combine
from atoll.core.usage import Ask, Pages, Share
from atoll.gateway import queries, versions
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.sites.site import Site

PAGED_SINCE = (2, 40)
SERVERS = "server_usages"
WHAT = "its share of the total"
_PLACE = frozenset({b"limit", b"marker", b"detailed"})


class Refused(Exception):
    """A site answers with a fault: that is the answer."""

    def __init__(self, site: str, answer: SiteAnswer) -> None:
        super().__init__(site)
        self.site = site
        self.answer = answer


@dataclass(slots=True)
class _Report:
    """A report under way. `content` is the last page of each site, `failed` why there is none."""

    call: Call
    envelope: str
    rest: bytes  # of the query, for every site
    detailed: bool
    limit: int | None
    linked: bool
    content: dict[str, Mapping[str, Any]]
    first: dict[str, SiteAnswer]
    failed: dict[str, AtollError]


class Usage:
    """Reports of all projects, and of one."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call, sites: Sequence[Site]) -> None:
        """Answer one page."""
        parts = self._parts
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        pairs = parse_qsl(call.request.query.decode("latin-1"), keep_blank_values=True)
        given = dict(pairs)
        paged = not versions.before(call, PAGED_SINCE)
        limit = given.get("limit", "0") if paged else "0"
        if not (limit.isascii() and limit.isdecimal()):
            endpoint = parts.endpoint(sites[0], call)  # it says what is wrong in its own words
            await parts.forward.pass_on(call, endpoint, await parts.forward.send(call, endpoint))
            return
        report = self._begun(call, pairs, paged=paged, limit=int(limit))
        try:
            marker = given.get("marker") if paged else None
            await self._answer(report, sites, marker)
        except Refused as refusal:
            endpoint = parts.endpoint(parts.sites.by_name[refusal.site], call)
            parts.forward.answer(call, endpoint, refusal.answer)

    def _begun(self, call: Call, pairs: Sequence[tuple[str, str]], *, paged: bool, limit: int) -> _Report:
        envelope = call.match.route.resource if call.match.route is not None else ""
        parts = call.request.query.split(b"&") if call.request.query else []
        rest = [part for part in parts if part.partition(b"=")[0] not in _PLACE]
        whole = self._parts.page_limit
        # How many servers a site's page has is seen from its details alone.
        rest += [b"detailed=1"] if envelope == "tenant_usages" else []
        return _Report(
            call=call,
            envelope=envelope,
            rest=b"&".join(rest),
            detailed=envelope != "tenant_usages" or next((v for n, v in pairs if n == "detailed"), "") == "1",
            limit=min(limit or whole, whole) if paged else None,
            linked=paged and not any(pair == ("limit", "0") for pair in pairs),
            content={},
            first={},
            failed={},
        )

    async def _answer(self, report: _Report, sites: Sequence[Site], marker: str | None) -> None:
        call, parts = report.call, self._parts
        pages = await self._page(report, [site.name for site in sites], marker)
        servers = parts.servers(call)
        for name in pages.taken if servers.known else ():
            for server in _servers(report, report.content[name]):
                server["instance_id"] = servers.shown(name, server["instance_id"], call.caller.project_id)
        lacking = {name: report.failed[name] for name in pages.lacking}
        if lacking:
            if not pages.taken or not allows_partial(call, default=False):
                raise none_answered(WHAT, lacking)
            add_missing(call, {name: str(error) for name, error in lacking.items()})
        shown = combine([{report.envelope: report.content[name]} for name in pages.taken])
        for one in () if report.detailed else shown[report.envelope]:
            one.pop(SERVERS, None)
        if pages.more and report.linked:
            last = servers.shown_at_any(pages.taken, pages.last, call.caller.project_id)
            query = queries.next_query("compute", call.request.query, last)
            url = f"{parts.public_url}{call.request.path.decode('latin-1')}?{query}"
            shown[f"{report.envelope}_links"] = [{"rel": "next", "href": url}]
        name = pages.taken[0]
        endpoint = parts.endpoint(parts.sites.by_name[name], call)
        parts.forward.answer(call, endpoint, report.first[name], msgspec.json.encode(shown))

    async def _page(self, report: _Report, names: Sequence[str], marker: str | None) -> Pages:
        """One page, with the content of its sites in the report."""
        if marker is None:
            pages = Pages(names, limit=report.limit)
        else:
            ask, share = await self._of_marker(report, names, marker)
            pages = Pages(names[names.index(ask.site) :], limit=report.limit, marker=marker)
            pages.feed(ask, share)
        while needs := pages.needs():
            for ask, came in await self._ask(report, needs):
                if came is None:
                    pages.fail(ask)
                else:
                    pages.feed(ask, came)
        return pages

    async def _of_marker(self, report: _Report, names: Sequence[str], marker: str) -> tuple[Ask, Share]:
        """The page after a server, of the site that knows it. Raises Refused where no site does."""
        unknown: dict[str, SiteAnswer] = {}
        asks = [Ask(name, report.limit, marker) for name in names]
        for ask, share in await self._ask(report, asks, unknown):
            if share is not None:
                return ask, share
        if report.failed:
            raise none_answered("the marker", report.failed)
        raise Refused(*next(iter(unknown.items())))

    async def _ask(
        self, report: _Report, asks: Sequence[Ask], unknown: dict[str, SiteAnswer] | None = None
    ) -> list[tuple[Ask, Share | None]]:
        """What came of each question; None for a site that is away.

        A site that refuses with 400 goes to `unknown`, where that is given. Raises Refused for another.
        """
        call, parts = report.call, self._parts
        sites = {ask.site: parts.sites.by_name[ask.site] for ask in asks}
        gathered = await scatter(
            {
                ask.site: parts.forward.ask(
                    call, parts.endpoint(sites[ask.site], call), b"GET", _target(report, ask)
                )
                for ask in asks
            }
        )
        report.failed.update(gathered.failed)
        found: list[tuple[Ask, Share | None]] = []
        for ask in asks:
            answer = gathered.answered.get(ask.site)
            share = None
            if answer is not None and answer.status < 400:
                share = _read(report, ask, answer)
            elif answer is not None and unknown is not None and answer.status == 400:
                unknown[ask.site] = answer
            elif answer is not None:
                raise Refused(ask.site, answer)
            found.append((ask, share))
        return found


def _target(report: _Report, ask: Ask) -> bytes:
    query = [report.rest] if report.rest else []
    if ask.limit is not None:
        query.append(b"limit=%d" % ask.limit)
    if ask.marker is not None:
        query.append(b"marker=" + quote_plus(ask.marker).encode())
    return report.call.path + (b"?" + b"&".join(query) if query else b"")


def _servers(report: _Report, content: Any) -> list[Any]:
    """The servers of a page of a site's."""
    reports = content if report.envelope == "tenant_usages" else [content]
    return [server for one in reports for server in one.get(SERVERS, ())]


def _read(report: _Report, ask: Ask, answer: SiteAnswer) -> Share:
    """A page of a site, kept unless it was a probe. Raises BadSiteAnswer for what is none."""
    try:
        page = msgspec.json.decode(answer.text, type=dict[str, Any])
        content = page[report.envelope]
        servers = [server["instance_id"] for server in _servers(report, content)]
        links = page.get(f"{report.envelope}_links", [])
        following = [dict(parse_qsl(link["href"].partition("?")[2])) for link in links]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BadSiteAnswer(
            f"The site {ask.site} answered what are not the figures asked for.", site=ask.site
        ) from error
    if not ask.probe:
        report.content[ask.site] = content
        report.first[ask.site] = answer
    last = servers[-1] if servers else ""
    # Where a site has several cells only itself knows which server is the last.
    return Share(len(servers), (following and following[0].get("marker")) or last, bool(following))
