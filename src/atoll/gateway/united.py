"""Answers of all sites put together: lists and figures of the services in `services.other`.

The items of one site stand before those of the next, in the sites' order and each in its own; what several
sites say alike is said once, and figures add up. A page ends where a site's page does; the next one goes on
after its last item, there and at the sites after it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from atoll.core.errors import AtollError, BadRequest, BadSiteAnswer, SiteUnavailable
from atoll.gateway.call import Call
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer, read_json
from atoll.gateway.partial import add_missing, allows_partial
from atoll.gateway.parts import Parts
from atoll.services.other import NEXT
from atoll.services.table import Resource, Shape
from atoll.sites.site import Site
from atoll.store import Sighting

SORTS: Final = frozenset({"sort", "sort_key", "sort_keys", "sort_dir"})
OFFSET_PAGE: Final = 10
"""Items in a page of Barbican's where nobody says otherwise."""
PAGING: Final = ("next", "previous", "links")


def put_together(answers: Sequence[Any]) -> Any:
    """One value of several: objects member by member, lists one after the other, numbers added.

    An element that is in a list already is left out; of what is none of these the first stands.
    """
    first = answers[0]
    if isinstance(first, dict):
        found: dict[str, list[Any]] = {}
        for one in answers:
            for key, value in one.items() if isinstance(one, dict) else ():
                found.setdefault(key, []).append(value)
        return {key: put_together(values) for key, values in found.items()}
    if isinstance(first, list):
        joined: dict[bytes, Any] = {}
        for one in answers:
            joined.update(
                {msgspec.json.encode(item): item for item in (one if isinstance(one, list) else ())}
            )
        return list(joined.values())
    if isinstance(first, int | float) and not isinstance(first, bool):
        return sum(one for one in answers if isinstance(one, int | float))
    return first


