"""Two real sites of unequal ranges: a version that one lacks is 406 where both are needed, naming it."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.e2e.outages.conftest import ONE, SERVERS, TWO, Real, Start, boot, delete, server_body
from tests.e2e.outages.way import Ask, Way, refused, through
from tests.origin import Exchange

NEWEST = 90
ABOVE = {"OpenStack-API-Version": "compute 2.95"}
LATEST = {"OpenStack-API-Version": "compute latest"}
VERSION_HEADERS = {b"openstack-api-version", b"x-openstack-nova-api-version"}


def older(way: Way) -> list[str]:
    """Make the real Nova behind a way one that ends at 2.`NEWEST`; the versions it is then asked for.

    That is: `version` of its version documents is replaced, and what asks for more is answered 406, in Nova's
    words. Nova itself answers the rest. An older Nova differs otherwise only in what has no version.
    """
    asked: list[str] = []

    async def as_older(exchange: Exchange, ask: Ask) -> None:
        given = [value.decode() for key, value in exchange.head.headers if key in VERSION_HEADERS]
        asked.extend(given)
        wanted = re.search(r"2\.(\d+)", " ".join(given))
        if wanted is not None and int(wanted.group(1)) > NEWEST:
            message = (
                f"Version {wanted.group(0)} is not supported by the API. "
                f"Minimum is 2.1 and maximum is 2.{NEWEST}."
            )
            await refused(406, {"computeFault": {"code": 406, "message": message}})(exchange, ask)
            return
        await through(exchange, ask)

    async def as_older_document(exchange: Exchange, ask: Ask) -> None:
        said = await ask()
        document = re.sub(rb'"version": "2\.\d+"', b'"version": "2.%d"' % NEWEST, said.content)
        assert document != said.content
        await exchange.answer(said.status_code, document)

    way.when("GET", "/", as_older_document, None)
    for method in ("GET", "POST", "PUT", "DELETE"):
        way.when(method, "", as_older, None)
    return asked


@pytest.fixture
def asked(real: Real) -> list[str]:
    """The versions that the older site, RegionOne, is asked for."""
    return older(real.ways[ONE]["compute"])


@pytest.fixture
async def user(asked: list[str], start: Start, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """The ordinary user of an Atoll before an older and a newer site."""
    async with (await start()).client(token) as client:
        yield client
    assert not any("latest" in version for version in asked), "it means another version at each site"


def refuses(answer: httpx.Response) -> None:
    assert answer.status_code == 406, answer.text
    message = answer.json()["computeFault"]["message"]
    assert message.startswith("Version 2.95 is not supported by the API. Minimum is 2.1 and maximum is 2.90.")
    assert ONE in message
    assert TWO not in message


async def test_a_version_that_one_site_lacks(user: httpx.AsyncClient, real: Real, name: str) -> None:
    (server,) = await boot(user, name, TWO)
    for path in (SERVERS, f"{SERVERS}/detail", "/compute/v2.1/flavors", "/compute/v2.1/limits"):
        refuses(await user.get(path, headers=ABOVE))
    refuses(await user.post(SERVERS, json=server_body(name, ONE), headers=ABOVE))
    keypair: dict[str, Any] = {"keypair": {"name": name, "type": "ssh"}}
    refuses(await user.post("/compute/v2.1/os-keypairs", json=keypair, headers=ABOVE))
    assert await real.servers(ONE, name) == []
    shown = await user.get(f"{SERVERS}/{server}", headers=ABOVE)
    assert shown.status_code == 200, "its own site has it"
    assert shown.headers["openstack-api-version"] == "compute 2.95"
    placed = await user.post(SERVERS, json=server_body(f"{name}-b"), headers=ABOVE)
    assert placed.status_code == 202, placed.text
    assert await real.servers(TWO, f"{name}-b") == [placed.json()["server"]["id"]], (
        "where there is the version"
    )
    await delete(user, server)


async def test_latest_is_what_both_have(user: httpx.AsyncClient, asked: list[str]) -> None:
    for path in (f"{SERVERS}/detail", "/compute/v2.1/flavors", "/compute/v2.1/limits"):
        answer = await user.get(path, headers=LATEST)
        assert answer.status_code == 200, answer.text
        assert answer.headers["openstack-api-version"] == "compute 2.90"
    assert "compute 2.90" in asked
    document = (await user.get("/compute/v2.1/")).json()["version"]
    assert (document["min_version"], document["version"]) == ("2.1", "2.90")
