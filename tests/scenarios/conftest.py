"""A user and an administrator of a gateway in front of three sites, and short ways to what tests often do."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of

from atoll.gateway import server_move, volume_asking
from atoll.sandbox.simulated import Cloud, Site
from atoll.sites import health

SERVERS = "/compute/v2.1/servers"
UNKNOWN = "99999999-8888-4777-8666-555555555555"
StartMoving = Callable[..., Awaitable[Atoll]]
ZONES = {f"zone{n}": {"site": f"site{n}", "zone": "nova"} for n in (1, 2, 3)}


class Client(httpx.AsyncClient):
    """An ordinary client that keeps its token at hand."""

    @property
    def token(self) -> str:
        """Its token."""
        return self.headers["x-auth-token"]


def client_of(atoll: Atoll, token: str) -> Client:
    """A client with a token; to be used with `async with`."""
    plain = atoll.client(token)
    plain.__class__ = Client
    assert isinstance(plain, Client)
    return plain


@pytest.fixture
async def user(atoll: Atoll, cloud: Cloud) -> AsyncIterator[Client]:
    """The user demo."""
    async with client_of(atoll, cloud.keystone.token()) as client:
        yield client


@pytest.fixture
def own_user(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The table `runs` of a gateway with a user of its own at the clients' Keystone."""
    entry = {
        "auth": {
            "auth_url": cloud.keystone.auth_url, "username": "admin", "password": cloud.password,
            "project_name": "admin", "user_domain_id": "default", "project_domain_id": "default",
        },
    }  # fmt: skip
    file = tmp_path / "clouds.yaml"
    file.write_text(json.dumps({"clouds": {"atoll": entry}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    return {"clouds_yaml": "atoll"}


@pytest.fixture
def start_moving(
    start_atoll: StartAtoll, cloud: Cloud, own_user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> StartMoving:
    """Start gateways in front of the named sites (none: all), that wait for nothing for long.

    They have a user of their own, and a zone of each site's name.
    """
    monkeypatch.setattr(health, "INTERVAL", 0.3)
    monkeypatch.setattr(volume_asking, "FIRST_SECONDS", 0.02)
    monkeypatch.setattr(server_move, "KNOWN_SECONDS", 0.0)

    async def start(*names: str, keys: Sequence[str] = ()) -> Atoll:
        sites = sites_of(cloud, *names)
        tables = {
            "zones": {name: {"site": name, "zone": "nova"} for name in sites},
            "secrets": {"key": [*keys]},
        }
        running = await start_atoll(cloud.keystone.auth_url, sites, runs=own_user, **tables)
        await running.settled()
        return running

    return start


@pytest.fixture
async def moving(start_moving: StartMoving) -> Atoll:
    """A gateway that moves things between all sites."""
    return await start_moving()


@pytest.fixture
async def admin(atoll: Atoll, cloud: Cloud) -> AsyncIterator[Client]:
    """The administrator."""
    async with client_of(atoll, cloud.keystone.token("admin")) as client:
        yield client


def server_body(cloud: Cloud, name: str = "vm", **fields: Any) -> dict[str, Any]:
    """The body of a server create that every site takes."""
    return {
        "server": {"name": name, "flavorRef": "42", "imageRef": cloud.sites[0].image_id("cirros"), **fields}
    }


async def boot(client: httpx.AsyncClient, cloud: Cloud, zone: str | None = None, **fields: Any) -> str:
    """A server, in a zone if one is named; its id."""
    if zone is not None:
        fields["availability_zone"] = zone
    answer = await client.post(SERVERS, json=server_body(cloud, **fields))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["server"]["id"])


def created_anywhere(cloud: Cloud) -> dict[str, int]:
    """How many servers each site has."""
    return {site.name: len(site.compute.instances) for site in cloud.sites}


def instances_of(site: Site) -> list[Any]:
    """The servers of a site, newest first."""
    return site.compute.instances.sorted(None, [("created_at", "desc")])


def writes(cloud: Cloud) -> list[tuple[str, str, str]]:
    """What the sites were asked that was no GET: (site, method, target)."""
    return [
        (site.name, seen.method, seen.target)
        for site in cloud.sites
        for seen in site.listener.seen
        if seen.method not in {"GET", "HEAD"}
    ]


async def sql(database: Path, statement: str) -> None:
    """Change the gateway's database behind its back."""

    def run() -> None:
        connection = sqlite3.connect(database, timeout=30)
        try:
            connection.executescript(statement)
        finally:
            connection.close()

    await asyncio.to_thread(run)


def dumped(value: Any) -> bytes:
    """JSON as a client might write it, not as ours does."""
    return json.dumps(value, indent=1, ensure_ascii=True).encode()
