"""A simulated Neutron (network v2.0): the way of a request, and the operations of any kind of resource.

What a kind does beyond that (addresses, gateways, rules) is in `network_records`; the kinds are a table in
`network_kinds`. Served by a site below `/network`.
"""

import json
import re
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from atoll.sandbox.simulated.network_extras import Extras
from atoll.sandbox.simulated.network_kinds import KINDS, Kind
from atoll.sandbox.simulated.network_nova import NovaSide
from atoll.sandbox.simulated.network_records import Json, Records
from atoll.sandbox.simulated.server import Request, Response
from atoll.sandbox.simulated.service import (
    RECEIVED,
    UNAUTHORIZED,
    Call,
    Fault,
    Handle,
    Routes,
    dumps,
    keystone_challenge,
    one_slash,
    plain,
)

if TYPE_CHECKING:
    from atoll.sandbox.simulated.site import Site

_NOT_FOUND = "The resource could not be found."
_MALFORMED = (
    "The server could not comply with the request since it is either malformed or otherwise incorrect."
)
_RESERVED = {"limit", "marker", "page_reverse", "sort_key", "sort_dir", "fields", "tags", "tags-any",
             "not-tags",
             "not-tags-any", "changed_since"}  # fmt: skip
_READ_ONLY = (
    "id",
    "status",
    "subnets",
    "created_at",
    "updated_at",
    "revision_number",
    "tenant_id",
    "project_id",
)
_VISIBLE = {
    "networks": ("shared", "router:external"),
    "subnetpools": ("shared",),
    "subnets": ("router:external",),
}


