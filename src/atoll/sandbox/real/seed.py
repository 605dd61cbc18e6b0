"""Put into a site what users expect to find: flavors, images, networks, volume types.

Flavors and images have the same ids at every site, as those of one cloud would; networks have not, as those
of clouds that grew apart. Only what is missing is made.
"""

import uuid
from typing import Any

from atoll.sandbox.real.api import Cloud
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.model import Site

IMAGES = ("cirros", "cirros-alt")
IMAGE_LINES = 65536  # 1 MiB: long enough to be sent in several pieces
# In this order: id, name, ram in MiB, disk in GiB, vcpus.
FLAVORS = (
    ("42", "m1.nano", 128, 1, 1),
    ("84", "m1.micro", 192, 1, 1),
    ("1", "m1.tiny", 512, 1, 1),
    ("2", "m1.small", 2048, 20, 1),
    ("3", "m1.medium", 4096, 40, 2),
    ("4", "m1.large", 8192, 80, 4),
)
VOLUME_TYPES: dict[str, dict[str, str]] = {
    "fake": {"volume_backend_name": "fake"},
    "multiattach": {"multiattach": "<is> True"},
}
POOL = "shared-default-subnetpool-v4"  # auto-allocated topologies want one


def image_id(name: str) -> str:
    """Give the id that the sandbox's image of this name has at every site."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"atoll:sandbox:image:{name}"))


def image_content(name: str) -> bytes:
    """Give the bytes of the sandbox's image of this name."""
    return (name.encode() + b" sandbox\n") * IMAGE_LINES


def seed(site: Site) -> None:
    """Fill one site, as its administrator; the private network is the first ordinary user's."""
    cloud = Cloud(site.keystone.admin_credentials, site.region)
    _flavors(cloud)
    for name in IMAGES:
        ensure_image(cloud, name)
    _volume_types(cloud)
    _networks(cloud, site)


def _flavors(cloud: Cloud) -> None:
    have = {flavor["id"] for flavor in cloud.get("compute", "/flavors?is_public=None")["flavors"]}
    for flavor, name, ram, disk, vcpus in FLAVORS:
        if flavor not in have:
            body = {"id": flavor, "name": name, "ram": ram, "disk": disk, "vcpus": vcpus}
            cloud.post("compute", "/flavors", {"flavor": body})


def ensure_image(cloud: Cloud, name: str) -> None:
    """Make an image; one whose upload was cut short is `queued` and gets its data now."""
    found = cloud.get("image", f"/v2/images?name={name}")["images"]
    image = next((image for image in found if image["id"] == image_id(name)), None)
    if image is None:
        body = {
            "id": image_id(name),
            "name": name,
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "public",
        }
        image = cloud.post("image", "/v2/images", body)
    if image["status"] == "queued":
        cloud.call("PUT", "image", f"/v2/images/{image['id']}/file", image_content(name))
    elif image["status"] != "active":
        raise SandboxError(
            f"image {name} of {cloud.region} is {image['status']} since an upload was cut short, and its id "
            "cannot be used twice: start over with `down --wipe`"
        )


def _volume_types(cloud: Cloud) -> None:
    have = {kind["name"] for kind in cloud.get("block-storage", "/types")["volume_types"]}
    for name, specs in VOLUME_TYPES.items():
        if name not in have:
            cloud.post("block-storage", "/types", {"volume_type": {"name": name, "extra_specs": specs}})


def _networks(cloud: Cloud, site: Site) -> None:
    external: dict[str, Any] = {"router:external": True, "is_default": True}
    external |= {"provider:network_type": "flat", "provider:physical_network": "public"}
    public = ensure_network(cloud, "network", "public", external)
    outside = {"network_id": public, "ip_version": 4, "cidr": f"172.24.{site.index}.0/24"}
    ensure_network(cloud, "subnet", "public-subnet", {**outside, "enable_dhcp": False})
    pool = {"shared": True, "is_default": True, "default_prefixlen": 26}
    ensure_network(cloud, "subnetpool", POOL, {**pool, "prefixes": [f"10.{100 + site.index}.0.0/16"]})
    project = Cloud(site.keystone.credentials(site.keystone.users[0]), site.region).project_id
    private = ensure_network(cloud, "network", "private", {"project_id": project})
    inside = {"network_id": private, "ip_version": 4, "cidr": f"10.{site.index}.0.0/20"}
    subnet = ensure_network(cloud, "subnet", "private-subnet", {**inside, "project_id": project})
    gateway = {"external_gateway_info": {"network_id": public}}
    router = ensure_network(cloud, "router", "router1", {**gateway, "project_id": project})
    join(cloud, router, subnet)


def join(cloud: Cloud, router: str, subnet: str) -> None:
    """Have an interface of the router in the subnet, its only one."""
    owner = "network:router_interface"
    path = f"/v2.0/ports?device_id={router}&device_owner={owner}"
    if not cloud.get("network", path)["ports"]:
        body = {"subnet_id": subnet}
        cloud.call("PUT", "network", f"/v2.0/routers/{router}/add_router_interface", body)


def ensure_network(cloud: Cloud, kind: str, name: str, attributes: dict[str, Any]) -> str:
    """Give the id of neutron's resource of that name, made when it is missing."""
    found = cloud.get("network", f"/v2.0/{kind}s?name={name}")[f"{kind}s"]
    if not found:
        found = [cloud.post("network", f"/v2.0/{kind}s", {kind: {"name": name, **attributes}})[kind]]
    return str(found[0]["id"])
