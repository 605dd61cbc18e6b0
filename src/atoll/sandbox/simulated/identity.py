"""A simulated Keystone (identity v3): tokens, catalogue, projects, users, roles, regions, endpoints.

Served below `/identity` as well as at the root of its own port. It also answers in-process for the
simulated services, which check tokens as keystonemiddleware does.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from atoll.identity.records import stamp
from atoll.identity.service import NOT_FOUND, describe_version
from atoll.sandbox.simulated.faults import Faults
from atoll.sandbox.simulated.identity_records import IdentityRecords
from atoll.sandbox.simulated.identity_store import INTERFACES, IdentityStore, Json
from atoll.sandbox.simulated.listener import Listener
from atoll.sandbox.simulated.server import Request, Response
from atoll.sandbox.simulated.service import Call, Fault, Handle, Routes, dumps, keystone_challenge
from atoll.sandbox.simulated.tokens import Token
from atoll.sandbox.simulated.trusts import SCOPE as TRUST
from atoll.sandbox.simulated.trusts import Trusts

PASSWORD = "simulated"  # noqa: S105 - what the sandbox's seeded users get when the caller gives none
_PUBLIC = {"/v3/auth/tokens": ("POST",), "/v3/auth/catalog": ()}
_TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}
_REQUIRES = "The request you have made requires authentication."


class Keystone:
    """One identity service, shared by the sites that are given it.

    Seeded: domain `default`, projects admin, demo, alt_demo, service, users admin (admin), demo and alt_demo
    (member, reader), all with `password`. `interfaces` names the catalogue's interfaces: with a thousand
    sites `("public",)` keeps tokens small. `clock` gives seconds since the epoch.
    """

    fault_name = "identity"

    def __init__(
        self,
        name: str = "keystone",
        *,
        password: str = PASSWORD,
        interfaces: Iterable[str] = INTERFACES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.store = IdentityStore(name, clock, interfaces)
        self.requests = 0
        self.listener = Listener(self.serve)
        self._seed(password)
        # The Keystones that believe this one, by the id they have here.
        self.service_providers: dict[str, Json] = {}
        self.assertions: dict[str, Token] = {}
        self.public: dict[str, tuple[str, ...]] = dict(_PUBLIC)
        self._routes = Routes()
        self._add_routes()
        IdentityRecords(self.store).add_routes(self._routes)
        self.trusts = Trusts(self.store)
        self.trusts.add_routes(self._routes)

    def _seed(self, password: str) -> None:
        store = self.store
        admin = store.add_project("admin", "Bootstrap project for initializing the cloud.")
        store.add_project("service", "Service project")
        store.add_user("admin", password, admin, "admin", "member", "reader")
        for name in ("demo", "alt_demo"):
            store.add_user(name, password, store.add_project(name), "member", "reader")
        store.assignments.add((store.id_of("user", "admin"), store.id_of("project", "demo"), "admin"))

    def _add_routes(self) -> None:
        add = self._routes.add
        add("POST", "/v3/auth/tokens", self._create_token)
        add("GET", "/v3/auth/tokens", self._show_token)
        add("HEAD", "/v3/auth/tokens", self._show_token)
        add("DELETE", "/v3/auth/tokens", self._revoke_token)
        add("GET", "/v3/auth/catalog", self._show_catalog)
        add("GET", "/v3/auth/projects", self._list_own_projects)
        add("GET", "/v3/auth/domains", lambda call: json_answer(call, {"domains": [], "links": _links(call)}))

    def route(self, method: str, template: str, handle: Handle, *, public: bool = False) -> None:
        """Add a route; `public` ones need no token."""
        self._routes.add(method, template, handle)
        if public:
            self.public[template] = (*self.public.get(template, ()), method)

    @property
    def faults(self) -> Faults:
        """The faults set here."""
        return self.listener.faults

    @property
    def url(self) -> str:
        """Where it serves identity: `http://127.0.0.1:<port>/identity`."""
        return f"{self.listener.server.url}/identity"

    @property
    def auth_url(self) -> str:
        """What clients are given as auth_url."""
        return f"{self.url}/v3"

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1 at `port` (0: any free one)."""
        await self.listener.start(port)

    async def close(self) -> None:
        """Stop listening."""
        await self.listener.close()

    def validate(self, token_id: str | None) -> Token | None:
        """The token if it is valid now, else None."""
        return self.store.validate(token_id)

    def token(self, user: str = "demo", project: str | None = None) -> str:
        """A token id for a seeded user on a project (by default the one of the user's name), with no HTTP."""
        user_id, project_id = self.store.id_of("user", user), self.store.id_of("project", project or user)
        roles = self.store.roles_of(user_id, project_id)
        return self.store.issue(user_id, project_id, ["password"], roles).id

    def project_id(self, name: str) -> str:
        """The id of a seeded project."""
        return self.store.id_of("project", name)

    async def serve(self, request: Request) -> Response:
        """Answer one request, with the faults that are set."""
        return await self.listener.serve(request, self)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        self.requests += 1
        prefix = "/identity" if request.path == "/identity" or request.path.startswith("/identity/") else ""
        call = Call(request, request.url_root + prefix)
        path = request.path[len(prefix) :]
        if path in ("", "/"):
            return self._versions(call)
        if path.rstrip("/") == "/v3":
            return json_answer(call, {"version": describe_version(call.root)})
        found = self._routes.find(path)
        if found is None:
            html = [("Content-Type", "text/html; charset=utf-8")]
            return _finish(call, Response(404, html, NOT_FOUND))
        methods, values = found
        if request.method not in methods:
            allow = [
                ("Allow", ", ".join(sorted({*methods, "OPTIONS"}))),
                ("Content-Type", "application/json"),
            ]
            body = b'{"message": "The method is not allowed for the requested URL."}\n'
            return _finish(call, Response(405, allow, body))
        handle, names = methods[request.method]
        call.params = dict(zip(names, values, strict=True))
        try:
            if request.method not in self.public.get(path, ()):
                call.token = self._authorize(request)
            call.body = await _body(call)
            answer = handle(call)
            return answer if isinstance(answer, Response) else await answer
        except Fault as fault:
            return self.fault(call, fault.status, fault.message, fault.headers)

    def _authorize(self, request: Request) -> Token:
        """The caller's token. Raises Fault 401."""
        token = self.validate(request.header("x-auth-token"))
        if token is None:
            raise Fault(401, _REQUIRES)
        return token

    def fault(
        self, call: Call, status: int, message: str, headers: list[tuple[str, str]] | None = None
    ) -> Response:
        """A fault as Keystone writes it."""
        error = {"code": status, "message": message, "title": _TITLES.get(status, "Error")}
        body = json.dumps({"error": error}, separators=(",", ":")).encode() + b"\n"
        headers = [("Content-Type", "application/json"), *(headers or [])]
        if status == 401:
            headers.append(keystone_challenge(self.auth_url))
        return _finish(call, Response(status, headers, body))

    def unauthorized(self, call: Call) -> Response:
        """401 for a missing or invalid token."""
        return self.fault(call, 401, _REQUIRES)

    def _versions(self, call: Call) -> Response:
        response = json_answer(call, {"versions": {"values": [describe_version(call.root)]}}, 300)
        response.headers.append(("Location", f"{call.root}/v3/"))
        return response

    def _create_token(self, call: Call) -> Response:
        auth = _required(call.body, "auth")
        identity = _required(auth, "identity")
        methods = _required(identity, "methods")
        user_id, roles, project_id = self._authenticate(identity, methods)
        scope = auth.get("scope")
        if isinstance(scope, dict) and TRUST in scope:
            token = self.trusts.token(user_id, list(methods), scope)
        else:
            if roles is None:
                project_id = self._scope(scope, identity)
                roles = self.store.roles_of(user_id, project_id) if project_id else frozenset()
                if project_id and not roles:
                    raise Fault(401, _REQUIRES)
            token = self.store.issue(user_id, project_id, list(methods), roles)
            if "application_credential" in methods:
                token.application_credential_id = str(identity["application_credential"].get("id", "by name"))
        body = {
            "token": self.describe(
                token, catalog="nocatalog" not in dict(parse_qsl(call.request.query, True))
            )
        }
        response = json_answer(call, body, 201)
        response.headers.append(("X-Subject-Token", token.id))
        return response

    def _authenticate(
        self, identity: Json, methods: list[str]
    ) -> tuple[str, frozenset[str] | None, str | None]:
        """The user, and for an application credential its roles and project too. Raises Fault 401."""
        if "application_credential" in methods:
            return self._application_credential(identity.get("application_credential") or {})
        if "token" in methods:
            token = self.validate((identity.get("token") or {}).get("id"))
            if token is None:
                raise Fault(401, _REQUIRES)
            return token.user_id, None, None
        given = (identity.get("password") or {}).get("user") or {}
        user = self._user(given)
        if (
            "password" not in methods
            or user is None
            or self.store.passwords.get(user["id"]) != given.get("password")
        ):
            raise Fault(401, _REQUIRES)
        if not user["enabled"]:
            raise Fault(401, _REQUIRES)
        return user["id"], None, None

    def _application_credential(self, given: Json) -> tuple[str, frozenset[str] | None, str | None]:
        user = self._user(given.get("user") or {})
        for record in self.store.application_credentials.values():
            named = user is not None and (record["name"], record["user_id"]) == (
                given.get("name"),
                user["id"],
            )
            if (record["id"] == given.get("id") or named) and record["secret"] == given.get("secret"):
                return (
                    record["user_id"],
                    frozenset(role["name"] for role in record["roles"]),
                    record["project_id"],
                )
        raise Fault(401, _REQUIRES)

    def _user(self, given: Json) -> Json | None:
        if "id" in given:
            return self.store.records["users"].get(given["id"])
        return self.store.named("users", given.get("name", ""), self._domain(given.get("domain")))

    def _domain(self, given: Json | None) -> str:
        if given and "name" in given:
            return str((self.store.named("domains", given["name"]) or {"id": ""})["id"])
        return str((given or {}).get("id", "default"))

    def _scope(self, scope: Any, identity: Json) -> str | None:
        if scope == "unscoped" or not isinstance(scope, dict) or "project" not in scope:
            token = self.validate((identity.get("token") or {}).get("id"))
            return token.project_id if scope is None and token is not None else None
        given = scope["project"]
        if "id" in given:
            project = self.store.records["projects"].get(given["id"])
        else:
            project = self.store.named("projects", given.get("name", ""), self._domain(given.get("domain")))
        if project is None or not project["enabled"]:
            raise Fault(401, _REQUIRES)
        return str(project["id"])

    def describe(self, token: Token, *, catalog: bool = True) -> Json:
        """A token as answers show it."""
        domain = {"id": "default", "name": "Default"}
        user = {"domain": domain, "id": token.user_id, "name": token.user_name, "password_expires_at": None}
        body: Json = {
            "methods": token.methods,
            "user": user,
            "audit_ids": [token.audit_id],
            "expires_at": stamp(token.expires_at),
            "issued_at": stamp(token.issued_at),
        }
        if self.service_providers:
            body["service_providers"] = list(self.service_providers.values())
        if token.project_id is not None:
            body["project"] = {"domain": domain, "id": token.project_id, "name": token.project_name}
            body["is_domain"] = False
            body["roles"] = [
                {"id": self.store.id_of("role", name), "name": name} for name in sorted(token.roles)
            ]
            if catalog:
                body["catalog"] = self.store.catalog(token.project_id)
        return body

    def _subject(self, call: Call, action: str) -> Token:
        """The token the call is about: one's own, or any for an admin or service."""
        subject_id = call.request.header("x-subject-token")
        # Of a trust the subject is who is trusted, and who asks is who trusts.
        itself = subject_id == call.who.id and not call.who.trust_id
        allowed = call.admin or "service" in call.who.roles or itself
        if subject_id is None or (not allowed and self.validate(subject_id) is not None):
            raise Fault(403, f"You are not authorized to perform the requested action: identity:{action}.")
        subject = self.validate(subject_id)
        if subject is None:
            known = subject_id.startswith("gAAAAA")
            raise Fault(404, "Failed to validate token" if known else "Could not recognize Fernet token")
        return subject

    def _show_token(self, call: Call) -> Response:
        subject = self._subject(call, "validate_token")
        response = json_answer(call, {"token": self.describe(subject, catalog=call.one("nocatalog") is None)})
        response.headers.append(("X-Subject-Token", subject.id))
        return response

    def _revoke_token(self, call: Call) -> Response:
        self._subject(call, "revoke_token").revoked = True
        return _finish(call, Response(204))

    def _show_catalog(self, call: Call) -> Response:
        if call.who.project_id is None:
            raise Fault(403, "A project-scoped token is required to produce a service catalog.")
        return json_answer(call, {"catalog": self.store.catalog(call.who.project_id), "links": _links(call)})

    def _list_own_projects(self, call: Call) -> Response:
        mine = {project for user, project, _ in self.store.assignments if user == call.who.user_id}
        projects = [
            {**record, "links": {"self": f"{call.root}/v3/projects/{record['id']}"}}
            for record in self.store.records["projects"].values()
            if record["id"] in mine
        ]
        return json_answer(call, {"projects": projects, "links": _links(call)})


def _required(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise Fault(400, f"'{name}' is a required property")
    return value[name]


async def _body(call: Call) -> Any:
    raw = await call.request.read() if call.request.method in ("POST", "PUT", "PATCH", "DELETE") else b""
    call.raw = raw
    if not raw or "xml" in (call.request.header("content-type") or ""):
        return None
    try:
        return json.loads(raw)
    except ValueError as exc:
        raise Fault(400, "Malformed JSON in request body.") from exc


def _links(call: Call) -> Json:
    path = call.request.path.removeprefix("/identity")
    return {"next": None, "self": f"{call.root}{path}", "previous": None}


def json_answer(call: Call, value: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return _finish(call, Response(status, [("Content-Type", "application/json")], dumps(value) + b"\n"))


def _finish(call: Call, response: Response) -> Response:
    response.headers += [("Vary", "X-Auth-Token"), ("x-openstack-request-id", call.request_id)]
    return response
