"""Changes and deletes of what is one thing at every site: flavors, their specs and access, keypairs, types.

    PUT PATCH POST  /…/{collection}/{id}[/…]   at all sites that have it, or at none
    DELETE          /…/{collection}/{id}/…     the same, for a part of it
    DELETE          /…/{collection}/{id}       at every site; one that did not is named, nothing is made again

How each is taken back is in `core.inverses`. What goes by a name and not by an id (volume types) has an id of
each site's own, and is changed under that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec
import structlog

from atoll.core import image_inverses, inverses, metadef_inverses, qos_inverses
from atoll.core.errors import AtollError, Conflict, SiteTimeout, SiteUnavailable
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.everywhere import UNDO_SECONDS, Change, Everywhere, Step
from atoll.gateway.fanout import none_answered, scatter
from atoll.gateway.forward import SiteAnswer, said
from atoll.gateway.parts import Parts
from atoll.same.compare import BY_NAME
from atoll.sites.site import Site

log = structlog.get_logger()

Paths = Mapping[str, bytes]  # by site name: where the thing itself is, below the endpoint's root


class SharedChanges:
    """Changes, and deletes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._everywhere = Everywhere(parts)

    # -- changes ----------------------------------------------------------------------------------

    async def change(self, call: Call, sites: Sequence[Site]) -> None:
        """Carry a change to every site that has the thing, or to none."""
        parts = self._parts
        text = await call.read_body(parts.body_limit) if call.request.has_body else None
        body = bodies.decoded(text) if text is not None else None
        paths = self._paths(call, sites)
        part = tail(call)
        if _resource(call) == "image":
            body = _patch(text) if body is None else body
        way = _rules(call).way(call.request.method, part, body)
        before = await self._before(call, sites, paths, way.read or "")
        having = [site for site in sites if before[site.name].status != 404 or part == "action"]
        at = self._parts.equivalents.query_at
        queries = {site.name: at(call, _resource(call), call.request.query, site.name) for site in sites}
        wanted = _Wanted(call, part, text, body, way, queries)
        # The site of the very id goes first: it answers for all.
        order = sorted(having or sites[:1], key=lambda one: paths[one.name] != _own(call))
        changes = [wanted.at(site, paths[site.name], before[site.name]) for site in order]
        answers = await self._everywhere.carry_out(call, f"The change of {_named(call)}", changes)
        parts.locator.gone(_resource(call), unquote(call.match.id.decode("latin-1")))
        self._answer(call, answers)

    async def _before(
        self, call: Call, sites: Sequence[Site], paths: Paths, read: str
    ) -> dict[str, SiteAnswer]:
        """What each site shows before the change. Raises SiteUnavailable for one that is away."""
        parts = self._parts
        below = f"/{read}".encode() if read else b""
        gathered = await scatter(
            {
                site.name: parts.forward.ask(
                    call,
                    parts.endpoint(site, call),
                    b"GET",
                    paths[site.name] + below + _query(call),
                    why="check",
                )
                for site in sites
            }
        )
        failed = dict(gathered.failed)
        for name, one in gathered.answered.items():
            if one.status >= 500:
                failed[name] = SiteUnavailable(f"The site {name} answered {one.status}.", site=name)
        if failed:
            raise none_answered(f"{_named(call)}, and nothing was changed", failed)
        return gathered.answered

    # -- deletes ----------------------------------------------------------------------------------

    async def delete(self, call: Call, sites: Sequence[Site]) -> None:
        """Delete it at every site. Where it is gone already, it is deleted."""
        parts = self._parts
        text = await call.read_body(parts.body_limit) if call.request.has_body else None
        paths = self._paths(call, sites)
        gathered = await scatter(
            {
                site.name: parts.forward.ask(
                    call, parts.endpoint(site, call), b"DELETE", paths[site.name] + _query(call), body=text
                )
                for site in sites
            }
        )
        parts.locator.gone(_resource(call), unquote(call.match.id.decode("latin-1")))
        done = {name: one for name, one in gathered.answered.items() if one.status < 300}
        absent = {name: one for name, one in gathered.answered.items() if one.status == 404}
        refused = {
            name: one for name, one in gathered.answered.items() if name not in done and name not in absent
        }
        failed = dict(gathered.failed)
        for name in [name for name, error in failed.items() if not isinstance(error, SiteUnavailable)]:
            if (seen := await self._seen_gone(call, parts.sites.by_name[name], paths[name])) is not None:
                done[name] = seen
                del failed[name]
        if failed or (refused and (done or absent)):
            raise self._still_there(call, done, refused, failed)
        own = {name: one for name, one in done.items() if paths[name] == _own(call)}
        self._answer(call, own or done or refused or absent)

    async def _seen_gone(self, call: Call, site: Site, path: bytes) -> SiteAnswer | None:
        """The answer of a site whose answer was lost, if it shows that the thing is gone."""
        parts = self._parts
        aside = call.aside(parts.forward.now() + UNDO_SECONDS)
        try:
            seen = await parts.forward.ask(
                aside, parts.endpoint(site, call), b"GET", path + _query(call), why="check"
            )
        except AtollError:
            return None
        return seen if seen.status == 404 else None

    @staticmethod
    def _still_there(
        call: Call,
        done: Mapping[str, SiteAnswer],
        refused: Mapping[str, SiteAnswer],
        failed: Mapping[str, AtollError],
    ) -> AtollError:
        """What to raise when it is not gone everywhere."""
        text = [f"{_named(call).capitalize()} is deleted at {', '.join(done)}."] if done else []
        if refused:
            reasons = "; ".join(f"{name} answered {one.status}: {said(one)}" for name, one in refused.items())
            text.append(f"It is still at {', '.join(refused)} ({reasons}).")
        if failed:
            text.append(f"It may still be at {', '.join(failed)}.")
            text += [str(error) for error in failed.values()]
        text.append("Delete it again to have it gone everywhere.")
        names = ", ".join([*refused, *failed])
        log.error("delete_half_done", request_id=call.id, done=sorted(done), left=names)
        if any(isinstance(error, SiteTimeout) for error in failed.values()):
            return SiteTimeout(" ".join(text), site=names)
        if failed:
            return SiteUnavailable(" ".join(text), site=names, retry_after=5)
        return Conflict(" ".join(text), site=names)

    # -- both -------------------------------------------------------------------------------------

    def _paths(self, call: Call, sites: Sequence[Site]) -> dict[str, bytes]:
        """Where each site has the thing. Raises SiteUnavailable where one has not said."""
        ident = unquote(call.match.id.decode("latin-1"))
        ids = self._parts.equivalents.ids(call, _resource(call), ident) or {}
        paths = {site.name: _with_id(call, ids.get(site.name, ident)) for site in sites}
        late = self._parts.equivalents.not_looked(call, _resource(call))
        if late and _resource(call) in BY_NAME:
            away = {name: SiteUnavailable(f"The site {name} did not answer.", site=name) for name in late}
            raise none_answered(f"{_named(call)}, and nothing was changed", away)
        return paths

    def _answer(self, call: Call, answers: Mapping[str, SiteAnswer]) -> None:
        name, answer = next(iter(answers.items()))
        parts = self._parts
        parts.forward.answer(call, parts.endpoint(parts.sites.by_name[name], call), answer)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A change as it was asked for: what follows the path of the thing, and the body."""

    call: Call
    part: str
    text: bytes | None
    body: Any
    way: inverses.Way
    queries: Mapping[str, bytes]  # by site, with its own ids

    def at(self, site: Site, path: bytes, before: SiteAnswer) -> Change:
        """The change at one site, which has the thing at a path and showed what was before."""
        method, query = self.call.request.method, self.queries[site.name]
        query = b"?" + query if query else b""
        part, body, read = self.part, self.body, self.way.read
        if part in qos_inverses.CHANGING_GETS:
            part += query.decode("latin-1")
        old = bodies.decoded(before.text) if before.status == 200 and read is not None else None
        rules = _rules(self.call)
        steps = rules.undo(method, part, body, old) if old is not None else None
        undo = None
        if steps is not None:
            undo = tuple(
                Step(
                    method=one.method,
                    target=_below(_renamed(path, one.under) if one.under else path, one.tail, query),
                    bodies=(one.body,),
                    restored=inverses.NOTHING_THERE,
                )
                for one in steps
            )
        there = old is not None and rules.already(method, part, body, old)
        return Change(
            site=site,
            method=method,
            target=path + self.call.path[len(_own(self.call)) :] + query,
            body=self.text,
            fine=self.way.fine | ({409} if there else set()),
            undo=undo,
            look=None if read is None else _below(path, read, query),
            shows=lambda seen: rules.shows(method, part, body, bodies.decoded(seen) or {}),
        )


class _Rules(NamedTuple):
    """What is known of a change, what takes it back, whether it is as wanted already, whether it was made."""

    way: Callable[..., inverses.Way]
    undo: Callable[..., list[inverses.Request] | None]
    already: Callable[..., bool]
    shows: Callable[..., bool]


_SPECS: Final = _Rules(inverses.way, inverses.undo, inverses.already, inverses.shows)
_OWN_RULES: Final[Mapping[str, _Rules]] = {
    "image": _Rules(image_inverses.way, image_inverses.undo, image_inverses.already, image_inverses.shows),
    "namespace": _Rules(
        metadef_inverses.way, metadef_inverses.undo, metadef_inverses.already, metadef_inverses.shows
    ),
    "qos_spec": _Rules(qos_inverses.way, qos_inverses.undo, qos_inverses.already, qos_inverses.shows),
}


def _rules(call: Call) -> _Rules:
    return _OWN_RULES.get(_resource(call), _SPECS)


def _below(path: bytes, tail: str, query: bytes) -> bytes:
    """What hangs below the thing itself; a tail may have a query of its own."""
    return path + (f"/{tail}".encode() if tail else b"") + (b"" if "?" in tail else query)


def _renamed(path: bytes, name: str) -> bytes:
    """The path of the thing itself under a name that it was given."""
    return path.rpartition(b"/")[0] + b"/" + quote(name, safe="").encode()


def _patch(text: bytes | None) -> Any:
    """The body of a PATCH of an image, a list; None for what is no JSON."""
    try:
        return msgspec.json.decode(text or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _own(call: Call) -> bytes:
    """The path of the thing itself, as it was asked for."""
    assert call.service is not None  # noqa: S101 - matched before
    collection = f"/{call.service.by_name[_resource(call)].path}/".encode()
    return call.path[: call.path.index(collection) + len(collection) + len(call.match.id)]


def tail(call: Call) -> str:
    """What follows the path of the thing."""
    return call.path[len(_own(call)) :].strip(b"/").decode("latin-1")


def _with_id(call: Call, other: str) -> bytes:
    """The path of the thing itself under another id."""
    ident, own = call.match.id, _own(call)
    if unquote(ident.decode("latin-1")) == other:
        return own
    return own.removesuffix(ident) + quote(other, safe="").encode()


def _query(call: Call) -> bytes:
    return b"?" + call.request.query if call.request.query else b""


def _resource(call: Call) -> str:
    return call.match.route.resource if call.match.route is not None else ""


def _named(call: Call) -> str:
    return f"the {_resource(call).replace('_', ' ')} {call.match.id.decode('latin-1')}"
