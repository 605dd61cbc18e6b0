"""Clouds and credentials given through the API: who may, what is kept, what is never shown."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart, cloud_name
from tests.scenarios.conftest import SERVERS, Client, boot, client_of

from atoll.sandbox.simulated import Site
from atoll.trust.sealing import SecretsError, new_key

CLOUDS, CREDENTIALS = "/atoll/v1/clouds", "/atoll/v1/credentials"
SECRET = "a very secret secret"


@pytest.fixture
async def clouds(tmp_path: Path) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        for site in made.cloud.sites:
            application_credential(site)
        yield made


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(new_key() + "\n")
    return file


@pytest.fixture
async def atoll(start_atoll: StartAtoll, clouds: Apart, key: Path) -> Atoll:
    running = await start_atoll(
        clouds.auth_url, clouds.sites, secrets={"key": f"file:{key}"}, **clouds.tables
    )
    await running.settled()
    return running


@pytest.fixture
async def user(atoll: Atoll, clouds: Apart) -> AsyncIterator[Client]:
    async with client_of(atoll, clouds.keystone.token()) as client:
        yield client


@pytest.fixture
async def admin(atoll: Atoll, clouds: Apart) -> AsyncIterator[Client]:
    async with client_of(atoll, clouds.keystone.token("admin")) as client:
        yield client


def application_credential(site: Site) -> None:
    """One of the site's user demo, by the name of the site's cloud."""
    store = site.keystone.store
    user_id, project_id = store.id_of("user", "demo"), store.id_of("project", "demo")
    store.application_credentials[cloud_name(site)] = {
        "id": cloud_name(site),
        "name": "atoll",
        "secret": SECRET,
        "user_id": user_id,
        "project_id": project_id,
        "roles": [{"name": role} for role in store.roles_of(user_id, project_id)],
    }


def given(cloud: str, **fields: Any) -> dict[str, Any]:
    """The body that adds a cloud's application credential."""
    auth = {"application_credential_id": cloud, "application_credential_secret": SECRET}
    return {"cloud": cloud, "auth": auth, **fields}


async def add(client: Client, cloud: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post(CREDENTIALS, json=given(cloud, **fields))
    assert answer.status_code == 201, answer.text
    assert SECRET not in answer.text
    return dict(answer.json()["credential"])


async def test_a_member_gives_a_credential_and_uses_the_cloud(user, clouds, database, log_lines):
    assert (await user.get(f"{SERVERS}/detail")).status_code == 403
    made = await add(user, "cloud1")
    assert made["project_id"] == clouds.keystone.project_id("demo")
    assert made["site_project_id"] == clouds.cloud.site("site1").keystone.project_id("demo")
    ident = await boot(user, clouds.cloud, "site1")
    shown = await user.get(f"{SERVERS}/{ident}")
    assert shown.json()["server"]["tenant_id"] == made["project_id"]
    listed = await user.get(CREDENTIALS)
    assert [one["id"] for one in listed.json()["credentials"]] == [made["id"]]
    for text in (listed.text, (await user.get(f"{CREDENTIALS}/{made['id']}")).text, str(log_lines)):
        assert SECRET not in text
    assert SECRET.encode() not in b"".join(one.read_bytes() for one in database.parent.glob("atoll.db*"))
    assert (await user.delete(f"{CREDENTIALS}/{made['id']}")).status_code == 204
    assert (await user.get(f"{SERVERS}/{ident}")).status_code == 403


async def test_one_that_cannot_be_logged_in_with_is_refused_and_not_kept(user):
    body = given("cloud1")
    body["auth"]["application_credential_secret"] = "another secret"
    answer = await user.post(CREDENTIALS, json=body)
    assert answer.status_code == 400
    assert "401" in answer.text
    assert "another secret" not in answer.text
    assert (await user.get(CREDENTIALS)).json()["credentials"] == []


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"project_id": "a" * 32}, "other projects"),
        ({"admin": True}, "administrator"),
        ({"auth_type": "v3oidcpassword"}, "v3oidcpassword"),
    ],
)
async def test_what_only_administrators_give(user, fields, word):
    answer = await user.post(CREDENTIALS, json=given("cloud1", **fields))
    assert answer.status_code == 403
    assert word in answer.text


