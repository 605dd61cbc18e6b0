"""The servers a simulated Nova holds: their records, their states over time, and lists of them."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
POWER = {
    "active": 1,
    "stopped": 4,
    "paused": 3,
    "suspended": 4,
    "rescued": 1,
    "resized": 1,
    "building": 0,
    "error": 0,
}
STATUS = {
    "active": "ACTIVE",
    "building": "BUILD",
    "stopped": "SHUTOFF",
    "resized": "VERIFY_RESIZE",
    "paused": "PAUSED",
    "suspended": "SUSPENDED",
    "rescued": "RESCUE",
    "error": "ERROR",
    "deleted": "DELETED",
    "soft-delete": "SOFT_DELETED",
    "shelved": "SHELVED",
    "shelved_offloaded": "SHELVED_OFFLOADED",
}
TASK_STATUS = {
    "rebooting": "REBOOT",
    "rebooting_hard": "HARD_REBOOT",
    "resize_prep": "RESIZE",
    "rebuilding": "REBUILD",
    "updating_password": "PASSWORD",
    "resize_reverting": "REVERT_RESIZE",
    "migrating": "MIGRATING",
}


@dataclass(slots=True)
class Instance:
    """One server. Times are whole seconds since the epoch; `seq` is the database id nobody sees.

    `then` is what it becomes by itself: (when, vm_state, task_state); `gone` is set once it is deleted, after
    it was shown as DELETED for `dying` seconds.
    `fixed` holds addresses that belong to no port of the simulated Neutron (bulk-made servers have these).
    """

    seq: int
    id: str
    name: str
    project_id: str
    user_id: str
    created: int
    updated: int
    flavor: Json
    image_id: str
    zone: str = "nova"
    host: str = ""
    vm_state: str = "building"
    task_state: str | None = "scheduling"
    launched: int | None = None
    gone: int | None = None
    dying: float = 0.0
    then: tuple[float, str, str | None] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    ports: list[str] = field(default_factory=list)
    fixed: Json = field(default_factory=dict)
    security_groups: list[str] = field(default_factory=lambda: ["default"])
    tags: list[str] = field(default_factory=list)
    volumes: list[Json] = field(default_factory=list)
    actions: list[Json] = field(default_factory=list)
    key_name: str | None = None
    description: str | None = None
    locked_by: str | None = None
    locked_reason: str | None = None
    pinned_zone: str | None = None
    hints: Json = field(default_factory=dict)
    group_id: str | None = None
    access: tuple[str, str] = ("", "")
    disk_config: str = "MANUAL"
    config_drive: str = ""
    user_data: str | None = None
    reservation_id: str = ""
    launch_index: int = 0
    hostname: str = ""
    old_flavor: Json | None = None
    trusted: list[str] | None = None

    @property
    def status(self) -> str:
        """Nova's status of the vm_state and task_state."""
        if self.vm_state in ("active", "error") and self.task_state in TASK_STATUS:
            return TASK_STATUS[self.task_state or ""]
        return STATUS.get(self.vm_state, "UNKNOWN")

    def become(self, vm_state: str, now: float, *, task: str | None = None, after: float = 0.0) -> None:
        """Change state: at once with `after` 0, else be in `task` until then."""
        self.updated = int(now)
        if after <= 0:
            self.vm_state, self.task_state, self.then = vm_state, None, None
        else:
            self.task_state, self.then = task, (now + after, vm_state, None)

    def settle(self, now: float) -> bool:
        """Apply what is due by `now`; True if the server changed."""
        if self.then is None or self.then[0] > now:
            return False
        at, self.vm_state, self.task_state = self.then
        self.then, self.updated = None, int(at)
        if self.vm_state == "active" and self.launched is None:
            self.launched = int(at)
        if self.vm_state == "deleted" and self.dying > 0:
            self.then, self.dying = (at + self.dying, "deleted", None), 0.0
            return self.settle(now) or True
        if self.vm_state == "deleted":
            self.gone = int(at)
        return True


