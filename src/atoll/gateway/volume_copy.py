"""Bringing a volume's data to another site, as the user whose volume it is.

At its site the volume is uploaded to an image; one in use by way of a snapshot and a volume of that. The
image is copied as images are, its bytes compared by Glance's own hash at both ends, and the new volume made
of it. Only what every user may do is asked of the sites.

What is there for a while only (snapshot, volume, image) has the step's mark in its name: Cinder takes nothing
else for an image. The new volume has it in its metadata until the run is sure.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from atoll.gateway.asking import SiteAsker
from atoll.gateway.image_copy import ImageCopy
from atoll.gateway.volume_asking import (
    IMAGES,
    SNAPSHOTS,
    STORAGE,
    TYPES,
    VOLUMES,
    Kind,
    Thing,
    VolumeAsking,
    changed,
    said,
)
from atoll.worker.actions import Action, Doing
from atoll.workflow.outcomes import Absent, Done, Failed, Refused, Unavailable

MARK: Final = "atoll_run"
"""The metadata by which a new volume is found again."""

TEMPORARY: Final = "atoll-run-"
"""What the names of things begin with that are there for a while; the mark follows."""

GIGABYTE: Final = 1024**3


class VolumeCopy:
    """The actions. `asks` gives what asks sites as the user of a run."""

    def __init__(self, asks: Callable[[Doing], SiteAsker]) -> None:
        self._asks = asks

    def actions(self) -> list[Action]:
        """The actions, by their names."""
        return [
            Action(name="volume.snapshot@1", do=self.snapshot, undo=self.remove_snapshot),
            Action(name="volume.clone@1", do=self.clone, undo=self.remove_clone),
            Action(name="volume.upload@1", do=self.upload, undo=self.remove_upload),
            Action(name="volume.carry@1", do=self.carry, undo=self.remove_carried, verify=self.carried),
            Action(name="volume.make@1", do=self.make, undo=self.unmake),
            Action(name="volume.tidy@1", do=self.tidy),
            Action(name="volume.finish@1", do=self.finish),
            Action(name="volume.check@1", do=self.check),
            Action(name="volume.delete@1", do=self.delete, verify=self.deleted),
        ]

    def _at(self, doing: Doing) -> VolumeAsking:
        return VolumeAsking(self._asks(doing), doing)

    # -- at the source -----------------------------------------------------------------------------

    async def snapshot(self, doing: Doing) -> dict[str, Any]:
        """Take a snapshot of a volume in use; {id}. Input: `volume`."""
        body = {
            "snapshot": {"volume_id": doing.input["volume"], "force": True, "name": temporary(doing)},
        }
        return await self._temporary(doing, SNAPSHOTS, body)

    async def clone(self, doing: Doing) -> dict[str, Any]:
        """Make a volume of a snapshot; {id}. Input: `snapshot`, `size`."""
        given = doing.input
        body = {
            "volume": {"snapshot_id": given["snapshot"], "size": given["size"], "name": temporary(doing)},
        }
        return await self._temporary(doing, VOLUMES, body)

    async def _temporary(self, doing: Doing, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
        at = self._at(doing)
        found = await at.named(kind, temporary(doing))
        ident = str(found[0]["id"]) if found else await at.created(kind, body)
        with changed():
            await at.until_available(kind, ident)
        return {"id": ident}

    async def remove_snapshot(self, doing: Doing) -> None:
        """Delete the snapshot."""
        await self._remove(doing, SNAPSHOTS)

    async def remove_clone(self, doing: Doing) -> None:
        """Delete the volume of the snapshot."""
        await self._remove(doing, VOLUMES)

    async def remove_upload(self, doing: Doing) -> None:
        """Delete the image; an upload that goes on into it ends by that."""
        await self._remove(doing, IMAGES)

    async def _remove(self, doing: Doing, kind: Kind) -> None:
        at = self._at(doing)
        for one in await at.named(kind, temporary(doing)):
            await at.removed(kind, str(one["id"]))

    async def upload(self, doing: Doing) -> dict[str, Any]:
        """Have a volume uploaded to an image; {image, bytes, changed}. Input: `volume`, `size`.

        `changed` is when the volume was changed last, once that was over.
        """
        at, volume = self._at(doing), doing.input["volume"]
        found = await at.named(IMAGES, temporary(doing))
        image = str(found[0]["id"]) if found else await self._begun(at, volume, temporary(doing))
        expected = doing.input["size"] * GIGABYTE

        async def over() -> tuple[Thing | None, Thing | None] | None:
            doing.stop()
            doing.progress(0, expected, "bytes")
            # In this order: the volume is `uploading` from before the image is there until it is done.
            shown = await at.show(VOLUMES, volume)
            there = await at.show(IMAGES, image)
            return None if shown is not None and shown.get("status") == "uploading" else (shown, there)

        shown, there = await at.until(over)
        if shown is None:
            raise Failed(f"the volume {volume} at {doing.site} was deleted while it was read")
        if there is None or there.get("status") != "active":
            with changed():
                await at.removed(IMAGES, image)
            raise Unavailable(f"{doing.site} gave the upload of the volume {volume} up")
        return {"image": image, "bytes": there.get("size"), "changed": shown.get("updated_at")}

    @staticmethod
    async def _begun(at: VolumeAsking, volume: str, name: str) -> str:
        """Begin an upload; the image's id. Raises `Refused`, `Unavailable`."""
        body = {"image_name": name, "disk_format": "raw", "container_format": "bare", "visibility": "private"}
        status, answer = await at.ask(
            STORAGE,
            "POST",
            f"{VOLUMES.path}/{volume}/action",
            {"os-volume_upload_image": body},
            version="volume 3.1",
        )
        if status == 202:
            return str(answer["os-volume_upload_image"]["image_id"])
        shown = await at.show(VOLUMES, volume) if status == 400 else None
        if shown is not None and shown.get("status") == "uploading":
            raise Unavailable(f"the volume {volume} is being uploaded already")
        raise Refused(f"{at.site} does not upload the volume {volume} ({status}): {said(answer)}")

    # -- from site to site ---------------------------------------------------------------------------

    async def carry(self, doing: Doing) -> dict[str, Any]:
        """Copy the image, its bytes compared; {id, made, bytes}. Input: `image`, `source`."""
        return await ImageCopy(self._asks(doing)).do(doing)

    async def remove_carried(self, doing: Doing) -> None:
        """Delete the copy of the image."""
        await ImageCopy(self._asks(doing)).undo(doing)

    async def carried(self, doing: Doing) -> Done | Absent:
        """Look for the copy of the image."""
        return await ImageCopy(self._asks(doing)).verify(doing)

    # -- at the target -------------------------------------------------------------------------------

    async def make(self, doing: Doing) -> dict[str, Any]:
        """Make the volume of the image; {id, size, volume_type}.

        Input: `image`, `volume` (what it is created with), `type_required`, `bootable`, `image_metadata`.
        """
        at, given = self._at(doing), doing.input
        found = await self._marked(at)
        ident = str(found[0]["id"]) if found else await at.created(VOLUMES, await self._body(at))
        with changed():
            made = await at.until_available(VOLUMES, ident)
            await alike(at, made, given["image_metadata"], bootable=given["bootable"])
        return {"id": ident, "size": made["size"], "volume_type": made.get("volume_type")}

    @staticmethod
    async def _body(at: VolumeAsking) -> dict[str, Any]:
        """What the volume is created with. Raises `Refused` where the site has no such type."""
        given = at.doing.input
        volume = {**given["volume"], "imageRef": given["image"]}
        volume["metadata"] = {**volume.get("metadata", {}), MARK: at.doing.mark}
        return {"volume": await of_its_type(at, volume, required=given["type_required"])}

    async def _marked(self, at: VolumeAsking) -> list[Thing]:
        """The volumes that this very step made."""
        doing = at.doing
        found = await at.listed(VOLUMES, metadata=f"{{'{MARK}': '{doing.mark}'}}")
        return [one for one in found if (one.get("metadata") or {}).get(MARK) == doing.mark]

    async def unmake(self, doing: Doing) -> None:
        """Delete the volume."""
        at = self._at(doing)
        for one in await self._marked(at):
            await at.removed(VOLUMES, str(one["id"]))

    async def tidy(self, doing: Doing) -> None:
        """Delete what was there for a while. Input: `images`, `volumes`, `snapshots`; `made`."""
        at = self._at(doing)
        if not doing.input.get("made", True):
            return
        for kind in (IMAGES, VOLUMES, SNAPSHOTS):
            for ident in doing.input.get(kind.many, ()):
                await at.removed(kind, ident)

    async def finish(self, doing: Doing) -> dict[str, Any]:
        """Take the mark off; {id}. Input: `id`."""
        at, ident = self._at(doing), doing.input["id"]
        status, answer = await at.ask(STORAGE, "DELETE", f"{VOLUMES.path}/{ident}/metadata/{MARK}")
        if status not in {200, 404}:  # 404: it has none, or somebody has deleted it meanwhile
            raise Unavailable(f"{doing.site} answers {status} to a change of the volume: {said(answer)}")
        return {"id": ident}

    # -- the end of a move ---------------------------------------------------------------------------

    async def check(self, doing: Doing) -> None:
        """Look whether the source is as it was when it was read. Input: `volume`, `changed`."""
        shown = await self._at(doing).show(VOLUMES, doing.input["volume"])
        if shown is None or not _unchanged(shown, doing):
            raise Refused(f"{_the_source(doing)} was used or changed since it was read")

    async def delete(self, doing: Doing) -> None:
        """Delete the source, if it still is as it was. Input: `volume`, `changed`."""
        at, ident = self._at(doing), doing.input["volume"]
        shown = await at.show(VOLUMES, ident)
        if shown is None:
            return
        if shown.get("status") != "deleting":
            if not _unchanged(shown, doing):
                raise Refused(f"{_the_source(doing)} was used or changed since it was read")
            status, answer = await at.ask(STORAGE, "DELETE", f"{VOLUMES.path}/{ident}")
            if status not in {202, 404}:
                raise Refused(f"{_the_source(doing)} is not deleted ({status}): {said(answer)}")
        with changed():
            await at.until_gone(VOLUMES, ident)

    async def deleted(self, doing: Doing) -> Done | Absent:
        """Look whether the source is gone."""
        shown = await self._at(doing).show(VOLUMES, doing.input["volume"])
        return Done() if shown is None else Absent()


