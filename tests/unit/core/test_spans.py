"""Spans found in JSON text are the values that a JSON decoder finds."""

import json

from hypothesis import given
from hypothesis import strategies as st

from atoll.core.spans import EACH, find, member, splice

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
FORMATS = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=6), FORMATS)
def test_every_member_is_found_where_it_stands(document, form):
    text = json.dumps(document, **form).encode("utf-8", "surrogatepass")
    for key, value in document.items():
        if key == EACH:
            continue
        [(start, end)] = list(find(text, (key,)))
        assert json.loads(text[start:end]) == value


@given(st.lists(VALUES, max_size=6), FORMATS)
def test_each_stands_for_every_element(elements, form):
    text = json.dumps(elements, **form).encode("utf-8", "surrogatepass")
    assert [json.loads(text[a:b]) for a, b in find(text, (EACH,))] == elements


@given(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, min_size=1, max_size=6), st.data())
def test_a_splice_changes_one_value_and_no_other_byte(document, data):
    key = data.draw(st.sampled_from(sorted(document)))
    if key == EACH:
        return
    text = json.dumps(document).encode()
    [(start, end)] = list(find(text, (key,)))
    changed = splice(text, [((start, end), b'"new"')])
    assert json.loads(changed) == {**document, key: "new"}
    assert changed[:start] == text[:start]
    assert changed[start + 5 :] == text[end:]


def test_a_path_goes_through_objects_and_arrays():
    text = b'{"server": {"metadata": {"zone": "x"}, "networks": [{"uuid": "a"}, {"port": "p"}], "zone": "y"}}'
    assert [text[a:b] for a, b in find(text, ("server", "networks", "*", "uuid"))] == [b'"a"']
    assert [text[a:b] for a, b in find(text, ("server", "zone"))] == [b'"y"']


@given(st.binary(max_size=80))
def test_text_that_is_not_json_ends_all_the_same(text):
    list(find(text, ("a", "*", "b")))


@given(st.dictionaries(st.text(min_size=1, max_size=5), VALUES, min_size=1, max_size=6), FORMATS, st.data())
def test_a_member_cut_out_leaves_the_others(document, form, data):
    key = data.draw(st.sampled_from(sorted(document)))
    text = json.dumps({"server": document}, **form).encode("utf-8", "surrogatepass")
    span = member(text, ("server", key))
    assert span is not None
    left = {name: value for name, value in document.items() if name != key}
    assert json.loads(splice(text, [(span, b"")])) == {"server": left}
