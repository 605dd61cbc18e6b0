"""Servers: created somewhere or at a chosen site, seen in one list, acted on, deleted."""

import contextlib
from typing import Any

import openstack
import pytest
from tests.e2e.sites import sites


@pytest.fixture
def networks(zone, private):
    """What a server is given: the site's private network; the first site's where the zone is open."""
    chosen = next(site for site in sites() if zone in {None, site.zone})
    return [{"uuid": private(chosen)}]


def create(cloud: Any, undo: Any, name: str, networks: Any, zone: str | None = None) -> Any:
    server = cloud.compute.create_server(
        name=name,
        image_id=cloud.image.find_image("cirros").id,
        flavor_id="42",
        networks=networks,
        metadata={"why": "http://127.0.0.1/v2.1/servers"},
        **({"availability_zone": zone} if zone else {}),
    )
    undo(gone, cloud, server.id)
    return cloud.compute.wait_for_server(server, wait=300)


def gone(cloud: Any, server: str) -> None:
    cloud.compute.delete_server(server, ignore_missing=True)
    with contextlib.suppress(openstack.exceptions.NotFoundException):
        cloud.compute.wait_for_delete(cloud.compute.get_server(server), wait=90)


def test_the_command_creates_shows_lists_and_deletes(cli, name, zone, at, home, networks):
    made = cli(
        *("server", "create", "--image", "cirros", "--flavor", "m1.nano", "--wait"),
        *("--network", networks[0]["uuid"], *at, name),
    )
    try:
        assert made["status"] == "ACTIVE"
        site = home("compute", f"/servers/{made['id']}", zone)
        shown = cli("server", "show", name)
        assert shown["id"] == made["id"]
        assert shown["image"].startswith("cirros")
        if zone:
            assert shown["OS-EXT-AZ:availability_zone"] == site.zone
        assert [row["ID"] for row in cli("server", "list", "--name", name)] == [made["id"]]
    finally:
        cli.run("server", "delete", "--wait", made["id"])
    assert cli.run("server", "show", made["id"], succeeds=False).returncode == 1


def test_actions_reach_the_server_wherever_it_is(cloud, name, zone, undo, networks):
    server = create(cloud, undo, name, networks, zone)
    cloud.compute.stop_server(server)
    cloud.compute.wait_for_server(server, status="SHUTOFF", wait=90)
    cloud.compute.start_server(server)
    cloud.compute.wait_for_server(server, wait=90)
    assert cloud.compute.update_server(server, name=f"{name}-b").name == f"{name}-b"
    assert cloud.compute.get_server(server.id).metadata == {"why": "http://127.0.0.1/v2.1/servers"}
    assert "line" in cloud.compute.get_server_console_output(server, length=5)["output"]
    assert any(action.action == "stop" for action in cloud.compute.server_actions(server))


def test_a_volume_of_the_same_site_is_attached_and_detached(cloud, name, zone, undo, networks, home):
    server = create(cloud, undo, name, networks, zone)
    site = home("compute", f"/servers/{server.id}", zone)
    there = {"availability_zone": site.zone} if zone else {}
    volume = cloud.block_storage.create_volume(name=name, size=1, **there)
    undo(cloud.delete_volume, volume.id)
    cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, 300)
    # Also when nothing says where: a project's things have to meet.
    assert home("block-storage", f"/volumes/{volume.id}", zone) == site
    cloud.compute.create_volume_attachment(server, volume=volume.id)
    cloud.block_storage.wait_for_status(volume, "in-use", ["error"], 0.5, 300)
    cloud.compute.delete_volume_attachment(server, volume.id)
    cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, 300)


def test_one_list_has_the_servers_of_every_site_page_by_page(cloud, name, undo, private):
    made = []
    for site in sites():
        zone = site.zone if len(sites()) > 1 else None
        made.append(create(cloud, undo, name, [{"uuid": private(site)}], zone).id)
    whole = [server.id for server in cloud.compute.servers(name=name)]
    paged = [server.id for server in cloud.compute.servers(name=name, limit=1)]
    assert whole == paged == made[::-1]  # newest first, as one nova
    oldest = [server.id for server in cloud.compute.servers(name=name, sort_key="created_at", sort_dir="asc")]
    assert oldest == made


def test_an_unknown_server_is_not_found_with_its_id_in_the_message(cloud):
    missing = "8c5a9a0e-0000-4000-8000-5f0c1d1c2a55"
    with pytest.raises(openstack.exceptions.NotFoundException, match=missing):
        cloud.compute.get_server(missing)
