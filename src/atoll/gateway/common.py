"""What a cloud can do is what all of its sites can: Neutron's extensions.

GET /network/v2.0/extensions[/{alias}]

Clients ask for them before nearly everything else, so what a site says is remembered for a short while. It is
the same for everybody who may ask at all: Neutron has no policy for it.
"""

from typing import Any, Final

import msgspec

from atoll.core.errors import AtollError, BadSiteAnswer
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer, rewrite
from atoll.gateway.partial import add_missing
from atoll.gateway.parts import Parts
from atoll.inventory.records import KINDS as SITES
from atoll.sites.site import Endpoint, Site

REMEMBERED_SECONDS: Final = 30.0
"""How long an extension that comes or goes with a site's upgrade may go unseen."""

REMEMBERED: Final = 2000
"""Answers kept, some 50 KB each at most: clients may ask for names that are none."""


class Common:
    """The things that every site has, as the first site describes them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[tuple[str, bytes], tuple[float, SiteAnswer]] = {}  # until when, loop time
        parts.registry.on_change(SITES, self._known.clear)

    async def handle(self, call: Call) -> None:
        """Ask every site; where one refuses, or has not got it, that is the answer."""
        parts = self._parts
        sites = parts.reach.sites(call)
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        answered, failed, fresh = await self._asked(call, sites, target)
        if not answered:
            raise none_answered("what it can do", failed)
        refused = {name: one for name, one in answered.items() if one.status != 200}
        name, first = next(iter((refused or answered).items()))
        if failed:
            add_missing(call, {site: str(error) for site, error in failed.items()})
        lists = {} if refused else {name: _listed(name, one) for name, one in answered.items()}
        everywhere = set.intersection(*(set(one) for one in lists.values())) if lists else set()
        text = None
        if len(everywhere) != len(lists.get(name, ())):
            kept = [item for alias, item in lists[name].items() if alias in everywhere]
            text = msgspec.json.encode({"extensions": kept})
        endpoint = parts.endpoint(parts.sites.by_name[name], call)
        if name in fresh:
            parts.forward.answer(call, endpoint, first, text)
        else:
            _answer_again(call, endpoint, first, text)

    async def _asked(
        self, call: Call, sites: list[Site], target: bytes
    ) -> tuple[dict[str, SiteAnswer], dict[str, AtollError], set[str]]:
        """(what the sites say, in their order; what went wrong; the sites that were asked now)."""
        parts, now = self._parts, self._parts.forward.now()
        known = {}
        for site in sites:
            until, answer = self._known.get((site.name, target), (0.0, None))
            if answer is not None and until > now:
                known[site.name] = answer
        to_ask = [site for site in sites if site.name not in known]
        if len(to_ask) > 1:
            parts.limiter.take(call.caller.project_id, now)
        gathered = await scatter(
            {
                site.name: parts.forward.ask(call, parts.endpoint(site, call), b"GET", target)
                for site in to_ask
            }
        )
        for name, one in gathered.answered.items():
            if one.status in {200, 404}:
                if len(self._known) >= REMEMBERED:
                    self._known.clear()
                self._known[name, target] = now + REMEMBERED_SECONDS, one
        answered = {**known, **gathered.answered}
        ordered = {site.name: answered[site.name] for site in sites if site.name in answered}
        return ordered, gathered.failed, set(gathered.answered)


def _answer_again(call: Call, endpoint: Endpoint, answer: SiteAnswer, text: bytes | None) -> None:
    """What a site said before, without what its headers said of the request of that time."""
    kind = answer.response.index.get(b"content-type", b"application/json")
    if text is None:
        text = rewrite(endpoint, answer.text, call) if b"json" in kind else answer.text
    lines = [b"Content-Type: %b\r\n" % kind, b"X-Openstack-Request-Id: %b\r\n" % call.id.encode()]
    call.reply.send(answer.status, lines + call.extra_lines, text)


def _listed(site: str, answer: SiteAnswer) -> dict[str, Any]:
    """The extensions of a list by alias; none where one of them was asked for."""
    try:
        items = msgspec.json.decode(answer.text, type=dict[str, Any]).get("extensions", [])
        return {item["alias"]: item for item in items}
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise BadSiteAnswer(
            f"The site {site} answered what is not a list of extensions.", site=site
        ) from error
