"""Workers as members of a group at an etcd, a Redis and a ZooKeeper, which come and go."""

import asyncio
import contextlib
import gc
import itertools
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import client_of
from tests.scenarios.probes import comes_to, started
from tests.scenarios.test_site_commands import Commands
from tests.stores.daemons import PASSWORD, Daemon
from tests.stores.one_member import nobody

from atoll.sandbox.simulated import Cloud
from atoll.worker import group as group_module
from atoll.worker.group import Group

# What a lost connection leaves is tooz's to close.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

WORKERS = "/atoll/v1/workers"
SEEN_SECONDS = 20.0
"""Until something that happened at a coordinator is seen, at most."""

SESSION_SECONDS = 30

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _left_open() -> Iterator[None]:
    """Have what was left open closed while the warnings of it are passed over."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(group_module, "BACKOFF_SECONDS", (0.2, 0.5))
    monkeypatch.setattr(group_module, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(group_module, "FRESH_SECONDS", 2.0)


@pytest.fixture
def name() -> str:
    """A group that nobody was in."""
    return f"atoll{next(_numbers)}"


@contextlib.asynccontextmanager
async def member(url: str, group: str, worker: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is a member."""
    command = (sys.executable, "-m", "tests.stores.one_member", url, group, worker)
    process = await asyncio.create_subprocess_exec(*command)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def ids(group: Group) -> set[str]:
    """The members of a group, as far as they are known."""
    return {one.id for one in group.seen().members or ()}


async def test_members_join_leave_and_die(coordinator: Daemon, name: str) -> None:
    """The other two leave: one as a worker does that gets a new id, and in the end; one is killed."""
    group = Group(name, lambda: coordinator.url)
    long = f"{coordinator.url}{'&' if '?' in coordinator.url else '?'}timeout={SESSION_SECONDS:d}"
    other = Group(name, lambda: long)
    now = ["b"]
    task = asyncio.ensure_future(group.run(lambda: "a", nobody))
    leaving = asyncio.ensure_future(other.run(lambda: now[0], nobody))
    async with member(coordinator.url, name, "c") as dying:
        await until(lambda: ids(group) == {"a", "b", "c"}, SEEN_SECONDS)
        assert {one.about for one in group.seen().members or ()} == {
            f"{socket.gethostname()} pid {pid}" for pid in (os.getpid(), dying.pid)
        }
        dying.kill()
        now[0] = "b2"
        await until(lambda: ids(group) == {"a", "b2"}, SEEN_SECONDS)
    leaving.cancel()
    await asyncio.wait({leaving})
    await until(lambda: ids(group) == {"a"}, SESSION_SECONDS / 2)  # it left: its session has not ended
    task.cancel()
    await asyncio.wait({task})


class Watched:
    """A gateway whose workers are members of a group."""

    def __init__(self, admin: httpx.AsyncClient, atoll: Atoll) -> None:
        self.admin, self.atoll = admin, atoll

    async def page(self) -> Any:
        """The workers and the group, as shown."""
        return (await self.admin.get(WORKERS)).json()

    async def until(self, answers: bool) -> Any:
        """The same once the coordinator answers, or does not."""
        async with asyncio.timeout(SEEN_SECONDS):
            while (page := await self.page())["group"]["answers"] is not answers:  # noqa: ASYNC110 - a thread's
                await asyncio.sleep(0.05)
        return page

    async def ready(self) -> str:
        """What the gateway says of itself; it can serve."""
        answer = await self.admin.get("/readyz")
        assert answer.status_code == 200
        return answer.text


