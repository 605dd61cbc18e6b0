"""Tokens: issued and validated with what is in memory. What holds of them is read from the records each time.

So a role that was taken away is gone at the next look, and nothing but a revocation has to be kept.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from atoll.core.errors import Unauthorized
from atoll.identity.keys import Keys
from atoll.identity.passwords import AUTHENTICATION_REQUIRED
from atoll.identity.records import (
    ApplicationCredential,
    Assignment,
    Project,
    Revocation,
    User,
    effective,
)
from atoll.store import Ledger, Registry

LONGEST: Final = 4096
"""Characters of a token; ours have about 300."""
METHODS: Final = ("password", "token", "application_credential")


class Content(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a token holds. Times are seconds since 1970; `root` is the audit id it all began with."""

    user_id: str
    project_id: str
    methods: tuple[str, ...]
    issued: float
    expires: float
    audit_id: str
    root: str
    credential_id: str
    generation: int
    project_generation: int


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A valid token and whom it stands for; `roles` are names, with those implied."""

    id: str
    content: Content
    user: User
    project: Project | None
    roles: frozenset[str]
    credential: ApplicationCredential | None

    @property
    def audit_ids(self) -> list[str]:
        """Its own and, where it was made of another token, that of the first."""
        content = self.content
        return [content.audit_id] if content.audit_id == content.root else [content.audit_id, content.root]


class NoToken(Exception):
    """It is not valid; `known` says whether it was made with one of our keys."""

    def __init__(self, *, known: bool) -> None:
        super().__init__("Failed to validate token" if known else "Could not recognize Fernet token")
        self.known = known


class Tokens:
    """Issues and validates tokens that live `seconds`. `clock` gives seconds since 1970."""

    def __init__(
        self,
        registry: Registry,
        keys: Keys,
        *,
        seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._keys = keys
        self._seconds = seconds
        self.clock = clock
        self._decoder = msgspec.msgpack.Decoder(Content)
        # (user, project) -> roles; worked out anew when an assignment changes.
        self._roles: dict[tuple[str, str], set[str]] | None = None
        registry.on_change((Assignment,), self._forget_roles)

    def _forget_roles(self) -> None:
        self._roles = None

    def roles_of(self, user_id: str, project_id: str) -> frozenset[str]:
        """Give the roles of a user on a project, with those implied."""
        if self._roles is None:
            self._roles = {}
            for one in self._registry.all(Assignment).values():
                self._roles.setdefault((one.user_id, one.project_id), set()).add(one.role)
        return effective(self._roles.get((user_id, project_id), ()))

    async def issue(
        self,
        user: User,
        project_id: str,
        methods: Sequence[str],
        *,
        credential: ApplicationCredential | None = None,
        parent: Token | None = None,
    ) -> Token:
        """Make a token; one made of another expires with it.

        Raises Unauthorized where it would not be valid, `StoreError`.
        """
        await self._keys.ensure()
        now = self.clock()
        project = self._registry.get(Project, project_id)
        expires = parent.content.expires if parent is not None else now + self._seconds
        if credential is not None and credential.expires_at is not None:
            expires = min(expires, credential.expires_at)
        audit_id = secrets.token_urlsafe(16)
        content = Content(
            user_id=user.id,
            project_id=project_id,
            methods=tuple(methods),
            issued=now,
            expires=expires,
            audit_id=audit_id,
            root=parent.content.root if parent is not None else audit_id,
            credential_id=credential.id if credential is not None else "",
            generation=user.generation,
            project_generation=project.generation if project is not None else 0,
        )
        ident = self._keys.encrypt(msgspec.msgpack.encode(content))
        try:
            return self._checked(ident, content)
        except NoToken as error:
            raise Unauthorized(AUTHENTICATION_REQUIRED) from error

    def validate(self, ident: str) -> Token:
        """Give what a token stands for now, by what is in memory. Raises NoToken."""
        if not ident or len(ident) > LONGEST:
            raise NoToken(known=False)
        try:
            content = self._decoder.decode(self._keys.decrypt(ident))
        except ValueError as error:  # msgspec's are ValueErrors too
            raise NoToken(known=False) from error
        return self._checked(ident, content)

    async def validate_freshly(self, ident: str) -> Token:
        """Validate; one of ours that is not valid is looked at again with what the store says now.

        It may be of a user that another gateway has just made. Raises NoToken, `StoreError`.
        """
        try:
            return self.validate(ident)
        except NoToken as error:
            if not error.known:
                raise
        await self._registry.load()
        return self.validate(ident)

    def _checked(self, ident: str, content: Content) -> Token:
        registry = self._registry
        user = registry.get(User, content.user_id)
        revoked = any(registry.get(Revocation, one) for one in {content.audit_id, content.root})
        if (
            content.expires <= self.clock()
            or user is None
            or not user.enabled
            or content.generation < user.generation
            or revoked
        ):
            raise NoToken(known=True)
        credential = None
        if content.credential_id:
            credential = registry.get(ApplicationCredential, content.credential_id)
            if credential is None:
                raise NoToken(known=True)
        project, roles = None, frozenset[str]()
        if content.project_id:
            project = registry.get(Project, content.project_id)
            roles = self.roles_of(user.id, content.project_id)
            if credential is not None:
                roles &= effective(credential.roles)
            if (
                project is None
                or not project.enabled
                or content.project_generation < project.generation
                or not roles
            ):
                raise NoToken(known=True)
        return Token(
            id=ident, content=content, user=user, project=project, roles=roles, credential=credential
        )

    def is_over(self, credential: ApplicationCredential) -> bool:
        """Whether an application credential has expired."""
        return credential.expires_at is not None and credential.expires_at <= self.clock()

    async def revoke(self, token: Token) -> None:
        """Revoke a token, and all that were made of it where it is the first. Raises `StoreError`."""
        now = self.clock()

        def work(ledger: Ledger) -> None:
            for key, one in ledger.all(Revocation).items():
                if one.until < now:
                    ledger.drop(Revocation, key)
            ledger.put(Revocation(audit_id=token.content.audit_id, until=token.content.expires))

        await self._registry.change(work)
