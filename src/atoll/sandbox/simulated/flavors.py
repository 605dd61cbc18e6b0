"""`/flavors` of a simulated Nova, with extra specs and access, and the quota a new server needs."""

import uuid
from typing import TYPE_CHECKING

from atoll.sandbox.simulated.compute_refusals import action_of, wrong
from atoll.sandbox.simulated.instances import Json
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.server_view import links
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

_SORT = {
    "created_at": "seq", "description": "description", "disabled": "OS-FLV-DISABLED:disabled",
    "ephemeral_gb": "OS-FLV-EXT-DATA:ephemeral", "flavorid": "id", "id": "seq",
    "is_public": "os-flavor-access:is_public", "memory_mb": "ram", "name": "name", "root_gb": "disk",
    "rxtx_factor": "rxtx_factor", "swap": "swap", "updated_at": "seq", "vcpu_weight": "seq", "vcpus": "vcpus",
}  # fmt: skip


class Flavors:
    """Flavors; each is kept as 2.61+ shows it, with `seq` and `access` beside."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/flavors", lambda call: self._list(call, "flavors"))
        compute.route("GET", "/flavors/detail", lambda call: self._list(call, "flavors/detail"))
        compute.route("POST", "/flavors", self._create)
        compute.route(
            "GET", "/flavors/{id}", lambda call: compute.json({"flavor": self._view(call, self._find(call))})
        )
        compute.route("PUT", "/flavors/{id}", self._update, since=55)
        compute.route("DELETE", "/flavors/{id}", self._delete)
        specs = "/flavors/{id}/os-extra_specs"
        compute.route(
            "GET", specs, lambda call: compute.json({"extra_specs": self._find(call)["extra_specs"]})
        )
        compute.route("POST", specs, self._create_specs)
        compute.route("GET", specs + "/{key}", self._show_spec)
        compute.route("PUT", specs + "/{key}", self._update_spec)
        compute.route("DELETE", specs + "/{key}", self._delete_spec)
        compute.route("GET", "/flavors/{id}/os-flavor-access", self._list_access)
        compute.route("POST", "/flavors/{id}/action", self._action)

    def seed(self, flavor_id: str, name: str, ram: int, disk: int, vcpus: int = 1) -> Json:
        """Add a public flavor; `ram` is in MiB, `disk` in GiB."""
        flavor = {
            "id": flavor_id,
            "name": name,
            "ram": ram,
            "disk": disk,
            "swap": 0,
            "OS-FLV-EXT-DATA:ephemeral": 0,
            "OS-FLV-DISABLED:disabled": False,
            "vcpus": vcpus,
            "os-flavor-access:is_public": True,
            "rxtx_factor": 1.0,
            "description": None,
            "extra_specs": {},
            "seq": len(self.compute.flavors) + 1,
            "access": [],
        }
        self.compute.flavors[flavor_id] = flavor
        return flavor

    def get(self, flavor_id: str) -> Json | None:
        """The flavor of that id, or None."""
        return self.compute.flavors.get(flavor_id)

    def check_quota(self, call: Call, flavor: Json, count: int) -> None:
        """Raise Fault 403 with Nova's message if `count` more such servers exceed the project's quota."""
        limits = self.compute.quota.get(call.project_id)
        if not limits:
            return
        mine = self.compute.instances.of(call.project_id)
        used = {
            "instances": (len(mine), count),
            "cores": (sum(i.flavor["vcpus"] for i in mine), count * flavor["vcpus"]),
            "ram": (sum(i.flavor["ram"] for i in mine), count * flavor["ram"]),
        }
        over = [n for n, (has, wants) in used.items() if 0 <= limits.get(n, -1) < has + wants]
        if over:
            names = ", ".join(over)
            requested = ", ".join(str(used[n][1]) for n in over)
            has = ", ".join(str(used[n][0]) for n in over)
            allowed = ", ".join(str(limits[n]) for n in over)
            usage = f"Requested {requested}, but already used {has} of {allowed} {names}"
            message = f"Quota exceeded for {names}: {usage}"
            raise Fault(403, message)

    def _find(self, call: Call) -> Json:
        flavor = self.get(call.params["id"])
        if flavor is None or not _visible(call, flavor):
            raise Fault(404, f"Flavor {call.params['id']} could not be found.")
        return flavor

    def _view(self, call: Call, flavor: Json) -> Json:
        shown = {key: flavor[key] for key in ("id", "name", "ram", "disk")}
        shown["swap"] = flavor["swap"] if call.minor >= 75 or flavor["swap"] else ""
        for key in (
            "OS-FLV-EXT-DATA:ephemeral",
            "OS-FLV-DISABLED:disabled",
            "vcpus",
            "os-flavor-access:is_public",
        ):
            shown[key] = flavor[key]
        shown["rxtx_factor"] = flavor["rxtx_factor"]
        shown["links"] = links(call, "flavors", flavor["id"])
        if call.minor >= 55:
            shown["description"] = flavor["description"]
        if call.minor >= 61:
            shown["extra_specs"] = flavor["extra_specs"]
        return shown

    def _list(self, call: Call, collection: str) -> Response:
        limit = self.compute.limit(call)
        found = self._sorted(call, [f for f in self.compute.flavors.values() if self._wanted(call, f)])
        marker = call.one("marker")
        if marker:
            at = next((at for at, flavor in enumerate(found) if flavor["id"] == marker), None)
            if at is None:
                raise Fault(400, f"marker [{marker}] not found")
            found = found[at + 1 :]
        page = found[:limit]
        if collection == "flavors":
            shown = [self._brief(call, flavor) for flavor in page]
        else:
            shown = [self._view(call, flavor) for flavor in page]
        body: Json = {"flavors": shown}
        next_links = self.compute.page_links(call, collection, shown, limit)
        if next_links:
            body["flavors_links"] = next_links
        return self.compute.json(body)

    def _brief(self, call: Call, flavor: Json) -> Json:
        shown = {"id": flavor["id"], "name": flavor["name"], "links": links(call, "flavors", flavor["id"])}
        if call.minor >= 55:
            shown["description"] = flavor["description"]
        return shown

    def _wanted(self, call: Call, flavor: Json) -> bool:
        public = call.one("is_public")
        if not call.admin or public is None:
            return _visible(call, flavor) if not call.admin else bool(flavor["os-flavor-access:is_public"])
        return public.lower() == "none" or flavor["os-flavor-access:is_public"] == (
            public.lower() in ("true", "1")
        )

    def _sorted(self, call: Call, found: list[Json]) -> list[Json]:
        for name, key in (("minRam", "ram"), ("minDisk", "disk")):
            value = call.one(name)
            if value is not None:
                if not value.isdigit():
                    raise Fault(400, f"Invalid {name} filter [{value}]")
                found = [flavor for flavor in found if flavor[key] >= int(value)]
        key, direction = call.one("sort_key") or "flavorid", call.one("sort_dir") or "asc"
        if key not in _SORT:
            why = f"'{key}' is not one of {sorted(_SORT)}"
            raise Fault(400, f"Invalid input for query parameters sort_key. Value: {key}. {why}")
        return sorted(found, key=lambda f: (f[_SORT[key]] or 0, f["seq"]), reverse=direction == "desc")

    def _create(self, call: Call) -> Response:
        policy(call, "os-flavor-manage:create")
        given = call.body["flavor"]
        for name in ("name", "ram", "vcpus", "disk"):
            if name not in given:
                why = f"'{name}' is a required property"
                raise Fault(400, f"Invalid input for field/attribute flavor. Value: {given}. {why}")
        flavor_id = str(given.get("id") or uuid.uuid4())
        if flavor_id in self.compute.flavors:
            raise Fault(409, f"Flavor with ID {flavor_id} already exists.")
        if any(flavor["name"] == given["name"] for flavor in self.compute.flavors.values()):
            raise Fault(409, f"Flavor with name {given['name']} already exists.")
        flavor = self.seed(
            flavor_id, given["name"], int(given["ram"]), int(given["disk"]), int(given["vcpus"])
        )
        flavor["swap"] = int(given.get("swap") or 0)
        flavor["description"] = given.get("description")
        flavor["OS-FLV-EXT-DATA:ephemeral"] = int(given.get("OS-FLV-EXT-DATA:ephemeral") or 0)
        flavor["os-flavor-access:is_public"] = given.get("os-flavor-access:is_public", True)
        flavor["rxtx_factor"] = float(given.get("rxtx_factor") or 1.0)
        return self.compute.json({"flavor": self._view(call, flavor)})

    def _update(self, call: Call) -> Response:
        policy(call, "os-flavor-manage:update")
        flavor = self._find(call)
        flavor["description"] = call.body["flavor"]["description"]
        return self.compute.json({"flavor": self._view(call, flavor)})

    def _delete(self, call: Call) -> Response:
        policy(call, "os-flavor-manage:delete")
        del self.compute.flavors[self._find(call)["id"]]
        return self.compute.empty(202)

    # extra specs
    def _create_specs(self, call: Call) -> Response:
        policy(call, "os-flavor-extra-specs:create")
        flavor = self._find(call)
        flavor["extra_specs"].update(call.body["extra_specs"])
        return self.compute.json({"extra_specs": call.body["extra_specs"]})

    def _spec(self, call: Call) -> tuple[Json, str]:
        flavor, key = self._find(call), call.params["key"]
        if key not in flavor["extra_specs"]:
            raise Fault(404, f"Flavor {flavor['id']} has no extra specs with key {key}.")
        return flavor, key

    def _show_spec(self, call: Call) -> Response:
        flavor, key = self._spec(call)
        return self.compute.json({key: flavor["extra_specs"][key]})

    def _update_spec(self, call: Call) -> Response:
        policy(call, "os-flavor-extra-specs:update")
        flavor, key = self._find(call), call.params["key"]
        if key not in (call.body or {}):
            raise Fault(400, "Request body and URI mismatch")
        flavor["extra_specs"][key] = call.body[key]
        return self.compute.json({key: call.body[key]})

    def _delete_spec(self, call: Call) -> Response:
        policy(call, "os-flavor-extra-specs:delete")
        flavor, key = self._spec(call)
        del flavor["extra_specs"][key]
        return Response(200, [("Content-Type", "application/json")])

    # access
    def _list_access(self, call: Call) -> Response:
        policy(call, "os-flavor-access")
        flavor = self._find(call)
        if flavor["os-flavor-access:is_public"]:
            raise Fault(404, "Access list not available for public flavors.")
        return self._access(flavor)

    def _access(self, flavor: Json) -> Response:
        entries = [{"flavor_id": flavor["id"], "tenant_id": project} for project in flavor["access"]]
        return self.compute.json({"flavor_access": entries})

    def _action(self, call: Call) -> Response:
        action, value = action_of(call)
        if action not in ("addTenantAccess", "removeTenantAccess"):
            raise Fault(400, f"There is no such action: {action}")
        policy(call, f"os-flavor-access:{'add' if action.startswith('add') else 'remove'}_tenant_access")
        flavor = self._find(call)
        if not isinstance(value, dict):
            raise wrong(action, value, f"{value!r} is not of type 'object'")
        project = value["tenant"]
        if action == "addTenantAccess":
            flavor["access"].append(project)
        elif project in flavor["access"]:
            flavor["access"].remove(project)
        else:
            raise Fault(404, f"Flavor access not found for {flavor['id']} / {project} combination.")
        return self._access(flavor)


def _visible(call: Call, flavor: Json) -> bool:
    return call.admin or flavor["os-flavor-access:is_public"] or call.project_id in flavor["access"]


def policy(call: Call, rule: str) -> None:
    """Raise Fault 403 with Nova's message unless the caller is an admin."""
    if not call.admin:
        raise Fault(403, f"Policy doesn't allow os_compute_api:{rule} to be performed.")
