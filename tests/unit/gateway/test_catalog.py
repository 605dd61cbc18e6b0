"""The catalogue that clients get."""

from typing import Any

from atoll.gateway.catalog import catalog

URL = "https://atoll.example"


def entry(service_type: str, *urls: str) -> dict[str, Any]:
    endpoints = [{"id": url, "interface": "public", "region_id": "RegionOne", "url": url} for url in urls]
    return {"id": service_type, "type": service_type, "name": service_type, "endpoints": endpoints}


def urls_of(entries: list[Any]) -> dict[str, set[str]]:
    return {one["type"]: {endpoint["url"] for endpoint in one["endpoints"]} for one in entries}


def test_what_is_served_leads_to_atoll_and_what_is_not_is_left_out() -> None:
    given = [entry("compute", "http://nova/v2.1"), entry("metering", "http://meter/v1")]
    found = urls_of(catalog(given, ["compute"], URL, "Atoll"))
    assert found == {"compute": {f"{URL}/compute/v2.1"}, "atoll": {f"{URL}/atoll/v1"}}


def test_a_service_without_endpoints_stays_as_it_is() -> None:
    given = [entry("metering")]
    assert given[0] in catalog(given, ["compute"], URL, "Atoll")


def test_version_and_project_of_another_service_stay() -> None:
    given = [
        entry("orchestration", "http://heat:8004/v1/p1"),
        entry("object-store", "http://swift:8080/swift/v1/AUTH_p1"),
        entry("placement", "http://one/placement"),
    ]
    served = [one["type"] for one in given]
    found = urls_of(catalog(given, served, URL, "Atoll"))
    assert found["orchestration"] == {f"{URL}/orchestration/v1/p1"}
    assert found["object-store"] == {f"{URL}/object-store/v1/AUTH_p1"}
    assert found["placement"] == {f"{URL}/placement"}
