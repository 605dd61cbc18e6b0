"""What a volume is like that is to be brought to another site, and whether it can be: looked at for a plan.

What the site says that is to have it is looked at as far as it answers: the run waits for one that is away.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from atoll.core.errors import BadRequest, BadSiteAnswer, Conflict, NotFound, SiteTimeout, SiteUnavailable
from atoll.gateway import bodies
from atoll.gateway.call import Call
from atoll.gateway.own_route import In
from atoll.gateway.parts import Parts
from atoll.services.catalog import SERVICES
from atoll.sites.site import Site

STORAGE: Final = "block-storage"

_CINDERS: Final = frozenset({"readonly", "attached_mode"})
"""Metadata that Cinder shows among the user's, and keeps for itself."""


class VolumeInput(In, frozen=True, kw_only=True):
    """Which volume goes where."""

    volume: Annotated[str, Meta(pattern=r"^[0-9a-fA-F-]{32,36}$")]
    """Its id."""
    site: Annotated[str, Meta(min_length=1, max_length=63)]
    """The site that is to have it."""
    availability_zone: Annotated[str, Meta(max_length=255)] = ""
    """A zone of that site; default: the site decides."""
    volume_type: Annotated[str, Meta(max_length=255)] = ""
    """Name or id of a type there; default: the one of the same name, or else the site's default."""
    name: Annotated[str, Meta(max_length=255)] = ""
    """The new volume's; default: the same."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A volume, from where to where, and what the new one is like. `size` in GiB."""

    volume: str
    size: int
    source: str
    target: str
    in_use: bool
    purpose: str
    store: str = ""
    """The store of backups by which it goes; "": by an image."""
    remark: str = ""
    """What is to be said of the new one's type."""
    body: dict[str, Any] = {}
    """What the new one is created with."""
    type_required: bool = False
    bootable: bool = False
    image_metadata: dict[str, str] = {}


async def find(parts: Parts, call: Call, given: VolumeInput, *, moves: bool = False) -> Found:
    """Look at a volume, as the caller sees it. `moves`: it is to be deleted where it is.

    Raises `BadRequest`, `NotFound`, `Conflict`, `SiteUnavailable`, `Forbidden`.
    """
    aside = call.aside(call.deadline, versioned=False)
    aside.service = SERVICES[STORAGE]
    await parts.reach.settle(aside)
    target = _target(parts, aside, given.site)
    looked = Look(parts, aside)
    ident = given.volume.lower()
    source = await parts.locator.site_of(aside, "volume", ident)
    volume = await looked.volume(source, ident)
    _check_project(call, volume)
    _check_place(source, target, ident)
    _check(volume, moves=moves)
    if moves and await looked.listed(source, f"snapshots?volume_id={ident}", "snapshots"):
        raise _conflict(ident, "It has snapshots, which cannot be moved: delete them, or copy it.")
    body = _body(volume, given)
    if zone := _zone(parts, aside, target, given.availability_zone):
        body["availability_zone"] = zone
    wanted = given.volume_type or str(volume.get("volume_type") or "")
    remark = await looked.room(target, int(volume["size"]), wanted, required=bool(given.volume_type))
    if wanted:
        body["volume_type"] = wanted
    found = Found(
        volume=ident,
        size=int(volume["size"]),
        source=source.name,
        target=target.name,
        in_use=volume["status"] == "in-use",
        purpose="",
        remark=remark,
        body=body,
        type_required=bool(given.volume_type),
        bootable=str(volume.get("bootable")).lower() == "true",
        image_metadata=dict(volume.get("volume_image_metadata") or {}),
    )
    return going(found, by_image(found))


def by_image(found: Found) -> str:
    """The way by an image, in words."""
    return "a snapshot, since it is in use, and an image" if found.in_use else "an image"


def going(found: Found, way: str, store: str = "") -> Found:
    """The same with the way that it goes, in words."""
    where = f"volume {found.volume} ({found.size} GB) from {found.source} to {found.target}"
    return msgspec.structs.replace(found, store=store, purpose=f"{where} by {way}{found.remark}")


def _target(parts: Parts, call: Call, name: str) -> Site:
    """The site that is to have it: one with volumes and images. Raises `BadRequest`, `Conflict`."""
    sites = {site.name: site for site in parts.reach.sites(call, STORAGE) if "image" in site.endpoints}
    if name not in sites:
        text = f"There is no site {name} with volumes and images: there are {', '.join(sites)}."
        raise BadRequest(text, resource="site", id=name)
    site = sites[name]
    if not site.accepts_creates:
        text = f"The site {name} is {site.notice or 'draining'}: nothing new is made there."
        raise Conflict(text, resource="site", id=name)
    return site


def _check_project(call: Call, volume: Mapping[str, Any]) -> None:
    """Raise `Conflict` for another project's, which administrators see: the new one would be theirs."""
    project = volume.get("os-vol-tenant-attr:tenant_id", call.caller.project_id)
    if project != call.caller.project_id:
        ident = str(volume["id"])
        raise _conflict(ident, f"It is of the project {project}: use a token of that.")


