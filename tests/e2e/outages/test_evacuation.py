"""A server of a real region that nobody reaches any more, made anew at the other one of its copies there."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.e2e.outages.conftest import ONE, SERVERS, TWO, Real, Start, boot, delete
from tests.e2e.sites import STATE
from tests.running import Atoll

from atoll.sites import health

RUNS = "/atoll/v1/runs"
VOLUMES = "/block-storage/v3/volumes"
ENDS = {"done", "undone", "dirty", "parked", "killed"}
SECONDS = 240.0
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


async def ended(user: httpx.AsyncClient, run: str, *, away: bool = False) -> Any:
    """A run at its end; `away`: or waiting for the site."""
    return await until(
        user, run, lambda one: one["state"] in ENDS or (away and one["waits"] == f"site/{TWO}")
    )


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


async def test_it_runs_elsewhere_and_of_the_old_one_nothing_is_lost(
    atoll: Atoll, real: Real, token: str, name: str
) -> None:
    async with atoll.client(token) as user:
        server, volume = await with_volume(user, name, real.sites[TWO].zone)
        run = await ended(user, await started(user, "server.protect", server=server, site=ONE))
        assert run["state"] == "done", run
        (point,) = (await user.get("/atoll/v1/recovery-points")).json()["recovery_points"]

        real.refuse(TWO)
        evacuation = await started(user, "server.evacuate", server=server)
        run = await ended(user, evacuation, away=True)
        assert run["state"] == "running", run
        shown = (await user.get(f"{SERVERS}/{server}", headers=VERSION)).json()["server"]
        assert (shown["status"], shown["name"]) == ("ACTIVE", name)
        assert shown["OS-EXT-AZ:availability_zone"] == real.sites[ONE].zone
        (attached,) = shown["os-extended-volumes:volumes_attached"]
        assert attached == {"id": point["volumes"][0], "delete_on_termination": True}

        await asyncio.sleep(2.0)  # some probes say that it is away
        await real.accept(TWO)
        run = await ended(user, evacuation)
        assert run["state"] == "done", run
        old = next(one["result"] for one in run["steps"] if one["name"] == "old")
        assert (await real.servers(TWO, name), old["volumes"]) == ([], [volume])
        kept = (await user.get(f"{VOLUMES}/{volume}")).json()["volume"]
        assert kept["status"] == "available"
        assert (await real.at(TWO, "image", f"/v2/images/{old['image']}"))["status"] == "active"
        await delete(user, server)
        assert (await user.get(f"{VOLUMES}/{point['volumes'][0]}")).status_code == 404
        for image in (old["image"], point["image"]):
            assert (await user.delete(f"/image/v2/images/{image}")).status_code == 204
