"""The tokens of credentials: fetched when wanted, renewed ahead while in use, never many at once.

Decides when and for which; how one logs in is handed in. One timer for all, none for each.
"""

import asyncio
import heapq
import itertools
import traceback
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from atoll.core.access_rules import AccessRule
from atoll.core.errors import AtollError, Forbidden, SiteUnavailable
from atoll.core.jitter import JITTER
from atoll.trust.login import CloudAway, Login, LoginError, LoginRefused, Replaced
from atoll.trust.records import is_administrators

log = structlog.get_logger(__name__)

AT_ONCE: Final = 8
"""Logins under way at once, over all clouds: each holds a thread."""
AT_ONCE_CLOUD: Final = 2
"""And at one cloud, so that one which does not answer leaves threads to the others."""
EARLIEST, LATEST = 0.5, 0.8
"""The part of a token's life after which it is renewed, at random: credentials added together drift apart."""
LATELY: Final = 0.25
"""A token counts as in use when it was used within this part of its life."""
SPARE: Final = 0.05
"""The last part of a token's life in which it is not used: requests and uploads take a while."""
WAIT_SECONDS: Final = 20.0
"""How long a request waits for a token."""
AWAY_FIRST, AWAY_LONGEST = 1.0, 60.0
REFUSED_FIRST, REFUSED_LONGEST = 30.0, 3600.0
"""Seconds until the next login after a failure, doubled each time; a refused one may lock a user out."""
YOUNG_SECONDS: Final = 60.0
YOUNG_REFUSALS: Final = 5
"""New tokens refused by sites in a row before it is not tried at once any more."""


