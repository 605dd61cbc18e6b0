"""`/servers` of a simulated Nova: list, show, create, update, delete."""

import re
import secrets
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.compute_refusals import check_sort, wrong_query
from atoll.sandbox.simulated.instances import STATUS, TASK_STATUS, Instance, Json, regex
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.server_view import brief, detail, links
from atoll.sandbox.simulated.service import UUID, Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute

_PROPERTIES = {  # what `server` may hold in a create, and since which microversion
    "name": 1, "imageRef": 1, "flavorRef": 1, "adminPass": 1, "metadata": 1, "networks": 1,
    "OS-DCF:diskConfig": 1,
    "accessIPv4": 1, "accessIPv6": 1, "personality": 1, "availability_zone": 1, "block_device_mapping": 1,
    "block_device_mapping_v2": 1, "config_drive": 1, "key_name": 1, "min_count": 1, "max_count": 1,
    "return_reservation_id": 1, "security_groups": 1, "user_data": 1, "description": 19, "tags": 52,
    "trusted_image_certificates": 63, "host": 74, "hypervisor_hostname": 74, "hostname": 90,
}  # fmt: skip
_UNTIL = {"personality": 56}
_PLAIN_FILTERS: dict[str, Callable[[Instance], Any]] = {  # query parameter -> attribute, exact
    "image": lambda i: i.image_id, "flavor": lambda i: i.flavor["id"], "uuid": lambda i: i.id,
    "project_id": lambda i: i.project_id, "tenant_id": lambda i: i.project_id, "user_id": lambda i: i.user_id,
    "host": lambda i: i.host, "key_name": lambda i: i.key_name, "availability_zone": lambda i: i.zone,
    "reservation_id": lambda i: i.reservation_id, "vm_state": lambda i: i.vm_state,
    "task_state": lambda i: i.task_state, "config_drive": lambda i: i.config_drive,
}  # fmt: skip
_REGEX_FILTERS: dict[str, Callable[[Instance], str]] = {
    "name": lambda i: i.name, "display_name": lambda i: i.name, "hostname": lambda i: i.hostname,
    "description": lambda i: i.description or "",
}  # fmt: skip
_ADMIN_FILTERS = {"host", "project_id", "tenant_id", "node", "deleted", "vm_state", "task_state"}
_OTHER_QUERIES = {
    "limit", "marker", "sort_key", "sort_dir", "all_tenants", "changes-since", "changes-before", "status",
    "ip", "ip6",
    "tags", "tags-any", "not-tags", "not-tags-any", "locked", "deleted", "power_state", "node", "launched_at",
    "terminated_at", "created_at", "updated_at", "progress", "access_ip_v4", "access_ip_v6",
    "auto_disk_config",
    "kernel_id", "ramdisk_id", "root_device_name", "launch_index", "user_data", "soft_deleted",
}  # fmt: skip


