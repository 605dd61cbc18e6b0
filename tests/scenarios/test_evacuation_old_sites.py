"""The old server at a site whose Nova cannot change whether volumes go with it: before compute 2.85."""

import pytest
from tests.running import Atoll
from tests.scenarios.conftest import Client
from tests.scenarios.probes import act, comes_to
from tests.scenarios.test_evacuation import dies, evacuated, ran, returns, with_volume
from tests.scenarios.test_server_moves import VOLUMES, server_at, until_available
from tests.scenarios.test_several_services import made

from atoll.sandbox.simulated import Cloud


@pytest.fixture
async def atoll(moving: Atoll) -> Atoll:
    """A gateway that moves things."""
    return moving


@pytest.mark.parametrize("goes", [True, False])
async def test_volumes_that_would_go_are_detached_before(
    user: Client, cloud: Cloud, atoll: Atoll, goes: bool
) -> None:
    server, volume = await with_volume(user, cloud, goes=goes)
    await ran(user, "server.protect", server, site="site2")
    cloud.site("site1").compute.max_minor = 79
    dies(cloud)
    run_id = await evacuated(user, server)
    await returns(cloud, atoll)
    run = await comes_to(user, run_id, "done")
    old = next(step["result"] for step in run["steps"] if step["name"] == "old")
    assert old["volumes"] == [volume]
    assert (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["status"] == "available"
    assert len(cloud.site("site1").compute.instances) == 0


async def booted_from_volume(user: Client, cloud: Cloud, *, goes: bool) -> tuple[str, str]:
    """A server, and the volume that it boots from."""
    body = {"name": "root", "size": 1, "availability_zone": "site1"}
    body["imageRef"] = cloud.sites[0].image_id("cirros")
    volume = (await made(user, VOLUMES, "volume", **body))["id"]
    await until_available(user, volume)
    device = {"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
    device["delete_on_termination"] = goes
    return await server_at(user, cloud, "site1", imageRef="", block_device_mapping_v2=[device]), volume


async def test_what_it_boots_from_and_would_go_is_the_operators(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    server, volume = await booted_from_volume(user, cloud, goes=True)
    await ran(user, "server.protect", server, site="site2")
    cloud.site("site1").compute.max_minor = 79
    dies(cloud)
    run_id = await evacuated(user, server)
    await returns(cloud, atoll)
    run = await comes_to(user, run_id, "parked")
    snapshot = "openstack --os-volume-api-version 3.0 volume snapshot create --force"
    assert f"`{snapshot} --volume {volume} kept-{volume}`" in run["reason"]
    assert f"`openstack server delete {server}`" in run["reason"]
    await made(user, "/block-storage/v3/snapshots", "snapshot", volume_id=volume, force=True, name="kept")
    there = f"{cloud.site('site1').endpoints['compute']}/servers/{server}"
    assert (await user.delete(there, headers={"X-Auth-Token": user.token})).status_code == 204
    await act(user, run, "redo")
    await comes_to(user, run_id, "done")
    assert (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["status"] == "available"


async def test_what_it_boots_from_and_stays_anyway_stays(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    server, volume = await booted_from_volume(user, cloud, goes=False)
    await ran(user, "server.protect", server, site="site2")
    cloud.site("site1").compute.max_minor = 79
    dies(cloud)
    run_id = await evacuated(user, server)
    await returns(cloud, atoll)
    await comes_to(user, run_id, "done")
    assert (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["status"] == "available"
