"""`/os-server-groups` of a simulated Nova."""

import uuid
from typing import TYPE_CHECKING

from atoll.sandbox.simulated.compute_refusals import wrong
from atoll.sandbox.simulated.instances import Json
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute


class ServerGroups:
    """Server groups; `policies` below 2.64, `policy` and `rules` from then on."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/os-server-groups", self._list)
        compute.route("POST", "/os-server-groups", self._create)
        compute.route("GET", "/os-server-groups/{id}", self._show)
        compute.route("DELETE", "/os-server-groups/{id}", self._delete)

    def _view(self, call: Call, group: Json) -> Json:
        shown: Json = {"id": group["id"], "name": group["name"]}
        if call.minor >= 64:
            shown |= {"policy": group["policy"], "rules": group["rules"]}
        else:
            shown |= {"policies": [group["policy"]], "metadata": {}}
        shown["members"] = group["members"]
        if call.minor >= 13:
            shown |= {"project_id": group["project_id"], "user_id": group["user_id"]}
        return shown

    def _list(self, call: Call) -> Response:
        every = call.admin and call.one("all_projects") is not None
        found = [g for g in self.compute.groups.values() if every or g["project_id"] == call.project_id]
        offset, limit = int(call.one("offset") or 0), self.compute.limit(call) or self.compute.max_limit
        shown = [self._view(call, group) for group in found[offset : offset + limit]]
        return self.compute.json({"server_groups": shown})

    def _create(self, call: Call) -> Response:
        given = call.body["server_group"]
        if "name" not in given:
            raise wrong("server_group", given, "'name' is a required property")
        policy = given.get("policy") if call.minor >= 64 else next(iter(given.get("policies") or []), None)
        if policy not in ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"):
            name = "policy" if call.minor >= 64 else "policies"
            why = f"'{name}' is a required property"
            raise Fault(400, f"Invalid input for field/attribute server_group. Value: {given}. {why}")
        group = {
            "id": str(uuid.uuid4()),
            "name": given["name"],
            "policy": policy,
            "rules": given.get("rules") or {},
            "members": [],
            "project_id": call.project_id,
            "user_id": call.who.user_id,
        }
        self.compute.groups[group["id"]] = group
        return self.compute.json({"server_group": self._view(call, group)})

    def _find(self, call: Call) -> Json:
        group = self.compute.groups.get(call.params["id"])
        if group is None or (group["project_id"] != call.project_id and not call.admin):
            raise Fault(404, f"Instance group {call.params['id']} could not be found.")
        return group

    def _show(self, call: Call) -> Response:
        return self.compute.json({"server_group": self._view(call, self._find(call))})

    def _delete(self, call: Call) -> Response:
        del self.compute.groups[self._find(call)["id"]]
        return self.compute.empty(204)
