"""Servers copied to another site while they run, and made anew there when their own is dead."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.running import Atoll
from tests.scenarios.conftest import SERVERS, Client, client_of
from tests.scenarios.probes import RUNS, act, comes_to, until_run
from tests.scenarios.test_server_moves import VOLUMES, server_at, shown, until_available
from tests.scenarios.test_several_services import made
from tests.scenarios.test_site_commands import Commands

from atoll.sandbox.simulated import Cloud, Fault

IMAGES = "/image/v2/images"
POINTS = "/atoll/v1/recovery-points"


@pytest.fixture
async def atoll(moving: Atoll) -> Atoll:
    """A gateway that moves things."""
    return moving


async def start(user: Client, name: str, server: str, **given: Any) -> httpx.Response:
    """Ask for a run of a server."""
    return await user.post(RUNS, json={"definition": name, "input": {"server": server, **given}})


async def ran(user: Client, name: str, server: str, **given: Any) -> dict[str, Any]:
    """Such a run, done."""
    answer = await start(user, name, server, **given)
    assert answer.status_code == 202, answer.text
    return await comes_to(user, answer.json()["run"]["id"], "done")


async def evacuated(user: Client, server: str, **given: Any) -> str:
    """An evacuation whose server runs; it waits for the dead site."""
    answer = await start(user, "server.evacuate", server, **given)
    assert answer.status_code == 202, answer.text
    run_id = str(answer.json()["run"]["id"])
    await until_run(user, run_id, lambda run: run["waits"] == "site/site1")
    return run_id


def dies(cloud: Cloud, site: str = "site1") -> None:
    """A site does not answer any more."""
    cloud.site(site).faults.add(Fault("refuse"))


async def returns(cloud: Cloud, atoll: Atoll) -> None:
    """It does again, once that was seen."""
    async with asyncio.timeout(30):
        while 'atoll_site_up{service="compute",site="site1"} 0.0' not in await atoll.metrics():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    cloud.site("site1").faults.clear()


async def with_volume(user: Client, cloud: Cloud, *, goes: bool = False) -> tuple[str, str]:
    """A server at the first site, and a volume that is attached to it."""
    server = await server_at(user, cloud, "site1")
    volume = (await made(user, VOLUMES, "volume", name="data", size=1, availability_zone="site1"))["id"]
    await until_available(user, volume)
    attachment = {"volumeAttachment": {"volumeId": volume, "delete_on_termination": goes}}
    path = f"{SERVERS}/{server}/os-volume_attachments"
    answer = await user.post(path, json=attachment, headers={"OpenStack-API-Version": "compute 2.85"})
    assert answer.status_code == 200, answer.text
    return server, volume


async def points(user: Client) -> list[dict[str, Any]]:
    """What is there of them."""
    return list((await user.get(POINTS)).json()["recovery_points"])


async def names(user: Client, path: str, many: str) -> list[str]:
    """The names of what there is."""
    return sorted(one["name"] for one in (await user.get(path)).json()[many])


async def test_protected_it_runs_on_and_its_copies_are_told(user: Client, cloud: Cloud) -> None:
    server, volume = await with_volume(user, cloud)
    before = await names(user, IMAGES, "images")
    run = await ran(user, "server.protect", server, site="site2")
    assert (await shown(user, server))["status"] == "ACTIVE"
    (point,) = await points(user)
    assert (point["id"], point["server"], point["name"]) == (run["id"], server, "vm")
    assert (point["source"], point["target"], point["used_by"]) == ("site1", "site2", None)
    copies = (await user.get(f"{VOLUMES}/detail")).json()["volumes"]
    assert {one["id"]: (one["status"], one["name"]) for one in copies} == {
        volume: ("in-use", "data"),
        point["volumes"][0]: ("available", "data"),
    }
    assert await names(user, IMAGES, "images") == sorted([*before, f"disk of server {server}"])
    assert (await user.get(f"{POINTS}?server={server}")).json()["recovery_points"] == [point]
    assert (await user.get(f"{POINTS}?server=other")).json()["recovery_points"] == []


async def test_the_command_lists_them(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    commands = Commands(atoll.url, user.token)
    assert (await commands.run("recovery", "list")).output == "No server is protected.\n"
    server, _ = await with_volume(user, cloud)
    run = await ran(user, "server.protect", server, site="site2")
    listed = (await commands.run("recovery", "list")).output
    for text in (server, "vm", "site1", "site2", run["id"], "2", " 1 GiB ", " s "):
        assert text in listed, listed
    project = cloud.keystone.project_id("demo")
    of_it = ("--server", server, "--source", "site1", "--target", "site2", "--project", project)
    (told,) = await commands.told("recovery", "list", *of_it)
    assert [told] == await points(user)
    assert told["size_bytes"] > 1 << 30
    for other in (("--server", "x"), ("--source", "site2"), ("--target", "site1")):
        assert await commands.told("recovery", "list", *other) == []
    refused = await commands.run("recovery", "list", "--project", "x")
    assert (refused.exit_code, "Only administrators" in refused.output) == (1, True), refused.output
    await ran(user, "server.protect", await server_at(user, cloud, "site1"), site="site2", disk="image")
    few = await commands.run("recovery", "list", "--limit", "1")
    assert (server in few.stdout, "There are more" in few.stderr) == (True, True), few.output
    assert len(await commands.told("recovery", "list")) == 2


async def test_a_newer_copy_takes_the_place_of_the_older(user: Client, cloud: Cloud) -> None:
    server, _ = await with_volume(user, cloud)
    first = await ran(user, "server.protect", server, site="site2")
    images = await names(user, IMAGES, "images")
    second = await ran(user, "server.protect", server, site="site3")
    assert first["id"] != second["id"]
    assert [(one["id"], one["target"]) for one in await points(user)] == [(second["id"], "site3")]
    assert await names(user, IMAGES, "images") == images
    assert len((await user.get(VOLUMES)).json()["volumes"]) == 2


async def test_its_copies_are_deleted_when_they_are_not_wanted(user: Client, cloud: Cloud) -> None:
    server, volume = await with_volume(user, cloud)
    images = await names(user, IMAGES, "images")
    await ran(user, "server.protect", server, site="site2")
    await ran(user, "server.unprotect", server)
    assert await points(user) == []
    assert [one["id"] for one in (await user.get(VOLUMES)).json()["volumes"]] == [volume]
    assert await names(user, IMAGES, "images") == images
    assert (await start(user, "server.unprotect", server)).status_code == 404


async def test_where_the_copy_fails_nothing_is_left_and_the_older_stays(user: Client, cloud: Cloud) -> None:
    server, _ = await with_volume(user, cloud)
    await ran(user, "server.protect", server, site="site2")
    before, images = await points(user), await names(user, IMAGES, "images")
    cloud.site("site2").faults.add(Fault("status", service="volume", method="POST", status=413))
    answer = await start(user, "server.protect", server, site="site2")
    await comes_to(user, answer.json()["run"]["id"], "undone")
    assert await points(user) == before
    assert await names(user, IMAGES, "images") == images
    assert len((await user.get(VOLUMES)).json()["volumes"]) == 2
    assert (await shown(user, server))["status"] == "ACTIVE"


async def test_a_dead_sites_server_runs_elsewhere_under_its_id(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    server, _ = await with_volume(user, cloud, goes=True)
    await ran(user, "server.protect", server, site="site2")
    before = await shown(user, server)
    (point,) = await points(user)
    dies(cloud)
    run_id = await evacuated(user, server)
    after = await shown(user, server)
    for key in ("id", "name", "status", "tags", "description", "key_name", "tenant_id", "user_id"):
        assert after[key] == before[key], key
    assert after["metadata"] == {"mine": "1", "atoll_id": server}
    assert after["OS-EXT-AZ:availability_zone"] == "site2"
    assert after["os-extended-volumes:volumes_attached"] == [
        {"id": point["volumes"][0], "delete_on_termination": True}
    ]
    assert await points(user) == []
    assert (await start(user, "server.evacuate", server)).status_code == 409
    newer = {"OpenStack-API-Version": "compute 2.69"}
    listed = (await user.get(f"{SERVERS}/detail", headers=newer)).json()["servers"]
    assert [(one["id"], one["status"]) for one in listed] == [(server, "ACTIVE")]
    stopped = await user.post(f"{SERVERS}/{server}/action", json={"os-stop": None})
    assert stopped.status_code == 202
    await returns(cloud, atoll)
    await comes_to(user, run_id, "done")


async def test_when_its_site_is_back_the_old_one_goes_and_its_data_stay(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    server, volume = await with_volume(user, cloud, goes=True)
    await ran(user, "server.protect", server, site="site2")
    dies(cloud)
    run_id = await evacuated(user, server)
    await returns(cloud, atoll)
    run = await comes_to(user, run_id, "done")
    assert [len(cloud.site(name).compute.instances) for name in ("site1", "site2")] == [0, 1]
    assert [one["id"] for one in (await user.get(SERVERS)).json()["servers"]] == [server]
    old = next(step["result"] for step in run["steps"] if step["name"] == "old")
    kept = (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]
    assert (kept["status"], old["volumes"]) == ("available", [volume])
    image = (await user.get(f"{IMAGES}/{old['image']}")).json()
    assert image["name"] == f"disk of server {server} as site1 had it, run {run_id}"
    answer = await user.delete(f"{SERVERS}/{server}")
    assert answer.status_code == 204
    assert (await user.get(f"{SERVERS}/{server}")).status_code == 404


async def test_deleted_meanwhile_it_does_not_come_back_with_its_site(
    user: Client, cloud: Cloud, atoll: Atoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atoll.gateway.locate.NEGATIVE_SECONDS", 0.1)
    server = await server_at(user, cloud, "site1")
    await ran(user, "server.protect", server, site="site2")
    dies(cloud)
    run_id = await evacuated(user, server)
    await returns(cloud, atoll)
    cloud.site("site1").faults.add(Fault("status", service="compute", method="POST", status=503))
    assert (await user.delete(f"{SERVERS}/{server}")).status_code == 204
    for _ in range(4):
        assert (await user.get(f"{SERVERS}/{server}")).status_code == 404
        assert (await user.delete(f"{SERVERS}/{server}")).status_code == 404
        assert (await user.get(SERVERS)).json()["servers"] == []
        await asyncio.sleep(0.2)
    assert len(cloud.site("site1").compute.instances) == 1, "it is there, and is the run's"
    cloud.site("site1").faults.clear()
    await comes_to(user, run_id, "done")
    assert len(cloud.site("site1").compute.instances) == 0


async def test_one_that_boots_from_a_volume(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    image = cloud.sites[0].image_id("cirros")
    body = {"name": "root", "size": 1, "availability_zone": "site1", "imageRef": image}
    volume = (await made(user, VOLUMES, "volume", **body))["id"]
    await until_available(user, volume)
    device = {"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
    server = await server_at(user, cloud, "site1", imageRef="", block_device_mapping_v2=[device])
    images = await names(user, IMAGES, "images")
    await ran(user, "server.protect", server, site="site2")
    dies(cloud)
    run_id = await evacuated(user, server)
    after = await shown(user, server)
    assert (after["status"], after["image"]) == ("ACTIVE", "")
    await returns(cloud, atoll)
    await comes_to(user, run_id, "done")
    assert (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["status"] == "available"
    assert await names(user, IMAGES, "images") == images


async def test_one_whose_disk_is_not_wanted_boots_from_its_image(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    images = await names(user, IMAGES, "images")
    run = await ran(user, "server.protect", server, site="site2", disk="image")
    assert [step["name"] for step in run["steps"]] == ["record"]
    assert await names(user, IMAGES, "images") == images
    image = (await shown(user, server))["image"]["id"]
    dies(cloud)
    await evacuated(user, server)
    after = await shown(user, server)
    assert (after["status"], after["image"]["id"]) == ("ACTIVE", image)


async def test_where_it_cannot_be_made_the_copies_stay(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    server, _ = await with_volume(user, cloud, goes=True)
    await ran(user, "server.protect", server, site="site2")
    before = await points(user)
    dies(cloud)
    cloud.site("site2").compute.boot_fails = 1
    answer = await start(user, "server.evacuate", server)
    run = await comes_to(user, answer.json()["run"]["id"], "undone")
    assert "ERROR" in run["reason"]
    assert await points(user) == before
    copy = f"{VOLUMES}/{before[0]['volumes'][0]}"
    assert (await user.get(copy)).json()["volume"]["status"] == "available"
    assert len(cloud.site("site2").compute.instances) == 0
    run_id = await evacuated(user, server)
    await returns(cloud, atoll)
    await comes_to(user, run_id, "done")
    assert (await shown(user, server))["status"] == "ACTIVE"


async def test_a_site_that_answers_is_not_evacuated(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    answer = await start(user, "server.evacuate", server)
    assert answer.status_code == 409
    assert "server.protect" in answer.text
    await ran(user, "server.protect", server, site="site2")
    answer = await start(user, "server.evacuate", server)
    assert answer.status_code == 409
    assert f"server.move -i server={server}" in answer.text
    assert (await shown(user, server))["OS-EXT-AZ:availability_zone"] == "site1"
    answer = await start(user, "server.evacuate", server, point="none")
    assert (answer.status_code, "no recovery point none" in answer.text) == (409, True)


async def test_dead_is_the_site_that_has_it_now(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    """It was moved after it had been protected."""
    server = await server_at(user, cloud, "site3")
    await ran(user, "server.protect", server, site="site2")
    await ran(user, "server.move", server, site="site1")
    dies(cloud, "site3")
    answer = await start(user, "server.evacuate", server)
    assert (answer.status_code, "site1 answers" in answer.text) == (409, True), answer.text
    dies(cloud)
    run_id = await evacuated(user, server)
    assert (await shown(user, server))["OS-EXT-AZ:availability_zone"] == "site2"
    await returns(cloud, atoll)
    await comes_to(user, run_id, "done")
    assert [len(cloud.site(f"site{one}").compute.instances) for one in (1, 2, 3)] == [0, 1, 0]


async def test_who_follows_it_does_not_wait_for_the_dead_site(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    commands = Commands(atoll.url, user.token)
    server = await server_at(user, cloud, "site1")
    await ran(user, "server.protect", server, site="site2")
    dies(cloud)
    followed = await commands.run("run", "start", "server.evacuate", "-i", f"server={server}", "--follow")
    assert followed.exit_code == 0, followed.output
    last = followed.stdout.splitlines()[-1]
    assert last.endswith(f"has done what it was started for: make server {server} of site1 anew at site2.")
    assert "waits for the site site1" in followed.stderr
    run_id = last.split()[1]
    assert (await shown(user, server))["OS-EXT-AZ:availability_zone"] == "site2"
    explained = (await commands.run("run", "explain", run_id)).output
    assert "What it was started for is done" in explained
    following = asyncio.create_task(commands.run("run", "follow", run_id, "--wait-all"))
    await returns(cloud, atoll)
    whole = await following
    assert (whole.exit_code, f"Run {run_id} is done." in whole.output) == (0, True), whole.output


async def test_the_next_site_may_die_before_the_first_is_back(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    server = await server_at(user, cloud, "site1")
    await ran(user, "server.protect", server, site="site2")
    dies(cloud)
    first = await evacuated(user, server)
    await ran(user, "server.protect", server, site="site3")
    dies(cloud, "site2")
    second = (await start(user, "server.evacuate", server)).json()["run"]["id"]
    await until_run(user, second, lambda run: run["waits"] == "site/site2")
    assert (await shown(user, server))["OS-EXT-AZ:availability_zone"] == "site3"
    await returns(cloud, atoll)
    await comes_to(user, first, "done")
    cloud.site("site2").faults.clear()
    await comes_to(user, second, "done")
    assert [len(cloud.site(f"site{one}").compute.instances) for one in (1, 2, 3)] == [0, 0, 1]


async def test_a_site_that_only_fails_is_dead(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    await ran(user, "server.protect", server, site="site2")
    cloud.site("site1").faults.add(Fault("status", status=500))
    run_id = await evacuated(user, server)
    assert (await shown(user, server))["status"] == "ACTIVE"
    run = await until_run(user, run_id, lambda run: run["steps"][-1]["state"] == "again")
    assert (run["state"], run["steps"][-1]["tries"]) == ("running", 0)


async def test_a_copy_that_is_gone_is_told_before_anything_is_done(user: Client, cloud: Cloud) -> None:
    server, _ = await with_volume(user, cloud)
    await ran(user, "server.protect", server, site="site2")
    (point,) = await points(user)
    answer = await user.delete(f"{VOLUMES}/{point['volumes'][0]}")
    assert answer.status_code == 202
    dies(cloud)
    async with asyncio.timeout(30):
        while "is deleted" not in (answer := await start(user, "server.evacuate", server)).text:
            assert answer.status_code == 409, answer.text
            await asyncio.sleep(0.02)
    assert len(cloud.site("site2").compute.instances) == 0


async def test_a_protection_that_waited_is_undone_when_the_server_is_elsewhere(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    server = await server_at(user, cloud, "site1")
    await ran(user, "server.protect", server, site="site2")
    cloud.site("site1").faults.add(Fault("latency", path="/action$", seconds=0.3))
    answer = await start(user, "server.protect", server, site="site3")
    assert answer.status_code == 202, answer.text
    waiting = answer.json()["run"]["id"]
    dies(cloud)
    await until_run(user, waiting, lambda run: run["waits"] == "site/site1")
    run_id = await evacuated(user, server)
    await returns(cloud, atoll)
    await comes_to(user, run_id, "done")
    await comes_to(user, waiting, "undone")
    assert await points(user) == []
    assert (await shown(user, server))["status"] == "ACTIVE"
    assert [len(cloud.site(f"site{one}").compute.instances) for one in (1, 2, 3)] == [0, 1, 0]
    assert [one for one in await names(user, IMAGES, "images") if one.startswith("atoll-run-")] == []


async def test_an_old_one_that_nothing_can_be_read_of_is_its_owners(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    server = await server_at(user, cloud, "site1")
    await ran(user, "server.protect", server, site="site2")
    old = cloud.site("site1").compute.instances.get(server)
    assert old is not None
    dies(cloud)
    run_id = await evacuated(user, server)
    old.vm_state = "error"
    await returns(cloud, atoll)
    run = await comes_to(user, run_id, "parked")
    assert "ERROR" in run["reason"]
    listed = (await user.get(f"{SERVERS}/detail")).json()["servers"]
    assert [(one["id"], one["OS-EXT-AZ:availability_zone"]) for one in listed] == [(server, "site2")]
    assert (await shown(user, server))["OS-EXT-AZ:availability_zone"] == "site2"
    old.vm_state = "paused"
    await act(user, run, "redo")
    await comes_to(user, run_id, "done")
    assert len(cloud.site("site1").compute.instances) == 0


async def test_one_that_was_killed_is_done_by_the_next(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    server = await server_at(user, cloud, "site1")
    await ran(user, "server.protect", server, site="site2")
    dies(cloud)
    cloud.site("site2").faults.add(Fault("latency", service="compute", method="POST"))
    run = (await start(user, "server.evacuate", server)).json()["run"]
    await until_run(user, run["id"], lambda run: run["steps"][0]["state"] == "done")
    answer = await start(user, "server.evacuate", server)
    assert (answer.status_code, f"The run {run['id']} uses" in answer.text) == (409, True), answer.text
    assert (await start(user, "server.unprotect", server)).status_code == 409
    assert (await act(user, run, "kill")).is_success
    await comes_to(user, run["id"], "killed")
    cloud.site("site2").faults.clear()
    run_id = await evacuated(user, server)
    assert (await shown(user, server))["status"] == "ACTIVE"
    assert len(cloud.site("site2").compute.instances) == 1
    await returns(cloud, atoll)
    await comes_to(user, run_id, "done")


async def test_another_projects_are_not_seen(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    server = await server_at(user, cloud, "site1")
    await ran(user, "server.protect", server, site="site2")
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        assert await points(other) == []
        dies(cloud)
        assert (await start(other, "server.evacuate", server)).status_code == 409
        assert (await start(other, "server.unprotect", server)).status_code == 404
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        assert len(await points(admin)) == 1
