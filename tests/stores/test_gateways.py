"""Gateways on one database, over real sockets: what one learns all know, and its loss loses nothing."""

import asyncio
import collections
import contextlib
import itertools
import random
import uuid
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from tests.conftest import StartAtoll
from tests.running import sites_of
from tests.scenarios.conftest import SERVERS, boot, created_anywhere, instances_of
from tests.stores.plain import changed, on
from tests.stores.relay import Relay

from atoll.core.accepted_servers import AskedFlavor, AskedServer
from atoll.sandbox.simulated import Cloud
from atoll.store import open_store

LIMITS = {"fan_out_per_second": 100_000.0, "fan_out_burst": 100_000}
COUNTS = "SELECT site, COUNT(*) FROM locations WHERE resource_type = 'server' GROUP BY site"
WAIT = 15.0


class Gateways:
    """Gateways on one database, each with a client of the same user."""

    def __init__(self, start: StartAtoll, cloud: Cloud, url: str) -> None:
        self._start, self._cloud, self._url = start, cloud, url
        self._clients = contextlib.AsyncExitStack()

    async def another(self, url: str = "") -> httpx.AsyncClient:
        """A client of a gateway that just started, and so has nothing in memory."""
        tables = {"store": {"url": url or self._url}, "limits": LIMITS}
        running = await self._start(self._cloud.keystone.auth_url, sites_of(self._cloud), **tables)
        await running.settled()
        return await self._clients.enter_async_context(running.client(self._cloud.keystone.token()))

    async def end(self) -> None:
        await self._clients.aclose()


@pytest.fixture
async def gateways(start_atoll: StartAtoll, cloud: Cloud, database_url: str) -> AsyncIterator[Gateways]:
    """Made as they are asked for."""
    made = Gateways(start_atoll, cloud, database_url)
    yield made
    await made.end()


def quiet(cloud: Cloud) -> None:
    """Forget what the sites were asked so far."""
    for site in cloud.sites:
        site.listener.seen.clear()


def asked(cloud: Cloud, word: str) -> list[tuple[str, str]]:
    """(site, target) of what the sites were asked since, as far as it has a word in it."""
    return [
        (site.name, seen.target) for site in cloud.sites for seen in site.listener.seen if word in seen.target
    ]


async def recorded(url: str) -> dict[str, int]:
    """How many servers the table has at each site; none where there is no table."""
    try:
        rows = await on(url, lambda connection: connection.execute(text(COUNTS)).fetchall())
    except SQLAlchemyError:
        return {}
    return {row[0]: row[1] for row in rows}


async def learnt(url: str, wanted: dict[str, int]) -> None:
    """Wait until the table has so many servers at each site."""
    async with asyncio.timeout(WAIT):
        while await recorded(url) != wanted:  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(0.05)


async def test_what_one_creates_the_other_reads_without_a_search(gateways: Gateways, cloud: Cloud) -> None:
    first, second = await gateways.another(), await gateways.another()
    for zone in ("site1", "site2", "site3"):
        server = await boot(first, cloud, zone)
        quiet(cloud)
        assert (await second.get(f"{SERVERS}/{server}")).status_code == 200
        assert [site for site, _ in asked(cloud, server)] == [zone]


async def test_what_one_lists_the_other_reads_without_a_search(
    gateways: Gateways, cloud: Cloud, database_url: str
) -> None:
    first, second = await gateways.another(), await gateways.another()
    cloud.bulk(30, "uniform")
    servers = [one["id"] for one in (await first.get(SERVERS)).json()["servers"]]
    await learnt(database_url, created_anywhere(cloud))
    quiet(cloud)
    for server in servers:
        assert (await second.get(f"{SERVERS}/{server}")).status_code == 200
    assert len(asked(cloud, SERVERS.removeprefix("/compute"))) == 30