class Servers:
    """The server resource; others find servers through `find`."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute
        self.placing: set[str] = set()
        """Servers that are being put in a cell: till that is done Nova has them in two tables."""

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/servers", lambda call: self._list(call, "servers"))
        compute.route("GET", "/servers/detail", lambda call: self._list(call, "servers/detail"))
        compute.route("POST", "/servers", self._create)
        compute.route("GET", "/servers/{id}", self._show)
        compute.route("PUT", "/servers/{id}", self._update)
        compute.route("DELETE", "/servers/{id}", self._delete)

    def find(self, call: Call) -> Instance:
        """The server of the path, if the caller may see it. Raises Fault 404 with Nova's message."""
        server_id = call.params["id"]
        instance = self.compute.instances.get(server_id)
        if instance is None or (instance.project_id != call.project_id and not call.admin):
            raise Fault(404, f"Instance {server_id} could not be found.")
        return instance

    # list
    def _list(self, call: Call, collection: str) -> Response:
        compute = self.compute
        limit = compute.limit(call)
        _check_query(call)
        every = call.one("all_tenants") is not None and _boolean(call.one("all_tenants") or "1")
        if every and not call.admin:
            action = "index" if collection == "servers" else "detail"
            message = f"os_compute_api:servers:{action}:get_all_tenants to be performed."
            raise Fault(403, f"Policy doesn't allow {message}")
        project_id = None if every else call.project_id
        page = self._page(call, compute.instances.sorted(project_id, _order(call)), limit)
        if collection == "servers":
            shown = [brief(call, instance) for instance in page]
        else:
            shown = [detail(compute, call, instance, "list") for instance in page]
        body: Json = {"servers": shown}
        next_links = compute.page_links(call, collection, shown, limit)
        if next_links:
            body["servers_links"] = next_links
        return compute.json(body)

    def _page(self, call: Call, found: list[Instance], limit: int) -> list[Instance]:
        """The page asked for: those being placed come first, and one that is there twice counts twice."""
        match, marker = self._matcher(call), call.one("marker")
        placing = [one for one in found if one.id in self.placing]
        if marker in self.placing:
            del placing[: [one.id for one in placing].index(marker) + 1]
        elif marker:
            placing, found = [], self._after(found, marker)
        page = list(islice(filter(match, placing), limit))
        page += islice(filter(match, found), limit - len(page))
        return list({one.id: one for one in page}.values())

    @staticmethod
    def _after(found: list[Instance], marker: str) -> list[Instance]:
        for at, instance in enumerate(found):
            if instance.id == marker:
                return found[at + 1 :]
        raise Fault(400, f"marker [{marker}] not found")

    def _matcher(self, call: Call) -> Any:
        tests = [
            _plain(name, value) for name, value in call.query if name in _PLAIN_FILTERS and _may(call, name)
        ]
        tests += [_search(name, value) for name, value in call.query if name in _REGEX_FILTERS]
        changes_since, deleted = call.one("changes-since"), call.one("deleted")
        show_gone = (call.admin and deleted is not None and _boolean(deleted)) or changes_since is not None
        only_gone = call.admin and deleted is not None and _boolean(deleted)
        if changes_since is not None:
            since = _seconds("changes-since", changes_since)
            tests.append(lambda i: i.updated >= since)
        if call.one("changes-before") is not None:
            before = _seconds("changes-before", call.one("changes-before") or "")
            tests.append(lambda i: i.updated <= before)
        statuses = [value.upper() for value in call.all("status")]
        if statuses:
            known = {*STATUS.values(), *TASK_STATUS.values()}
            if not set(statuses) & known and call.minor >= 38:
                raise Fault(400, "Invalid status value")
            tests.append(lambda i: i.status in statuses)
            if "DELETED" in statuses:
                if not call.admin:
                    raise Fault(403, "Only administrators may list deleted instances")
                show_gone = True
        tests += [self._address(name, value) for name, value in call.query if name in ("ip", "ip6")]
        tests += _tag_tests(call)
        locked = call.one("locked")
        if locked is not None and call.minor >= 73:
            tests.append(lambda i: (i.locked_by is not None) == _boolean(locked))

        def match(instance: Instance) -> bool:
            if (instance.gone is not None and not show_gone) or (only_gone and instance.gone is None):
                return False
            return all(test(instance) for test in tests)

        return match

    def _address(self, name: str, value: str) -> Any:
        pattern, version = _pattern(name, value), 6 if name == "ip6" else 4
        network = self.compute.site.network

        def match(instance: Instance) -> bool:
            found = [*instance.fixed.items(), *network.addresses_of(instance.ports)]
            return any(
                item["version"] == version
                and value in item["addr"]
                and pattern.search(item["addr"]) is not None
                for _, items in found
                for item in items
            )

        return match

    # one
    def _show(self, call: Call) -> Response:
        return self.compute.json({"server": detail(self.compute, call, self.find(call))})

    def _update(self, call: Call) -> Response:
        given = call.body["server"]
        instance = self.find(call)
        _check_properties(call, given, {"name": 1, "accessIPv4": 1, "accessIPv6": 1, "OS-DCF:diskConfig": 1,
                                        "description": 19, "hostname": 90})  # fmt: skip
        instance.name = given.get("name", instance.name)
        instance.description = given.get("description", instance.description)
        instance.hostname = given.get("hostname", instance.hostname)
        instance.disk_config = given.get("OS-DCF:diskConfig", instance.disk_config)
        instance.access = (
            given.get("accessIPv4", instance.access[0]),
            given.get("accessIPv6", instance.access[1]),
        )
        instance.updated = int(self.compute.site.clock())
        self.compute.instances.touch(instance)
        return self.compute.json({"server": detail(self.compute, call, instance, "update")})

    def _delete(self, call: Call) -> Response:
        instance = self.find(call)
        if instance.locked_by is not None and not call.admin:
            raise Fault(409, f"Instance {instance.id} is locked")
        self.remove(instance)
        return self.compute.empty(204)

    def remove(self, instance: Instance) -> None:
        """Delete a server now, or after the site's delay, with its own ports and attachments."""
        compute = self.compute
        compute.site.network.release(instance.ports)
        for volume in instance.volumes:
            compute.site.block_storage.detach(volume["volumeId"], instance.id)
            if volume.get("delete_on_termination"):
                compute.site.block_storage.gone_with_server(volume["volumeId"])
        now = compute.site.clock()
        if compute.delete_seconds > 0:
            instance.dying = min(compute.dying_seconds, compute.delete_seconds)
            alive = compute.delete_seconds - instance.dying
            instance.become("deleted", now, task="deleting", after=alive or 1e-9)
        else:
            instance.become("deleted", now)
            instance.gone = int(now)
        for group in compute.groups.values():
            if instance.id in group["members"]:
                group["members"].remove(instance.id)
        compute.instances.touch(instance)

    # create
    def _create(self, call: Call) -> Response:
        compute = self.compute
        compute.received.append(call.raw)
        given = call.body["server"]
        _check_create(call, given)
        least = int(given.get("min_count") or 1)
        most = int(given.get("max_count") or least)
        if least > most:
            raise Fault(400, "min_count must be <= max_count")
        flavor = compute.flavor_api.get(str(given["flavorRef"]).rpartition("/")[2])
        if flavor is None:
            raise Fault(400, f"Flavor {given['flavorRef']} could not be found.")
        image_id = self._image(call, given)
        self._check_placement(call, given)
        compute.flavor_api.check_quota(call, flavor, least)
        hints = call.body.get("os:scheduler_hints") or call.body.get("OS-SCH-HNT:scheduler_hints") or {}
        self._check_group(hints)
        networks = compute.site.network.plan(call.who, given.get("networks"))
        made = [
            self._boot(call, given, flavor, (image_id, index if most > 1 else None, networks, hints))
            for index in range(most)
        ]
        if given.get("return_reservation_id"):
            return compute.json({"reservation_id": made[0].reservation_id}, 202)
        shown: Json = {
            "id": made[0].id,
            "links": links(call, "servers", made[0].id),
            "OS-DCF:diskConfig": "MANUAL",
        }
        shown["security_groups"] = [{"name": name} for name in made[0].security_groups]
        shown["adminPass"] = given.get("adminPass") or secrets.token_urlsafe(9)
        return compute.json({"server": shown}, 202, shown["links"][0]["href"])

    def _image(self, call: Call, given: Json) -> str:
        reference = given.get("imageRef")
        if not reference:
            if not given.get("block_device_mapping_v2") and not given.get("block_device_mapping"):
                raise Fault(400, "Invalid imageRef provided.")
            return ""
        image = self.compute.site.image.visible(call.who, reference)
        if image is None:
            raise Fault(400, "Can not find requested image")
        if image["status"] != "active":
            raise Fault(400, f"Image {reference} is not active.")
        return str(reference)

    def _check_placement(self, call: Call, given: Json) -> None:
        compute = self.compute
        zone = (given.get("availability_zone") or "nova").split(":")[0]
        if zone not in compute.zones:
            raise Fault(400, "The requested availability zone is not available")
        key_name = given.get("key_name")
        if key_name is not None and (call.who.user_id, key_name) not in compute.keypairs:
            raise Fault(400, "Invalid key_name provided.")
        for group in given.get("security_groups") or []:
            if compute.site.network.security_group(call.who, group.get("name", "")) is None:
                raise Fault(400, f"Unable to find security_group with name or id '{group.get('name')}'")

    def _check_group(self, hints: Json) -> None:
        group = hints.get("group")
        if group is not None and group not in self.compute.groups:
            raise Fault(400, f"Instance group {group} could not be found.")

    def _boot(
        self, call: Call, given: Json, flavor: Json, plan: tuple[str, int | None, Any, Json]
    ) -> Instance:
        compute, (image_id, index, networks, hints) = self.compute, plan
        now = compute.site.clock()
        name = given["name"] if index is None else f"{given['name']}-{index + 1}"
        groups = [group["name"] for group in given.get("security_groups") or [{"name": "default"}]]
        instance = Instance(
            compute.instances.next_seq(), str(uuid.uuid4()), name, call.project_id, call.who.user_id,
            int(now), int(now), flavor, image_id,
        )  # fmt: skip
        instance.zone = (given.get("availability_zone") or compute.zones[0]).split(":")[0]
        instance.pinned_zone = given.get("availability_zone")
        instance.host = f"{compute.site.name}-compute1"
        instance.metadata = dict(given.get("metadata") or {})
        instance.security_groups = list(dict.fromkeys(groups))
        instance.key_name, instance.hints = given.get("key_name"), hints
        instance.description = given.get("description", name if call.minor < 19 else None)
        instance.tags = list(given.get("tags") or [])
        instance.access = (given.get("accessIPv4", ""), given.get("accessIPv6", ""))
        instance.config_drive = "True" if given.get("config_drive") in (True, "true", "True", "1") else ""
        instance.user_data, instance.reservation_id = given.get("user_data"), "r-" + secrets.token_hex(4)
        instance.hostname = given.get("hostname") or re.sub("[^a-z0-9-]+", "-", name.lower()).strip("-")
        instance.launch_index, instance.disk_config = index or 0, given.get("OS-DCF:diskConfig", "MANUAL")
        instance.ports = compute.site.network.plug(call.who, instance.id, networks)
        self._join(instance, hints)
        self._attach(instance, given)
        instance.actions.append({"action": "create", "request_id": call.request_id, "start": int(now)})
        fails, compute.boot_fails = compute.boot_fails > 0, max(0, compute.boot_fails - 1)
        instance.become("error" if fails else "active", now, task="spawning", after=compute.build_seconds)
        if compute.build_seconds <= 0:
            instance.launched = int(now)
        compute.instances.add(instance)
        return instance

    def _join(self, instance: Instance, hints: Json) -> None:
        if hints.get("group"):
            instance.group_id = hints["group"]
            self.compute.groups[hints["group"]]["members"].append(instance.id)

    def _attach(self, instance: Instance, given: Json) -> None:
        storage = self.compute.site.block_storage
        for mapping in given.get("block_device_mapping_v2") or []:
            volume_id = mapping.get("uuid", "")
            if mapping.get("source_type") != "volume":
                if mapping.get("destination_type") != "volume":
                    continue
                volume_id = storage.made_for(instance.project_id, instance.user_id, mapping)
            if storage.attach(volume_id, instance.id) is None:
                raise Fault(400, f"Block Device Mapping is Invalid: failed to get volume {volume_id}.")
            attachment = {
                "id": volume_id,
                "serverId": instance.id,
                "volumeId": volume_id,
                "device": "/dev/vda",
                "delete_on_termination": bool(mapping.get("delete_on_termination")),
                "root": mapping.get("boot_index") in {0, "0"},
            }
            instance.volumes.append(attachment)


