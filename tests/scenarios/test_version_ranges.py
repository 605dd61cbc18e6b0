"""Sites of different releases: what a version pinned by a client means where some sites do not have it."""

from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import (
    SERVERS,
    Client,
    boot,
    client_of,
    created_anywhere,
    server_body,
    writes,
)

from atoll.sandbox.simulated import Cloud

# The newest minor version of each site.
NEWEST = {"site1": 60, "site2": 90, "site3": 104}
NEW = {"OpenStack-API-Version": "compute 2.80"}
LEGACY = {"X-OpenStack-Nova-API-Version": "2.80"}
LATEST = {"OpenStack-API-Version": "compute latest"}


@pytest.fixture
async def mixed(start_atoll: StartAtoll, cloud: Cloud) -> Any:
    """A gateway in front of three releases."""
    for name, minor in NEWEST.items():
        cloud.site(name).compute.max_minor = minor
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    await atoll.settled()
    return atoll


@pytest.fixture
async def user(mixed: Any, cloud: Cloud) -> Any:
    """The user demo."""
    async with client_of(mixed, cloud.keystone.token()) as client:
        yield client


@pytest.fixture
async def admin(mixed: Any, cloud: Cloud) -> Any:
    """The administrator."""
    async with client_of(mixed, cloud.keystone.token("admin")) as client:
        yield client


@pytest.mark.parametrize("headers", [NEW, LEGACY])
@pytest.mark.parametrize(
    "path",
    [SERVERS, f"{SERVERS}/detail", "/compute/v2.1/flavors", "/compute/v2.1/os-keypairs",
     "/compute/v2.1/limits", "/compute/v2.1/os-availability-zone", "/compute/v2.1/os-server-groups"],
)  # fmt: skip
async def test_what_needs_a_site_without_the_version_is_406_naming_it(
    user: Client, cloud: Cloud, path: str, headers: dict[str, str]
) -> None:
    for site in cloud.sites:
        site.listener.seen.clear()
    answer = await user.get(path, headers=headers)
    assert answer.status_code == 406
    message = answer.json()["computeFault"]["message"]
    assert message.startswith("Version 2.80 is not supported by the API. Minimum is 2.1 and maximum is 2.60.")
    assert "site1" in message
    assert "site2" not in message
    assert answer.headers["openstack-api-version"] == "compute 2.80"
    assert "OpenStack-API-Version" in answer.headers["vary"]
    assert [seen for site in cloud.sites for seen in site.listener.seen if seen.target == path] == []


async def test_what_nobody_has_is_refused_in_novas_words(user: Client) -> None:
    answer = await user.get(SERVERS, headers={"OpenStack-API-Version": "compute 2.300"})
    assert answer.status_code == 406
    assert answer.json()["computeFault"]["message"] == (
        "Version 2.300 is not supported by the API. Minimum is 2.1 and maximum is 2.60."
    )


async def test_what_all_have_is_answered(user: Client) -> None:
    answer = await user.get(SERVERS, headers={"OpenStack-API-Version": "compute 2.60"})
    assert answer.status_code == 200


async def test_by_id_the_one_site_decides(user: Client, cloud: Cloud) -> None:
    servers = {name: await boot(user, cloud, name) for name in NEWEST}
    for name, server in servers.items():
        answer = await user.get(f"{SERVERS}/{server}", headers=NEW)
        assert answer.status_code == (200 if NEWEST[name] >= 80 else 406), name
        changed = await user.put(f"{SERVERS}/{server}", json={"server": {"name": "n"}}, headers=NEW)
        assert changed.status_code == (200 if NEWEST[name] >= 80 else 406), name
    refused = await user.get(f"{SERVERS}/{servers['site1']}", headers=NEW)
    assert refused.json()["computeFault"]["message"].endswith("Minimum is 2.1 and maximum is 2.60.")


async def test_a_create_goes_to_a_site_that_has_the_version(user: Client, cloud: Cloud) -> None:
    only = {"OpenStack-API-Version": "compute 2.100"}
    for _ in range(3):
        answer = await user.post(SERVERS, json=server_body(cloud, networks="none"), headers=only)
        assert answer.status_code == 202
    assert created_anywhere(cloud) == {"site1": 0, "site2": 0, "site3": 3}


