"""The definition `server.move`: a server stopped, made anew at another site with its disks, then deleted."""

from collections.abc import Mapping
from typing import Any, Final

from atoll.core.settings import Runs
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.parts import Parts
from atoll.gateway.server_create_run import brought_by, renamed
from atoll.gateway.server_look import Attached, MoveInput, Server, find
from atoll.gateway.volume_copy_run import planned as volume_planned
from atoll.workflow.locks import Want
from atoll.workflow.plan import FROM, Plan, Reserve, Step

TRIES: Final = 5
LONG_SECONDS: Final = 2 * 86400.0
SECONDS: Final = 1800.0

_TIDIES: Final = ("tidy-source", "tidy-target", "finish")


async def _plan(parts: Parts, call: Call, given: MoveInput) -> Plan:
    """Look at the server as the caller sees it. Raises what `find` raises."""
    return planned(await find(parts, call, given), parts.config.runs)


def planned(server: Server, bounds: Runs) -> Plan:
    """The plan: stopped, its disks copied, made anew, known by its id there, deleted where it was.

    Until the first delete there is a way back: what was made goes, and the server is started again.
    """
    own = {"id": server.own, "active": server.active}
    steps: list[Step] = [_step("stop", "server.stop@1", server.source, own)]
    reserves: list[Reserve] = []
    for number, one in enumerate(server.bring, 1):
        steps += renamed(brought_by(one, server.target, bounds).steps, f"{one.resource}-{number}-", "stop")
    after: list[Step] = []
    if server.by_image:
        steps += _root(server)
        reserves += _reserved(server, bounds)
    for number, volume in enumerate(server.volumes, 1):
        plan = volume_planned(volume.found, bounds)
        parts = renamed(plan.steps, f"volume-{number}-", "stop")
        steps += [one for one in parts if not one.name.endswith(_TIDIES)]
        after += [one for one in parts if one.name.endswith(_TIDIES)]
        reserves += plan.reserves
    made = _made(server, tuple(step.name for step in steps))
    steps += [made, _bound(server)]
    steps += [_later(one, "alias") for one in after]
    if server.by_image:
        tidied = {"images": [{FROM: "image.image"}]}
        steps.append(_step("tidy-image", "volume.tidy@1", server.source, tidied, after=("alias",)))
    steps += _deleted(server, tuple(step.name for step in steps))
    return Plan(
        steps=tuple(steps),
        purpose=f"move server {server.id} from {server.source} to {server.target}"[:255],
        locks=(Want(f"server/{server.id}"), *(Want(f"volume/{one.found.volume}") for one in server.volumes)),
        reserves=tuple({one.name: one for one in reserves}.values()),
        touches=(f"server/{server.id}", *(f"volume/{one.found.volume}" for one in server.volumes)),
    )


def _step(
    name: str,
    action: str,
    site: str,
    given: Mapping[str, Any],
    after: tuple[str, ...] = (),
    *,
    seconds: float = SECONDS,
    pivot: bool = False,
) -> Step:
    return Step(
        name=name,
        action=action,
        site=site,
        input=dict(given),
        after=after,
        tries=TRIES,
        seconds=seconds,
        pivot=pivot,
    )


def _root(server: Server) -> list[Step]:
    """The server's own disk, as an image at the target."""
    image = {"source": server.source, "image": {FROM: "image.image"}}
    return [
        _step("image", "server.image@1", server.source, {"id": server.own}, ("stop",), seconds=LONG_SECONDS),
        _step("carry", "volume.carry@1", server.target, image, seconds=LONG_SECONDS),
        _step(
            "name", "server.name_image@1", server.target, {"image": {FROM: "carry.id"}, "server": server.id}
        ),
    ]


def _reserved(server: Server, bounds: Runs) -> list[Reserve]:
    link = f"image-copies/{server.source}/{server.target}"
    return [
        Reserve(name=f"image-copies/{server.target}", amount=1, limit=bounds.copies_per_site),
        Reserve(name=link, amount=1, limit=bounds.copies_per_link),
    ]


def _made(server: Server, after: tuple[str, ...]) -> Step:
    """The server at the target, with its disks."""
    body = dict(server.body)
    if server.by_image:
        body["imageRef"] = {FROM: "carry.id"}
    devices = [_device(one, number) for number, one in enumerate(server.volumes, 1)]
    if devices and server.by_image:
        devices.insert(
            0,
            {
                "uuid": {FROM: "carry.id"},
                "source_type": "image",
                "destination_type": "local",
                "boot_index": 0,
                "delete_on_termination": True,
            },
        )
    if devices:
        body["block_device_mapping_v2"] = devices
    given = {"id": server.id, "server": body, "active": server.active}
    return _step("server", "server.remake@1", server.target, given, after)


def _device(one: Attached, number: int) -> dict[str, Any]:
    return {
        "uuid": {FROM: f"volume-{number}-make.id"},
        "source_type": "volume",
        "destination_type": "volume",
        "boot_index": 0 if one.root else -1,
        "delete_on_termination": one.goes_with_it,
    }


def _bound(server: Server) -> Step:
    given = {
        "id": server.id,
        "at_target": {FROM: "server.at_site"},
        "own": server.own,
        "source": server.source,
    }
    return _step("alias", "server.rebind@1", server.target, given)


def _later(step: Step, after: str) -> Step:
    return _step(step.name, step.action, step.site, step.input, (*step.after, after), seconds=step.seconds)


def _deleted(server: Server, after: tuple[str, ...]) -> list[Step]:
    """The end of what was: from the first of these on there is no way back."""
    given = {"id": server.own}
    steps = [_step("delete", "server.delete@1", server.source, given, after, pivot=True)]
    for number, one in enumerate(server.volumes, 1):
        old = {"volume": one.found.volume}
        last = (steps[-1].name,)
        name = f"delete-volume-{number}"
        steps.append(_step(name, "server.delete_volume@1", server.source, old, last, pivot=True))
    return steps


EXAMPLE: Final = Server(
    id="ID", own="ID", source="paris", target="oslo", active=True, body={"name": "vm", "flavorRef": "42"}
)

SERVER_MOVE: Final[Definition[MoveInput]] = Definition(
    name="server.move",
    version=1,
    summary="Move a server to another site with its disks: stopped for as long as that takes, its id stays.",
    input=MoveInput,
    plan=_plan,
    example=planned(EXAMPLE, Runs()),
    as_user=True,
)
