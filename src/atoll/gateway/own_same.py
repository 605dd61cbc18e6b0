"""Things of several sites that are one: /atoll/v1/same."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from atoll.core.errors import BadRequest, Conflict, Forbidden, NotFound
from atoll.gateway.call import Call
from atoll.gateway.equivalents import FOUND, who
from atoll.gateway.fanout import scatter
from atoll.gateway.locate import show_target, shows
from atoll.gateway.own_route import Asked, In, NoBody, NoQuery, Out, Paging, Route, Who, page_of
from atoll.gateway.parts import Parts
from atoll.same import by_name
from atoll.same.compare import BY_NAME, near_misses, reason, replace_in
from atoll.same.records import SameRecord
from atoll.store import Ledger

Kind = Literal["network", "subnet", "security_group", "volume_type", "image", "flavor"]
Text = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f]*$")]
Ident = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]*$")]


class SameList(Paging, frozen=True, kw_only=True):
    """Which: of a type, of a name."""

    resource: Text = ""
    name: Text = ""


class SameAdd(In, frozen=True, kw_only=True):
    """Things that are to be one. `ids` is the id at each site; clients see the first, or `id`.

    Administrators declare for everybody; `project` true, and everybody else, for the own project.
    """

    resource: Kind
    ids: Annotated[dict[Ident, Ident], Meta(min_length=2, max_length=1000)]
    id: Text = ""
    name: Text = ""
    project: bool = False


class SameView(Out, frozen=True, kw_only=True):
    """One thing. `scope` says to whom it is one; `removed`: it was, until somebody put it apart."""

    resource: str
    id: str
    name: str
    ids: Mapping[str, str]
    scope: str
    origin: str
    reason: str
    declared_by: str | None
    at: float
    removed: bool
    near_misses: Sequence[str]


class NearMiss(Out, frozen=True, kw_only=True):
    """Things that share a name or an id and are not one, with the reason."""

    resource: str
    name: str
    ids: Mapping[str, str]
    reason: str


class SamePage(Out, frozen=True, kw_only=True):
    """A page of what is one thing."""

    same: list[SameView]
    next: str | None


class SameAnswer(Out, frozen=True, kw_only=True):
    """One of them."""

    same: SameView


class CheckAnswer(Out, frozen=True, kw_only=True):
    """What looks alike and is not the same, and the sites that could not be looked at now."""

    near_misses: list[NearMiss]
    not_compared: Mapping[str, Sequence[str]]


async def list_same(asked: Asked[SameList, NoBody]) -> SamePage:
    """List what several sites have and is one thing to the caller, with the reason for each."""
    records = [
        one
        for one in _seen(asked.parts, asked.call)
        if (len(one.ids) > 1 or one.foreign)
        and asked.query.resource in {"", one.resource}
        and asked.query.name in {"", one.name}
    ]
    missed = _missed(asked)
    views = {f"{one.resource}/{one.name}/{one.key}": _view(one, missed) for one in records}
    page, marker = page_of(views, asked.query)
    return SamePage(same=page, next=marker)


async def show_same(asked: Asked[NoQuery, NoBody]) -> SameAnswer:
    """Show one by its id, or by a site's own."""
    return SameAnswer(same=_view(_known(asked), _missed(asked)))


async def check_same(asked: Asked[NoQuery, NoBody]) -> CheckAnswer:
    """Look at all sites now and say what shares a name or an id without being the same."""
    asked.parts.limiter.take(asked.caller.project_id, asked.parts.forward.now())
    equivalents = asked.parts.equivalents
    away: dict[str, list[str]] = {}
    for resource in sorted(FOUND):
        await equivalents.current(asked.call, resource, anew=True)
        for name in equivalents.not_looked(asked.call, resource):
            away.setdefault(name, []).append(resource)
    misses = [NearMiss(**one) for one in _missed(asked)]
    for resource in sorted(BY_NAME):
        misses += _unlike(asked, resource)
    return CheckAnswer(near_misses=misses, not_compared=away)


def _unlike(asked: Asked[NoQuery, NoBody], resource: str) -> Iterator[NearMiss]:
    """What is one by its name and means different things; administrators are shown all that differs."""
    equivalents, words = asked.parts.equivalents, resource.replace("_", " ")
    for name, differences in equivalents.unlike(asked.call, resource).items():
        ident = equivalents.table.named(resource, name)
        yield NearMiss(
            resource=resource,
            name=name,
            ids=equivalents.ids(asked.call, resource, ident) or {},
            reason=f"{words} {name} means different things: {by_name.said(differences)}",
        )


