"""Block storage over sites: counts, transfers, messages, attachments, records of backups, quota classes."""

from functools import partial
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import ZONES, Client, boot, client_of, dumped

from atoll.sandbox.simulated import Cloud, Fault

VOLUME = "/block-storage/v3"


def v(version: str) -> dict[str, str]:
    """The header that asks for a version."""
    return {"OpenStack-API-Version": f"volume {version}"}


@pytest.fixture
async def zoned(start_atoll: StartAtoll, cloud: Cloud) -> Any:
    """A user of a gateway with a zone for each site."""
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token()) as client:
        yield client


async def made(user: Client, plural: str, envelope: str, **fields: Any) -> str:
    """A thing; its id."""
    answer = await user.post(f"{VOLUME}/{plural}", json={envelope: fields}, headers=v("3.60"))
    assert answer.status_code < 300, answer.text
    return str(answer.json()[envelope]["id"])


def later(cloud: Cloud, minutes: int) -> None:
    """Move the clocks of all sites."""
    for site in cloud.sites:
        site.clock = partial(float, 1_700_000_000.0 + minutes * 60)


async def several(user: Client, cloud: Cloud) -> list[str]:
    """Volumes of all sites in turn, made a minute apart; their ids."""
    volumes = []
    for number in range(6):
        later(cloud, number)
        volumes.append(
            await made(user, "volumes", "volume", size=1, availability_zone=f"zone{number % 3 + 1}")
        )
    await user.get(f"{VOLUME}/volumes/detail")  # they are available when somebody looks
    return volumes


# -- counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("detail", ["", "/detail"])
@pytest.mark.parametrize("plural", ["volumes", "snapshots", "backups"])
async def test_what_cinder_counts_is_counted_over_all_sites(
    zoned: Client, cloud: Cloud, plural: str, detail: str
) -> None:
    for volume in await several(zoned, cloud):
        if plural != "volumes":
            await made(zoned, plural, plural[:-1], volume_id=volume)
    page = (await zoned.get(f"{VOLUME}/{plural}{detail}?limit=2&with_count=true", headers=v("3.60"))).json()
    assert (len(page[plural]), page["count"]) == (2, 6)
    assert "count" not in (await zoned.get(f"{VOLUME}/{plural}{detail}", headers=v("3.60"))).json()
    wrong = await zoned.get(f"{VOLUME}/{plural}{detail}?with_count=some", headers=v("3.60"))
    assert (wrong.status_code, "with_count" in wrong.text) == (400, True)


@pytest.mark.parametrize("plural", ["volumes", "snapshots", "backups"])
async def test_nothing_is_counted_before_cinder_counts(zoned: Client, plural: str) -> None:
    answer = await zoned.get(f"{VOLUME}/{plural}?with_count=true", headers=v("3.44"))
    assert answer.status_code == 200, answer.text
    assert "count" not in answer.json()


@pytest.mark.parametrize("plural", ["types", "group_types", "groups", "attachments", "messages"])
async def test_what_cinder_does_not_count_is_not_counted(zoned: Client, plural: str) -> None:
    answer = await zoned.get(f"{VOLUME}/{plural}?with_count=true", headers=v("3.30"))
    assert answer.status_code == 200, answer.text
    assert "count" not in answer.json()


# -- transfers ------------------------------------------------------------------------------------


async def test_transfers_are_listed_in_their_order_as_of_one_cloud(zoned: Client, cloud: Cloud) -> None:
    transfers = []
    for number, volume in enumerate(await several(zoned, cloud)):
        later(cloud, 10 + number)
        transfers.append(await made(zoned, "os-volume-transfer", "transfer", volume_id=volume))
    for tail in ("", "/detail"):
        shown = (await zoned.get(f"{VOLUME}/os-volume-transfer{tail}")).json()["transfers"]
        assert [one["id"] for one in shown] == transfers
        assert ("created_at" in shown[0]) is (tail == "/detail")
    # Before 3.59 there are no pages: a limit is a filter that nothing matches.
    for version in ("3.55", "3.58"):
        before = await zoned.get(f"{VOLUME}/volume-transfers", headers=v(version))
        assert {one["id"] for one in before.json()["transfers"]} == set(transfers)
    answer = await zoned.get(f"{VOLUME}/volume-transfers?limit=2", headers=v("3.60"))
    assert [one["id"] for one in answer.json()["transfers"]] == transfers[:-3:-1]
    after = await zoned.get(f"{VOLUME}/volume-transfers?limit=3&marker={transfers[-2]}", headers=v("3.60"))
    assert [one["id"] for one in after.json()["transfers"]] == transfers[-3:0:-1]


# -- messages -------------------------------------------------------------------------------------


async def test_messages_of_all_sites(user: Client, cloud: Cloud) -> None:
    project = cloud.keystone.project_id("demo")
    made = []
    for number in range(6):
        later(cloud, number)
        made.append(cloud.sites[number % 3].block_storage.rest.add_message(project)["id"])
    cloud.sites[0].block_storage.rest.add_message("another")
    shown = await user.get(f"{VOLUME}/messages?limit=4", headers=v("3.60"))
    assert [one["id"] for one in shown.json()["messages"]] == made[:1:-1]
    rest = await user.get(shown.json()["messages_links"][0]["href"], headers=v("3.60"))
    assert [one["id"] for one in rest.json()["messages"]] == made[1::-1]
    before_pages = await user.get(f"{VOLUME}/messages?limit=4", headers=v("3.4"))
    assert len(before_pages.json()["messages"]) == 6
    assert (await user.get(f"{VOLUME}/messages/{made[1]}", headers=v("3.60"))).json()["message"][
        "id"
    ] == made[1]
    assert (await user.delete(f"{VOLUME}/messages/{made[1]}", headers=v("3.60"))).status_code == 204
    gone = await user.get(f"{VOLUME}/messages/{made[1]}", headers=v("3.60"))
    assert (gone.status_code, gone.json()["itemNotFound"]["message"]) == (
        404,
        f"Message {made[1]} could not be found.",
    )
    assert (await user.get(f"{VOLUME}/messages")).status_code == 404, "before 3.3 there are none"