async def test_pages_in_turn_at_two_gateways(gateways: Gateways, cloud: Cloud) -> None:
    """Each takes up the list where the other left it: no site is asked from the start again."""
    both = itertools.cycle([await gateways.another(), await gateways.another()])
    cloud.bulk(60, "hot")
    found: list[str] = []
    while True:
        marker = {"marker": found[-1]} if found else {}
        quiet(cloud)
        page = (await next(both).get(SERVERS, params={"limit": "7", **marker})).json()["servers"]
        if not page:
            break
        if found:
            begun = {site.name for site in cloud.sites for one in instances_of(site) if one.id in found}
            again = [target for site, target in asked(cloud, "limit=") if site in begun]
            assert [target for target in again if "marker=" not in target] == []
        found += [one["id"] for one in page]
    assert len(found) == len(set(found)) == 60


async def test_a_delete_at_one_is_seen_at_the_other(gateways: Gateways, cloud: Cloud) -> None:
    first, second = await gateways.another(), await gateways.another()
    server = await boot(first, cloud, "site2")
    assert (await second.delete(f"{SERVERS}/{server}")).status_code == 204
    for client in (first, second, await gateways.another()):
        assert (await client.get(f"{SERVERS}/{server}")).status_code == 404


LOST = {
    "emptied": ("DELETE FROM locations", "DELETE FROM conflicts", "DELETE FROM cursors"),
    "dropped": ("DROP TABLE locations", "DROP TABLE conflicts", "DROP TABLE cursors"),
}