async def of_its_type(at: VolumeAsking, volume: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """What a volume is created with, without its type where the site has none such, unless it is `required`.

    Raises `Refused`.
    """
    wanted = volume.get("volume_type")
    types = await at.listed(TYPES, limit="1000") if wanted else []
    if not wanted or any(wanted in {one["name"], one["id"]} for one in types):
        return volume
    if required:
        raise Refused(f"{at.site} has no volume type {wanted}")
    return {key: value for key, value in volume.items() if key != "volume_type"}


async def alike(at: VolumeAsking, made: Thing, wanted: Mapping[str, str], *, bootable: bool) -> None:
    """Have a new volume boot, or not, as its source does, and say of its image what that says."""
    there: Mapping[str, str] = made.get("volume_image_metadata") or {}
    for key in sorted(there.keys() - wanted.keys()):
        await at.acted(made["id"], {"os-unset_image_metadata": {"key": key}}, 200, 404)
    if wanted.items() - there.items():
        await at.acted(made["id"], {"os-set_image_metadata": {"metadata": dict(wanted)}}, 200)
    if (str(made.get("bootable")).lower() == "true") != bootable:
        await at.acted(made["id"], {"os-set_bootable": {"bootable": bootable}}, 200)


def temporary(doing: Doing) -> str:
    """What is called that a step makes for a while."""
    return f"{TEMPORARY}{doing.mark}"


def _the_source(doing: Doing) -> str:
    return f"the volume {doing.input['volume']} at {doing.site}"


def _unchanged(shown: Thing, doing: Doing) -> bool:
    """Whether nobody did anything with it: Cinder's time changes with whatever is done."""
    return shown.get("updated_at") == doing.input["changed"] and shown.get("status") == "available"
