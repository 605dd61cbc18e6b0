"""What Cinder's administrators do by the name of a host, for all services, and for a project everywhere."""

from typing import Any

import pytest
from tests.scenarios.conftest import Client, writes

from atoll.sandbox.simulated import Cloud, Fault

V3 = "/block-storage/v3"
VERSION = {"OpenStack-API-Version": "volume 3.62"}
LISTS = ("manageable_volumes", "manageable_volumes/detail", "os-volume-manage", "os-volume-manage/detail")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("site", ["site1", "site2"])
async def test_what_a_host_has_is_asked_at_its_site(admin: Client, path: str, site: str) -> None:
    answer = await admin.get(f"{V3}/{path}", params={"host": f"{site}-control@fake#fake"})
    assert answer.status_code == 200, answer.text
    names = [one["reference"]["source-name"] for one in answer.json()["manageable-volumes"]]
    assert names == [f"disk-of-{site}"]


async def test_a_host_of_no_site_is_refused_in_a_site_s_words(admin: Client) -> None:
    answer = await admin.get(f"{V3}/manageable_volumes", params={"host": "nobody"})
    assert answer.status_code == 404
    assert "could not be found on host nobody" in answer.text
    assert (await admin.get(f"{V3}/manageable_volumes")).status_code == 400


async def test_a_host_at_a_site_that_is_away(admin: Client, cloud: Cloud) -> None:
    cloud.site("site2").refuse()
    params = {"host": "site2-control@fake"}
    answer = await admin.get(f"{V3}/manageable_volumes", params=params)
    assert (answer.status_code, "site2" in answer.text) == (503, True)
    body = {"volume": {"host": "site2-control@fake", "ref": {"source-name": "x"}}}
    assert (await admin.post(f"{V3}/manageable_volumes", json=body)).status_code == 503
    assert writes(cloud) == []
    await cloud.site("site2").start()


@pytest.mark.parametrize("path", ["manageable_volumes", "os-volume-manage"])
async def test_what_is_managed_is_made_where_its_host_is(admin: Client, cloud: Cloud, path: str) -> None:
    body = {"volume": {"host": "site2-control@fake#fake", "ref": {"source-name": "x"}, "name": "managed"}}
    made = await admin.post(f"{V3}/{path}", json=body)
    assert made.status_code == 202, made.text
    assert list(cloud.site("site2").block_storage.volumes) == [made.json()["volume"]["id"]]
    body["volume"]["availability_zone"] = "site3"
    refused = await admin.post(f"{V3}/{path}", json=body)
    assert refused.status_code == 409
    assert "host site2-control@fake#fake is in site2" in refused.text


async def test_hosts_of_one_name_are_told_apart_by_their_site(admin: Client, cloud: Cloud) -> None:
    for site in cloud.sites[:2]:
        site.block_storage.backend = "control@lvm"
    body: dict[str, Any] = {"volume": {"host": "control@lvm", "ref": {"source-name": "x"}}}
    params = {"host": "control@lvm"}
    for answer in (
        await admin.get(f"{V3}/manageable_volumes", params=params),
        await admin.post(f"{V3}/manageable_volumes", json=body),
        await admin.put(f"{V3}/os-services/freeze", json=params),
    ):
        assert answer.status_code == 409, answer.text
        assert "name control@lvm@site1 or control@lvm@site2" in answer.text
    assert writes(cloud) == []
    params["host"] = body["volume"]["host"] = "control@lvm@site2"
    (one,) = (await admin.get(f"{V3}/manageable_volumes", params=params)).json()["manageable-volumes"]
    assert one["reference"]["source-name"] == "disk-of-site2"
    made = await admin.post(f"{V3}/manageable_volumes", json=body)
    assert list(cloud.site("site2").block_storage.volumes) == [made.json()["volume"]["id"]]
    assert (await admin.put(f"{V3}/os-services/freeze", json=params)).status_code == 202


@pytest.mark.parametrize("action", ["freeze", "thaw", "failover_host"])
async def test_a_service_is_acted_on_at_its_site(admin: Client, cloud: Cloud, action: str) -> None:
    """The first site would refuse with 400, which is not for the others to be taken for."""
    answer = await admin.put(f"{V3}/os-services/{action}", json={"host": "site3-control@fake"})
    assert answer.status_code == 202, answer.text
    assert [name for name, _, _ in writes(cloud)] == ["site3"]
    nobody = await admin.put(f"{V3}/os-services/{action}", json={"host": "nobody"})
    assert (nobody.status_code, "No service found" in nobody.text) == (400, True)


