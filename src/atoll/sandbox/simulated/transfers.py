"""`/os-volume-transfer` and `/volume-transfers` of a simulated Cinder: two names of one collection."""

import secrets
from typing import TYPE_CHECKING, Any

from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault, Handle

if TYPE_CHECKING:
    from atoll.sandbox.simulated.block_storage import BlockStorage

Json = dict[str, Any]
_SORT = {"created_at": "seq", "id": "id", "name": "name"}
# From here on the newest come first, in pages.
PAGED_SINCE = 59
_SINCE = {"/os-volume-transfer": 0, "/volume-transfers": 55}


class Transfers:
    """Transfers: seen by the project that gives the volume away, accepted by whoever knows the key."""

    def __init__(self, storage: "BlockStorage") -> None:
        self.storage = storage

    def add_routes(self, storage: "BlockStorage") -> None:
        """Register the routes."""
        for path, since in _SINCE.items():
            storage.route("GET", path, self._list_of(path), since)
            storage.route("GET", f"{path}/detail", self._list_of(path, "created_at"), since)
            storage.route("POST", path, self._create, since)
            storage.route("GET", f"{path}/{{id}}", self._show, since)
            storage.route("DELETE", f"{path}/{{id}}", self._delete, since)
            storage.route("POST", f"{path}/{{id}}/accept", self._accept, since)

    def _view(self, call: Call, transfer: Json, *keys: str) -> Json:
        keys = ("id", "volume_id", "name", *keys)
        links = self.storage.links(call, "os-volume-transfer", transfer["id"])
        return {key: transfer[key] for key in keys} | {"links": links}

    def _list_of(self, path: str, *more: str) -> Handle:
        def handle(call: Call) -> Response:
            found = self.storage.owned(call, self.storage.transfers)
            total = len(found)
            if path == "/volume-transfers" and call.minor >= PAGED_SINCE:
                found, total = self.storage.page(call, found, _SORT, "Transfer")
            elif call.one("limit") is not None:
                found = []  # taken for a filter, which nothing matches
            shown = [self._view(call, one, *more) for one in found]
            return self.storage.listed(call, path[1:], shown, total, key="transfers")

        return handle

    def _find(self, call: Call) -> Json:
        return self.storage.get(call, self.storage.transfers, "Transfer", call.params["id"])

    def _show(self, call: Call) -> Response:
        return self.storage.json({"transfer": self._view(call, self._find(call), "created_at")})

    def _create(self, call: Call) -> Response:
        if not isinstance(call.body, dict) or "transfer" not in call.body:
            raise Fault(400, "'transfer' is a required property")
        given = call.body["transfer"] or {}
        volume = self.storage.get(call, self.storage.volumes, "Volume", given.get("volume_id", ""))
        if volume["status"] != "available":
            raise Fault(400, "Invalid volume: status must be available")
        transfer = self.storage.new(
            volume_id=volume["id"], name=given.get("name"), auth_key=secrets.token_hex(8),
            project_id=call.project_id,
        )  # fmt: skip
        volume["status"] = "awaiting-transfer"
        self.storage.transfers[transfer["id"]] = transfer
        return self.storage.json({"transfer": self._view(call, transfer, "created_at", "auth_key")}, 202)

    def _delete(self, call: Call) -> Response:
        transfer = self._find(call)
        del self.storage.transfers[transfer["id"]]
        self.storage.volumes[transfer["volume_id"]]["status"] = "available"
        return self.storage.empty()

    def _accept(self, call: Call) -> Response:
        ident = call.params["id"]
        transfer = self.storage.transfers.get(ident)
        if transfer is None:
            raise Fault(404, f"Transfer {ident} could not be found.")
        if ((call.body or {}).get("accept") or {}).get("auth_key") != transfer["auth_key"]:
            why = f"Attempt to transfer {ident} with invalid auth key."
            raise Fault(400, f"Invalid auth key: {why}")
        del self.storage.transfers[ident]
        self.storage.volumes[transfer["volume_id"]] |= {
            "status": "available", "project_id": call.project_id, "user_id": call.who.user_id,
        }  # fmt: skip
        return self.storage.json({"transfer": self._view(call, transfer)}, 202)
