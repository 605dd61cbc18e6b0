"""The same header gets the same answer as from the services: each case was tried on release 2026.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import AtollError, BadRequest, Internal, NotAcceptable
from atoll.core.microversions import (
    Range,
    Requested,
    Version,
    default_version,
    has_microversions,
    intersection,
    parse,
    request_headers,
    requested,
    resolve,
    response_headers,
)

NEW, OLD = "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"
MALFORMED = "API Version String {} is of invalid format. Must be of format MajorNum.MinorNum."
WEBOB_400 = (
    "The server could not comply with the request since it is either malformed or otherwise incorrect."
)
PLACEMENT_400 = "Invalid microversion: invalid version string: x; invalid literal for int() with base 10: 'x'"
NOVA = Range(Version(2, 1), Version(2, 104))
CINDER = Range(Version(3, 0), Version(3, 71))


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        ([(NEW, "compute 2.10")], "2.10"),
        ([(NEW.lower(), "COMPUTE  2.10 ")], "2.10"),
        ([(NEW, "compute 2.10, volume 3.0")], "2.10"),
        ([(NEW, "compute 2.5"), (NEW, "compute 2.6")], "2.6"),
        ([(NEW, "compute 2.10"), (OLD, "2.5")], "2.10"),
        ([(NEW, "volume 3.0"), (OLD, "2.5")], "2.5"),
        ([(NEW, ""), (OLD, "2.5, 2.6")], "2.6"),
        ([(NEW, "compute")], None),
        ([(NEW, "volume 3.0")], None),
        ([(NEW, "compute latest")], "latest"),
    ],
)
def test_nova_takes_the_last_entry_and_the_old_header_only_without_one(headers, found):
    assert shown(requested("compute", headers)) == found


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        ([(OLD, "2.5")], None),
        ([(NEW, "volume 3.5, volume 3.6")], "3.5"),
        ([(NEW, "compute 2.1"), (NEW, "volume 3.6")], "3.6"),
        ([(NEW, "volumes 3.6")], "3.6"),
        ([(NEW, "volume latest")], "latest"),
    ],
)
def test_cinder_takes_the_first_entry(headers, found):
    assert shown(requested("block-storage", headers)) == found


@pytest.mark.parametrize(
    ("service", "headers", "kind", "message"),
    [
        ("compute", [(NEW, "compute x")], BadRequest, MALFORMED.format("x")),
        ("compute", [(NEW, "compute LATEST")], BadRequest, MALFORMED.format("LATEST")),
        ("compute", [(NEW, "compute 2.6 x")], BadRequest, MALFORMED.format("2.6 x")),
        ("compute", [(OLD, "")], BadRequest, MALFORMED.format("")),
        ("block-storage", [(NEW, "volume x")], BadRequest, MALFORMED.format("x")),
        ("block-storage", [(NEW, "compute 2.1")], BadRequest, WEBOB_400),
        ("block-storage", [(NEW, "")], BadRequest, WEBOB_400),
        ("block-storage", [(NEW, "VOLUME 3.6")], BadRequest, WEBOB_400),
        ("block-storage", [(NEW, "volume")], Internal, "Cinder answers 500 to the version header 'volume'"),
        ("placement", [(NEW, "placement x")], BadRequest, PLACEMENT_400),
    ],
)
def test_malformed_headers_get_the_message_of_the_service(service, headers, kind, message):
    with pytest.raises(kind) as caught:
        requested(service, headers)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["2", "2.", "02.1", "2.01", "0.1", "-1.2", "2.1\n", "٢.1", "1" * 40 + ".1"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(BadRequest):
        parse(text)


@given(st.integers(1, 999), st.integers(0, 999))
def test_a_version_reads_as_it_is_written(major, minor):
    assert parse(str(Version(major, minor))) == (major, minor)


def test_versions_are_ordered_as_numbers():
    assert Version(2, 9) < Version(2, 10) < Version(3, 0)


def test_what_is_asked_for_becomes_a_number():
    assert resolve("compute", Requested(), NOVA) == (2, 1)
    assert resolve("compute", Requested(latest=True), NOVA) == (2, 104)
    assert resolve("compute", Requested(version=Version(2, 50)), NOVA) == (2, 50)
    assert default_version("block-storage") == (3, 0)


@pytest.mark.parametrize(
    ("service", "version", "available", "message", "headers"),
    [
        (
            "compute",
            Version(2, 999),
            NOVA,
            "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.104.",
            [(NEW, "compute 2.999"), (OLD, "2.999"), ("Vary", NEW), ("Vary", OLD)],
        ),
        (
            "block-storage",
            Version(3, 999),
            CINDER,
            "Version 3.999 is not supported by the API. Minimum is 3.0 and maximum is 3.71.",
            [(NEW, "volume 3.999"), ("Vary", NEW)],
        ),
        (
            "block-storage",
            Version(2, 0),
            CINDER,
            "Version 2.0 is not supported by the API. Minimum is 3.0 and maximum is 3.71.",
            [],
        ),
    ],
)
def test_out_of_range_is_not_acceptable(service, version, available, message, headers):
    with pytest.raises(NotAcceptable) as caught:
        resolve(service, Requested(version=version), available)
    error: AtollError = caught.value
    assert (str(error), list(error.headers)) == (message, headers)


RANGES = st.builds(
    lambda low, more: Range(Version(2, low), Version(2, low + more)), st.integers(0, 9), st.integers(0, 9)
)


@given(st.lists(RANGES, min_size=1), st.integers(0, 20))
def test_the_intersection_has_what_every_range_has(ranges, minor):
    version = Version(2, minor)
    shared = intersection(ranges)
    assert (shared is not None and version in shared) == all(version in one for one in ranges)


def test_without_ranges_nothing_is_shared():
    assert intersection([]) is None


def test_answers_say_their_version():
    assert response_headers("compute", Version(2, 5)) == [
        (NEW, "compute 2.5"),
        (OLD, "2.5"),
        ("Vary", NEW),
        ("Vary", OLD),
    ]
    assert response_headers("block-storage", Version(3, 5)) == [(NEW, "volume 3.5"), ("Vary", NEW)]
    assert response_headers("image", Version(2, 5)) == []


def test_a_number_replaces_latest_towards_a_site():
    asked = [("Accept", "*/*"), (NEW.lower(), "compute latest, volume 3.0"), (OLD, "latest")]
    assert request_headers("compute", Version(2, 79), asked) == [
        ("Accept", "*/*"),
        (NEW, "compute 2.79"),
        (OLD, "2.79"),
    ]


def test_other_services_have_no_microversions():
    assert not has_microversions("image")
    assert requested("network", [(NEW, "compute x")]) == Requested()


def shown(asked: Requested) -> str | None:
    return "latest" if asked.latest else str(asked.version) if asked.version else None
