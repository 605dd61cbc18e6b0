"""Every panel of Horizon opens, for the user and for the administrator, and lists what all sites have."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e.horizon.conftest import server_at
from tests.e2e.horizon.pages import Horizon
from tests.e2e.sites import sites


@pytest.fixture
def in_all(cloud: Any, name: str, undo: Callable[..., None]) -> list[str]:
    """The names of a server, a volume and a network each, one at every site."""
    names = [f"{name}-{site.zone}" for site in sites()]
    for site, one in zip(sites(), names, strict=True):
        network = cloud.network.create_network(name=one, availability_zone_hints=[site.zone])
        undo(cloud.network.delete_network, network)
        volume = cloud.create_volume(1, name=one, availability_zone=site.zone, wait=True)
        undo(cloud.delete_volume, volume.id)
        undo(cloud.delete_server, server_at(site, cloud, one).id, True)
    return names


LISTS = [("instances", "instances"), ("volumes", "volumes"), ("networks", "networks")]


@pytest.fixture
def administrator(horizon: Horizon) -> Iterator[Horizon]:
    """Horizon as the administrator; the user is back afterwards."""
    horizon.log_in("admin")
    yield horizon
    horizon.log_in("demo")


def open_all(horizon: Horizon, dashboard: str) -> None:
    """Open every panel of a dashboard; none may complain."""
    panels = [path for path in horizon.panels() if path.startswith(dashboard)]
    assert len(panels) > 1
    for path in panels:
        horizon.browser.open(path)
        horizon.look("panel" + path.rstrip("/").replace("/", "-"))


def test_the_panels_of_a_user(horizon: Horizon, in_all: list[str]) -> None:
    for panel, table in LISTS:
        horizon.browser.open(f"/project/{panel}/")
        assert set(in_all) <= set(horizon.names(table))
    open_all(horizon, "/project/")


def test_the_panels_of_an_administrator(administrator: Horizon, in_all: list[str]) -> None:
    for panel, table in LISTS:
        administrator.browser.open(f"/admin/{panel}/")
        assert set(in_all) <= set(administrator.names(table))
    administrator.browser.open("/admin/hypervisors/")
    hosts = {host for site in sites() for host in hypervisors(site)}
    assert hosts == set(administrator.names("hypervisors"))
    open_all(administrator, "/admin/")


def hypervisors(site: Any) -> list[str]:
    """The names of a site's own hypervisors."""
    listed = site.admin.get("compute", "/os-hypervisors")["hypervisors"]
    return [one["hypervisor_hostname"] for one in listed]


def test_the_limits_of_the_overview_are_of_all_sites(horizon: Horizon, cloud: Any) -> None:
    limits = cloud.compute.get_limits().absolute
    horizon.browser.open("/project/")
    horizon.look("overview")
    assert horizon.browser.see(f"//*[contains(text(), 'of {limits.instances}')]").shown
    assert limits.instances == sum(
        site.mine.get("compute", "/limits")["limits"]["absolute"]["maxTotalInstances"] for site in sites()
    )
