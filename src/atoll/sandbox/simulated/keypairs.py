"""`/os-keypairs` of a simulated Nova."""

import base64
import binascii
import hashlib
import secrets
import textwrap
from typing import TYPE_CHECKING

from atoll.sandbox.simulated.instances import Json, micro
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault

if TYPE_CHECKING:
    from atoll.sandbox.simulated.compute import Compute


class Keypairs:
    """Keypairs by (user id, name). Generated keys have the right shape and open nothing."""

    def __init__(self, compute: "Compute") -> None:
        self.compute = compute

    def add_routes(self, compute: "Compute") -> None:
        """Register the routes."""
        compute.route("GET", "/os-keypairs", self._list)
        compute.route("POST", "/os-keypairs", self._create)
        compute.route("GET", "/os-keypairs/{name}", self._show)
        compute.route("DELETE", "/os-keypairs/{name}", self._delete)

    def _user(self, call: Call) -> str:
        user_id = call.one("user_id") if call.minor >= 10 else None
        if user_id is not None and user_id != call.who.user_id and not call.admin:
            raise Fault(403, "Policy doesn't allow os_compute_api:os-keypairs:index to be performed.")
        return user_id or call.who.user_id

    def _list(self, call: Call) -> Response:
        user_id, limit = self._user(call), self.compute.limit(call) if call.minor >= 35 else 0
        mine = [pair for (user, _), pair in sorted(self.compute.keypairs.items()) if user == user_id]
        marker = call.one("marker") if call.minor >= 35 else None
        if marker:
            names = [pair["name"] for pair in mine]
            if marker not in names:
                raise Fault(400, f"Marker {marker} could not be found.")
            mine = mine[names.index(marker) + 1 :]
        if call.minor >= 35:
            mine = mine[:limit]
        keys = ["name", "public_key", "fingerprint"] + (["type"] if call.minor >= 2 else [])
        body: Json = {"keypairs": [{"keypair": {key: pair[key] for key in keys}} for pair in mine]}
        if call.minor >= 35:
            links = self.compute.page_links(call, "os-keypairs", mine, limit, "name")
            body |= {"keypairs_links": links} if links else {}
        return self.compute.json(body)

    def _create(self, call: Call) -> Response:
        given = call.body["keypair"]
        required = ["name"] + (["public_key"] if call.minor >= 92 else [])
        for name in required:
            if name not in given:
                why = f"'{name}' is a required property"
                raise Fault(400, f"Invalid input for field/attribute keypair. Value: {given}. {why}")
        user_id = given.get("user_id") or call.who.user_id
        if (user_id, given["name"]) in self.compute.keypairs:
            raise Fault(409, f"Key pair '{given['name']}' already exists.")
        public = given.get("public_key")
        generated = public is None
        if public is None:
            blob = b"\x00\x00\x00\x07ssh-rsa\x00\x00\x00\x03\x01\x00\x01" + secrets.token_bytes(261)
            public = f"ssh-rsa {base64.b64encode(blob).decode()} Generated-by-Nova"
        pair = {
            "name": given["name"],
            "public_key": public,
            "fingerprint": _fingerprint(public),
            "user_id": user_id,
            "created_at": micro(int(self.compute.site.clock())),
            "deleted": False,
            "deleted_at": None,
            "id": len(self.compute.keypairs) + 1,
            "updated_at": None,
            "type": given.get("type", "ssh"),
        }
        self.compute.keypairs[user_id, given["name"]] = pair
        keys = ["name", "public_key", "fingerprint"]
        shown = ({"private_key": _private_key()} if generated else {}) | {key: pair[key] for key in keys}
        shown["user_id"] = user_id
        shown |= {"type": pair["type"]} if call.minor >= 2 else {}
        return self.compute.json({"keypair": shown}, 201 if call.minor >= 2 else 200)

    def _find(self, call: Call) -> Json:
        user_id, name = self._user(call), call.params["name"]
        pair = self.compute.keypairs.get((user_id, name))
        if pair is None:
            raise Fault(404, f"Keypair {name} not found for user {user_id}")
        return pair

    def _show(self, call: Call) -> Response:
        pair = self._find(call)
        shown = {key: value for key, value in pair.items() if key != "type" or call.minor >= 2}
        return self.compute.json({"keypair": shown})

    def _delete(self, call: Call) -> Response:
        pair = self._find(call)
        del self.compute.keypairs[pair["user_id"], pair["name"]]
        return self.compute.empty(204 if call.minor >= 2 else 202)


def _fingerprint(public_key: str) -> str:
    try:
        blob = base64.b64decode(public_key.split()[1], validate=True)
    except (IndexError, binascii.Error) as exc:
        raise Fault(400, "Keypair data is invalid: failed to generate fingerprint") from exc
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(textwrap.wrap(digest, 2))


def _private_key() -> str:
    lines = textwrap.wrap(base64.b64encode(secrets.token_bytes(1191)).decode(), 64)
    return "\n".join(["-----BEGIN RSA PRIVATE KEY-----", *lines, "-----END RSA PRIVATE KEY-----", ""])
