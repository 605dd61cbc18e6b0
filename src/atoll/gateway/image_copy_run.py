"""The definition `image.copy`: an image brought to other sites, all of them or none."""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from atoll.core.settings import Runs
from atoll.gateway import bodies
from atoll.gateway.bringing import Sought, bringing
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.forward import SiteAnswer
from atoll.gateway.own_route import In
from atoll.gateway.parts import Parts
from atoll.workflow.locks import Mode, Want
from atoll.workflow.plan import FROM, Plan, Reserve, Step

TRIES: Final = 6
COPY_SECONDS: Final = 2 * 86400.0
"""How long one try may take: bytes that flow slowly still flow."""


class CopyInput(In, frozen=True, kw_only=True):
    """Which image goes where."""

    image: Annotated[str, Meta(pattern=r"^[0-9a-fA-F-]{32,36}$")]
    """Its id."""
    sites: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=63)]], Meta(min_length=1, max_length=64)
    ]
    """The sites that are to have it."""
    source: Annotated[str, Meta(max_length=63)] = ""
    """The site that it is taken from; default: the first that has it."""


async def _plan(parts: Parts, call: Call, given: CopyInput) -> Plan:
    """Look which sites have the image, as the caller sees it. Raises what `bringing` raises."""
    ident = given.image.lower()
    sought = Sought("image", "image", ident, f"/v2/images/{ident}", _active)
    found = await bringing(parts, call, sought, given.sites, given.source)
    return planned(ident, found.source, found.targets, parts.config.runs)


def _active(answer: SiteAnswer) -> bool:
    shown = bodies.decoded(answer.text) if answer.status == 200 else None
    return shown is not None and shown.get("status") == "active"


def planned(image: str, source: str, targets: Sequence[str], bounds: Runs) -> Plan:
    """The plan: a copy for each site, side by side; when all have it the marks are taken off."""
    names = {f"copy-{number}": target for number, target in enumerate(targets, 1)}
    asked = {"image": image, "source": source}
    steps, reserves = [], []
    for name, target in names.items():
        steps.append(
            Step(
                name=name,
                action="image.copy@1",
                site=target,
                input=asked,
                tries=TRIES,
                seconds=COPY_SECONDS,
            )
        )
        reserves += [
            Reserve(name=f"image-copies/{target}", amount=1, limit=bounds.copies_per_site),
            Reserve(name=f"image-copies/{source}/{target}", amount=1, limit=bounds.copies_per_link),
        ]
    for name, target in names.items():
        made = {"id": {FROM: f"{name}.id"}, "made": {FROM: f"{name}.made"}}
        finish = name.replace("copy", "finish")
        steps.append(Step(name=finish, action="image.finish@1", site=target, input=made, after=tuple(names)))
    return Plan(
        steps=tuple(steps),
        purpose=f"copy image {image} from {source} to {', '.join(targets)}"[:255],
        locks=tuple(Want(f"image/{image}/{target}", Mode.W) for target in targets),
        reserves=tuple(reserves),
        touches=(f"image/{image}",),
    )


IMAGE_COPY: Final = Definition(
    name="image.copy",
    version=1,
    summary="Bring an image to other sites: to all that are named, or to none.",
    input=CopyInput,
    plan=_plan,
    example=planned("ID", "paris", ["oslo", "tokyo"], Runs()),
)
