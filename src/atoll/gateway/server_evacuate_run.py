"""The definition `server.evacuate`: a server of a silent site, made anew of its copies at another one."""

import asyncio
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from atoll.core.errors import BadSiteAnswer, Conflict, SiteTimeout, SiteUnavailable
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.looking import Looking
from atoll.gateway.own_route import In
from atoll.gateway.parts import Parts
from atoll.gateway.server_disks_run import LONG_SECONDS, Disk, afterwards, created_with, step
from atoll.gateway.server_look import VERSION, ServerId
from atoll.gateway.server_recovery import Content, used_by
from atoll.sites.site import Site
from atoll.store import RecoveryPoint
from atoll.workflow.locks import Want
from atoll.workflow.plan import FROM, Plan

SILENCE_SECONDS: Final = 5.0
"""After so long without an answer a site is held for dead."""


class EvacuateInput(In, frozen=True, kw_only=True):
    """Which server is made anew."""

    server: ServerId
    point: Annotated[str, Meta(max_length=64)] = ""
    """Of which recovery point; default: the newest."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery point that can be used, and whether the dead site is still one of Atoll's."""

    point: RecoveryPoint
    content: Content
    may_return: bool = True


async def _plan(parts: Parts, call: Call, given: EvacuateInput) -> Plan:
    return planned(await _find(parts, call, given))


async def _find(parts: Parts, call: Call, given: EvacuateInput) -> Found:
    """Look for what there is of a server. Raises `Conflict`, `SiteUnavailable`."""
    ident = given.server.lower()
    point = await _point(parts, call, ident, given.point)
    await parts.reach.settle(call)
    meant = parts.aliases.now.bound(ident, call.caller.project_id)
    if meant is not None:  # it may have been moved since: dead is the site that has it now
        point = msgspec.structs.replace(point, source=meant.site, own=meant.id)
    source, target = parts.sites.by_name.get(point.source), parts.sites.by_name.get(point.target)
    if target is None or not target.accepts_creates:
        why = "none of Atoll's any more" if target is None else target.notice or "draining"
        raise _cannot(ident, f"The site {point.target}, which has the copies, is {why}.")
    content = msgspec.json.decode(point.content, type=Content)
    look = Looking(parts, call, VERSION)
    if source is not None:
        await _check_silent(parts, call, source, point)
    await _check_there(look, target, point, content)
    return Found(point=point, content=content, may_return=source is not None)


async def _point(parts: Parts, call: Call, ident: str, wanted: str) -> RecoveryPoint:
    points = await parts.store.recovery_points.of(ident, call.caller.project_id)
    found = [one for one in points if wanted in {"", one.id}]
    if not found:
        which = f"no recovery point {wanted}" if wanted else "no recovery point"
        text = f"There is {which} of it. While its site answers, `atoll run start server.protect` makes one."
        raise _cannot(ident, text)
    users = [await used_by(parts, one) for one in found]
    if "" not in users:
        raise _cannot(ident, f"The run {users[0]} uses its recovery point.")
    return found[users.index("")]


async def _check_silent(parts: Parts, call: Call, site: Site, point: RecoveryPoint) -> None:
    """Raise `Conflict` for a site whose Nova answers, be it with a refusal."""
    deadline = asyncio.get_running_loop().time() + SILENCE_SECONDS
    look = Looking(parts, call, VERSION)
    look.call.deadline = min(call.deadline, deadline)
    try:
        answer = await look.answer(site, "compute", f"/v2.1/servers/{point.own}")
    except (SiteUnavailable, SiteTimeout, BadSiteAnswer):
        return
    if answer.status >= 500:
        return
    command = f"`atoll run start server.move -i server={point.server} -i site=SITE`"
    raise _cannot(point.server, f"Its site {site.name} answers: {command} moves it with all its data.")


async def _check_there(look: Looking, site: Site, point: RecoveryPoint, content: Content) -> None:
    """Raise `Conflict` where a copy is not there any more, or used for something else."""
    if content.image:
        image = await look.asked(site, "image", f"/v2/images/{content.image}")
        if image is None or image["status"] != "active":
            raise _cannot(point.server, f"The copy of its disk, the image {content.image}, is gone.")
    for one in content.disks:
        project = look.call.caller.project_id
        answer = await look.asked(site, "block-storage", f"/v3/{project}/volumes/{one.volume}")
        status = answer["volume"]["status"] if answer is not None else "deleted"
        if status != "available":
            raise _cannot(point.server, f"The copy {one.volume} of one of its volumes is {status}.")


def _cannot(ident: str, text: str) -> Conflict:
    return Conflict(f"The server {ident} cannot be made anew. {text}", resource="server", id=ident)


def planned(found: Found) -> Plan:
    """The plan: made anew, known by its id there; the old one goes when its site is back.

    The copies become its disks. They are deleted with the server only where those before were, and not before
    there is no way back.
    """
    point, content = found.point, found.content
    used = {"point": point.id, "instead_of": point.claimed_by or ""}
    disks = [Disk(one.volume, one.root, goes_with_it=False) for one in content.disks]
    made = {"id": point.server, "server": created_with(content.body, content.image, disks)}
    bound = {"id": point.server, "at_target": {FROM: "server.at_site"}, "own": point.own}
    # If its site is added again, nothing retires it: then it is to be seen.
    stays = {} if found.may_return else {"stays": True}
    steps = [
        step("claim", "recovery.claim@1", "", used),
        step("expect", "server.expect@1", point.target, {"id": point.server}, ["claim"]),
        step("server", "server.remake@1", point.target, {**made, "active": content.active}, ["expect"]),
        step(
            "alias", "server.rebind@1", point.target, {**bound, **stays, "source": point.source}, ["server"]
        ),
        step("use", "recovery.use@1", "", {"point": point.id}, ["alias"], pivot=True),
    ]
    if going := [one.volume for one in content.disks if one.goes_with_it]:
        given = {"server": {FROM: "server.at_site"}, "volumes": going}
        steps.append(step("volumes", "server.volumes_go@1", point.target, given, ["use"], pivot=True))
    if found.may_return:
        old = {"id": point.server, "own": point.own}
        last = [steps[-1].name]
        retired = step("old", "server.retire@1", point.source, old, last, seconds=LONG_SECONDS)
        steps.append(afterwards(retired))
    return Plan(
        steps=tuple(steps),
        purpose=f"make server {point.server} of {point.source} anew at {point.target}"[:255],
        locks=(Want(f"evacuation/{point.server}/{point.source}"),),
    )


_EXAMPLE: Final = Found(
    point=RecoveryPoint(
        id="POINT", server="ID", project_id="", user_id="", source="paris", own="ID", target="oslo",
        content="{}", made_at=0.0,
    ),
    content=Content(
        body={"name": "vm", "flavorRef": "42"}, active=True, image="IMAGE",
        disks=(Disk("VOLUME", root=False, goes_with_it=True),),
    ),
)  # fmt: skip

SERVER_EVACUATE: Final[Definition[EvacuateInput]] = Definition(
    name="server.evacuate",
    version=1,
    summary="Make a server anew of its copies, when its site does not answer; its id stays.",
    input=EvacuateInput,
    plan=_plan,
    example=planned(_EXAMPLE),
    as_user=True,
)
