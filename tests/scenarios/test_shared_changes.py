"""What is one thing at every site is changed at all of them or at none; what stands half-done is told."""

from typing import Any

import pytest
from tests.scenarios.conftest import Client, writes

from atoll.sandbox.simulated import Cloud, Fault, Site

FLAVOR = "/compute/v2.1/flavors/42"
SPECS = f"{FLAVOR}/os-extra_specs"
ACTION = f"{FLAVOR}/action"
KEYPAIRS = "/compute/v2.1/os-keypairs"
NEWEST = {"OpenStack-API-Version": "compute 2.90"}
PLACES = ("site1", "site2", "site3")


def refuses(site: Site, method: str, status: int = 403, service: str = "compute", **more: Any) -> None:
    site.faults.add(Fault("status", status=status, service=service, method=method, count=1, **more))


def flavors(cloud: Cloud, what: str) -> list[Any]:
    return [site.compute.flavors["42"][what] for site in cloud.sites]


@pytest.fixture
def specs(cloud: Cloud) -> dict[str, str]:
    """The extra specs that the flavor has at every site."""
    for site in cloud.sites:
        site.compute.flavors["42"]["extra_specs"] = {"hw:a": "1", "hw:b": "2"}
    return {"hw:a": "1", "hw:b": "2"}


@pytest.mark.parametrize("place", PLACES)
async def test_extra_specs_are_as_before_when_a_site_refuses(
    admin: Client, cloud: Cloud, specs: dict[str, str], place: str
) -> None:
    refuses(cloud.site(place), "POST")
    answer = await admin.post(SPECS, json={"extra_specs": {"hw:a": "9", "hw:new": "1"}})
    assert answer.status_code == 403
    assert flavors(cloud, "extra_specs") == [specs] * 3
    refuses(cloud.site(place), "PUT")
    assert (await admin.put(f"{SPECS}/hw:a", json={"hw:a": "9"})).status_code == 403
    assert flavors(cloud, "extra_specs") == [specs] * 3
    refuses(cloud.site(place), "DELETE")
    assert (await admin.delete(f"{SPECS}/hw:b")).status_code == 403
    assert flavors(cloud, "extra_specs") == [specs] * 3
    changed = await admin.post(SPECS, json={"extra_specs": {"hw:a": "9"}})
    assert changed.status_code == 200
    assert flavors(cloud, "extra_specs") == [{**specs, "hw:a": "9"}] * 3


async def test_a_spec_that_some_sites_lack_is_deleted_where_it_is(
    admin: Client, cloud: Cloud, specs: dict[str, str]
) -> None:
    del cloud.site("site1").compute.flavors["42"]["extra_specs"]["hw:a"]
    assert (await admin.delete(f"{SPECS}/hw:a")).status_code == 200
    assert flavors(cloud, "extra_specs") == [{"hw:b": "2"}] * 3
    assert (await admin.delete(f"{SPECS}/hw:a")).status_code == 404
    del specs


@pytest.mark.parametrize("place", PLACES)
async def test_access_is_as_before_when_a_site_refuses(admin: Client, cloud: Cloud, place: str) -> None:
    for site in cloud.sites:
        site.compute.flavors["42"] |= {"os-flavor-access:is_public": False, "access": ["old"]}
    refuses(cloud.site(place), "POST")
    assert (await admin.post(ACTION, json={"addTenantAccess": {"tenant": "new"}})).status_code == 403
    assert flavors(cloud, "access") == [["old"]] * 3
    refuses(cloud.site(place), "POST")
    assert (await admin.post(ACTION, json={"removeTenantAccess": {"tenant": "old"}})).status_code == 403
    assert flavors(cloud, "access") == [["old"]] * 3
    assert (await admin.post(ACTION, json={"addTenantAccess": {"tenant": "new"}})).status_code == 200
    assert flavors(cloud, "access") == [["old", "new"]] * 3


@pytest.mark.parametrize("place", PLACES)
async def test_a_description_is_as_before_when_a_site_refuses(
    admin: Client, cloud: Cloud, place: str
) -> None:
    for site in cloud.sites:
        site.compute.flavors["42"]["description"] = "old"
    body = {"flavor": {"description": "new"}}
    refuses(cloud.site(place), "PUT")
    assert (await admin.put(FLAVOR, json=body, headers=NEWEST)).status_code == 403
    assert flavors(cloud, "description") == ["old"] * 3
    changed = await admin.put(FLAVOR, json=body, headers=NEWEST)
    assert changed.status_code == 200
    assert flavors(cloud, "description") == ["new"] * 3


