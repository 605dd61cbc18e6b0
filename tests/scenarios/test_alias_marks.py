"""Servers that say by their metadata which id clients hold for them: what brings lost aliases back."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import SERVERS, Client, boot, client_of, instances_of, sql

from atoll.sandbox.simulated import Cloud, Fault
from atoll.store import Store, open_store

DETAIL = f"{SERVERS}/detail"
MARK = "atoll_id"


@pytest.fixture
async def store(atoll: Atoll) -> AsyncIterator[Store]:
    """The gateway's database, as another process has it open."""
    opened = await open_store(f"sqlite:///{atoll.database}")
    yield opened
    await opened.close()


async def found(client: Client, alias: str, status: int = 200) -> bool:
    """Whether a server is found by its alias before long, with lists passing by."""
    for _ in range(400):
        await client.get(DETAIL)
        if (await client.get(f"{SERVERS}/{alias}")).status_code == status:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_lost_table_is_rebuilt_as_lists_pass_by(
    atoll: Atoll, user: Client, cloud: Cloud, store: Store
) -> None:
    alias = str(uuid.uuid4())
    own = await boot(user, cloud, "site2", metadata={MARK: alias})
    project = cloud.keystone.project_id("demo")
    await store.aliases.bind(alias, "site2", own, project_id=project)
    assert (await user.get(f"{SERVERS}/{alias}")).status_code == 200
    await sql(atoll.database, "DELETE FROM aliases; UPDATE alias_revision SET number = 0")
    await user.get(f"{SERVERS}/{uuid.uuid4()}")  # is looked up in the database: it is seen to be another
    assert (await user.get(f"{SERVERS}/{alias}")).status_code == 404
    assert await found(user, alias)
    server = (await user.get(f"{SERVERS}/{alias}")).json()["server"]
    assert (server["id"], server["metadata"]) == (alias, {MARK: alias})
    assert [one["id"] for one in (await user.get(SERVERS)).json()["servers"]] == [alias]
    assert (await user.delete(f"{SERVERS}/{alias}")).status_code == 204


async def test_another_projects_mark_takes_nothing(
    atoll: Atoll, user: Client, admin: Client, cloud: Cloud, store: Store
) -> None:
    """Neither an alias that is on record, nor one that was lost, nor a site's own id."""
    project = cloud.keystone.project_id("demo")
    alias, lost = str(uuid.uuid4()), str(uuid.uuid4())
    own = await boot(user, cloud, "site2", name="own")
    await store.aliases.bind(alias, "site2", own, project_id=project)
    plain = await boot(user, cloud, "site1", name="plain")
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        for victim in (alias, lost, plain):
            await boot(other, cloud, "site3", name="bad", metadata={MARK: victim})
        await looked_at_anew(admin, other)
        assert await found(other, lost), "of its own project alone that is no harm"
        assert (await other.get(f"{SERVERS}/{alias}")).status_code == 404
    await boot(user, cloud, "site2", name="was lost", metadata={MARK: lost})
    await looked_at_anew(admin, user)
    assert await found(user, lost)
    names = {
        ident: (await user.get(f"{SERVERS}/{ident}")).json()["server"]["name"]
        for ident in (alias, lost, plain)
    }
    assert names == {alias: "own", lost: "was lost", plain: "plain"}
    for ident in (alias, lost, plain):
        assert (await user.delete(f"{SERVERS}/{ident}")).status_code == 204


async def looked_at_anew(admin: Client, client: Client) -> None:
    """Have the gateway forget where a client's servers are: what lists show of them is new to it."""
    for one in (await client.get(DETAIL)).json()["servers"]:
        await admin.delete(f"/atoll/v1/locations/{one['id']}")


