"""What of a plan is sealed, and what is shown of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.workflow.sealed import (
    HIDDEN,
    SEALED,
    SECRET,
    carries,
    changed,
    form,
    hidden,
    sealed,
    texts,
    unders,
    veiled,
    without,
)

SECRETS: list[Any] = []


def seal(value: Any) -> dict[str, list[str]]:
    """Keep a value, and say where."""
    SECRETS.append(value)
    return form("key", str(len(SECRETS) - 1))


def opened(value: Any) -> Any:
    """What was sealed, whole again."""
    return changed(value, lambda _, text: SECRETS[int(text)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "metadata", "user_data", "personality", SEALED]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_sealed_and_opened_is_the_same(value: Any) -> None:
    once = sealed(value, seal)
    assert opened(once) == value
    assert not carries(once)
    assert (once == value) is not carries(value)
    assert sealed(once, seal) == once


@pytest.mark.parametrize("name", sorted(SECRET))
def test_what_is_secret_is_known_by_its_name_at_any_depth(name: str) -> None:
    value = {"body": {"server": {"name": "vm", name: "hush"}}}
    found = sealed(value, seal)
    assert "hush" not in str(found)
    assert hidden(found) == {"body": {"server": {"name": "vm", name: HIDDEN}}}
    assert {*unders(found)} == {"key"}


def test_what_is_empty_or_metadata_is_none() -> None:
    value: dict[str, Any] = {
        "user_data": None,
        "adminPass": "",
        "personality": [],
        "metadata": {"user_data": "seen by all"},
    }
    assert sealed(value, seal) == value
    assert not carries(value)


def test_what_refers_to_another_step_is_left_to_be_looked_up() -> None:
    part = {"path": "/etc/id", "contents": {"$from": "vm.id"}}
    found = sealed({"personality": [part, {"path": "/b", "contents": "hush"}]}, seal)
    assert found["personality"][0]["contents"] == {"$from": "vm.id"}
    assert "hush" not in str(found)
    assert sealed({"user_data": {"$from": "text"}}, seal) == {"user_data": {"$from": "text"}}


def test_what_only_looks_like_it_is_left() -> None:
    like: list[dict[str, Any]] = [
        {SEALED: "x"}, {SEALED: ["x"]}, {SEALED: ["x", 1]}, {SEALED: ["x", "y"], "more": 1},
    ]  # fmt: skip
    for value in like:
        assert changed({"a": value}, lambda *_: "opened") == {"a": value}


def test_a_lost_one_is_left_out() -> None:
    body = {"name": "vm", "user_data": form("lost", "x"), "disks": [{"adminPass": form("there", "y")}]}
    assert without(body, "lost") == {"name": "vm", "disks": [{"adminPass": form("there", "y")}]}


def test_texts_of_what_was_opened() -> None:
    assert [*texts({"a": ["x", {"b": "y"}], "n": 1})] == ["x", "y"]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (
            "user_data. Value: {'user_data': 'a-long-secret-of-mine'}",
            "user_data. Value: {'user_data': '(sealed)'}",
        ),
        ("cut: a-long-secret-o", "cut: (sealed)"),
        ("twice a-long-secret-of-mine, a-long-secret-of-mine!", "twice (sealed), (sealed)!"),
        ("a-long or short", "a-long or short"),
        ("it's \\'quoted\\'", "it's \\'quoted\\'"),
    ],
)
def test_no_message_repeats_it(said: str, left: str) -> None:
    assert veiled(said, {"a-long-secret-of-mine"}) == left


def test_nor_in_another_spelling() -> None:
    secret = 'a "quoted"\nsecret'
    assert veiled(f"{secret!r}", [secret]) == "'(sealed)'"
    assert veiled('"a \\"quoted\\"\\nsecret"', [secret]) == '"(sealed)"'
