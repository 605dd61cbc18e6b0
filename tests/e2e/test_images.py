"""Images: one of each, with its bytes, whichever site answers."""

import hashlib
import time

import pytest
from tests.e2e.sites import CLOUD, sites, zones

through_atoll = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site knows of no other")

SIZE = 3 << 20  # several chunks of every client and server on the way


def content(name: str) -> bytes:
    """Bytes that are this test's own, in no image format."""
    return (name.encode() * (SIZE // len(name) + 1))[:SIZE]


def test_the_command_uploads_and_downloads_the_same_bytes(cli, name, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content(name))
    made = cli("image", "create", "--disk-format", "raw", "--file", str(source), "--property", "a=b", name)
    try:
        shown = cli("image", "show", name)
        assert (shown["id"], shown["status"], shown["size"]) == (made["id"], "active", SIZE)
        assert shown["properties"]["os_hash_value"] == hashlib.sha512(content(name)).hexdigest()
        cli.run("image", "save", "--file", str(target), made["id"])
        assert target.read_bytes() == source.read_bytes()
        assert [row["ID"] for row in cli("image", "list", "--name", name)] == [made["id"]]
    finally:
        cli.run("image", "delete", made["id"])
    assert cli.run("image", "show", made["id"], succeeds=False).returncode == 1


def test_sdk_streams_an_image_both_ways_and_changes_it(cloud, name, undo):
    image = cloud.image.create_image(
        name, data=content(name), disk_format="raw", container_format="bare", wait=True, tags=["t"]
    )
    undo(cloud.delete_image, image.id)
    with cloud.image.download_image(image, stream=True) as answer:
        digest = hashlib.sha512()
        for chunk in answer.iter_content(1 << 16):
            digest.update(chunk)
    assert digest.hexdigest() == hashlib.sha512(content(name)).hexdigest()
    assert cloud.image.update_image(image, min_ram=64).min_ram == 64
    assert cloud.image.get_image(image.id).tags == ["t"]


def test_what_every_site_has_is_listed_once(cloud):
    names = [image.name for image in cloud.image.images(visibility="public")]
    assert sorted(set(names) & {"cirros", "cirros-alt"}) == ["cirros", "cirros-alt"]
    assert names.count("cirros") == names.count("cirros-alt") == 1


def test_the_flavors_are_listed_once_each(cloud):
    names = [flavor.name for flavor in cloud.compute.flavors()]
    assert sorted(names) == sorted(set(names))
    assert {"m1.nano", "m1.micro"} <= set(names)


def at_sites(ident: str, key: str = "status") -> dict[str, object]:
    """What each site itself shows of an image; nothing where it has it not."""
    path = f"/v2/images/{ident}"
    return {site.name: site.admin.get("image", path).get(key) for site in sites() if site.has("image", path)}


@through_atoll
def test_the_command_makes_an_image_at_all_sites_and_changes_it_at_all(cli, name, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content(name))
    everywhere = ("--disk-format", "raw", "--file", str(source), "--property", "atoll_sites=all")
    ident = cli("image", "create", *everywhere, "--progress", name)["id"]
    try:
        names = [site.name for site in sites()]
        digest = hashlib.sha512(content(name)).hexdigest()
        assert at_sites(ident, "os_hash_value") == dict.fromkeys(names, digest)
        assert cli("image", "show", name)["properties"]["atoll_sites"] == "all"
        shown = cli("image", "show", ident)
        assert (shown["id"], shown["status"]) == (ident, "active")
        assert shown["properties"]["atoll_sites"] == "all"
        assert shown["properties"]["atoll_sites_status"] == ",".join(f"{one}=active" for one in names)
        assert [row["ID"] for row in cli("image", "list", "--name", name)] == [ident]
        cli.run("image", "set", "--property", "os_version=12", "--min-ram", "64", "--tag", "blue", ident)
        assert at_sites(ident, "os_version") == dict.fromkeys(names, "12")
        assert at_sites(ident, "tags") == {one: ["blue"] for one in names}
        cli.run("image", "unset", "--property", "os_version", "--tag", "blue", ident)
        assert at_sites(ident, "os_version") == dict.fromkeys(names)
        cli.run("image", "save", "--file", str(target), ident)
        assert target.read_bytes() == source.read_bytes()
    finally:
        cli.run("image", "delete", ident)
    assert at_sites(ident) == {}


@through_atoll
def test_servers_of_every_zone_are_made_from_one_image(cli, cloud, name, undo):
    image = cloud.image.create_image(
        name, data=content(name), disk_format="raw", container_format="bare", wait=True, atoll_sites="all"
    )
    undo(cloud.delete_image, image.id)
    for zone in filter(None, zones()):
        words = ("--flavor", "m1.nano", "--nic", "none", "--availability-zone", zone, "--wait")
        server = cli("server", "create", "--image", image.id, *words, f"{name}-{zone}")
        undo(cli.run, "server", "delete", "--wait", server["id"])
        assert server["status"] == "ACTIVE"


@through_atoll
def test_what_is_staged_is_imported_at_all_sites(cloud, name, undo):
    image = cloud.image.create_image(
        name, disk_format="raw", container_format="bare", atoll_sites="all", allow_duplicates=True
    )
    undo(cloud.delete_image, image.id)
    cloud.image.stage_image(image, data=content(name))
    assert set(at_sites(image.id).values()) == {"uploading"}
    cloud.image.import_image(image, method="glance-direct")
    assert cloud.image.wait_for_status(cloud.image.get_image(image.id), "active", wait=300).status == "active"
    digest = hashlib.sha512(content(name)).hexdigest()
    assert set(at_sites(image.id, "os_hash_value").values()) == {digest}


def test_namespaces_of_metadata_definitions_are_listed_once(admin, name, undo):
    made = admin.image.create_metadef_namespace(namespace=name)
    undo(admin.image.delete_metadef_namespace, made)
    found = [one.namespace for one in admin.image.metadef_namespaces(limit=1)]
    assert found.count(name) == 1
    for site in sites():
        assert site.has("image", f"/v2/metadefs/namespaces/{name}")


@through_atoll
def test_copies_under_ids_of_their_own_are_listed_once_in_pages_of_any_size(cloud, name):
    """Made at the sites themselves, one after the other, with other images between."""
    made: dict[str, set[str]] = {}
    for turn in range(3):
        for site in sites():
            called, fields = f"{name}-{turn}", {"disk_format": "raw", "container_format": "bare"}
            ident = site.mine.post("image", "/v2/images", {"name": called, **fields})["id"]
            site.mine.call("PUT", "image", f"/v2/images/{ident}/file", content(called))
            made.setdefault(called, set()).add(ident)
            time.sleep(1.1)  # Glance counts seconds
    # On one page they are known as copies at once; apart, with the next comparing only.
    for limit in (100, 1, 2, 25):
        for sort in ("created_at:desc", "name:asc"):
            mine = [one for one in cloud.image.images(limit=limit, sort=sort) if one.name in made]
            assert sorted(one.name for one in mine) == sorted(made), (limit, sort)
            assert all(one.id in made[one.name] for one in mine)
    for one in mine:
        assert cloud.image.get_image(one.id).name == one.name
        cloud.image.delete_image(one.id)
    assert not [one.name for one in cloud.image.images(limit=2) if one.name in made]
    for site in sites():
        assert not any(site.has("image", f"/v2/images/{ident}") for ids in made.values() for ident in ids)
