"""Clouds whose Keystone believes the clients': callers act there as themselves, by tokens got with their own.

Decides when a token is fetched, for whom it is good and what a failure means to the next request; the
exchange itself is handed in. Nothing is fetched ahead: a token is there when its caller asks for something.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol, TypeVar

import structlog

from atoll.core.errors import AtollError, Forbidden, SiteUnavailable, Unauthorized
from atoll.core.jitter import JITTER
from atoll.core.key_names import KeyNames
from atoll.core.rewrite import Ids, Others
from atoll.sites.site import Endpoint
from atoll.trust.exchange import CallerRefused, CloudFalters, NothingThere
from atoll.trust.login import CloudAway, Login, LoginError
from atoll.trust.records import is_administrators
from atoll.trust.renewals import Clock, let_go

log = structlog.get_logger(__name__)

AT_ONCE_CLOUD: Final = 8
"""Exchanges under way at once for one cloud: each holds a thread for a second or two."""
KEPT: Final = 10_000
"""Callers remembered for each cloud, with their token there and its endpoints (4 KB); the oldest go first."""
MEMBERS: Final = 256
"""Users of one project whose ids there are translated for the others of it."""
WAIT_SECONDS: Final = 20.0
"""How long a request waits for a token."""
SETTLE_SECONDS: Final = 5.0
"""How long a list or a create waits to know whether the caller has anything at a cloud."""
SPARE: Final = 0.05
"""The last part of a token's life in which it is not used: requests and uploads take a while."""
AWAY_FIRST, AWAY_LONGEST = 1.0, 60.0
"""Seconds until a cloud that failed is asked again, doubled each time."""
FALTERS: Final = 3
"""Callers in a row whom it answers with errors, before that is taken for an answer to all."""
REFUSED_FIRST, REFUSED_LONGEST = 5.0, 300.0
"""The same for a caller whom it refused: whoever is let in meanwhile should not wait for an hour."""

_HINT: Final = "Whoever runs that cloud can let the project in, by its mapping of federated users."

Exchanging = Callable[[str], Awaitable[Login]]
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Caller(Protocol):
    """Who asks, as the clients' Keystone says."""

    @property
    def token(self) -> bytes:
        """The token."""

    @property
    def user_id(self) -> str:
        """The user."""

    @property
    def project_id(self) -> str:
        """The project, "" where the token is of none."""

    @property
    def roles(self) -> frozenset[str]:
        """The roles in the project."""

    @property
    def is_admin(self) -> bool:
        """Whether the caller is an administrator."""


class _Account:
    """A user in a project with some roles, at one cloud. Times are loop seconds.

    `asked` says that it is known what the cloud says of it, `absent` that this is: nothing; `faltering` that
    it gave errors. `by` is the clients' token that the exchange under way was begun with.
    """

    __slots__ = (
        "absent", "administers", "asked", "by", "failures", "faltering", "project_id", "reason", "retry_at",
        "roles", "since", "task", "there", "token", "until", "user_id", "young",
    )  # fmt: skip

    def __init__(self, project_id: str, user_id: str) -> None:
        self.project_id = project_id
        self.user_id = user_id
        self.there: tuple[str, str] | None = None  # its project and user, as the cloud has them
        self.roles: tuple[str, ...] = ()
        self.token: bytes | None = None
        self.since = self.until = self.retry_at = 0.0
        self.reason = self.by = ""
        self.failures = self.young = 0
        self.asked = self.absent = self.administers = self.faltering = False
        self.task: asyncio.Task[bytes] | None = None


