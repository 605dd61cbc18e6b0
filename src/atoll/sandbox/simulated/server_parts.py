"""What hangs below a server of a simulated Nova: metadata, addresses, tags, interfaces, volumes, actions."""

import uuid
from typing import TYPE_CHECKING

from atoll.sandbox.simulated.flavors import policy
from atoll.sandbox.simulated.instances import Instance, Json, micro
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.server_view import addresses
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute


class ServerParts:
    """The sub-resources of servers."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        route, server = compute.route, "/servers/{id}"
        route("GET", server + "/metadata", lambda call: compute.json({"metadata": self._find(call).metadata}))
        route("POST", server + "/metadata", lambda call: self._write_metadata(call, replace=False))
        route("PUT", server + "/metadata", lambda call: self._write_metadata(call, replace=True))
        route("GET", server + "/metadata/{key}", self._show_meta)
        route("PUT", server + "/metadata/{key}", self._put_meta)
        route("DELETE", server + "/metadata/{key}", self._delete_meta)
        route("GET", server + "/ips", self._list_ips)
        route("GET", server + "/ips/{network}", self._show_ips)
        route("GET", server + "/tags", lambda call: compute.json({"tags": self._find(call).tags}), since=26)
        route("PUT", server + "/tags", self._put_tags, since=26)
        route("DELETE", server + "/tags", self._delete_tags, since=26)
        route("GET", server + "/tags/{tag}", self._show_tag, since=26)
        route("PUT", server + "/tags/{tag}", self._put_tag, since=26)
        route("DELETE", server + "/tags/{tag}", self._delete_tag, since=26)
        self._add_device_routes(compute)

    def _add_device_routes(self, compute: "Compute") -> None:
        route, server = compute.route, "/servers/{id}"
        route("GET", server + "/os-volume_attachments", self._list_volumes)
        route("POST", server + "/os-volume_attachments", self._attach_volume)
        route("GET", server + "/os-volume_attachments/{volume}", self._show_volume)
        route("PUT", server + "/os-volume_attachments/{volume}", self._update_volume)
        route("DELETE", server + "/os-volume_attachments/{volume}", self._detach_volume)
        route("GET", server + "/os-interface", self._list_interfaces)
        route("POST", server + "/os-interface", self._attach_interface)
        route("GET", server + "/os-interface/{port}", self._show_interface)
        route("DELETE", server + "/os-interface/{port}", self._detach_interface)
        route("GET", server + "/os-security-groups", self._list_groups)
        route("GET", server + "/os-instance-actions", self._list_actions)
        route("GET", server + "/os-instance-actions/{request}", self._show_action)
        route("GET", server + "/diagnostics", self._diagnostics)
        route("GET", server + "/topology", lambda call: self.compute.json(self._topology(call)), since=78)

    def _find(self, call: Call) -> Instance:
        return self.compute.servers.find(call)

    # metadata
    def _write_metadata(self, call: Call, *, replace: bool) -> Response:
        instance, given = self._find(call), (call.body or {}).get("metadata")
        if not isinstance(given, dict):
            raise Fault(400, "'metadata' is a required property")
        instance.metadata = dict(given) if replace else instance.metadata | given
        self._updated(instance)
        return self.compute.json({"metadata": instance.metadata})

    def _meta(self, call: Call) -> tuple[Instance, str]:
        instance = self._find(call)
        if call.params["key"] not in instance.metadata:
            raise Fault(404, "Metadata item was not found")
        return instance, call.params["key"]

    def _show_meta(self, call: Call) -> Response:
        instance, key = self._meta(call)
        return self.compute.json({"meta": {key: instance.metadata[key]}})

    def _put_meta(self, call: Call) -> Response:
        instance, key, given = self._find(call), call.params["key"], (call.body or {}).get("meta")
        if not isinstance(given, dict) or list(given) != [key]:
            raise Fault(400, "Request body and URI mismatch")
        instance.metadata = instance.metadata | given
        self._updated(instance)
        return self.compute.json({"meta": given})

    def _delete_meta(self, call: Call) -> Response:
        instance, key = self._meta(call)
        del instance.metadata[key]
        self._updated(instance)
        return self.compute.empty(204)

    def _updated(self, instance: Instance) -> None:
        instance.updated = int(self.compute.site.clock())
        self.compute.instances.touch(instance)

    # addresses
    def _list_ips(self, call: Call) -> Response:
        found = addresses(self.compute, self._find(call), extended=False)
        return self.compute.json({"addresses": found})

    def _show_ips(self, call: Call) -> Response:
        found, name = addresses(self.compute, self._find(call), extended=False), call.params["network"]
        if name not in found:
            raise Fault(404, "Instance is not a member of specified network")
        return self.compute.json({name: found[name]})

    # tags
    def _put_tags(self, call: Call) -> Response:
        instance = self._find(call)
        instance.tags = sorted(set((call.body or {}).get("tags") or []))
        self._updated(instance)
        return self.compute.json({"tags": instance.tags})

    def _delete_tags(self, call: Call) -> Response:
        instance = self._find(call)
        instance.tags = []
        self._updated(instance)
        return self.compute.empty(204)

    def _tag(self, call: Call) -> Instance:
        instance = self._find(call)
        if call.params["tag"] not in instance.tags:
            raise Fault(404, f"Server {instance.id} has no tag '{call.params['tag']}'")
        return instance

    def _show_tag(self, call: Call) -> Response:
        self._tag(call)
        return self.compute.empty(204)

    def _put_tag(self, call: Call) -> Response:
        instance, tag = self._find(call), call.params["tag"]
        if tag in instance.tags:
            return self.compute.empty(204)
        instance.tags.append(tag)
        self._updated(instance)
        location = f"{call.root}/servers/{instance.id}/tags/{tag}"
        return Response(201, [("Content-Type", "text/html; charset=UTF-8"), ("Location", location)])

    def _delete_tag(self, call: Call) -> Response:
        instance = self._tag(call)
        instance.tags.remove(call.params["tag"])
        self._updated(instance)
        return self.compute.empty(204)

    # volumes
    def _volume_view(self, call: Call, attachment: Json) -> Json:
        keys = ["id"] if call.minor < 89 else []
        keys += ["volumeId", "serverId", "device"]
        keys += ["tag"] if call.minor >= 70 else []
        keys += ["delete_on_termination"] if call.minor >= 79 else []
        keys += ["attachment_id", "bdm_uuid"] if call.minor >= 89 else []
        return {key: attachment.get(key) for key in keys}

    def _list_volumes(self, call: Call) -> Response:
        shown = [self._volume_view(call, attachment) for attachment in self._find(call).volumes]
        return self.compute.json({"volumeAttachments": shown})

    def _attach_volume(self, call: Call) -> Response:
        given = (call.body or {}).get("volumeAttachment")
        if not isinstance(given, dict) or "volumeId" not in given:
            raise Fault(400, "'volumeAttachment' is a required property")
        instance, volume_id = self._find(call), given["volumeId"]
        volume = self.compute.site.block_storage.find(call.who, volume_id)
        if volume is None:
            raise Fault(404, f"Volume {volume_id} could not be found.")
        again = volume["multiattach"] and volume["status"] == "in-use" and call.minor >= 60
        if volume["status"] not in ("available", "reserved") and not again:
            message = (
                f"Invalid volume: Volume {volume_id} status must be available or downloading to reserve, "
            )
            raise Fault(400, message + f"but the current status is {volume['status']}.")
        attachment_id = self.compute.site.block_storage.attach(volume_id, instance.id)
        device = given.get("device") or f"/dev/sd{chr(ord('b') + len(instance.volumes))}"
        attachment = {"id": volume_id, "serverId": instance.id, "volumeId": volume_id, "device": device}
        attachment |= {
            "tag": given.get("tag"),
            "delete_on_termination": given.get("delete_on_termination", False),
        }
        attachment |= {"attachment_id": attachment_id, "bdm_uuid": str(uuid.uuid4())}
        instance.volumes.append(attachment)
        self.compute.instances.touch(instance)
        return self.compute.json({"volumeAttachment": self._volume_view(call, attachment)})

    def _volume(self, call: Call) -> tuple[Instance, Json]:
        instance, volume_id = self._find(call), call.params["volume"]
        for attachment in instance.volumes:
            if attachment["volumeId"] == volume_id:
                return instance, attachment
        raise Fault(404, f"Instance {instance.id} is not attached to volume {volume_id}")

    def _show_volume(self, call: Call) -> Response:
        return self.compute.json({"volumeAttachment": self._volume_view(call, self._volume(call)[1])})

    def _update_volume(self, call: Call) -> Response:
        attachment = self._volume(call)[1]
        given = (call.body or {}).get("volumeAttachment")
        if not isinstance(given, dict) or given.get("volumeId") != attachment["volumeId"]:
            raise Fault(403, "Policy doesn't allow os_compute_api:os-volumes-attachments:swap.")
        if call.minor < 85:
            raise Fault(400, "Additional properties are not allowed ('delete_on_termination' was unexpected)")
        attachment["delete_on_termination"] = bool(given["delete_on_termination"])
        return self.compute.empty(202)

    def _detach_volume(self, call: Call) -> Response:
        instance, attachment = self._volume(call)
        if attachment.get("root"):
            raise Fault(400, "Cannot detach a root device volume")
        instance.volumes.remove(attachment)
        self.compute.site.block_storage.detach(attachment["volumeId"], instance.id)
        self.compute.instances.touch(instance)
        return self.compute.empty(202)

    # interfaces
    def _interface_view(self, call: Call, port: Json) -> Json:
        shown = {
            "net_id": port["network_id"],
            "port_id": port["id"],
            "mac_addr": port["mac_address"],
            "port_state": port["status"],
            "fixed_ips": port["fixed_ips"],
        }
        return shown | ({"tag": None} if call.minor >= 70 else {})

    def _list_interfaces(self, call: Call) -> Response:
        ports = self.compute.site.network.ports_of(self._find(call).ports)
        return self.compute.json(
            {"interfaceAttachments": [self._interface_view(call, port) for port in ports]}
        )

    def _port(self, call: Call) -> tuple[Instance, Json]:
        instance = self._find(call)
        for port in self.compute.site.network.ports_of(instance.ports):
            if port["id"] == call.params["port"]:
                return instance, port
        raise Fault(404, f"Port id {call.params['port']} could not be found.")

    def _show_interface(self, call: Call) -> Response:
        return self.compute.json({"interfaceAttachment": self._interface_view(call, self._port(call)[1])})

    def _attach_interface(self, call: Call) -> Response:
        given, instance = (call.body or {}).get("interfaceAttachment") or {}, self._find(call)
        network = self.compute.site.network
        wanted = {"port": given["port_id"]} if "port_id" in given else {"uuid": given.get("net_id")}
        made = network.plug(
            call.who, instance.id, network.plan(call.who, [wanted] if any(wanted.values()) else None)
        )
        instance.ports.extend(made)
        self.compute.instances.touch(instance)
        port = network.ports_of(made)[0]
        return self.compute.json({"interfaceAttachment": self._interface_view(call, port)})

    def _detach_interface(self, call: Call) -> Response:
        instance, port = self._port(call)
        instance.ports.remove(port["id"])
        self.compute.site.network.release([port["id"]])
        self.compute.instances.touch(instance)
        return self.compute.empty(202)

    def _list_groups(self, call: Call) -> Response:
        instance, network = self._find(call), self.compute.site.network
        found = [network.security_group(call.who, name) for name in instance.security_groups]
        return self.compute.json({"security_groups": [network.nova_group(group) for group in found if group]})

    # actions and the like
    def _action_view(self, call: Call, instance: Instance, action: Json) -> Json:
        shown = {
            "action": action["action"],
            "instance_uuid": instance.id,
            "request_id": action["request_id"],
            "user_id": instance.user_id,
            "project_id": instance.project_id,
            "start_time": micro(action["start"]),
            "message": None,
        }
        return shown | ({"updated_at": micro(action["start"])} if call.minor >= 58 else {})

    def _list_actions(self, call: Call) -> Response:
        instance = self._find(call)
        shown = [self._action_view(call, instance, action) for action in reversed(instance.actions)]
        return self.compute.json({"instanceActions": shown})

    def _show_action(self, call: Call) -> Response:
        instance = self._find(call)
        for action in instance.actions:
            if action["request_id"] == call.params["request"]:
                return self.compute.json(
                    {"instanceAction": self._action_view(call, instance, action) | {"events": []}}
                )
        raise Fault(404, f"Action {call.params['request']} not found")

    def _diagnostics(self, call: Call) -> Response:
        policy(call, "os-server-diagnostics")
        self._find(call)
        return self.compute.json({"cpu0_time": 17300000000, "memory": 524288, "vda_read": 262144})

    def _topology(self, call: Call) -> Json:
        self._find(call)
        return {"nodes": [], "pagesize_kb": None}
