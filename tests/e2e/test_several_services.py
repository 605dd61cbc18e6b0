"""One request and several services on real sites: what is made beside, and what to do about what is apart."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import KEY, Command
from tests.e2e.sites import CLOUD, Site, sites

SECONDS = 300
MULTIATTACH = "2.79"


@pytest.fixture
def two() -> tuple[Site, Site]:
    """Two sites, if there are two."""
    found = list(sites())
    if len(found) < 2 or CLOUD != "atoll":
        pytest.skip("there is one site only")
    return found[0], found[1]


def until(look: Callable[[], Any]) -> Any:
    """What it gives once that is something."""
    end = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.5)
    return found


def gone(cloud: Any, volume: str) -> bool:
    return cloud.block_storage.find_volume(volume, ignore_missing=True) is None


@pytest.fixture
def image(cloud: Any) -> str:
    """The small image that all sites have."""
    return str(next(cloud.image.images(name="cirros")).id)


@pytest.fixture
def serve(cloud: Any, name: str, undo: Callable[..., None]) -> Callable[..., Any]:
    """Make an active server; it is deleted afterwards."""

    def make(site: Site, **more: Any) -> Any:
        made = cloud.compute.create_server(
            name=name, flavor_id="42", availability_zone=site.zone, networks="none", **more
        )
        undo(cloud.delete_server, made.id, True)
        return cloud.compute.wait_for_server(made, wait=SECONDS)

    return make


@pytest.fixture
def store(cloud: Any, name: str, undo: Callable[..., None]) -> Callable[..., Any]:
    """Make an available volume; it is deleted afterwards."""

    def make(site: Site, **more: Any) -> Any:
        made = cloud.block_storage.create_volume(name=name, size=1, availability_zone=site.zone, **more)
        undo(cloud.delete_volume, made.id)
        return cloud.block_storage.wait_for_status(made, "available", ["error"], 0.5, SECONDS)

    return make


def from_volume(image: str, *, delete: bool) -> dict[str, Any]:
    """The fields of a server that runs from a volume of its own."""
    device = {
        "uuid": image, "source_type": "image", "destination_type": "volume", "boot_index": 0,
        "volume_size": 1, "delete_on_termination": delete,
    }  # fmt: skip
    return {"block_device_mapping": [device]}


def test_the_volume_of_a_server_ends_with_it(cloud, two, serve, image, home):
    server = serve(two[1], **from_volume(image, delete=True))
    (attached,) = cloud.compute.volume_attachments(server)
    assert home("block-storage", f"/volumes/{attached.volume_id}", two[1].zone) == two[1]
    assert cloud.block_storage.get_volume(attached.volume_id).status == "in-use"
    cloud.delete_server(server.id, wait=True)
    until(lambda: gone(cloud, attached.volume_id))


def test_the_image_of_a_server_that_runs_from_a_volume_and_its_snapshot(cloud, two, serve, image, name, undo):
    server = serve(two[1], **from_volume(image, delete=True))
    (attached,) = cloud.compute.volume_attachments(server)
    taken = cloud.compute.create_server_image(server, f"{name}-image", wait=True, timeout=SECONDS)
    undo(cloud.delete_image, taken.id)
    (snapshot,) = cloud.block_storage.snapshots(volume_id=attached.volume_id)
    undo(cloud.delete_volume_snapshot, snapshot.id, True)
    assert two[1].has("image", f"/v2/images/{taken.id}")
    assert two[1].has("block-storage", f"/snapshots/{snapshot.id}")
    copy = cloud.block_storage.create_volume(name=f"{name}-copy", size=1, snapshot_id=snapshot.id)
    undo(cloud.delete_volume, copy.id)
    copy = cloud.block_storage.wait_for_status(copy, "available", ["error"], 0.5, SECONDS)
    assert copy.availability_zone == two[1].zone


def test_a_server_is_shelved_and_unshelved(cloud, two, serve, image, name):
    server = serve(two[1], image_id=image)
    cloud.compute.shelve_server(server)
    cloud.compute.wait_for_server(server, status="SHELVED_OFFLOADED", wait=SECONDS)
    (shelved,) = cloud.image.images(name=f"{name}-shelved")
    assert two[1].has("image", f"/v2/images/{shelved.id}")
    assert cloud.image.get_image(shelved.id).status == "active"
    cloud.compute.unshelve_server(server)
    cloud.compute.wait_for_server(server, wait=SECONDS)
    until(lambda: not list(cloud.image.images(name=f"{name}-shelved")))


def test_a_volume_of_two_servers(cloud, two, serve, store, image, undo):
    volume = store(two[1], volume_type="multiattach")
    servers = [serve(two[1], image_id=image) for _ in range(2)]
    for server in servers:
        path, body = (
            f"/servers/{server.id}/os-volume_attachments",
            {"volumeAttachment": {"volumeId": volume.id}},
        )
        answer = cloud.compute.post(path, json=body, microversion=MULTIATTACH)
        assert answer.status_code == 200, answer.text
        undo(cloud.compute.delete, f"{path}/{volume.id}")
        until(lambda: cloud.block_storage.get_volume(volume.id).status == "in-use")
    until(lambda: len(cloud.block_storage.get_volume(volume.id).attachments) == 2)
    for server in servers:
        cloud.delete_server(server.id, wait=True)
    until(lambda: cloud.block_storage.get_volume(volume.id).status == "available")


def test_an_image_of_a_volume_and_a_volume_of_that(cloud, two, store, name, undo):
    volume = store(two[1])
    made = cloud.block_storage.upload_volume_to_image(volume, f"{name}-of", disk_format="raw")
    undo(cloud.delete_image, made["image_id"])
    until(lambda: cloud.image.get_image(made["image_id"]).status == "active")
    until(lambda: cloud.block_storage.get_volume(volume.id).status == "available")
    copy = cloud.block_storage.create_volume(name=f"{name}-c", size=1, image_id=made["image_id"])
    undo(cloud.delete_volume, copy.id)
    assert cloud.block_storage.wait_for_status(copy, "available", ["error"], 0.5, SECONDS)
    assert two[1].has("block-storage", f"/volumes/{copy.id}")


# -- what cannot be joined, and the commands ---------------------------------------------------------


def test_an_attach_across_sites_is_refused_in_the_words_of_the_command(cli, two, serve, store, image):
    server, volume = serve(two[0], image_id=image), store(two[1])
    done = cli.run("server", "add", "volume", server.id, volume.id, succeeds=False)
    assert done.returncode
    for said in (
        volume.id,
        two[1].name,
        server.id,
        two[0].name,
        f"atoll run start volume.copy -i volume={volume.id}",
    ):
        assert said in done.stderr
    assert "Nothing was changed" in done.stderr


def commands(text: str) -> list[list[str]]:
    """The commands in a fault, each as its words."""
    return [shlex.split(part) for part in text.split("`")[1::2]]


def refused(cli: Command, *words: str) -> list[list[str]]:
    """The commands that a refused one is answered with."""
    done = cli.run(*words, succeeds=False)
    assert done.returncode
    assert "(HTTP 409)" in done.stderr or "409" in done.stderr
    assert "Nothing was created" in done.stderr
    return commands(done.stderr)


def test_the_command_of_a_fault_brings_a_network(cli, cloud, two, name, image, undo):
    made = cli("network", "create", "--availability-zone-hint", two[1].zone, name)
    undo(cloud.delete_network, made["id"])
    cli.run("subnet", "create", "--network", made["id"], "--subnet-range", "10.99.0.0/24", name)
    create = (
        "server", "create", "--image", image, "--flavor", "42", "--availability-zone", two[0].zone,
        "--network",
    )  # fmt: skip
    ((_, *words),) = refused(cli, *create, made["id"], name)
    assert words == ["network", "create", "--availability-zone-hint", two[0].zone, name]
    brought = cli(*words)
    undo(cloud.delete_network, brought["id"])
    assert two[0].has("network", f"/v2.0/networks/{brought['id']}")
    cli.run("subnet", "create", "--network", brought["id"], "--subnet-range", "10.98.0.0/24", f"{name}-b")
    # With both there the fault has another way: to use them as one.
    ((atoll, same, add, *_),) = refused(cli, *create, made["id"], name)
    assert (atoll, same, add) == ("atoll", "same", "add")
    server = cli(*create, brought["id"], name)
    undo(cloud.delete_server, server["id"], True)
    # Deleted before it is built, its port would outlast it, and with that the network.
    cloud.compute.wait_for_server(cloud.compute.get_server(server["id"]), wait=300)
    assert two[0].has("compute", f"/servers/{server['id']}")


# Several servers of one request are not brought what they lack: a run makes one. So their fault tells how.
SEVERAL = ("--min", "2", "--max", "2")


def run_atoll(cli: Command, *words: str) -> None:
    """A command of Atoll's own, as the ordinary user."""
    atoll = Path(sys.executable).with_name("atoll")
    done = subprocess.run(  # noqa: S603 - the words of a fault
        [str(atoll), *words],
        env=cli.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_of_a_fault_brings_an_image(cli, cloud, two, name, undo, store, tmp_path):
    store(two[1])  # the project's last thing: the image goes there
    (tmp_path / "bytes").write_bytes(name.encode() * 1000)
    made = cli("image", "create", "--file", str(tmp_path / "bytes"), "--property", "hw_disk_bus=virtio", name)
    undo(cloud.delete_image, made["id"])
    assert two[1].has("image", f"/v2/images/{made['id']}")
    create = (
        "server", "create", "--image", made["id"], "--flavor", "42", "--nic", "none", "--availability-zone",
        two[0].zone, *SEVERAL, name,
    )  # fmt: skip
    ((atoll, *words),) = refused(cli, *create)
    assert (atoll, *words[:3]) == ("atoll", "run", "start", "image.copy")
    run_atoll(cli, *words)
    server = cli(*create)
    made_there = [one["id"] for one in two[0].mine.get("compute", f"/servers?name={name}")["servers"]]
    for one in made_there:
        undo(cloud.delete_server, one, True)
        cloud.compute.wait_for_server(cloud.compute.get_server(one), wait=300)
    assert (len(made_there), server["id"] in made_there) == (2, True)


def test_the_commands_of_a_fault_bring_a_keypair(cli, cloud, two, name, image, undo, tmp_path):
    two[1].mine.call("POST", "compute", "/os-keypairs", {"keypair": {"name": name, "public_key": KEY}})
    undo(lambda: cloud.delete_keypair(name))
    create = (
        "server", "create", "--image", image, "--flavor", "42", "--nic", "none", "--key-name", name,
        "--availability-zone", two[0].zone, *SEVERAL, name,
    )  # fmt: skip
    (_, *show), (_, *delete), (_, *make) = refused(cli, *create)
    assert show[-2:] == [">", f"{name}.pub"]
    file = tmp_path / f"{name}.pub"
    file.write_text(cli.run(*show[:-2]).stdout)
    cli.run(*delete)
    cli.run(*[str(file) if word == file.name else word for word in make])
    server = cli(*create)
    made_there = [one["id"] for one in two[0].mine.get("compute", f"/servers?name={name}")["servers"]]
    for one in made_there:
        undo(cloud.delete_server, one, True)
        cloud.compute.wait_for_server(cloud.compute.get_server(one), wait=300)
    assert (len(made_there), server["id"] in made_there) == (2, True)


def test_a_flavor_and_a_key_are_brought(cli, cloud, admin, two, name, image, undo):
    """Neither is there, and the server is created all the same."""
    flavor = {"name": name, "ram": 128, "vcpus": 1, "disk": 1, "id": name}
    two[1].admin.call("POST", "compute", "/flavors", {"flavor": flavor})
    undo(admin.delete_flavor, name)
    two[1].mine.call("POST", "compute", "/os-keypairs", {"keypair": {"name": name, "public_key": KEY}})
    undo(lambda: cloud.delete_keypair(name))
    server = cli(
        "server", "create", "--image", image, "--flavor", name, "--nic", "none", "--key-name", name,
        "--availability-zone", two[0].zone, "--wait", name,
    )  # fmt: skip
    undo(cloud.delete_server, server["id"], True)
    assert (server["status"], server["key_name"]) == ("ACTIVE", name)
    assert two[0].has("compute", f"/flavors/{name}")
    (at_site,) = list(two[0].mine.get("compute", f"/servers?name={name}")["servers"])
    assert at_site["id"] != server["id"]


def test_the_command_of_a_fault_brings_a_volume_type(cli, admin, two, name, undo, cloud):
    two[1].admin.call("POST", "block-storage", "/types", {"volume_type": {"name": name}})
    undo(lambda: admin.block_storage.delete_type(admin.block_storage.find_type(name)))
    create = ("volume", "create", "--size", "1", "--type", name, "--availability-zone", two[0].zone, name)
    ((_, *words),) = refused(cli, *create)
    Command("sandbox-admin").run(*words)
    made = cli(*create)
    undo(cloud.delete_volume, made["id"])
    volume = cloud.block_storage.get_volume(made["id"])
    cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, 300)  # till then it stays
    assert two[0].has("block-storage", f"/volumes/{made['id']}")
