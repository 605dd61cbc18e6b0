"""Clouds that share nothing: each has a Keystone of its own, Atoll acts there by credentials it was given."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, until
from tests.scenarios.apart import Apart, apart
from tests.scenarios.conftest import SERVERS, Client, client_of, server_body

from atoll.sandbox.simulated import Fault

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

ZONES = ("site1", "site2")
CLOUDS = ("cloud1", "cloud2")
PROJECTS = ("demo", "alt_demo", "admin")


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        yield made


@pytest.fixture
async def atoll(start_atoll: StartAtoll, clouds: Apart) -> Atoll:
    running = await start_atoll(
        clouds.auth_url,
        clouds.sites,
        credentials=clouds.credentials(*PROJECTS),
        **clouds.tables,
    )
    await running.settled()
    await until(lambda: logins(clouds) >= len(CLOUDS) * len(PROJECTS), seconds=20)
    return running


@pytest.fixture
async def user(atoll: Atoll, clouds: Apart) -> AsyncIterator[Client]:
    async with client_of(atoll, clouds.keystone.token()) as client:
        yield client


@pytest.fixture
async def admin(atoll: Atoll, clouds: Apart) -> AsyncIterator[Client]:
    async with client_of(atoll, clouds.keystone.token("admin", "demo")) as client:
        yield client


async def boot(user: Client, clouds: Apart, zone: str) -> str:
    answer = await user.post(SERVERS, json=server_body(clouds.cloud, zone, availability_zone=zone))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


def foreign_ids(clouds: Apart) -> set[str]:
    """The ids of projects and users that only the sites' Keystones have."""
    return {
        ident
        for keystone in clouds.cloud.keystones
        for kind in ("projects", "users")
        for ident in keystone.store.records[kind]
    }


def no_foreign_id(clouds: Apart, text: str) -> None:
    assert [one for one in foreign_ids(clouds) if one in text] == []


def revoke(clouds: Apart) -> None:
    """Make every token of the sites' Keystones invalid."""
    for keystone in clouds.cloud.keystones:
        for token in keystone.store.tokens.values():
            token.revoked = True


def logins(clouds: Apart) -> int:
    return sum(
        seen.method == "POST"
        for keystone in clouds.cloud.keystones
        for seen in keystone.listener.seen
        if seen.target.startswith("/identity/v3/auth/tokens")
    )


async def test_servers_of_all_clouds_are_one_list(user, clouds):
    made = [await boot(user, clouds, zone) for zone in ZONES]
    answer = await user.get(f"{SERVERS}/detail")
    listed = answer.json()["servers"]
    assert {one["id"] for one in listed} == set(made)
    assert {one["tenant_id"] for one in listed} == {clouds.keystone.project_id("demo")}
    assert {one["user_id"] for one in listed} == {clouds.keystone.store.id_of("user", "demo")}
    no_foreign_id(clouds, answer.text)
    for ident in made:
        shown = await user.get(f"{SERVERS}/{ident}")
        assert shown.json()["server"]["id"] == ident
        no_foreign_id(clouds, shown.text)
        assert (await user.delete(f"{SERVERS}/{ident}")).status_code == 204


def created(project: str) -> Mapping[str, tuple[str, dict[str, Any]]]:
    return {
        "volume": (f"/block-storage/v3/{project}/volumes", {"volume": {"size": 1}}),
        "network": ("/network/v2.0/networks", {"network": {"name": "n", "tenant_id": project}}),
        "security_group": ("/network/v2.0/security-groups", {"security_group": {"name": "s"}}),
    }


