"""The run image.copy: an image brought to other sites, and what becomes of it when something fails."""

import asyncio
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.apart import apart
from tests.scenarios.conftest import SERVERS, Client, client_of, server_body
from tests.scenarios.probes import RUNS, act, comes_to, refused, until_run

from atoll.sandbox.simulated import Cloud, Fault
from atoll.sites import health

IMAGES = "/image/v2/images"
OCTETS = {"Content-Type": "application/octet-stream"}
BYTES = b"golden" * 100_000
DIGEST = hashlib.sha512(BYTES).hexdigest()


@pytest.fixture
async def atoll(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Atoll:
    """A gateway with a user of its own at the clients' Keystone."""
    monkeypatch.setattr(health, "INTERVAL", 0.3)  # how often sites are probed
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), runs=own_user)
    await running.settled()
    return running


async def uploaded(user: Client, **fields: Any) -> str:
    """An image with bytes, at the first site alone; its id."""
    body = {
        "name": "golden",
        "disk_format": "raw",
        "container_format": "bare",
        "atoll_sites": "site1",
        **fields,
    }
    answer = await user.post(IMAGES, json=body)
    assert answer.status_code == 201, answer.text
    ident = str(answer.json()["id"])
    answer = await user.put(f"{IMAGES}/{ident}/file", content=BYTES, headers=OCTETS)
    assert answer.status_code == 204, answer.text
    return ident


async def copied(user: Client, image: str, *sites: str, **more: Any) -> dict[str, Any]:
    """A copy that was accepted."""
    given = {"image": image, "sites": list(sites), **more}
    answer = await user.post(RUNS, json={"definition": "image.copy", "input": given})
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = answer.json()["run"]
    return run


def at(cloud: Cloud, site: str, ident: str) -> Any:
    """An image at a site."""
    return cloud.site(site).image.images.get(ident)


async def test_an_image_comes_to_other_sites_as_it_is(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user, min_disk=3, hw_disk_bus="scsi", tags=["a", "b"], visibility="shared")
    friend = "f" * 32
    assert (await user.post(f"{IMAGES}/{image}/members", json={"member": friend})).status_code == 200
    run = await comes_to(user, (await copied(user, image, "site2", "site3"))["id"], "done")
    assert [step["site"] for step in run["steps"]] == ["site2", "site3"] * 2
    original = at(cloud, "site1", image)
    for name in ("site2", "site3"):
        copy = at(cloud, name, image)
        for key in (
            "status",
            "owner",
            "visibility",
            "min_disk",
            "hw_disk_bus",
            "tags",
            "name",
            "disk_format",
        ):
            assert copy[key] == original[key], key
        assert (copy["os_hash_value"], copy["size"]) == (DIGEST, len(BYTES))
        assert "atoll_run" not in copy
    listed = (await user.get(f"{IMAGES}?name=golden")).json()["images"]
    assert [one["id"] for one in listed] == [image]
    members = (await user.get(f"{IMAGES}/{image}/members")).json()["members"]
    assert [one["member_id"] for one in members] == [friend]