async def test_a_sites_own_id_wins_within_a_project(
    user: Client, admin: Client, cloud: Cloud, log_lines: list[dict[str, object]]
) -> None:
    plain = await boot(user, cloud, "site1", name="plain")
    liar = await boot(user, cloud, "site2", name="liar", metadata={MARK: plain})
    assert (await admin.delete(f"/atoll/v1/locations/{liar}")).status_code == 204
    await user.get(DETAIL)
    async with asyncio.timeout(30):
        while not any(line["event"] == "alias_refused" for line in log_lines):  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.02)
    assert (await user.get(f"{SERVERS}/{plain}")).json()["server"]["name"] == "plain"
    assert (await user.get(f"{SERVERS}/{liar}")).json()["server"]["id"] == liar


async def test_nothing_is_believed_while_a_site_is_away(
    user: Client, admin: Client, cloud: Cloud, log_lines: list[dict[str, object]]
) -> None:
    """It might be the one that has a server of that id; once it answers, the mark is looked into again."""
    alias = str(uuid.uuid4())
    own = await boot(user, cloud, "site2", metadata={MARK: alias})
    assert (await admin.delete(f"/atoll/v1/locations/{own}")).status_code == 204
    cloud.site("site1").faults.add(Fault("status", service="compute", status=500))
    await user.get(DETAIL)
    async with asyncio.timeout(30):
        while not any(line["event"] == "alias_not_found_again" for line in log_lines):  # noqa: ASYNC110 - a log
            await asyncio.sleep(0.02)
    assert (await user.get(f"{SERVERS}/{alias}")).status_code == 503
    cloud.site("site1").faults.clear()
    assert await found(user, alias)


async def test_two_that_claim_one_id_are_a_conflict_for_writes(
    user: Client, admin: Client, cloud: Cloud
) -> None:
    alias = str(uuid.uuid4())
    for site in ("site1", "site3"):
        own = await boot(user, cloud, site, name=site, metadata={MARK: alias})
        assert (await admin.delete(f"/atoll/v1/locations/{own}")).status_code == 204
        assert await found(user, alias)
    assert await found_conflict(user, alias)
    assert (await user.get(f"{SERVERS}/{alias}")).json()["server"]["name"] == "site1"
    answer = await user.delete(f"{SERVERS}/{alias}")
    assert answer.status_code == 409
    assert "site1, site3" in answer.text
    check = await admin.post("/atoll/v1/sites/site3/check", json={})
    assert alias in check.text
    # Taken off one of them, and forgotten by the operator, it is found again as the other's.
    assert (await user.delete(f"{SERVERS}/{own}/metadata/{MARK}")).status_code == 204
    assert (await admin.delete(f"/atoll/v1/locations/{alias}")).status_code == 204
    first = next(one for one in (await user.get(DETAIL)).json()["servers"] if one["name"] == "site1")
    assert (await admin.delete(f"/atoll/v1/locations/{first['id']}")).status_code == 204
    assert await found(user, alias)
    assert (await user.delete(f"{SERVERS}/{alias}")).status_code == 204


async def found_conflict(client: Client, alias: str) -> bool:
    """Whether a change is refused before long."""
    for _ in range(400):
        await client.get(DETAIL)
        answer = await client.put(f"{SERVERS}/{alias}/metadata/x", json={"meta": {"x": "y"}})
        if answer.status_code == 409:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_many_are_found_again_with_one_list(start_atoll: StartAtoll, cloud: Cloud) -> None:
    """Although a project may not ask all sites as often at once as that takes."""
    limits = {"fan_out_per_second": 200.0, "fan_out_burst": 10}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), limits=limits)
    for site in cloud.sites:
        site.bulk(iter(range(20)), "demo")
        for one in instances_of(site):
            one.metadata[MARK] = str(uuid.uuid4())
    wanted = {one.metadata[MARK] for site in cloud.sites for one in instances_of(site)}
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        assert (await admin.get(DETAIL, params={"all_tenants": "1"})).status_code == 200
    store = await open_store(f"sqlite:///{atoll.database}")
    async with asyncio.timeout(30):
        while {one.id for one in (await store.aliases.since(0)).aliases} != wanted:  # noqa: ASYNC110 - SQL
            await asyncio.sleep(0.05)
    await store.close()
    async with client_of(atoll, cloud.keystone.token()) as user:
        assert {one["id"] for one in (await user.get(SERVERS)).json()["servers"]} == wanted