async def test_a_reader_gives_none_and_another_project_sees_none(atoll, user, clouds):
    made = await add(user, "cloud1")
    store = clouds.keystone.store
    store.add_user("watcher", "x", clouds.keystone.project_id("demo"), "reader")
    async with client_of(atoll, clouds.keystone.token("watcher", "demo")) as reader:
        assert (await reader.post(CREDENTIALS, json=given("cloud2"))).status_code == 403
        assert (await reader.delete(f"{CREDENTIALS}/{made['id']}")).status_code == 403
    async with client_of(atoll, clouds.keystone.token("alt_demo")) as other:
        assert (await other.get(CREDENTIALS)).json()["credentials"] == []
        for ask in (other.get, other.delete):
            assert (await ask(f"{CREDENTIALS}/{made['id']}")).status_code == 404


async def test_an_administrators_credential_is_for_administrators_calls_only(user, admin, clouds):
    keystone = clouds.cloud.site("site1").keystone
    auth = {
        "username": "admin", "password": clouds.cloud.password, "project_name": "demo",
        "user_domain_id": "default", "project_domain_id": "default",
    }  # fmt: skip
    body = {"cloud": "cloud1", "auth_type": "password", "auth": auth, "admin": True}
    made = await admin.post(CREDENTIALS, json=body)
    assert made.status_code == 201, made.text
    assert made.json()["credential"]["roles"] == sorted(
        keystone.store.roles_of(
            keystone.store.id_of("user", "admin"), keystone.store.id_of("project", "demo")
        )
    )
    await add(user, "cloud1")
    assert made.json()["credential"]["id"] not in (await user.get(CREDENTIALS)).text
    ident = await boot(user, clouds.cloud, "site1")
    seen = clouds.cloud.site("site1").listener.seen
    seen.clear()
    assert (await user.get(f"{SERVERS}/detail?all_tenants=1")).status_code == 403
    assert [one for one in seen if "servers" in one.target] == []
    everything = await admin.get(f"{SERVERS}/detail?all_tenants=1")
    assert [one["id"] for one in everything.json()["servers"]] == [ident]
    assert everything.json()["servers"][0]["tenant_id"] == clouds.keystone.project_id("demo")
    plain = await admin.get(f"{SERVERS}/detail")
    assert plain.status_code == 403, "this project has no credential of its own"


async def test_there_is_one_and_it_can_be_replaced(user):
    made = await add(user, "cloud1")
    again = await user.post(CREDENTIALS, json=given("cloud1"))
    assert again.status_code == 409
    assert made["id"] in again.text
    assert (await add(user, "cloud1", replace=True))["id"] == made["id"]


async def test_a_dead_one_works_again_once_it_was_put_right_and_checked(user, clouds):
    made = await add(user, "cloud1")
    record = clouds.cloud.site("site1").keystone.store.application_credentials["cloud1"]
    record["secret"] = "changed"
    dead = (await user.post(f"{CREDENTIALS}/{made['id']}/check")).json()["credential"]
    assert "401" in dead["fault"]
    assert (await user.get(f"{SERVERS}/detail")).status_code == 403
    record["secret"] = SECRET
    well = (await user.post(f"{CREDENTIALS}/{made['id']}/check")).json()["credential"]
    assert well["fault"] == ""
    assert (await user.get(f"{SERVERS}/detail")).status_code == 200


async def test_a_credential_of_another_project_than_before_shows_nothing(user, clouds):
    made = await add(user, "cloud1")
    keystone = clouds.cloud.site("site1").keystone
    record = keystone.store.application_credentials["cloud1"]
    record["project_id"] = keystone.project_id("alt_demo")
    checked = (await user.post(f"{CREDENTIALS}/{made['id']}/check")).json()["credential"]
    assert "another project" in checked["fault"]
    answer = await user.get(f"{SERVERS}/detail")
    assert answer.status_code == 403
    assert "remove the credential" in answer.text


