"""Neutron in sites mode: every route with its kind and its least role; nearly all of it is placed.

`tests/unit/services` holds the lines against what an installed Neutron says of itself
(`tools/neutron-routes`). Most collections have the same lines: a list and a create, then show, update and
delete of one, and tags.
"""

from dataclasses import dataclass

from atoll.services.table import ANY, Kind, Ref, Resource, Row, Service, row

PLACED = Kind.PLACED
NETWORK_ZONE = "availability_zone_hints"


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection of Neutron's: its resource, what it can do, and who may where that is not the usual one.

    `one` are the methods of a member, `reads` and `writes` least roles, `tags` the paths under which members
    are tagged (some by another than their own). `create` and `update` are members of the body that only
    administrators may say. `changes` is the kind of all methods but GET.
    """

    resource: Resource
    top: str = "GET POST"
    one: str = "GET PUT DELETE"
    reads: str = ""
    writes: str = ""
    tags: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    changes: Kind = PLACED
    beyond: str = ""


def resource(
    name: str,
    plural: str,
    *refs: tuple[str, ...],
    path: str = "",
    zone: str = "",
    ident: str = "id",
    singular: str = "",
) -> Resource:
    """A resource of Neutron's: singular, plural, and what its bodies name, also in bulk.

    A reference is (place, type) and, where a sibling says what it is of, (…, key, value) of that.
    """
    places = []
    for place, kind, *only_if in refs:
        condition = (only_if[0], only_if[1]) if only_if else None
        envelope = singular or name
        places += [Ref(f"{envelope}/{place}", kind, condition), Ref(f"{plural}/*/{place}", kind, condition)]
    return Resource(
        name=name,
        singular=singular,
        plural=plural,
        path=path or plural.replace("_", "-"),
        refs=tuple(places),
        zone=zone,
        marker=ident,
        identity=ident,
    )


NETWORK_ID = ("network_id", "network")
POLICY_ID = ("qos_policy_id", "policy")
PROVIDER = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
FOR_ALL = ("target_tenant=*", "target_project=*")
OF_NETWORKS = ("shared", "router:external", "is_default", "segments", *PROVIDER)
OF_PORTS = ("binding:host_id", "binding:profile", "hints", "trusted")
OF_ROUTERS = ("distributed", "ha", "external_gateway_info/enable_snat",
              "external_gateway_info/external_fixed_ips", "enable_default_route_bfd",
              "enable_default_route_ecmp")  # fmt: skip
FIREWALLS = "of neutron-fwaas"
VPN = "of neutron-vpnaas"
BGP = "of neutron-dynamic-routing"

COLLECTIONS = (
    Collection(resource("network", "networks", POLICY_ID, zone=f"network/{NETWORK_ZONE}/*"),
               tags=("networks",), create=OF_NETWORKS, update=OF_NETWORKS),
    Collection(resource("subnet", "subnets", NETWORK_ID, ("subnetpool_id", "subnetpool"),
                        ("segment_id", "segment")),
               tags=("subnets",), create=("segment_id", "service_types"),
               update=("segment_id", "service_types", "leak_routes")),
    Collection(resource("port", "ports", NETWORK_ID, ("security_groups/*", "security_group"),
                        ("fixed_ips/*/subnet_id", "subnet"), POLICY_ID),
               tags=("ports",), create=OF_PORTS, update=(*OF_PORTS, "data_plane_status", "mac_address")),
    Collection(resource("router", "routers", ("external_gateway_info/network_id", "network"),
                        ("external_gateway_info/external_fixed_ips/*/subnet_id", "subnet"),
                        ("external_gateway_info/qos_policy_id", "policy"), ("flavor_id", "network_flavor"),
                        zone=f"router/{NETWORK_ZONE}/*"),
               tags=("routers",), create=(*OF_ROUTERS, "evpn_vni"), update=OF_ROUTERS),
    Collection(resource("floatingip", "floatingips", ("floating_network_id", "network"), ("port_id", "port"),
                        ("subnet_id", "subnet"), POLICY_ID),
               tags=("floatingips",), create=("floating_ip_address",)),
    Collection(resource("security_group", "security_groups"), tags=("security-groups",)),
    Collection(resource("security_group_rule", "security_group_rules",
                        ("security_group_id", "security_group"), ("remote_group_id", "security_group"),
                        ("remote_address_group_id", "address_group")),
               one="GET DELETE", changes=Kind.GROUP_RULES),
    Collection(resource("default_security_group_rule", "default_security_group_rules"),
               one="GET DELETE", writes="admin"),
    Collection(resource("security_groups_default_statefulness", "security_groups_default_statefulness"),
               writes="manager"),
    Collection(resource("address_group", "address_groups")),
    Collection(resource("address_scope", "address_scopes"), create=("shared",), update=("shared",)),
    Collection(resource("subnetpool", "subnetpools", ("address_scope_id", "address_scope")),
               tags=("subnetpools",), create=("shared", "is_default"), update=("is_default",)),
    Collection(resource("rbac_policy", "rbac_policies",
                        ("object_id", "network", "object_type", "network"),
                        ("object_id", "policy", "object_type", "qos_policy"),
                        ("object_id", "security_group", "object_type", "security_group"),
                        ("object_id", "address_group", "object_type", "address_group"),
                        ("object_id", "address_scope", "object_type", "address_scope"),
                        ("object_id", "subnetpool", "object_type", "subnetpool")),
               create=FOR_ALL, update=FOR_ALL),
    Collection(resource("policy", "policies", path="qos/policies"), writes="manager",
               tags=("qos/policies", "policies")),
    Collection(resource("trunk", "trunks", ("port_id", "port"), ("sub_ports/*/port_id", "port")),
               tags=("trunks",)),
    Collection(resource("segment", "segments", NETWORK_ID), reads="admin", writes="admin"),
    Collection(resource("network_segment_range", "network_segment_ranges"), reads="admin", writes="admin",
               tags=("network-segment-ranges", "network_segment_ranges")),
    Collection(resource("network_ip_availability", "network_ip_availabilities", ident="network_id"),
               top="GET", one="GET", reads="service"),
    Collection(resource("floatingip_pool", "floatingip_pools", ident="subnet_id"), top="GET", one=""),
    Collection(resource("agent", "agents"), top="GET", reads="admin", writes="admin"),
    Collection(resource("network_flavor", "flavors", singular="flavor"), writes="admin"),
    Collection(resource("service_profile", "service_profiles", path="service_profiles"), reads="admin",
               writes="admin"),
    Collection(resource("metering_label", "metering_labels", path="metering/metering-labels"),
               one="GET DELETE", writes="manager"),
    Collection(resource("metering_label_rule", "metering_label_rules",
                        ("metering_label_id", "metering_label"), path="metering/metering-label-rules"),
               one="GET DELETE", writes="manager"),
    Collection(resource("log", "logs",
                        ("resource_id", "security_group", "resource_type", "security_group"),
                        ("resource_id", "router", "resource_type", "snat"),
                        ("target_id", "port", "resource_type", "security_group"), path="log/logs"),
               reads="manager", writes="manager"),
    Collection(resource("ndp_proxy", "ndp_proxies", ("router_id", "router"), ("port_id", "port"))),
    Collection(resource("local_ip", "local_ips", NETWORK_ID, ("local_port_id", "port"))),
    Collection(resource("bgpvpn", "bgpvpns", path="bgpvpn/bgpvpns"), beyond="of networking-bgpvpn"),
    Collection(resource("vpnservice", "vpnservices", ("router_id", "router"), ("subnet_id", "subnet"),
                        path="vpn/vpnservices"), beyond=VPN),
    Collection(resource("ikepolicy", "ikepolicies", path="vpn/ikepolicies"), beyond=VPN),
    Collection(resource("ipsecpolicy", "ipsecpolicies", path="vpn/ipsecpolicies"), beyond=VPN),
    Collection(resource("endpoint_group", "endpoint_groups", path="vpn/endpoint-groups"), beyond=VPN),
    Collection(resource("ipsec_site_connection", "ipsec_site_connections", ("vpnservice_id", "vpnservice"),
                        ("ikepolicy_id", "ikepolicy"), ("ipsecpolicy_id", "ipsecpolicy"),
                        ("local_ep_group_id", "endpoint_group"), ("peer_ep_group_id", "endpoint_group"),
                        path="vpn/ipsec-site-connections"), beyond=VPN),
    Collection(resource("firewall_group", "firewall_groups",
                        ("ingress_firewall_policy_id", "firewall_policy"),
                        ("egress_firewall_policy_id", "firewall_policy"), ("ports/*", "port"),
                        path="fwaas/firewall_groups"), beyond=FIREWALLS),
    Collection(resource("firewall_policy", "firewall_policies", ("firewall_rules/*", "firewall_rule"),
                        path="fwaas/firewall_policies"), beyond=FIREWALLS),
    Collection(resource("firewall_rule", "firewall_rules", path="fwaas/firewall_rules"), beyond=FIREWALLS),
    Collection(resource("bgp_speaker", "bgp_speakers"), reads="admin", writes="admin", beyond=BGP),
    Collection(resource("bgp_peer", "bgp_peers"), reads="admin", writes="admin", beyond=BGP),
)  # fmt: skip

# Rules of quality of service stand below their policy and, by an alias, alone: an id is enough then.
RULES_OF_POLICIES = ("bandwidth_limit", "dscp_marking", "minimum_bandwidth", "minimum-packet-rate")
ALIASES = tuple(
    Resource(name=f"alias_{name.replace('-', '_')}_rule", plural=f"alias_{name.replace('-', '_')}_rules",
             path=f"qos/alias-{name.replace('_', '-')}-rules")
    for name in RULES_OF_POLICIES
)  # fmt: skip
RESOURCES = (*(one.resource for one in COLLECTIONS), *ALIASES)


def _rows() -> tuple[Row, ...]:
    rows = []
    for one in COLLECTIONS:
        path, name = one.resource.path, one.resource.name
        rows += _lines(one, path, one.top, (), one.create)
        rows += _lines(one, f"{path}/{{id}}", one.one, one.resource.refs, one.update)
        if one.beyond:
            rows.append(row(f"{path}/{{id}}/**", _methods(ANY, one), PLACED, name, beyond=one.beyond))
        for tagged in one.tags:
            rows.append(row(f"{tagged}/{{id}}/tags", _methods("GET POST PUT DELETE", one), PLACED, name))
            rows.append(row(f"{tagged}/{{id}}/tags/{{id}}", _methods("GET PUT DELETE", one), PLACED, name))
    for path in (*(f"qos/policies/{{id}}/{rule}" for rule in (*_rules(), "packet_rate_limit_rules")),
                 "policies/{id}/packet_rate_limit_rules"):  # fmt: skip
        rows.append(row(path, "GET POST:manager", PLACED, "policy"))
        rows.append(row(f"{path}/{{id}}", "GET PUT:manager DELETE:manager", PLACED, "policy"))
    rows += [row(f"{one.path}/{{id}}", "GET PUT:manager DELETE:manager", PLACED, one.name) for one in ALIASES]
    return tuple(rows)


def _lines(
    one: Collection, path: str, methods: str, refs: tuple[Ref, ...], fields: tuple[str, ...]
) -> list[Row]:
    """The lines of a path: one, or two where what changes something is of another kind."""
    words = methods.split()
    kinds: dict[Kind, list[str]] = {}
    for word in words:
        kinds.setdefault(PLACED if word == "GET" else one.changes, []).append(word)
    envelopes = (one.resource.envelope, f"{one.resource.plural}/*")
    admin_fields = tuple(f"{place}/{field}" for field in fields for place in envelopes)
    return [
        row(
            path,
            _methods(" ".join(some), one),
            kind,
            one.resource.name,
            refs=refs,
            admin_fields=admin_fields,
            beyond=one.beyond,
        )
        for kind, some in kinds.items()
    ]


def _rules() -> tuple[str, ...]:
    """The rules of a policy, as its paths name them."""
    return tuple(f"{name}-rules" if "-" in name else f"{name}_rules" for name in RULES_OF_POLICIES)


def _methods(methods: str, one: Collection) -> str:
    """Methods, each with its least role where that is not the usual one."""
    roles = ((method, one.reads if method in {"GET", "HEAD"} else one.writes) for method in methods.split())
    return " ".join(f"{method}:{role}" if role else method for method, role in roles)


INTERFACE = (Ref("subnet_id", "subnet"), Ref("port_id", "port"))
SUBPORTS = (Ref("sub_ports/*/port_id", "port"),)
GATEWAYS = tuple(f"router/external_gateways/*/{name}" for name in ("enable_snat", "external_fixed_ips"))
GATEWAY_REFS = (
    Ref("router/external_gateways/*/network_id", "network"),
    Ref("router/external_gateways/*/external_fixed_ips/*/subnet_id", "subnet"),
)
ASSOCIATED = (Ref("port_association/fixed_port_id", "port"),)
FORWARDED = (
    Ref("port_forwarding/internal_port_id", "port"),
    Ref("port_forwardings/*/internal_port_id", "port"),
)
OVN = "of OVN's router, which cannot be loaded beside the others"

ROUTES = (
    *_rows(),
    row("address-groups/{id}/add_addresses", "PUT", PLACED, "address_group"),
    row("address-groups/{id}/remove_addresses", "PUT", PLACED, "address_group"),
    row("agents/{id}/dhcp-networks", "GET POST", PLACED, "agent", role="admin",
        refs=(Ref("network_id", "network"),)),
    row("agents/{id}/dhcp-networks/{id}", "DELETE", PLACED, "agent", role="admin"),
    row("agents/{id}/l3-routers", "GET POST", PLACED, "agent", role="admin",
        refs=(Ref("router_id", "router"),)),
    row("agents/{id}/l3-routers/{id}", "PUT DELETE", PLACED, "agent", role="admin"),
    row("networks/{id}/dhcp-agents", "GET", PLACED, "network", role="admin"),
    row("routers/{id}/l3-agents", "GET", PLACED, "router", role="admin"),
    row("ports/{id}/bindings", "GET POST", PLACED, "port", role="service"),
    row("ports/{id}/bindings/{id}", "GET PUT:admin DELETE", PLACED, "port", role="service"),
    row("ports/{id}/bindings/{id}/activate", "PUT", PLACED, "port", role="service"),
    row("routers/{id}/add_router_interface", "PUT", PLACED, "router", refs=INTERFACE),
    row("routers/{id}/remove_router_interface", "PUT", PLACED, "router", refs=INTERFACE),
    row("routers/{id}/add_extraroutes", "PUT", PLACED, "router"),
    row("routers/{id}/remove_extraroutes", "PUT", PLACED, "router"),
    row("routers/{id}/add_external_gateways", "PUT", PLACED, "router", refs=GATEWAY_REFS,
        admin_fields=GATEWAYS, beyond=OVN),
    row("routers/{id}/update_external_gateways", "PUT", PLACED, "router", refs=GATEWAY_REFS,
        admin_fields=GATEWAYS, beyond=OVN),
    row("routers/{id}/remove_external_gateways", "PUT", PLACED, "router", beyond=OVN),
    row("routers/{id}/conntrack_helpers", "GET POST", PLACED, "router"),
    row("routers/{id}/conntrack_helpers/{id}", "GET PUT DELETE", PLACED, "router"),
    row("floatingips/{id}/port_forwardings", "GET POST", PLACED, "floatingip", refs=FORWARDED),
    row("floatingips/{id}/port_forwardings/{id}", "GET PUT DELETE", PLACED, "floatingip", refs=FORWARDED),
    row("local-ips/{id}/port_associations", "GET POST", PLACED, "local_ip", refs=ASSOCIATED),
    row("local-ips/{id}/port_associations/{id}", "GET DELETE", PLACED, "local_ip"),
    row("local_ips/{id}/port_associations", "GET POST", PLACED, "local_ip", refs=ASSOCIATED),
    row("local_ips/{id}/port_associations/{id}", "GET DELETE", PLACED, "local_ip"),
    row("subnetpools/{id}/add_prefixes", "PUT", PLACED, "subnetpool"),
    row("subnetpools/{id}/remove_prefixes", "PUT", PLACED, "subnetpool"),
    row("subnetpools/{id}/onboard_network_subnets", "PUT", PLACED, "subnetpool",
        refs=(Ref("network_id", "network"),)),
    row("trunks/{id}/get_subports", "GET", PLACED, "trunk"),
    row("trunks/{id}/add_subports", "PUT", PLACED, "trunk", refs=SUBPORTS),
    row("trunks/{id}/remove_subports", "PUT", PLACED, "trunk", refs=SUBPORTS),
    row("flavors/{id}/service_profiles", "POST", PLACED, "network_flavor", role="admin",
        refs=(Ref("service_profile/id", "service_profile"),)),
    row("flavors/{id}/service_profiles/{id}", "GET DELETE:admin", PLACED, "network_flavor"),
    row("flavors/{id}/next_providers/{id}", "GET", PLACED, "network_flavor", role="admin"),
    row("availability_zones", "GET", Kind.ZONES),
    row("quotas", "GET", Kind.SUMMED, "quota", role="manager"),
    row("quotas/tenant", "GET", Kind.ANY_SITE, role="any"),
    row("quotas/project", "GET", Kind.ANY_SITE, role="any"),
    row("quotas/{id}", "GET:any PUT:admin DELETE:admin", Kind.SUMMED, "quota", of_project=True),
    row("quotas/{id}/default", "GET", Kind.SUMMED, "quota", role="any", of_project=True),
    row("quotas/{id}/details", "GET", Kind.SUMMED, "quota", role="any", of_project=True),
    row("extensions", "GET", Kind.COMMON, role="any"),
    row("extensions/{id}", "GET", Kind.COMMON, role="any"),
    row("service-providers", "GET", Kind.ANY_SITE),
    row("qos/rule-types", "GET", Kind.ANY_SITE),
    row("qos/rule-types/{id}", "GET", Kind.ANY_SITE),
    row("log/loggable-resources", "GET", Kind.ANY_SITE, role="manager"),
    row("auto-allocated-topology", "GET", Kind.ANY_SITE),
    row("auto-allocated-topology/{id}", "GET DELETE", Kind.TOPOLOGY),
    row("vpn/**", ANY, Kind.ANY_SITE, beyond=VPN),
)  # fmt: skip

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