async def add_same(asked: Asked[NoQuery, SameAdd]) -> SameAnswer:
    """Declare things to be one; of what was found and put apart that is taken back."""
    body, call, parts = asked.body, asked.call, asked.parts
    unknown = [name for name in body.ids if name not in parts.sites.by_name]
    if unknown:
        raise BadRequest(f"There is no site {unknown[0]}; there are {', '.join(parts.sites.by_name)}.")
    if body.id and body.id not in body.ids.values():
        raise BadRequest(f"The id {body.id} is none of those at the sites.")
    parts.limiter.take(call.caller.project_id, parts.forward.now())
    await _require(parts, call, body)
    everybody = call.caller.is_admin and not body.project
    first = next(body.ids[name] for name in parts.sites.by_name if name in body.ids)
    record = SameRecord(
        resource=body.resource, id=body.id or first, name=body.name, ids=body.ids, origin="declared",
        scope="" if everybody else f"project:{call.caller.project_id}", by=call.caller.user_id,
        at=time.time(),
    )  # fmt: skip

    def work(ledger: Ledger) -> SameRecord:
        known = [*ledger.all(SameRecord).values(), *parts.equivalents.configured]
        mine = set(body.ids.items())
        for one in known:
            if (
                one.apart
                and one.resource == body.resource
                and mine <= set(one.ids.items())
                and (everybody or one.scope == record.scope)
            ):
                together = replace_in(one, apart=False, by="")
                ledger.put(together)
                return together
            taken = mine & set(one.ids.items())
            if (
                one.origin != "found"
                and one.resource == body.resource
                and taken
                and (one.scope in {"", record.scope})
            ):
                site, ident = next(iter(taken))
                raise Conflict(f"{ident} at {site} is {one.id} already: {reason(one)}. Remove that first.")
        ledger.put(record)
        return record

    made = await parts.registry.change(work)
    return SameAnswer(same=_view(made, _missed(asked)))


async def remove_same(asked: Asked[NoQuery, NoBody]) -> None:
    """Put apart what is one. Of what was found that is remembered until it is added again."""
    record, caller = _known(asked), asked.caller
    if record.origin == "configured":
        raise Conflict(f"{record.id} is declared in the configuration: take it out there.")
    if not caller.is_admin and record.scope != f"project:{caller.project_id}":
        raise Forbidden(f"{record.id} is one thing for everybody: only administrators put it apart.")

    def work(ledger: Ledger) -> None:
        now = ledger.get(SameRecord, record.key)
        if now is None:
            raise NotFound(f"{record.id} is not one thing any more.", resource="same", id=record.id)
        if now.origin == "found":
            ledger.put(replace_in(now, apart=True, by=caller.user_id))
        else:
            ledger.drop(SameRecord, now.key)

    await asked.parts.registry.change(work)


# -- what is shown --------------------------------------------------------------------------------


def _seen(parts: Parts, call: Call) -> list[SameRecord]:
    """The records that are the caller's to see."""
    caller = who(call)
    return [one for one in parts.equivalents.table.records if call.caller.is_admin or caller.sees(one.scope)]


def _missed(asked: Asked[Any, Any]) -> list[dict[str, Any]]:
    return near_misses(_seen(asked.parts, asked.call))


def _known(asked: Asked[Any, Any]) -> SameRecord:
    """The one that a path names, declared ones before found ones. Raises NotFound."""
    resource, ident = asked.names
    records = [one for one in _seen(asked.parts, asked.call) if one.resource == resource]
    for one in (*(one for one in records if one.id == ident), *records):
        if ident in {one.id, *one.ids.values()}:
            return one
    raise NotFound(
        f"No {resource.replace('_', ' ')} {ident} is known to be one at several sites.",
        resource="same",
        id=ident,
    )


def _view(record: SameRecord, missed: Iterable[Mapping[str, Any]]) -> SameView:
    return SameView(
        resource=record.resource,
        id=record.id,
        name=record.name,
        ids=record.ids,
        scope=record.scope,
        origin=record.origin,
        reason=reason(record),
        declared_by=record.by or None,
        at=record.at,
        removed=record.apart,
        near_misses=[
            str(one["reason"])
            for one in missed
            if one["resource"] == record.resource and one["name"] == record.name
        ],
    )


async def _require(parts: Parts, call: Call, body: SameAdd) -> None:
    """Raise BadRequest for what a site has not got, as far as the caller sees; what `scatter` raises."""
    questions = {}
    for name, ident in body.ids.items():
        service_type, target = show_target(call, body.resource, ident)
        endpoint = parts.reach.endpoint(parts.sites.by_name[name], call, service_type)
        questions[name] = parts.forward.ask(call, endpoint, b"GET", target, why="check")
    gathered = await scatter(questions)
    for error in gathered.failed.values():
        raise error
    for name, answer in gathered.answered.items():
        if answer.status != 200 or not shows(body.resource, body.ids[name], answer.text):
            words = body.resource.replace("_", " ")
            raise BadRequest(f"There is no {words} {body.ids[name]} at {name} that you may see.")


ROUTES = (
    Route(method="GET", path="/same", who=Who.OWN, handle=list_same, query=SameList, answer=SamePage),
    Route(
        method="POST", path="/same", who=Who.OWN, handle=add_same, body=SameAdd, answer=SameAnswer, status=201
    ),
    Route(method="GET", path="/same/check", who=Who.OWN, handle=check_same, answer=CheckAnswer),
    Route(method="GET", path="/same/{resource}/{id}", who=Who.OWN, handle=show_same, answer=SameAnswer),
    Route(method="DELETE", path="/same/{resource}/{id}", who=Who.OWN, handle=remove_same),
)  # fmt: skip
