"""`/v2/images` of a simulated Glance: list, create, show, PATCH, delete, tags, members."""

import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import UUID, Call, Fault, Routes

if TYPE_CHECKING:
    from atoll.sandbox.simulated.image import Image

Json = dict[str, Any]
_SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
_READ_ONLY = ("id", "created_at", "updated_at", "status", "checksum", "size", "virtual_size", "direct_url",
              "self",
              "file", "schema", "stores", "os_hash_algo", "os_hash_value", "locations")  # fmt: skip
_SETTABLE = ("name", "visibility", "tags", "container_format", "disk_format", "min_disk", "min_ram",
             "protected",
             "owner", "os_hidden")  # fmt: skip
_DISK_FORMATS = [None, "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"]
_ORDER = ("name", "disk_format", "container_format", "visibility", "size", "virtual_size", "status",
          "checksum",
          "protected", "min_ram", "min_disk", "owner", "os_hidden", "os_hash_algo", "os_hash_value", "id",
          "created_at", "updated_at", "tags")  # fmt: skip
_PATCH = ("application/openstack-images-v2.0-json-patch", "application/openstack-images-v2.1-json-patch")
_RESERVED = (
    "limit",
    "marker",
    "sort_key",
    "sort_dir",
    "sort",
    "visibility",
    "tag",
    "member_status",
    "os_hidden",
)


