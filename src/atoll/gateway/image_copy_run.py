"""The definition `image.copy`: an image brought to other sites, all of them or none."""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta

from atoll.core.errors import BadRequest, NotFound
from atoll.core.settings import Runs
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.fanout import scatter
from atoll.gateway.own_route import In
from atoll.gateway.parts import Parts
from atoll.services.catalog import SERVICES
from atoll.sites.site import Site
from atoll.workflow.locks import Mode, Want
from atoll.workflow.plan import Plan, Reserve, Step

IMAGE: Final = "image"
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
    """Look which sites have the image as the caller sees it. Raises `NotFound`, `BadRequest`."""
    image = _service_call(call)
    sites = {site.name: site for site in parts.reach.sites(image, IMAGE)}
    for name in [*given.sites, *([given.source] if given.source else [])]:
        if name not in sites:
            text = f"There is no site {name} with images: there are {', '.join(sites)}."
            raise BadRequest(text, resource="site", id=name)
    ident = given.image.lower()
    having = await _having(parts, image, list(sites.values()), ident)
    source = given.source or next(iter(having), "")
    if source not in having:
        where = f" at {source}" if source else ""
        raise NotFound(f"No image {ident} is active{where}.", resource=IMAGE, id=ident)
    targets = [name for name in dict.fromkeys(given.sites) if name != source]
    if not targets:
        raise BadRequest(f"The image {ident} is at {source} already.", resource=IMAGE, id=ident)
    await parts.operator.require(call, (sites[name] for name in (source, *targets)))
    return planned(ident, source, {name: name in having for name in targets}, parts.config.runs)


def _service_call(call: Call) -> Call:
    aside = call.aside(call.deadline, versioned=False)
    aside.service = SERVICES[IMAGE]
    return aside


async def _having(parts: Parts, call: Call, sites: list[Site], ident: str) -> list[str]:
    """The sites that have the image active, as the caller sees it."""
    target = f"/v2/images/{ident}".encode()
    gathered = await scatter(
        {
            site.name: parts.forward.ask(call, parts.endpoint(site, call), b"GET", target, why="a run")
            for site in sites
        }
    )
    return [
        site.name
        for site in sites
        if (answer := gathered.answered.get(site.name)) is not None
        and answer.status == 200
        and b'"active"' in answer.text
    ]


def planned(image: str, source: str, targets: Mapping[str, bool], bounds: Runs) -> Plan:
    """The plan: a copy for each site, side by side. `targets` say whether the image is there already."""
    steps, reserves = [], []
    for number, (target, there) in enumerate(targets.items(), 1):
        steps.append(
            Step(
                name=f"copy-{number}",
                action="image.copy@1",
                site=target,
                input={"image": image, "source": source, "there": there},
                tries=TRIES,
                seconds=COPY_SECONDS,
            )
        )
        reserves += [
            Reserve(name=f"image-copies/{target}", amount=1, limit=bounds.copies_per_site),
            Reserve(name=f"image-copies/{source}/{target}", amount=1, limit=bounds.copies_per_link),
        ]
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
    example=planned("ID", "paris", {"oslo": False, "tokyo": False}, Runs()),
)
