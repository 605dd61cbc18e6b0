"""The built-in identity behind the gateway's own tokens and routes.

*  /identity   *  /identity/v3/**
"""

import asyncio
from urllib.parse import unquote

import structlog

from atoll.core.errors import NotFound, SiteUnavailable, Unauthorized
from atoll.gateway.call import Call, Caller
from atoll.gateway.tokens import LONGEST, NO_TOKEN, REFUSED_SECONDS, REMEMBERED
from atoll.identity.asked import Answer, Asked
from atoll.identity.records import KINDS
from atoll.identity.service import Identity, encoded, version, versions
from atoll.identity.tokens import NoToken, Token
from atoll.store import StoreError
from atoll.trust.sealing import Sealer, SecretsError

log = structlog.get_logger()

# Bytes of a body: a credential with a hundred access rules has a fifth of it.
BODY_LIMIT = 114_688  # as Keystone's max_request_body_size
HTML = b"Content-Type: text/html; charset=utf-8\r\n"
JSON = b"Content-Type: application/json\r\n"


class LocalTokens:
    """Callers by token, validated here; see `gateway.tokens`. A change of the records is seen at once."""

    def __init__(self, identity: Identity, *, cache_seconds: float, admin_roles: frozenset[str]) -> None:
        self.identity = identity
        self._cache_seconds = cache_seconds
        self._admin_roles = admin_roles
        self._known: dict[bytes, Caller] = {}
        self._refused: dict[bytes, float] = {}
        identity.registry.on_change(KINDS, self._forget_all)

    async def start(self) -> None:
        """See to it that tokens can be made, and say so where nobody could log in. Raises `StoreError`."""
        await self.identity.start()
        if not self.identity.has_users():
            hint = "atoll project add NAME; atoll user add NAME --project NAME --role admin"
            log.warning("no_user_yet", make_one=hint)

    def close(self) -> None:
        """End what works beside the event loop."""
        self.identity.close()

    def _forget_all(self) -> None:
        self._known.clear()
        self._refused.clear()

    def known(self, token: bytes, now: float) -> Caller | None:
        """The caller of a token validated lately; `now` is loop time."""
        caller = self._known.get(token)
        return caller if caller is not None and caller.until > now else None

    async def caller(self, token: bytes | None) -> Caller:
        """The caller of a token. Raises Unauthorized, SiteUnavailable when the store is away."""
        if not token or len(token) > LONGEST:
            raise Unauthorized(NO_TOKEN)
        now = asyncio.get_running_loop().time()
        if (caller := self.known(token, now)) is not None:
            return caller
        if self._refused.get(token, 0.0) > now:
            raise Unauthorized(NO_TOKEN)
        found = await self.validated(token)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        caller = self._known[token] = self._caller(token, found, now)
        return caller

    async def validated(self, token: bytes) -> Token:
        """What a token stands for. Raises as `caller`."""
        try:
            return await self.identity.tokens.validate_freshly(token.decode("latin-1"))
        except NoToken as error:
            if len(self._refused) >= REMEMBERED:
                self._refused.clear()
            self._refused[token] = asyncio.get_running_loop().time() + REFUSED_SECONDS
            raise Unauthorized(NO_TOKEN) from error
        except StoreError as error:
            raise _away(error) from error

    def forget(self, token: bytes) -> None:
        """A token was revoked: the change of the records has said so already."""
        self._known.pop(token, None)

    def _caller(self, token: bytes, found: Token, now: float) -> Caller:
        credential = found.credential
        left = found.content.expires - self.identity.tokens.clock()
        return Caller(
            token=token,
            user_id=found.user.id,
            project_id=found.project.id if found.project is not None else "",
            roles=found.roles,
            is_admin=bool(found.roles & self._admin_roles),
            until=now + min(left, self._cache_seconds),
            rules=credential.access_rules if credential is not None else None,
        )


class BuiltIn:
    """Answers calls to identity."""

    def __init__(self, tokens: LocalTokens, public_url: str) -> None:
        self._tokens = tokens
        self._identity = tokens.identity
        self._url = f"{public_url}/identity"

    async def handle(self, call: Call) -> None:
        """Answer a call."""
        answer = await self._answer(call)
        lines = [b"Vary: X-Auth-Token\r\n", b"x-openstack-request-id: %b\r\n" % call.id.encode()]
        lines += [f"{name}: {value}\r\n".encode() for name, value in answer.headers]
        body = b""
        if answer.html is not None:
            lines.append(HTML)
            body = answer.html
        elif answer.body is not None:
            lines.append(JSON)
            body = encoded(answer.body)
        call.reply.send(answer.status, lines, body)

    async def _answer(self, call: Call) -> Answer:
        request = call.request
        path = call.path.decode("latin-1").rstrip("/")
        if not path:
            return versions(self._url)
        if path == "/v3":
            return version(self._url)
        if not path.startswith("/v3/"):
            raise NotFound(f"Could not find version: {unquote(path).split('/')[1]}.")
        method, below = request.method.decode("latin-1"), path.removeprefix("/v3/")
        body = await call.read_body(BODY_LIMIT) if request.has_body else b""
        asked = Asked(
            method=method,
            path=below,
            search=request.query.decode("latin-1"),
            body=body,
            token=await self._token(call, method, path)
            if self._identity.needs_token(method, below)
            else None,
            subject=request.index.get(b"x-subject-token", b"").decode("latin-1"),
            address=request.peer.rpartition(":")[0],
            url=f"{self._url}/v3",
        )
        try:
            return await self._identity.answer(asked)
        except StoreError as error:
            raise _away(error) from error

    async def _token(self, call: Call, method: str, path: str) -> Token:
        """The caller's token. Raises Unauthorized."""
        token = call.request.index.get(b"x-auth-token")
        call.caller = await self._tokens.caller(token)
        if call.service is not None and not call.permits(call.service, method, path):
            raise Unauthorized("The access rules of this application credential do not allow that.")
        return await self._tokens.validated(call.caller.token)


class SealedKeys:
    """Has the keys of tokens sealed in the store with the key that credentials are under."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, plain: bytes) -> str:
        """Give it encrypted, with the fingerprint of the key it is under."""
        text, under = self._sealer.seal({"key": plain.decode("ascii")})
        return f"{under}:{text}"

    def unseal(self, sealed: str) -> bytes:
        """Give it back. Raises ValueError where its key is not there."""
        under, _, text = sealed.partition(":")
        try:
            return str(self._sealer.open(text, under)["key"]).encode("ascii")
        except SecretsError as error:
            raise ValueError(str(error)) from error


def _away(error: StoreError) -> SiteUnavailable:
    return SiteUnavailable(f"The store does not answer: {str(error)[:256]}", site="identity")