@pytest.mark.parametrize("kind", ["volume", "network", "security_group"])
async def test_what_is_made_is_the_clients_projects_and_the_sites_in_the_site(user, clouds, kind):
    project = clouds.keystone.project_id("demo")
    path, body = created(project)[kind]
    answer = await user.post(path, json=body)
    assert answer.status_code in {201, 202}, answer.text
    no_foreign_id(clouds, answer.text)
    ident = answer.json()[kind]["id"]
    shown = await user.get(f"{path}/{ident}")
    assert shown.status_code == 200
    no_foreign_id(clouds, shown.text)
    listed = await user.get(f"{path}/detail" if kind == "volume" else f"{path}?project_id={project}")
    assert ident in [one["id"] for one in listed.json()[f"{kind}s"]]
    no_foreign_id(clouds, listed.text)
    assert (await user.delete(f"{path}/{ident}")).status_code in {202, 204}


async def test_images_are_shared_with_the_projects_that_the_client_names(user, clouds):
    made = await user.post(
        "/image/v2/images", json={"name": "i", "disk_format": "raw", "container_format": "bare"}
    )
    assert made.status_code == 201, made.text
    assert made.json()["owner"] == clouds.keystone.project_id("demo")
    no_foreign_id(clouds, made.text)


async def test_quotas_of_a_project_that_an_administrator_names(admin, clouds):
    demo, alt = (clouds.keystone.project_id(name) for name in ("demo", "alt_demo"))
    for path, project in (
        (f"/compute/v2.1/os-quota-sets/{demo}", demo),
        (f"/block-storage/v3/{demo}/os-quota-sets/{demo}", demo),
        (f"/block-storage/v3/{demo}/os-quota-sets/{alt}", alt),
    ):
        answer = await admin.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["quota_set"]["id"] == project
        no_foreign_id(clouds, answer.text)


async def test_an_administrator_sees_all_projects_by_the_clients_ids(user, admin, clouds):
    made = [await boot(user, clouds, zone) for zone in ZONES]
    answer = await admin.get(f"{SERVERS}/detail?all_tenants=1")
    assert answer.status_code == 200
    assert "x-atoll-missing-sites" not in answer.headers
    servers = answer.json()["servers"]
    assert {one["id"] for one in servers} == set(made)
    assert {one["tenant_id"] for one in servers} == {clouds.keystone.project_id("demo")}
    assert clouds.keystone.project_id("demo") in (await admin.get(f"{SERVERS}/{made[0]}")).text


async def test_a_revoked_token_is_renewed_and_the_client_sees_nothing(user, clouds):
    made = [await boot(user, clouds, zone) for zone in ZONES]
    for ask in ("list", "by id", "create"):
        revoke(clouds)
        before = logins(clouds)
        if ask == "list":
            answer = await user.get(f"{SERVERS}/detail")
            assert {one["id"] for one in answer.json()["servers"]} == set(made)
        elif ask == "by id":
            assert (await user.get(f"{SERVERS}/{made[0]}")).status_code == 200
        else:
            await boot(user, clouds, "site1")
        assert logins(clouds) > before


async def test_one_login_serves_all_who_wait(user, clouds):
    made = await boot(user, clouds, "site1")
    revoke(clouds)
    before = logins(clouds)
    answers = await asyncio.gather(*(user.get(f"{SERVERS}/{made}") for _ in range(20)))
    assert {one.status_code for one in answers} == {200}
    assert logins(clouds) - before <= 3


async def test_a_dead_credential_is_named_and_not_tried_again_and_again(user, clouds):
    made = {zone: await boot(user, clouds, zone) for zone in ZONES}
    keystone = clouds.cloud.site("site1").keystone
    keystone.store.passwords[keystone.store.id_of("user", "demo")] = "changed"
    revoke(clouds)
    refused = await user.get(f"{SERVERS}/{made['site1']}")
    assert refused.status_code == 403
    message = refused.json()["forbidden"]["message"]
    assert "site1" in message
    assert "cloud1" in message
    assert "atoll credential" in message
    tries = logins(clouds)
    listed = await user.get(f"{SERVERS}/detail")
    assert [one["id"] for one in listed.json()["servers"]] == [made["site2"]]
    assert "site1" in listed.headers["x-atoll-missing-sites"]
    for _ in range(5):
        assert (await user.get(f"{SERVERS}/{made['site1']}")).status_code == 403
    assert logins(clouds) < tries + 5, "the other clouds' too, but not one for each request"


