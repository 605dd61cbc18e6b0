"""Create, list, show, update and delete of a simulated Keystone's records, and role assignments."""

import secrets
import uuid
from typing import Any

from atoll.sandbox.simulated.identity_store import IdentityStore, Json
from atoll.sandbox.simulated.server import Response
from atoll.sandbox.simulated.service import Call, Fault, Routes, dumps

SINGULAR = {
    "domains": "domain",
    "projects": "project",
    "users": "user",
    "roles": "role",
    "regions": "region",
    "services": "service",
    "endpoints": "endpoint",
    "groups": "group",
}
_DEFAULTS: dict[str, Json] = {
    "projects": {"description": "", "domain_id": "default", "is_domain": False, "tags": [], "options": {}},
    "users": {"domain_id": "default", "password_expires_at": None, "options": {}},
    "roles": {"domain_id": None, "description": None, "options": {}},
    "regions": {"description": "", "parent_region_id": None},
    "domains": {"description": "", "tags": [], "options": {}},
    "groups": {"description": "", "domain_id": "default"},
}


class IdentityRecords:
    """The plain resources of identity v3. Reading needs admin, except regions and what is one's own."""

    def __init__(self, store: IdentityStore) -> None:
        self.store = store

    def add_routes(self, routes: Routes) -> None:
        """Register every route of the records."""
        for kind in SINGULAR:
            self._add_kind(routes, kind)
        routes.add("PUT", "/v3/regions/{id}", self._put_region)
        routes.add("GET", "/v3/role_assignments", self._role_assignments)
        assignment = "/v3/projects/{project}/users/{user}/roles"
        routes.add("GET", assignment, self._list_roles)
        routes.add("PUT", assignment + "/{role}", self._grant)
        routes.add("HEAD", assignment + "/{role}", self._check)
        routes.add("DELETE", assignment + "/{role}", self._revoke)
        routes.add("GET", "/v3/users/{user}/projects", self._user_projects)
        credentials = "/v3/users/{user}/application_credentials"
        routes.add("GET", credentials, self._list_credentials)
        routes.add("POST", credentials, self._create_credential)
        routes.add("GET", credentials + "/{id}", self._show_credential)
        routes.add("DELETE", credentials + "/{id}", self._delete_credential)

    def _add_kind(self, routes: Routes, kind: str) -> None:
        routes.add("GET", f"/v3/{kind}", lambda call: self._list(call, kind))
        routes.add("POST", f"/v3/{kind}", lambda call: self._create(call, kind))
        routes.add("GET", f"/v3/{kind}/{{id}}", lambda call: self._show(call, kind))
        routes.add("PATCH", f"/v3/{kind}/{{id}}", lambda call: self._update(call, kind))
        routes.add("DELETE", f"/v3/{kind}/{{id}}", lambda call: self._delete(call, kind))

    def _show_record(self, call: Call, kind: str, record: Json) -> Json:
        return {**record, "links": {"self": f"{call.root}/v3/{kind}/{record['id']}"}}

    def _list(self, call: Call, kind: str) -> Response:
        if kind != "regions":
            _admin(call, f"list_{kind}")
        wanted = [(key, value) for key, value in call.query if key not in ("limit", "marker", "sort_key")]
        records = [
            self._show_record(call, kind, record)
            for record in self.store.records[kind].values()
            if all(_text(record.get(key)) == value for key, value in wanted)
        ]
        links = {"next": None, "self": f"{call.root}/v3/{kind}", "previous": None}
        return _json(call, {kind: records, "links": links})

    def _find(self, call: Call, kind: str) -> Json:
        record = self.store.records[kind].get(call.params["id"])
        if record is None:
            raise Fault(404, f"Could not find {SINGULAR[kind]}: {call.params['id']}.")
        return record

    def _show(self, call: Call, kind: str) -> Response:
        own = call.params["id"] in (call.who.user_id, call.who.project_id)
        if kind != "regions" and not own:
            _admin(call, f"get_{SINGULAR[kind]}")
        return _json(call, {SINGULAR[kind]: self._show_record(call, kind, self._find(call, kind))})

    def _create(self, call: Call, kind: str) -> Response:
        _admin(call, f"create_{SINGULAR[kind]}")
        given = dict((call.body or {}).get(SINGULAR[kind]) or {})
        if kind not in ("regions", "endpoints") and kind != "services" and not given.get("name"):
            raise Fault(400, "'name' is a required property")
        record_id = given.pop("id", None) or uuid.uuid4().hex
        if record_id in self.store.records[kind]:
            raise Fault(
                409, f"Conflict occurred attempting to store {SINGULAR[kind]} - Duplicate ID, {record_id}.."
            )
        self._check_references(kind, given)
        password = given.pop("password", None)
        record = self.store.add(kind, record_id, **{**_DEFAULTS.get(kind, {}), **given})
        if kind == "projects":
            record.setdefault("parent_id", record["domain_id"])
        if password is not None:
            self.store.passwords[record_id] = password
        return _json(call, {SINGULAR[kind]: self._show_record(call, kind, record)}, 201)

    def _check_references(self, kind: str, given: Json) -> None:
        records = self.store.records
        if kind in ("projects", "users"):
            domain_id = given.get("domain_id", "default")
            if self.store.named(kind, given["name"], domain_id) is not None:
                rule = f"it is not permitted to have two {kind} with the same name in the same domain"
                what = f"{SINGULAR[kind]} - {rule}"
                raise Fault(409, f"Conflict occurred attempting to store {what}: {given['name']}.")
        if kind == "endpoints":
            if given.get("service_id") not in records["services"]:
                raise Fault(404, f"Could not find service: {given.get('service_id')}.")
            given.setdefault("region_id", given.get("region"))
            given["region"] = given["region_id"]
            if given["region_id"] is not None and given["region_id"] not in records["regions"]:
                self.store.add("regions", given["region_id"], description="", parent_region_id=None)

    def _put_region(self, call: Call) -> Response:
        if call.params["id"] in self.store.records["regions"]:
            _admin(call, "create_region")
            raise Fault(
                409, f"Conflict occurred attempting to store region - Duplicate ID, {call.params['id']}.."
            )
        call.body = {"region": {**((call.body or {}).get("region") or {}), "id": call.params["id"]}}
        return self._create(call, "regions")

    def _update(self, call: Call, kind: str) -> Response:
        _admin(call, f"update_{SINGULAR[kind]}")
        record = self._find(call, kind)
        given = dict((call.body or {}).get(SINGULAR[kind]) or {})
        if "password" in given:
            self.store.passwords[record["id"]] = given.pop("password")
        record.update(given)
        self.store.changed()
        return _json(call, {SINGULAR[kind]: self._show_record(call, kind, record)})

    def _delete(self, call: Call, kind: str) -> Response:
        _admin(call, f"delete_{SINGULAR[kind]}")
        record = self._find(call, kind)
        del self.store.records[kind][record["id"]]
        if kind == "regions":
            self.store.unregister(record["id"])
        self.store.changed()
        return _empty(call)

    # role assignments
    def _role(self, role_id: str) -> str:
        role = self.store.records["roles"].get(role_id)
        if role is None:
            raise Fault(404, f"Could not find role: {role_id}.")
        return str(role["name"])

    def _assignment(self, call: Call) -> tuple[str, str, str]:
        _admin(call, "create_grant")
        return call.params["user"], call.params["project"], self._role(call.params["role"])

    def _grant(self, call: Call) -> Response:
        self.store.assignments.add(self._assignment(call))
        return _empty(call)

    def _check(self, call: Call) -> Response:
        if self._assignment(call) not in self.store.assignments:
            raise Fault(404, f"Could not find role assignment with role: {call.params['role']}.")
        return _empty(call)

    def _revoke(self, call: Call) -> Response:
        self.store.assignments.discard(self._assignment(call))
        return _empty(call)

    def _list_roles(self, call: Call) -> Response:
        _admin(call, "list_grants")
        mine = {
            r for u, p, r in self.store.assignments if (u, p) == (call.params["user"], call.params["project"])
        }
        roles = [
            self._show_record(call, "roles", r)
            for r in self.store.records["roles"].values()
            if r["name"] in mine
        ]
        return _json(call, {"roles": roles, "links": {"next": None, "self": call.root, "previous": None}})

    def _role_assignments(self, call: Call) -> Response:
        _admin(call, "list_role_assignments")
        user, project = call.one("user.id"), call.one("scope.project.id")
        found = [
            {
                "scope": {"project": {"id": project_id}},
                "user": {"id": user_id},
                "role": {"id": self.store.id_of("role", role)},
                "links": {"assignment": f"{call.root}/v3/projects/{project_id}/users/{user_id}/roles/{role}"},
            }
            for user_id, project_id, role in sorted(self.store.assignments)
            if user in (None, user_id) and project in (None, project_id)
        ]
        links = {"next": None, "self": f"{call.root}/v3/role_assignments", "previous": None}
        return _json(call, {"role_assignments": found, "links": links})

    def _user_projects(self, call: Call) -> Response:
        if call.params["user"] != call.who.user_id:
            _admin(call, "list_user_projects")
        mine = {project for user, project, _ in self.store.assignments if user == call.params["user"]}
        projects = [
            self._show_record(call, "projects", record)
            for record in self.store.records["projects"].values()
            if record["id"] in mine
        ]
        links = {
            "next": None,
            "self": f"{call.root}/v3/users/{call.params['user']}/projects",
            "previous": None,
        }
        return _json(call, {"projects": projects, "links": links})

    # application credentials
    def _create_credential(self, call: Call) -> Response:
        given = (call.body or {}).get("application_credential") or {}
        if call.params["user"] != call.who.user_id or call.who.project_id is None:
            raise Fault(
                403, "You are not authorized to perform the requested action: create_application_credential."
            )
        names = [role["name"] for role in given.get("roles", [])] or sorted(call.who.roles)
        record = {
            "id": uuid.uuid4().hex,
            "name": given.get("name"),
            "description": given.get("description"),
            "project_id": call.who.project_id,
            "user_id": call.who.user_id,
            "roles": [{"id": self.store.id_of("role", name), "name": name} for name in names],
            "expires_at": given.get("expires_at"),
            "unrestricted": given.get("unrestricted", False),
            "secret": given.get("secret") or secrets.token_urlsafe(64),
        }
        if given.get("access_rules") is not None:
            record["access_rules"] = [{"id": uuid.uuid4().hex, **rule} for rule in given["access_rules"]]
        self.store.application_credentials[record["id"]] = record
        return _json(call, {"application_credential": record}, 201)

    def _credential(self, call: Call) -> Json:
        record = self.store.application_credentials.get(call.params["id"])
        if record is None or record["user_id"] != call.params["user"]:
            raise Fault(404, f"Could not find Application Credential: {call.params['id']}.")
        return record

    def _list_credentials(self, call: Call) -> Response:
        found = [
            _hidden(record)
            for record in self.store.application_credentials.values()
            if record["user_id"] == call.params["user"]
        ]
        return _json(call, {"application_credentials": found, "links": {"next": None, "previous": None}})

    def _show_credential(self, call: Call) -> Response:
        return _json(call, {"application_credential": _hidden(self._credential(call))})

    def _delete_credential(self, call: Call) -> Response:
        del self.store.application_credentials[self._credential(call)["id"]]
        return _empty(call)


def _hidden(record: Json) -> Json:
    return {key: value for key, value in record.items() if key != "secret"}


def _admin(call: Call, action: str) -> None:
    if not call.admin:
        raise Fault(403, f"You are not authorized to perform the requested action: identity:{action}.")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(call: Call, value: Any, status: int = 200) -> Response:
    headers = [
        ("Content-Type", "application/json"),
        ("Vary", "X-Auth-Token"),
        ("x-openstack-request-id", call.request_id),
    ]
    return Response(status, headers, dumps(value) + b"\n")


def _empty(call: Call) -> Response:
    return Response(204, [("Vary", "X-Auth-Token"), ("x-openstack-request-id", call.request_id)])