class Clock(Protocol):
    """What is used of an event loop's time (seconds)."""

    def time(self) -> float:
        """Now."""

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call later."""


class Tokened(Protocol):
    """Who has a token since some moment; `young` are those in a row that sites refused soon after."""

    token: bytes | None
    since: float
    young: int
    retry_at: float


def let_go(account: Tokened, token: bytes, now: float) -> bool:
    """Use a token no more that a site refused; whether no other is to be fetched for a while."""
    if account.token != token:
        return False
    account.token = None
    account.young = account.young + 1 if now - account.since < YOUNG_SECONDS else 0
    if account.young < YOUNG_REFUSALS:
        return False
    account.retry_at = now + AWAY_FIRST * 2 ** min(account.young - YOUNG_REFUSALS, 6)
    return True


class Account:
    """A credential in use: who it is at its cloud, and its token. Times are of the clock.

    `project_id`, `user_id` and `domain_id` are the cloud's, empty until the first login.
    """

    __slots__ = (
        "__weakref__",
        "administers",
        "cloud",
        "domain_id",
        "due",
        "failures",
        "fault",
        "id",
        "life",
        "project_id",
        "retry_at",
        "roles",
        "rules",
        "running",
        "since",
        "token",
        "until",
        "urgent",
        "used",
        "user_id",
        "waiting",
        "young",
    )  # fmt: skip

    def __init__(self, id: str, cloud: str) -> None:  # noqa: A002 - OpenStack's word
        self.id = id
        self.cloud = cloud
        self.project_id = self.user_id = self.domain_id = ""
        self.roles: tuple[str, ...] = ()
        self.administers = False
        self.rules: tuple[AccessRule, ...] | None = None
        self.token: bytes | None = None
        self.since = self.life = self.until = self.due = 0.0
        self.used = float("-inf")
        self.fault = ""
        self.failures = self.young = 0
        self.retry_at = 0.0
        self.waiting: asyncio.Future[bytes] | None = None
        self.urgent = self.running = False

    @property
    def known(self) -> bool:
        """Whether it is known who it is at its cloud."""
        return bool(self.project_id)


class _Cloud:
    """What is to be done at one cloud."""

    __slots__ = ("ahead", "failures", "reason", "retry_at", "running", "urgent")

    def __init__(self) -> None:
        self.urgent: deque[Account] = deque()
        self.ahead: deque[Account] = deque()
        self.running = 0
        self.failures = 0
        self.retry_at = 0.0
        self.reason = ""

    def next(self) -> Account | None:
        """The account to log in now, those that requests wait for first."""
        for queue in (self.urgent, self.ahead):
            while queue:
                account = queue.popleft()
                if account.waiting is not None and not account.running:
                    return account
        return None


class Renewals:
    """Fetches and renews tokens. `login` logs an account in and raises LoginError.

    `learnt` is told of an account whose ids were not known, `trouble` of a cloud where nobody can be logged
    in, with the reason, and again with "" when that is over; `hopeless` says whether no credential for a
    cloud is good. `most` is how many logins there were at once.
    """

    def __init__(
        self,
        login: Callable[[Account], Awaitable[Login]],
        clock: Clock,
        *,
        learnt: Callable[[Account], None] = lambda _: None,
        trouble: Callable[[str, str], None] = lambda _, __: None,
        hopeless: Callable[[str], bool] = lambda _: False,
        chance: Callable[[float, float], float] = JITTER.uniform,
    ) -> None:
        self._login = login
        self._clock = clock
        self._learnt = learnt
        self._trouble = trouble
        self._hopeless = hopeless
        self._chance = chance
        self._heap: list[tuple[float, int, Account]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._clouds: dict[str, _Cloud] = {}
        self._turn: OrderedDict[str, None] = OrderedDict()  # clouds with something to do, in turn
        self._tasks: set[asyncio.Task[None]] = set()
        self.running = self.most = self.done = 0

    def token(self, account: Account, now: float) -> bytes | None:
        """The token, if it is good for a while."""
        if account.token is None or now >= account.until:
            return None
        account.used = now
        if now >= account.due and account.waiting is None and not self._held(account, now):
            self._begin(account, urgent=False)
        return account.token

    async def fetch(self, account: Account) -> bytes:
        """A token, waited for. Raises Forbidden for a refused credential, SiteUnavailable for all else."""
        now = self._clock.time()
        if (token := self.token(account, now)) is not None:
            return token
        account.used = now
        if account.waiting is None and (held := self._held(account, now)):
            raise self._fault(account, held, now)
        try:
            return await self.login(account)
        except LoginError as error:
            raise self._fault(account, str(error), self._clock.time()) from error

    async def login(self, account: Account) -> bytes:
        """A new token, waited for, whatever went wrong before. Raises LoginError."""
        if account.waiting is None or not account.urgent:
            self._begin(account, urgent=True)
        assert account.waiting is not None  # noqa: S101 - just begun
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await asyncio.shield(account.waiting)
        except TimeoutError as error:
            raise CloudAway(f"that takes more than {WAIT_SECONDS:.0f} seconds") from error

    def given(self, account: Account, login: Login) -> None:
        """Take a login that was made just now, elsewhere."""
        self._take(account, self._clouds.setdefault(account.cloud, _Cloud()), login)

    def refused(self, account: Account, token: bytes) -> None:
        """A site said 401 to a token: it is used no more."""
        let_go(account, token, self._clock.time())

    def ahead(self, account: Account) -> None:
        """Log in when there is time, as if a token were due."""
        if account.waiting is None and not self._held(account, self._clock.time()):
            self._begin(account, urgent=False)

    def again(self, account: Account) -> None:
        """Forget what went wrong: somebody says that it was put right."""
        account.retry_at = account.failures = account.young = 0
        account.token = None
        if (cloud := self._clouds.get(account.cloud)) is not None:
            cloud.retry_at = cloud.failures = 0

    def close(self) -> None:
        """Begin nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    # -- what may be done when ----------------------------------------------------------------------

    def _held(self, account: Account, now: float) -> str:
        """Why nothing is tried now, if that is so."""
        if account.retry_at > now:
            return account.fault or "its sites do not take the tokens that its Keystone gives"
        cloud = self._clouds.get(account.cloud)
        return cloud.reason if cloud is not None and cloud.retry_at > now else ""

    def _fault(self, account: Account, why: str, now: float) -> AtollError:
        if account.fault:
            return Forbidden(
                f"Atoll cannot log in at the cloud {account.cloud} with this project's credential "
                f"{account.id}: {why}. When that is put right, `atoll credential check {account.id}` tries "
                "it again; `atoll credential add --replace` gives another one."
            )
        cloud = self._clouds.get(account.cloud)
        wait = max(account.retry_at, cloud.retry_at if cloud is not None else 0.0) - now
        return SiteUnavailable(
            f"Atoll cannot log in at the cloud {account.cloud}: {why}.", retry_after=max(1.0, wait)
        )

    def _begin(self, account: Account, *, urgent: bool) -> None:
        if account.waiting is None:
            account.waiting = asyncio.get_running_loop().create_future()
            account.waiting.add_done_callback(_looked_at)
        account.urgent = urgent
        if not account.running:
            cloud = self._clouds.setdefault(account.cloud, _Cloud())
            (cloud.urgent if urgent else cloud.ahead).append(account)
            self._turn.setdefault(account.cloud)
            self._pump()

    def _pump(self) -> None:
        """Begin as many logins as may be."""
        for name in list(self._turn):
            if self.running >= AT_ONCE:
                return
            cloud = self._clouds[name]
            while self.running < AT_ONCE and cloud.running < AT_ONCE_CLOUD:
                account = cloud.next()
                if account is None:
                    del self._turn[name]
                    break
                account.running = True
                cloud.running += 1
                self.running += 1
                self.most = max(self.most, self.running)
                task = asyncio.get_running_loop().create_task(self._renew(account, cloud))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            if name in self._turn:
                self._turn.move_to_end(name)

    async def _renew(self, account: Account, cloud: _Cloud) -> None:
        waiting = account.waiting
        assert waiting is not None  # noqa: S101 - since it was begun
        try:
            login = await self._login(account)
            self._take(account, cloud, login)
        except LoginError as error:
            self._failed(account, cloud, error)
            waiting.set_exception(error)
        except BaseException as error:
            waiting.set_exception(CloudAway("logging in was broken off"))
            if not isinstance(error, Exception):
                raise
            # No traceback: the console shows the values of variables in one, and here they are secret.
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error(  # noqa: TRY400 - see above
                "login_failed", cloud=account.cloud, credential=account.id, error=type(error).__name__,
                at=f"{place.name}:{place.lineno}",
            )  # fmt: skip
        else:
            waiting.set_result(login.token)
        finally:
            account.waiting = None
            account.running = account.urgent = False
            cloud.running -= 1
            self.running -= 1
            self.done += 1
            self._pump()

    def _take(self, account: Account, cloud: _Cloud, login: Login) -> None:
        """Note who a credential is now. Raises LoginRefused where that is somebody else than before."""
        if account.known and login.project_id != account.project_id:
            raise LoginRefused(
                f"it is of the project {login.project_id} there now, not of {account.project_id} as before: "
                "nothing is shown of another project; remove the credential and add it anew"
            )
        now = self._clock.time()
        new = (login.project_id, login.user_id, login.domain_id)
        changed = new != (account.project_id, account.user_id, account.domain_id)
        account.project_id, account.user_id, account.domain_id = new
        account.roles, account.rules = login.roles, login.rules
        account.administers = is_administrators(login.roles)
        account.token, account.since, account.life = login.token, now, login.life
        account.until = now + login.life * (1 - SPARE)
        account.due = now + login.life * self._chance(EARLIEST, LATEST)
        account.fault, account.failures, account.retry_at = "", 0, 0.0
        self._schedule(account)
        if changed:
            self._learnt(account)
        if cloud.failures or cloud.reason:
            cloud.failures, cloud.retry_at, cloud.reason = 0, 0.0, ""
            self._trouble(account.cloud, "")

    def _failed(self, account: Account, cloud: _Cloud, error: LoginError) -> None:
        now = self._clock.time()
        jitter = self._chance(0.8, 1.2)
        if isinstance(error, Replaced):
            account.token = None  # nobody is given this one any more
        elif isinstance(error, CloudAway):
            wait = min(AWAY_FIRST * 2 ** min(cloud.failures, 10), AWAY_LONGEST)
            cloud.failures += 1
            cloud.retry_at = now + wait * jitter
            self._in_trouble(account.cloud, cloud, str(error))
        else:
            wait = min(REFUSED_FIRST * 2 ** min(account.failures, 10), REFUSED_LONGEST)
            account.failures += 1
            account.retry_at = now + wait * jitter
            if not account.fault:
                log.warning(
                    "credential_refused", cloud=account.cloud, credential=account.id, reason=str(error)
                )
            account.fault = str(error)
            account.token = None
            if self._hopeless(account.cloud):
                self._in_trouble(account.cloud, cloud, f"no credential for it is good: {error}")
        if account.token is not None:
            account.due = max(cloud.retry_at, account.retry_at)
            self._schedule(account)

    def _in_trouble(self, name: str, cloud: _Cloud, reason: str) -> None:
        if not cloud.reason:
            self._trouble(name, reason)
        cloud.reason = reason

    # -- ahead of time ------------------------------------------------------------------------------

    def _schedule(self, account: Account) -> None:
        heapq.heappush(self._heap, (account.due, next(self._numbers), account))
        if self._heap[0][2] is account:
            self._wake()

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._heap[0][0], self._due) if self._heap else None

    def _due(self) -> None:
        """Renew what is due and was used lately; what was not is renewed when it is wanted again."""
        now = self._clock.time()
        while self._heap and self._heap[0][0] <= now:
            due, _, account = heapq.heappop(self._heap)
            # An older entry of one that was renewed since is passed over.
            if due != account.due or account.token is None or account.waiting is not None:
                continue
            if now - account.used <= account.life * LATELY and not self._held(account, now):
                self._begin(account, urgent=False)
        self._timer = None
        self._wake()


def _looked_at(future: asyncio.Future[bytes]) -> None:
    """A failure nobody waited for is in the log already."""
    if not future.cancelled():
        future.exception()
