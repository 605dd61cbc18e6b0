"""How old copies of servers are said to be."""

from datetime import timedelta

import pytest

from atoll.cli.recovery_commands import age


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=-3), "0 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=14, minutes=59), "14 h"),
        (timedelta(days=2), "2 d"),
    ],
)
def test_age_in_the_largest_unit_of_which_there_are_two(passed: timedelta, text: str) -> None:
    assert age(passed) == text
