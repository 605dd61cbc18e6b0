"""Cinder of one site in memory; what takes time takes longer than a lease."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

SECONDS: Final = 6.0
SOURCE: Final = {
    "id": "v", "name": "data", "status": "available", "size": 1, "metadata": {"a": "b"}, "bootable": "true",
    "volume_image_metadata": {"os": "x"}, "volume_type": "ssd", "data": b"0123456789" * 1000,
    "updated_at": "0",
}  # fmt: skip

Json = dict[str, Any]


class Cinder:
    """One site's. `images` are Glance's there, to which what `filled` gives is uploaded.

    `store` has the data of backups by their ids, for all sites that share it.
    """

    def __init__(
        self, site: str, images: dict[str, Json], filled: Callable[[bytes], Json], store: dict[str, bytes]
    ) -> None:
        self.site, self.images, self._filled, self.store = site, images, filled, store
        self.volumes: dict[str, Json] = {}
        self.snapshots: dict[str, Json] = {}
        self.backups: dict[str, Json] = {}
        self.full = False
        """Whether it makes no volume any more."""
        self.on_make: Callable[[], None] = lambda: None
        self.on_restore: Callable[[str], object] = lambda _: None
        self.imports = True
        """Whether it imports backups."""
        self._number = 0

    def answer(  # noqa: C901, PLR0911 - one for each thing that is asked
        self, method: str, parts: list[str], query: Mapping[str, str], body: Any, *, admin: bool
    ) -> tuple[int, Any]:
        """What it answers below the project; to administrators also of other projects' backups."""
        if parts[0] == "types":
            return 200, {"volume_types": [{"id": "1", "name": "ssd"}]}
        if parts[1:] == ["import_record"]:
            return self._import(body["backup-record"], admin=admin)
        things, one = getattr(self, parts[0]), parts[0].removesuffix("s")
        things = {key: each for key, each in things.items() if admin or not each.get("imported")}
        if method == "POST" and len(parts) == 1:
            return self._make(getattr(self, parts[0]), one, body[one])
        if parts[1] == "detail":
            return 200, {parts[0]: [_shown(each) for each in things.values() if _matches(each, query)]}
        thing = things.get(parts[1])
        if thing is None:
            return 404, None
        match method, parts[2:]:
            case "DELETE", []:
                return self._delete(getattr(self, parts[0]), thing, admin=admin)
            case "PUT", []:
                thing |= body[one]
            case "PUT", ["metadata"]:
                thing["metadata"] = dict(body["metadata"])
            case "GET", ["export_record"]:
                return self._export(thing, admin=admin)
            case "POST", ["restore"]:
                return self._restore(thing, self.volumes[body["restore"]["volume_id"]])
            case "DELETE", ["metadata", key]:
                return (200, None) if thing["metadata"].pop(key, None) is not None else (404, None)
            case "POST", ["action"]:
                return self._act(thing, body)
        return 200, {one: _shown(thing)}

    def _make(self, things: dict[str, Json], one: str, given: Json) -> tuple[int, Any]:
        if self.full and one == "volume":
            return 413, {"overLimit": {"message": "no more volumes"}}
        self._number += 1
        self.on_make()
        made = {"metadata": {}, **given, "id": f"{one}-{self.site}-{self._number}", "status": "creating"}
        if one == "backup":
            made |= {"size": self.volumes[given["volume_id"]]["size"], "status": "creating"}
            made["data"] = self.volumes[given["volume_id"]]["data"]
            _later(lambda: self.store.update({made["id"]: made["data"]}))
        elif one == "snapshot":
            made["data"] = self.volumes[given["volume_id"]]["data"]
        elif "snapshot_id" in given:
            made["data"] = self.snapshots[given["snapshot_id"]]["data"]
        elif "imageRef" not in given:
            made |= {"data": b"", "bootable": "false", "volume_image_metadata": {}}
        else:
            image = self.images.get(given["imageRef"], {})
            if image.get("status") != "active":
                return 400, {"badRequest": {"message": "the image is not active"}}
            made |= {"data": image["data"], "bootable": "true"}
            made["volume_image_metadata"] = {"image_name": image["name"], "os": "y"}
        things[made["id"]] = made
        _later(lambda: self._come(made, "available"))
        return 202, {one: _shown(made)}

    def _delete(self, things: dict[str, Json], thing: Json, *, admin: bool) -> tuple[int, Any]:
        """What builds on a backup is looked for in the project of who asks, as Cinder has it."""
        used = any(one.get("volume_id") == thing["id"] for one in self.snapshots.values())
        used |= not admin and any(one.get("parent") == thing["id"] for one in self.backups.values())
        if thing["status"] not in {"available", "error", "error_restoring"} or used:
            return 400, {"badRequest": {"message": f"it is {thing['status']}, or others build on it"}}
        self._come(thing, "deleting")

        def gone() -> None:
            things.pop(thing["id"], None)
            if things is self.backups:
                self.store.pop(thing["id"], None)

        _later(gone)
        return 202, None

    @staticmethod
    def _export(backup: Json, *, admin: bool) -> tuple[int, Any]:
        if not admin or backup["status"] != "available":
            return 400, {"badRequest": {"message": f"it is {backup['status']}"}}
        return 200, {"backup-record": {key: backup[key] for key in ("id", "name", "size", "volume_id")}}

    def _import(self, record: Json, *, admin: bool) -> tuple[int, Any]:
        if not (admin and self.imports) or record["id"] in self.backups:
            return 400, {"badRequest": {"message": "it is not imported"}}
        made = {**record, "status": "creating", "imported": True, "metadata": {}}
        self.backups[record["id"]] = made
        _later(lambda: self._come(made, "available"))
        return 201, {"backup": {"id": record["id"]}}

    def _restore(self, backup: Json, volume: Json) -> tuple[int, Any]:
        """It reads the data at the end, and puts the backup's metadata in the place of the volume's."""
        if (backup["status"], volume["status"]) != ("available", "available"):
            return 400, {"badRequest": {"message": f"it is {backup['status']} or {volume['status']}"}}
        self._come(backup, "restoring")
        self._come(volume, "restoring-backup")
        self.on_restore(backup["id"])

        def over() -> None:
            self._come(backup, "available")
            if backup["id"] not in self.store:
                self._come(volume, "error_restoring")
                return
            volume.update(data=self.store[backup["id"]], metadata={"src_backup_id": backup["id"]})
            self._come(volume, "available")

        _later(over)
        return 202, None

    def _act(self, volume: Json, body: Json) -> tuple[int, Any]:
        ((action, given),) = body.items()
        match action:
            case "os-volume_upload_image":
                return self._upload(volume, given)
            case "os-unset_image_metadata":
                del volume["volume_image_metadata"][given["key"]]
            case "os-set_image_metadata":
                volume["volume_image_metadata"] |= given["metadata"]
            case "os-set_bootable":
                volume["bootable"] = str(given["bootable"]).lower()
        return 200, None

    def _upload(self, volume: Json, given: Json) -> tuple[int, Any]:
        if volume["status"] != "available":
            return 400, {"badRequest": {"message": f"it is {volume['status']}"}}
        self._number += 1
        ident = f"image-{self.site}-{self._number}"
        image = {"id": ident, "name": given["image_name"], "status": "saving", "owner": "p", "size": None}
        self.images[ident] = image
        self._come(volume, "uploading")

        def over() -> None:
            if ident in self.images:
                image.update(self._filled(volume["data"]))
            self._come(volume, "available")

        _later(over)
        return 202, {"os-volume_upload_image": {"image_id": ident}}

    def touch(self, ident: str) -> None:
        """Have a volume used by somebody in between."""
        self._come(self.volumes[ident], "available")

    @staticmethod
    def _come(thing: Json, status: str) -> None:
        thing |= {"status": status, "updated_at": str(asyncio.get_running_loop().time())}


def _later(what: Callable[[], object]) -> None:
    asyncio.get_running_loop().call_later(SECONDS, what)


def _shown(thing: Json) -> Json:
    return {key: value for key, value in thing.items() if key != "data"}


def _matches(thing: Json, query: Mapping[str, str]) -> bool:
    named = "name" not in query or thing.get("name") == query["name"]
    return named and all(f"'{mark}'" in query.get("metadata", f"'{mark}'") for mark in _marks(thing))


def _marks(thing: Json) -> list[str]:
    return [thing["metadata"].get("atoll_run", "none")]
