"""Who the caller is: tokens validated at the identity service and remembered for a short while.

A user may validate their own token, so no service user is needed, but for the tokens of trusts: Keystone
takes who is trusted for their subject, and who trusts for who asks. Revocation is honoured within the cache
time. One validation at a time per token, however many requests wait for it.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from atoll.core.access_rules import AccessRule
from atoll.core.errors import BadRequest, Forbidden, SiteUnavailable, Unauthorized
from atoll.gateway.call import Caller
from atoll.sites.site import Endpoint
from atoll.wire.body import BodyTooLarge
from atoll.wire.client import Broken
from atoll.wire.message import Response

# Tokens remembered at once; a Fernet token and its caller take about a kilobyte.
REMEMBERED = 20_000
# A token that was refused is refused again for this long (seconds), so that a client in a loop costs little.
REFUSED_SECONDS = 5.0
# No token of any provider is longer (bytes); PKI tokens are gone.
LONGEST = 8192
ANSWER_LIMIT = 4 * 1024 * 1024
NO_TOKEN = "The request you have made requires authentication."  # noqa: S105 - a message


class _Named(msgspec.Struct):
    id: str
    name: str = ""


class _Restricted(msgspec.Struct):
    access_rules: tuple[AccessRule, ...] | None = None


class _Token(msgspec.Struct):
    user: _Named
    expires_at: str
    roles: list[_Named] = []
    project: _Named | None = None
    system: dict[str, bool] | None = None
    application_credential: _Restricted | None = None


class _Answer(msgspec.Struct):
    token: _Token


class Own(Protocol):
    """Atoll's own user."""

    async def token(self) -> bytes:
        """A token that can be used. Raises `AtollError`."""

    def refused(self, token: bytes) -> None:
        """Keystone does not know this one any more."""


class Tokens:
    """Callers by token. `wall` is the clock that expiry times are compared with (seconds).

    `own` is Atoll's own user at that Keystone, where there is one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        cache_seconds: float,
        admin_roles: frozenset[str],
        own: Own | None = None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.endpoint = endpoint
        self._cache_seconds = cache_seconds
        self._admin_roles = admin_roles
        self._own = own
        self._wall = wall
        self._known: dict[bytes, Caller] = {}
        self._refused: dict[bytes, float] = {}
        self._asking: dict[bytes, asyncio.Task[Caller]] = {}
        self._decoder = msgspec.json.Decoder(_Answer)

    async def start(self) -> None:
        """Nothing: Keystone is asked when the first token comes."""

    def close(self) -> None:
        """Nothing is held."""

    def known(self, token: bytes, now: float) -> Caller | None:
        """The caller of a token validated lately; `now` is loop time."""
        caller = self._known.get(token)
        if caller is not None and caller.until > now:
            return caller
        return None

    async def caller(self, token: bytes | None) -> Caller:
        """The caller of a token.

        Raises Unauthorized for no token or a bad one, SiteUnavailable when the identity service is away.
        """
        if not token or len(token) > LONGEST:
            raise Unauthorized(NO_TOKEN)
        now = asyncio.get_running_loop().time()
        if (caller := self.known(token, now)) is not None:
            return caller
        if self._refused.get(token, 0.0) > now:
            raise Unauthorized(NO_TOKEN)
        asking = self._asking.get(token)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._ask(token))
            self._asking[token] = asking
            asking.add_done_callback(lambda _: self._asking.pop(token, None))
        return await asyncio.shield(asking)

    def forget(self, token: bytes) -> None:
        """A token was revoked through us: do not wait for the cache time."""
        self._known.pop(token, None)

    async def _ask(self, token: bytes) -> Caller:
        loop = asyncio.get_running_loop()
        if any(byte <= 0x20 or byte == 0x7F for byte in token):
            raise BadRequest("The token is not a header value.")
        response, text = await self._said_of(token, token)
        if response.status == 403:
            if self._own is None:
                raise Forbidden(
                    "Keystone does not let this token be validated by itself. Those of trusts are such: for "
                    "them Atoll needs a user of its own, in [runs] clouds_yaml."
                )
            asker = await self._own.token()
            response, text = await self._said_of(token, asker)
            if response.status == 401:  # of a token that it does not know it says 404
                self._own.refused(asker)
                raise SiteUnavailable("Keystone refuses Atoll's own user: try again.", site="identity")
        if response.status in {401, 404}:
            if len(self._refused) >= REMEMBERED:
                self._refused.clear()
            self._refused[token] = loop.time() + REFUSED_SECONDS
            raise Unauthorized(NO_TOKEN)
        if response.status != 200:
            raise SiteUnavailable(
                f"The identity service answered {response.status} when it was asked about a token.",
                site="identity",
            )
        caller = self._read(token, text, loop.time())
        if len(self._known) >= REMEMBERED:
            self._drop_oldest()
        self._known[token] = caller
        return caller

    async def _said_of(self, token: bytes, asker: bytes) -> tuple[Response, bytes]:
        """What Keystone says of a token to who asks with another one, or with the same."""
        endpoint, loop = self.endpoint, asyncio.get_running_loop()
        head = (
            b"GET %b/v3/auth/tokens?nocatalog%bX-Auth-Token: %b\r\nX-Subject-Token: %b\r\n"
            b"OpenStack-Identity-Access-Rules: 1.0\r\nAccept: application/json\r\n\r\n"
            % (endpoint.root, endpoint.head_end, asker, token)
        )
        response = await endpoint.origin.exchange(b"GET", head, deadline=loop.time() + 30.0)
        try:
            return response, await response.body.read_all(ANSWER_LIMIT)
        except (Broken, BodyTooLarge) as error:
            raise SiteUnavailable("The identity service broke off its answer.", site="identity") from error

    def _read(self, token: bytes, text: bytes, now: float) -> Caller:
        try:
            said = self._decoder.decode(text).token
            expires = datetime.fromisoformat(said.expires_at)
        except (msgspec.DecodeError, ValueError) as error:
            raise SiteUnavailable(
                "The identity service answered what is not a token.", site="identity"
            ) from error
        left = (expires - self._wall()).total_seconds()
        if left <= 0:
            raise Unauthorized(NO_TOKEN)
        roles = frozenset(role.name for role in said.roles)
        return Caller(
            token=token,
            user_id=said.user.id,
            project_id=said.project.id if said.project is not None else "",
            roles=roles,
            is_admin=bool(roles & self._admin_roles),
            until=now + min(left, self._cache_seconds),
            system=bool(said.system),
            rules=said.application_credential.access_rules if said.application_credential else None,
        )

    def _drop_oldest(self) -> None:
        # Insertion order is near enough to age: entries are as old as their validation.
        for token in list(self._known)[: REMEMBERED // 10]:
            del self._known[token]
