"""A change and its inverse: what was before is there again, whatever it was."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from atoll.core import inverses
from atoll.core.inverses import already, shows, way

specs = st.dictionaries(st.sampled_from(["hw:a", "hw:b", "c d"]), st.sampled_from(["1", "2"]), max_size=3)
SPECS = "os-extra_specs"


def undo(*change: Any) -> list[inverses.Request]:
    """The requests that take a change back; there have to be some, or none needed."""
    requests = inverses.undo(*change)
    assert requests is not None
    return requests


def sent(request):
    """The body of a request."""
    return json.loads(request.body or b"{}")


def carried_out(method, tail, body, now):
    """What a site has after a change of its extra specs."""
    now = dict(now)
    key = tail.removeprefix(SPECS).strip("/").replace("%20", " ").replace("%3A", ":")
    if method == b"DELETE":
        now.pop(key, None)
    else:
        now.update(body.get("extra_specs", body))
    return now


@given(specs, specs)
def test_extra_specs_come_back(before, given_specs):
    body = {"extra_specs": given_specs}
    after = carried_out(b"POST", SPECS, body, before)
    assert shows(b"POST", SPECS, body, {"extra_specs": after})
    for request in undo(b"POST", SPECS, body, {"extra_specs": before}):
        after = carried_out(request.method, request.tail, sent(request), after)
    assert after == before


@given(specs, st.sampled_from(["hw:a", "hw:b"]))
def test_a_deleted_spec_comes_back(before, key):
    tail = f"{SPECS}/{key}"
    after = carried_out(b"DELETE", tail, None, before)
    assert shows(b"DELETE", tail, None, {"extra_specs": after})
    for request in undo(b"DELETE", tail, None, {"extra_specs": before}):
        after = carried_out(request.method, request.tail, sent(request), after)
    assert after == before


def test_access_is_taken_back_only_where_it_was_given():
    add = {"addTenantAccess": {"tenant": "p"}}
    without: dict[str, list[str]] = {"flavor_access": []}
    having = {"flavor_access": [{"flavor_id": "f", "tenant_id": "p"}]}
    (request,) = undo(b"POST", "action", add, without)
    assert sent(request) == {"removeTenantAccess": {"tenant": "p"}}
    assert undo(b"POST", "action", add, having) == []
    assert already(b"POST", "action", add, having)
    assert not already(b"POST", "action", add, without)
    remove = {"removeProjectAccess": {"project": "p"}}
    types = {"volume_type_access": [{"volume_type_id": "t", "project_id": "p"}]}
    (request,) = undo(b"POST", "action", remove, types)
    assert sent(request) == {"addProjectAccess": {"project": "p"}}
    assert undo(b"POST", "action", remove, {"volume_type_access": []}) == []


def test_fields_come_back():
    body = {"flavor": {"description": "new"}}
    before = {"flavor": {"id": "f", "description": None, "name": "n"}}
    (request,) = undo(b"PUT", "", body, before)
    assert sent(request) == {"flavor": {"description": None}}
    assert inverses.undo(b"PUT", "", {"flavor": {"unseen": 1}}, before) is None
    assert shows(b"PUT", "", body, body)
    assert not shows(b"PUT", "", body, before)


def test_encryption_comes_back():
    cipher = {"provider": "luks", "cipher": "aes", "key_size": 256, "control_location": "front-end"}
    before = {"volume_type_id": "t", "encryption_id": "e", **cipher}
    change = {"encryption": {"key_size": 512}}
    (request,) = undo(b"PUT", "encryption/e", change, before)
    assert (request.tail, sent(request)) == ("encryption/any", {"encryption": cipher})
    (request,) = undo(b"DELETE", "encryption/e", None, before)
    assert (request.method, sent(request)) == (b"POST", {"encryption": cipher})
    (request,) = undo(b"POST", "encryption", {"encryption": cipher}, {})
    assert (request.method, request.tail) == (b"DELETE", "encryption/any")
    assert undo(b"POST", "encryption", {"encryption": cipher}, before) == []
    assert shows(b"PUT", "encryption/e", change, {**before, "key_size": 512})
    assert not shows(b"DELETE", "encryption/e", None, before)


def test_what_has_no_way_back():
    for method, tail, body in (
        (b"POST", "something", {"something": {}}),
        (b"PATCH", "", {"a": 1}),
        (b"POST", "action", {"something": {}}),
    ):
        assert way(method, tail, body).read is None
