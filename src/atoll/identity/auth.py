"""Tokens over HTTP: who one is, and for which project.

POST GET HEAD DELETE /auth/tokens   GET /auth/projects   GET /auth/domains   GET /auth/system
"""

import contextlib
from typing import Any, Final

import msgspec

from atoll.core.errors import AtollError, BadRequest, NotFound, Unauthorized
from atoll.identity.asked import Answer, Asked, refused
from atoll.identity.catalog import Catalog
from atoll.identity.directory import Directory
from atoll.identity.passwords import AUTHENTICATION_REQUIRED, Passwords
from atoll.identity.projects import show_project
from atoll.identity.records import (
    DOMAIN_ID,
    DOMAIN_NAME,
    ROLE_IDS,
    ApplicationCredential,
    Project,
    User,
    stamp,
)
from atoll.identity.tokens import METHODS, NoToken, Token, Tokens
from atoll.store import StoreError

DOMAIN: Final = {"id": DOMAIN_ID, "name": DOMAIN_NAME}


class Domain(msgspec.Struct):
    """A domain as a request names it."""

    id: str | None = None
    name: str | None = None

    def is_ours(self) -> bool:
        """Whether it is the one there is."""
        if self.id is None and self.name is None:
            raise BadRequest("Invalid input for field 'domain': id or name must be present.")
        return self.id == DOMAIN_ID if self.name is None else DOMAIN_NAME.casefold() == self.name.casefold()


class UserGiven(msgspec.Struct):
    """A user as a request names them."""

    id: str | None = None
    name: str | None = None
    domain: Domain | None = None
    password: str = ""


class ProjectGiven(msgspec.Struct):
    """A project as a request names it."""

    id: str | None = None
    name: str | None = None
    domain: Domain | None = None


class Password(msgspec.Struct):
    """The method password."""

    user: UserGiven


class TokenGiven(msgspec.Struct):
    """The method token."""

    id: str


class Credential(msgspec.Struct):
    """The method application_credential."""

    secret: str = ""
    id: str | None = None
    name: str | None = None
    user: UserGiven | None = None


class IdentityGiven(msgspec.Struct):
    """Who one says one is."""

    methods: list[str]
    password: Password | None = None
    token: TokenGiven | None = None
    application_credential: Credential | None = None


class Scope(msgspec.Struct):
    """What a token is to be for."""

    project: ProjectGiven | None = None
    domain: Domain | None = None
    system: dict[str, Any] | None = None
    unscoped: dict[str, Any] | None = None
    trust: dict[str, Any] | None = msgspec.field(name="OS-TRUST:trust", default=None)


class AuthGiven(msgspec.Struct):
    """Who, and for what."""

    identity: IdentityGiven
    scope: Scope | str | None = None


class Body(msgspec.Struct):
    """The body of POST /auth/tokens."""

    auth: AuthGiven


class Proven(msgspec.Struct, kw_only=True):
    """Who it turned out to be, and by what."""

    user: User | None = None
    methods: list[str] = []
    parent: Token | None = None
    credential: ApplicationCredential | None = None

    def is_user(self, user: User) -> None:
        """Take down who it is. Raises Unauthorized where two methods name two users."""
        if self.user is not None and self.user.id != user.id:
            raise Unauthorized(AUTHENTICATION_REQUIRED)
        self.user = user


