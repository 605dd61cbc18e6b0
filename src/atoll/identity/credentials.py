"""Application credentials and their access rules.

GET POST /users/{id}/application_credentials   GET DELETE /users/{id}/application_credentials/{id}
GET /users/{id}/access_rules                   GET DELETE /users/{id}/access_rules/{id}
"""

import math
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from atoll.core.errors import BadRequest, NotFound
from atoll.identity.asked import Answer, Asked, refused
from atoll.identity.directory import Directory, new_id, role_named
from atoll.identity.records import (
    ROLE_IDS,
    ApplicationCredential,
    NumberedRule,
    effective,
    stamp,
)

MANY = 100  # access rules and roles of one credential


class RoleGiven(msgspec.Struct):
    """A role, by one of the two."""

    id: str | None = None
    name: str | None = None


class RuleGiven(msgspec.Struct):
    """An access rule; by id alone one that was used before."""

    id: Annotated[str, Meta(max_length=64, min_length=1)] | None = None
    service: Annotated[str, Meta(max_length=64, min_length=1)] | None = None
    path: Annotated[str, Meta(max_length=225, pattern="^/")] | None = None
    method: Literal["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"] | None = None


class Given(msgspec.Struct):
    """What of an application credential can be set."""

    name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\S")]
    id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+\Z")] | None = None
    secret: str | None = None
    description: Annotated[str, Meta(max_length=65535)] | None = None
    expires_at: str | None = None
    roles: Annotated[tuple[RoleGiven, ...], Meta(max_length=MANY)] = ()
    unrestricted: bool | None = None
    access_rules: Annotated[tuple[RuleGiven, ...], Meta(max_length=MANY)] | None = None
    project_id: Any = None


