"""Microversions of compute and block storage: forms, ranges, precedence, answers' headers."""

import pytest
from tests.contract.conftest import SiteUnderTest

SERVERS = "/v2.1/servers?limit=1"
NEW, OLD = "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({}, "2.1"),
        ({NEW: "compute 2.96"}, "2.96"),
        ({NEW: "compute latest"}, "2.104"),
        ({NEW: "compute 2.96,volume 3.5"}, "2.96"),
        ({NEW: "volume 3.0"}, "2.1"),
        ({NEW: "2.5"}, "2.1"),
        ({OLD: "2.5"}, "2.5"),
        ({OLD: "2.5", NEW: "compute 2.7"}, "2.7"),
    ],
)
def test_compute_microversion(site: SiteUnderTest, headers: dict[str, str], version: str) -> None:
    answer = site.call("GET", "compute", SERVERS, headers=headers)
    assert answer.status == 200
    assert (answer.header(NEW), answer.header(OLD)) == (f"compute {version}", version)
    assert answer.all("vary") == [NEW, OLD]


@pytest.mark.parametrize("version", ["2.999", "1.1"])
def test_compute_out_of_range_is_406(site: SiteUnderTest, version: str) -> None:
    answer = site.call("GET", "compute", SERVERS, headers={NEW: f"compute {version}"})
    message = f"Version {version} is not supported by the API. Minimum is 2.1 and maximum is 2.104."
    assert (answer.status, answer.json) == (406, {"computeFault": {"code": 406, "message": message}})
    assert answer.header(NEW) == f"compute {version}"
    assert answer.all("vary") == [NEW, OLD]


@pytest.mark.parametrize("version", ["abc", "2.01"])
def test_compute_malformed_is_400(site: SiteUnderTest, version: str) -> None:
    answer = site.call("GET", "compute", SERVERS, headers={NEW: f"compute {version}"})
    message = f"API Version String {version} is of invalid format. Must be of format MajorNum.MinorNum."
    assert (answer.status, answer.json["badRequest"]["message"]) == (400, message)
    assert answer.header(NEW) is None
    assert answer.all("vary") == []


@pytest.mark.parametrize(
    ("asked", "version"), [(None, "3.0"), ("volume 3.5", "3.5"), ("volume latest", "3.71")]
)
def test_volume_microversion(site: SiteUnderTest, asked: str | None, version: str) -> None:
    answer = site.call("GET", "block-storage", "/v3/volumes", headers={NEW: asked} if asked else {})
    assert (answer.status, answer.header(NEW)) == (200, f"volume {version}")
    assert answer.all("vary") == [NEW]


@pytest.mark.parametrize(
    ("asked", "status", "fault"),
    [
        ("volume 3.999", 406, "computeFault"),
        ("volume 2.0", 406, "computeFault"),
        ("volume abc", 400, "badRequest"),
        ("compute 2.1", 400, "badRequest"),
        ("3.5", 400, "badRequest"),
    ],
)
def test_volume_bad_microversions(site: SiteUnderTest, asked: str, status: int, fault: str) -> None:
    answer = site.call("GET", "block-storage", "/v3/volumes", headers={NEW: asked})
    assert (answer.status, answer.json[fault]["code"]) == (status, status)
    if status == 406:
        number = asked.partition(" ")[2]
        message = f"Version {number} is not supported by the API. Minimum is 3.0 and maximum is 3.71."
        assert answer.json[fault]["message"] == message