class FederatedCloud:
    """One such cloud. `exchange` makes a login of a caller's token and raises LoginError.

    `told` hears why nobody can be logged in there, and "" when it may be tried again; `disowned` of a
    caller's token that the clients' own Keystone knows no more.
    """

    def __init__(
        self,
        name: str,
        exchange: Exchanging,
        *,
        told: Callable[[str, str], None] = lambda _, __: None,
        disowned: Callable[[bytes], None] = lambda _: None,
        clock: Clock | None = None,
        chance: Callable[[float, float], float] = JITTER.uniform,
    ) -> None:
        self.name = name
        self.disowned = disowned
        self._exchange = exchange
        self._told = told
        self._chance = chance
        self._clock: Clock = clock or asyncio.get_running_loop()
        self._turn = asyncio.Semaphore(AT_ONCE_CLOUD)
        self._accounts: dict[tuple[str, str, frozenset[str]], _Account] = {}
        self._grants: dict[tuple[bytes, frozenset[str], bool], FederatedGrant] = {}
        self._projects: dict[str, str] = {}
        self._users: dict[str, dict[str, str]] = {}  # by project
        self._others: Others | None = None
        self.version = 0  # of what is known of ids
        self._reason, self._retry_at, self._failures = "", 0.0, 0
        self._faltering: set[tuple[str, str]] = set()  # callers, since anybody got a token
        self._again: asyncio.TimerHandle | None = None

    def grant(self, caller: Caller, *, as_admin: bool) -> "FederatedGrant | None":
        """How a caller is trusted there; None: not at all, or as nobody as far as is known."""
        if not caller.project_id or (as_admin and not caller.is_admin):
            return None
        key = (caller.token, caller.roles, as_admin)
        grant = self._grants.get(key)
        if grant is None:
            account = self._account(caller)
            grant = FederatedGrant(self, account, caller, as_admin=as_admin)
            _keep(self._grants, key, grant)
        if grant.account.absent:
            self._look_again(grant)
            return None
        return grant

    def _account(self, caller: Caller) -> _Account:
        key = (caller.project_id, caller.user_id, caller.roles)
        account = self._accounts.get(key)
        if account is None:
            account = _Account(caller.project_id, caller.user_id)
            _keep(self._accounts, key, account)
        return account

    def why_not(self, caller: Caller) -> str:
        """Why a caller is nobody there."""
        if not caller.project_id:
            return "a token that is of no project is good for nothing there"
        reason = self._account(caller).reason
        return f"{reason}. {_HINT}" if reason else "only administrators may ask for that there."

    def unknown(self, caller: Caller) -> bool:
        """Whether it could be found out whether the caller is anybody there, and is not known."""
        if not caller.project_id or self._retry_at > self._clock.time():
            return False
        account = self._account(caller)
        return not (account.asked or account.faltering)

    async def settle(self, caller: Caller) -> None:
        """Find out whether the caller is anybody there; a failure says nothing."""
        grant = self.grant(caller, as_admin=False)
        if grant is None:
            return
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await grant.fetch()
        except (AtollError, TimeoutError):
            return

    def close(self) -> None:
        """Begin nothing any more."""
        if self._again is not None:
            self._again.cancel()
        for account in self._accounts.values():
            if account.task is not None:
                account.task.cancel()

    # -- tokens ---------------------------------------------------------------------------------------

    async def fetch(self, account: _Account, token: bytes) -> bytes:
        """A token of that cloud, waited for. Raises Unauthorized, Forbidden, SiteUnavailable."""
        subject = token.decode("latin-1")
        for _ in range(2):
            now = self._clock.time()
            if account.token is not None and now < account.until:
                return account.token
            if account.task is None:
                if held := self._held(account, now):
                    raise held
                self._begin(account, subject)
            assert account.task is not None  # noqa: S101 - just begun
            by = account.by
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    return await asyncio.shield(account.task)
            except CallerRefused as error:
                if by == subject:
                    self.disowned(token)
                    raise Unauthorized(f"{error}.") from error
                # It was another's token of the same user that is no more: this one may be.
            except CloudAway as error:
                wait = max(account.retry_at, self._retry_at) - self._clock.time()
                raise self._unavailable(str(error), wait) from error
            except LoginError as error:
                raise self._forbidden(str(error)) from error
            except TimeoutError as error:
                raise SiteUnavailable(
                    f"Atoll gets no token of the cloud {self.name} in {WAIT_SECONDS:.0f} seconds.",
                    retry_after=1,
                ) from error
        raise SiteUnavailable(f"Atoll gets no token of the cloud {self.name}: try again.", retry_after=1)

    def refused(self, account: _Account, token: bytes) -> None:
        """A site said 401 to a token: it is used no more."""
        if let_go(account, token, self._clock.time()):
            account.reason = "its sites do not take the tokens that its Keystone gives"
            account.faltering = True

    def _held(self, account: _Account, now: float) -> AtollError | None:
        """Why nothing is tried now, if that is so."""
        if account.retry_at > now:
            if account.faltering:
                return self._unavailable(account.reason, account.retry_at - now)
            return self._forbidden(account.reason)
        return self._unavailable(self._reason, self._retry_at - now) if self._retry_at > now else None

    def _forbidden(self, why: str) -> AtollError:
        return Forbidden(f"the cloud {self.name} has nothing for this caller: {why}. {_HINT}")

    def _unavailable(self, why: str, wait: float) -> AtollError:
        return SiteUnavailable(
            f"Atoll gets no token of the cloud {self.name}: {why}.", retry_after=max(1.0, wait)
        )

    def _look_again(self, grant: "FederatedGrant") -> None:
        """Ask once more, when it is time, about somebody of whom there was nothing; nobody waits for it."""
        account = grant.account
        if account.task is None and self._held(account, self._clock.time()) is None:
            self._begin(account, grant.subject.decode("latin-1"))

    def _begin(self, account: _Account, subject: str) -> None:
        account.by = subject
        account.task = asyncio.get_running_loop().create_task(self._exchanged(account, subject))
        account.task.add_done_callback(_looked_at)

    async def _exchanged(self, account: _Account, subject: str) -> bytes:
        try:
            async with self._turn:
                login = await self._asked(subject)
            self._take(account, login)
        except CallerRefused:
            raise
        except CloudAway as error:
            self._failed(account, error)
            raise
        except LoginError as error:
            self._refuse(account, error)
            raise
        except Exception as error:  # noqa: BLE001 - none of them may leave requests waiting
            # No traceback: the console shows the values of variables in one, and here they are secret.
            log.error("exchange_failed", cloud=self.name, error=type(error).__name__)  # noqa: TRY400 - above
            failed = CloudFalters("asking for a token was broken off")
            self._failed(account, failed)
            raise failed from None
        else:
            return login.token
        finally:
            account.task = None

    async def _asked(self, subject: str) -> Login:
        if self._retry_at > self._clock.time():  # it failed for those before this one
            raise CloudAway(self._reason)
        return await self._exchange(subject)

    def _take(self, account: _Account, login: Login) -> None:
        now = self._clock.time()
        account.token, account.since = login.token, now
        account.until = now + login.life * (1 - SPARE)
        account.roles = login.roles
        account.administers = is_administrators(login.roles)
        account.reason, account.failures, account.retry_at, account.faltering = "", 0, 0.0, False
        account.asked, account.absent = True, False
        there = (login.project_id, login.user_id)
        users = self._users.setdefault(account.project_id, {})
        known = (self._projects.get(account.project_id), users.get(account.user_id))
        if account.there != there or known != there:
            account.there = there
            _keep(self._projects, account.project_id, login.project_id)
            _keep(users, account.user_id, login.user_id, MEMBERS)
            for left in self._users.keys() - self._projects.keys():
                del self._users[left]
            self._others = None
            self.version += 1
        self._faltering.clear()
        if self._failures:
            self._failures, self._retry_at, self._reason = 0, 0.0, ""
            log.info("cloud_back", cloud=self.name)
            self._told(self.name, "")

    def _failed(self, account: _Account, error: CloudAway) -> None:
        """A failure may be about one caller only: nobody can have all others wait."""
        if isinstance(error, CloudFalters):
            wait = min(AWAY_FIRST * 2 ** min(account.failures, 10), AWAY_LONGEST)
            account.failures += 1
            account.retry_at = self._clock.time() + wait * self._chance(0.8, 1.2)
            account.reason, account.faltering = str(error), True
            self._faltering.add((account.project_id, account.user_id))
            if len(self._faltering) < FALTERS:
                return
        self._away(str(error))

    def _refuse(self, account: _Account, error: LoginError) -> None:
        wait = min(REFUSED_FIRST * 2 ** min(account.failures, 10), REFUSED_LONGEST)
        account.failures += 1
        account.retry_at = self._clock.time() + wait * self._chance(0.8, 1.2)
        account.reason, account.token = str(error), None
        account.asked, account.absent = True, isinstance(error, NothingThere)
        account.faltering = False

    def _away(self, reason: str) -> None:
        now = self._clock.time()
        if self._retry_at > now:
            return
        wait = min(AWAY_FIRST * 2 ** min(self._failures, 10), AWAY_LONGEST) * self._chance(0.8, 1.2)
        if not self._failures or reason != self._reason:
            log.warning("cloud_away", cloud=self.name, reason=reason)
        self._failures += 1
        self._reason, self._retry_at = reason, now + wait
        self._told(self.name, reason)
        if self._again is not None:
            self._again.cancel()
        # Nothing is asked behind the callers' backs: from then on they may try.
        self._again = self._clock.call_at(now + wait, lambda: self._told(self.name, ""))

    # -- ids ------------------------------------------------------------------------------------------

    def ids(self, account: _Account, *, as_admin: bool) -> Ids:
        """The ids of projects and users there. Raises SiteUnavailable before the first token."""
        if account.there is None:
            raise SiteUnavailable(
                f"Atoll has no token of the cloud {self.name} yet: try again.", retry_after=1
            )
        project_id, user_id = account.there
        own = {account.project_id: project_id, account.user_id: user_id}
        keys = KeyNames(account.user_id)
        if as_admin:
            users = {ours: one for members in self._users.values() for ours, one in members.items()}
            return Ids({**self._projects, **users, **own}, keys, scope=(account.project_id, project_id))
        return Ids({**self._users.get(account.project_id, {}), **own}, keys, others=self._shared_with())

    def _shared_with(self) -> Others:
        """The projects of the cloud, made once for all grants."""
        if self._others is None:
            self._others = Others(self._projects)
        return self._others