class Auth:
    """Answers what is about tokens."""

    def __init__(self, directory: Directory, tokens: Tokens, passwords: Passwords, catalog: Catalog) -> None:
        self._directory = directory
        self._tokens = tokens
        self._passwords = passwords
        self._catalog = catalog

    async def create_token(self, asked: Asked) -> Answer:
        """POST /auth/tokens. Raises Unauthorized, BadRequest, Forbidden, TooManyRequests."""
        auth = asked.read(Body).auth
        with contextlib.suppress(StoreError):  # then what is in memory counts
            await self._directory.registry.load()
        proven = await self._prove(asked, auth)
        if proven.user is None:
            raise Unauthorized(AUTHENTICATION_REQUIRED)
        if proven.credential is not None:
            project_id = proven.credential.project_id
        else:
            project_id = self._scope(auth.scope, proven.user)
        token = await self._tokens.issue(
            proven.user, project_id, proven.methods, credential=proven.credential, parent=proven.parent
        )
        return self._answer(asked, token, 201)

    async def _prove(self, asked: Asked, auth: AuthGiven) -> Proven:
        identity, proven = auth.identity, Proven()
        if not identity.methods:
            raise Unauthorized(AUTHENTICATION_REQUIRED)
        for method in dict.fromkeys(identity.methods):
            if method not in METHODS:
                raise Unauthorized("Attempted to authenticate with an unsupported method.")
            if getattr(identity, method) is None:
                raise _expected(method, "identity")
        if identity.application_credential is not None and "application_credential" in identity.methods:
            if auth.scope is not None:
                raise Unauthorized(
                    "Error authenticating with application credential: Application credentials cannot "
                    "request a scope."
                )
            await self._by_credential(asked, identity.application_credential, proven)
        if identity.password is not None and "password" in identity.methods:
            await self._by_password(asked, identity.password.user, proven)
        if identity.token is not None and "token" in identity.methods:
            await self._by_token(identity.token.id, proven)
        return proven

    async def _by_password(self, asked: Asked, given: UserGiven, proven: Proven) -> None:
        user = self._user(given)
        await self._passwords.check(
            given.password,
            user.password if user is not None and user.enabled else None,
            who=given.id or given.name or "",
            address=asked.address,
        )
        if user is not None:
            proven.is_user(user)
        proven.methods.append("password")

    async def _by_token(self, ident: str, proven: Proven) -> None:
        try:
            token = await self._tokens.validate_freshly(ident)
        except NoToken as error:
            raise Unauthorized(AUTHENTICATION_REQUIRED) from error
        if token.credential is not None:
            raise refused("Using a delegated token to create another token is not allowed.")
        proven.is_user(token.user)
        proven.parent = token
        proven.methods = list(dict.fromkeys([*proven.methods, "token", *token.content.methods]))

    async def _by_credential(self, asked: Asked, given: Credential, proven: Proven) -> None:
        if given.id is None and (given.name is None or given.user is None):
            missing = "user" if given.name is not None else "name or ID"
            raise _expected(missing, "application credential")
        registry = self._directory.registry
        found: ApplicationCredential | None = None
        if given.id is not None:
            found = registry.get(ApplicationCredential, given.id)
        elif given.user is not None and (user := self._user(given.user)) is not None:
            mine = self._directory.credentials_of(user.id)
            found = next((one for one in mine if one.name == given.name), None)
        user = registry.get(User, found.user_id) if found is not None else None
        good = found is not None and user is not None and user.enabled and not self._tokens.is_over(found)
        await self._passwords.check(
            given.secret,
            found.secret if good and found is not None else None,
            who=f"application credential {given.id or given.name}",
            address=asked.address,
        )
        if user is not None:
            proven.is_user(user)
        proven.credential = found
        proven.methods.append("application_credential")

    def _user(self, given: UserGiven) -> User | None:
        """The user that is named. Raises BadRequest where none is."""
        if given.id is not None:
            return self._directory.registry.get(User, given.id)
        if given.name is None:
            raise BadRequest("Invalid input for field identity/password/user: id or name must be present.")
        if given.domain is None:
            raise _expected("domain", "user")
        return self._directory.user_named(given.name) if given.domain.is_ours() else None

    def _scope(self, scope: Scope | str | None, user: User) -> str:
        """The project a token is to be for, "" for none. Raises Unauthorized, BadRequest, NotFound."""
        if isinstance(scope, str):
            if scope != "unscoped":
                raise _expected("system, project, domain, OS-TRUST:trust or unscoped", "scope")
            return ""
        if scope is None:
            return self._default_project(user)
        given = [name for name in scope.__struct_fields__ if getattr(scope, name) is not None]
        if len(given) != 1:
            raise _expected("system, project, domain, OS-TRUST:trust or unscoped", "scope")
        if scope.unscoped is not None:
            return ""
        if scope.trust is not None:
            raise NotFound(f"Could not find trust: {scope.trust.get('id')}.")
        if scope.project is None:  # nobody has a role on the domain or the system
            raise Unauthorized(AUTHENTICATION_REQUIRED)
        return self._project(scope.project, user)

    def _project(self, given: ProjectGiven, user: User) -> str:
        if given.id is None and given.name is None:
            raise BadRequest("Invalid input for field scope/project: id or name must be present.")
        if given.name is None:
            project = self._directory.registry.get(Project, given.id or "")
        else:
            if given.domain is None:
                raise _expected("domain", "project")
            project = self._directory.project_named(given.name) if given.domain.is_ours() else None
        if project is None or not project.enabled or not self._tokens.roles_of(user.id, project.id):
            raise Unauthorized(AUTHENTICATION_REQUIRED)
        return project.id

    def _default_project(self, user: User) -> str:
        try:
            return self._project(ProjectGiven(id=user.default_project_id or ""), user)
        except Unauthorized:
            return ""

    async def show_token(self, asked: Asked) -> Answer:
        """GET and HEAD /auth/tokens. Raises NotFound, Forbidden for another's token."""
        action = "check_token" if asked.method == "HEAD" else "validate_token"
        return self._answer(asked, await self._subject(asked, action), 200)

    async def revoke_token(self, asked: Asked) -> Answer:
        """DELETE /auth/tokens. Raises as `show_token`."""
        await self._tokens.revoke(await self._subject(asked, "revoke_token"))
        return Answer(status=204)

    async def _subject(self, asked: Asked, action: str) -> Token:
        """The token that is asked about: one's own, or any for an administrator or a service."""
        may = asked.is_admin or "service" in asked.caller.roles
        error: AtollError = NotFound("No token in the request")
        if asked.subject:
            try:
                subject = await self._tokens.validate_freshly(asked.subject)
            except NoToken as wrong:
                raise NotFound(str(wrong)) from wrong
            if may or subject.user.id == asked.caller.user.id:
                return subject
        if not may:
            error = refused(f"identity:{action}")
        raise error

    def _answer(self, asked: Asked, token: Token, status: int) -> Answer:
        content = token.content
        described: dict[str, Any] = {
            "methods": list(content.methods),
            "user": {
                "domain": DOMAIN,
                "id": token.user.id,
                "name": token.user.name,
                "password_expires_at": None,
            },
            "audit_ids": token.audit_ids,
            "expires_at": stamp(content.expires),
            "issued_at": stamp(content.issued),
        }
        if token.project is not None:
            described["project"] = {"domain": DOMAIN, "id": token.project.id, "name": token.project.name}
            described["is_domain"] = False
            described["roles"] = [{"id": ROLE_IDS[name], "name": name} for name in sorted(token.roles)]
            if asked.one("nocatalog") is None:
                described["catalog"] = self._catalog.entries()
        if (credential := token.credential) is not None:
            described["application_credential"] = {
                "id": credential.id,
                "name": credential.name,
                "restricted": not credential.unrestricted,
            }
            if credential.access_rules:
                described["application_credential"]["access_rules"] = credential.access_rules
        return Answer(status=status, headers=(("X-Subject-Token", token.id),), body={"token": described})

    async def list_projects(self, asked: Asked) -> Answer:
        """GET /auth/projects: those that one could have a token for."""
        mine = self._directory.projects_of(asked.caller.user.id)
        return asked.listed("projects", [show_project(asked, one) for one in mine if one.enabled])

    async def list_domains(self, asked: Asked) -> Answer:
        """GET /auth/domains: none, since roles are on projects only."""
        return asked.listed("domains", [])

    async def show_system(self, asked: Asked) -> Answer:
        """GET /auth/system: none."""
        return Answer(body={"system": [], "links": {"self": asked.link("auth", "system")}})


def _expected(attribute: str, target: str) -> BadRequest:
    return BadRequest(
        f"Expecting to find {attribute} in {target}. The server could not comply with the request since it "
        "is either malformed or otherwise incorrect. The client is assumed to be in error."
    )
