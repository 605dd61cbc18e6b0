"""What is asked for by its id: one thing of each service, as its service shows it to the owner."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PROJECT_ID = "0ec3fefb53714f79949e4bf3a7c26720"
USER_ID = "c4b6a6f6f48d47cc9713aec491245ec7"
FLAVOR_ID = "42"
IMAGE_ID = "70a599e0-31e7-49b7-b260-868f441e862b"
SERVER_ID = "8f2a1c9e-5b7d-4e63-9a41-d07c3be852f6"
VOLUME_ID = "3d1f5a70-92c4-4c0e-8a6b-5be1d2940c17"
PORT_ID = "b7c0e4d2-1f38-49a5-b6d9-e02c7a8f4103"
NETWORK_ID = "f0a9d3b1-6c52-4d7e-9e84-21b7c5a60d38"
GROUP_ID = "2c6e8f14-7b0a-4f93-8d25-9a1e3c5b7d60"
# Things of a kind asked for by turns, so that no proxy answers the same request twice in a row.
COUNT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A kind of thing: where it is at a site, and what the site answers; `answer` takes the site's address.

    `root` is what stands before the service's paths at a site. `beside` are answers to what a gateway may
    ask of the service for itself, by path at the site; `headers` as nginx takes them. `everywhere`: every
    site has it, under one id.
    """

    name: str
    service: str
    root: str
    path: str
    answer: Callable[[str], Mapping[str, Any]]
    headers: Sequence[str] = ()
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    everywhere: bool = False

    @property
    def id(self) -> str:
        """The id of the first one."""
        return self.path.rpartition("/")[2]

    @property
    def at_site(self) -> str:
        """The path at a site."""
        return self.root + self.path

    @property
    def at_atoll(self) -> str:
        """The path at Atoll."""
        return f"/{self.service}{self.path}"


def paths(first: str) -> list[str]:
    """The paths (or ids) of all things of a kind, from that of the first one."""
    return [f"{first[:-4]}{(int(first[-4:], 16) + number) % 65536:04x}" for number in range(COUNT)]


def server_answer(base: str) -> dict[str, Any]:
    """What Nova 2.1 says of a server to its owner; `base` begins its links. About 1.5 KB."""
    return {
        "server": {
            "id": SERVER_ID,
            "name": "web-03.production",
            "status": "ACTIVE",
            "tenant_id": PROJECT_ID,
            "user_id": USER_ID,
            "metadata": {"role": "web", "owner": "team-storefront"},
            "hostId": "a9c4c3b5d38a2f1f4ce4a3a3a0ed1bbd5fdfe0dd66cb5ed24d5f3a8e",
            "image": {
                "id": IMAGE_ID,
                "links": [{"rel": "bookmark", "href": f"{base}/images/{IMAGE_ID}"}],
            },
            "flavor": {
                "id": FLAVOR_ID,
                "links": [{"rel": "bookmark", "href": f"{base}/flavors/{FLAVOR_ID}"}],
            },
            "created": "2026-11-20T10:31:04Z",
            "updated": "2026-11-20T10:31:19Z",
            "addresses": {
                "private": [
                    {
                        "version": 4,
                        "addr": "10.1.3.27",
                        "OS-EXT-IPS:type": "fixed",
                        "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:5c:0b:9d",
                    }
                ]
            },
            "accessIPv4": "",
            "accessIPv6": "",
            "links": [
                {"rel": "self", "href": f"{base}{SERVER.path}"},
                {"rel": "bookmark", "href": f"{base}/servers/{SERVER_ID}"},
            ],
            "OS-DCF:diskConfig": "MANUAL",
            "progress": 0,
            "OS-EXT-AZ:availability_zone": "nova",
            "config_drive": "",
            "key_name": "deploy",
            "OS-SRV-USG:launched_at": "2026-11-20T10:31:19.000000",
            "OS-SRV-USG:terminated_at": None,
            "security_groups": [{"name": "default"}],
            "OS-EXT-STS:task_state": None,
            "OS-EXT-STS:vm_state": "active",
            "OS-EXT-STS:power_state": 1,
            "os-extended-volumes:volumes_attached": [],
        }
    }


def volume_answer(base: str) -> dict[str, Any]:
    """What Cinder 3.0 says of a volume to its owner. About 1.4 KB."""
    return {
        "volume": {
            "id": VOLUME_ID,
            "status": "in-use",
            "size": 20,
            "availability_zone": "nova",
            "created_at": "2026-11-20T10:30:41.000000",
            "updated_at": "2026-11-20T10:31:07.000000",
            "attachments": [
                {
                    "id": VOLUME_ID,
                    "attachment_id": "5e0c1d27-4a93-4b8f-9d16-7f2b3a0c6e58",
                    "volume_id": VOLUME_ID,
                    "server_id": SERVER_ID,
                    "host_name": None,
                    "device": "/dev/vda",
                    "attached_at": "2026-11-20T10:31:07.000000",
                }
            ],
            "name": "web-03.root",
            "description": "",
            "volume_type": "ssd",
            "snapshot_id": None,
            "source_volid": None,
            "metadata": {"role": "web"},
            "links": [
                {"rel": "self", "href": f"{base}{VOLUME.at_site}"},
                {"rel": "bookmark", "href": f"{base}/volume/{PROJECT_ID}/volumes/{VOLUME_ID}"},
            ],
            "user_id": USER_ID,
            "bootable": "true",
            "encrypted": False,
            "replication_status": None,
            "consistencygroup_id": None,
            "multiattach": False,
            "migration_status": None,
            "os-vol-tenant-attr:tenant_id": PROJECT_ID,
            "volume_image_metadata": {
                "image_id": IMAGE_ID,
                "image_name": "debian-13",
                "container_format": "bare",
                "disk_format": "raw",
                "min_disk": "0",
                "min_ram": "0",
                "size": "3221225472",
            },
        }
    }