class FederatedGrant:
    """What the caller of one token is at one cloud: `Grant` of `atoll.sites.site`."""

    __slots__ = ("_as_admin", "_cloud", "_ids", "_ordinary", "_version", "account", "subject", "views")

    def __init__(self, cloud: FederatedCloud, account: _Account, caller: Caller, *, as_admin: bool) -> None:
        self._cloud = cloud
        self._as_admin = as_admin
        self._ordinary = not caller.is_admin
        self._ids: Ids | None = None
        self._version = 0
        self.account = account
        self.subject = caller.token
        self.views: dict[Endpoint, Endpoint] = {}

    @property
    def ids(self) -> Ids:
        """The ids of projects and users there. Raises SiteUnavailable before the first token."""
        if self._ids is None or self._version != self._cloud.version:
            self._version = self._cloud.version
            self._ids = self._cloud.ids(self.account, as_admin=self._as_admin)
        return self._ids

    def token(self, now: float) -> bytes | None:
        """A token that can be used at once, if there is one."""
        account = self.account
        return account.token if now < account.until and not self._too_much else None

    async def fetch(self) -> bytes:
        """A token, waited for. Raises Unauthorized, SiteUnavailable, Forbidden."""
        token = await self._cloud.fetch(self.account, self.subject)
        if self._too_much:
            raise Forbidden(
                f"the cloud {self._cloud.name} makes this caller an administrator there (role admin), which "
                "the clients' Keystone does not: its mapping has to be put right."
            )
        return token

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the cloud gives; known once a token was fetched."""
        return self.account.roles

    @property
    def rules(self) -> None:
        """No access rules: it is no application credential's token."""
        return None

    @property
    def _too_much(self) -> bool:
        """Whether the token would let the caller do there what only administrators may."""
        return self._ordinary and self.account.administers

    def refused(self, token: bytes) -> None:
        """A site said 401 to this token."""
        self._cloud.refused(self.account, token)


