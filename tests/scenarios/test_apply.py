"""`atoll apply`: what a file says is there afterwards, however often it is applied."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import Client, client_of
from tests.scenarios.probes import refused
from tests.scenarios.terraform import KEY
from tests.scenarios.test_transactions import TRANSACTIONS, VOLUMES, everything

from atoll.cli.main import main
from atoll.gateway import transaction
from atoll.sandbox.simulated import Cloud, Fault

FILE = """
purpose: a small application
resources:
  net:
    network: {name: web, availability_zone_hints: [site2]}
  subnet:
    subnet: {name: web, network_id: {$from: net.id}, ip_version: 4, cidr: 10.9.0.0/24}
  vm:
    server: {name: web-1, flavorRef: "42", imageRef: IMAGE, networks: [{uuid: {$from: net.id}}]}
    after: [subnet]
  data:
    volume: {name: data, size: 1, availability_zone: site2, metadata: {tier: web}}
  joined:
    volume_attachment: {server_id: {$from: vm.id}, volume_id: {$from: data.id}}
  far:
    volume: {name: far, size: 1, availability_zone: site3}
  key:
    keypair: {name: mykey, public_key: KEY}
absent:
  - volume: old
"""

Apply = Callable[..., Any]


@pytest.fixture
async def atoll(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Atoll:
    """A gateway with a user of its own at the clients' Keystone."""
    monkeypatch.setattr(transaction, "POLL_SECONDS", (0.02, 0.02))
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), runs=own_user)
    await running.settled()
    return running


@pytest.fixture
def text(cloud: Cloud) -> str:
    """The file."""
    return FILE.replace("IMAGE", cloud.sites[0].image_id("cirros")).replace("KEY", KEY)


