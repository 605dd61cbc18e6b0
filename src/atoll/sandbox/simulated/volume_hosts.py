"""What a simulated Cinder has of its hosts, and the default types of projects."""

from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.block_storage import BlockStorage

Json = dict[str, Any]


class VolumeHosts:
    """Hosts, what could be managed there, actions on services, default types."""

    def __init__(self, storage: "BlockStorage") -> None:
        self.storage = storage

    def add_routes(self, storage: "BlockStorage") -> None:
        """Register the routes."""
        storage.route("GET", "/os-hosts/{host}", self._show_host)
        for path in ("/manageable_volumes", "/os-volume-manage"):
            storage.route("GET", path, self._manageable)
            storage.route("GET", f"{path}/detail", self._manageable)
            storage.route("POST", path, self._manage)
        storage.route("PUT", "/os-services/{action}", self._act)
        storage.route("GET", "/default-types", self._list_defaults, since=62)
        storage.route("GET", "/default-types/{project}", self._show_default, since=62)
        storage.route("PUT", "/default-types/{project}", self._set_default, since=62)
        storage.route("DELETE", "/default-types/{project}", self._unset_default, since=62)

    def _has(self, host: str) -> bool:
        return host.partition("#")[0] == self.storage.backend

    def _show_host(self, call: Call) -> Response:
        _admin(call)
        host = call.params["host"]
        if not self._has(host):
            raise Fault(404, f"Service cinder-volume could not be found on host {host}.")
        return self.storage.json({"host": [{"resource": {"host": host, "project": "(total)"}}]})

    def _manageable(self, call: Call) -> Response:
        _admin(call)
        host = call.one("host")
        if host is None:
            raise Fault(400, "Invalid input received: Host field is missing.")
        if not self._has(host):
            name = host.partition("#")[0]
            raise Fault(404, f"Service cinder-volume could not be found on host {name}.")
        reference = {"source-name": f"disk-of-{self.storage.site.name}"}
        return self.storage.json({"manageable-volumes": [{"reference": reference, "size": 1}]})

    def _manage(self, call: Call) -> Response:
        _admin(call)
        given = (call.body or {}).get("volume") or {}
        if not self._has(str(given.get("host"))):
            raise Fault(400, f"Host '{given.get('host')}' not found")
        owner = {"project_id": call.project_id, "user_id": call.who.user_id}
        ident = self.storage.made_for(**owner, mapping={})
        return self.storage.json({"volume": {"id": ident, "name": given.get("name")}}, 202)

    def _act(self, call: Call) -> Response:
        _admin(call)
        action, given = call.params["action"], call.body or {}
        if action == "set-log":
            self.storage.log_level = given["level"]
            return self.storage.empty()
        if action == "get-log":
            levels = {"host": f"{self.storage.site.name}-control", "binary": "cinder-api"}
            return self.storage.json(
                {"log_levels": [levels | {"levels": {"cinder": self.storage.log_level}}]}
            )
        if not self._has(str(given.get("host"))):
            raise Fault(400, f"No service found with host={given.get('host')}")
        return self.storage.empty()

    # default types
    def _view(self, project: str) -> Json:
        return {"project_id": project, "volume_type_id": self.storage.defaults[project]}

    def _list_defaults(self, call: Call) -> Response:
        _admin(call)
        return self.storage.json({"default_types": [self._view(one) for one in self.storage.defaults]})

    def _show_default(self, call: Call) -> Response:
        _admin(call)
        project = call.params["project"]
        if project not in self.storage.defaults:
            raise Fault(404, f"Default type for project {project} not found.")
        return self.storage.json({"default_type": self._view(project)})

    def _set_default(self, call: Call) -> Response:
        _admin(call)
        wanted, project = call.body["default_type"]["volume_type"], call.params["project"]
        kind = next((one for one in self.storage.types.values() if wanted in (one["id"], one["name"])), None)
        if kind is None:
            raise Fault(404, f"Volume type {wanted} could not be found.")
        self.storage.defaults[project] = kind["id"]
        return self.storage.json({"default_type": self._view(project)})

    def _unset_default(self, call: Call) -> Response:
        _admin(call)
        self.storage.defaults.pop(call.params["project"], None)
        return self.storage.empty(204)


def _admin(call: Call) -> None:
    if not call.admin:
        raise Fault(403, "You are not authorized to perform this operation.")
