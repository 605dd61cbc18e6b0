"""A server to whose site something it needs is brought first: BUILD at once, and one id from then on."""

import asyncio
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.running import until as eventually
from tests.scenarios.conftest import SERVERS, Client, client_of
from tests.scenarios.probes import RUNS, comes_to
from tests.scenarios.terraform import KEY
from tests.scenarios.test_image_copies import at, uploaded
from tests.scenarios.test_several_services import network_at

from atoll.sandbox.simulated import Cloud, Fault
from atoll.sites import health
from atoll.store import StoreError
from atoll.store.aliases import Aliases


@pytest.fixture
async def atoll(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Atoll:
    """A gateway with a user of its own at the clients' Keystone, and a zone for each site."""
    monkeypatch.setattr(health, "INTERVAL", 0.3)
    zones = {site.name: {"site": site.name, "zone": "nova"} for site in cloud.sites}
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), runs=own_user, zones=zones)
    await running.settled()
    return running


async def create(user: Client, image: str, **fields: Any) -> httpx.Response:
    """Ask for a server."""
    server = {"name": "vm", "flavorRef": "42", "imageRef": image, "networks": "none", **fields}
    return await user.post(
        SERVERS, json={"server": server}, headers={"OpenStack-API-Version": "compute 2.90"}
    )


