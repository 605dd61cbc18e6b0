"""A quota that is written: divided over the sites, read as it was written, at all of them or at none."""

from typing import Any

import pytest
from tests.scenarios.conftest import Client, writes

from atoll.core.sums import PER_OBJECT, TOTALS
from atoll.sandbox.simulated import Cloud, Fault, Site

SITES = ("site1", "site2", "site3")


@pytest.fixture
def project(cloud: Cloud) -> str:
    """The project whose quota is written."""
    return cloud.keystone.project_id("demo")


@pytest.fixture
def paths(project: str, cloud: Cloud) -> dict[str, str]:
    """Where each service has a project's quota, as an administrator asks."""
    own = cloud.keystone.project_id("admin")
    return {
        "compute": f"/compute/v2.1/os-quota-sets/{project}",
        "block-storage": f"/block-storage/v3/{own}/os-quota-sets/{project}",
        "network": f"/network/v2.0/quotas/{project}",
    }


def envelope(service: str) -> str:
    return "quota" if service == "network" else "quota_set"


def values_of(site: Site, service: str, project: str) -> dict[str, int]:
    """What a site has been told of a project's quota."""
    stored = {
        "compute": lambda: site.compute.quota,
        "block-storage": lambda: site.block_storage.quota,
        "network": lambda: site.network.extras.quotas,
    }
    return dict(stored[service]().get(project, {}))


WRITTEN: dict[str, dict[str, Any]] = {
    "compute": {"instances": 10, "cores": 9, "ram": -1, "server_groups": 1, "metadata_items": 64},
    "block-storage": {"volumes": 7, "gigabytes": 1000, "backups": -1, "per_volume_gigabytes": 50},
    "network": {"network": 5, "port": 100, "router": 3, "floatingip": -1},
}
SHARES: dict[str, list[dict[str, int]]] = {
    "compute": [
        {"instances": 4, "cores": 3, "ram": -1, "server_groups": 1, "metadata_items": 64},
        {"instances": 3, "cores": 3, "ram": -1, "server_groups": 0, "metadata_items": 64},
        {"instances": 3, "cores": 3, "ram": -1, "server_groups": 0, "metadata_items": 64},
    ],
    "block-storage": [
        {"volumes": 3, "gigabytes": 334, "backups": -1, "per_volume_gigabytes": 50},
        {"volumes": 2, "gigabytes": 333, "backups": -1, "per_volume_gigabytes": 50},
        {"volumes": 2, "gigabytes": 333, "backups": -1, "per_volume_gigabytes": 50},
    ],
    "network": [
        {"network": 2, "port": 34, "router": 1, "floatingip": -1},
        {"network": 2, "port": 33, "router": 1, "floatingip": -1},
        {"network": 1, "port": 33, "router": 1, "floatingip": -1},
    ],
}


@pytest.mark.parametrize("service", WRITTEN)
@pytest.mark.parametrize("as_text", [False, True])
async def test_what_is_written_is_divided_and_read_as_it_was_written(
    admin: Client, cloud: Cloud, paths: dict[str, str], project: str, service: str, as_text: bool
) -> None:
    wanted = WRITTEN[service]
    given = {key: str(value) if as_text else value for key, value in wanted.items()}
    answer = await admin.put(paths[service], json={envelope(service): given})
    assert answer.status_code == 200, answer.text
    assert answer.json()[envelope(service)].items() >= wanted.items()
    assert [values_of(site, service, project) for site in cloud.sites] == SHARES[service]
    read = (await admin.get(paths[service])).json()[envelope(service)]
    assert read.items() >= wanted.items()


async def test_details_and_limits_say_the_same(
    admin: Client, user: Client, paths: dict[str, str], cloud: Cloud, project: str
) -> None:
    quota = {"quota_set": {"instances": 11, "key_pairs": 7}}
    assert (await admin.put(paths["compute"], json=quota)).status_code == 200
    detail = (await admin.get(paths["compute"] + "/detail")).json()["quota_set"]
    assert (detail["instances"]["limit"], detail["key_pairs"]["limit"]) == (11, 7)
    absolute = (await user.get("/compute/v2.1/limits")).json()["limits"]["absolute"]
    assert (absolute["maxTotalInstances"], absolute["maxTotalKeypairs"]) == (11, 7)
    volumes = {"quota_set": {"volumes": 5, "per_volume_gigabytes": 9}}
    assert (await admin.put(paths["block-storage"], json=volumes)).status_code == 200
    usage = (await admin.get(paths["block-storage"] + "?usage=true")).json()["quota_set"]
    assert (usage["volumes"]["limit"], usage["per_volume_gigabytes"]["limit"]) == (5, 9)
    assert (await admin.put(paths["network"], json={"quota": {"port": 8}})).status_code == 200
    details = (await admin.get(paths["network"] + "/details")).json()["quota"]
    assert details["port"]["limit"] == 8
    del cloud, project


