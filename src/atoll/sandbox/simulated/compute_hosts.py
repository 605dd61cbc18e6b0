"""What belongs to a site's own machines in a simulated Nova: zones, hypervisors, services."""

import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from atoll.sandbox.simulated.compute_refusals import integer, uuid_like
from atoll.sandbox.simulated.flavors import policy
from atoll.sandbox.simulated.instances import Json, micro
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

_VCPUS, _RAM, _DISK = 1000, 1024000, 100000  # of the one simulated host


def page(call: Call, collection: str, found: list[Json], marker: str, most: int) -> Json:
    """A page of a list, as Nova cuts one out. Raises Fault 400 for a marker that is none of the list's."""
    after = call.one("marker")
    if after is not None:
        at = next((at for at, one in enumerate(found) if str(one[marker]) == after), None)
        if at is None:
            raise Fault(400, f"marker [{after}] not found")
        found = found[at + 1 :]
    limit = min(int(call.one("limit") or most), most)
    shown: Json = {collection: found[:limit]}
    if limit and len(found[:limit]) == limit:
        query = sorted((name, value) for name, value in call.query if name != "marker")
        query.append(("marker", str(found[limit - 1][marker])))
        path = call.request.url_root + call.request.path
        shown[f"{collection}_links"] = [{"rel": "next", "href": f"{path}?{urlencode(query)}"}]
    return shown


