"""A project's things meet: what names no zone goes where its last thing went."""

import itertools

from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
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


async def test_projects_that_begin_one_after_the_other_can_share_a_network(
    atoll: Atoll, cloud: Cloud
) -> None:
    """A tenant's and its administrator's: what the one request joins has to be at one site."""
    async with (
        client_of(atoll, cloud.keystone.token("admin")) as admin,
        client_of(atoll, cloud.keystone.token()) as user,
    ):
        theirs = await made(user, "networks", "network", name="tenant's")
        shared = await made(admin, "networks", "network", name="shared", shared=True)
        await made(admin, "subnets", "subnet", network_id=shared, cidr="10.1.0.0/24", ip_version=4)
        for network in (theirs, shared):
            await made(user, "ports", "port", network_id=network)
        assert await site_of(admin, theirs) == await site_of(admin, shared)


async def test_the_next_projects_begin_elsewhere_once_a_site_took_more_than_its_share(
    start_atoll: StartAtoll, cloud: Cloud
) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        places = []
        for number in range(120):
            network = await made(admin, "networks", "network", project_id=f"{number:032x}")
            places.append(await site_of(admin, network))
    assert len({*places[:20]}) == 1, "they follow each other"
    shares = {place: places.count(place) for place in places}
    assert sorted(shares) == ["site1", "site2", "site3"]
    assert min(shares.values()) >= 30
    moves = sum(one != other for one, other in itertools.pairwise(places))
    assert moves <= 3, places


async def test_gateways_over_one_store_place_alike(start_atoll: StartAtoll, cloud: Cloud) -> None:
    """Neither has anything in memory of what the other placed: the store tells both."""
    sites = sites_of(cloud)
    one, other = [await start_atoll(cloud.keystone.auth_url, sites, zones=ZONES) for _ in range(2)]
    token = cloud.keystone.token("admin")
    async with client_of(one, token) as here, client_of(other, token) as there:
        first = await made(here, "networks", "network", project_id="1" * 32)
        assert await site_of(here, first) == "site1"
        # The home goes with what is made in a zone, at whichever gateway.
        await made(there, "networks", "network", project_id="1" * 32, availability_zone_hints=["zone3"])
        third = await made(here, "networks", "network", project_id="1" * 32)
        assert await site_of(here, third) == "site3"
        # Another project that begins in a zone elsewhere is followed by the next, at whichever gateway.
        await made(there, "networks", "network", project_id="2" * 32, availability_zone_hints=["zone2"])
        assert await site_of(here, await made(here, "networks", "network", project_id="3" * 32)) == "site2"


async def site_of(admin: Client, ident: str) -> str:
    answer = await admin.get(f"/atoll/v1/locations/{ident}")
    return str(answer.json()["locations"][0]["site"])


async def made(user: Client, path: str, envelope: str, **fields: object) -> str:
    answer = await user.post(f"/network/v2.0/{path}", json={envelope: fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()[envelope]["id"])
