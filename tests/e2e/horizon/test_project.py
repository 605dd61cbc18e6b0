"""A user's own things, made and deleted in Horizon's forms, at every site."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.conftest import KEY
from tests.e2e.horizon.conftest import server_at
from tests.e2e.horizon.pages import Horizon
from tests.e2e.sites import Site, sites

VOLUME = "//table[@id='volumes']//tr[@data-display='{}']"
CONTENT = b"horizon " * 100_000  # longer than what a browser sends at once


def launch(horizon: Horizon, name: str, site: Site, network: str) -> None:
    """Go through the wizard that makes a server."""
    see, press = horizon.browser.see, horizon.browser.press

    def step(title: str) -> None:
        press(f"//wizard//*[contains(@class, 'wizard-nav')]//a[contains(., '{title}')]")

    def take(form: str, text: str) -> None:
        row = f"//*[@ng-form='{form}']//tr[.//*[normalize-space(text())='{text}']]"
        press(f"{row}//button[contains(@class, 'fa-arrow-up')]")

    horizon.browser.open("/project/instances/")
    press("//a[@id='instances__action_launch-ng'] | //*[normalize-space()='Launch Instance']")
    see("//wizard//input[@id='name']").fill(name)
    press(f"//wizard//select[@id='availability-zone']/option[normalize-space()='{site.zone}']")
    step("Source")
    press("//wizard//*[@id='vol-create'][normalize-space()='No']")
    take("launchInstanceSourceForm", "cirros")
    step("Flavor")
    take("launchInstanceFlavorForm", "m1.nano")
    step("Networks")
    take("launchInstanceNetworkForm", network)
    horizon.look(f"launch-{site.name}")
    press("//wizard//button[contains(@class, 'finish')]")
    assert horizon.alerts() == []


def test_a_server_is_made_shown_and_deleted(
    horizon: Horizon, cloud: Any, name: str, site: Site, network: Any, undo: Callable[..., None]
) -> None:
    launch(horizon, name, site, network.name)
    undo(delete_server, cloud, name)
    horizon.row("instances", name, "Active")
    horizon.row("instances", name, site.zone)
    horizon.look(f"instances-{site.name}")
    server = cloud.compute.find_server(name, ignore_missing=False)
    assert site.has("compute", f"/servers/{server.id}")
    horizon.browser.press(f"//table[@id='instances']//a[normalize-space()='{name}']")
    assert horizon.browser.see("//dd[contains(., '10.77.0.')]").shown
    horizon.look(f"instance-{site.name}")
    horizon.browser.open("/project/network_topology/")
    horizon.browser.see(f"//*[contains(text(), '{name[:8]}')]")
    horizon.look(f"topology-{site.name}")
    horizon.delete("/project/instances/", "instances", name, "Delete Instance")
    assert not site.has("compute", f"/servers/{server.id}")


def delete_server(cloud: Any, name: str) -> None:
    """Delete what a test may have left."""
    if found := cloud.compute.find_server(name):
        cloud.delete_server(found.id, wait=True)


def test_a_volume_is_made_attached_backed_up_and_deleted(
    horizon: Horizon, cloud: Any, name: str, site: Site, undo: Callable[..., None]
) -> None:
    server = server_at(site, cloud, name)
    undo(cloud.delete_server, server.id, True)
    horizon.browser.open("/project/volumes/")
    horizon.browser.press("//*[@id='volumes__action_create']")
    horizon.fill(name=name)
    horizon.choose("id_availability_zone", site.zone)
    horizon.look(f"volume-form-{site.name}")
    horizon.submit("Create Volume")
    undo(cloud.delete_volume, name, True)
    horizon.row("volumes", name, "Available")
    volume = cloud.block_storage.find_volume(name, ignore_missing=False)
    assert site.has("block-storage", f"/volumes/{volume.id}")
    back_up(horizon, name, site)
    attach_and_detach(horizon, name, f"{name} ({server.id})", site)
    horizon.delete("/project/volumes/", "volumes", name, "Delete Volume")
    assert not site.has("block-storage", f"/volumes/{volume.id}")


def back_up(horizon: Horizon, name: str, site: Site) -> None:
    """Back the volume up, and delete what came of it."""
    horizon.act(VOLUME.format(name), "Create Backup")
    horizon.fill(name=f"{name}-b")
    horizon.submit("Create Volume Backup")
    horizon.browser.open("/project/backups/")
    horizon.row("volume_backups", f"{name}-b", "Available")
    horizon.look(f"backups-{site.name}")
    horizon.delete("/project/backups/", "volume_backups", f"{name}-b", "Delete Volume Backup")


def attach_and_detach(horizon: Horizon, name: str, server: str, site: Site) -> None:
    """Attach the volume to a server, see it there, and take it away again."""
    horizon.browser.open("/project/volumes/")
    horizon.act(VOLUME.format(name), "Manage Attachments")
    horizon.choose("id_instance", server)
    horizon.submit("Attach Volume")
    horizon.row("volumes", name, "In-use")
    horizon.row("volumes", name, f"on {name}")
    horizon.look(f"volumes-{site.name}")
    horizon.act(VOLUME.format(name), "Manage Attachments")
    horizon.browser.press("//table[@id='attachments']//button[normalize-space()='Detach Volume']")
    horizon.confirm()
    horizon.row("volumes", name, "Available")


def test_a_network_is_made_where_its_zone_is_and_deleted(
    horizon: Horizon, cloud: Any, name: str, site: Site, undo: Callable[..., None]
) -> None:
    browser = horizon.browser
    browser.open("/project/networks/")
    browser.press("//*[@id='networks__action_create']")
    horizon.fill(net_name=name)
    horizon.choose("id_az_hints", site.zone)
    browser.press("//*[contains(@class, 'button-next')]")
    horizon.fill(subnet_name=name, cidr="10.78.0.0/24")
    horizon.look(f"network-form-{site.name}")
    browser.press("//*[contains(@class, 'button-next')]")
    browser.press("//*[contains(@class, 'button-final')]")
    undo(cloud.delete_network, name)
    horizon.row("networks", name, "10.78.0.0/24")
    horizon.look(f"networks-{site.name}")
    made = cloud.network.find_network(name, ignore_missing=False)
    assert site.has("network", f"/v2.0/networks/{made.id}")
    horizon.delete("/project/networks/", "networks", name, "Delete Network")
    assert not site.has("network", f"/v2.0/networks/{made.id}")


def test_an_image_is_uploaded_shown_and_deleted(
    horizon: Horizon, cloud: Any, name: str, tmp_path: Path, undo: Callable[..., None]
) -> None:
    browser = horizon.browser
    file = tmp_path / "image.raw"
    file.write_bytes(CONTENT)
    browser.open("/project/images")
    browser.press("//button[normalize-space()='Create Image']")
    browser.see("//wizard//*[@id='imageForm-name']").fill(name)
    (chosen,) = browser.all("//wizard//input[@name='image_file']")
    chosen.fill(str(file))
    browser.press("//*[@id='imageForm-format']/option[@label='Raw']")
    horizon.look("image-form")
    browser.press("//wizard//button[contains(@class, 'finish')]")
    undo(delete_image, cloud, name)
    row = f"//tr[.//a[normalize-space()='{name}']]"
    browser.see(f"{row}[contains(., 'Active')]")
    horizon.look("images")
    made = cloud.image.find_image(name, ignore_missing=False)
    assert cloud.image.download_image(made).content == CONTENT
    horizon.act(row, "Delete Image")
    horizon.confirm()
    browser.wait(lambda: not browser.all(row), f"end of {name}")
    assert not any(site.has("image", f"/v2/images/{made.id}") for site in sites())


def delete_image(cloud: Any, name: str) -> None:
    """Delete what a test may have left."""
    if found := cloud.image.find_image(name):
        cloud.image.delete_image(found)


def test_a_key_pair_and_a_security_group_are_made_and_deleted(
    horizon: Horizon, cloud: Any, name: str, undo: Callable[..., None]
) -> None:
    browser = horizon.browser
    browser.open("/project/key_pairs/")
    browser.press("//*[@id='keypairs__action_import']")
    horizon.fill(name=name, public_key=KEY)
    horizon.choose("id_key_type", "SSH")
    horizon.submit("Import Key Pair")
    undo(cloud.delete_keypair, name)
    browser.open("/project/key_pairs/")
    horizon.row("keypairs", name, name)
    horizon.look("key-pairs")
    assert all(
        name in {one["keypair"]["name"] for one in site.mine.get("compute", "/os-keypairs")["keypairs"]}
        for site in sites()
    )
    horizon.delete("/project/key_pairs/", "keypairs", name, "Delete Key Pair")
    browser.open("/project/security_groups/")
    browser.press("//*[@id='security_groups__action_create']")
    horizon.fill(name=name)
    horizon.submit("Create Security Group")
    undo(cloud.delete_security_group, name)
    browser.open("/project/security_groups/")
    horizon.row("security_groups", name, name)
    horizon.delete("/project/security_groups/", "security_groups", name, "Delete Security Group")
