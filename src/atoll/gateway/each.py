"""What each site has for itself, and a client asks of all: Glance's caches and stores, Nova's pools.

    GET                  /…   what all sites say, put together
    PUT POST DELETE      /…   done at every site that has it; 404 where none has

`?atoll_site=NAME` asks one site alone. What is done at one site and not at another is done again when it is
asked for again: nothing is undone here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from atoll.core.errors import AtollError, BadSiteAnswer, SiteUnavailable
from atoll.core.sums import combine
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.gateway.summed import asked

HAS_NOT: Final = frozenset({404})
"""What a site says that has nothing of what is asked for: it caches nothing, or knows no such image."""

STORE: Final = "stores/{id}/{id}"
"""Of a store that a site does not have Glance says 409."""


class Each:
    """Asks all sites, and answers for all."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Answer for all sites together. Raises SiteUnavailable for a write that one did not answer."""
        parts, route = self._parts, call.match.route
        assert route is not None  # noqa: S101 - matched before
        sites = asked(parts, call)
        text = await call.read_body(parts.body_limit) if call.request.has_body else None
        if len(sites) > 1:
            parts.limiter.take(call.caller.project_id, parts.forward.now())
        target = call.path + (b"?" + call.request.query if call.request.query else b"")
        reads = call.request.method in {b"GET", b"HEAD"}
        gathered = await scatter(
            {
                site.name: parts.forward.ask(
                    call, parts.endpoint(site, call), call.request.method, target, body=text
                )
                for site in sites
            }
        )
        has_not = HAS_NOT | ({409} if route.template == STORE else frozenset())
        answers, failed = gathered.answered, dict[str, AtollError](gathered.failed)
        if reads and any(one.status < 300 for one in answers.values()):
            failed |= _missing(answers, has_not, route.template)
            answers = {name: one for name, one in answers.items() if name not in failed}
        if failed:
            done = ", ".join(name for name, one in answers.items() if one.status < 300)
            if not reads or not answers or not allows_partial(call, default=not parts.strict):
                raise none_answered(f"this (done at {done})" if done and not reads else "this", failed)
            add_missing(call, {name: str(error) for name, error in failed.items()})
        self._answer(call, answers, has_not)

    def _answer(self, call: Call, answers: Mapping[str, SiteAnswer], has_not: frozenset[int]) -> None:
        """Answer what those say that have it; a refusal of one of them is that of all."""
        having = {name: one for name, one in answers.items() if one.status not in has_not}
        refused = {name: one for name, one in having.items() if one.status >= 300}
        name, first = next(iter((refused or having or answers).items()))
        text = None
        if len(having) > 1 and not refused and first.text.strip():
            template = call.match.route.template if call.match.route is not None else ""
            shares = [_decoded(site, one) for site, one in having.items()]
            text = msgspec.json.encode(_TOGETHER.get(template, _objects)(shares))
        parts = self._parts
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), first, text)


def _missing(
    answers: Mapping[str, SiteAnswer], has_not: frozenset[int], template: str
) -> dict[str, AtollError]:
    """The sites that refuse what others say, and those that say what cannot be put together with it."""
    found: dict[str, AtollError] = {}
    for name, one in answers.items():
        if one.status >= 300 and one.status not in has_not:
            found[name] = SiteUnavailable(f"it answered {one.status}", site=name)
        elif one.status < 300:
            try:
                _TOGETHER.get(template, _objects)([_decoded(name, one)])
            except BadSiteAnswer as error:
                found[name] = error
            except (KeyError, TypeError, AttributeError):
                found[name] = BadSiteAnswer(f"The site {name} answered something else.", site=name)
    return found


def _methods(shares: Sequence[Any]) -> Any:
    """The ways to import that every site has: an image may be at any of them."""
    described = dict(shares[0]["import-methods"])
    everywhere = [one["import-methods"]["value"] for one in shares]
    described["value"] = [
        method for method in everywhere[0] if all(method in methods for methods in everywhere)
    ]
    return {"import-methods": described}


def _stores(shares: Sequence[Any]) -> Any:
    """The stores of all sites, each once; the default of the first site is the default."""
    stores: dict[str, Any] = {}
    for at, share in enumerate(shares):
        for one in share["stores"]:
            shown = {key: value for key, value in one.items() if at == 0 or key != "default"}
            stores.setdefault(one["id"], shown)
    return {"stores": list(stores.values())}


def _objects(shares: Sequence[Any]) -> Any:
    """Objects with their numbers added up and their lists joined. Raises TypeError for what is none."""
    if not all(isinstance(one, dict) for one in shares):
        raise TypeError
    return combine(shares)


_TOGETHER: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {
    "info/import": _methods,
    "info/stores": _stores,
    "info/stores/detail": _stores,
    "cache/nodes/{id}": combine,  # a bare list of addresses
}


def _decoded(site: str, answer: SiteAnswer) -> Any:
    """What a site says. Raises BadSiteAnswer for what is not JSON."""
    try:
        return msgspec.json.decode(answer.text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadSiteAnswer(f"The site {site} answered what is not JSON.", site=site) from error
