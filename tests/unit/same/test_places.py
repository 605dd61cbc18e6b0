"""Ids are changed where their place says what they are of, and nowhere else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.same.places import translate_of

IMAGE, OURS = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000001"
NAMES = {
    "flavor": {b"1": b"42"},
    "image": {IMAGE.encode(): OURS.encode()},
    "network": {IMAGE.encode(): OURS.encode()},
    "volume_type": {b"t1": b"t2"},
}


def translated(service_type: str, content: object, **form: object) -> object:
    """The content as clients see it."""
    translate = translate_of(service_type, NAMES)
    assert translate is not None
    return json.loads(translate(json.dumps(content, **form).encode()))  # type: ignore[arg-type]


def server(**more: object) -> dict[str, object]:
    """A server with a flavor and an image."""
    return {
        "id": "1",
        "metadata": {"flavor": "1", "image_id": IMAGE, "note": f"http://x/flavors/1 {IMAGE}"},
        "key_name": "1",
        "flavor": {"id": "1", "links": [{"rel": "bookmark", "href": "http://a/compute/flavors/1"}]},
        "image": {"id": IMAGE, "links": [{"rel": "bookmark", "href": f"http://a/compute/images/{IMAGE}"}]},
        **more,
    }


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
def test_a_server_shows_the_ids_of_clients(separators: tuple[str, str]) -> None:
    shown = translated("compute", {"server": server()}, separators=separators)
    wanted = server(
        flavor={"id": "42", "links": [{"rel": "bookmark", "href": "http://a/compute/flavors/42"}]},
        image={"id": OURS, "links": [{"rel": "bookmark", "href": f"http://a/compute/images/{OURS}"}]},
    )
    assert shown == {"server": wanted}


def test_an_id_after_other_members_is_found() -> None:
    flavor = {"vcpus": 1, "original_name": "1", "extra_specs": {"id": "1"}, "id": "1"}
    shown = translated("compute", {"server": server(flavor=flavor, image="")})
    assert shown == {"server": server(flavor={**flavor, "id": "42"}, image="")}


@pytest.mark.parametrize(
    ("service_type", "content", "wanted"),
    [
        ("compute", {"flavors": [{"id": "1"}, {"id": "2"}]}, {"flavors": [{"id": "42"}, {"id": "2"}]}),
        ("compute", {"flavor_access": [{"flavor_id": "1", "tenant_id": "1"}]},
         {"flavor_access": [{"flavor_id": "42", "tenant_id": "1"}]}),
        ("compute", {"interfaceAttachment": {"net_id": IMAGE, "port_id": IMAGE}},
         {"interfaceAttachment": {"net_id": OURS, "port_id": IMAGE}}),
        ("image",
         {"id": IMAGE, "self": f"/v2/images/{IMAGE}", "file": f"/v2/images/{IMAGE}/file", "x": IMAGE},
         {"id": OURS, "self": f"/v2/images/{OURS}", "file": f"/v2/images/{OURS}/file", "x": IMAGE}),
        ("block-storage",
         {"volume": {"metadata": {"image_id": IMAGE}, "volume_image_metadata": {"image_id": IMAGE},
                     "volume_type_id": "t1", "volume_type": "t1"}},
         {"volume": {"metadata": {"image_id": IMAGE}, "volume_image_metadata": {"image_id": OURS},
                     "volume_type_id": "t2", "volume_type": "t1"}}),
        ("network", {"port": {"network_id": IMAGE, "name": IMAGE, "security_groups": [IMAGE, "x"]}},
         {"port": {"network_id": OURS, "name": IMAGE, "security_groups": [OURS, "x"]}}),
    ],
)  # fmt: skip
def test_each_place(service_type: str, content: object, wanted: object) -> None:
    assert translated(service_type, content) == wanted


@given(
    st.recursive(
        st.text() | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_other_text_stays_as_it_is(content: object) -> None:
    text = json.dumps({"server": {"metadata": content}}).encode()
    translate = translate_of("compute", NAMES)
    assert translate is not None
    assert translate(text) == text
