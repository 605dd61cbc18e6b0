"""Volume types, limits, quotas, zones, services and extensions of a simulated Cinder."""

import uuid
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.block_storage import BlockStorage

Json = dict[str, Any]
_QUOTA = {
    "volumes": 200, "per_volume_gigabytes": -1, "snapshots": 200, "gigabytes": 100000, "backups": 10,
    "backup_gigabytes": 1000,
}  # fmt: skip
_EXTENSIONS = {
    "os-vol-image-meta": "VolumeImageMetadata", "os-used-limits": "UsedLimits",
    "os-admin-actions": "AdminActions",
    "os-types-extra-specs": "TypesExtraSpecs", "os-quota-sets": "Quotas", "os-services": "Services",
    "os-availability-zone": "AvailabilityZones", "os-volume-type-access": "VolumeTypeAccess",
    "os-extended-snapshot-attributes": "ExtendedSnapshotAttributes", "os-volume-actions": "VolumeActions",
}  # fmt: skip


class VolumeAdmin:
    """What belongs to the site or its operator."""

    def __init__(self, storage: "BlockStorage") -> None:
        self.storage = storage

    def add_routes(self, storage: "BlockStorage") -> None:
        """Register the routes."""
        route = storage.route
        route("GET", "/types", self._list_types)
        route("POST", "/types", self._create_type)
        route(
            "GET",
            "/types/{id}",
            lambda call: storage.json({"volume_type": self._view(call, self._find(call))}),
        )
        route("PUT", "/types/{id}", self._update_type)
        route("DELETE", "/types/{id}", self._delete_type)
        route("GET", "/types/{id}/extra_specs", self._list_specs)
        route("POST", "/types/{id}/extra_specs", self._create_specs)
        route("DELETE", "/types/{id}/extra_specs/{key}", self._delete_spec)
        route("GET", "/limits", self._limits)
        route("GET", "/os-quota-sets/{target}", self._show_quota)
        route("PUT", "/os-quota-sets/{target}", self._update_quota)
        route("DELETE", "/os-quota-sets/{target}", self._delete_quota)
        route("GET", "/os-quota-sets/{target}/defaults", self._show_defaults)
        route("GET", "/os-availability-zone", self._list_zones)
        route("GET", "/os-services", self._list_services)
        route("GET", "/scheduler-stats/get_pools", self._list_pools)
        route("GET", "/extensions", self._list_extensions)

    def seed(self, name: str, description: str | None = None, **extra_specs: str) -> Json:
        """Add a public volume type."""
        type_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.storage.site.name}/type/{name}"))
        record = {"id": type_id, "name": name, "is_public": True, "description": description}
        self.storage.types[type_id] = record | {"extra_specs": extra_specs, "seq": len(self.storage.types)}
        return self.storage.types[type_id]

    # types
    def _view(self, call: Call, record: Json, *, listed: bool = False) -> Json:
        specs = record["extra_specs"]
        if not call.admin:
            specs = {key: value for key, value in specs.items() if key != "volume_backend_name"}
        shown = {key: record[key] for key in ("id", "name", "is_public", "description")} | {
            "extra_specs": specs
        }
        shown |= {"qos_specs_id": self.storage.rest.associated.get(record["id"])} if call.admin else {}
        return shown | ({"os-volume-type-access:is_public": record["is_public"]} if listed else {})

    def _list_types(self, call: Call) -> Response:
        keys = {"created_at": "seq", "id": "id", "name": "name", "description": "description"}
        found = [t for t in self.storage.types.values() if t["is_public"] or call.admin]
        page, total = self.storage.page(call, found, keys, "Volume type")
        shown = [self._view(call, record, listed=True) for record in page]
        return self.storage.listed(
            call, "types", shown, total, key="volume_types", links_key="volume_type_links"
        )

    def _find(self, call: Call) -> Json:
        wanted = call.params["id"]
        if wanted == "default":
            return next(t for t in self.storage.types.values() if t["name"] == self.storage.default_type)
        record = self.storage.types.get(wanted)
        if record is None:
            raise Fault(404, f"Volume type {wanted} could not be found.")
        return record

    def _create_type(self, call: Call) -> Response:
        _policy(call, "volume_extension:type_create")
        given = (call.body or {}).get("volume_type") or {}
        if any(t["name"] == given.get("name") for t in self.storage.types.values()):
            raise Fault(409, f"Volume Type {given.get('name')} already exists.")
        record = self.seed(given["name"], given.get("description"), **(given.get("extra_specs") or {}))
        record["is_public"] = given.get("os-volume-type-access:is_public", True)
        return self.storage.json({"volume_type": self._view(call, record)})

    def _update_type(self, call: Call) -> Response:
        _policy(call, "volume_extension:type_update")
        record, given = self._find(call), (call.body or {}).get("volume_type") or {}
        record |= {key: given[key] for key in ("name", "description", "is_public") if key in given}
        return self.storage.json({"volume_type": self._view(call, record)})

    def _delete_type(self, call: Call) -> Response:
        _policy(call, "volume_extension:type_delete")
        del self.storage.types[self._find(call)["id"]]
        return self.storage.empty()

    def _list_specs(self, call: Call) -> Response:
        return self.storage.json({"extra_specs": self._view(call, self._find(call))["extra_specs"]})

    def _create_specs(self, call: Call) -> Response:
        _policy(call, "volume_extension:types_extra_specs:create")
        given = (call.body or {}).get("extra_specs") or {}
        self._find(call)["extra_specs"].update(given)
        return self.storage.json({"extra_specs": given})

    def _delete_spec(self, call: Call) -> Response:
        _policy(call, "volume_extension:types_extra_specs:delete")
        self._find(call)["extra_specs"].pop(call.params["key"], None)
        return self.storage.empty()

    # limits and quotas
    def used(self, project_id: str) -> dict[str, int]:
        """What a project uses now."""
        storage = self.storage
        volumes = [v for v in storage.volumes.values() if v["project_id"] == project_id]
        snapshots = [s for s in storage.snapshots.values() if s["project_id"] == project_id]
        backups = [b for b in storage.backups.values() if b["project_id"] == project_id]
        used = {
            "volumes": len(volumes), "snapshots": len(snapshots), "backups": len(backups),
            "gigabytes": sum(record["size"] for record in [*volumes, *snapshots]),
            "backup_gigabytes": sum(record["size"] for record in backups),
        }  # fmt: skip
        for volume in volumes:
            for name, amount in (("volumes", 1), ("gigabytes", volume["size"])):
                key = f"{name}_{volume['volume_type']}"
                used[key] = used.get(key, 0) + amount
        return used

    def check_quota(self, project_id: str, name: str, size: int) -> None:
        """Raise Fault 413 as Cinder does if one more of `size` GB exceeds what was set for a project."""
        quota, used = self.storage.quota.get(project_id, {}), self.used(project_id)
        if -1 < quota.get("gigabytes", -1) < used["gigabytes"] + size:
            what = "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes "
            text = f"quota is {quota['gigabytes']}G and {used['gigabytes']}G has been consumed."
            raise Fault(413, f"{what}quota. Requested {size}G, {text}")
        if -1 < quota.get(name, -1) <= used[name]:
            text = f"Maximum number of {name} allowed ({quota[name]}) exceeded"
            volumes = f"VolumeLimitExceeded: {text} for quota 'volumes'."
            raise Fault(413, volumes if name == "volumes" else f"SnapshotLimitExceeded: {text}")

    def defaults(self) -> dict[str, int]:
        """What a project has that was set nothing, but for classes."""
        return self._quota("")

    def _quota(self, project_id: str) -> dict[str, int]:
        per_type = {
            f"{name}_{record['name']}": -1
            for record in reversed(self.storage.types.values())
            for name in ("volumes", "gigabytes", "snapshots")
        }
        return {**_QUOTA, **per_type, "groups": 10, **self.storage.quota.get(project_id, {})}

    def _limits(self, call: Call) -> Response:
        quota, used = self._quota(call.project_id), self.used(call.project_id)
        absolute = {
            "maxTotalVolumes": quota["volumes"],
            "maxTotalSnapshots": quota["snapshots"],
            "maxTotalVolumeGigabytes": quota["gigabytes"],
            "maxTotalBackups": quota["backups"],
            "maxTotalBackupGigabytes": quota["backup_gigabytes"],
            "totalVolumesUsed": used["volumes"],
            "totalGigabytesUsed": used["gigabytes"],
            "totalSnapshotsUsed": used["snapshots"],
            "totalBackupsUsed": used["backups"],
            "totalBackupGigabytesUsed": used["backup_gigabytes"],
        }
        return self.storage.json({"limits": {"rate": [], "absolute": absolute}})

    def _show_quota(self, call: Call) -> Response:
        target = call.params["target"]
        if target != call.project_id:
            _policy(call, "volume_extension:quotas:show")
        quota: Json = dict(self._quota(target))
        if (call.one("usage") or "").lower() == "true":
            used = self.used(target)
            quota = {n: {"limit": v, "in_use": used.get(n, 0), "reserved": 0} for n, v in quota.items()}
        return self.storage.json({"quota_set": {**quota, "id": target}})

    def _show_defaults(self, call: Call) -> Response:
        return self.storage.json({"quota_set": {**self._quota(""), "id": call.params["target"]}})

    def _update_quota(self, call: Call) -> Response:
        _policy(call, "volume_extension:quotas:update")
        given, target = (call.body or {}).get("quota_set") or {}, call.params["target"]
        known, used = self._quota(target), self.used(target)
        for name in set(given).intersection(self.storage.quota.get(target, {})):
            # Of what was set before only: Cinder does not look at the use of a default.
            if -1 < int(given[name]) < used.get(name, 0):
                what = f"Quota {name} limit must be equal or greater than existing resources."
                raise Fault(
                    400, f"{what} Current usage is {used[name]} and the requested limit is {given[name]}."
                )
        self.storage.quota.setdefault(target, {}).update({n: int(v) for n, v in given.items() if n in known})
        return self.storage.json({"quota_set": self._quota(target)})

    def _delete_quota(self, call: Call) -> Response:
        _policy(call, "volume_extension:quotas:delete")
        self.storage.quota.pop(call.params["target"], None)
        return self.storage.empty(200)

    # the site's own
    def _list_zones(self, call: Call) -> Response:  # noqa: ARG002 - the same for all
        zones = [{"zoneName": zone, "zoneState": {"available": True}} for zone in self.storage.zones]
        return self.storage.json({"availabilityZoneInfo": zones})

    def _list_services(self, call: Call) -> Response:
        _policy(call, "volume_extension:services:index")
        control = f"{self.storage.site.name}-control"
        services = []
        hosts = {"cinder-volume": f"{control}@fake", "cinder-scheduler": control, "cinder-backup": control}
        wanted = call.one("binary")
        for binary, host in hosts.items():
            if wanted not in (None, binary) or binary in self.storage.missing:
                continue
            service: Json = {
                "binary": binary,
                "host": host,
                "zone": self.storage.zones[0],
                "status": "enabled",
                "state": "up",
            }
            service |= {"updated_at": self.storage.now(), "disabled_reason": None}
            services.append(service | ({"cluster": None} if call.minor >= 7 else {}))
        return self.storage.json({"services": services})

    def _list_pools(self, call: Call) -> Response:
        _policy(call, "scheduler_extension:scheduler_stats:get_pools")
        pool: Json = {"name": f"{self.storage.site.name}-control@fake#fake"}
        if (call.one("detail") or "").lower() == "true":
            pool["capabilities"] = {
                "total_capacity_gb": 100000,
                "free_capacity_gb": 100000,
                "volume_backend_name": "fake",
            }
        return self.storage.json({"pools": [pool]})

    def _list_extensions(self, call: Call) -> Response:  # noqa: ARG002 - the same for all
        shown = [
            {
                "name": name,
                "alias": alias,
                "description": name,
                "updated": "2012-12-07T00:00:00+00:00",
                "links": [],
            }
            for alias, name in _EXTENSIONS.items()
        ]
        return self.storage.json({"extensions": shown})


def _policy(call: Call, rule: str) -> None:
    if not call.admin:
        raise Fault(403, f"Policy doesn't allow {rule} to be performed.")
