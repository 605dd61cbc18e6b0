"""What an administrator sets for a project at every site alike: the default type of its volumes.

GET         /…/{collection}/{project}   any site that has one set
GET         /…/{collection}             of all sites, each project once
PUT DELETE  /…/{collection}/{project}   at all sites, or at none
"""

from collections.abc import Mapping

import msgspec

from atoll.core.errors import AtollError, SiteUnavailable
from atoll.gateway import bodies, together
from atoll.gateway.call import Call
from atoll.gateway.everywhere import Change, Everywhere, Step
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer, rewrite
from atoll.gateway.items import joined
from atoll.gateway.parts import Parts
from atoll.services.table import Shape
from atoll.sites.site import Site


class SettingsAlike:
    """Reads and writes them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._everywhere = Everywhere(parts)

    async def handle(self, call: Call) -> None:
        """Answer what is set, or set it."""
        route = call.match.route
        assert route is not None  # noqa: S101 - matched before
        self._parts.limiter.take(call.caller.project_id, self._parts.forward.now())
        if call.request.method not in {b"GET", b"HEAD"}:
            await self._set(call)
        elif route.shape is Shape.LIST:
            await self._list(call)
        else:
            await self._show(call)

    async def _asked(self, call: Call, why: str) -> Mapping[str, SiteAnswer]:
        """What each site shows. Raises SiteUnavailable where one does not."""
        parts = self._parts
        gathered = await scatter(
            {
                site.name: parts.forward.ask(call, parts.endpoint(site, call), b"GET", _target(call), why=why)
                for site in parts.reach.sites(call)
            }
        )
        failed: dict[str, AtollError] = dict(gathered.failed)
        for name, one in gathered.answered.items():
            if one.status >= 500:
                failed[name] = SiteUnavailable(f"The site {name} answered {one.status}.", site=name)
        if failed:
            raise none_answered("what is set there", failed)
        return gathered.answered

    async def _show(self, call: Call) -> None:
        answers = await self._asked(call, "")
        having = {name: one for name, one in answers.items() if one.status != 404}
        self._answer(call, having or answers)

    async def _list(self, call: Call) -> None:
        answers = await self._asked(call, "")
        good = {name: one for name, one in answers.items() if one.status == 200}
        if not good:
            self._answer(call, answers)
            return
        parts, plural = self._parts, ""
        found: dict[str, bytes] = {}
        for name, one in good.items():
            endpoint = parts.endpoint(parts.sites.by_name[name], call)
            content = msgspec.json.decode(
                rewrite(endpoint, one.text, call), type=dict[str, list[msgspec.Raw]]
            )
            for plural, items in content.items():  # noqa: B007 - the one key is needed below
                for item in items:
                    found.setdefault(str(msgspec.json.decode(item)["project_id"]), bytes(item))
        name, first = next(iter(good.items()))
        text = joined(b'{"%b": [' % plural.encode(), list(found.values()), b"]}")
        text = text if found else first.text
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), first, text)

    async def _set(self, call: Call) -> None:
        """Set it, or unset it, at every site. Raises Conflict where one lacks what is to be set."""
        parts, route = self._parts, call.match.route
        assert route is not None  # noqa: S101 - matched before
        text = await call.read_body(parts.body_limit) if call.request.has_body else None
        sites = parts.reach.sites(call)
        if text is not None and (body := bodies.decoded(text)) is not None:
            named = await together.things(parts, call, body, route.refs)
            for site in sites:
                if lacking := [one for one in named if site.name not in one.sites]:
                    raise await together.apart(parts, call, lacking, site)
        before = await self._asked(call, "check")
        changes = [self._change(call, site, text, before[site.name]) for site in sites]
        what = f"What was asked for {call.match.id.decode('latin-1')}"
        self._answer(call, await self._everywhere.carry_out(call, what, changes))

    def _change(self, call: Call, site: Site, text: bytes | None, before: SiteAnswer) -> Change:
        route, target = call.match.route, _target(call)
        assert route is not None  # noqa: S101 - matched before
        body = text and self._parts.equivalents.body_at(call, text, route.refs, site.name)
        undo = Step(method=b"DELETE", target=target)
        if before.status == 200:
            undo = Step(method=b"PUT", target=target, bodies=(_as_set(before.text),))
        return Change(site=site, method=call.request.method, target=target, body=body or None, undo=(undo,))

    def _answer(self, call: Call, answers: Mapping[str, SiteAnswer]) -> None:
        name, answer = next(iter(answers.items()))
        parts = self._parts
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)


def _as_set(shown: bytes) -> bytes:
    """The body that sets what a site showed."""
    ((envelope, one),) = msgspec.json.decode(shown, type=dict[str, dict[str, str]]).items()
    return msgspec.json.encode({envelope: {"volume_type": one["volume_type_id"]}})


def _target(call: Call) -> bytes:
    return call.path + (b"?" + call.request.query if call.request.query else b"")
