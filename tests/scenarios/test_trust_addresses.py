"""Where Atoll can be sent by those who name URLs: sites, clouds, the webhook. Nothing that is behind it.

Looked at when it is named, and again when it is gone to: a name may lead elsewhere by then.
"""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import StartAtoll
from tests.origin import Origin
from tests.running import Atoll, sites_of, until
from tests.scenarios.conftest import SERVERS, UNKNOWN, Client, client_of

from atoll.inventory.records import SiteRecord
from atoll.sandbox.simulated import Cloud
from atoll.store import open_store

# As a resolver takes them: in other bases, in fewer parts, with a dot at the end, by names of this machine.
HOSTS = (
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "0",
    "10.0.0.1", "0.0.0.0", "192.168.0.1", "169.254.169.254", "0xa9fea9fe", "2852039166",
    "0251.0376.0251.0376", "100.100.100.200", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[0:0:0:0:0:0:0:1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[fe80::1]", "[fd00:ec2::254]",
)  # fmt: skip
ODD = ("u@127.0.0.1", "127.0.0.1\\@h.example", "@127.0.0.1", "h.example\\.127.0.0.1", "127.0.0.1%00")
SCHEMES = ("file", "ftp", "gopher", "dict", "ldap", "http+unix", "data")


@pytest.fixture
async def atoll(start_atoll: StartAtoll, cloud: Cloud) -> Atoll:
    return await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))


def site(url: str) -> dict[str, Any]:
    return {"name": "new", "region": "r", "endpoints": {"compute": url}}


async def test_what_is_named_is_looked_at_in_every_spelling(admin: Client) -> None:
    urls = [f"http://{host}:5000/v3" for host in (*HOSTS, *ODD)] + [
        f"{one}://127.0.0.1/v3" for one in SCHEMES
    ]
    taken = []
    for url in urls:
        for path, body in (("sites", site(url)), ("clouds", {"name": "new", "auth_url": url})):
            answer = await admin.post(f"/atoll/v1/{path}", json=body)
            if answer.status_code != 400:
                taken.append((path, url, answer.status_code))
    assert taken == []


async def test_a_site_cannot_be_moved_there_either(
    start_atoll: StartAtoll, cloud: Cloud, database: Path
) -> None:
    await recorded(database, "http://cloud.example/v2.1")
    atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud, "site1"))
    async with client_of(atoll, cloud.keystone.token("admin")) as admin:
        body = {"endpoints": {"compute": "http://127.0.0.1:1/v2.1"}}
        answer = await admin.patch("/atoll/v1/sites/later", json=body)
        assert (answer.status_code, "private_addresses" in answer.text) == (400, True)


async def recorded(database: Path, url: str) -> None:
    """A site on record whose URL was all right when it was added; now it leads where this one does."""
    store = await open_store(f"sqlite:///{database}")
    record = SiteRecord(name="later", region="r", number=4096, endpoints={"compute": url})
    await store.intent.change(lambda ledger: ledger.put(record))
    await store.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("allowed", [False, True])
async def test_a_name_that_leads_elsewhere_later_leads_nowhere(
    start_atoll: StartAtoll, cloud: Cloud, database: Path, host: str, allowed: bool
) -> None:
    """What the resolver says at the time of the connection counts: there is nothing between check and use."""
    async with Origin() as inside:
        await recorded(database, f"http://{host}:{inside.url.rpartition(':')[2]}/v2.1")
        atoll = await start_atoll(
            cloud.keystone.auth_url, sites_of(cloud, "site1"), limits={"private_addresses": allowed}
        )
        async with client_of(atoll, cloud.keystone.token()) as user:
            answer = await user.get(f"{SERVERS}/{UNKNOWN}")
        if allowed:
            await until(lambda: inside.seen)
            return
        assert answer.status_code == 503
        assert "later" in answer.text
        assert inside.seen == []


async def test_the_webhook_is_bound_by_the_same_setting(start_atoll: StartAtoll, cloud: Cloud) -> None:
    async with Origin() as inside:
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{inside.url.rpartition(':')[2]}/events"
            atoll = await start_atoll(
                cloud.keystone.auth_url, sites_of(cloud, "site1"), audit={"webhook": url}
            )
            async with client_of(atoll, cloud.keystone.token()) as user:
                await user.delete(f"{SERVERS}/{UNKNOWN}")
            await asyncio.sleep(0.1)
            await atoll.end()
            assert inside.seen == [], host
        atoll = await start_atoll(
            cloud.keystone.auth_url, sites_of(cloud, "site1"), audit={"webhook": url},
            limits={"private_addresses": True},
        )  # fmt: skip
        async with client_of(atoll, cloud.keystone.token()) as user:
            await user.delete(f"{SERVERS}/{UNKNOWN}")
        await until(lambda: inside.seen)


def test_the_resolver_here_takes_such_spellings() -> None:
    """Where it did not, what is above would prove nothing."""
    for host in ("2130706433", "0x7f.1", "0177.0.0.1", "127.1"):
        assert socket.getaddrinfo(host, 80)[0][4][0] == "127.0.0.1"
