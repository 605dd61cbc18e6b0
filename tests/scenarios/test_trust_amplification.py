"""One request that becomes many: each project has its own measure of those, whatever the route."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import openstack.config  # noqa: F401 - takes longer to import than a request may
import pytest
from tests.conftest import StartAtoll
from tests.running import Atoll, sites_of
from tests.scenarios.apart import apart
from tests.scenarios.conftest import SERVERS, client_of

from atoll.sandbox.simulated import Cloud, Keystone

pytestmark = pytest.mark.filterwarnings("ignore:Support for InfluxDB:Warning")

BURST = 4
LIMITS = {"limits": {"fan_out_per_second": 0.001, "fan_out_burst": BURST}}

Ask = tuple[str, str, Any]


def ident() -> str:
    return str(uuid.uuid4())


# Each is a request that goes to all sites; the paths and bodies are new each time.
FAN_OUTS: dict[str, Callable[[], Ask]] = {
    "a list": lambda: ("GET", f"{SERVERS}/detail", None),
    "a brief list": lambda: ("GET", SERVERS, None),
    "a list of volumes": lambda: ("GET", "/block-storage/v3/volumes", None),
    "a list of networks by name": lambda: ("GET", f"/network/v2.0/networks?name={ident()}", None),
    "a list of images": lambda: ("GET", "/image/v2/images", None),
    "a search": lambda: ("GET", f"{SERVERS}/{ident()}", None),
    "a search by a write": lambda: ("DELETE", f"/network/v2.0/ports/{ident()}", None),
    "a search for what a body names": lambda: (
        "POST",
        "/network/v2.0/ports",
        {"port": {"network_id": ident()}},
    ),
    "an image that nobody has": lambda: ("GET", f"/image/v2/images/{ident()}", None),
    "a flavor that nobody has": lambda: ("GET", f"/compute/v2.1/flavors/{ident()}", None),
    "a key that nobody has": lambda: ("GET", f"/compute/v2.1/os-keypairs/{ident()}", None),
    "a key made": lambda: ("POST", "/compute/v2.1/os-keypairs", {"keypair": {"name": ident()}}),
    "a key deleted": lambda: ("DELETE", f"/compute/v2.1/os-keypairs/{ident()}", None),
    "keys": lambda: ("GET", "/compute/v2.1/os-keypairs", None),
    "limits": lambda: ("GET", "/compute/v2.1/limits", None),
    "zones": lambda: ("GET", "/compute/v2.1/os-availability-zone", None),
    "extensions": lambda: ("GET", f"/network/v2.0/extensions/{ident()}", None),
    "what is the same": lambda: ("GET", "/atoll/v1/same/check", None),
}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture(params=["shared", "apart"])
async def way(
    request: pytest.FixtureRequest, start_atoll: StartAtoll, stack: AsyncExitStack, tmp_path, monkeypatch
) -> tuple[Atoll, Keystone, Cloud]:
    """A gateway before sites that share a Keystone, or have one each."""
    if request.param == "shared":
        cloud = await stack.enter_async_context(Cloud(2))
        atoll = await start_atoll(cloud.keystone.auth_url, sites_of(cloud), **LIMITS)
        await atoll.settled()
        return atoll, cloud.keystone, cloud
    clouds = await stack.enter_async_context(apart(tmp_path))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds.clouds_yaml))
    atoll = await start_atoll(
        clouds.auth_url, clouds.sites, credentials=clouds.credentials("demo", "alt_demo"), **LIMITS,
        **clouds.tables,
    )  # fmt: skip
    await atoll.settled()
    return atoll, clouds.keystone, clouds.cloud


async def test_every_kind_of_it_is_bounded_and_says_when_to_come_again(way):
    """The measure is used up by the first; from then on none of them may reach more than one site."""
    atoll, keystone, cloud = way
    async with client_of(atoll, keystone.token()) as user:
        for _ in range(2 * BURST):
            await user.get(f"{SERVERS}/{ident()}")
        wrong = []
        for name, ask in FAN_OUTS.items():
            for site in cloud.sites:
                site.listener.seen.clear()
            method, path, body = ask()
            answer = await user.request(method, path, json=body)
            reached = {
                site.name
                for site in cloud.sites
                for seen in site.listener.seen
                if seen.header("x-auth-token")
                and seen.target.split("?")[0].endswith(path.split("?")[0].partition("/v")[2][3:])
            }
            wait = answer.headers.get("retry-after", "")
            if answer.status_code != 429 or not wait.isdecimal() or int(wait) < 1 or len(reached) > 1:
                wrong.append((name, answer.status_code, wait, reached))
    assert wrong == []


async def test_another_project_has_a_measure_of_its_own_and_another_user_has_not(way):
    atoll, keystone, _ = way
    keystone.store.add_user("colleague", "x", keystone.project_id("demo"), "member", "reader")
    async with client_of(atoll, keystone.token()) as user:
        answers = [await user.get(f"{SERVERS}/{ident()}") for _ in range(2 * BURST)]
        assert [one.status_code for one in answers] == [404] * BURST + [429] * BURST
    async with client_of(atoll, keystone.token("colleague", "demo")) as colleague:
        assert (await colleague.get(f"{SERVERS}/{ident()}")).status_code == 429
    async with client_of(atoll, keystone.token("alt_demo")) as other:
        assert (await other.get(f"{SERVERS}/{ident()}")).status_code == 404


async def test_what_goes_to_one_site_is_not_counted(way):
    atoll, keystone, _ = way
    async with client_of(atoll, keystone.token()) as user:
        for _ in range(2 * BURST):
            await user.get(f"{SERVERS}/{ident()}")
        assert (await user.get("/compute/v2.1/flavors/42")).status_code == 200
        assert (await user.get("/image/v2/schemas/image")).status_code == 200
