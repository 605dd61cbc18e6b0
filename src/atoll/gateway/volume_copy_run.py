"""The definitions `volume.copy` and `volume.move`: a volume's data at another site, in a new volume there."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from atoll.core.settings import Runs
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.parts import Parts
from atoll.gateway.volume_look import Found, VolumeInput, find
from atoll.workflow.locks import Want
from atoll.workflow.plan import FROM, Plan, Reserve, Step

TRIES: Final = 6
SECONDS: Final = 2 * 86400.0
"""How long one try may take of what moves all bytes of a volume."""


async def _copy(parts: Parts, call: Call, given: VolumeInput) -> Plan:
    """Look at the volume as the caller sees it. Raises what `find` raises."""
    found = await find(parts, call, given)
    return planned(found, parts.config.runs)


async def _move(parts: Parts, call: Call, given: VolumeInput) -> Plan:
    """Likewise; what cannot be deleted cannot be moved."""
    found = await find(parts, call, given, moves=True)
    return planned(found, parts.config.runs, moves=True)


def planned(found: Found, bounds: Runs, *, moves: bool = False) -> Plan:
    """The plan: upload, copy, make; what was there for a while deleted, and of a move the source.

    The mark comes off last: until then the run can prove that the new volume is its own.
    """
    before, upload = _read(found)
    carry = _long("carry", "volume.carry@1", found.target, source=found.source, image=_from("upload.image"))
    make = _long(
        "make",
        "volume.make@1",
        found.target,
        image=_from("carry.id"),
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
            input={"images": [_from("carry.id")], "made": _from("carry.made")},
            after=("make",),
            seconds=SECONDS,
        ),
        Step(
            name="tidy-source",
            action="volume.tidy@1",
            site=found.source,
            input={
                "images": [_from("upload.image")],
                "volumes": [_from("clone.id")] if before else [],
                "snapshots": [_from("snapshot.id")] if before else [],
            },
            after=("make",),
            seconds=SECONDS,
        ),
    ]
    if moves:
        last += _deleted(found, after=tuple(step.name for step in last))
    finish = Step(
        name="finish",
        action="volume.finish@1",
        site=found.target,
        input={"id": _from("make.id")},
        after=tuple(step.name for step in last),
    )
    link = f"{found.source}/{found.target}"
    return Plan(
        steps=(*before, upload, carry, make, *last, finish),
        purpose=f"{'move' if moves else 'copy'} {found.purpose}"[:255],
        locks=(Want(f"volume/{found.volume}"),),
        reserves=(
            Reserve(name=f"image-copies/{found.target}", amount=1, limit=bounds.copies_per_site),
            Reserve(name=f"image-copies/{link}", amount=1, limit=bounds.copies_per_link),
        ),
        touches=(f"volume/{found.volume}",),
    )


def _deleted(found: Found, after: tuple[str, ...]) -> list[Step]:
    """The steps that end a move: the source is looked at while there is a way back, then deleted."""
    asked = {"volume": found.volume, "changed": _from("upload.changed")}
    check = Step(name="check", action="volume.check@1", site=found.source, input=asked, after=("make",))
    delete = Step(
        name="delete",
        action="volume.delete@1",
        site=found.source,
        input=asked,
        after=(*after, "check"),
        seconds=SECONDS,
        pivot=True,
    )
    return [check, delete]


def _read(found: Found) -> tuple[list[Step], Step]:
    """The steps that get at the data: one in use is read by way of a snapshot."""
    if not found.in_use:
        return [], _long("upload", "volume.upload@1", found.source, volume=found.volume, size=found.size)
    snapshot = _long("snapshot", "volume.snapshot@1", found.source, volume=found.volume)
    clone = _long("clone", "volume.clone@1", found.source, snapshot=_from("snapshot.id"), size=found.size)
    upload = _long("upload", "volume.upload@1", found.source, volume=_from("clone.id"), size=found.size)
    return [snapshot, clone], upload


def _long(name: str, action: str, site: str, **given: Any) -> Step:
    return Step(name=name, action=action, site=site, input=given, tries=TRIES, seconds=SECONDS)


def _from(path: str) -> Mapping[str, str]:
    return {FROM: path}


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
