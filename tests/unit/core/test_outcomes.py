"""Telling what a create made from all else: never another's, never more than it can have made."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.outcomes import Asked, asked, listed, told_apart

NOW = 1_800_000_000.0


def wanted(*bodies: Any, since=NOW - 10, until=NOW + 10):
    return Asked(bodies=bodies or ({"name": "a"},), project_id="p", user_id="u", since=since, until=until)


def item(ident="1", at=NOW, **fields: Any):
    created = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": ident, "name": "a", "created": created, "tenant_id": "p", "user_id": "u", **fields}


def test_the_one_that_was_made():
    assert told_apart([item()], wanted(), ()) == (["1"], "")


@pytest.mark.parametrize(
    "other",
    [
        item(at=NOW - 60),
        item(at=NOW + 60),
        item(name="b"),
        item(name="a-1"),
        item(tenant_id="q"),
        item(user_id="v"),
        item(status="DELETED"),
        item(device_id="somebody's"),
        {"name": "a", "created": "2027-01-15T08:00:00Z"},
    ],
)
def test_what_is_not_it(other):
    assert told_apart([other], wanted(), ())[0] == []


def test_what_others_were_told_of_is_theirs():
    assert told_apart([item("1"), item("2")], wanted(), {"1"}) == (["2"], "")
    assert told_apart([item("1")], wanted(), {"1"})[0] == []


def test_two_that_could_be_it_are_not_claimed():
    found, reason = told_apart([item("1"), item("2")], wanted(), ())
    assert found == []
    assert "1, 2" in reason


def test_what_does_not_say_when_it_was_made_is_not_claimed():
    group = {"id": "1", "name": "a", "project_id": "p"}
    found, reason = told_apart([group], wanted(), ())
    assert found == []
    assert "does not show when" in reason


def test_several_of_one_request():
    body = {"name": "a", "min_count": 1, "max_count": "3"}
    items = [item("1", name="a-1"), item("2", name="a-2")]
    assert told_apart(items, wanted(body), ())[0] == ["1", "2"]
    too_many = [item(str(n), name=f"a-{n}") for n in range(4)]
    assert told_apart(too_many, wanted(body), ())[0] == []


def test_a_nameless_one_has_no_name():
    body = {"network_id": "n"}
    shown = item(name="", network_id="n", device_id="", description="")
    assert told_apart([shown], wanted(body), ())[0] == ["1"]
    assert told_apart([{**shown, "name": "x"}], wanted(body), ())[0] == []
    assert told_apart([{**shown, "network_id": "m"}], wanted(body), ())[0] == []


@given(st.integers(-10, 10), st.integers(-12, 14))
def test_times_of_any_zone_are_understood(seconds, hours):
    at = datetime.fromtimestamp(NOW + seconds, timezone(timedelta(hours=hours)))
    assert told_apart([{**item(), "created": at.isoformat()}], wanted(), ())[0] == ["1"]


@given(st.lists(st.sampled_from("abc"), max_size=6), st.sets(st.integers(0, 6)))
def test_never_more_than_asked_for_and_never_anothers(names, known):
    items = [item(str(n), name=name) for n, name in enumerate(names)]
    others = {str(n) for n in known}
    found, _ = told_apart(items, wanted(), others)
    assert len(found) <= 1
    assert not set(found) & others
    assert all(names[int(one)] == "a" for one in found)


def test_bodies_and_lists():
    assert asked({"server": {"name": "a"}}, "server", "servers") == ({"name": "a"},)
    assert asked({"ports": [{"name": "a"}, 1]}, "port", "ports") == ({"name": "a"},)
    assert asked({"name": "a", "id": "1"}, "image", "images") == ({"name": "a", "id": "1"},)
    assert listed(b'{"servers": [{"id": "1"}]}', "servers") == [{"id": "1"}]
    assert listed(b"<html>", "servers") is None
    assert listed(b'{"servers": {}}', "servers") is None