@pytest.mark.parametrize("service", WRITTEN)
@pytest.mark.parametrize("place", SITES)
async def test_a_site_that_refuses_leaves_all_as_they_were(
    admin: Client, cloud: Cloud, paths: dict[str, str], project: str, service: str, place: str
) -> None:
    first = {envelope(service): WRITTEN[service]}
    assert (await admin.put(paths[service], json=first)).status_code == 200
    before = [values_of(site, service, project) for site in cloud.sites]
    name = "volume" if service == "block-storage" else service
    cloud.site(place).faults.add(Fault("status", status=403, service=name, method="PUT", count=1))
    changed = dict.fromkeys(WRITTEN[service], 12)
    answer = await admin.put(paths[service], json={envelope(service): changed})
    assert answer.status_code == 403
    assert [values_of(site, service, project) for site in cloud.sites] == before


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_nothing_is_written_while_a_site_is_away(
    admin: Client, cloud: Cloud, paths: dict[str, str], method: str
) -> None:
    cloud.site("site3").refuse()
    body = {"quota_set": {"instances": 10}} if method == "PUT" else None
    answer = await admin.request(method, paths["compute"], json=body)
    assert answer.status_code == 503
    assert "site3" in answer.text
    assert writes(cloud) == []


async def test_a_lost_answer_is_looked_after(
    admin: Client, cloud: Cloud, paths: dict[str, str], project: str
) -> None:
    """The site wrote it and died before it said so: it is written, and nothing is undone."""
    cloud.site("site2").faults.add(Fault("die_after_commit", service="compute", method="PUT", count=1))
    answer = await admin.put(paths["compute"], json={"quota_set": {"instances": 10}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["quota_set"]["instances"] == 10
    assert "id" not in answer.json()["quota_set"]
    assert [values_of(site, "compute", project)["instances"] for site in cloud.sites] == [4, 3, 3]


async def test_a_lost_write_is_undone_at_the_others(
    admin: Client, cloud: Cloud, paths: dict[str, str], project: str
) -> None:
    assert (await admin.put(paths["compute"], json={"quota_set": {"instances": 30}})).status_code == 200
    cloud.site("site2").faults.add(Fault("reset", service="compute", method="PUT", count=1))
    answer = await admin.put(paths["compute"], json={"quota_set": {"instances": 90}})
    assert answer.status_code == 504
    assert "site2" in answer.text
    assert [values_of(site, "compute", project)["instances"] for site in cloud.sites] == [10, 10, 10]


async def test_what_cannot_be_undone_is_told(
    admin: Client, cloud: Cloud, paths: dict[str, str], project: str
) -> None:
    assert (await admin.put(paths["compute"], json={"quota_set": {"instances": 30}})).status_code == 200
    cloud.site("site3").faults.add(Fault("status", status=403, service="compute", method="PUT", count=1))
    site = cloud.site("site1")
    _after_the_first_write(site)
    answer = await admin.put(paths["compute"], json={"quota_set": {"instances": 90}})
    assert answer.status_code == 409, answer.text
    message = answer.json()["conflictingRequest"]["message"]
    assert "refused it (403" in message
    assert "carried out at site1 and could not be undone" in message
    assert "not carried out at site3" in message
    assert [values_of(one, "compute", project)["instances"] for one in cloud.sites] == [30, 10, 10]


def _after_the_first_write(site: Site) -> None:
    """The site takes one more write, and no other after it."""
    real = site.compute.handle

    async def handle(request: Any) -> Any:
        if request.method == "PUT":
            site.faults.add(Fault("reset", service="compute", method="PUT"))
        return await real(request)

    site.compute.handle = handle  # type: ignore[method-assign]


async def test_a_reset_goes_back_to_the_defaults_of_all(
    admin: Client, cloud: Cloud, paths: dict[str, str], project: str
) -> None:
    defaults = (await admin.get(paths["compute"] + "/defaults")).json()["quota_set"]
    assert (await admin.put(paths["compute"], json={"quota_set": {"cores": 9}})).status_code == 200
    assert (await admin.delete(paths["compute"])).status_code == 202
    assert (await admin.get(paths["compute"])).json()["quota_set"] == defaults
    assert (await admin.put(paths["compute"], json={"quota_set": {"cores": 9}})).status_code == 200
    cloud.site("site2").faults.add(Fault("status", status=403, service="compute", method="DELETE", count=1))
    newest = {"OpenStack-API-Version": "compute 2.90"}
    assert (await admin.delete(paths["compute"], headers=newest)).status_code == 403
    assert [values_of(site, "compute", project)["cores"] for site in cloud.sites] == [3, 3, 3]


async def test_defaults_of_new_projects(admin: Client, cloud: Cloud) -> None:
    path = "/compute/v2.1/os-quota-class-sets/default"
    answer = await admin.put(path, json={"quota_class_set": {"instances": 10, "key_pairs": 5}})
    assert answer.status_code == 200
    read = (await admin.get(path)).json()["quota_class_set"]
    assert (read["id"], read["instances"], read["key_pairs"]) == ("default", 10, 5)
    assert [values_of(site, "compute", "class default")["instances"] for site in cloud.sites] == [4, 3, 3]


async def test_one_users_quota_in_a_project(admin: Client, cloud: Cloud, paths: dict[str, str]) -> None:
    path = paths["compute"] + "?user_id=somebody"
    whole = (await admin.get(paths["compute"])).json()["quota_set"]["instances"]
    assert (await admin.put(path, json={"quota_set": {"instances": 7}})).status_code == 200
    assert (await admin.get(path)).json()["quota_set"]["instances"] == 7
    assert (await admin.get(paths["compute"])).json()["quota_set"]["instances"] == whole
    assert (await admin.delete(path)).status_code == 202
    del cloud


@pytest.mark.parametrize(
    ("version", "key"), [("2.36", "floating_ips"), ("2.57", "injected_files"), ("2.1", "nonsense")]
)
async def test_keys_that_a_version_does_not_have_are_refused_as_nova_does(
    admin: Client, cloud: Cloud, paths: dict[str, str], version: str, key: str
) -> None:
    headers = {"OpenStack-API-Version": f"compute {version}"}
    body = {"quota_set": {"instances": 10, key: 10}}
    answer = await admin.put(paths["compute"], json=body, headers=headers)
    assert answer.status_code == 400
    assert key in answer.text
    assert [site.compute.quota for site in cloud.sites] == [{}, {}, {}]
    shown = (await admin.get(paths["compute"], headers=headers)).json()["quota_set"]
    assert key not in shown


@pytest.mark.parametrize("text", ["", "{", "[]", '{"quota_set": 1}', '{"quota_set": {"instances": 1.5}}'])
async def test_a_body_that_is_none_is_refused_by_the_service(
    admin: Client, cloud: Cloud, paths: dict[str, str], text: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await admin.put(paths["compute"], content=text, headers=headers)
    assert answer.status_code == 400
    assert [site.compute.quota for site in cloud.sites] == [{}, {}, {}]


async def test_a_user_may_not(user: Client, cloud: Cloud, paths: dict[str, str]) -> None:
    answer = await user.put(paths["compute"], json={"quota_set": {"instances": 1}})
    assert answer.status_code == 403
    assert [site.compute.quota for site in cloud.sites] == [{}, {}, {}]
    other = paths["compute"].replace(cloud.keystone.project_id("demo"), cloud.keystone.project_id("alt_demo"))
    refused = await user.put(other, json={"quota_set": {"instances": 1}})
    assert refused.status_code == 403
    assert "os-quota-sets:update" in refused.text, "in the words of the write"


async def test_one_site_alone(admin: Client, cloud: Cloud, paths: dict[str, str], project: str) -> None:
    answer = await admin.put(paths["compute"] + "?atoll_site=site2", json={"quota_set": {"cores": 5}})
    assert answer.status_code == 200
    assert [values_of(site, "compute", project) for site in cloud.sites] == [{}, {"cores": 5}, {}]


async def test_every_key_is_a_total_or_a_limit_on_one_object(
    admin: Client, paths: dict[str, str], cloud: Cloud
) -> None:
    """The table in `core.sums` has all that the services have, but for what Cinder makes of volume types."""
    types = {record["name"] for record in cloud.sites[0].block_storage.types.values()}
    for service, path in paths.items():
        shown = set((await admin.get(path)).json()[envelope(service)]) - {"id"}
        shown -= {key for key in shown for one in types if key.endswith(f"_{one}")}
        assert shown <= TOTALS[service] | PER_OBJECT[service], service
        assert not TOTALS[service] & PER_OBJECT[service]
