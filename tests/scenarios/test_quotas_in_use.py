"""Quotas of which something is in use: what a site gets of a total, and what is made where some is left."""

from typing import Any

import httpx
import pytest
from tests.scenarios.conftest import SERVERS, Client, boot, server_body, writes

from atoll.sandbox.simulated import Cloud, Fault

ZONE = "site2"


@pytest.fixture
def project(cloud: Cloud) -> str:
    """The project whose quota is written."""
    return cloud.keystone.project_id("demo")


@pytest.fixture
def compute(project: str) -> str:
    """Where its quota of compute is."""
    return f"/compute/v2.1/os-quota-sets/{project}"


@pytest.fixture
def volume(project: str) -> str:
    """Where its own volumes are."""
    return f"/block-storage/v3/{project}"


@pytest.fixture
def volume_quota(project: str, cloud: Cloud) -> str:
    """Where its quota of volumes is, as an administrator asks."""
    return f"/block-storage/v3/{cloud.keystone.project_id('admin')}/os-quota-sets/{project}"


@pytest.fixture
def network(project: str) -> str:
    """Where its quota of networks is."""
    return f"/network/v2.0/quotas/{project}"


def shares(cloud: Cloud, project: str, key: str) -> list[int]:
    """What each site has been told of a key of a project's quota of compute."""
    return [site.compute.quota.get(project, {})[key] for site in cloud.sites]


async def set_to(client: Client, path: str, **values: Any) -> httpx.Response:
    return await client.put(path, json={"quota" if "/network/" in path else "quota_set": values})


async def three_at_one_site(user: Client, cloud: Cloud) -> None:
    for _ in range(3):
        await boot(user, cloud, ZONE)


async def make_volume(user: Client, volume: str, **fields: Any) -> httpx.Response:
    return await user.post(f"{volume}/volumes", json={"volume": {"size": 1, **fields}})


# -- what a site gets -----------------------------------------------------------------------------


async def test_a_site_gets_what_it_uses_and_the_rest_is_even(
    admin: Client, user: Client, cloud: Cloud, compute: str, project: str
) -> None:
    await three_at_one_site(user, cloud)
    for total, expected in ((6, [1, 4, 1]), (4, [1, 3, 0]), (3, [0, 3, 0])):
        answer = await set_to(admin, compute, instances=total)
        assert answer.status_code == 200, answer.text
        assert answer.json()["quota_set"]["instances"] == total
        assert shares(cloud, project, "instances") == expected
    refused = await user.post(SERVERS, json=server_body(cloud, availability_zone=ZONE))
    assert refused.status_code == 403
    assert "already used 3 of 3 instances" in refused.text


async def test_less_than_is_used_is_refused_by_a_site_in_its_own_words(
    admin: Client, user: Client, cloud: Cloud, compute: str, project: str
) -> None:
    await three_at_one_site(user, cloud)
    assert (await set_to(admin, compute, instances=30)).status_code == 200
    before = shares(cloud, project, "instances")
    answer = await set_to(admin, compute, instances=2)
    assert answer.status_code == 400
    assert "Quota limit 2 for instances must be greater than or equal to already used" in answer.text
    assert shares(cloud, project, "instances") == before
    forced = await set_to(admin, compute, instances=2, force=True)
    assert forced.status_code == 200
    assert shares(cloud, project, "instances") == [0, 2, 0], "no site takes more while the whole is over"
    # And what was forced can be put back, though no site would take it unforced.
    cloud.site("site3").faults.add(Fault("status", status=403, service="compute", method="PUT", count=1))
    assert (await set_to(admin, compute, instances=99)).status_code == 403
    assert shares(cloud, project, "instances") == [0, 2, 0]


async def test_a_users_quota_is_even_as_far_as_it_can_be(
    admin: Client, user: Client, cloud: Cloud, compute: str, project: str
) -> None:
    """No site takes more for a user than it has for the project, whose share was even before all this."""
    assert (await set_to(admin, compute, instances=12)).status_code == 200
    await three_at_one_site(user, cloud)
    token = cloud.keystone.validate(user.token)
    ident = token.user_id if token is not None else ""
    for total, expected in ((12, [4, 4, 4]), (4, [1, 3, 0])):
        answer = await set_to(admin, f"{compute}?user_id={ident}", instances=total)
        assert answer.status_code == 200, answer.text
        assert shares(cloud, f"{project}/{ident}", "instances") == expected
    assert shares(cloud, project, "instances") == [4, 4, 4]


async def test_snapshots_of_a_volume_where_the_limit_is_what_is_used(
    admin: Client, user: Client, cloud: Cloud, volume: str, volume_quota: str, project: str
) -> None:
    """Cinder refuses a limit below use, and counts snapshots where their volume is."""
    assert (await set_to(admin, volume_quota, volumes=3, snapshots=3, gigabytes=6)).status_code == 200
    made = await make_volume(user, volume, availability_zone=ZONE)
    snapshot = {"snapshot": {"volume_id": made.json()["volume"]["id"]}}
    assert (await user.post(f"{volume}/snapshots", json=snapshot)).status_code == 202
    for limits in ({"snapshots": 2, "gigabytes": 2}, {"snapshots": 1, "gigabytes": 3}):
        answer = await set_to(admin, volume_quota, volumes=1, **limits)
        assert answer.status_code == 200, answer.text
        stored = cloud.site(ZONE).block_storage.quota[project]
        assert (stored["volumes"], stored["gigabytes"]) == (1, 2)
        assert (await user.post(f"{volume}/snapshots", json=snapshot)).status_code == 413
    refused = await set_to(admin, volume_quota, volumes=0)
    assert refused.status_code == 400
    assert "Current usage is 1 and the requested limit is 0" in refused.text