def _check_place(source: Site, target: Site, ident: str) -> None:
    if source is target:
        raise _conflict(ident, f"It is at {target.name} already.")
    if "image" not in source.endpoints:
        raise _conflict(ident, f"{source.name} has no images, by which volumes are brought elsewhere.")


def _check(volume: Mapping[str, Any], *, moves: bool) -> None:
    """Raise `Conflict` for a volume that cannot be brought elsewhere as it is now."""
    ident, status = str(volume["id"]), volume["status"]
    if volume.get("encrypted"):
        raise _conflict(ident, "It is encrypted: its data would leave the site in clear, or with no key.")
    if volume.get("attachments") and moves:
        servers = ", ".join(str(one.get("server_id")) for one in volume["attachments"])
        raise _conflict(
            ident,
            f"It is attached to {servers}: detach it (`openstack server remove volume SERVER {ident}`), "
            "or copy it.",
        )
    if status not in {"available", "in-use"} or (moves and status == "in-use"):
        raise _conflict(ident, f"It is {status}: it can be brought elsewhere when it is available.")


def _body(volume: Mapping[str, Any], given: VolumeInput) -> dict[str, Any]:
    kept = {key: value for key, value in (volume.get("metadata") or {}).items() if key not in _CINDERS}
    body = {"size": volume["size"], "metadata": kept}
    body |= {key: volume[key] for key in ("name", "description") if volume.get(key)}
    return body | ({"name": given.name} if given.name else {})


def _zone(parts: Parts, call: Call, site: Site, name: str) -> str | None:
    """What the site calls a zone; None: it decides. Raises `BadRequest`."""
    zones = parts.endpoint(site, call).zones
    if name and name not in zones:
        text = f"The site {site.name} has no availability zone {name}: it has {', '.join(zones)}."
        raise BadRequest(text, resource="availability_zone", id=name)
    return zones[name] if name else None


class Look:
    """Looks at sites as the caller."""

    def __init__(self, parts: Parts, call: Call) -> None:
        self._parts = parts
        self._call = call

    async def _asked(self, site: Site, path: str) -> Any:
        """What a site says to a GET below the project; None for anything but a 200."""
        call, parts = self._call, self._parts
        target = f"/v3/{call.caller.project_id}/{path}".encode()
        answer = await parts.forward.ask(call, parts.endpoint(site, call), b"GET", target, why="a run")
        if answer.status == 404:
            raise NotFound(f"There is no {path} at {site.name}.", site=site.name)
        if answer.status != 200:
            text = f"The site {site.name} answers {answer.status} for {path}."
            raise SiteUnavailable(text, site=site.name, retry_after=1)
        return bodies.decoded(answer.text)

    async def volume(self, site: Site, ident: str) -> Mapping[str, Any]:
        """The volume. Raises `NotFound`, `SiteUnavailable`."""
        try:
            shown: Mapping[str, Any] = (await self._asked(site, f"volumes/{ident}"))["volume"]
        except NotFound as error:
            raise NotFound(f"There is no volume {ident}.", resource="volume", id=ident) from error
        return shown

    async def listed(self, site: Site, path: str, key: str) -> list[Mapping[str, Any]]:
        """Things of the project. Raises `SiteUnavailable`."""
        found: list[Mapping[str, Any]] = (await self._asked(site, path))[key]
        return found

    async def room(self, site: Site, size: int, wanted: str, *, required: bool) -> str:
        """What there is to say of its type there. Raises `Conflict`, `BadRequest` where it does not fit."""
        limits, types = await asyncio.gather(self.told(site, "limits"), self.told(site, "types?limit=1000"))
        if limits is not None:
            _check_quota(site, limits["limits"]["absolute"], size)
        names = {one["name"]: one["id"] for one in types["volume_types"]} if types is not None else {}
        if not names or not wanted or wanted in {*names, *names.values()}:
            return ""
        if required:
            text = f"The site {site.name} has no volume type {wanted}: it has {', '.join(names)}."
            raise BadRequest(text, resource="volume_type", id=wanted)
        return f", of its default type: it has no {wanted}"

    async def told(self, site: Site, path: str) -> Any:
        """As `_asked`; None where the site does not say."""
        try:
            return await self._asked(site, path)
        except (SiteUnavailable, SiteTimeout, BadSiteAnswer, NotFound):
            return None


def _check_quota(site: Site, limits: Mapping[str, Any], size: int) -> None:
    for most, used, more, what in (
        ("maxTotalVolumes", "totalVolumesUsed", 1, "volumes"),
        ("maxTotalVolumeGigabytes", "totalGigabytesUsed", size, "GB of volumes"),
    ):
        if 0 <= limits.get(most, -1) < limits.get(used, 0) + more:
            text = (
                f"The quota of this project at {site.name} is {limits[most]} {what}, of which "
                f"{limits.get(used, 0)} are in use: {more} more do not fit."
            )
            raise Conflict(text, resource="site", id=site.name)


def _conflict(ident: str, text: str) -> Conflict:
    return Conflict(f"The volume {ident} stays where it is. {text}", resource="volume", id=ident)
