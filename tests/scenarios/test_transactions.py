"""Transactions: creates and deletes over services and sites, all of them or none."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.identities import directory_in
from tests.running import Atoll, sites_of
from tests.scenarios.apart import apart
from tests.scenarios.conftest import SERVERS, Client, client_of, server_body
from tests.scenarios.probes import RUNS, act, comes_to, refused
from tests.scenarios.terraform import KEY

from atoll.gateway import delegation, transaction
from atoll.sandbox.simulated import Cloud, Fault
from atoll.sites import health

TRANSACTIONS = "/atoll/v1/transactions"
VOLUMES = "/block-storage/v3/volumes"
NETWORKS = "/network/v2.0/networks"


@pytest.fixture
async def atoll(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Atoll:
    """A gateway with a user of its own at the clients' Keystone."""
    monkeypatch.setattr(health, "INTERVAL", 0.3)
    monkeypatch.setattr(transaction, "POLL_SECONDS", (0.02, 0.02))
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), runs=own_user)
    await running.settled()
    return running


def volume(name: str, site: str, **fields: Any) -> dict[str, Any]:
    """A volume that is to be created at a site."""
    return {
        "name": name, "create": "volume",
        "body": {"name": name, "size": 1, "availability_zone": site, **fields},
    }  # fmt: skip


def server(cloud: Cloud, name: str, site: str, **fields: Any) -> dict[str, Any]:
    """A server that is to be created at a site."""
    body = server_body(cloud, name, availability_zone=site, networks="none", **fields)["server"]
    return {"name": name, "create": "server", "body": body}


def link(name: str) -> dict[str, str]:
    """What another step gave."""
    return {"$from": name}


async def accepted(user: Client, **given: Any) -> dict[str, Any]:
    """A transaction that was accepted."""
    answer = await user.post(TRANSACTIONS, json=given)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"{RUNS}/{answer.json()['run']['id']}"
    run: dict[str, Any] = answer.json()["run"]
    return run


async def everything(user: Client) -> dict[str, list[str]]:
    """The names, or ids, of all that the project has."""
    found = {}
    for path, many in (
        (SERVERS, "servers"),
        (VOLUMES, "volumes"),
        (NETWORKS, "networks"),
        ("/network/v2.0/ports", "ports"),
        ("/network/v2.0/security-groups", "security_groups"),
    ):
        answer = await user.get(path)
        assert answer.status_code == 200, answer.text
        found[many] = sorted(one["id"] for one in answer.json()[many])
    answer = await user.get("/compute/v2.1/os-keypairs")
    return {**found, "keypairs": [one["keypair"]["name"] for one in answer.json()["keypairs"]]}


def trusts(cloud: Cloud) -> int:
    """How many trusts there are."""
    return len(cloud.keystone.trusts.records)


async def test_many_that_one_user_asks_for_in_the_same_second(user: Client, cloud: Cloud) -> None:
    """Keystone refuses a trust that ends in the second in which another of the same two does."""
    created = [[volume(f"v{number}", "site2")] for number in range(20)]
    runs = await asyncio.gather(*(accepted(user, create=one) for one in created))
    for run in runs:
        done = await comes_to(user, run["id"], "done", "undone", "dirty", "parked")
        assert done["state"] == "done", done
    assert trusts(cloud) == 0


