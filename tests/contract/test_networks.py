"""Networks: create, list, page, sort, filter, routers, floating IPs, security groups, tags, quotas."""

from typing import Any

import pytest
from tests.contract.conftest import UNKNOWN, Answer, SiteUnderTest

MISSING = {
    "networks": ("NetworkNotFound", f"Network {UNKNOWN} could not be found."),
    "subnets": ("SubnetNotFound", f"Subnet {UNKNOWN} could not be found."),
    "ports": ("PortNotFound", f"Port {UNKNOWN} could not be found."),
    "routers": ("RouterNotFound", f"Router {UNKNOWN} could not be found"),
    "floatingips": ("FloatingIPNotFound", f"Floating IP {UNKNOWN} could not be found"),
    "security-groups": ("SecurityGroupNotFound", f"Security group {UNKNOWN} does not exist"),
    "security-group-rules": ("SecurityGroupRuleNotFound", f"Security group rule {UNKNOWN} does not exist"),
    "subnetpools": ("SubnetPoolNotFound", f"Subnet pool {UNKNOWN} could not be found."),
    "address-scopes": ("AddressScopeNotFound", f"Address scope {UNKNOWN} could not be found."),
}


def call(site: SiteUnderTest, method: str, path: str, body: Any = None, **options: Any) -> Answer:
    return site.call(method, "network", "/v2.0" + path, body, **options)


def fault(answer: Answer) -> tuple[int, str, str]:
    error = answer.json["NeutronError"]
    assert error["detail"] == ""
    return answer.status, error["type"], error["message"]


def make(site: SiteUnderTest, plural: str, singular: str, **fields: Any) -> dict[str, Any]:
    answer = call(site, "POST", f"/{plural}", {singular: fields})
    assert answer.status == 201, answer.text
    record: dict[str, Any] = answer.json[singular]
    site.undo.append(lambda: call(site, "DELETE", f"/{plural}/{record['id']}"))
    return record


def public(site: SiteUnderTest) -> str:
    return str(call(site, "GET", "/networks?router:external=True").json["networks"][0]["id"])


@pytest.mark.parametrize("plural", MISSING)
def test_not_found(site: SiteUnderTest, plural: str) -> None:
    for method in ("GET", "DELETE"):
        assert fault(call(site, method, f"/{plural}/{UNKNOWN}")) == (404, *MISSING[plural])


@pytest.mark.parametrize("plural", MISSING)
def test_unknown_attributes(site: SiteUnderTest, plural: str) -> None:
    filtered = call(site, "GET", f"/{plural}?nope=1")
    assert fault(filtered) == (400, "HTTPBadRequest", "['nope'] is invalid attribute for filtering")
    ordered = call(site, "GET", f"/{plural}?sort_key=nope&sort_dir=asc")
    assert fault(ordered) == (400, "HTTPBadRequest", "['nope'] is invalid attribute for sort_keys")


@pytest.mark.parametrize(
    ("query", "status", "kind", "message"),
    [
        (
            "limit=abc",
            400,
            "BadRequest",
            "Bad limit request: Limit must be an integer 0 or greater and not 'abc'.",
        ),
        (
            "limit=-1",
            400,
            "BadRequest",
            "Bad limit request: Limit must be an integer 0 or greater and not '-1'.",
        ),
        (f"limit=1&marker={UNKNOWN}", 404, *MISSING["networks"]),
        ("sort_key=name", 400, "HTTPBadRequest", "The number of sort_keys and sort_dirs must be same"),
        ("sort_dir=asc", 400, "HTTPBadRequest", "The number of sort_keys and sort_dirs must be same"),
        (
            "sort_key=name&sort_dir=nope",
            400,
            "HTTPBadRequest",
            "['nope'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'",
        ),
        (
            "admin_state_up=nope",
            400,
            "InvalidInput",
            "Invalid input for operation: 'nope' cannot be converted to boolean.",
        ),
    ],
)
def test_list_refused(site: SiteUnderTest, query: str, status: int, kind: str, message: str) -> None:
    assert fault(call(site, "GET", f"/networks?{query}")) == (status, kind, message)