def port_answer(base: str) -> dict[str, Any]:
    """What Neutron says of a port to its owner. About 1.2 KB."""
    del base  # it has no links
    return {
        "port": {
            "id": PORT_ID,
            "name": "",
            "network_id": NETWORK_ID,
            "tenant_id": PROJECT_ID,
            "mac_address": "fa:16:3e:5c:0b:9d",
            "admin_state_up": True,
            "status": "ACTIVE",
            "device_id": SERVER_ID,
            "device_owner": "compute:nova",
            "fixed_ips": [{"subnet_id": "8a4b2c61-0d7f-4e35-93a8-c6d1f5e70b29", "ip_address": "10.1.3.27"}],
            "allowed_address_pairs": [],
            "extra_dhcp_opts": [],
            "security_groups": [GROUP_ID],
            "description": "",
            "binding:vnic_type": "normal",
            "qos_policy_id": None,
            "qos_network_policy_id": None,
            "port_security_enabled": True,
            "dns_name": "web-03",
            "dns_assignment": [
                {"ip_address": "10.1.3.27", "hostname": "web-03", "fqdn": "web-03.openstacklocal."}
            ],
            "dns_domain": "",
            "propagate_uplink_status": True,
            "tags": ["web"],
            "created_at": "2026-11-20T10:31:05Z",
            "updated_at": "2026-11-20T10:31:18Z",
            "revision_number": 4,
            "project_id": PROJECT_ID,
        }
    }


def image_answer(base: str, ident: str = IMAGE_ID) -> dict[str, Any]:
    """What Glance 2 says of a public image. About 1 KB."""
    del base  # its links are paths
    own = f"/v2/images/{ident}"
    return {
        "name": f"debian-13-{ident}",
        "disk_format": "qcow2",
        "container_format": "bare",
        "visibility": "public",
        "size": 612368384,
        "virtual_size": 3221225472,
        "status": "active",
        "checksum": "c8fc807773e5354afe61636071771906",
        "protected": False,
        "min_ram": 0,
        "min_disk": 3,
        "owner": PROJECT_ID,
        "os_hidden": False,
        "os_hash_algo": "sha512",
        "os_hash_value": "1103b92ce8ad966e41235a4de260deb791ff571670c0342666c8582fbb9caefe6af07ebb11d34f44"
        "f8414b609b29c1bdf1d72ffa6faa39c88e8721d09847952b",
        "id": ident,
        "created_at": "2026-11-18T08:12:55Z",
        "updated_at": "2026-11-18T08:13:31Z",
        "hw_disk_bus": "virtio",
        "os_distro": "debian",
        "os_version": "13",
        "tags": ["web"],
        "self": own,
        "file": f"{own}/file",
        "schema": "/v2/schemas/image",
    }


def _versioned(name: str, number: str, *more: str) -> tuple[str, ...]:
    headers = [f"OpenStack-API-Version '{name} {number}'", "Vary OpenStack-API-Version", *more]
    return (*headers, "x-compute-request-id req-d00eba8f-8f83-4fb2-9baa-b8b8053959f6")


_NOVA = "X-OpenStack-Nova-API-Version"
SERVER = Thing(
    name="server",
    service="compute",
    root="",
    path=f"/v2.1/servers/{SERVER_ID}",
    answer=server_answer,
    headers=_versioned("compute", "2.1", f"{_NOVA} 2.1", f"Vary {_NOVA}"),
)
VOLUME = Thing(
    name="volume",
    service="block-storage",
    root="/volume",
    path=f"/v3/{PROJECT_ID}/volumes/{VOLUME_ID}",
    answer=volume_answer,
    headers=_versioned("volume", "3.0"),
)
PORT = Thing(
    name="port",
    service="network",
    root="/network",
    path=f"/v2.0/ports/{PORT_ID}",
    answer=port_answer,
    beside={"/network/v2.0/security-groups": {"security_groups": [{"id": GROUP_ID, "name": "default"}]}},
)
IMAGE = Thing(
    name="image",
    service="image",
    root="/image",
    path=f"/v2/images/{IMAGE_ID}",
    answer=image_answer,
    beside={"/image/v2/images": {"images": [image_answer("", one) for one in paths(IMAGE_ID)]}},
    everywhere=True,
)
THINGS = (SERVER, VOLUME, PORT, IMAGE)
