"""What a cloud can do is what all of its sites can: Neutron's extensions.

GET /network/v2.0/extensions[/{alias}]
"""

from typing import Any

import msgspec

from atoll.core.errors import BadSiteAnswer
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.partial import add_missing
from atoll.gateway.parts import Parts


class Common:
    """The things that every site has, as the first site describes them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Ask every site; where one refuses, or has not got it, that is the answer."""
        parts = self._parts
        sites = parts.reach.sites(call)
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        gathered = await scatter(
            {site.name: parts.forward.ask(call, parts.endpoint(site, call), b"GET", target) for site in sites}
        )
        if not gathered.answered:
            raise none_answered("what it can do", gathered.failed)
        refused = {name: one for name, one in gathered.answered.items() if one.status != 200}
        name, first = next(iter((refused or gathered.answered).items()))
        endpoint = parts.endpoint(parts.sites.by_name[name], call)
        if gathered.failed:
            add_missing(call, gathered.missing())
        lists = {} if refused else {name: _listed(name, one) for name, one in gathered.answered.items()}
        everywhere = set.intersection(*(set(one) for one in lists.values())) if lists else set()
        if len(everywhere) == len(lists.get(name, ())):
            parts.forward.answer(call, endpoint, first)
            return
        kept = [item for alias, item in lists[name].items() if alias in everywhere]
        parts.forward.answer(call, endpoint, first, msgspec.json.encode({"extensions": kept}))


def _listed(site: str, answer: SiteAnswer) -> dict[str, Any]:
    """The extensions of a list by alias; none where one of them was asked for."""
    try:
        items = msgspec.json.decode(answer.text, type=dict[str, Any]).get("extensions", [])
        return {item["alias"]: item for item in items}
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise BadSiteAnswer(
            f"The site {site} answered what is not a list of extensions.", site=site
        ) from error
