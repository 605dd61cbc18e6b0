"""Groups of volumes, their snapshots and types, of a simulated Cinder; also the elder consistency groups."""

from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import UUID, Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.block_storage import BlockStorage

Json = dict[str, Any]
_SORT = {"created_at": "seq", "id": "id", "name": "name", "status": "status", "updated_at": "updated_at"}
_TYPE_SORT = {"created_at": "seq", "id": "id", "name": "name"}


class VolumeGroups:
    """`groups`, `group_snapshots` and `group_types` (also `consistencygroups`, `cgsnapshots`) by id."""

    def __init__(self, storage: "BlockStorage") -> None:
        self.storage = storage
        self.groups: dict[str, Json] = {}
        self.snapshots: dict[str, Json] = {}
        self.types: dict[str, Json] = {}
        self.elder: dict[str, Json] = {}
        self.elder_snapshots: dict[str, Json] = {}

    def add_routes(self, storage: "BlockStorage") -> None:
        """Register the routes."""
        route = storage.route
        for tail in ("", "/detail"):
            route("GET", f"/groups{tail}", self._list_of(f"groups{tail}"), since=13)
            route("GET", f"/group_snapshots{tail}", self._list_of(f"group_snapshots{tail}"), since=14)
            route("GET", f"/consistencygroups{tail}", self._list_of(f"consistencygroups{tail}"))
            route("GET", f"/cgsnapshots{tail}", self._list_of(f"cgsnapshots{tail}"))
        route("POST", "/groups", self._create, since=13)
        route("POST", "/groups/action", self._create_from, since=14)
        route("GET", "/groups/{id}", self._show_of("groups"), since=13)
        route("PUT", "/groups/{id}", self._update, since=13)
        route("POST", "/groups/{id}/action", self._act, since=13)
        route("POST", "/group_snapshots", self._snap, since=14)
        route("GET", "/group_snapshots/{id}", self._show_of("group_snapshots"), since=14)
        route("DELETE", "/group_snapshots/{id}", self._delete_snapshot, since=14)
        route("POST", "/consistencygroups", self._create_elder)
        route("GET", "/consistencygroups/{id}", self._show_of("consistencygroups"))
        route("POST", "/consistencygroups/{id}/delete", self._delete_elder)
        route("POST", "/cgsnapshots", self._snap_elder)
        route("GET", "/cgsnapshots/{id}", self._show_of("cgsnapshots"))
        route("GET", "/group_types", self._list_types, since=11)
        route("POST", "/group_types", self._create_type, since=11)
        route("GET", "/group_types/{id}", lambda call: self._typed(call, self._type(call)), since=11)
        route("PUT", "/group_types/{id}", self._update_type, since=11)
        route("DELETE", "/group_types/{id}", self._delete_type, since=11)
        specs = "/group_types/{id}/group_specs"
        route(
            "GET",
            specs,
            lambda call: storage.json({"group_specs": self._type(call)["group_specs"]}),
            since=11,
        )
        route("POST", specs, self._add_specs, since=11)
        route("DELETE", specs + "/{key}", self._drop_spec, since=11)

    # -- what all have ----------------------------------------------------------------------------

    def _records(self, name: str) -> tuple[dict[str, Json], str, str]:
        """(the records of a collection, their envelope, what Cinder calls one)."""
        return {
            "groups": (self.groups, "group", "Group"),
            "group_snapshots": (self.snapshots, "group_snapshot", "GroupSnapshot"),
            "consistencygroups": (self.elder, "consistencygroup", "Group"),
            "cgsnapshots": (self.elder_snapshots, "cgsnapshot", "GroupSnapshot"),
        }[name]

    def _list_of(self, path: str) -> Any:
        name, _, detail = path.partition("/")

        def handle(call: Call) -> Response:
            records, envelope, what = self._records(name)
            found = [one for one in self.storage.owned(call, records) if _wanted(call, one)]
            if name == "group_snapshots" and call.minor < 29:
                call.query.clear()
            page, total = self.storage.page(call, found, _SORT, what)
            shown = [
                self._view(call, one) if detail else {key: one[key] for key in ("id", "name")} for one in page
            ]
            links = f"{envelope}_links" if name.startswith("group") else ""
            return self.storage.listed(call, path, shown, total, key=name, links_key=links)

        return handle

    def _show_of(self, name: str) -> Any:
        _, envelope, _ = self._records(name)
        return lambda call: self.storage.json({envelope: self._view(call, self._find(call, name))})

    def _find(self, call: Call, name: str, ident: str = "") -> Json:
        records, _, what = self._records(name)
        return self.storage.get(call, records, what, ident or call.params["id"])

    def _view(self, call: Call, one: Json) -> Json:
        hidden = {"seq", "updated_at", "user_id", "project_id"}
        shown = {key: value for key, value in one.items() if key not in hidden}
        if (call.one("list_volume") or "").lower() == "true" and call.minor >= 25:
            shown["volumes"] = [
                ident for ident, v in self.storage.volumes.items() if v.get("group_id") == one["id"]
            ]
        if call.minor >= 38 and "group_type" in one:
            shown["replication_status"] = one.get("replication_status", "disabled")
        if call.admin and call.minor >= 58:
            shown["project_id"] = one["project_id"]
        return shown

    def _new(self, call: Call, **fields: Any) -> Json:
        return self.storage.new(
            status="available", user_id=call.who.user_id, project_id=call.project_id, **fields
        )

    # -- groups -----------------------------------------------------------------------------------

    def _given(self, call: Call, envelope: str) -> Json:
        if not isinstance(call.body, dict) or envelope not in call.body:
            raise Fault(400, f"'{envelope}' is a required property")
        given: Json = call.body[envelope]
        return given

    def _volume_type(self, wanted: str) -> str:
        for one in self.storage.types.values():
            if wanted in (one["id"], one["name"]):
                return str(one["id"])
        raise Fault(404, f"Volume type {wanted} could not be found.")

    def _create(self, call: Call) -> Response:
        given = self._given(call, "group")
        wanted = given.get("group_type") or ""
        kind = next((one for one in self.types.values() if wanted in (one["id"], one["name"])), None)
        if kind is None:
            what = "with name " if not UUID.match(wanted) else ""
            raise Fault(404, f"Group type {what}{wanted} could not be found.")
        group = self._new(
            call, name=given.get("name"), description=given.get("description"), group_type=kind["id"],
            volume_types=[self._volume_type(one) for one in given.get("volume_types") or ()],
            availability_zone=given.get("availability_zone") or self.storage.zones[0],
            group_snapshot_id=None, source_group_id=None,
        )  # fmt: skip
        self.groups[group["id"]] = group
        return self.storage.json({"group": {key: group[key] for key in ("id", "name")}}, 202)

    def _create_from(self, call: Call) -> Response:
        given = self._given(call, "create-from-src")
        if snapshot_id := given.get("group_snapshot_id"):
            source = self._find(call, "groups", self._find(call, "group_snapshots", snapshot_id)["group_id"])
        else:
            source = self._find(call, "groups", given.get("source_group_id") or "")
        kept = {key: source[key] for key in ("group_type", "volume_types", "availability_zone")}
        group = self._new(
            call, name=given.get("name"), description=given.get("description"), **kept,
            group_snapshot_id=given.get("group_snapshot_id"), source_group_id=given.get("source_group_id"),
        )  # fmt: skip
        self.groups[group["id"]] = group
        return self.storage.json({"group": {key: group[key] for key in ("id", "name")}}, 202)

    def _update(self, call: Call) -> Response:
        group, given = self._find(call, "groups"), self._given(call, "group")
        added = [one for one in (given.get("add_volumes") or "").split(",") if one]
        removed = [one for one in (given.get("remove_volumes") or "").split(",") if one]
        for ident in added:
            if ident not in self.storage.volumes:
                raise Fault(
                    400,
                    f"Invalid volume: Cannot add volume {ident} to group {group['id']} because volume "
                    "cannot be found.",
                )
        for ident in added:
            self.storage.volumes[ident]["group_id"] = group["id"]
        for ident in removed:
            self.storage.volumes[ident]["group_id"] = None
        group |= {key: given[key] for key in ("name", "description") if given.get(key)}
        return self.storage.empty()

    def _act(self, call: Call) -> Response:
        group = self._find(call, "groups")
        inside = [v for v in self.storage.volumes.values() if v.get("group_id") == group["id"]]
        if "delete" in (call.body or {}):
            whole = str((call.body["delete"] or {}).get("delete-volumes")).lower() == "true"
            if inside and not whole:
                why = "Group status must be available or error. The group is not empty."
                raise Fault(400, f"Invalid Group: {why}")
            for volume in inside:
                del self.storage.volumes[volume["id"]]
            del self.groups[group["id"]]
        return self.storage.empty()

    # -- their snapshots --------------------------------------------------------------------------

    def _snap(self, call: Call) -> Response:
        given = self._given(call, "group_snapshot")
        group = self._find(call, "groups", given.get("group_id") or "")
        snapshot = self._new(
            call, name=given.get("name"), description=given.get("description"), group_id=group["id"],
            group_type_id=group["group_type"],
        )  # fmt: skip
        self.snapshots[snapshot["id"]] = snapshot
        shown = {key: snapshot[key] for key in ("id", "name", "group_type_id")}
        return self.storage.json({"group_snapshot": shown}, 202)

    def _delete_snapshot(self, call: Call) -> Response:
        del self.snapshots[self._find(call, "group_snapshots")["id"]]
        return self.storage.empty()

    # -- the elder form ---------------------------------------------------------------------------

    def _create_elder(self, call: Call) -> Response:
        given = self._given(call, "consistencygroup")
        types = [self._volume_type(one) for one in (given.get("volume_types") or "").split(",") if one]
        group = self._new(
            call, name=given.get("name"), description=given.get("description"), volume_types=types,
            availability_zone=given.get("availability_zone") or self.storage.zones[0],
        )  # fmt: skip
        self.elder[group["id"]] = group
        return self.storage.json({"consistencygroup": {key: group[key] for key in ("id", "name")}}, 202)

    def _delete_elder(self, call: Call) -> Response:
        del self.elder[self._find(call, "consistencygroups")["id"]]
        return self.storage.empty()

    def _snap_elder(self, call: Call) -> Response:
        given = self._given(call, "cgsnapshot")
        group = self._find(call, "consistencygroups", given.get("consistencygroup_id") or "")
        snapshot = self._new(
            call,
            name=given.get("name"),
            description=given.get("description"),
            consistencygroup_id=group["id"],
        )
        self.elder_snapshots[snapshot["id"]] = snapshot
        return self.storage.json({"cgsnapshot": {key: snapshot[key] for key in ("id", "name")}}, 202)

    # -- types ------------------------------------------------------------------------------------

    def _type(self, call: Call) -> Json:
        found = self.types.get(call.params["id"])
        if found is None:
            raise Fault(404, f"Group type {call.params['id']} could not be found.")
        return found

    def _shown_type(self, call: Call, one: Json) -> Json:
        shown = {key: one[key] for key in ("id", "name", "description", "is_public")}
        return shown | ({"group_specs": one["group_specs"]} if call.admin else {})

    def _typed(self, call: Call, one: Json, status: int = 200) -> Response:
        return self.storage.json({"group_type": self._shown_type(call, one)}, status)

    def _list_types(self, call: Call) -> Response:
        found = [one for one in self.types.values() if one["is_public"] or call.admin]
        page, total = self.storage.page(call, found, _TYPE_SORT, "Group type")
        shown = [self._shown_type(call, one) for one in page]
        return self.storage.listed(call, "group_types", shown, total, links_key="group_type_links")

    def seed_type(self, name: str, **specs: str) -> Json:
        """A public type of groups."""
        one = self.storage.new(name=name, description=None, is_public=True, group_specs=specs)
        self.types[one["id"]] = one
        return one

    def _create_type(self, call: Call) -> Response:
        _policy(call, "group:group_types:create")
        given = self._given(call, "group_type")
        if any(one["name"] == given.get("name") for one in self.types.values()):
            raise Fault(409, f"Group Type {given.get('name')} already exists.")
        one = self.seed_type(given["name"], **(given.get("group_specs") or {}))
        one |= {"description": given.get("description"), "is_public": given.get("is_public", True)}
        return self._typed(call, one, 202)

    def _update_type(self, call: Call) -> Response:
        _policy(call, "group:group_types:update")
        one, given = self._type(call), self._given(call, "group_type")
        one |= {key: given[key] for key in ("name", "description", "is_public") if key in given}
        return self._typed(call, one)

    def _delete_type(self, call: Call) -> Response:
        _policy(call, "group:group_types:delete")
        del self.types[self._type(call)["id"]]
        return self.storage.empty()

    def _add_specs(self, call: Call) -> Response:
        _policy(call, "group:group_types_specs:create")
        given = self._given(call, "group_specs")
        self._type(call)["group_specs"].update(given)
        return self.storage.json({"group_specs": given}, 202)

    def _drop_spec(self, call: Call) -> Response:
        _policy(call, "group:group_types_specs:delete")
        one, key = self._type(call), call.params["key"]
        if key not in one["group_specs"]:
            raise Fault(404, f"Group Type {one['id']} has no specs with key {key}.")
        del one["group_specs"][key]
        return self.storage.empty()


def _wanted(call: Call, one: Json) -> bool:
    return all(
        str(one.get(name)) == value for name, value in call.query if name in ("name", "status", "group_id")
    )


def _policy(call: Call, rule: str) -> None:
    if not call.admin:
        raise Fault(403, f"Policy doesn't allow {rule} to be performed.")