async def test_log_levels_are_those_of_all_sites(admin: Client, cloud: Cloud) -> None:
    body = {"level": "DEBUG", "binary": "", "server": "", "prefix": ""}
    assert (await admin.put(f"{V3}/os-services/set-log", json=body)).status_code == 202
    assert [site.block_storage.log_level for site in cloud.sites] == ["DEBUG"] * 3
    shown = (await admin.put(f"{V3}/os-services/get-log", json={})).json()["log_levels"]
    assert [one["host"] for one in shown] == ["site1-control", "site2-control", "site3-control"]
    cloud.site("site2").refuse()
    away = await admin.put(f"{V3}/os-services/get-log", json={})
    assert (away.status_code, "site2" in away.text) == (503, True)
    await cloud.site("site2").start()


# -- default types ---------------------------------------------------------------------------------


@pytest.fixture
def path(cloud: Cloud) -> str:
    """Of a project's default type."""
    return f"{V3}/default-types/{cloud.keystone.project_id('demo')}"


def wanted(name: str) -> dict[str, Any]:
    return {"default_type": {"volume_type": name}}


def defaults(cloud: Cloud) -> list[list[str]]:
    """The names of the default types that each site has set."""
    found = [(site.block_storage.types, site.block_storage.defaults) for site in cloud.sites]
    return [[types[ident]["name"] for ident in set_.values()] for types, set_ in found]


@pytest.mark.parametrize("by", ["name", "id of the second site"])
async def test_a_default_type_is_one_at_every_site(
    user: Client, admin: Client, cloud: Cloud, path: str, by: str
) -> None:
    kinds = (await user.get(f"{V3}/types")).json()["volume_types"]
    listed = next(one["id"] for one in kinds if one["name"] == "fake")
    types = cloud.site("site2").block_storage.types.values()
    ident = "fake" if by == "name" else next(one["id"] for one in types if one["name"] == "fake")
    answer = await admin.put(path, json=wanted(ident), headers=VERSION)
    assert answer.status_code == 200, answer.text
    assert defaults(cloud) == [["fake"], ["fake"], ["fake"]]
    project = path.rpartition("/")[2]
    one = {"project_id": project, "volume_type_id": listed}
    assert answer.json()["default_type"] == one
    assert (await admin.get(path, headers=VERSION)).json() == {"default_type": one}
    every = await admin.get(f"{V3}/default-types", headers=VERSION)
    assert every.json() == {"default_types": [one]}
    assert (await admin.delete(path, headers=VERSION)).status_code == 204
    assert defaults(cloud) == [[], [], []]
    assert (await admin.get(path, headers=VERSION)).status_code == 404
    assert (await admin.get(f"{V3}/default-types", headers=VERSION)).json() == {"default_types": []}


async def test_a_default_type_that_one_site_refuses_is_set_nowhere(
    admin: Client, cloud: Cloud, path: str
) -> None:
    await admin.put(path, json=wanted("fake"), headers=VERSION)
    cloud.site("site3").faults.add(Fault("status", method="PUT", path="default-types"))
    failed = await admin.put(path, json=wanted("multiattach"), headers=VERSION)
    assert failed.status_code >= 409
    assert defaults(cloud) == [["fake"], ["fake"], ["fake"]]


async def test_a_default_type_that_a_site_lacks_is_a_conflict(admin: Client, cloud: Cloud, path: str) -> None:
    cloud.site("site1").block_storage.admin.seed("rare")
    refused = await admin.put(path, json=wanted("rare"), headers=VERSION)
    assert refused.status_code == 409, refused.text
    assert "volume type create rare" in refused.text
    assert writes(cloud) == []


async def test_no_default_type_is_said_or_set_while_a_site_is_away(
    admin: Client, cloud: Cloud, path: str
) -> None:
    cloud.site("site2").refuse()
    for answer in (
        await admin.get(path, headers=VERSION),
        await admin.put(path, json=wanted("fake"), headers=VERSION),
    ):
        assert (answer.status_code, "site2" in answer.text) == (503, True)
    assert defaults(cloud) == [[], [], []]
    await cloud.site("site2").start()


async def test_default_types_are_administrators(user: Client, cloud: Cloud, path: str) -> None:
    assert (await user.put(path, json=wanted("fake"), headers=VERSION)).status_code == 403
    assert (await user.get(path, headers=VERSION)).status_code == 403
    assert defaults(cloud) == [[], [], []]
