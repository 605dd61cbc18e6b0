"""What is promised about trust holds at clouds with Keystones of their own as where one is shared."""

import copy
from collections.abc import AsyncIterator

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.origin import Origin
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart, asked
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, client_of, instances_of, server_body, writes
from tests.scenarios.keystones import keystone_of

from atoll.gateway.call import new_request_id
from atoll.services.catalog import SERVICES

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

SINCE = {"OpenStack-API-Version": "compute 2.69"}


@pytest.fixture
async def clouds(tmp_path, monkeypatch) -> AsyncIterator[Apart]:
    async with apart(tmp_path) as made:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(made.clouds_yaml))
        store = made.keystone.store
        store.add_user("colleague", "x", made.keystone.project_id("demo"), "member", "reader")
        store.assignments.add((store.id_of("user", "demo"), store.id_of("project", "alt_demo"), "member"))
        yield made


@pytest.fixture
async def atoll(start_atoll: StartAtoll, clouds: Apart) -> Atoll:
    running = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo", "alt_demo", "admin"),
        limits={"fan_out_burst": 10_000}, **clouds.tables,
    )  # fmt: skip
    await running.settled()
    return running


@pytest.fixture
async def user(atoll: Atoll, clouds: Apart) -> AsyncIterator[Client]:
    async with client_of(atoll, clouds.keystone.token()) as client:
        yield client


async def boot(client: Client, clouds: Apart, zone: str = "site1") -> str:
    answer = await client.post(SERVERS, json=server_body(clouds.cloud, availability_zone=zone))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


async def test_a_system_scoped_token_is_for_atolls_own_api_only(start_atoll, clouds):
    system = keystone_of({"system": {"all": True}, "roles": [{"id": "1", "name": "admin"}]})
    async with Origin(system) as top:
        atoll = await start_atoll(
            f"{top.url}/identity/v3", clouds.sites, credentials=clouds.credentials("admin"), **clouds.tables
        )
        await atoll.settled()
        async with client_of(atoll, "system") as client:
            for name in ("compute", "block-storage", "image", "network"):
                version = SERVICES[name].versions[0]
                for path in ("", *(line.path for line in SERVICES[name].rows)):
                    target = f"/{name}/{version}/{path.replace('{id}', UNKNOWN).replace('**', 'x') or 'none'}"
                    ident = new_request_id()
                    answer = await client.get(target, headers={"X-OpenStack-Request-ID": ident})
                    assert (answer.status_code, asked(clouds, ident)) == (403, []), target
            assert (await client.get("/atoll/v1/sites")).status_code == 200
        await atoll.end()


async def test_the_project_in_a_path_is_the_tokens(user, clouds):
    """Neither another of the clients' nor the site's own id of it, which only the site should know."""
    mine = clouds.keystone.project_id("demo")
    others = (clouds.keystone.project_id("alt_demo"), clouds.cloud.site("site1").keystone.project_id("demo"))
    for path in ("/block-storage/v3/{}/volumes/detail", "/compute/v2.1/{}/servers/detail"):
        assert (await user.get(path.format(mine))).status_code == 200
        for other in others:
            ident = new_request_id()
            answer = await user.get(path.format(other), headers={"X-OpenStack-Request-ID": ident})
            assert answer.status_code in {400, 403, 404}, (path, answer.text)
            assert [one.target for _, one in asked(clouds, ident) if "detail" in one.target] == []


async def test_a_service_token_and_other_claims_reach_no_cloud(user, clouds):
    made = await boot(user, clouds)
    claims = {"X-Service-Token": user.token, "X-Service-Roles": "service", "X_Service_Token": "other"}
    for path in (f"{SERVERS}/{made}", f"{SERVERS}/{made}?x=1", f"{SERVERS}/detail"):
        for _ in range(2):
            ident = new_request_id()
            answer = await user.get(path, headers={**claims, "X-OpenStack-Request-ID": ident})
            assert answer.status_code == 200
            seen = asked(clouds, ident)
            assert seen
            for _, one in seen:
                assert not any("service" in name.lower() for name, _ in one.headers)


async def test_what_was_found_or_not_for_one_is_not_for_another_user_project_or_role(atoll, user, clouds):
    """The same user in two projects, two users of one, and the same with another role there."""
    store = clouds.keystone.store
    made = await boot(user, clouds)
    path = f"{SERVERS}/{made}"
    async with (
        client_of(atoll, clouds.keystone.token("demo", "alt_demo")) as elsewhere,
        client_of(atoll, clouds.keystone.token("colleague", "demo")) as colleague,
        client_of(atoll, clouds.keystone.token("alt_demo")) as other,
    ):
        for _ in range(3):
            found = [(await one.get(path)).status_code for one in (elsewhere, user, other, colleague)]
            assert found == [404, 200, 404, 200]
        for client, count in ((elsewhere, 0), (user, 1), (other, 0), (colleague, 1)):
            listed = await client.get(f"{SERVERS}/detail")
            assert len(listed.json()["servers"]) == count
    store.add_user("nothing", "x", clouds.keystone.project_id("demo"), "auditor")
    async with client_of(atoll, clouds.keystone.token("nothing", "demo")) as client:
        for _ in range(2):
            assert (await client.get(path)).status_code == 403, "the same project, no role that reads"


