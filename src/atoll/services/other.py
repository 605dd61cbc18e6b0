"""Every other service of a site's catalogue: what Atoll makes of its paths, in a table each.

A path that is in no table belongs to a site, and so does all of a service without one: where several have the
service, `/{service}@{site}/…` says which is meant. What a site has is below that in any case, as it is.

placed     lives in one site: found by search, made at a site that is chosen
united     every site is asked, and the answers are put together
alike      a name that means the same at every site: changed at all of them
allocated  named by a consumer, at the site of the resource providers in the body
"""

import re

from atoll.core.settings import OTHER_SERVICES
from atoll.services.table import ANY, Kind, Ref, Resource, Row, Service, row

PLACED, UNITED, ALIKE, ALLOCATED = Kind.PLACED, Kind.UNITED, Kind.ALIKE, Kind.ALLOCATED
PROJECT = re.compile(rb"[0-9a-f]{32}\Z|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
ACCOUNT = re.compile(rb"AUTH_[^/]+\Z")
ACCOUNT_ROUTE = ".account"  # stands for the account itself: a path that ends with it


def collection(name: str, path: str, *, role: str = "", create: str = "GET POST") -> tuple[Row, ...]:
    """The lines of an ordinary collection: listed and made, and all that is below one thing of it."""
    more = {"role": role} if role else {}
    return (
        row(path, create, UNITED, name, **more),
        row(f"{path}/{{id}}", ANY, PLACED, name, **more),
        row(f"{path}/{{id}}/**", ANY, PLACED, name, **more),
    )


PLACEMENT = Service(
    service_type="placement", aliases=(), versions=(), other=True,
    resources=(
        Resource(name="resource_provider", plural="resource_providers", path="resource_providers",
                 marker="uuid", paged=False,
                 refs=(Ref("parent_provider_uuid", "resource_provider"),)),
    ),
    rows=(
        *collection("resource_provider", "resource_providers", role="admin"),
        row("traits", "GET", UNITED, role="admin"),
        row("traits/{name}", "GET PUT DELETE", ALIKE, role="admin"),
        row("resource_classes", "GET", UNITED, role="admin"),
        row("resource_classes", "POST", ALIKE, role="admin"),
        row("resource_classes/{name}", "GET PUT DELETE", ALIKE, role="admin"),
        row("allocation_candidates", "GET", UNITED, role="admin"),
        row("usages", "GET", UNITED),
        row("allocations/{consumer}", "GET", UNITED, role="admin"),
        row("allocations/{consumer}", "PUT DELETE", ALLOCATED, role="admin"),
        row("allocations", "POST", ALLOCATED, role="admin"),
        row("reshaper", "POST", ALLOCATED, role="admin"),
    ),
)  # fmt: skip

ORCHESTRATION = Service(
    service_type="orchestration", aliases=(), versions=("v1",), other=True,
    project_in_path="optional", project_form=PROJECT,
    resources=(Resource(name="stack", plural="stacks", path="stacks", id_form="any"),),
    rows=(
        row("stacks", "GET POST", UNITED, "stack"),
        row("stacks/detail", "GET", UNITED, "stack"),
        row("stacks/preview", "POST", Kind.ANY_SITE),
        row("validate", "POST", Kind.ANY_SITE),
        row("stacks/{id}", ANY, PLACED, "stack"),
        row("stacks/{id}/**", ANY, PLACED, "stack"),
        row("resource_types", "GET", UNITED),
        row("resource_types/{name}", "GET", ALIKE),
        row("resource_types/{name}/template", "GET", ALIKE),
        row("template_versions", "GET", UNITED),
        row("template_versions/{name}/functions", "GET", ALIKE),
        row("services", "GET", UNITED, role="admin"),
        *collection("software_config", "software_configs"),
        *collection("software_deployment", "software_deployments"),
    ),
)  # fmt: skip

VIP = "loadbalancer/vip_"
LOAD_BALANCER_REFS = {
    "load_balancer": (Ref(f"{VIP}subnet_id", "subnet"), Ref(f"{VIP}network_id", "network"),
                      Ref(f"{VIP}port_id", "port")),
    "listener": (Ref("listener/loadbalancer_id", "load_balancer"),
                 Ref("listener/default_pool_id", "load_balancer_pool")),
    "load_balancer_pool": (Ref("pool/loadbalancer_id", "load_balancer"), Ref("pool/listener_id", "listener")),
    "l7policy": (Ref("l7policy/listener_id", "listener"),
                 Ref("l7policy/redirect_pool_id", "load_balancer_pool")),
    "health_monitor": (Ref("healthmonitor/pool_id", "load_balancer_pool"),),
}  # fmt: skip


def _balanced(name: str, plural: str, path: str = "") -> Resource:
    return Resource(
        name=name,
        plural=plural,
        singular={"l7policies": "l7policy", "amphorae": "amphora"}.get(plural, plural.removesuffix("s")),
        path=path or f"lbaas/{plural}",
        refs=LOAD_BALANCER_REFS.get(name, ()),
    )


LOAD_BALANCER = Service(
    service_type="load-balancer", aliases=(), versions=("v2", "v2.0"), other=True,
    resources=(
        _balanced("load_balancer", "loadbalancers"), _balanced("listener", "listeners"),
        _balanced("load_balancer_pool", "pools"), _balanced("l7policy", "l7policies"),
        _balanced("health_monitor", "healthmonitors"), _balanced("load_balancer_flavor", "flavors"),
        _balanced("load_balancer_flavor_profile", "flavorprofiles"),
        _balanced("amphora", "amphorae", "octavia/amphorae"),
    ),
    rows=(
        *collection("load_balancer", "lbaas/loadbalancers"), *collection("listener", "lbaas/listeners"),
        *collection("load_balancer_pool", "lbaas/pools"), *collection("l7policy", "lbaas/l7policies"),
        *collection("health_monitor", "lbaas/healthmonitors"),
        *collection("load_balancer_flavor", "lbaas/flavors"),
        *collection("load_balancer_flavor_profile", "lbaas/flavorprofiles", role="admin"),
        *collection("amphora", "octavia/amphorae", role="admin", create="GET"),
        row("lbaas/providers", "GET", UNITED),
        row("lbaas/providers/{name}/**", "GET", ALIKE),
    ),
)  # fmt: skip

DNS = Service(
    service_type="dns", aliases=(), versions=("v2",), other=True,
    resources=(
        Resource(name="dns_zone", plural="zones", path="zones"),
        Resource(name="dns_recordset", plural="recordsets", path="recordsets"),
        Resource(name="dns_zone_import", plural="imports", path="zones/tasks/imports"),
        Resource(name="dns_zone_export", plural="exports", path="zones/tasks/exports"),
        Resource(name="dns_transfer_request", plural="transfer_requests",
                 path="zones/tasks/transfer_requests"),
        Resource(name="dns_transfer_accept", plural="transfer_accepts", path="zones/tasks/transfer_accepts",
                 refs=(Ref("zone_transfer_request_id", "dns_transfer_request"),)),
        Resource(name="tsigkey", plural="tsigkeys", path="tsigkeys"),
    ),
    rows=(
        *collection("dns_zone", "zones"),
        *collection("dns_zone_import", "zones/tasks/imports"),
        *collection("dns_zone_export", "zones/tasks/exports", create="GET"),
        *collection("dns_transfer_request", "zones/tasks/transfer_requests", create="GET"),
        *collection("dns_transfer_accept", "zones/tasks/transfer_accepts"),
        row("recordsets", "GET", UNITED, "dns_recordset"),
        row("recordsets/{id}", "GET", PLACED, "dns_recordset"),
        row("reverse/floatingips", "GET", UNITED),
        *collection("tsigkey", "tsigkeys", role="admin"),
        row("service_statuses", "GET", UNITED, role="admin"),
    ),
)  # fmt: skip

KEY_MANAGER = Service(
    service_type="key-manager", aliases=(), versions=("v1",), other=True,
    resources=(
        Resource(name="secret", plural="secrets", path="secrets", by_offset=True),
        Resource(name="secret_container", plural="containers", path="containers", by_offset=True,
                 refs=(Ref("secret_refs/*/secret_ref", "secret"),)),
        Resource(name="secret_order", plural="orders", path="orders", by_offset=True),
    ),
    rows=(
        *collection("secret", "secrets"), *collection("secret_container", "containers"),
        *collection("secret_order", "orders"),
    ),
)  # fmt: skip

OBJECT_STORE = Service(
    service_type="object-store", aliases=(), versions=("v1",), other=True,
    project_in_path="optional", project_form=ACCOUNT,
    resources=(Resource(name="object_container", plural="", path="", id_form="any", marker="name"),),
    rows=(
        row(ACCOUNT_ROUTE, "GET", UNITED, "object_container"),
        row("{id}", ANY, PLACED, "object_container", raw=True),
        row("{id}/**", ANY, PLACED, "object_container", raw=True),
    ),
)  # fmt: skip

BAREMETAL = Service(
    service_type="baremetal", aliases=(), versions=("v1",), other=True,
    resources=tuple(
        Resource(name=f"baremetal_{plural.removesuffix('s')}", plural=plural, path=plural, id_form="any",
                 marker="uuid", refs=refs)
        for plural, refs in (
            ("nodes", ()), ("ports", (Ref("node_uuid", "baremetal_node"),)),
            ("portgroups", (Ref("node_uuid", "baremetal_node"),)), ("chassis", ()), ("allocations", ()),
            ("deploy_templates", ()), ("runbooks", ()),
        )
    ),
    rows=(
        *(line for plural in ("nodes", "ports", "portgroups", "chassis", "allocations", "deploy_templates",
                              "runbooks")
          for line in collection(f"baremetal_{plural.removesuffix('s')}", plural, role="admin")),
        row("nodes/detail", "GET", UNITED, "baremetal_node", role="admin"),
        row("ports/detail", "GET", UNITED, "baremetal_port", role="admin"),
        row("portgroups/detail", "GET", UNITED, "baremetal_portgroup", role="admin"),
        row("drivers", "GET", UNITED, role="admin"),
        row("drivers/{name}", "GET", ALIKE, role="admin"),
        row("conductors", "GET", UNITED, role="admin"),
    ),
)  # fmt: skip

_WITH_A_TABLE = (PLACEMENT, ORCHESTRATION, LOAD_BALANCER, DNS, KEY_MANAGER, OBJECT_STORE, BAREMETAL)
_TABLES = {one.service_type: one for one in _WITH_A_TABLE}

OTHER = {
    name: _TABLES.get(name)
    or Service(service_type=name, aliases=(), versions=(), other=True, resources=(), rows=())
    for name in OTHER_SERVICES
}
"""All of them by type."""

NEXT = {"load-balancer": "{plural}_links", "orchestration": "links", "dns": "links"}
"""Where a page says that there is more: in a list of links, Designate in an object, the others in `next`."""