class Network(NovaSide):
    """The network service of one site.

    `page_limit` caps pages (None: as asked), as `pagination_max_limit` does.
    """

    prefix = "/network"
    fault_name = "network"

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.page_limit: int | None = None
        self.received: deque[bytes] = deque(maxlen=RECEIVED)  # bodies, newest last
        self.records = Records(site.name, site.clock)
        self._made: set[str] = set()
        self._routes = Routes()
        for kind in KINDS.values():
            self._add_kind(kind)
        self.extras = Extras(self.records, self)
        self.extras.add_routes(self._routes)

    def _add_kind(self, kind: Kind) -> None:
        add, path = self._routes.add, f"/v2.0/{kind.plural}"
        add("GET", path, lambda call: self._list(call, kind))
        add("POST", path, lambda call: self._create(call, kind))
        add("PUT", path, lambda _: self._missing(kind))
        add("DELETE", path, lambda _: self._missing(kind))
        add("GET", path + "/{id}", lambda call: self._show(call, kind))
        add("PUT", path + "/{id}", lambda call: self._update(call, kind))
        add("DELETE", path + "/{id}", lambda call: self._delete(call, kind))

    async def handle(self, request: Request) -> Response:
        """Answer one request to the service."""
        path = one_slash(request.path[len(self.prefix) :])
        call = Call(request, f"{request.url_root}{self.prefix}/v2.0")
        if path in ("", "/"):
            link = {"rel": "self", "href": f"{call.root}/"}
            versions = {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}
            return Response(200, [("Content-Type", "application/json")], dumps(versions))
        if path != "/v2.0" and not path.startswith("/v2.0/"):
            body = plain(404, "Not Found", _NOT_FOUND)
            return Response(404, [("Content-Type", "text/plain; charset=UTF-8")], body)
        call.token = self.site.validate(request)
        if call.token is None:
            return self.unauthorized(call)
        try:
            handle = (
                self._resources
                if path == "/v2.0/"
                else self._match(call, path.rstrip("/").removesuffix(".json"))
            )
            call.raw = await request.read() if request.method in ("POST", "PUT", "PATCH", "DELETE") else b""
            self.received.append(call.raw)
            call.body = _body(call)
            answer = handle(call)
            return self._finish(call, answer if isinstance(answer, Response) else await answer)
        except Fault as fault:
            return self.fault(call, fault.status, fault.message, fault.headers, fault.kind)

    def _match(self, call: Call, path: str) -> Handle:
        found = self._routes.find(path)
        if found is None:
            raise Fault(404, _NOT_FOUND, "HTTPNotFound")
        if call.request.method not in found[0]:
            raise Fault(405, _MALFORMED, "HTTPMethodNotAllowed")
        handle, names = found[0][call.request.method]
        call.params = dict(zip(names, found[1], strict=True))
        return handle

    def fault(
        self,
        call: Call,
        status: int,
        message: str,
        headers: list[tuple[str, str]] | None = None,
        kind: str | None = None,
    ) -> Response:
        """A fault as Neutron writes it; without a `kind` the type is WebOb's for the status."""
        name = kind or {400: "HTTPBadRequest", 404: "HTTPNotFound", 503: "HTTPServiceUnavailable"}.get(status)
        error = {"type": name or "HTTPInternalServerError", "message": message, "detail": ""}
        body = dumps({"NeutronError": error})
        return self._finish(
            call, Response(status, [("Content-Type", "application/json"), *(headers or [])], body)
        )

    def unauthorized(self, call: Call) -> Response:
        """401 as keystonemiddleware in front of Neutron answers."""
        headers = [("Content-Type", "application/json"), keystone_challenge(self.site.keystone.auth_url)]
        return self._finish(call, Response(401, headers, dumps(UNAUTHORIZED)))

    def json(self, value: Any, status: int = 200, *, compact: bool = False) -> Response:
        """A JSON answer."""
        body = json.dumps(value, separators=(",", ":")).encode() if compact else dumps(value)
        return Response(status, [("Content-Type", "application/json")], body)

    def _finish(self, call: Call, response: Response) -> Response:
        response.headers.append(("x-openstack-request-id", call.request_id))
        return response

    def _resources(self, call: Call) -> Response:
        """The listing at `/v2.0/` (only with the slash): the core resources."""
        names = {"network": "networks", "subnet": "subnets", "subnetpool": "subnetpools", "port": "ports"}
        shown = [
            {"name": name, "collection": plural, "links": [{"rel": "self", "href": f"{call.root}/{plural}"}]}
            for name, plural in names.items()
        ]
        return self.json({"resources": shown})

    # visibility
    def visible(self, call: Call, kind: Kind, record: Json) -> bool:
        """Whether the caller may see the record."""
        if call.admin or record.get("project_id") == call.project_id:
            return True
        return any(record.get(name) for name in _VISIBLE.get(kind.plural, ()))

    def find(self, call: Call, kind: Kind, record_id: str) -> Json:
        """The record if the caller may see it. Raises Fault 404 with the kind's exception."""
        record = self.records.of(kind.plural).get(record_id)
        if record is None or not self.visible(call, kind, record):
            name, text = kind.missing
            raise Fault(404, text.format(record_id), name)
        return record

    def _missing(self, kind: Kind) -> Response:
        name, text = kind.missing
        raise Fault(404, text.format(None), name)

    def _shown(self, call: Call, kind: Kind, record: Json) -> Json:
        shown = {key: value for key, value in record.items() if call.admin or key not in kind.admin}
        if kind.plural == "security-groups":
            shown["security_group_rules"] = self.records.rules_of(record["id"])
        fields = call.all("fields")
        return {key: value for key, value in shown.items() if key in fields} if fields else shown

    # list
    def _list(self, call: Call, kind: Kind) -> Response:
        limit = _limit(call)
        if self.page_limit is not None:
            limit = min(limit or self.page_limit, self.page_limit)
        order = _order(call, kind)
        if kind.plural in ("security-groups", "security-group-rules"):
            self.records.default_group(call.project_id)
        found = [r for r in self.records.of(kind.plural).values() if self.visible(call, kind, r)]
        found = _filter(call, kind, found)
        reverse = (call.one("page_reverse") or "").lower() == "true"
        found.sort(key=lambda r: r["id"])
        for key, direction in reversed(order):
            found.sort(key=lambda r: _sortable(r.get(key)), reverse=direction == "desc")
        page = self._page(call, kind, found, limit, reverse=reverse)
        body: Json = {kind.key: [self._shown(call, kind, record) for record in page]}
        if limit:
            body[f"{kind.key}_links"] = _links(call, kind, page, limit, reverse=reverse)
        return self.json(body, compact=kind.compact)

    def _page(self, call: Call, kind: Kind, found: list[Json], limit: int, *, reverse: bool) -> list[Json]:
        if not limit:
            return found
        if reverse:
            found.reverse()
        marker = call.one("marker")
        if marker:
            self.find(call, kind, marker)
            at = next((at for at, record in enumerate(found) if record["id"] == marker), len(found) - 1)
            found = found[at + 1 :]
        page = found[:limit]
        return page[::-1] if reverse else page

    # one
    def _show(self, call: Call, kind: Kind) -> Response:
        record = self.find(call, kind, call.params["id"])
        return self.json({kind.singular: self._shown(call, kind, record)}, compact=kind.compact)

    def _create(self, call: Call, kind: Kind) -> Response:
        body = call.body if isinstance(call.body, dict) else {}
        many = body.get(kind.key)
        given = many if isinstance(many, list) else [body.get(kind.singular)]
        if not given or not all(isinstance(item, dict) for item in given):
            raise Fault(400, f"Unable to find '{kind.singular}' in request body")
        items: list[Json] = [item for item in given if isinstance(item, dict)]
        for item in items:
            _check_create(kind, item)
        owner = items[0].get("project_id") or items[0].get("tenant_id") or call.project_id
        self.extras.check_quota(owner, kind.singular, len(items))
        made: list[Json] = []
        try:
            made.extend(self.records.create(call.who, kind, item) for item in items)
        except Fault:
            for record in made:  # a bulk create is all or nothing
                self.records.of(kind.plural).pop(record["id"], None)
            raise
        shown = [self._shown(call, kind, record) for record in made]
        value = {kind.key: shown} if isinstance(many, list) else {kind.singular: shown[0]}
        return self.json(value, 201, compact=kind.compact)

    def _owned(self, call: Call, kind: Kind, action: str) -> Json:
        record = self.find(call, kind, call.params["id"])
        if not call.admin and record.get("project_id") != call.project_id:
            message = (
                f"(rule:{action}_{kind.singular} and rule:{action}_{kind.singular}) is disallowed by policy"
            )
            raise Fault(403, message, "PolicyNotAuthorized")
        return record

    def _update(self, call: Call, kind: Kind) -> Response:
        given = call.body.get(kind.singular) if isinstance(call.body, dict) else None
        if not isinstance(given, dict):
            raise Fault(400, f"Unable to find '{kind.singular}' in request body")
        record = self._owned(call, kind, "update")
        for name in given:
            if name in _READ_ONLY or (not kind.knows(name) and name != "description"):
                what = (
                    "Cannot update read-only attribute "
                    if name in _READ_ONLY
                    else "Unrecognized attribute(s) "
                )
                raise Fault(400, what + (name if name in _READ_ONLY else f"'{name}'"))
        _check_types(given)
        self.records.update(call.who, kind, record, given)
        return self.json({kind.singular: self._shown(call, kind, record)}, compact=kind.compact)

    def _delete(self, call: Call, kind: Kind) -> Response:
        self.records.delete(kind, self._owned(call, kind, "delete"))
        return Response(204)


