"""Keypairs at clouds with credentials: several users are one user there, and have each their own keys."""

import base64
from collections.abc import AsyncIterator

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import SERVERS, Client, client_of, server_body

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

KEYPAIRS = "/compute/v2.1/os-keypairs"
HEAD = b"\0\0\0\x0bssh-ed25519\0\0\0 "
KEYS = tuple(f"ssh-ed25519 {base64.b64encode(HEAD + 32 * one).decode()} x" for one in (b"1", b"2"))


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        made.keystone.store.add_user("colleague", "x", made.keystone.project_id("demo"), "member", "reader")
        yield made


@pytest.fixture
async def atoll(start_atoll: StartAtoll, clouds: Apart) -> Atoll:
    running = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo"), **clouds.tables
    )
    await running.settled()
    return running


@pytest.fixture
async def both(atoll: Atoll, clouds: Apart) -> AsyncIterator[tuple[Client, Client]]:
    """Two users of one project, each with a key `k` of their own."""
    async with (
        client_of(atoll, clouds.keystone.token()) as one,
        client_of(atoll, clouds.keystone.token("colleague", "demo")) as other,
    ):
        for client, key in zip((one, other), KEYS, strict=True):
            made = await client.post(KEYPAIRS, json={"keypair": {"name": "k", "public_key": key}})
            assert made.status_code in {200, 201}, made.text
            assert made.json()["keypair"]["name"] == "k"
        yield one, other


def users(clouds: Apart) -> tuple[str, str]:
    store = clouds.keystone.store
    return store.id_of("user", "demo"), next(
        ident for ident, one in store.records["users"].items() if one["name"] == "colleague"
    )


async def test_each_sees_uses_and_deletes_their_own(both):
    shown = []
    for client, key in zip(both, KEYS, strict=True):
        listed = (await client.get(KEYPAIRS)).json()["keypairs"]
        assert [one["keypair"]["name"] for one in listed] == ["k"]
        shown.append((await client.get(f"{KEYPAIRS}/k")).json()["keypair"])
        assert shown[-1]["public_key"] == key
    assert shown[0]["fingerprint"] != shown[1]["fingerprint"]
    assert (await both[0].delete(f"{KEYPAIRS}/k")).status_code in {202, 204}
    assert (await both[0].get(f"{KEYPAIRS}/k")).status_code == 404
    assert (await both[1].get(f"{KEYPAIRS}/k")).json()["keypair"]["public_key"] == KEYS[1]


async def test_a_server_gets_the_key_of_who_makes_it_and_shows_it_by_its_name(both, clouds):
    for number, client in enumerate(both):
        body = server_body(clouds.cloud, f"vm{number}", key_name="k", availability_zone="site1")
        made = await client.post(SERVERS, json=body)
        assert made.status_code == 202, made.text
        path = f"{SERVERS}/{made.json()['server']['id']}"
        for query in ("", "?x=1"):
            assert (await client.get(path + query)).json()["server"]["key_name"] == "k"
    site = clouds.cloud.site("site1").compute
    keys = {one.name: one.key_name for one in site.instances.sorted(None, [("created_at", "desc")])}
    assert keys == {f"vm{number}": f"{user}-k" for number, user in enumerate(users(clouds))}


async def test_the_name_that_another_users_key_has_at_the_site_is_no_way_to_it(both, clouds):
    _, theirs = users(clouds)
    for name in (f"{theirs}-k", f"{theirs}@k", f"{theirs}%2dk", f"../{theirs}-k"):
        assert (await both[0].get(f"{KEYPAIRS}/{name}")).status_code in {403, 404}, name
        assert (await both[0].delete(f"{KEYPAIRS}/{name}")).status_code in {403, 404}, name
    body = server_body(clouds.cloud, key_name=f"{theirs}-k", availability_zone="site1")
    assert (await both[0].post(SERVERS, json=body)).status_code in {400, 404, 409}
    for query in (
        f"user_id={theirs}",
        f"user_id={clouds.cloud.site('site1').keystone.store.id_of('user', 'demo')}",
    ):
        answer = await both[0].get(f"{KEYPAIRS}?{query}", headers={"OpenStack-API-Version": "compute 2.35"})
        assert answer.status_code == 403, query
    assert (await both[1].get(f"{KEYPAIRS}/k")).json()["keypair"]["public_key"] == KEYS[1]