async def test_nothing_is_changed_while_a_site_is_away(
    admin: Client, cloud: Cloud, specs: dict[str, str]
) -> None:
    cloud.site("site3").refuse()
    answer = await admin.post(SPECS, json={"extra_specs": {"hw:a": "9"}})
    assert answer.status_code == 503
    assert "site3" in answer.text
    assert "nothing was changed" in answer.text
    assert writes(cloud) == []
    del specs


async def test_a_change_whose_answer_was_lost_is_looked_after(
    admin: Client, cloud: Cloud, specs: dict[str, str]
) -> None:
    cloud.site("site2").faults.add(Fault("die_after_commit", service="compute", method="POST", count=1))
    assert (await admin.post(SPECS, json={"extra_specs": {"hw:a": "9"}})).status_code == 200
    assert flavors(cloud, "extra_specs") == [{**specs, "hw:a": "9"}] * 3
    cloud.site("site2").faults.add(Fault("reset", service="compute", method="POST", count=1))
    lost = await admin.post(SPECS, json={"extra_specs": {"hw:a": "5"}})
    assert lost.status_code == 504
    assert "site2" in lost.text
    assert lost.headers["x-openstack-request-id"] in lost.text
    assert flavors(cloud, "extra_specs") == [{**specs, "hw:a": "9"}] * 3


async def test_a_change_that_cannot_be_undone_is_told_site_by_site(
    admin: Client, cloud: Cloud, specs: dict[str, str], log_lines: list[Any]
) -> None:
    """site3 refuses, and site1 will not take the old value back."""
    first = cloud.site("site1")
    real = first.compute.handle

    async def handle(request: Any) -> Any:
        if request.method == "POST":
            refuses(first, "POST", 500)
        return await real(request)

    first.compute.handle = handle  # type: ignore[method-assign]
    refuses(cloud.site("site3"), "POST", 409)
    answer = await admin.post(SPECS, json={"extra_specs": {"hw:a": "9"}})
    assert answer.status_code == 409
    message = answer.json()["conflictingRequest"]["message"]
    assert "flavor 42" in message
    assert "not carried out at site3" in message
    assert "carried out at site1 and could not be undone there" in message
    assert flavors(cloud, "extra_specs") == [{**specs, "hw:a": "9"}, specs, specs]
    assert [line["site"] for line in log_lines if line["event"] == "undo_failed"] == ["site1"]


async def test_a_flavor_that_nobody_has_is_refused_in_novas_words(admin: Client, cloud: Cloud) -> None:
    answer = await admin.post(
        "/compute/v2.1/flavors/none/os-extra_specs", json={"extra_specs": {"hw:a": "1"}}
    )
    assert answer.status_code == 404
    assert "none" in answer.text
    del cloud


# -- deletes --------------------------------------------------------------------------------------


async def keypair(user: Client, name: str = "k") -> str:
    made = await user.post(KEYPAIRS, json={"keypair": {"name": name}})
    assert made.status_code == 200
    return f"{KEYPAIRS}/{name}"


def with_keypair(cloud: Cloud) -> list[str]:
    return [site.name for site in cloud.sites if site.compute.keypairs]


async def test_a_delete_that_one_site_refuses_says_where_it_still_is(user: Client, cloud: Cloud) -> None:
    path = await keypair(user)
    refuses(cloud.site("site2"), "DELETE")
    answer = await user.delete(path)
    assert answer.status_code == 409
    message = answer.json()["conflictingRequest"]["message"]
    assert "deleted at site1, site3" in message
    assert "still at site2" in message
    assert with_keypair(cloud) == ["site2"], "and nothing is made again"
    assert (await user.delete(path)).status_code == 202
    assert with_keypair(cloud) == []
    assert (await user.delete(path)).status_code == 404


async def test_a_delete_while_a_site_is_away_succeeds_when_it_is_back(user: Client, cloud: Cloud) -> None:
    path = await keypair(user)
    cloud.site("site3").refuse()
    for _ in range(2):
        answer = await user.delete(path)
        assert answer.status_code == 503
        assert "site3" in answer.text
        assert "retry-after" in answer.headers
    assert with_keypair(cloud) == ["site3"]
    await cloud.site("site3").start()
    for _ in range(100):
        if (answer := await user.delete(path)).status_code != 503:
            break
    assert with_keypair(cloud) == []


