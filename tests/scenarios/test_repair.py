"""What killed and dirty runs have left at the sites: shown beside what is to be there, and mended."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import Client, client_of
from tests.scenarios.probes import RUNS, act, comes_to, until_run
from tests.scenarios.test_image_copies import at, copied, uploaded
from tests.scenarios.test_transactions import accepted, everything, server, volume

from atoll.cli.main import main
from atoll.gateway import transaction
from atoll.sandbox.simulated import Cloud, Fault
from atoll.sites import health

Repair = Callable[..., Awaitable[Result]]


@pytest.fixture
async def atoll(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Atoll:
    """A gateway with a user of its own at the clients' Keystone."""
    monkeypatch.setattr(health, "INTERVAL", 0.3)
    monkeypatch.setattr(transaction, "POLL_SECONDS", (0.02, 0.02))
    running = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), runs=own_user)
    await running.settled()
    return running


@pytest.fixture
def repair(atoll: Atoll, user: Client, monkeypatch: pytest.MonkeyPatch) -> Repair:
    """The command."""
    monkeypatch.delenv("OS_CLOUD", raising=False)
    monkeypatch.setenv("OS_TOKEN", user.token)
    monkeypatch.setenv("ATOLL_URL", atoll.url)

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, ["repair", *words])

    return run


async def compared(user: Client, run: dict[str, Any]) -> dict[str, Any]:
    """A run beside the sites."""
    answer = await user.get(f"{RUNS}/{run['id']}/compare")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_killed_copy_is_shown_and_undone(user: Client, cloud: Cloud, repair: Repair) -> None:
    image = await uploaded(user)
    cloud.site("site2").faults.add(Fault("stall", service="image", method="PUT"))
    run = await copied(user, image, "site2", "site3")
    await until_run(user, run["id"], lambda _: at(cloud, "site2", image) and at(cloud, "site3", image))
    assert (await act(user, run, "kill")).status_code == 200
    cloud.site("site2").faults.clear()
    seen = await compared(user, run)
    assert (seen["state"], seen["fix"]) == ("killed", "redo")
    assert [one["there"].split(" (")[0] for one in seen["steps"]] == [f"image {image}"] * 2
    assert seen["differs"] == ["copy-1", "copy-2"]
    dry = await repair("--dry-run")
    assert (dry.exit_code, image in dry.stdout) == (1, True), dry.output
    assert at(cloud, "site2", image) is not None
    mended = await repair("--yes")
    assert mended.exit_code == 0, mended.output
    assert at(cloud, "site2", image) is at(cloud, "site3", image) is None
    again = await repair("--dry-run")
    assert (again.exit_code, again.stdout.strip()) == (0, "No run has left anything behind.")
    await comes_to(user, (await copied(user, image, "site2"))["id"], "done")  # it is no longer suspect


async def test_what_could_not_be_undone_goes_when_it_can(user: Client, cloud: Cloud, repair: Repair) -> None:
    before = await everything(user)
    fault = Fault("status", service="volume", method="DELETE", status=400)
    cloud.site("site1").faults.add(fault)
    run = await accepted(
        user,
        create=[
            volume("one", "site1"),
            volume("two", "site2"),
            server(cloud, "vm", "site2", flavorRef="no-such-flavor") | {"after": ["one", "two"]},
        ],
    )
    run = await comes_to(user, run["id"], "dirty", "undone", "done")
    assert run["state"] == "dirty"
    seen = await compared(user, run)
    assert (seen["differs"], [one["name"] for one in seen["steps"]]) == (["one"], ["one"])
    cloud.site("site1").faults.clear()
    assert (await repair(run["id"], "--yes")).exit_code == 0
    assert await everything(user) == before


async def test_a_site_that_is_away_is_not_taken_for_empty(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    run = await comes_to(user, (await copied(user, image, "site2"))["id"], "done")
    assert (await compared(user, run))["differs"] == []
    cloud.site("site2").faults.add(Fault("refuse"))
    (step,) = (await compared(user, run))["steps"]
    assert (step["there"], "site2" in step["unknown"]) == ("", True)
    assert (await compared(user, run))["differs"] == ["copy-1"]


async def test_what_somebody_else_deleted_is_told(user: Client, cloud: Cloud) -> None:
    image = await uploaded(user)
    run = await comes_to(user, (await copied(user, image, "site2"))["id"], "done")
    del cloud.site("site2").image.images[image]
    seen = await compared(user, run)
    assert (seen["differs"], seen["fix"]) == (["copy-1"], "")


async def test_one_that_has_ended_well_is_looked_at_as_who_asks(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    run = await comes_to(user, (await accepted(user, create=[volume("one", "site1")]))["id"], "done")
    (step,) = (await compared(user, run))["steps"]
    assert "volume" in step["there"], str(step)
    async with client_of(atoll, cloud.keystone.token("admin", "admin")) as other_project:
        (step,) = (await compared(other_project, run))["steps"]
        assert "trust" in step["unknown"]
    cloud.site("site1").block_storage.volumes.clear()
    assert (await compared(user, run))["differs"] == [step["name"]]


async def test_others_do_not_see_it(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    run = await comes_to(user, (await accepted(user, create=[volume("one", "site1")]))["id"], "done")
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        assert (await other.get(f"{RUNS}/{run['id']}/compare")).status_code == 404
