"""Neutron in sites mode: every collection is placed but for the cloud's own.

Neutron has as many collections as it has extensions; those that are not named here follow the last lines:
a collection with its list, create and members, placed.
"""

from atoll.services.table import ANY, Kind, Ref, Resource, Row, Service, row

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

INTERFACE = (Ref("subnet_id", "subnet"), Ref("port_id", "port"))
SUBPORTS = (Ref("sub_ports/*/port_id", "port"),)


def _rows() -> tuple[Row, ...]:
    rows = []
    for one in RESOURCES:
        rows += [
            row(one.path, "GET POST", PLACED, one.name),
            row(f"{one.path}/{{id}}", "GET PUT DELETE", PLACED, one.name, refs=one.refs),
            row(f"{one.path}/{{id}}/**", ANY, PLACED, one.name),
        ]
    return tuple(rows)


ROUTES = (
    *_rows(),
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
    row("extensions", "GET", Kind.ANY_SITE),
    row("extensions/{id}", "GET", Kind.ANY_SITE),
    row("service-providers", "GET", Kind.ANY_SITE),
    row("qos/rule-types", "GET", Kind.ANY_SITE),
    row("qos/rule-types/{id}", "GET", Kind.ANY_SITE),
    row("log/loggable-resources", "GET", Kind.ANY_SITE),
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
