"""Services that a site may have beside the five, as plain collections: load balancing, keys, objects.

Each has only what a gateway before it can get wrong: ids, links, pages, and what is not JSON. Served by a
site below `/SERVICE-TYPE`; not in the catalogue.
"""

import json
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Request, Response
from atoll.sandbox.simulated.service import Call, Fault, dumps, keystone_challenge

if TYPE_CHECKING:
    from atoll.sandbox.simulated.site import Site

Json = dict[str, Any]
JSON = ("Content-Type", "application/json")
TEXT = ("Content-Type", "text/plain; charset=utf-8")
TITLES = {401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict"}
PAGE = 100


class Collections:
    """One service of one site: collections of things by path, with the first `max_limit` of each in a page.

    `ref` names the field that shows a thing's URL in the place of an id, as Barbican's do.
    """

    fault_name = "other"

    def __init__(self, site: "Site", prefix: str, *, ref: str = "") -> None:
        self.site = site
        self.prefix = f"/{prefix}"
        self.ref = ref
        self.max_limit = PAGE
        self.things: dict[str, dict[str, Json]] = {}  # by collection, by id

    async def handle(self, request: Request) -> Response:
        """Answer one request to the service."""
        path = request.path[len(self.prefix) :].rstrip("/")
        call = Call(request, f"{request.url_root}{self.prefix}")
        if path in {"", "/v1", "/v2"}:
            return self.json(
                {"versions": [{"id": "v2", "links": [{"rel": "self", "href": f"{call.root}/v2/"}]}]}
            )
        call.token = self.site.validate(request)
        if call.token is None:
            return self.unauthorized(call)
        call.raw = await request.read()
        try:
            return self._answer(call, path)
        except Fault as fault:
            return self.fault(call, fault.status, fault.message)

    def _answer(self, call: Call, path: str) -> Response:
        collection, _, ident = path.rpartition("/")
        if path in self.things or collection not in self.things:
            return self._all(call, path, self.things.setdefault(path, {}))
        thing = self.things[collection].get(ident)
        if thing is None:
            raise Fault(404, f"{ident} could not be found.")
        match call.request.method:
            case "DELETE":
                del self.things[collection][ident]
                return Response(204)
            case "PUT" | "PATCH":
                thing.update(next(iter(_decoded(call).values())))
        return self.json({_singular(collection): self._shown(call, collection, thing)})

    def _all(self, call: Call, path: str, things: dict[str, Json]) -> Response:
        if call.request.method == "POST":
            return self._make(call, path, things)
        if call.request.method != "GET":
            raise Fault(405, "The method is not allowed for this resource.")
        plural = path.rpartition("/")[2]
        shown = [self._shown(call, path, thing) for thing in things.values()]
        if self.ref:
            offset, limit = int(call.one("offset") or 0), int(call.one("limit") or 10)
            return self.json({plural: shown[offset : offset + limit], "total": len(shown)})
        if marker := call.one("marker"):
            if marker not in things:
                raise Fault(404, f"The marker {marker} could not be found.")
            shown = shown[list(things).index(marker) + 1 :]
        limit = min(int(call.one("limit") or self.max_limit), self.max_limit)
        page: Json = {plural: shown[:limit]}
        if len(shown) > limit:
            url = f"{call.root}{path}?limit={limit}&marker={shown[limit - 1]['id']}"
            page[f"{plural}_links"] = [{"rel": "next", "href": url}]
        return self.json(page)

    def _make(self, call: Call, path: str, things: dict[str, Json]) -> Response:
        given = _decoded(call)
        inner = given.get(_singular(path), given)
        thing = {"id": str(uuid.uuid4()), **inner}
        things[thing["id"]] = thing
        shown = self._shown(call, path, thing)
        answer = self.json(shown if self.ref else {_singular(path): shown}, 201)
        answer.headers.append(("Location", f"{call.root}{path}/{thing['id']}"))
        return answer

    def _shown(self, call: Call, path: str, thing: Json) -> Json:
        if self.ref:
            rest = {key: value for key, value in thing.items() if key != "id"}
            return {self.ref: f"{call.root}{path}/{thing['id']}", **rest}
        return thing

    def fault(
        self, call: Call, status: int, message: str, headers: list[tuple[str, str]] | None = None
    ) -> Response:
        """A fault as most of these services write it."""
        content = {"faultcode": "Client", "faultstring": message, "debuginfo": None}
        return Response(
            status, [JSON, *(headers or []), ("x-openstack-request-id", call.request_id)], dumps(content)
        )

    def unauthorized(self, call: Call) -> Response:
        """401 as keystonemiddleware answers it."""
        challenge = keystone_challenge(self.site.keystone.auth_url)
        return self.fault(call, 401, "The request you have made requires authentication.", [challenge])

    @staticmethod
    def json(value: Any, status: int = 200) -> Response:
        """A JSON answer."""
        return Response(status, [JSON], dumps(value))


class Objects(Collections):
    """Containers of an account and objects in them: names, and bytes."""

    def __init__(self, site: "Site", prefix: str) -> None:
        super().__init__(site, prefix)
        self.containers: dict[str, dict[str, bytes]] = {}

    def _answer(self, call: Call, path: str) -> Response:
        _, _, _, *rest = path.split("/", 4)
        method = call.request.method
        if not rest:
            names = sorted(self.containers)
            if call.one("format") == "json":
                return self.json([{"name": name} for name in names])
            return Response(200, [TEXT], "".join(f"{name}\n" for name in names).encode())
        if method == "PUT" and len(rest) == 1:
            self.containers.setdefault(rest[0], {})
            return Response(201)
        if rest[0] not in self.containers:
            raise Fault(404, "The resource could not be found.")
        return self._in_container(call, self.containers[rest[0]], rest)

    def _in_container(self, call: Call, objects: dict[str, bytes], rest: list[str]) -> Response:
        method = call.request.method
        if len(rest) == 1:
            if method == "DELETE":
                del self.containers[rest[0]]
            return Response(204 if method in {"DELETE", "HEAD"} else 200, [TEXT], "\n".join(objects).encode())
        if method == "PUT":
            objects[rest[1]] = call.raw
            return Response(201)
        if rest[1] not in objects:
            raise Fault(404, "The resource could not be found.")
        return Response(200, [("Content-Type", "application/octet-stream")], objects[rest[1]])


MAKERS: dict[str, Callable[["Site"], Collections]] = {
    "load-balancer": lambda site: Collections(site, "load-balancer"),
    "key-manager": lambda site: Collections(site, "key-manager", ref="secret_ref"),
    "object-store": lambda site: Objects(site, "object-store"),
    "workflow": lambda site: Collections(site, "workflow"),
}


def _decoded(call: Call) -> Json:
    content = json.loads(call.raw or b"{}")
    return content if isinstance(content, dict) else {}


def _singular(path: str) -> str:
    return path.rpartition("/")[2].removesuffix("s")
