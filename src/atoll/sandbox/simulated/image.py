"""A simulated Glance (image v2): the way of a request, discovery, schemas, and what others ask in-process.

Served by a site below `/image`. Faults are plain text, as Glance's are.
"""

import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.image_admin import ImageAdmin
from atoll.sandbox.simulated.image_files import ImageFiles, Stored
from atoll.sandbox.simulated.images import Images
from atoll.sandbox.simulated.metadefs import Metadefs
from atoll.sandbox.simulated.server import Request, Response
from atoll.sandbox.simulated.service import (
    RECEIVED,
    Call,
    Fault,
    Routes,
    dumps,
    keystone_challenge,
    one_slash,
    plain,
)
from atoll.sandbox.simulated.tokens import Token

if TYPE_CHECKING:
    from atoll.sandbox.simulated.site import Site

Json = dict[str, Any]
SUPPORTED = (
    "2.15",
    "2.13",
    "2.12",
    "2.11",
    "2.10",
    "2.9",
    "2.8",
    "2.7",
    "2.6",
    "2.5",
    "2.4",
    "2.3",
    "2.2",
    "2.1",
    "2.0",
)
_TITLES = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    409: "Conflict", 413: "Request Entity Too Large", 415: "Unsupported Media Type", 429: "Too Many Requests",
    416: "Request Range Not Satisfiable", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
_EXPLAINED = {
    401: "This server could not verify that you are authorized to access the document you requested. Either "
    "you supplied the wrong credentials (e.g., bad password), or your browser does not understand how to "
    "supply the credentials required.",
    404: "The resource could not be found.",
}
_TEXT = ("Content-Type", "text/plain; charset=UTF-8")


class Image:
    """The image service of one site.

    `keep_bytes` is how much of an image's data is kept in memory; of larger ones only size and digests are,
    and a download answers 503. `max_limit` caps pages, `default_limit` is Glance's page size. A store that
    `spoils` puts these bytes behind what it is sent.
    """

    prefix = "/image"
    fault_name = "image"

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.keep_bytes = 16 * 1024 * 1024
        self.spoils = b""
        self.max_limit, self.default_limit = 1000, 25
        self.received: deque[bytes] = deque(maxlen=RECEIVED)  # bodies but uploads, newest last
        self.images: dict[str, Json] = {}
        self.burned: set[str] = set()
        self.members: dict[str, dict[str, Json]] = {}
        self.stored: dict[str, Stored] = {}
        self.metadefs = Metadefs(self)
        self.admin = ImageAdmin(self)
        self._routes = Routes()
        for part in (Images(self), ImageFiles(self), self.metadefs, self.admin):
            part.add_routes(self._routes)
        self._routes.add("GET", "/v2/schemas/{name}", self._schema)

    async def handle(self, request: Request) -> Response:
        """Answer one request to the service."""
        path = one_slash(request.path[len(self.prefix) :])
        call = Call(request, f"{request.url_root}{self.prefix}/v2")
        if path == "/versions":
            return self.json(self._versions(call))
        if path != "/v2" and not path.startswith("/v2/"):
            return self.json(self._versions(call), 300)
        call.token = self.site.validate(request)
        return self.unauthorized(call) if call.token is None else await self._authorized(call, path)

    async def _authorized(self, call: Call, path: str) -> Response:
        request = call.request
        found = self._routes.find(path)
        if found is None:
            return self.fault(call, 404, _EXPLAINED[404])
        methods, values = found
        if request.method not in methods:
            return self._not_allowed(call, sorted(methods))
        handle, names = methods[request.method]
        call.params = dict(zip(names, values, strict=True))
        try:
            if not path.endswith("/file"):
                call.raw = (
                    await request.read() if request.method in ("POST", "PUT", "PATCH", "DELETE") else b""
                )
                self.received.append(call.raw)
            answer = handle(call)
            return self._finish(call, answer if isinstance(answer, Response) else await answer)
        except Fault as fault:
            return self.fault(call, fault.status, fault.message, fault.headers, fault.kind or "")

    def fault(
        self,
        call: Call,
        status: int,
        message: str,
        headers: list[tuple[str, str]] | None = None,
        detail: str = "",
    ) -> Response:
        """A fault as Glance writes it."""
        body = plain(status, _TITLES.get(status, "Error"), message, detail)
        return self._finish(call, Response(status, [_TEXT, *(headers or [])], body))

    def unauthorized(self, call: Call) -> Response:
        """401 as Glance answers it: plain text, unlike the other services."""
        return self.fault(call, 401, _EXPLAINED[401], [keystone_challenge(self.site.keystone.auth_url)])

    def _not_allowed(self, call: Call, methods: list[str]) -> Response:
        order = {"GET": 0, "POST": 1, "PATCH": 2, "PUT": 3, "DELETE": 4}
        allow = ("Allow", ", ".join(sorted(methods, key=lambda m: order.get(m, 9))))
        if call.request.method == "HEAD":
            return self._finish(call, Response(405, [("Content-Type", "text/html; charset=UTF-8"), allow]))
        what = f"The method {call.request.method} is not allowed for this resource. "
        body = f"405 Method Not Allowed\n\n{what}\n\n ".encode()
        return self._finish(call, Response(405, [_TEXT, allow], body))

    def json(self, value: Any, status: int = 200) -> Response:
        """A JSON answer."""
        return Response(status, [("Content-Type", "application/json")], dumps(value))

    def _finish(self, call: Call, response: Response) -> Response:
        response.headers.append(("x-openstack-request-id", call.request_id))
        return response

    def _versions(self, call: Call) -> Json:
        links = [{"rel": "self", "href": f"{call.root}/"}]
        entries = [{"id": f"v{number}", "status": "SUPPORTED", "links": links} for number in SUPPORTED]
        entries.insert(7, {"id": "v2.17", "status": "CURRENT", "links": links})  # where Glance has it
        return {"versions": entries}

    def _schema(self, call: Call) -> Response:
        schema = _SCHEMAS.get(call.params["name"])
        if schema is None:
            raise Fault(404, _EXPLAINED[404])
        return self.json(schema)

    # in-process: the seed, Nova and Cinder
    def add(
        self, name: str, data: bytes | None = None, *, owner: str, image_id: str | None = None, **more: Any
    ) -> Json:
        """Put an image in place with no HTTP, active if it has data. `more` are further properties."""
        now = self.now()
        image: Json = {**_FIXED, "name": name, "owner": owner, "id": image_id or str(uuid.uuid4())}
        image |= {"created_at": now, "updated_at": now, "tags": [], **more}
        self.images[image["id"]] = image
        if data is not None:
            self.fill(image, data)
        return image

    def fill(self, image: Json, data: bytes) -> None:
        """Make an image active with some data."""
        stored = Stored(self.keep_bytes)
        stored.feed(data)
        self.finish_upload(image, stored)

    def add_synthetic(self, name: str, size: int, *, owner: str, **more: Any) -> Json:
        """An active public image of `size` bytes of a repeated block. Hashing is ~2 s per GiB."""
        image = self.add(
            name, owner=owner, visibility="public", disk_format="raw", container_format="bare", **more
        )
        stored = Stored(0)
        for block in stored.blocks_of(size):
            stored.feed(block)
        stored.synthetic = True
        self.finish_upload(image, stored)
        return image

    def finish_upload(self, image: Json, stored: Stored) -> None:
        """Make an image active with the data it now has."""
        self.stored[image["id"]] = stored
        image |= {"size": stored.size, "virtual_size": stored.size, "checksum": stored.md5.hexdigest()}
        image |= {"os_hash_algo": "sha512", "os_hash_value": stored.sha512.hexdigest()}
        image |= {"status": "active", "updated_at": self.now(), "stores": "file"}

    def now(self) -> str:
        """The time as Glance writes it."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.site.clock()))

    def may_see(self, who: Token, image: Json) -> bool:
        """Whether the image is visible by id to the caller."""
        if (
            "admin" in who.roles
            or image["owner"] == who.project_id
            or image["visibility"] in ("public", "community")
        ):
            return True
        return image["visibility"] == "shared" and (who.project_id or "") in self.members.get(image["id"], {})

    def visible(self, who: Token, image_id: str) -> Json | None:
        """The image of that id if the caller may see it."""
        image = self.images.get(image_id)
        return image if image is not None and self.may_see(who, image) else None

    def all_visible(self, who: Token) -> list[Json]:
        """The images the caller may see, newest first."""
        return [image for image in reversed(self.images.values()) if self.may_see(who, image)]

    def snapshot(self, who: Token, name: str, server_id: str, base: str) -> Json:
        """The image `createImage` makes: small, private, with Nova's properties."""
        more = {
            "visibility": "private",
            "disk_format": "raw",
            "container_format": "bare",
            "image_type": "snapshot",
        }
        more |= {"base_image_ref": base, "instance_uuid": server_id, "user_id": who.user_id}
        return self.add(name, b"snapshot of " + server_id.encode(), owner=who.project_id or "", **more)


