"""A type of volumes whose name means different things at two sites: reported, never chosen for anybody."""

from typing import Any

import pytest
from tests.scenarios.conftest import SERVERS, Client, server_body, writes
from tests.scenarios.test_several_services import VOLUMES, made, volume_at

from atoll.sandbox.simulated import Cloud

CHECK = "/atoll/v1/same/check"
MEANS = "volume type gold means different things: multiattach is <is> True at site1 and nothing at site2"


@pytest.fixture
def gold(cloud: Cloud) -> dict[str, str]:
    """The id at each site of a type that is multiattach at site1 only; site3 has none of its name."""
    ids = {}
    for name, specs in (("site1", {"multiattach": "<is> True"}), ("site2", {})):
        backend = {"volume_backend_name": f"ceph-{name}"}
        ids[name] = cloud.site(name).block_storage.admin.seed("gold", **specs, **backend)["id"]
    return ids


def volume(kind: str, **fields: Any) -> dict[str, Any]:
    return {"volume": {"size": 1, "volume_type": kind, **fields}}


@pytest.mark.parametrize("named", ["gold", "site1", "site2"])
async def test_a_create_that_may_go_to_either_is_refused_with_both_meanings(
    user: Client, cloud: Cloud, gold: dict[str, str], named: str
) -> None:
    """By its name, or by the id that either site has for it."""
    refused = await user.post(VOLUMES, json=volume(gold.get(named, named)))
    assert refused.status_code == 409, refused.text
    message = refused.json()["conflictingRequest"]["message"]
    assert MEANS in message
    assert "Name an availability zone to say which: site1 or site2. Nothing was created." in message
    assert writes(cloud) == []


@pytest.mark.parametrize("site", ["site1", "site2"])
async def test_the_zone_says_which_is_meant(
    user: Client, cloud: Cloud, gold: dict[str, str], site: str
) -> None:
    answer = await user.post(VOLUMES, json=volume("gold", availability_zone=site))
    assert answer.status_code == 202
    (one,) = cloud.site(site).block_storage.volumes.values()
    assert one["multiattach"] is (site == "site1")
    assert len(gold) == 2


@pytest.mark.usefixtures("gold")
async def test_so_does_what_it_is_made_of(user: Client, cloud: Cloud) -> None:
    source = await volume_at(user, "site2")
    answer = await user.post(VOLUMES, json=volume("gold", source_volid=source))
    assert answer.status_code == 202
    assert answer.json()["volume"]["id"] in cloud.site("site2").block_storage.volumes


@pytest.mark.usefixtures("gold")
async def test_so_does_a_site_that_takes_nothing_new(user: Client, admin: Client, cloud: Cloud) -> None:
    drained = await admin.post("/atoll/v1/sites/site1/drain", json={})
    assert drained.status_code == 200, drained.text
    answer = await user.post(VOLUMES, json=volume("gold"))
    assert answer.json()["volume"]["id"] in cloud.site("site2").block_storage.volumes


@pytest.mark.usefixtures("gold")
async def test_a_server_s_volume_of_that_type(user: Client, cloud: Cloud) -> None:
    device = {
        "uuid": cloud.sites[0].image_id("cirros"), "source_type": "image", "destination_type": "volume",
        "boot_index": 0, "volume_size": 1, "volume_type": "gold",
    }  # fmt: skip
    body = server_body(cloud, block_device_mapping_v2=[device])
    assert MEANS in (await user.post(SERVERS, json=body)).text
    assert writes(cloud) == []


async def test_the_backend_and_the_zones_of_a_site_are_no_difference(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    for site in cloud.sites:
        specs = {"volume_backend_name": site.name, "RESKEY:availability_zones": f"nova-{site.name}"}
        site.block_storage.admin.seed("silver", **specs)
    assert (await user.post(VOLUMES, json=volume("silver"))).status_code == 202
    reasons = [one["reason"] for one in (await admin.get(CHECK)).json()["near_misses"]]
    assert not [one for one in reasons if "silver" in one]


async def test_the_check_tells_it(user: Client, admin: Client, cloud: Cloud, gold: dict[str, str]) -> None:
    for client in (user, admin):
        misses = (await client.get(CHECK)).json()["near_misses"]
        (found,) = [one for one in misses if one["name"] == "gold"]
        assert (found["resource"], found["ids"], found["reason"]) == ("volume_type", gold, MEANS)
    # What administrators alone are shown does not stand in anybody's way, and is told to them.
    for site, value in (("site1", "thick"), ("site3", "thin")):
        cloud.site(site).block_storage.admin.seed("bronze", provisioning=value)
    cloud.site("site3").block_storage.types.pop(next(iter(cloud.site("site3").block_storage.types)))
    (found,) = [one for one in (await admin.get(CHECK)).json()["near_misses"] if one["name"] == "bronze"]
    assert found["reason"].endswith("provisioning is thick at site1 and thin at site3")
    assert (await made(user, VOLUMES, "volume", size=1, volume_type="bronze"))["id"]


@pytest.mark.usefixtures("gold")
async def test_the_check_of_a_site_tells_it(admin: Client) -> None:
    checked = await admin.post("/atoll/v1/sites/site2/check")
    findings = checked.json()["site"]["findings"]
    told = [one["text"] for one in findings if one["what"] == "differs"]
    assert told == ["volume type gold: multiattach is <is> True at site1 and nothing at site2"]


async def test_a_type_just_made_at_a_site_is_found(user: Client, cloud: Cloud) -> None:
    """Behind Atoll's back, while what the sites have was looked at a moment ago."""
    assert (await user.post(VOLUMES, json=volume("fake"))).status_code == 202
    cloud.site("site2").block_storage.admin.seed("new")
    answer = await user.post(VOLUMES, json=volume("new"))
    assert answer.status_code == 202, answer.text
    assert answer.json()["volume"]["id"] in cloud.site("site2").block_storage.volumes
    for site in cloud.sites:
        site.listener.seen.clear()
    for _ in range(3):
        assert (await user.post(VOLUMES, json=volume("nowhere"))).status_code == 404
    asked = [seen.target for site in cloud.sites for seen in site.listener.seen if "/types" in seen.target]
    assert asked == [], "a name of nothing is looked for once in a while, not for every request"
