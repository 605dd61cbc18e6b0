"""Runs that act for those who asked for them, also when their tokens have ended.

Where a Keystone knows the clients, a trust is made when the run is accepted: Atoll's own user may then have
tokens of the run's user, in that project, with the roles of the token that asked. The built-in identity makes
tokens of the user itself. A token that may not delegate is refused before anything is done.
"""

import asyncio
import contextlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog

from atoll.core.errors import AtollError, Forbidden, SiteUnavailable, Unauthorized
from atoll.gateway import bodies
from atoll.gateway.asking import SiteAsker
from atoll.gateway.built_in import LocalTokens
from atoll.gateway.call import Call, Caller, own_call
from atoll.gateway.forward import Forward, SiteAnswer, said
from atoll.gateway.reach import Reach
from atoll.gateway.tokens import Tokens
from atoll.identity.records import User
from atoll.identity.tokens import Token
from atoll.sites.site import Endpoint, Site, Sites
from atoll.store.run_records import Held
from atoll.trust.service_user import ServiceUser
from atoll.worker.actions import Doing
from atoll.workflow.journal import State

_log = structlog.get_logger(__name__)

TRUST_DAYS: Final = 30
"""How long at most a trust lasts whose run has not ended well by then."""

SPREAD: Final = 24 * 60 * 60
"""Over how many seconds the ends of trusts are spread: Keystone refuses one that ends in the second in which
another of the same user does, deleted ones too (`duplicate_trust_constraint`)."""

TRIES: Final = 10
"""How many ends are tried: with 10,000 runs of a user in a day one in two billion is refused."""

MADE_HERE: Final = "built-in"
"""In the place of a trust's id: the built-in identity makes the tokens."""

USED: Final = 0.8
"""The part of a token's life in which it is used."""

SECONDS: Final = 30.0
KEPT: Final = 1000


