"""An image of several sites as one: the bytes of one site, and what differs."""

import json

import pytest

from atoll.core.image_sites import together, where

TEXT = b'{"id": "i", "status": "active", "stores": "file", "odd":   "  kept "}'
EVERY = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (("active", "active"), "active"),
        (("active", "queued"), "queued"),
        (("importing", "saving"), "saving"),
        (("deactivated", "active"), "deactivated"),
        (("active", "unheard_of"), "unheard_of"),
    ],
)
def test_it_is_what_is_least_of_all(states: tuple[str, str], status: str) -> None:
    shown = {name: {"status": one, "stores": "file"} for name, one in zip("ab", states, strict=True)}
    assert json.loads(together(TEXT, shown, {}, EVERY))["status"] == status


def test_nothing_else_is_touched() -> None:
    shown = {name: {"status": "active", "stores": "file,fast" if name == "b" else "file"} for name in "ba"}
    text = together(TEXT, shown, {"c": "away"}, EVERY)
    assert b'"odd":   "  kept "' in text
    assert json.loads(text) == {
        "id": "i", "status": "active", "odd": "  kept ", "stores": "file@a,file@b,fast@b",
        "atoll_sites": "all", "atoll_sites_status": "a=active,b=active,c=unknown",
    }  # fmt: skip


def test_a_site_that_says_nothing_of_stores_adds_none() -> None:
    text = together(
        b'{"status": "active"}', {"a": {"status": "active"}, "b": {"status": "active"}}, {}, EVERY
    )
    assert "stores" not in json.loads(text)


@pytest.mark.parametrize(
    ("names", "everywhere", "said"),
    [(["a", "b", "c"], EVERY, "all"), (["a", "b"], EVERY, "a,b"), (["a"], ["a"], "a")],
)
def test_where(names: list[str], everywhere: list[str], said: str) -> None:
    assert where(names, everywhere) == said
