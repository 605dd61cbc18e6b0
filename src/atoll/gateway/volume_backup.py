"""Bringing a volume's data to another site by a store of backups that both sites have.

The backup is one of a volume made of a snapshot: nobody makes increments to that, and the volume itself stays
in use. It is exported and imported as the operator, which is an administrator's, and restored into an empty
volume that the user made: so that is the user's, and an imported record the operator's.

Both sites then have a record of the same data, and whichever deletes its own deletes the data. Only the one
that made the backup knows whether increments build on it, and refuses then: it is asked first, always, and
the other one only when the first has none any more. It is asked as the user: Cinder looks for increments in
the project of who deletes, and refuses no administrator. Drivers put up with data that is gone.

A restore may put the metadata of the backup in the place of the volume's, so that its name bears the mark.
"""

from collections.abc import Callable
from typing import Any, Final

from atoll.gateway.asking import SiteAsker
from atoll.gateway.volume_asking import (
    BACKUPS,
    RECORDS,
    STORAGE,
    VOLUMES,
    Kind,
    Thing,
    VolumeAsking,
    changed,
    said,
)
from atoll.gateway.volume_copy import alike, of_its_type, temporary
from atoll.worker.actions import Action, Doing
from atoll.workflow.outcomes import Failed, Refused, Unavailable

RESTORED: Final = "src_backup_id"
"""The metadata by which Cinder says of what a volume was restored."""

BUSY: Final = frozenset({"creating", "restoring"})
"""What has to end before a backup can be deleted."""

RESTORES: Final = 3
"""How often a restore is asked for that comes to nothing."""


