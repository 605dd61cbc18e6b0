"""`POST /servers/{id}/action` of a simulated Nova: what each action needs and what the server becomes."""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.compute_refusals import GONE, action_of
from atoll.sandbox.simulated.flavors import policy
from atoll.sandbox.simulated.instances import Instance
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.server_view import detail
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

_RUNNING = ("active",)
# action -> (vm_states it is allowed in, vm_state after, task_state meanwhile, the action's name in messages)
_TRANSITIONS: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "os-start": (("stopped",), "active", "powering-on", "start"),
    "os-stop": (("active", "rescued", "error"), "stopped", "powering-off", "stop"),
    "pause": (("active",), "paused", "pausing", "pause"),
    "unpause": (("paused",), "active", "unpausing", "unpause"),
    "suspend": (("active",), "suspended", "suspending", "suspend"),
    "resume": (("suspended",), "active", "resuming", "resume"),
    "shelve": (("active", "stopped", "paused", "suspended"), "shelved_offloaded", "shelving", "shelve"),
    "shelveOffload": (("shelved",), "shelved_offloaded", "shelving_offloading", "shelveOffload"),
    "unshelve": (("shelved", "shelved_offloaded"), "active", "unshelving", "unshelve"),
    "rescue": (("active", "stopped", "error"), "rescued", "rescuing", "rescue"),
    "unrescue": (("rescued",), "active", "unrescuing", "unrescue"),
    "confirmResize": (("resized",), "active", "deleting", "confirmResize"),
    "revertResize": (("resized",), "active", "resize_reverting", "revertResize"),
    "changePassword": (("active",), "active", "updating_password", "changePassword"),
    "migrate": (("active", "stopped"), "resized", "resize_prep", "migrate"),
    "os-migrateLive": (("active", "paused"), "active", "migrating", "os-migrateLive"),
    "restore": (("soft-delete",), "active", "restoring", "restore"),
}
_ADMIN = {
    "os-resetState": "os-admin-actions:reset_state",
    "migrate": "os-migrate-server:migrate",
    "os-migrateLive": "os-migrate-server:migrate_live",
    "evacuate": "os-evacuate",
    "injectNetworkInfo": "os-admin-actions:inject_network_info",
}
_GONE = ("resetNetwork",)
_ACCEPTED = ("evacuate", "injectNetworkInfo", "trigger_crash_dump", "addFixedIp",
             "removeFixedIp")  # fmt: skip