@pytest.fixture
async def start_watched(
    start_atoll: StartAtoll, cloud: Cloud, tmp_path: Path, name: str
) -> AsyncIterator[Any]:
    """Start gateways by the URL of a coordinator; "" for one without."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(url: str) -> Watched:
            file = tmp_path / "coordinator"
            if url:
                file.write_text(url)
            runs = {"coordination_url": f"file:{file}", "coordination_group": name} if url else {}
            atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"), runs=runs)
            admin = await stack.enter_async_context(client_of(atoll, cloud.keystone.token("admin")))
            return Watched(admin, atoll)

        yield start


async def test_a_coordinator_that_is_away_at_the_start_keeps_nothing_from_going_on(
    coordinator: Daemon, start_watched: Any, name: str
) -> None:
    coordinator.stop()
    try:
        watched = await start_watched(coordinator.url)
        await comes_to(watched.admin, (await started(watched.admin))["id"], "done")
        page = await watched.page()
        assert [one["in_group"] for one in page["workers"]] == [None]
        assert page["group"] == {"answers": False, "reason": page["group"]["reason"], "not_in_database": []}
        assert page["group"]["reason"]
        said = await watched.ready()
        assert said.startswith("ready; the coordinator of workers does not answer (")
        commands = Commands(watched.atoll.url, watched.admin.headers["X-Auth-Token"])
        assert "The coordinator does not answer: " in (await commands.run("worker", "list")).stderr
    finally:
        coordinator.start()
    page = await watched.until(answers=True)
    assert [one["in_group"] for one in page["workers"]] == [True]
    assert await watched.ready() == "ready\n"
    stranger = asyncio.ensure_future(Group(name, lambda: coordinator.url).run(lambda: "stranger", nobody))
    async with asyncio.timeout(SEEN_SECONDS):
        while not (await watched.page())["group"]["not_in_database"]:  # noqa: ASYNC110 - a thread's
            await asyncio.sleep(0.05)
    (row,) = await commands.told("worker", "list")
    assert row["in_group"] is True
    said = (await commands.run("worker", "list")).stderr
    assert said.startswith("In the group, and not alive in the database: stranger (")
    stranger.cancel()
    await asyncio.wait({stranger})


async def test_a_coordinator_that_goes_away_and_comes_back_takes_no_run_from_its_worker(
    coordinator: Daemon, start_watched: Any, log_lines: list[Any]
) -> None:
    watched = await start_watched(coordinator.url)
    await watched.until(answers=True)
    under_way = await started(watched.admin, steps=1, seconds=4)
    coordinator.stop()
    try:
        page = await watched.until(answers=False)
        assert [one["in_group"] for one in page["workers"]] == [None]
    finally:
        coordinator.start()
    run = await comes_to(watched.admin, under_way["id"], "done")
    assert run["takeovers"] == 0
    page = await watched.until(answers=True)
    assert [one["in_group"] for one in page["workers"]] == [True]
    assert "group_joined_again" in [one["event"] for one in log_lines]
    assert PASSWORD not in str(log_lines)


async def test_who_is_in_the_database_or_in_the_group_alone_is_shown_and_logged(
    redis: Daemon, start_watched: Any, name: str, log_lines: list[Any], monkeypatch
) -> None:
    monkeypatch.setattr(group_module, "COMPARE_SECONDS", 0.2)

    def compared() -> list[Any]:
        return [one for one in log_lines if one["event"] == "group_compared"]

    watched = await start_watched(redis.url)
    (mine,) = (await watched.until(answers=True))["workers"]
    outside = await start_watched("")
    (other,) = [one for one in (await outside.page())["workers"] if one["id"] != mine["id"]]
    await until(compared, SEEN_SECONDS)
    assert (compared()[-1]["not_in_group"], compared()[-1]["log_level"]) == ([other["id"]], "warning")
    assert {one["id"]: one["in_group"] for one in (await watched.page())["workers"]} == {
        mine["id"]: True,
        other["id"]: False,
    }
    async with member(redis.url, name, "stranger") as stranger:
        await until(lambda: len(compared()) > 1, SEEN_SECONDS)
        (shown,) = (await watched.page())["group"]["not_in_database"]
        assert shown["id"] == "stranger"
        assert shown["about"].endswith(f" pid {stranger.pid}")
        assert compared()[-1]["not_in_database"] == [f"stranger {shown['about']}"]
    await outside.atoll.end()
    await until(
        lambda: not any(compared()[-1][key] for key in ("not_in_group", "not_in_database")), SEEN_SECONDS
    )
