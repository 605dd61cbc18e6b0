"""Routes of a simulated Neutron beside the plain kinds: router interfaces, tags, quotas, extensions."""

from typing import TYPE_CHECKING

from atoll.sandbox.simulated.network_kinds import EXTENSIONS, KINDS, QUOTAS
from atoll.sandbox.simulated.network_records import Json, Records
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault, Routes

if TYPE_CHECKING:
    from atoll.sandbox.simulated.network import Network

_COUNTED = {
    "network": "networks", "subnet": "subnets", "subnetpool": "subnetpools", "port": "ports",
    "router": "routers",
    "floatingip": "floatingips", "security_group": "security-groups",
    "security_group_rule": "security-group-rules",
}  # fmt: skip


class Extras:
    """The routes that are not create, list, show, update or delete of a kind."""

    def __init__(self, records: Records, network: "Network") -> None:
        self.records = records
        self.network = network
        self.quotas: dict[str, dict[str, int]] = {}
        self.extensions = list(EXTENSIONS)

    def add_routes(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("PUT", "/v2.0/routers/{id}/add_router_interface", self._add_interface)
        routes.add("PUT", "/v2.0/routers/{id}/remove_router_interface", self._remove_interface)
        routes.add("GET", "/v2.0/extensions", self._list_extensions)
        routes.add("GET", "/v2.0/extensions/{alias}", self._show_extension)
        routes.add("GET", "/v2.0/availability_zones", lambda call: self._empty(call, "availability_zones"))
        routes.add("GET", "/v2.0/rbac-policies", lambda call: self._empty(call, "rbac_policies"))
        routes.add("GET", "/v2.0/service-providers", lambda call: self._empty(call, "service_providers"))
        routes.add("GET", "/v2.0/quotas", self._list_quotas)
        routes.add("GET", "/v2.0/quotas/{project}", self._show_quota)
        routes.add("GET", "/v2.0/quotas/{project}/details", self._show_quota_details)
        routes.add("GET", "/v2.0/quotas/{project}/default", lambda call: self._quota(call, dict(QUOTAS)))
        routes.add("PUT", "/v2.0/quotas/{project}", self._update_quota)
        routes.add("DELETE", "/v2.0/quotas/{project}", self._delete_quota)
        topology = "/v2.0/auto-allocated-topology/{project}"
        routes.add("GET", topology, self._auto_allocate)
        routes.add("DELETE", topology, self._drop_allocated)
        for plural in KINDS:
            if plural != "agents":
                self._add_tags(routes, plural)

    def _add_tags(self, routes: Routes, plural: str) -> None:
        path = f"/v2.0/{plural}/{{id}}/tags"
        routes.add("GET", path, lambda call: self.network.json({"tags": self._tagged(call, plural)["tags"]}))
        routes.add("PUT", path, lambda call: self._replace_tags(call, plural))
        routes.add("DELETE", path, lambda call: self._clear_tags(call, plural))
        routes.add("GET", path + "/{tag}", lambda call: self._check_tag(call, plural))
        routes.add("PUT", path + "/{tag}", lambda call: self._add_tag(call, plural))
        routes.add("DELETE", path + "/{tag}", lambda call: self._remove_tag(call, plural))

    # router interfaces
    def _interface(self, router: Json, port: Json) -> Response:
        subnets = [fixed["subnet_id"] for fixed in port["fixed_ips"]]
        answer = {"id": router["id"], "project_id": router["project_id"], "port_id": port["id"]}
        answer |= {"network_id": port["network_id"], "subnet_id": subnets[0], "subnet_ids": subnets}
        return self.network.json(answer)

    def _add_interface(self, call: Call) -> Response:
        router, given = self.network.find(call, KINDS["routers"], call.params["id"]), call.body or {}
        if "subnet_id" in given:
            subnet = self.network.find(call, KINDS["subnets"], given["subnet_id"])
            self._check_free(router, subnet["id"])
            address = {"subnet_id": subnet["id"], "ip_address": subnet["gateway_ip"]}
            wanted: Json = {"network_id": subnet["network_id"], "fixed_ips": [address], "security_groups": []}
            port = self.records.create(call.who, KINDS["ports"], wanted)
        elif "port_id" in given:
            port = self.network.find(call, KINDS["ports"], given["port_id"])
        else:
            raise Fault(
                400, "Bad router request: Either subnet_id or port_id must be specified.", "BadRequest"
            )
        port |= {"device_id": router["id"], "device_owner": "network:router_interface", "status": "ACTIVE"}
        port["port_security_enabled"] = False
        return self._interface(router, port)

    def _check_free(self, router: Json, subnet_id: str) -> None:
        for port in self.records.router_ports(router["id"]):
            if any(fixed["subnet_id"] == subnet_id for fixed in port["fixed_ips"]):
                message = f"Bad router request: Router already has a port on subnet {subnet_id}."
                raise Fault(400, message, "BadRequest")

    def _remove_interface(self, call: Call) -> Response:
        router, given = self.network.find(call, KINDS["routers"], call.params["id"]), call.body or {}
        if not given:
            raise Fault(400, "Either subnet_id or port_id must be specified.", "BadRequest")
        for port in self.records.router_ports(router["id"]):
            subnets = [fixed["subnet_id"] for fixed in port["fixed_ips"]]
            if given.get("port_id") == port["id"] or given.get("subnet_id") in subnets:
                self.records.release_port(port)
                return self._interface(router, port)
        if "subnet_id" in given:
            message = f"Router {router['id']} has no interface on subnet {given['subnet_id']}"
            raise Fault(404, message, "RouterInterfaceNotFoundForSubnet")
        message = f"Router {router['id']} does not have an interface with id {given.get('port_id')}"
        raise Fault(404, message, "RouterInterfaceNotFound")

    # tags
    def _tagged(self, call: Call, plural: str) -> Json:
        return self.network.find(call, KINDS[plural], call.params["id"])

    def _replace_tags(self, call: Call, plural: str) -> Response:
        record = self._tagged(call, plural)
        record["tags"] = sorted(set((call.body or {}).get("tags") or []))
        return self.network.json({"tags": record["tags"]})

    def _clear_tags(self, call: Call, plural: str) -> Response:
        self._tagged(call, plural)["tags"] = []
        return Response(204)

    def _with_tag(self, call: Call, plural: str) -> Json:
        record = self._tagged(call, plural)
        if call.params["tag"] not in record["tags"]:
            raise Fault(404, f"Tag {call.params['tag']} could not be found.", "TagNotFound")
        return record

    def _check_tag(self, call: Call, plural: str) -> Response:
        self._with_tag(call, plural)
        return Response(204)

    def _add_tag(self, call: Call, plural: str) -> Response:
        record = self._tagged(call, plural)
        if call.params["tag"] not in record["tags"]:
            record["tags"].append(call.params["tag"])
        return self.network.json(None, 201)

    def _remove_tag(self, call: Call, plural: str) -> Response:
        self._with_tag(call, plural)["tags"].remove(call.params["tag"])
        return Response(204)

    # quotas
    def _allowed(self, call: Call, rule: str, *, own: bool) -> str:
        project = call.params.get("project", "")
        if not call.admin and not (own and project == call.project_id):
            raise Fault(403, f"rule:{rule} is disallowed by policy", "PolicyNotAuthorized")
        return project

    def _quota(self, call: Call, values: Json, rule: str = "get_quota") -> Response:
        self._allowed(call, rule, own=rule == "get_quota")
        return self.network.json({"quota": values})

    def _list_quotas(self, call: Call) -> Response:
        self._allowed(call, "get_quota", own=False)
        shown = [{**QUOTAS, **own, "project_id": p, "tenant_id": p} for p, own in self.quotas.items()]
        return self.network.json({"quotas": shown})

    def _show_quota(self, call: Call) -> Response:
        return self._quota(call, {**QUOTAS, **self.quotas.get(call.params["project"], {})})

    def _show_quota_details(self, call: Call) -> Response:
        project = self._allowed(call, "get_quota", own=True)
        shown = {
            name: {"limit": limit, "used": self._used(project, name), "reserved": 0}
            for name, limit in {**QUOTAS, **self.quotas.get(project, {})}.items()
        }
        return self.network.json({"quota": shown})

    def _used(self, project: str, name: str) -> int:
        owned = self.records.of(_COUNTED[name]).values() if name in _COUNTED else ()
        return sum(record["project_id"] == project for record in owned)

    def check_quota(self, project: str, name: str, count: int) -> None:
        """Raise Fault 409 as Neutron does if so many more exceed what was set for the project."""
        if -1 < self.quotas.get(project, {}).get(name, -1) < self._used(project, name) + count:
            raise Fault(409, f"Quota exceeded for resources: ['{name}'].", "OverQuota")

    def _update_quota(self, call: Call) -> Response:
        project = self._allowed(call, "update_quota", own=False)
        given = dict((call.body or {}).get("quota") or {})
        if given.pop("force", None) is not True:
            for name, limit in given.items():
                if -1 < int(limit) < (used := self._used(project, name)):
                    what = f"Quota limit {limit} for {name} must be greater than or equal to already used"
                    raise Fault(400, f"{what} {used}", "HTTPBadRequest")
        self.quotas.setdefault(project, {}).update({n: int(v) for n, v in given.items() if n in QUOTAS})
        return self.network.json({"quota": {**QUOTAS, **self.quotas[project]}})

    def _delete_quota(self, call: Call) -> Response:
        self.quotas.pop(self._allowed(call, "delete_quota", own=False), None)
        return Response(204)

    # the network of a project that asks for one
    def _allocated(self, call: Call) -> tuple[str, Json | None]:
        """(the project, its network where it has one). Raises Fault 403 for somebody else's."""
        project = call.params["project"]
        project = call.project_id if project == "None" else project
        if not call.admin and project != call.project_id:
            raise Fault(403, "Not authorized.", "NotAuthorized")
        networks = self.records.of("networks").values()
        named = (one for one in networks if one["name"] == "auto_allocated_network")
        return project, next((one for one in named if one["project_id"] == project), None)

    def _auto_allocate(self, call: Call) -> Response:
        project, network = self._allocated(call)
        shown = {"id": "dry-run=pass", "project_id": project, "tenant_id": project}
        if "dry-run" not in call.all("fields"):
            if network is None:
                network = self.records.create(
                    call.who, KINDS["networks"], {"name": "auto_allocated_network", "project_id": project}
                )
            shown["id"] = network["id"]
        return self.network.json({"auto_allocated_topology": shown})

    def _drop_allocated(self, call: Call) -> Response:
        _, network = self._allocated(call)
        if network is not None:
            del self.records.of("networks")[network["id"]]
        return Response(204)

    # the rest
    def _extension(self, alias: str) -> Json:
        name = alias.replace("-", " ").replace("_", " ").capitalize()
        return {
            "name": name,
            "alias": alias,
            "description": name,
            "updated": "2012-01-01T10:00:00-00:00",
            "links": [],
        }

    def _list_extensions(self, call: Call) -> Response:  # noqa: ARG002 - the same for all
        return self.network.json({"extensions": [self._extension(alias) for alias in self.extensions]})

    def _show_extension(self, call: Call) -> Response:
        alias = call.params["alias"]
        if alias not in self.extensions:
            raise Fault(404, f"Extension with alias {alias} does not exist", "HTTPNotFound")
        return self.network.json({"extension": self._extension(alias)})

    def _empty(self, call: Call, key: str) -> Response:
        unknown = [
            name
            for name, _ in call.query
            if name not in ("limit", "marker", "fields", "sort_key", "sort_dir")
        ]
        if unknown:
            raise Fault(400, f"{unknown} is invalid attribute for filtering")
        return self.network.json({key: []})