async def test_a_keystone_that_is_away_is_named_and_the_others_go_on(user, clouds):
    made = {zone: await boot(user, clouds, zone) for zone in ZONES}
    clouds.cloud.site("site1").keystone.faults.add(Fault("status", status=503))
    revoke(clouds)
    answer = await user.get(f"{SERVERS}/{made['site1']}")
    assert answer.status_code == 503
    assert "cloud1" in answer.text
    assert (await user.get(f"{SERVERS}/{made['site2']}")).status_code == 200


async def test_a_project_without_credentials_has_nothing_there(atoll, user, clouds):
    made = await boot(user, clouds, "site1")
    store = clouds.keystone.store
    store.add_user("outsider", "x", store.add_project("outside"), "member", "reader")
    async with client_of(atoll, clouds.keystone.token("outsider", "outside")) as other:
        for path in (f"{SERVERS}/detail", f"{SERVERS}/{made}"):
            answer = await other.get(path)
            assert answer.status_code == 403
            assert "credential" in answer.text


async def test_a_streaming_upload_with_a_token_that_has_expired(user, clouds):
    made = await user.post(
        "/image/v2/images", json={"name": "i", "disk_format": "raw", "container_format": "bare"}
    )
    path = f"/image/v2/images/{made.json()['id']}/file"

    async def content() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65536

    kind = {"Content-Type": "application/octet-stream"}
    revoke(clouds)
    first = await user.put(path, content=content(), headers=kind)
    # What was sent cannot be sent again: the client is told to.
    assert first.status_code in {204, 503}, first.text
    if first.status_code == 503:
        assert (await user.put(path, content=content(), headers=kind)).status_code == 204
    assert (await user.get(path)).content == b"x" * 65536 * 64


async def test_an_image_is_at_clouds_of_their_own(user, clouds):
    body = {"name": "i", "disk_format": "raw", "container_format": "bare", "atoll_sites": "all"}
    made = await user.post("/image/v2/images", json=body)
    assert made.status_code == 201, made.text
    path = f"/image/v2/images/{made.json()['id']}"
    kind = {"Content-Type": "application/octet-stream"}
    revoke(clouds)
    assert (await user.put(f"{path}/file", content=b"bytes" * 1000, headers=kind)).status_code == 204
    shown = await user.get(path)
    assert (shown.json()["status"], shown.json()["atoll_sites"]) == ("active", "all")
    assert shown.json()["owner"] == clouds.keystone.project_id("demo")
    listed = await user.get("/image/v2/images?name=i")
    assert [one["id"] for one in listed.json()["images"]] == [made.json()["id"]]
    no_foreign_id(clouds, made.text + shown.text + listed.text)
    assert (await user.delete(path)).status_code == 204
    assert not any(made.json()["id"] in site.image.images for site in clouds.cloud.sites)


async def test_an_image_is_shared_with_the_project_that_the_client_names(atoll, user, clouds):
    alt = clouds.keystone.project_id("alt_demo")
    async with client_of(atoll, clouds.keystone.token("alt_demo")) as other:
        await other.get(f"{SERVERS}/detail")  # since then it is known who they are there
        body = {"name": "i", "disk_format": "raw", "container_format": "bare", "visibility": "shared"}
        image = (await user.post("/image/v2/images", json=body)).json()["id"]
        path = f"/image/v2/images/{image}/members"
        made = await user.post(path, json={"member": alt})
        assert made.status_code == 200, made.text
        assert made.json()["member_id"] == alt
        shown = await user.get(f"{path}/{alt}")
        assert (shown.status_code, shown.json()["member_id"]) == (200, alt)
        accepted = await other.put(f"{path}/{alt}", json={"status": "accepted"})
        assert accepted.status_code == 200, accepted.text
        seen = await other.get(f"/image/v2/images/{image}")
        assert (seen.status_code, seen.json()["owner"]) == (200, clouds.keystone.project_id("demo"))
        no_foreign_id(clouds, made.text + shown.text + accepted.text + seen.text)


