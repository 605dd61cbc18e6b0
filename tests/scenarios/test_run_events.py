"""Following a run over server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import Client, client_of, sql
from tests.scenarios.probes import RUNS, act, comes_to, refused, started

from atoll.gateway import probe_run
from atoll.sandbox.simulated import Cloud


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway in front of a site; nothing is asked of it."""
    return await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))


@pytest.fixture
async def admin(atoll: Atoll, cloud: Cloud) -> AsyncIterator[Client]:
    """An administrator."""
    async with client_of(atoll, cloud.keystone.token("admin")) as client:
        yield client


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """What a stream says, as it comes: `event`, `data`, and `id` where there is one."""
    told: dict[str, Any] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line == "" and "event" in told:
            yield told
            told = {}
        elif name in {"event", "id"}:
            told[name] = value
        elif name == "data":
            told[name] = json.loads(value)


async def all_of(client: httpx.AsyncClient, run_id: str, **headers: str) -> list[dict[str, Any]]:
    """What is said from the beginning of a stream to its end."""
    async with client.stream("GET", f"{RUNS}/{run_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        return [one async for one in events(answer)]


def log_of(told: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """The lines of the log in what was said."""
    return [(int(one["id"]), one["data"]["what"]) for one in told if one["event"] == "log"]


async def test_followed_from_the_first_line_to_the_end(admin: Client) -> None:
    run = await started(admin, steps=2, seconds=0.3)
    told = await all_of(admin, run["id"])
    assert log_of(told) == [(1, "taken"), (2, "do"), (3, "done"), (4, "do"), (5, "done"), (6, "done")]
    assert told[-1] == {"event": "end", "data": {"state": "done", "reason": ""}}
    standing = [one["data"] for one in told if one["event"] == "state"]
    far = [one["steps_finished"] for one in standing]
    assert (far, far[-1]) == (sorted(far), 2)
    assert standing[-1] == {
        "state": "done", "stop": None, "waits": "", "steps_finished": 2, "steps": 2, "fulfilled": True,
    }  # fmt: skip


async def test_progress_is_told_as_it_goes(admin: Client) -> None:
    run = await started(admin, seconds=2.0)
    told = [one["data"] for one in await all_of(admin, run["id"]) if one["event"] == "progress"]
    assert told, "a worker writes it with its beat, once a second"
    assert 0 < told[-1]["wait-1"]["done"] < 2.0
    assert (told[-1]["wait-1"]["of"], told[-1]["wait-1"]["unit"]) == (2.0, "s")


async def test_after_a_break_it_goes_on_where_it_was(admin: Client) -> None:
    run = await started(admin, steps=2)
    await comes_to(admin, run["id"], "done")
    assert log_of(await all_of(admin, run["id"], **{"Last-Event-ID": "4"})) == [(5, "done"), (6, "done")]
    async with admin.stream("GET", f"{RUNS}/{run['id']}/events?after=5") as answer:
        assert log_of([one async for one in events(answer)]) == [(6, "done")]
    told = await all_of(admin, run["id"], **{"Last-Event-ID": "6"})
    assert [one["event"] for one in told] == ["state", "end"]
    for bad in (b"x", b"-1", b"1" * 19, "٣".encode()):
        answer = await admin.get(f"{RUNS}/{run['id']}/events", headers={b"Last-Event-ID": bad})
        refused(answer, 400, "ast-")


async def test_followed_through_pause_resume_and_cancel(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = asyncio.Event()
    monkeypatch.setattr(probe_run, "asyncio", SimpleNamespace(sleep=lambda _: paused.wait()))
    run = await started(admin, steps=3, seconds=0.3, fail="away", fail_step=2, sites=["site1"])
    seen: list[str] = []
    async with admin.stream("GET", f"{RUNS}/{run['id']}/events") as answer:
        async for one in events(answer):
            if one["event"] == "log":
                seen.append(one["data"]["what"])
            if one["event"] == "state" and one["data"]["state"] == "paused":
                await act(admin, run, "resume")
            if seen == ["taken", "do"] and one["event"] == "log":
                await act(admin, run, "pause")
                paused.set()
            if one["event"] == "log" and one["data"]["what"] == "away":
                await act(admin, run, "cancel")
            last = one
    assert last["data"] == {"state": "undone", "reason": "cancelled"}
    assert "paused" in seen
    assert seen[-3:] == ["undo", "undone", "undone"], "of the step, and of the run"


async def test_two_follow_and_one_goes(admin: Client, atoll: Atoll) -> None:
    run = await started(admin, seconds=0.3)
    whole = asyncio.create_task(all_of(admin, run["id"]))
    async with admin.stream("GET", f"{RUNS}/{run['id']}/events") as answer:
        async for one in events(answer):
            assert one["event"] in {"log", "state", "progress"}
            break
    assert (await whole)[-1]["data"]["state"] == "done"
    assert 'atoll_events_total{event="client_gone",label="atoll"} 1' in await atoll.metrics()


async def test_a_gateway_that_ends_lets_its_followers_go(start_atoll: StartAtoll, cloud: Cloud) -> None:
    gateway = {"drain_seconds": 300}
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"), gateway=gateway)
    told: list[dict[str, Any]] = []
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        run = await started(admin, fail="away", sites=["site1"])

        async def follow() -> None:
            async with admin.stream("GET", f"{RUNS}/{run['id']}/events") as answer:
                async for one in events(answer):
                    told.append(one)  # noqa: PERF401 - seen as they come

        following = asyncio.create_task(follow())
        await until(lambda: told)
        atoll.stop.set()
        async with asyncio.timeout(30):  # less than the drain lasts: it is not cut
            await following
    assert "end" not in {one["event"] for one in told}


async def test_no_more_follow_than_a_gateway_bears(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atoll.gateway.own.STREAMS", 1)
    run = await started(admin, fail="away", sites=["site1"])
    async with admin.stream("GET", f"{RUNS}/{run['id']}/events") as answer:
        async for _ in events(answer):
            more = await admin.get(f"{RUNS}/{run['id']}/events")
            refused(more, 429, "ask again later")
            assert more.headers["Retry-After"] == "5"
            break
    await act(admin, run, "kill")
    assert (await all_of(admin, run["id"]))[-1]["data"]["state"] == "killed", "one who goes makes room"


async def test_a_head_of_it_has_no_body(admin: Client) -> None:
    run = await started(admin)
    answer = await admin.head(f"{RUNS}/{run['id']}/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"] == "text/event-stream"


async def test_a_run_that_is_dropped_meanwhile_has_ended(admin: Client, atoll: Atoll) -> None:
    run = await started(admin, fail="away", sites=["site1"])
    async with admin.stream("GET", f"{RUNS}/{run['id']}/events") as answer:
        async for one in events(answer):
            if one["event"] == "state" and one["data"]["waits"] == "site/site1":
                await sql(atoll.database, "DELETE FROM runs")
            last = one
    assert last["data"]["state"] == "gone"
