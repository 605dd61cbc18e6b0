"""What administrators have of a simulated Glance: tasks, the cache of images, and its stores.

/v2/tasks          imports, done as soon as they are asked for
/v2/cache          what is cached and queued; 404 while the site `caches` nothing
/v2/stores         the bytes of an image in one store
"""

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault, Routes

if TYPE_CHECKING:
    from atoll.sandbox.simulated.image import Image

Json = dict[str, Any]
_STUB = ("id", "type", "status", "owner", "created_at", "updated_at", "self", "schema")


class ImageAdmin:
    """Tasks by id; the cached images by id with their size, the queued ones in order; the stores' names."""

    def __init__(self, image: "Image") -> None:
        self.image = image
        self.tasks: dict[str, Json] = {}
        self.caches = False
        self.cached: dict[str, int] = {}
        self.queued: list[str] = []
        self.stores = [{"id": "file", "default": "true"}]
        self.import_methods = ["glance-direct", "web-download", "copy-image"]

    def add_routes(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("GET", "/v2/tasks", self._list_tasks)
        routes.add("POST", "/v2/tasks", self._create_task)
        routes.add("GET", "/v2/tasks/{id}", lambda call: self.image.json(self._task(call)))
        routes.add("DELETE", "/v2/tasks/{id}", self._delete_task)
        routes.add("GET", "/v2/info/stores", lambda _: self.image.json({"stores": self.stores}))
        routes.add("GET", "/v2/info/import", self._imports)
        routes.add("GET", "/v2/info/usage", lambda _: self.image.json({"usage": {}}))
        routes.add("DELETE", "/v2/stores/{store}/{id}", self._drop_bytes)
        routes.add("GET", "/v2/cache", self._cache)
        routes.add("DELETE", "/v2/cache", self._clear)
        routes.add("PUT", "/v2/cache/{id}", self._queue)
        routes.add("DELETE", "/v2/cache/{id}", self._uncache)
        routes.add("POST", "/v2/cache/clean", self._clean)
        routes.add("POST", "/v2/cache/prune", self._prune)

    def _admin(self, call: Call, *, cache: bool = False) -> None:
        """Raises Fault 403 for who is no administrator, 404 where nothing is cached."""
        if not call.admin:
            raise Fault(403, "Access was denied to this resource.")
        if cache and not self.caches:
            raise Fault(404, "Caching via API is not supported at this site.")

    # -- discovery --------------------------------------------------------------------------------

    def _imports(self, _: Call) -> Response:
        methods = {"description": "Import methods available.", "type": "array", "value": self.import_methods}
        return self.image.json({"import-methods": methods})

    # -- tasks ------------------------------------------------------------------------------------

    def _list_tasks(self, call: Call) -> Response:
        self._admin(call)
        limit = int(call.one("limit") or self.image.default_limit)
        key, down = call.one("sort_key") or "created_at", (call.one("sort_dir") or "desc") == "desc"
        wanted = [(name, call.one(name)) for name in ("status", "type") if call.one(name)]
        found = [one for one in self.tasks.values() if all(one[name] == value for name, value in wanted)]
        found.sort(key=lambda one: (str(one[key]), one["created_at"], one["id"]), reverse=down)
        if marker := call.one("marker"):
            if marker not in self.tasks:
                raise Fault(400, f"Task not found: {marker}")
            found = found[found.index(self.tasks[marker]) + 1 :]
        page = found[:limit]
        kept = [(name, value) for name, value in call.query if name != "marker"]
        body: Json = {"tasks": [{name: one[name] for name in _STUB} for one in page]}
        body |= {
            "first": "/v2/tasks" + (f"?{urlencode(kept)}" if kept else ""),
            "schema": "/v2/schemas/tasks",
        }
        if page and len(page) == limit:
            body["next"] = "/v2/tasks?" + urlencode([*kept, ("marker", page[-1]["id"])])
        return self.image.json(body)

    def _create_task(self, call: Call) -> Response:
        self._admin(call)
        given = json.loads(call.raw or b"{}")
        for name in ("type", "input"):
            if name not in given:
                raise Fault(400, f"Task '{name}' is required")
        task = self.add_task(given["type"], given["input"], call.project_id)
        response = self.image.json(task, 201)
        response.headers.append(("Location", f"{call.root}/tasks/{task['id']}"))
        return response

    def add_task(self, kind: str, given: Json, owner: str) -> Json:
        """A task that is done."""
        now, ident = self.image.now(), str(uuid.uuid4())
        task: Json = {"id": ident, "type": kind, "status": "success", "owner": owner, "input": given}
        task |= {"result": None, "message": "", "created_at": now, "updated_at": now}
        self.tasks[ident] = task | {"self": f"/v2/tasks/{ident}", "schema": "/v2/schemas/task"}
        return self.tasks[ident]

    def _task(self, call: Call) -> Json:
        self._admin(call)
        task = self.tasks.get(call.params["id"])
        if task is None:
            raise Fault(404, f"Task not found: {call.params['id']}")
        return task

    def _delete_task(self, call: Call) -> Response:
        self._admin(call)
        message = "This operation is currently not permitted on Glance Tasks. They are auto deleted after "
        raise Fault(405, f"{message}reaching the time based on their expires_at property.", Allow="GET")

    # -- cache ------------------------------------------------------------------------------------

    def _cache(self, call: Call) -> Response:
        self._admin(call, cache=True)
        cached = [
            {"image_id": ident, "hits": 0, "last_accessed": 0, "last_modified": 0, "size": size}
            for ident, size in self.cached.items()
        ]
        return self.image.json({"cached_images": cached, "queued_images": self.queued})

    def _clear(self, call: Call) -> Response:
        self._admin(call, cache=True)
        target = (call.request.header("x-image-cache-clear-target") or "").lower()
        if target not in {"", "cache", "queue"}:
            given = "If provided 'x-image-cache-clear-target' must be 'cache', 'queue' or empty string."
            raise Fault(400, given)
        if target != "queue":
            self.cached.clear()
        if target != "cache":
            self.queued.clear()
        return Response(204)

    def _image(self, call: Call) -> str:
        ident = call.params["id"]
        if self.image.visible(call.who, ident) is None:
            raise Fault(404, f"Image {ident} not found.")
        return ident

    def _queue(self, call: Call) -> Response:
        ident = self._image(call)
        self._admin(call, cache=True)
        if self.image.images[ident]["status"] != "active":
            raise Fault(400, "Only images with status active can be targeted for queueing")
        if ident not in self.queued:
            self.queued.append(ident)
        return Response(202)

    def _uncache(self, call: Call) -> Response:
        ident = call.params["id"]
        if ident not in self.cached and ident not in self.queued:
            self._image(call)
        self._admin(call, cache=True)
        self.cached.pop(ident, None)
        self.queued = [one for one in self.queued if one != ident]
        return Response(204)

    def _clean(self, call: Call) -> Response:
        self._admin(call, cache=True)
        return Response(200)

    def _prune(self, call: Call) -> Response:
        self._admin(call, cache=True)
        files, size = len(self.cached), sum(self.cached.values())
        self.cached.clear()
        return self.image.json({"total_files_pruned": files, "total_bytes_pruned": size})

    # -- stores -----------------------------------------------------------------------------------

    def _drop_bytes(self, call: Call) -> Response:
        self._admin(call)
        ident, store = call.params["id"], call.params["store"]
        if store not in {one["id"] for one in self.stores}:
            raise Fault(409, f"The selected store {store} is not available on this node.")
        image = self.image.visible(call.who, ident)
        if image is None:
            raise Fault(404, f"Failed to find image {ident}")
        if image["status"] != "active":
            message = "It's not allowed to remove image data from store if image status is not 'active'"
            raise Fault(409, message)
        stores = image["stores"].split(",")
        if len(stores) == 1:
            why = "Cannot delete image data from the only store containing it. "
            raise Fault(403, why + "Consider deleting the image instead.")
        if store not in stores:
            raise Fault(404, f"Image {ident} is not stored in store {store}.")
        image["stores"] = ",".join(one for one in stores if one != store)
        return Response(204)
