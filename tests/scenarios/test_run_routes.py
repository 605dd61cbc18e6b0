"""Runs over the own API: accepted, shown, listed, paused, cancelled, killed, redone; who may, and when."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from tests.conftest import StartAtoll
from tests.origin import Origin
from tests.running import Atoll, sites_of
from tests.scenarios.conftest import UNKNOWN, Client, client_of, sql
from tests.scenarios.keystones import keystone_of
from tests.scenarios.probes import RUNS, act, comes_to, ids, refused, shown, started, states_of, until_run
from tests.scenarios.test_access_rules import restricted

from atoll.gateway import probe_run
from atoll.sandbox.simulated import Cloud
from atoll.worker import worker

LOCKS, WORKERS, SUSPECTS = "/atoll/v1/locks", "/atoll/v1/workers", "/atoll/v1/suspects"


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    """A gateway in front of two of the three sites; nothing is asked of them."""
    return await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1", "site2"))


@pytest.fixture
async def admin(atoll: Atoll, cloud: Cloud) -> AsyncIterator[Client]:
    """An administrator in the project demo, whose runs the user demo owns too."""
    async with client_of(atoll, cloud.keystone.token("admin", "demo")) as client:
        yield client


async def test_a_run_from_acceptance_to_its_end(admin: Client) -> None:
    accepted = await started(admin, steps=2, sites=["site1", "site2"])
    run = await comes_to(admin, accepted["id"], "done")
    assert uuid.UUID(run["id"]).version == 7
    assert (run["definition"], run["purpose"]) == ("probe@1", "probe: 2 steps of 0 s")
    assert (run["allowed"], run["waits"], run["worker"]) == ([], "", None)
    assert run["ended_at"] >= run["created_at"]
    first, second = run["steps"]
    assert (first["name"], first["site"], first["state"], first["tries"]) == ("wait-1", "site1", "done", 1)
    assert (second["site"], second["after"]) == ("site2", ["wait-1"])
    assert first["result"] == {"waited": 0.0}
    (attempt,) = first["attempts"]
    assert (attempt["what"], attempt["outcome"]) == ("do", "done")
    assert attempt["began_at"] <= attempt["ended_at"]
    log = (await admin.get(f"{RUNS}/{run['id']}/log")).json()
    said = [(one["what"], one["step"]) for one in log["log"]]
    assert said == [
        ("taken", None), ("do", "wait-1"), ("done", "wait-1"), ("do", "wait-2"), ("done", "wait-2"),
        ("done", None),
    ]  # fmt: skip
    page = (await admin.get(f"{RUNS}/{run['id']}/log", params={"limit": 2, "marker": "1"})).json()
    assert ([one["number"] for one in page["log"]], page["next"]) == ([2, 3], "3")
    explained = (await admin.get(f"{RUNS}/{run['id']}/explain")).json()
    assert explained["waits_for"][0]["text"] == "It is done."


async def test_the_same_key_is_the_same_run_and_never_another(
    admin: Client, cloud: Cloud, atoll: Atoll
) -> None:
    first = await started(admin, key="once", steps=2)
    assert (await started(admin, key="once", steps=2))["id"] == first["id"]
    other = {"definition": "probe", "input": {"steps": 3, "seconds": 0}, "key": "once"}
    refused(await admin.post(RUNS, json=other), 409, first["id"], "something else")
    assert len((await admin.get(RUNS)).json()["runs"]) == 1
    async with client_of(atoll, cloud.keystone.token("admin")) as elsewhere:
        assert (await started(elsewhere, key="once", steps=3))["id"] != first["id"], "a key is a project's"


async def test_the_same_key_is_the_same_run_also_where_it_could_not_be_accepted_any_more(
    admin: Client,
) -> None:
    first = await started(admin, key="once", lock="door", fail="away", sites=["site1"])
    await act(admin, first, "kill")
    refused(await admin.post(RUNS, json={"definition": "probe", "input": {"lock": "door"}}), 409, "suspect")
    again = await started(admin, key="once", sites=["site1"], lock="door", fail="away")
    assert (again["id"], again["state"]) == (first["id"], "killed")


async def test_a_step_that_fails_undoes_the_run_and_a_redo_begins_anew(admin: Client) -> None:
    accepted = await started(admin, steps=3, fail="refuse", fail_step=2)
    run = await comes_to(admin, accepted["id"], "undone")
    assert states_of(run) == ["undone", "failed", "waiting"]
    assert run["reason"] == "wait-2: it was told to fail"
    assert (run["allowed"], run["back"]) == (["redo"], True)
    assert [one["what"] for one in run["steps"][0]["attempts"]] == ["do", "undo"]
    assert "told to fail" in (await admin.get(f"{RUNS}/{run['id']}/explain")).json()["waits_for"][0]["text"]
    for what in ("pause", "resume", "cancel", "kill"):
        refused(await act(admin, run, what), 409, "is undone", "Allowed now: redo")
    assert (await act(admin, run, "redo")).status_code == 202
    run = await comes_to(admin, run["id"], "undone")
    assert run["steps"][0]["tries"] == 1
    log = (await admin.get(f"{RUNS}/{run['id']}/log")).json()["log"]
    assert [one["what"] for one in log].count("redone") == 1


async def test_a_step_that_is_tried_again_says_when(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BACKOFF_SECONDS", (600.0, 600.0))
    now = worker.Worker.now
    accepted = await started(admin, fail="unavailable", fail_times=1)
    waits = await until_run(admin, accepted["id"], lambda run: run["steps"][0]["state"] == "again")
    assert waits["steps"][0]["again_at"] > waits["created_at"]
    said = (await admin.get(f"{RUNS}/{accepted['id']}/explain")).json()["waits_for"][0]
    assert (said["what"], said["until"] is not None) == ("retry", True)
    assert "told to fail this time" in said["text"]
    monkeypatch.setattr(worker.Worker, "now", lambda self: now(self) + 1000.0)
    assert (await act(admin, accepted, "pause")).status_code == 202
    await comes_to(admin, accepted["id"], "paused")
    assert (await act(admin, accepted, "resume")).status_code == 202
    run = await comes_to(admin, accepted["id"], "done")
    assert [one["outcome"] for one in run["steps"][0]["attempts"]] == ["failed", "done"]


async def test_pause_holds_and_resume_goes_on(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    end = asyncio.Event()
    monkeypatch.setattr(probe_run, "asyncio", SimpleNamespace(sleep=lambda _: end.wait()))
    accepted = await started(admin, steps=3, seconds=0.4)
    assert (await act(admin, accepted, "pause")).status_code == 202
    assert (await act(admin, accepted, "pause")).status_code == 202, "asked twice it is done once"
    end.set()
    run = await comes_to(admin, accepted["id"], "paused")
    assert states_of(run) == ["done", "waiting", "waiting"]
    assert run["allowed"] == ["resume", "cancel", "kill"]
    refused(await act(admin, run, "pause"), 409, "is paused", "resume, cancel, kill")
    refused(await act(admin, run, "redo"), 409, "is paused")
    said = (await admin.get(f"{RUNS}/{run['id']}/explain")).json()["waits_for"][0]
    assert (said["what"], f"atoll run resume {run['id']}" in said["text"]) == ("operator", True)
    assert (await act(admin, run, "resume")).status_code == 202
    run = await comes_to(admin, run["id"], "done")
    refused(await act(admin, run, "resume"), 409, "is done", "nothing")
    refused(await act(admin, run, "cancel"), 409, "cannot be cancelled", "nothing")


async def test_cancel_undoes_what_was_done(admin: Client) -> None:
    accepted = await started(admin, steps=9, seconds=0.3)
    run = await until_run(admin, accepted["id"], lambda run: states_of(run)[0] == "done")
    refused(await act(admin, run, "resume"), 409, "pause, cancel, kill")
    refused(await act(admin, run, "redo"), 409, "cannot be redone")
    assert (await act(admin, run, "cancel")).status_code == 202
    run = await comes_to(admin, run["id"], "undone")
    assert (states_of(run)[0], run["reason"]) == ("undone", "cancelled")


async def test_past_a_pivot_it_cannot_be_cancelled_and_parks(admin: Client) -> None:
    accepted = await started(admin, steps=2, pivot=True, fail="refuse", fail_step=2)
    run = await comes_to(admin, accepted["id"], "parked")
    assert run["allowed"] == ["redo", "kill"]
    refused(await act(admin, run, "cancel"), 409, "past a step that cannot be undone", "redo, kill")
    refused(await act(admin, run, "resume"), 409, "is parked")
    dead = (await admin.get(RUNS, params={"dead": "true"})).json()
    assert ids(dead) == [run["id"]]
    assert (await admin.get(RUNS, params={"dead": "true", "state": "done"})).json()["runs"] == []
    said = (await admin.get(f"{RUNS}/{run['id']}/explain")).json()["waits_for"][0]
    assert (said["what"], f"atoll run redo {run['id']}" in said["text"]) == ("operator", True)
    assert (await act(admin, run, "redo")).status_code == 202
    await comes_to(admin, run["id"], "parked")


async def test_what_cannot_be_undone_is_named(admin: Client) -> None:
    accepted = await started(admin, steps=2, stuck=True, fail="refuse", sites=["site1"])
    run = await comes_to(admin, accepted["id"], "dirty")
    assert run["residue"] == [
        {"step": "wait-1", "site": "site1", "text": "it was told that it cannot be undone"}
    ]
    assert run["allowed"] == ["redo"]


async def test_a_killed_run_leaves_what_it_touched_suspect(admin: Client) -> None:
    accepted = await started(admin, seconds=5, lock="door")
    killed = await act(admin, accepted, "kill", reason="it is stuck")
    assert (killed.status_code, killed.json()["run"]["state"]) == (200, "killed")
    log = (await admin.get(f"{RUNS}/{accepted['id']}/log")).json()["log"]
    assert log[-1]["text"].endswith(": it is stuck")
    (suspect,) = (await admin.get(SUSPECTS)).json()["suspects"]
    assert (suspect["resource"], suspect["run_id"]) == ("probe/door", accepted["id"])
    again = {"definition": "probe", "input": {"steps": 1, "seconds": 0, "lock": "door"}}
    refused(await admin.post(RUNS, json=again), 409, "suspect", accepted["id"])
    refused(await act(admin, accepted, "kill"), 409, "is killed", "redo")
    assert (await admin.get(LOCKS)).json()["locks"] == []
    assert (await act(admin, accepted, "redo")).status_code == 202
    await comes_to(admin, accepted["id"], "undone")
    assert (await admin.get(SUSPECTS)).json()["suspects"] == []


async def test_a_killed_run_is_broken_off(admin: Client) -> None:
    run = await started(admin, seconds=60)

    async def has(number: int) -> None:
        async with asyncio.timeout(30):  # a worker says it once a second
            while (await admin.get(WORKERS)).json()["workers"][0]["runs"] != number:  # noqa: ASYNC110 - elsewhere
                await asyncio.sleep(0.05)

    await has(1)
    await act(admin, run, "kill")
    await has(0)
    run = await shown(admin, run["id"])
    assert (run["state"], run["back"], states_of(run)) == ("killed", False, ["intent"])


async def test_what_one_gateway_works_on_another_shows_and_stops(
    start_atoll: StartAtoll, atoll: Atoll, admin: Client, cloud: Cloud
) -> None:
    other = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1", "site2"))
    async with client_of(other, cloud.keystone.token("admin", "demo")) as elsewhere:
        run = await started(admin, steps=2, seconds=20, lock="door")
        assert len((await elsewhere.get(WORKERS)).json()["workers"]) == 2
        assert (await shown(elsewhere, run["id"]))["state"] == "running"
        assert (await act(elsewhere, run, "cancel")).status_code == 202
        run = await comes_to(elsewhere, run["id"], "undone")
    assert run["reason"] == "cancelled", "told with the beat of the worker that has it"
    assert atoll.url != other.url


async def test_a_lock_is_waited_for_and_said_to_be(admin: Client, user: Client) -> None:
    holder = await started(admin, steps=2, lock="door", fail="away", sites=["site1"])
    waiter = await started(admin, lock="door")
    assert (waiter["state"], waiter["waits"]) == ("queued", "lock/probe/door")
    (said,) = (await user.get(f"{RUNS}/{waiter['id']}/explain")).json()["waits_for"]
    assert (said["what"], said["run_id"]) == ("lock", holder["id"])
    assert holder["id"] in said["text"]
    assert "probe: 2 steps of 0 s" in said["text"]
    waiting = (await admin.get(RUNS, params={"waits": "lock"})).json()
    assert ids(waiting) == [waiter["id"]]
    locks = (await user.get(LOCKS, params={"path": "probe/door"})).json()["locks"]
    assert {(one["run_id"], one["granted"], one["mode"]) for one in locks} == {
        (holder["id"], True, "W"), (waiter["id"], False, "W"),
    }  # fmt: skip
    assert {one["purpose"] for one in locks} == {"probe: 2 steps of 0 s", "probe: 1 steps of 0 s"}
    first = (await admin.get(LOCKS, params={"limit": 1})).json()
    rest = (await admin.get(LOCKS, params={"marker": first["next"]})).json()
    assert len(first["locks"] + rest["locks"]) == 4
    assert rest["next"] is None
    await act(admin, holder, "cancel")
    await comes_to(admin, waiter["id"], "done")


async def test_a_lock_of_another_project_is_not_told_of(admin: Client, atoll: Atoll, cloud: Cloud) -> None:
    async with client_of(atoll, cloud.keystone.token("admin")) as elsewhere:
        await started(elsewhere, lock="door", fail="away", sites=["site1"])
    waiter = await started(admin, lock="door")
    async with client_of(atoll, cloud.keystone.token()) as user:
        (said,) = (await user.get(f"{RUNS}/{waiter['id']}/explain")).json()["waits_for"]
        assert (said["run_id"], "another project" in said["text"]) == (None, True)
        locks = (await user.get(LOCKS)).json()["locks"]
        assert {one["run_id"] for one in locks} == {waiter["id"]}


async def test_a_site_that_is_away_is_said_to_be(admin: Client) -> None:
    accepted = await started(admin, fail="away", sites=["site2"])
    run = await until_run(admin, accepted["id"], lambda run: run["waits"] == "site/site2")
    assert (run["worker"], run["steps"][0]["waits_for"]) == (None, "site2")
    (said,) = (await admin.get(f"{RUNS}/{run['id']}/explain")).json()["waits_for"]
    assert (said["what"], said["site"], said["until"] is not None) == ("site", "site2", True)
    assert ids((await admin.get(RUNS, params={"waits": "site/site2"})).json()) == [run["id"]]
    assert ids((await admin.get(RUNS, params={"waits": "site/site"})).json()) == []
    assert (await act(admin, run, "cancel")).status_code == 202
    await comes_to(admin, run["id"], "undone")


async def test_a_list_in_pages_and_by_what_is_asked(admin: Client, cloud: Cloud) -> None:
    made = [(await started(admin))["id"] for _ in range(5)]
    for one in made:
        await comes_to(admin, one, "done")
    seen: list[str] = []
    marker = ""
    while True:
        page = (await admin.get(RUNS, params={"limit": 2, "state": "done", "marker": marker})).json()
        seen += ids(page)
        marker = page["next"]
        if marker is None:
            break
    assert seen == made[::-1], "newest first"
    assert "steps" not in page["runs"][0]
    for params, found in (
        ({"definition": "probe"}, 5), ({"definition": "probe@1"}, 5), ({"definition": "probe@2"}, 0),
        ({"definition": "prob"}, 0), ({"state": "killed"}, 0), ({"project_id": "nobody"}, 0),
        ({"project_id": cloud.keystone.project_id("demo")}, 5),
    ):  # fmt: skip
        assert len((await admin.get(RUNS, params=params)).json()["runs"]) == found, params


async def test_what_other_projects_and_readers_see(
    admin: Client, user: Client, atoll: Atoll, cloud: Cloud
) -> None:
    run = await started(admin, fail="away", sites=["site1"])
    assert (await shown(user, run["id"]))["id"] == run["id"]
    assert ids((await user.get(RUNS)).json()) == [run["id"]]
    refused(await user.get(RUNS, params={"project_id": "other"}), 403, "Only administrators")
    async with client_of(atoll, cloud.keystone.token("alt_demo")) as other:
        assert ids((await other.get(RUNS)).json()) == []
        for path in ("", "/log", "/events", "/explain"):
            refused(await other.get(f"{RUNS}/{run['id']}{path}"), 404, f"There is no run {run['id']}.")
        for what in ("pause", "resume", "cancel", "kill", "redo"):
            refused(await act(other, run, what), 404, f"There is no run {run['id']}.")
        assert (await other.get(LOCKS)).json()["locks"] == []
    assert (await act(user, run, "kill")).status_code == 200, "its project's member"


async def test_a_reader_only_looks(admin: Client, atoll: Atoll, cloud: Cloud) -> None:
    run = await started(admin, fail="away", sites=["site1"])
    cloud.keystone.store.add_user("watcher", "x", cloud.keystone.project_id("demo"), "reader")
    async with client_of(atoll, cloud.keystone.token("watcher", "demo")) as reader:
        assert (await shown(reader, run["id"]))["id"] == run["id"]
        refused(await reader.post(RUNS, json={"definition": "probe"}), 403, "the role member")
        for what in ("pause", "resume", "cancel", "kill", "redo"):
            refused(await act(reader, run, what), 403, "the role member")
    assert (await shown(admin, run["id"]))["stop"] is None


async def test_a_token_with_access_rules_only_looks(start_atoll: StartAtoll, cloud: Cloud) -> None:
    told = restricted("atoll GET /v1/runs", "atoll POST /v1/runs", f"atoll POST /v1/runs/{UNKNOWN}/kill")
    async with Origin(keystone_of(told)) as origin:
        atoll = await start_atoll(f"{origin.url}/identity/v3", sites_of(cloud))
        async with atoll.client("special") as client:
            assert (await client.get(RUNS)).status_code == 200
            refused(await client.post(RUNS, json={"definition": "probe"}), 403, "access rules")
            refused(await client.post(f"{RUNS}/{UNKNOWN}/kill"), 403, "access rules")
            assert (await client.post(f"{RUNS}/{UNKNOWN}/cancel")).status_code == 401
        await atoll.end()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"definition": "nothing"}, 404, ["There is no definition nothing", "there are", "probe"]),
        ({"definition": "probe@7"}, 404, ["no version 7", "there are 1"]),
        ({"definition": "probe@"}, 404, ["no version "]),
        ({"definition": "probe@01"}, 404, ["no version 01"]),
        ({"definition": ""}, 400, ["definition"]),
        ({}, 400, ["definition"]),
        ({"definition": "probe", "input": {"step": 1}}, 400, ["probe@1", "step"]),
        ({"definition": "probe", "input": {"steps": 0}}, 400, ["$.steps"]),
        ({"definition": "probe", "input": {"steps": "2"}}, 400, ["$.steps"]),
        ({"definition": "probe", "input": {"seconds": 601}}, 400, ["$.seconds"]),
        ({"definition": "probe", "input": {"steps": 2, "fail_step": 3}}, 400, ["Step 3"]),
        ({"definition": "probe", "input": {"fail": "away"}}, 400, ["sites"]),
        ({"definition": "probe", "input": {"sites": ["mars"]}}, 400, ["no site mars", "site1"]),
        ({"definition": "probe", "input": []}, 400, ["$.input"]),
        ({"definition": "probe", "key": ""}, 400, ["$.key"]),
        ({"definition": "probe", "inputs": {}}, 400, ["inputs"]),
        ({"definition": "probe", "input": {"lock": "x" * 300_000}}, 413, ["262144"]),
    ],
)
async def test_what_cannot_be_run_is_refused_with_nothing_done(
    admin: Client, body: dict[str, object], status: int, words: list[str]
) -> None:
    refused(await admin.post(RUNS, json=body), status, *words)
    assert (await admin.get(RUNS)).json()["runs"] == []


async def test_what_is_for_administrators(user: Client) -> None:
    refused(await user.post(RUNS, json={"definition": "probe"}), 403, "administrators")
    answer = await user.post(RUNS, json={"definition": "nothing"})
    refused(answer, 404, "There is no definition nothing")
    assert "probe" not in answer.text, "what may not be used is not offered"
    assert "probe" not in (await user.get(f"{RUNS}/definitions")).text
    refused(await user.get(f"{RUNS}/definitions/probe"), 403, "administrators")
    refused(await user.post(f"{RUNS}/prune", json={"older_than_days": 1}), 403)
    for path in (WORKERS, SUSPECTS):
        assert (await user.get(path)).status_code == 403


async def test_what_is_not_there_is_404_whatever_is_asked(admin: Client) -> None:
    for name in (UNKNOWN, "nothing", "é"):
        for path in ("", "/log", "/events", "/explain"):
            refused(await admin.get(f"{RUNS}/{name}{path}"), 404, f"There is no run {name}.")
        for what in ("pause", "resume", "cancel", "kill", "redo"):
            refused(await admin.post(f"{RUNS}/{name}/{what}"), 404, f"There is no run {name}.")
    refused(await admin.get(f"{RUNS}/definitions/nothing"), 404, "there are", "probe")
    refused(await admin.get(f"{RUNS}/{UNKNOWN}/log", params={"marker": "x"}), 400)


async def test_what_can_be_run_and_how_it_looks(admin: Client) -> None:
    listed = (await admin.get(f"{RUNS}/definitions")).json()["definitions"]
    assert "probe" in [one["name"] for one in listed]
    for title in ("probe", "probe@1"):
        one = (await admin.get(f"{RUNS}/definitions/{title}")).json()["definition"]
        assert (one["name"], one["version"], one["who"]) == ("probe", 1, "administrators")
        assert [step["name"] for step in one["steps"]] == ["wait-1", "wait-2", "wait-3"]
        assert one["diagram"].startswith("flowchart TD\n")
        assert "s0 --> s1" in one["diagram"]
        assert "steps" in one["input"]["$defs"]["ProbeInput"]["properties"]


async def test_workers_are_listed_and_missed(admin: Client, atoll: Atoll) -> None:
    (worker,) = (await admin.get(WORKERS)).json()["workers"]
    assert 0 < worker["seconds_left"] <= 3
    assert "pid" in worker["about"]
    run = await started(admin, fail="away", sites=["site1"])
    await until_run(admin, run["id"], lambda run: run["waits"] == "site/site1")
    await sql(atoll.database, "UPDATE workers SET lease_until = lease_until - 3600")
    said = (await admin.get(f"{RUNS}/{run['id']}/explain")).json()["waits_for"]
    assert "No worker is alive" in " ".join(one["text"] for one in said)


async def test_old_runs_are_dropped_and_dead_letters_stay(admin: Client, atoll: Atoll) -> None:
    old, new = await started(admin, steps=2), await started(admin)
    dead = await started(admin, steps=3, fail="away", sites=["site1"])
    await act(admin, dead, "kill")
    for one in (old, new):
        await comes_to(admin, one["id"], "done")
    await sql(
        atoll.database,
        "UPDATE runs SET ended_at = ended_at - 864000 WHERE purpose <> 'probe: 1 steps of 0 s'",
    )
    pruned = await admin.post(f"{RUNS}/prune", json={"older_than_days": 9})
    assert pruned.json() == {"pruned": 1, "more": False}
    assert set(ids((await admin.get(RUNS)).json())) == {new["id"], dead["id"]}
    refused(await admin.post(f"{RUNS}/prune", json={}), 400, "older_than_days")
    refused(await admin.post(f"{RUNS}/prune", json={"older_than_days": -1}), 400)


async def test_of_several_who_do_the_same_at_once_one_does_it(admin: Client) -> None:
    run = await started(admin, fail="away", sites=["site1"])
    for what, status in (("kill", 200), ("redo", 202)):
        answers = await asyncio.gather(*(act(admin, run, what) for _ in range(5)))
        assert sorted(one.status_code for one in answers) == [status, 409, 409, 409, 409], what
        for one in answers:
            if one.status_code == 409:
                refused(one, 409, "Allowed now")


async def test_what_no_parser_bears_is_400(admin: Client) -> None:
    deep = b'{"definition": "probe", "input": {"steps": ' + b"[" * 20_000 + b"]" * 20_000 + b"}}"
    headers = {"Content-Type": "application/json"}
    refused(await admin.post(RUNS, content=deep, headers=headers), 400, "not JSON")
    refused(await admin.post(RUNS, content=b"definition=probe"), 415)


async def test_many_at_once_are_each_done_once(admin: Client) -> None:
    made = await asyncio.gather(*(started(admin, key=f"k{n % 10}") for n in range(30)))
    assert len({one["id"] for one in made}) == 10
    for one in made:
        await comes_to(admin, one["id"], "done")
