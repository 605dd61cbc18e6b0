"""How often what sites have is looked at, and what is kept of it."""

import pytest

from atoll.gateway.call import Call, Caller, own_call
from atoll.gateway.looks import FRESH_SECONDS, ImageLooks, fresh_for


def call_of(project: str, *, admin: bool = False) -> Call:
    """A call of somebody of a project."""
    caller = Caller(token=b"", user_id="u", project_id=project, roles=frozenset(), is_admin=admin, until=0.0)
    return own_call(caller, 0.0)


@pytest.mark.parametrize(("count", "seconds"), [(0, 30), (3_000, 30), (100_000, 1_000)])
def test_many_are_looked_at_less_often(count: int, seconds: float) -> None:
    assert fresh_for(count) == seconds


def test_what_was_compared_is_each_projects_own() -> None:
    looks = ImageLooks()
    looks.learn(call_of("a"), 0.0, ["one"], 5)
    assert looks.known(call_of("a"))
    assert not looks.known(call_of("b"))
    assert not looks.known(call_of("a", admin=True)), "an administrator is shown more"


def test_it_is_due_when_it_is_old_or_a_site_was_away() -> None:
    looks, call = ImageLooks(), call_of("a")
    assert looks.due(call, 0.0, [])
    looks.learn(call, 0.0, ["one", "two"], 10_000)
    assert not looks.due(call, 100.0, ["one", "two"])
    assert looks.due(call, 100.1, ["one"])
    assert looks.due(call, FRESH_SECONDS + 1, ["one", "two", "three"])
    assert not looks.due(call, FRESH_SECONDS - 1, ["one", "two", "three"])


def test_the_projects_seen_longest_ago_are_forgotten() -> None:
    looks = ImageLooks(most=2)
    for project in ("a", "b", "a", "c"):
        looks.learn(call_of(project), 0.0, ["one"], 1)
    assert [looks.known(call_of(project)) for project in "abc"] == [True, False, True]
