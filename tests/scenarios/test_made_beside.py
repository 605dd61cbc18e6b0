"""What a site makes beside what it was asked for: volumes of servers, images, snapshots, ports."""

import asyncio
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, Client, client_of, server_body
from tests.scenarios.test_several_services import VOLUMES, made, network_at, volume_at

from atoll.sandbox.simulated import Cloud, Site

IMAGES = "/image/v2/images"
NEW = {"OpenStack-API-Version": "compute 2.79"}
LOCATIONS = "/atoll/v1/locations"


@pytest.fixture
def site(cloud: Cloud) -> Site:
    """Where everything here is made."""
    return cloud.site("site2")


async def from_volume(client: Client, cloud: Cloud, **device: Any) -> str:
    """A server at site2 that runs from a volume that the site makes of an image; its id."""
    image = cloud.sites[0].image_id("cirros")
    device = {
        "uuid": image, "source_type": "image", "destination_type": "volume", "boot_index": 0,
        "volume_size": 1, **device,
    }  # fmt: skip
    body = server_body(cloud, availability_zone="site2", block_device_mapping_v2=[device])
    del body["server"]["imageRef"]
    answer = await client.post(SERVERS, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


async def disk(client: Client, server: str) -> str:
    """The volume that a server runs from, as the server shows it."""
    shown = (await client.get(f"{SERVERS}/{server}/os-volume_attachments")).json()["volumeAttachments"]
    return str(shown[0]["volumeId"])


async def recorded(client: Client, ident: str) -> list[tuple[str, str, bool]]:
    """What is on record of an id: (type, site, whether it is gone)."""
    answer = await client.get(f"{LOCATIONS}/{ident}")
    assert answer.status_code == 200, answer.text
    found = answer.json()["locations"]
    return [(one["resource_type"], one["site"], one["deleted"]) for one in found]


async def become(client: Client, ident: str, record: tuple[str, str, bool]) -> None:
    """Wait until that is on record: what is not learnt from a create is written a little later."""
    async with asyncio.timeout(30):
        while await recorded(client, ident) != [record]:  # noqa: ASYNC110 - it is another task's to write
            await asyncio.sleep(0.05)


async def available(client: Client, site: str, **fields: Any) -> str:
    """A volume that can be used."""
    volume = await volume_at(client, site, **fields)
    assert (await client.get(f"{VOLUMES}/{volume}")).json()["volume"]["status"] == "available"
    return volume


async def test_the_volume_of_a_server_is_found_while_another_site_is_away(user: Client, cloud: Cloud) -> None:
    volume = await disk(user, await from_volume(user, cloud))
    cloud.site("site1").refuse()
    shown = await user.get(f"{VOLUMES}/{volume}")
    assert (shown.status_code, shown.json()["volume"]["availability_zone"]) == (200, "site2")
    await become(user, volume, ("volume", "site2", False))
    await cloud.site("site1").start()


async def test_a_volume_that_ends_with_its_server_is_gone_for_whoever_looks(
    user: Client, cloud: Cloud
) -> None:
    server = await from_volume(user, cloud, delete_on_termination=True)
    volume = await disk(user, server)
    assert (await user.get(f"{VOLUMES}/{volume}")).status_code == 200
    assert (await user.delete(f"{SERVERS}/{server}")).status_code == 204
    gone = await user.get(f"{VOLUMES}/{volume}")
    assert gone.status_code == 404
    assert f"Volume {volume} could not be found." in gone.text
    await become(user, volume, ("volume", "site2", True))
    # What names it is refused by the site that had it, and made nowhere.
    body = {"volume": {"size": 1, "source_volid": volume}}
    assert (await user.post(VOLUMES, json=body)).status_code == 404
    assert all(not one.block_storage.volumes for one in cloud.sites)


async def test_a_volume_that_stays_when_its_server_ends_stays_in_its_place(
    user: Client, cloud: Cloud
) -> None:
    server = await from_volume(user, cloud)
    volume = await disk(user, server)
    await user.delete(f"{SERVERS}/{server}")
    shown = (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]
    assert (shown["status"], shown["attachments"]) == ("available", [])
    await volume_at(user, "site3")
    copy = (await user.post(VOLUMES, json={"volume": {"size": 1, "source_volid": volume}})).json()["volume"]
    assert copy["availability_zone"] == "site2"


@pytest.mark.parametrize("action", ["createImage", "createBackup"])
@pytest.mark.parametrize("version", ["2.1", "2.79"])
async def test_the_image_of_a_server_is_where_its_server_is_at_once(
    user: Client, cloud: Cloud, action: str, version: str
) -> None:
    """By its answer, which has a Location below 2.45 and an id from then on: no other site is asked."""
    answer = await user.post(SERVERS, json=server_body(cloud, availability_zone="site2"))
    server = answer.json()["server"]["id"]
    values = {"name": "snap"} | ({"backup_type": "daily", "rotation": 1} if action == "createBackup" else {})
    headers = {"OpenStack-API-Version": f"compute {version}"}
    taken = await user.post(f"{SERVERS}/{server}/action", json={action: values}, headers=headers)
    assert taken.status_code == 202, taken.text
    ident = taken.json()["image_id"] if version == "2.79" else taken.headers["location"].rpartition("/")[2]
    assert await recorded(user, ident) == [("image", "site2", False)]
    for one in cloud.sites:
        one.listener.seen.clear()
    assert (await user.get(f"{IMAGES}/{ident}")).json()["name"] == "snap"
    asked = [one.name for one in cloud.sites for seen in one.listener.seen if ident in seen.target]
    assert asked == ["site2"]
    again = await user.post(SERVERS, json=server_body(cloud, imageRef=ident))
    assert again.status_code == 202
    assert len(cloud.site("site2").compute.instances) == 2


async def test_the_image_of_a_server_that_runs_from_a_volume_and_its_snapshots(
    user: Client, cloud: Cloud, site: Site
) -> None:
    server = await from_volume(user, cloud)
    taken = await user.post(f"{SERVERS}/{server}/action", json={"createImage": {"name": "i"}}, headers=NEW)
    assert await recorded(user, taken.json()["image_id"]) == [("image", "site2", False)]
    (snapshot,) = site.block_storage.snapshots
    shown = (await user.get(f"/block-storage/v3/snapshots/{snapshot}")).json()["snapshot"]
    assert shown["volume_id"] == await disk(user, server)
    await volume_at(user, "site3")
    body = {"volume": {"size": 1, "snapshot_id": snapshot}}
    assert (await user.post(VOLUMES, json=body)).json()["volume"]["availability_zone"] == "site2"


async def test_the_image_of_a_shelved_server_is_found_used_and_deleted(
    user: Client, cloud: Cloud, site: Site
) -> None:
    answer = await user.post(SERVERS, json=server_body(cloud, availability_zone="site2"))
    server = answer.json()["server"]["id"]
    assert (await user.post(f"{SERVERS}/{server}/action", json={"shelve": None})).status_code == 202
    (shelved,) = (await user.get(f"{IMAGES}?name=vm-shelved")).json()["images"]
    assert shelved["id"] in site.image.images
    again = await user.post(SERVERS, json=server_body(cloud, imageRef=shelved["id"]))
    assert again.status_code == 202
    assert len(site.compute.instances) == 2
    assert (await user.post(f"{SERVERS}/{server}/action", json={"unshelve": None})).status_code == 202
    assert (await user.delete(f"{IMAGES}/{shelved['id']}")).status_code == 204
    assert (await user.get(f"{IMAGES}/{shelved['id']}")).status_code == 404


async def test_an_image_made_of_a_volume_is_known_at_once(user: Client) -> None:
    volume = await volume_at(user, "site2")
    body = {"os-volume_upload_image": {"image_name": "of-volume"}}
    answer = await user.post(f"{VOLUMES}/{volume}/action", json=body)
    ident = answer.json()["os-volume_upload_image"]["image_id"]
    assert await recorded(user, ident) == [("image", "site2", False)]
    await volume_at(user, "site3")
    made_of = await user.post(VOLUMES, json={"volume": {"size": 1, "imageRef": ident}})
    assert made_of.json()["volume"]["availability_zone"] == "site2"
    assert await recorded(user, made_of.json()["volume"]["id"]) == [("volume", "site2", False)]


async def test_a_volume_made_by_a_restore_is_known_and_one_restored_into_stays_as_it_was(
    user: Client,
) -> None:
    volume = await volume_at(user, "site2")
    backup = (await made(user, "/block-storage/v3/backups", "backup", volume_id=volume))["id"]
    path = f"/block-storage/v3/backups/{backup}/restore"
    restored = (await user.post(path, json={"restore": {}})).json()["restore"]["volume_id"]
    assert restored != volume
    assert await recorded(user, restored) == [("volume", "site2", False)]
    # Only what was made draws the project's next things: this was there before.
    await volume_at(user, "site3")
    assert (await user.post(path, json={"restore": {"volume_id": volume}})).status_code == 202
    assert (await made(user, VOLUMES, "volume", size=1))["availability_zone"] == "site3"


async def test_ports_that_a_site_makes_for_a_server(user: Client, cloud: Cloud) -> None:
    network = await network_at(user, "site2")
    answer = await user.post(SERVERS, json=server_body(cloud, networks=[{"uuid": network}]))
    server = answer.json()["server"]["id"]
    (port,) = (await user.get(f"/network/v2.0/ports?device_id={server}")).json()["ports"]
    assert (await user.get(f"/network/v2.0/ports/{port['id']}")).status_code == 200
    path = f"{SERVERS}/{server}/os-interface"
    interface = await user.post(path, json={"interfaceAttachment": {"net_id": network}})
    ident = interface.json()["interfaceAttachment"]["port_id"]
    assert await recorded(user, ident) == [("port", "site2", False)]
    await user.delete(f"{SERVERS}/{server}")
    assert (await user.get(f"/network/v2.0/ports/{ident}")).status_code == 404


async def test_a_volume_of_several_servers(user: Client, cloud: Cloud) -> None:
    volume = await available(user, "site2", volume_type="multiattach")
    servers = []
    for zone in ("site2", "site2", "site1"):
        answer = await user.post(SERVERS, json=server_body(cloud, availability_zone=zone))
        servers.append(answer.json()["server"]["id"])
    body = {"volumeAttachment": {"volumeId": volume}}
    answers = [
        await user.post(f"{SERVERS}/{server}/os-volume_attachments", json=body, headers=NEW)
        for server in servers
    ]
    assert [one.status_code for one in answers] == [200, 200, 409]
    assert f"The volume {volume} is at site2 and the server {servers[2]} at site1" in answers[2].text
    attached = (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["attachments"]
    assert {one["server_id"] for one in attached} == set(servers[:2])
    await user.delete(f"{SERVERS}/{servers[0]}")
    attached = (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["attachments"]
    assert [one["server_id"] for one in attached] == [servers[1]]


async def test_several_servers_of_one_request_are_all_found(user: Client, cloud: Cloud, site: Site) -> None:
    network = await network_at(user, "site2")
    counts: dict[str, Any] = {"min_count": 2, "max_count": 3, "return_reservation_id": True}
    fields = counts | {"networks": [{"uuid": network}]}
    answer = await user.post(SERVERS, json=server_body(cloud, **fields))
    assert list(answer.json()) == ["reservation_id"]
    assert len(site.compute.instances) == 3
    for instance in site.compute.instances.sorted(None, [("created_at", "desc")]):
        assert (await user.get(f"{SERVERS}/{instance.id}")).status_code == 200
        assert (await user.delete(f"{SERVERS}/{instance.id}")).status_code == 204


async def test_with_the_record_lost_all_of_it_is_found_again(
    user: Client, cloud: Cloud, start_atoll: StartAtoll, atoll: Atoll
) -> None:
    """By another gateway, which has seen none of it."""
    volume = await disk(user, await from_volume(user, cloud))
    await atoll.end()
    atoll.database.unlink()
    other = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    async with client_of(other, user.token) as client:
        assert (await client.get(f"{VOLUMES}/{volume}")).json()["volume"]["availability_zone"] == "site2"


# -- transfers -------------------------------------------------------------------------------------

OLD, SINCE = "/block-storage/v3/os-volume-transfer", "/block-storage/v3/volume-transfers"
VERSION = {"OpenStack-API-Version": "volume 3.60"}


async def offered(client: Client, path: str, volume: str) -> dict[str, str]:
    answer = await client.post(path, json={"transfer": {"volume_id": volume}}, headers=VERSION)
    assert answer.status_code == 202, answer.text
    return dict(answer.json()["transfer"])


@pytest.mark.parametrize(("by", "accepted_by"), [(OLD, OLD), (OLD, SINCE), (SINCE, OLD), (SINCE, SINCE)])
async def test_a_volume_given_away_belongs_to_the_other_project(
    user: Client, cloud: Cloud, atoll: Atoll, by: str, accepted_by: str
) -> None:
    volume = await available(user, "site2")
    transfer = await offered(user, by, volume)
    for path in (OLD, SINCE):
        assert (await user.get(f"{path}/{transfer['id']}", headers=VERSION)).status_code == 200
        listed = (await user.get(path, headers=VERSION)).json()["transfers"]
        assert [one["id"] for one in listed] == [transfer["id"]]
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        path, key = f"{accepted_by}/{transfer['id']}/accept", transfer["auth_key"]
        wrong = await other.post(path, json={"accept": {"auth_key": "no"}}, headers=VERSION)
        assert wrong.status_code == 400
        accepted = await other.post(path, json={"accept": {"auth_key": key}}, headers=VERSION)
        assert accepted.status_code == 202, accepted.text
        assert (await other.get(f"{VOLUMES}/{volume}")).status_code == 200
        # What the project makes next can be used with it.
        assert (await made(other, VOLUMES, "volume", size=1))["availability_zone"] == "site2"
    assert (await user.get(f"{VOLUMES}/{volume}")).status_code == 404


async def test_a_transfer_that_nobody_here_has_seen_is_accepted_where_it_is(
    user: Client, cloud: Cloud, site: Site, atoll: Atoll
) -> None:
    """Whoever accepts cannot see it by its id: each site is tried, and one that is away is named."""
    volume = await available(user, "site2")
    headers = {"X-Auth-Token": user.token, **VERSION}
    offer = {"transfer": {"volume_id": volume}}
    path = f"{site.url}/volume/v3/{cloud.keystone.project_id('demo')}/volume-transfers"
    transfer = (await user.post(path, json=offer, headers=headers)).json()["transfer"]
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        accept = {"accept": {"auth_key": transfer["auth_key"]}}
        nowhere = await other.post(f"{SINCE}/{volume}/accept", json=accept, headers=VERSION)
        assert nowhere.status_code == 404
        assert f"Transfer {volume} could not be found." in nowhere.text
        site.refuse()
        away = await other.post(f"{SINCE}/{transfer['id']}/accept", json=accept, headers=VERSION)
        assert away.status_code == 503
        assert "site2" in away.text
        await site.start()
        await until(lambda: site.listener.server.listening)
        for _ in range(50):
            answer = await other.post(f"{SINCE}/{transfer['id']}/accept", json=accept, headers=VERSION)
            if answer.status_code != 503:
                break
        assert answer.status_code == 202, answer.text
        assert await recorded(other, volume) == [("volume", "site2", False)]
