"""The records of a simulated Neutron and what happens to them: addresses, gateways, groups, use."""

import ipaddress
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from atoll.sandbox.simulated.network_kinds import KINDS, REQUIRED, Kind
from atoll.sandbox.simulated.service import Fault
from atoll.sandbox.simulated.tokens import Token

Json = dict[str, Any]


class Records:
    """All network records of a site, by kind and id. Ids are made here, as Neutron makes them."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.clock = clock
        self._records: dict[str, dict[str, Json]] = {plural: {} for plural in KINDS}
        self._taken: dict[str, set[str]] = {}
        self._defaults: dict[str, str] = {}

    def of(self, plural: str) -> dict[str, Json]:
        """The records of a kind by id."""
        return self._records[plural]

    def _now(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock()))

    def store(self, kind: Kind, project_id: str, given: Json, **shown: Any) -> Json:
        """Keep a new record: what was given over the defaults, plus what the service sets."""
        record: Json = {"id": str(uuid.uuid4())}
        for name, default in kind.attributes.items():
            value = given.get(name, default)
            record[name] = None if value is REQUIRED else value
        record |= {name: list(v) if isinstance(v, list) else v for name, v in kind.shown.items()}
        record |= {name: given.get(name, default) for name, default in kind.admin.items()}
        record |= {
            "project_id": project_id,
            "tenant_id": project_id,
            "description": given.get("description", ""),
        }
        record |= {
            "tags": list(given.get("tags") or []),
            "created_at": self._now(),
            "updated_at": self._now(),
        }
        record |= {"revision_number": 1, **shown}
        self._records[kind.plural][record["id"]] = record
        return record

    def create(self, who: Token, kind: Kind, given: Json) -> Json:
        """Make a record of the kind for the caller. Raises Fault as Neutron does."""
        project_id = given.get("project_id") or given.get("tenant_id") or who.project_id or ""
        if project_id != who.project_id and "admin" not in who.roles:
            raise Fault(403, f"(rule:create_{kind.singular}) is disallowed by policy", "PolicyNotAuthorized")
        make = getattr(self, f"_create_{kind.singular}", None)
        return make(who, project_id, given) if make else self.store(kind, project_id, given)

    def update(self, who: Token, kind: Kind, record: Json, given: Json) -> None:
        """Change a record. Raises Fault as Neutron does."""
        if kind.plural == "routers" and "external_gateway_info" in given:
            given = {**given, "external_gateway_info": self._gateway(record, given["external_gateway_info"])}
        if kind.plural == "floatingips" and "port_id" in given:
            given = {**given, **self._associate(who, given["port_id"])}
        if kind.plural == "ports" and "fixed_ips" in given:
            given = {**given, "fixed_ips": self._addresses(record["network_id"], given["fixed_ips"])}
        record.update(given)
        record["updated_at"] = self._now()
        record["revision_number"] += 1

    def delete(self, kind: Kind, record: Json) -> None:
        """Delete a record. Raises Fault 409 if it is in use."""
        check = getattr(self, f"_delete_{kind.singular}", None)
        if check is not None:
            check(record)
        self._records[kind.plural].pop(record["id"], None)

    def missing(self, plural: str, record_id: Any) -> Fault:
        """The not-found fault of a kind."""
        name, text = KINDS[plural].missing
        return Fault(404, text.format(record_id), name)

    def get(self, plural: str, record_id: Any) -> Json:
        """The record of that id. Raises Fault 404."""
        record = self._records[plural].get(record_id)
        if record is None:
            raise self.missing(plural, record_id)
        return record

    # networks and subnets
    def _create_network(self, who: Token, project_id: str, given: Json) -> Json:
        if (given.get("shared") or given.get("router:external")) and "admin" not in who.roles:
            what = "shared" if given.get("shared") else "router:external"
            raise Fault(403, f"(rule:create_network and rule:create_network:{what}) is disallowed by policy",
                        "PolicyNotAuthorized")  # fmt: skip
        return self.store(KINDS["networks"], project_id, given)

    def _delete_network(self, network: Json) -> None:
        owned = [port for port in self.of("ports").values() if port["network_id"] == network["id"]]
        if owned:
            ids = ", ".join(port["id"] for port in owned)
            what = "There are one or more ports still in use on the network, id for these ports is: "
            message = f"Unable to complete operation on network {network['id']}. {what}{ids}."
            raise Fault(409, message, "NetworkInUse")
        for subnet_id in network["subnets"]:
            self.of("subnets").pop(subnet_id, None)

    def _create_subnet(self, who: Token, project_id: str, given: Json) -> Json:  # noqa: ARG002
        network = self.get("networks", given["network_id"])
        cidr = self._cidr(given)
        for subnet_id in network["subnets"]:
            if ipaddress.ip_network(self.get("subnets", subnet_id)["cidr"]).overlaps(cidr):
                asked = f"Requested subnet with cidr: {cidr} for network: {network['id']}"
                what = f"{asked} overlaps with another subnet."
                raise Fault(400, f"Invalid input for operation: {what}", "InvalidInput")
        gateway = given.get("gateway_ip", str(cidr[1]))
        pool = {"start": str(cidr[2]), "end": str(cidr[-2])}
        fixed = {"ip_version": cidr.version, "cidr": str(cidr), "gateway_ip": gateway}
        fixed["allocation_pools"] = given.get("allocation_pools") or [pool]
        subnet = self.store(KINDS["subnets"], project_id, {**given, **fixed}, revision_number=0)
        for name in ("prefixlen", "use_default_subnetpool", "segment_id"):
            subnet.pop(name, None)
        subnet["router:external"] = network["router:external"]
        network["subnets"].append(subnet["id"])
        return subnet

    def _cidr(self, given: Json) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        text = given.get("cidr")
        if text is None:
            pool = next(iter(self.of("subnetpools").values()), None)
            if pool is None or not (given.get("subnetpool_id") or given.get("use_default_subnetpool")):
                message = "Bad subnets request: a subnetpool must be specified in the absence of a cidr."
                raise Fault(400, message, "BadRequest")
            size = int(given.get("prefixlen") or pool["default_prefixlen"])
            used = {subnet["cidr"] for subnet in self.of("subnets").values()}
            parts = ipaddress.ip_network(pool["prefixes"][0]).subnets(new_prefix=size)
            return next(part for part in parts if str(part) not in used)
        try:
            return ipaddress.ip_network(text)
        except ValueError as exc:
            raise Fault(
                400, f"Invalid input for operation: {text} is not in a CIDR format.", "InvalidInput"
            ) from exc

    def _delete_subnet(self, subnet: Json) -> None:
        for port in self.of("ports").values():
            if any(fixed["subnet_id"] == subnet["id"] for fixed in port["fixed_ips"]):
                what = f"Unable to complete operation on subnet {subnet['id']}: "
                raise Fault(
                    409, what + "One or more ports have an IP allocation from this subnet.", "SubnetInUse"
                )
        network = self.of("networks").get(subnet["network_id"])
        if network is not None:
            network["subnets"].remove(subnet["id"])

    # ports
    def _create_port(self, who: Token, project_id: str, given: Json) -> Json:  # noqa: ARG002
        self.get("networks", given["network_id"])
        groups = given.get("security_groups")
        for group_id in groups or []:
            self.get("security-groups", group_id)
        fixed = {
            "fixed_ips": self._addresses(given["network_id"], given.get("fixed_ips")),
            "mac_address": given.get("mac_address") or "fa:16:3e:" + secrets.token_bytes(3).hex(":"),
            "security_groups": [self.default_group(project_id)["id"]] if groups is None else groups,
        }
        port = self.store(KINDS["ports"], project_id, {**given, **fixed})
        port.pop("dns_name", None)
        return port

    def _delete_port(self, port: Json) -> None:
        if port["device_owner"] == "network:router_interface":
            what = f"Port {port['id']} cannot be deleted directly via the port API: has device owner "
            raise Fault(409, what + "network:router_interface.", "ServicePortInUse")
        self.release_port(port)

    def release_port(self, port: Json) -> None:
        """Free a port's addresses and floating IPs and forget it."""
        for fixed in port["fixed_ips"]:
            self._taken.get(fixed["subnet_id"], set()).discard(fixed["ip_address"])
        for floating in self.of("floatingips").values():
            if floating["port_id"] == port["id"]:
                floating.update(
                    port_id=None, fixed_ip_address=None, router_id=None, port_details=None, status="DOWN"
                )
        self.of("ports").pop(port["id"], None)

    def _addresses(self, network_id: str, wanted: list[Json] | None) -> list[Json]:
        subnets = [
            self.get("subnets", subnet_id) for subnet_id in self.get("networks", network_id)["subnets"]
        ]
        if wanted is None:
            first = {subnet["ip_version"]: subnet for subnet in reversed(subnets)}
            return [self._allocate(subnet) for _, subnet in sorted(first.items())]
        return [self._allocate(self._subnet_for(one, subnets), one.get("ip_address")) for one in wanted]

    def _subnet_for(self, wanted: Json, subnets: list[Json]) -> Json:
        if "subnet_id" in wanted:
            return self.get("subnets", wanted["subnet_id"])
        for subnet in subnets:
            if ipaddress.ip_address(wanted["ip_address"]) in ipaddress.ip_network(subnet["cidr"]):
                return subnet
        address = wanted["ip_address"]
        message = f"IP address {address} is not a valid IP for any of the subnets on the specified network."
        raise Fault(400, message, "InvalidIpForNetwork")

    def _allocate(self, subnet: Json, address: str | None = None) -> Json:
        taken = self._taken.setdefault(subnet["id"], {subnet["gateway_ip"]})
        if address is None:
            address = next((text for text in _pool(subnet, len(taken)) if text not in taken), None)
            if address is None:
                message = f"No more IP addresses available on network {subnet['network_id']}."
                raise Fault(409, message, "IpAddressGenerationFailure")
        elif address in taken and address != subnet["gateway_ip"]:
            message = f"IP address {address} already allocated in subnet {subnet['id']}"
            raise Fault(409, message, "IpAddressAlreadyAllocated")
        taken.add(address)
        return {"subnet_id": subnet["id"], "ip_address": address}

    # routers and floating IPs
    def _create_router(self, who: Token, project_id: str, given: Json) -> Json:  # noqa: ARG002
        router = self.store(KINDS["routers"], project_id, {**given, "external_gateway_info": None})
        router["external_gateway_info"] = self._gateway(router, given.get("external_gateway_info"))
        return router

    def _gateway(self, router: Json, wanted: Json | None) -> Json | None:
        if not wanted:
            return None
        network = self.get("networks", wanted["network_id"])
        if not network["router:external"]:
            message = f"Bad router request: Network {network['id']} is not an external network."
            raise Fault(400, message, "BadRequest")
        had = router.get("external_gateway_info")
        fixed = (
            had["external_fixed_ips"]
            if had
            else self._addresses(network["id"], wanted.get("external_fixed_ips"))
        )
        return {
            "network_id": network["id"],
            "external_fixed_ips": fixed,
            "enable_snat": wanted.get("enable_snat", True),
        }

    def _delete_router(self, router: Json) -> None:
        ports = self.router_ports(router["id"])
        if ports:
            ids = ", ".join(port["id"] for port in ports)
            raise Fault(409, f"Router {router['id']} has ports still attached: {ids}", "RouterInUse")

    def router_ports(self, router_id: str) -> list[Json]:
        """The interfaces of a router."""
        return [port for port in self.of("ports").values() if port["device_id"] == router_id]

    def _create_floatingip(self, who: Token, project_id: str, given: Json) -> Json:
        network = self.get("networks", given["floating_network_id"])
        if not network["router:external"]:
            message = f"Bad floatingip request: Network {network['id']} is not a valid external network."
            raise Fault(400, message, "BadRequest")
        wanted = given.get("floating_ip_address")
        address = self._addresses(network["id"], [{"ip_address": wanted}] if wanted else None)[0][
            "ip_address"
        ]
        values = {**given, "floating_ip_address": address, **self._associate(who, given.get("port_id"))}
        floating = self.store(KINDS["floatingips"], project_id, values, revision_number=0)
        floating |= {name: values[name] for name in ("router_id", "port_details", "status")}
        for name in ("subnet_id", "dns_name", "dns_domain"):
            floating.pop(name, None)
        return self.of("floatingips").setdefault(floating["id"], floating)

    def _associate(self, who: Token, port_id: str | None) -> Json:
        if port_id is None:
            return dict.fromkeys(("port_id", "fixed_ip_address", "router_id", "port_details")) | {
                "status": "DOWN"
            }
        port = self.get("ports", port_id)
        if port["project_id"] != who.project_id and "admin" not in who.roles:
            raise self.missing("ports", port_id)
        subnets = {fixed["subnet_id"] for fixed in port["fixed_ips"]}
        for other in self.of("ports").values():
            owner = other["device_owner"] == "network:router_interface"
            if owner and subnets & {fixed["subnet_id"] for fixed in other["fixed_ips"]}:
                names = (
                    "name",
                    "network_id",
                    "mac_address",
                    "admin_state_up",
                    "status",
                    "device_id",
                    "device_owner",
                )
                return {
                    "port_id": port_id, "fixed_ip_address": port["fixed_ips"][0]["ip_address"],
                    "status": "ACTIVE",
                    "router_id": other["device_id"], "port_details": {name: port[name] for name in names},
                }  # fmt: skip
        subnet_id = next(iter(subnets), None)
        what = f"External network is not reachable from subnet {subnet_id}.  Therefore, cannot associate "
        raise Fault(404, what + f"Port {port_id} with a Floating IP.", "ExternalGatewayForFloatingIPNotFound")

    # security groups
    def default_group(self, project_id: str) -> Json:
        """The project's `default` security group, made on first use."""
        group_id = self._defaults.get(project_id)
        if group_id is None:
            group = self.store(KINDS["security-groups"], project_id, {"name": "default"})
            group["description"] = "Default security group"
            group_id = self._defaults[project_id] = group["id"]
            for ethertype in ("IPv4", "IPv6"):
                self._rule(group, "egress", ethertype)
                self._rule(group, "ingress", ethertype, remote_group_id=group_id)
        return self.of("security-groups")[group_id]

    def _rule(self, group: Json, direction: str, ethertype: str, **more: Any) -> Json:
        given = {"security_group_id": group["id"], "direction": direction, "ethertype": ethertype, **more}
        default = group["id"] in self._defaults.values()
        kind = KINDS["security-group-rules"]
        rule = self.store(kind, group["project_id"], given, revision_number=0, belongs_to_default_sg=default)
        rule["description"] = None
        return rule

    def _create_security_group(self, who: Token, project_id: str, given: Json) -> Json:  # noqa: ARG002
        self.default_group(project_id)
        if given.get("name") == "default":
            raise Fault(409, "Default security group already exists.", "SecurityGroupDefaultAlreadyExists")
        group = self.store(KINDS["security-groups"], project_id, given)
        for ethertype in ("IPv4", "IPv6"):
            self._rule(group, "egress", ethertype)
        return group

    def _delete_security_group(self, group: Json) -> None:
        used = any(group["id"] in port["security_groups"] for port in self.of("ports").values())
        if used:
            raise Fault(409, f"Security Group {group['id']} in use.", "SecurityGroupInUse")
        if group["id"] in self._defaults.values():
            raise Fault(409, "Insufficient rights for removing default security group.",
                        "SecurityGroupCannotRemoveDefault")  # fmt: skip
        for rule in self.rules_of(group["id"]):
            self.of("security-group-rules").pop(rule["id"], None)

    def _create_security_group_rule(self, who: Token, project_id: str, given: Json) -> Json:
        group = self.get("security-groups", given["security_group_id"])
        if group["project_id"] != who.project_id and "admin" not in who.roles:
            raise self.missing("security-groups", group["id"])
        kind = KINDS["security-group-rules"]
        compared = [name for name in kind.attributes if name != "security_group_id"]
        for rule in self.rules_of(group["id"]):
            if all(rule[name] == given.get(name, kind.attributes[name]) for name in compared):
                message = f"Security group rule already exists. Rule id is {rule['id']}."
                raise Fault(409, message, "SecurityGroupRuleExists")
        default = group["id"] in self._defaults.values()
        return self.store(kind, project_id, given, revision_number=0, belongs_to_default_sg=default)

    def rules_of(self, group_id: str) -> list[Json]:
        """The rules of a security group."""
        return [
            rule for rule in self.of("security-group-rules").values() if rule["security_group_id"] == group_id
        ]


def _pool(subnet: Json, skip: int) -> Iterator[str]:
    """Addresses of the allocation pools, starting where free ones are likely."""
    for pool in subnet["allocation_pools"]:
        start, end = (ipaddress.ip_address(pool[name]) for name in ("start", "end"))
        count = min(
            int(end) - int(start) + 1, 1 << 16
        )  # a /64 has more than anyone will ask a simulation for
        for offset in range(count):
            yield str(start + (offset + max(0, skip - 1)) % count)
