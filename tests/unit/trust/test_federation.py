"""When callers' tokens are exchanged at a cloud that believes their Keystone: by a clock of the test's."""

import asyncio
import hashlib
from dataclasses import dataclass, field

import pytest
from tests.unit.trust.test_renewals import Clock, settle

from atoll.core.errors import Forbidden, SiteUnavailable, Unauthorized
from atoll.trust.exchange import CallerRefused, CloudFalters, NothingThere
from atoll.trust.federation import (
    AT_ONCE_CLOUD,
    FALTERS,
    KEPT,
    REFUSED_FIRST,
    FederatedCloud,
    FederatedGrant,
)
from atoll.trust.login import CloudAway, Login, LoginRefused
from atoll.trust.renewals import YOUNG_REFUSALS

LIFE = 1000.0


@dataclass(frozen=True)
class Caller:
    token: bytes = b"token"
    user_id: str = "a" * 32
    project_id: str = "b" * 32
    roles: frozenset[str] = frozenset({"member"})
    is_admin: bool = False


@dataclass
class There:
    """The clouds' side: `error` is what it answers with in place of a token."""

    clock: Clock = field(default_factory=Clock)
    error: Exception | None = None
    roles: tuple[str, ...] = ("member",)
    asked: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0
    told: list[str] = field(default_factory=list)
    disowned: list[bytes] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()
        self.cloud = FederatedCloud(
            "tokyo",
            self._exchange,
            told=lambda _, reason: self.told.append(reason),
            disowned=self.disowned.append,
            clock=self.clock,
            chance=lambda low, high: (low + high) / 2,
        )

    async def _exchange(self, token: str) -> Login:
        self.asked.append(token)
        number = len(self.asked)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.gate.wait()
        self.running -= 1
        if self.error is not None and not token.startswith("good"):
            raise self.error
        return Login(
            token=f"there-{number}".encode(),
            life=LIFE,
            project_id="d" * 32,
            user_id=hashlib.sha256(token.encode()).hexdigest(),
            domain_id="default",
            roles=self.roles,
        )

    def grant(self, caller: Caller | None = None) -> FederatedGrant:
        grant = self.cloud.grant(caller or Caller(), as_admin=False)
        assert grant is not None
        return grant


@pytest.fixture
async def there() -> There:
    return There()


async def test_a_token_is_used_for_its_life_and_not_longer(there):
    token = await there.grant().fetch()
    assert there.grant().token(LIFE * 0.9) == token
    assert there.grant().token(LIFE) is None
    await there.clock.to(LIFE * 0.94)
    assert await there.grant().fetch() == token
    await there.clock.to(LIFE)
    assert await there.grant().fetch() != token
    assert len(there.asked) == 2, "nothing is fetched ahead"


@pytest.mark.parametrize(
    "other",
    [
        Caller(user_id="e" * 32, token=b"2"),
        Caller(project_id="e" * 32, token=b"2"),
        Caller(roles=frozenset({"reader"}), token=b"2"),
        Caller(roles=frozenset({"reader"})),
    ],
)
async def test_nobody_has_the_token_of_another_user_project_or_role(there, other):
    token = await there.grant().fetch()
    assert there.grant(other).token(0.0) is None
    assert await there.grant(other).fetch() != token


async def test_two_tokens_of_one_user_share_what_was_got(there):
    assert await there.grant().fetch() == await there.grant(Caller(token=b"second")).fetch()
    assert there.asked == ["token"]


async def test_many_wait_for_one_and_some_at_a_time(there):
    there.gate.clear()
    callers = [Caller(user_id=f"{n:032d}", token=b"%d" % n) for n in range(AT_ONCE_CLOUD * 2)]
    tasks = [asyncio.ensure_future(there.grant(one).fetch()) for one in callers * 3]
    await settle()
    there.gate.set()
    assert len(set(await asyncio.gather(*tasks))) == len(callers) == len(there.asked)
    assert there.most == AT_ONCE_CLOUD


async def test_who_has_nothing_there_is_looked_for_again_after_a_while_with_nobody_waiting(there):
    there.error = NothingThere("its Keystone has no project demo that this user may use")
    with pytest.raises(Forbidden, match="no project demo"):
        await there.grant().fetch()
    assert there.cloud.grant(Caller(), as_admin=False) is None
    assert "no project demo" in there.cloud.why_not(Caller())
    assert len(there.asked) == 1
    there.error = None
    await there.clock.to(REFUSED_FIRST + 1)
    assert there.cloud.grant(Caller(), as_admin=False) is None
    await settle()
    assert there.grant().token(there.clock.now) is not None


