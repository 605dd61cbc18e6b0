"""What a simulated Nova refuses before it does anything: types of body, their schemas, parameters of queries.

Messages are those of release 2026.2. What it says of routes that are gone is here as well. Knows no resource.
"""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from atoll.sandbox.simulated.instances import SORT_KEYS
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import UUID, Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

GONE = "This resource is no longer available. No forwarding address is given."
BROKEN = "The server has either erred or is incapable of performing the requested operation."
NO_RESOURCE = "The resource could not be found."
_TYPES = re.compile(r"(application/(vnd\.openstack\.compute\+)?json|text/plain|)\Z")

# Every microversion answers 410: methods and template, a line each.
_GONE_ROUTES = """
GET POST /servers/{id}/consoles
GET DELETE /servers/{id}/consoles/{console}
GET /servers/{id}/os-virtual-interfaces
GET POST /os-agents
PUT DELETE /os-agents/{id}
GET POST /os-cells
GET /os-cells/capacities
GET /os-cells/detail
GET /os-cells/info
POST /os-cells/sync_instances
GET PUT DELETE /os-cells/{id}
GET /os-cells/{id}/capacities
POST /os-certificates
GET /os-certificates/{id}
GET POST /os-cloudpipe
PUT /os-cloudpipe/{id}
GET /os-fixed-ips/{id}
POST /os-fixed-ips/{id}/action
GET /os-floating-ip-dns
PUT DELETE /os-floating-ip-dns/{id}
GET PUT DELETE /os-floating-ip-dns/{id}/entries/{entry}
GET POST /os-floating-ips-bulk
GET PUT /os-floating-ips-bulk/{id}
GET /os-fping
GET /os-fping/{id}
POST /os-networks
POST /os-networks/add
POST /os-networks/{id}/action
DELETE /os-networks/{id}
POST /os-tenant-networks
DELETE /os-tenant-networks/{id}
GET POST /os-security-group-default-rules
GET DELETE /os-security-group-default-rules/{id}
"""

# 404 from some microversion on; what they are before is not simulated.
_CLOSED_ROUTES = """
GET PUT /os-hosts/{id}
GET /os-hosts/{id}/reboot
GET /os-hosts/{id}/shutdown
GET /os-hosts/{id}/startup
GET POST /os-baremetal-nodes
GET DELETE /os-baremetal-nodes/{id}
POST /os-baremetal-nodes/{id}/action
POST /os-security-groups
GET PUT DELETE /os-security-groups/{id}
GET /os-hypervisors/{id}/uptime
GET /os-networks/{id}
GET /os-tenant-networks
GET /os-tenant-networks/{id}
GET POST /os-volumes
GET /os-volumes/detail
GET DELETE /os-volumes/{id}
GET POST /os-snapshots
GET /os-snapshots/detail
GET DELETE /os-snapshots/{id}
DELETE /images/{id}
GET POST PUT /images/{id}/metadata
GET PUT DELETE /images/{id}/metadata/{key}
"""

# The one key that a body must have, and of what type it is.
_BODIES: dict[tuple[str, str], tuple[str, type]] = {
    ("POST", "/servers"): ("server", dict),
    ("PUT", "/servers/{}"): ("server", dict),
    ("POST", "/flavors"): ("flavor", dict),
    ("POST", "/flavors/{}/os-extra_specs"): ("extra_specs", dict),
    ("POST", "/os-keypairs"): ("keypair", dict),
    ("POST", "/os-server-groups"): ("server_group", dict),
    ("POST", "/servers/{}/metadata"): ("metadata", dict),
    ("PUT", "/servers/{}/metadata"): ("metadata", dict),
    ("PUT", "/servers/{}/metadata/{}"): ("meta", dict),
    ("POST", "/servers/{}/os-volume_attachments"): ("volumeAttachment", dict),
    ("POST", "/servers/{}/remote-consoles"): ("remote_console", dict),
    ("PUT", "/os-quota-sets/{}"): ("quota_set", dict),
    ("POST", "/os-server-external-events"): ("events", list),
    ("POST", "/os-aggregates"): ("aggregate", dict),
    ("PUT", "/os-aggregates/{}"): ("aggregate", dict),
}
_OPTIONAL = {("POST", "/servers/{}/os-interface"): "interfaceAttachment"}  # the one key there may be

_EVENTS = {
    "network-changed": 1, "network-vif-plugged": 1, "network-vif-unplugged": 1, "network-vif-deleted": 1,
    "volume-extended": 51, "power-update": 76, "accelerator-request-bound": 82, "volume-reimaged": 93,
}  # fmt: skip
_EVENT_STATES = ("failed", "completed", "in-progress")
_EVENT_KEYS = {"name", "server_uuid", "status", "tag"}


