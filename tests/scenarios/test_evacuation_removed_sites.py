"""Servers whose copies, or whose own site, were at a site that was taken out of the configuration since."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from tests.running import Atoll
from tests.scenarios.conftest import SERVERS, Client, StartMoving, client_of
from tests.scenarios.probes import act, comes_to
from tests.scenarios.test_evacuation import dies, evacuated, points, ran, start, with_volume
from tests.scenarios.test_server_moves import shown
from tests.scenarios.test_site_commands import Commands

from atoll.sandbox.simulated import Cloud
from atoll.workflow import machine

StartedAnew = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
async def atoll(moving: Atoll) -> Atoll:
    """A gateway that moves things."""
    return moving


@pytest.fixture
def anew(atoll: Atoll, user: Client, start_moving: StartMoving) -> StartedAnew:
    """The gateway stopped, and started with the named sites only: as the user sees it."""

    @asynccontextmanager
    async def with_sites(*names: str) -> AsyncIterator[Client]:
        await atoll.end()
        async with client_of(await start_moving(*names), user.token) as client:
            yield client

    return with_sites


async def test_copies_at_a_removed_site_are_named_and_forgotten(
    user: Client, cloud: Cloud, anew: StartedAnew
) -> None:
    server, _ = await with_volume(user, cloud)
    await ran(user, "server.protect", server, site="site2")
    (point,) = await points(user)
    assert (point["source_known"], point["target_known"]) == (True, True)
    async with anew("site1", "site3") as now:
        (point,) = await points(now)
        assert (point["source_known"], point["target_known"]) == (True, False)
        listed = (await Commands(str(now.base_url), now.token).run("recovery", "list")).output
        assert "site2 (removed)" in listed
        refused = await start(now, "server.evacuate", server)
        assert (refused.status_code, "none of Atoll's any more" in refused.text) == (409, True), refused.text
        run = await ran(now, "server.unprotect", server)
        assert "left are those at site2: none of Atoll's any more" in run["purpose"]
        assert run["steps"][0]["result"] == {
            "left": [
                {"site": "site2", "kind": "volume", "id": point["volumes"][0]},
                {"site": "site2", "kind": "image", "id": point["image"]},
            ]
        }
        assert await points(now) == []
    assert point["volumes"][0] in cloud.site("site2").block_storage.volumes


async def test_copies_at_a_removed_site_make_room_for_newer_ones(
    user: Client, cloud: Cloud, anew: StartedAnew
) -> None:
    server, _ = await with_volume(user, cloud)
    await ran(user, "server.protect", server, site="site2")
    (older,) = await points(user)
    async with anew("site1", "site3") as now:
        run = await ran(now, "server.protect", server, site="site3")
        (newer,) = await points(now)
        assert (newer["id"], newer["target"]) == (run["id"], "site3")
        dropped = next(step["result"] for step in run["steps"] if step["name"] == "drop-1")
        assert [one["id"] for one in dropped["left"]] == [older["volumes"][0], older["image"]]


async def test_a_server_of_a_removed_site_is_made_anew(user: Client, cloud: Cloud, anew: StartedAnew) -> None:
    server, _ = await with_volume(user, cloud)
    await ran(user, "server.protect", server, site="site2")
    async with anew("site2", "site3") as now:
        (point,) = await points(now)
        assert (point["source_known"], point["target_known"]) == (False, True)
        run = await ran(now, "server.evacuate", server)
        assert "old" not in [step["name"] for step in run["steps"]]
        assert (await shown(now, server))["OS-EXT-AZ:availability_zone"] == "site2"
        assert await points(now) == []
    assert cloud.site("site1").compute.instances.get(server) is not None
    async with anew("site1", "site2", "site3") as now:
        assert len((await now.get(SERVERS)).json()["servers"]) == 1
        assert (await now.delete(f"{SERVERS}/{server}")).status_code == 204
        async with asyncio.timeout(30):  # what nothing has retired is seen again
            while (await now.get(f"{SERVERS}/{server}")).status_code != 404:  # noqa: ASYNC110 - HTTP
                await asyncio.sleep(0.05)
            while (await now.get(f"{SERVERS}/{server}")).status_code != 200:  # noqa: ASYNC110 - HTTP
                await asyncio.sleep(0.05)
        assert (await shown(now, server))["OS-EXT-AZ:availability_zone"] == "site1"


async def test_the_copies_of_a_server_of_a_removed_site_are_deleted(
    user: Client, cloud: Cloud, anew: StartedAnew
) -> None:
    server, _ = await with_volume(user, cloud)
    await ran(user, "server.protect", server, site="site2")
    async with anew("site2", "site3") as now:
        run = await ran(now, "server.unprotect", server)
        assert run["steps"][0]["result"] is None
    assert len(cloud.site("site2").block_storage.volumes) == 0


async def test_an_old_server_whose_site_is_removed_is_told_to_an_operator(
    user: Client, cloud: Cloud, anew: StartedAnew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "AWAY_SECONDS", 3.0)
    server, _ = await with_volume(user, cloud)
    await ran(user, "server.protect", server, site="site2")
    dies(cloud)
    run_id = await evacuated(user, server)
    async with anew("site2", "site3") as now:
        run = await comes_to(now, run_id, "parked")
        assert f"none of Atoll's any more: the old server {server} there was not stopped" in run["reason"]
        assert (await shown(now, server))["status"] == "ACTIVE"
        assert (await act(now, run, "kill")).is_success