async def test_a_create_that_needs_a_site_without_it_is_406(user: Client, cloud: Cloud) -> None:
    body = server_body(cloud, networks="none", availability_zone="site1")
    answer = await user.post(SERVERS, json=body, headers=NEW)
    assert answer.status_code == 406
    assert "site1" in answer.text
    network = next(
        one["id"]
        for one in cloud.site("site1").network.records.of("networks").values()
        if one["name"] == "private"
    )
    named = await user.post(SERVERS, json=server_body(cloud, networks=[{"uuid": network}]), headers=NEW)
    assert named.status_code == 406
    assert "site1" in named.text
    assert writes(cloud) == []


async def test_what_is_made_everywhere_needs_the_version_everywhere(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    body: dict[str, Any] = {"keypair": {"name": "k", "type": "ssh"}}
    answer = await user.post("/compute/v2.1/os-keypairs", json=body, headers=NEW)
    assert answer.status_code == 406
    assert "site1" in answer.text
    quota = f"/compute/v2.1/os-quota-sets/{cloud.keystone.project_id('demo')}"
    refused = await admin.put(quota, json={"quota_set": {"cores": 5}}, headers=NEW)
    assert refused.status_code == 406
    described = await admin.put(
        "/compute/v2.1/flavors/42", json={"flavor": {"description": "d"}}, headers=NEW
    )
    assert described.status_code == 406
    assert writes(cloud) == []


async def test_a_shared_thing_is_shown_by_a_site_that_has_the_version(user: Client) -> None:
    answer = await user.get("/compute/v2.1/flavors/42", headers=NEW)
    assert answer.status_code == 200
    assert "extra_specs" in answer.json()["flavor"]


async def test_latest_is_what_all_have_and_never_refused(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud, "site3")
    for path in (SERVERS, f"{SERVERS}/{server}", "/compute/v2.1/limits", "/compute/v2.1/flavors/42"):
        answer = await user.get(path, headers=LATEST)
        assert answer.status_code == 200
        assert answer.headers["openstack-api-version"] == "compute 2.60"
    root = (await user.get("/compute/v2.1/")).json()["version"]
    assert (root["min_version"], root["version"]) == ("2.1", "2.60")


async def test_the_newer_header_counts_and_the_last_of_its_entries(user: Client) -> None:
    for headers, version in (
        ({"OpenStack-API-Version": "compute 2.50", **LEGACY}, "2.50"),
        ({"OpenStack-API-Version": "compute 2.80, compute 2.40"}, "2.40"),
        ({"OpenStack-API-Version": "volume 3.80", "X-OpenStack-Nova-API-Version": "2.30"}, "2.30"),
    ):
        answer = await user.get(f"{SERVERS}/detail", headers=headers)
        assert answer.status_code == 200, headers
        assert answer.headers["openstack-api-version"] == f"compute {version}"
    wrong = {"OpenStack-API-Version": "compute 2.80", "X-OpenStack-Nova-API-Version": "2.30"}
    assert (await user.get(SERVERS, headers=wrong)).status_code == 406


async def test_a_site_that_is_no_longer_enabled_does_not_hold_latest_back(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    cloud.site("site1").compute.max_minor = 60
    sites = sites_of(cloud)
    sites["site1"] = {**sites["site1"], "state": "draining"}
    atoll = await start_atoll(cloud.keystone.auth_url, sites)
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token()) as client:
        answer = await client.get("/compute/v2.1/flavors/42", headers=LATEST)
        assert answer.headers["openstack-api-version"] == "compute 2.104"
        partial = await client.get(SERVERS, headers=LATEST)
        assert partial.status_code == 200
        assert "site1 (it answered 406" in partial.headers["x-atoll-missing-sites"]


async def test_ranges_without_a_version_in_common(start_atoll: StartAtoll, cloud: Cloud) -> None:
    cloud.site("site1").compute.max_minor = 20
    for name in ("site2", "site3"):
        cloud.site(name).compute.min_minor = 30
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token()) as client:
        for version in ("2.10", "2.40", "latest"):
            headers = {"OpenStack-API-Version": f"compute {version}"}
            answer = await client.get(SERVERS, headers=headers)
            assert answer.status_code == 406, version
            assert "site" in answer.text