async def test_clouds_are_added_used_and_removed(admin, user, clouds):
    keystone = clouds.cloud.site("site1").keystone
    new = {"name": "tokyo", "auth_url": keystone.auth_url.replace("127.0.0.1", "localhost")}
    refused = await admin.post(CLOUDS, json=new)
    assert refused.status_code == 400, "it is at a loopback address"
    assert "private_addresses" in refused.text
    assert (await user.post(CLOUDS, json=new)).status_code == 403
    names = [one["name"] for one in (await user.get(CLOUDS)).json()["clouds"]]
    assert names == ["cloud1", "cloud2"]
    assert (await admin.delete(f"{CLOUDS}/cloud1")).status_code == 409


@pytest.mark.parametrize(
    "url",
    [
        "ftp://tokyo.example/v3", "http://127.0.0.1:5000/v3", "http://[::1]/v3", "http://169.254.169.254/v3",
        "http://10.0.0.1/v3", "http://[::ffff:127.0.0.1]/v3", "http://2130706433/v3", "http://a:b@tokyo/v3",
        "http://a..b/v3", "http://tokyo.example/v3?x=1", "http://tokyo.example/#v3", "http://to kyo/v3",
    ],
)  # fmt: skip
async def test_urls_that_a_cloud_cannot_have(admin, url):
    answer = await admin.post(CLOUDS, json={"name": "tokyo", "auth_url": url})
    assert answer.status_code == 400, answer.text
    assert (await admin.get(f"{CLOUDS}/tokyo")).status_code == 404


async def test_with_private_addresses_allowed(start_atoll, clouds, key):
    atoll = await start_atoll(
        clouds.auth_url, clouds.sites, limits={"private_addresses": True},
        secrets={"key": f"file:{key}"}, **clouds.tables,
    )  # fmt: skip
    url = f"http://localhost:{clouds.keystone.listener.server.url.rpartition(':')[2]}/identity/v3"
    async with client_of(atoll, clouds.keystone.token("admin")) as admin:
        assert (await admin.post(CLOUDS, json={"name": "tokyo", "auth_url": url})).status_code == 201
        assert (await admin.post(CLOUDS, json={"name": "tokyo", "auth_url": url})).status_code == 409
        auth = {
            "username": "demo", "password": clouds.cloud.password, "project_name": "demo",
            "user_domain_id": "default", "project_domain_id": "default",
        }  # fmt: skip
        body = {"cloud": "tokyo", "auth_type": "password", "auth": auth}
        assert (await admin.post(CREDENTIALS, json=body)).status_code == 201
        assert (await admin.delete(f"{CLOUDS}/tokyo")).status_code == 409
        ident = (await admin.get(f"{CREDENTIALS}?cloud=tokyo")).json()["credentials"][0]["id"]
        assert (await admin.delete(f"{CREDENTIALS}/{ident}")).status_code == 204
        assert (await admin.delete(f"{CLOUDS}/tokyo")).status_code == 204


async def test_without_a_key_none_can_be_given(start_atoll, clouds):
    atoll = await start_atoll(clouds.auth_url, clouds.sites, **clouds.tables)
    async with client_of(atoll, clouds.keystone.token()) as user:
        answer = await user.post(CREDENTIALS, json=given("cloud1"))
    assert answer.status_code == 409
    assert "atoll secrets new-key" in answer.text


@pytest.mark.parametrize("keys", [[], ["another"]], ids=["no key", "another key"])
async def test_it_does_not_start_without_the_key_of_what_is_kept(
    atoll, user, start_atoll, clouds, tmp_path, keys
):
    await add(user, "cloud1")
    await atoll.end()
    other = tmp_path / "another"
    other.touch(mode=0o600)
    other.write_text(new_key())
    with pytest.raises(SecretsError, match="key"):
        await start_atoll(
            clouds.auth_url, clouds.sites, secrets={"key": [f"file:{other}"] if keys else []}, **clouds.tables
        )


async def test_after_a_restart_it_is_known_who_is_who(atoll, user, start_atoll, clouds, key):
    await add(user, "cloud1")
    ident = await boot(user, clouds.cloud, "site1")
    await atoll.end()
    again = await start_atoll(clouds.auth_url, clouds.sites, secrets={"key": f"file:{key}"}, **clouds.tables)
    async with client_of(again, clouds.keystone.token()) as client:
        shown = await client.get(f"{SERVERS}/{ident}")
        assert shown.json()["server"]["tenant_id"] == clouds.keystone.project_id("demo")
