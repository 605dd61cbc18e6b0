"""Terraform's calls, as its OpenStack provider makes them, of a configuration of one of each.

Terraform is not at hand here; these are the calls that its OpenStack provider makes (read in its sources:
`resource_openstack_…`, `compute_instance_v2_networking.go`, and gophercloud below them), in their order:

    login            POST /v3/auth/tokens; every endpoint is taken from the catalog
    keypair          create: POST os-keypairs; read: GET os-keypairs/{name}; delete: DELETE
    network, subnet, port
                     create: POST, GET until ACTIVE or DOWN; read: GET {id}
                     delete: GET {id}, DELETE {id}, then GET until 404
    volume           create: POST volumes, GET until available; read: GET; delete: GET, DELETE, GET until 404
    instance         create: GET ports?id=, GET networks?id=&status=ACTIVE, POST servers, GET until ACTIVE
                     read: GET servers/{id} twice, ports?id=, networks?id=&status=ACTIVE, GET flavors/{id},
                     GET images/{id}, GET servers/{id}/tags (2.26)
                     delete: DELETE, GET until 404
    volume attach    create: POST servers/{id}/os-volume_attachments, GET the attachment; read: the same GET
                     delete: GET, DELETE, GET until 404

Besides, the volume is looked at until it is in use, which its attachment precedes. A refresh is the read of
each. What Terraform compares are the fields that `State` keeps.
"""

import asyncio
from typing import Any

import httpx

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEu1ZgGqRzqJFjCANCnWrGnd1j2kMWvPN7mMQwrjDpWn terraform"
TAGS = {"X-OpenStack-Nova-API-Version": "2.26", "OpenStack-API-Version": "compute 2.26"}
# What a resource may take to become what it shall be; a real site needs some of it.
SECONDS, PAUSE = 300.0, 0.1
State = dict[str, dict[str, Any]]


