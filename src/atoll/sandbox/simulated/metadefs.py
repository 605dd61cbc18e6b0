"""`/v2/metadefs` of a simulated Glance: namespaces with their objects, properties, tags and resource types.

Names are the ids. What Glance checks of a body against its schemas is not checked here, but for what is
mandatory.
"""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault, Routes

if TYPE_CHECKING:
    from atoll.sandbox.simulated.image import Image

Json = dict[str, Any]
NAMESPACES = "/v2/metadefs/namespaces"
# What a namespace shows of itself, in this order, where it has it.
_FIELDS = ("namespace", "display_name", "description", "visibility", "protected", "owner", "created_at",
           "updated_at")  # fmt: skip
_PARTS = ("resource_type_associations", "properties", "objects", "tags")
_READ_ONLY = ("self", "schema", "created_at", "updated_at")
_NAMED = {"objects": "object", "properties": "property", "tags": "tag"}


class Metadefs:
    """The namespaces of one site; each is a record with its parts, which are records by name."""

    def __init__(self, image: "Image") -> None:
        self.image = image
        self.namespaces: dict[str, Json] = {}

    def add_routes(self, routes: Routes) -> None:
        """Register the routes."""
        one = NAMESPACES + "/{namespace}"
        routes.add("GET", NAMESPACES, self._list)
        routes.add("POST", NAMESPACES, self._create)
        routes.add("GET", one, lambda call: self.image.json(self._shown(self._find(call))))
        routes.add("PUT", one, self._update)
        routes.add("DELETE", one, self._delete)
        routes.add("GET", "/v2/metadefs/resource_types", self._all_types)
        routes.add("GET", one + "/resource_types", self._types)
        routes.add("POST", one + "/resource_types", self._associate)
        routes.add("DELETE", one + "/resource_types/{name}", self._dissociate)
        for part in _NAMED:
            routes.add("GET", f"{one}/{part}", self._parts_of(part))
            routes.add("DELETE", f"{one}/{part}", self._empty_of(part))
            routes.add("GET", f"{one}/{part}/{{name}}", self._one_of(part))
            routes.add("PUT", f"{one}/{part}/{{name}}", self._change_of(part))
            routes.add("DELETE", f"{one}/{part}/{{name}}", self._drop_of(part))
        routes.add("POST", one + "/objects", self._make_of("objects"))
        routes.add("POST", one + "/properties", self._make_of("properties"))
        routes.add("POST", one + "/tags", self._set_tags)
        routes.add("POST", one + "/tags/{name}", self._add_tag)

    # -- namespaces -------------------------------------------------------------------------------

    def _list(self, call: Call) -> Response:
        limit = int(call.one("limit") or self.image.default_limit)
        key, down = call.one("sort_key") or "created_at", (call.one("sort_dir") or "desc") == "desc"
        visibility, types = call.one("visibility"), (call.one("resource_types") or "").split(",")
        found = [
            one
            for one in self.namespaces.values()
            if self._sees(call, one)
            and visibility in (None, one["visibility"])
            and (types == [""] or not one["resource_type_associations"].keys().isdisjoint(types))
        ]
        found = found[::-1] if down else found  # the order in which they were made
        found.sort(key=lambda one: str(one.get(key) or ""), reverse=down)
        marker = call.one("marker")
        if marker is not None:
            names = [one["namespace"] for one in found]
            if marker not in names:
                raise Fault(404, f"Metadata definition namespace={marker} was not found.")
            found = found[names.index(marker) + 1 :]
        page = found[:limit]
        kept = urlencode([(name, value) for name, value in call.query if name != "marker"])
        body: Json = {"namespaces": [self._shown(one, "resource_type_associations") for one in page]}
        if page and len(page) == limit:
            after = urlencode({"marker": page[-1]["namespace"]})
            body["next"] = f"{NAMESPACES}?{kept}&{after}" if kept else f"{NAMESPACES}?{after}"
        body |= {"schema": "/v2/schemas/metadefs/namespaces"}
        body |= {"first": f"{NAMESPACES}?{kept}" if kept else NAMESPACES}
        return self.image.json(body)

    def _sees(self, call: Call, one: Json) -> bool:
        return call.admin or one["visibility"] == "public" or one["owner"] == call.project_id

    def _find(self, call: Call) -> Json:
        name = call.params["namespace"]
        found = self.namespaces.get(name)
        if found is None or not self._sees(call, found):
            raise Fault(404, f"Metadata definition namespace={name} was not found.")
        return found

    def _written(self, call: Call) -> Json:
        found = self._find(call)
        if not call.admin:
            raise Fault(403, "You are not authorized to complete this action.")
        return found

    def _shown(self, one: Json, *parts: str) -> Json:
        shown = {key: one[key] for key in _FIELDS if one.get(key) is not None}
        for part in parts or _PARTS:
            things = list(one[part].values())
            if things and part == "objects":
                things = [self._object(one, thing) for thing in things]
            if things:
                shown[part] = dict(zip(one[part], things, strict=True)) if part == "properties" else things
        return shown | {
            "self": f"{NAMESPACES}/{one['namespace']}",
            "schema": "/v2/schemas/metadefs/namespace",
        }

    def _fields(self, call: Call, given: Json) -> Json:
        """What is written of a namespace itself: what is not said is as if it were new."""
        if not given.get("namespace"):
            message = "Provided object does not match schema 'namespace': 'namespace' is a required property"
            raise Fault(400, message)
        return {
            "namespace": given["namespace"],
            "display_name": given.get("display_name"),
            "description": given.get("description"),
            "visibility": given.get("visibility") or "private",
            "protected": bool(given.get("protected")),
            "owner": given.get("owner") or call.project_id,
            "updated_at": self.image.now(),
        }

    def _create(self, call: Call) -> Response:
        if not call.admin:
            raise Fault(403, "You are not authorized to complete add_metadef_namespace action.")
        given = _body(call)
        fields = self._fields(call, given)
        if fields["namespace"] in self.namespaces:
            message = f"The metadata definition namespace={fields['namespace']} already exists."
            raise Fault(409, message)
        one = fields | {"created_at": self.image.now()} | {part: {} for part in _PARTS}
        for part in ("resource_type_associations", "objects", "tags"):
            one[part] = {thing["name"]: dict(thing) for thing in given.get(part) or ()}
        one["properties"] = dict(given.get("properties") or {})
        self.namespaces[one["namespace"]] = one
        answer = self.image.json(self._shown(one), 201)
        answer.headers.append(("Location", f"{call.root}/metadefs/namespaces/{one['namespace']}"))
        return answer

    def _update(self, call: Call) -> Response:
        one = self._written(call)
        fields = self._fields(call, _body(call))
        if fields["namespace"] != one["namespace"] and fields["namespace"] in self.namespaces:
            message = "Invalid update. It would result in a duplicate metadata definition namespace with "
            raise Fault(409, f"{message}the same name of {fields['namespace']}")
        # In the order of names, as they were made.
        before = one["namespace"]
        one |= fields
        self.namespaces = {
            fields["namespace"] if name == before else name: other for name, other in self.namespaces.items()
        }
        return self.image.json(self._shown({**one, **{part: {} for part in _PARTS}}))

    def _delete(self, call: Call) -> Response:
        one = self._written(call)
        self._unprotected(one)
        del self.namespaces[one["namespace"]]
        return Response(204)

    @staticmethod
    def _unprotected(one: Json) -> None:
        if one["protected"]:
            message = f"Metadata definition namespace {one['namespace']} is protected and cannot be deleted."
            raise Fault(403, message)

    # -- resource types ---------------------------------------------------------------------------

    def _all_types(self, _: Call) -> Response:
        found = {name: {"name": name} for one in self.namespaces.values() for name in one[_PARTS[0]]}
        return self.image.json({"resource_types": list(found.values())})

    def _types(self, call: Call) -> Response:
        return self.image.json({_PARTS[0]: list(self._find(call)[_PARTS[0]].values())})

    def _associate(self, call: Call) -> Response:
        one, given = self._written(call), _body(call)
        if given.get("name") in one[_PARTS[0]]:
            raise Fault(
                409,
                "The metadata definition resource-type association of "
                f"resource-type={given['name']} to namespace={one['namespace']} already exists.",
            )
        now = self.image.now()
        one[_PARTS[0]][given["name"]] = given | {"created_at": now, "updated_at": now}
        return self.image.json(one[_PARTS[0]][given["name"]], 201)

    def _dissociate(self, call: Call) -> Response:
        one, name = self._written(call), call.params["name"]
        if one[_PARTS[0]].pop(name, None) is None:
            raise Fault(404, f"Failed to find resource type {name} to delete")
        return Response(204)

    # -- objects, properties, tags ----------------------------------------------------------------

    def _object(self, one: Json, thing: Json) -> Json:
        path = f"{NAMESPACES}/{one['namespace']}/objects/{thing['name']}"
        return thing | {"self": path, "schema": "/v2/schemas/metadefs/object"}

    def _part(self, one: Json, part: str, name: str) -> Json:
        thing: Json = one[part][name]
        if part == "objects":
            return self._object(one, thing)
        return {**thing, "name": name}

    def _named(self, one: Json, part: str, name: str) -> Json:
        if name not in one[part]:
            raise Fault(
                404,
                f"The metadata definition {_NAMED[part]} with name={name} was not found in "
                f"namespace={one['namespace']}.",
            )
        return self._part(one, part, name)

    def _parts_of(self, part: str) -> Any:
        def handle(call: Call) -> Response:
            one = self._find(call)
            things = (
                one[part] if part == "properties" else [self._part(one, part, name) for name in one[part]]
            )
            return self.image.json({part: things})

        return handle

    def _one_of(self, part: str) -> Any:
        return lambda call: self.image.json(self._named(self._find(call), part, call.params["name"]))

    def _make_of(self, part: str) -> Any:
        def handle(call: Call) -> Response:
            one, given = self._written(call), _body(call)
            self._add(one, part, given)
            return self.image.json(self._part(one, part, given["name"]), 201)

        return handle

    def _add(self, one: Json, part: str, given: Json) -> None:
        if not given.get("name"):
            raise Fault(400, "Provided object does not match schema: 'name' is a required property")
        if given["name"] in one[part]:
            what = f"A metadata definition {_NAMED[part]} with name={given['name']} already exists"
            raise Fault(409, f"{what} in namespace={one['namespace']}.")
        one[part][given["name"]] = given

    def _change_of(self, part: str) -> Any:
        def handle(call: Call) -> Response:
            one, given, name = self._written(call), _body(call), call.params["name"]
            self._named(one, part, name)
            if given["name"] != name and given["name"] in one[part]:
                raise Fault(409, f"Invalid update. It would result in a duplicate {given['name']}.")
            kept = one[part]
            one[part] = {given["name"] if key == name else key: kept[key] for key in kept}
            one[part][given["name"]] = given
            return self.image.json(self._part(one, part, given["name"]))

        return handle

    def _drop_of(self, part: str) -> Any:
        def handle(call: Call) -> Response:
            one = self._written(call)
            self._named(one, part, call.params["name"])
            del one[part][call.params["name"]]
            return Response(204)

        return handle

    def _empty_of(self, part: str) -> Any:
        def handle(call: Call) -> Response:
            one = self._written(call)
            self._unprotected(one)
            one[part] = {}
            return Response(204)

        return handle

    def _set_tags(self, call: Call) -> Response:
        one, given = self._written(call), _body(call)
        if (call.request.header("x-openstack-append") or "").lower() not in {"true", "1", "yes", "on"}:
            one["tags"] = {}
        for tag in given.get("tags") or ():
            self._add(one, "tags", tag)
        return self.image.json({"tags": given.get("tags") or []}, 201)

    def _add_tag(self, call: Call) -> Response:
        one = self._written(call)
        self._add(one, "tags", {"name": call.params["name"]})
        return self.image.json({"name": call.params["name"]}, 201)


def _body(call: Call) -> Json:
    """The body of a write. Raises Fault 400, or 403 for what nobody may write."""
    if not call.raw:
        raise Fault(400, "Body expected in request.")
    try:
        given = json.loads(call.raw)
    except ValueError as exc:
        raise Fault(400, "Malformed JSON in request body.") from exc
    if not isinstance(given, dict):
        raise Fault(400, "Provided object does not match schema: it is not of type 'object'")
    for key in _READ_ONLY:
        if key in given:
            raise Fault(403, f"Attribute '{key}' is read-only.")
    return given
