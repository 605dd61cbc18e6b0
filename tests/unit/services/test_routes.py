"""The tables of compute, block storage, images and networks against what installed ones say of themselves.

`nova-2026.2.json` is written by `tools/nova-routes`, and so on; `tests/e2e/test_routes.py` holds these files
against the services of the real sandbox.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atoll.services.block_storage import BLOCK_STORAGE
from atoll.services.catalog import SERVICES
from atoll.services.compute import COMPUTE
from atoll.services.image import IMAGE
from atoll.services.network import NETWORK
from atoll.services.table import ANY, READ_BY_ALL, ROLES, Kind, Others, Row, Service, row


def facts(name: str) -> list[dict[str, Any]]:
    """The operations of an installed service."""
    found: list[dict[str, Any]] = json.loads((Path(__file__).parent / f"{name}-2026.2.json").read_text())[
        "operations"
    ]
    return found


OPERATIONS = facts("nova")
CINDER = facts("cinder")
GLANCE = facts("glance")
NEUTRON = facts("neutron")

# The root of a version, which is a document about versions: gateway/discovery.py.
DISCOVERY = {""}

# What Nova checks for some requests only, and where the table says so: a parameter, a place in the body, or
# why it stands in no line.
ONLY_SHOWS_MORE = "an administrator is shown more; nobody is refused"
OF_WHAT_IS_NAMED = "depends on what the site has under the id that is named, which the site alone knows"
SOME_REQUESTS = {
    "os_compute_api:servers:index:get_all_tenants": ("query", "all_tenants"),
    "os_compute_api:servers:detail:get_all_tenants": ("query", "all_tenants"),
    "os_compute_api:servers:allow_all_filters": ("query", "host"),
    "os_compute_api:os-server-groups:index:all_projects": ("query", "all_projects"),
    "os_compute_api:limits:other_project": ("query", "tenant_id"),
    "os_compute_api:os-migrations:index:all_projects": ("query", "project_id"),
    "compute:servers:create:requested_destination": ("field", "server/host"),
    "os_compute_api:os-migrate-server:migrate:host": ("field", "migrate/host"),
    "os_compute_api:os-migrate-server:migrate_live:host": ("field", "os-migrateLive/host"),
    "os_compute_api:os-shelve:unshelve_to_host": ("field", "unshelve/host"),
    "os_compute_api:servers:create:forced_host": ("reason", "a host in the zone's name"),
    "os_compute_api:servers:create:zero_disk_flavor": ("reason", OF_WHAT_IS_NAMED),
    "network:attach_external_network": ("reason", OF_WHAT_IS_NAMED),
    "os_compute_api:os-lock-server:unlock:unlock_override": ("reason", OF_WHAT_IS_NAMED),
    "os_compute_api:os-volumes-attachments:swap": ("reason", "a volume other than the one of the path"),
    "compute:servers:resize:cross_cell": ("reason", "nobody may; a site resizes within the cell then"),
    "os_compute_api:os-extended-server-attributes": ("reason", ONLY_SHOWS_MORE),
    "os_compute_api:os-flavor-extra-specs:index": ("reason", ONLY_SHOWS_MORE),
    "os_compute_api:os-instance-actions:events": ("reason", ONLY_SHOWS_MORE),
    "os_compute_api:os-instance-actions:events:details": ("reason", ONLY_SHOWS_MORE),
    "os_compute_api:os-migrations:index:host": ("reason", ONLY_SHOWS_MORE),
    "os_compute_api:servers:migrations:index:host": ("reason", ONLY_SHOWS_MORE),
    "os_compute_api:servers:show:host_status": ("reason", ONLY_SHOWS_MORE),
    "os_compute_api:servers:show:host_status:unknown-only": ("reason", ONLY_SHOWS_MORE),
    "compute:server:topology:host:index": ("reason", ONLY_SHOWS_MORE),
    # Cinder
    "volume:force_delete": ("query", "force"),
    "volume_extension:volume_actions:upload_public": ("field", "os-volume_upload_image/visibility=public"),
    "volume:update_volume_admin_metadata": (
        "reason",
        "Cinder asks it with a context that it elevates itself",
    ),
    "backup:backup_project_attribute": ("reason", ONLY_SHOWS_MORE),
    "group:access_group_types_specs": ("reason", ONLY_SHOWS_MORE),
    "group:group_project_attribute": ("reason", ONLY_SHOWS_MORE),
    "group:group_snapshot_project_attribute": ("reason", ONLY_SHOWS_MORE),
    "limits_extension:used_limits": ("reason", ONLY_SHOWS_MORE),
    "volume_extension:access_types_qos_specs_id": ("reason", ONLY_SHOWS_MORE),
    "volume_extension:types_extra_specs:read_sensitive": ("reason", ONLY_SHOWS_MORE),
    "volume_extension:volume_host_attribute": ("reason", ONLY_SHOWS_MORE),
    "volume_extension:volume_mig_status_attribute": ("reason", ONLY_SHOWS_MORE),
    "volume_extension:volume_type_access": ("reason", ONLY_SHOWS_MORE),
    # Glance
    "copy_image": ("field", "method/name=copy-image"),
    "publicize_image": ("field", "visibility=public"),
    "delete_image_location": ("reason", "only where a site shows the locations of an image, as none should"),
    # Neutron; its policies of fields name them
    "get_quota": ("reason", "of another project, as the line says"),
}

# Lines for all that is below an id, and what that is: kind and least role are right for each.
BELOW = {
    "volumes/{id}/**": {"encryption", "metadata"},
    "snapshots/{id}/**": {"metadata"},
    "types/{id}/**": {"action", "encryption", "os-volume-type-access"},
    "group_types/{id}/**": {"group_specs"},
    "qos-specs/{id}/**": {"associate", "associations", "delete_keys", "disassociate", "disassociate_all"},
    "images/{id}/**": {"actions", "members", "tags", "tasks"},
    "metadefs/namespaces/{id}/**": {"objects", "properties", "resource_types", "tags"},
}


def parts_of(path: str) -> list[bytes]:
    """A template as a path that could be asked for."""
    return [b"0f1e2d3c" if part == "{id}" else part.encode() for part in path.split("/")]


def differences(service: Service, operations: list[dict[str, Any]]) -> list[str]:
    """What a table and a service's own route list do not agree on, a line each."""
    found = []
    used: set[tuple[str, str]] = set()
    actions: dict[str, set[str]] = {}
    for one in operations:
        method, path, action, role = one["method"], one["path"], one.get("action", ""), one["role"]
        if path in DISCOVERY:
            continue
        name = f"{method} {path}" + (f" ({action})" if action else "")
        route = service.match(method.encode(), parts_of(path)).route
        if route is None:
            found.append(f"{name}: in no table")
            continue
        used.add((method, route.template))
        actions.setdefault(route.template, set()).add(action)
        ours = route.actions.get(action, route.role)
        if ours != role:
            found.append(f"{name}: {role} may at least, the line {route.template} says {ours}")
    for line in service.rows:
        methods = {method for method, template in used if template == line.path}
        unused = set(line.roles) - methods
        wild = line.path.endswith("**")
        if line.beyond:
            if methods:
                found.append(f"{line.path}: is of no release that is known, and matches {sorted(methods)}")
        elif not methods or (unused and not (wild and line.methods in {ANY, READ_BY_ALL})):
            found.append(f"{line.path}: has no {' '.join(sorted(unused))}")
        unknown = set(line.actions) - actions.get(line.path, set())
        if unknown:
            found.append(f"{line.path}: has no action {' '.join(sorted(unknown))}")
    return found


