"""`/volumes` of a simulated Cinder: list, create, show, update, delete, metadata, actions."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.block_storage import BlockStorage

Json = dict[str, Any]
_SORT = {"id": "id", "status": "status", "size": "size", "availability_zone": "availability_zone",
         "name": "name",
         "display_name": "name", "bootable": "bootable", "created_at": "seq", "updated_at": "updated_at",
         "reference": "id"}  # fmt: skip
_FILTERS = ("name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id",
            "size",
            "created_at", "updated_at", "id", "display_name", "volume_type", "project_id", "user_id",
            "host", "glance_metadata",
            "replication_status", "consumes_quota", "multiattach", "volume_type_id", "name~",
            "status~")  # fmt: skip
_OTHER = ("limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "with_count")
_UNDELETABLE = (
    "Invalid volume: Volume status must be available or error or error_restoring or error_extending or "
    "error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a "
    "transfer, or be disassociated from snapshots after volume transfer."
)


class Volumes:
    """The volume resource."""

    def __init__(self, storage: "BlockStorage") -> None:
        self.storage = storage
        self._actions: dict[str, Callable[[Call, Json, Json], Response | None]] = {
            "os-extend": self._extend,
            "os-attach": self._attach,
            "os-detach": self._detach,
            "os-reserve": lambda call, volume, _: self._expect(call, volume, "available", "attaching"),
            "os-unreserve": lambda call, volume, _: self._expect(call, volume, "attaching", "available"),
            "os-begin_detaching": lambda call, volume, _: self._expect(call, volume, "in-use", "detaching"),
            "os-roll_detaching": lambda call, volume, _: self._expect(call, volume, "detaching", "in-use"),
            "os-set_bootable": self._set_bootable,
            "os-update_readonly_flag": lambda *_: None,
            "os-reset_status": self._reset_status,
            "os-retype": self._retype,
            "os-set_image_metadata": self._set_image_metadata,
            "os-unset_image_metadata": self._unset_image_metadata,
            "os-initialize_connection": self._initialize,
            "os-terminate_connection": lambda *_: None,
            "os-force_delete": self._force_delete,
            "os-volume_upload_image": storage.contents.upload,
        }

    def add_routes(self, storage: "BlockStorage") -> None:
        """Register the routes."""
        storage.route("GET", "/volumes", lambda call: self._list(call, "volumes"))
        storage.route("GET", "/volumes/detail", lambda call: self._list(call, "volumes/detail"))
        storage.route("GET", "/volumes/summary", self._summary, since=12)
        storage.route("POST", "/volumes", self._create)
        storage.route(
            "GET", "/volumes/{id}", lambda call: storage.json({"volume": self._view(call, self._find(call))})
        )
        storage.route("PUT", "/volumes/{id}", self._update)
        storage.route("DELETE", "/volumes/{id}", self._delete)
        storage.route("POST", "/volumes/{id}/action", self._act)
        metadata = "/volumes/{id}/metadata"
        storage.route("GET", metadata, lambda call: storage.json({"metadata": self._find(call)["metadata"]}))
        storage.route("POST", metadata, lambda call: self._write_metadata(call, replace=False))
        storage.route("PUT", metadata, lambda call: self._write_metadata(call, replace=True))
        storage.route("GET", metadata + "/{key}", self._show_meta)
        storage.route("PUT", metadata + "/{key}", self._put_meta)
        storage.route("DELETE", metadata + "/{key}", self._delete_meta)
        storage.route("GET", "/attachments", self._list_attachments, since=27)
        storage.route("GET", "/attachments/detail", self._list_attachments, since=27)
        storage.route("GET", "/attachments/{id}", self._show_attachment, since=27)

    def _find(self, call: Call) -> Json:
        volume = self.storage.get(call, self.storage.volumes, "Volume", call.params["id"])
        self.storage.settle(volume)
        return volume

    def _view(self, call: Call, volume: Json, *, fresh: bool = False) -> Json:
        keys: tuple[str, ...] = ("id", "status", "size", "availability_zone", "created_at", "updated_at",
                "name", "description", "volume_type", "snapshot_id", "source_volid", "metadata")  # fmt: skip
        shown = {key: volume[key] for key in keys}
        shown["links"] = self.storage.links(call, "volumes", volume["id"])
        keys = (
            "user_id",
            "bootable",
            "encrypted",
            "replication_status",
            "consistencygroup_id",
            "multiattach",
            "attachments",
        )
        shown |= {key: volume[key] for key in keys}
        later: list[tuple[int, str, Any, bool]] = [
            (0, "migration_status", None, call.admin),
            (13, "group_id", volume.get("group_id"), True),
            (21, "provider_id", None, call.admin),
            (48, "shared_targets", fresh, True),
            (48, "service_uuid", None if fresh else str(uuid.UUID(int=1)), True),
            (61, "cluster_name", None, call.admin),
            (63, "volume_type_id", self._type_id(volume["volume_type"]), True),
            (65, "consumes_quota", True, True),
        ]
        shown |= {key: value for since, key, value, visible in later if call.minor >= since and visible}
        if fresh:
            return shown
        shown["os-vol-tenant-attr:tenant_id"] = volume["project_id"]
        if call.admin:
            shown |= {"os-vol-mig-status-attr:migstat": None, "os-vol-mig-status-attr:name_id": None}
            shown["os-vol-host-attr:host"] = f"{self.storage.site.name}-control@fake#fake"
        if volume["image"]:
            shown["volume_image_metadata"] = volume["image"]
        return shown

    def _type_id(self, name: str) -> str | None:
        return next((t["id"] for t in self.storage.types.values() if t["name"] == name), None)

    def _list(self, call: Call, collection: str) -> Response:
        if collection != "volumes":
            self._check_query(call)
        found = list(self.storage.owned(call, self.storage.volumes))
        for volume in found:
            self.storage.settle(volume)
        self._check_query(call)
        found = [v for v in found if all(_matches(v, n, x) for n, x in call.query if n not in _OTHER)]
        page, total = self.storage.page(call, found, _SORT, "Volume")
        if collection == "volumes":
            links = self.storage.links
            shown = [
                {"id": v["id"], "name": v["name"], "links": links(call, "volumes", v["id"])} for v in page
            ]
        else:
            shown = [self._view(call, volume) for volume in page]
        return self.storage.listed(call, collection, shown, total)

    def _check_query(self, call: Call) -> None:
        unknown = [n for n, _ in call.query if n not in _OTHER and n not in _FILTERS]
        if unknown and not call.admin and call.minor >= 31:
            raise Fault(400, f"Invalid filters {','.join(unknown)} are found in query options.")

    def _summary(self, call: Call) -> Response:
        found = self.storage.owned(call, self.storage.volumes)
        summary = {
            "total_count": len(found),
            "total_size": sum(volume["size"] for volume in found),
            "metadata": {},
        }
        return self.storage.json({"volume-summary": summary})

    # create
    def _create(self, call: Call) -> Response:
        given = _volume(call)
        size = given.get("size")
        snapshot = self._source(call, given, "snapshot_id", self.storage.snapshots, "Snapshot")
        source = self._source(call, given, "source_volid", self.storage.volumes, "Volume")
        size = size or (snapshot or source or {}).get("size")
        if size is None:
            raise Fault(400, _malformed())
        self.storage.admin.check_quota(call.project_id, "volumes", int(size))
        volume_type = self._volume_type(given.get("volume_type"))
        image = self.storage.contents.image_of(call, given.get("imageRef"))
        zone = given.get("availability_zone") or self.storage.zones[0]
        volume = self.storage.new(
            status="creating", size=int(size),
            availability_zone=zone if zone in self.storage.zones else self.storage.zones[0],
            name=given.get("name", given.get("display_name")), description=given.get("description"),
            volume_type=volume_type, snapshot_id=given.get("snapshot_id"),
            source_volid=given.get("source_volid"),
            metadata=given.get("metadata") or {}, user_id=call.who.user_id, project_id=call.project_id,
            bootable="true" if image else "false", encrypted=False, replication_status=None,
            consistencygroup_id=None, group_id=given.get("group_id"),
            multiattach=self._is_multiattach(volume_type), attachments=[], image=image,
            ready=self.storage.site.clock() + self.storage.create_seconds,
        )  # fmt: skip
        self.storage.volumes[volume["id"]] = volume
        self.storage.contents.create(volume["id"], given)
        shown = self._view(call, volume, fresh=True) | {"created_at": self.storage.now(fraction=True)}
        return self.storage.json({"volume": shown}, 202)

    def _source(self, call: Call, given: Json, key: str, records: dict[str, Json], what: str) -> Json | None:
        return self.storage.get(call, records, what, given[key]) if given.get(key) else None

    def _volume_type(self, wanted: str | None) -> str:
        if wanted is None:
            return self.storage.default_type
        for volume_type in self.storage.types.values():
            if wanted in (volume_type["name"], volume_type["id"]):
                return str(volume_type["name"])
        raise Fault(404, f"Volume type with name {wanted} could not be found.")

    def _is_multiattach(self, volume_type: str) -> bool:
        specs = [t["extra_specs"] for t in self.storage.types.values() if t["name"] == volume_type]
        return any(one.get("multiattach") == "<is> True" for one in specs)

    def _update(self, call: Call) -> Response:
        volume, given = self._find(call), _volume(call, size=False)
        volume["name"] = given.get("name", given.get("display_name", volume["name"]))
        volume["description"] = given.get(
            "description", given.get("display_description", volume["description"])
        )
        volume["metadata"] = given.get("metadata", volume["metadata"])
        volume["updated_at"] = self.storage.now()
        shown = self._view(call, volume)
        own = ("os-vol-tenant-attr:tenant_id", "os-vol-mig-status-attr:migstat",
               "os-vol-mig-status-attr:name_id",
               "os-vol-host-attr:host", "volume_image_metadata")  # fmt: skip
        return self.storage.json({"volume": {key: value for key, value in shown.items() if key not in own}})

    def _delete(self, call: Call) -> Response:
        volume = self._find(call)
        if volume["status"] not in ("available", "error", "error_restoring") or self._snapshots(volume):
            raise Fault(400, _UNDELETABLE)
        del self.storage.volumes[volume["id"]]
        return self.storage.empty()

    def _snapshots(self, volume: Json) -> bool:
        return any(snapshot["volume_id"] == volume["id"] for snapshot in self.storage.snapshots.values())

    # metadata
    def _write_metadata(self, call: Call, *, replace: bool) -> Response:
        volume, given = self._find(call), (call.body or {}).get("metadata")
        if not isinstance(given, dict):
            raise Fault(400, "'metadata' is a required property")
        volume["metadata"] = given if replace else volume["metadata"] | given
        return self.storage.json({"metadata": volume["metadata"]})

    def _meta(self, call: Call) -> tuple[Json, str]:
        volume, key = self._find(call), call.params["key"]
        if key not in volume["metadata"]:
            raise Fault(404, f"Volume {volume['id']} has no metadata with key {key}.")
        return volume["metadata"], key

    def _show_meta(self, call: Call) -> Response:
        metadata, key = self._meta(call)
        return self.storage.json({"meta": {key: metadata[key]}})

    def _put_meta(self, call: Call) -> Response:
        given = (call.body or {}).get("meta") or {}
        self._find(call)["metadata"].update(given)
        return self.storage.json({"meta": given})

    def _delete_meta(self, call: Call) -> Response:
        metadata, key = self._meta(call)
        del metadata[key]
        return self.storage.empty(200)

    # actions
    def _act(self, call: Call) -> Response:
        action, value = next(iter((call.body or {"": None}).items()))
        if action not in self._actions:
            hint = "Verify the request body and Content-Type header and try again."
            raise Fault(400, f"There is no such action: {action}. {hint}")
        volume = self._find(call)
        answer = self._actions[action](call, volume, value or {})
        volume["updated_at"] = self.storage.now()
        return answer if answer is not None else self.storage.empty()

    def _extend(self, call: Call, volume: Json, value: Json) -> None:  # noqa: ARG002
        size = int(value.get("new_size", 0))
        if size <= volume["size"]:
            sizes = f"(current: {volume['size']}, extended: {size})"
            what = f"New size for extend must be greater than current size. {sizes}."
            raise Fault(400, f"Invalid input received: {what}")
        volume["size"] = size

    def _expect(self, call: Call, volume: Json, before: str, after: str) -> None:  # noqa: ARG002
        if volume["status"] != before:
            message = f"Invalid volume: Volume {volume['id']} status must be {before}, "
            raise Fault(400, message + f"but the current status is {volume['status']}.")
        volume["status"] = after

    def _attach(self, call: Call, volume: Json, value: Json) -> None:  # noqa: ARG002
        self.storage.attach(volume["id"], value.get("instance_uuid") or "")

    def _detach(self, call: Call, volume: Json, value: Json) -> None:  # noqa: ARG002
        volume |= {"attachments": [], "status": "available"}

    def _set_bootable(self, call: Call, volume: Json, value: Json) -> Response:  # noqa: ARG002
        volume["bootable"] = str(value.get("bootable", True)).lower()
        return self.storage.empty(200)

    def _reset_status(self, call: Call, volume: Json, value: Json) -> None:
        _policy(call, "volume_extension:volume_admin_actions:reset_status")
        volume["status"] = value.get("status", volume["status"])

    def _retype(self, call: Call, volume: Json, value: Json) -> None:  # noqa: ARG002
        volume["volume_type"] = self._volume_type(value.get("new_type"))

    def _set_image_metadata(self, call: Call, volume: Json, value: Json) -> Response:  # noqa: ARG002
        volume["image"] = volume["image"] | (value.get("metadata") or {})
        return self.storage.json({"metadata": volume["image"]})

    def _initialize(self, call: Call, volume: Json, value: Json) -> Response:  # noqa: ARG002
        info = {"driver_volume_type": "fake", "data": {"volume_id": volume["id"]}}
        return self.storage.json({"connection_info": info})

    def _force_delete(self, call: Call, volume: Json, value: Json) -> None:  # noqa: ARG002
        _policy(call, "volume_extension:volume_admin_actions:force_delete")
        self.storage.volumes.pop(volume["id"], None)

    def _unset_image_metadata(self, call: Call, volume: Json, value: Json) -> Response:  # noqa: ARG002
        if value.get("key") not in volume["image"]:
            raise Fault(404, f"Glance metadata for volume/snapshot {volume['id']} cannot be found.")
        volume["image"] = {key: text for key, text in volume["image"].items() if key != value["key"]}
        return self.storage.empty(200)

    # attachments
    def _attachments(self, call: Call) -> list[Json]:
        return [
            {
                "id": a["attachment_id"],
                "status": "attached",
                "instance": a["server_id"],
                "volume_id": volume["id"],
            }
            for volume in self.storage.owned(call, self.storage.volumes)
            for a in volume["attachments"]
        ]

    def _list_attachments(self, call: Call) -> Response:
        page, _ = self.storage.page(call, self._attachments(call), {"created_at": "id"}, "Attachment")
        return self.storage.json({"attachments": page})  # it has no links, however much follows

    def _show_attachment(self, call: Call) -> Response:
        for attachment in self._attachments(call):
            if attachment["id"] == call.params["id"]:
                return self.storage.json({"attachment": attachment})
        message = f"Volume attachment could not be found with filter: attachment_id = {call.params['id']}."
        raise Fault(404, message)


def _malformed() -> str:
    return "The server could not comply with the request since it is either malformed or otherwise incorrect."


def _volume(call: Call, *, size: bool = True) -> Json:
    if not isinstance(call.body, dict) or "volume" not in call.body:
        raise Fault(
            400,
            "'volume' is a required property" if call.body is not None else "None is not of type 'object'",
        )
    given: Json = call.body["volume"]
    wanted = given.get("size")
    if size and wanted is not None and (not str(wanted).isdigit() or int(wanted) < 1):
        why = f"{wanted} is less than the minimum of 1"
        raise Fault(400, f"Invalid input for field/attribute size. Value: {wanted}. {why}")
    return given


def _matches(volume: Json, name: str, value: str) -> bool:
    if name == "metadata":
        wanted = dict(_pairs(value))
        return all(volume["metadata"].get(key) == text for key, text in wanted.items())
    if name.endswith("~"):
        return value in str(volume.get(name[:-1], ""))
    key = {"display_name": "name"}.get(name, name)
    return key not in volume or str(volume[key]).lower() == value.lower()


def _pairs(text: str) -> list[tuple[str, str]]:
    """The pairs of a metadata filter, which clients send as a Python dict: `{'key': 'value'}`."""
    parts = [part.partition(":") for part in text.strip("{} ").split(",") if ":" in part]
    return [(key.strip(" '\"").removeprefix("u'"), value.strip(" '\"")) for key, _, value in parts]


def _policy(call: Call, rule: str) -> None:
    if not call.admin:
        raise Fault(403, f"Policy doesn't allow {rule} to be performed.")
