"""What servers are created with and may be secret: not in the store, in no event, and whole at the sites."""

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.running import Atoll
from tests.scenarios.conftest import SERVERS, Client, instances_of, server_body
from tests.scenarios.probes import RUNS, comes_to
from tests.scenarios.test_evacuation import dies, evacuated
from tests.scenarios.test_image_copies import uploaded
from tests.scenarios.test_server_moves import server_at
from tests.scenarios.test_servers_brought import create, run_of, until

from atoll.gateway.definition_table import DEFINITIONS
from atoll.sandbox.simulated import Cloud, Fault

TRANSACTIONS = "/atoll/v1/transactions"
MARKER = base64.b64encode(b"#cloud-config\npassword: the-marker-of-this-test\n").decode()
PASSWORD = "marked-PassWord-of-this-test"
CARRY = {
    "server.create", "server.evacuate", "server.move", "server.protect", "transaction",
}  # fmt: skip
"""Definitions whose runs may have something secret to carry: each has a test here."""
CARRY_NONE = {"flavor.copy", "image.copy", "probe", "server.unprotect", "volume.copy", "volume.move"}


def test_every_definition_is_judged() -> None:
    assert {one.name for one in DEFINITIONS.latest(admin=True)} == CARRY | CARRY_NONE


@pytest.fixture
async def atoll(moving: Atoll) -> Atoll:
    """A gateway that moves things."""
    return moving


def kept(database: Path) -> bytes:
    """All that stands in the store, what waits to be written into it, and beside it."""
    return b"".join(one.read_bytes() for one in database.parent.glob(f"{database.name}*"))


async def check_hidden(user: Client, atoll: Atoll, *more: str) -> None:
    """Nothing of it is in the store, nor in what is shown or told of any run."""
    runs = (await user.get(RUNS)).json()["runs"]
    said = kept(atoll.database) + "".join(more).encode()
    for run in runs:
        for path in ("", "/log", "/explain", *(["/events"] if run["ended_at"] else [])):
            said += (await user.get(f"{RUNS}/{run['id']}{path}")).content
    assert runs
    for secret in (MARKER, PASSWORD):
        for part in (secret, secret[:20]):
            assert part.encode() not in said


def given_at(cloud: Cloud, site: str) -> list[Any]:
    """The user data of the servers that a site has."""
    return [one.user_data for one in instances_of(cloud.site(site))]


async def applied(user: Client, body: dict[str, Any], **more: Any) -> httpx.Response:
    """A transaction that creates a server."""
    step = {"name": "vm", "create": "server", "body": body}
    return await user.post(TRANSACTIONS, json={"create": [step | more.pop("step", {})], **more})


async def test_of_a_transaction(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    body = server_body(cloud, user_data=MARKER, adminPass=PASSWORD, networks="none")["server"]
    answer = await applied(user, body, step={"version": "2.37"})
    assert answer.status_code == 202, answer.text
    await comes_to(user, answer.json()["run"]["id"], "done")
    assert [one for site in cloud.sites for one in given_at(cloud, site.name)] == [MARKER]
    assert b'"asked"' not in kept(atoll.database), "a digest of it could be compared with those of guesses"
    await check_hidden(user, atoll, answer.text)


async def test_what_a_site_repeats_of_it(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    """Nova says the whole body of what it refuses, here for want of a name."""
    body = server_body(cloud, user_data=MARKER, adminPass=PASSWORD)["server"]
    del body["name"]
    answer = await applied(user, body)
    run = await comes_to(user, answer.json()["run"]["id"], "undone")
    assert "'user_data': '(sealed)'" in run["reason"]
    await check_hidden(user, atoll, answer.text)


async def test_of_a_server_to_whose_site_something_is_brought(
    user: Client, cloud: Cloud, atoll: Atoll
) -> None:
    image = await uploaded(user)
    cloud.site("site2").faults.add(Fault("latency", service="image", method="PUT"))
    answer = await create(user, image, availability_zone="site2", user_data=MARKER, adminPass=PASSWORD)
    assert answer.status_code == 202, answer.text
    assert answer.json()["server"]["adminPass"] == PASSWORD
    server = answer.json()["server"]["id"]
    assert (await user.get(f"{SERVERS}/{server}")).json()["server"]["status"] == "BUILD"
    await check_hidden(user, atoll)
    cloud.site("site2").faults.clear()
    assert (await until(user, server, "ACTIVE", "ERROR"))["status"] == "ACTIVE"
    await comes_to(user, (await run_of(user))["id"], "done")
    assert given_at(cloud, "site2") == [MARKER]
    await check_hidden(user, atoll)


async def test_of_a_server_that_moves(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    server = await server_at(user, cloud, "site1", user_data=MARKER)
    given = {"definition": "server.move", "input": {"server": server, "site": "site2"}}
    answer = await user.post(RUNS, json=given)
    await comes_to(user, answer.json()["run"]["id"], "done")
    assert given_at(cloud, "site2") == [MARKER]
    await check_hidden(user, atoll, answer.text)


async def test_of_a_server_that_is_protected_and_made_anew(user: Client, cloud: Cloud, atoll: Atoll) -> None:
    server = await server_at(user, cloud, "site1", user_data=MARKER)
    given = {"definition": "server.protect", "input": {"server": server, "site": "site2"}}
    answer = await user.post(RUNS, json=given)
    await comes_to(user, answer.json()["run"]["id"], "done")
    points = await user.get("/atoll/v1/recovery-points")
    assert points.json()["recovery_points"]
    dies(cloud)
    await evacuated(user, server)
    assert given_at(cloud, "site2") == [MARKER]
    await check_hidden(user, atoll, answer.text, points.text)