def test_every_route_of_nova_is_classified_by_kind_and_least_role() -> None:
    assert differences(COMPUTE, OPERATIONS) == []


def test_every_route_of_cinder_is_classified_by_kind_and_least_role() -> None:
    assert differences(BLOCK_STORAGE, CINDER) == []


def test_every_route_of_glance_is_classified_by_kind_and_least_role() -> None:
    assert differences(IMAGE, GLANCE) == []


def test_every_route_of_neutron_is_classified_by_kind_and_least_role() -> None:
    assert differences(NETWORK, NEUTRON) == []


def with_rows(*rows: Row, without: str = "") -> Service:
    """The table of compute with other lines."""
    kept = tuple(one for one in COMPUTE.rows if one.path != without)
    return replace(COMPUTE, rows=(*kept, *rows))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (with_rows(without="os-console-auth-tokens/{id}"), "GET os-console-auth-tokens/{id}: in no table"),
        (with_rows(row("os-things", "GET", Kind.PLACED)), "os-things: has no GET"),
        (
            with_rows(row("limits", "GET PUT", Kind.SUMMED, role="any"), without="limits"),
            "limits: has no PUT",
        ),
        (
            with_rows(row("limits", "GET", Kind.SUMMED), without="limits"),
            "GET limits: any may at least, the line limits says reader",
        ),
        (
            with_rows(without="servers/{id}/diagnostics"),
            "GET servers/{id}/diagnostics: admin may at least, the line servers/{id}/** says reader",
        ),
        (
            with_rows(row("limits", "GET", Kind.SUMMED, role="any", beyond="old"), without="limits"),
            "limits: is of no release that is known, and matches ['GET']",
        ),
        (
            with_rows(
                row("flavors/{id}/action", "POST", Kind.SHARED, role="admin", actions={"fly": "any"}),
                without="flavors/{id}/action",
            ),
            "flavors/{id}/action: has no action fly",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said(changed: Service, said: str) -> None:
    assert said in differences(changed, OPERATIONS)


def test_every_action_has_its_least_role() -> None:
    route = COMPUTE.match(b"POST", [b"servers", b"x", b"action"]).route
    assert route is not None
    roles = {one["action"]: one["role"] for one in OPERATIONS if one["path"] == "servers/{id}/action"}
    assert len(roles) > 35
    assert {action: route.actions.get(action, route.role) for action in roles} == roles


def of_field(policy: str, places: tuple[str, ...]) -> bool:
    """Whether a policy of Neutron's (`create_network:shared`) is of one of these places in a body."""
    thing, _, field = policy.partition(":")
    thing = thing.partition("_")[2]
    return bool(field) and not {f"{thing}/{field}", f"{thing}/{field.replace(':', '/')}"}.isdisjoint(places)


@pytest.mark.parametrize(
    ("service", "operations"),
    [(COMPUTE, OPERATIONS), (BLOCK_STORAGE, CINDER), (IMAGE, GLANCE), (NETWORK, NEUTRON)],
)
def test_what_only_administrators_may_ask_is_named(
    service: Service, operations: list[dict[str, Any]]
) -> None:
    unnamed = []
    for one in operations:
        for policy, role in {**one.get("policies", {}), **one.get("also", {})}.items():
            route = service.match(one["method"].encode(), parts_of(one["path"])).route
            if route is None:
                assert one["path"] in DISCOVERY, one["path"]
                continue
            own = route.actions.get(one.get("action", ""), route.role)
            if role != "nobody" and ROLES.index(role) <= ROLES.index(own):
                continue
            kind, name = SOME_REQUESTS.get(policy, ("", ""))
            named = {"query": route.admin_queries, "field": route.admin_fields, "reason": {name}}
            if name not in named.get(kind, ()) and not of_field(policy, route.admin_fields):
                unnamed.append(f"{one['method']} {one['path']}: {policy}")
    assert unnamed == []


@pytest.mark.parametrize(
    ("service", "operations"), [(BLOCK_STORAGE, CINDER), (IMAGE, GLANCE), (NETWORK, NEUTRON)]
)
def test_what_stands_below_an_id_without_a_line_of_its_own_is_said(
    service: Service, operations: list[dict[str, Any]]
) -> None:
    below: dict[str, set[str]] = {}
    for one in operations:
        route = service.match(one["method"].encode(), parts_of(one["path"])).route
        if route is not None and route.template.endswith("{id}/**"):
            tail = one["path"].removeprefix(route.template.removesuffix("**"))
            below.setdefault(route.template, set()).add(tail.partition("/")[0])
    lines = {line.path for line in service.rows if line.path.endswith("{id}/**") and not line.beyond}
    assert below == {path: BELOW[path] for path in lines}


def queries_of(method: str, path: str) -> set[str]:
    """The parameters that Nova knows for an operation."""
    return {
        name
        for one in OPERATIONS
        if (one["method"], one["path"]) == (method, path)
        for name in (*one.get("query", ()), *(f"sort_key={key}" for key in one.get("sort_keys", ())))
    }


def test_admin_queries_are_nova_s_own() -> None:
    """Each is a parameter of an operation of its line, so that no misspelt one stands there."""
    for line in COMPUTE.rows:
        asked = {"status=deleted"}.union(*(queries_of(method, line.path) for method in line.roles))
        assert set(line.admin_queries) <= asked, line.path


def test_a_filter_is_for_everyone_or_for_administrators() -> None:
    """Every parameter of a list of servers; those that Nova takes from everybody are named here."""
    everyone = {
        "name", "status", "image", "flavor", "ip", "ip6", "changes-since", "changes-before", "reservation_id",
        "tags", "tags-any", "not-tags", "not-tags-any", "locked", "availability_zone", "config_drive",
        "key_name", "created_at", "launched_at", "terminated_at", "power_state", "task_state", "vm_state",
        "progress", "user_id", "hostname", "limit", "marker", "sort_key", "sort_dir",
    }  # fmt: skip
    route = COMPUTE.match(b"GET", [b"servers", b"detail"]).route
    assert route is not None
    asked = {name for name in queries_of("GET", "servers/detail") if "=" not in name}
    assert asked - everyone - set(route.admin_queries) == set()
    assert not everyone & set(route.admin_queries)
    assert route.admin_queries["all_tenants"] is Others.REFUSED


def test_every_sort_key_is_shown_or_refused() -> None:
    """What Nova sorts servers by: a key in no set would be merged by a field that no answer has."""
    same_name = {"locked", "progress", "user_id"}
    server = COMPUTE.by_name["server"]
    (detail,) = (one for one in OPERATIONS if (one["method"], one["path"]) == ("GET", "servers/detail"))
    assert set(detail["sort_keys"]) - set(server.shown) - server.unseen - same_name == set()
    assert not same_name & (set(server.shown) | server.unseen)


def test_every_role_is_one_and_every_line_matches_itself() -> None:
    for service in SERVICES.values():
        for line in service.rows:
            for method, role in line.roles.items():
                assert role in ROLES, line.path
                path = line.path.replace("**", "any/thing")
                route = service.match(method.encode(), parts_of(path)).route
                assert route is not None, line.path
                assert (route.template, route.role) == (line.path, role)


def test_no_line_is_written_twice() -> None:
    for service in SERVICES.values():
        lines = [(line.path, method) for line in service.rows for method in line.roles]
        assert len(lines) == len(set(lines)), service.service_type