def test_networks_in_bulk_and_in_pages(site: SiteUnderTest) -> None:
    names = ["contract-b", "contract-a", "contract-c"]
    made = call(site, "POST", "/networks", {"networks": [{"name": name} for name in names]})
    assert made.status == 201
    ids = {network["name"]: network["id"] for network in made.json["networks"]}
    site.undo.append(lambda: [call(site, "DELETE", f"/networks/{i}") for i in ids.values()])
    assert list(ids) == names
    query = "name=contract-a&name=contract-b&name=contract-c&fields=id&fields=name&sort_key=name&sort_dir=asc"
    first = call(site, "GET", f"/networks?limit=2&{query}").json
    assert [network["name"] for network in first["networks"]] == ["contract-a", "contract-b"]
    assert set(first["networks"][0]) == {"id", "name"}
    base = f"{site.root('network')}/v2.0/networks?limit=2&{query}"
    assert first["networks_links"] == [
        {"rel": "next", "href": f"{base}&marker={ids['contract-b']}"},
        {"rel": "previous", "href": f"{base}&marker={ids['contract-a']}&page_reverse=True"},
    ]
    last = call(site, "GET", f"/networks?limit=2&{query}&marker={ids['contract-b']}").json
    assert [network["name"] for network in last["networks"]] == ["contract-c"]
    assert [link["rel"] for link in last["networks_links"]] == ["previous"]
    back = call(site, "GET", f"/networks?limit=2&{query}&marker={ids['contract-c']}&page_reverse=True").json
    assert [network["name"] for network in back["networks"]] == ["contract-a", "contract-b"]
    unpaged = call(site, "GET", f"/networks?{query}&marker={UNKNOWN}").json
    assert (len(unpaged["networks"]), "networks_links" in unpaged) == (3, False)
    assert len(call(site, "GET", f"/networks?limit=0&{query}").json["networks"]) == 3
    empty = call(site, "GET", "/networks?limit=2&name=nope").json
    previous = f"{site.root('network')}/v2.0/networks?limit=2&name=nope&page_reverse=True"
    assert empty == {"networks": [], "networks_links": [{"rel": "previous", "href": previous}]}


def test_network_shows_more_to_admins(site: SiteUnderTest) -> None:
    network = make(site, "networks", "network", name="contract")
    for name in (
        "status",
        "subnets",
        "shared",
        "router:external",
        "tenant_id",
        "tags",
        "revision_number",
        "mtu",
    ):
        assert name in network
    assert not any(name.startswith("provider:") for name in network)
    seen = call(site, "GET", f"/networks/{network['id']}", user="admin").json["network"]
    assert {"provider:network_type", "provider:physical_network", "provider:segmentation_id"} <= set(seen)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Unable to find 'network' in request body"),
        (None, "Unable to find 'network' in request body"),
        ({"network": {"nope": 1}}, "Unrecognized attribute(s) 'nope'"),
        ({"network": {"name": 5}}, "Invalid input for name. Reason: '5' is not a valid string."),
    ],
)
def test_create_refused(site: SiteUnderTest, body: Any, message: str) -> None:
    assert fault(call(site, "POST", "/networks", body)) == (400, "HTTPBadRequest", message)


def test_required_attributes(site: SiteUnderTest) -> None:
    for plural, singular, name in (
        ("subnets", "subnet", "network_id"),
        ("ports", "port", "network_id"),
        ("floatingips", "floatingip", "floating_network_id"),
    ):
        message = f"Failed to parse request. Required attribute '{name}' not specified"
        given = {singular: {"ip_version": 4} if singular == "subnet" else {}}
        assert fault(call(site, "POST", f"/{plural}", given)) == (400, "HTTPBadRequest", message)


