"""`atoll run`, `atoll lock` and `atoll worker` against a running gateway."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import UNKNOWN, client_of
from tests.scenarios.probes import act, started, until_run
from tests.scenarios.test_site_commands import Commands

from atoll.sandbox.simulated import Cloud


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway in front of a site; nothing is asked of it."""
    return await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))


@pytest.fixture
def commands(atoll: Atoll, cloud: Cloud) -> Commands:
    """Commands for the gateway."""
    return Commands(atoll.url, cloud.keystone.token("admin"))


def id_in(output: str) -> str:
    """The id in `Run ID is …`."""
    return output.split()[1]


async def test_started_followed_shown_and_listed(commands: Commands, tmp_path: Path) -> None:
    run, told = commands.run, commands.told
    done = await run("run", "start", "probe", "-i", "steps=2", "-i", "seconds=0.1", "--follow")
    assert done.exit_code == 0, done.output
    ident = id_in(done.output.splitlines()[-1])
    assert done.output.splitlines()[-1] == f"Run {ident} is done."
    assert [line.split("  ")[1:3] for line in done.output.splitlines()[:3]] == [
        ["run", "taken"], ["wait-1", "do"], ["wait-1", "done"],
    ]  # fmt: skip
    shown = await run("run", "show", ident, "--log")
    assert "probe: 2 steps of 0.1 s" in shown.output
    assert '{"waited": 0.1}' in shown.output
    assert "taken" in shown.output
    (whole,) = await told("run", "show", ident)
    assert [step["state"] for step in whole["steps"]] == ["done", "done"]
    file = tmp_path / "probe.json"
    file.write_text('{"steps": 7, "seconds": 0}')
    begun = await run("run", "start", "probe", "--input", str(file), "-i", "steps=1", "--key", "k")
    assert begun.exit_code == 0, begun.output
    (again,) = await told("run", "start", "probe", "--input", str(file), "-i", "steps=1", "--key", "k")
    assert again["id"] == id_in(begun.output)
    assert [step["name"] for step in again["steps"]] == ["wait-1"]
    assert [one["id"] for one in await told("run", "list")] == [again["id"], ident]
    few = await run("run", "list", "--limit", "1", "--definition", "probe")
    assert (again["id"] in few.output, ident in few.output) == (True, False)
    assert "--limit 2" in few.stderr
    assert (await run("run", "list", "--dead")).output == "There is no such run.\n"
    assert (await run("run", "prune", "--older-than-days", "1")).output == "0 runs were dropped.\n"


async def test_follow_says_by_its_status_how_it_went(commands: Commands) -> None:
    run = commands.run
    failed = await run("run", "start", "probe", "-i", "fail=refuse", "-i", "seconds=0", "--follow")
    assert failed.exit_code == 1
    ident = id_in(failed.output.splitlines()[-1])
    assert failed.output.splitlines()[-1] == f"Run {ident} is undone: wait-3: it was told to fail."
    parked = await run(
        "run", "start", "probe", "-i", "fail=refuse", "-i", "pivot=true", "-i", "seconds=0", "--follow"
    )
    assert parked.exit_code == 1
    assert "atoll run explain" in parked.stderr
    events = await run("run", "follow", ident, "--format", "json")
    lines = [json.loads(line) for line in events.stdout.splitlines()]
    assert (events.exit_code, lines[-1]["event"], lines[-1]["data"]["state"]) == (1, "end", "undone")


async def test_paused_resumed_cancelled_and_redone(commands: Commands) -> None:
    run = commands.run
    ident = id_in((await run("run", "start", "probe", "-i", "seconds=0.3", "-i", "steps=20")).output)
    paused = await run("run", "pause", ident)
    assert (paused.exit_code, "is to be paused" in paused.output) == (0, True), paused.output
    await until_said(commands, ident, "is paused.")
    assert f"atoll run resume {ident}" in (await run("run", "explain", ident)).output
    refused = await run("run", "redo", ident)
    assert (refused.exit_code, "Allowed now: resume, cancel, kill" in refused.output) == (1, True)
    assert "goes on" in (await run("run", "resume", ident)).output
    assert "is to be undone" in (await run("run", "cancel", ident)).output
    await until_said(commands, ident, "is undone.")
    assert "is tried again" in (await run("run", "redo", ident)).output
    aborted = await run("run", "kill", ident, stdin="n\n")
    assert aborted.exit_code == 1
    killed = await run("run", "kill", ident, "--yes", "--reason", "enough")
    assert (killed.exit_code, "was killed; it is killed" in killed.output) == (0, True), killed.output
    assert [one["id"] for one in await commands.told("run", "list", "--dead")] == [ident]


