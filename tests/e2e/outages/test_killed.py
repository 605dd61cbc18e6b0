"""SIGKILL of an Atoll at the moment a real site has taken a create: no server is lost with it."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.e2e.outages.conftest import ONE, SERVERS, TWO, VERSION, Real, delete, recorded, server_body
from tests.e2e.outages.way import Ask
from tests.origin import Exchange
from tests.running import TLS
from tests.scenarios.between import process_before

MOMENTS = ["before its record", "after its record"]
Kill = Callable[[], Awaitable[None]]
Killed = Callable[[Path, str], Awaitable[None]]


@pytest.fixture(params=MOMENTS)
def on_record(request: pytest.FixtureRequest) -> bool:
    """Whether Atoll lives long enough to remember the server that it made."""
    return bool(request.param == MOMENTS[1])


@pytest.fixture
def killed(real: Real, token: str, tmp_path: Path, on_record: bool) -> Killed:
    """Create a server at RegionTwo by an Atoll, on a store, that is killed then."""

    async def create(store: Path, name: str) -> None:
        way = real.ways[TWO]["compute"]
        async with process_before(real.auth_url, real.by_ways, store, tmp_path, **real.settings()) as (
            process,
            url,
        ):

            async def kill() -> None:
                process.kill()
                await process.wait()

            headers = {"X-Auth-Token": token, **VERSION}
            async with httpx.AsyncClient(base_url=url, verify=TLS, headers=headers, timeout=60) as client:
                asking = client.post(SERVERS, json=server_body(name, TWO))
                if on_record:
                    assert (await asking).status_code == 202
                    await kill()
                    return
                way.when("POST", "/servers", between_answer_and_record(kill))
                with pytest.raises(httpx.TransportError):
                    await asking

    return create


def between_answer_and_record(kill: Kill) -> Callable[[Exchange, Ask], Awaitable[None]]:
    """The site has said 202, and Atoll is killed before that arrives."""

    async def act(exchange: Exchange, ask: Ask) -> None:
        said = await ask()
        assert said.status_code == 202, said.text
        await kill()
        exchange.drop()

    return act


@pytest.fixture(params=["same store", "empty store"])
def store(request: pytest.FixtureRequest, database: Path, empty_database: Path, tmp_path: Path) -> Path:
    """What the killed Atoll had: the store of the next one, or one that is lost."""
    same = request.param == "same store"
    return database if same else Path(shutil.copy(empty_database, tmp_path / "lost.db"))


async def test_a_server_outlives_the_atoll_that_made_it(
    start_atoll: StartAtoll, real: Real, token: str, name: str, store: Path, on_record: bool, killed: Killed
) -> None:
    await killed(store, name)
    (made,) = await real.servers(TWO, name)
    assert await real.servers(ONE, name) == []
    assert recorded(store, made) == ([TWO] if on_record else [])

    again = await start_atoll(real.auth_url, real.direct, **real.settings())
    kept = store == again.database
    assert recorded(again.database, made) == ([TWO] if on_record and kept else [])
    async with again.client(token) as client:
        assert (await client.get(f"{SERVERS}/{made}")).status_code == 200
        listed = (await client.get(SERVERS, params={"name": name})).json()["servers"]
        assert [one["id"] for one in listed] == [made]
        await delete(client, made)
    assert await real.servers(TWO, name) == []
