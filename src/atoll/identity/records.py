"""What the built-in identity keeps: users, projects, roles, application credentials, revocations."""

import time
import uuid
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from atoll.core.access_rules import AccessRule
from atoll.store import Document

DOMAIN_ID: Final = "default"
DOMAIN_NAME: Final = "Default"
ROLES: Final = ("admin", "manager", "member", "reader", "service")
IMPLIED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"admin": ("manager",), "manager": ("member",), "member": ("reader",)}
)
"""The roles that a role brings with it, one step down."""

ROLE_IDS: Final[Mapping[str, str]] = MappingProxyType(
    {name: uuid.uuid5(uuid.NAMESPACE_URL, f"atoll/role/{name}").hex for name in ROLES}
)
ROLE_NAMES: Final[Mapping[str, str]] = MappingProxyType({ident: name for name, ident in ROLE_IDS.items()})


def effective(roles: Iterable[str]) -> frozenset[str]:
    """Give the roles with all that they imply."""
    found: set[str] = set()
    left = list(roles)
    while left:
        role = left.pop()
        if role not in found:
            found.add(role)
            left += IMPLIED.get(role, ())
    return frozenset(found)


def stamp(seconds: float) -> str:
    """Give a time as Keystone writes it: `2026-11-21T06:31:10.000000Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"


class Project(Document, frozen=True, kw_only=True):
    """A project of the one domain. Tokens of an earlier `generation` are not valid."""

    kind: ClassVar[str] = "identity_project"

    id: str
    name: str
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()
    generation: int = 0
    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


class User(Document, frozen=True, kw_only=True):
    """A user of the one domain.

    `password` is a hash, "" where the user has none. Tokens of an earlier `generation` are not valid.
    """

    kind: ClassVar[str] = "identity_user"

    id: str
    name: str
    password: str = ""
    enabled: bool = True
    description: str = ""
    default_project_id: str | None = None
    generation: int = 0
    extra: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


class Assignment(Document, frozen=True, kw_only=True):
    """A role that a user has on a project; `role` is a name."""

    kind: ClassVar[str] = "identity_assignment"

    user_id: str
    project_id: str
    role: str

    @property
    def key(self) -> str:
        """All of it."""
        return f"{self.user_id}/{self.project_id}/{self.role}"


class NumberedRule(AccessRule, frozen=True, kw_only=True):
    """An access rule with the id it is shown under."""

    id: str


class ApplicationCredential(Document, frozen=True, kw_only=True):
    """A secret of a user for one project, with at most the roles the user has. `secret` is a hash.

    Without `access_rules` (None) it may be used for anything; `expires_at` is seconds since 1970.
    """

    kind: ClassVar[str] = "identity_application_credential"

    id: str
    name: str
    user_id: str
    project_id: str
    roles: tuple[str, ...]
    secret: str
    description: str | None = None
    expires_at: float | None = None
    unrestricted: bool = False
    access_rules: tuple[NumberedRule, ...] | None = None

    @property
    def key(self) -> str:
        """Its id."""
        return self.id


class KeptRule(Document, frozen=True, kw_only=True):
    """An access rule of a user, which stays when the credentials that have it are gone."""

    kind: ClassVar[str] = "identity_access_rule"

    user_id: str
    rule: NumberedRule

    @property
    def key(self) -> str:
        """The rule's id."""
        return self.rule.id


class Revocation(Document, frozen=True, kw_only=True):
    """A token that was revoked, with all that were made of it, until they expire (seconds since 1970)."""

    kind: ClassVar[str] = "identity_revocation"

    audit_id: str
    until: float

    @property
    def key(self) -> str:
        """The audit id of the token."""
        return self.audit_id


KINDS: Final[tuple[type[Document], ...]] = (User, Project, Assignment, ApplicationCredential, Revocation)
"""What the validity of a token hangs on."""