async def test_followed_through_a_cancel_of_somebody_else(
    commands: Commands, atoll: Atoll, cloud: Cloud
) -> None:
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        begun = await started(admin, steps=20, seconds=0.3)
        following = asyncio.create_task(commands.run("run", "follow", begun["id"]))
        await until_run(admin, begun["id"], lambda run: run["steps"][0]["state"] == "done")
        await act(admin, begun, "cancel")
        followed = await following
    assert (followed.exit_code, "wait-1  done" in followed.output) == (1, True), followed.output
    assert followed.output.splitlines()[-1] == f"Run {begun['id']} is undone: cancelled."


async def until_said(commands: Commands, ident: str, text: str) -> None:
    """Wait until `atoll run explain` says something."""
    async with asyncio.timeout(30):
        while text not in (said := (await commands.run("run", "explain", ident)).output):
            assert "Run" in said, said


async def test_locks_workers_and_what_is_suspect(commands: Commands) -> None:
    run, told = commands.run, commands.told
    assert (await run("lock", "list")).output == "Nothing is locked.\n"
    words = ("seconds=0", "lock=door", "fail=away", 'sites=["site1"]')
    start = ("run", "start", "probe", *(one for word in words for one in ("-i", word)))
    holder, waiter = [id_in((await run(*start)).output) for _ in range(2)]
    locks = await run("lock", "list", "--path", "probe/door")
    assert "probe: 3 steps of 0 s" in locks.output
    assert {(one["run_id"], one["granted"]) for one in await told("lock", "list")} == {
        (holder, True), (waiter, False),
    }  # fmt: skip
    explained = await run("run", "explain", waiter)
    assert f"Run {holder} (probe: 3 steps of 0 s), which is running, holds the lock" in explained.output
    (worker,) = await told("worker", "list")
    assert worker["runs"] in {0, 1}
    assert "PID" not in (await run("worker", "list")).output
    assert (await run("run", "suspects")).output == "Nothing is suspect.\n"
    for one in (holder, waiter):
        assert (await run("run", "kill", one, "--yes")).exit_code == 0
    assert {one["resource"] for one in await told("run", "suspects")} == {"probe/door"}
    assert "is not suspect" in (await run("run", "clear", "probe/window")).output
    assert (await run("run", "clear", "probe/door")).output == "probe/door is suspect no more.\n"
    assert (await run("run", "suspects")).output == "Nothing is suspect.\n"


async def test_definitions_are_listed_and_drawn(commands: Commands) -> None:
    listed = await commands.run("run", "definitions")
    assert "probe" in listed.output
    drawn = await commands.run("run", "definitions", "probe")
    assert "flowchart TD" in drawn.output
    assert "fail_times" in drawn.output
    (whole,) = await commands.told("run", "definitions", "probe@1")
    assert whole["version"] == 1


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["run", "show", UNKNOWN], 1, "There is no run"),
        (["run", "follow", UNKNOWN], 1, "There is no run"),
        (["run", "start", "nothing"], 1, "there are"),
        (["run", "start", "probe", "-i", "steps"], 2, "KEY=VALUE"),
        (["run", "start", "probe", "-i", "steps=many"], 1, "$.steps"),
        (["run", "start", "probe", "--input", "-"], 2, "not JSON"),
        (["run", "list", "--state", "lost"], 2, "queued"),
        (["run", "definitions", "nothing"], 1, "There is no definition nothing"),
        (["run", "prune"], 2, "--older-than-days"),
    ],
)
async def test_what_is_refused_is_a_sentence(
    commands: Commands, words: list[str], status: int, said: str
) -> None:
    done = await commands.run(*words)
    assert (done.exit_code, said in done.output) == (status, True), done.output


async def test_a_gateway_that_is_not_there_cannot_be_followed() -> None:
    done = await Commands("http://127.0.0.1:1", "nonsense").run("run", "follow", UNKNOWN)
    assert (done.exit_code, "the gateway is away" in done.output) == (1, True), done.output
