"""The keys of what is secret in runs: none, one that is lost, one that is changed; and asking again."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.running import Atoll, toml
from tests.scenarios.conftest import Client, StartMoving, client_of, server_body
from tests.scenarios.probes import RUNS, act, comes_to, refused
from tests.scenarios.test_evacuation import dies
from tests.scenarios.test_image_copies import uploaded
from tests.scenarios.test_secrets_at_rest import MARKER, TRANSACTIONS, applied, given_at, kept
from tests.scenarios.test_server_moves import server_at
from tests.scenarios.test_servers_brought import create
from tests.scenarios.test_trust_keys import key_file

from atoll.cli.main import main
from atoll.sandbox.simulated import Cloud
from atoll.trust import run_secrets
from atoll.trust.sealing import fingerprint

BODY_BYTES = 262_144
"""Of a request to the own API."""


@pytest.fixture
async def atoll(moving: Atoll) -> Atoll:
    """A gateway that moves things."""
    return moving


def body(cloud: Cloud, **fields: Any) -> dict[str, Any]:
    """A server with something secret."""
    given: dict[str, Any] = server_body(cloud, user_data=MARKER, networks="none")["server"]
    return given | fields


async def command(*arguments: str) -> Result:
    """A command, in its own thread."""
    return await asyncio.to_thread(lambda: CliRunner().invoke(main, arguments))


async def protected(user: Client, cloud: Cloud) -> str:
    """A server with something secret, and a recovery point of it."""
    server = await server_at(user, cloud, "site1", user_data=MARKER)
    given = {"definition": "server.protect", "input": {"server": server, "site": "site2"}}
    answer = await user.post(RUNS, json=given)
    assert answer.status_code == 202, answer.text
    await comes_to(user, answer.json()["run"]["id"], "done")
    return server


async def evacuating(user: Client, cloud: Cloud, server: str) -> dict[str, Any]:
    """The run that makes it anew, as it was accepted."""
    dies(cloud)
    answer = await user.post(RUNS, json={"definition": "server.evacuate", "input": {"server": server}})
    assert answer.status_code == 202, answer.text
    return dict(answer.json()["run"])


# -- asking again, and being shown --------------------------------------------------------------------


async def test_asked_again_with_a_key_it_is_the_run_of_the_first_time(user: Client, cloud: Cloud) -> None:
    first, again = [await applied(user, body(cloud), key="deploy-1") for _ in range(2)]
    assert first.json()["run"]["id"] == again.json()["run"]["id"]
    other = await applied(user, body(cloud, user_data="b3RoZXI="), key="deploy-1")
    refused(other, 409, "was asked for something else")
    await comes_to(user, first.json()["run"]["id"], "done")
    assert sum(len(given_at(cloud, site.name)) for site in cloud.sites) == 1


async def test_asked_twice_at_once_it_is_one_run(user: Client, cloud: Cloud) -> None:
    every = await asyncio.gather(*(applied(user, body(cloud), key="deploy-2") for _ in range(6)))
    assert len({one.json()["run"]["id"] for one in every}) == 1


async def test_a_plan_is_shown_without_it(user: Client, cloud: Cloud) -> None:
    answer = await applied(user, body(cloud, adminPass="hush"))
    plan = {"create": [{"name": "vm", "create": "server", "body": body(cloud, adminPass="hush")}]}
    shown = await user.post(f"{TRANSACTIONS}/plan", json=plan)
    given = shown.json()["plan"]["steps"][0]["input"]["body"]
    assert (given["user_data"], given["adminPass"], given["name"]) == ("(sealed)", "(sealed)", "vm")
    for one in (answer, shown):
        assert "hush" not in one.text
        assert "$sealed" not in one.text


async def test_what_is_applied_twice_is_there_already(user: Client, cloud: Cloud) -> None:
    for state in ("transaction.create@1", "transaction.keep@1"):
        answer = await applied(user, body(cloud), step={"unless_there": True})
        run = await comes_to(user, answer.json()["run"]["id"], "done")
        assert run["steps"][0]["action"] == state
        compared = (await user.get(f"{RUNS}/{run['id']}/compare")).json()
        assert compared["differs"] == []


async def test_nobody_has_atoll_open_what_it_did_not_seal(user: Client, cloud: Cloud) -> None:
    answer = await applied(user, body(cloud, user_data={"$sealed": ["abcdef01", "gAAAA"]}))
    refused(answer, 400, "$sealed")


async def test_what_is_too_large_is_refused_as_before(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    """Sealed it would be longer by a third: what counts is what was asked for."""
    fits = await applied(user, body(cloud, user_data="QUFB" * 60_000))
    assert fits.status_code == 202, fits.text
    empty = len(fits.request.content) - 240_000
    most = (BODY_BYTES - empty) // 4
    refused(await applied(user, body(cloud, user_data="QUFB" * most)), 400, "bytes", "is the most")
    refused(await applied(user, body(cloud, user_data="QUFB" * (most + 1))), 413, "The request body is over")
    assert b"QUFBQUFBQUFB" not in kept(atoll.database)


# -- no key -------------------------------------------------------------------------------------------


async def test_without_a_key_a_shared_store_takes_nothing_secret(
    start_moving: StartMoving, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_secrets, "sqlite_path", lambda _: None)  # as of another database
    atoll = await start_moving()
    async with client_of(atoll, cloud.keystone.token()) as user:
        image = await uploaded(user)
        refused(await applied(user, body(cloud)), 409, "[secrets] key is needed", "secrets new-key")
        refused(await applied(user, body(cloud), key="again"), 409, "[secrets] key is needed")
        server = await create(user, image, availability_zone="site2", user_data=MARKER)
        assert server.status_code == 409, server.text
        assert "[secrets] key is needed" in server.json()["conflictingRequest"]["message"]
        assert (await user.get(RUNS)).json()["runs"] == []
        plain = await applied(user, body(cloud, user_data=None))
        await comes_to(user, plain.json()["run"]["id"], "done")
        assert (await create(user, image, availability_zone="site2")).status_code == 202


@pytest.mark.parametrize(
    ("url", "words"),
    [("postgresql://atoll@127.0.0.1/atoll", "secrets.key: is not set"), ("sqlite:////tmp/atoll.db", "")],
)
def test_the_check_of_a_configuration_says_so(tmp_path: Path, url: str, words: str) -> None:
    file = tmp_path / "atoll.toml"
    content = {
        "identity": {"auth_url": "http://127.0.0.1:2/v3"}, "store": {"url": url},
        "sites": {"paris": {"region": "paris", "endpoints": {"compute": "http://127.0.0.1:1"}}},
    }  # fmt: skip
    file.write_text(toml(content))
    result = CliRunner().invoke(main, ["config", "check", str(file)])
    assert result.exit_code == 0
    assert words in result.stderr
    assert bool(result.stderr) is bool(words)


# -- a key that is lost, or changed -------------------------------------------------------------------


@asynccontextmanager
async def parked_without_key(
    database: Path, start: StartMoving, cloud: Cloud
) -> AsyncIterator[tuple[Client, Any]]:
    """A run whose key is moved to `lost`, once it has parked for that; its user, and the run."""
    key = database.with_name(f"{database.name}.key")
    atoll = await start()
    async with client_of(atoll, cloud.keystone.token()) as user:
        server = await protected(user, cloud)
    await atoll.end()
    key.rename(key.with_name("lost"))
    async with client_of(await start(), cloud.keystone.token()) as user:
        yield user, await comes_to(user, (await evacuating(user, cloud, server))["id"], "parked")


async def test_a_run_without_its_key_waits_for_it(
    start_moving: StartMoving, cloud: Cloud, database: Path
) -> None:
    key, lost = database.with_name(f"{database.name}.key"), database.with_name("lost")
    async with parked_without_key(database, start_moving, cloud) as (user, run):
        assert fingerprint(lost.read_text().strip()) in run["reason"]
        assert "[secrets] key" in run["reason"]
        states = {one["name"]: one["state"] for one in run["steps"]}
        assert (states["claim"], states["server"]) == ("done", "again")
        assert given_at(cloud, "site2") == []
        lost.rename(key)
        assert (await act(user, run, "redo")).status_code == 202
        async with asyncio.timeout(30):
            while given_at(cloud, "site2") != [MARKER]:  # noqa: ASYNC110 - the site is elsewhere
                await asyncio.sleep(0.02)


async def test_one_that_cannot_be_gone_on_with_can_be_cancelled(
    start_moving: StartMoving, cloud: Cloud, database: Path
) -> None:
    async with parked_without_key(database, start_moving, cloud) as (user, run):
        assert (await act(user, run, "cancel")).status_code == 202
        await comes_to(user, run["id"], "undone")
        (point,) = (await user.get("/atoll/v1/recovery-points")).json()["recovery_points"]
        assert point["used_by"] is None


def configuration(atoll: Atoll, database: Path, folder: Path, *keys: str) -> str:
    """The file of a configuration with these keys, as commands read it."""
    file = folder / "atoll.toml"
    content = {
        "identity": {"auth_url": atoll.config.identity.auth_url},
        "store": {"url": f"sqlite:///{database}"},
        "secrets": {"key": list(keys)},
        "sites": {"site1": {"region": "site1", "endpoints": {"compute": "http://127.0.0.1:1"}}},
    }
    file.write_text(toml(content))
    return str(file)


async def test_all_is_put_under_the_newest_key(
    start_moving: StartMoving, cloud: Cloud, database: Path, tmp_path: Path
) -> None:
    """From the one beside the database to configured ones: afterwards the old one is not needed."""
    atoll = await start_moving()
    async with client_of(atoll, cloud.keystone.token()) as user:
        server = await protected(user, cloud)
        answer = await applied(user, body(cloud), key="deploy-3")
        await comes_to(user, answer.json()["run"]["id"], "done")
        key, new = database.with_name(f"{database.name}.key"), key_file(tmp_path / "new")
        old = fingerprint(key.read_text().strip())
        rotated = await command("secrets", "rotate", "-c", configuration(atoll, database, tmp_path, new))
        assert rotated.exit_code == 0, rotated.output
        assert ", 2 runs and 1 recovery points were put under" in rotated.output
        await atoll.end()
        assert old.encode() not in _told(database)
        key.unlink()
        again = await command("secrets", "rotate", "-c", str(tmp_path / "atoll.toml"))
        assert ", 0 runs and 0 recovery points" in again.output
    atoll = await start_moving(keys=[new])
    async with client_of(atoll, cloud.keystone.token()) as user:
        same = await applied(user, body(cloud), key="deploy-3")
        assert same.json()["run"]["id"] == answer.json()["run"]["id"]
        await evacuating(user, cloud, server)
        async with asyncio.timeout(30):
            while given_at(cloud, "site2") != [MARKER]:  # noqa: ASYNC110 - the site is elsewhere
                await asyncio.sleep(0.02)


def _told(database: Path) -> bytes:
    """All rows, without what was there before."""
    with sqlite3.connect(database) as connection:
        rows = [connection.execute(f"SELECT * FROM {one}").fetchall() for one in ("runs", "recovery_points")]  # noqa: S608
    return str(rows).encode()


async def test_what_is_under_a_lost_key_is_said_and_can_be_forgotten(
    start_moving: StartMoving, cloud: Cloud, database: Path, tmp_path: Path
) -> None:
    atoll = await start_moving()
    async with client_of(atoll, cloud.keystone.token()) as user:
        server = await protected(user, cloud)
        key = database.with_name(f"{database.name}.key")
        under = fingerprint(key.read_text().strip())
        await atoll.end()
        key.unlink()
    config = configuration(atoll, database, tmp_path, key_file(tmp_path / "new"))
    rotated = await command("secrets", "rotate", "-c", config)
    assert "0 runs and 0 recovery points" in rotated.output
    assert f"2 runs or recovery points stay under the key {under}" in rotated.output
    forgotten = await command("secrets", "forget", "-c", config, "--yes", under)
    assert "1 recovery points have no user_data any more" in forgotten.output
    atoll = await start_moving()
    async with client_of(atoll, cloud.keystone.token()) as user:
        await evacuating(user, cloud, server)
        async with asyncio.timeout(30):
            while given_at(cloud, "site2") != [None]:  # noqa: ASYNC110 - the site is elsewhere
                await asyncio.sleep(0.02)
