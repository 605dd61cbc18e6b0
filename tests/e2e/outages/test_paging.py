"""Pages of real servers, read while servers come and go, and while a region stops: each once, in order."""

import httpx
from tests.e2e.outages.conftest import MISSING, ONE, SERVERS, TWO, Real, Start, boot, delete, until_back

LIMIT = 3
PLENTY = 40  # pages: more means that it does not end


async def page_after(client: httpx.AsyncClient, found: list[str]) -> tuple[list[str], str]:
    """The next page of all servers, and the sites that it lacks."""
    params = {"limit": str(LIMIT), **({"marker": found[-1]} if found else {})}
    answer = await client.get(f"{SERVERS}/detail", params=params)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["servers"]], answer.headers.get(MISSING, "")


async def rest(client: httpx.AsyncClient, found: list[str]) -> list[str]:
    """Read all pages that follow, onto `found`; what each said was missing."""
    said = []
    for _ in range(PLENTY):
        page, missing = await page_after(client, found)
        said.append(missing)
        if not page:
            return said
        found += page
    raise AssertionError("it does not end")


async def as_one_cloud(real: Real) -> list[str]:
    """What there is, by the lists of the sites themselves: newest first, sites in order where times tie."""
    both = []
    for site in real.sites.values():
        both += site.mine.get("compute", "/servers/detail")["servers"]
    both.sort(key=lambda one: one["created"], reverse=True)  # stable
    return [one["id"] for one in both]


async def test_servers_that_come_and_go_between_pages(
    start: Start, real: Real, token: str, name: str
) -> None:
    atoll = await start()
    async with atoll.client(token) as client:
        await boot(client, name, ONE, 6)
        await boot(client, name, TWO, 6)
        before = await as_one_cloud(real)
        found, missing = await page_after(client, [])
        assert (found, missing) == (before[:LIMIT], "")
        gone = {found[-1], before[5], before[8]}
        await delete(client, *gone)  # the marker of the next page is among them
        for site in (ONE, TWO):
            await boot(client, f"{name}-new", site)
        assert set(await rest(client, found)) == {""}
        assert len(found) == len(set(found)), "something is shown twice"
        assert set(before) - gone <= set(found), "something is left out that stayed"
        there = await as_one_cloud(real)
        assert [one for one in found if one in there] == [one for one in there if one in found]
        anew: list[str] = []
        assert set(await rest(client, anew)) == {""}
        assert anew == there


async def test_a_region_that_stops_between_pages(start: Start, real: Real, token: str, name: str) -> None:
    atoll = await start()
    async with atoll.client(token) as client:
        await boot(client, name, ONE, 4)
        await boot(client, name, TWO, 4)
        before = await as_one_cloud(real)
        found, missing = await page_after(client, [])
        assert (found, missing) == (before[:LIMIT], "")
        real.refuse(TWO)
        page, missing = await page_after(client, found)
        assert TWO in missing
        found += page
        await real.accept(TWO)
        said = await rest(client, found)
        assert all(TWO in one for one in said), "back, but what it missed is missing"
        assert len(found) == len(set(found))
        of_one = {one["id"] for one in real.sites[ONE].mine.get("compute", "/servers")["servers"]}
        assert of_one <= set(found)
        assert found == [one for one in before if one in found]
        await until_back(client)
        anew: list[str] = []
        assert set(await rest(client, anew)) == {""}
        assert anew == before