def _check_create(call: Call, given: Json) -> None:
    _check_properties(call, given, _PROPERTIES)
    required = ["name", "flavorRef"] + (["networks"] if call.minor >= 37 else [])
    for name in required:
        if name not in given:
            raise Fault(
                400,
                f"Invalid input for field/attribute server. Value: {given}. '{name}' is a required property",
            )
    if not isinstance(given["name"], str) or not given["name"].strip():
        why = f"{given['name']!r} should be non-empty"
        raise Fault(400, f"Invalid input for field/attribute name. Value: {given['name']}. {why}")
    image = given.get("imageRef")
    if image and not UUID.match(image):
        why = f"{image!r} is not valid under any of the given schemas"
        raise Fault(400, f"Invalid input for field/attribute imageRef. Value: {image}. {why}")


def _check_properties(call: Call, given: Json, known: dict[str, int]) -> None:
    for name in given:
        if known.get(name, 9999) > call.minor or _UNTIL.get(name, 9999) < call.minor:
            why = f"Additional properties are not allowed ({name!r} was unexpected)"
            raise Fault(400, f"Invalid input for field/attribute server. Value: {given}. {why}")


def _check_query(call: Call) -> None:
    for name, value in call.query:
        known = (
            name in _OTHER_QUERIES or name in _PLAIN_FILTERS or name in _REGEX_FILTERS or name.startswith("_")
        )
        if not known and call.minor >= 75:
            raise Fault(400, f"'{name}' does not match any of the regexes: '^_'")
        if name in ("name", "ip", "ip6"):
            _pattern(name, value)
        if name == "sort_dir" and value not in ("asc", "desc"):
            raise Fault(400, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'")


def _order(call: Call) -> list[tuple[str, str]]:
    kept, directions = check_sort(call), call.all("sort_dir")
    dropped = {at for at in range(len(call.all("sort_key"))) if at not in dict(kept)}
    directions = [one for at, one in enumerate(directions) if at not in dropped]
    keys = [key for _, key in kept]
    if not keys:
        first = directions[0] if directions else "desc"
        return [("created_at", first)]
    last = directions[-1] if directions else "desc"
    directions = (directions + [last] * len(keys))[: len(keys)] if directions else ["desc"] * len(keys)
    order = list(zip(keys, directions, strict=True))
    if "created_at" not in keys:
        order.append(("created_at", directions[0]))
    return order


def _may(call: Call, name: str) -> bool:
    """Filters a user may not use are ignored, as Nova does below all_tenants."""
    return call.admin or name not in _ADMIN_FILTERS


def _plain(name: str, value: str) -> Any:
    attribute = _PLAIN_FILTERS[name]
    return lambda i: attribute(i) == value


def _search(name: str, value: str) -> Any:
    attribute, pattern = _REGEX_FILTERS[name], _pattern(name, value)
    return lambda i: pattern.search(attribute(i)) is not None


def _pattern(name: str, value: str) -> re.Pattern[str]:
    pattern = regex(value)
    if pattern is None:
        raise wrong_query(name, value, f"'{value}' is not a 'regex'")
    return pattern


def _tag_tests(call: Call) -> list[Any]:
    if call.minor < 26:
        return []
    tests = []
    for name, value in call.query:
        tags = set(value.split(","))
        if name == "tags":
            tests.append(lambda i, tags=tags: tags <= set(i.tags))
        elif name == "tags-any":
            tests.append(lambda i, tags=tags: bool(tags & set(i.tags)))
        elif name == "not-tags":
            tests.append(lambda i, tags=tags: not tags <= set(i.tags))
        elif name == "not-tags-any":
            tests.append(lambda i, tags=tags: not tags & set(i.tags))
    return tests


def _seconds(name: str, value: str) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as exc:
        message = f"Invalid input for query parameters {name}. Value: {value}. '{value}' is not a 'date-time'"
        raise Fault(400, message) from exc
    return moment.timestamp() if moment.tzinfo else moment.timestamp() - time.timezone


def _boolean(value: str) -> bool:
    return value.strip().lower() in ("", "1", "t", "true", "on", "y", "yes")
