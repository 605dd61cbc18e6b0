"""Trusts of a simulated Keystone (OS-TRUST): a user lets another one have tokens of the own."""

import uuid
from typing import Any

from atoll.sandbox.simulated.identity_store import IdentityStore, Json
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault, Routes, dumps
from atoll.sandbox.simulated.tokens import Token

MAY_NOT = "You are not authorized to perform the requested action: {}."
SCOPE = "OS-TRUST:trust"


class Trusts:
    """All trusts, by id. A token that came by a trust, or by an application credential, makes none.

    Of the same two, in a project, none ends in the second in which another does, or would have if it were not
    deleted: Keystone keeps a row of it, with times in whole seconds on MySQL.
    """

    def __init__(self, store: IdentityStore) -> None:
        self._store = store
        self.records: dict[str, Json] = {}
        self._rows: set[tuple[object, ...]] = set()

    def add_routes(self, routes: Routes) -> None:
        """Register the routes."""
        routes.add("POST", "/v3/OS-TRUST/trusts", self._create)
        routes.add("GET", "/v3/OS-TRUST/trusts/{id}", self._show)
        routes.add("DELETE", "/v3/OS-TRUST/trusts/{id}", self._delete)

    def token(self, user_id: str, methods: list[str], scope: Json) -> Token:
        """A token of who made the trust, for who is trusted. Raises Fault 401, 403."""
        trust = self.records.get(str(scope[SCOPE].get("id")))
        if trust is None:
            raise Fault(404, f"Could not find trust: {scope[SCOPE].get('id')}.")
        if trust["trustee_user_id"] != user_id:
            raise Fault(403, MAY_NOT.format("The trustee of the trust is somebody else"))
        held = self._store.roles_of(trust["trustor_user_id"], trust["project_id"])
        roles = frozenset(one["name"] for one in trust["roles"])
        if not roles <= held:
            raise Fault(403, MAY_NOT.format("Trustor has not the roles of the trust any more"))
        token = self._store.issue(trust["trustor_user_id"], trust["project_id"], methods, roles)
        token.trust_id = trust["id"]
        return token

    def _create(self, call: Call) -> Response:
        given: Any = (call.body or {}).get("trust") or {}
        who, names = call.who, [one.get("name") for one in given.get("roles", [])]
        own = given.get("trustor_user_id") == who.user_id and given.get("project_id") == who.project_id
        if who.trust_id or who.application_credential_id or not own or not set(names) <= who.roles:
            raise Fault(403, MAY_NOT.format("identity:create_trust"))
        if given.get("trustee_user_id") not in self._store.records["users"]:
            raise Fault(404, f"Could not find user: {given.get('trustee_user_id')}.")
        roles = [{"id": self._store.id_of("role", name), "name": name} for name in names]
        trust = {**given, "id": uuid.uuid4().hex, "roles": roles, "deleted_at": None}
        second = str(given.get("expires_at"))[:19]
        row = (who.user_id, given["trustee_user_id"], who.project_id, given.get("impersonation"), second)
        if given.get("expires_at") is not None and row in self._rows:
            what = f"Duplicate entry found with ID {trust['id']}."
            raise Fault(409, f"Conflict occurred attempting to store trust - {what}")
        self._rows.add(row)
        self.records[trust["id"]] = trust
        return _json(trust, 201)

    def _found(self, call: Call) -> Json:
        trust = self.records.get(call.params["id"])
        parties = (trust["trustor_user_id"], trust["trustee_user_id"]) if trust is not None else ()
        if trust is None or not (call.admin or call.who.user_id in parties):
            raise Fault(404, f"Could not find trust: {call.params['id']}.")
        return trust

    def _show(self, call: Call) -> Response:
        return _json(self._found(call), 200)

    def _delete(self, call: Call) -> Response:
        trust = self._found(call)
        if call.who.user_id != trust["trustor_user_id"]:
            raise Fault(403, MAY_NOT.format("identity:delete_trust"))
        del self.records[trust["id"]]
        for token in self._store.tokens.values():
            if token.trust_id == trust["id"]:
                token.revoked = True
        return Response(204)


def _json(trust: Json, status: int) -> Response:
    return Response(status, [("Content-Type", "application/json")], dumps({"trust": trust}))