async def test_trusts_that_were_to_end_in_the_same_second(
    user: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another second is taken; where there is none, that is no refusal of the user's token."""
    seconds = itertools.chain([5, 5, 6, 5, 6, 7], itertools.repeat(5))
    monkeypatch.setattr(delegation, "an_end", lambda: f"2099-01-01T00:00:0{next(seconds)}.000000Z")
    for number in range(3):
        await accepted(user, create=[volume(f"v{number}", "site2")])
    answer = await user.post(TRANSACTIONS, json={"create": [volume("v4", "site2")]})
    assert answer.status_code == 503
    assert "409" in answer.text


async def test_things_of_several_services_and_sites_are_created_together(user: Client, cloud: Cloud) -> None:
    run = await accepted(
        user,
        create=[
            {"name": "net", "create": "network", "body": {"name": "n", "availability_zone_hints": ["site2"]}},
            {
                "name": "sub",
                "create": "subnet",
                "body": {
                    "network_id": link("net.id"), "cidr": "10.9.0.0/24", "ip_version": 4,
                    "description": "mine",
                },
            },
            {"name": "port", "create": "port", "body": {"network_id": link("net.id")}, "after": ["sub"]},
            volume("data", "site2", metadata={"kept": "yes"}),
            volume("far", "site3"),
            server(cloud, "vm", "site2") | {"after": ["data"]},
            {
                "name": "joined",
                "create": "volume_attachment",
                "body": {"server_id": link("vm.id"), "volume_id": link("data.id")},
            },
            {"name": "key", "create": "keypair", "body": {"name": "mykey", "public_key": KEY}},
            {"name": "group", "create": "security_group", "body": {"name": "web"}},
            {
                "name": "rule",
                "create": "security_group_rule",
                "body": {
                    "security_group_id": link("group.id"), "direction": "ingress", "protocol": "tcp",
                    "port_range_min": 22, "port_range_max": 22, "ethertype": "IPv4",
                },
            },
            {"name": "router", "create": "router", "body": {"availability_zone_hints": ["site2"]}},
            {
                "name": "leg",
                "create": "router_interface",
                "body": {"router_id": link("router.id"), "subnet_id": link("sub.id")},
            },
        ],
        purpose="a small application",
    )  # fmt: skip
    run = await comes_to(user, run["id"], "done", "undone", "dirty", "parked")
    assert run["state"] == "done", [(one["name"], one["error"]) for one in run["steps"]]
    given = {one["name"]: one["result"] for one in run["steps"]}
    assert run["purpose"] == "a small application"
    assert cloud.site("site2").compute.instances.get(given["vm"]["id"]) is not None
    shown = (await user.get(f"{VOLUMES}/{given['data']['id']}")).json()["volume"]
    assert (shown["metadata"], shown["attachments"][0]["server_id"]) == ({"kept": "yes"}, given["vm"]["id"])
    shown = (await user.get(f"/network/v2.0/subnets/{given['sub']['id']}")).json()["subnet"]
    assert shown["description"] == "mine"
    shown = (await user.get(f"{SERVERS}/{given['vm']['id']}")).json()["server"]
    assert shown["metadata"] == {}
    assert trusts(cloud) == 0


async def test_where_the_last_is_refused_all_is_as_it_was(user: Client, cloud: Cloud) -> None:
    before = await everything(user)
    run = await accepted(
        user,
        create=[
            volume("one", "site1"),
            volume("two", "site2"),
            server(cloud, "vm", "site1"),
            {"name": "key", "create": "keypair", "body": {"name": "k", "public_key": KEY}},
            server(cloud, "last", "site2", flavorRef="no-such-flavor")
            | {"after": ["one", "two", "vm", "key"]},
        ],
    )
    run = await comes_to(user, run["id"], "done", "undone", "dirty", "parked")
    assert run["state"] == "undone"
    assert "no-such-flavor" in run["reason"]
    assert await everything(user) == before
    assert trusts(cloud) == 0


async def test_what_is_to_go_goes_last(user: Client) -> None:
    old = (await accepted(user, create=[volume("old", "site3")]))["id"]
    old = (await comes_to(user, old, "done"))["steps"][0]["result"]["id"]
    run = await accepted(user, create=[volume("new", "site1")], delete=[{"delete": "volume", "id": old}])
    run = await comes_to(user, run["id"], "done")
    new = run["steps"][0]["result"]["id"]
    assert (await everything(user))["volumes"] == [new]


async def test_a_refused_delete_has_the_creates_undone(user: Client, cloud: Cloud) -> None:
    run = await accepted(user, create=[volume("data", "site1"), server(cloud, "vm", "site1")])
    run = await comes_to(user, run["id"], "done")
    data, vm = (one["result"]["id"] for one in run["steps"][:2])
    joined = {"server_id": vm, "volume_id": data}
    run = await accepted(user, create=[{"name": "j", "create": "volume_attachment", "body": joined}])
    await comes_to(user, run["id"], "done")
    before = await everything(user)
    run = await accepted(user, create=[volume("new", "site2")], delete=[{"delete": "volume", "id": data}])
    run = await comes_to(user, run["id"], "undone", "done", "parked")
    assert run["state"] == "undone", run
    assert await everything(user) == before


async def test_a_lost_answer_leaves_one_of_it(user: Client, cloud: Cloud) -> None:
    before = await everything(user)
    for site, service in (("site1", "volume"), ("site2", "compute"), ("site1", "network")):
        cloud.site(site).faults.add(Fault("die_after_commit", service=service, method="POST", count=1))
    run = await accepted(
        user,
        create=[
            volume("data", "site1"),
            server(cloud, "vm", "site2"),
            {"name": "net", "create": "network", "body": {"name": "n", "availability_zone_hints": ["site1"]}},
        ],
    )
    await comes_to(user, run["id"], "done")
    there = await everything(user)
    more = [len(there[many]) - len(before[many]) for many in ("volumes", "servers", "networks")]
    assert more == [1, 1, 1]


async def test_a_server_that_comes_to_error_is_none(user: Client, cloud: Cloud) -> None:
    cloud.site("site1").compute.boot_fails = 1
    run = await accepted(user, create=[volume("data", "site1"), server(cloud, "vm", "site1")])
    run = await comes_to(user, run["id"], "undone", "done")
    assert "ERROR" in run["reason"]
    assert (await everything(user))["servers"] == []


async def test_a_run_goes_on_when_its_token_has_ended(user: Client, cloud: Cloud) -> None:
    cloud.site("site3").faults.add(Fault("refuse"))
    run = await accepted(user, create=[volume("one", "site1"), volume("far", "site3") | {"after": ["one"]}])
    assert trusts(cloud) == 1
    assert (
        await user.delete("/identity/v3/auth/tokens", headers={"X-Subject-Token": user.token})
    ).status_code == 204
    cloud.site("site3").faults.clear()
    async with client_of_user(user, cloud) as again:
        run = await comes_to(again, run["id"], "done")
        assert {one["result"].get("user_id") for one in run["steps"] if one["result"]} == {run["user_id"]}


def client_of_user(user: Client, cloud: Cloud) -> Client:
    """The same user with a new token."""
    return Client(base_url=user.base_url, headers={"X-Auth-Token": cloud.keystone.token()}, timeout=20.0)


async def test_a_token_that_may_not_delegate_is_refused_before_anything_is_done(
    atoll: Atoll, user: Client, cloud: Cloud
) -> None:
    given = {"name": "a", "roles": [{"name": "member"}], "secret": "s"}
    me = cloud.keystone.store.id_of("user", "demo")
    answer = await user.post(
        f"/identity/v3/users/{me}/application_credentials", json={"application_credential": given}
    )
    ident = answer.json()["application_credential"]["id"]
    identity = {"methods": ["application_credential"], "application_credential": {"id": ident, "secret": "s"}}
    token = (await user.post("/identity/v3/auth/tokens", json={"auth": {"identity": identity}})).headers[
        "X-Subject-Token"
    ]
    async with client_of(atoll, token) as restricted:
        answer = await restricted.post(TRANSACTIONS, json={"create": [volume("one", "site1")]})
    refused(answer, 403, "lets this token make no trust", "application credential")
    assert (await everything(user))["volumes"] == []
    assert (await user.get(RUNS)).json()["runs"] == []


async def test_the_plan_is_shown_and_nothing_done(user: Client, cloud: Cloud) -> None:
    given = {
        "create": [server(cloud, "vm", "site1") | {"after": ["data"]}, volume("data", "site1")],
        "delete": [{"delete": "volume", "id": "v"}],
    }
    answer = await user.post(f"{TRANSACTIONS}/plan", json=given)
    assert answer.status_code == 200, answer.text
    steps = answer.json()["plan"]["steps"]
    assert [(one["name"], one["pivot"]) for one in steps] == [
        ("data", False), ("vm", False), ("finish", False), ("delete-1", True),
    ]  # fmt: skip
    assert (await everything(user))["servers"] == []
    assert (await user.get(RUNS)).json()["runs"] == []


NET_OF_OSAKA = {"name": "n", "availability_zone_hints": ["osaka"]}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["nothing to create"]),
        ({"create": [{"name": "a", "create": "cat", "body": {}}]}, ["cat"]),
        ({"create": [{"name": "a", "create": "volume", "body": {}, "versoin": "1"}]}, ["versoin"]),
        ({"create": [volume("a", "site1"), volume("a", "site1")]}, ["several steps are called a"]),
        (
            {"create": [volume("a", "osaka"), {"name": "n", "create": "network", "body": NET_OF_OSAKA}]},
            ["a: there is no availability zone osaka, there are site1, site2", "n: there is no"],
        ),
        ({"create": [volume("finish", "site1")]}, ["finish is taken"]),
        ({"create": [volume("a", "site1", source_volid=link("b.id"))]}, ["needs b"]),
        (
            {"create": [volume("a", "site1", x=link("b.id")), volume("b", "site1", x=link("a.id"))]},
            ["in a circle", "a needs b"],
        ),
        ({"create": [{"name": "k", "create": "keypair", "body": {"name": "k"}}]}, ["public_key"]),
        ({"create": [{"name": "s", "create": "server", "body": {"password": "x"}}]}, ["password"]),
        ({"create": [{"name": "i", "create": "router_interface", "body": {}}]}, ["router_id"]),
        ({"delete": [{"delete": "volume", "id": "a"}, {"delete": "volume", "id": "a"}]}, ["twice"]),
        ({"create": [volume("a", "site1") | {"version": "3,1"}]}, ["version"]),
    ],
)
async def test_what_cannot_be_run_is_refused(user: Client, given: Any, words: list[str]) -> None:
    refused(await user.post(TRANSACTIONS, json=given), 400, *words)
    assert (await user.get(RUNS)).json()["runs"] == []


