"""Floating IPs as a simulated Nova passes them on: until 2.35 an API, until 2.43 two actions of servers.

They are the site's Neutron's; nothing is kept here.
"""

from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.flavors import policy
from atoll.sandbox.simulated.instances import Instance, Json
from atoll.sandbox.simulated.network_kinds import KINDS
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import UUID, Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

DEFAULT_POOL = "nova"
LAST_MINOR, LAST_ACTION_MINOR = 35, 43


class FloatingIps:
    """The proxy APIs."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute
        self.actions = {"addFloatingIp": self._add, "removeFloatingIp": self._remove}

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/os-floating-ips", self._list, until=LAST_MINOR)
        compute.route("POST", "/os-floating-ips", self._create, until=LAST_MINOR)
        compute.route("GET", "/os-floating-ips/{id}", self._show, until=LAST_MINOR)
        compute.route("DELETE", "/os-floating-ips/{id}", self._delete, until=LAST_MINOR)
        compute.route("GET", "/os-floating-ip-pools", self._list_pools, until=LAST_MINOR)

    def _mine(self, call: Call) -> list[Json]:
        records = self.compute.site.network.records.of("floatingips").values()
        return [one for one in records if one["project_id"] == call.project_id]

    def _pools(self) -> list[Json]:
        networks = self.compute.site.network.records.of("networks").values()
        return [network for network in networks if network["router:external"]]

    def _view(self, floating: Json) -> Json:
        network = self.compute.site.network.records.get("networks", floating["floating_network_id"])
        return {
            "fixed_ip": floating["fixed_ip_address"],
            "id": floating["id"],
            "instance_id": (floating["port_details"] or {}).get("device_id"),
            "ip": floating["floating_ip_address"],
            "pool": network["name"] or network["id"],
        }

    def _list(self, call: Call) -> Response:
        return self.compute.json({"floating_ips": [self._view(one) for one in self._mine(call)]})

    def _list_pools(self, call: Call) -> Response:  # noqa: ARG002 - the same for all
        pools = [{"name": network["name"] or network["id"]} for network in self._pools()]
        return self.compute.json({"floating_ip_pools": pools})

    def _find(self, call: Call) -> Json:
        wanted = call.params["id"]
        for one in self._mine(call):
            if one["id"] == wanted:
                return one
        raise Fault(404, f"Floating IP not found for ID {wanted}")

    def _show(self, call: Call) -> Response:
        return self.compute.json({"floating_ip": self._view(self._find(call))})

    def _create(self, call: Call) -> Response:
        pool = (call.body or {}).get("pool") or DEFAULT_POOL
        key = "id" if UUID.fullmatch(pool) is not None else "name"
        found = [network["id"] for network in self._pools() if network[key] == pool]
        if not found:
            raise Fault(404, "Floating IP pool not found.")
        network = self.compute.site.network
        try:
            network.extras.check_quota(call.project_id, "floatingip", 1)
        except Fault as over:
            raise Fault(403, f"IP allocation over quota in pool {pool}.") from over
        made = network.records.create(call.who, KINDS["floatingips"], {"floating_network_id": found[0]})
        return self.compute.json({"floating_ip": self._view(made)})

    def _delete(self, call: Call) -> Response:
        floating = self._find(call)
        self.compute.site.network.records.delete(KINDS["floatingips"], floating)
        return self.compute.empty(202)

    # actions of servers
    def act(self, call: Call, action: str, instance: Instance, value: Any) -> Response:
        """Carry out one of `actions`. Raises Fault 404 from 2.44 on."""
        if call.minor > LAST_ACTION_MINOR:
            raise Fault(404, "The resource could not be found.")
        return self.actions[action](call, instance, value["address"])

    def _at(self, call: Call, address: str) -> Json | None:
        return next((one for one in self._mine(call) if one["floating_ip_address"] == address), None)

    def _add(self, call: Call, instance: Instance, address: str) -> Response:
        network = self.compute.site.network
        ports = list(network.ports_of(instance.ports))
        if not ports:
            raise Fault(400, "Instance network is not ready yet")
        floating = self._at(call, address)
        if floating is None:
            raise Fault(404, "floating IP not found")
        network.records.update(call.who, KINDS["floatingips"], floating, {"port_id": ports[0]["id"]})
        return self.compute.empty(202)

    def _remove(self, call: Call, instance: Instance, address: str) -> Response:
        network = self.compute.site.network
        floating = self._at(call, address)
        if floating is None:
            raise Fault(404, f"Floating IP not found for address {address}.")
        if floating["port_id"] is None:
            policy(call, "os-floating-ips:remove")  # a member's is the server that has it
        if floating["port_id"] not in instance.ports:
            what = f"Floating IP {address} is not associated with instance {instance.id}."
            raise Fault(409, what)
        network.records.update(call.who, KINDS["floatingips"], floating, {"port_id": None})
        return self.compute.empty(202)
