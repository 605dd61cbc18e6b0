"""Passwords: their hashes, and how often one may be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.identities import CHEAP

from atoll.core.errors import TooManyRequests, Unauthorized
from atoll.identity.passwords import (
    ADDRESS_BURST,
    COST,
    LONGEST,
    USER_BURST,
    USER_SECONDS,
    Passwords,
    hashed,
    matches,
)


@given(st.text(), st.text())
@settings(max_examples=50)
def test_only_the_password_matches(one: str, other: str) -> None:
    kept = hashed(one, CHEAP)
    assert matches(one, kept)
    assert matches(other, kept) is (one == other)


def test_half_a_surrogate_pair_is_a_password_too() -> None:
    assert matches("\ud800", hashed("\ud800", CHEAP))


def test_a_hash_says_its_cost_and_never_the_password() -> None:
    kept = hashed("secret", CHEAP)
    assert kept.startswith("scrypt$4$8$1$")
    assert "secret" not in kept
    assert hashed("secret", CHEAP) != kept


def test_the_cost_is_what_is_advised_for_its_memory() -> None:
    assert 128 * COST.r * 2**COST.log_n == 32 * 1024 * 1024
    assert COST.p >= 3


def test_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="4096"):
        hashed("x" * (LONGEST + 1), CHEAP)


async def wrong(passwords: Passwords, who: str, address: str = "a", kept: str | None = None) -> None:
    with pytest.raises(Unauthorized):
        await passwords.check("wrong", kept, who=who, address=address)


async def test_nobody_is_answered_as_a_wrong_password_is() -> None:
    passwords = Passwords(now=lambda: 0.0, cost=CHEAP)
    kept = await passwords.hashed("right")
    said = []
    for known in (kept, None, ""):
        with pytest.raises(Unauthorized) as refused:
            await passwords.check("wrong", known, who="x", address="a")
        said.append(str(refused.value))
    assert len(set(said)) == 1
    passwords.close()


async def test_what_nobody_is_compared_with_costs_as_much() -> None:
    passwords = Passwords(now=lambda: 0.0)
    kept = hashed("right")
    assert passwords.nobody.split("$")[:4] == kept.split("$")[:4]
    assert [len(part) for part in passwords.nobody.split("$")] == [len(part) for part in kept.split("$")]
    passwords.close()


async def test_wrong_passwords_are_counted_by_user_and_address() -> None:
    clock = [0.0]
    passwords = Passwords(now=lambda: clock[0], cost=CHEAP)
    kept = await passwords.hashed("right")
    for _ in range(USER_BURST):
        await wrong(passwords, "me", kept=kept)
    with pytest.raises(TooManyRequests) as refused:
        await passwords.check("right", kept, who="me", address="a")
    assert refused.value.retry_after == USER_SECONDS
    await passwords.check("right", kept, who="me", address="elsewhere")
    await passwords.check("right", kept, who="you", address="a")
    clock[0] = USER_SECONDS
    await passwords.check("right", kept, who="me", address="a")
    passwords.close()


async def test_right_passwords_do_not_count() -> None:
    passwords = Passwords(now=lambda: 0.0, cost=CHEAP)
    kept = await passwords.hashed("right")
    for _ in range(ADDRESS_BURST * 2):
        await passwords.check("right", kept, who="me", address="a")
    passwords.close()


async def test_an_address_that_tries_many_users_is_slowed_down() -> None:
    passwords = Passwords(now=lambda: 0.0, cost=CHEAP)
    for number in range(ADDRESS_BURST):
        await wrong(passwords, f"user{number}")
    with pytest.raises(TooManyRequests):
        await passwords.check("wrong", None, who="another", address="a")
    passwords.close()
