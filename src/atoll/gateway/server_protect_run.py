"""The definitions `server.protect` and `server.unprotect`: copies of a server's disks at another site."""

import time
from collections.abc import Collection, Sequence
from typing import Final, Literal

from atoll.core.errors import Conflict, NotFound
from atoll.core.settings import Runs
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.own_route import In
from atoll.gateway.parts import Parts
from atoll.gateway.server_disks_run import LONG_SECONDS, carried, later, step
from atoll.gateway.server_look import MoveInput, Server, ServerId, find
from atoll.gateway.server_move_run import EXAMPLE
from atoll.gateway.server_recovery import used_by
from atoll.store import RecoveryPoint
from atoll.workflow.locks import Want
from atoll.workflow.plan import FROM, Plan, Step


class ProtectInput(MoveInput, frozen=True, kw_only=True):
    """Which server is copied where. The zone is the one that it would be made in."""

    disk: Literal["copy", "image"] = "copy"
    """`image`: what its own disk holds is not wanted, it boots from the image that it was made from."""


class UnprotectInput(In, frozen=True, kw_only=True):
    """Whose copies are deleted."""

    server: ServerId


async def _protect(parts: Parts, call: Call, given: ProtectInput) -> Plan:
    """Look at the server as the caller sees it. Raises what `find` raises."""
    server = await find(parts, call, given, disk=given.disk == "copy")
    older = await parts.store.recovery_points.of(server.id, call.caller.project_id)
    unused = [one for one in older if not await used_by(parts, one)]
    return planned(server, unused, parts.config.runs, now=time.time())


def planned(server: Server, older: Sequence[RecoveryPoint], bounds: Runs, *, now: float = 0.0) -> Plan:
    """The plan: its disks copied while it runs, written down, and what there was before deleted."""
    disks = carried(server, bounds)
    content = {
        "body": server.body, "active": server.active, "image": disks.image, "disks": disks.disks,
        "image_bytes": disks.image and {FROM: "carry.bytes"},
        "volumes_gib": sum(one.found.size for one in server.volumes),
    }  # fmt: skip
    recorded = {
        "server": server.id, "source": server.source, "own": server.own, "target": server.target,
        "content": content, "made_at": now,
    }  # fmt: skip
    record = step("record", "recovery.record@1", "", recorded, [one.name for one in disks.steps])
    steps = [*disks.steps, record, *(later(one, "record") for one in disks.after)]
    volumes = [f"volume/{one.found.volume}" for one in server.volumes]
    return Plan(
        steps=(*steps, *_dropped(older, [one.name for one in steps])),
        purpose=f"protect server {server.id} of {server.source} by copies at {server.target}"[:255],
        locks=(Want(f"server/{server.id}"), *map(Want, volumes)),
        reserves=disks.reserves,
        touches=(f"server/{server.id}", *volumes),
    )


def _dropped(points: Sequence[RecoveryPoint], after: Sequence[str]) -> list[Step]:
    return [
        step(
            f"drop-{number}", "recovery.drop@1", one.target,
            {"point": one.id, "instead_of": one.claimed_by or ""}, after,
            seconds=LONG_SECONDS, pivot=True,
        )
        for number, one in enumerate(points, 1)
    ]  # fmt: skip


async def _unprotect(parts: Parts, call: Call, given: UnprotectInput) -> Plan:
    """Look which there are. Raises `NotFound`, `Conflict`."""
    ident = given.server.lower()
    points = await parts.store.recovery_points.of(ident, call.caller.project_id)
    if not points:
        raise NotFound(f"There is no recovery point of a server {ident}.", resource="server", id=ident)
    for one in points:
        if run := await used_by(parts, one):
            text = f"The run {run} uses a recovery point of the server {ident}."
            raise Conflict(text, resource="server", id=ident)
    return dropped(ident, points, parts.sites.by_name)


def dropped(server: str, points: Sequence[RecoveryPoint], sites: Collection[str]) -> Plan:
    """The plan: each with its copies; those are left that are at a site which is none of `sites`."""
    purpose = f"delete the copies of server {server}"
    if gone := sorted({one.target for one in points if one.target not in sites}):
        purpose += f"; left are those at {', '.join(gone)}: none of Atoll's any more"
    return Plan(
        steps=tuple(_dropped(points, ())),
        purpose=purpose[:255],
        locks=(Want(f"server/{server}"),),
    )


_POINT: Final = RecoveryPoint(
    id="POINT", server="ID", project_id="", user_id="", source="paris", own="ID", target="oslo", content="{}",
    made_at=0.0,
)  # fmt: skip

SERVER_PROTECT: Final[Definition[ProtectInput]] = Definition(
    name="server.protect",
    version=1,
    summary="Copy a server's disks to another site while it runs, to be made anew there if its site dies.",
    input=ProtectInput,
    plan=_protect,
    example=planned(EXAMPLE, [_POINT], Runs()),
    as_user=True,
)
SERVER_UNPROTECT: Final[Definition[UnprotectInput]] = Definition(
    name="server.unprotect",
    version=1,
    summary="Delete the copies that server.protect has made.",
    input=UnprotectInput,
    plan=_unprotect,
    example=dropped("ID", [_POINT], {"oslo"}),
    as_user=True,
)
