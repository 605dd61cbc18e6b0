"""The resources of a simulated Neutron as a table: names, attributes with defaults, and not-found faults."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
REQUIRED = object()


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource type.

    `attributes` are what a create may give, with their defaults (REQUIRED: must be given). `shown` are the
    attributes only the service sets. `admin` are shown to admins only. `compact` is how Neutron's newer WSGI
    layer prints it (no spaces).
    """

    plural: str  # in paths; the body uses underscores
    singular: str
    missing: tuple[str, str]
    attributes: Json = field(default_factory=dict)
    shown: Json = field(default_factory=dict)
    admin: Json = field(default_factory=dict)
    booleans: tuple[str, ...] = ("admin_state_up", "shared")
    compact: bool = False

    @property
    def key(self) -> str:
        """The plural as a body has it."""
        return self.plural.rpartition("/")[2].replace("-", "_")

    def knows(self, name: str) -> bool:
        """Whether a filter, sort key or field of that name exists."""
        return name in _ALWAYS or name in self.attributes or name in self.shown or name in self.admin


_ALWAYS = {
    "id",
    "project_id",
    "tenant_id",
    "created_at",
    "updated_at",
    "revision_number",
    "tags",
    "description",
}
_NAMED = {"name": "", "admin_state_up": True}

KINDS: dict[str, Kind] = {
    kind.plural: kind
    for kind in (
        Kind(
            "networks",
            "network",
            ("NetworkNotFound", "Network {} could not be found."),
            attributes=_NAMED
            | {
                "shared": False, "mtu": 1450, "availability_zone_hints": [], "router:external": False,
                "port_security_enabled": True, "qos_policy_id": None, "is_default": False, "dns_domain": "",
                "vlan_transparent": False, "qinq": False,
            },
            shown={
                "status": "ACTIVE", "subnets": [], "availability_zones": [], "ipv4_address_scope": None,
                "ipv6_address_scope": None, "l2_adjacency": True,
            },
            admin={
                "provider:network_type": "vxlan", "provider:physical_network": None,
                "provider:segmentation_id": 1000,
            },
            booleans=("admin_state_up", "shared", "router:external", "is_default", "port_security_enabled"),
            compact=True,
        ),
        Kind(
            "subnets",
            "subnet",
            ("SubnetNotFound", "Subnet {} could not be found."),
            attributes={
                "network_id": REQUIRED, "name": "", "ip_version": 4, "cidr": None, "subnetpool_id": None,
                "prefixlen": None, "enable_dhcp": True, "gateway_ip": None, "allocation_pools": [],
                "host_routes": [],
                "dns_nameservers": [], "ipv6_ra_mode": None, "ipv6_address_mode": None, "service_types": [],
                "use_default_subnetpool": False, "segment_id": None,
            },
            shown={"router:external": False},
            booleans=("enable_dhcp", "shared"),
            compact=True,
        ),
        Kind(
            "ports",
            "port",
            ("PortNotFound", "Port {} could not be found."),
            attributes=_NAMED
            | {
                "network_id": REQUIRED, "mac_address": None, "device_id": "", "device_owner": "",
                "fixed_ips": None,
                "security_groups": None, "allowed_address_pairs": [], "extra_dhcp_opts": [],
                "binding:vnic_type": "normal",
                "port_security_enabled": True, "qos_policy_id": None, "dns_name": "",
            },
            shown={"status": "DOWN", "qos_network_policy_id": None, "ip_allocation": "immediate"},
            admin={
                "binding:host_id": "", "binding:profile": {}, "binding:vif_type": "unbound",
                "binding:vif_details": {},
                "resource_request": None,
            },
            compact=True,
        ),
        Kind(
            "routers",
            "router",
            ("RouterNotFound", "Router {} could not be found"),
            attributes=_NAMED
            | {"external_gateway_info": None, "availability_zone_hints": [], "routes": [], "flavor_id": None},
            shown={"status": "ACTIVE", "availability_zones": []},
            admin={"distributed": False, "ha": False},
        ),
        Kind(
            "floatingips",
            "floatingip",
            ("FloatingIPNotFound", "Floating IP {} could not be found"),
            attributes={
                "floating_network_id": REQUIRED, "floating_ip_address": None, "port_id": None,
                "fixed_ip_address": None,
                "subnet_id": None, "qos_policy_id": None, "dns_name": "", "dns_domain": "",
            },
            shown={"router_id": None, "status": "DOWN", "port_details": None, "port_forwardings": []},
        ),
        Kind(
            "security-groups",
            "security_group",
            ("SecurityGroupNotFound", "Security group {} does not exist"),
            attributes={"name": "", "stateful": True},
            shown={"shared": False, "security_group_rules": []},
        ),
        Kind(
            "security-group-rules",
            "security_group_rule",
            ("SecurityGroupRuleNotFound", "Security group rule {} does not exist"),
            attributes={
                "security_group_id": REQUIRED, "direction": REQUIRED, "ethertype": "IPv4", "protocol": None,
                "port_range_min": None, "port_range_max": None, "remote_ip_prefix": None,
                "remote_group_id": None,
                "remote_address_group_id": None,
            },
            shown={"normalized_cidr": None, "belongs_to_default_sg": False},
        ),
        Kind(
            "subnetpools",
            "subnetpool",
            ("SubnetPoolNotFound", "Subnet pool {} could not be found."),
            attributes={
                "name": "", "prefixes": REQUIRED, "default_prefixlen": "8", "min_prefixlen": "8",
                "max_prefixlen": "32",
                "is_default": False, "shared": False, "default_quota": None, "address_scope_id": None,
            },
            shown={"ip_version": 4},
            booleans=("is_default", "shared"),
        ),
        Kind(
            "address-scopes",
            "address_scope",
            ("AddressScopeNotFound", "Address scope {} could not be found."),
            attributes={"name": "", "ip_version": REQUIRED, "shared": False},
        ),
        Kind(
            "qos/policies",
            "policy",
            ("QosPolicyNotFound", "QoS policy {} could not be found."),
            attributes={"name": "", "shared": False, "is_default": False},
            shown={"rules": []},
        ),
        Kind(
            "agents",
            "agent",
            ("AgentNotFound", "Agent {} could not be found."),
            attributes={"admin_state_up": True},
            shown={"agent_type": "", "binary": "", "host": "", "alive": True, "availability_zone": None,
            "topic": ""},
        ),
    )
}  # fmt: skip

EXTENSIONS = (
    "address-scope", "agent", "allowed-address-pairs", "auto-allocated-topology", "availability_zone",
    "binding",
    "default-subnetpools", "dns-integration", "external-net", "ext-gw-mode", "extraroute", "extra_dhcp_opt",
    "filter-validation", "floatingip-pools", "fip-port-details", "net-mtu", "network-ip-availability",
    "network_availability_zone", "pagination", "port-security", "project-id", "provider", "qos", "quotas",
    "quota_details", "revision-if-match", "router", "router_availability_zone", "security-group",
    "rbac-security-groups", "sorting", "standard-attr-description", "standard-attr-revisions",
    "standard-attr-tag",
    "standard-attr-timestamp", "stateful-security-group", "subnet_allocation", "subnet-service-types",
)  # fmt: skip

QUOTAS = {
    "network": 200, "subnet": 200, "subnetpool": -1, "port": 2000, "router_route": 30, "router": 100,
    "floatingip": 200, "rbac_policy": 10, "security_group": 200, "security_group_rule": 1000,
}  # fmt: skip
