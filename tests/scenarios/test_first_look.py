"""What `atoll serve --clouds` says of clouds that share nothing: before it serves, and once it does."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.scenarios.apart import Apart, apart

from atoll.cli.first_look import Gateway, look

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        yield made


async def network(clouds: Apart, site: str, name: str) -> str:
    """Made behind Atoll's back."""
    url = clouds.sites[site]["endpoints"]["network"]
    headers = {"X-Auth-Token": clouds.cloud.site(site).keystone.token()}
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        answer = await client.post(f"{url}/v2.0/networks", json={"network": {"name": name}})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["network"]["id"])


async def test_networks_of_one_name_are_told_with_the_command_that_makes_them_one(start_atoll, clouds):
    places = {site: await network(clouds, site, "lab") for site in ("site1", "site2")}
    for _ in range(2):
        await network(clouds, "site1", "twice")
    atoll = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo"), **clouds.tables
    )
    await atoll.settled()
    said: list[str] = []
    await asyncio.to_thread(look, Gateway(atoll.url, clouds.keystone.token("admin", "demo")), said.append)
    (line,) = [one for one in said if "network lab" in one]
    command = line.partition(": atoll same add network ")[2]
    assert set(command.removesuffix(" --name lab").split()) == {f"{site}={at}" for site, at in places.items()}
    assert [one for one in said if "network twice" in one] == [], "nothing would make these one"
    assert [one for one in said if "cannot be asked" in one] == []
