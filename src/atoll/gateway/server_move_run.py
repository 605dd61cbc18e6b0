"""The definition `server.move`: a server stopped, made anew at another site with its disks, then deleted."""

from typing import Final

from atoll.core.settings import Runs
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.parts import Parts
from atoll.gateway.server_disks_run import afterwards, carried, created_with, later, step
from atoll.gateway.server_look import MoveInput, Server, find
from atoll.workflow.locks import Want
from atoll.workflow.plan import FROM, Plan, Step


async def _plan(parts: Parts, call: Call, given: MoveInput) -> Plan:
    """Look at the server as the caller sees it. Raises what `find` raises."""
    return planned(await find(parts, call, given), parts.config.runs)


def planned(server: Server, bounds: Runs) -> Plan:
    """The plan: stopped, its disks copied, made anew, known by its id there, deleted where it was.

    That one comes is said first: every gateway knows it long before a site has it.

    Until the first delete there is a way back: what was made goes, and the server is started again.
    """
    stop = step("stop", "server.stop@1", server.source, {"id": server.own, "active": server.active})
    disks = carried(server, bounds, stop.name)
    made = {"id": server.id, "server": created_with(server.body, disks.image, disks.disks)}
    expect = step("expect", "server.expect@1", server.target, {"id": server.id})
    steps = [expect, stop, *disks.steps]
    steps.append(
        step(
            "server",
            "server.remake@1",
            server.target,
            {**made, "active": server.active},
            [one.name for one in steps],
        )
    )
    bound = {"id": server.id, "at_target": {FROM: "server.at_site"}}
    bound |= {"own": server.own, "source": server.source}
    # Users may have deleted it till now; when all know its new id they delete the new one.
    steps.append(step("there", "server.still@1", server.source, {"id": server.own}, ["server"]))
    steps.append(step("alias", "server.rebind@1", server.target, bound, ["there"]))
    steps.append(step("still", "server.still@1", server.source, {"id": server.own}, ["alias"]))
    steps += [later(one, "still") for one in disks.after]
    steps += _deleted(server, [one.name for one in steps])
    volumes = [f"volume/{one.found.volume}" for one in server.volumes]
    return Plan(
        steps=tuple(steps),
        purpose=f"move server {server.id} from {server.source} to {server.target}"[:255],
        locks=(Want(f"server/{server.id}"), *map(Want, volumes)),
        reserves=disks.reserves,
        touches=(f"server/{server.id}", *volumes),
    )


def _deleted(server: Server, after: list[str]) -> list[Step]:
    """The end of what was: from the first of these on there is no way back."""
    steps = [step("delete", "server.delete@1", server.source, {"id": server.own}, after, pivot=True)]
    for number, one in enumerate(server.volumes, 1):
        old = {"volume": one.found.volume}
        last = [steps[-1].name]
        name = f"delete-volume-{number}"
        steps.append(afterwards(step(name, "server.delete_volume@1", server.source, old, last)))
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
