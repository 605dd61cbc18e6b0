"""Ids of servers are changed where the services have them, and nowhere that users write."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core import server_ids
from atoll.core.spans import around

OWN, ALIAS = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
OTHER = str(uuid.UUID(int=3))
NAMES = {OWN.encode(): ALIAS.encode()}
BACK = {ALIAS.encode(): OWN.encode()}
HREF = f"http://site:8774/v2.1/servers/{OWN}"
LINKS = [{"rel": "self", "href": HREF}, {"rel": "bookmark", "href": HREF}]

# What answers have, with OWN where the id of a server stands.
ANSWERS: list[tuple[str, Any]] = [
    ("compute", {"server": {"id": OWN, "links": LINKS}}),
    ("compute", {"server": {"links": LINKS, "fault": {"message": f"Instance {OWN} is lost"}, "id": OWN}}),
    ("compute", {"servers": [{"id": OTHER}, {"id": OWN, "links": LINKS}]}),
    ("compute", {"servers": [], "servers_links": [{"rel": "next", "href": f"http://a/servers?marker={OWN}"}]}),
    ("compute", {"id": OWN, "links": LINKS, "name": "an item of a list"}),
    ("compute", {"volumeAttachment": {"id": OTHER, "serverId": OWN, "volumeId": OTHER}}),
    ("compute", {"volumeAttachments": [{"serverId": OWN}, {"serverId": OWN}]}),
    ("compute", {"instanceAction": {"instance_uuid": OWN, "action": "create"}}),
    ("compute", {"instanceActions": [{"instance_uuid": OWN}]}),
    ("compute", {"migrations": [{"instance_uuid": OWN, "links": [{"href": f"{HREF}/migrations/1"}]}]}),
    ("compute", {"migrations": [{"server_uuid": OWN, "id": 1}]}),
    ("compute", {"server_group": {"members": [OTHER, OWN]}}),
    ("compute", {"members": [OWN], "name": "an item of a list"}),
    ("compute", {"hypervisors": [{"servers": [{"uuid": OWN, "name": "instance-1"}]}]}),
    ("compute", {"console": {"instance_uuid": OWN, "port": 1}}),
    ("compute", {"image": {"server": {"id": OWN, "links": LINKS}}}),
    ("compute", {"itemNotFound": {"code": 404, "message": f"Instance {OWN} could not be found."}}),
    ("compute", {"server": {"scheduler_hints": {"same_host": [OWN], "different_host": OWN}}}),
    ("block-storage", {"volume": {"attachments": [{"server_id": OWN}]}}),
    ("block-storage", {"volumes": [{"attachments": [{"server_id": OWN}, {"server_id": OTHER}]}]}),
    ("block-storage", {"attachment": {"instance": OWN}}),
    ("block-storage", {"attachments": [{"instance": OWN}]}),
    ("block-storage", {"instance": OWN, "status": "an item of a list"}),
    ("block-storage", {"badRequest": {"message": f"Volume is attached to {OWN}", "code": 400}}),
    ("network", {"port": {"device_id": OWN, "id": OTHER}}),
    ("network", {"ports": [{"device_id": OWN}]}),
    ("network", {"device_id": OWN}),
    ("network", {"floatingip": {"port_details": {"device_id": OWN}}}),
    ("network", {"NeutronError": {"type": "PortInUse", "message": f"in use by {OWN}.", "detail": ""}}),
]  # fmt: skip
# What users write, or names something else.
UNTOUCHED: list[tuple[str, Any]] = [
    ("compute", {"metadata": {"id": OWN, "serverId": OWN, "href": HREF, "message": OWN}}),
    ("compute", {"meta": {"id": OWN}}),
    ("compute", {"server": {"id": OTHER, "name": OWN, "metadata": {"id": OWN, "links": OWN, "href": HREF}}}),
    ("compute", {"metadata": {"id": OWN}, "name": OWN, "id": OTHER, "tags": [OWN]}),
    ("compute", {"servers": [{"description": f'[{{"id": "{OWN}"', "metadata": {"id": OWN}}]}),
    ("compute", {"volumeAttachment": {"id": OWN, "volumeId": OWN}}),
    ("block-storage", {"volume": {"id": OWN, "metadata": {"server_id": OWN}, "name": OWN}}),
    ("block-storage", {"metadata": {"server_id": OWN, "instance": OWN}}),
    ("network", {"port": {"name": OWN, "description": OWN, "binding:profile": {"device_id": OWN}}}),
    ("image", {"instance_uuid": OWN}),
]
ASKED: list[tuple[str, Any]] = [
    ("compute", {"server": {}, "os:scheduler_hints": {"same_host": ALIAS, "different_host": [OTHER, ALIAS]}}),
    ("compute", {"server": {}, "OS-SCH-HNT:scheduler_hints": {"different_host": ALIAS}}),
    ("compute", {"events": [{"name": "network-changed", "server_uuid": ALIAS}]}),
    ("block-storage", {"attachment": {"instance_uuid": ALIAS, "volume_uuid": OTHER}}),
    ("block-storage", {"os-attach": {"instance_uuid": ALIAS}}),
    ("network", {"port": {"device_id": ALIAS}}),
    ("network", {"ports": [{"device_id": ALIAS}, {"device_id": OTHER}]}),
]
FORMS = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}])


@pytest.mark.parametrize(
    "form", [{}, {"indent": 1}, {"separators": (",", ":")}], ids=["usual", "wide", "dense"]
)
@pytest.mark.parametrize(("service", "content"), ANSWERS, ids=lambda one: str(one)[:40])
def test_answers_name_the_alias(service, content, form):
    text = json.dumps(content, **form).encode()
    assert server_ids.outward(service, NAMES)(text) == text.replace(OWN.encode(), ALIAS.encode())


@pytest.mark.parametrize(
    "form", [{}, {"indent": 1}, {"separators": (",", ":")}], ids=["usual", "wide", "dense"]
)
@pytest.mark.parametrize(("service", "content"), UNTOUCHED, ids=lambda one: str(one)[:40])
def test_what_users_write_stays(service, content, form):
    text = json.dumps(content, **form).encode()
    changed = server_ids.outward(service, NAMES)(text) if service in server_ids.SERVICES else text
    assert changed == text


@pytest.mark.parametrize(("service", "content"), ASKED, ids=lambda one: str(one)[:40])
def test_requests_name_the_sites_own(service, content):
    text = json.dumps(content).encode()
    assert server_ids.inward(service, text, BACK) == text.replace(ALIAS.encode(), OWN.encode())
    named = {"server": {"name": ALIAS, "metadata": {"same_host": ALIAS, "device_id": ALIAS}}}
    plain = json.dumps(named).encode()
    assert server_ids.inward(service, plain, BACK) == plain


def test_items_that_are_changed_together():
    items = [
        json.dumps(one).encode() for one in ({"id": OWN}, {"id": OTHER, "metadata": {"id": OWN}}, {"id": OWN})
    ]
    changed = server_ids.outward("compute", NAMES)(bytes(16).join(items)).split(bytes(16))
    assert [json.loads(one)["id"] for one in changed] == [ALIAS, OTHER, ALIAS]
    assert changed[1] == items[1]


def test_no_part_of_a_longer_id():
    for text in (f"a{OWN}", f"{OWN}0", f"x-{OWN}", f"{OWN}-y"):
        body = json.dumps({"server": {"id": text}}).encode()
        assert server_ids.outward("compute", NAMES)(body) == body


VALUES = st.recursive(
    st.sampled_from([OWN, OTHER, f"x {OWN}"]) | st.integers() | st.none() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "a", 'q"', "metadata", "server", "\u00e9"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, one in value.items() for leaf in _leaves(one, (*path, key))]
    if isinstance(value, list):
        return [leaf for one in value for leaf in _leaves(one, (*path, "*"))]
    return [(path, value)]


@given(st.dictionaries(st.sampled_from(["id", "server", "b"]), VALUES, max_size=4), FORMS)
def test_places_are_found_with_their_paths(content, form):
    text = json.dumps(content, **form).encode()
    marks = [at for at in range(len(text)) if text.startswith(OWN.encode(), at)]
    found = [(path, json.loads(text[start:end])) for path, (start, end) in around(text, marks)]
    assert found == [(path, one) for path, one in _leaves(content) if isinstance(one, str) and OWN in one]