@dataclass(frozen=True)
class _Query:
    """The parameters that a list knows; from `strict` on no others. `paged` is since when it has pages."""

    names: frozenset[str]
    strict: int = 75
    paged: int = 1


_FLAVORS = _Query(
    frozenset({"is_public", "limit", "marker", "minDisk", "minRam", "name", "sort_dir", "sort_key"})
)
_HYPERVISORS = _Query(
    frozenset({"limit", "marker", "hypervisor_hostname_pattern", "with_servers"}), strict=53, paged=33
)
_QUERIES: dict[str, _Query] = {
    "/os-hypervisors": _HYPERVISORS,
    "/os-hypervisors/detail": _HYPERVISORS,
    "/os-migrations": _Query(
        frozenset(
            {
                "hidden",
                "host",
                "instance_uuid",
                "source_compute",
                "status",
                "migration_type",
                "limit",
                "marker",
                "changes-since",
                "changes-before",
                "user_id",
                "project_id",
            }
        ),
        strict=59,
        paged=59,
    ),
    "/os-simple-tenant-usage": _Query(frozenset({"start", "end", "detailed", "limit", "marker"}), paged=40),
    "/os-simple-tenant-usage/{}": _Query(frozenset({"start", "end", "limit", "marker"}), paged=40),
    "/flavors": _FLAVORS,
    "/flavors/detail": _FLAVORS,
    "/os-keypairs": _Query(frozenset({"limit", "marker", "user_id"}), paged=35),
    "/os-server-groups": _Query(frozenset({"all_projects", "limit", "offset"})),
    "/limits": _Query(frozenset({"tenant_id"})),
}
_NUMBERS = ("limit", "offset")
# Sort keys that are taken and do nothing, and until which minor.
_IGNORED_KEYS = {
    **dict.fromkeys(
        ("architecture", "cell_name", "cleaned", "default_ephemeral_device", "default_swap_device", "deleted",
         "deleted_at", "disable_terminate", "ephemeral_gb", "ephemeral_key_uuid", "id", "key_data",
         "launched_on", "memory_mb", "os_type", "reservation_id", "root_gb", "shutdown_terminate",
         "user_data", "vcpus", "vm_mode"),
        74,
    ),
    "locked": 72,
}  # fmt: skip
_ADMIN_KEYS = ("host", "node")


class Refusals:
    """Routes that are gone."""

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        for lines, handle in ((_GONE_ROUTES, _gone), (_CLOSED_ROUTES, _closed)):
            for line in lines.split("\n"):
                *methods, template = line.split() or [""]
                for method in methods:
                    compute.route(method, template, handle)


def _gone(call: Call) -> Response:  # noqa: ARG001 - the same for all
    raise Fault(410, GONE)


def _closed(call: Call) -> Response:  # noqa: ARG001 - the same for all
    raise Fault(404, NO_RESOURCE)


# -- before a handler ---------------------------------------------------------------------------------


def read(call: Call) -> Any:
    """The body, decoded. Raises Fault as Nova does for what is no JSON, or not of a type it takes."""
    media = (call.request.header("content-type") or "").partition(";")[0].strip().lower()
    if not _TYPES.match(media):
        raise Fault(415, "Unsupported Content-Type")
    if not call.raw:
        return None
    try:
        return json.loads(call.raw.decode())
    except (RecursionError, UnicodeDecodeError) as error:
        raise Fault(500, BROKEN) from error  # Nova does not catch these either
    except ValueError as error:
        raise Fault(400, "Malformed request body") from error


def check(call: Call, method: str, template: str) -> None:
    """What the schemas of a route (its parameters as `{}`) say. Raises Fault 400 with their words."""
    if method == "GET":
        if "%" in call.request.query:
            _check_encoding(call.request.query)
        _check_query(call, template)
    elif (method, template) in _OPTIONAL:
        known = _OPTIONAL[method, template]
        _is_object(call.body)
        more = sorted(set(call.body) - {known})
        if more:
            names, were = ", ".join(map(repr, more)), "were" if len(more) > 1 else "was"
            raise Fault(400, f"Additional properties are not allowed ({names} {were} unexpected)")
    elif (method, template) in _BODIES:
        name, kind = _BODIES[method, template]
        _is_object(call.body)
        if name not in call.body:
            raise Fault(400, f"'{name}' is a required property")
        value = call.body[name]
        if not isinstance(value, kind):
            wanted = "array" if kind is list else "object"
            raise wrong(name, value, f"{value!r} is not of type '{wanted}'")
        if isinstance(value, list):
            _check_events(call, value)


