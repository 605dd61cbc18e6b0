"""Horizon before Atoll, in a browser."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.horizon.pages import Horizon
from tests.e2e.horizon.webdriver import Browser, browsing, missing
from tests.e2e.sites import Site, sites

URL = os.environ.get("ATOLL_HORIZON", "")
PICTURES = os.environ.get("ATOLL_HORIZON_PICTURES", "")  # a directory that keeps them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These need Horizon, which is not up by default, and a browser."""
    reason = ""
    if not URL:
        reason = "no Horizon is up: `atoll sandbox e2e --horizon`"
    elif missing():
        reason = f"no {' and no '.join(missing())}: as root, apt-get install chromium chromium-driver"
    for item in items:
        if reason and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with `site` runs for every site."""
    if "site" in metafunc.fixturenames:
        metafunc.parametrize("site", sites(), ids=lambda site: site.name)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One window for all tests."""
    with browsing(URL, tmp_path_factory.mktemp("browser") / "chromedriver.log") as browser:
        yield browser


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of pages go."""
    directory = Path(PICTURES) if PICTURES else tmp_path_factory.mktemp("pictures")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def visited(browser: Browser, pictures: Path) -> Horizon:
    """Horizon, logged in as the ordinary user."""
    horizon = Horizon(browser, pictures)
    horizon.log_in("demo")
    return horizon


@pytest.fixture
def horizon(visited: Horizon, request: pytest.FixtureRequest, pictures: Path) -> Iterator[Horizon]:
    """Horizon, and a picture of where a test ended."""
    yield visited
    visited.browser.picture(pictures / f"end-{request.node.name}.png")


@pytest.fixture
def network(cloud: Any, name: str, site: Site, undo: Callable[..., None]) -> Any:
    """A network of the site with a subnet."""
    made = cloud.network.create_network(name=f"{name}-net", availability_zone_hints=[site.zone])
    undo(cloud.network.delete_network, made)
    cloud.network.create_subnet(network_id=made.id, name=f"{name}-sub", ip_version=4, cidr="10.77.0.0/24")
    return made


def server_at(site: Site, cloud: Any, name: str) -> Any:
    """Make a server without a network at a site."""
    image = cloud.image.find_image("cirros", ignore_missing=False)
    made = cloud.compute.create_server(
        name=name, image_id=image.id, flavor_id="42", networks="none", availability_zone=site.zone
    )
    return cloud.compute.wait_for_server(made, wait=180)
