"""What operators and users declare to be one thing, and `/atoll/v1/same`."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from click.testing import CliRunner, Result
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, Client, client_of
from tests.scenarios.test_same import FLAVORS, IMAGES, NETWORKS, ZONES, named, own_id

from atoll.cli.main import main
from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.apart import Apart

SAME = "/atoll/v1/same"


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    """Three sites that grew apart behind one Keystone."""
    async with Apart(shared=True) as running:
        yield running


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway before them, with a zone for each."""
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), zones=ZONES)
    await running.settled()
    return running


@pytest.fixture
async def private(user: Client, cloud: Cloud) -> dict[str, str]:
    """The networks called `private` by site, as the sites themselves know them."""
    found = {}
    for site in cloud.sites:
        headers, wanted = {"X-Auth-Token": user.token}, {"name": "private"}
        answer = await user.get(f"{site.url}{NETWORKS}", headers=headers, params=wanted)
        (network,) = answer.json()["networks"]
        found[site.name] = network["id"]
    return found


async def declared(client: Client, ids: dict[str, str], **more: object) -> str:
    """Networks declared to be one; the id of the one."""
    answer = await client.post(SAME, json={"resource": "network", "name": "private", "ids": ids, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["same"]["id"])


async def test_a_user_declares_networks_for_the_project(
    user: Client, cloud: Cloud, private: dict[str, str], atoll: Atoll
) -> None:
    assert len(private) == 3
    network = await declared(user, private)
    assert await named(user, NETWORKS, name="private") == {"private": [network]}
    flavor, image = (await named(user, FLAVORS))["m1.nano"][0], (await named(user, IMAGES))["cirros"][0]
    for zone in ZONES:
        body = {
            "name": "vm", "flavorRef": flavor, "imageRef": image, "networks": [{"uuid": network}],
            "availability_zone": zone,
        }  # fmt: skip
        answer = await user.post(SERVERS, json={"server": body})
        assert answer.status_code == 202, answer.text
    assert [len(site.compute.instances) for site in cloud.sites] == [1, 1, 1]
    ports = (await user.get("/network/v2.0/ports", params={"network_id": network})).json()["ports"]
    assert {one["network_id"] for one in ports} == {network}
    assert len(ports) >= 3
    # It is nobody else's: others see each network as it is.
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        assert (await other.get(SAME)).json()["same"] == [
            one for one in (await user.get(SAME)).json()["same"] if one["resource"] != "network"
        ]
        gone = await other.delete(f"{SAME}/network/{network}")
        assert gone.status_code == 404
    assert (await user.delete(f"{SAME}/network/{network}")).status_code in {200, 204}
    assert len((await named(user, NETWORKS, name="private"))["private"]) == 3


async def test_networks_of_one_name_that_nobody_declared_are_named_with_the_way_out(
    user: Client, private: dict[str, str]
) -> None:
    """As the stock client asks: first for a thing under that id, which is a name."""
    answer = await user.get(f"{NETWORKS}/private")
    assert answer.status_code == 409
    message = answer.json()["NeutronError"]["message"]
    assert all(f"{ident} at {site}" in message for site, ident in private.items())
    assert "atoll same add network paris=" in message
    flavor, image = (await named(user, FLAVORS))["m1.nano"][0], (await named(user, IMAGES))["cirros"][0]
    body = {"name": "vm", "flavorRef": flavor, "imageRef": image, "networks": [{"uuid": private["paris"]}]}
    refused = await user.post(SERVERS, json={"server": {**body, "availability_zone": "tokyo"}})
    assert refused.status_code == 409
    assert private["tokyo"] in refused.text
    assert "atoll same add network" in refused.text
    await declared(user, private)
    assert (await user.get(f"{NETWORKS}/private")).status_code == 404


async def test_what_was_found_is_put_apart_and_together_again(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    flavor = (await named(user, FLAVORS))["m1.nano"][0]
    ids = {site.name: own_id(cloud, site.name, "m1.nano") for site in cloud.sites}
    assert (await user.delete(f"{SAME}/flavor/{flavor}")).status_code == 403
    assert (await admin.delete(f"{SAME}/flavor/{flavor}")).status_code in {200, 204}
    assert set((await named(user, FLAVORS))["m1.nano"]) == set(ids.values())
    shown = (await user.get(f"{SAME}/flavor/{flavor}")).json()["same"]
    assert shown["removed"]
    assert "put apart" in shown["reason"]
    again = await admin.post(SAME, json={"resource": "flavor", "ids": ids})
    assert again.status_code == 201, again.text
    assert (await named(user, FLAVORS))["m1.nano"] == [flavor]


async def test_the_check_says_what_only_looks_alike(user: Client) -> None:
    checked = (await user.get(f"{SAME}/check")).json()
    reasons = " ".join(one["reason"] for one in checked["near_misses"])
    assert "m1.small" in reasons
    assert "2048 MB ram" in reasons
    assert "tokyo" in reasons
    assert "4096 MB ram" in reasons
    assert any(one["resource"] == "image" and one["name"] == "cirros-alt" for one in checked["near_misses"])
    assert checked["not_compared"] == {}
    listed = (await user.get(SAME, params={"resource": "image"})).json()["same"]
    assert {one["reason"] for one in listed} == {"found: same name and hash, public, same owner"}


async def test_a_site_that_does_not_answer_is_said_not_to_be_compared(user: Client, cloud: Cloud) -> None:
    await named(user, FLAVORS)
    cloud.site("oslo").refuse()
    checked = (await user.get(f"{SAME}/check")).json()
    assert checked["not_compared"] == {"oslo": ["flavor", "group_type", "image", "volume_type"]}
    await cloud.site("oslo").start()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"ids": {"paris": "x", "rome": "y"}}, "no site rome"),
        ({"ids": {"paris": "x", "tokyo": "y"}}, "no network x at paris"),
        ({"ids": {"paris": "x"}}, "ids"),
        ({"ids": {"paris": "x", "tokyo": "y"}, "id": "z"}, "none of those"),
        ({"ids": {"paris": "x", "tokyo": "y"}, "colour": "red"}, "colour"),
        ({"resource": "server", "ids": {"paris": "x", "tokyo": "y"}}, "server"),
    ],
)
async def test_bad_declarations_are_refused(user: Client, body: dict[str, object], said: str) -> None:
    answer = await user.post(SAME, json={"resource": "network", **body})
    assert answer.status_code == 400
    assert said in answer.text


