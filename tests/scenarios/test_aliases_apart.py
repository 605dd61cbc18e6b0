"""Aliases of servers at clouds with a Keystone each, where Atoll acts by credentials."""

import uuid
from collections.abc import AsyncIterator

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import SERVERS, client_of, server_body

from atoll.store import open_store

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        yield made


@pytest.fixture
async def atoll(start_atoll: StartAtoll, clouds: Apart) -> Atoll:
    running = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo", "admin"), **clouds.tables
    )
    await running.settled()
    return running


async def test_one_of_another_cloud_and_who_may_use_it(atoll: Atoll, clouds: Apart) -> None:
    store = await open_store(f"sqlite:///{atoll.database}")
    alias, project = str(uuid.uuid4()), clouds.keystone.project_id("demo")
    async with (
        client_of(atoll, clouds.keystone.token()) as user,
        client_of(atoll, clouds.keystone.token("admin", "demo")) as admin,
    ):
        body = server_body(clouds.cloud, availability_zone="site2")
        own = (await user.post(SERVERS, json=body)).json()["server"]["id"]
        await store.aliases.bind(alias, "site2", own, project_id=project)
        for client in (user, admin):
            for _ in range(2):
                server = (await client.get(f"{SERVERS}/{alias}")).json()["server"]
                assert (server["id"], server["tenant_id"]) == (alias, project)
        assert [one["id"] for one in (await user.get(SERVERS)).json()["servers"]] == [alias]
        answer = await user.post(f"{SERVERS}/{alias}/action", json={"reboot": {"type": "SOFT"}})
        assert answer.status_code == 202, answer.text
        refused = await user.get(f"{SERVERS}/{alias}/diagnostics")
        assert refused.status_code == 403
        assert (await user.delete(f"{SERVERS}/{alias}")).status_code == 204
        gone = await user.get(f"{SERVERS}/{alias}")
        assert gone.status_code == 404
        assert own not in gone.text
    await store.close()