async def test_what_is_there_already_is_left_as_it_is(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    await comes_to(user, (await copied(user, image, "site2"))["id"], "done")
    again = await comes_to(user, (await copied(user, image, "site2", "site3"))["id"], "done")
    assert [step["result"]["made"] for step in again["steps"][:2]] == [False, True]
    assert at(cloud, "site2", image)["status"] == "active"


async def test_what_was_there_before_stays_when_the_rest_is_undone(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    await comes_to(user, (await copied(user, image, "site2"))["id"], "done")
    cloud.site("site3").faults.add(Fault("status", service="image", method="PUT", status=413))
    await comes_to(user, (await copied(user, image, "site2", "site3"))["id"], "undone")
    assert at(cloud, "site2", image)["status"] == "active"
    assert at(cloud, "site3", image) is None


async def test_a_site_that_refuses_undoes_what_the_others_took(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    cloud.site("site3").faults.add(Fault("status", service="image", method="PUT", status=413))
    run = await comes_to(user, (await copied(user, image, "site2", "site3"))["id"], "undone")
    assert "413" in run["reason"]
    assert at(cloud, "site2", image) is None
    assert at(cloud, "site3", image) is None
    assert at(cloud, "site1", image)["status"] == "active"


async def test_where_the_id_was_burned_the_copy_has_one_of_its_own(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    cloud.site("site3").faults.add(Fault("status", service="image", method="PUT", status=413, count=1))
    await comes_to(user, (await copied(user, image, "site2", "site3"))["id"], "undone")
    run = await comes_to(user, (await copied(user, image, "site2"))["id"], "done")
    other = run["steps"][0]["result"]["id"]
    assert other != image
    assert at(cloud, "site2", other)["os_hash_value"] == DIGEST
    listed = (await user.get(f"{IMAGES}?name=golden")).json()["images"]
    assert [one["id"] for one in listed] == [image]  # one thing, by name, owner and hash


async def test_bytes_that_are_not_the_images_are_not_kept(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    original = at(cloud, "site1", image)
    original["os_hash_value"] = "0" * 128
    run = await copied(user, image, "site2")
    run = await until_run(user, run["id"], lambda run: run["steps"][0]["tries"] >= 2)
    assert "not the image's" in run["steps"][0]["error"]
    await act(user, run, "cancel")
    await comes_to(user, run["id"], "undone")
    assert at(cloud, "site2", image) is None


async def test_a_source_that_breaks_off_is_asked_for_the_rest(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    cloud.site("site1").faults.add(Fault("cut", service="image", method="GET", path="/file", count=1))
    run = await comes_to(user, (await copied(user, image, "site2"))["id"], "done")
    assert run["steps"][0]["tries"] == 1
    assert at(cloud, "site2", image)["os_hash_value"] == DIGEST


async def test_a_site_that_is_away_is_waited_for(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    run_id = (await copied(user, image, "site2"))["id"]
    await comes_to(user, run_id, "done")
    cloud.site("site3").faults.add(Fault("refuse"))
    answer = await user.post(
        RUNS, json={"definition": "image.copy", "input": {"image": image, "sites": ["site3"]}}
    )
    run = await until_run(user, answer.json()["run"]["id"], lambda run: run["waits"] == "site/site3")
    assert run["steps"][0]["tries"] == 0
    await act(user, run, "cancel")
    run = await comes_to(user, run["id"], "undone")


async def test_a_lost_answer_to_the_create_makes_no_second_copy(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    cloud.site("site2").faults.add(Fault("die_after_commit", service="image", method="POST", count=1))
    await comes_to(user, (await copied(user, image, "site2"))["id"], "done")
    assert at(cloud, "site2", image)["status"] == "active"
    named = [one for one in cloud.site("site2").image.images.values() if one["name"] == "golden"]
    assert len(named) == 1


async def test_two_copies_of_one_image_to_one_site_take_turns(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    runs = await asyncio.gather(*(copied(user, image, "site2") for _ in range(4)))
    for run in runs:
        await comes_to(user, run["id"], "done")
    assert at(cloud, "site2", image)["os_hash_value"] == DIGEST
    assert len([one for one in cloud.site("site2").image.images.values() if one["name"] == "golden"]) == 1


async def test_a_server_that_lacks_its_image_tells_how_to_bring_it(user: Client, cloud: Cloud) -> None:
    """Where it is not brought by itself: these are two, and a run makes one."""
    image = await uploaded(user)
    body = server_body(cloud, imageRef=image, availability_zone="site2", min_count=2)
    answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 409, answer.text
    told = shlex.split(answer.json()["conflictingRequest"]["message"].split("`")[1])
    assert told[:4] == ["atoll", "run", "start", "image.copy"]
    given = dict(one.split("=", 1) for one in (told[5], told[7]))
    run = await copied(user, given["image"], *json.loads(given["sites"]))
    await comes_to(user, run["id"], "done")
    answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 202, answer.text
    server = (await user.get(f"{SERVERS}/{answer.json()['server']['id']}")).json()["server"]
    assert server["OS-EXT-AZ:availability_zone"] == "site2"


async def test_between_clouds_with_a_keystone_each_nothing_is_copied(
    start_atoll: StartAtoll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image names its owner by an id that the other Keystone does not know; no fault tells to copy it."""
    async with apart(tmp_path) as clouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        credentials = clouds.credentials("demo", "admin")
        running = await start_atoll(clouds.auth_url, clouds.sites, credentials=credentials, **clouds.tables)
        await running.settled()
        async with client_of(running, clouds.keystone.token()) as user:
            image = await uploaded(user)
            answer = await user.post(
                RUNS, json={"definition": "image.copy", "input": {"image": image, "sites": ["site2"]}}
            )
            refused(answer, 409, "site1 and site2 have a Keystone each")
            body = server_body(clouds.cloud, imageRef=image, availability_zone="site2")
            told = (await user.post(SERVERS, json=body)).json()["conflictingRequest"]["message"]
            assert "openstack image save" in told
            assert "atoll run" not in told


async def test_bad_input(user: Client) -> None:
    image = await uploaded(user)
    ask = RUNS
    for given, status, word in (
        ({"image": image, "sites": ["nowhere"]}, 400, "There is no site nowhere"),
        ({"image": image, "sites": ["site1"]}, 400, "is at site1 already"),
        ({"image": image, "sites": []}, 400, "sites"),
        ({"image": "0" * 32, "sites": ["site2"]}, 404, "no image"),
        ({"image": "x", "sites": ["site2"]}, 400, "image"),
        ({"image": image, "sites": ["site3"], "source": "site2"}, 404, "copied at site2"),
    ):
        refused(await user.post(ask, json={"definition": "image.copy", "input": given}), status, word)


async def test_without_a_user_of_its_own_the_run_says_so(start_atoll: StartAtoll, cloud: Cloud) -> None:
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    await running.settled()
    async with client_of(running, cloud.keystone.token()) as user:
        image = await uploaded(user)
        answer = await user.post(
            RUNS, json={"definition": "image.copy", "input": {"image": image, "sites": ["site2"]}}
        )
        refused(answer, 403, "[runs] clouds_yaml")


async def test_a_site_that_is_back_has_its_runs_go_on(user: Client, cloud: Cloud) -> None:
    """It is seen by the probes, long before the run would look for itself."""
    image = await uploaded(user)
    cloud.site("site3").faults.add(Fault("refuse"))
    await asyncio.gather(*(user.get("/image/v2/images?name=x") for _ in range(6)))  # it is known to be away
    run = await copied(user, image, "site3")
    await until_run(user, run["id"], lambda run: run["waits"] == "site/site3")
    await asyncio.sleep(1.0)  # some probes say that it is away
    cloud.site("site3").faults.clear()
    await comes_to(user, run["id"], "done")
    assert at(cloud, "site3", image)["status"] == "active"