class Delegation:
    """Makes trusts, gives tokens by them, and drops them."""

    def __init__(self, tokens: Tokens | LocalTokens, forward: Forward, user: ServiceUser) -> None:
        self._tokens = tokens
        self._forward = forward
        self._user = user
        self._made: dict[tuple[str, str], tuple[Token, float]] = {}

    @property
    def possible(self) -> bool:
        """Whether Atoll has what it takes to act for others, as far as is known."""
        return isinstance(self._tokens, LocalTokens) or self._user.configured

    async def make(self, call: Call) -> str:
        """Have a run that the caller asks for act as the caller; the trust's id.

        Raises `Forbidden` where the caller's token may not be used so, `SiteUnavailable`.
        """
        if isinstance(self._tokens, LocalTokens):
            self._may_delegate(call.caller, self._tokens)
            return MADE_HERE
        trustee = await self._user.login()
        trust = {
            "trustor_user_id": call.caller.user_id,
            "trustee_user_id": trustee.user_id,
            "project_id": call.caller.project_id,
            "impersonation": True,
            "roles": [{"name": one} for one in sorted(call.caller.roles)],
        }
        for _ in range(TRIES):
            body = {"trust": trust | {"expires_at": an_end()}}
            answer = await self._keystone(call.caller, b"POST", b"/v3/OS-TRUST/trusts", body)
            if answer.status != 409:
                break
        if answer.status == 201 and (made := bodies.decoded(answer.text)) is not None:
            return str(made["trust"]["id"])
        if answer.status >= 500 or answer.status in {409, 429}:
            raise SiteUnavailable(
                f"The identity service answers {answer.status} for a trust.", site="identity"
            )
        raise Forbidden(
            "This is done as you, and goes on when your token has ended. For that Keystone lets this token "
            f"make no trust ({answer.status}: {said(answer)}). A token by password may make one; one by an "
            "application credential only where that is unrestricted."
        )

    @staticmethod
    def _may_delegate(caller: Caller, tokens: LocalTokens) -> None:
        if caller.roles != tokens.identity.tokens.roles_of(caller.user_id, caller.project_id):
            raise Forbidden(
                "This is done as you, and goes on when your token has ended: a token with fewer roles than "
                "you have may not have it done. Use one made with your password."
            )

    async def caller(self, doing: Doing) -> Caller:
        """Whom a run acts for, with a token that can be used now. Raises `Forbidden`, `SiteUnavailable`."""
        acting = doing.acting
        if doing.token:
            return await self._tokens.caller(doing.token)
        if not acting.trust_id:
            raise Forbidden("This run was accepted without a trust: it cannot act as its user.")
        if isinstance(self._tokens, LocalTokens):
            token = await self._made_here(self._tokens, doing.user_id, doing.project_id)
        else:
            token = (await self._user.login(acting.trust_id)).token
        try:
            return await self._tokens.caller(token)
        except Unauthorized as error:
            self.refused(token)
            raise Forbidden("The token of the run's user is not valid: is the user enabled?") from error

    async def _made_here(self, tokens: LocalTokens, user_id: str, project_id: str) -> bytes:
        now, key = asyncio.get_running_loop().time(), (user_id, project_id)
        found = self._made.get(key)
        if found is None or now >= found[1]:
            identity = tokens.identity
            user = identity.registry.get(User, user_id)
            if user is None:
                raise Forbidden(f"The user {user_id} of this run is no more.")
            try:
                made = await identity.tokens.issue(user, project_id, ("token",))
            except Unauthorized as error:
                raise Forbidden("The run's user has nothing to do in its project any more.") from error
            if len(self._made) >= KEPT:
                self._made.clear()
            life = made.content.expires - made.content.issued
            found = self._made[key] = made, now + life * USED
        return found[0].id.encode()

    def refused(self, token: bytes) -> bool:
        """A site said 401 to this token; whether there may be a better one."""
        self._user.refused(token)
        self._made = {key: one for key, one in self._made.items() if one[0].id.encode() != token}
        self._tokens.forget(token)
        return True

    async def drop(self, trust_id: str) -> None:
        """End a trust whose run is over. Where that fails it ends by itself, in `TRUST_DAYS`."""
        if trust_id in {"", MADE_HERE} or isinstance(self._tokens, LocalTokens):
            return
        with contextlib.suppress(AtollError):
            caller = await self._tokens.caller((await self._user.login(trust_id)).token)
            target = f"/v3/OS-TRUST/trusts/{trust_id}".encode()
            answer = await self._keystone(caller, b"DELETE", target)
            self._user.forget(trust_id)
            if answer.status not in {204, 404}:
                _log.warning("trust_not_dropped", trust=trust_id, status=answer.status)

    async def ended(self, held: Held, state: State) -> None:
        """A run has ended: what is left over of one is for who redoes it, and keeps its trust."""
        if state in {State.DONE, State.UNDONE}:
            await self.drop(held.acting.trust_id)

    async def _keystone(
        self, caller: Caller, method: bytes, target: bytes, body: object = None
    ) -> SiteAnswer:
        endpoint: Endpoint = self._tokens.endpoint  # type: ignore[union-attr]  # the built-in one has no trusts
        call = own_call(caller, asyncio.get_running_loop().time() + SECONDS)
        text = None if body is None else msgspec.json.encode(body)
        return await self._forward.ask(call, endpoint, method, target, body=text, why="a run")


def an_end() -> str:
    """When a trust ends that is made now, as Keystone takes it."""
    until = datetime.now(UTC) + timedelta(days=TRUST_DAYS, seconds=-secrets.randbelow(SPREAD))
    return until.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


class _Somebody:
    """`Who` of `asking`: the user of a run."""

    name = "this run's user"
    admin = False

    def __init__(self, delegation: Delegation, doing: Doing) -> None:
        self._delegation = delegation
        self._doing = doing

    async def caller(self, site: Site) -> Caller:
        """Who it is; at a site with a Keystone of its own the project's credential stands for it."""
        del site
        return await self._delegation.caller(self._doing)

    def refused(self, token: bytes) -> bool:
        """A site said 401 to this token."""
        return self._delegation.refused(token)


class Person:
    """Asks sites as the user of a run. `{project}` in a target is the run's project."""

    def __init__(self, sites: Sites, reach: Reach, forward: Forward, delegation: Delegation) -> None:
        self._of = sites, reach, forward
        self._delegation = delegation

    def asker(self, doing: Doing) -> SiteAsker:
        """What asks as the user of a run, bytes too."""
        return SiteAsker(*self._of, _Somebody(self._delegation, doing))
