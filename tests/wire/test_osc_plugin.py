"""The plugin of the `openstack` command, by the command itself."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.running import Atoll

from atoll.sandbox.simulated import Cloud
from atoll.sandbox.simulated.identity import PASSWORD

COMMAND = Path(sys.executable).with_name("openstack")
LIMIT = 120


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
