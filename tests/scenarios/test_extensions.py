"""Sites of several releases: what Neutron can do at all of them."""

import asyncio

import pytest
from tests.running import sites_of
from tests.scenarios.conftest import Client, client_of

EXTENSIONS = "/network/v2.0/extensions"


def aliases(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["alias"] for one in answer.json()["extensions"]]


@pytest.fixture
def older(cloud) -> str:
    """An extension that the last site has not got yet; another one is the last site's alone."""
    extensions = cloud.site("site3").network.extras.extensions
    lacks = str(extensions[len(extensions) // 2])
    extensions.remove(lacks)
    extensions.append("port-hardware-offload-type")
    return lacks


async def test_an_extension_that_a_site_lacks_is_not_the_clouds(user: Client, cloud, older):
    before = list(cloud.site("site1").network.extras.extensions)
    assert aliases(await user.get(EXTENSIONS)) == [one for one in before if one != older]
    refused = await user.get(f"{EXTENSIONS}/{older}")
    assert refused.status_code == 404
    assert older in refused.text
    assert (await user.get(f"{EXTENSIONS}/port-hardware-offload-type")).status_code == 404
    assert (await user.get(f"{EXTENSIONS}/{before[0]}")).json()["extension"]["alias"] == before[0]


async def test_sites_that_are_alike_answer_as_one(user: Client, cloud):
    answer = await user.get(EXTENSIONS)
    assert aliases(answer) == cloud.site("site1").network.extras.extensions


async def test_a_site_that_is_away_is_named(user: Client, cloud, older):
    cloud.site("site3").refuse()
    answer = await user.get(EXTENSIONS)
    assert older in aliases(answer)
    assert "site3" in answer.headers["x-atoll-missing-sites"]


def questions(cloud) -> dict[str, int]:
    """How often each site was asked for its extensions."""
    return {
        site.name: sum(EXTENSIONS in one.target for one in site.listener.seen if one.header("x-auth-token"))
        for site in cloud.sites
    }


async def test_each_site_is_asked_once_in_a_while_whoever_asks(atoll, user: Client, cloud, older):
    answers = [await user.get(EXTENSIONS)]
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        answers += [await other.get(EXTENSIONS), await user.get(EXTENSIONS)]
    assert questions(cloud) == dict.fromkeys(("site1", "site2", "site3"), 1)
    assert len({one.text for one in answers}) == 1
    assert {one.headers["content-type"] for one in answers} == {answers[0].headers["content-type"]}
    assert len({one.headers["x-openstack-request-id"] for one in answers}) == 3, "each has an id of its own"
    for _ in range(2):
        assert (await user.get(f"{EXTENSIONS}/{older}")).status_code == 404
    assert questions(cloud) == dict.fromkeys(("site1", "site2", "site3"), 2)


async def test_a_site_that_was_away_is_asked_again_and_the_others_are_not(user: Client, cloud, older):
    cloud.site("site3").refuse()
    assert "site3" in (await user.get(EXTENSIONS)).headers["x-atoll-missing-sites"]
    await cloud.site("site3").start()
    for _ in range(600):
        answer = await user.get(EXTENSIONS)
        if "x-atoll-missing-sites" not in answer.headers:
            break
        await asyncio.sleep(0.05)
    assert older not in aliases(answer)
    assert questions(cloud)["site1"] == 1


async def test_a_site_that_joins_or_moves_counts_at_once(start_atoll, cloud, older):
    atoll = await start_atoll(
        cloud.keystone.auth_url, sites_of(cloud, "site1"), limits={"private_addresses": True}
    )
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        assert older in aliases(await admin.get(EXTENSIONS))
        there = {name: {"network": cloud.site(name).endpoints["network"]} for name in ("site2", "site3")}
        body = {"name": "new", "region": "r", "endpoints": there["site3"]}
        assert (await admin.post("/atoll/v1/sites", json=body)).status_code == 201
        assert older not in aliases(await admin.get(EXTENSIONS))
        moved = await admin.patch("/atoll/v1/sites/new", json={"endpoints": there["site2"]})
        assert moved.status_code == 200, moved.text
        assert older in aliases(await admin.get(EXTENSIONS))


async def test_with_a_bad_token_nothing_that_is_remembered_is_told(atoll, user: Client):
    await user.get(EXTENSIONS)
    async with client_of(atoll, "nobodys") as nobody:
        assert (await nobody.get(EXTENSIONS)).status_code == 401
