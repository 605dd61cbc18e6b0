"""Token buckets."""

import pytest

from atoll.core.errors import TooManyRequests
from atoll.core.limiter import KEPT, Limiter


def test_a_burst_then_the_rate() -> None:
    limiter = Limiter(rate=2.0, burst=3, message="too much")
    for _ in range(3):
        limiter.take("p", 0.0)
    with pytest.raises(TooManyRequests) as refused:
        limiter.take("p", 0.0)
    assert refused.value.retry_after == 1.0
    limiter.take("p", 0.5)
    with pytest.raises(TooManyRequests):
        limiter.take("p", 0.6)


def test_a_refusal_costs_nothing() -> None:
    limiter = Limiter(rate=1.0, burst=1, message="too much")
    limiter.take("p", 0.0)
    for _ in range(100):
        with pytest.raises(TooManyRequests):
            limiter.take("p", 0.5)
    limiter.take("p", 1.01)


def test_projects_do_not_share() -> None:
    limiter = Limiter(rate=1.0, burst=1, message="too much")
    limiter.take("p", 0.0)
    limiter.take("q", 0.0)


def test_a_long_pause_saves_no_more_than_a_burst() -> None:
    limiter = Limiter(rate=10.0, burst=2, message="too much")
    limiter.take("p", 0.0)
    for _ in range(2):
        limiter.take("p", 1e6)
    with pytest.raises(TooManyRequests):
        limiter.take("p", 1e6)


def test_only_so_many_projects_are_remembered() -> None:
    limiter = Limiter(rate=1.0, burst=1, message="too much")
    for number in range(KEPT + 100):
        limiter.take(str(number), 0.0)
    with pytest.raises(TooManyRequests):
        limiter.take(str(KEPT + 99), 0.0)
