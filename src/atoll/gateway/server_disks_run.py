"""The steps that bring a server's disks to another site, and what it is made of there."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from atoll.core.settings import Runs
from atoll.gateway.server_create_run import brought_by, renamed
from atoll.gateway.server_look import Server
from atoll.gateway.volume_copy_run import planned as volume_planned
from atoll.workflow.plan import FROM, Reserve, Step

TRIES: Final = 5
LONG_SECONDS: Final = 2 * 86400.0
SECONDS: Final = 1800.0

_TIDIES: Final = ("tidy-source", "tidy-target", "finish")


class Disk(NamedTuple):
    """A volume of a server that is to be made: its id, or from where in the run that comes."""

    volume: Any
    root: bool
    goes_with_it: bool


class Carried(NamedTuple):
    """The steps that bring flavor, key and disks, those that clear up when all is well, and the room."""

    steps: tuple[Step, ...]
    after: tuple[Step, ...]
    reserves: tuple[Reserve, ...]
    image: Any
    """Of its own disk: where in the run its id comes from; None where it has none, or it is not copied."""
    disks: tuple[Disk, ...]


def carried(server: Server, bounds: Runs, *first: str) -> Carried:
    """What there is to do, after some first steps."""
    steps: list[Step] = []
    after: list[Step] = []
    reserves: list[Reserve] = []
    for number, one in enumerate(server.bring, 1):
        plan = brought_by(one, server.target, bounds)
        steps += renamed(plan.steps, f"{one.resource}-{number}-", *first)
        reserves += plan.reserves
    if server.by_image:
        steps += _root(server, first)
        tidied = {"images": [{FROM: "image.image"}]}
        after.append(step("tidy-image", "volume.tidy@1", server.source, tidied))
        reserves += _reserved(server, bounds)
    disks = []
    for number, volume in enumerate(server.volumes, 1):
        plan = volume_planned(volume.found, bounds)
        parts = renamed(plan.steps, f"volume-{number}-", *first)
        steps += [one for one in parts if not one.name.endswith(_TIDIES)]
        after += [one for one in parts if one.name.endswith(_TIDIES)]
        reserves += plan.reserves
        disks.append(Disk({FROM: f"volume-{number}-make.id"}, volume.root, volume.goes_with_it))
    return Carried(
        steps=tuple(steps),
        after=tuple(after),
        reserves=tuple({one.name: one for one in reserves}.values()),
        image={FROM: "carry.id"} if server.by_image else None,
        disks=tuple(disks),
    )


def step(
    name: str,
    action: str,
    site: str,
    given: Mapping[str, Any],
    after: Sequence[str] = (),
    *,
    seconds: float = SECONDS,
    pivot: bool = False,
) -> Step:
    """A step of such a run."""
    return Step(
        name=name,
        action=action,
        site=site,
        input=dict(given),
        after=tuple(after),
        tries=TRIES,
        seconds=seconds,
        pivot=pivot,
    )


def afterwards(one: Step) -> Step:
    """A step that only clears up, where there is no way back any more."""
    return msgspec.structs.replace(one, pivot=True, afterwards=True)


def later(one: Step, *after: str) -> Step:
    """A step after some more."""
    return step(one.name, one.action, one.site, one.input, (*one.after, *after), seconds=one.seconds)


def created_with(body: Mapping[str, Any], image: Any, disks: Sequence[Disk]) -> dict[str, Any]:
    """What a server is created with that has these disks; `image`: of its own, None where `body` has it."""
    found = {**body, **({"imageRef": image} if image is not None else {})}
    devices = [
        {
            "uuid": one.volume,
            "source_type": "volume",
            "destination_type": "volume",
            "boot_index": 0 if one.root else -1,
            "delete_on_termination": one.goes_with_it,
        }
        for one in disks
    ]
    if devices and "imageRef" in found:
        own = {"uuid": found["imageRef"], "source_type": "image", "destination_type": "local"}
        devices.insert(0, {**own, "boot_index": 0, "delete_on_termination": True})
    return found | ({"block_device_mapping_v2": devices} if devices else {})


def _root(server: Server, first: Sequence[str]) -> list[Step]:
    """The server's own disk, as an image at the target."""
    carry = {"source": server.source, "image": {FROM: "image.image"}}
    named = {"image": {FROM: "carry.id"}, "server": server.id}
    return [
        step("image", "server.image@1", server.source, {"id": server.own}, first, seconds=LONG_SECONDS),
        step("carry", "volume.carry@1", server.target, carry, seconds=LONG_SECONDS),
        step("name", "server.name_image@1", server.target, named),
    ]


def _reserved(server: Server, bounds: Runs) -> list[Reserve]:
    link = f"image-copies/{server.source}/{server.target}"
    return [
        Reserve(name=f"image-copies/{server.target}", amount=1, limit=bounds.copies_per_site),
        Reserve(name=link, amount=1, limit=bounds.copies_per_link),
    ]
