"""Which values can be ids; integer ids and hosts that carry their site."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import BadRequest
from atoll.core.ids import IdForm, canonical, possible, qualify, qualify_host, unqualify, unqualify_host

UUID = "9b2c1e0a-0000-4000-8000-00000000abcd"


@pytest.mark.parametrize(
    ("form", "value", "found"),
    [
        (IdForm.UUID, UUID, UUID),
        (IdForm.UUID, UUID.upper(), UUID),
        (IdForm.UUID, UUID.replace("-", ""), None),
        (IdForm.UUID, f"{UUID}\n", None),
        (IdForm.UUID, "detail", None),
        (IdForm.UUID_OR_HEX, UUID.replace("-", ""), UUID.replace("-", "")),
        (IdForm.UUID_OR_HEX, UUID, UUID),
        (IdForm.UUID_OR_HEX, "x" * 32, None),
        (IdForm.INTEGER, "42", "42"),
        (IdForm.INTEGER, "042", None),
        (IdForm.INTEGER, "٣", None),
        (IdForm.INTEGER, str(1 << 53), None),
        (IdForm.INTEGER, "-1", None),
        (IdForm.NAME, "my key", "my key"),
        (IdForm.NAME, "a/b", None),
        (IdForm.NAME, "", None),
        (IdForm.NAME, "x" * 256, None),
        (IdForm.ANY, "m1.tiny", "m1.tiny"),
        (IdForm.ANY, "a\0b", None),
    ],
)
def test_what_can_be_an_id(form, value, found):
    assert canonical(form, value) == found
    assert possible(form, value) == (found is not None)


@given(st.integers(0, 8191), st.integers(0, (1 << 40) - 1))
def test_an_integer_id_keeps_its_site_and_fits_a_double(site, local):
    value = qualify(site, local)
    assert unqualify(value) == (site, local)
    assert int(float(value)) == value < 1 << 53


def test_the_ids_of_the_first_site_stay_as_they_are():
    assert qualify(0, 17) == 17


@pytest.mark.parametrize(("site", "local"), [(8192, 1), (-1, 1), (0, 1 << 40), (0, -1)])
def test_what_does_not_fit_is_refused(site, local):
    with pytest.raises(ValueError, match=r"fit|within"):
        qualify(site, local)


@pytest.mark.parametrize("value", [-1, 1 << 53])
def test_no_such_id_is_a_bad_request(value):
    with pytest.raises(BadRequest, match="is not an id"):
        unqualify(value)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("node1", ("node1", None)),
        ("node1@paris", ("node1", "paris")),
        ("node1@lvm", ("node1@lvm", None)),
        ("node1@lvm#pool@paris", ("node1@lvm#pool", "paris")),
        ("@paris", ("@paris", None)),
    ],
)
def test_a_host_may_name_its_site(value, parts):
    assert unqualify_host(value, {"paris", "tokyo"}) == parts
    assert parts[1] is None or qualify_host(*parts) == value
