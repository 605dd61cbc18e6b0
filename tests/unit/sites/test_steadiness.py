"""When a service that comes and goes counts as steady, with a clock of our own."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.sites.steadiness import CALM, FLAPS, LONGEST_CALM, WINDOW, Steadiness


def flapped(apart: float, times: int = FLAPS) -> tuple[Steadiness, float]:
    """A service that was lost and came back so often, so many seconds apart, and the moment of its return."""
    one, now = Steadiness(), 0.0
    for _ in range(times):
        now += apart
        one.lost(now)
        now += 0.5
        one.back(now)
    return one, now


def test_a_restart_is_no_flapping() -> None:
    one, now = flapped(1.0, FLAPS - 1)
    assert one.steady(now)


def test_losses_far_apart_are_none() -> None:
    one, now = flapped(WINDOW)
    assert one.steady(now)


def test_one_that_flaps_is_unsteady_until_it_was_up_for_a_while() -> None:
    one, now = flapped(1.0)
    assert not one.steady(now)
    assert not one.steady(now + CALM - 0.1)
    assert f"{CALM:.0f} s more" in one.why(now)
    assert one.steady(now + CALM)
    assert one.steady(now + CALM + 1), "once steady it stays so"


def test_being_away_is_no_calm() -> None:
    one, now = flapped(1.0)
    one.lost(now + 1)
    assert not one.steady(now + 10 * CALM)


def test_each_further_loss_doubles_the_wait_up_to_a_bound() -> None:
    one, now = flapped(1.0)
    one.lost(now + 1)
    one.back(now + 2)
    assert not one.steady(now + 2 + 1.5 * CALM)
    assert one.steady(now + 2 + 2 * CALM)
    one, now = flapped(1.0, 30)
    assert one.steady(now + LONGEST_CALM + 1)


def test_after_calm_it_starts_afresh() -> None:
    one, now = flapped(1.0)
    now += CALM
    one.lost(now)
    one.back(now + 1)
    assert one.steady(now + 1)


@given(st.lists(st.floats(0.1, 100.0), max_size=40))
def test_whatever_happened_it_is_steady_in_the_end(gaps: list[float]) -> None:
    one, now = Steadiness(), 0.0
    for gap in gaps:
        now += gap
        one.lost(now)
        one.back(now)
    assert one.steady(now + LONGEST_CALM + 1)