class ServerActions:
    """Actions; a server moves on by itself after the site's `action_seconds`."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute
        self._handlers: dict[str, Callable[[Call, Instance, Any], Response]] = {
            "reboot": self._reboot,
            "resize": self._resize,
            "rebuild": self._rebuild,
            "createImage": self._create_image,
            "createBackup": self._create_image,
            "lock": self._lock,
            "unlock": self._unlock,
            "os-resetState": self._reset_state,
            "addSecurityGroup": self._add_group,
            "removeSecurityGroup": self._remove_group,
            "os-getConsoleOutput": self._console_output,
            "forceDelete": self._force_delete,
            "os-getVNCConsole": self._console,
            "os-getSPICEConsole": self._console,
            "os-getSerialConsole": self._console,
            "os-getRDPConsole": self._console,
        }

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("POST", "/servers/{id}/action", self._act)
        compute.route("POST", "/servers/{id}/remote-consoles", self._remote_console, since=6)

    def _act(self, call: Call) -> Response:
        action, value = action_of(call)
        if action in _GONE:
            raise Fault(410, GONE)
        addresses = self.compute.floating_ips
        known = action in self._handlers or action in _TRANSITIONS or action in _ACCEPTED
        known = known or action in addresses.actions
        if not known:
            raise Fault(400, f"There is no such action: {action}")
        if action in _ADMIN:
            policy(call, f"os_compute_api:{_ADMIN[action]}".removeprefix("os_compute_api:"))
        _check(action, value)
        instance = self._find(call)
        if instance.locked_by is not None and action not in ("lock", "unlock") and not call.admin:
            raise Fault(409, f"Instance {instance.id} is locked")
        started = {"action": action.removeprefix("os-"), "request_id": call.request_id}
        instance.actions.append({**started, "start": int(self.compute.site.clock())})
        if action in self._handlers:
            return self._handlers[action](call, instance, value)
        if action in addresses.actions:
            return addresses.act(call, action, instance, value)
        if action in _TRANSITIONS:
            self._move(call, instance, action)
        return self.compute.empty(202)

    def _find(self, call: Call) -> Instance:
        instance = self.compute.instances.get(call.params["id"])
        if instance is None or (instance.project_id != call.project_id and not call.admin):
            raise Fault(404, f"Instance {call.params['id']} could not be found.")
        return instance

    def _move(self, call: Call, instance: Instance, action: str) -> None:
        allowed, after, task, name = _TRANSITIONS[action]
        _require(instance, name, allowed)
        if action == "shelve" and instance.image_id:
            image = self.compute.site.image
            image.snapshot(call.who, f"{instance.name}-shelved", instance.id, instance.image_id)
        if action == "migrate":
            instance.old_flavor = instance.flavor
        if action == "revertResize" and instance.old_flavor is not None:
            instance.flavor = instance.old_flavor
        self._become(instance, after, task)
        self.compute.migrations.began(instance, action)

    def _become(self, instance: Instance, state: str, task: str) -> None:
        compute = self.compute
        instance.become(state, compute.site.clock(), task=task, after=compute.action_seconds)
        compute.instances.touch(instance)

    def _reboot(self, call: Call, instance: Instance, value: Any) -> Response:  # noqa: ARG002
        allowed = (
            ("active", "stopped", "paused", "suspended", "error") if value["type"] == "HARD" else _RUNNING
        )
        _require(instance, "reboot", allowed)
        self._become(instance, "active", "rebooting_hard" if value["type"] == "HARD" else "rebooting")
        return self.compute.empty(202)

    def _resize(self, call: Call, instance: Instance, value: Any) -> Response:  # noqa: ARG002
        flavor = self.compute.flavors.get(str(value["flavorRef"]))
        if flavor is None:
            raise Fault(400, f"Flavor {value['flavorRef']} could not be found.")
        if flavor is instance.flavor:
            raise Fault(400, "When resizing, instances must change flavor!")
        _require(instance, "resize", ("active", "stopped"))
        instance.old_flavor, instance.flavor = instance.flavor, flavor
        self._become(instance, "resized", "resize_prep")
        return self.compute.empty(202)

    def _rebuild(self, call: Call, instance: Instance, value: Any) -> Response:
        _require(instance, "rebuild", ("active", "stopped", "paused", "suspended", "error"))
        if self.compute.site.image.visible(call.who, value["imageRef"]) is None:
            raise Fault(400, f"Image {value['imageRef']} could not be found.")
        instance.image_id, instance.name = value["imageRef"], value.get("name", instance.name)
        instance.metadata = value.get("metadata", instance.metadata)
        self._become(instance, "stopped" if instance.vm_state == "stopped" else "active", "rebuilding")
        shown = detail(self.compute, call, instance, "update")
        shown["adminPass"] = secrets.token_urlsafe(9)
        return self.compute.json({"server": shown}, 202)

    def _create_image(self, call: Call, instance: Instance, value: Any) -> Response:
        _require(instance, "createImage", ("active", "stopped", "paused", "suspended"))
        image = self.compute.site.image.snapshot(call.who, value["name"], instance.id, instance.image_id)
        if not instance.image_id:  # it runs from volumes
            storage, name = self.compute.site.block_storage, f"snapshot for {value['name']}"
            for volume in instance.volumes:
                storage.snapshot_for(volume["volumeId"], name)
        if call.minor >= 45:
            return self.compute.json({"image_id": image["id"]}, 202)
        location = f"{call.request.url_root}/image//images/{image['id']}"
        return Response(202, [("Content-Type", "text/html; charset=UTF-8"), ("Location", location)])

    def _lock(self, call: Call, instance: Instance, value: Any) -> Response:
        instance.locked_by = "admin" if call.admin else "owner"
        instance.locked_reason = (value or {}).get("locked_reason") if call.minor >= 73 else None
        self.compute.instances.touch(instance)
        return self.compute.empty(202)

    def _unlock(self, call: Call, instance: Instance, value: Any) -> Response:  # noqa: ARG002
        if instance.locked_by == "admin" and not call.admin:
            raise Fault(
                403,
                "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.",
            )
        instance.locked_by = instance.locked_reason = None
        self.compute.instances.touch(instance)
        return self.compute.empty(202)

    def _reset_state(self, call: Call, instance: Instance, value: Any) -> Response:  # noqa: ARG002
        instance.become(value["state"], self.compute.site.clock())
        self.compute.instances.touch(instance)
        return self.compute.empty(202)

    def _add_group(self, call: Call, instance: Instance, value: Any) -> Response:
        name = value["name"]
        if self.compute.site.network.security_group(call.who, name) is None:
            raise Fault(404, f"Security group {name} is not found for project {call.project_id}")
        if name not in instance.security_groups:
            instance.security_groups.append(name)
        return self.compute.empty(202)

    def _remove_group(self, call: Call, instance: Instance, value: Any) -> Response:
        name = value["name"]
        if self.compute.site.network.security_group(call.who, name) is None:
            raise Fault(404, f"Security group {name} is not found for project {call.project_id}")
        if name not in instance.security_groups:
            raise Fault(409, f"Security group {name} is not associated with the instance {instance.id}")
        instance.security_groups.remove(name)
        return self.compute.empty(202)

    def _console_output(self, call: Call, instance: Instance, value: Any) -> Response:  # noqa: ARG002
        lines = [f"[    0.{at:06d}] simulated {instance.id} line {at}" for at in range(20)]
        length = (value or {}).get("length")
        return self.compute.json({"output": "\n".join(lines[-int(length) :] if length else lines) + "\n"})

    def _console(self, call: Call, instance: Instance, value: Any) -> Response:
        if call.minor >= 6:
            raise Fault(404, "The resource could not be found.")
        return self.compute.json({"console": {"type": value["type"], "url": _console_url(call, instance)}})

    def _remote_console(self, call: Call) -> Response:
        instance = self._find(call)
        given = (call.body or {}).get("remote_console") or {}
        shown = {
            "protocol": given.get("protocol"),
            "type": given.get("type"),
            "url": _console_url(call, instance),
        }
        return self.compute.json({"remote_console": shown})

    def _force_delete(self, call: Call, instance: Instance, value: Any) -> Response:  # noqa: ARG002
        self.compute.servers.remove(instance)
        return self.compute.empty(202)


def _console_url(call: Call, instance: Instance) -> str:
    return f"{call.request.url_root}/console?token={instance.id}"


def _check(action: str, value: Any) -> None:
    """The members an action's value must have."""
    needed = {
        "reboot": "type", "resize": "flavorRef", "rebuild": "imageRef", "createImage": "name",
        "createBackup": "name",
        "os-resetState": "state", "addSecurityGroup": "name", "removeSecurityGroup": "name",
        "addFloatingIp": "address", "removeFloatingIp": "address",
    }.get(action)  # fmt: skip
    if needed is not None and (not isinstance(value, dict) or needed not in value):
        why = f"'{needed}' is a required property"
        raise Fault(400, f"Invalid input for field/attribute {action}. Value: {value}. {why}")


def _require(instance: Instance, action: str, allowed: tuple[str, ...]) -> None:
    if instance.vm_state not in allowed:
        state = f"vm_state {instance.vm_state}"
    elif instance.task_state is not None:
        state = f"task_state {instance.task_state}"
    else:
        return
    raise Fault(409, f"Cannot '{action}' instance {instance.id} while it is in {state}")
