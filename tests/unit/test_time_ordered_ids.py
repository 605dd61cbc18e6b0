"""Ids that sort as they were made."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from atoll.core.ids import IdForm, possible, time_ordered

MOMENTS = st.integers(0, (1 << 48) * 1_000_000 - 1)
CHANCE = st.integers(0, (1 << 62) - 1)


@given(MOMENTS, CHANCE)
def test_it_is_a_uuid_of_version_7_with_its_moment(nanoseconds: int, chance: int) -> None:
    ident = time_ordered(nanoseconds, chance)
    read = uuid.UUID(ident)
    assert (str(read), read.version, read.variant) == (ident, 7, uuid.RFC_4122)
    assert read.int >> 80 == nanoseconds // 1_000_000
    assert read.int & (1 << 62) - 1 == chance
    assert possible(IdForm.UUID, ident)


@given(MOMENTS, CHANCE, st.integers(250, 10**18), CHANCE)
def test_a_later_one_sorts_after(nanoseconds: int, chance: int, later: int, other: int) -> None:
    after = min(nanoseconds + later, (1 << 48) * 1_000_000 - 1)
    if after - nanoseconds >= 250:
        assert time_ordered(nanoseconds, chance) < time_ordered(after, other)


def test_one_that_is_known() -> None:
    # RFC 9562, A.6: 2022-02-22 19:22:22 UTC and its random bits, the first 12 as a part of the millisecond.
    nanoseconds = 0x017F22E279B0 * 1_000_000 + -(-0xCC3 * 1_000_000 // 4096)
    assert time_ordered(nanoseconds, 0x18C4DC0C0C07398F) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
