"""Clouds that share nothing are used as one, by the stock clients: lists, creates in each zone, versions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import KEY, Command
from tests.e2e.sites import Site

OLDER_LATEST = "2.96"  # of nova 2024.1
NEWER = "2.100"


@pytest.fixture
def private(cloud: Any) -> Callable[[Site], str]:
    """The id of the network `private` at a site."""

    def find(site: Site) -> str:
        listed = {network.id for network in cloud.network.networks(name="private")}
        here = site.mine.get("network", "/v2.0/networks?name=private")["networks"]
        (found,) = listed & {network["id"] for network in here}
        return str(found)

    return find


@pytest.fixture
def boot(cli: Command, name: str, private: Callable[[Site], str]) -> Callable[..., Any]:
    """Create a server in the zone of a site by the command, and wait for it."""

    def create(site: Site, *words: str) -> Any:
        made = cli(
            *("server", "create", "--image", "cirros", "--flavor", "m1.nano", "--wait"),
            *("--network", private(site), "--availability-zone", zone_of(site), *words, name),
        )
        assert made["status"] == "ACTIVE"
        return made

    return create


def zone_of(site: Site) -> str:
    """What `serve --clouds` calls the zone of a site: as the entry."""
    return site.region.lower()


def test_what_both_have_is_listed_once(cli: Command) -> None:
    for kind, wanted in (("image", ["cirros", "cirros-alt"]), ("flavor", ["m1.nano", "m1.tiny"])):
        rows = cli(kind, "list")
        assert sorted(row["Name"] for row in rows if row["Name"] in wanted) == wanted
        assert len(rows) == len({row["ID"] for row in rows})


def test_a_server_of_each_zone_is_made_shown_listed_and_deleted(
    cli: Command, two: list[Site], name: str, boot: Callable[..., Any], tmp_path: Path
) -> None:
    public = tmp_path / "key.pub"
    public.write_text(KEY)
    cli.run("keypair", "create", "--public-key", str(public), name)
    made = {}
    for site in two:
        server = boot(site, "--key-name", name)
        made[server["id"]] = site
        (home,) = [one for one in two if one.has("compute", f"/servers/{server['id']}")]
        assert home == site
        shown = cli("server", "show", server["id"])
        assert shown["OS-EXT-AZ:availability_zone"] == zone_of(site)
        assert shown["key_name"] == name
        assert shown["image"].startswith("cirros")
    assert {row["ID"] for row in cli("server", "list", "--name", name)} == set(made)
    for ident in made:
        cli.run("server", "delete", "--wait", ident)
    cli.run("keypair", "delete", name)
    assert cli("server", "list", "--name", name) == []


def test_a_volume_meets_the_server_of_its_zone(
    cloud: Any, two: list[Site], name: str, private: Callable[[Site], str]
) -> None:
    for site in two:
        volume = cloud.block_storage.create_volume(name=name, size=1, availability_zone=zone_of(site))
        cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, 300)
        assert site.has("block-storage", f"/volumes/{volume.id}")
        # No zone is given: the volume and the network say where.
        server = cloud.compute.create_server(
            name=name,
            image_id=cloud.image.find_image("cirros").id,
            flavor_id=cloud.compute.find_flavor("m1.nano").id,
            networks=[{"uuid": private(site)}],
        )
        cloud.compute.wait_for_server(server, wait=300)
        cloud.compute.create_volume_attachment(server, volume=volume.id)
        cloud.block_storage.wait_for_status(volume, "in-use", ["error"], 0.5, 300)
        cloud.compute.delete_volume_attachment(server, volume.id)
        cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, 300)
        cloud.compute.delete_server(server)
        cloud.compute.wait_for_delete(server, wait=90)
        cloud.block_storage.delete_volume(volume)


def test_versions_are_those_of_the_oldest_and_a_newer_one_is_for_who_has_it(
    cloud: Any, two: list[Site], name: str, private: Callable[[Site], str]
) -> None:
    newest, older = two
    assert cloud.compute.get_endpoint_data().max_microversion == tuple(map(int, OLDER_LATEST.split(".")))
    refused = cloud.compute.get("/servers", microversion=NEWER)
    assert refused.status_code == 406
    assert older.region.lower() in refused.text
    body = {
        "name": name,
        "imageRef": cloud.image.find_image("cirros").id,
        "flavorRef": cloud.compute.find_flavor("m1.nano").id,
        "networks": [{"uuid": private(newest)}],
    }
    there = {"availability_zone": zone_of(newest)}
    made = cloud.compute.post("/servers", json={"server": body | there}, microversion=NEWER)
    assert made.status_code == 202, made.text
    assert made.headers["OpenStack-API-Version"] == f"compute {NEWER}"
    assert newest.has("compute", f"/servers/{made.json()['server']['id']}")
    elsewhere = {"networks": "none", "availability_zone": zone_of(older)}
    refused = cloud.compute.post("/servers", json={"server": body | elsewhere}, microversion=NEWER)
    assert refused.status_code == 406, refused.text


def test_limits_are_the_sum_and_nothing_of_the_sites_own_identity_is_seen(
    cloud: Any, two: list[Site]
) -> None:
    whole = cloud.compute.get("/limits", microversion=OLDER_LATEST).json()["limits"]["absolute"]
    parts = [site.mine.get("compute", "/limits")["limits"]["absolute"] for site in two]
    assert whole["maxTotalInstances"] == sum(part["maxTotalInstances"] for part in parts)
    text = cloud.network.get("/networks").text + cloud.compute.get("/servers/detail").text
    assert cloud.current_project_id in text
    assert [site.name for site in two if site.mine.project_id in text] == []


def test_the_network_service_can_do_what_both_can(cloud: Any, two: list[Site]) -> None:
    both = [
        {one["alias"] for one in site.mine.get("network", "/v2.0/extensions")["extensions"]} for site in two
    ]
    assert both[0] != both[1], "the releases are alike: this says nothing"
    listed = [one["alias"] for one in cloud.network.get("/extensions").json()["extensions"]]
    assert set(listed) == both[0] & both[1]
    assert len(listed) == len(set(listed))
