"""The runs volume.copy and volume.move between sites that are said to have one store of backups."""

import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.apart import apart
from tests.scenarios.conftest import Client, boot, client_of
from tests.scenarios.probes import act, comes_to, states_of, until_run
from tests.scenarios.test_volume_copies import (
    HELD,
    VOLUMES,
    add_own_user,
    begun,
    brought,
    filled,
    held,
    nothing_left,
    own_images,
    volumes,
)

from atoll.sandbox.simulated import Cloud, Fault


def sharing(sites: dict[str, Any], cloud: Cloud) -> dict[str, Any]:
    """The `sites` table of sites that have one store of backups, which they then have."""
    for site in cloud.sites:
        site.block_storage.stored = cloud.sites[0].block_storage.stored
    return {name: {**site, "backup_store": "vault"} for name, site in sites.items()}


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str]) -> Atoll:
    """A gateway with a user of its own at the clients' Keystone."""
    sites = sharing(sites_of(cloud), cloud)
    sites["site3"]["backup_store"] = "another"
    running = await start_atoll(cloud.keystone.auth_url, sites, runs=own_user)
    await running.settled()
    return running


def no_backups_left(cloud: Cloud) -> None:
    """Check that no site has a backup, nor their store any data, and that there was no image."""
    assert [list(site.block_storage.backups) for site in cloud.sites] == [[]] * len(cloud.sites)
    assert cloud.sites[0].block_storage.stored == {}
    assert [one for site in cloud.sites for one in site.block_storage.snapshots] == []
    assert own_images(cloud) == []


async def test_a_volume_in_use_comes_to_another_site_by_a_backup(user: Client, cloud: Cloud) -> None:
    cirros = cloud.site("site1").image_id("cirros")
    volume = await filled(user, cloud, imageRef=cirros, description="all of it", volume_type="multiattach")
    cloud.site("site1").block_storage.contents.write(volume, HELD)
    cloud.site("site1").block_storage.attach(volume, await boot(user, cloud, "site1"))
    (before,) = volumes(cloud, "site1")
    cloud.site("site2").block_storage.restore_seconds = 0.3
    run = await brought(user, volume)
    assert "by a backup (both have the store vault: no bytes pass through Atoll)" in run["purpose"]
    assert [step["name"] for step in run["steps"]] == [
        "blank", "snapshot", "clone", "backup", "import", "restore", "forget", "tidy-source", "finish",
    ]  # fmt: skip
    (copy,), (source,) = volumes(cloud), volumes(cloud, "site1")
    assert run["steps"][-1]["result"] == {"id": copy["id"]}
    assert held(cloud, "site2", copy["id"]) == HELD
    for key, value in (
        ("name", "data"), ("description", "all of it"), ("size", 2), ("metadata", {"a": "b"}),
        ("volume_type", "multiattach"), ("status", "available"), ("bootable", "true"),
        ("image", source["image"]), ("project_id", cloud.keystone.project_id("demo")),
    ):  # fmt: skip
        assert copy[key] == value, key
    assert (source["status"], source["updated_at"]) == ("in-use", before["updated_at"])
    no_backups_left(cloud)


