"""A server of a real region that nobody reaches any more, made anew at the other one of its copies there."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.e2e.outages.conftest import ONE, SERVERS, TWO, Real, Start, boot, delete, until_gone
from tests.e2e.sites import STATE
from tests.running import Atoll
from tests.scenarios.test_site_commands import Commands

from atoll.sites import health

RUNS = "/atoll/v1/runs"
VOLUMES = "/block-storage/v3/volumes"
ENDS = {"done", "undone", "dirty", "parked", "killed"}
SECONDS = 600.0
VERSION = {"OpenStack-API-Version": "compute 2.85"}


@pytest.fixture
async def atoll(start: Start, real: Real, monkeypatch: pytest.MonkeyPatch) -> Atoll:
    """One that may act for its users, and looks often whether a site is there."""
    monkeypatch.setattr(health, "INTERVAL", 0.5)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", f"{STATE}/clouds.yaml")
    return await start(runs=real.tables["runs"])


async def until(user: httpx.AsyncClient, path: str, look: Callable[[Any], bool]) -> Any:
    """What is at a path, once `look` says so."""
    async with asyncio.timeout(SECONDS):
        while not look(shown := next(iter((await user.get(path)).json().values()))):  # noqa: ASYNC110 - a site's
            await asyncio.sleep(0.2)
    return shown


async def started(user: httpx.AsyncClient, definition: str, **given: str) -> str:
    """The path of a run."""
    answer = await user.post(RUNS, json={"definition": definition, "input": given})
    assert answer.status_code == 202, answer.text
    return f"{RUNS}/{answer.json()['run']['id']}"


async def ended(user: httpx.AsyncClient, run: str) -> Any:
    """A run at its end."""
    return await until(user, run, lambda one: one["state"] in ENDS)


async def with_volume(user: httpx.AsyncClient, name: str, zone: str) -> tuple[str, str]:
    """A server, and a volume that is to go with it."""
    (server,) = await boot(user, name, zone)
    body = {"volume": {"name": name, "size": 1, "availability_zone": zone}}
    volume = str((await user.post(VOLUMES, json=body)).json()["volume"]["id"])
    await until(user, f"{VOLUMES}/{volume}", lambda one: one["status"] == "available")
    attachment = {"volumeAttachment": {"volumeId": volume, "delete_on_termination": True}}
    path = f"{SERVERS}/{server}/os-volume_attachments"
    assert (await user.post(path, json=attachment, headers=VERSION)).status_code == 200
    await until(user, f"{VOLUMES}/{volume}", lambda one: one["status"] == "in-use")
    return server, volume


async def evacuated(commands: Commands, server: str) -> str:
    """The run that has made it anew: who follows it is not kept waiting for the dead site."""
    done = await commands.run("run", "start", "server.evacuate", "-i", f"server={server}", "--follow")
    assert (done.exit_code, f"waits for the site {TWO}" in done.stderr) == (0, True), done.output
    return done.stdout.splitlines()[-1].split()[1]


async def result_of(user: httpx.AsyncClient, run_id: str, step: str) -> Any:
    """What a step of a run that is done gave."""
    run = (await user.get(f"{RUNS}/{run_id}")).json()["run"]
    assert run["state"] == "done", run
    return next(one["result"] for one in run["steps"] if one["name"] == step)


async def protected(user: httpx.AsyncClient, server: str) -> Any:
    """The recovery point that was made of it."""
    run = await ended(user, await started(user, "server.protect", server=server, site=ONE))
    assert run["state"] == "done", run
    (point,) = (await user.get("/atoll/v1/recovery-points")).json()["recovery_points"]
    return point


async def test_it_runs_elsewhere_and_of_the_old_one_nothing_is_lost(
    atoll: Atoll, real: Real, token: str, name: str
) -> None:
    async with atoll.client(token) as user:
        server, volume = await with_volume(user, name, real.sites[TWO].zone)
        point = await protected(user, server)

        commands = Commands(atoll.url, token)
        assert await commands.told("recovery", "list", "--source", TWO) == [point]
        assert await commands.told("recovery", "list", "--source", ONE) == []

        real.refuse(TWO)
        run_id = await evacuated(commands, server)
        assert (await user.get(f"{RUNS}/{run_id}")).json()["run"]["state"] == "running"
        shown = (await user.get(f"{SERVERS}/{server}", headers=VERSION)).json()["server"]
        assert (shown["status"], shown["name"]) == ("ACTIVE", name)
        assert shown["OS-EXT-AZ:availability_zone"] == real.sites[ONE].zone
        (attached,) = shown["os-extended-volumes:volumes_attached"]
        assert attached == {"id": point["volumes"][0], "delete_on_termination": True}

        await asyncio.sleep(2.0)  # some probes say that it is away
        following = asyncio.create_task(commands.run("run", "follow", run_id, "--wait-all"))
        await real.accept(TWO)
        whole = await following
        assert whole.exit_code == 0, whole.output
        old = await result_of(user, run_id, "old")
        assert (await real.servers(TWO, name), old["volumes"]) == ([], [volume])
        kept = (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]
        assert kept["status"] == "available"
        assert (await real.at(TWO, "image", f"/v2/images/{old['image']}"))["status"] == "active"
        await delete(user, server)
        await until_gone(user, f"{VOLUMES}/{point['volumes'][0]}")
        for image in (old["image"], point["image"]):
            assert (await user.delete(f"/image/v2/images/{image}")).status_code == 204


async def test_deleted_while_its_region_is_away_it_does_not_come_back_with_it(
    atoll: Atoll, real: Real, token: str, name: str
) -> None:
    async with atoll.client(token) as user:
        (server,) = await boot(user, name, real.sites[TWO].zone)
        point = await protected(user, server)
        real.refuse(TWO)
        run_id = await evacuated(Commands(atoll.url, token), server)
        await delete(user, server)
        await asyncio.sleep(2.0)  # some probes say that it is away
        await real.accept(TWO)
        seen: list[int] = []
        async with asyncio.timeout(SECONDS):
            while (run := (await user.get(f"{RUNS}/{run_id}")).json()["run"])["state"] not in ENDS:
                seen.append((await user.get(f"{SERVERS}/{server}")).status_code)
                listed = await user.get(SERVERS, params={"name": name})
                # 503: while the region is away a list by name that is empty says nothing.
                assert listed.status_code == 503 or listed.json()["servers"] == [], listed.text
                await asyncio.sleep(0.2)
        assert (run["state"], set(seen)) == ("done", {404}), seen
        assert await real.servers(TWO, name) == []
        old = await result_of(user, run_id, "old")
        for image in (old["image"], point["image"]):
            assert (await user.delete(f"/image/v2/images/{image}")).status_code == 204


async def test_copies_at_a_region_that_is_none_of_atolls_any_more_are_named_and_forgotten(
    atoll: Atoll, real: Real, start: Start, token: str, name: str
) -> None:
    async with atoll.client(token) as user:
        (server,) = await boot(user, name, real.sites[TWO].zone)
        point = await protected(user, server)
    await atoll.end()

    alone = await start(only=[TWO], runs=real.tables["runs"])
    async with alone.client(token) as user:
        listed = (await Commands(alone.url, token).run("recovery", "list")).output
        assert f"{ONE} (removed)" in listed
        run = await ended(user, await started(user, "server.unprotect", server=server))
        assert run["state"] == "done", run
        left = {"site": ONE, "kind": "image", "id": point["image"]}
        assert run["steps"][0]["result"] == {"left": [left]}
        assert (await user.get("/atoll/v1/recovery-points")).json()["recovery_points"] == []
        await delete(user, server)
    await alone.end()

    both = await start()
    async with both.client(token) as user:
        assert (await user.delete(f"/image/v2/images/{point['image']}")).status_code == 204