def test_subnets_and_ports(site: SiteUnderTest) -> None:
    network_id = make(site, "networks", "network", name="contract")["id"]
    given = {"network_id": network_id, "ip_version": 4, "cidr": "10.99.0.0/24"}
    subnet = make(site, "subnets", "subnet", **given)
    assert (subnet["gateway_ip"], subnet["allocation_pools"]) == (
        "10.99.0.1", [{"start": "10.99.0.2", "end": "10.99.0.254"}],
    )  # fmt: skip
    overlap = (
        f"Requested subnet with cidr: 10.99.0.0/24 for network: {network_id} overlaps with another subnet."
    )
    again = call(site, "POST", "/subnets", {"subnet": given})
    assert fault(again) == (400, "InvalidInput", f"Invalid input for operation: {overlap}")
    unknown = call(site, "POST", "/subnets", {"subnet": given | {"network_id": UNKNOWN}})
    assert fault(unknown) == (404, *MISSING["networks"])
    port = make(site, "ports", "port", network_id=network_id, name="p1")
    assert (port["status"], port["fixed_ips"][0]["subnet_id"]) == ("DOWN", subnet["id"])
    assert len(port["security_groups"]) == 1
    wrong = {"network_id": network_id, "fixed_ips": [{"ip_address": "1.2.3.4"}]}
    message = "IP address 1.2.3.4 is not a valid IP for any of the subnets on the specified network."
    assert fault(call(site, "POST", "/ports", {"port": wrong})) == (400, "InvalidIpForNetwork", message)
    used = fault(call(site, "DELETE", f"/networks/{network_id}"))
    assert used[:2] == (409, "NetworkInUse")
    assert used[2].endswith(f"id for these ports is: {port['id']}.")
    path = f"/ports/{port['id']}"
    assert call(site, "PUT", path, {"port": {"name": "p2"}}).json["port"]["name"] == "p2"
    read_only = fault(call(site, "PUT", path, {"port": {"id": "x"}}))
    assert read_only == (400, "HTTPBadRequest", "Cannot update read-only attribute id")
    other = fault(call(site, "PUT", path, {"network": {}}))
    assert other == (400, "HTTPBadRequest", "Unable to find 'port' in request body")
    found = call(site, "GET", f"/ports?network_id={network_id}&fields=id").json["ports"]
    assert found == [{"id": port["id"]}]


def test_router_and_floating_ip(site: SiteUnderTest) -> None:
    network_id, external = make(site, "networks", "network", name="contract")["id"], public(site)
    subnet_id = make(site, "subnets", "subnet", network_id=network_id, ip_version=4, cidr="10.98.0.0/24")[
        "id"
    ]
    router = make(site, "routers", "router", name="contract")
    path, interface = f"/routers/{router['id']}", {"subnet_id": subnet_id}
    added = call(site, "PUT", f"{path}/add_router_interface", interface)
    site.undo.append(lambda: call(site, "PUT", f"{path}/remove_router_interface", interface))
    assert (added.status, added.json["subnet_ids"]) == (200, [subnet_id])
    message = f"Bad router request: Router already has a port on subnet {subnet_id}."
    assert fault(call(site, "PUT", f"{path}/add_router_interface", interface)) == (400, "BadRequest", message)
    in_use = f"Router {router['id']} has ports still attached: {added.json['port_id']}"
    assert fault(call(site, "DELETE", path)) == (409, "RouterInUse", in_use)
    neither = "Bad router request: Either subnet_id or port_id must be specified."
    assert fault(call(site, "PUT", f"{path}/add_router_interface", {})) == (400, "BadRequest", neither)
    gateway = {"router": {"external_gateway_info": {"network_id": external}}}
    info = call(site, "PUT", path, gateway).json["router"]["external_gateway_info"]
    assert (info["network_id"], info["enable_snat"]) == (external, True)
    port = make(site, "ports", "port", network_id=network_id)
    floating = make(site, "floatingips", "floatingip", floating_network_id=external)
    assert (floating["status"], floating["port_id"]) == ("DOWN", None)
    given = {"floatingip": {"port_id": port["id"]}}
    bound = call(site, "PUT", f"/floatingips/{floating['id']}", given).json["floatingip"]
    assert (bound["router_id"], bound["fixed_ip_address"]) == (
        router["id"],
        port["fixed_ips"][0]["ip_address"],
    )
    wrong = {"floatingip": {"floating_network_id": network_id}}
    message = f"Bad floatingip request: Network {network_id} is not a valid external network."
    assert fault(call(site, "POST", "/floatingips", wrong)) == (400, "BadRequest", message)
    call(site, "DELETE", f"/floatingips/{floating['id']}")
    assert call(site, "PUT", f"{path}/remove_router_interface", interface).status == 200
    message = f"Router {router['id']} has no interface on subnet {subnet_id}"
    gone = fault(call(site, "PUT", f"{path}/remove_router_interface", interface))
    assert gone == (404, "RouterInterfaceNotFoundForSubnet", message)