class Hosts:
    """One control node and one compute node per site, named after it."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/os-availability-zone", self._list_zones)
        compute.route("GET", "/os-availability-zone/detail", self._list_zones_detail)
        compute.route("GET", "/os-hypervisors", lambda call: self._list_hypervisors(call, "list"))
        compute.route(
            "GET", "/os-hypervisors/detail", lambda call: self._list_hypervisors(call, "list-detail")
        )
        compute.route("GET", "/os-hypervisors/statistics", self._statistics, until=87)
        compute.route("GET", "/os-hypervisors/{id}", self._show_hypervisor)
        compute.route("GET", "/os-hypervisors/{pattern}/search", self._search, until=52)
        compute.route("GET", "/os-hypervisors/{pattern}/servers", self._search_servers, until=52)
        compute.route("GET", "/os-services", self._list_services)
        compute.route("GET", "/os-hosts", self._list_hosts, until=42)
        compute.route("DELETE", "/os-services/{id}", self._delete_service)
        compute.route("GET", "/os-console-auth-tokens/{id}", self._show_console_token, since=31)
        compute.route("POST", "/os-server-external-events", self._external_events)

    def _id(self, call: Call, number: int, since: int = 53) -> str | int:
        """Integer ids below 2.53, UUIDs from then on."""
        if call.minor < since:
            return number
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.compute.site.name}/{number}"))

    def _list_zones(self, call: Call) -> Response:  # noqa: ARG002 - the same for all
        zones = [{"zoneName": z, "zoneState": {"available": True}, "hosts": None} for z in self.compute.zones]
        return self.compute.json({"availabilityZoneInfo": zones})

    def _list_zones_detail(self, call: Call) -> Response:
        policy(call, "os-availability-zone:detail")
        now = micro(int(self.compute.site.clock()))
        alive = {"available": True, "active": True, "updated_at": now}
        control = {f"{self.compute.site.name}-control": {"nova-scheduler": alive, "nova-conductor": alive}}
        zones = [{"zoneName": "internal", "zoneState": {"available": True}, "hosts": control}]
        for at, zone in enumerate(self.compute.zones):  # the hosts go round
            numbers = range(1 + at, self.compute.hypervisors + 1, len(self.compute.zones))
            hosts = {
                f"{self.compute.site.name}-compute{number}": {"nova-compute": alive} for number in numbers
            }
            zones.append({"zoneName": zone, "zoneState": {"available": True}, "hosts": hosts})
        return self.compute.json({"availabilityZoneInfo": zones})

    def _hypervisor(self, call: Call, *, full: bool) -> Json:
        shown: Json = {
            "id": self._id(call, 1),
            "hypervisor_hostname": self.compute.host,
            "state": "up",
            "status": "enabled",
        }
        if not full:
            return shown
        shown |= {"hypervisor_type": "fake", "hypervisor_version": 1000, "host_ip": "127.0.0.1"}
        service = {"id": self._id(call, 3), "host": self.compute.host, "disabled_reason": None}
        if call.minor >= 88:
            return shown | {"service": service, "uptime": None}
        servers = self.compute.instances.of(None)
        cpu = {
            "arch": "x86_64",
            "model": "Nehalem",
            "vendor": "Intel",
            "features": [],
            "topology": {"cores": 1},
        }
        return shown | {
            "service": service,
            "vcpus": _VCPUS,
            "memory_mb": _RAM,
            "local_gb": _DISK,
            "vcpus_used": sum(i.flavor["vcpus"] for i in servers),
            "memory_mb_used": sum(i.flavor["ram"] for i in servers),
            "local_gb_used": sum(i.flavor["disk"] for i in servers),
            "free_ram_mb": _RAM - sum(i.flavor["ram"] for i in servers),
            "free_disk_gb": _DISK - sum(i.flavor["disk"] for i in servers),
            "current_workload": 0,
            "running_vms": len(servers),
            "disk_available_least": _DISK,
            "cpu_info": cpu if call.minor >= 28 else str(cpu),
        }

    def _list_hypervisors(self, call: Call, rule: str) -> Response:
        policy(call, f"os-hypervisors:{rule}")
        pattern = call.one("hypervisor_hostname_pattern") if call.minor >= 53 else None
        if pattern is not None:
            if call.one("limit") is not None or call.one("marker"):
                why = "either malformed or otherwise incorrect."  # all that webob lets through
                raise Fault(400, f"The server could not comply with the request since it is {why}")
            self._match(pattern)
        shown = self._hypervisor(call, full=rule == "list-detail")
        if call.minor >= 53 and (call.one("with_servers") or "").lower() in ("true", "1", "yes", "on"):
            shown |= self._servers(empty=call.minor >= 75)
        found = [shown, *(self._another(call, shown, at) for at in range(2, self.compute.hypervisors + 1))]
        if call.minor < 33 or pattern is not None:
            return self.compute.json({"hypervisors": found[:1] if pattern is not None else found})
        return self.compute.json(page(call, "hypervisors", found, "id", self.compute.max_limit))

    def _another(self, call: Call, first: Json, number: int) -> Json:
        """A hypervisor beside the first, without servers."""
        new = {"id": self._id(call, 100 + number) if call.minor >= 53 else number}
        new["hypervisor_hostname"] = f"{self.compute.site.name}-compute{number}"
        return {**first, **new, **({"servers": []} if "servers" in first else {})}

    def _match(self, pattern: str) -> None:
        """Raise Fault 404 unless the host's name has the pattern in it."""
        if pattern not in self.compute.host:
            raise Fault(404, f"No hypervisor matching '{pattern}' could be found.")

    def _servers(self, *, empty: bool) -> Json:
        """The member with the servers of the host; none where there are none, unless `empty`."""
        found = [
            {"name": f"instance-{one.seq:08x}", "uuid": one.id} for one in self.compute.instances.of(None)
        ]
        return {"servers": found} if found or empty else {}

    def _search(self, call: Call) -> Response:
        policy(call, "os-hypervisors:search")
        self._match(call.params["pattern"])
        return self.compute.json({"hypervisors": [self._hypervisor(call, full=False)]})

    def _search_servers(self, call: Call) -> Response:
        policy(call, "os-hypervisors:servers")
        self._match(call.params["pattern"])
        shown = self._hypervisor(call, full=False) | self._servers(empty=False)
        return self.compute.json({"hypervisors": [shown]})

    def _show_hypervisor(self, call: Call) -> Response:
        policy(call, "os-hypervisors:show")
        if call.minor >= 53:
            uuid_like(call.params["id"])
        if call.params["id"] != str(self._id(call, 1)):
            raise Fault(404, f"Hypervisor with ID '{call.params['id']}' could not be found.")
        return self.compute.json({"hypervisor": self._hypervisor(call, full=True)})

    def _statistics(self, call: Call) -> Response:
        policy(call, "os-hypervisors:statistics")
        names = ("vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used", "local_gb_used",
                 "free_ram_mb",
                 "free_disk_gb", "current_workload", "running_vms", "disk_available_least")  # fmt: skip
        one = self._hypervisor(call, full=True)
        return self.compute.json(
            {"hypervisor_statistics": {"count": 1, **{name: one[name] for name in names}}}
        )

    def _rows(self) -> list[tuple[str, str, str]]:
        """(binary, host, zone) of every service."""
        control = f"{self.compute.site.name}-control"
        rows = [("nova-scheduler", control, "internal"), ("nova-conductor", control, "internal")]
        return [*rows, ("nova-compute", self.compute.host, self.compute.zones[0])]

    def _list_hosts(self, call: Call) -> Response:
        policy(call, "os-hosts:list")
        hosts = [
            {"host_name": host, "service": binary.removeprefix("nova-"), "zone": zone}
            for binary, host, zone in self._rows()
            if call.one("zone") in (None, "", zone)
        ]
        return self.compute.json({"hosts": hosts})

    def _list_services(self, call: Call) -> Response:
        policy(call, "os-services:list")
        now, rows = micro(int(self.compute.site.clock())), self._rows()
        wanted = (call.one("binary"), call.one("host"))
        services = []
        for number, (binary, host, zone) in enumerate(rows, 1):
            if wanted[0] in (None, binary) and wanted[1] in (None, host):
                shown: Json = {
                    "binary": binary,
                    "host": host,
                    "id": self._id(call, number),
                    "zone": zone,
                    "status": "enabled",
                }
                shown |= {"state": "up", "updated_at": now, "disabled_reason": None}
                services.append(shown | ({"forced_down": False} if call.minor >= 11 else {}))
        return self.compute.json({"services": services})

    def _show_console_token(self, call: Call) -> Response:
        policy(call, "os-console-auth-tokens")
        raise Fault(404, "Token not found")

    def _delete_service(self, call: Call) -> Response:
        policy(call, "os-services:delete")
        ident = call.params["id"]
        if call.minor >= 53:
            uuid_like(ident)
        else:
            integer(ident)
        known = {str(self._id(call, number)) for number in (1, 2, 3)}
        if ident not in known:
            raise Fault(404, f"Service {ident} not found.")
        raise Fault(409, "Simulated services stay")  # the simulated host has servers

    def _external_events(self, call: Call) -> Response:
        if not call.admin and "service" not in call.who.roles:
            policy(call, "os-server-external-events:create")
        events = []
        for event in call.body["events"]:
            known = self.compute.instances.get(event["server_uuid"]) is not None
            outcome = {"status": "completed", "code": 200} if known else {"status": "failed", "code": 404}
            events.append({**event, **outcome})
            if known:
                self.compute.events.append(event["server_uuid"])
        partly = any(event["code"] != 200 for event in events)
        return self.compute.json({"events": events}, 207 if partly else 200)
