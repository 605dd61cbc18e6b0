"""Volumes and snapshots, somewhere or at a chosen site."""

import time
from typing import Any

import pytest


@pytest.fixture
def volume(cloud, name, zone, undo):
    made = cloud.block_storage.create_volume(
        name=name, size=1, metadata={"a": "b"}, **({"availability_zone": zone} if zone else {})
    )
    undo(cloud.delete_volume, made.id)
    return cloud.block_storage.wait_for_status(made, "available", ["error"], 0.5, 300)


def test_the_command_creates_shows_lists_and_deletes(cli, cloud, name, zone, at, home):
    made = cli("volume", "create", "--size", "1", *at, name)
    try:
        home("block-storage", f"/volumes/{made['id']}", zone)
        shown = cli("volume", "show", name)
        assert (shown["id"], shown["size"]) == (made["id"], 1)
        if zone:
            assert shown["availability_zone"] == zone
        assert [row["ID"] for row in cli("volume", "list", "--name", name)] == [made["id"]]
    finally:
        volume = cloud.block_storage.get_volume(made["id"])
        cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, 300)
        cli.run("volume", "delete", made["id"])
        wait_until_gone(cli, made["id"])


def wait_until_gone(cli: Any, volume: str) -> None:
    for _ in range(300):
        if cli.run("volume", "show", volume, succeeds=False).returncode:
            return
        time.sleep(0.5)
    pytest.fail(f"{volume} is still there")


def test_a_snapshot_and_a_volume_from_it_stay_at_the_volumes_site(cloud, name, zone, undo, volume, home):
    site = home("block-storage", f"/volumes/{volume.id}", zone)
    snapshot = cloud.block_storage.create_snapshot(volume_id=volume.id, name=name)
    undo(cloud.delete_volume_snapshot, snapshot.id, True)
    cloud.block_storage.wait_for_status(snapshot, "available", ["error"], 0.5, 300)
    assert home("block-storage", f"/snapshots/{snapshot.id}", zone) == site
    copy = cloud.block_storage.create_volume(name=f"{name}-c", size=1, snapshot_id=snapshot.id)
    undo(cloud.delete_volume, copy.id)
    cloud.block_storage.wait_for_status(copy, "available", ["error"], 0.5, 300)
    assert home("block-storage", f"/volumes/{copy.id}", zone) == site


def test_a_backup_is_at_the_volumes_site_and_restored_there(cloud, name, zone, undo, volume, home):
    site = home("block-storage", f"/volumes/{volume.id}", zone)
    backup = backed_up(cloud, undo, volume_id=volume.id, name=name)
    assert home("block-storage", f"/backups/{backup.id}", zone) == site
    assert backup.id in [one.id for one in cloud.block_storage.backups(name=name)]
    # A further one of what has changed since: it is kept with the one before.
    more = backed_up(cloud, undo, volume_id=volume.id, name=f"{name}-i", is_incremental=True)
    assert (more.is_incremental, home("block-storage", f"/backups/{more.id}", zone)) == (True, site)
    restored = cloud.block_storage.restore_backup(more.id, name=f"{name}-r")
    undo(cloud.delete_volume, restored.volume_id)
    found = cloud.block_storage.get_volume(restored.volume_id)
    cloud.block_storage.wait_for_status(found, "available", ["error"], 0.5, 300)
    assert home("block-storage", f"/volumes/{restored.volume_id}", zone) == site
    cloud.block_storage.wait_for_status(more, "available", ["error"], 0.5, 300)


def backed_up(cloud: Any, undo: Any, **wanted: Any) -> Any:
    made = cloud.block_storage.create_backup(**wanted)
    undo(delete_backup, cloud, made)
    return cloud.block_storage.wait_for_status(made, "available", ["error"], 0.5, 300)


def delete_backup(cloud: Any, backup: Any) -> None:
    cloud.block_storage.delete_backup(backup)
    cloud.block_storage.wait_for_delete(backup, 0.5, 300)


def test_a_volume_is_made_of_a_backup(cloud, name, zone, undo, volume, home):
    site = home("block-storage", f"/volumes/{volume.id}", zone)
    backup = backed_up(cloud, undo, volume_id=volume.id, name=name)
    # Without a zone: the backup says where.
    made = cloud.block_storage.create_volume(name=f"{name}-n", size=1, backup_id=backup.id)
    undo(cloud.delete_volume, made.id)
    cloud.block_storage.wait_for_status(made, "available", ["error"], 0.5, 300)
    assert home("block-storage", f"/volumes/{made.id}", zone) == site


def test_a_volume_grows_and_keeps_its_metadata(cloud, volume):
    cloud.block_storage.extend_volume(volume, 2)
    for _ in range(60):  # its status is `available` before it starts, too
        found = cloud.block_storage.get_volume(volume.id)
        if (found.size, found.status) == (2, "available"):
            break
        time.sleep(0.5)
    assert (found.size, found.status, found.metadata) == (2, "available", {"a": "b"})


def test_the_volume_types_are_listed_once_each(cloud):
    names = [kind.name for kind in cloud.block_storage.types()]
    assert sorted(names) == sorted(set(names))
    assert {"fake", "multiattach"} <= set(names)


def test_a_type_is_used_by_its_id_whichever_site_makes_the_volume(cloud, name, zone, undo):
    kind = cloud.block_storage.find_type("multiattach", ignore_missing=False)
    more = {"availability_zone": zone} if zone else {}
    made = cloud.block_storage.create_volume(name=name, size=1, volume_type=kind.id, **more)
    undo(cloud.delete_volume, made.id)
    made = cloud.block_storage.wait_for_status(made, "available", ["error"], 0.5, 300)
    assert (made.volume_type, made.is_multiattach) == ("multiattach", True)
