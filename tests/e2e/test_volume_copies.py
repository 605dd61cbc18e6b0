"""The runs volume.copy and volume.move on real sites: what a volume held is in the one at the other site."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.runs import Runs, begun, two_gateways
from tests.e2e.sites import CLOUD, STATE, Site, sites
from tests.e2e.volumes import OCTETS, hashed, temporary, there

pytestmark = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site has no runs")

BYTES = 96 * 1024 * 1024


@pytest.fixture
def image(cloud: Any, name: str) -> Iterator[Any]:
    """An image of random bytes at the first site alone; all that bears the name is taken away at the end."""
    data = os.urandom(1 << 20) * (BYTES >> 20)
    made = cloud.image.create_image(
        name, data=None, disk_format="raw", container_format="bare", allow_duplicates=True,
        atoll_sites=sites()[0].name, hw_disk_bus="scsi",
    )  # fmt: skip
    cloud.image.put(f"/images/{made.id}/file", data=data, headers=OCTETS)
    yield cloud.image.get_image(made.id)
    for site in sites():
        left = site.sweep(name)
        assert not left, left


@pytest.fixture
def volume(cloud: Any, image: Any, name: str) -> Any:
    """A volume that holds the image."""
    made = cloud.block_storage.create_volume(
        name=name, size=1, image_id=image.id, metadata={"a": "b"}, description="mine",
        availability_zone=sites()[0].zone,
    )  # fmt: skip
    return cloud.block_storage.wait_for_status(made, "available", ["error"], 0.5, 300)


def test_a_volume_comes_to_the_other_site_with_what_it_holds(
    cloud: Any, image: Any, volume: Any, name: str
) -> None:
    first, second = sites()[:2]
    run = Runs(cloud).ended(Runs(cloud).start("volume.copy", volume=volume.id, site=second.name))
    assert run["state"] == "done", json.dumps(run)
    (source,), (copy,) = there(first, name), there(second, name)
    assert run["steps"][-1]["result"] == {"id": copy["id"]}
    for key in (
        "status", "size", "metadata", "description", "bootable", "volume_type", "volume_image_metadata",
        "os-vol-tenant-attr:tenant_id", "user_id",
    ):  # fmt: skip
        assert copy[key] == source[key], key
    assert copy["volume_image_metadata"]["image_id"] == image.id
    assert hashed(cloud, volume.id, f"{name}-1") == image.hash_value
    assert hashed(cloud, copy["id"], f"{name}-2") == image.hash_value
    assert temporary(run["id"], first, second) == []


def test_one_in_use_is_copied_as_it_is_at_that_moment(
    cloud: Any, image: Any, volume: Any, name: str, private: Callable[[Site], str]
) -> None:
    first, second = sites()[:2]
    server = cloud.compute.create_server(
        name=name, flavor_id="42", image_id=cloud.image.find_image("cirros").id,
        networks=[{"uuid": private(first)}], availability_zone=first.zone,
    )  # fmt: skip
    cloud.compute.wait_for_server(server, wait=300)
    try:
        cloud.compute.create_volume_attachment(server.id, volume_id=volume.id)
        cloud.block_storage.wait_for_status(volume, "in-use", ["error"], 0.5, 300)
        refused = Runs(cloud).ask(
            "POST", json={"definition": "volume.move", "input": {"volume": volume.id, "site": second.name}}
        )
        assert (refused.status_code, server.id in refused.text) == (409, True), refused.text
        run = Runs(cloud).ended(Runs(cloud).start("volume.copy", volume=volume.id, site=second.name))
        assert run["state"] == "done", json.dumps(run)
        (copy,) = there(second, name)
        assert hashed(cloud, copy["id"], f"{name}-2") == image.hash_value
        assert there(first, name)[0]["status"] == "in-use"
        assert temporary(run["id"], first, second) == []
    finally:
        cloud.compute.delete_server(server.id)
        cloud.compute.wait_for_delete(server, 0.5, 300)


def test_a_copy_that_is_cancelled_leaves_nothing(cloud: Any, image: Any, volume: Any, name: str) -> None:
    assert image.id
    first, second = sites()[:2]
    runs = Runs(cloud)
    run = runs.start("volume.copy", volume=volume.id, site=second.name)
    runs.until(run, lambda shown: begun(shown, shown["steps"][1]["name"]))
    assert runs.ask("POST", f"/{run}/cancel", json={}).status_code in {202, 409}  # 409: it is over
    if runs.ended(run)["state"] == "undone":
        assert there(second, name) == []
    assert [one["status"] for one in there(first, name)] == ["available"]
    assert temporary(run, first, second) == []


def test_a_move_by_a_backup_goes_on_when_its_gateway_was_killed_in_the_middle(
    cloud: Any, image: Any, volume: Any, name: str, tmp_path: Path
) -> None:
    """Two gateways share a database; the one that moves the volume is killed when it has begun to restore."""
    first, second = sites()[:2]
    with two_gateways(tmp_path, backup_store="shared") as (process, url, other_url):
        runs, others = Runs(cloud, url), Runs(cloud, other_url)
        run = runs.start("volume.move", volume=volume.id, site=second.name)
        runs.until(run, lambda shown: begun(shown, "restore"))
        os.kill(process.pid, signal.SIGKILL)
        shown = others.ended(run)
        assert shown["state"] == "done", json.dumps(shown)
        assert "both have the store shared" in shown["purpose"]
        assert "lost" in others.log(run)
    assert there(first, name) == []
    (moved,) = there(second, name)
    assert shown["steps"][-1]["result"] == {"id": moved["id"]}
    for key, value in (
        ("status", "available"), ("size", volume.size), ("metadata", {"a": "b"}), ("description", "mine"),
        ("bootable", "true"), ("volume_image_metadata", volume.volume_image_metadata),
        ("os-vol-tenant-attr:tenant_id", volume.project_id), ("user_id", volume.user_id),
    ):  # fmt: skip
        assert moved[key] == value, key
    assert hashed(cloud, moved["id"], f"{name}-2") == image.hash_value
    assert temporary(run, first, second) == []
    assert [one for one in stored() if name_of_backup(shown) in one.name] == []


def name_of_backup(run: Any) -> str:
    """The id of the backup that a run made."""
    return next(str(step["result"]["id"]) for step in run["steps"] if step["name"] == "backup")


def stored() -> list[Path]:
    """The files of backups that the sites share."""
    assert STATE is not None
    return [one for one in (STATE / "backups").rglob("*") if one.is_file()]
