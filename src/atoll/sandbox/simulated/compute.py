"""A simulated Nova (compute v2.1): versions, faults, the way of a request; resources are in other modules.

Served by a site below `/compute`. Behaviour, messages and headers follow release 2026.2 (microversion 2.104).
"""

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlencode

from atoll.sandbox.simulated.compute_aggregates import Aggregates
from atoll.sandbox.simulated.compute_floating_ips import FloatingIps
from atoll.sandbox.simulated.compute_hosts import Hosts
from atoll.sandbox.simulated.compute_migrations import Migrations
from atoll.sandbox.simulated.compute_proxies import Proxies
from atoll.sandbox.simulated.compute_refusals import Refusals, check, check_number, read
from atoll.sandbox.simulated.flavors import Flavors
from atoll.sandbox.simulated.instances import Instances, Json
from atoll.sandbox.simulated.keypairs import Keypairs
from atoll.sandbox.simulated.server import Request, Response
from atoll.sandbox.simulated.server_actions import ServerActions
from atoll.sandbox.simulated.server_groups import ServerGroups
from atoll.sandbox.simulated.server_parts import ServerParts
from atoll.sandbox.simulated.servers import Servers
from atoll.sandbox.simulated.service import (
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
from atoll.sandbox.simulated.usage import Usage

if TYPE_CHECKING:
    from atoll.sandbox.simulated.site import Site

_FAULTS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
_VERSION = re.compile(r"^([1-9]\d*)\.([1-9]\d*|0|latest)$")
_PROJECT = re.compile(r"[0-9a-f-]+\Z")
_UPDATED = {"v2.0": "2025-07-04T12:00:00Z", "v2.1": "2013-07-23T11:33:21Z"}


class Part(Protocol):
    """Some of the routes of the service."""

    def add_routes(self, compute: "Compute") -> None:
        """Register them."""


class Compute:
    """The compute service of one site.

    Knobs: `min_minor`/`max_minor` (microversions 2.x served), `build_seconds` and `delete_seconds` (how long
    a server stays in BUILD, or visible after DELETE; of that `dying_seconds` as DELETED), `action_seconds`,
    `max_limit` (the largest page),
    `zones`, `hypervisors` (how many there are; servers are at the first), `quota`, `boot_fails` (how many
    of the next servers come to ERROR). `received` keeps the raw body of every `POST /servers`, newest last,
    `events` the servers that external events were for.
    """

    prefix = "/compute"
    fault_name = "compute"

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.min_minor, self.max_minor = 1, 104
        self.build_seconds = self.delete_seconds = self.dying_seconds = self.action_seconds = 0.0
        self.max_limit = 1000
        self.hypervisors = 1
        self.boot_fails = 0
        self.zones = ["nova"]
        self.received: list[bytes] = []
        self.events: list[str] = []
        self.instances = Instances(site.clock)
        self.flavors: dict[str, Json] = {}
        self.groups: dict[str, Json] = {}
        self.keypairs: dict[tuple[str, str], Json] = {}
        self.quota: dict[str, dict[str, int]] = {}
        self._routes = Routes()
        self.servers = Servers(self)
        self.flavor_api = Flavors(self)
        self.aggregates = Aggregates(self)
        self.migrations = Migrations(self)
        self.floating_ips = FloatingIps(self)
        # What registers routes, until the first request that has one: versions alone are asked of most.
        self._parts: list[Part] = [
            self.servers,
            self.flavor_api,
            ServerActions(self),
            ServerParts(self),
            Keypairs(self),
            ServerGroups(self),
            Usage(self),
            Hosts(self),
            self.aggregates,
            self.migrations,
            Proxies(self),
            self.floating_ips,
            Refusals(),
        ]
        self.route("GET", "/versions/{id}", self._show_version)

    @property
    def host(self) -> str:
        """The name of the one compute host."""
        return f"{self.site.name}-compute1"

    def route(self, method: str, template: str, handle: Handle, since: int = 1, until: int = 9999) -> None:
        """Register a handler with and without the project in the path, for microversions 2.since-until."""
        shape = _shape(template)

        def versioned(call: Call) -> Any:
            if not since <= call.minor <= until:
                raise Fault(404, "The resource could not be found.")
            check(call, method, shape)
            return handle(call)

        self._routes.add(method, template, versioned)
        self._routes.add(method, "/{project_id}" + template, versioned)

    async def handle(self, request: Request) -> Response:
        """Answer one request to the service."""
        path = one_slash(request.path[len(self.prefix) :])
        call = Call(request, f"{request.url_root}{self.prefix}/{'v2' if path.startswith('/v2/') else 'v2.1'}")
        if path in ("", "/"):
            return Response(
                200, [("Content-Type", "application/json")], dumps({"versions": self._versions(call)})
            )
        version, _, rest = path[1:].partition("/")
        if version not in ("v2", "v2.1"):
            return self._choices(call, path)
        if not rest:
            return self._version_document(call, version)
        if request.method == "OPTIONS":
            return self._ids(call, Response(200))  # a middleware before the token's answers it
        call.token = self.site.validate(request)
        rest = unquote(rest) if "%2f" in rest.lower() else rest
        handle = self._matched(call, "/" + rest) if call.token is not None else None
        if handle is None:
            return self._no_route(call) if call.token is not None else self.unauthorized(call)
        call.raw = await request.read() if request.method in ("POST", "PUT", "PATCH", "DELETE") else b""
        return await self._answer(call, handle, versioned=version == "v2.1")

    def _matched(self, call: Call, path: str) -> Handle | None:
        """The handler of a path below the version; its parameters are the call's."""
        if path.endswith("/") and call.request.method == "GET" and path.count("/") == 2:
            call.params = {"project_id": path.strip("/"), "id": "v2.1"}
            return self._show_version if _PROJECT.match(call.params["project_id"]) else None
        while self._parts:
            self._parts.pop(0).add_routes(self)
        found = self._routes.find(path)
        if found is None or call.request.method not in found[0]:
            return None
        handle, names = found[0][call.request.method]
        call.params = dict(zip(names, found[1], strict=True))
        return handle if _PROJECT.match(call.params.get("project_id", "0")) else None

    async def _answer(self, call: Call, handle: Handle, *, versioned: bool) -> Response:
        try:
            self._negotiate(call, versioned=versioned)
            call.body = read(call)
            self._check_project(call)
            response = handle(call)
            answer = response if isinstance(response, Response) else await response
        except Fault as fault:
            return self.fault(call, fault.status, fault.message, fault.headers)
        return self._finish(call, answer)

    def _check_project(self, call: Call) -> None:
        given = call.params.get("project_id", call.project_id)
        if given != call.project_id:
            message = f"URL's project_id '{given}' doesn't match Context's project_id '{call.project_id}'"
            raise Fault(400, f"Malformed request URL: {message}")

    def _negotiate(self, call: Call, *, versioned: bool) -> None:
        """Set the microversion of the call. Raises Fault 400 (malformed) or 406 (out of range)."""
        if not versioned:
            call.params["version"] = ""  # v2 knows no microversions and says none
        wanted = _wanted(call.request) if versioned else None
        if wanted is None:
            call.minor = self.min_minor
            return
        if wanted == "latest":
            call.minor = self.max_minor
            return
        match = _VERSION.match(wanted)
        if match is None or match[2] == "latest":
            call.minor = -1
            raise Fault(
                400, f"API Version String {wanted} is of invalid format. Must be of format MajorNum.MinorNum."
            )
        call.minor = int(match[2])
        if match[1] != "2" or not self.min_minor <= call.minor <= self.max_minor:
            call.params["version"] = wanted
            limits = f"Minimum is 2.{self.min_minor} and maximum is 2.{self.max_minor}."
            raise Fault(406, f"Version {wanted} is not supported by the API. {limits}")

    def json(self, value: Any, status: int = 200, location: str | None = None) -> Response:
        """A JSON answer; version and request-id headers are added on the way out."""
        headers = [("Content-Type", "application/json")]
        if location is not None:
            headers.append(("location", location))
        return Response(status, headers, dumps(value))

    def empty(self, status: int = 202) -> Response:
        """An answer with no body."""
        return Response(status, [("Content-Type", "application/json")])

    def page_links(
        self, call: Call, collection: str, items: list[Json], limit: int, key: str = "id"
    ) -> list[Json]:
        """The `<collection>_links` of a list: a next link when the page is full."""
        if not limit or len(items) != limit:
            return []
        params = dict(sorted(call.query))
        params["marker"] = items[-1][key]
        project = f"/{call.params['project_id']}" if "project_id" in call.params else ""
        return [{"rel": "next", "href": f"{call.root}{project}/{collection}?{urlencode(params)}"}]

    def limit(self, call: Call) -> int:
        """The page size asked for, capped by the site's. Raises Fault 400 as Nova's schema does."""
        given = call.one("limit")
        if given is None:
            return self.max_limit
        check_number("limit", given)
        return min(int(given), self.max_limit)

    def fault(
        self, call: Call, status: int, message: str, headers: list[tuple[str, str]] | None = None
    ) -> Response:
        """A fault as Nova writes it."""
        body: Json = {"code": status, "message": message}
        answer = Response(status, [("Content-Type", "application/json; charset=UTF-8"), *(headers or [])])
        if status == 429 or status == 413:
            body["retryAfter"] = next((value for name, value in headers or [] if name == "Retry-After"), "0")
        answer.body = dumps({_FAULTS.get(status, "computeFault"): body})
        answer.length = len(answer.body)
        return self._finish(call, answer)

    def unauthorized(self, call: Call) -> Response:
        """401 as keystonemiddleware in front of Nova answers."""
        headers = [("Content-Type", "application/json"), keystone_challenge(self.site.keystone.auth_url)]
        return self._ids(call, Response(401, headers, dumps(UNAUTHORIZED)))

    def _no_route(self, call: Call) -> Response:
        if call.request.method == "HEAD":
            return self._ids(call, Response(404, [("Content-Type", "text/html; charset=UTF-8")]))
        body = plain(404, "Not Found", "The resource could not be found.")
        return self._ids(call, Response(404, [("Content-Type", "text/plain; charset=UTF-8")], body))

    def _ids(self, call: Call, response: Response) -> Response:
        response.headers += [
            ("x-openstack-request-id", call.request_id),
            ("x-compute-request-id", call.request_id),
        ]
        return response

    def _finish(self, call: Call, response: Response) -> Response:
        version = call.params.get("version", f"2.{call.minor or self.min_minor}")
        if call.minor >= 0 and version:
            response.headers += [
                ("OpenStack-API-Version", f"compute {version}"),
                ("X-OpenStack-Nova-API-Version", version),
                ("Vary", "OpenStack-API-Version"),
                ("Vary", "X-OpenStack-Nova-API-Version"),
            ]
        return self._ids(call, response)

    # discovery
    def _versions(self, call: Call) -> list[Json]:
        base = call.root.rpartition("/")[0]
        two = {
            "id": "v2.0",
            "status": "DEPRECATED",
            "version": "",
            "min_version": "",
            "updated": _UPDATED["v2.0"],
        }
        current = {
            "id": "v2.1",
            "status": "CURRENT",
            "version": f"2.{self.max_minor}",
            "min_version": f"2.{self.min_minor}",
            "updated": _UPDATED["v2.1"],
        }
        return [
            {**two, "links": [{"rel": "self", "href": f"{base}/v2/"}]},
            {**current, "links": [{"rel": "self", "href": f"{base}/v2.1/"}]},
        ]

    def _version_document(self, call: Call, version: str, *, finish: bool = True) -> Response:
        document = self._versions(call)[0 if version == "v2" else 1]
        document["links"].append(
            {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}
        )
        number = "2" if version == "v2" else "2.1"
        media = {
            "base": "application/json",
            "type": f"application/vnd.openstack.compute+json;version={number}",
        }
        document["media-types"] = [media]
        response = self.json({"version": document})
        if not finish:
            return response
        if version == "v2":
            return self._ids(call, response)
        try:
            self._negotiate(call, versioned=True)
        except Fault as fault:
            return self.fault(call, fault.status, fault.message)
        return self._finish(call, response)

    def _show_version(self, call: Call) -> Response:
        if call.params["id"] not in ("v2.0", "v2.1"):
            raise Fault(404, "The resource could not be found.")
        return self._version_document(call, "v2" if call.params["id"] == "v2.0" else "v2.1", finish=False)

    def _choices(self, call: Call, path: str) -> Response:
        base = call.root.rpartition("/")[0]
        choices = [
            {
                "id": entry["id"],
                "status": entry["status"],
                "links": [{"rel": "self", "href": f"{base}/{name}{path}"}],
                "media-types": [
                    {
                        "base": "application/json",
                        "type": f"application/vnd.openstack.compute+json;version={name[1:]}",
                    }
                ],
            }
            for entry, name in zip(self._versions(call), ("v2", "v2.1"), strict=True)
        ]
        return Response(300, [("Content-Type", "application/json")], dumps({"choices": choices}))


def _wanted(request: Request) -> str | None:
    """The microversion asked for: the new header wins over the old one, its last word over the others."""
    found = None
    for name, value in request.headers:
        if name == "openstack-api-version":
            for part in value.split(","):
                words = part.split()
                if len(words) == 2 and words[0].lower() == "compute":
                    found = words[1]
    return found or (request.header("x-openstack-nova-api-version") or "").strip() or None


@cache
def _shape(template: str) -> str:
    """A template with its parameters as `{}`."""
    return re.sub(r"\{[^}]*\}", "{}", template)
