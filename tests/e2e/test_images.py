"""Images: one of each, with its bytes, whichever site answers."""

import hashlib

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
