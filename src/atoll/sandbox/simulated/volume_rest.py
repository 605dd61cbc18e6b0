"""The rest of a simulated Cinder: qualities of service, encryption, messages, backups' records, classes."""

import base64
import json
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.block_storage import BlockStorage

Json = dict[str, Any]
_MESSAGE_SORT = {
    "created_at": "seq",
    "id": "id",
    "request_id": "request_id",
    "message_level": "message_level",
}
_QOS_SORT = {"created_at": "seq", "id": "id", "name": "name"}


class VolumeRest:
    """Specs of quality of service by id, the types that have them; messages by id; quotas by class."""

    def __init__(self, storage: "BlockStorage") -> None:
        self.storage = storage
        self.qos: dict[str, Json] = {}
        self.associated: dict[str, str] = {}  # type -> specs
        self.encryption: dict[str, Json] = {}  # type -> how
        self.messages: dict[str, Json] = {}
        self.classes: dict[str, dict[str, int]] = {}

    def add_routes(self, storage: "BlockStorage") -> None:
        """Register the routes."""
        route = storage.route
        route("GET", "/qos-specs", self._list_qos)
        route("POST", "/qos-specs", self._create_qos)
        one = "/qos-specs/{id}"
        route("GET", one, lambda call: self._shown(call, self._specs(call)))
        route("PUT", one, self._set_qos)
        route("DELETE", one, self._delete_qos)
        route("PUT", one + "/delete_keys", self._drop_keys)
        route("GET", one + "/associations", self._associations)
        route("GET", one + "/associate", self._associate)
        route("GET", one + "/disassociate", self._disassociate)
        route("GET", one + "/disassociate_all", self._disassociate_all)
        encryption = "/types/{id}/encryption"
        route("GET", encryption, lambda call: storage.json(self.encryption.get(self._type(call), {})))
        route("POST", encryption, self._encrypt)
        route("PUT", encryption + "/{key}", self._change_encryption)
        route("DELETE", encryption + "/{key}", self._decrypt)
        route("GET", "/messages", self._list_messages, since=3)
        route("GET", "/messages/{id}", self._show_message, since=3)
        route("DELETE", "/messages/{id}", self._delete_message, since=3)
        route("GET", "/backups/{id}/export_record", self._export)
        route("POST", "/backups/import_record", self._import)
        route("GET", "/os-quota-class-sets/{name}", self._show_class)
        route("PUT", "/os-quota-class-sets/{name}", self._set_class)

    # -- quality of service -----------------------------------------------------------------------

    def _specs(self, call: Call) -> Json:
        _policy(call, "volume_extension:qos_specs_manage:get")
        found = self.qos.get(call.params["id"])
        if found is None:
            raise Fault(404, f"No such QoS spec {call.params['id']}.")
        return found

    @staticmethod
    def _view(one: Json) -> Json:
        return {key: one[key] for key in ("id", "name", "consumer", "specs")}

    def _shown(self, call: Call, one: Json) -> Response:
        links = self.storage.links(call, "qos-specs", one["id"])
        return self.storage.json({"qos_specs": self._view(one), "links": links})

    def _list_qos(self, call: Call) -> Response:
        _policy(call, "volume_extension:qos_specs_manage:get_all")
        found = [one for one in self.qos.values() if call.one("name") in (None, one["name"])]
        page, total = self.storage.page(call, found, _QOS_SORT, "QoS specs")
        return self.storage.listed(
            call, "qos-specs", [self._view(one) for one in page], total, key="qos_specs"
        )

    def _create_qos(self, call: Call) -> Response:
        _policy(call, "volume_extension:qos_specs_manage:create")
        given = dict((call.body or {}).get("qos_specs") or {})
        name = given.pop("name", "")
        if any(one["name"] == name for one in self.qos.values()):
            raise Fault(409, f"QoS Specs {name} already exists.")
        one = self.storage.new(name=name, consumer=given.pop("consumer", "back-end"), specs=given)
        self.qos[one["id"]] = one
        return self._shown(call, one)

    def _set_qos(self, call: Call) -> Response:
        one, given = self._specs(call), dict((call.body or {}).get("qos_specs") or {})
        one["consumer"] = given.pop("consumer", one["consumer"])
        one["specs"].update(given)
        return self.storage.json(call.body)

    def _drop_keys(self, call: Call) -> Response:
        one, keys = self._specs(call), (call.body or {}).get("keys") or []
        for key in keys:
            if key not in one["specs"]:
                raise Fault(404, f"QoS spec {one['id']} has no spec with key {key}.")
        for key in keys:
            del one["specs"][key]
        return self.storage.empty()

    def _delete_qos(self, call: Call) -> Response:
        one = self._specs(call)
        used = [kind for kind, specs in self.associated.items() if specs == one["id"]]
        if used and (call.one("force") or "").lower() != "true":
            raise Fault(400, "Qos specs still in use.")
        for kind in used:
            del self.associated[kind]
        del self.qos[one["id"]]
        return self.storage.empty()

    def _associations(self, call: Call) -> Response:
        one = self._specs(call)
        types = [self.storage.types[kind] for kind, specs in self.associated.items() if specs == one["id"]]
        shown = [
            {"association_type": "volume_type", "id": kind["id"], "name": kind["name"]} for kind in types
        ]
        return self.storage.json({"qos_associations": shown})

    def _named_type(self, call: Call) -> str:
        wanted = call.one("vol_type_id")
        if not wanted:
            raise Fault(400, "Volume Type id must not be None.")
        if wanted not in self.storage.types:
            raise Fault(404, f"Volume type {wanted} could not be found.")
        return wanted

    def _associate(self, call: Call) -> Response:
        one, kind = self._specs(call), self._named_type(call)
        if self.associated.get(kind, one["id"]) != one["id"]:
            why = f"Type {kind} is already associated with another qos specs: {self.associated[kind]}"
            raise Fault(400, f"Invalid volume type: {why}")
        self.associated[kind] = one["id"]
        return self.storage.empty()

    def _disassociate(self, call: Call) -> Response:
        one, kind = self._specs(call), self._named_type(call)
        if self.associated.get(kind) == one["id"]:
            del self.associated[kind]
        return self.storage.empty()

    def _disassociate_all(self, call: Call) -> Response:
        one = self._specs(call)
        self.associated = {kind: specs for kind, specs in self.associated.items() if specs != one["id"]}
        return self.storage.empty()

    # -- encryption of types ----------------------------------------------------------------------

    def _type(self, call: Call) -> str:
        _policy(call, "volume_extension:volume_type_encryption")
        if call.params["id"] not in self.storage.types:
            raise Fault(404, f"Volume type {call.params['id']} could not be found.")
        return call.params["id"]

    def _encrypt(self, call: Call) -> Response:
        kind, given = self._type(call), (call.body or {}).get("encryption") or {}
        if kind in self.encryption:
            raise Fault(400, f"Volume type encryption for type {kind} already exists.")
        fresh = self.storage.new()
        fields = {key: given.get(key) for key in ("provider", "cipher", "key_size", "control_location")}
        self.encryption[kind] = {"volume_type_id": kind, "encryption_id": fresh["id"], **fields}
        return self.storage.json({"encryption": given | {"volume_type_id": kind}})

    def _change_encryption(self, call: Call) -> Response:
        kind, given = self._type(call), (call.body or {}).get("encryption") or {}
        if kind not in self.encryption:
            raise Fault(404, f"Volume type encryption for type {kind} does not exist.")
        self.encryption[kind] |= given
        return self.storage.json({"encryption": given})

    def _decrypt(self, call: Call) -> Response:
        if self.encryption.pop(self._type(call), None) is None:
            raise Fault(404, f"Volume type encryption for type {call.params['id']} does not exist.")
        return self.storage.empty()

    # -- messages ---------------------------------------------------------------------------------

    def add_message(self, project: str, text: str = "schedule allocate volume:Could not find any") -> Json:
        """A message for a project's users, as one is left when a create fails."""
        one = self.storage.new(
            project_id=project, event_id="VOLUME_VOLUME_001_003", user_message=text, message_level="ERROR",
            request_id="req-0", guaranteed_until="2030-01-01T00:00:00.000000", resource_type="VOLUME",
        )  # fmt: skip
        self.messages[one["id"]] = one
        return one

    def _message(self, call: Call, one: Json) -> Json:
        keys = (
            "id",
            "event_id",
            "user_message",
            "message_level",
            "created_at",
            "guaranteed_until",
            "request_id",
        )
        shown = {key: one[key] for key in (*keys, "resource_type")}
        return shown | {"links": self.storage.links(call, "messages", one["id"])}

    def _list_messages(self, call: Call) -> Response:
        if call.minor < 5:  # no pages before
            call.query.clear()
        found = self.storage.owned(call, self.messages)
        page, total = self.storage.page(call, found, _MESSAGE_SORT, "Message")
        return self.storage.listed(call, "messages", [self._message(call, one) for one in page], total)

    def _show_message(self, call: Call) -> Response:
        one = self.storage.get(call, self.messages, "Message", call.params["id"])
        return self.storage.json({"message": self._message(call, one)})

    def _delete_message(self, call: Call) -> Response:
        del self.messages[self.storage.get(call, self.messages, "Message", call.params["id"])["id"]]
        return self.storage.empty(204)

    # -- records of backups -----------------------------------------------------------------------

    def _export(self, call: Call) -> Response:
        _policy(call, "backup:backup-export")
        backup = self.storage.get(call, self.storage.backups, "Backup", call.params["id"])
        url = base64.b64encode(json.dumps(backup | {"driver_info": {}}).encode()).decode()
        record = {"backup_service": "cinder.backup.drivers.posix", "backup_url": url}
        return self.storage.json({"backup-record": record})

    def _import(self, call: Call) -> Response:
        _policy(call, "backup:backup-import")
        record = (call.body or {}).get("backup-record") or {}
        if not isinstance(record.get("backup_url"), str) or not record["backup_url"]:
            raise Fault(400, "Invalid input for field/attribute backup_url.")
        try:
            backup = json.loads(base64.b64decode(record["backup_url"]))
        except ValueError as exc:
            raise Fault(400, "Invalid input received: Can't parse backup record.") from exc
        if not isinstance(backup, dict) or "id" not in backup:
            raise Fault(400, "Invalid input received: Can't parse backup record.")
        if backup["id"] in self.storage.backups:
            raise Fault(400, "Invalid backup: Backup already exists in database.")
        backup |= {"project_id": call.project_id, "user_id": call.who.user_id}
        self.storage.backups[backup["id"]] = backup
        links = self.storage.links(call, "backups", backup["id"])
        return self.storage.json(
            {"backup": {"id": backup["id"], "name": backup["name"], "links": links}}, 201
        )

    # -- quota classes ----------------------------------------------------------------------------

    def _class(self, name: str) -> dict[str, int]:
        return self.storage.admin.defaults() | self.classes.get(name, {})

    def _show_class(self, call: Call) -> Response:
        _policy(call, "volume_extension:quota_classes:get")
        name = call.params["name"]
        return self.storage.json({"quota_class_set": {**self._class(name), "id": name}})

    def _set_class(self, call: Call) -> Response:
        _policy(call, "volume_extension:quota_classes:update")
        name, given = call.params["name"], (call.body or {}).get("quota_class_set") or {}
        self.classes.setdefault(name, {}).update({key: int(value) for key, value in given.items()})
        return self.storage.json({"quota_class_set": self._class(name)})


def _policy(call: Call, rule: str) -> None:
    if not call.admin:
        raise Fault(403, f"Policy doesn't allow {rule} to be performed.")
