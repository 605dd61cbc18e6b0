"""Credentials that are an administrator's at their cloud and not marked so: members get nothing of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from click.testing import CliRunner
from tests.conftest import StartAtoll
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart

from atoll.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

NETWORKS = "/network/v2.0/networks"


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    """At cloud2 the project demo has an administrator's credential, and another project has a network."""
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        yield made


async def gateway_with(start_atoll: StartAtoll, clouds: Apart, **fields: Any) -> Atoll:
    credentials = clouds.credentials("demo")
    credentials[1] |= {"clouds_yaml": "cloud2-admin", **fields}
    return await start_atoll(clouds.auth_url, clouds.sites, credentials=credentials, **clouds.tables)


async def test_members_are_refused_and_the_site_is_missing(start_atoll, clouds, log_lines):
    gateway = await gateway_with(start_atoll, clouds)
    site = clouds.cloud.site("site2")
    async with gateway.client(clouds.keystone.token()) as member:
        for _ in range(2):
            listed = await member.get(NETWORKS)
            assert listed.status_code == 200
            assert listed.headers["x-atoll-missing-sites"].startswith("site2 (")
            assert "administrator's" in listed.headers["x-atoll-missing-sites"]
        ident = site.public_network_id
        shown = await member.get(f"{NETWORKS}/{ident}")
        assert shown.status_code in {403, 503}, shown.text
        assert ident not in listed.text
    asked = [one for one in site.listener.seen if "networks" in one.target]
    assert asked == [], "nothing was asked for them with an administrator's token"
    (told,) = [line for line in log_lines if line["event"] == "credential_of_an_administrator"]
    assert (told["cloud"], told["log_level"]) == ("cloud2", "warning")


async def test_administrators_of_atoll_use_it_as_at_home(start_atoll, clouds):
    gateway = await gateway_with(start_atoll, clouds)
    async with gateway.client(clouds.keystone.token("admin", "demo")) as admin:
        listed = await admin.get(NETWORKS)
        assert "x-atoll-missing-sites" not in listed.headers
        assert clouds.cloud.site("site2").public_network_id in listed.text
    store = clouds.keystone.store
    who = store.id_of("user", "admin"), store.id_of("project", "demo")
    store.assignments.discard((*who, "admin"))
    store.assignments.add((*who, "member"))
    async with gateway.client(clouds.keystone.token("admin", "demo")) as former:
        assert "x-atoll-missing-sites" in (await former.get(NETWORKS)).headers, "the same user, no admin now"


async def test_the_operator_may_let_members_use_it(start_atoll, clouds):
    gateway = await gateway_with(start_atoll, clouds, admin_for_members=True)
    async with gateway.client(clouds.keystone.token()) as member:
        listed = await member.get(NETWORKS)
        assert "x-atoll-missing-sites" not in listed.headers
        assert clouds.cloud.site("site2").public_network_id in listed.text


async def test_who_adds_one_is_warned(start_atoll, clouds, tmp_path, monkeypatch):
    key = tmp_path / "key"
    monkeypatch.setenv("OS_TOKEN", clouds.keystone.token())
    run = CliRunner().invoke
    assert run(main, ["secrets", "new-key", "--file", str(key)]).exit_code == 0
    gateway = await start_atoll(
        clouds.auth_url, clouds.sites, secrets={"key": f"file:{key}"}, **clouds.tables
    )

    async def command(*words: str) -> Any:
        return await asyncio.to_thread(run, main, ["credential", *words, "--url", gateway.url])

    plain = await command("add", "--cloud", "cloud1", "--from-cloud", "cloud1")
    assert plain.exit_code == 0, plain.output
    assert "Warning" not in plain.output
    added = await command("add", "--cloud", "cloud2", "--from-cloud", "cloud2-admin")
    assert added.exit_code == 0, added.output
    assert "Warning: it is an administrator's at the cloud" in added.stderr
    listed = json.loads((await command("list", "-f", "json")).stdout)
    assert {one["cloud"]: bool(one["warning"]) for one in listed} == {"cloud1": False, "cloud2": True}
    refused = await command(
        "add", "--cloud", "cloud2", "--from-cloud", "cloud2-admin", "--replace", "--admin-for-members"
    )
    assert (refused.exit_code, "Only administrators" in refused.output) == (1, True)
    monkeypatch.setenv("OS_TOKEN", clouds.keystone.token("admin", "demo"))
    allowed = await command(
        "add", "--cloud", "cloud2", "--from-cloud", "cloud2-admin", "--replace", "--admin-for-members"
    )
    assert allowed.exit_code == 0, allowed.output
    assert "so may every member" in allowed.stderr
    async with gateway.client(clouds.keystone.token()) as member:
        assert "x-atoll-missing-sites" not in (await member.get(NETWORKS)).headers
