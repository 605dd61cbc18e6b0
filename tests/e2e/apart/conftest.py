"""`atoll serve --clouds` before a site of the newest release and one of 2024.1 that share nothing."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from bench.ports import free_port
from tests.e2e.conftest import Command
from tests.e2e.serving import serving
from tests.e2e.sites import CLOUD, STATE, Site, apart


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These need the older site, which is not up by default, and are about Atoll alone."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    if CLOUD != "atoll" or len(apart()) < 2:
        for item in here:
            item.add_marker(pytest.mark.skip(reason="no older site is up: `atoll sandbox e2e --older`"))


@pytest.fixture(scope="session")
def two() -> list[Site]:
    """The newest site and the older one; each is a cloud, a site and a zone of the name of its entry."""
    return apart()


@pytest.fixture(scope="session")
def clouds_file(tmp_path_factory: pytest.TempPathFactory, two: list[Site]) -> Iterator[Path]:
    """The sandbox's clouds.yaml with the entry that the running Atoll wrote into it."""
    assert STATE is not None
    home = tmp_path_factory.mktemp("apart")
    file = Path(shutil.copy(STATE / "clouds.yaml", home / "clouds.yaml"))
    listen = f"127.0.0.1:{free_port()}"
    entries = ",".join(site.region.lower() for site in two)
    words = ["serve", "--clouds", entries, "--entry", "apart", "--listen", listen]
    words += ["--state", str(home / "state")]
    with serving(words, listen, home / "output", OS_CLIENT_CONFIG_FILE=str(file)):
        yield file


@pytest.fixture(scope="session")
def cli(clouds_file: Path) -> Command:
    """The command, as the user that Atoll made."""
    return Command("apart", clouds_file)


@pytest.fixture(scope="session")
def cloud(clouds_file: Path) -> Iterator[Any]:
    """openstacksdk, as that user."""
    config = openstack.config.OpenStackConfig(config_files=[str(clouds_file)], load_envvars=False)
    with openstack.connection.Connection(config=config.get_one("apart")) as connected:
        yield connected


@pytest.fixture
def name(two: list[Site]) -> Iterator[str]:
    """A name no other test uses; after the test it is swept from both sites, and none may keep any of it."""
    prefix = f"e2e-{uuid.uuid4().hex[:10]}"
    yield prefix
    assert [left for site in two for left in site.sweep(prefix)] == []
