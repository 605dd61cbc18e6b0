"""Lists while a server is at two sites, since it is moved, or made anew: it is shown once, by its one id."""

import asyncio
from typing import Any

import pytest
from tests.running import Atoll
from tests.scenarios.conftest import SERVERS, Client
from tests.scenarios.probes import comes_to
from tests.scenarios.test_evacuation import dies, evacuated, ran, returns, start
from tests.scenarios.test_image_copies import uploaded
from tests.scenarios.test_server_moves import move, moved, server_at, shown
from tests.scenarios.test_servers_brought import create, until

from atoll.gateway.aliases import Aliases
from atoll.sandbox.simulated import Cloud

PATHS = (SERVERS, f"{SERVERS}/detail", f"{SERVERS}?sort_key=created_at", f"{SERVERS}?limit=1")


@pytest.fixture
async def atoll(moving: Atoll) -> Atoll:
    """A gateway that moves things."""
    return moving


async def listed(user: Client) -> set[tuple[str, ...]]:
    """The ids of each kind of list; one where all are alike."""
    answers = [await user.get(path) for path in PATHS]
    assert [one.text for one in answers if one.status_code != 200] == []
    return {tuple(one["id"] for one in answer.json()["servers"]) for answer in answers}


def there(cloud: Cloud) -> int:
    """At how many sites it is."""
    return sum(len(site.compute.instances) for site in cloud.sites)


def hurried(cloud: Cloud) -> set[str]:
    """What servers are about to become something else, which they are at once; what they were till now."""
    were = set()
    for compute in (site.compute for site in cloud.sites):
        for one in compute.instances.of(None):
            if one.then is not None:
                were.add(one.status)
                one.then = (compute.instances.clock(), *one.then[1:])
    return were


def placing(cloud: Cloud) -> None:
    """Those that are built are being put in their cells just now."""
    for compute in (site.compute for site in cloud.sites):
        compute.servers.placing = {one.id for one in compute.instances.of(None) if one.status == "BUILD"}


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_one_that_moves_is_listed_once(user: Client, cloud: Cloud, times: int) -> None:
    server = await server_at(user, cloud, "site1")
    for number in range(1, times):
        await moved(user, server, "site2" if number % 2 else "site1")
    target = "site2" if times % 2 else "site1"
    cloud.site(target).compute.build_seconds = 600
    for site in cloud.sites:
        site.compute.delete_seconds, site.compute.dying_seconds = 600, 300
    run = (await move(user, server, target)).json()["run"]["id"]
    seen: set[str] = set()
    async with asyncio.timeout(60):
        while there(cloud) < 2 or await listed(user) != {(server,)}:  # noqa: ASYNC110 - a site's
            await asyncio.sleep(0.1)  # a site has made it before anybody knows
        while there(cloud) == 2:
            placing(cloud)
            assert await listed(user) == {(server,)}
            # Whoever looks one up by its name is told of no site that it is not there.
            answer = await user.get(f"{SERVERS}?limit=1&name=vm")
            assert [one["id"] for one in answer.json()["servers"]] == [server], answer.text
            seen |= hurried(cloud)
            await asyncio.sleep(0.1)
    await comes_to(user, run, "done")
    assert await listed(user) == {(server,)}
    assert {"BUILD", "DELETED"} <= seen


@pytest.mark.parametrize("again", [False, True], ids=["the first time", "once more"])
async def test_before_anybody_knows_the_id_of_the_new_one_it_is_listed_once(
    user: Client, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """A site has made it, and its answer has not come; or the process was killed that would have read it."""
    server = await server_at(user, cloud, "site1")
    if again:
        await moved(user, server, "site2")
    goes_on, hide = asyncio.Event(), Aliases.hide

    async def hidden(self: Aliases, site: str, site_id: str) -> None:
        await goes_on.wait()
        await hide(self, site, site_id)

    monkeypatch.setattr(Aliases, "hide", hidden)
    run = (await move(user, server, "site1" if again else "site2")).json()["run"]["id"]
    async with asyncio.timeout(60):
        while there(cloud) < 2:  # noqa: ASYNC110 - a site's
            await asyncio.sleep(0.02)
    assert await listed(user) == {(server,)}
    goes_on.set()
    await comes_to(user, run, "done")
    assert await listed(user) == {(server,)}


async def test_one_that_is_brought_is_listed_once_before_anybody_knows_its_id(
    user: Client, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await uploaded(user)
    goes_on, bind = asyncio.Event(), Aliases.bind

    async def bound(self: Aliases, *given: Any, **more: Any) -> bool:
        await goes_on.wait()
        return await bind(self, *given, **more)

    monkeypatch.setattr(Aliases, "bind", bound)
    answer = await create(user, image, availability_zone="site2")
    server = answer.json()["server"]["id"]
    async with asyncio.timeout(60):
        while there(cloud) < 1:  # noqa: ASYNC110 - a site's
            await asyncio.sleep(0.02)
    assert await listed(user) == {(server,)}
    goes_on.set()
    await until(user, server, "ACTIVE")
    assert await listed(user) == {(server,)}


async def test_one_that_was_moved_and_is_made_anew_is_listed_once_when_its_site_is_back(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    server = await server_at(user, cloud, "site3")
    await moved(user, server, "site1")
    await ran(user, "server.protect", server, site="site2")
    dies(cloud)
    run_id = await evacuated(user, server)
    assert await listed(user) == {(server,)}
    (old,) = cloud.site("site1").compute.instances.of(None)
    old.vm_state = "error"
    await returns(cloud, atoll)
    await comes_to(user, run_id, "parked")
    assert await listed(user) == {(server,)}
    assert (await shown(user, server))["OS-EXT-AZ:availability_zone"] == "site2"


async def test_one_that_cannot_be_made_there_leaves_nothing_hidden(user: Client, cloud: Cloud) -> None:
    server = await server_at(user, cloud, "site1")
    await moved(user, server, "site2")
    cloud.site("site1").compute.boot_fails = 1
    await moved(user, server, "site1", "undone")
    assert await listed(user) == {(server,)}
    assert (await start(user, "server.move", server, site="site3")).status_code == 202