@pytest.fixture
def apply(atoll: Atoll, user: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apply:
    """The command, of a text."""
    monkeypatch.delenv("OS_CLOUD", raising=False)
    monkeypatch.setenv("OS_TOKEN", user.token)
    monkeypatch.setenv("ATOLL_URL", atoll.url)

    async def run(text: str, *words: str) -> Result:
        file = tmp_path / "app.yaml"
        file.write_text(text)
        return await asyncio.to_thread(CliRunner().invoke, main, ["apply", str(file), *words])

    return run


async def test_it_is_there_once_however_often_it_is_applied(user: Client, apply: Apply, text: str) -> None:
    before = await everything(user)
    shown = await apply(text, "--dry-run")
    assert (shown.exit_code, shown.stdout.count("+ create")) == (0, 7), shown.output
    assert await everything(user) == before
    first = await apply(text)
    assert first.exit_code == 0, first.output
    there = await everything(user)
    assert len(there["volumes"]) == len(before["volumes"]) + 2
    again = await apply(text)
    assert (again.exit_code, again.stdout.count("= keep")) == (0, 7), again.output
    assert "All is there" in again.stderr
    assert await everything(user) == there


async def test_what_is_missing_is_created_and_joined_to_what_is_there(
    user: Client, apply: Apply, text: str
) -> None:
    assert (await apply(text)).exit_code == 0
    (data,) = [one for one in await volumes(user) if one["name"] == "data"]
    more = text.replace(
        "absent:", "  snap:\n    snapshot: {name: s, volume_id: {$from: data.id}, force: true}\nabsent:"
    )
    added = await apply(more)
    assert (added.exit_code, added.stdout.count("+ create"), added.stdout.count("= keep")) == (0, 1, 7)
    (snapshot,) = (await user.get("/block-storage/v3/snapshots")).json()["snapshots"]
    assert snapshot["volume_id"] == data["id"]


async def volumes(user: Client) -> list[dict[str, Any]]:
    return list((await user.get(f"{VOLUMES}/detail")).json()["volumes"])


async def test_what_is_different_is_told_and_nothing_done(user: Client, apply: Apply, text: str) -> None:
    assert (await apply(text)).exit_code == 0
    there = await everything(user)
    other = text.replace("name: far, size: 1", "name: far, size: 2").replace("tier: web", "tier: db")
    other = other.replace("10.9.0.0/24", "10.8.0.0/24").replace('"42"', '"1"')
    told = await apply(other + "  - volume: data\n")
    assert told.exit_code == 1
    for words in ("far: size is 1, wanted is 2", "'tier': 'db'", "cidr is '10.9.0.0/24'", "flavorRef"):
        assert words in told.stderr
    assert await everything(user) == there


async def test_two_of_a_name_are_not_chosen_between(user: Client, apply: Apply) -> None:
    for _ in range(2):
        body = {"volume": {"name": "twin", "size": 1, "availability_zone": "site1"}}
        assert (await user.post(VOLUMES, json=body)).status_code == 202
    told = await apply("resources: {v: {volume: {name: twin, size: 1}}}")
    assert (told.exit_code, "there are 2 volumes of that name" in told.stderr) == (1, True)
    told = await apply("absent: [{volume: twin}]")
    assert (told.exit_code, "2 volumes called twin" in told.stderr) == (1, True)


async def test_what_others_share_is_not_taken_for_the_own(
    atoll: Atoll, user: Client, cloud: Cloud, apply: Apply
) -> None:
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        body = {"network": {"name": "web", "shared": True, "availability_zone_hints": ["site2"]}}
        theirs = (await admin.post("/network/v2.0/networks", json=body)).json()["network"]["id"]
    text = "resources: {net: {network: {name: web, availability_zone_hints: [site2]}}}"
    assert (await apply(text)).exit_code == 0
    named = (await user.get("/network/v2.0/networks?name=web")).json()["networks"]
    assert (len(named), theirs in {one["id"] for one in named}) == (2, True)
    assert "= keep" in (await apply(text)).stdout


async def test_what_is_to_be_absent_is_deleted(user: Client, apply: Apply, text: str) -> None:
    before = await everything(user)
    assert (await apply(text)).exit_code == 0
    gone = "absent: [{server: web-1}, {volume: data}, {volume: far}, {subnet: web}, {network: web}, "
    gone += "{keypair: mykey}]"
    assert (await apply(gone)).exit_code == 0
    assert await everything(user) == before
    assert "All is there" in (await apply(gone)).stderr


async def test_a_missing_site_is_not_taken_for_absence(cloud: Cloud, apply: Apply) -> None:
    assert (
        await apply("resources: {v: {volume: {name: far, size: 1, availability_zone: site3}}}")
    ).exit_code == 0
    cloud.site("site3").faults.add(Fault("refuse"))
    told = await apply("resources: {v: {volume: {name: far, size: 1}}}")
    assert told.exit_code == 1
    assert "site3" in told.stderr
    assert "+ create" not in told.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resources: {a: [", "no YAML, line 1"),
        ("- a", "resources, absent or both"),
        ("resource: {}", "resource is not known"),
        ("resources: {}", "names nothing"),
        ("resources: {a: {volume: 3}}", "a is to have one kind"),
        ("resources: {a: {volume: {}, server: {}}}", "a is to have one kind"),
        ("absent: [a]", "list of KIND: NAME"),
        ("resources: {a: {cat: {name: tom}}}", "cat"),
        ("resources: {a: {volume: {size: 1}}}", "needs a name"),
        ("absent: [{volume_attachment: a}]", "told by what it joins"),
    ],
)
async def test_a_file_that_says_nothing_sensible(apply: Apply, text: str, words: str) -> None:
    told = await apply(text)
    assert told.exit_code == 1
    assert words in told.stderr


async def test_the_api_takes_an_id_or_a_name(user: Client) -> None:
    for given in ({}, {"id": "a", "name": "b"}):
        answer = await user.post(TRANSACTIONS, json={"delete": [{"delete": "volume", **given}]})
        refused(answer, 400, "an id, or a name")
