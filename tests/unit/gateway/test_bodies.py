"""What a body names, and that nothing of it is changed but what has to be."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.gateway import bodies
from atoll.gateway.locate import shows
from atoll.services.block_storage import BLOCK_STORAGE
from atoll.services.compute import COMPUTE, SERVER_REFS
from atoll.services.table import Ref, Service

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


def refs_of(service: Service, path: str) -> Sequence[Ref]:
    """What a body for a path may name."""
    route = service.match(b"POST", [part.encode() for part in path.split("/")]).route
    route = route or service.match(b"PUT", [part.encode() for part in path.split("/")]).route
    assert route is not None
    return route.refs or service.by_name[route.resource].refs


HINTS = "OS-SCH-HNT:scheduler_hints"


@pytest.mark.parametrize(
    ("service", "path", "content", "names"),
    [
        (COMPUTE, "servers", {"server": {"flavorRef": 42}}, {("flavor", "42")}),
        (COMPUTE, "servers", {"server": {"flavorRef": "http://x/v2.1/flavors/f?a"}}, {("flavor", "f")}),
        (COMPUTE, "servers", {"server": {"key_name": "http://k/n"}}, {("keypair", "http://k/n")}),
        (
            COMPUTE,
            "servers",
            {"server": {"block_device_mapping_v2": [{"volume_type": "t"}, {"source_type": "blank"}]}},
            {("volume_type", "t")},
        ),
        (COMPUTE, "servers", {"os:scheduler_hints": {"group": ["g"]}}, {("server_group", "g")}),
        (COMPUTE, "servers", {"os:scheduler_hints": {"different_host": ["s"]}}, set()),
        (COMPUTE, "servers/s/action", {"rebuild": {"key_name": "k"}}, {("keypair", "k")}),
        (COMPUTE, "servers/s/action", {"addFloatingIp": {"address": "1.2.3.4"}}, {("floatingip", "1.2.3.4")}),
        (COMPUTE, "os-volumes", {"volume": {"snapshot_id": "s"}}, {("snapshot", "s")}),
        (BLOCK_STORAGE, "volumes", {"volume": {"image_id": "i"}}, {("image", "i")}),
        (BLOCK_STORAGE, "volumes", {"volume": {"consistencygroup_id": "g"}}, {("group", "g")}),
        (BLOCK_STORAGE, "volumes", {HINTS: {"local_to_instance": "s"}}, {("server", "s")}),
        (BLOCK_STORAGE, "volumes/v/action", {"os-reimage": {"image_id": "i"}}, {("image", "i")}),
        (BLOCK_STORAGE, "volumes/v/action", {"revert": {"snapshot_id": "s"}}, {("snapshot", "s")}),
        (
            BLOCK_STORAGE,
            "groups/g",
            {"group": {"add_volumes": "a, b,", "remove_volumes": "c"}},
            {("volume", "a"), ("volume", "b")},
        ),
        (BLOCK_STORAGE, "groups/action", {"create-from-src": {"source_group_id": "g"}}, {("group", "g")}),
        (
            BLOCK_STORAGE,
            "consistencygroups",
            {"consistencygroup": {"volume_types": "a,b"}},
            {("volume_type", "a"), ("volume_type", "b")},
        ),
        (
            BLOCK_STORAGE,
            "consistencygroups/c/update",
            {"consistencygroup": {"add_volumes": "a"}},
            {("volume", "a")},
        ),
        (BLOCK_STORAGE, "manageable_volumes", {"volume": {"host": "h@b#p"}}, {("host", "h@b#p")}),
    ],
)
def test_what_a_body_names(service: Service, path: str, content: Any, names: set[tuple[str, str]]) -> None:
    assert set(bodies.named(content, refs_of(service, path))) == names


def test_of_several_in_one_text_each_has_its_id_there() -> None:
    refs = refs_of(BLOCK_STORAGE, "consistencygroups")
    text = b'{"consistencygroup": {"volume_types": "a, b", "name": "a"}}'
    there = bodies.with_ids(text, refs, lambda _, ident: {"a": "x"}.get(ident, ident))
    assert json.loads(there) == {"consistencygroup": {"volume_types": "x,b", "name": "a"}}
    assert bodies.with_ids(text, refs, lambda _, ident: ident) == text


def test_a_url_stays_but_where_its_site_has_another_id() -> None:
    text = b'{"server": {"flavorRef": "http://x/flavors/42"}}'
    assert bodies.with_ids(text, SERVER_REFS, lambda _, ident: ident) == text
    there = bodies.with_ids(text, SERVER_REFS, lambda _, ident: {"42": "84"}[ident])
    assert json.loads(there) == {"server": {"flavorRef": "84"}}
