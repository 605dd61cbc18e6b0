"""Limits, quotas and usage reports of a simulated Nova."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atoll.sandbox.simulated.flavors import policy
from atoll.sandbox.simulated.instances import Instance, Json, micro
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

DEFAULTS = {
    "cores": 1000,
    "fixed_ips": -1,
    "floating_ips": -1,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "injected_files": 5,
    "instances": 200,
    "key_pairs": 200,
    "metadata_items": 128,
    "ram": 1000000,
    "security_group_rules": -1,
    "security_groups": -1,
    "server_group_members": 10,
    "server_groups": 50,
}
_UNTIL = {"fixed_ips": 35, "floating_ips": 35, "security_groups": 35, "security_group_rules": 35}
_TOTALS = {
    "local_gb": "total_local_gb_usage", "vcpus": "total_vcpus_usage", "memory_mb": "total_memory_mb_usage",
    "hours": "total_hours",
}  # fmt: skip
_UNTIL |= {name: 56 for name in DEFAULTS if name.startswith("injected")}


class Usage:
    """What a project may use and uses. Its own quota is in `compute.quota`, enforced on create."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/limits", self._limits)
        compute.route("GET", "/os-quota-sets/{target}", self._show_quota)
        compute.route("GET", "/os-quota-sets/{target}/detail", self._show_quota_detail)
        compute.route("GET", "/os-quota-sets/{target}/defaults", self._show_defaults)
        compute.route("PUT", "/os-quota-sets/{target}", self._update_quota)
        compute.route("DELETE", "/os-quota-sets/{target}", self._delete_quota)
        compute.route("GET", "/os-quota-class-sets/{target}", self._show_class)
        compute.route("PUT", "/os-quota-class-sets/{target}", self._update_class)
        compute.route("GET", "/os-simple-tenant-usage", self._list_usage)
        compute.route("GET", "/os-simple-tenant-usage/{target}", self._show_usage)

    def quota_of(self, project_id: str) -> dict[str, int]:
        """A project's limits, -1 for none."""
        return DEFAULTS | self.compute.quota.get(project_id, {})

    def used_by(self, project_id: str, user_id: str | None = None) -> dict[str, int]:
        """What a project uses now, or one user in it."""
        mine = [i for i in self.compute.instances.of(project_id) if user_id in (None, i.user_id)]
        return {
            "cores": sum(i.flavor["vcpus"] for i in mine),
            "instances": len(mine),
            "ram": sum(i.flavor["ram"] for i in mine),
            "server_groups": sum(g["project_id"] == project_id for g in self.compute.groups.values()),
        }

    def _limits(self, call: Call) -> Response:
        target = call.one("tenant_id") or call.project_id
        if target != call.project_id:
            policy(call, "limits:other_project")
        quota, used = self.quota_of(target), self.used_by(target)
        absolute: list[tuple[str, int, int]] = [
            ("maxTotalCores", quota["cores"], 9999),
            ("maxPersonality", quota["injected_files"], 56),
            ("maxPersonalitySize", quota["injected_file_content_bytes"], 56),
            ("maxTotalInstances", quota["instances"], 9999),
            ("maxTotalKeypairs", quota["key_pairs"], 9999),
            ("maxServerMeta", quota["metadata_items"], 9999),
            ("maxImageMeta", quota["metadata_items"], 38),
            ("maxTotalRAMSize", quota["ram"], 9999),
            ("maxServerGroups", quota["server_groups"], 9999),
            ("maxServerGroupMembers", quota["server_group_members"], 9999),
            ("maxTotalFloatingIps", quota["floating_ips"], 35),
            ("maxSecurityGroups", quota["security_groups"], 35),
            ("maxSecurityGroupRules", quota["security_group_rules"], 35),
            ("totalRAMUsed", used["ram"], 9999),
            ("totalCoresUsed", used["cores"], 9999),
            ("totalInstancesUsed", used["instances"], 9999),
            ("totalFloatingIpsUsed", 0, 35),
            ("totalSecurityGroupsUsed", 0, 35),
            ("totalServerGroupsUsed", used["server_groups"], 9999),
        ]
        shown = {name: value for name, value, until in absolute if call.minor <= until}
        return self.compute.json({"limits": {"rate": [], "absolute": shown}})

    def _target(self, call: Call, rule: str) -> str:
        target = call.params["target"]
        if target != call.project_id:
            policy(call, f"os-quota-sets:{rule}")
        return target

    def _shown(self, call: Call, values: Json) -> Json:
        return {name: value for name, value in values.items() if call.minor <= _UNTIL.get(name, 9999)}

    def _show_quota(self, call: Call) -> Response:
        target = self._target(call, "show")
        quota = self.quota_of(self._owner(call))
        return self.compute.json({"quota_set": {"id": target, **self._shown(call, quota)}})

    def _show_defaults(self, call: Call) -> Response:
        return self.compute.json({"quota_set": {"id": call.params["target"], **self._shown(call, DEFAULTS)}})

    def _show_quota_detail(self, call: Call) -> Response:
        target = self._target(call, "detail")
        used = self.used_by(target, call.one("user_id"))
        quota = {
            name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
            for name, limit in self.quota_of(self._owner(call)).items()
        }
        return self.compute.json({"quota_set": {"id": target, **self._shown(call, quota)}})

    def _update_quota(self, call: Call) -> Response:
        values = self._given(call, "quota_set", {"force": None})
        policy(call, "os-quota-sets:update")
        owner = self._owner(call)
        force = str(values.pop("force", False)).lower() in ("true", "1")
        used = self.used_by(call.params["target"], call.one("user_id"))
        most = self.quota_of(call.params["target"]) if owner != call.params["target"] else {}
        for name, value in values.items():
            values[name] = int(value)
            what = f"Quota limit {value} for {name} must be"
            if not force and -1 < values[name] < used.get(name, 0):
                raise Fault(400, f"{what} greater than or equal to already used and reserved {used[name]}.")
            if not force and _more(values[name], most.get(name, -1)):
                raise Fault(400, f"{what} less than or equal to {most[name]}.")
        self.compute.quota.setdefault(owner, {}).update(values)
        return self.compute.json({"quota_set": self._shown(call, self.quota_of(owner))})

    @staticmethod
    def _owner(call: Call) -> str:
        """Whose quota is meant: the project's, or one user's in it."""
        user = call.one("user_id")
        return f"{call.params['target']}/{user}" if user else call.params["target"]

    @staticmethod
    def _given(call: Call, envelope: str, more: Json) -> Json:
        """The values of a body. Raises Fault 400 as Nova's schemas do."""
        given = (call.body or {}).get(envelope)
        if not isinstance(given, dict):
            raise Fault(400, f"'{envelope}' is a required property")
        for name, value in given.items():
            where = f"Invalid input for field/attribute {envelope}. Value: {given}."
            if name not in more and (name not in DEFAULTS or call.minor > _UNTIL.get(name, 9999)):
                raise Fault(400, f"{where} Additional properties are not allowed ('{name}' was unexpected)")
            if name not in more and re.fullmatch(r"-1|[0-9]+", str(value)) is None:
                where = f"Invalid input for field/attribute {name}. Value: {value}."
                raise Fault(400, f"{where} {value} is less than the minimum of -1")
        return dict(given)

    def _show_class(self, call: Call) -> Response:
        policy(call, "os-quota-class-sets:show")
        values = DEFAULTS | self.compute.quota.get(f"class {call.params['target']}", {})
        shown = {"id": call.params["target"], **self._shown(call, values)}
        return self.compute.json({"quota_class_set": shown})

    def _update_class(self, call: Call) -> Response:
        values = self._given(call, "quota_class_set", {})
        policy(call, "os-quota-class-sets:update")
        own = self.compute.quota.setdefault(f"class {call.params['target']}", {})
        own.update({name: int(value) for name, value in values.items()})
        return self.compute.json({"quota_class_set": self._shown(call, DEFAULTS | own)})

    def _delete_quota(self, call: Call) -> Response:
        policy(call, "os-quota-sets:delete")
        self.compute.quota.pop(self._owner(call), None)
        return self.compute.empty(202)

    # usage
    def _page(self, call: Call, project_id: str | None) -> list[Instance]:
        """The servers that a report is of: by project and id, a page of them from 2.40 on."""
        start, stop = self._period(call)
        paged = call.minor >= 40
        limit = (paged and self.compute.limit(call)) or self.compute.max_limit
        servers = self.compute.instances.sorted(project_id, [("project_id", "asc"), ("uuid", "asc")])
        marker = call.one("marker") if paged else None
        after = ("", "")
        if marker is not None:
            last = self.compute.instances.get(marker, deleted=True)
            if last is None:
                raise Fault(400, f"Marker {marker} could not be found.")
            after = (last.project_id, last.id)
        found = [
            i
            for i in servers
            if i.launched is not None and i.launched < stop and (i.gone is None or i.gone > start)
        ]
        return [i for i in found if (i.project_id, i.id) > after][:limit]

    def _period(self, call: Call) -> tuple[float, float]:
        """(start, end) in seconds, as asked for."""
        now = self.compute.site.clock()
        start, stop = _time(call, "start", now), _time(call, "end", now + 1e-6)
        if start >= stop:
            raise Fault(400, "Invalid start time. The start time cannot occur after the end time.")
        return start, min(stop, max(now, start))

    def _reports(self, call: Call, servers: list[Instance], *, detailed: bool) -> list[Json]:
        start, stop = self._period(call)
        reports: dict[str, Json] = {}
        for one in servers:
            line = self._line(one, start, stop)
            report = reports.setdefault(
                one.project_id,
                {
                    "tenant_id": one.project_id,
                    **({"server_usages": []} if detailed else {}),
                    **dict.fromkeys(_TOTALS.values(), 0),
                    "start": _written(start),
                    "stop": _written(stop),
                },
            )
            report["total_hours"] += line["hours"]
            for name in ("local_gb", "vcpus", "memory_mb"):
                report[_TOTALS[name]] += line[name] * line["hours"]
            if detailed:
                report["server_usages"].append(line)
        return list(reports.values())

    def _links(self, call: Call, path: str, servers: list[Instance]) -> list[Json]:
        """The links of a page, where it is full."""
        if call.minor < 40:
            return []
        asked = int(call.one("limit") or self.compute.max_limit)
        lines = [{"instance_id": one.id} for one in servers]
        limit = min(asked, self.compute.max_limit)
        return self.compute.page_links(call, path, lines, limit, key="instance_id")

    def _line(self, i: Instance, start: float, stop: float) -> Json:
        launched = i.launched or i.created
        hours = max(0.0, (min(i.gone or stop, stop) - max(launched, start)) / 3600)
        return {
            "instance_id": i.id,
            "name": i.name,
            "hours": hours,
            "tenant_id": i.project_id,
            "flavor": i.flavor["name"],
            "state": "terminated" if i.gone is not None else i.vm_state,
            "memory_mb": i.flavor["ram"],
            "local_gb": i.flavor["disk"],
            "vcpus": i.flavor["vcpus"],
            "started_at": micro(launched),
            "ended_at": micro(i.gone),
            "uptime": int(max(0.0, (i.gone or self.compute.site.clock()) - launched)),
        }

    def _list_usage(self, call: Call) -> Response:
        policy(call, "os-simple-tenant-usage:list")
        servers = self._page(call, None)
        reports = self._reports(call, servers, detailed=call.one("detailed") == "1")
        shown: Json = {"tenant_usages": reports}
        if links := self._links(call, "os-simple-tenant-usage", servers):
            shown["tenant_usages_links"] = links
        return self.compute.json(shown)

    def _show_usage(self, call: Call) -> Response:
        target = call.params["target"]
        if target != call.project_id:
            policy(call, "os-simple-tenant-usage:show")
        servers = self._page(call, target)
        reports = self._reports(call, servers, detailed=True)
        shown: Json = {"tenant_usage": reports[0] if reports else {}}
        if links := self._links(call, f"os-simple-tenant-usage/{target}", servers):
            shown["tenant_usage_links"] = links
        return self.compute.json(shown)


def _more(limit: int, most: int) -> bool:
    """Whether a limit is above another; -1 is none."""
    return most >= 0 and not 0 <= limit <= most


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _time(call: Call, name: str, otherwise: float) -> float:
    value = call.one(name)
    if value is None:
        return otherwise
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()
    except ValueError as exc:
        raise Fault(400, "Invalid datetime string: Datetime is in invalid format") from exc