def _body(call: Call) -> Any:
    if not call.raw:
        return None
    try:
        return json.loads(call.raw)
    except ValueError as exc:
        raise Fault(400, "Body contains invalid data") from exc


def _check_create(kind: Kind, given: Json) -> None:
    known = {"project_id", "tenant_id", "description", "tags"}
    for name in given:
        if name not in kind.attributes and name not in kind.admin and name not in known:
            raise Fault(400, f"Unrecognized attribute(s) '{name}'")
    for name, default in kind.attributes.items():
        if type(default) is object and name not in given:
            raise Fault(400, f"Failed to parse request. Required attribute '{name}' not specified")
    _check_types(given)


def _check_types(given: Json) -> None:
    for name in ("name", "description"):
        if name in given and not isinstance(given[name], str):
            raise Fault(400, f"Invalid input for {name}. Reason: '{given[name]}' is not a valid string.")


def _limit(call: Call) -> int:
    value = call.one("limit")
    if value is None:
        return 0
    if not re.fullmatch(r"\d+", value):
        raise Fault(
            400, f"Bad limit request: Limit must be an integer 0 or greater and not '{value}'.", "BadRequest"
        )
    return int(value)


def _order(call: Call, kind: Kind) -> list[tuple[str, str]]:
    keys, directions = call.all("sort_key"), call.all("sort_dir")
    if len(keys) != len(directions):
        raise Fault(400, "The number of sort_keys and sort_dirs must be same")
    wrong = [key for key in keys if not kind.knows(key)]
    if wrong:
        raise Fault(400, f"{wrong} is invalid attribute for sort_keys")
    wrong = [direction for direction in directions if direction not in ("asc", "desc")]
    if wrong:
        raise Fault(400, f"{wrong} is invalid value for sort_dirs, valid value is 'asc' and 'desc'")
    return list(zip(keys, directions, strict=True))


