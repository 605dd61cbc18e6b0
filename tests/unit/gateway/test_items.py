"""Pages of sites as items, and items as clients see them: whatever a site writes, nothing is lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import BadSiteAnswer
from atoll.core.merge_source import Described
from atoll.core.rewrite import Names
from atoll.gateway.items import BETWEEN, OWNER, Cut, Reader, joined, made_by, seconds
from atoll.gateway.times import Times
from atoll.services.catalog import SERVICES

SERVER = SERVICES["compute"].by_name["server"]
KEYPAIR = SERVICES["compute"].by_name["keypair"]
ZONE = "OS-EXT-AZ:availability_zone"


def page(*items: Any, **more: Any) -> bytes:
    return json.dumps({"servers": items, **more}).encode()


def test_a_page_is_read_with_what_the_merge_needs():
    text = page({"id": "1", "created": "x", "tenant_id": "p"}, {"id": "2", "created": None})
    read = Reader(SERVER, ["created"], None).read("paris", text)
    assert read.whole() == Described(["1", "2"], [["x", None]], None)
    assert read.described.part(1, 2) == Described(["2"], [[None]], None)
    assert [json.loads(bytes(item))["id"] for item in read.items] == ["1", "2"]
    assert (read.more, read.total) == (False, None)
    assert made_by(read.items[0]) == ("p", None)


def test_sort_keys_may_be_any_fields():
    """The id itself too."""
    read = Reader(SERVER, ["id", "created", "tenant_id", "created"], None).read(
        "paris", page({"id": "1", "created": "x", "tenant_id": "p"})
    )
    assert read.whole().keys == [["1"], ["x"], ["p"], ["x"]]


def test_things_in_an_envelope_of_their_own_are_told_apart_by_their_names():
    text = json.dumps({"keypairs": [{"keypair": {"name": "k", "fingerprint": "f"}}]}).encode()
    read = Reader(KEYPAIR, ["keypair/name"], lambda _, name: name).read("paris", text)
    assert read.whole() == Described(["k"], [["k"]], ["k"])


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"servers_links": [{"rel": "next", "href": "http://x"}]}, True),
        ({"servers_links": [{"rel": "previous", "href": "http://x"}]}, False),
        ({"servers_links": []}, False),
        ({"next": "/v2/images?marker=1"}, True),
        ({}, False),
    ],
)
def test_only_a_next_link_says_that_there_is_more(more, expected):
    assert Reader(SERVER, [], None).read("paris", page({"id": "1"}, **more)).more is expected


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"<html>", b"null", b'{"server": []}', b'{"servers": null}', b'{"servers": {}}',
        b'{"servers": [{}]}', b'{"servers": [{"id": null}]}', b'{"servers": [[]]}', b'{"servers": ["\xff"]}',
        b'{"servers": [{"id": "1"}', b'{"servers": ' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_list_is_named_with_its_site(text):
    with pytest.raises(BadSiteAnswer, match="paris"):
        Reader(SERVER, ["created"], None).read("paris", text).whole()


def test_a_brief_item_has_the_fields_of_the_brief_list_and_nothing_else():
    cut = Cut(SERVER.brief)
    assert cut([b'{"status": "ACTIVE", "links": [{"rel":  "self"}], "id": "1", "name": "a"}']) == [
        b'{"id":"1","name":"a","links":[{"rel":  "self"}]}'
    ]
    assert cut([]) == []


def test_a_server_of_a_cell_that_is_down_keeps_its_status():
    assert [
        json.loads(one) for one in Cut(SERVER.brief)([b'{"id": "1", "status": "UNKNOWN", "links": []}'])
    ] == [{"id": "1", "links": [], "status": "UNKNOWN"}]


ITEMS = st.lists(
    st.fixed_dictionaries(
        {"id": st.uuids().map(str)},
        optional={
            ZONE: st.sampled_from(["nova", "west", "", "nova "]),
            "metadata": st.dictionaries(st.sampled_from([ZONE, "a", "nova"]), st.sampled_from(["nova", "x"])),
            "availability_zone": st.sampled_from(["nova", "west"]),
        },
    ),
    min_size=1,
    max_size=6,
)


@given(ITEMS)
def test_names_of_many_items_at_once_are_those_of_each(items):
    names = Names([ZONE, "availability_zone"], {"nova": "az1", "west": "az2"})
    texts = [json.dumps(item).encode() for item in items]
    assert names.rewrite_each(BETWEEN.join(texts), BETWEEN, len(texts)).split(BETWEEN) == [
        names.rewrite(text) for text in texts
    ]


def test_items_are_put_together_as_json():
    assert joined(b'{"a": [', [], b"]}") == b'{"a": []}'
    assert joined(b'{"a": [', [b"1"], b"]}") == b'{"a": [1]}'
    assert joined(b'{"a": [', [b"1", b"2", b"3"], b"]}") == b'{"a": [1, 2, 3]}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T00:00:00Z", 1767225600.0),
        ("2026-01-01T00:00:00", 1767225600.0),
        ("2026-01-01T00:00:00.500000", 1767225600.5),
        ("2026-01-01T02:00:00+02:00", 1767225600.0),
        ("yesterday", None),
    ],
)
def test_times_are_in_utc_whoever_writes_them(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("owner", OWNER)
def test_whose_a_thing_is_stands_under_several_names(owner):
    assert made_by(json.dumps({owner: "p", "created_at": "2026-01-01T00:00:00"}).encode()) == (
        "p",
        1767225600.0,
    )


def test_a_thing_that_says_nothing_of_its_making_is_of_nobody():
    assert made_by(b'{"id": "1", "created": 7, "tenant_id": 8}') == (None, None)


def test_times_are_known_up_to_the_last_unknown_item():
    times = Times()
    assert not times.likely("p", "paris")
    times.learn("p", "paris", Described(["a", "c"], [["n", "m"], ["3", "1"]]), 1)
    assert times.likely("p", "paris")
    assert not times.likely("q", "paris")
    described, unknown = times.sort_keys(Described(["a", "b", "c"], [["n", "l", "m"], [None, None, None]]), 1)
    assert (list(described.keys[1]), unknown) == (["3", None, "1"], 2)
    assert described.keys[0] == ["n", "l", "m"]
    assert times.sort_keys(Described(["c"], [["m"], [None]]), 1)[1] == 0


def test_the_times_seen_longest_ago_are_forgotten_first():
    times = Times(most=3)
    for ident in ("a", "b", "c", "a", "d"):
        times.learn("p", "paris", Described([ident], [["t"]]), 0)
    known = [one for one in "abcd" if not times.sort_keys(Described([one], [[None]]), 0)[1]]
    assert known == ["a", "c", "d"]
