"""A simulated placement service: resource providers with inventories and traits, allocations, candidates.

Served by a site below `/placement`; not in the catalogue. It speaks as of 1.39 whatever version is asked for.
"""

import json
import uuid
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Request, Response
from atoll.sandbox.simulated.service import Call, Fault, Routes, dumps, keystone_challenge

if TYPE_CHECKING:
    from atoll.sandbox.simulated.site import Site

Json = dict[str, Any]
JSON = ("Content-Type", "application/json")
PREFIX = "/placement"
STANDARD_TRAITS = ("HW_CPU_X86_AVX2", "COMPUTE_NODE")
STANDARD_CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB")


class Placement:
    """The placement service of one site, with one resource provider for its compute host."""

    fault_name = "placement"

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.providers: dict[str, Json] = {}
        self.traits = set(STANDARD_TRAITS)
        self.classes = set(STANDARD_CLASSES)
        self.allocations: dict[str, Json] = {}  # by consumer, by provider, the resources
        self._routes = Routes()
        add = self._routes.add
        add(
            "GET",
            "/resource_providers",
            lambda _: self.json({"resource_providers": list(map(_shown, self.providers.values()))}),
        )
        add("POST", "/resource_providers", self._create)
        add("GET", "/resource_providers/{id}", lambda call: self.json(_shown(self._provider(call))))
        add("DELETE", "/resource_providers/{id}", self._delete)
        add("GET", "/resource_providers/{id}/inventories", self._inventories)
        add("PUT", "/resource_providers/{id}/inventories", self._set_inventories)
        add("GET", "/traits", lambda _: self.json({"traits": sorted(self.traits)}))
        for method in ("GET", "PUT", "DELETE"):
            add(method, "/traits/{name}", self._trait)
        add("GET", "/resource_classes", self._classes)
        add("GET", "/allocation_candidates", self._candidates)
        add("GET", "/usages", self._usages)
        add("GET", "/allocations/{id}", lambda call: self.json(self._allocated(call.params["id"])))
        add("PUT", "/allocations/{id}", self._allocate)
        add("DELETE", "/allocations/{id}", self._release)
        self.add(f"{site.name}-compute1", {"VCPU": 16, "MEMORY_MB": 4096})

    def add(self, name: str, inventories: dict[str, int], ident: str = "") -> str:
        """A resource provider with no HTTP; its id."""
        ident = ident or str(uuid.uuid4())
        held = {kind: {"total": total} for kind, total in inventories.items()}
        self.providers[ident] = {"uuid": ident, "name": name, "generation": 0, "inventories": held}
        return ident

    async def handle(self, request: Request) -> Response:
        """Answer one request to the service."""
        path = request.path[len(PREFIX) :]
        call = Call(request, f"{request.url_root}{PREFIX}")
        if path in {"", "/"}:
            version = {"id": "v1.0", "min_version": "1.0", "max_version": "1.39", "status": "CURRENT"}
            return self.json({"versions": [{**version, "links": [{"rel": "self", "href": ""}]}]})
        call.token = self.site.validate(request)
        if call.token is None:
            return self.unauthorized(call)
        found = self._routes.find(path)
        if found is None or request.method not in found[0]:
            return self.fault(call, 404, "The resource could not be found.")
        handle, names = found[0][request.method]
        call.params = dict(zip(names, found[1], strict=True))
        call.raw = await request.read()
        call.body = json.loads(call.raw) if call.raw else {}
        try:
            answer = handle(call)
            return answer if isinstance(answer, Response) else await answer
        except Fault as fault:
            return self.fault(call, fault.status, fault.message)

    def fault(
        self, call: Call, status: int, message: str, headers: list[tuple[str, str]] | None = None
    ) -> Response:
        """A fault as placement writes it."""
        error = {"status": status, "title": "Error", "detail": message, "request_id": call.request_id}
        return Response(status, [JSON, *(headers or [])], dumps({"errors": [error]}))

    def unauthorized(self, call: Call) -> Response:
        """401 as keystonemiddleware answers it."""
        challenge = keystone_challenge(self.site.keystone.auth_url)
        return self.fault(call, 401, "Authentication required", [challenge])

    @staticmethod
    def json(value: Any, status: int = 200) -> Response:
        """A JSON answer."""
        return Response(status, [JSON], dumps(value))

    def _provider(self, call: Call) -> Json:
        ident = call.params["id"]
        if ident not in self.providers:
            raise Fault(404, f"No resource provider with uuid {ident} found")
        return self.providers[ident]

    def _create(self, call: Call) -> Response:
        if any(one["name"] == call.body["name"] for one in self.providers.values()):
            raise Fault(409, f"Conflicting resource provider name: {call.body['name']} already exists.")
        ident = self.add(call.body["name"], {}, call.body.get("uuid", ""))
        answer = self.json(_shown(self.providers[ident]))
        answer.headers.append(("Location", f"{call.root}/resource_providers/{ident}"))
        return answer

    def _delete(self, call: Call) -> Response:
        del self.providers[self._provider(call)["uuid"]]
        return Response(204)

    def _inventories(self, call: Call) -> Response:
        provider = self._provider(call)
        found = {"inventories": provider["inventories"]}
        return self.json({**found, "resource_provider_generation": provider["generation"]})

    def _set_inventories(self, call: Call) -> Response:
        provider = self._provider(call)
        provider["inventories"] = call.body["inventories"]
        provider["generation"] += 1
        return self._inventories(call)

    def _trait(self, call: Call) -> Response:
        name, method = call.params["name"], call.request.method
        if method == "PUT":
            if not name.startswith("CUSTOM_"):
                raise Fault(400, f"The trait is invalid. A valid trait must start with 'CUSTOM_': {name}")
            new = name not in self.traits
            self.traits.add(name)
            return Response(201 if new else 204)
        if name not in self.traits:
            raise Fault(404, f"No such trait(s): {name}.")
        if method == "DELETE":
            self.traits.discard(name)
        return Response(204)

    def _classes(self, call: Call) -> Response:
        del call
        links = "{}/resource_classes/{}"
        return self.json(
            {
                "resource_classes": [
                    {"name": name, "links": [{"rel": "self", "href": links.format(PREFIX, name)}]}
                    for name in sorted(self.classes)
                ]
            }
        )

    def _candidates(self, call: Call) -> Response:
        wanted = dict(one.split(":") for one in (call.one("resources") or "").split(",") if one)
        fit = [
            one["uuid"]
            for one in self.providers.values()
            if all(one["inventories"].get(kind, {}).get("total", 0) >= int(n) for kind, n in wanted.items())
        ]
        resources = {kind: int(number) for kind, number in wanted.items()}
        requests = [{"allocations": {ident: {"resources": resources}}} for ident in fit]
        summaries: Json = {ident: {"resources": {}, "traits": []} for ident in fit}
        return self.json({"allocation_requests": requests, "provider_summaries": summaries})

    def _usages(self, call: Call) -> Response:
        used: dict[str, int] = {}
        for by_provider in self.allocations.values():
            if by_provider["project_id"] == call.one("project_id"):
                for one in by_provider["allocations"].values():
                    for kind, number in one["resources"].items():
                        used[kind] = used.get(kind, 0) + number
        return self.json({"usages": used})

    def _allocated(self, consumer: str) -> Json:
        return self.allocations.get(consumer, {"allocations": {}})

    def _allocate(self, call: Call) -> Response:
        for ident in call.body["allocations"]:
            if ident not in self.providers:
                raise Fault(400, f"Allocation for resource provider '{ident}' that does not exist.")
        self.allocations[call.params["id"]] = call.body
        if not call.body["allocations"]:
            del self.allocations[call.params["id"]]
        return Response(204)

    def _release(self, call: Call) -> Response:
        if self.allocations.pop(call.params["id"], None) is None:
            raise Fault(404, f"No allocations for consumer '{call.params['id']}'")
        return Response(204)


def _shown(provider: Json) -> Json:
    path = f"{PREFIX}/resource_providers/{provider['uuid']}"
    links = [{"rel": "self", "href": path}, {"rel": "inventories", "href": f"{path}/inventories"}]
    return {**{key: provider[key] for key in ("uuid", "name", "generation")}, "links": links}
