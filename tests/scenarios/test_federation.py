"""Clouds whose Keystones believe the clients' own: callers are themselves there, by the word of that."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll
from tests.scenarios.apart import Apart, apart, cloud_name
from tests.scenarios.conftest import SERVERS, Client, client_of, instances_of, server_body

from atoll.sandbox.simulated import Fault, Site
from atoll.sandbox.simulated.federation import Federation

ZONES = ("site1", "site2")


@dataclass(slots=True)
class Federated:
    """`links` are who lets the clients' users in, by the name of the site."""

    clouds: Apart
    links: dict[str, Federation]
    atoll: Atoll

    def site(self, name: str = "site1") -> Site:
        return self.clouds.cloud.site(name)

    def exchanges(self, name: str = "site1") -> int:
        """How many assertions a site's cloud was handed."""
        seen = self.site(name).keystone.listener.seen
        return sum(one.target.endswith("/SAML2/ECP") for one in seen)

    def revoke(self, name: str) -> None:
        """Make every token of a site's Keystone invalid."""
        for token in self.site(name).keystone.store.tokens.values():
            token.revoked = True

    def add_user(self, user: str, project: str, *roles: str) -> None:
        """A user of the clients' Keystone, maybe with a project that is nowhere else."""
        store = self.clouds.keystone.store
        if store.named("projects", project) is None:
            store.add_project(project)
        store.add_user(user, "x", store.id_of("project", project), *roles)

    def client(self, user: str = "demo", project: str | None = None) -> Client:
        return client_of(self.atoll, self.clouds.keystone.token(user, project))


@pytest.fixture
async def federated(tmp_path, start_atoll: StartAtoll) -> AsyncIterator[Federated]:
    async with apart(tmp_path) as clouds:
        links = {
            site.name: Federation(clouds.keystone, site.keystone, f"sp-{site.name}")
            for site in clouds.cloud.sites
        }
        tables = clouds.tables
        for site in clouds.cloud.sites:
            more = {"trust": "federated", "service_provider": f"sp-{site.name}"}
            tables["clouds"][cloud_name(site)] |= more
        atoll = await start_atoll(clouds.auth_url, clouds.sites, **tables)
        await atoll.settled()
        yield Federated(clouds, links, atoll)


@pytest.fixture
async def user(federated: Federated) -> AsyncIterator[Client]:
    async with federated.client() as client:
        yield client


