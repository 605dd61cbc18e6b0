"""The table of locations is emptied under load: every real server is reached all the while."""

import asyncio

import httpx
from tests.e2e.outages.conftest import ONE, SERVERS, TWO, Real, Start, boot, delete
from tests.scenarios.conftest import sql

EACH = 3  # servers at a site
ROUNDS = 4  # how often every server is asked for by each client
EMPTY = "DELETE FROM locations; DELETE FROM cursors; DELETE FROM conflicts;"


async def test_the_table_is_emptied_under_load(start: Start, real: Real, token: str, name: str) -> None:
    """By one Atoll that has seen them, and by others that begin on the empty table."""
    first = await start(direct=True)
    async with first.client(token) as client:
        servers = [one for site in (ONE, TWO) for one in await boot(client, name, site, EACH)]
        assert len(servers) == 2 * EACH

    async def load(client: httpx.AsyncClient) -> None:
        for _ in range(ROUNDS):
            for one in servers:
                answer = await client.get(f"{SERVERS}/{one}")
                assert answer.status_code == 200, answer.text
                assert answer.json()["server"]["id"] == one

    async def empty(done: asyncio.Event) -> None:
        times = 0
        while not done.is_set() or times <= ROUNDS:
            await sql(first.database, EMPTY)
            times += 1

    done = asyncio.Event()
    emptying = asyncio.create_task(empty(done))
    others = [first, await start(direct=True), await start(direct=True)]
    async with others[0].client(token) as a, others[1].client(token) as b, others[2].client(token) as c:
        try:
            await asyncio.gather(load(a), load(b), load(c))
        finally:
            done.set()
            await emptying
        await sql(first.database, EMPTY)
        await delete(c, *servers)
    for site in real.sites:
        assert await real.servers(site, f"{name}-1") == []
