"""What a simulated Nova asks of its site's Neutron: plug and release ports, groups, addresses."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.network_kinds import KINDS
from atoll.sandbox.simulated.network_records import Json, Records
from atoll.sandbox.simulated.service import Fault
from atoll.sandbox.simulated.tokens import Token

if TYPE_CHECKING:
    from atoll.sandbox.simulated.site import Site

_OWNER = "compute:nova"
Plan = list[tuple[str, str, str | None]]  # ("port" | "network", id, fixed address)


class NovaSide:
    """The in-process side of `Network`. Ports that Nova makes are Nova's to delete."""

    records: Records
    site: "Site"
    _made: set[str]

    def plan(self, who: Token, wanted: Any) -> Plan:
        """What a create's `networks` comes to. Raises Fault 400 or 409 with Nova's messages."""
        if wanted == "none":
            return []
        if wanted is None or wanted == "auto" or not wanted:
            mine = [n for n in self.visible_networks(who) if not n["router:external"]]
            if len(mine) > 1:
                message = "Multiple possible networks found, use a Network ID to be more specific."
                raise Fault(409, message)
            return [("network", network["id"], None) for network in mine]
        return [self._planned(who, one) for one in wanted]

    def _planned(self, who: Token, one: Json) -> tuple[str, str, str | None]:
        port_id = one.get("port")
        if port_id is not None:
            port = self.records.of("ports").get(port_id)
            if port is None or (port["project_id"] != who.project_id and "admin" not in who.roles):
                raise Fault(400, f"Port id {port_id} could not be found.")
            if port["device_id"]:
                raise Fault(409, f"Port {port_id} is still in use.")
            return ("port", port_id, None)
        network_id = one.get("uuid")
        if network_id not in {network["id"] for network in self.visible_networks(who)}:
            raise Fault(400, f"Network {network_id} could not be found.")
        return ("network", str(network_id), one.get("fixed_ip"))

    def plug(self, who: Token, server_id: str, plan: Plan) -> list[str]:
        """Make or take the planned ports for a server; their ids."""
        made = []
        for what, item_id, address in plan:
            if what == "port":
                port = self.records.get("ports", item_id)
            else:
                given: Json = {"network_id": item_id}
                given |= {"fixed_ips": [{"ip_address": address}]} if address else {}
                port = self.records.create(who, KINDS["ports"], given)
                self._made.add(port["id"])
            port |= {"device_id": server_id, "device_owner": _OWNER, "status": "ACTIVE"}
            port["binding:host_id"] = f"{self.site.name}-compute1"
            made.append(port["id"])
        return made

    def release(self, port_ids: list[str]) -> None:
        """Delete the ports Nova made, unplug the others."""
        for port in list(self.ports_of(port_ids)):
            if port["id"] in self._made:
                self._made.discard(port["id"])
                self.records.release_port(port)
            else:
                port.update({"device_id": "", "device_owner": "", "status": "DOWN", "binding:host_id": ""})

    def ports_of(self, port_ids: list[str]) -> list[Json]:
        """The ports that still exist."""
        ports = self.records.of("ports")
        return [ports[port_id] for port_id in port_ids if port_id in ports]

    def addresses_of(self, port_ids: list[str]) -> Iterator[tuple[str, list[Json]]]:
        """Per port: the network's name and its addresses (version, addr, type, mac), floating too."""
        for port in self.ports_of(port_ids):
            network = self.records.of("networks").get(port["network_id"])
            found = [
                {
                    "version": 6 if ":" in fixed["ip_address"] else 4,
                    "addr": fixed["ip_address"],
                    "type": "fixed",
                }
                for fixed in port["fixed_ips"]
            ]
            found += [
                {"version": 4, "addr": floating["floating_ip_address"], "type": "floating"}
                for floating in self.records.of("floatingips").values()
                if floating["port_id"] == port["id"]
            ]
            for item in found:
                item["mac"] = port["mac_address"]
            yield network["name"] if network else "", found

    def visible_networks(self, who: Token) -> list[Json]:
        """The networks a user may plug into or see."""
        return [
            network
            for network in self.records.of("networks").values()
            if network["project_id"] == who.project_id or network["shared"] or network["router:external"]
        ]

    def groups_of(self, project_id: str) -> list[Json]:
        """The security groups of a project."""
        self.records.default_group(project_id)
        return [
            group
            for group in self.records.of("security-groups").values()
            if group["project_id"] == project_id
        ]

    def security_group(self, who: Token, name: str) -> Json | None:
        """The caller's security group of that name or id, or None."""
        return next((g for g in self.groups_of(who.project_id or "") if name in (g["name"], g["id"])), None)

    def nova_group(self, group: Json) -> Json:
        """A security group as Nova's proxy shows it."""
        tenant = group["project_id"]
        rules = [
            {
                "id": rule["id"],
                "parent_group_id": group["id"],
                "ip_protocol": rule["protocol"],
                "from_port": rule["port_range_min"],
                "to_port": rule["port_range_max"],
                "group": {"name": group["name"], "tenant_id": tenant} if rule["remote_group_id"] else {},
                "ip_range": {"cidr": rule["remote_ip_prefix"]} if rule["remote_ip_prefix"] else {},
            }
            for rule in self.records.rules_of(group["id"])
            if rule["direction"] == "ingress"
        ]
        shown = {"id": group["id"], "description": group["description"], "name": group["name"]}
        return shown | {"tenant_id": tenant, "rules": rules}