_FIXED: Json = {
    "name": None, "disk_format": None, "container_format": None, "visibility": "shared", "size": None,
    "virtual_size": None, "status": "queued", "checksum": None, "protected": False, "min_ram": 0,
    "min_disk": 0,
    "owner": None, "os_hidden": False, "os_hash_algo": None, "os_hash_value": None,
}  # fmt: skip
_STRING, _NULLABLE = {"type": "string"}, {"type": ["null", "string"]}
_IMAGE_SCHEMA: Json = {
    "name": "image",
    "properties": {
        "id": _STRING | {"description": "An identifier for the image"},
        "name": _NULLABLE, "owner": _NULLABLE, "checksum": _NULLABLE, "disk_format": _NULLABLE,
        "container_format": _NULLABLE, "os_hash_algo": _NULLABLE, "os_hash_value": _NULLABLE,
        "status": _STRING | {"enum": ["queued", "saving", "active", "killed", "deleted", "deactivated"]},
        "visibility": _STRING | {"enum": ["community", "public", "private", "shared"]},
        "size": {"type": ["null", "integer"]}, "virtual_size": {"type": ["null", "integer"]},
        "min_ram": {"type": "integer"}, "min_disk": {"type": "integer"}, "protected": {"type": "boolean"},
        "os_hidden": {"type": "boolean"}, "tags": {"type": "array", "items": _STRING}, "created_at": _STRING,
        "updated_at": _STRING, "self": _STRING, "file": _STRING, "schema": _STRING,
    },
    "additionalProperties": {"type": "string"},
    "links": [{"rel": "self", "href": "{self}"}, {"rel": "enclosure", "href": "{file}"},
              {"rel": "describedby", "href": "{schema}"}],
}  # fmt: skip
_MEMBER_SCHEMA: Json = {
    "name": "member",
    "properties": dict.fromkeys(
        ("member_id", "image_id", "created_at", "updated_at", "status", "schema"), _STRING
    ),
}


def _collection(name: str, item: Json) -> Json:
    properties = {
        name: {"type": "array", "items": item},
        "first": _STRING,
        "next": _STRING,
        "schema": _STRING,
    }
    return {"name": name, "properties": properties, "links": [{"rel": "first", "href": "{first}"}]}


_SCHEMAS = {
    "image": _IMAGE_SCHEMA,
    "images": _collection("images", _IMAGE_SCHEMA),
    "member": _MEMBER_SCHEMA,
    "members": _collection("members", _MEMBER_SCHEMA),
}
