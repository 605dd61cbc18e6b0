"""The plugin of the `openstack` command, by the command itself."""

import asyncio
import importlib
import json
import os
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from keystoneauth1.identity.v3 import Token
from keystoneauth1.session import Session
from tests.running import Atoll
from tests.scenarios.probes import comes_to, started

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.identity import PASSWORD

COMMAND = Path(sys.executable).with_name("openstack")
LIMIT = 120
IN_PROCESS = pytest.mark.filterwarnings("ignore:The osc_lib.version module is deprecated:DeprecationWarning")


async def openstack(atoll: Atoll, *words: str) -> tuple[int, str, str]:
    """Run the command as the administrator: its exit status and what it said."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    credentials = {
        "OS_AUTH_URL": f"{atoll.url}/identity/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
    }
    process = await asyncio.create_subprocess_exec(
        str(COMMAND),
        *words,
        env=kept | credentials,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), LIMIT)
    return process.returncode or 0, out.decode(), err.decode()


async def shown(atoll: Atoll, *words: str) -> Any:
    """What the command prints as JSON."""
    status, out, err = await openstack(atoll, *words, "-f", "json")
    assert status == 0, err
    return json.loads(out)


async def test_sites_and_where_things_are(atoll: Atoll, cloud: Cloud) -> None:
    async with atoll.client(cloud.keystone.token("admin")) as client:
        made = (await client.post("/network/v2.0/networks", json={"network": {"name": "net"}})).json()
    sites, found, unknown = await asyncio.gather(
        shown(atoll, "site", "list"),
        shown(atoll, "where", made["network"]["id"]),
        openstack(atoll, "site", "show", "atlantis"),
    )
    names = {one.name for one in cloud.sites}
    assert {one["Name"] for one in sites} == names
    assert {one["State"] for one in sites} == {"enabled"}
    assert {one["Site"] for one in found} <= names
    assert len(found) == 1
    assert unknown[0] == 1
    assert "There is no site atlantis." in unknown[2]


@IN_PROCESS
async def test_runs_as_a_user_sees_them(atoll: Atoll, cloud: Cloud) -> None:
    # In this process: the command itself takes a second to begin, and is tried above.
    commands, own = importlib.import_module("atoll.osc.commands"), importlib.import_module("atoll.osc.client")
    async with atoll.client(cloud.keystone.token("admin")) as admin:
        run = await started(admin, steps=2, fail="refuse")
        await comes_to(admin, run["id"], "undone")
    auth = Token(f"{atoll.url}/identity/v3", cloud.keystone.token("admin"))
    client = own.Client(Session(auth, verify=False), region_name=None, interface="public")
    app: Any = SimpleNamespace(client_manager=SimpleNamespace(atoll=client))

    def told(kind: Any, *words: str) -> Any:
        command = kind(app, None)
        heads, values = command.take_action(command.get_parser("x").parse_args(list(words)))
        return heads, list(values)

    heads, rows = await asyncio.to_thread(told, commands.ListRun, "--state", "undone", "--limit", "5")
    assert [dict(zip(heads, row, strict=True))["ID"] for row in rows] == [run["id"]]
    assert (await asyncio.to_thread(told, commands.ListRun, "--dead"))[1] == []
    shown_run = dict(zip(*await asyncio.to_thread(told, commands.ShowRun, run["id"]), strict=True))
    assert shown_run["steps"] == "wait-1 undone\nwait-2 failed it was told to fail"
    with pytest.raises(commands.CommandError, match="There is no run nothing"):
        await asyncio.to_thread(told, commands.ShowRun, "nothing")


@IN_PROCESS
def test_every_command_that_is_announced_is_there() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    for target in project["project"]["entry-points"]["openstack.atoll.v1"].values():
        module, _, name = target.partition(":")
        assert hasattr(getattr(importlib.import_module(module), name), "take_action"), target