@pytest.mark.parametrize("told", [True, False])
async def test_networks_with_and_without_the_extension_that_tells_what_is_used(
    admin: Client, user: Client, cloud: Cloud, network: str, project: str, told: bool
) -> None:
    hints = {"name": "more", "availability_zone_hints": [ZONE]}
    for _ in range(3):
        made = await user.post("/network/v2.0/networks", json={"network": hints})
        assert made.status_code == 201, made.text
    if not told:
        cloud.site("site1").faults.add(Fault("status", status=404, service="network", path="/details"))
    answer = await set_to(admin, network, network=12)
    assert answer.status_code == 200, answer.text
    assert answer.json()["quota"]["network"] == 12
    stored = [site.network.extras.quotas[project]["network"] for site in cloud.sites]
    # Each has one of its own, and the second three more.
    assert stored == ([3, 6, 3] if told else [4, 4, 4])


async def test_what_is_used_is_read_in_the_one_read_there_was_before(
    admin: Client, cloud: Cloud, compute: str, volume_quota: str, network: str
) -> None:
    for site in cloud.sites:
        site.listener.seen.clear()
    assert (await set_to(admin, compute, cores=9)).status_code == 200
    assert (await set_to(admin, volume_quota, volumes=9)).status_code == 200
    assert (await set_to(admin, network, port=30)).status_code == 200
    quotas = [seen.target for seen in cloud.sites[0].listener.seen if "quota" in seen.target]
    assert len(quotas) == 6, quotas


async def test_a_site_that_is_away_is_asked_once_and_nothing_is_written(
    admin: Client, cloud: Cloud, compute: str
) -> None:
    cloud.site("site3").faults.add(Fault("status", status=503, service="compute", path="/detail"))
    answer = await set_to(admin, compute, cores=9)
    assert answer.status_code == 503
    assert "site3" in answer.text
    assert writes(cloud) == []


# -- what is made where some is left --------------------------------------------------------------


async def test_a_volume_is_made_where_quota_is_left(
    admin: Client, user: Client, cloud: Cloud, volume: str, volume_quota: str
) -> None:
    """The limit of one is the first site's, and the project lives at the second."""
    assert (await make_volume(user, volume, availability_zone=ZONE)).status_code == 202
    assert (await set_to(admin, volume_quota, volumes=2)).status_code == 200
    made = await make_volume(user, volume)
    assert made.status_code == 202, made.text
    ident = made.json()["volume"]["id"]
    assert ident in cloud.site("site1").block_storage.volumes
    assert (await user.get(f"{volume}/volumes/{ident}")).status_code == 200
    refused = await make_volume(user, volume)
    assert refused.status_code == 413
    assert "Maximum number of volumes allowed (1)" in refused.text, "the words of the site that was chosen"
    assert [len(site.block_storage.volumes) for site in cloud.sites] == [1, 1, 0]


async def test_a_server_is_made_where_quota_is_left_unless_its_place_is_given(
    admin: Client, user: Client, cloud: Cloud, compute: str
) -> None:
    await three_at_one_site(user, cloud)
    assert (await set_to(admin, compute, instances=4)).status_code == 200
    in_zone = await user.post(SERVERS, json=server_body(cloud, availability_zone=ZONE))
    assert in_zone.status_code == 403
    there = cloud.site(ZONE).network.records.of("networks")
    bound = next(one["id"] for one in there.values() if one["name"] == "private")
    named = await user.post(SERVERS, json=server_body(cloud, networks=[{"uuid": bound}]))
    assert named.status_code == 403
    assert "already used 3 of 3 instances" in named.text
    free = await user.post(SERVERS, json=server_body(cloud))
    assert free.status_code == 202, free.text
    assert [len(site.compute.instances) for site in cloud.sites] == [1, 3, 0]
    assert (await user.post(SERVERS, json=server_body(cloud))).status_code == 403


async def test_a_network_is_made_where_quota_is_left(
    admin: Client, user: Client, cloud: Cloud, network: str
) -> None:
    hints = {"name": "home", "availability_zone_hints": [ZONE]}
    assert (await user.post("/network/v2.0/networks", json={"network": hints})).status_code == 201
    assert (await set_to(admin, network, network=5)).status_code == 200
    made = await user.post("/network/v2.0/networks", json={"network": {"name": "next"}})
    assert made.status_code == 201, made.text
    assert made.json()["network"]["id"] in cloud.site("site1").network.records.of("networks")
    refused = await user.post("/network/v2.0/networks", json={"network": {"name": "none"}})
    assert (refused.status_code, refused.json()["NeutronError"]["type"]) == (409, "OverQuota")


async def test_the_first_refusal_stands_where_the_next_site_is_away(
    admin: Client, user: Client, cloud: Cloud, volume: str, volume_quota: str
) -> None:
    assert (await make_volume(user, volume, availability_zone=ZONE)).status_code == 202
    assert (await set_to(admin, volume_quota, volumes=2)).status_code == 200
    cloud.site("site1").faults.add(Fault("status", status=400, service="volume", method="POST"))
    cloud.site("site3").refuse()
    refused = await make_volume(user, volume)
    assert refused.status_code == 413
    assert [len(site.block_storage.volumes) for site in cloud.sites] == [0, 1, 0]


async def test_what_is_refused_for_another_reason_is_asked_of_one_site(
    user: Client, cloud: Cloud, volume: str
) -> None:
    for site in cloud.sites:
        site.faults.add(Fault("status", status=403, service="volume", method="POST"))
    assert (await make_volume(user, volume)).status_code == 403
    assert len(writes(cloud)) == 1