async def test_a_move_deletes_the_source_last(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    run = await brought(user, volume, "move", name="moved")
    assert [step["name"] for step in run["steps"]][-2:] == ["delete", "finish"]
    assert volumes(cloud, "site1") == []
    (moved,) = volumes(cloud)
    assert (moved["name"], moved["metadata"]) == ("moved", {"a": "b"})
    assert held(cloud, "site2", moved["id"]) == HELD
    no_backups_left(cloud)


async def test_what_was_changed_since_it_was_looked_at_is_not_deleted(user: Client, cloud: Cloud) -> None:
    volume = await filled(user, cloud)
    cloud.site("site2").block_storage.restore_seconds = 600
    run = await begun(user, volume, "move")
    await until_run(user, run["id"], lambda _: is_restored(cloud))
    cloud.site("site1").clock = lambda: time.time() + 2  # Cinder's times are in seconds
    answer = await user.post(f"{VOLUMES}/{volume}/action", json={"os-extend": {"new_size": 3}})
    assert answer.status_code == 202, answer.text
    cloud.site("site2").block_storage.hurry()
    run = await comes_to(user, run["id"], "undone")
    assert "used or changed since it was read" in run["reason"]
    nothing_left(cloud, volume)
    no_backups_left(cloud)


def is_restored(cloud: Cloud) -> bool:
    """Whether a backup is being restored at the second site."""
    return any(one["status"] == "restoring-backup" for one in volumes(cloud))


@pytest.mark.parametrize("step", ["backup", "restore"])
async def test_one_that_is_cancelled_in_the_middle_leaves_nothing(
    user: Client, cloud: Cloud, step: str
) -> None:
    """What is under way ends first: until then it cannot be deleted."""
    volume = await filled(user, cloud)
    here, there = (cloud.site(name).block_storage for name in ("site1", "site2"))
    busy = here if step == "backup" else there
    setattr(busy, f"{step}_seconds", 600)
    run = await begun(user, volume)
    await until_run(
        user, run["id"], lambda _: is_restored(cloud) if step == "restore" else bool(here.backups)
    )
    await act(user, run, "cancel")
    await until_run(user, run["id"], lambda run: "undoing" in states_of(run))
    busy.hurry()
    await comes_to(user, run["id"], "undone")
    nothing_left(cloud, volume)
    no_backups_left(cloud)


async def test_sites_that_have_not_the_store_they_are_said_to_have(user: Client, cloud: Cloud) -> None:
    cloud.site("site2").block_storage.stored = {}
    volume = await filled(user, cloud)
    run = await comes_to(user, (await begun(user, volume, "move"))["id"], "undone")
    assert "error_restoring: could it read the backup that site1 made?" in run["reason"]
    nothing_left(cloud, volume)
    no_backups_left(cloud)


@pytest.mark.parametrize(
    ("site", "path", "status", "word"),
    [
        ("site2", "volumes$", 413, "413"),
        ("site1", "backups$", 413, "413"),
        ("site1", "export_record", 403, "does not let Atoll's user do that (403)"),
        ("site2", "import_record", 400, "does not import the backup (400)"),
        ("site2", "/restore", 400, "does not restore the backup"),
        ("site2", "/metadata", 403, "403"),
    ],
)
async def test_a_site_that_refuses_leaves_the_source_and_nothing_else(
    user: Client, cloud: Cloud, site: str, path: str, status: int, word: str
) -> None:
    """What is told is not taken for done: the source of a move is not deleted before it is."""
    volume = await filled(user, cloud)
    cloud.site(site).faults.add(Fault("status", service="volume", path=path, status=status))
    what = "copy" if path == "/metadata" else "move"
    run = await comes_to(user, (await begun(user, volume, what))["id"], "undone")
    assert word in run["reason"]
    nothing_left(cloud, volume)
    no_backups_left(cloud)


async def test_nothing_is_restored_into_a_volume_that_is_encrypted(user: Client, cloud: Cloud) -> None:
    """Its type came to encrypt after the way was chosen."""
    volume = await filled(user, cloud)
    cloud.site("site2").block_storage.create_seconds = 600
    run = await begun(user, volume)
    await until_run(user, run["id"], lambda _: bool(volumes(cloud)))
    volumes(cloud)[0]["encrypted"] = True
    cloud.site("site2").block_storage.hurry()
    run = await comes_to(user, run["id"], "undone")
    assert "restores backups in clear" in run["reason"]
    nothing_left(cloud, volume)
    no_backups_left(cloud)


@pytest.mark.parametrize("site", ["site1", "site2"])
async def test_lost_answers_make_nothing_twice(user: Client, cloud: Cloud, site: str) -> None:
    """Any of what is asked of a site may be done although nothing was heard of it."""
    volume = await filled(user, cloud)
    for path in ("backups$", "import_record", "restore", "volumes$", "snapshots$"):
        cloud.site(site).faults.add(
            Fault("die_after_commit", service="volume", method="POST", path=path, count=1)
        )
    await brought(user, volume)
    (copy,) = volumes(cloud)
    assert held(cloud, "site2", copy["id"]) == HELD
    no_backups_left(cloud)


async def test_an_image_is_the_way_where_a_backup_is_none_and_the_run_says_why(
    user: Client, cloud: Cloud
) -> None:
    volume = await filled(user, cloud)
    demo, admin = (cloud.keystone.project_id(name) for name in ("demo", "admin"))
    here, there = (cloud.site(name).block_storage for name in ("site1", "site2"))

    async def told(why: str, volume: str = volume, **more: Any) -> None:
        run = await brought(user, volume, **more)
        assert f"by an image ({why})" in run["purpose"], run["purpose"]
        assert all(step["name"] != "backup" for step in run["steps"])

    await told("no store of backups is said to be both's", site="site3")
    there.missing = {"cinder-backup"}
    await told("no cinder-backup is up at site2")
    there.missing = set()
    here.quota[demo] = {"backup_gigabytes": 1}
    await told("no quota for backup gigabytes at site1")
    here.quota[demo] = {"gigabytes": 5}  # neither a snapshot and a clone
    await told("no quota for gigabytes at site1")
    here.quota.clear()
    there.quota[admin] = {"backups": 0}  # the project of Atoll's own user
    await told("no quota for backups at site2")
    there.quota.clear()
    there.rest.encryption[there.admin.seed("secret")["id"]] = {"encryption_id": "x"}
    await told("its type at site2 encrypts, and backups are restored in clear", volume_type="secret")
    here.admin.seed("ssd")
    there.default_type = "secret"  # of what has a type that is not there
    other = await filled(user, cloud, volume_type="ssd")
    await told("its type at site2 encrypts, and backups are restored in clear", other)
    cloud.site("site2").faults.add(Fault("status", service="volume", path="os-services", status=503))
    await told("site2 does not say whether it makes backups")


@pytest.mark.parametrize("administered", [True, False])
async def test_between_clouds_with_a_keystone_each(
    start_atoll: StartAtoll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, administered: bool
) -> None:
    """Records are exported and imported by the administrator's credential, where there is one."""
    async with apart(tmp_path) as clouds:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        add_own_user(clouds)
        projects = ("demo", "admin") if administered else ("demo",)
        running = await start_atoll(
            clouds.auth_url, sharing(clouds.sites, clouds.cloud), credentials=clouds.credentials(*projects),
            runs={"clouds_yaml": "atoll"}, **clouds.tables,
        )  # fmt: skip
        await running.settled()
        async with client_of(running, clouds.keystone.token()) as user:
            volume = await filled(user, clouds.cloud)
            run = await brought(user, volume, "move")
            why = "by a backup" if administered else "by an image (backups are exported by an administrator"
            assert why in run["purpose"]
            (moved,) = volumes(clouds.cloud)
            assert held(clouds.cloud, "site2", moved["id"]) == HELD
            assert moved["project_id"] == clouds.cloud.site("site2").keystone.project_id("demo")
            assert volumes(clouds.cloud, "site1") == []
            no_backups_left(clouds.cloud)
