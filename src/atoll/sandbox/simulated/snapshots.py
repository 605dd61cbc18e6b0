"""`/snapshots` and `/backups` of a simulated Cinder."""

from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.block_storage import BlockStorage

Json = dict[str, Any]
_SORT = {"id": "id", "status": "status", "size": "size", "name": "name", "display_name": "name",
         "created_at": "seq",
         "updated_at": "updated_at", "volume_id": "volume_id", "container": "id"}  # fmt: skip
_FILTERS = ("name", "status", "volume_id", "availability_zone", "metadata", "project_id", "consumes_quota")


class Snapshots:
    """Snapshots and backups; both are available as soon as they are made."""

    def __init__(self, storage: "BlockStorage") -> None:
        self.storage = storage

    def add_routes(self, storage: "BlockStorage") -> None:
        """Register the routes."""
        storage.route("GET", "/snapshots", lambda call: self._list_snapshots(call, "snapshots"))
        storage.route("GET", "/snapshots/detail", lambda call: self._list_snapshots(call, "snapshots/detail"))
        storage.route("POST", "/snapshots", self._create_snapshot)
        storage.route("GET", "/snapshots/{id}", self._show_snapshot)
        storage.route("PUT", "/snapshots/{id}", self._update_snapshot)
        storage.route("DELETE", "/snapshots/{id}", self._delete_snapshot)
        metadata = "/snapshots/{id}/metadata"
        storage.route(
            "GET", metadata, lambda call: storage.json({"metadata": self._snapshot(call)["metadata"]})
        )
        storage.route("POST", metadata, self._add_metadata)
        storage.route("GET", "/backups", lambda call: self._list_backups(call, "backups"))
        storage.route("GET", "/backups/detail", lambda call: self._list_backups(call, "backups/detail"))
        storage.route("POST", "/backups", self._create_backup)
        storage.route("GET", "/backups/{id}", self._show_backup)
        storage.route("DELETE", "/backups/{id}", self._delete_backup)
        storage.route("POST", "/backups/{id}/restore", self._restore)

    def _filtered(self, call: Call, records: dict[str, Json]) -> list[Json]:
        found = self.storage.owned(call, records)
        for name, value in call.query:
            if name in _FILTERS and name != "metadata":
                found = [record for record in found if str(record.get(name)) == value]
        return found

    # snapshots
    def _snapshot(self, call: Call) -> Json:
        return self.storage.get(call, self.storage.snapshots, "Snapshot", call.params["id"])

    def _view(self, call: Call, snapshot: Json, *, detail: bool) -> Json:
        keys = (
            "id",
            "created_at",
            "updated_at",
            "name",
            "description",
            "volume_id",
            "status",
            "size",
            "metadata",
        )
        shown: Json = {key: snapshot[key] for key in keys}
        shown |= {"group_snapshot_id": None} if call.minor >= 14 else {}
        shown |= {"user_id": snapshot["user_id"]} if call.minor >= 41 else {}
        shown |= {"consumes_quota": True} if call.minor >= 65 else {}
        if detail:
            shown["os-extended-snapshot-attributes:project_id"] = snapshot["project_id"]
            shown["os-extended-snapshot-attributes:progress"] = "100%"
        return shown

    def _list_snapshots(self, call: Call, collection: str) -> Response:
        page, total = self.storage.page(call, self._filtered(call, self.storage.snapshots), _SORT, "Snapshot")
        shown = [self._view(call, snapshot, detail=collection != "snapshots") for snapshot in page]
        return self.storage.listed(call, collection, shown, total)

    def _create_snapshot(self, call: Call) -> Response:
        given = _member(call, "snapshot")
        if "volume_id" not in given:
            why = "'volume_id' is a required property"
            raise Fault(400, f"Invalid input for field/attribute snapshot. Value: {given}. {why}")
        volume = self.storage.get(call, self.storage.volumes, "Volume", given["volume_id"])
        if volume["status"] == "in-use" and not given.get("force") and call.minor < 66:
            status = "status must be available, but current status is: in-use."
            raise Fault(400, f"Invalid volume: Volume {volume['id']} {status}")
        self.storage.admin.check_quota(volume["project_id"], "snapshots", volume["size"])
        snapshot = self.storage.new(
            name=given.get("name"), description=given.get("description"), volume_id=volume["id"],
            status="available",
            size=volume["size"], metadata=given.get("metadata") or {}, user_id=call.who.user_id,
            project_id=volume["project_id"],
        )  # fmt: skip
        snapshot["updated_at"] = snapshot["created_at"]
        self.storage.snapshots[snapshot["id"]] = snapshot
        self.storage.contents.write(snapshot["id"], self.storage.contents.of(volume["id"]))
        shown = self._view(call, snapshot, detail=False)
        shown |= {"status": "creating", "updated_at": None, "created_at": self.storage.now(fraction=True)}
        return self.storage.json({"snapshot": shown}, 202)

    def _show_snapshot(self, call: Call) -> Response:
        return self.storage.json({"snapshot": self._view(call, self._snapshot(call), detail=True)})

    def _update_snapshot(self, call: Call) -> Response:
        snapshot, given = self._snapshot(call), _member(call, "snapshot")
        snapshot |= {key: given[key] for key in ("name", "description") if key in given}
        return self.storage.json({"snapshot": self._view(call, snapshot, detail=False)})

    def _delete_snapshot(self, call: Call) -> Response:
        del self.storage.snapshots[self._snapshot(call)["id"]]
        return self.storage.empty()

    def _add_metadata(self, call: Call) -> Response:
        snapshot = self._snapshot(call)
        snapshot["metadata"] |= (call.body or {}).get("metadata") or {}
        return self.storage.json({"metadata": snapshot["metadata"]})

    # backups
    def _backup(self, call: Call) -> Json:
        return self.storage.get(call, self.storage.backups, "Backup", call.params["id"])

    def _backup_view(self, call: Call, backup: Json) -> Json:
        shown = {key: value for key, value in backup.items() if key not in ("seq", "project_id", "user_id")}
        return shown | {"links": self.storage.links(call, "backups", backup["id"])}

    def _list_backups(self, call: Call, collection: str) -> Response:
        page, total = self.storage.page(call, self._filtered(call, self.storage.backups), _SORT, "Backup")
        shown = [self._backup_view(call, backup) for backup in page]
        if collection == "backups":
            shown = [{key: backup[key] for key in ("id", "name", "links")} for backup in shown]
        return self.storage.listed(call, collection, shown, total)

    def _create_backup(self, call: Call) -> Response:
        given = _member(call, "backup")
        volume = self.storage.get(call, self.storage.volumes, "Volume", given.get("volume_id", ""))
        backup = self.storage.new(
            status="available", size=volume["size"], object_count=0,
            availability_zone=volume["availability_zone"],
            container=given.get("container"), name=given.get("name"), description=given.get("description"),
            fail_reason=None, volume_id=volume["id"], is_incremental=bool(given.get("incremental")),
            has_dependent_backups=False, snapshot_id=given.get("snapshot_id"),
            data_timestamp=self.storage.now(),
            user_id=call.who.user_id, project_id=call.project_id,
        )  # fmt: skip
        self.storage.backups[backup["id"]] = backup
        self.storage.stored[backup["id"]] = self.storage.contents.of(volume["id"])
        if self.storage.backup_seconds:
            backup["status"] = "creating"
            self.storage.later(self.storage.backup_seconds, lambda: backup.update(status="available"))
        links = self.storage.links(call, "backups", backup["id"])
        return self.storage.json(
            {"backup": {"id": backup["id"], "name": backup["name"], "links": links}}, 202
        )

    def _show_backup(self, call: Call) -> Response:
        return self.storage.json({"backup": self._backup_view(call, self._backup(call))})

    def _delete_backup(self, call: Call) -> Response:
        backup = self._backup(call)
        if backup["status"] not in ("available", "error"):
            raise Fault(400, "Invalid backup: Backup status must be available or error")
        ident = backup["id"]
        del self.storage.backups[ident]
        self.storage.stored.pop(ident, None)
        return self.storage.empty()

    def _restore(self, call: Call) -> Response:
        backup, given = self._backup(call), _member(call, "restore")
        volume_id = given.get("volume_id")
        if not volume_id:
            blank = {"volume_size": backup["size"]}
            volume_id = self.storage.made_for(call.project_id, call.who.user_id, blank)
        volume = self.storage.get(call, self.storage.volumes, "Volume", volume_id)
        self.storage.settle(volume)
        for what, record in (("Backup", backup), ("Volume", volume)):
            if record["status"] != "available":
                raise Fault(400, f"Invalid {what.lower()}: {what} status must be available")
        backup["status"], volume["status"] = "restoring", "restoring-backup"
        if self.storage.restore_seconds:
            self.storage.later(self.storage.restore_seconds, lambda: self._restored(backup, volume))
        else:
            self._restored(backup, volume)
        shown = {"backup_id": backup["id"], "volume_id": volume_id, "volume_name": volume["name"]}
        return self.storage.json({"restore": shown}, 202)

    def _restored(self, backup: Json, volume: Json) -> None:
        """Have a volume hold what a backup holds, if that can be read."""
        data = self.storage.stored.get(backup["id"])
        backup["status"] = "available"
        volume |= {"status": "error_restoring" if data is None else "available"}
        if data is not None:
            self.storage.contents.write(volume["id"], data)
            volume["metadata"] = {**volume["metadata"], "src_backup_id": backup["id"]}
        volume["updated_at"] = self.storage.now()


def _member(call: Call, name: str) -> Json:
    if not isinstance(call.body, dict) or name not in call.body:
        raise Fault(
            400,
            f"'{name}' is a required property" if call.body is not None else "None is not of type 'object'",
        )
    return call.body[name]  # type: ignore[no-any-return]
