"""The definition `server.create`: a server at a site to which something it needs is brought first.

`POST /servers` begins it (`server_bringing`); the server is shown as BUILD from then on, by an id that stays.
"""

from collections.abc import Sequence
from typing import Any, Final

from atoll.core.settings import Runs
from atoll.gateway import flavor_copy_run, image_copy_run
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.own_route import In
from atoll.gateway.parts import Parts
from atoll.workflow.locks import Want
from atoll.workflow.plan import FROM, Plan, Reserve, Step

TRIES: Final = 5
SECONDS: Final = 300.0


class Brought(In, frozen=True, kw_only=True):
    """Something that is to be at the server's site: its kind (image, flavor, keypair), where it is now."""

    resource: str
    id: str
    source: str


class ServerInput(In, frozen=True, kw_only=True):
    """What `POST /servers` was asked for."""

    id: str
    """The id that the client has."""
    site: str
    zone: str
    """By which the site is asked for."""
    body: dict[str, Any]
    version: str
    """The microversion, "" for none."""
    asked: dict[str, Any]
    """What is shown of it until a site has it."""
    bring: list[Brought]


async def _plan(parts: Parts, call: Call, given: ServerInput) -> Plan:
    del call
    return planned(given, parts.config.runs)


def planned(given: ServerInput, bounds: Runs) -> Plan:
    """The plan: the id, then what is brought, side by side, then the server.

    The undo of the first step comes last, and has the server shown as one that failed.
    """
    first = Step(name="id", action="server.accept@1", input={"id": given.id, "asked": given.asked})
    steps: list[Step] = []
    locks: list[Want] = []
    reserves: list[Reserve] = []
    for number, one in enumerate(given.bring, 1):
        plan = brought_by(one, given.site, bounds)
        steps += renamed(plan.steps, f"{one.resource}-{number}-", first.name)
        locks += plan.locks
        reserves += plan.reserves
    body = dict(given.body["server"])
    if given.zone:
        body["availability_zone"] = given.zone
    last = Step(
        name="server",
        action="server.make@1",
        site=given.site,
        input={"id": given.id, "body": {**given.body, "server": body}, "version": given.version},
        after=tuple(step.name for step in (first, *steps)),
        tries=TRIES,
        seconds=SECONDS,
    )
    what = ", ".join(dict.fromkeys(one.resource for one in given.bring))
    return Plan(
        steps=(first, *steps, last),
        purpose=f"create server {given.id} at {given.site}, bringing its {what}"[:255],
        locks=tuple({want.path: want for want in locks}.values()),
        reserves=tuple(reserves),
    )


def brought_by(one: Brought, site: str, bounds: Runs) -> Plan:
    """The plan that brings one thing to a site."""
    if one.resource == "image":
        return image_copy_run.planned(one.id, one.source, [site], bounds)
    if one.resource == "flavor":
        return flavor_copy_run.planned(one.id, one.source, [site])
    step = Step(
        name="make", action="server.keypair@1", site=site, input={"name": one.id, "source": one.source}
    )
    return Plan(steps=(step,))


def renamed(steps: Sequence[Step], prefix: str, *first: str) -> list[Step]:
    """The steps of another plan under names of their own, after some first ones."""

    def within(value: Any) -> Any:
        if isinstance(value, dict):
            if FROM in value:
                return {FROM: prefix + value[FROM]}
            return {key: within(one) for key, one in value.items()}
        return [within(one) for one in value] if isinstance(value, list) else value

    return [
        Step(
            name=prefix + step.name,
            action=step.action,
            site=step.site,
            input=within(step.input),
            after=(*first, *(prefix + one for one in step.after)),
            tries=step.tries,
            undo_tries=step.undo_tries,
            seconds=step.seconds,
        )
        for step in steps
    ]


EXAMPLE: Final = ServerInput(
    id="ID",
    site="oslo",
    zone="oslo",
    body={"server": {"name": "vm"}},
    version="",
    asked={},
    bring=[Brought(resource="image", id="IMAGE", source="paris")],
)

SERVER_CREATE: Final = Definition(
    name="server.create",
    version=1,
    summary="What POST /servers does when something has to be brought to the site first.",
    input=ServerInput,
    plan=_plan,
    example=planned(EXAMPLE, Runs()),
    as_user=True,
    internal=True,
)
