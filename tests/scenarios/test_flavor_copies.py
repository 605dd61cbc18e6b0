"""The run flavor.copy: a flavor that one site has, brought to the others."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import Client, client_of
from tests.scenarios.probes import RUNS, comes_to, refused

from atoll.sandbox.simulated import Cloud, Fault

PRIVATE = {
    "name": "m1.big", "ram": 4096, "vcpus": 3, "disk": 40, "OS-FLV-EXT-DATA:ephemeral": 5, "swap": 512,
    "os-flavor-access:is_public": False, "description": "for big things",
}  # fmt: skip


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str]) -> Atoll:
    """A gateway with a user of its own at the clients' Keystone."""
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), runs=own_user)
    await running.settled()
    return running


@pytest.fixture
async def admin(atoll: Atoll, cloud: Cloud) -> AsyncIterator[Client]:
    """An administrator."""
    async with client_of(atoll, cloud.keystone.token("admin", "demo")) as client:
        yield client


def made(cloud: Cloud, site: str, **changes: Any) -> None:
    """A flavor made at one site beside Atoll."""
    flavors = cloud.site(site).compute.flavors
    more = {"id": "big", "seq": 99, "extra_specs": {"hw:cpu_policy": "dedicated"}, "access": ["p1", "p2"]}
    flavors["big"] = {**next(iter(flavors.values())), **PRIVATE, **more, **changes}


def at(cloud: Cloud, site: str) -> Any:
    """The flavor at a site."""
    return cloud.site(site).compute.flavors.get("big")


async def copied(admin: Client, *sites: str, **more: Any) -> Any:
    given = {"flavor": "big", **({"sites": list(sites)} if sites else {}), **more}
    answer = await admin.post(RUNS, json={"definition": "flavor.copy", "input": given})
    assert answer.status_code == 202, answer.text
    return answer.json()["run"]


async def test_a_flavor_comes_to_all_sites_as_it_is(admin: Client, cloud: Cloud) -> None:
    made(cloud, "site2")
    await comes_to(admin, (await copied(admin))["id"], "done")
    original = at(cloud, "site2")
    for name in ("site1", "site3"):
        copy = at(cloud, name)
        assert {key: copy[key] for key in original if key != "seq"} == {
            key: original[key] for key in original if key != "seq"
        }


async def test_a_site_that_refuses_undoes_the_others(admin: Client, cloud: Cloud) -> None:
    made(cloud, "site1")
    path = "os-extra_specs"
    cloud.site("site3").faults.add(Fault("status", service="compute", method="POST", path=path, status=400))
    run = await comes_to(admin, (await copied(admin))["id"], "undone")
    assert "site3 answers 400" in run["reason"]
    assert (at(cloud, "site2"), at(cloud, "site3")) == (None, None)


async def test_another_flavor_of_that_id_is_neither_changed_nor_deleted(admin: Client, cloud: Cloud) -> None:
    made(cloud, "site1")
    made(cloud, "site2", ram=2048)
    run = await comes_to(admin, (await copied(admin))["id"], "undone")
    assert "site2 has another flavor big: ram 2048 instead of 4096" in run["reason"]
    assert at(cloud, "site2")["ram"] == 2048
    assert at(cloud, "site3") is None


async def test_what_is_there_alike_stays_when_the_rest_is_undone(admin: Client, cloud: Cloud) -> None:
    made(cloud, "site1")
    made(cloud, "site2")
    cloud.site("site3").faults.add(Fault("status", service="compute", method="POST", status=409))
    await comes_to(admin, (await copied(admin))["id"], "undone")
    assert at(cloud, "site2")["ram"] == 4096


async def test_a_lost_answer_makes_nothing_twice(admin: Client, cloud: Cloud) -> None:
    made(cloud, "site1")
    cloud.site("site2").faults.add(
        Fault("die_after_commit", service="compute", method="POST", path="flavors$", count=1)
    )
    run = await comes_to(admin, (await copied(admin, "site2"))["id"], "done")
    assert run["steps"][0]["result"] == {"made": True}
    assert at(cloud, "site2")["description"] == "for big things"


async def test_bad_input(admin: Client, atoll: Atoll, cloud: Cloud) -> None:
    made(cloud, "site1")
    for given, status, word in (
        ({"flavor": "none"}, 404, "no flavor none"),
        ({"flavor": "big", "sites": ["nowhere"]}, 400, "no site nowhere"),
        ({"flavor": "big", "sites": ["site1"]}, 400, "at site1 already"),
        ({"flavor": "big", "source": "site2"}, 404, "at site2"),
        ({"flavor": "a/b"}, 400, "flavor"),
    ):
        refused(await admin.post(RUNS, json={"definition": "flavor.copy", "input": given}), status, word)
    async with client_of(atoll, cloud.keystone.token()) as user:
        body = {"definition": "flavor.copy", "input": {"flavor": "big"}}
        refused(await user.post(RUNS, json=body), 403, "administrators")
