"""What would join networks of two sites is refused in Neutron's words, and nothing is made anywhere."""

from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import ZONES, Client, client_of, writes

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.network_kinds import KINDS

NETWORK = "/network/v2.0"


class Things:
    """A network with a subnet, a port, a router, a group of demo's at each of the first two sites."""

    def __init__(self, cloud: Cloud) -> None:
        self.here, self.there = (self._at(cloud, number) for number in (0, 1))

    @staticmethod
    def _at(cloud: Cloud, number: int) -> dict[str, Any]:
        records, who = cloud.sites[number].network.records, cloud.keystone.project_id("demo")
        token = cloud.keystone.store.issue(
            cloud.keystone.store.id_of("user", "demo"), who, ["password"], frozenset({"member", "reader"})
        )
        external = next(one for one in records.of("networks").values() if one["router:external"])

        def make(kind: str, **given: Any) -> str:
            return str(records.create(token, KINDS[kind], given)["id"])

        network = make("networks", name="n")
        subnet = make("subnets", network_id=network, cidr="10.99.0.0/24", ip_version=4)
        return {
            "external": external["id"],
            "network": network,
            "subnet": subnet,
            "port": make("ports", network_id=network),
            "router": make("routers", name="r"),
            "security group": make("security-groups", name="web"),
            "floating ip": make("floatingips", floating_network_id=external["id"]),
        }


@pytest.fixture
def things(cloud: Cloud) -> Things:
    """What there is at both sites."""
    made = Things(cloud)
    for site in cloud.sites:
        site.listener.seen.clear()
    return made


def refused(answer: httpx.Response, cloud: Cloud, *named: str) -> str:
    """The message of a refusal that names all this, after which nothing was changed at any site."""
    assert answer.status_code == 409, answer.text
    error = answer.json()["NeutronError"]
    assert set(error) == {"type", "message", "detail"}
    for one in (*named, "site1", "site2"):
        assert one in error["message"], error["message"]
    assert writes(cloud) == []
    return str(error["message"])


@pytest.mark.parametrize("named", ["subnet", "port"])
async def test_an_interface_of_a_router(user: Client, cloud: Cloud, things: Things, named: str) -> None:
    router, other = things.here["router"], things.there[named]
    path = f"{NETWORK}/routers/{router}/add_router_interface"
    refused(await user.put(path, json={f"{named}_id": other}), cloud, router, other)


async def test_the_gateway_of_a_router(user: Client, cloud: Cloud, things: Things) -> None:
    gateway = {"external_gateway_info": {"network_id": things.there["external"]}}
    path = f"{NETWORK}/routers/{things.here['router']}"
    answer = await user.put(path, json={"router": gateway})
    refused(answer, cloud, things.here["router"], things.there["external"])


async def test_a_floating_ip(user: Client, cloud: Cloud, things: Things) -> None:
    floating, port = things.here["floating ip"], things.there["port"]
    body = {"floatingip": {"port_id": port}}
    refused(await user.put(f"{NETWORK}/floatingips/{floating}", json=body), cloud, floating, port)
    made = {"floatingip": {"floating_network_id": things.here["external"], "port_id": port}}
    answer = await user.post(f"{NETWORK}/floatingips", json=made)
    refused(answer, cloud, things.here["external"], port)


async def test_a_port(user: Client, cloud: Cloud, things: Things) -> None:
    group, port, network = things.there["security group"], things.here["port"], things.here["network"]
    body = {"port": {"security_groups": [group]}}
    refused(await user.put(f"{NETWORK}/ports/{port}", json=body), cloud, group, port)
    made = {"port": {"network_id": network, "security_groups": [group]}}
    refused(await user.post(f"{NETWORK}/ports", json=made), cloud, group, network)
    fixed = {"port": {"network_id": network, "fixed_ips": [{"subnet_id": things.there["subnet"]}]}}
    refused(await user.post(f"{NETWORK}/ports", json=fixed), cloud, things.there["subnet"], network)


async def test_a_rule(user: Client, cloud: Cloud, things: Things) -> None:
    group, remote = things.here["security group"], things.there["security group"]
    rule = {"security_group_id": group, "direction": "ingress", "remote_group_id": remote}
    answer = await user.post(f"{NETWORK}/security-group-rules", json={"security_group_rule": rule})
    refused(answer, cloud, group, remote)


@pytest.mark.parametrize("kind", ["port", "subnet"])
async def test_many_at_once(user: Client, cloud: Cloud, things: Things, kind: str) -> None:
    here, there = things.here["network"], things.there["network"]
    more = {"ip_version": 4, "cidr": "10.98.0.0/24"} if kind == "subnet" else {}
    many = [{"network_id": one, **more} for one in (here, there)]
    refused(await user.post(f"{NETWORK}/{kind}s", json={f"{kind}s": many}), cloud, here, there)


async def test_zones_of_two_sites(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await atoll.settled()
    for site in cloud.sites:
        site.listener.seen.clear()
    async with client_of(atoll, cloud.keystone.token()) as user:
        many = [{"name": zone, "availability_zone_hints": [zone]} for zone in ("zone1", "zone2")]
        answer = await user.post(f"{NETWORK}/networks", json={"networks": many})
        refused(answer, cloud, "zone1", "zone2")
        one = {"name": "n", "availability_zone_hints": ["zone1", "zone2"]}
        refused(await user.post(f"{NETWORK}/networks", json={"network": one}), cloud, "zone1", "zone2")
        refused(await user.post(f"{NETWORK}/routers", json={"router": one}), cloud, "zone1", "zone2")
        same = [{"name": f"many-{number}", "availability_zone_hints": ["zone3"]} for number in (1, 2)]
        answer = await user.post(f"{NETWORK}/networks", json={"networks": same})
        assert answer.status_code == 201, answer.text
        made = {one["id"] for one in answer.json()["networks"]}
        assert made <= set(cloud.site("site3").network.records.of("networks"))
        assert [one["availability_zone_hints"] for one in answer.json()["networks"]] == [["zone3"]] * 2
