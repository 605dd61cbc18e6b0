"""A change of an image and its inverse: what was before is there again, whatever it was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.image_inverses import already, operations, shows, undo, way

NAMES = st.sampled_from(["name", "min_ram", "os_version", "a/b", "c~d"])
IMAGES = st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=4)
CHANGES = st.lists(st.tuples(st.sampled_from(["add", "replace", "remove"]), NAMES), min_size=1, max_size=5)


def pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def patched(image: dict[str, Any], patch: list[Any]) -> dict[str, Any] | None:
    """The image after a patch in either form, as Glance carries it out; None where it refuses."""
    image = dict(image)
    for what, name, value in operations(patch):
        if what != "add" and name not in image:
            return None
        if what == "remove":
            del image[name]
        else:
            image[name] = value
    return image


@pytest.mark.parametrize("older", [False, True])
@given(before=IMAGES, changes=CHANGES)
def test_a_patch_comes_back(older: bool, before: dict[str, Any], changes: list[tuple[str, str]]) -> None:
    patch = [
        ({what: pointer(name)} if older else {"op": what, "path": pointer(name)})
        | ({} if what == "remove" else {"value": "new"})
        for what, name in changes
    ]
    after = patched(before, patch)
    if after is None:
        return
    (request,) = undo(b"PATCH", "", patch, before) or []
    assert (request.method, request.tail) == (b"PATCH", "")
    back = [one for one in json.loads(request.body or b"") if _can_be(one, after)]
    assert patched(after, back) == before


def _can_be(operation: dict[str, Any], image: dict[str, Any]) -> bool:
    """Whether it changes anything: what was added and removed again need not be removed."""
    ((what, name, _),) = operations([operation])
    return what != "remove" or name in image


def test_a_patch_shows_in_the_image() -> None:
    patch = [{"op": "add", "path": "/tags", "value": ["b", "a"]}, {"op": "remove", "path": "/x"}]
    assert shows(b"PATCH", "", patch, {"tags": ["a", "b"]})
    assert not shows(b"PATCH", "", patch, {"tags": ["a", "b"], "x": "1"})
    assert not shows(b"PATCH", "", patch, {"tags": ["a"]})


@pytest.mark.parametrize(
    ("method", "tail", "before", "back"),
    [
        (b"PUT", "tags/new", {"tags": []}, [(b"DELETE", "tags/new")]),
        (b"PUT", "tags/a%20b", {"tags": ["a b"]}, []),
        (b"DELETE", "tags/old", {"tags": ["old"]}, [(b"PUT", "tags/old")]),
        (b"DELETE", "tags/old", {"tags": []}, []),
        (b"POST", "actions/deactivate", {"status": "active"}, [(b"POST", "actions/reactivate")]),
        (b"POST", "actions/deactivate", {"status": "deactivated"}, []),
    ],
)
def test_tags_and_actions_come_back(
    method: bytes, tail: str, before: dict[str, Any], back: list[Any]
) -> None:
    assert way(method, tail, None).read == ""
    assert [(one.method, one.tail) for one in undo(method, tail, None, before) or []] == back


def member(status: str = "pending") -> dict[str, Any]:
    return {"members": [{"member_id": "p", "status": status}]}


def test_members_come_back() -> None:
    given_member = {"member": "p"}
    assert [one.tail for one in undo(b"POST", "members", given_member, {"members": []}) or []] == [
        "members/p"
    ]
    assert undo(b"POST", "members", given_member, member()) == []
    assert already(b"POST", "members", given_member, member())
    assert not already(b"POST", "members", given_member, {"members": []})
    (request,) = undo(b"PUT", "members/p", {"status": "accepted"}, member()) or []
    assert json.loads(request.body or b"") == {"status": "pending"}
    (request,) = undo(b"DELETE", "members/p", None, member()) or []
    assert (request.method, json.loads(request.body or b"")) == (b"POST", given_member)


def test_a_member_that_had_accepted_cannot_be_brought_back() -> None:
    """Only the member itself can say that it takes an image."""
    assert undo(b"DELETE", "members/p", None, member("accepted")) is None


@pytest.mark.parametrize(("method", "tail"), [(b"POST", "import"), (b"POST", "locations"), (b"PUT", "other")])
def test_what_has_no_way_back(method: bytes, tail: str) -> None:
    assert way(method, tail, {}).read is None