def test_security_groups(site: SiteUnderTest) -> None:
    group = make(site, "security-groups", "security_group", name="contract")
    assert sorted(rule["direction"] for rule in group["security_group_rules"]) == ["egress", "egress"]
    taken = fault(call(site, "POST", "/security-groups", {"security_group": {"name": "default"}}))
    assert taken == (409, "SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
    given = {
        "security_group_id": group["id"], "direction": "ingress", "protocol": "tcp",
        "port_range_min": 22, "port_range_max": 22,
    }  # fmt: skip
    rule = call(site, "POST", "/security-group-rules", {"security_group_rule": given}).json[
        "security_group_rule"
    ]
    assert (rule["ethertype"], rule["normalized_cidr"]) == ("IPv4", None)
    again = fault(call(site, "POST", "/security-group-rules", {"security_group_rule": given}))
    message = f"Security group rule already exists. Rule id is {rule['id']}."
    assert again == (409, "SecurityGroupRuleExists", message)
    default = call(site, "GET", "/security-groups?name=default").json["security_groups"]
    assert [g["description"] for g in default] == ["Default security group"]
    assert len(default[0]["security_group_rules"]) == 4


def test_tags(site: SiteUnderTest) -> None:
    path = f"/networks/{make(site, 'networks', 'network', name='contract')['id']}"
    assert call(site, "PUT", f"{path}/tags/foo").status == 201
    assert call(site, "GET", f"{path}/tags").json == {"tags": ["foo"]}
    assert fault(call(site, "GET", f"{path}/tags/nope")) == (
        404,
        "TagNotFound",
        "Tag nope could not be found.",
    )
    assert call(site, "PUT", f"{path}/tags", {"tags": ["a", "b"]}).json == {"tags": ["a", "b"]}
    assert len(call(site, "GET", "/networks?tags=a&fields=id").json["networks"]) == 1


def test_quotas_extensions_agents(site: SiteUnderTest) -> None:
    path = f"/quotas/{site.demo.project_id}"
    quota = call(site, "GET", path).json["quota"]
    assert {"network", "subnet", "port", "router", "floatingip", "security_group"} <= set(quota)
    assert set(call(site, "GET", f"{path}/details").json["quota"]["network"]) == {"limit", "used", "reserved"}
    assert call(site, "GET", f"{path}/default").json == {"quota": quota}
    refused = fault(call(site, "GET", "/quotas"))
    assert refused == (403, "PolicyNotAuthorized", "rule:get_quota is disallowed by policy")
    aliases = {entry["alias"] for entry in call(site, "GET", "/extensions").json["extensions"]}
    assert {"router", "security-group", "standard-attr-tag", "quotas", "pagination", "sorting"} <= aliases
    assert call(site, "GET", "/extensions/nope").status == 404
    assert call(site, "GET", "/agents", user="admin").json == {"agents": []}


def test_a_quota_below_what_is_used(site: SiteUnderTest) -> None:
    path = f"/quotas/{site.demo.project_id}"
    site.undo.append(lambda: call(site, "DELETE", path, user="admin"))
    make(site, "networks", "network", name="contract")
    used = call(site, "GET", f"{path}/details").json["quota"]["network"]["used"]
    status, kind, message = fault(call(site, "PUT", path, {"quota": {"network": 0}}, user="admin"))
    assert (status, kind) == (400, "HTTPBadRequest")
    assert message.startswith("Quota limit 0 for network must be greater than or equal to already used ")
    assert call(site, "PUT", path, {"quota": {"network": used}}, user="admin").status == 200
    over = (409, "OverQuota", "Quota exceeded for resources: ['network'].")
    assert fault(call(site, "POST", "/networks", {"network": {"name": "contract"}})) == over
    forced = {"quota": {"network": 0, "force": True}}
    assert call(site, "PUT", path, forced, user="admin").json["quota"]["network"] == 0


def test_zones_of_networks(site: SiteUnderTest) -> None:
    assert call(site, "GET", "/availability_zones").json == {"availability_zones": []}
