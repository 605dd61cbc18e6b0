"""The circuit breaker, with a clock of our own."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.sites.breaker import FAILURES, FIRST_WAIT, LONGEST_WAIT, Breaker


def opened(now: float = 0.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker()
    told = [breaker.failed(now, "refused") for _ in range(FAILURES)]
    assert told == [False] * (FAILURES - 1) + [True], "it is told once"
    return breaker


def test_one_failure_is_the_networks() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(0.0, "reset")
        assert breaker.admits(0.0)
        breaker.succeeded()
    assert breaker.closed


def test_open_it_admits_nobody_until_its_time_and_then_one() -> None:
    breaker = opened()
    assert not breaker.admits(0.0)
    assert breaker.reason == "refused"
    assert not breaker.admits(FIRST_WAIT * 0.79)
    later = FIRST_WAIT * 1.21
    assert breaker.admits(later)
    assert not breaker.admits(later), "one probe at a time"


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    assert breaker.admits(2.0)
    assert breaker.succeeded()
    assert breaker.closed
    assert not breaker.succeeded(), "it is told once"
    assert breaker.reason == ""


def test_a_probe_that_fails_makes_it_wait_longer() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(8):
        waits.append(breaker.retry_at - now)
        now = breaker.retry_at
        assert breaker.admits(now)
        assert not breaker.failed(now, "still"), "opened is told once"
    assert all(0.8 * 2**turn <= wait <= 1.2 * 2**turn for turn, wait in enumerate(waits[:5]))
    assert max(waits) <= LONGEST_WAIT * 1.2
    assert breaker.reason == "still"


def test_a_probe_whose_client_left_says_nothing_and_lets_another_go() -> None:
    breaker = opened()
    assert breaker.admits(2.0)
    breaker.probing = False
    assert breaker.admits(2.0)


@given(st.lists(st.sampled_from(["ask", "good", "bad", "wait"]), max_size=60))
def test_it_never_locks_itself_out(story: list[str]) -> None:
    """Whatever happened, after the longest wait somebody may ask again, and one good answer closes it."""
    breaker, now = Breaker(), 0.0
    for event in story:
        if event == "wait":
            now += 1.0
        elif event == "ask":
            breaker.admits(now)
        elif event == "good":
            breaker.succeeded()
        else:
            breaker.failed(now, "bad")
    if breaker.probing:
        breaker.failed(now, "the probe that is still out")
    assert breaker.admits(now + LONGEST_WAIT * 1.3)
    breaker.succeeded()
    assert breaker.closed