async def boot(user: Client, federated: Federated, zone: str) -> str:
    body = server_body(federated.clouds.cloud, zone, availability_zone=zone)
    answer = await user.post(SERVERS, json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


def servers(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["servers"]
    return found


async def test_servers_of_all_clouds_are_one_list_by_the_clients_ids(user, federated):
    made = [await boot(user, federated, zone) for zone in ZONES]
    answer = await user.get(f"{SERVERS}/detail")
    listed = servers(answer)
    assert "x-atoll-missing-sites" not in answer.headers
    keystone = federated.clouds.keystone
    assert {one["id"] for one in listed} == set(made)
    assert {one["tenant_id"] for one in listed} == {keystone.project_id("demo")}
    assert {one["user_id"] for one in listed} == {keystone.store.id_of("user", "demo")}
    for ident in made:
        assert (await user.get(f"{SERVERS}/{ident}")).json()["server"]["id"] == ident
        assert (await user.delete(f"{SERVERS}/{ident}")).status_code == 204


async def test_each_user_is_somebody_of_their_own_there_and_asks_once(user, federated):
    federated.add_user("second", "demo", "member", "reader")
    mine = await boot(user, federated, "site1")
    async with federated.client("second", "demo") as other:
        theirs = await boot(other, federated, "site1")
        for _ in range(3):
            shown = servers(await other.get(f"{SERVERS}/detail"))
    store = federated.clouds.keystone.store
    owners = {one["id"]: one["user_id"] for one in shown}
    assert owners == {mine: store.id_of("user", "demo"), theirs: store.id_of("user", "second")}
    there = {one.user_id for one in instances_of(federated.site())}
    assert len(there) == 2
    assert there.isdisjoint(owners.values())
    assert federated.exchanges() == 2


async def test_a_role_taken_away_is_taken_away_there(user, federated):
    await boot(user, federated, "site1")
    store = federated.clouds.keystone.store
    demo, project = store.id_of("user", "demo"), store.id_of("project", "demo")
    store.assignments -= {(demo, project, "member")}
    async with federated.client() as less:
        assert len(servers(await less.get(f"{SERVERS}/detail"))) == 1
        body = server_body(federated.clouds.cloud, "x", availability_zone="site1")
        assert (await less.post(SERVERS, json=body)).status_code == 403
    assert federated.exchanges() == 2, "what the member had is not used for the reader"


async def test_all_who_wait_are_served_by_one_exchange(user, federated):
    answers = await asyncio.gather(*(user.get(f"{SERVERS}/detail") for _ in range(20)))
    assert {one.status_code for one in answers} == {200}
    assert federated.exchanges() == 1


@pytest.mark.parametrize("what", ["list", "by id", "create"])
async def test_a_401_of_a_site_is_answered_by_a_new_exchange(user, federated, what):
    made = await boot(user, federated, "site1")
    federated.revoke("site1")
    if what == "list":
        assert [one["id"] for one in servers(await user.get(f"{SERVERS}/detail"))] == [made]
    elif what == "by id":
        assert (await user.get(f"{SERVERS}/{made}")).status_code == 200
    else:
        await boot(user, federated, "site1")
    assert federated.exchanges() == 2


async def test_a_keystone_that_is_away_is_named_and_left_alone_for_a_while(user, federated):
    made = {zone: await boot(user, federated, zone) for zone in ZONES}
    federated.site().keystone.faults.add(Fault("status", status=503))
    federated.revoke("site1")
    answer = await user.get(f"{SERVERS}/{made['site1']}")
    assert answer.status_code == 503
    assert "site1" in answer.text
    assert "503" in answer.text
    before = federated.exchanges()
    for _ in range(5):
        listed = await user.get(f"{SERVERS}/detail")
        assert [one["id"] for one in servers(listed)] == [made["site2"]]
        assert "site1" in listed.headers["x-atoll-missing-sites"]
    assert federated.exchanges() - before <= 1, "it is not asked for every request"
    federated.site().keystone.faults.clear()
    async with asyncio.timeout(30):
        while len(servers(await user.get(f"{SERVERS}/detail"))) < 2:  # noqa: ASYNC110 - asking makes it so
            await asyncio.sleep(0.1)


async def test_a_project_that_is_unknown_at_a_cloud_has_nothing_there(federated):
    federated.add_user("outsider", "outside", "member", "reader")
    federated.site("site1").keystone.store.add_project("outside")
    async with federated.client("outsider", "outside") as other:
        for _ in range(2):
            answer = await other.get(f"{SERVERS}/detail")
            assert servers(answer) == []
            assert "x-atoll-missing-sites" not in answer.headers
        anywhere = await other.post(SERVERS, json=server_body(federated.clouds.cloud, "x"))
        assert anywhere.status_code == 202, anywhere.text
        assert len(instances_of(federated.site("site1"))) == 1
        body = server_body(federated.clouds.cloud, "x", availability_zone="site2")
        refused = await other.post(SERVERS, json=body)
        assert refused.status_code == 403
        assert "site2" in refused.text
        assert "no project outside" in refused.text
        assert "mapping" in refused.text
    assert federated.exchanges("site2") == 1


async def test_a_caller_whom_the_mapping_does_not_know_is_told_who_could_change_that(federated):
    federated.add_user("outsider", "outside", "member", "reader")
    for link in federated.links.values():
        link.mapped = lambda *_: {}
    async with federated.client("outsider", "outside") as other:
        refused = await other.get(f"{SERVERS}/detail")
    assert refused.status_code == 403
    assert "mapping" in refused.text


async def test_a_revoked_token_of_the_caller_is_401_and_no_fault_of_another(federated):
    keystone = federated.clouds.keystone
    first, second = keystone.token(), keystone.token()
    async with client_of(federated.atoll, first) as gone, client_of(federated.atoll, second) as still:
        # Both are known to the gateway before one of them is revoked behind its back.
        for one in (gone, still):
            assert (await one.get("/network/v2.0/networks")).status_code == 200
        keystone.store.tokens[first].revoked = True
        made = await boot(still, federated, "site1")
        federated.revoke("site1")
        refused = await gone.get(f"{SERVERS}/{made}")
        assert refused.status_code == 401
        assert (await still.get(f"{SERVERS}/{made}")).status_code == 200
        assert (await gone.get(f"{SERVERS}/{made}")).status_code == 401


async def test_a_token_of_another_project_than_was_asked_for_is_not_used(federated, user):
    sp = federated.site().keystone
    alt = {
        "id": sp.project_id("alt_demo"),
        "name": "alt_demo",
        "domain": {"id": "default", "name": "Default"},
    }
    describe = sp.describe

    def lying(token: Any, *, catalog: bool = True) -> dict[str, Any]:
        said = describe(token, catalog=catalog)
        return {**said, "project": alt} if "project" in said else said

    sp.describe = lying
    answer = await user.get(f"{SERVERS}/detail")
    assert servers(answer) == []
    assert "another project" in answer.headers["x-atoll-missing-sites"]
    seen = federated.site().listener.seen
    assert [one.target for one in seen if one.header("x-auth-token")] == []


@pytest.mark.parametrize("url", ["auth_url", "sp_url"])
async def test_an_assertion_goes_nowhere_but_where_the_configuration_says(federated, url):
    provider = federated.clouds.keystone.service_providers["sp-site1"]
    elsewhere = federated.site("site2").keystone
    provider[url] = provider[url].replace(federated.site().keystone.url, elsewhere.url)
    async with federated.client() as client:
        answer = await client.get(f"{SERVERS}/detail")
    assert "the clients' Keystone says" in answer.headers["x-atoll-missing-sites"]
    assert federated.exchanges("site1") == 0
    assert federated.exchanges("site2") == 1, "its own"


async def test_an_identity_provider_that_names_no_such_service_provider_is_said(federated, user):
    del federated.clouds.keystone.service_providers["sp-site1"]
    answer = await user.get(f"{SERVERS}/detail")
    assert "no service provider sp-site1" in answer.headers["x-atoll-missing-sites"]


async def test_nobody_is_an_administrator_there_who_is_none_here(federated):
    federated.links["site1"].mapped = lambda _, project, roles: {project: roles | {"admin"}}
    async with federated.client() as user:
        answer = await user.get(f"{SERVERS}/detail")
        assert "administrator" in answer.headers["x-atoll-missing-sites"]
        refused = await user.get(f"{SERVERS}/detail?all_tenants=1")
        assert refused.status_code == 403


async def test_administrators_are_administrators_where_the_cloud_says_so_too(federated, user):
    made = [await boot(user, federated, zone) for zone in ZONES]
    async with federated.client("admin") as admin:
        listed = servers(await admin.get(f"{SERVERS}/detail?all_tenants=1"))
    assert {one["id"] for one in listed} == set(made)
    assert {one["tenant_id"] for one in listed} == {federated.clouds.keystone.project_id("demo")}


async def test_no_credential_is_kept_for_a_federated_cloud(federated):
    body = {
        "cloud": "cloud1",
        "project_id": federated.clouds.keystone.project_id("demo"),
        "auth_type": "password",
        "auth": {"username": "demo", "password": "x"},
    }
    async with federated.client("admin") as admin:
        refused = await admin.post("/atoll/v1/credentials", json=body)
        assert refused.status_code == 400
        assert "federated" in refused.text
        clouds = (await admin.get("/atoll/v1/clouds")).json()["clouds"]
    assert {one["trust"] for one in clouds} == {"federated"}
