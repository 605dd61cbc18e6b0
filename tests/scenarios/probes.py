"""Probes: runs that touch nothing, started and watched over the own API."""

import asyncio
import time
from collections.abc import Collection
from typing import Any

import httpx

RUNS = "/atoll/v1/runs"
SECONDS = 30.0


async def started(client: httpx.AsyncClient, key: str | None = None, **given: Any) -> dict[str, Any]:
    """A probe that was accepted, as the answer shows it."""
    body = {"definition": "probe", "input": {"steps": 1, "seconds": 0, **given}, "key": key}
    answer = await client.post(RUNS, json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"{RUNS}/{answer.json()['run']['id']}"
    run: dict[str, Any] = answer.json()["run"]
    return run


async def shown(client: httpx.AsyncClient, run_id: str) -> dict[str, Any]:
    """A run."""
    answer = await client.get(f"{RUNS}/{run_id}")
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()["run"]
    return run


async def comes_to(client: httpx.AsyncClient, run_id: str, *states: str) -> dict[str, Any]:
    """A run once it is in one of some states."""
    return await until_run(client, run_id, lambda run: run["state"] in states)


async def until_run(client: httpx.AsyncClient, run_id: str, look: Any) -> dict[str, Any]:
    """A run once `look` says so of it."""
    end = time.monotonic() + SECONDS
    while not look(run := await shown(client, run_id)):
        assert time.monotonic() < end, run
        await asyncio.sleep(0.02)
    return run


async def act(client: httpx.AsyncClient, run: dict[str, Any], what: str, **body: Any) -> httpx.Response:
    """Something done with a run."""
    return await client.post(f"{RUNS}/{run['id']}/{what}", json=body)


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    """Check that something was refused, in these words among others."""
    assert answer.status_code == status, answer.text
    said = answer.json()["errors"][0]["detail"]
    assert [one for one in words if one not in said] == [], said


def states_of(run: dict[str, Any]) -> list[str]:
    """Where the steps of a run stand."""
    return [step["state"] for step in run["steps"]]


def ids(page: Any) -> Collection[str]:
    """The ids of a page of runs."""
    return [one["id"] for one in page["runs"]]