async def test_where_a_private_image_is_known_to_be_helps_nobody_else(atoll, user, clouds):
    """Whether the site is asked at all is told by what comes back."""
    image = clouds.cloud.site("site1").image
    ident = image.add(
        "mine", b"x", owner=clouds.cloud.site("site1").keystone.project_id("demo"), visibility="private",
        disk_format="raw", container_format="bare",
    )["id"]  # fmt: skip
    body = server_body(clouds.cloud, availability_zone="site1")
    body["server"]["imageRef"] = ident
    assert (await user.post(SERVERS, json=body)).status_code == 202
    fresh = server_body(clouds.cloud, availability_zone="site1")
    fresh["server"]["imageRef"] = UNKNOWN
    for name, project in (("demo", "alt_demo"), ("alt_demo", "alt_demo")):
        async with client_of(atoll, clouds.keystone.token(name, project)) as other:
            said = [await other.post(SERVERS, json=one) for one in (body, fresh)]
            texts = [one.text.replace(ident, "ID").replace(UNKNOWN, "ID") for one in said]
            assert (said[0].status_code, texts[0]) == (said[1].status_code, texts[1])


@pytest.mark.parametrize("seen_in", ["a list", "a search", "nothing before"])
async def test_two_clouds_that_claim_one_id_are_a_conflict_for_writes(start_atoll, clouds, seen_in):
    there, site = (clouds.cloud.site(name) for name in ("site2", "site1"))
    there.bulk(iter([1_700_000_000]))
    (instance,) = instances_of(there)
    for one, where in ((instance, there), (copy.copy(instance), site)):
        one.project_id, one.user_id = (
            where.keystone.project_id("demo"),
            where.keystone.store.id_of("user", "demo"),
        )
        where.compute.instances.add(one)
    atoll = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo"), **clouds.tables
    )
    await atoll.settled()
    path = f"{SERVERS}/{instance.id}"
    async with client_of(atoll, clouds.keystone.token()) as user:
        if seen_in != "nothing before":
            assert (await user.get(f"{SERVERS}/detail" if seen_in == "a list" else path)).status_code == 200
        for answer in (
            await user.delete(path),
            await user.put(path, json={"server": {"name": "x"}}),
            await user.post(f"{path}/action", json={"os-stop": None}),
        ):
            assert answer.status_code == 409, answer.text
            assert "site1" in answer.text
            assert "site2" in answer.text
    assert writes(clouds.cloud) == []


async def test_servers_of_a_cloud_that_is_away_are_their_projects_only(atoll, user, clouds):
    made = await boot(user, clouds, "site2")
    async with client_of(atoll, clouds.keystone.token("alt_demo")) as other:
        theirs = await boot(other, clouds, "site2")
        clouds.cloud.site("site2").refuse()
        for client, ident, project in ((user, made, "demo"), (other, theirs, "alt_demo")):
            answer = await client.get(f"{SERVERS}/detail", headers=SINCE)
            assert "site2" in answer.headers["x-atoll-missing-sites"]
            (one,) = answer.json()["servers"]
            assert (one["id"], one["status"]) == (ident, "UNKNOWN")
            assert one["tenant_id"] == clouds.keystone.project_id(project)
            refused = await client.get(f"{SERVERS}/detail?all_tenants=1", headers=SINCE)
            assert refused.status_code == 403
    async with client_of(atoll, clouds.keystone.token("demo", "alt_demo")) as elsewhere:
        answer = await elsewhere.get(f"{SERVERS}/detail", headers=SINCE)
        assert [one["id"] for one in answer.json()["servers"]] == [theirs]
    async with client_of(atoll, clouds.keystone.token("admin", "demo")) as admin:
        every = await admin.get(f"{SERVERS}/detail?all_tenants=1", headers=SINCE)
        assert {one["id"] for one in every.json()["servers"]} == {made, theirs}


async def test_a_project_whose_credential_was_never_given_is_not_told_what_is_at_that_cloud(
    start_atoll, clouds
):
    """Not even as missing: nothing of it is there."""
    credentials = [*clouds.credentials("demo"), clouds.credentials("alt_demo")[0]]
    atoll = await start_atoll(clouds.auth_url, clouds.sites, credentials=credentials, **clouds.tables)
    await atoll.settled()
    async with client_of(atoll, clouds.keystone.token()) as user:
        await boot(user, clouds, "site2")
    clouds.cloud.site("site2").refuse()
    async with client_of(atoll, clouds.keystone.token("alt_demo")) as other:
        answer = await other.get(f"{SERVERS}/detail", headers=SINCE)
        assert (answer.json()["servers"], "x-atoll-missing-sites" in answer.headers) == ([], False)
