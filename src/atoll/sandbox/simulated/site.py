"""One simulated site: a region's compute, volume, image and network services on one port, with seed data."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Self

from atoll.sandbox.simulated.block_storage import BlockStorage
from atoll.sandbox.simulated.collections import MAKERS, Collections
from atoll.sandbox.simulated.compute import Compute
from atoll.sandbox.simulated.faults import Faults
from atoll.sandbox.simulated.identity import Keystone
from atoll.sandbox.simulated.image import Image
from atoll.sandbox.simulated.instances import Instance
from atoll.sandbox.simulated.listener import Listener, Service
from atoll.sandbox.simulated.network import Network
from atoll.sandbox.simulated.network_kinds import KINDS
from atoll.sandbox.simulated.placement import Placement
from atoll.sandbox.simulated.server import Request, Response
from atoll.sandbox.simulated.service import plain
from atoll.sandbox.simulated.tokens import Token

_SERVICES = {
    "compute": "compute",
    "volume": "block_storage",
    "image": "image",
    "network": "network",
    "identity": "keystone",
    "placement": "placement",
}
_FLAVORS = (
    ("42", "m1.nano", 128, 1),
    ("84", "m1.micro", 192, 1),
    ("1", "m1.tiny", 512, 1),
    ("2", "m1.small", 2048, 20),
)
_IMAGES = ("cirros", "cirros-alt")
_PATHS = {
    "compute": "/compute/v2.1",
    "block-storage": "/volume/v3/$(project_id)s",
    "image": "/image",
    "network": "/network",
}


class Site:
    """A site: name, region, the Keystone it trusts, and its services.

    Services are made on first use, so a thousand idle sites cost little. `own_images` gives the seeded images
    ids of the site's own instead of the same ones everywhere. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        keystone: Keystone,
        *,
        region: str | None = None,
        own_images: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.region = region or name
        self.keystone = keystone
        self.clock = clock
        self.own_images = own_images
        self.number = 1  # which of the /16s its seeded networks use
        self.listener = Listener(self._serve)
        self._public_network_id = ""
        self._others: dict[str, Collections] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, port: int = 0) -> None:
        """Listen on 127.0.0.1 at `port` (0: any free one) and register in the Keystone's catalogue."""
        await self.listener.start(port)
        self.keystone.store.register(self.region, self.endpoints)

    async def close(self) -> None:
        """Stop listening. The catalogue keeps the region, as it would."""
        await self.listener.close()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return self.listener.server.url

    @property
    def endpoints(self) -> dict[str, str]:
        """Endpoint URLs by service type, as the catalogue has them (with `$(project_id)s`)."""
        return {kind: self.url + path for kind, path in _PATHS.items()} | {"identity": self.keystone.auth_url}

    @property
    def other_endpoints(self) -> dict[str, str]:
        """Endpoint URLs of the services that are in no catalogue: placement, and some collections."""
        return {kind: f"{self.url}/{kind}" for kind in ("placement", *MAKERS)}

    def other(self, service_type: str) -> Collections:
        """One of the further services but placement. Raises LookupError."""
        if service_type not in self._others:
            self._others[service_type] = MAKERS[service_type](self)
        return self._others[service_type]

    @cached_property
    def placement(self) -> Placement:
        """The placement service."""
        return Placement(self)

    @property
    def faults(self) -> Faults:
        """The faults set at this site."""
        return self.listener.faults

    def refuse(self) -> None:
        """Stop listening and reset all connections, as a site that is gone; `start()` brings it back."""
        self.listener.server.refuse()

    def validate(self, request: Request) -> Token | None:
        """The token of a request, checked as keystonemiddleware would."""
        return self.keystone.validate(request.header("x-auth-token"))

    async def _serve(self, request: Request) -> Response:
        first = request.path[1:].partition("/")[0]
        if first in MAKERS:
            return await self.listener.serve(request, self.other(first))
        service = _SERVICES.get(first)
        if service is None and request.path != "/_faults":
            body = plain(404, "Not Found", "The resource could not be found.")
            return Response(404, [("Content-Type", "text/plain; charset=UTF-8")], body)
        target: Service = getattr(self, service or "compute")
        return await self.listener.serve(request, target)

    @cached_property
    def compute(self) -> Compute:
        """The compute service."""
        compute = Compute(self)
        for flavor_id, name, ram, disk in _FLAVORS:
            compute.flavor_api.seed(flavor_id, name, ram, disk)
        return compute

    @cached_property
    def block_storage(self) -> BlockStorage:
        """The block storage service."""
        storage = BlockStorage(self)
        storage.admin.seed("__DEFAULT__", "Default Volume Type")
        storage.admin.seed("fake", volume_backend_name="fake")
        storage.admin.seed("multiattach", multiattach="<is> True")
        return storage

    @cached_property
    def image(self) -> Image:
        """The image service."""
        image = Image(self)
        for name in _IMAGES:
            fields = {"visibility": "public", "disk_format": "raw", "container_format": "bare"}
            data = hashlib.sha512(name.encode()).digest() * 64
            image.add(
                name, data, owner=self.keystone.project_id("admin"), image_id=self.image_id(name), **fields
            )
        return image

    def image_id(self, name: str) -> str:
        """The id of a seeded image: the same at all sites unless `own_images`."""
        scope = f"{self.name}/{name}" if self.own_images else name
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"simulated/image/{scope}"))

    @property
    def public_network_id(self) -> str:
        """The id of the external network `public`."""
        if "network" not in vars(self):
            self.network  # noqa: B018 - seeds it
        return self._public_network_id

    @cached_property
    def network(self) -> Network:
        """The network service, with the external network `public` and demo's `private` behind `router1`."""
        network = Network(self)
        records = network.records
        admin, demo = self.keystone.project_id("admin"), self.keystone.project_id("demo")
        external: dict[str, Any] = {"router:external": True, "is_default": True, "mtu": 1500}
        external |= {"provider:network_type": "flat", "provider:physical_network": "public"}
        owner, user = self._user("admin", admin), self._user("demo", demo)
        public = records.create(owner, KINDS["networks"], {"name": "public", **external})
        self._public_network_id = str(public["id"])
        cidr = f"172.24.{self.number % 256}.0/24"
        records.create(
            owner, KINDS["subnets"], {"network_id": public["id"], "cidr": cidr, "name": "public-subnet"}
        )
        private = records.create(user, KINDS["networks"], {"name": "private"})
        cidr = f"10.{self.number % 200 + 1}.0.0/20"
        given = {"network_id": private["id"], "cidr": cidr, "name": "private-subnet"}
        subnet = records.create(user, KINDS["subnets"], given)
        gateway: dict[str, Any] = {"name": "router1", "external_gateway_info": {"network_id": public["id"]}}
        router = records.create(user, KINDS["routers"], gateway)
        fixed = [{"subnet_id": subnet["id"], "ip_address": subnet["gateway_ip"]}]
        port = records.create(
            user, KINDS["ports"], {"network_id": private["id"], "fixed_ips": fixed, "security_groups": []}
        )
        port |= {"device_id": router["id"], "device_owner": "network:router_interface", "status": "ACTIVE"}
        pool: dict[str, Any] = {
            "name": "shared-default-subnetpool-v4",
            "prefixes": [f"10.{self.number % 50 + 201}.0.0/16"],
        }
        pool |= {"default_prefixlen": "26", "is_default": True, "shared": True}
        records.create(owner, KINDS["subnetpools"], pool)
        return network

    def _user(self, name: str, project_id: str) -> Token:
        """A token of nobody's, for making seed data as a user would."""
        roles = frozenset({"admin", "member"} if name == "admin" else {"member"})
        return Token(
            "", self.keystone.store.id_of("user", name), name, roles, [], 0, 0, project_id=project_id
        )

    def bulk(self, created: Iterator[int], project: str = "demo") -> int:
        """Put in place active servers, one per creation time (epoch seconds); how many they are."""
        compute, before = self.compute, len(self.compute.instances)
        project_id, user_id = self.keystone.project_id(project), self.keystone.store.id_of("user", project)
        compute.instances.extend(self._made(created, project_id, user_id))
        return len(compute.instances) - before

    def _made(self, created: Iterator[int], project_id: str, user_id: str) -> Iterator[Instance]:
        compute, image_id, host = self.compute, self.image_id("cirros"), f"{self.name}-compute1"
        flavor = compute.flavors["42"]
        for at in created:
            seq = compute.instances.next_seq()
            name = f"{self.name}-{seq}"
            server_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"simulated/server/{name}"))
            instance = Instance(seq, server_id, name, project_id, user_id, at, at, flavor, image_id)
            instance.host, instance.vm_state, instance.task_state, instance.launched = (
                host,
                "active",
                None,
                at,
            )
            instance.hostname = name
            address = f"10.{self.number % 200 + 1}.{seq // 250 % 256}.{seq % 250 + 2}"
            mac = "fa:16:3e:" + (seq & 0xFFFFFF).to_bytes(3).hex(":")
            instance.fixed = {"private": [{"version": 4, "addr": address, "type": "fixed", "mac": mac}]}
            yield instance
