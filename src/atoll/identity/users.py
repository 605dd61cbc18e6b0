"""Users.

GET POST /users   GET PATCH DELETE /users/{id}   POST /users/{id}/password   DELETE /users/{id}/tokens
"""

from typing import Any

import msgspec

from atoll.core.errors import BadRequest
from atoll.identity.asked import Answer, Asked
from atoll.identity.directory import Directory
from atoll.identity.passwords import Passwords
from atoll.identity.projects import in_domain
from atoll.identity.records import DOMAIN_ID, User


class Given(msgspec.Struct):
    """What of a user can be set."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    password: str | None = None
    description: str | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    default_project_id: str | msgspec.UnsetType | None = msgspec.UNSET
    domain_id: str | None = DOMAIN_ID
    id: Any = None
    links: Any = None
    options: Any = None
    federated: Any = None
    password_expires_at: Any = None

    def fields(self, extra: dict[str, Any]) -> dict[str, Any]:
        """What is to be kept. Raises BadRequest, NotFound for another domain."""
        in_domain(self.domain_id)
        if self.federated:
            raise BadRequest("Federated users are not known here.")
        kept: dict[str, Any] = {
            "name": self.name,
            "description": "" if self.description is None else self.description,
            "enabled": self.enabled,
            "default_project_id": self.default_project_id,
        }
        kept = {key: value for key, value in kept.items() if value is not msgspec.UNSET}
        if self.password is not None:
            kept["password"] = self.password
        return {**kept, "extra": extra} if extra else kept


class Change(msgspec.Struct):
    """A new password, by who knows the old one."""

    password: str
    original_password: str


def show_user(asked: Asked, user: User) -> dict[str, Any]:
    """A user as Keystone shows it."""
    shown: dict[str, Any] = {
        **user.extra,
        "id": user.id,
        "name": user.name,
        "domain_id": DOMAIN_ID,
        "enabled": user.enabled,
        "password_expires_at": None,
        "options": {},
    }
    if user.description:
        shown["description"] = user.description
    if user.default_project_id is not None:
        shown["default_project_id"] = user.default_project_id
    return asked.shown("users", shown)


class Users:
    """Answers what is about users."""

    FILTERS = ("name", "enabled", "domain_id", "default_project_id")

    def __init__(self, directory: Directory, passwords: Passwords) -> None:
        self._directory = directory
        self._passwords = passwords

    async def list_(self, asked: Asked) -> Answer:
        """GET /users."""
        asked.need_admin("identity:list_users")
        every = self._directory.registry.all(User).values()
        return asked.listed("users", [show_user(asked, one) for one in every], self.FILTERS)

    async def show(self, asked: Asked) -> Answer:
        """GET /users/{id}."""
        ident = asked.segments[1]
        asked.need_admin("identity:get_user", unless=ident == asked.caller.user.id)
        return Answer(body={"user": show_user(asked, self._directory.user(ident))})

    async def create(self, asked: Asked) -> Answer:
        """POST /users."""
        asked.need_admin("identity:create_user")
        given, extra = asked.read_one("user", Given)
        fields = given.fields(extra)
        if "name" not in fields:
            raise BadRequest("'name' is a required property")
        user = await self._directory.create_user(**fields)
        return Answer(status=201, body={"user": show_user(asked, user)})

    async def update(self, asked: Asked) -> Answer:
        """PATCH /users/{id}."""
        asked.need_admin("identity:update_user")
        before = self._directory.user(asked.segments[1])
        given, extra = asked.read_one("user", Given)
        user = await self._directory.update_user(before.id, **given.fields({**before.extra, **extra}))
        return Answer(body={"user": show_user(asked, user)})

    async def delete(self, asked: Asked) -> Answer:
        """DELETE /users/{id}."""
        asked.need_admin("identity:delete_user")
        await self._directory.remove_user(asked.segments[1])
        return Answer(status=204)

    async def change_password(self, asked: Asked) -> Answer:
        """POST /users/{id}/password: by the old one; no token is needed. It ends all tokens."""
        ident = asked.segments[1]
        given, _ = asked.read_one("user", Change)
        user = self._directory.registry.get(User, ident)
        await self._passwords.check(
            given.original_password,
            user.password if user is not None and user.enabled else None,
            who=ident,
            address=asked.address,
        )
        if given.password == given.original_password:
            raise BadRequest("Password validation error: the new password is the old one.")
        await self._directory.update_user(ident, given.password)
        return Answer(status=204)

    async def revoke_tokens(self, asked: Asked) -> Answer:
        """DELETE /users/{id}/tokens: all of a user's, by an administrator or the user."""
        ident = asked.segments[1]
        asked.need_admin("identity:revoke_tokens_for_user", unless=ident == asked.caller.user.id)
        await self._directory.revoke_tokens(ident)
        return Answer(status=204)
