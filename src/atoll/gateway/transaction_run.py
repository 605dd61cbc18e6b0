"""The definition `transaction`: creates and deletes over services and sites, all of them or none."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from atoll.core.errors import BadRequest
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.own_route import In
from atoll.gateway.parts import Parts
from atoll.gateway.transaction_kinds import KINDS, Item
from atoll.gateway.transaction_look import Wanted, sole, there
from atoll.sites.site import Sites
from atoll.workflow.locks import Mode, Want
from atoll.workflow.plan import FROM, Name, Plan, Step, check, ordered

TRIES: Final = 4
SECONDS: Final = 1800.0
"""How long one try may take: a server is built, a volume filled."""

NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

FINISH: Final = "finish"
MOST: Final = 200

Created = Literal[
    "server", "volume", "snapshot", "network", "subnet", "router", "router_interface", "port",
    "security_group", "security_group_rule", "floatingip", "keypair", "volume_attachment",
]  # fmt: skip
Deleted = Literal[Created, "image", "backup"]
_FINISH: Final = re.compile(rf"{FINISH}\Z|delete-\d+\Z")


class Create(In, frozen=True, kw_only=True):
    """Something that is to be created."""

    name: Name
    """By which others refer to it: `{"$from": "NAME.id"}` in their bodies."""
    create: Created
    body: dict[str, Any]
    """What stands in the service's own request, without the word around it."""
    version: Annotated[str, Meta(pattern=r"^(latest|[1-9]\d?\.\d{1,3})$")] = "latest"
    """The microversion, for compute and block storage."""
    after: tuple[Name, ...] = ()
    """What has to be there before, besides what it refers to."""
    unless_there: bool = False
    """One of its name that is there already, and is as `body` says, is taken for it."""


class Delete(In, frozen=True, kw_only=True):
    """Something that is to be deleted, once all is created: by its id, or by its name if it is there."""

    delete: Deleted
    id: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f?#]*$")] = ""
    """Its id; a keypair's name; `SERVER/VOLUME` of an attachment, `ROUTER/PORT` of an interface."""
    name: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f]*$")] = ""


class TransactionInput(In, frozen=True, kw_only=True):
    """What is to be created, and what deleted."""

    create: Annotated[tuple[Create, ...], Meta(max_length=MOST)] = ()
    delete: Annotated[tuple[Delete, ...], Meta(max_length=MOST)] = ()
    purpose: Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f]*$")] = ""
    """In words, for lists of runs."""


async def _plan(parts: Parts, call: Call, given: TransactionInput) -> Plan:
    """Check what can be checked before, and look what is there already.

    Raises `BadRequest` with all that is wrong, `Conflict` with all that is there and different.
    """
    if wrong := [*_wrong(given), *_elsewhere(given, parts.sites)]:
        raise BadRequest(f"This transaction is refused: {'; '.join(wrong)}.")
    check(planned(given), parts.actions.by_name)

    async def ask(method: str, target: str, body: object = None, *, version: str = "") -> tuple[int, Any]:
        return await parts.inside.look(call, method, target, body, version=version)

    of = call.caller.project_id
    inputs = {one.name: one for one in given.create}
    in_order = [one.name for one in planned(given).steps if one.name in inputs]
    wanted = [
        Wanted(name=name, kind=inputs[name].create, body=inputs[name].body)
        for name in in_order
        if inputs[name].unless_there
    ]
    gone: dict[Delete, str] = {}
    for one in given.delete:
        if not one.id:
            gone[one] = await sole(ask, one.delete, one.name, of)
    return planned(given, await there(ask, wanted, of), gone)


def _wrong(given: TransactionInput) -> Iterator[str]:
    if not given.create and not given.delete:
        yield "there is nothing to create and nothing to delete"
    names = [one.name for one in given.create]
    if several := sorted({name for name in names if names.count(name) > 1}):
        yield f"several steps are called {', '.join(several)}"
    for one in given.create:
        if _FINISH.match(one.name):
            yield f"the name {one.name} is taken"
        try:
            KINDS[one.create].check(one.body)
        except BadRequest as error:
            yield f"{one.name}: {str(error).rstrip('.')}"
    for gone in given.delete:
        if bool(gone.id) == bool(gone.name):
            yield f"a {gone.delete} that is to be deleted has an id, or a name"
    twice = [one for one in given.delete if given.delete.count(one) > 1]
    if twice:
        yield f"the {twice[0].delete} {twice[0].id or twice[0].name} is to be deleted twice"