async def test_one_that_is_undone_is_redone_by_its_user_alone(
    atoll: Atoll, user: Client, cloud: Cloud
) -> None:
    fault = Fault("status", service="compute", method="POST", status=403)
    cloud.site("site1").faults.add(fault)
    run = await accepted(user, create=[server(cloud, "vm", "site1")])
    run = await comes_to(user, run["id"], "undone")
    cloud.site("site1").faults.clear()
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        refused(await act(admin, run, "redo"), 409, "only that user")
    assert (await act(user, run, "redo")).status_code == 202
    await comes_to(user, run["id"], "done")
    assert trusts(cloud) == 0


async def test_a_gateway_without_a_user_of_its_own_says_so(start_atoll: StartAtoll, cloud: Cloud) -> None:
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud))
    async with client_of(atoll, cloud.keystone.token()) as user:
        refused(await user.post(TRANSACTIONS, json={"create": [volume("a", "site1")]}), 403, "clouds_yaml")


async def test_with_the_built_in_identity_and_clouds_apart(
    start_atoll: StartAtoll, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Atoll makes the tokens itself, and at each cloud the project's credential stands for the user."""
    monkeypatch.setattr(transaction, "POLL_SECONDS", (0.02, 0.02))
    async with apart(tmp_path) as clouds, directory_in(database) as directory:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
        lab = await directory.create_project("lab")
        for name, role in (("you", "member"), ("me", "admin")):
            await directory.assign((await directory.create_user(name, "correct horse")).id, lab.id, role)
        credentials = [
            {"cloud": name, "project_id": lab.id, "clouds_yaml": name} for name in clouds.tables["clouds"]
        ]
        atoll = await start_atoll("", clouds.sites, **clouds.tables, credentials=credentials)
        await atoll.settled()
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": "you", "domain": {"id": "default"}, "password": "correct horse"}},
        }
        auth = {"identity": identity, "scope": {"project": {"id": lab.id}}}
        async with atoll.client() as anybody:
            answer = await anybody.post("/identity/v3/auth/tokens", json={"auth": auth})
        async with client_of(atoll, answer.headers["x-subject-token"]) as you:
            run = await accepted(you, create=[volume("one", "site1"), volume("two", "site2")])
            run = await comes_to(you, run["id"], "done", "undone")
            assert run["state"] == "done", run
            assert [one["result"]["id"] for one in run["steps"][:2]] == [
                volume_of(clouds.cloud, site) for site in ("site1", "site2")
            ]


def volume_of(cloud: Cloud, site: str) -> str:
    """The one volume of a site."""
    (ident,) = cloud.site(site).block_storage.volumes
    return str(ident)
