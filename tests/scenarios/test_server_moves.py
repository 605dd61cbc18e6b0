"""The run server.move: a server at another site, with its disks and its id; or where it was, and running."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.running import Atoll, until
from tests.scenarios.conftest import SERVERS, Client, client_of
from tests.scenarios.probes import RUNS, act, comes_to
from tests.scenarios.terraform import KEY
from tests.scenarios.test_several_services import made, network_at

from atoll.sandbox.simulated import Cloud, Fault

VOLUMES = "/block-storage/v3/volumes"


@pytest.fixture
async def atoll(moving: Atoll) -> Atoll:
    """A gateway that moves things."""
    return moving


async def server_at(user: Client, cloud: Cloud, site: str, **fields: Any) -> str:
    """An active server."""
    server = {
        "name": "vm", "flavorRef": "42", "imageRef": cloud.sites[0].image_id("cirros"), "networks": "none",
        "availability_zone": site, "metadata": {"mine": "1"}, "tags": ["a"], **fields,
    }  # fmt: skip
    answer = await user.post(
        SERVERS, json={"server": server}, headers={"OpenStack-API-Version": "compute 2.52"}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


async def shown(user: Client, server: str) -> dict[str, Any]:
    """A server, with its tags."""
    answer = await user.get(f"{SERVERS}/{server}", headers={"OpenStack-API-Version": "compute 2.46"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["server"])


async def move(user: Client, server: str, site: str, **more: Any) -> httpx.Response:
    """Ask for a move."""
    given = {"server": server, "site": site, **more}
    return await user.post(RUNS, json={"definition": "server.move", "input": given})


async def moved(user: Client, server: str, site: str, *states: str) -> dict[str, Any]:
    """A move at its end."""
    answer = await move(user, server, site)
    assert answer.status_code == 202, answer.text
    run = await comes_to(user, answer.json()["run"]["id"], "done", "undone", "dirty", "parked")
    assert run["state"] in (states or ("done",)), run["reason"]
    return run


async def test_it_runs_there_under_its_id_with_all_that_it_had(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1", description="a server")
    before = await shown(user, server)
    await moved(user, server, "site2")
    after = await shown(user, server)
    for key in ("id", "name", "status", "tags", "description", "key_name", "tenant_id", "user_id"):
        assert after[key] == before[key], key
    assert after["flavor"]["id"] == before["flavor"]["id"]
    assert after["metadata"] == {"mine": "1", "atoll_id": server}
    assert after["OS-EXT-AZ:availability_zone"] == "site2"
    assert len(cloud.site("site1").compute.instances) == 0
    assert len(cloud.site("site2").compute.instances) == 1
    listed = (await user.get(SERVERS)).json()["servers"]
    assert [one["id"] for one in listed] == [server]
    assert (await user.post(f"{SERVERS}/{server}/action", json={"os-stop": None})).status_code == 202
    assert (await shown(user, server))["status"] == "SHUTOFF"


async def test_and_back(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    await moved(user, server, "site2")
    await moved(user, server, "site1")
    assert (await shown(user, server))["OS-EXT-AZ:availability_zone"] == "site1"
    assert [len(cloud.site(name).compute.instances) for name in ("site1", "site2")] == [1, 0]
    assert (await user.delete(f"{SERVERS}/{server}")).status_code == 204
    assert (await user.get(f"{SERVERS}/{server}")).status_code == 404
    assert (await user.get(SERVERS)).json()["servers"] == []


async def test_its_volumes_go_with_it(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    body = {"name": "data", "size": 1, "availability_zone": "site1"}
    volume = (await made(user, VOLUMES, "volume", **body))["id"]
    await until_available(user, volume)
    answer = await user.post(
        f"{SERVERS}/{server}/os-volume_attachments", json={"volumeAttachment": {"volumeId": volume}}
    )
    assert answer.status_code == 200, answer.text
    await moved(user, server, "site2")
    (there,) = (await user.get(f"{VOLUMES}/detail")).json()["volumes"]
    assert there["id"] != volume
    assert (there["name"], there["status"]) == ("data", "in-use")
    assert there["attachments"][0]["server_id"] == server
    attached = (await user.get(f"{SERVERS}/{server}/os-volume_attachments")).json()["volumeAttachments"]
    assert [one["volumeId"] for one in attached] == [there["id"]]
    assert dict(there["metadata"]) == {}


async def test_one_that_boots_from_a_volume(user: Client, cloud: Cloud) -> None:
    body = {
        "name": "root",
        "size": 1,
        "availability_zone": "site1",
        "imageRef": cloud.sites[0].image_id("cirros"),
    }
    volume = (await made(user, VOLUMES, "volume", **body))["id"]
    await until_available(user, volume)
    device = {"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
    device["delete_on_termination"] = True
    server = await server_at(user, cloud, "site1", imageRef="", block_device_mapping_v2=[device])
    before = (await user.get("/image/v2/images")).json()["images"]
    await moved(user, server, "site2")
    after = await shown(user, server)
    assert (after["status"], after["image"]) == ("ACTIVE", "")
    (there,) = (await user.get(f"{VOLUMES}/detail")).json()["volumes"]
    assert (there["name"], there["bootable"], there["attachments"][0]["server_id"]) == (
        "root",
        "true",
        server,
    )
    assert after["os-extended-volumes:volumes_attached"] == [
        {"id": there["id"], "delete_on_termination": True}
    ]
    assert (await user.get("/image/v2/images")).json()["images"] == before


async def until_available(user: Client, volume: str) -> None:
    """Wait for a volume."""
    async with asyncio.timeout(30):
        while (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["status"] != "available":  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_one_that_was_stopped_stays_stopped(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    await user.post(f"{SERVERS}/{server}/action", json={"os-stop": None})
    await moved(user, server, "site2")
    assert (await shown(user, server))["status"] == "SHUTOFF"


async def test_where_the_target_refuses_it_it_runs_where_it_was(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    images = (await user.get("/image/v2/images")).json()["images"]
    cloud.site("site2").faults.add(
        Fault("status", service="compute", method="POST", path="/servers$", status=403)
    )
    run = await moved(user, server, "site2", "undone")
    assert "403" in run["reason"]
    after = await shown(user, server)
    assert (after["status"], after["metadata"]) == ("ACTIVE", {"mine": "1"})
    assert len(cloud.site("site2").compute.instances) == 0
    assert (await user.get("/image/v2/images")).json()["images"] == images


async def test_one_that_comes_to_error_there_is_where_it_was(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    cloud.site("site2").compute.boot_fails = 1
    run = await moved(user, server, "site2", "undone")
    assert "ERROR" in run["reason"]
    assert (await shown(user, server))["status"] == "ACTIVE"
    assert [len(cloud.site(name).compute.instances) for name in ("site1", "site2")] == [1, 0]


async def test_one_that_was_stopped_is_so_when_it_cannot_move(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    await user.post(f"{SERVERS}/{server}/action", json={"os-stop": None})
    cloud.site("site2").compute.boot_fails = 1
    await moved(user, server, "site2", "undone")
    assert (await shown(user, server))["status"] == "SHUTOFF"


async def test_turned_back_at_the_last_moment_its_id_is_the_old_ones(user: Client, cloud: Cloud) -> None:
    """It runs at the target already, and users are led there, when what was carried cannot be tidied up."""
    server = await server_at(user, cloud, "site1")
    cloud.site("site1").faults.add(Fault("status", service="image", method="DELETE", status=403, count=1))
    run = await moved(user, server, "site2", "undone")
    assert "alias" in [one["name"] for one in run["steps"] if one["state"] == "undone"]
    after = await shown(user, server)
    assert (after["status"], after["OS-EXT-AZ:availability_zone"]) == ("ACTIVE", "site1")
    assert [len(cloud.site(name).compute.instances) for name in ("site1", "site2")] == [1, 0]
    assert [one["id"] for one in (await user.get(SERVERS)).json()["servers"]] == [server]
    await moved(user, server, "site2")


async def test_cancelled_it_is_where_it_was(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    faults = cloud.site("site2").faults
    faults.add(Fault("latency", service="image", method="PUT"))
    run = (await move(user, server, "site2")).json()["run"]
    await until(lambda: faults.hits)
    assert (await act(user, run, "cancel")).status_code == 202
    faults.clear()
    await comes_to(user, run["id"], "undone")
    assert (await shown(user, server))["status"] == "ACTIVE"
    assert [len(cloud.site(name).compute.instances) for name in ("site1", "site2")] == [1, 0]


async def test_its_network_has_to_be_there(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    here = await network_at(user, "site1")
    server = await server_at(user, cloud, "site1", networks=[{"uuid": here}])
    answer = await move(user, server, "site2")
    assert answer.status_code == 409, answer.text
    assert f"atoll same add network site1={here} site2=ID" in answer.text
    assert (await shown(user, server))["status"] == "ACTIVE"
    there = await network_at(user, "site2")
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        body = {"resource": "network", "ids": {"site1": here, "site2": there}, "id": here, "name": "net"}
        answer = await admin.post("/atoll/v1/same", json=body)
        assert answer.status_code == 201, answer.text
    addresses = (await shown(user, server))["addresses"]
    await moved(user, server, "site2")
    after = (await shown(user, server))["addresses"]
    assert [one["addr"] for one in after["net"]] == [one["addr"] for one in addresses["net"]]
    await moved(user, server, "site1")
    after = (await shown(user, server))["addresses"]
    assert [one["addr"] for one in after["net"]] == [one["addr"] for one in addresses["net"]]


async def test_its_key_and_flavor_come_too(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        flavor = {"id": "big", "name": "m1.big", "ram": 64, "vcpus": 1, "disk": 1}
        assert (await admin.post("/compute/v2.1/flavors", json={"flavor": flavor})).status_code == 200
    key = {"name": "k", "public_key": KEY}
    assert (await user.post("/compute/v2.1/os-keypairs", json={"keypair": key})).status_code < 300
    server = await server_at(user, cloud, "site1", flavorRef="big", key_name="k")
    there = cloud.site("site2").compute
    del there.flavors["big"]
    for one in [one for one in there.keypairs if one[1] == "k"]:
        del there.keypairs[one]
    await moved(user, server, "site2")
    after = await shown(user, server)
    assert (after["flavor"]["id"], after["key_name"]) == ("big", "k")


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"site": "site1"}, 409, "at site1 already"),
        ({"site": "nowhere"}, 400, "There is no site nowhere"),
        ({"site": "site2", "availability_zone": "x"}, 400, "no availability zone x"),
        ({"server": "99999999-8888-4777-8666-555555555555", "site": "site2"}, 404, "999999"),
        ({"server": "vm", "site": "site2"}, 400, "server"),
    ],
)
async def test_what_cannot_be_moved_is_refused(
    user: Client, cloud: Cloud, given: dict[str, Any], status: int, words: str
) -> None:
    server = await server_at(user, cloud, "site1")
    answer = await move(user, **{"server": server, **given})
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert (await user.get(RUNS)).json()["runs"] == []


async def test_an_old_one_there_is_not_taken_for_the_new_one(user: Client, cloud: Cloud) -> None:
    """As one may be that an evacuation has left where its site has come back."""
    server = await server_at(user, cloud, "site1")
    old = await server_at(user, cloud, "site2", metadata={"atoll_id": server})
    answer = await move(user, server, "site2")
    assert (answer.status_code, f"an old one of that id, {old}" in answer.text) == (409, True), answer.text
    assert (await user.delete(f"{SERVERS}/{old}")).status_code == 204
    await moved(user, server, "site2")


async def test_a_locked_or_paused_one_stays(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    await user.post(f"{SERVERS}/{server}/action", json={"pause": None})
    assert "PAUSED" in (await move(user, server, "site2")).text
    await user.post(f"{SERVERS}/{server}/action", json={"unpause": None})
    await user.post(f"{SERVERS}/{server}/action", json={"lock": None})
    assert "locked" in (await move(user, server, "site2")).text
