"""How what is sealed in the store is put under another key, on every database; as `contract`."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.stores.recovery_contract import point

from atoll.store import Store, open_store
from atoll.store.run_records import Acting, NewRun
from atoll.workflow.machine import fresh
from atoll.workflow.plan import Plan, Step
from atoll.workflow.sealed import changed, form

LONG = "\u00e9\u4e16" * 20_000


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.close()


def new_run(ident: str, under: str, *, asked: Any = "") -> NewRun:
    """One with something under a key, "" for nothing."""
    given = {"name": LONG, "user_data": form(under, "text") if under else None}
    plan = Plan(steps=(Step(name="vm", action="a.b@1", input=given, seconds=1800.0),))
    return NewRun(
        id=ident, definition="d@1", project_id="p", user_id="u", plan=plan, journal=fresh(plan),
        acting=Acting(asked=asked, trust_id="t"), request_key=ident,
    )  # fmt: skip


def renewed(value: Any) -> Any:
    """All under another key."""
    return changed(value, lambda under, text: form("new", text) if under == "old" else form(under, text))


async def test_plans_and_what_was_asked_for_are_put_under_another_key(store: Store) -> None:
    for ident, under in (("1", "old"), ("2", ""), ("3", "new"), ("4", "lost"), ("5", "old")):
        await store.runs.accept(new_run(ident, under))
    await store.runs.accept(new_run("6", "", asked=form("old", "digest")))
    assert [await store.sealed_values.open_runs(one) for one in ("old", "new", "lost")] == [2, 1, 1]
    assert await store.sealed_values.change_runs(renewed) == 3
    assert await store.sealed_values.change_runs(renewed) == 0
    for ident, under in (("1", "new"), ("2", ""), ("3", "new"), ("4", "lost"), ("5", "new"), ("6", "")):
        run = await store.run_views.show(ident)
        assert run is not None
        assert (run.plan, run.acting.trust_id) == (new_run(ident, under).plan, "t")
    assert await store.run_views.by_key("p", "6") == ("6", form("new", "digest"))
    assert [await store.sealed_values.open_runs(one) for one in ("old", "new", "lost")] == [0, 3, 1]


async def test_more_than_are_looked_for_at_once(store: Store) -> None:
    for number in range(205):
        await store.runs.accept(new_run(f"{number:04}", "old"))
    assert await store.sealed_values.change_runs(renewed) == 205


async def test_recovery_points_too(store: Store) -> None:
    content = {"body": {"name": LONG, "user_data": form("old", "text")}, "active": True}
    sealed = msgspec.structs.replace(point("1"), content=msgspec.json.encode(content).decode())
    for one in (sealed, point("2")):
        await store.recovery_points.put(one)
    assert await store.sealed_values.change_points(renewed) == 1
    newest, first = await store.recovery_points.of("s", "p")
    assert newest == point("2")
    assert msgspec.json.decode(first.content) == renewed(content)
