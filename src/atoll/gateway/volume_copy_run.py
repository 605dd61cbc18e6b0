"""The definitions `volume.copy` and `volume.move`: a volume's data at another site, in a new volume there."""

from typing import Final

import msgspec

from atoll.core.settings import Runs
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.parts import Parts
from atoll.gateway.volume_backup_run import backed_up
from atoll.gateway.volume_look import Found, VolumeInput, find
from atoll.gateway.volume_steps import SECONDS, deleted, given_by, long, snapshot_read
from atoll.gateway.volume_way import chosen
from atoll.workflow.locks import Want
from atoll.workflow.plan import Plan, Reserve, Step


async def _copy(parts: Parts, call: Call, given: VolumeInput) -> Plan:
    """Look at the volume as the caller sees it. Raises what `find` raises."""
    found = await chosen(parts, call, await find(parts, call, given))
    return planned(found, parts.config.runs)


async def _move(parts: Parts, call: Call, given: VolumeInput) -> Plan:
    """Likewise; what cannot be deleted cannot be moved."""
    found = await chosen(parts, call, await find(parts, call, given, moves=True))
    return planned(found, parts.config.runs, moves=True)


def planned(found: Found, bounds: Runs, *, moves: bool = False) -> Plan:
    """The plan, by the way that was found."""
    link = f"{found.source}/{found.target}"
    steps = backed_up(found, moves=moves) if found.store else _by_image(found, moves=moves)
    return Plan(
        steps=tuple(steps),
        purpose=f"{'move' if moves else 'copy'} {found.purpose}"[:255],
        locks=(Want(f"volume/{found.volume}"),),
        reserves=(
            Reserve(name=f"image-copies/{found.target}", amount=1, limit=bounds.copies_per_site),
            Reserve(name=f"image-copies/{link}", amount=1, limit=bounds.copies_per_link),
        ),
        touches=(f"volume/{found.volume}",),
    )


def _by_image(found: Found, *, moves: bool) -> list[Step]:
    """The steps: upload, copy, make; what was there for a while deleted, and of a move the source.

    The mark comes off last: until then the run can prove that the new volume is its own.
    """
    before, upload = _read(found)
    carry = long("carry", "volume.carry@1", found.target, source=found.source, image=given_by("upload.image"))
    make = long(
        "make",
        "volume.make@1",
        found.target,
        image=given_by("carry.id"),
        volume=found.body,
        type_required=found.type_required,
        bootable=found.bootable,
        image_metadata=found.image_metadata,
    )
    last = [
        Step(
            name="tidy-target",
            action="volume.tidy@1",
            site=found.target,
            input={"images": [given_by("carry.id")], "made": given_by("carry.made")},
            after=("make",),
            seconds=SECONDS,
        ),
        Step(
            name="tidy-source",
            action="volume.tidy@1",
            site=found.source,
            input={
                "images": [given_by("upload.image")],
                "volumes": [given_by("clone.id")] if before else [],
                "snapshots": [given_by("snapshot.id")] if before else [],
            },
            after=("make",),
            seconds=SECONDS,
        ),
    ]
    if moves:
        last += deleted(found, "upload.changed", "make", after=tuple(step.name for step in last))
    finish = Step(
        name="finish",
        action="volume.finish@1",
        site=found.target,
        input={"id": given_by("make.id")},
        after=tuple(step.name for step in last),
    )
    return [*before, upload, carry, make, *last, finish]


def _read(found: Found) -> tuple[list[Step], Step]:
    """The steps that get at the data: one in use is read by way of a snapshot."""
    if not found.in_use:
        return [], long("upload", "volume.upload@1", found.source, volume=found.volume, size=found.size)
    before = snapshot_read(found)
    upload = long("upload", "volume.upload@1", found.source, volume=given_by("clone.id"), size=found.size)
    return before, upload


EXAMPLE: Final = Found(
    volume="ID", size=10, source="paris", target="oslo", in_use=True, purpose="volume ID from paris to oslo"
)

VOLUME_COPY: Final = Definition(
    name="volume.copy",
    version=1,
    summary="Copy a volume to another site: what it holds, in a new volume there.",
    input=VolumeInput,
    plan=_copy,
    example=planned(EXAMPLE, Runs()),
    as_user=True,
)
VOLUME_MOVE: Final = Definition(
    name="volume.move",
    version=1,
    summary="Move a volume that no server uses to another site: copied, then deleted where it was.",
    input=VolumeInput,
    plan=_move,
    example=planned(msgspec.structs.replace(EXAMPLE, in_use=False), Runs(), moves=True),
    as_user=True,
)