async def test_what_is_one_already_is_not_declared_again(user: Client, private: dict[str, str]) -> None:
    network = await declared(user, private)
    two = {name: private[name] for name in ("paris", "tokyo")}
    answer = await user.post(SAME, json={"resource": "network", "ids": two})
    assert answer.status_code == 409
    assert network in answer.text


async def test_what_the_configuration_declares_stays(
    start_atoll: StartAtoll, cloud: Cloud, private: dict[str, str]
) -> None:
    group = {"resource": "network", "name": "private", "ids": private}
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), equivalents=[group])
    async with client_of(running, cloud.keystone.token("admin")) as client:
        assert (await client.get(f"{NETWORKS}/{private['paris']}")).status_code == 200
        refused = await client.delete(f"{SAME}/network/{private['paris']}")
        assert refused.status_code == 409
        assert "configuration" in refused.text


async def test_the_commands_say_and_do_it(
    admin: Client, atoll: Atoll, private: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATOLL_URL", atoll.url)
    monkeypatch.setenv("OS_TOKEN", admin.token)
    monkeypatch.delenv("OS_CLOUD", raising=False)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, ["same", *arguments])

    checked = await run("check")
    assert checked.exit_code == 1
    assert "paris, oslo has 2048 MB ram, tokyo 4096 MB ram" in checked.output
    pairs = [f"{site}={ident}" for site, ident in private.items()]
    added = await run("add", "network", *pairs, "--name", "private")
    assert added.exit_code == 0, added.output
    network = private["paris"]
    assert "declared by the user" in (await run("list", "--type", "network")).output
    assert (await run("show", "network", network)).exit_code == 0
    assert (await run("remove", "network", network)).exit_code == 0
    gone = await run("show", "network", network)
    assert gone.exit_code == 1
    assert "known to be one" in gone.output
    assert (await run("add", "network", "paris")).exit_code == 2
