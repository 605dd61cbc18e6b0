"""How changes are taken back, whatever a body or a site says: what cannot be is None, and nothing breaks."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core import inverses, metadef_inverses, qos_inverses

KEYS = ("name", "namespace", "objects", "tags", "properties", "resource_type_associations", "id", "specs",
        "qos_specs", "qos_associations", "keys", "encryption", "provider", "key_size")  # fmt: skip
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
OBJECT = st.dictionaries(st.sampled_from(KEYS), ANY, max_size=5)
TAILS = ("", "objects", "objects/a", "tags", "tags/a", "properties", "resource_types", "resource_types/a",
         "delete_keys", "associate?vol_type_id=a", "disassociate_all", "encryption",
         "encryption/a")  # fmt: skip


@pytest.mark.parametrize("rules", [metadef_inverses, qos_inverses, inverses])
@given(
    method=st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"]),
    tail=st.sampled_from(TAILS),
    body=OBJECT,
    before=OBJECT,
)
def test_nothing_that_is_said_breaks_them(
    rules: Any, method: bytes, tail: str, body: dict[str, Any], before: dict[str, Any]
) -> None:
    # Those of flavors' and types' specs and access have tests of their own.
    if rules is inverses and not tail.startswith("encryption"):
        return
    if rules.way(method, tail, body).read is None:
        return
    for one in rules.undo(method, tail, body, before) or ():
        assert one.body is None or one.body.startswith(b"{")
    assert rules.shows(method, tail, body, before) in {True, False}