def _sortable(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if isinstance(value, str | int | float) else str(value))


def _filter(call: Call, kind: Kind, found: list[Json]) -> list[Json]:
    wanted: dict[str, list[str]] = {}
    for name, value in call.query:
        if name not in _RESERVED:
            wanted.setdefault(name, []).append(value)
    unknown = [name for name in wanted if not kind.knows(name)]
    if unknown:
        raise Fault(400, f"{unknown} is invalid attribute for filtering")
    for name, values in wanted.items():
        if name in kind.booleans:
            for value in values:
                if value.lower() not in ("true", "false", "1", "0"):
                    raise Fault(
                        400,
                        f"Invalid input for operation: '{value}' cannot be converted to boolean.",
                        "InvalidInput",
                    )
        found = [record for record in found if _matches(record, name, values)]
    for name, accepts in _TAGS.items():
        wanted_tags = call.one(name)
        if wanted_tags is not None:
            tags = set(wanted_tags.split(","))
            found = [record for record in found if accepts(tags, set(record.get("tags", [])))]
    return found


_TAGS: dict[str, Any] = {
    "tags": lambda wanted, has: wanted <= has,
    "tags-any": lambda wanted, has: bool(wanted & has),
    "not-tags": lambda wanted, has: not wanted <= has,
    "not-tags-any": lambda wanted, has: not wanted & has,
}


def _matches(record: Json, name: str, values: list[str]) -> bool:
    value = record.get("project_id" if name == "tenant_id" else name)
    if isinstance(value, bool):
        return value in [text.lower() in ("true", "1") for text in values]
    if name == "fixed_ips":
        pairs = [part.partition("=")[::2] for text in values for part in text.split(",")]
        return any(all(fixed.get(key) == wanted for key, wanted in pairs) for fixed in value or [])
    if isinstance(value, list):
        return any(text in value for text in values)
    return ("" if value is None else str(value)) in values


def _links(call: Call, kind: Kind, page: list[Json], limit: int, *, reverse: bool) -> list[Json]:
    kept = [(name, value) for name, value in call.query if name not in ("marker", "page_reverse")]
    base = f"{call.root}/{kind.plural}?"
    links = []
    if page and (len(page) >= limit or reverse):
        links.append({"rel": "next", "href": base + urlencode([*kept, ("marker", page[-1]["id"])])})
    if len(page) >= limit or not reverse:
        first = [("marker", page[0]["id"])] if page else []
        links.append({"rel": "previous", "href": base + urlencode([*kept, *first, ("page_reverse", "True")])})
    return links
