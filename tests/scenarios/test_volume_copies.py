"""The runs volume.copy and volume.move: what a volume holds, in a volume of another site."""

import asyncio
import json
import shlex
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import Client, boot, client_of
from tests.scenarios.probes import RUNS, act, comes_to, refused, until_run

from atoll.sandbox.simulated import Cloud, Fault
from atoll.sites import health

VOLUMES = "/block-storage/v3/volumes"
IMAGES = "/image/v2/images"
HELD = b"what the volume holds" * 10_000


@pytest.fixture
async def atoll(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Atoll:
    """A gateway with a user of its own at the clients' Keystone, which others give trusts."""
    monkeypatch.setattr(health, "INTERVAL", 0.3)  # how often sites are probed
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), runs=own_user)
    await running.settled()
    return running


async def filled(user: Client, cloud: Cloud, **fields: Any) -> str:
    """A volume at the first site that holds something; its id."""
    body = {"name": "data", "size": 2, "metadata": {"a": "b"}, "availability_zone": "site1", **fields}
    answer = await user.post(VOLUMES, json={"volume": body})
    assert answer.status_code == 202, answer.text
    ident = str(answer.json()["volume"]["id"])
    if "imageRef" not in fields:
        cloud.site("site1").block_storage.contents.write(ident, HELD)
    return ident


async def asked(user: httpx.AsyncClient, volume: str, what: str = "copy", **more: Any) -> httpx.Response:
    """The answer to who wants a volume at the second site."""
    given = {"volume": volume, "site": "site2", **more}
    return await user.post(RUNS, json={"definition": f"volume.{what}", "input": given})


async def begun(user: httpx.AsyncClient, volume: str, what: str = "copy", **more: Any) -> dict[str, Any]:
    """A run that was accepted."""
    answer = await asked(user, volume, what, **more)
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = answer.json()["run"]
    return run


async def brought(user: httpx.AsyncClient, volume: str, what: str = "copy", **more: Any) -> dict[str, Any]:
    """A run that was done."""
    return await comes_to(user, (await begun(user, volume, what, **more))["id"], "done")


def volumes(cloud: Cloud, site: str = "site2") -> list[Any]:
    """The volumes of a site."""
    return list(cloud.site(site).block_storage.volumes.values())


def held(cloud: Cloud, site: str, ident: str) -> bytes:
    """What a volume holds."""
    return cloud.site(site).block_storage.contents.of(ident)


def own_images(cloud: Cloud) -> list[str]:
    """The names of the images that were there for a while only."""
    return [
        one["name"]
        for site in cloud.sites
        for one in site.image.images.values()
        if str(one["name"]).startswith("atoll-run")
    ]


def nothing_left(cloud: Cloud, volume: str) -> None:
    """Check that there is nothing but the volume as it was."""
    assert [one["id"] for one in volumes(cloud, "site1")] == [volume]
    assert volumes(cloud, "site1")[0]["metadata"] == {"a": "b"}
    assert volumes(cloud) == []
    assert own_images(cloud) == []
    assert [site.block_storage.snapshots for site in cloud.sites] == [{}] * len(cloud.sites)


async def test_a_volume_comes_to_another_site_with_what_it_holds(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud, description="all of it", volume_type="multiattach")
    run = await brought(user, volume)
    assert "by an image" in run["purpose"]
    (copy,) = volumes(cloud)
    assert run["steps"][-1]["result"] == {"id": copy["id"]}
    assert held(cloud, "site2", copy["id"]) == HELD
    for key, value in (
        ("name", "data"), ("description", "all of it"), ("size", 2), ("metadata", {"a": "b"}),
        ("volume_type", "multiattach"), ("status", "available"), ("bootable", "false"), ("image", {}),
        ("project_id", cloud.keystone.project_id("demo")),
    ):  # fmt: skip
        assert copy[key] == value, key
    shown = (await user.get(f"{VOLUMES}/{copy['id']}")).json()["volume"]
    assert shown["availability_zone"] == "site2"
    assert own_images(cloud) == []
    assert held(cloud, "site1", volume) == HELD
    assert run["steps"][1]["result"]["bytes"] == len(HELD)


async def test_what_boots_boots_there_and_says_of_which_image_it_is(user: Client, cloud: Cloud) -> None:
    cirros = cloud.site("site1").image_id("cirros")
    cloud.site("site1").image.images[cirros]["hw_disk_bus"] = "scsi"
    volume = await filled(user, cloud, imageRef=cirros)
    await brought(user, volume)
    (copy,) = volumes(cloud)
    (source,) = volumes(cloud, "site1")
    assert (copy["bootable"], copy["image"]) == ("true", source["image"])
    assert copy["image"]["hw_disk_bus"] == "scsi"
    assert held(cloud, "site2", copy["id"]) == held(cloud, "site1", volume)