class Federation:
    """All such clouds, by name."""

    def __init__(self, clouds: Mapping[str, FederatedCloud]) -> None:
        self.clouds = clouds

    async def settle(self, caller: Caller, clouds: Iterable[str | None]) -> None:
        """Find out at which of these clouds the caller is anybody, where that is not known."""
        unknown = []
        for name in set(clouds):
            cloud = self.clouds.get(name or "")
            if cloud is not None and cloud.unknown(caller):
                unknown.append(cloud.settle(caller))
        if unknown:
            await asyncio.gather(*unknown)

    def why_not(self, caller: Caller, cloud: str) -> str:
        """Why a caller is nobody at a cloud; "" where it is none of these."""
        found = self.clouds.get(cloud)
        return found.why_not(caller) if found is not None else ""

    def close(self) -> None:
        """Begin nothing any more."""
        for cloud in self.clouds.values():
            cloud.close()


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value, most: int = KEPT) -> None:
    """Remember something, and forget the oldest where there is no room."""
    if len(kept) >= most and key not in kept:
        for old in list(kept)[: max(1, most // 10)]:
            del kept[old]
    kept[key] = value


def _looked_at(task: asyncio.Task[bytes]) -> None:
    """A failure nobody waited for is remembered already."""
    if not task.cancelled():
        task.exception()