class Images:
    """The image resource."""

    def __init__(self, image: "Image") -> None:
        self.image = image

    def add_routes(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("GET", "/v2/images", self._list)
        routes.add("POST", "/v2/images", self._create)
        routes.add("GET", "/v2/images/{id}", lambda call: self.image.json(view(self._find(call))))
        routes.add("PATCH", "/v2/images/{id}", self._patch)
        routes.add("DELETE", "/v2/images/{id}", self._delete)
        routes.add("PUT", "/v2/images/{id}/tags/{tag}", self._add_tag)
        routes.add("DELETE", "/v2/images/{id}/tags/{tag}", self._remove_tag)
        members = "/v2/images/{id}/members"
        routes.add("GET", members, self._list_members)
        routes.add("POST", members, self._add_member)
        routes.add("GET", members + "/{member}", lambda call: self.image.json(self._member(call)))
        routes.add("PUT", members + "/{member}", self._update_member)
        routes.add("DELETE", members + "/{member}", self._remove_member)

    def _find(self, call: Call) -> Json:
        image = self.image.visible(call.who, call.params["id"])
        if image is None:
            raise Fault(404, f"No image found with ID {call.params['id']}")
        return image

    def _owned(self, call: Call, action: str) -> Json:
        image = self._find(call)
        if image["owner"] != call.project_id and not call.admin:
            raise Fault(403, f"You are not authorized to complete {action} action.")
        return image

    # list
    def _list(self, call: Call) -> Response:
        limit = self._limit(call)
        found = [image for image in self.image.images.values() if self._wanted(call, image)]
        for key, direction in reversed(_order(call)):
            found.sort(key=lambda i: (i[key] is not None, i[key]), reverse=direction == "desc")
        marker = call.one("marker")
        if marker is not None:
            at = next((at for at, image in enumerate(found) if image["id"] == marker), None)
            if at is None:
                raise Fault(400, f"No image found with ID {marker}")
            found = found[at + 1 :]
        page = found[:limit]
        body: Json = {
            "images": [view(image) for image in page],
            "first": "/v2/images",
            "schema": "/v2/schemas/images",
        }
        kept = [(name, value) for name, value in call.query if name != "marker"]
        if kept:
            body["first"] += "?" + urlencode(kept)
        if page and len(page) == limit:
            body["next"] = "/v2/images?" + urlencode([*kept, ("marker", page[-1]["id"])])
        return self.image.json(body)

    def _limit(self, call: Call) -> int:
        value = call.one("limit")
        if value is None:
            return self.image.default_limit
        try:
            limit = int(value)
        except ValueError as exc:
            raise Fault(400, "limit param must be an integer") from exc
        if limit < 0:
            raise Fault(400, "limit param must be positive")
        return min(limit, self.image.max_limit)

    def _wanted(self, call: Call, image: Json) -> bool:
        visibility = call.one("visibility")
        if visibility not in (None, "public", "private", "shared", "community", "all"):
            raise Fault(400, f"Invalid visibility value: {visibility}")
        if visibility not in (None, "all") and image["visibility"] != visibility:
            return False
        if not self._listed(call, image, visibility):
            return False
        hidden = (call.one("os_hidden") or "false").lower() == "true"
        if image["os_hidden"] != hidden or not set(call.all("tag")) <= set(image["tags"]):
            return False
        return all(_matches(image, name, value) for name, value in call.query if name not in _RESERVED)

    def _listed(self, call: Call, image: Json, visibility: str | None) -> bool:
        if call.admin or image["owner"] == call.project_id or image["visibility"] == "public":
            return True
        if image["visibility"] == "community":
            return visibility in ("community", "all")
        member = self.image.members.get(image["id"], {}).get(call.project_id)
        status = call.one("member_status") or "accepted"
        return image["visibility"] == "shared" and member is not None and status in ("all", member["status"])

    # one
    def _create(self, call: Call) -> Response:
        if not call.raw:
            raise Fault(400, "Body expected in request.")
        given = _json(call.raw)
        if not isinstance(given, dict):
            raise Fault(
                500, "The server has either erred or is incapable of performing the requested operation."
            )
        self._check(call, given)
        image_id = given.pop("id", None) or str(uuid.uuid4())
        if image_id in self.image.images or image_id in self.image.burned:
            raise Fault(409, f"Image ID {image_id} already exists!")
        fields: Json = {"owner": call.project_id, "name": None} | given
        image = self.image.add(fields.pop("name"), owner=fields.pop("owner"), image_id=image_id, **fields)
        image["tags"] = sorted(set(image["tags"]))
        response = self.image.json(view(image), 201)
        response.headers += [
            ("Location", f"{call.root}/images/{image_id}"),
            ("OpenStack-image-import-methods", "glance-direct,web-download,copy-image"),
            ("OpenStack-image-store-ids", "file"),
        ]
        return response

    def _check(self, call: Call, given: Json) -> None:
        image_id = given.get("id")
        if image_id is not None and not UUID.match(str(image_id)):
            pattern = (
                "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
            )
            raise Fault(
                400, f"Provided object does not match schema 'image': {image_id!r} does not match '{pattern}'"
            )
        for name in given:
            if name in _READ_ONLY and name != "id":
                raise Fault(403, f"Attribute '{name}' is read-only.")
        for name, value in given.items():
            if name not in _READ_ONLY and name not in _SETTABLE and not isinstance(value, str):
                message = f"Provided object does not match schema 'image': {value!r} is not of type 'string'"
                raise Fault(400, message)
        if given.get("disk_format") not in _DISK_FORMATS:
            message = f"{given['disk_format']!r} is not one of {_DISK_FORMATS}"
            raise Fault(400, f"Provided object does not match schema 'image': {message}")
        if given.get("owner", call.project_id) != call.project_id and not call.admin:
            message = f"You are not permitted to create images owned by '{given['owner']}'"
            raise Fault(403, "Access was denied to this resource.", message)
        if given.get("visibility") == "public" and not call.admin:
            raise Fault(403, "You are not authorized to complete publicize_image action.")

    def _delete(self, call: Call) -> Response:
        image_id = call.params["id"]
        if self.image.visible(call.who, image_id) is None:
            raise Fault(404, f"Failed to find image {image_id} to delete")
        image = self._owned(call, "delete_image")
        if image["protected"]:
            raise Fault(403, f"Image {image_id} is protected and cannot be deleted.")
        del self.image.images[image_id]
        self.image.stored.pop(image_id, None)
        self.image.members.pop(image_id, None)
        self.image.burned.add(image_id)
        return _empty()

    # patch
    def _patch(self, call: Call) -> Response:
        kind = call.request.header("content-type") or ""
        if kind not in _PATCH:
            message = f"Image PATCH expects Content-Type one of: {', '.join(_PATCH)}"
            what = f"The request media type {kind} is not supported by this server."
            fault = Fault(415, what, message)
            fault.headers.append(("Accept-Patch", ", ".join(_PATCH)))
            raise fault
        operations = _json(call.raw)
        if not isinstance(operations, list):
            raise Fault(400, "Request body must be a JSON array of operation objects.")
        image = self._owned(call, "modify_image")
        changed = dict(image)
        for operation in operations:
            self._apply(call, changed, operation)
        image.clear()
        image |= changed | {"updated_at": self.image.now()}
        return self.image.json(view(image))

    def _apply(self, call: Call, image: Json, operation: Json) -> None:
        what, name = _operation(operation)
        if name in _READ_ONLY:
            raise Fault(403, f"Attribute '{name}' is read-only.")
        if what != "add" and name not in image:
            raise Fault(
                409,
                "There was a conflict when trying to complete your request.",
                f"Property {name} does not exist.",
            )
        if what == "remove":
            if name in _SETTABLE:
                raise Fault(403, f"Property {name} may not be removed.")
            del image[name]
            return
        value = operation.get("value")
        if name == "visibility" and value == "public" and not call.admin:
            raise Fault(403, "You are not authorized to complete publicize_image action.")
        if name == "owner" and not call.admin:
            raise Fault(403, "You are not authorized to complete modify_image action.")
        image[name] = sorted(set(value)) if name == "tags" and isinstance(value, list) else value

    # tags and members
    def _add_tag(self, call: Call) -> Response:
        image = self._owned(call, "modify_image")
        if call.params["tag"] not in image["tags"]:
            image["tags"].append(call.params["tag"])
        return _empty()

    def _remove_tag(self, call: Call) -> Response:
        image = self._owned(call, "modify_image")
        if call.params["tag"] not in image["tags"]:
            raise Fault(404, "The resource could not be found.")
        image["tags"].remove(call.params["tag"])
        return _empty()

    def _list_members(self, call: Call) -> Response:
        image = self._find(call)
        found = list(self.image.members.get(image["id"], {}).values())
        if image["owner"] != call.project_id and not call.admin:
            found = [member for member in found if member["member_id"] == call.project_id]
        return self.image.json({"members": found, "schema": "/v2/schemas/members"})

    def _add_member(self, call: Call) -> Response:
        image = self._owned(call, "add_member")
        given = _json(call.raw)
        if not isinstance(given, dict) or not given.get("member"):
            raise Fault(400, 'Expected a dict like {"member": "<value>"}')
        if image["visibility"] != "shared":
            raise Fault(403, "Only shared images have members.")
        members, member_id = self.image.members.setdefault(image["id"], {}), given["member"]
        if member_id in members:
            raise Fault(409, f"Member {member_id} is duplicated for image {image['id']}")
        now = self.image.now()
        member = {"member_id": member_id, "image_id": image["id"], "status": "pending"}
        members[member_id] = member | {"created_at": now, "updated_at": now, "schema": "/v2/schemas/member"}
        return self.image.json(members[member_id])

    def _member(self, call: Call) -> Json:
        image = self._find(call)
        member = self.image.members.get(image["id"], {}).get(call.params["member"])
        if member is None:
            message = f"{call.params['member']} not found in the member list of the image {image['id']}."
            raise Fault(404, message)
        return member

    def _update_member(self, call: Call) -> Response:
        member = self._member(call)
        if member["member_id"] != call.project_id and not call.admin:
            raise Fault(403, "You are not authorized to complete modify_member action.")
        status = _json(call.raw).get("status")
        if status not in ("pending", "accepted", "rejected"):
            raise Fault(400, f"Status not allowed: {status}")
        member |= {"status": status, "updated_at": self.image.now()}
        return self.image.json(member)

    def _remove_member(self, call: Call) -> Response:
        self._owned(call, "delete_member")
        member = self._member(call)
        del self.image.members[member["image_id"]][member["member_id"]]
        return Response(204)


def view(image: Json) -> Json:
    """An image as Glance shows it: own properties first, then the fixed ones in Glance's order."""
    shown = {key: value for key, value in image.items() if key not in _ORDER and key != "stores"}
    shown |= {key: image[key] for key in _ORDER}
    path = f"/v2/images/{image['id']}"
    shown |= {"self": path, "file": f"{path}/file", "schema": "/v2/schemas/image"}
    return shown | ({"stores": image["stores"]} if "stores" in image else {})


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError as exc:
        raise Fault(400, "Malformed JSON in request body.") from exc


def _empty() -> Response:
    return Response(204, [("Content-Type", "text/html; charset=UTF-8")])


def _operation(operation: Any) -> tuple[str, str]:
    if not isinstance(operation, dict):
        raise Fault(400, "Operations must be JSON objects.")
    for what in ("add", "replace", "remove"):  # the 2.0 media type names the operation by its key
        if what in operation:
            return what, str(operation[what]).lstrip("/")
    if operation.get("op") not in ("add", "replace", "remove"):
        raise Fault(
            400, 'Operation objects must contain exactly one member named "add", "remove", or "replace".'
        )
    return operation["op"], str(operation.get("path", "")).lstrip("/")


def _order(call: Call) -> list[tuple[str, str]]:
    """The sort order asked for, from `sort` or `sort_key`/`sort_dir`. Raises Fault 400."""
    if call.one("sort") is not None:
        pairs = [part.strip().partition(":") for part in (call.one("sort") or "").split(",")]
        order = [(key, direction or "desc") for key, _, direction in pairs]
    else:
        keys, directions = call.all("sort_key") or ["created_at"], call.all("sort_dir") or ["desc"]
        directions = (directions + directions[-1:] * len(keys))[: len(keys)]
        order = list(zip(keys, directions, strict=True))
    for key, direction in order:
        if key not in _SORT_KEYS:
            raise Fault(
                400, f"Invalid sort key: {key}. It must be one of the following: {', '.join(_SORT_KEYS)}."
            )
        if direction not in ("asc", "desc"):
            raise Fault(400, f"Invalid sort direction: {direction}")
    last = order[-1][1]
    return order + [(key, last) for key in ("created_at", "id") if key not in dict(order)]


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda a, b: a > b, "gte": lambda a, b: a >= b, "lt": lambda a, b: a < b, "lte": lambda a,
    b: a <= b,
    "eq": lambda a, b: a == b, "neq": lambda a, b: a != b,
}  # fmt: skip


def _matches(image: Json, name: str, value: str) -> bool:
    if name in ("size_min", "size_max"):
        size = image["size"] or 0
        return size >= int(value) if name == "size_min" else size <= int(value)
    has = image.get(name)
    operator, colon, operand = value.partition(":")
    if colon and operator == "in":
        return str(has) in [part.strip('"') for part in operand.split(",")]
    if colon and operator in _COMPARE and name in ("created_at", "updated_at"):
        return _COMPARE[operator](str(has), operand)
    if isinstance(has, bool):
        return has == (value.lower() == "true")
    return has is not None and str(has) == value
