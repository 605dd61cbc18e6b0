"""How a simulated Nova shows a server, by microversion. The order of keys is Nova's."""

import hashlib
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.instances import POWER, Instance, Json, micro, zulu
from atoll.sandbox.simulated.service import Call

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

_WITH_PROGRESS = ("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE")
_FULL_UPDATE = 75  # from 2.75 PUT and rebuild answer as GET does


def links(call: Call, collection: str, item_id: str) -> list[Json]:
    """The self and bookmark links of an item, with the project in them if the request had it."""
    project = f"/{call.params['project_id']}" if "project_id" in call.params else ""
    base = call.root.rpartition("/")[0]
    return [
        {"rel": "self", "href": f"{call.root}{project}/{collection}/{item_id}"},
        {"rel": "bookmark", "href": f"{base}{project}/{collection}/{item_id}"},
    ]


def brief(call: Call, instance: Instance) -> Json:
    """A server in `GET /servers`."""
    return {"id": instance.id, "name": instance.name, "links": links(call, "servers", instance.id)}


def addresses(compute: "Compute", instance: Instance, *, extended: bool = True) -> Json:
    """The `addresses` of a server: by network name, in the order of its ports."""
    found: Json = {}
    for name, items in [*instance.fixed.items(), *compute.site.network.addresses_of(instance.ports)]:
        for item in items:
            address: Json = {"version": item["version"], "addr": item["addr"]}
            if extended:
                address["OS-EXT-IPS:type"] = item["type"]
                address["OS-EXT-IPS-MAC:mac_addr"] = item["mac"]
            found.setdefault(name, []).append(address)
    return found


def flavor_of(call: Call, instance: Instance) -> Json:
    """The `flavor` of a server: a link below 2.47, embedded from then on."""
    flavor = instance.flavor
    if call.minor < 47:
        return {"id": flavor["id"], "links": [links(call, "flavors", flavor["id"])[1]]}
    shown = {
        "vcpus": flavor["vcpus"],
        "ram": flavor["ram"],
        "disk": flavor["disk"],
        "ephemeral": flavor["OS-FLV-EXT-DATA:ephemeral"],
        "swap": flavor["swap"],
        "original_name": flavor["name"],
        "extra_specs": flavor["extra_specs"],
    }
    if call.minor >= 102:
        shown["id"] = flavor["id"]
    return shown


def image_of(call: Call, instance: Instance) -> Any:
    """The `image` of a server; the empty string for one booted from a volume."""
    if not instance.image_id:
        return ""
    image: Json = {"id": instance.image_id, "links": [links(call, "images", instance.image_id)[1]]}
    if call.minor >= 98:
        image["properties"] = {}
    return image


def detail(compute: "Compute", call: Call, instance: Instance, mode: str = "show") -> Json:
    """A server in full. `mode` is `show`, `list` (of `GET /servers/detail`) or `update` (PUT and rebuild)."""
    extended = mode != "update" or call.minor >= _FULL_UPDATE
    status = instance.status
    placed = bool(instance.host)
    shown: Json = {
        "accessIPv4": instance.access[0],
        "accessIPv6": instance.access[1],
        "addresses": addresses(compute, instance, extended=extended) if placed else {},
        "created": zulu(instance.created),
        "flavor": flavor_of(call, instance),
        "hostId": _host_id(instance) if placed else "",
        "id": instance.id,
        "image": image_of(call, instance),
        "links": links(call, "servers", instance.id),
        "metadata": instance.metadata,
        "name": instance.name,
        "status": status,
        "tenant_id": instance.project_id,
        "user_id": instance.user_id,
        "updated": zulu(instance.updated),
        "OS-DCF:diskConfig": instance.disk_config,
    }
    if extended:
        shown |= _extended(call, instance, mode, status)
    groups = [{"name": name} for name in instance.security_groups]
    if extended and mode == "list" and placed:
        shown["security_groups"] = groups
    return shown | _later(compute, call, instance, mode)


def _extended(call: Call, instance: Instance, mode: str, status: str) -> Json:
    placed = bool(instance.host)
    shown: Json = {"progress": 0} if status in _WITH_PROGRESS else {}
    if status == "ERROR":
        shown["fault"] = {"code": 500, "created": zulu(instance.updated), "message": "Simulated failure"}
    shown |= {
        "OS-EXT-AZ:availability_zone": instance.zone if placed else "",
        "config_drive": instance.config_drive,
        "key_name": instance.key_name,
        "OS-SRV-USG:launched_at": micro(instance.launched),
        "OS-SRV-USG:terminated_at": micro(instance.gone),
    }
    if mode != "list" and placed:
        shown["security_groups"] = [{"name": name} for name in instance.security_groups]
    if call.admin:
        shown |= _admin_only(call, instance)
    shown |= {
        "OS-EXT-STS:task_state": instance.task_state,
        "OS-EXT-STS:vm_state": instance.vm_state,
        "OS-EXT-STS:power_state": POWER.get(instance.vm_state, 0),
        "os-extended-volumes:volumes_attached": [
            {
                "id": volume["volumeId"],
                **(
                    {"delete_on_termination": bool(volume.get("delete_on_termination"))}
                    if call.minor >= 3
                    else {}
                ),
            }
            for volume in instance.volumes
        ],
    }
    return shown


def _admin_only(call: Call, instance: Instance) -> Json:
    shown: Json = {
        "OS-EXT-SRV-ATTR:host": instance.host or None,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{instance.seq:08x}",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": instance.host or None,
    }
    if call.minor >= 3:
        shown |= {
            "OS-EXT-SRV-ATTR:hostname": instance.hostname,
            "OS-EXT-SRV-ATTR:kernel_id": "",
            "OS-EXT-SRV-ATTR:launch_index": instance.launch_index,
            "OS-EXT-SRV-ATTR:ramdisk_id": "",
            "OS-EXT-SRV-ATTR:reservation_id": instance.reservation_id,
            "OS-EXT-SRV-ATTR:root_device_name": "/dev/sda" if instance.host else None,
            "OS-EXT-SRV-ATTR:user_data": instance.user_data,
        }
    return shown


def _later(compute: "Compute", call: Call, instance: Instance, mode: str) -> Json:
    """What later microversions added, in their order. (since, key, value), some only for GET of one."""
    group = compute.groups.get(instance.group_id or "")
    extended = mode != "update" or call.minor >= _FULL_UPDATE
    parts: list[tuple[int, str, Any, bool]] = [
        (9, "locked", instance.locked_by is not None, True),
        (16, "host_status", "UP" if instance.host else "", call.admin and extended),
        (19, "description", instance.description, True),
        (26, "tags", instance.tags, True),
        (63, "trusted_image_certificates", instance.trusted, True),
        (71, "server_groups", [group["id"]] if group else [], mode != "list"),
        (73, "locked_reason", instance.locked_reason, True),
        (90, "OS-EXT-SRV-ATTR:hostname", instance.hostname, not call.admin),
        (96, "pinned_availability_zone", instance.pinned_zone, True),
        (100, "scheduler_hints", instance.hints, True),
    ]
    return {key: value for since, key, value, shown in parts if call.minor >= since and shown}


def _host_id(instance: Instance) -> str:
    return hashlib.sha224((instance.project_id + instance.host).encode()).hexdigest()
