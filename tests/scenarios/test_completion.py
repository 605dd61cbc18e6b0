"""What a shell offers where only the gateway knows it: tried as bash asks for it."""

import asyncio
import socket
import time

import pytest
from click.testing import CliRunner
from tests.running import Atoll
from tests.scenarios.conftest import Client
from tests.scenarios.probes import act, comes_to, started

from atoll.cli import completing
from atoll.cli.main import main
from atoll.sandbox.simulated import Cloud


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for the whole command; where all goes well nobody waits for it."""
    monkeypatch.setattr(completing, "SECONDS", 30.0)


async def offered(url: str, token: str, *words: str) -> list[str]:
    """What bash is told for a line whose last word is not finished."""
    env = {
        "_ATOLL_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("atoll", *words)),
        "COMP_CWORD": str(len(words)),
        "ATOLL_URL": url,
        "OS_TOKEN": token,
        "OS_CLOUD": None,
    }
    told = await asyncio.to_thread(CliRunner().invoke, main, env=env, prog_name="atoll")
    assert not told.stderr
    return [line.partition(",")[2] for line in told.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("site", "show", ""), ["site1", "site2", "site3"]),
        (("site", "drain", "site2"), ["site2"]),
        (("site", "show", "x"), []),
        (("site", "add", ""), []),
        (("zone", "add", "new", "--site", "site3"), ["site3"]),
        (("recovery", "list", "--source", "site1"), ["site1"]),
        (("run", "start", "server.ev"), ["server.evacuate"]),
        (("run", "definitions", "volume.c"), ["volume.copy"]),
    ],
)
async def test_names_that_the_gateway_knows(
    atoll: Atoll, cloud: Cloud, words: tuple[str, ...], names: list[str]
) -> None:
    assert await offered(atoll.url, cloud.keystone.token("admin"), *words) == names


async def test_users_are_offered_sites_too(atoll: Atoll, cloud: Cloud) -> None:
    token = cloud.keystone.token()
    assert await offered(atoll.url, token, "recovery", "list", "--target", "") == ["site1", "site2", "site3"]
    assert await offered(atoll.url, token, "site", "show", "") == [], "only administrators may"


async def test_each_command_offers_the_runs_it_can_act_on(atoll: Atoll, admin: Client) -> None:
    done, dead, going = [
        (await started(admin, fail=fail, sites=["site1"]))["id"] for fail in ("", "away", "away")
    ]
    await comes_to(admin, done, "done")
    await act(admin, {"id": dead}, "kill")
    await comes_to(admin, dead, "killed")
    wanted = {"show": {done, dead, going}, "cancel": {going}, "redo": {dead}, "resume": set()}
    for command, runs in wanted.items():
        assert set(await offered(atoll.url, admin.token, "run", command, "")) == runs, command
    assert await offered(atoll.url, admin.token, "repair", "") == [dead]


async def test_a_gateway_that_refuses_or_says_nothing_offers_nothing(
    atoll: Atoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await offered(atoll.url, "no such token", "site", "show", "") == []
    monkeypatch.setattr(completing, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert await offered(url, "t", "site", "show", "") == []
        assert time.monotonic() - before < 30