async def test_one_in_use_is_read_by_a_snapshot_and_stays_in_use(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    server = await boot(user, cloud, "site1")
    cloud.site("site1").block_storage.attach(volume, server)
    run = await brought(user, volume)
    assert "a snapshot, since it is in use" in run["purpose"]
    assert [step["name"] for step in run["steps"]][:3] == ["snapshot", "clone", "upload"]
    (copy,) = volumes(cloud)
    assert held(cloud, "site2", copy["id"]) == HELD
    (source,) = volumes(cloud, "site1")
    assert source["status"] == "in-use"
    assert cloud.site("site1").block_storage.snapshots == {}
    assert own_images(cloud) == []


async def test_a_move_deletes_the_source_last(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    run = await brought(user, volume, "move", name="moved")
    assert [step["name"] for step in run["steps"]][-2:] == ["delete", "finish"]
    assert volumes(cloud, "site1") == []
    (copy,) = volumes(cloud)
    assert (copy["name"], copy["metadata"], held(cloud, "site2", copy["id"])) == ("moved", {"a": "b"}, HELD)
    assert (await user.get(f"{VOLUMES}/{volume}")).status_code == 404
    assert own_images(cloud) == []


async def test_what_was_changed_since_it_was_read_is_not_deleted(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    cloud.site("site2").block_storage.create_seconds = 600
    run = await begun(user, volume, "move")
    await until_run(user, run["id"], lambda _: bool(volumes(cloud)))
    cloud.site("site1").clock = lambda: time.time() + 2  # Cinder's times are in seconds
    answer = await user.post(f"{VOLUMES}/{volume}/action", json={"os-extend": {"new_size": 3}})
    assert answer.status_code == 202, answer.text
    cloud.site("site2").block_storage.hurry()
    run = await comes_to(user, run["id"], "undone")
    assert "used or changed since it was read" in run["reason"]
    nothing_left(cloud, volume)


async def test_a_site_that_makes_no_volume_gets_none_and_the_rest_is_undone(
    user: Client, cloud: Cloud
) -> None:
    volume = await filled(user, cloud)
    cloud.site("site2").faults.add(Fault("status", service="volume", method="POST", status=413))
    run = await comes_to(user, (await begun(user, volume, "move"))["id"], "undone")
    assert "413" in run["reason"]
    nothing_left(cloud, volume)


async def test_a_volume_that_comes_to_an_error_is_deleted(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    cloud.site("site2").block_storage.create_seconds = 60.0
    run = await begun(user, volume)
    await until_run(user, run["id"], lambda _: bool(volumes(cloud)))
    volumes(cloud)[0]["status"] = "error"
    run = await comes_to(user, run["id"], "undone")
    assert "came to error" in run["reason"]
    nothing_left(cloud, volume)


async def test_one_that_cannot_be_made_alike_is_deleted(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    cloud.site("site2").faults.add(Fault("status", service="volume", path="/action", status=403))
    run = await comes_to(user, (await begun(user, volume))["id"], "undone")
    assert "403" in run["reason"]
    nothing_left(cloud, volume)


async def test_an_upload_that_is_cancelled_leaves_nothing(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    storage = cloud.site("site1").block_storage
    storage.contents.upload_seconds = 600
    run = await begun(user, volume)
    await until_run(user, run["id"], lambda _: bool(own_images(cloud)))
    await act(user, run, "cancel")
    await comes_to(user, run["id"], "undone")
    storage.hurry()
    assert volumes(cloud, "site1")[0]["status"] == "available"
    nothing_left(cloud, volume)


async def test_an_upload_that_the_site_gives_up_is_begun_anew(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    storage = cloud.site("site1").block_storage
    storage.contents.upload_seconds = 600
    run = await begun(user, volume)
    await until_run(user, run["id"], lambda _: bool(own_images(cloud)))
    images = cloud.site("site1").image.images
    gone = next(ident for ident, one in images.items() if one["name"] == own_images(cloud)[0])
    del images[gone]  # as Cinder does
    storage.hurry()
    run = await comes_to(user, run["id"], "done")
    assert run["steps"][0]["tries"] == 2
    assert held(cloud, "site2", volumes(cloud)[0]["id"]) == HELD
    assert own_images(cloud) == []


@pytest.mark.parametrize(("site", "service"), [("site1", "volume"), ("site2", "volume"), ("site2", "image")])
async def test_lost_answers_make_nothing_twice(user: Client, cloud: Cloud, site: str, service: str) -> None:
    volume = await filled(user, cloud)
    cloud.site(site).faults.add(Fault("die_after_commit", service=service, method="POST", count=1))
    await brought(user, volume)
    (copy,) = volumes(cloud)
    assert held(cloud, "site2", copy["id"]) == HELD
    assert own_images(cloud) == []


async def test_a_site_that_is_away_is_waited_for(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    cloud.site("site2").faults.add(Fault("refuse"))
    await asyncio.gather(*(user.get(f"{path}?name=x") for _ in range(6) for path in (IMAGES, VOLUMES)))
    run = await begun(user, volume)
    await until_run(user, run["id"], lambda run: run["waits"] == "site/site2")
    await asyncio.sleep(1.0)  # some probes say that it is away
    cloud.site("site2").faults.clear()
    await comes_to(user, run["id"], "done")
    assert held(cloud, "site2", volumes(cloud)[0]["id"]) == HELD


async def test_a_type_that_is_not_there_is_the_default_and_said(user: Client, cloud: Cloud) -> None:
    cloud.site("site1").block_storage.admin.seed("ssd")
    volume = await filled(user, cloud, volume_type="ssd")
    run = await brought(user, volume)
    assert "it has no ssd" in run["purpose"]
    assert volumes(cloud)[0]["volume_type"] == "__DEFAULT__"
    refused(await asked(user, volume, volume_type="ssd"), 400, "no volume type ssd", "multiattach")
    await brought(user, volume, volume_type="multiattach", availability_zone="site2")
    assert sorted(one["volume_type"] for one in volumes(cloud)) == ["__DEFAULT__", "multiattach"]


async def test_what_cannot_be_brought_is_refused_with_nothing_done(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    record = volumes(cloud, "site1")[0]
    unknown = "99999999-8888-4777-8666-555555555555"
    for given, status, word in (
        ({"volume": unknown, "site": "site2"}, 404, "could not be found"),
        ({"volume": volume, "site": "nowhere"}, 400, "no site nowhere"),
        ({"volume": volume, "site": "site1"}, 409, "at site1 already"),
        (
            {"volume": volume, "site": "site2", "availability_zone": "site1"},
            400,
            "no availability zone site1",
        ),
        ({"volume": "x", "site": "site2"}, 400, "volume"),
        ({"volume": volume}, 400, "site"),
    ):
        refused(await user.post(RUNS, json={"definition": "volume.copy", "input": given}), status, word)
    for change, what, word in (
        ({"encrypted": True}, "copy", "encrypted"),
        ({"status": "backing-up"}, "copy", "backing-up"),
        ({"status": "error"}, "move", "error"),
    ):
        before = dict(record)
        record |= change
        refused(await asked(user, volume, what), 409, word)
        record.clear()
        record |= before
    demo = cloud.keystone.project_id("demo")
    cloud.site("site2").block_storage.quota[demo] = {"gigabytes": 1}
    refused(await asked(user, volume), 409, "1 GB of volumes")
    nothing_left(cloud, volume)
    assert (await user.get(RUNS)).json()["runs"] == []


async def test_an_administrator_brings_nothing_of_another_project(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    """The new volume would be the administrator's."""
    volume = await filled(user, cloud)
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        refused(await asked(admin, volume, "move"), 409, cloud.keystone.project_id("demo"))
    nothing_left(cloud, volume)


async def test_nothing_goes_where_nothing_new_is_made(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    volume = await filled(user, cloud)
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        answer = await admin.post("/atoll/v1/sites/site2/drain", json={})
        assert answer.status_code == 200, answer.text
    refused(await asked(user, volume), 409, "site2 is draining")
    nothing_left(cloud, volume)


async def test_nothing_goes_where_there_are_no_volumes(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str]
) -> None:
    sites = sites_of(cloud)
    del sites["site2"]["endpoints"]["block-storage"]
    running = await start_atoll(cloud.keystone.auth_url, sites, runs=own_user)
    await running.settled()
    async with client_of(running, cloud.keystone.token()) as user:
        volume = await filled(user, cloud)
        refused(await asked(user, volume), 400, "no site site2 with volumes and images", "site1, site3")


async def test_a_quota_that_has_no_room_for_a_snapshot_undoes_the_run(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    server = await boot(user, cloud, "site1")
    storage = cloud.site("site1").block_storage
    storage.attach(volume, server)
    storage.quota[cloud.keystone.project_id("demo")] = {"gigabytes": 5}  # a snapshot, but no second volume
    run = await comes_to(user, (await begun(user, volume))["id"], "undone")
    assert "VolumeSizeExceedsAvailableQuota" in run["reason"]
    nothing_left(cloud, volume)


async def test_a_site_that_is_busy_ends_no_wait(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    cloud.site("site2").block_storage.create_seconds = 600
    run = await begun(user, volume)
    await until_run(user, run["id"], lambda _: bool(volumes(cloud)))
    cloud.site("site2").faults.add(
        Fault("status", service="volume", path=r"volumes/\w+-", status=503, count=2)
    )
    await until(lambda: len(cloud.site("site2").faults.hits) == 2)
    cloud.site("site2").block_storage.hurry()
    run = await comes_to(user, run["id"], "done")
    assert {step["tries"] for step in run["steps"]} == {1}


async def test_what_is_attached_or_has_snapshots_is_not_moved(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    body = {"snapshot": {"volume_id": volume, "name": "before"}}
    made = await user.post("/block-storage/v3/snapshots", json=body)
    assert made.status_code == 202
    refused(await asked(user, volume, "move"), 409, "has snapshots")
    snapshot = made.json()["snapshot"]["id"]
    assert (await user.delete(f"/block-storage/v3/snapshots/{snapshot}")).status_code == 202
    server = await boot(user, cloud, "site1")
    cloud.site("site1").block_storage.attach(volume, server)
    refused(await asked(user, volume, "move"), 409, server, "openstack server remove volume")


async def test_a_fault_that_names_a_volume_of_another_site_tells_to_copy_it(
    user: Client, cloud: Cloud
) -> None:
    """And so it can be attached there."""
    volume = await filled(user, cloud)
    server = await boot(user, cloud, "site2")
    path = f"/compute/v2.1/servers/{server}/os-volume_attachments"
    answer = await user.post(path, json={"volumeAttachment": {"volumeId": volume}})
    assert answer.status_code == 409, answer.text
    told = shlex.split(answer.json()["conflictingRequest"]["message"].split("`")[1])
    assert told[:4] == ["atoll", "run", "start", "volume.copy"]
    given = dict(one.split("=", 1) for one in (told[5], told[7]))
    await brought(user, given["volume"], site=given["site"])
    attached = await user.post(path, json={"volumeAttachment": {"volumeId": volumes(cloud)[0]["id"]}})
    assert attached.status_code == 200, attached.text


async def test_copies_of_volumes_and_images_share_the_limits_of_a_link(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str]
) -> None:
    running = await start_atoll(
        cloud.keystone.auth_url, sites_of(cloud), runs={**own_user, "copies_per_link": 1}
    )
    await running.settled()
    async with client_of(running, cloud.keystone.token()) as user:
        first, second = await filled(user, cloud), await filled(user, cloud)
        cloud.site("site1").block_storage.contents.upload_seconds = 600
        one = await begun(user, first)
        other = await begun(user, second)
        await until_run(user, other["id"], lambda run: run["waits"].endswith("image-copies/site1/site2"))
        cloud.site("site1").block_storage.hurry()
        for run in (one, other):
            await comes_to(user, run["id"], "done")
        assert len(volumes(cloud)) == 2


async def test_between_clouds_with_a_keystone_each(
    start_atoll: StartAtoll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the project's at both, under the id that each of them has for it."""
    async with apart(tmp_path) as clouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        add_own_user(clouds)
        running = await start_atoll(
            clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo"),
            runs={"clouds_yaml": "atoll"}, **clouds.tables,
        )  # fmt: skip
        await running.settled()
        async with client_of(running, clouds.keystone.token()) as user:
            volume = await filled(user, clouds.cloud)
            await brought(user, volume, "move")
            (copy,) = volumes(clouds.cloud)
            assert held(clouds.cloud, "site2", copy["id"]) == HELD
            assert copy["project_id"] == clouds.cloud.site("site2").keystone.project_id("demo")
            assert volumes(clouds.cloud, "site1") == []
            assert own_images(clouds.cloud) == []


def add_own_user(clouds: Apart) -> None:
    """Have clouds.yaml name a user of Atoll's at the clients' Keystone."""
    named = json.loads(clouds.clouds_yaml.read_text())
    auth = {
        "auth_url": clouds.auth_url, "username": "admin", "password": clouds.cloud.password,
        "project_name": "admin", "user_domain_id": "default", "project_domain_id": "default",
    }  # fmt: skip
    named["clouds"]["atoll"] = {"auth": auth}
    clouds.clouds_yaml.write_text(json.dumps(named))
