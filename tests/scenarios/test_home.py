"""A project's things meet: what names no zone goes where its last thing went."""

from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import ZONES, Client, client_of

from atoll.sandbox.simulated import Cloud


async def test_a_router_without_a_zone_meets_the_network_made_in_one(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    """The script of every tutorial, with a zone at its first step only."""
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    async with client_of(atoll, cloud.keystone.token()) as user:
        for number in (2, 3, 1):
            network = await made(user, "networks", "network", availability_zone_hints=[f"zone{number}"])
            subnet = await made(
                user, "subnets", "subnet", network_id=network, cidr="10.1.0.0/24", ip_version=4
            )
            router = await made(user, "routers", "router", name="r")
            joined = await user.put(
                f"/network/v2.0/routers/{router}/add_router_interface", json={"subnet_id": subnet}
            )
            assert joined.status_code == 200, joined.text


async def made(user: Client, path: str, envelope: str, **fields: object) -> str:
    answer = await user.post(f"/network/v2.0/{path}", json={envelope: fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()[envelope]["id"])