# -- attachments ----------------------------------------------------------------------------------


async def test_attachments_of_all_sites(zoned: Client, cloud: Cloud) -> None:
    found = []
    for zone in ("zone1", "zone2", "zone3"):
        server = await boot(zoned, cloud, zone)
        volume = await made(zoned, "volumes", "volume", size=1, availability_zone=zone)
        await zoned.get(f"{VOLUME}/volumes/{volume}")  # it is available when somebody looks
        body = {"volumeAttachment": {"volumeId": volume}}
        attached = await zoned.post(f"/compute/v2.1/servers/{server}/os-volume_attachments", json=body)
        assert attached.status_code == 200, attached.text
        found.append((volume, server))
    listed = (await zoned.get(f"{VOLUME}/attachments", headers=v("3.60"))).json()["attachments"]
    assert {(one["volume_id"], one["instance"]) for one in listed} == set(found)
    for one in listed:
        shown = (await zoned.get(f"{VOLUME}/attachments/{one['id']}", headers=v("3.60"))).json()
        assert shown["attachment"]["volume_id"] == one["volume_id"]
    hidden = await zoned.get(f"{VOLUME}/attachments?sort_key=created_at", headers=v("3.60"))
    assert (hidden.status_code, "created_at" in hidden.text) == (400, True)
    elsewhere = {"attachment": {"volume_uuid": found[0][0], "instance_uuid": found[1][1]}}
    refused = await zoned.post(f"{VOLUME}/attachments", json=elsewhere, headers=v("3.60"))
    assert refused.status_code == 409, refused.text
    message = refused.json()["conflictingRequest"]["message"]
    assert "site1" in message and "site2" in message  # noqa: PT018 - one sentence


# -- records of backups ---------------------------------------------------------------------------


async def test_the_record_of_a_backup_is_imported_where_its_volume_is(zoned: Client, cloud: Cloud) -> None:
    zoned.headers["X-Auth-Token"] = cloud.keystone.token("admin")
    volume = await made(zoned, "volumes", "volume", size=1, availability_zone="zone3")
    backup = await made(zoned, "backups", "backup", volume_id=volume, name="b")
    record = (await zoned.get(f"{VOLUME}/backups/{backup}/export_record")).json()
    assert set(record["backup-record"]) == {"backup_service", "backup_url"}
    again = await zoned.post(f"{VOLUME}/backups/import_record", json=record)
    assert (again.status_code, "already exists" in again.text) == (400, True)
    assert (await zoned.delete(f"{VOLUME}/backups/{backup}")).status_code == 202
    await made(zoned, "volumes", "volume", size=1, availability_zone="zone1")  # the project's home is there
    answer = await zoned.post(f"{VOLUME}/backups/import_record", content=dumped(record))
    assert answer.status_code == 201, answer.text
    assert [backup in site.block_storage.backups for site in cloud.sites] == [False, False, True]
    assert (await zoned.get(f"{VOLUME}/backups/{backup}")).json()["backup"]["name"] == "b"


@pytest.mark.parametrize("url", ["no base64!", "e30=", "WzFd", None])
async def test_a_record_that_is_none_is_refused_by_a_site(
    admin: Client, cloud: Cloud, url: str | None
) -> None:
    answer = await admin.post(f"{VOLUME}/backups/import_record", json={"backup-record": {"backup_url": url}})
    assert answer.status_code == 400, answer.text
    assert not any(site.block_storage.backups for site in cloud.sites)


# -- classes of quotas ----------------------------------------------------------------------------


async def test_quotas_of_new_projects_are_divided_and_summed(
    admin: Client, user: Client, cloud: Cloud
) -> None:
    path = f"{VOLUME}/os-quota-class-sets/default"
    before = (await admin.get(path)).json()["quota_class_set"]
    assert (before["id"], before["volumes"], before["per_volume_gigabytes"]) == ("default", 600, -1)
    answer = await admin.put(path, json={"quota_class_set": {"volumes": 10, "per_volume_gigabytes": 5}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["quota_class_set"]["volumes"] == 10
    classes = [site.block_storage.rest.classes["default"] for site in cloud.sites]
    assert [one["volumes"] for one in classes] == [4, 3, 3]
    assert [one["per_volume_gigabytes"] for one in classes] == [5, 5, 5]
    assert (await admin.get(path)).json()["quota_class_set"]["volumes"] == 10
    cloud.site("site3").faults.add(Fault("status", service="volume", method="PUT", status=403, count=1))
    refused = await admin.put(path, json={"quota_class_set": {"volumes": 100}})
    assert refused.status_code == 403
    assert [site.block_storage.rest.classes["default"]["volumes"] for site in cloud.sites] == [4, 3, 3]
    assert (await user.get(path)).status_code == 403
