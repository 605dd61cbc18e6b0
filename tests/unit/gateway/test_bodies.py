"""What a body names, and that nothing of it is changed but what has to be."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.gateway import bodies
from atoll.gateway.locate import shows
from atoll.services.compute import SERVER_REFS

PLACE = "server/availability_zone"
UUID = "0f0f0f0f-1111-4222-8333-444444444444"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.sampled_from(["availability_zone", "server", '"', "\\", "zone1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip
STYLES = st.sampled_from(
    [(None, (",", ":")), (None, (" , ", " : ")), (2, (",", ": ")), ("\t", (", ", ":  "))]
)


@given(JSON, st.dictionaries(st.text(max_size=6), JSON, max_size=4), STYLES, st.booleans())
def test_of_a_zone_only_the_name_is_changed(
    other: Any, fields: dict[str, Any], style: Any, ascii_only: bool
) -> None:
    fields.pop("availability_zone", None)
    content = {"other": other, "server": {**fields, "availability_zone": "@ZONE@", "last": other}}
    text = json.dumps(content, indent=style[0], separators=style[1], ensure_ascii=ascii_only).encode()
    asked = text.replace(b"@ZONE@", b"north:h1")
    assert bodies.with_zone(asked, PLACE, "nova") == text.replace(b"@ZONE@", b"nova:h1")


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), st.integers(0, 4), STYLES)
def test_a_zone_taken_out_leaves_the_rest(fields: dict[str, Any], place: int, style: Any) -> None:
    fields.pop("availability_zone", None)
    members = list(fields.items())
    members.insert(min(place, len(members)), ("availability_zone", "north"))
    text = json.dumps({"server": dict(members)}, indent=style[0], separators=style[1]).encode()
    assert json.loads(bodies.with_zone(text, PLACE, None)) == {"server": fields}


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff", b'{"\xed\xa0\xbd": 1}', b"[" * 100_000, b'{"a":' * 5000]
)
def test_what_is_no_object_is_none_and_no_accident(text: bytes) -> None:
    assert bodies.decoded(text) is None


@given(JSON)
def test_any_body_can_be_looked_through(content: Any) -> None:
    bodies.named({"server": content, "os:scheduler_hints": content}, SERVER_REFS)
    assert bodies.zone_named({"server": content}, PLACE) in {None, *_texts(content)}


def _texts(content: Any) -> set[str]:
    """What a zone may be read as: the part before the first colon."""
    if isinstance(content, dict) and isinstance(content.get("availability_zone"), str):
        return {content["availability_zone"].partition(":")[0]}
    return set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"server": {"id": "%b"}}' % UUID.encode(), True),
        (b'{"server": {"id": "%b"}}' % UUID.replace("-", "").upper().encode(), True),
        (b'{"server": {"id": "other", "links": [{"href": "http://x/%b"}]}}' % UUID.encode(), False),
        (b'{"versions": []}', False),
        (b'{"server": null}', False),
        (b"[]", False),
        (b"<html>", False),
        (b"", False),
        (b'{"server": {"id": "\xff"}}', False),
    ],
)
def test_a_search_believes_only_what_shows_the_id(text: bytes, found: bool) -> None:
    assert shows("server", UUID, text) is found
