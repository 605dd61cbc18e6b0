"""Neutron in sites mode: every collection is placed but for the cloud's own.

Neutron has as many collections as it has extensions; those that are not named here follow the last lines:
a collection with its list, create and members, placed.
"""

from atoll.services.table import ANY, READ_BY_ALL, Kind, Ref, Resource, Row, Service, row

PLACED = Kind.PLACED
NETWORK_ZONE = "availability_zone_hints"


def collection(name: str, plural: str, *refs: tuple[str, str], path: str = "", zone: str = "") -> Resource:
    """A collection of Neutron's: singular, plural, and what its create body names (also in bulk)."""
    places = []
    for place, resource in refs:
        places += [Ref(f"{name}/{place}", resource), Ref(f"{plural}/*/{place}", resource)]
    return Resource(
        name=name,
        plural=plural,
        path=path or plural.replace("_", "-"),
        refs=tuple(places),
        zone=zone,
    )


NETWORK_ID = ("network_id", "network")
RESOURCES = (
    collection("network", "networks", ("qos_policy_id", "policy"),
               zone=f"network/{NETWORK_ZONE}/*"),
    collection("subnet", "subnets", NETWORK_ID, ("subnetpool_id", "subnetpool"),
               ("segment_id", "segment")),
    collection("port", "ports", NETWORK_ID, ("security_groups/*", "security_group"),
               ("fixed_ips/*/subnet_id", "subnet"), ("qos_policy_id", "policy")),
    collection("router", "routers", ("external_gateway_info/network_id", "network"),
               ("external_gateway_info/external_fixed_ips/*/subnet_id", "subnet"),
               zone=f"router/{NETWORK_ZONE}/*"),
    collection("floatingip", "floatingips", ("floating_network_id", "network"), ("port_id", "port"),
               ("subnet_id", "subnet")),
    collection("security_group", "security_groups"),
    collection("security_group_rule", "security_group_rules", ("security_group_id", "security_group"),
               ("remote_group_id", "security_group"), ("remote_address_group_id", "address_group")),
    collection("subnetpool", "subnetpools", ("address_scope_id", "address_scope")),
    collection("address_scope", "address_scopes"),
    collection("address_group", "address_groups"),
    collection("rbac_policy", "rbac_policies", ("object_id", "network")),
    collection("trunk", "trunks", ("port_id", "port"), ("sub_ports/*/port_id", "port")),
    collection("policy", "policies", path="qos/policies"),
    collection("segment", "segments", NETWORK_ID),
    collection("agent", "agents"),
    collection("service_profile", "service_profiles"),
    collection("metering_label", "metering_labels", path="metering/metering-labels"),
    collection("metering_label_rule", "metering_label_rules", ("metering_label_id", "metering_label"),
               path="metering/metering-label-rules"),
    collection("log", "logs", ("resource_id", "security_group"), ("target_id", "port"), path="log/logs"),
    collection("ndp_proxy", "ndp_proxies", ("router_id", "router"), ("port_id", "port")),
    collection("local_ip", "local_ips", NETWORK_ID, ("local_port_id", "port"), path="local_ips"),
    collection("network_ip_availability", "network_ip_availabilities"),
    collection("network_segment_range", "network_segment_ranges", path="network_segment_ranges"),
    collection("default_security_group_rule", "default_security_group_rules"),
    collection("bgpvpn", "bgpvpns", path="bgpvpn/bgpvpns"),
)  # fmt: skip

# What only administrators may say of a thing.
ADMIN_FIELDS = {
    "network": ("shared", "router:external", "is_default", "segments", "provider:network_type",
                "provider:physical_network", "provider:segmentation_id"),
    "subnet": ("segment_id", "service_types", "leak_routes"),
    "port": ("binding:host_id", "binding:profile", "hints", "trusted", "data_plane_status"),
    "router": ("distributed", "ha", "external_gateway_info/enable_snat",
               "external_gateway_info/external_fixed_ips", "enable_default_route_bfd",
               "enable_default_route_ecmp", "evpn_vni"),
    "floatingip": ("floating_ip_address",),
    "subnetpool": ("shared", "is_default"),
    "address_scope": ("shared",),
    "rbac_policy": ("target_tenant=*", "target_project=*"),
}  # fmt: skip
# Who reads and who writes, where it is not readers and members.
ROLES_OF = {
    "agent": ("admin", "admin"),
    "segment": ("admin", "admin"),
    "service_profile": ("admin", "admin"),
    "network_segment_range": ("admin", "admin"),
    "network_ip_availability": ("service", "admin"),
    "default_security_group_rule": ("reader", "admin"),
    "policy": ("reader", "manager"),
    "metering_label": ("reader", "manager"),
    "metering_label_rule": ("reader", "manager"),
    "log": ("manager", "manager"),
}
GATEWAYS = tuple(f"router/external_gateways/*/{name}" for name in ("enable_snat", "external_fixed_ips"))

