"""When tokens are fetched and renewed: by a clock of the test's own."""

import asyncio
import random
from collections.abc import Callable

import pytest

from atoll.core.errors import Forbidden, SiteUnavailable
from atoll.trust.login import CloudAway, Login, LoginError, LoginRefused
from atoll.trust.renewals import (
    AT_ONCE,
    AT_ONCE_CLOUD,
    EARLIEST,
    LATEST,
    REFUSED_FIRST,
    YOUNG_REFUSALS,
    Account,
    Renewals,
)

LIFE = 1000.0
MANY = 1000


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, (), asyncio.get_running_loop())
        self._calls.append(timer)
        return timer

    @property
    def next(self) -> float | None:
        return min((one.when() for one in self._calls if not one.cancelled()), default=None)

    async def to(self, when: float) -> None:
        while (at := self.next) is not None and at <= when:
            self.now = max(self.now, at)
            due = [one for one in self._calls if not one.cancelled() and one.when() <= at]
            self._calls = [one for one in self._calls if one not in due]
            for one in due:
                one._run()  # noqa: SLF001 - as an event loop does
            await settle()
        self.now = when
        await settle()


async def settle() -> None:
    """Let everything go on that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Keystones:
    """Logs in as the test says; `asked` has the accounts in order, `gate` holds answers back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: LoginError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.project = "p"
        self.running = 0
        self.most = 0

    async def login(self, account: Account) -> Login:
        self.asked.append(account.id)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.running -= 1
        if self.error is not None:
            raise self.error
        token = f"{account.id}-{len(self.asked)}".encode()
        return Login(
            token=token, life=LIFE, project_id=self.project, user_id="u", domain_id="d", roles=("member",)
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keystones() -> Keystones:
    return Keystones()


@pytest.fixture
async def renewals(clock: Clock, keystones: Keystones) -> Renewals:
    return Renewals(keystones.login, clock, chance=random.Random(1).uniform)  # noqa: S311 - to be the same each time


async def test_a_token_is_fetched_once_for_all_who_wait(renewals, keystones):
    account = Account("a", "tokyo")
    tokens = await asyncio.gather(*(renewals.fetch(account) for _ in range(50)))
    assert set(tokens) == {b"a-1"}
    assert keystones.asked == ["a"]


async def test_one_in_use_is_renewed_between_half_and_four_fifths_of_its_life(renewals, keystones, clock):
    account = Account("a", "tokyo")
    await renewals.fetch(account)
    assert LIFE * EARLIEST <= clock.next <= LIFE * LATEST
    await clock.to(clock.next - 1)
    assert renewals.token(account, clock.now) == b"a-1"
    await clock.to(clock.now + 2)
    assert renewals.token(account, clock.now) == b"a-2"
    assert keystones.asked == ["a", "a"]


async def test_a_login_made_elsewhere_is_used_and_renewed_in_its_time(renewals, keystones, clock):
    account = Account("a", "tokyo")
    renewals.given(
        account,
        Login(token=b"given", life=LIFE, project_id="p", user_id="u", domain_id="d", roles=("admin",)),
    )
    assert await renewals.fetch(account) == b"given"
    assert (account.project_id, account.roles, keystones.asked) == ("p", ("admin",), [])
    await clock.to(clock.next - 1)
    assert renewals.token(account, clock.now) == b"given"
    await clock.to(clock.now + 2)
    assert renewals.token(account, clock.now) == b"a-1"


async def test_an_idle_one_is_not_renewed_until_it_is_wanted(renewals, keystones, clock):
    account = Account("a", "tokyo")
    await renewals.fetch(account)
    await clock.to(LIFE * 10)
    assert keystones.asked == ["a"]
    assert renewals.token(account, clock.now) is None
    assert await renewals.fetch(account) == b"a-2"


async def test_one_that_is_wanted_after_its_renewal_was_due_is_used_and_renewed(renewals, clock):
    account = Account("a", "tokyo")
    await renewals.fetch(account)
    await clock.to(LIFE * 0.9)
    assert renewals.token(account, clock.now) == b"a-1"
    await settle()
    assert renewals.token(account, clock.now) == b"a-2"


async def test_renewals_of_very_many_are_spread_and_few_at_once(renewals, keystones, clock):
    accounts = [Account(f"{number}", f"cloud{number % 100}") for number in range(MANY)]
    await asyncio.gather(*(renewals.fetch(one) for one in accounts))
    keystones.asked.clear()
    for hundredth in range(40, 90):
        for one in accounts:
            renewals.token(one, clock.now)
        before = len(keystones.asked)
        await clock.to(LIFE * hundredth / 100)
        while renewals.running:
            await settle()
        assert len(keystones.asked) - before < MANY / 10
    assert len(set(keystones.asked)) == MANY
    assert renewals.most == keystones.most == AT_ONCE


async def test_one_cloud_does_not_take_all_threads(renewals, keystones):
    keystones.gate.clear()
    slow = [Account(f"slow{number}", "slow") for number in range(20)]
    for one in slow:
        renewals.ahead(one)
    await settle()
    assert keystones.running == AT_ONCE_CLOUD
    other = Account("a", "tokyo")
    waiting = asyncio.ensure_future(renewals.fetch(other))
    await settle()
    assert keystones.asked[-1] == "a"
    keystones.gate.set()
    assert await waiting


async def test_a_request_goes_before_renewals_ahead_of_time(renewals, keystones):
    keystones.gate.clear()
    for number in range(10):
        renewals.ahead(Account(f"{number}", "tokyo"))
    waiting = asyncio.ensure_future(renewals.fetch(Account("urgent", "tokyo")))
    await settle()
    keystones.gate.set()
    await waiting
    assert keystones.asked.index("urgent") == AT_ONCE_CLOUD


async def test_a_refused_credential_is_not_tried_again_at_once(renewals, keystones, clock):
    account = Account("a", "tokyo")
    keystones.error = LoginRefused("Keystone says 401")
    for _ in range(20):
        with pytest.raises(Forbidden, match=r"tokyo.*401.*atoll credential check a"):
            await renewals.fetch(account)
    assert keystones.asked == ["a"]
    await clock.to(REFUSED_FIRST * 2)
    keystones.error = None
    assert await renewals.fetch(account) == b"a-2"
    assert account.fault == ""


async def test_a_cloud_that_is_away_is_tried_by_few_and_told_once(clock, keystones):
    told: list[tuple[str, str]] = []
    renewals = Renewals(keystones.login, clock, trouble=lambda *one: told.append(one))
    keystones.error = CloudAway("it cannot be reached")
    accounts = [Account(f"{number}", "tokyo") for number in range(100)]
    for one in accounts:
        with pytest.raises(SiteUnavailable, match="tokyo"):
            await renewals.fetch(one)
    assert len(keystones.asked) <= AT_ONCE_CLOUD
    keystones.error = None
    await clock.to(120)
    await renewals.fetch(accounts[0])
    assert told == [("tokyo", "it cannot be reached"), ("tokyo", "")]


async def test_a_token_goes_on_while_its_keystone_is_away(renewals, keystones, clock):
    account = Account("a", "tokyo")
    await renewals.fetch(account)
    keystones.error = CloudAway("it cannot be reached")
    while clock.now < LIFE * 0.9:
        assert renewals.token(account, clock.now) == b"a-1"
        await clock.to(clock.now + 10)
    keystones.error = None
    await clock.to(clock.now + 120)
    assert await renewals.fetch(account) != b"a-1"


async def test_tokens_that_sites_refuse_again_and_again_are_not_fetched_for_ever(renewals, keystones, clock):
    account = Account("a", "tokyo")
    for _ in range(YOUNG_REFUSALS):
        renewals.refused(account, await renewals.fetch(account))
    with pytest.raises(SiteUnavailable, match="do not take"):
        await renewals.fetch(account)
    assert len(keystones.asked) == YOUNG_REFUSALS
    await clock.to(100)
    assert await renewals.fetch(account)


async def test_a_refusal_of_an_older_token_says_nothing_of_the_newer(renewals):
    account = Account("a", "tokyo")
    first = await renewals.fetch(account)
    renewals.refused(account, first)
    second = await renewals.fetch(account)
    renewals.refused(account, first)
    assert renewals.token(account, 0.0) == second


async def test_another_project_than_before_is_nobody(renewals, keystones):
    account = Account("a", "tokyo")
    renewals.refused(account, await renewals.fetch(account))
    keystones.project = "another"
    with pytest.raises(Forbidden, match="another"):
        await renewals.fetch(account)
    assert (account.project_id, account.token) == ("p", None)