async def shown(user: Client, server: str) -> dict[str, Any]:
    """A server."""
    answer = await user.get(f"{SERVERS}/{server}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["server"])


async def until(user: Client, server: str, *states: str) -> dict[str, Any]:
    """A server once it is in one of some states."""
    async with asyncio.timeout(30):
        while (found := await shown(user, server))["status"] not in states:  # noqa: ASYNC110 - it is elsewhere
            await asyncio.sleep(0.02)
    return found


async def run_of(user: Client) -> dict[str, Any]:
    """The only run there is."""
    (run,) = (await user.get(f"{RUNS}?definition=server.create")).json()["runs"]
    return dict(run)


async def test_its_image_is_brought_and_the_id_stays(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    network = await network_at(user, "site2")
    answer = await create(user, image, networks=[{"uuid": network}], metadata={"mine": "1"})
    assert answer.status_code == 202, answer.text
    accepted = answer.json()["server"]
    assert answer.headers["Location"] == accepted["links"][0]["href"]
    server = await until(user, accepted["id"], "ACTIVE", "ERROR")
    assert (server["id"], server["status"]) == (accepted["id"], "ACTIVE")
    assert server["metadata"] == {"mine": "1", "atoll_id": accepted["id"]}
    assert server["image"]["id"] == image
    assert at(cloud, "site2", image)["status"] == "active"
    assert at(cloud, "site3", image) is None
    run = await comes_to(user, (await run_of(user))["id"], "done")
    at_site = run["steps"][-1]["result"]["at_site"]
    assert at_site != accepted["id"]
    assert cloud.site("site2").compute.instances.get(at_site) is not None
    listed = (await user.get(SERVERS)).json()["servers"]
    assert [one["id"] for one in listed] == [accepted["id"]]
    assert (await user.delete(f"{SERVERS}/{accepted['id']}")).status_code == 204
    assert (await user.get(f"{SERVERS}/{accepted['id']}")).status_code == 404


async def test_it_is_shown_as_build_while_the_image_comes(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    cloud.site("site2").faults.add(Fault("latency", service="image", method="PUT"))
    answer = await create(user, image, availability_zone="site2")
    server = await shown(user, answer.json()["server"]["id"])
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("BUILD", "scheduling")
    assert (server["name"], server["image"]["id"]) == ("vm", image)
    assert [one["status"] for one in (await user.get(f"{SERVERS}/detail")).json()["servers"]] == ["BUILD"]
    cloud.site("site2").faults.clear()
    assert (await until(user, server["id"], "ACTIVE", "ERROR"))["status"] == "ACTIVE"


async def test_where_it_fails_the_server_says_why(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    cloud.site("site2").faults.add(Fault("status", service="image", method="PUT", status=413))
    ident = (await create(user, image, availability_zone="site2")).json()["server"]["id"]
    server = await until(user, ident, "ACTIVE", "ERROR")
    assert server["status"] == "ERROR"
    assert "413" in server["fault"]["message"]
    run = await run_of(user)
    assert run["state"] == "undone"
    assert run["id"] in server["fault"]["message"]
    assert at(cloud, "site2", image) is None
    assert (await user.delete(f"{SERVERS}/{ident}")).status_code == 204
    assert (await user.get(f"{SERVERS}/{ident}")).status_code == 404


async def test_a_refusal_of_the_site_is_the_fault(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    answer = await create(user, image, availability_zone="site2", flavorRef="no-such-flavor")
    if answer.status_code == 202:
        server = await until(user, answer.json()["server"]["id"], "ACTIVE", "ERROR")
        assert "flavor" in server["fault"]["message"].lower()
        await comes_to(user, (await run_of(user))["id"], "undone")
        assert at(cloud, "site2", image) is None


async def test_deleted_while_it_is_made_it_is_undone(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    faults = cloud.site("site2").faults
    faults.add(Fault("latency", service="image", method="PUT"))
    ident = (await create(user, image, availability_zone="site2")).json()["server"]["id"]
    await eventually(lambda: faults.hits)
    assert (await user.delete(f"{SERVERS}/{ident}")).status_code == 204
    assert (await user.get(f"{SERVERS}/{ident}")).status_code == 404
    faults.clear()
    run = await comes_to(user, (await run_of(user))["id"], "undone", "done", "dirty")
    assert run["state"] == "undone"
    assert len(cloud.site("site2").compute.instances) == 0
    assert (await user.get(SERVERS)).json()["servers"] == []


async def test_a_flavor_and_a_key_come_too(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    image = await uploaded(user)
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        flavor = {"id": "big", "name": "m1.big", "ram": 64, "vcpus": 1, "disk": 1}
        answer = await admin.post("/compute/v2.1/flavors", json={"flavor": flavor})
        assert answer.status_code == 200, answer.text
    answer = await user.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "k", "public_key": KEY}})
    assert answer.status_code < 300, answer.text
    there = cloud.site("site2").compute
    del there.flavors["big"]
    for key in [one for one in there.keypairs if one[1] == "k"]:
        del there.keypairs[key]
    ident = (await create(user, image, availability_zone="site2", flavorRef="big", key_name="k")).json()[
        "server"
    ]["id"]
    server = await until(user, ident, "ACTIVE", "ERROR")
    assert (server["status"], server["key_name"]) == ("ACTIVE", "k"), server
    assert "big" in there.flavors
    run = await comes_to(user, (await run_of(user))["id"], "done")
    assert {one["action"] for one in run["steps"]} >= {"image.copy@1", "flavor.make@1", "server.keypair@1"}


@pytest.mark.parametrize(
    "fields",
    [{"min_count": 2}, {"return_reservation_id": True}],
)
async def test_what_is_not_one_plain_server_is_refused_as_before(
    user: Client, fields: dict[str, Any]
) -> None:
    image = await uploaded(user)
    answer = await create(user, image, availability_zone="site2", **fields)
    assert answer.status_code == 409, answer.text
    assert "image.copy" in answer.json()["conflictingRequest"]["message"]
    assert (await user.get(RUNS)).json()["runs"] == []


async def test_an_image_may_be_kept_where_it_is(user: Client) -> None:
    image = await uploaded(user, atoll_copies="never")
    assert (await create(user, image, availability_zone="site2")).status_code == 409


async def test_data_is_not_brought(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    body = {"volume": {"name": "v", "size": 1, "availability_zone": "site3"}}
    volume = (await user.post("/block-storage/v3/volumes", json=body)).json()["volume"]["id"]
    device = {"uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 1}
    answer = await create(user, image, availability_zone="site2", block_device_mapping_v2=[device])
    assert answer.status_code == 409
    assert at(cloud, "site2", image) is None


async def test_a_token_that_may_not_delegate_gets_the_refusal_of_before(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    image = await uploaded(user)
    given = {"name": "a", "roles": [{"name": "member"}], "secret": "s"}
    me = cloud.keystone.store.id_of("user", "demo")
    path = f"/identity/v3/users/{me}/application_credentials"
    made = (await user.post(path, json={"application_credential": given})).json()["application_credential"]
    credential = {"id": made["id"], "secret": "s"}
    identity = {"methods": ["application_credential"], "application_credential": credential}
    answer = await user.post("/identity/v3/auth/tokens", json={"auth": {"identity": identity}})
    async with client_of(atoll, answer.headers["X-Subject-Token"]) as restricted:
        assert (await create(restricted, image, availability_zone="site2")).status_code == 409
    assert (await user.get(RUNS)).json()["runs"] == []


async def test_a_flavor_that_the_user_does_not_see_is_not_brought(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        flavor = {"id": "theirs", "name": "theirs", "ram": 64, "vcpus": 1, "disk": 1}
        flavor["os-flavor-access:is_public"] = False
        answer = await admin.post("/compute/v2.1/flavors", json={"flavor": flavor})
        assert answer.status_code == 200, answer.text
    there = cloud.site("site2").compute
    del there.flavors["theirs"]
    image = cloud.sites[0].image_id("cirros")
    answer = await create(user, image, availability_zone="site2", flavorRef="theirs")
    assert 400 <= answer.status_code < 500
    assert "theirs" not in there.flavors
    assert (await user.get(RUNS)).json()["runs"] == []


async def test_once_accepted_it_is_answered_also_where_the_store_goes_away(
    user: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's first step shows the server, when the store is back."""
    image = await uploaded(user)
    accept, calls = Aliases.accept, []

    async def fails_once(*given: Any, **more: Any) -> None:
        calls.append(given)
        if len(calls) < 3:
            raise StoreError("away")
        await accept(*given, **more)

    monkeypatch.setattr(Aliases, "accept", fails_once)
    answer = await create(user, image, availability_zone="site2")
    assert answer.status_code == 202, answer.text
    run = await comes_to(user, (await run_of(user))["id"], "done")
    assert len(calls) > 2
    server = await shown(user, answer.json()["server"]["id"])
    assert (server["status"], run["steps"][0]["state"]) == ("ACTIVE", "done")


async def test_nobody_starts_it_by_name(user: Client) -> None:
    answer = await user.post(RUNS, json={"definition": "server.create", "input": {}})
    assert answer.status_code == 403
    assert "POST /servers" in answer.text


@pytest.mark.parametrize("placement", [{"image_sites": "one"}, {"bring": []}])
async def test_the_operator_may_want_none_of_it(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str], placement: dict[str, Any]
) -> None:
    zones = {site.name: {"site": site.name, "zone": "nova"} for site in cloud.sites}
    atoll = await start_atoll(
        cloud.keystone.auth_url, sites_of(cloud), runs=own_user, zones=zones, placement=placement
    )
    async with client_of(atoll, cloud.keystone.token()) as user:
        image = await uploaded(user)
        assert (await create(user, image, availability_zone="site2")).status_code == 409
