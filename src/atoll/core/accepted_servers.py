"""A server that was accepted and that no site has yet, or none will have, as Nova shows one. Pure.

The form is that of Nova's own servers before the scheduler has found a host (`nova/objects/build_request.py`,
`nova/api/openstack/compute/views/servers.py`): status BUILD, or ERROR with a fault.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from atoll.core.microversions import Version

_FAULT_LENGTH: Final = 255  # Nova cuts messages to this


class AskedFlavor(msgspec.Struct, frozen=True, kw_only=True):
    """The flavor asked for, as `GET /flavors/{id}` shows it; but for the id nothing has to be known."""

    id: str
    name: str = ""
    vcpus: int = 0
    ram: int = 0
    disk: int = 0
    ephemeral: int = 0
    swap: int = 0
    extra_specs: Mapping[str, str] = {}


class AskedServer(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, as far as Nova shows it of a server that has no host."""

    name: str
    flavor: AskedFlavor
    image: str | None = None
    """Its id; None boots from a volume."""
    metadata: Mapping[str, str] = {}
    key_name: str | None = None
    availability_zone: str | None = None
    description: str | None = None
    tags: Sequence[str] = ()
    config_drive: str = ""
    disk_config: str = "MANUAL"
    access_ipv4: str = ""
    access_ipv6: str = ""
    hostname: str = ""
    user_data: str | None = None
    reservation_id: str = ""
    trusted_image_certificates: Sequence[str] | None = None
    scheduler_hints: Mapping[str, Any] = {}


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """One of them. `message`: why there will be no server; None while it is made. Times in seconds."""

    id: str
    project_id: str
    user_id: str
    asked: AskedServer
    created_at: float
    changed_at: float
    message: str | None = None
    code: int | None = None

    @property
    def status(self) -> str:
        """As Nova calls it."""
        return "BUILD" if self.message is None else "ERROR"

    @property
    def vm_state(self) -> str:
        """As Nova calls it."""
        return "building" if self.message is None else "error"

    @property
    def task_state(self) -> str | None:
        """As Nova calls it."""
        return "scheduling" if self.message is None else None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """How it is asked for."""

    version: Version
    admin: bool
    """Whether by an administrator."""
    url: str
    """Of the service, with the version and, where the client's has one, the project."""
    bookmark: str
    """The same without the version."""
    listed: bool
    """Whether in a list, which lacks what only `GET` of one shows."""


def shown(one: Accepted, view: View) -> dict[str, Any]:
    """What Nova would show of it."""
    asked, minor = one.asked, view.version.minor
    found: dict[str, Any] = {
        "id": one.id,
        "name": asked.name,
        "status": one.status,
        "tenant_id": one.project_id,
        "user_id": one.user_id,
        "metadata": dict(asked.metadata),
        "hostId": "",
        "image": _image(asked, view),
        "flavor": _flavor(asked.flavor, view),
        "created": _zulu(one.created_at),
        "updated": _zulu(one.changed_at),
        "addresses": {},
        "accessIPv4": asked.access_ipv4,
        "accessIPv6": asked.access_ipv6,
        "links": _links(view, "servers", one.id),
        "OS-DCF:diskConfig": asked.disk_config,
    }
    if one.message is None:
        found["progress"] = 0
    else:
        message = one.message.encode()[:_FAULT_LENGTH].decode("utf-8", "ignore")
        found["fault"] = {"code": one.code or 500, "created": _zulu(one.changed_at), "message": message}
    found |= {
        "OS-EXT-AZ:availability_zone": asked.availability_zone or "",
        "config_drive": asked.config_drive,
        "key_name": asked.key_name,
        "OS-SRV-USG:launched_at": None,
        "OS-SRV-USG:terminated_at": None,
        "OS-EXT-STS:task_state": one.task_state,
        "OS-EXT-STS:vm_state": one.vm_state,
        "OS-EXT-STS:power_state": 0,
        "os-extended-volumes:volumes_attached": [],
    }
    return found | (_for_admins(asked, minor) if view.admin else {}) | _later(asked, view)


def _for_admins(asked: AskedServer, minor: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "OS-EXT-SRV-ATTR:host": None,
        "OS-EXT-SRV-ATTR:instance_name": "",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": None,
    }
    if minor >= 3:
        found |= {
            "OS-EXT-SRV-ATTR:hostname": asked.hostname,
            "OS-EXT-SRV-ATTR:kernel_id": "",
            "OS-EXT-SRV-ATTR:launch_index": 0,
            "OS-EXT-SRV-ATTR:ramdisk_id": "",
            "OS-EXT-SRV-ATTR:reservation_id": asked.reservation_id,
            "OS-EXT-SRV-ATTR:root_device_name": None,
            "OS-EXT-SRV-ATTR:user_data": asked.user_data,
        }
    return found