async def test_a_refusal_is_the_callers_own_and_not_asked_for_again_at_once(there):
    there.error = LoginRefused("several projects")
    for _ in range(3):
        with pytest.raises(Forbidden, match="several projects"):
            await there.grant().fetch()
    assert there.told == []
    assert await there.grant(Caller(token=b"good", user_id="e" * 32)).fetch()
    assert there.asked == ["token", "good"]


async def test_a_cloud_that_is_away_is_left_alone_by_all_and_longer_each_time(there):
    there.error = CloudAway("its Keystone cannot be reached")
    for n in range(3):
        with pytest.raises(SiteUnavailable, match="cannot be reached"):
            await there.grant(Caller(user_id=f"{n:032d}", token=b"%d" % n)).fetch()
    assert len(there.asked) == 1
    waits = []
    for _ in range(4):
        at = there.clock.next
        assert at is not None
        waits.append(at - there.clock.now)
        await there.clock.to(at)
        assert there.told[-1] == "", "it may be tried again"
        with pytest.raises(SiteUnavailable):
            await there.grant().fetch()
        assert there.told[-1] != ""
    assert waits == sorted(waits)
    assert waits[-1] > waits[0]
    there.error = None
    await there.clock.to(there.clock.now + 100)
    assert await there.grant().fetch()
    assert there.told[-1] == ""


async def test_an_error_for_one_caller_is_nobody_elses_until_there_are_several(there):
    there.error = CloudFalters("its Keystone answers 500")
    for _ in range(5):
        with pytest.raises(SiteUnavailable, match="answers 500"):
            await there.grant().fetch()
    assert there.asked == ["token"]
    assert there.told == []
    assert await there.grant(Caller(token=b"good", user_id="e" * 32)).fetch()
    for n in range(FALTERS):
        assert there.told == []
        with pytest.raises(SiteUnavailable):
            await there.grant(Caller(user_id=f"{n:032d}", token=b"%d" % n)).fetch()
    assert there.told == ["its Keystone answers 500"]


async def test_a_token_that_the_clients_keystone_knows_no_more_is_no_fault_of_the_users_next_one(there):
    there.error = CallerRefused("the clients' Keystone knows the caller's token no more")
    there.gate.clear()
    gone = asyncio.ensure_future(there.grant(Caller(token=b"gone")).fetch())
    await settle()
    still = asyncio.ensure_future(there.grant(Caller(token=b"good")).fetch())
    await settle()
    there.gate.set()
    with pytest.raises(Unauthorized):
        await gone
    assert await still == b"there-2"
    assert there.disowned == [b"gone"]
    assert there.told == []


async def test_tokens_that_sites_never_take_are_not_asked_for_without_end(there):
    for _ in range(YOUNG_REFUSALS):
        there.grant().refused(await there.grant().fetch())
    with pytest.raises(SiteUnavailable, match="do not take the tokens"):
        await there.grant().fetch()


async def test_a_bug_leaves_nobody_waiting(there):
    there.error = ZeroDivisionError()
    with pytest.raises(SiteUnavailable):
        await there.grant().fetch()


async def test_ordinary_callers_do_not_become_administrators_there(there):
    there.roles = ("admin", "member")
    with pytest.raises(Forbidden, match="administrator"):
        await there.grant().fetch()
    assert there.grant().token(there.clock.now) is None
    admin = Caller(token=b"admin", roles=frozenset({"admin"}), is_admin=True)
    assert await there.grant(admin).fetch()
    assert there.cloud.grant(Caller(), as_admin=True) is None


async def test_ids_of_the_projects_other_users_are_translated_as_soon_as_they_are_known(there):
    grant = there.grant()
    await grant.fetch()
    text = b'{"user_id": "%b"}' % hashlib.sha256(b"second").hexdigest().encode()
    assert grant.ids.outward(text) == text
    await there.grant(Caller(token=b"second", user_id="e" * 32)).fetch()
    assert grant.ids.outward(text) == b'{"user_id": "%b"}' % (b"e" * 32)


async def test_what_is_remembered_has_a_bound(there):
    for n in range(KEPT + 10):
        there.grant(Caller(user_id=f"{n:032d}", token=b"%d" % n))
    assert len(there.cloud._accounts) <= KEPT  # noqa: SLF001 - memory is not to be seen from outside
    assert len(there.cloud._grants) <= KEPT  # noqa: SLF001 - likewise