def action_of(call: Call) -> tuple[str, Any]:
    """The action that a body names and its value. Raises Fault as Nova does before it knows any action."""
    body = call.body
    if call.raw and (isinstance(body, int | float | bool) or body is None):
        raise Fault(404, NO_RESOURCE)
    if not isinstance(body, dict) or len(body) != 1:
        raise Fault(400, "Malformed request body")
    name, value = next(iter(body.items()))
    return str(name), value


def integer(value: str) -> int:
    """An id that has to be a number. Raises Fault 400."""
    if not value.isascii() or not value.isdecimal():
        raise Fault(400, "Invalid input received: id must be an integer")
    return int(value)


def uuid_like(value: str) -> None:
    """Raises Fault 400 for an id that has to be a UUID and is none."""
    if not UUID.match(value):
        raise Fault(400, f"Invalid uuid {value}")


def wrong(name: str, value: Any, why: str) -> Fault:
    """The fault of a field that is not as its schema wants it."""
    return Fault(400, f"Invalid input for field/attribute {name}. Value: {value}. {why}")


def wrong_query(name: str, value: str, why: str) -> Fault:
    """The fault of a parameter that is not as its schema wants it."""
    return Fault(400, f"Invalid input for query parameters {name}. Value: {value}. {why}")


def check_sort(call: Call) -> list[tuple[int, str]]:
    """The sort keys of a list of servers that count, each with its place. Raises Fault 400 and 403."""
    known = [*SORT_KEYS, *(["locked"] if call.minor >= 73 else [])]
    known += [key for key, until in _IGNORED_KEYS.items() if call.minor <= until]
    kept = []
    for at, key in enumerate(call.all("sort_key")):
        if key not in known:
            raise wrong_query("sort_key", key, f"{key!r} is not one of {known}")
        if call.minor > _IGNORED_KEYS.get(key, 0):
            kept.append((at, key))
    for _, key in kept:
        if key in _ADMIN_KEYS and not call.admin:
            raise Fault(403, f"Only administrators can sort servers by {key}")
    return kept


def check_number(name: str, value: str) -> None:
    """A limit or an offset. Raises Fault 400."""
    if not value:
        raise wrong_query(name, value, "'' should be non-empty")
    if not value.isdecimal():
        raise wrong_query(name, value, f"'{value}' does not match '^[0-9]*$'")


def _is_object(body: Any) -> None:
    if not isinstance(body, dict):
        raise Fault(400, f"{body!r} is not of type 'object'")


def _check_encoding(query: str) -> None:
    try:
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError as error:
        raise Fault(400, "Query string is not UTF-8 encoded") from error


def _check_query(call: Call, template: str) -> None:
    rules = _QUERIES.get(template)
    if rules is None:
        return
    for name, value in call.query:
        if name not in rules.names:
            if call.minor >= rules.strict:
                raise Fault(400, f"Additional properties are not allowed ('{name}' was unexpected)")
        elif name in _NUMBERS and call.minor >= rules.paged:
            check_number(name, value)
        elif name == "sort_dir" and value not in {"asc", "desc"}:
            raise wrong_query(name, value, f"{value!r} is not one of ['asc', 'desc']")


def _check_events(call: Call, events: list[Any]) -> None:
    if not events:
        raise wrong("events", events, "[] should be non-empty")
    names = [name for name, since in _EVENTS.items() if call.minor >= since]
    for at, event in enumerate(events):
        if not isinstance(event, dict):
            raise wrong(str(at), event, f"{event!r} is not of type 'object'")
        for name in ("server_uuid", "name"):
            if name not in event:
                raise wrong(str(at), event, f"'{name}' is a required property")
        for name in sorted(set(event) - _EVENT_KEYS):
            raise wrong(str(at), event, f"Additional properties are not allowed ({name!r} was unexpected)")
        _check_event(event, names)


def _check_event(event: dict[str, Any], names: list[str]) -> None:
    """The values of one event."""
    given, tag = event["server_uuid"], event.get("tag", "")
    if not isinstance(given, str) or not UUID.match(given):
        raise wrong("server_uuid", given, f"{given!r} is not a 'uuid'")
    if event["name"] not in names:
        raise wrong("name", event["name"], f"{event['name']!r} is not one of {names}")
    if not isinstance(tag, str):
        raise wrong("tag", tag, f"{tag!r} is not of type 'string'")
    state = event.get("status", "completed")
    if state not in _EVENT_STATES:
        raise wrong("status", state, f"{state!r} is not one of {list(_EVENT_STATES)}")