SORT_KEYS: dict[str, Callable[[Instance], Any]] = {
    "created_at": lambda i: i.created,
    "updated_at": lambda i: i.updated,
    "launched_at": lambda i: i.launched or 0,
    "terminated_at": lambda i: i.gone or 0,
    "display_name": lambda i: i.name.lower(),
    "display_description": lambda i: i.description or "",
    "uuid": lambda i: i.id,
    "vm_state": lambda i: i.vm_state,
    "task_state": lambda i: i.task_state or "",
    "power_state": lambda i: POWER.get(i.vm_state, 0),
    "image_ref": lambda i: i.image_id,
    "instance_type_id": lambda i: i.flavor["seq"],
    "host": lambda i: i.host,
    "node": lambda i: i.host,
    "hostname": lambda i: i.hostname,
    "project_id": lambda i: i.project_id,
    "user_id": lambda i: i.user_id,
    "key_name": lambda i: i.key_name or "",
    "availability_zone": lambda i: i.zone,
    "launch_index": lambda i: i.launch_index,
    "locked": lambda i: i.locked_by is not None,
    "locked_by": lambda i: i.locked_by or "",
    "progress": lambda _: 0,
    "auto_disk_config": lambda i: i.disk_config,
    "config_drive": lambda i: i.config_drive,
    "access_ip_v4": lambda i: i.access[0],
    "access_ip_v6": lambda i: i.access[1],
    "root_device_name": lambda _: "",
    "kernel_id": lambda _: "",
    "ramdisk_id": lambda _: "",
}


class Instances:
    """All servers of a site, deleted ones included, with sorted views kept until something changes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._all: dict[str, Instance] = {}
        self._moving: dict[str, Instance] = {}
        self._sorted: dict[Any, list[Instance]] = {}
        self._seq = 0

    def __len__(self) -> int:
        return sum(1 for instance in self._all.values() if instance.gone is None)

    def next_seq(self) -> int:
        """The next database id."""
        self._seq += 1
        return self._seq

    def add(self, instance: Instance) -> None:
        """Hold a new server."""
        self._all[instance.id] = instance
        self.touch(instance)

    def extend(self, instances: Iterator[Instance]) -> None:
        """Hold many settled servers at once."""
        self._all.update((instance.id, instance) for instance in instances)
        self._sorted.clear()

    def touch(self, instance: Instance) -> None:
        """Note that a server changed (and may go on changing by itself)."""
        if instance.then is not None:
            self._moving[instance.id] = instance
        self._sorted.clear()

    def settle(self) -> None:
        """Bring all servers to the present."""
        if not self._moving:
            return
        now = self.clock()
        for instance in list(self._moving.values()):
            if instance.settle(now):
                self._sorted.clear()
            if instance.then is None:
                del self._moving[instance.id]

    def get(self, server_id: str, *, deleted: bool = False) -> Instance | None:
        """The server of that id as it is now, or None."""
        self.settle()
        instance = self._all.get(server_id)
        if instance is not None and instance.gone is not None and not deleted:
            return None
        return instance

    def of(self, project_id: str | None) -> list[Instance]:
        """The servers of a project (None: all) that are not deleted, oldest first."""
        return [i for i in self.sorted(project_id, [("created_at", "asc")]) if i.gone is None]

    def sorted(self, project_id: str | None, order: list[tuple[str, str]]) -> list[Instance]:
        """A project's servers (None: all), deleted ones included, in an order of (sort key, direction).

        Ties are broken as Nova does: by the database id, in the last direction given.
        """
        self.settle()
        key = (project_id, tuple(order))
        found = self._sorted.get(key)
        if found is None:
            found = [i for i in self._all.values() if project_id in (None, i.project_id)]
            found.sort(key=lambda i: i.seq, reverse=order[-1][1] == "desc")
            for name, direction in reversed(order):
                found.sort(key=SORT_KEYS[name], reverse=direction == "desc")
            self._sorted[key] = found
        return found


def zulu(seconds: int | None) -> str | None:
    """A time as Nova writes `created`: `2026-11-21T06:31:16Z`."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def micro(seconds: int | None) -> str | None:
    """A time as Nova writes `launched_at`: `2026-11-21T06:31:16.000000`."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.gmtime(seconds))


def regex(pattern: str) -> re.Pattern[str] | None:
    """A compiled filter as the database would match it, or None if it is malformed."""
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error:
        return None