class VolumeBackup:
    """The actions. `asks` gives what asks sites as the user of a run, `operator` asks as the operator."""

    def __init__(self, asks: Callable[[Doing], SiteAsker], operator: SiteAsker) -> None:
        self._asks = asks
        self._operator = operator

    def actions(self) -> list[Action]:
        """The actions, by their names."""
        return [
            Action(name="volume.look@1", do=self.look),
            Action(name="volume.blank@1", do=self.blank, undo=self.remove_blank),
            Action(name="volume.backup@1", do=self.backup, undo=self.remove_backup),
            Action(name="volume.import@1", do=self.take, undo=self.forget),
            Action(name="volume.restore@1", do=self.restore, undo=self.await_restore),
            Action(name="volume.forget@1", do=self.forget),
            Action(name="volume.settle@1", do=self.settle),
        ]

    def _at(self, doing: Doing) -> VolumeAsking:
        return VolumeAsking(self._asks(doing), doing)

    def _operating(self, doing: Doing, site: str = "") -> VolumeAsking:
        return VolumeAsking(self._operator, doing, site)

    # -- as the user ---------------------------------------------------------------------------------

    async def look(self, doing: Doing) -> dict[str, Any]:
        """When a volume that nobody uses was changed last; {changed}. Input: `volume`."""
        ident = doing.input["volume"]
        shown = await self._at(doing).show(VOLUMES, ident)
        if shown is None or shown.get("status") != "available":
            raise Refused(f"the volume {ident} at {doing.site} was deleted or is used")
        return {"changed": shown.get("updated_at")}

    async def blank(self, doing: Doing) -> dict[str, Any]:
        """Make an empty volume; {id, name}. Input: `volume` (what it is to be like), `type_required`."""
        at, name = self._at(doing), temporary(doing)
        found = await at.named(VOLUMES, name)
        ident = str(found[0]["id"]) if found else await at.created(VOLUMES, await self._body(at, name))
        with changed():
            made = await at.until_available(VOLUMES, ident)
        if made.get("encrypted"):
            raise Failed(f"{at.site} encrypts volumes of this type, and restores backups in clear")
        return {"id": ident, "name": name}

    @staticmethod
    async def _body(at: VolumeAsking, name: str) -> dict[str, Any]:
        given = at.doing.input
        kept = ("size", "volume_type", "availability_zone")
        volume = {key: given["volume"][key] for key in kept if key in given["volume"]}
        return {"volume": await of_its_type(at, {**volume, "name": name}, required=given["type_required"])}

    async def remove_blank(self, doing: Doing) -> None:
        """Delete the volume."""
        at = self._at(doing)
        for one in await at.named(VOLUMES, temporary(doing)):
            await at.removed(VOLUMES, str(one["id"]))

    async def backup(self, doing: Doing) -> dict[str, Any]:
        """Have a whole backup made of a volume; {id}. Input: `volume`."""
        at, name = self._at(doing), temporary(doing)
        found = await at.named(BACKUPS, name)
        body = {"backup": {"volume_id": doing.input["volume"], "name": name, "incremental": False}}
        ident = str(found[0]["id"]) if found else await at.created(BACKUPS, body)
        with changed():
            await at.until_available(BACKUPS, ident)
        return {"id": ident}

    async def remove_backup(self, doing: Doing) -> None:
        """Delete the backup."""
        at = self._at(doing)
        for one in await at.named(BACKUPS, temporary(doing)):
            await _dropped(at, BACKUPS, str(one["id"]))

    async def settle(self, doing: Doing) -> dict[str, Any]:
        """Give the volume its name and metadata; {id}. Input: `id`, `name` (that it has now), `volume`."""
        at, given = self._at(doing), doing.input
        path = f"{VOLUMES.path}/{given['id']}"
        shown = await at.show(VOLUMES, given["id"])
        if shown is None or shown.get("name") != given["name"]:  # deleted by somebody, or done before
            return {"id": given["id"]}
        wanted = given["volume"]
        await self._put(at, f"{path}/metadata", {"metadata": wanted.get("metadata", {})})
        named = {key: wanted.get(key, "") for key in ("name", "description")}
        await self._put(at, path, {"volume": named})
        return {"id": given["id"]}

    @staticmethod
    async def _put(at: VolumeAsking, path: str, body: object) -> None:
        status, answer = await at.ask(STORAGE, "PUT", path, body)
        if status not in {200, 404}:
            raise Unavailable(f"{at.site} answers {status} to a change of the volume: {said(answer)}")

    # -- as both -------------------------------------------------------------------------------------

    async def take(self, doing: Doing) -> dict[str, Any]:
        """Import a backup of another site; {id}. Input: `backup`, `source`, `volume`, `size`."""
        here, given = self._operating(doing), doing.input
        ident = given["backup"]
        if await here.show(RECORDS, ident) is None:
            await self._imported(here, await self._exported(doing))
        with changed():
            made = await here.until_available(RECORDS, ident)
        if (made.get("size"), made.get("volume_id")) != (given["size"], given["volume"]):
            raise Failed(f"the backup {ident} at {here.site} is another one than that of {given['source']}")
        return {"id": ident}

    async def _exported(self, doing: Doing) -> Thing:
        """A backup as the site exports it. It tells the site's hosts, so nobody else is to read it."""
        at = self._operating(doing, doing.input["source"])
        path = f"{RECORDS.path}/{doing.input['backup']}/export_record"
        status, answer = await at.ask(STORAGE, "GET", path)
        if status != 200:
            raise Refused(f"{at.site} does not export the backup ({status}): {said(answer)}")
        record: Thing = answer
        return record

    @staticmethod
    async def _imported(at: VolumeAsking, record: Thing) -> None:
        status, answer = await at.ask(STORAGE, "POST", f"{RECORDS.path}/import_record", record)
        if status != 201:
            raise Refused(f"{at.site} does not import the backup ({status}): {said(answer)}")

    async def forget(self, doing: Doing) -> None:
        """Delete the backup, as the user, at the site that made it, then the record of the other one.

        Input: `backup`, `source`. Raises `Refused` where a backup of somebody's builds on it.
        """
        ident = doing.input["backup"]
        source = doing.input["source"]
        await _dropped(VolumeAsking(self._asks(doing), doing, source), BACKUPS, ident)
        if await self._operating(doing, source).show(RECORDS, ident) is not None:
            raise Refused(f"the backup {ident} is at {source} still, and not this project's")
        await _dropped(self._operating(doing), RECORDS, ident)

    async def restore(self, doing: Doing) -> dict[str, Any]:
        """Restore a backup into a volume; {id, size, volume_type}.

        Input: `backup`, `source`, `id` (the volume's), `bootable`, `image_metadata`.
        """
        at, given = self._at(doing), doing.input
        asked: list[str] = []

        async def over() -> Thing | None:
            doing.stop()
            shown = await at.show(VOLUMES, given["id"])
            if shown is None:
                raise Failed(f"the volume {given['id']} at {at.site} was deleted before it was restored")
            status = str(shown["status"])
            if status.startswith("error"):
                text = f"the volume {given['id']} at {at.site} came to {status}"
                raise Failed(f"{text}: could it read the backup that {given['source']} made?")
            if status != "available" or _restored(shown, given["backup"]):
                return shown if status == "available" else None
            if len(asked) == RESTORES:
                raise Failed(f"{at.site} does not restore the backup {given['backup']}: {asked[-1]}")
            asked.extend(await self._begun(doing))
            return None

        with changed():
            made = await at.until(over)
            await alike(at, made, given["image_metadata"], bootable=given["bootable"])
        return {"id": made["id"], "size": made["size"], "volume_type": made.get("volume_type")}

    async def _begun(self, doing: Doing) -> list[str]:
        """Have a backup restored, unless it is being; what the site says to that, where it was asked."""
        here, given = self._operating(doing), doing.input
        record = await here.show(RECORDS, given["backup"])
        if record is None:
            raise Failed(f"the backup {given['backup']} at {here.site} was deleted before it was restored")
        if record["status"] != "available":
            return []
        path, body = f"{RECORDS.path}/{given['backup']}/restore", {"restore": {"volume_id": given["id"]}}
        status, answer = await here.ask(STORAGE, "POST", path, body)
        if status == 404:  # it has no service for that now
            raise Unavailable(f"{here.site} does not restore the backup ({status}): {said(answer)}")
        return ["it says that it does" if status == 202 else said(answer)]

    async def await_restore(self, doing: Doing) -> None:
        """Wait until the volume is restored, or that has failed: until then it cannot be deleted."""
        at = self._at(doing)

        async def over() -> bool | None:
            shown = await at.show(VOLUMES, doing.input["id"])
            return None if shown is not None and shown["status"] == "restoring-backup" else True

        await at.until(over)


async def _dropped(at: VolumeAsking, kind: Kind, ident: str) -> None:
    """Delete a backup once nothing goes on with it, and wait for that. Raises `Refused`, `Unavailable`."""

    async def idle() -> str | None:
        shown = await at.show(kind, ident)
        status = "" if shown is None else str(shown["status"])
        return None if status in BUSY else status

    if not (status := await at.until(idle)):
        return
    if status != "deleting":
        code, answer = await at.ask(STORAGE, "DELETE", f"{kind.path}/{ident}")
        if code != 202 and await at.show(kind, ident) is not None:
            text = f"{at.site} does not delete the backup {ident} ({code}): {said(answer)}"
            raise Unavailable(text) if code == 404 else Refused(text)  # 404: it has no service for that now
    await at.until_gone(kind, ident)


def _restored(volume: Thing, backup: str) -> bool:
    return (volume.get("metadata") or {}).get(RESTORED) == backup
