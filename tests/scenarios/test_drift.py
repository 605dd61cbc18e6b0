"""What is found of a site without being asked, by an administrator's credential for its cloud."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.running import until
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import client_of

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    """Two clouds with a Keystone each."""
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        yield made


async def test_a_changed_catalogue_is_found_and_not_followed(
    start_atoll: StartAtoll, clouds: Apart, log_lines: list[Mapping[str, Any]]
) -> None:
    sites = clouds.sites
    moved = clouds.cloud.sites[1]
    moved.keystone.store.register(moved.region, moved.endpoints | {"image": "http://192.0.2.1/image"})
    credentials = clouds.credentials("demo", "admin")
    atoll = await start_atoll(clouds.auth_url, sites, credentials=credentials, **clouds.tables)

    def drifted() -> list[Mapping[str, Any]]:
        return [line for line in log_lines if line["event"] == "site_drift" and line["what"] == "endpoint"]

    await until(drifted)
    assert {line["site"] for line in drifted()} == {"site2"}
    async with client_of(atoll, clouds.keystone.token("admin", "admin")) as admin:
        site = (await admin.get("/atoll/v1/sites/site2")).json()["site"]
        (found,) = [one for one in site["findings"] if one["what"] == "endpoint"]
        assert "192.0.2.1" in found["text"]
        assert site["endpoints"]["image"]["url"] == sites["site2"]["endpoints"]["image"]
        assert site["capacity"]["vcpus"] > 0
        assert [one["what"] for one in site["findings"] if one["what"] == "not_read"] == []


async def test_without_an_administrators_credential_nothing_is_asked(
    start_atoll: StartAtoll, clouds: Apart, log_lines: list[Mapping[str, Any]]
) -> None:
    atoll = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo"), **clouds.tables
    )
    await atoll.settled()
    async with client_of(atoll, clouds.keystone.token("admin", "admin")) as admin:
        site = (await admin.get("/atoll/v1/sites/site1")).json()["site"]
        assert (site["checked_at"], site["capacity"]) == (None, None)
    assert [line for line in log_lines if line["event"] in {"site_drift", "site_not_checked"}] == []