def _elsewhere(given: TransactionInput, sites: Sites) -> Iterator[str]:
    """What is asked for in zones that are not there. One site alone is asked for its own by their names."""
    if len(sites) == 1:
        return
    known = ", ".join(sorted({zone for site in sites for zone in site.zones}))
    for one in given.create:
        hints = one.body.get("availability_zone_hints")
        for named in (one.body.get("availability_zone"), *(hints if isinstance(hints, list) else ())):
            zone = named.partition(":")[0] if isinstance(named, str) else ""  # Nova takes `zone:host:node`
            if zone and sites.of_zone(zone) is None:
                yield f"{one.name}: there is no availability zone {zone}, there are {known}"


def planned(
    given: TransactionInput, kept: Mapping[str, Item] = NOTHING, gone: Mapping[Delete, str] = NOTHING
) -> Plan:
    """The plan: creates as they need each other, then marks off, then deletes, one after the other.

    `kept`: what is there already, by its name in the transaction; `gone`: the ids of what is named by name.
    """
    steps = [_kept(one, kept[one.name]) if one.name in kept else _created(one) for one in given.create]
    names = tuple(one.name for one in given.create)
    made = [
        {"kind": one.create, "id": {FROM: f"{one.name}.id"}, "body": _described(one.body)}
        for one in given.create
        if one.name not in kept
    ]
    last = names
    if made:
        steps.append(
            Step(name=FINISH, action="transaction.finish@1", input={"made": made}, after=names, tries=TRIES)
        )
        last = (FINISH,)
    deletes = [(one.delete, one.id or gone.get(one, one.name)) for one in given.delete]
    deletes = [(kind, ident) for kind, ident in deletes if ident]
    for number, (kind, ident) in enumerate(deletes, 1):
        steps.append(
            Step(
                name=f"delete-{number}",
                action="transaction.delete@1",
                input={"kind": kind, "id": ident},
                after=last,
                tries=TRIES,
                seconds=SECONDS,
                pivot=True,
            )
        )
        last = (f"delete-{number}",)
    if not steps:
        steps.append(Step(name="nothing", action="transaction.nothing@1"))
    things = tuple(f"{kind}/{ident}" for kind, ident in deletes)
    return Plan(
        steps=ordered(steps),
        purpose=(given.purpose or _purpose(given))[:255],
        locks=tuple(Want(one, Mode.W) for one in things),
        touches=things,
        width=8,
    )


def _created(one: Create) -> Step:
    return Step(
        name=one.name,
        action="transaction.create@1",
        input={"kind": one.create, "body": one.body, "version": one.version},
        after=one.after,
        tries=TRIES,
        seconds=SECONDS,
    )


def _kept(one: Create, item: Item) -> Step:
    """What is there already: others may refer to it."""
    given = {"kind": one.create, "id": str(item["id"])}
    return Step(name=one.name, action="transaction.keep@1", input=given, after=one.after, tries=TRIES)


def _described(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a mark is put back to."""
    return {key: body[key] for key in ("description",) if key in body}


def _purpose(given: TransactionInput) -> str:
    return " and ".join(
        f"{word} {_counted(kinds)}"
        for word, kinds in (
            ("create", [one.create for one in given.create]),
            ("delete", [one.delete for one in given.delete]),
        )
        if kinds
    )


def _counted(kinds: Sequence[str]) -> str:
    each = {kind: kinds.count(kind) for kind in kinds}
    return ", ".join(kind if count == 1 else f"{count} {kind}s" for kind, count in each.items())


EXAMPLE: Final = TransactionInput(
    create=(
        Create(name="data", create="volume", body={"size": 1}),
        Create(name="vm", create="server", body={"name": "vm"}),
        Create(
            name="joined",
            create="volume_attachment",
            body={"server_id": {FROM: "vm.id"}, "volume_id": {FROM: "data.id"}},
        ),
    ),
    delete=(Delete(delete="server", id="ID"),),
)

TRANSACTION: Final = Definition(
    name="transaction",
    version=1,
    summary="Create and delete things of several services and sites: all of it, or nothing.",
    input=TransactionInput,
    plan=_plan,
    example=planned(EXAMPLE),
    as_user=True,
)