def _later(asked: AskedServer, view: View) -> dict[str, Any]:
    """What later versions added: (since, key, value, whether it is shown)."""
    trusted = asked.trusted_image_certificates
    parts: tuple[tuple[int, str, Any, bool], ...] = (
        (9, "locked", False, True),
        (16, "host_status", "", view.admin),
        (19, "description", asked.description, True),
        (26, "tags", list(asked.tags), True),
        (63, "trusted_image_certificates", None if trusted is None else list(trusted), True),
        (71, "server_groups", [], not view.listed),
        (73, "locked_reason", None, True),
        (90, "OS-EXT-SRV-ATTR:hostname", asked.hostname, not view.admin),
        (96, "pinned_availability_zone", asked.availability_zone, True),
        (100, "scheduler_hints", dict(asked.scheduler_hints), True),
    )
    return {key: value for since, key, value, is_shown in parts if view.version.minor >= since and is_shown}


def brief(one: Accepted, view: View) -> dict[str, Any]:
    """What the brief list shows of it."""
    return {"id": one.id, "name": one.asked.name, "links": _links(view, "servers", one.id)}


def _flavor(flavor: AskedFlavor, view: View) -> dict[str, Any]:
    minor = view.version.minor
    if minor < 47:
        return {"id": flavor.id, "links": _links(view, "flavors", flavor.id)[1:]}
    found = {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "ephemeral": flavor.ephemeral,
        "swap": flavor.swap,
        "original_name": flavor.name or flavor.id,
        "extra_specs": dict(flavor.extra_specs),
    }
    return found | ({"id": flavor.id} if minor >= 102 else {})


def _image(asked: AskedServer, view: View) -> Any:
    if not asked.image:
        return ""
    found = {"id": asked.image, "links": _links(view, "images", asked.image)[1:]}
    return found | ({"properties": {}} if view.version.minor >= 98 else {})


def _links(view: View, collection: str, ident: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": f"{view.url}/{collection}/{ident}"},
        {"rel": "bookmark", "href": f"{view.bookmark}/{collection}/{ident}"},
    ]


def _zulu(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- filters of lists ----------------------------------------------------------------------------------

_YES: Final = frozenset({"1", "t", "true", "on", "y", "yes"})
# What nothing that has no host, address, volume or booting can be told by.
_NONE_YET: Final = frozenset(
    {"ip", "ip6", "fixed_ip", "host", "node", "launched_at", "terminated_at", "image_ref", "launch_index",
     "locked_by", "root_device_name", "kernel_id", "ramdisk_id", "auto_disk_config", "block_device_mapping",
     "info_cache", "metadata", "pci_devices", "security_groups", "services", "system_metadata", "progress"}
)  # fmt: skip


def fits(one: Accepted, filters: Sequence[tuple[str, str]]) -> bool:
    """Whether a list with such filters shows it; what is no filter of Nova's is passed over, as Nova does."""
    statuses = {value.upper() for name, value in filters if name == "status"}
    if statuses and one.status not in statuses:
        return False
    return all(_fits(one, name, value) for name, value in filters if name != "status")


def _fits(one: Accepted, name: str, value: str) -> bool:
    own = _values(one)
    if name in own:
        return value == own[name]
    asked, tags, given = one.asked, set(one.asked.tags), set(value.split(","))
    texts = {
        "name": asked.name, "display_name": asked.name,
        "description": asked.description or "", "display_description": asked.description or "",
    }  # fmt: skip
    if name in texts:
        return _matches(texts[name], value)
    flags: dict[str, bool] = {
        "changes-since": (_seconds(value) or 0.0) <= one.changed_at,
        "changes-before": (_seconds(value) or 0.0) >= one.changed_at,
        "tags": given <= tags,
        "tags-any": bool(given & tags),
        "not-tags": not given <= tags,
        "not-tags-any": not given & tags,
        **dict.fromkeys(("deleted", "soft_deleted", "locked"), value.lower() not in _YES),
    }
    return flags.get(name, name not in _NONE_YET)


def _values(one: Accepted) -> Mapping[str, str | None]:
    """What it has of what filters name, as text; None for what it cannot have yet."""
    asked = one.asked
    return {
        "uuid": one.id,
        "user_id": one.user_id,
        "flavor": asked.flavor.id,
        "image": asked.image,
        "vm_state": one.vm_state,
        "task_state": one.task_state,
        "power_state": "0",
        "key_name": asked.key_name,
        "availability_zone": asked.availability_zone,
        "hostname": asked.hostname,
        "config_drive": asked.config_drive,
        "reservation_id": asked.reservation_id,
        "access_ip_v4": asked.access_ipv4,
        "access_ip_v6": asked.access_ipv6,
    }


def _matches(text: str, pattern: str) -> bool:
    """As Nova's databases match these filters, of whose expressions only `^`, `$` and `.*` are known here.

    Others stand for themselves: an expression of a user's could take for ever.
    """
    text, begins, ends = text.lower(), pattern.startswith("^"), pattern.endswith("$")
    parts = pattern.lower().removeprefix("^").removesuffix("$").split(".*")
    if begins and not text.startswith(parts[0]):
        return False
    if ends and not text.endswith(parts[-1]):
        return False
    at = 0
    for part in parts:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    whole = begins and ends and len(parts) == 1
    return not whole or text == parts[0]


def _seconds(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()
