"""The cloud under test, by the `openstack` command and by openstacksdk; and that nothing is left behind."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack
import openstack.config
import pytest
from tests.e2e.sites import CLOUD, STATE, Site, sites, zones

COMMAND = Path(sys.executable).with_name("openstack")
COMMAND_LIMIT = 400
GOING_SECONDS = 60.0
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEu1ZgGqRzqJFjCANCnWrGnd1j2kMWvPN7mMQwrjDpWn e2e"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs running clouds, and drives clients whose warnings are not ours."""
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.real)
        item.add_marker(pytest.mark.filterwarnings("default"))
        if STATE is None:
            item.add_marker(pytest.mark.skip(reason="ATOLL_E2E_STATE is not set: see `make e2e`"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with `zone` runs for default placement and for every site's zone."""
    if "zone" in metafunc.fixturenames:
        metafunc.parametrize("zone", zones(), ids=lambda zone: zone or "anywhere")


class Command:
    """The `openstack` command against the cloud under test."""

    def __init__(self, cloud: str, clouds_file: Path | None = None) -> None:
        assert STATE is not None
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        file = clouds_file or STATE / "clouds.yaml"
        self.environment = kept | {"OS_CLIENT_CONFIG_FILE": str(file), "OS_CLOUD": cloud}

    def run(self, *words: str, succeeds: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it; a failure fails the test with what it said."""
        done = subprocess.run(  # noqa: S603 - the tests' own words
            [str(COMMAND), *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )
        if succeeds and done.returncode:
            pytest.fail(f"openstack {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def __call__(self, *words: str) -> Any:
        """Run it and give the JSON it prints."""
        return json.loads(self.run(*words, "-f", "json").stdout)


@pytest.fixture(scope="session")
def cli() -> Command:
    """The command, as the ordinary user."""
    return Command(CLOUD)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Any]:
    """openstacksdk, as the ordinary user."""
    with connection(CLOUD) as connected:
        yield connected


@pytest.fixture(scope="session")
def admin() -> Iterator[Any]:
    """openstacksdk, as the administrator."""
    with connection(f"{CLOUD}-admin") as connected:
        yield connected


def connection(name: str) -> Any:
    """Connect to an entry of the state's clouds.yaml."""
    assert STATE is not None
    config = openstack.config.OpenStackConfig(config_files=[str(STATE / "clouds.yaml")], load_envvars=False)
    return openstack.connection.Connection(config=config.get_one(name))


@pytest.fixture
def name() -> Iterator[str]:
    """A name no other test uses; after the test no site may have anything that begins with it."""
    prefix = f"e2e-{uuid.uuid4().hex[:10]}"
    yield prefix
    # Nova shows one as deleted, and lists it, a moment longer; what is there still is no other test's matter.
    end = time.monotonic() + GOING_SECONDS
    while (left := [item for site in sites() for item in site.named(prefix)]) and time.monotonic() < end:
        time.sleep(1)
    if left:
        swept = [site.sweep(prefix) for site in sites()]
        pytest.fail(f"left behind: {left}; still there: {swept}")


@pytest.fixture
def undo(name: str) -> Iterator[Callable[..., None]]:
    """Remember what takes a resource away again; it is done, last first, before `name` looks for remains."""
    assert name
    steps: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def remember(step: Callable[..., Any], *arguments: Any) -> None:
        steps.append((step, arguments))

    yield remember
    failed = []
    for step, arguments in reversed(steps):  # what cannot be taken away leaves the rest to be
        try:
            step(*arguments)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - it is raised below
            failed.append(error)
    if failed:
        raise failed[0]


@pytest.fixture
def at(zone: str | None) -> list[str]:
    """The option by which the command asks for the zone."""
    return ["--availability-zone", zone] if zone else []


@pytest.fixture
def hint(zone: str | None) -> list[str]:
    """The option by which the command asks for a network's or router's zone."""
    return ["--availability-zone-hint", zone] if zone else []


@pytest.fixture
def home() -> Callable[..., Site]:
    """Find the one site that has a resource; with a zone it must be that zone's."""

    def find(service: str, path: str, zone: str | None) -> Site:
        have = [site for site in sites() if site.has(service, path)]
        assert len(have) == 1, f"{path} is at {[site.name for site in have]}"
        assert zone in {None, have[0].zone}
        return have[0]

    return find


@pytest.fixture
def private(cloud: Any) -> Callable[[Site], str]:
    """The id of the ordinary user's network `private` at a site."""

    def find(site: Site) -> str:
        mine = {network.id for network in cloud.network.networks(name="private")}
        there = {
            network["id"] for network in site.admin.get("network", "/v2.0/networks?name=private")["networks"]
        }
        (found,) = mine & there
        return str(found)

    return find
