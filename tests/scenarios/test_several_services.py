"""One request that names things of several services: all of it is at one site, or a fault says what to do."""

import json
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import (
    SERVERS,
    Client,
    boot,
    client_of,
    created_anywhere,
    server_body,
    writes,
)
from tests.scenarios.terraform import KEY
from tests.scenarios.test_unknown_outcomes import recorded

from atoll.sandbox.simulated import Cloud, Fault, Site
from atoll.sandbox.simulated.faults import Kind

VOLUMES = "/block-storage/v3/volumes"
NETWORKS = "/network/v2.0/networks"
V1 = "block_device_mapping"
V2 = "block_device_mapping_v2"

# Makes something at site2 that a server could name; gives its id and the fields of the body that name it.
Make = Callable[[Client, Cloud], Awaitable[tuple[str, dict[str, Any]]]]


@pytest.fixture
def away(cloud: Cloud) -> Site:
    """Where things are that are not where they are needed."""
    return cloud.site("site2")


async def made(client: Client, path: str, kind: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post(path, json={kind: fields})
    assert answer.status_code < 300, answer.text
    return dict(answer.json()[kind])


async def volume_at(client: Client, site: str, **fields: Any) -> str:
    return str((await made(client, VOLUMES, "volume", size=1, availability_zone=site, **fields))["id"])


async def network_at(client: Client, site: str, name: str = "net") -> str:
    network = await made(client, NETWORKS, "network", name=name, availability_zone_hints=[site])
    await made(
        client, "/network/v2.0/subnets", "subnet", network_id=network["id"], cidr="10.9.0.0/24", ip_version=4
    )
    return str(network["id"])


async def a_volume(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    volume = await volume_at(client, "site2")
    device = {"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
    return volume, {V2: [device]}


async def a_volume_of_old(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    volume = await volume_at(client, "site2")
    return volume, {V1: [{"volume_id": volume, "device_name": "vdb"}]}


async def a_snapshot(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    volume = await volume_at(client, "site2")
    snapshot = (await made(client, "/block-storage/v3/snapshots", "snapshot", volume_id=volume))["id"]
    device = {"uuid": snapshot, "source_type": "snapshot", "destination_type": "volume", "boot_index": 0}
    return snapshot, {V2: [device]}


async def a_network(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    network = await network_at(client, "site2", "blue net")
    return network, {"networks": [{"uuid": network}]}


async def a_port(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    network = await network_at(client, "site2")
    port = (await made(client, "/network/v2.0/ports", "port", network_id=network, name="eth"))["id"]
    return port, {"networks": [{"port": port}]}


async def a_group(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    await volume_at(client, "site2")
    group = await made(
        client, "/compute/v2.1/os-server-groups", "server_group", name="g", policies=["affinity"]
    )
    return group["id"], {"hints": {"group": group["id"]}}


async def a_group_in_a_list(client: Client, cloud: Cloud) -> tuple[str, dict[str, Any]]:
    ident, _ = await a_group(client, cloud)
    return ident, {"hints": {"group": [ident]}}


async def a_neighbour(client: Client, cloud: Cloud) -> tuple[str, dict[str, Any]]:
    server = await boot(client, cloud, "site2")
    return server, {"hints": {"same_host": [server]}}


async def a_security_group(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    await volume_at(client, "site2")
    await made(client, "/network/v2.0/security-groups", "security_group", name="web")
    return "web", {"security_groups": [{"name": "web"}]}


async def a_security_group_by_id(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    await volume_at(client, "site2")
    group = await made(client, "/network/v2.0/security-groups", "security_group", name="web")
    return group["id"], {"security_groups": [{"name": group["id"]}]}


async def an_image(client: Client, _: Cloud) -> tuple[str, dict[str, Any]]:
    await volume_at(client, "site2")
    ident = (
        await client.post(
            "/image/v2/images",
            json={"name": "mine", "disk_format": "raw", "container_format": "bare", "hw_disk_bus": "virtio"},
        )
    ).json()["id"]
    headers = {"Content-Type": "application/octet-stream"}
    await client.put(f"/image/v2/images/{ident}/file", content=b"bytes", headers=headers)
    return ident, {"imageRef": ident}


async def a_flavor(_: Client, cloud: Cloud) -> tuple[str, dict[str, Any]]:
    cloud.site("site2").compute.flavor_api.seed("big", "m1.big", 4096, 40)
    return "big", {"flavorRef": "big"}


async def a_flavor_by_url(client: Client, cloud: Cloud) -> tuple[str, dict[str, Any]]:
    cloud.site("site2").compute.flavor_api.seed("big", "m1.big", 4096, 40)
    return "big", {"flavorRef": f"{client.base_url}/compute/v2.1/flavors/big"}


async def a_keypair(client: Client, cloud: Cloud) -> tuple[str, dict[str, Any]]:
    site = cloud.site("site2")
    key = {"keypair": {"name": "key", "public_key": KEY}}
    headers = {"X-Auth-Token": client.token}
    await client.post(f"{site.url}/compute/v2.1/os-keypairs", json=key, headers=headers)
    return "key", {"key_name": "key"}


async def a_type_of_volume(_: Client, cloud: Cloud) -> tuple[str, dict[str, Any]]:
    cloud.site("site2").block_storage.admin.seed("gold")
    device = {
        "uuid": cloud.sites[0].image_id("cirros"), "source_type": "image", "destination_type": "volume",
        "boot_index": 0, "volume_size": 1, "volume_type": "gold",
    }  # fmt: skip
    return "gold", {V2: [device]}


COMMANDS: dict[Make, str] = {
    a_volume: "openstack image create --volume {id}",
    a_volume_of_old: "openstack volume create --availability-zone site1 --size 1 ",
    a_snapshot: "openstack volume create --snapshot {id}",
    a_network: "openstack network create --availability-zone-hint site1 'blue net'",
    a_port: "openstack port create --network NETWORK eth",
    a_group: "openstack server group create --policy affinity g",
    a_group_in_a_list: "openstack server group create --policy affinity g",
    a_neighbour: "name only things of site2 with it",
    a_security_group: "openstack security group create web",
    a_security_group_by_id: "openstack security group create web",
    an_image: "openstack --os-region-name site1 image create --id {id} --file {id}.img --disk-format raw "
    "--container-format bare --property hw_disk_bus=virtio mine",
    a_flavor: "openstack --os-region-name site1 flavor create --id big --ram 4096 --vcpus 1 --disk 40 m1.big",
    a_flavor_by_url: "flavor create --id big",
    a_keypair: "openstack keypair create --public-key key.pub key",
    a_type_of_volume: "openstack --os-region-name site1 volume type create gold",
}


def body_of(cloud: Cloud, zone: str | None, fields: dict[str, Any]) -> dict[str, Any]:
    hints = {"os:scheduler_hints": fields["hints"]} if "hints" in fields else {}
    fields = {key: value for key, value in fields.items() if key != "hints"}
    if zone is not None:
        fields["availability_zone"] = zone
    return server_body(cloud, **fields) | hints


@pytest.mark.parametrize("make", COMMANDS, ids=lambda make: make.__name__)
async def test_each_thing_is_named_with_its_site_and_its_command(
    user: Client, cloud: Cloud, make: Make
) -> None:
    ident, fields = await make(user, cloud)
    servers, before = created_anywhere(cloud), writes(cloud)
    refused = await user.post(SERVERS, json=body_of(cloud, "site1", fields))
    assert refused.status_code == 409, refused.text
    fault = refused.json()["conflictingRequest"]
    assert fault["code"] == 409
    assert f"{ident} is in site2" in fault["message"]
    assert COMMANDS[make].format(id=ident) in fault["message"]
    assert "Nothing was created." in fault["message"]
    assert (created_anywhere(cloud), writes(cloud)) == (servers, before)


@pytest.mark.parametrize(
    "make",
    [one for one in COMMANDS if one not in {a_volume_of_old, a_group_in_a_list}],
    ids=lambda make: make.__name__,
)
async def test_without_a_zone_it_goes_where_all_of_it_is(user: Client, cloud: Cloud, make: Make) -> None:
    _, fields = await make(user, cloud)
    await volume_at(user, "site3")  # the project's home is elsewhere now
    before = created_anywhere(cloud)
    headers = {"OpenStack-API-Version": "compute 2.67"} if make is a_type_of_volume else {}
    body = body_of(cloud, None, fields)
    if headers:
        body["server"]["networks"] = "none"
    answer = await user.post(SERVERS, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    now = created_anywhere(cloud)
    assert [now[name] - before[name] for name in now] == [0, 1, 0]


async def test_a_different_host_is_one_at_another_site_too(user: Client, cloud: Cloud) -> None:
    server = await boot(user, cloud, "site2")
    hints = {"different_host": [server]}
    assert (await user.post(SERVERS, json=body_of(cloud, "site1", {"hints": hints}))).status_code == 202
    assert created_anywhere(cloud) == {"site1": 1, "site2": 1, "site3": 0}


async def test_the_rest_goes_to_the_site_of_the_data(user: Client, cloud: Cloud) -> None:
    """Of a volume at one site and two things at another it is those two that are brought."""
    volume, fields = await a_volume(user, cloud)
    network = await network_at(user, "site3")
    await made(user, "/network/v2.0/security-groups", "security_group", name="web")
    groups = [{"name": "web"}]
    body = body_of(cloud, None, fields | {"networks": [{"uuid": network}], "security_groups": groups})
    message = (await user.post(SERVERS, json=body)).json()["conflictingRequest"]["message"]
    for said in (f"volume {volume} is in site2", f"network {network} is in site3", "group web is in site3"):
        assert said in message
    assert "To have it in site2: for network" in message
    assert "openstack network create --availability-zone-hint site2 net" in message
    assert "openstack security group create web" in message
    assert f"--volume {volume}" not in message


async def test_where_only_the_zone_is_at_odds_the_other_zone_is_said(user: Client, cloud: Cloud) -> None:
    _, fields = await a_network(user, cloud)
    refused = await user.post(SERVERS, json=body_of(cloud, "site3", fields))
    assert "All that is named is in site2: name its availability zone, site2, or none." in refused.text


async def test_of_many_things_only_some_have_their_command(user: Client, cloud: Cloud) -> None:
    networks = [{"uuid": await network_at(user, "site2", f"n{n}")} for n in range(6)]
    refused = await user.post(SERVERS, json=body_of(cloud, "site1", {"networks": networks}))
    assert refused.text.count("openstack network create") == 4
    assert "; and 2 more" in refused.text
    assert all(one["uuid"] in refused.text for one in networks)


# -- the commands do what they say -----------------------------------------------------------------


def commands(message: str) -> list[list[str]]:
    """The commands of a fault, each as its words."""
    return [shlex.split(part) for part in message.split("`")[1::2]]


async def test_the_commands_for_an_image_bring_it(user: Client, cloud: Cloud) -> None:
    """Saved through Atoll, made at the site itself under the same id, and used at once."""
    ident, fields = await an_image(user, cloud)
    refused = await user.post(SERVERS, json=body_of(cloud, "site1", fields))
    save, create = commands(refused.json()["conflictingRequest"]["message"])
    assert save == ["openstack", "image", "save", "--file", f"{ident}.img", ident]
    assert create[1:5] == ["--os-region-name", "site1", "image", "create"]
    data = (await user.get(f"/image/v2/images/{ident}/file")).content
    site, headers = cloud.site("site1"), {"X-Auth-Token": user.token}
    body = {"name": create[-1], "disk_format": "raw", "container_format": "bare", "id": create[6]}
    copied = await user.post(f"{site.url}/image/v2/images", json=body, headers=headers)
    assert copied.status_code == 201
    octets = headers | {"Content-Type": "application/octet-stream"}
    await user.put(f"{site.url}/image/v2/images/{ident}/file", content=data, headers=octets)
    server = await user.post(SERVERS, json=body_of(cloud, "site1", fields))
    assert server.status_code == 202, server.text
    assert created_anywhere(cloud)["site1"] == 1


async def test_the_command_for_networks_of_one_name_has_them_used_as_one(user: Client, cloud: Cloud) -> None:
    network, other = await network_at(user, "site2", "blue"), await network_at(user, "site1", "blue")
    fields = {"networks": [{"uuid": network}]}
    refused = await user.post(SERVERS, json=body_of(cloud, "site1", fields))
    ((*words, pair, another, _, shown, _, name, _),) = commands(
        refused.json()["conflictingRequest"]["message"]
    )
    assert (words, name) == (["atoll", "same", "add", "network"], "blue")
    assert (pair, another) == (f"site2={network}", f"site1={other}")
    ids = dict(one.split("=") for one in (pair, another))
    declared = {"resource": "network", "ids": ids, "id": shown, "name": name, "project": True}
    assert (await user.post("/atoll/v1/same", json=declared)).status_code == 201
    assert (await user.post(SERVERS, json=body_of(cloud, "site1", fields))).status_code == 202


async def test_the_commands_for_a_keypair_make_it_at_every_site(user: Client, cloud: Cloud) -> None:
    _, fields = await a_keypair(user, cloud)
    refused = await user.post(SERVERS, json=body_of(cloud, "site1", fields))
    show, delete, create = commands(refused.json()["conflictingRequest"]["message"])
    assert show == ["openstack", "keypair", "show", "--public-key", "key", ">", "key.pub"]
    assert delete == ["openstack", "keypair", "delete", "key"]
    assert create == ["openstack", "keypair", "create", "--public-key", "key.pub", "key"]
    shown = (await user.get("/compute/v2.1/os-keypairs/key")).json()["keypair"]["public_key"]
    assert (await user.delete("/compute/v2.1/os-keypairs/key")).status_code == 202
    await made(user, "/compute/v2.1/os-keypairs", "keypair", name="key", public_key=shown)
    assert (await user.post(SERVERS, json=body_of(cloud, "site1", fields))).status_code == 202


async def test_what_names_no_zone_is_made_where_the_last_thing_was(user: Client, cloud: Cloud) -> None:
    """As the fault says of server groups and security groups."""
    group, fields = await a_group(user, cloud)
    refused = await user.post(SERVERS, json=body_of(cloud, "site1", fields))
    assert "right after something was made in availability zone site1" in refused.text
    await volume_at(user, "site1")
    again = await made(
        user, "/compute/v2.1/os-server-groups", "server_group", name="g", policies=["affinity"]
    )
    assert again["id"] != group
    body = body_of(cloud, "site1", {"hints": {"group": again["id"]}})
    assert (await user.post(SERVERS, json=body)).status_code == 202


# -- volumes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["source_volid", "snapshot_id", "backup_id", "imageRef", "image_id"])
async def test_a_volume_of_something_at_another_site(user: Client, cloud: Cloud, key: str) -> None:
    source = await volume_at(user, "site2")
    if key == "snapshot_id":
        source = (await made(user, "/block-storage/v3/snapshots", "snapshot", volume_id=source))["id"]
    elif key == "backup_id":
        source = (await made(user, "/block-storage/v3/backups", "backup", volume_id=source))["id"]
    elif key.startswith("image"):
        source, _ = await an_image(user, cloud)
    before = writes(cloud)
    body = {"volume": {"size": 1, key: source, "availability_zone": "site1"}}
    refused = await user.post(VOLUMES, json=body)
    assert refused.status_code == 409
    message = refused.json()["conflictingRequest"]["message"]
    assert f"{source} is in site2" in message
    assert "name its availability zone, site2, or none" in message
    assert writes(cloud) == before
    del body["volume"]["availability_zone"]
    if key != "image_id":  # which the simulated Cinder has not got
        volume = (await user.post(VOLUMES, json=body)).json()["volume"]
        assert volume["id"] in cloud.site("site2").block_storage.volumes


@pytest.mark.parametrize("hint", ["same_host", "local_to_instance"])
async def test_a_volume_beside_something_of_another_site(user: Client, cloud: Cloud, hint: str) -> None:
    other = await (volume_at(user, "site2") if hint == "same_host" else boot(user, cloud, "site2"))
    body: dict[str, dict[str, Any]] = {
        "volume": {"size": 1, "availability_zone": "site1"},
        "OS-SCH-HNT:scheduler_hints": {hint: other},
    }
    refused = await user.post(VOLUMES, json=body)
    assert refused.status_code == 409
    assert other in refused.text
    del body["volume"]["availability_zone"]
    await network_at(user, "site3")
    volume = (await user.post(VOLUMES, json=body)).json()["volume"]
    assert volume["id"] in cloud.site("site2").block_storage.volumes


# -- what is done to a thing at one site -----------------------------------------------------------


async def refused_there(
    client: Client, cloud: Cloud, path: str, body: Any, *said: str, method: str = "POST"
) -> str:
    """The message of a 409 that says some words, after which no site was told anything."""
    before = writes(cloud)
    answer = await client.request(method, path, json=body)
    assert answer.status_code == 409, answer.text
    assert writes(cloud) == before
    message = json.dumps(answer.json())
    for one in (*said, "Nothing was changed."):
        assert one in message
    return message


@pytest.fixture
async def server(user: Client, cloud: Cloud) -> str:
    """A server at site1."""
    return await boot(user, cloud, "site1")


async def test_a_volume_is_attached_only_where_it_is(user: Client, cloud: Cloud, server: str) -> None:
    volume = await volume_at(user, "site2")
    message = await refused_there(
        user, cloud, f"{SERVERS}/{server}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}},
        f"The volume {volume} is at site2 and the server {server} at site1",
    )  # fmt: skip
    assert f"openstack image create --volume {volume}" in message


@pytest.mark.parametrize("named", ["net_id", "port_id"])
async def test_an_interface_is_attached_only_where_it_is(
    user: Client, cloud: Cloud, server: str, named: str
) -> None:
    ident, _ = await (a_network(user, cloud) if named == "net_id" else a_port(user, cloud))
    await refused_there(
        user, cloud, f"{SERVERS}/{server}/os-interface", {"interfaceAttachment": {named: ident}},
        f"{ident} is at site2", "network create" if named == "net_id" else "port create",
    )  # fmt: skip


@pytest.mark.parametrize("action", ["rebuild", "rescue", "resize", "addFixedIp", "addSecurityGroup"])
async def test_an_action_names_only_what_its_server_can_have(
    user: Client, cloud: Cloud, server: str, action: str
) -> None:
    make, key = {
        "rebuild": (an_image, "imageRef"),
        "rescue": (an_image, "rescue_image_ref"),
        "resize": (a_flavor, "flavorRef"),
        "addFixedIp": (a_network, "networkId"),
        "addSecurityGroup": (a_security_group, "name"),
    }[action]
    ident, _ = await make(user, cloud)
    await refused_there(
        user, cloud, f"{SERVERS}/{server}/action", {action: {key: ident}}, f"{ident} is at site2", server
    )


async def test_a_rebuild_with_a_keypair_that_the_site_lacks(user: Client, cloud: Cloud, server: str) -> None:
    await a_keypair(user, cloud)
    body = {"rebuild": {"imageRef": cloud.sites[0].image_id("cirros"), "key_name": "key"}}
    await refused_there(user, cloud, f"{SERVERS}/{server}/action", body, "keypair key is at site2")


async def test_all_that_is_elsewhere_is_named(user: Client, cloud: Cloud, server: str) -> None:
    image, _ = await an_image(user, cloud)
    await a_keypair(user, cloud)
    body = {"rebuild": {"imageRef": image, "key_name": "key"}}
    await refused_there(user, cloud, f"{SERVERS}/{server}/action", body, image, "keypair key is at site2")


async def test_a_floating_ip_is_associated_only_where_it_is(user: Client, cloud: Cloud, server: str) -> None:
    """By Nova, which names an address, and by Neutron, which names a port."""
    public = cloud.site("site2").public_network_id
    floating = await made(user, "/network/v2.0/floatingips", "floatingip", floating_network_id=public)
    address = floating["floating_ip_address"]
    await refused_there(
        user, cloud, f"{SERVERS}/{server}/action", {"addFloatingIp": {"address": address}},
        f"{address} is at site2",
    )  # fmt: skip
    network = await network_at(user, "site1")
    port = (await made(user, "/network/v2.0/ports", "port", network_id=network, name="eth"))["id"]
    path = f"/network/v2.0/floatingips/{floating['id']}"
    body = {"floatingip": {"port_id": port}}
    await refused_there(user, cloud, path, body, f"The port {port} is at site1", "at site2", method="PUT")


@pytest.mark.parametrize("verb", ["unshelve", "pinned"])
async def test_a_zone_of_another_site_is_no_place_for_a_server_that_is(
    user: Client, cloud: Cloud, server: str, verb: str
) -> None:
    path, method = f"{SERVERS}/{server}/action", "POST"
    body: dict[str, Any] = {"unshelve": {"availability_zone": "site2"}}
    if verb == "pinned":
        path, method = f"{SERVERS}/{server}", "PUT"
        body = {"server": {"pinned_availability_zone": "site2"}}
    await refused_there(user, cloud, path, body, "site2", "name one of that site's (site1)", method=method)


async def test_volumes_are_changed_only_by_what_is_with_them(user: Client, cloud: Cloud) -> None:
    volume, (image, _) = await volume_at(user, "site1"), await an_image(user, cloud)
    snapshot, _ = await a_snapshot(user, cloud)
    server = await boot(user, cloud, "site2")
    for action, key, ident in (
        ("os-reimage", "image_id", image),
        ("revert", "snapshot_id", snapshot),
        ("os-attach", "instance_uuid", server),
    ):
        body = {action: {key: ident}}
        await refused_there(user, cloud, f"{VOLUMES}/{volume}/action", body, f"{ident} is at site2")


async def test_a_backup_is_restored_only_where_it_is(user: Client, cloud: Cloud) -> None:
    volume, other = await volume_at(user, "site2"), await volume_at(user, "site1")
    backup = (await made(user, "/block-storage/v3/backups", "backup", volume_id=volume))["id"]
    path = f"/block-storage/v3/backups/{backup}/restore"
    await refused_there(user, cloud, path, {"restore": {"volume_id": other}}, f"{other} is at site1", backup)
    assert (await user.post(path, json={"restore": {"volume_id": volume}})).status_code == 202


# -- a site that is away ---------------------------------------------------------------------------


async def test_a_site_that_dies_before_a_create_of_several_things(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    volume, fields = await a_volume(user, cloud)
    cloud.site("site2").refuse()
    answer = await user.post(SERVERS, json=body_of(cloud, None, fields))
    assert answer.status_code == 503, answer.text
    assert "site2" in answer.text
    assert {name: count for name, count in created_anywhere(cloud).items() if count} == {}
    # What is needed may be there: that nobody can say is no reason to make it elsewhere.
    async with client_of(atoll, user.token) as again:
        unknown = body_of(cloud, "site1", {"networks": [{"uuid": volume}]})
        assert (await again.post(SERVERS, json=unknown)).status_code == 503
    await cloud.site("site2").start()


async def test_a_security_group_that_may_be_at_a_site_that_is_away(user: Client, cloud: Cloud) -> None:
    await a_security_group(user, cloud)
    cloud.site("site2").refuse()
    answer = await user.post(SERVERS, json=body_of(cloud, None, {"security_groups": [{"name": "web"}]}))
    assert answer.status_code == 503, answer.text
    assert "site2" in answer.text
    assert sum(created_anywhere(cloud).values()) == 0
    await cloud.site("site2").start()


@pytest.mark.parametrize("fault", ["die_after_commit", "cut"])
async def test_a_site_that_dies_in_the_middle_of_a_create_of_several_things(
    start_atoll: StartAtoll, cloud: Cloud, fault: Kind
) -> None:
    """It made the server, its volume and its port, and nobody was told: said so, found, and made once."""
    limits = {"deadline_seconds": 10.0, "outcome_seconds": 30.0}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    await atoll.settled()
    site = cloud.site("site2")
    async with client_of(atoll, cloud.keystone.token()) as user:
        network = await network_at(user, "site2")
        device = {
            "uuid": site.image_id("cirros"), "source_type": "image", "destination_type": "volume",
            "boot_index": 0, "volume_size": 1, "delete_on_termination": True,
        }  # fmt: skip
        body = body_of(cloud, None, {V2: [device], "networks": [{"uuid": network}]})
        site.faults.add(Fault(fault, service="compute", method="POST", count=1))
        lost = await user.post(SERVERS, json=body)
        assert lost.status_code in {502, 504}, lost.text
        assert "site2" in lost.text
        (server,) = site.compute.instances.sorted(None, [("created_at", "desc")])
        (volume,) = site.block_storage.volumes
        await until(lambda: recorded(atoll.database, server.id) == ["site2"])
        assert created_anywhere(cloud) == {"site1": 0, "site2": 1, "site3": 0}
        assert (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["status"] == "in-use"
        assert (await user.delete(f"{SERVERS}/{server.id}")).status_code == 204
        assert (await user.get(f"{VOLUMES}/{volume}")).status_code == 404
        assert not (await user.get(f"/network/v2.0/ports?device_id={server.id}")).json()["ports"]


async def test_an_attach_whose_answer_is_lost_is_done_once(start_atoll: StartAtoll, cloud: Cloud) -> None:
    limits = {"deadline_seconds": 10.0}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    await atoll.settled()
    async with client_of(atoll, cloud.keystone.token()) as user:
        server, volume = await boot(user, cloud, "site2"), await volume_at(user, "site2")
        assert (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["status"] == "available"
        fault = Fault("die_after_commit", service="compute", path="os-volume_attachments", count=1)
        cloud.site("site2").faults.add(fault)
        path, body = f"{SERVERS}/{server}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}}
        lost = await user.post(path, json=body)
        assert lost.status_code in {502, 504}, lost.text
        assert "site2" in lost.text
        (attached,) = (await user.get(path)).json()["volumeAttachments"]
        assert attached["volumeId"] == volume
        assert len((await user.get(f"{VOLUMES}/{volume}")).json()["volume"]["attachments"]) == 1


@pytest.mark.parametrize("counts", [{"min_count": 2}, {"max_count": 3}])
async def test_several_servers_at_once_go_together_and_share_no_port(
    user: Client, cloud: Cloud, counts: dict[str, int]
) -> None:
    """With a network all of them are at its site; of a port, which only one can have, Nova says so."""
    network = await network_at(user, "site2")
    answer = await user.post(SERVERS, json=body_of(cloud, None, {"networks": [{"uuid": network}], **counts}))
    assert answer.status_code == 202, answer.text
    assert created_anywhere(cloud) == {"site1": 0, "site2": max(counts.values()), "site3": 0}
    port, fields = await a_port(user, cloud)
    refused = await user.post(SERVERS, json=body_of(cloud, "site1", fields | counts))
    assert (refused.status_code, port in refused.text) == (409, True)
    assert created_anywhere(cloud)["site1"] == 0
