"""Figures over sites: limits, quotas, usage, statistics.

Totals add up, per-object limits take the minimum, -1 anywhere gives -1. A figure that lacks a site is not a
figure: 503 naming it, unless the client allows partial answers. `?atoll_site=NAME` gives one site's share.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from atoll.core.errors import BadRequest, BadSiteAnswer
from atoll.core.sums import combine
from atoll.gateway import quota_lists
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.gateway.quotas import Quotas
from atoll.gateway.usage import Usage
from atoll.sites.site import Site

SHARE = b"atoll_site="
REPORTS = frozenset({"tenant_usages", "tenant_usage"})


class Summed:
    """Reads are summed; writes, which only quotas have, are in `quotas`, reports in pages in `usage`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._quotas = Quotas(parts)
        self._usage = Usage(parts)

    async def handle(self, call: Call) -> None:
        """Answer for all sites together."""
        parts = self._parts
        sites = asked(parts, call)
        if len(sites) == 1:
            endpoint = parts.endpoint(sites[0], call)
            await parts.forward.pass_on(call, endpoint, await parts.forward.send(call, endpoint))
            return
        if call.request.method not in {b"GET", b"HEAD"}:
            await self._quotas.write(call, sites)
            return
        if call.match.route is not None and call.match.route.resource in REPORTS:
            await self._usage.handle(call, sites)
            return
        answers = await self._ask(call, sites)
        first_site, first = next(iter(answers.items()))
        endpoint = parts.endpoint(parts.sites.by_name[first_site], call)
        refused = {name: one for name, one in answers.items() if one.status >= 400}
        if refused:
            name, answer = next(iter(refused.items()))
            parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)
        else:
            shares = {name: _decoded(name, one) for name, one in answers.items()}
            self._require_alike(call, shares)
            route = call.match.route
            if route is not None and route.template == quota_lists.TEMPLATE:
                summed = await quota_lists.together(parts, call, shares)
            else:
                summed = combine(list(shares.values()))
            parts.forward.answer(call, endpoint, first, msgspec.json.encode(summed))

    @staticmethod
    def _require_alike(call: Call, shares: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise BadSiteAnswer for a site that answers other figures: they would be taken for zero."""
        envelope = call.match.route.resource if call.match.route is not None else ""
        lacking = [site for site, share in shares.items() if envelope not in share]
        if lacking and len(lacking) < len(shares):
            raise BadSiteAnswer(
                f"The site {lacking[0]} answered what are not the figures asked for.", site=lacking[0]
            )

    async def _ask(self, call: Call, sites: Sequence[Site]) -> dict[str, SiteAnswer]:
        parts = self._parts
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        gathered = await scatter(
            {site.name: parts.forward.ask(call, parts.endpoint(site, call), b"GET", target) for site in sites}
        )
        if gathered.failed:
            if not gathered.answered or not allows_partial(call, default=False):
                raise none_answered("its share of the total", gathered.failed)
            add_missing(call, gathered.missing())
        return gathered.answered


def asked(parts: Parts, call: Call) -> Sequence[Site]:
    """All sites, or the one whose share is asked for. Raises BadRequest for one that is none."""
    sites = parts.reach.sites(call)
    query = call.request.query
    for part in query.split(b"&") if SHARE in query else ():
        if part.startswith(SHARE):
            call.request.query = b"&".join(one for one in query.split(b"&") if one != part)
            wanted = part[len(SHARE) :].decode("latin-1")
            if not (chosen := [site for site in sites if site.name == wanted]):
                raise BadRequest(f"There is no site {wanted} with this service.")
            return chosen
    return sites


def _decoded(site: str, answer: SiteAnswer) -> Mapping[str, Any]:
    """A site's figures. Raises BadSiteAnswer for what is no answer of the API."""
    try:
        share = msgspec.json.decode(answer.text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSiteAnswer(f"The site {site} answered what is not JSON.", site=site) from error
    if answer.status >= 300 or not isinstance(share, dict):
        raise BadSiteAnswer(f"The site {site} answered what are no figures.", site=site)
    return share