class Terraform:
    """A configuration of one of each, all in one zone and of one name, and what is known of it."""

    def __init__(self, zone: str, *, image: str, password: str, name: str = "tf") -> None:
        self.zone, self.image, self.password, self.name = zone, image, password, name
        self.ids: dict[str, str] = {}
        self.state: State = {}
        self.client: httpx.AsyncClient
        self.endpoints: dict[str, str] = {}

    async def login(self) -> None:
        """Get a token, and the endpoints of the one region."""
        password = {"user": {"name": "demo", "domain": {"id": "default"}, "password": self.password}}
        auth = {
            "identity": {"methods": ["password"], "password": password},
            "scope": {"project": {"name": "demo", "domain": {"id": "default"}}},
        }
        answer = await self.client.post("/identity/v3/auth/tokens", json={"auth": auth})
        assert answer.status_code == 201, answer.text
        self.client.headers["X-Auth-Token"] = answer.headers["x-subject-token"]
        for service in answer.json()["token"]["catalog"]:
            public = [one["url"] for one in service["endpoints"] if one["interface"] == "public"]
            assert len(public) == bool(service["endpoints"]), "one region, or a service that is nowhere"
            for url in public:
                self.endpoints[service["type"]] = url.rstrip("/")
        self.endpoints["network"] += "/v2.0"
        self.endpoints["image"] += "/v2"

    async def call(self, method: str, service: str, path: str, body: Any = None, **headers: str) -> Any:
        """One call; what it answers, or None for a 404. Anything else that is no success is an error."""
        answer = await self.client.request(
            method, f"{self.endpoints[service]}/{path}", json=body, headers=headers
        )
        if answer.status_code == 404:
            return None
        if answer.status_code >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else {}

    # -- create -----------------------------------------------------------------------------------

    async def apply(self) -> None:
        """Create everything, in the order of what needs what."""
        await self.call("POST", "compute", "os-keypairs", {"keypair": {"name": self.name, "public_key": KEY}})
        self.ids["keypair"] = self.name
        await self._neutron("network", {"name": self.name, "admin_state_up": True,
                                        "availability_zone_hints": [self.zone]})  # fmt: skip
        network = self.ids["network"]
        await self._neutron("subnet", {"network_id": network, "cidr": "192.168.9.0/24", "ip_version": 4,
                                       "name": self.name, "enable_dhcp": True})  # fmt: skip
        fixed = [{"subnet_id": self.ids["subnet"]}]
        await self._neutron("port", {"network_id": network, "name": self.name, "admin_state_up": True,
                                     "fixed_ips": fixed})  # fmt: skip
        volume = {"volume": {"name": self.name, "size": 1, "availability_zone": self.zone}}
        made = await self.call("POST", "block-storage", "volumes", volume)
        self.ids["volume"] = made["volume"]["id"]
        await self._until("block-storage", f"volumes/{self.ids['volume']}", "volume", "available")
        await self._networks()
        server = {
            "name": self.name, "imageRef": self.image, "flavorRef": "42",
            "availability_zone": self.zone, "networks": [{"uuid": network, "port": self.ids["port"]}],
            "key_name": self.name, "metadata": {"made": "by terraform"}, "config_drive": False,
        }  # fmt: skip
        made = await self.call("POST", "compute", "servers", {"server": server})
        self.ids["instance"] = made["server"]["id"]
        await self._until("compute", f"servers/{self.ids['instance']}", "server", "ACTIVE")
        attachment = {"volumeAttachment": {"volumeId": self.ids["volume"]}}
        path = f"servers/{self.ids['instance']}/os-volume_attachments"
        made = await self.call("POST", "compute", path, attachment)
        self.ids["attachment"] = made["volumeAttachment"]["id"]
        await self._until("block-storage", f"volumes/{self.ids['volume']}", "volume", "in-use")
        self.state = await self.refresh()

    async def _neutron(self, kind: str, fields: dict[str, Any]) -> None:
        made = await self.call("POST", "network", f"{kind}s", {kind: fields})
        self.ids[kind] = made[kind]["id"]
        shown = await self.call("GET", "network", f"{kind}s/{self.ids[kind]}")
        assert shown[kind].get("status", "ACTIVE") in {"ACTIVE", "DOWN"}

    async def _until(self, service: str, path: str, envelope: str, status: str) -> None:
        async with asyncio.timeout(SECONDS):
            while (await self.call("GET", service, path))[envelope]["status"] != status:  # noqa: ASYNC110 - a site's
                await asyncio.sleep(PAUSE)

    async def _networks(self) -> list[Any]:
        """What the provider looks up of a server's networks, each time anew."""
        ports = await self.call("GET", "network", f"ports?id={self.ids['port']}")
        assert len(ports["ports"]) == 1, "Could not find any matching port"
        network = ports["ports"][0]["network_id"]
        networks = await self.call("GET", "network", f"networks?id={network}&status=ACTIVE")
        assert len(networks["networks"]) == 1, "Could not find any matching network"
        return [ports["ports"][0]["fixed_ips"], networks["networks"][0]["name"]]

    # -- refresh ----------------------------------------------------------------------------------

    async def refresh(self) -> State:
        """What is there now, of everything that the state has."""
        fields: dict[str, tuple[str, ...]] = {
            "network": ("name", "description", "admin_state_up", "shared", "router:external", "tags",
                        "availability_zone_hints", "mtu", "dns_domain", "tenant_id"),
            "subnet": ("name", "network_id", "cidr", "ip_version", "gateway_ip", "enable_dhcp",
                       "allocation_pools", "dns_nameservers", "tags", "tenant_id"),
            "port": ("name", "network_id", "fixed_ips", "mac_address", "security_groups", "device_id",
                     "device_owner", "allowed_address_pairs", "tags", "tenant_id"),
        }  # fmt: skip
        found: State = {}
        for kind, keys in fields.items():
            if kind in self.ids:
                shown = await self.call("GET", "network", f"{kind}s/{self.ids[kind]}")
                found[kind] = {key: shown[kind].get(key) for key in keys}
        if "keypair" in self.ids and (shown := await self.call("GET", "compute", f"os-keypairs/{self.name}")):
            found["keypair"] = {
                key: shown["keypair"][key] for key in ("name", "public_key", "fingerprint", "user_id")
            }
        if "volume" in self.ids:
            shown = await self.call("GET", "block-storage", f"volumes/{self.ids['volume']}")
            keys = ("name", "size", "availability_zone", "volume_type", "metadata", "attachments")
            found["volume"] = {key: shown["volume"][key] for key in keys}
        if "instance" in self.ids:
            found["instance"] = await self._instance()
        if "attachment" in self.ids:
            path = f"servers/{self.ids['instance']}/os-volume_attachments/{self.ids['attachment']}"
            shown = await self.call("GET", "compute", path)
            found["attachment"] = {
                key: shown["volumeAttachment"][key] for key in ("serverId", "volumeId", "device")
            }
        return found

    async def _instance(self) -> dict[str, Any]:
        path = f"servers/{self.ids['instance']}"
        for _ in range(2):
            server = (await self.call("GET", "compute", path))["server"]
        keys = ("name", "metadata", "security_groups", "key_name", "status", "addresses", "flavor", "image",
                "OS-EXT-AZ:availability_zone", "accessIPv4", "created")  # fmt: skip
        found = {key: server[key] for key in keys}
        found["networks"] = await self._networks()
        found["flavor_name"] = (await self.call("GET", "compute", f"flavors/{server['flavor']['id']}"))[
            "flavor"
        ]["name"]
        found["image_name"] = (await self.call("GET", "image", f"images/{server['image']['id']}"))["name"]
        found["tags"] = (await self.call("GET", "compute", f"{path}/tags", **TAGS))["tags"]
        return found

    # -- destroy ----------------------------------------------------------------------------------

    async def destroy(self) -> list[str]:
        """Refresh, and delete in reverse order; what could not be deleted, with the reason."""
        await self.refresh()
        failed = []
        places = {
            "attachment": ("compute", "servers/{instance}/os-volume_attachments/{attachment}"),
            "instance": ("compute", "servers/{instance}"),
            "volume": ("block-storage", "volumes/{volume}"),
            "port": ("network", "ports/{port}"),
            "subnet": ("network", "subnets/{subnet}"),
            "network": ("network", "networks/{network}"),
            "keypair": ("compute", "os-keypairs/{keypair}"),
        }
        for kind, (service, place) in places.items():
            if kind not in self.ids:
                continue
            path = place.format(**self.ids)
            try:
                await self._gone(service, path, looked_at=kind != "keypair")
            except RuntimeError as error:
                failed.append(str(error))
            else:
                if kind == "attachment":
                    self.state.pop(kind)
                    del self.ids[kind]
        self.ids = {"keypair": self.name} if failed else {}
        return failed

    async def _gone(self, service: str, path: str, *, looked_at: bool) -> None:
        if looked_at and await self.call("GET", service, path) is None:
            return
        await self.call("DELETE", service, path)
        async with asyncio.timeout(SECONDS):
            while looked_at and await self.call("GET", service, path) is not None:  # noqa: ASYNC110 - as above
                await asyncio.sleep(PAUSE)
