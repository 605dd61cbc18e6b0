"""A simulated Cinder (block storage v3): versions, faults, paging and what Nova asks of it in-process.

Served by a site below `/volume`. The resources are in `volumes`, `snapshots` and `volume_admin`.
"""

import asyncio
import json
import re
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

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
from atoll.sandbox.simulated.snapshots import Snapshots
from atoll.sandbox.simulated.tokens import Token
from atoll.sandbox.simulated.transfers import Transfers
from atoll.sandbox.simulated.volume_admin import VolumeAdmin
from atoll.sandbox.simulated.volume_contents import VolumeContents
from atoll.sandbox.simulated.volume_groups import VolumeGroups
from atoll.sandbox.simulated.volume_hosts import VolumeHosts
from atoll.sandbox.simulated.volume_rest import VolumeRest
from atoll.sandbox.simulated.volumes import Volumes

if TYPE_CHECKING:
    from atoll.sandbox.simulated.site import Site

Json = dict[str, Any]
_FAULTS = {400: "badRequest", 403: "forbidden", 404: "itemNotFound", 409: "conflictingRequest",
           413: "overLimit",
           429: "overLimit", 415: "badMediaType", 501: "notImplemented",
           503: "serviceUnavailable"}  # fmt: skip
_VERSION = re.compile(r"^([1-9]\d*)\.([1-9]\d*|0|latest)$")
_MALFORMED = (
    "The server could not comply with the request since it is either malformed or otherwise incorrect."
)


