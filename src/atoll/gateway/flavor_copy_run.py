"""The definition `flavor.copy`: a flavor brought to sites that lack it, to all of them or none."""

from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from msgspec import Meta

from atoll.gateway.bringing import Sought, bringing, there
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.own_route import In, Who
from atoll.gateway.parts import Parts
from atoll.workflow.locks import Want
from atoll.workflow.plan import FROM, Plan, Step


class FlavorInput(In, frozen=True, kw_only=True):
    """Which flavor goes where."""

    flavor: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^/\x00-\x1f]+$")]
    """Its id."""
    sites: Annotated[list[Annotated[str, Meta(min_length=1, max_length=63)]], Meta(max_length=64)] = (
        msgspec.field(default_factory=list)
    )
    """The sites that are to have it; default: all."""
    source: Annotated[str, Meta(max_length=63)] = ""
    """The site that it is taken from; default: the first that has it."""


async def _plan(parts: Parts, call: Call, given: FlavorInput) -> Plan:
    """Look which sites have the flavor. Raises what `bringing` raises."""
    sought = Sought("compute", "flavor", given.flavor, f"/v2.1/flavors/{quote(given.flavor)}", there)
    found = await bringing(parts, call, sought, given.sites, given.source, as_admin=True)
    return planned(given.flavor, found.source, found.targets)


def planned(flavor: str, source: str, targets: Sequence[str]) -> Plan:
    """The plan: made at each site, side by side; when it is at all of them the marks are taken off."""
    steps = []
    names = [f"make-{number}" for number in range(1, len(targets) + 1)]
    asked = {"flavor": flavor, "source": source}
    for name, target in zip(names, targets, strict=True):
        steps.append(Step(name=name, action="flavor.make@1", site=target, input=asked))
    for name, target in zip(names, targets, strict=True):
        made = {**asked, "made": {FROM: f"{name}.made"}}
        finish = name.replace("make", "finish")
        steps.append(Step(name=finish, action="flavor.finish@1", site=target, input=made, after=tuple(names)))
    return Plan(
        steps=tuple(steps),
        purpose=f"bring flavor {flavor} from {source} to {', '.join(targets)}"[:255],
        locks=(Want(f"flavor/{flavor}"),),
        touches=(f"flavor/{flavor}",),
    )


FLAVOR_COPY: Final = Definition(
    name="flavor.copy",
    version=1,
    summary="Bring a flavor to sites that lack it, as it is: to all that are named, or to none.",
    input=FlavorInput,
    plan=_plan,
    example=planned("ID", "paris", ["oslo", "tokyo"]),
    who=Who.ADMIN,
)