class United:
    """Asks every site."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, call: Call) -> None:
        """Answer with what all sites say."""
        parts, route, service = self._parts, call.match.route, call.service
        assert route is not None and service is not None  # noqa: S101, PT018 - matched before
        sites = parts.reach.sites(call)
        if len(sites) == 1:
            endpoint = parts.endpoint(sites[0], call)
            await parts.forward.pass_on(call, endpoint, await parts.forward.send(call, endpoint))
            return
        parts.limiter.take(call.caller.project_id, parts.forward.now())
        resource = service.by_name.get(route.resource)
        query = dict(parse_qsl(call.request.query.decode("latin-1"), keep_blank_values=True))
        if resource is not None and not SORTS.isdisjoint(query):
            raise BadRequest(f"Lists of {resource.plural} over several sites have no sort of the client's.")
        # A figure, or what is asked for by its id, must not lack a site.
        whole = resource is None or route.shape is Shape.BY_ID
        if resource is not None and resource.by_offset:
            await self._by_offset(call, resource, sites, query)
            return
        marker = query.get("marker", "")
        if resource is not None and marker:
            sites = await self._from(resource, sites, marker)
        queries = {site.name: query for site in sites}
        if marker:
            rest = {key: value for key, value in query.items() if key != "marker"}
            queries.update({site.name: rest for site in sites[1:]})
        answers = await self._ask(call, sites, queries, whole=whole)
        if answers is not None:
            self._answer(call, resource, answers, query)

    async def _from(self, resource: Resource, sites: list[Site], marker: str) -> list[Site]:
        """The sites from that of a marker on; all of them where it is not known, for them to say so."""
        site = await self._parts.locator.recorded(resource.name, marker)
        return sites[sites.index(site) :] if site in sites else sites

    async def _ask(
        self, call: Call, sites: Sequence[Site], queries: Mapping[str, Mapping[str, str]], *, whole: bool
    ) -> dict[str, tuple[SiteAnswer, Any]] | None:
        """What each site answers, read; None where their refusal was passed on.

        Raises SiteUnavailable where one that is needed did not answer.
        """
        parts = self._parts

        async def one(site: Site) -> SiteAnswer:
            query = urlencode(queries[site.name]).encode()
            aside = call.aside(call.deadline)
            aside.request.lines, aside.request.query = call.request.lines, query
            endpoint = parts.endpoint(site, call)
            response = await parts.forward.send(aside, endpoint)
            return SiteAnswer(response.status, response, await read_json(endpoint, response))

        gathered = await scatter({site.name: one(site) for site in sites})
        good = {name: answer for name, answer in gathered.answered.items() if answer.status < 300}
        if not good:
            if not gathered.answered:
                raise none_answered("its list", gathered.failed)
            name, refused = next(iter(gathered.answered.items()))
            parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), refused)
            return None
        missing: dict[str, AtollError] = dict(gathered.failed)
        missing |= {
            name: SiteUnavailable(f"it answered {answer.status}", site=name)
            for name, answer in gathered.answered.items()
            if name not in good and answer.status != 404
        }
        if missing:
            if not allows_partial(call, default=not parts.strict and not whole):
                raise none_answered("its list", missing)
            add_missing(call, {name: str(error) for name, error in missing.items()})
        return {name: (answer, self._read(call, name, answer)) for name, answer in good.items()}

    def _read(self, call: Call, name: str, answer: SiteAnswer) -> Any:
        """A site's answer with its links pointing at Atoll; lines of text are read as a list."""
        if b"json" not in answer.response.index.get(b"content-type", b"json"):
            return answer.text.decode("utf-8", "replace").splitlines()
        endpoint = self._parts.endpoint(self._parts.sites.by_name[name], call)
        try:
            return msgspec.json.decode(endpoint.links.rewrite(answer.text)) if answer.text else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadSiteAnswer(f"The site {name} answered what is not JSON.", site=name) from error

    # -- answering --------------------------------------------------------------------------------

    def _answer(
        self,
        call: Call,
        resource: Resource | None,
        answers: Mapping[str, tuple[SiteAnswer, Any]],
        query: Mapping[str, str],
    ) -> None:
        limit = _number(query.get("limit"))
        if resource is None:
            content = put_together([value for _, value in answers.values()])
            if limit and isinstance(content, dict) and "allocation_requests" in content:
                content["allocation_requests"] = content["allocation_requests"][:limit]
            self._send(call, answers, content)
            return
        content, last = self._page(call, resource, answers, limit)
        if last is not None and isinstance(content, dict):
            self._say_more(call, resource, content, {**query, "marker": last})
        self._send(call, answers, content)

    def _page(
        self,
        call: Call,
        resource: Resource,
        answers: Mapping[str, tuple[SiteAnswer, Any]],
        limit: int,
    ) -> tuple[Any, str | None]:
        """The items up to the end of the first site's page that is none's last, and the last one's marker."""
        taken: list[Any] = []
        shown = 0
        for name, (_, value) in answers.items():
            items = value if isinstance(value, list) else value.get(resource.plural, [])
            if limit and shown == limit and items:
                return _without_paging(resource, taken), _marker(resource, taken[-1])
            fits = items[: limit - shown] if limit else items
            self._learn(call, resource, name, fits)
            shown += len(fits)
            taken.append(fits if isinstance(value, list) else {**value, resource.plural: fits})
            if len(fits) < len(items) or _goes_on(resource, value):
                return _without_paging(resource, taken), _marker(resource, taken[-1])
        return _without_paging(resource, taken), None

    def _learn(self, call: Call, resource: Resource, site: str, items: Sequence[Any]) -> None:
        """Where the things are, by ids that are theirs alone."""
        if resource.id_form != "any":
            idents = [
                str(one[resource.marker]) for one in items if isinstance(one, dict) and resource.marker in one
            ]
            project = call.caller.project_id
            self._parts.locations.learn(
                [
                    Sighting(resource_type=resource.name, id=one, site=site, project_id=project)
                    for one in idents
                ],
                "list",
            )

    def _say_more(
        self, call: Call, resource: Resource, content: dict[str, Any], query: Mapping[str, str]
    ) -> None:
        url = f"{self._parts.public_url}/{call.service_type}{call.path.decode('latin-1')}?{urlencode(query)}"
        match NEXT.get(call.service_type):
            case None:
                content["next"] = url
            case "links" if call.service_type == "dns":
                content["links"] = {"next": url}
            case form:
                content[form.format(plural=resource.plural)] = [{"rel": "next", "href": url}]

    def _send(self, call: Call, answers: Mapping[str, tuple[SiteAnswer, Any]], content: Any) -> None:
        name, (first, value) = next(iter(answers.items()))
        text = msgspec.json.encode(content)
        if isinstance(value, list) and b"json" not in first.response.index.get(b"content-type", b"json"):
            text = "".join(f"{line}\n" for line in content).encode()
        elif content is None:
            text = b""
        endpoint = self._parts.endpoint(self._parts.sites.by_name[name], call)
        self._parts.forward.answer(call, endpoint, first, text)

    # -- by offset --------------------------------------------------------------------------------

    async def _by_offset(
        self, call: Call, resource: Resource, sites: Sequence[Site], query: dict[str, str]
    ) -> None:
        """A page of a list that knows no marker: every site's first items, so many as it takes."""
        offset, limit = _number(query.get("offset")), _number(query.get("limit")) or OFFSET_PAGE
        asked = {**query, "offset": "0", "limit": str(offset + limit)}
        answers = await self._ask(call, sites, {site.name: asked for site in sites}, whole=False)
        if answers is None:
            return
        content = put_together([value for _, value in answers.values()])
        items = content.get(resource.plural, [])
        content = {key: value for key, value in content.items() if key not in PAGING}
        content[resource.plural] = items[offset : offset + limit]
        url = f"{self._parts.public_url}/{call.service_type}{call.path.decode('latin-1')}"
        if int(content.get("total", len(items))) > offset + limit:
            content["next"] = f"{url}?{urlencode({**query, 'offset': offset + limit, 'limit': limit})}"
        if offset:
            before = {**query, "offset": max(0, offset - limit), "limit": limit}
            content["previous"] = f"{url}?{urlencode(before)}"
        self._send(call, answers, content)


def _number(text: str | None) -> int:
    """A figure of the query, 0 where there is none: what is no figure a site refuses."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else 0


def _goes_on(resource: Resource, value: Any) -> bool:
    """Whether a site says that it has more."""
    if not isinstance(value, dict):
        return False
    links = value.get("links")
    if value.get("next") or (isinstance(links, dict) and links.get("next")):
        return True
    some = [*(links if isinstance(links, list) else ()), *value.get(f"{resource.plural}_links", ())]
    return any(one.get("rel") == "next" for one in some)


def _without_paging(resource: Resource, taken: Sequence[Any]) -> Any:
    """Some sites' pages as one, without what they say of pages."""
    content = put_together(taken)
    if isinstance(content, dict):
        for key in (*PAGING, f"{resource.plural}_links"):
            content.pop(key, None)
    return content


def _marker(resource: Resource, value: Any) -> str | None:
    """What the next page is asked for with."""
    items = value if isinstance(value, list) else value[resource.plural]
    last = items[-1] if items else None
    if isinstance(last, dict):
        return str(last.get(resource.marker, ""))
    return last