async def test_a_flavor_is_given_to_the_project_that_an_administrator_names(admin, clouds):
    alt = clouds.keystone.project_id("alt_demo")
    flavor = {"name": "f", "ram": 64, "vcpus": 1, "disk": 0, "os-flavor-access:is_public": False}
    made = await admin.post("/compute/v2.1/flavors", json={"flavor": flavor})
    assert made.status_code == 200, made.text
    path = f"/compute/v2.1/flavors/{made.json()['flavor']['id']}"
    given = await admin.post(f"{path}/action", json={"addTenantAccess": {"tenant": alt}})
    assert given.status_code == 200, given.text
    assert [one["tenant_id"] for one in given.json()["flavor_access"]] == [alt]
    access = await admin.get(f"{path}/os-flavor-access")
    assert [one["tenant_id"] for one in access.json()["flavor_access"]] == [alt]


async def test_the_roles_that_a_site_gives_are_worth_nothing(start_atoll, clouds):
    for site in clouds.cloud.sites:
        store = site.keystone.store
        store.assignments.add((store.id_of("user", "demo"), store.id_of("project", "demo"), "admin"))
    atoll = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo"), **clouds.tables
    )
    async with client_of(atoll, clouds.keystone.token()) as client:
        for path in (f"{SERVERS}?all_tenants=1", "/compute/v2.1/os-hypervisors"):
            assert (await client.get(path)).status_code == 403
    async with client_of(atoll, clouds.keystone.token("admin", "demo")) as client:
        refused = await client.get("/compute/v2.1/os-hypervisors")
        assert refused.status_code == 403, "nothing was given to be an administrator with"
        assert "credential" in refused.text


async def test_a_cloud_whose_entry_cannot_be_used_is_named_and_the_others_go_on(
    start_atoll, clouds, log_lines
):
    credentials = clouds.credentials("demo")
    credentials[0]["clouds_yaml"] = "nowhere"
    atoll = await start_atoll(clouds.auth_url, clouds.sites, credentials=credentials, **clouds.tables)
    await until(lambda: [one for one in log_lines if one["event"] == "credential_refused"])
    (told,) = [one for one in log_lines if one["event"] == "credential_refused"]
    assert (told["cloud"], "nowhere" in told["reason"]) == ("cloud1", True)
    async with client_of(atoll, clouds.keystone.token("admin")) as client:
        shown = (await client.get("/atoll/v1/clouds")).json()["clouds"]
        assert ["nowhere" in one["trouble"] for one in shown] == [True, False]
    async with client_of(atoll, clouds.keystone.token()) as client:
        listed = await client.get(f"{SERVERS}/detail")
        assert listed.status_code == 200
        assert "site1" in listed.headers["x-atoll-missing-sites"]
        await boot(client, clouds, "site2")


async def test_an_entry_of_another_cloud_is_not_sent_there(start_atoll, clouds):
    credentials = clouds.credentials("demo")
    credentials[0]["clouds_yaml"] = "cloud2"
    atoll = await start_atoll(clouds.auth_url, clouds.sites, credentials=credentials, **clouds.tables)
    async with client_of(atoll, clouds.keystone.token()) as client:
        answer = await client.post(SERVERS, json=server_body(clouds.cloud, "a", availability_zone="site1"))
    assert answer.status_code in {403, 409, 503}
    assert "site1" in answer.text
    assert [one for one in clouds.cloud.site("site1").keystone.listener.seen if one.method == "POST"] == []


async def test_the_short_way_answers_as_the_ordinary_one(user, clouds):
    made = await boot(user, clouds, "site1")
    answers = [await user.get(f"{SERVERS}/{made}") for _ in range(3)]
    ordinary = await user.get(f"{SERVERS}/{made}?x=1")  # a query: not on the short way
    assert {one.text for one in answers} == {ordinary.text}
    no_foreign_id(clouds, ordinary.text)