class BlockStorage:
    """The block storage service of one site.

    Knobs: `min_minor`/`max_minor` (microversions 3.x), `create_seconds` (how long a volume stays `creating`),
    `backup_seconds`, `restore_seconds` (how long these take), `max_limit`, `zones`, `quota`, `missing`.
    `volumes`, `snapshots`, `backups`, `transfers`, `types` hold the records by id, `contents` what volumes
    hold, `stored` the data of backups: several sites may have the same.
    """

    prefix = "/volume"
    fault_name = "volume"

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.min_minor, self.max_minor = 0, 71
        self.create_seconds = self.backup_seconds = self.restore_seconds = 0.0
        self._under_way: list[Callable[[], None]] = []
        self.max_limit = 1000
        self.zones = ["nova"]
        self.volumes: dict[str, Json] = {}
        self.snapshots: dict[str, Json] = {}
        self.backups: dict[str, Json] = {}
        self.stored: dict[str, bytes] = {}
        self.missing: set[str] = set()  # services of Cinder's that are not there
        self.transfers: dict[str, Json] = {}
        self.types: dict[str, Json] = {}
        self.quota: dict[str, dict[str, int]] = {}
        self.default_type = "__DEFAULT__"
        self.defaults: dict[str, str] = {}  # of projects
        self.backend = f"{site.name}-control@fake"
        self.log_level = "INFO"
        self.received: deque[bytes] = deque(maxlen=RECEIVED)  # bodies, newest last
        self._seq = 0
        self._routes = Routes()
        self.contents = VolumeContents(self)
        self.admin = VolumeAdmin(self)
        self.groups, self.rest = VolumeGroups(self), VolumeRest(self)
        parts = (Volumes(self), Snapshots(self), Transfers(self), VolumeHosts(self), self.admin)
        for part in (*parts, self.groups, self.rest):
            part.add_routes(self)

    def route(self, method: str, template: str, handle: Handle, since: int = 0) -> None:
        """Register a handler with and without the project in the path, for microversions from 3.since."""

        def versioned(call: Call) -> Any:
            if call.minor < since:
                raise Fault(404, "The resource could not be found.")
            return handle(call)

        self._routes.add(method, template, versioned)
        self._routes.add(method, "/{project_id}" + template, versioned)

    async def handle(self, request: Request) -> Response:
        """Answer one request to the service."""
        path = one_slash(request.path[len(self.prefix) :])
        call = Call(request, f"{request.url_root}{self.prefix}/v3")
        if path in ("", "/"):
            return self._finish(call, self.json({"versions": [self._version(call)]}, 300))
        if path != "/v3" and not path.startswith("/v3/"):
            return self._no_route(call)
        call.token = self.site.validate(request)
        if call.token is None:
            return self.unauthorized(call)
        return await self._authorized(call, path)

    async def _authorized(self, call: Call, path: str) -> Response:
        request = call.request
        if path == "/v3":
            headers = [("Content-Type", "text/plain; charset=utf8"), ("Location", f"{call.root}/")]
            return self._ids(call, Response(302, headers))
        if path == "/v3/":
            return self._finish(call, self.json({"versions": [self._version(call)]}))
        found = self._routes.find(path[3:]) or self._routes.find(path[3:].removesuffix(".json"))
        if found is None or request.method not in found[0]:
            return self._no_route(call)
        handle, names = found[0][request.method]
        call.params = dict(zip(names, found[1], strict=True))
        call.raw = await request.read() if request.method in ("POST", "PUT", "DELETE") else b""
        self.received.append(call.raw)
        try:
            self._negotiate(call)
            call.body = _body(call)
            self._check_project(call)
            answer = handle(call)
            return self._finish(call, answer if isinstance(answer, Response) else await answer)
        except Fault as fault:
            return self.fault(call, fault.status, fault.message, fault.headers)

    def _check_project(self, call: Call) -> None:
        if call.params.get("project_id", call.project_id) != call.project_id:
            raise Fault(400, "Malformed request url")

    def _negotiate(self, call: Call) -> None:
        """Set the microversion. A version of another service is malformed here (unlike in Nova)."""
        header = call.request.header("openstack-api-version")
        if header is None:
            call.minor = self.min_minor
            return
        wanted = None
        for part in header.split(","):
            words = part.split()
            if len(words) == 2 and words[0] == "volume":
                wanted = words[1]
        call.minor = -1
        if wanted is None:
            raise Fault(400, _MALFORMED)
        if wanted == "latest":
            call.minor = self.max_minor
            return
        match = _VERSION.match(wanted)
        if match is None or match[2] == "latest":
            raise Fault(
                400, f"API Version String {wanted} is of invalid format. Must be of format MajorNum.MinorNum."
            )
        call.minor = int(match[2])
        if match[1] != "3" or not self.min_minor <= call.minor <= self.max_minor:
            call.params["version"] = wanted
            limits = f"Minimum is 3.{self.min_minor} and maximum is 3.{self.max_minor}."
            raise Fault(406, f"Version {wanted} is not supported by the API. {limits}")

    def json(self, value: Any, status: int = 200) -> Response:
        """A JSON answer; version and request-id headers are added on the way out."""
        return Response(status, [("Content-Type", "application/json")], dumps(value))

    def empty(self, status: int = 202) -> Response:
        """An answer with no body."""
        return Response(status, [("Content-Type", "text/html; charset=UTF-8")])

    def fault(
        self, call: Call, status: int, message: str, headers: list[tuple[str, str]] | None = None
    ) -> Response:
        """A fault as Cinder writes it."""
        body = dumps({_FAULTS.get(status, "computeFault"): {"code": status, "message": message}})
        return self._finish(
            call, Response(status, [("Content-Type", "application/json"), *(headers or [])], body)
        )

    def unauthorized(self, call: Call) -> Response:
        """401 as keystonemiddleware in front of Cinder answers."""
        headers = [("Content-Type", "application/json"), keystone_challenge(self.site.keystone.auth_url)]
        return self._ids(call, Response(401, headers, dumps(UNAUTHORIZED)))

    def _no_route(self, call: Call) -> Response:
        if call.request.method == "HEAD":
            return self._ids(call, Response(404, [("Content-Type", "text/html; charset=UTF-8")]))
        body = plain(404, "Not Found", "The resource could not be found.")
        return self._ids(call, Response(404, [("Content-Type", "text/plain; charset=UTF-8")], body))

    def _ids(self, call: Call, response: Response) -> Response:
        response.headers.append(("x-openstack-request-id", call.request_id))
        return response

    def _finish(self, call: Call, response: Response) -> Response:
        response.headers.append(("x-compute-request-id", call.request_id))
        if call.minor >= 0:
            version = call.params.get("version", f"3.{call.minor}")
            response.headers.append(("OpenStack-API-Version", f"volume {version}"))
            response.headers.append(("Vary", "OpenStack-API-Version"))
        return self._ids(call, response)

    def _version(self, call: Call) -> Json:
        describedby = {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"}
        media = {"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}
        return {
            "id": "v3.0",
            "status": "CURRENT",
            "version": f"3.{self.max_minor}",
            "min_version": f"3.{self.min_minor}",
            "updated": "2023-08-31T00:00:00Z",
            "links": [describedby, {"rel": "self", "href": f"{call.root}/"}],
            "media-types": [media],
        }

    # what the resources share
    def now(self, *, fraction: bool = False) -> str:
        """The time as Cinder writes it; a fresh record has its fraction of a second, a read one has none."""
        seconds = self.site.clock()
        micros = f"{int(seconds % 1 * 1e6):06d}" if fraction else "000000"
        return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(seconds)) + micros

    def new(self, **fields: Any) -> Json:
        """A record with an id and its place in the order of creation."""
        self._seq += 1
        return {
            "id": str(uuid.uuid4()),
            "seq": self._seq,
            "created_at": self.now(),
            "updated_at": None,
            **fields,
        }

    def links(self, call: Call, collection: str, item_id: str) -> list[Json]:
        """The self and bookmark links of an item: with the project, as Cinder writes them."""
        base = call.root.rpartition("/")[0]
        project = f"/{call.project_id}" if "project_id" in call.params else ""
        return [
            {"rel": "self", "href": f"{call.root}{project}/{collection}/{item_id}"},
            {"rel": "bookmark", "href": f"{base}{project}/{collection}/{item_id}"},
        ]

    def owned(self, call: Call, records: dict[str, Json]) -> list[Json]:
        """The caller's records, or everyone's for an admin who gives all_tenants."""
        every = call.admin and (call.one("all_tenants") or "0").lower() in ("1", "true")
        return [r for r in records.values() if every or r["project_id"] == call.project_id]

    def get(self, call: Call, records: dict[str, Json], what: str, item_id: str) -> Json:
        """The record of that id if the caller may see it. Raises Fault 404."""
        record = records.get(item_id)
        if record is None or (record["project_id"] != call.project_id and not call.admin):
            raise Fault(404, f"{what} {item_id} could not be found.")
        return record

    def settle(self, volume: Json) -> None:
        """Finish what takes time: one that was creating becomes available."""
        if volume["status"] == "creating" and self.site.clock() >= volume["ready"]:
            volume |= {"status": "available", "updated_at": self.now()}

    def page(self, call: Call, found: list[Json], keys: dict[str, str], what: str) -> tuple[list[Json], int]:
        """The page asked for, sorted, and how many there are in all. Raises Fault as Cinder does."""
        limit, offset = _number(call, "limit", self.max_limit), _number(call, "offset", 0)
        for key, direction in reversed(_order(call, keys)):
            found.sort(
                key=lambda r: (r.get(keys[key]) is not None, r.get(keys[key])), reverse=direction == "desc"
            )
        total = len(found)
        marker = call.one("marker")
        if marker:
            at = next((at for at, record in enumerate(found) if record["id"] == marker), None)
            if at is None:
                raise Fault(404, f"{what} {marker} could not be found.")
            found = found[at + 1 :]
        return found[offset : offset + min(limit, self.max_limit)], total

    def listed(
        self, call: Call, collection: str, shown: list[Json], total: int, key: str = "", links_key: str = ""
    ) -> Response:
        """The body of a list: items, a next link if the page is full, a count if asked for.

        With a count Cinder compares the limit with that, so that even the last page has a next link.
        """
        key = key or collection.partition("/")[0]
        body: Json = {key: shown}
        counted = self._counted(call)
        limit = min(_number(call, "limit", self.max_limit), self.max_limit)
        if shown and limit <= (total if counted else len(shown)):
            params = [(name, value) for name, value in call.query if name != "marker"]
            query = urlencode([*params, ("marker", shown[-1]["id"])])
            project = f"/{call.project_id}" if "project_id" in call.params else ""
            link = {"rel": "next", "href": f"{call.root}{project}/{collection}?{query}"}
            body[links_key or f"{key}_links"] = [link]
        return self.json(body | ({"count": total} if counted else {}))

    def _counted(self, call: Call) -> bool:
        """Whether the total is wanted. Raises Fault 400."""
        count = call.one("with_count")
        if count is None or call.minor < 45:
            return False
        if count.lower() not in ("true", "false", "1", "0"):
            raise Fault(400, f"Value '{count}' for 'with_count' is not a boolean.")
        return count.lower() in ("true", "1")

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after some seconds, or when `hurry` is called."""

        def once() -> None:
            timer.cancel()
            self._under_way.remove(once)
            do()

        timer = asyncio.get_running_loop().call_later(seconds, once)
        self._under_way.append(once)

    def hurry(self) -> None:
        """Have all that takes time be over at once; nothing takes any from then on."""
        self.create_seconds = self.backup_seconds = self.restore_seconds = self.contents.upload_seconds = 0.0
        for volume in self.volumes.values():
            volume["ready"] = self.site.clock()
        for once in list(self._under_way):
            once()

    # in-process, for Nova
    def find(self, who: Token, volume_id: str) -> Json | None:
        """The volume if the caller may see it."""
        volume = self.volumes.get(volume_id)
        if volume is None or (volume["project_id"] != who.project_id and "admin" not in who.roles):
            return None
        return volume

    def made_for(self, project_id: str, user_id: str, mapping: Json) -> str:
        """A volume that Nova makes for a server's device; its id."""
        volume = self.new(
            status="available", size=int(mapping.get("volume_size") or 1), availability_zone=self.zones[0],
            name="", description="", volume_type=mapping.get("volume_type") or self.default_type,
            snapshot_id=mapping["uuid"] if mapping.get("source_type") == "snapshot" else None,
            source_volid=None, metadata={}, user_id=user_id, project_id=project_id, bootable="true",
            encrypted=False, replication_status=None, consistencygroup_id=None, multiattach=False,
            attachments=[], image={}, ready=self.site.clock(),
        )  # fmt: skip
        self.volumes[volume["id"]] = volume
        return str(volume["id"])

    def snapshot_for(self, volume_id: str, name: str) -> str:
        """A snapshot that Nova takes of an attached volume; its id."""
        volume = self.volumes[volume_id]
        snapshot = self.new(
            name=name, description="", volume_id=volume_id, status="available", size=volume["size"],
            metadata={}, user_id=volume["user_id"], project_id=volume["project_id"],
        )  # fmt: skip
        self.snapshots[snapshot["id"]] = snapshot
        return str(snapshot["id"])

    def attach(self, volume_id: str, server_id: str) -> str | None:
        """Attach a volume to a server; the attachment's id, or None if there is no such volume."""
        volume = self.volumes.get(volume_id)
        if volume is None:
            return None
        at = self.now()
        attachment: Json = {"id": volume_id, "attachment_id": str(uuid.uuid4()), "volume_id": volume_id}
        attachment |= {"server_id": server_id, "host_name": None, "device": "/dev/sdb", "attached_at": at}
        volume["attachments"].append(attachment)
        volume |= {"status": "in-use", "updated_at": at}
        return str(attachment["attachment_id"])

    def gone_with_server(self, volume_id: str) -> None:
        """Delete a volume as Nova has it done: one that has snapshots stays."""
        if all(one["volume_id"] != volume_id for one in self.snapshots.values()):
            self.volumes.pop(volume_id, None)

    def detach(self, volume_id: str, server_id: str) -> None:
        """Detach a volume from a server, if it is attached."""
        volume = self.volumes.get(volume_id)
        if volume is not None:
            volume["attachments"] = [a for a in volume["attachments"] if a["server_id"] != server_id]
            volume["status"] = "in-use" if volume["attachments"] else "available"
            volume["updated_at"] = self.now()


def _body(call: Call) -> Any:
    if not call.raw:
        return None
    media = (call.request.header("content-type") or "").partition(";")[0].strip().lower()
    if media not in ("", "application/json", "application/vnd.openstack.volume+json"):
        raise Fault(415, "Unsupported Content-Type")
    try:
        return json.loads(call.raw)
    except ValueError as exc:
        raise Fault(400, "Malformed request body") from exc


def _number(call: Call, name: str, otherwise: int) -> int:
    value = call.one(name)
    if value is None:
        return otherwise
    try:
        number = int(value)
    except ValueError as exc:
        message = "limit param must be an integer" if name == "limit" else "offset must be an integer"
        raise Fault(400, message) from exc
    if number < 0:
        raise Fault(400, "limit param must be positive" if name == "limit" else "offset must be >= 0")
    return number


def _order(call: Call, keys: dict[str, str]) -> list[tuple[str, str]]:
    if call.one("sort") is not None:
        pairs = [part.strip().partition(":") for part in (call.one("sort") or "").split(",")]
        order = [(key, direction or "desc") for key, _, direction in pairs]
    else:
        names, directions = call.all("sort_key") or ["created_at"], call.all("sort_dir") or ["desc"]
        order = list(zip(names, (directions + directions[-1:] * len(names))[: len(names)], strict=True))
    for key, direction in order:
        if key not in keys:
            raise Fault(400, "Invalid input received: Invalid sort key")
        if direction not in ("asc", "desc"):
            raise Fault(400, "Invalid input received: Unknown sort direction, must be 'desc' or 'asc'.")
    return order