INTERFACE = (Ref("subnet_id", "subnet"), Ref("port_id", "port"))
SUBPORTS = (Ref("sub_ports/*/port_id", "port"),)


def _rows() -> tuple[Row, ...]:
    rows = []
    for one in RESOURCES:
        names = ADMIN_FIELDS.get(one.name, ())
        fields = tuple(f"{place}/{name}" for name in names for place in (one.name, f"{one.plural}/*"))
        role = ROLES_OF.get(one.name, ("", ""))
        rows += [
            row(one.path, _methods("GET POST", *role), PLACED, one.name, admin_fields=fields),
            row(f"{one.path}/{{id}}", _methods("GET PUT DELETE", *role), PLACED, one.name, refs=one.refs,
                admin_fields=fields),
            row(f"{one.path}/{{id}}/**", _methods(ANY, *role), PLACED, one.name),
        ]  # fmt: skip
    return tuple(rows)


def _methods(methods: str, reads: str, writes: str) -> str:
    roles = ((one, reads if one in {"GET", "HEAD"} else writes) for one in methods.split())
    return " ".join(f"{method}:{role}" if role else method for method, role in roles)


ROUTES = (
    *_rows(),
    row("networks/{id}/dhcp-agents", "GET", PLACED, "network", role="admin"),
    row("routers/{id}/l3-agents", "GET", PLACED, "router", role="admin"),
    row("ports/{id}/bindings", "GET POST", PLACED, "port", role="service"),
    row("ports/{id}/bindings/**", ANY, PLACED, "port", role="service"),
    row("routers/{id}/add_external_gateways", "PUT", PLACED, "router", admin_fields=GATEWAYS),
    row("routers/{id}/update_external_gateways", "PUT", PLACED, "router", admin_fields=GATEWAYS),
    row("flavors", "GET POST:admin", Kind.ANY_SITE),
    row("flavors/**", READ_BY_ALL, Kind.ANY_SITE),
    row("routers/{id}/add_router_interface", "PUT", PLACED, "router", refs=INTERFACE),
    row("routers/{id}/remove_router_interface", "PUT", PLACED, "router", refs=INTERFACE),
    row("trunks/{id}/add_subports", "PUT", PLACED, "trunk", refs=SUBPORTS),
    row("trunks/{id}/remove_subports", "PUT", PLACED, "trunk", refs=SUBPORTS),
    row("availability_zones", "GET", Kind.ZONES),
    row("quotas", "GET", Kind.PER_SITE, "quota", role="admin"),
    row("quotas/tenant", "GET", Kind.ANY_SITE),
    row("quotas/project", "GET", Kind.ANY_SITE),
    row("quotas/{id}", "GET PUT:admin DELETE:admin", Kind.SUMMED, "quota", of_project=True),
    row("quotas/{id}/default", "GET", Kind.SUMMED, "quota", of_project=True),
    row("quotas/{id}/details.json", "GET", Kind.SUMMED, "quota", of_project=True),
    row("quotas/{id}/details", "GET", Kind.SUMMED, "quota", of_project=True),
    row("extensions", "GET", Kind.COMMON),
    row("extensions/{id}", "GET", Kind.COMMON),
    row("service-providers", "GET", Kind.ANY_SITE),
    row("qos/rule-types", "GET", Kind.ANY_SITE),
    row("qos/rule-types/{id}", "GET", Kind.ANY_SITE),
    row("log/loggable-resources", "GET", Kind.ANY_SITE, role="manager"),
    row("auto-allocated-topology/{id}", "GET DELETE", Kind.ANY_SITE),
    row("vpn/**", ANY, Kind.ANY_SITE),
)

NETWORK = Service(
    service_type="network",
    aliases=(),
    versions=("v2.0",),
    resources=RESOURCES,
    rows=ROUTES,
    zone_keys=("availability_zones", NETWORK_ZONE, "availability_zone"),
    zones_filled=frozenset({NETWORK_ZONE}),
    suffix=b".json",
)
