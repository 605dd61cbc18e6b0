"""Host aggregates of a simulated Nova. An availability zone is a line of an aggregate's metadata."""

import uuid
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.compute_refusals import action_of, integer
from atoll.sandbox.simulated.flavors import policy
from atoll.sandbox.simulated.instances import Json, micro
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

ZONE = "availability_zone"


class Aggregates:
    """Aggregates by id; each is kept as 2.41+ shows it, but for the zone, which is in its metadata."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute
        self.by_id: dict[int, Json] = {}

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/os-aggregates", self._list)
        compute.route("POST", "/os-aggregates", self._create)
        compute.route("GET", "/os-aggregates/{id}", self._show)
        compute.route("PUT", "/os-aggregates/{id}", self._update)
        compute.route("DELETE", "/os-aggregates/{id}", self._delete)
        compute.route("POST", "/os-aggregates/{id}/action", self._act)

    def _shown(self, call: Call, one: Json) -> Json:
        shown = {name: value for name, value in one.items() if name != "uuid" or call.minor >= 41}
        return shown | {ZONE: one["metadata"].get(ZONE)}

    def _answer(self, call: Call, one: Json) -> Response:
        return self.compute.json({"aggregate": self._shown(call, one)})

    def _find(self, call: Call) -> Json:
        found = self.by_id.get(integer(call.params["id"]))
        if found is None:
            raise Fault(404, f"Aggregate {call.params['id']} could not be found.")
        return found

    def _require_free(self, name: str) -> None:
        if any(one["name"] == name for one in self.by_id.values()):
            raise Fault(409, f"Aggregate {name} already exists.")

    def _list(self, call: Call) -> Response:
        policy(call, "os-aggregates:index")
        return self.compute.json({"aggregates": [self._shown(call, one) for one in self.by_id.values()]})

    def _create(self, call: Call) -> Response:
        policy(call, "os-aggregates:create")
        given = call.body["aggregate"]
        self._require_free(given["name"])
        number = max(self.by_id, default=0) + 1
        one = self.by_id[number] = {
            "id": number,
            "uuid": str(uuid.uuid4()),
            "name": given["name"],
            "hosts": [],
            "metadata": {ZONE: given[ZONE]} if given.get(ZONE) else {},
            "created_at": micro(int(self.compute.site.clock())),
            "updated_at": None,
            "deleted": False,
            "deleted_at": None,
        }
        shown = self._shown(call, one)
        return self.compute.json(
            {"aggregate": {name: value for name, value in shown.items() if name not in ("hosts", "metadata")}}
        )

    def _show(self, call: Call) -> Response:
        policy(call, "os-aggregates:show")
        return self._answer(call, self._find(call))

    def _update(self, call: Call) -> Response:
        policy(call, "os-aggregates:update")
        one, given = self._find(call), call.body["aggregate"]
        if given.get("name", one["name"]) != one["name"]:
            self._require_free(given["name"])
            one["name"] = given["name"]
        if ZONE in given:
            self._change(one, {ZONE: given[ZONE]}, "update")
        return self._answer(call, one)

    def _delete(self, call: Call) -> Response:
        policy(call, "os-aggregates:delete")
        one = self._find(call)
        if one["hosts"]:
            why = "Host aggregate is not empty"
            raise Fault(400, f"Cannot remove host from aggregate {one['id']}. Reason: {why}.")
        del self.by_id[one["id"]]
        return self.compute.empty(200)

    def _act(self, call: Call) -> Response:
        action, value = action_of(call)
        if action not in ("add_host", "remove_host", "set_metadata"):
            raise Fault(400, f"There is no such action: {action}")
        policy(call, f"os-aggregates:{action}")
        one = self._find(call)
        if action == "set_metadata":
            self._change(one, value["metadata"], "update metadata of")
        elif action == "add_host":
            self._add_host(one, value["host"])
        else:
            self._remove_host(one, value["host"])
        return self._answer(call, one)

    def _change(self, one: Json, values: dict[str, Any], what: str) -> None:
        """Set lines of the metadata; None takes one away, but never the zone."""
        if ZONE in values and not values[ZONE]:
            why = f"Aggregate {one['name']} does not support empty named availability zone"
            raise Fault(400, f"Cannot {what} aggregate {one['id']}. Reason: {why}.")
        merged = one["metadata"] | values
        one["metadata"] = {name: value for name, value in merged.items() if value is not None}
        one["updated_at"] = micro(int(self.compute.site.clock()))

    def _add_host(self, one: Json, host: str) -> None:
        if host != self.compute.host:
            raise Fault(404, f"Compute host {host} could not be found.")
        if host in one["hosts"]:
            raise Fault(409, f"Aggregate {one['id']} already has host {host}.")
        one["hosts"].append(host)

    def _remove_host(self, one: Json, host: str) -> None:
        if host not in one["hosts"]:
            raise Fault(404, f"Cannot remove host {host} in aggregate {one['id']}")
        one["hosts"].remove(host)