class Credentials:
    """Answers what is about application credentials. `clock` gives seconds since 1970."""

    def __init__(self, directory: Directory, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock

    async def list_(self, asked: Asked) -> Answer:
        """GET /users/{id}/application_credentials."""
        user_id = self._own(asked, "identity:list_application_credentials")
        mine = self._directory.credentials_of(user_id)
        return asked.listed("application_credentials", [_shown(asked, one) for one in mine], ("name",))

    async def show(self, asked: Asked) -> Answer:
        """GET /users/{id}/application_credentials/{id}."""
        self._own(asked, "identity:get_application_credential")
        return Answer(body={"application_credential": _shown(asked, self._found(asked))})

    async def delete(self, asked: Asked) -> Answer:
        """DELETE /users/{id}/application_credentials/{id}."""
        self._own(asked, "identity:delete_application_credential")
        _refuse_restricted(asked)
        await self._directory.remove_credential(self._found(asked).id)
        return Answer(status=204)

    async def create(self, asked: Asked) -> Answer:
        """POST /users/{id}/application_credentials: by the user alone, for the token's project."""
        caller = asked.caller
        _refuse_restricted(asked)
        if asked.segments[1] != caller.user.id:
            raise refused("Cannot create an application credential for another user.")
        if caller.project is None:
            raise refused("identity:create_application_credential")
        given, _ = asked.read_one("application_credential", Given)
        secret = given.secret or secrets.token_urlsafe(64)
        roles = self._roles(asked, given)
        credential = ApplicationCredential(
            id=given.id or new_id(),
            name=given.name,
            user_id=caller.user.id,
            project_id=caller.project.id,
            roles=roles,
            secret=await self._directory.hashed(secret),
            description=given.description,
            expires_at=self._expiry(given.expires_at),
            unrestricted=bool(given.unrestricted),
            access_rules=self._rules(caller.user.id, given),
        )
        await self._directory.create_credential(credential)
        shown = {**_shown(asked, credential), "secret": secret}
        return Answer(status=201, body={"application_credential": shown})

    @staticmethod
    def _roles(asked: Asked, given: Given) -> tuple[str, ...]:
        """The roles asked for with those implied, of those the caller has; all of them where none are."""
        wanted = set()
        for one in given.roles:
            if one.name is not None and one.name not in ROLE_IDS:
                raise NotFound(f"Could not find role: {one.name}.")
            wanted.add(one.name if one.name is not None else role_named(one.id or ""))
        names = effective(wanted) if wanted else asked.caller.roles
        if not names <= asked.caller.roles:
            raise BadRequest(
                "Invalid application credential: Cannot create an application credential with unassigned role"
            )
        return tuple(sorted(names))

    def _expiry(self, given: str | None) -> float | None:
        if not given:
            return None
        try:
            moment = datetime.fromisoformat(given)
        except ValueError as error:
            raise BadRequest("Timestamp not in expected format.") from error
        try:
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError) as error:
            raise BadRequest("Timestamp not in expected format.") from error
        if not math.isfinite(seconds) or seconds <= self._clock():
            raise BadRequest("The 'expires_at' must not be before now.")
        return seconds

    def _rules(self, user_id: str, given: Given) -> tuple[NumberedRule, ...] | None:
        """The access rules; one that was used before keeps its id."""
        if not given.access_rules:
            return None
        kept = self._directory.rules_of(user_id)
        rules = []
        for one in given.access_rules:
            if one.service is None or one.path is None or one.method is None:
                same = next((rule for rule in kept if rule.id == one.id), None)
                if same is None:
                    raise BadRequest(
                        "Invalid application credential: an access rule has service, path, method."
                    )
            else:
                wanted = (one.service, one.path, one.method)
                same = next((r for r in kept if (r.service, r.path, r.method) == wanted), None)
                same = same or NumberedRule(
                    id=new_id(), service=one.service, path=one.path, method=one.method
                )
            rules.append(same)
        return tuple(rules)

    async def list_rules(self, asked: Asked) -> Answer:
        """GET /users/{id}/access_rules."""
        user_id = self._own(asked, "identity:list_access_rules")
        rules = [_rule_shown(asked, user_id, one) for one in self._directory.rules_of(user_id)]
        return asked.listed("access_rules", rules, ("service", "path", "method"))

    async def show_rule(self, asked: Asked) -> Answer:
        """GET /users/{id}/access_rules/{id}."""
        user_id = self._own(asked, "identity:get_access_rule")
        for one in self._directory.rules_of(user_id):
            if one.id == asked.segments[3]:
                return Answer(body={"access_rule": _rule_shown(asked, user_id, one)})
        raise NotFound(f"Could not find Access Rule: {asked.segments[3]}.")

    async def delete_rule(self, asked: Asked) -> Answer:
        """DELETE /users/{id}/access_rules/{id}."""
        user_id = self._own(asked, "identity:delete_access_rule")
        _refuse_restricted(asked)
        await self._directory.remove_rule(user_id, asked.segments[3])
        return Answer(status=204)

    @staticmethod
    def _own(asked: Asked, action: str) -> str:
        """The user in the path, which is the caller's own unless an administrator asks."""
        asked.need_admin(action, unless=asked.segments[1] == asked.caller.user.id)
        return asked.segments[1]

    def _found(self, asked: Asked) -> ApplicationCredential:
        _, user_id, _, ident = asked.segments
        found = self._directory.registry.get(ApplicationCredential, ident)
        if found is None or found.user_id != user_id:
            raise NotFound(f"Could not find Application Credential: {ident}.")
        return found


def _refuse_restricted(asked: Asked) -> None:
    """One credential must not make others, or it would outlive itself. Raises Forbidden."""
    credential = asked.caller.credential
    if credential is not None and not credential.unrestricted:
        raise refused(
            "Using method 'application_credential' is not allowed for managing additional application "
            "credentials."
        )


def _shown(asked: Asked, one: ApplicationCredential) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "user_id": one.user_id,
        "project_id": one.project_id,
        "system": None,
        "roles": [{"id": ROLE_IDS[name], "name": name, "domain_id": None} for name in one.roles],
        "expires_at": stamp(one.expires_at).rstrip("Z") if one.expires_at is not None else None,
        "unrestricted": one.unrestricted,
        "links": {"self": asked.link("users", one.user_id, "application_credentials", one.id)},
    }
    if one.access_rules is not None:
        shown["access_rules"] = [msgspec.to_builtins(rule) for rule in one.access_rules]
    return shown


def _rule_shown(asked: Asked, user_id: str, rule: NumberedRule) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(rule),
        "links": {"self": asked.link("users", user_id, "access_rules", rule.id)},
    }