class Load:
    """Clients that read servers by id, and one that creates them, until the end."""

    def __init__(self, cloud: Cloud, servers: list[str]) -> None:
        self._cloud = cloud
        self.servers = servers
        self.answers: collections.Counter[int] = collections.Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False

    def read(self, client: httpx.AsyncClient) -> None:
        """Have one more client read."""
        self._tasks.append(asyncio.get_running_loop().create_task(self._read(client, len(self._tasks))))

    def create(self, client: httpx.AsyncClient) -> None:
        """Have a client create."""
        self._tasks.append(asyncio.get_running_loop().create_task(self._create(client)))

    async def end(self) -> None:
        """Let all of them finish. Raises what any of them failed with."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _read(self, client: httpx.AsyncClient, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311
        while not self._over:
            answer = await client.get(f"{SERVERS}/{dice.choice(self.servers)}")
            self.answers[answer.status_code] += 1

    async def _create(self, client: httpx.AsyncClient) -> None:
        while not self._over:
            self.servers.append(await boot(client, self._cloud))
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("loss", LOST)
async def test_with_the_table_lost_under_load_every_server_is_reachable_all_the_time(
    gateways: Gateways, cloud: Cloud, database_url: str, loss: str
) -> None:
    """One gateway knows all, one learns as it goes, one starts when the table is lost already."""
    first, second = await gateways.another(), await gateways.another()
    cloud.bulk(90, "uniform")
    load = Load(cloud, [one["id"] for one in (await first.get(SERVERS)).json()["servers"]])
    await learnt(database_url, created_anywhere(cloud))
    for client in (first, second, first, second):
        load.read(client)
    load.create(first)
    await asyncio.sleep(0.2)
    await changed(database_url, *LOST[loss])
    third = await gateways.another()
    load.read(third)
    await asyncio.sleep(0.5)
    await load.end()
    assert set(load.answers) == {200}
    for client in (first, second, third):
        await all_reachable(client, load.servers)
    await learnt_again(gateways, cloud, database_url, load.servers)


async def all_reachable(client: httpx.AsyncClient, servers: list[str]) -> None:
    for server in servers:
        assert (await client.get(f"{SERVERS}/{server}")).status_code == 200


async def learnt_again(gateways: Gateways, cloud: Cloud, url: str, servers: list[str]) -> None:
    """What a gateway with an empty memory had to search for is on record again, for all."""
    await all_reachable(await gateways.another(), servers)
    await learnt(url, created_anywhere(cloud))
    newest = await gateways.another()
    quiet(cloud)
    await all_reachable(newest, servers)
    assert len(asked(cloud, "/servers/")) == len(servers), "one request for each, and no search"
    assert (await newest.delete(f"{SERVERS}/{servers[0]}")).status_code == 204


async def test_dropped_tables_are_made_again_by_the_gateways_themselves(
    gateways: Gateways, cloud: Cloud, database_url: str
) -> None:
    """Without a restart, and what is listed then is on record."""
    client = await gateways.another()
    servers = [await boot(client, cloud, f"site{n}") for n in (1, 2, 3)]
    await changed(database_url, *LOST["dropped"])
    other = servers[0].translate(str.maketrans("0123456789", "1234567890"))
    async with asyncio.timeout(WAIT):
        while await recorded(database_url) == {}:
            await client.get(f"{SERVERS}/{other}")  # is looked up in the table, and is nowhere
            servers.append(await boot(client, cloud, "site1"))
    assert (await client.get("/readyz")).status_code == 200
    await all_reachable(await gateways.another(), servers)


async def test_the_database_silent_under_load(
    gateways: Gateways, cloud: Cloud, database_url: str, relay: Relay
) -> None:
    """Nothing is refused, nothing waits for it for ever, and what was not recorded is once it is back."""
    first, second = [await gateways.another(relay.url(database_url)) for _ in range(2)]
    cloud.bulk(30, "uniform")
    load = Load(cloud, [one["id"] for one in (await first.get(SERVERS)).json()["servers"]])
    await learnt(database_url, created_anywhere(cloud))
    relay.hold()
    for client in (first, second):
        load.read(client)
    load.create(first)
    await asyncio.sleep(3)
    assert (await first.get("/readyz")).status_code == 503
    listed = await second.get(SERVERS, params={"limit": "5"})
    assert len(listed.json()["servers"]) == 5
    await load.end()
    assert set(load.answers) == {200}
    relay.release()
    await learnt(database_url, created_anywhere(cloud))
    async with asyncio.timeout(WAIT):
        while (await first.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - it looks now and then
            await asyncio.sleep(0.05)
    await all_reachable(await gateways.another(), load.servers)


async def test_an_alias_that_one_knows_all_know(gateways: Gateways, cloud: Cloud, database_url: str) -> None:
    """By id at once, since the database is asked before the sites; in lists within a second or two."""
    first, second = await gateways.another(), await gateways.another()
    alias, project = str(uuid.uuid4()), cloud.keystone.project_id("demo")
    store = await open_store(database_url)
    text = msgspec.json.encode(AskedServer(name="waits", flavor=AskedFlavor(id="42"))).decode()
    await store.aliases.accept(alias, project_id=project, user_id="u", asked=text)
    quiet(cloud)
    for client in (first, second):
        assert (await client.get(f"{SERVERS}/{alias}")).json()["server"]["status"] == "BUILD"
    assert asked(cloud, alias) == []
    own = await boot(first, cloud, "site2")
    assert await store.aliases.bind(alias, "site2", own)
    await store.close()
    for client in (first, second):
        async with asyncio.timeout(WAIT):
            listed: list[str] = []
            while listed != [alias]:
                listed = [one["id"] for one in (await client.get(SERVERS)).json()["servers"]]
                await asyncio.sleep(0.05)
        assert (await client.get(f"{SERVERS}/{alias}")).json()["server"]["status"] == "ACTIVE"
    # What was deleted at one is not there for the other.
    assert (await first.delete(f"{SERVERS}/{alias}")).status_code == 204
    assert (await first.get(f"{SERVERS}/{alias}")).status_code == 404
    assert (await second.get(f"{SERVERS}/{alias}")).status_code == 404


async def test_what_is_secret_is_not_taken_without_a_key(gateways: Gateways) -> None:
    client = await gateways.another()
    body = {"name": "vm", "flavorRef": "42", "user_data": "aHVzaA=="}
    given = {"create": [{"name": "vm", "create": "server", "body": body}]}
    for path in ("/atoll/v1/transactions", "/atoll/v1/transactions/plan"):
        answer = await client.post(path, json=given)
        assert answer.status_code == 409, answer.text
        assert "[secrets] key is needed" in answer.text
    del body["user_data"]
    assert (await client.post("/atoll/v1/transactions/plan", json=given)).status_code == 200