async def test_a_delete_whose_answer_was_lost_is_looked_after(user: Client, cloud: Cloud) -> None:
    path = await keypair(user)
    cloud.site("site2").faults.add(Fault("die_after_commit", service="compute", method="DELETE", count=1))
    assert (await user.delete(path)).status_code == 202
    path = await keypair(user)
    cloud.site("site2").faults.add(Fault("reset", service="compute", method="DELETE", count=1))
    lost = await user.delete(path)
    assert lost.status_code == 504
    assert "site2" in lost.text
    assert with_keypair(cloud) == ["site2"]
    assert (await user.delete(path)).status_code == 202


async def test_a_flavor_is_deleted_everywhere(admin: Client, cloud: Cloud) -> None:
    assert (await admin.delete(FLAVOR)).status_code == 202
    assert [site.name for site in cloud.sites if "42" in site.compute.flavors] == []


async def test_a_delete_that_all_refuse_is_refused_in_their_words(user: Client, cloud: Cloud) -> None:
    answer = await user.delete(FLAVOR)
    assert answer.status_code == 403
    assert "os-flavor-manage:delete" in answer.text
    assert all("42" in site.compute.flavors for site in cloud.sites)


# -- creates --------------------------------------------------------------------------------------


async def test_a_create_that_cannot_be_undone_says_where_it_is(admin: Client, cloud: Cloud) -> None:
    refuses(cloud.site("site3"), "POST")
    refuses(cloud.site("site2"), "DELETE", 500)
    body = {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1, "id": "f"}}
    answer = await admin.post("/compute/v2.1/flavors", json=body)
    assert answer.status_code == 409
    assert "could not be deleted again at site2" in answer.text
    assert "site3 refused it" in answer.text
    assert [site.name for site in cloud.sites if "f" in site.compute.flavors] == ["site2"]


@pytest.mark.parametrize("place", PLACES)
async def test_a_create_whose_outcome_cannot_be_proved_is_told(
    admin: Client, cloud: Cloud, place: str
) -> None:
    """The id is the client's own: what is there under it may be another's, and is left."""
    cloud.site(place).faults.add(Fault("die_after_commit", service="compute", method="POST", count=1))
    body = {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1, "id": "f"}}
    answer = await admin.post("/compute/v2.1/flavors", json=body)
    assert answer.status_code == 504
    assert f"Whether it was made at {place} is not known" in answer.text
    assert [site.name for site in cloud.sites if "f" in site.compute.flavors] == [place]


@pytest.mark.parametrize("place", PLACES)
async def test_a_create_that_is_provably_ours_is_taken_back(admin: Client, cloud: Cloud, place: str) -> None:
    cloud.site(place).faults.add(Fault("die_after_commit", service="compute", method="POST", count=1))
    body = {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1}}
    answer = await admin.post("/compute/v2.1/flavors", json=body)
    assert answer.status_code == 504
    assert "Nothing of it is left" in answer.text
    assert [
        one["name"] for site in cloud.sites for one in site.compute.flavors.values() if one["name"] == "f"
    ] == []


# -- what goes by a name --------------------------------------------------------------------------


def types(cloud: Cloud, name: str) -> list[Any]:
    found = [
        [one for one in site.block_storage.types.values() if one["name"] == name] for site in cloud.sites
    ]
    return [one[0] if one else None for one in found]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_volume_type_is_changed_everywhere_under_the_id_of_each_site(
    admin: Client, cloud: Cloud, place: int
) -> None:
    root = f"/block-storage/v3/{cloud.keystone.project_id('admin')}/types"
    path = f"{root}/{types(cloud, 'fake')[place]['id']}"
    changed = await admin.put(path, json={"volume_type": {"description": "fast"}})
    assert changed.status_code == 200
    assert changed.json()["volume_type"]["id"] == types(cloud, "fake")[0]["id"]
    assert [one["description"] for one in types(cloud, "fake")] == ["fast"] * 3
    refuses(cloud.sites[-1], "PUT", service="volume")
    refused = await admin.put(path, json={"volume_type": {"description": "slow"}})
    assert refused.status_code == 403
    assert [one["description"] for one in types(cloud, "fake")] == ["fast"] * 3
    specs = await admin.post(f"{path}/extra_specs", json={"extra_specs": {"k": "v"}})
    assert specs.status_code == 200
    assert [one["extra_specs"]["k"] for one in types(cloud, "fake")] == ["v"] * 3
    assert (await admin.delete(path)).status_code == 202
    assert types(cloud, "fake") == [None] * 3
