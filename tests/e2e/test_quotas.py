"""A quota of which something is in use: each site takes its share of it, until the whole is used up."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import openstack
import pytest
from tests.e2e.sites import CLOUD, sites

from atoll.sandbox.real.api import Cloud

pytestmark = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site divides nothing")


@dataclass(frozen=True)
class Quota:
    """Where a service keeps a project's quota, and one total of it; `made` makes one more of that."""

    service: str
    path: str
    envelope: str
    total: str
    used: str
    in_use: str
    over: int
    made: Callable[..., Any]


def a_server(cloud: Any, name: str, zone: str | None) -> Any:
    image = cloud.image.find_image("cirros").id
    server = cloud.compute.create_server(
        name=name, image_id=image, flavor_id="42", networks="none", **_zone("availability_zone", zone)
    )
    return cloud.compute.wait_for_server(server, wait=300)


def a_volume(cloud: Any, name: str, zone: str | None) -> Any:
    volume = cloud.block_storage.create_volume(name=name, size=1, **_zone("availability_zone", zone))
    return cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, 300)


def a_network(cloud: Any, name: str, zone: str | None) -> Any:
    hints = _zone("availability_zone_hints", zone)
    return cloud.network.create_network(name=name, **{key: [value] for key, value in hints.items()})


def _zone(key: str, zone: str | None) -> dict[str, str]:
    return {key: zone} if zone else {}


QUOTAS = (
    Quota("compute", "/os-quota-sets/{}", "quota_set", "instances", "/detail", "in_use", 403, a_server),
    Quota(
        "block_storage", "/os-quota-sets/{}", "quota_set", "volumes", "?usage=True", "in_use", 413, a_volume
    ),
    Quota("network", "/quotas/{}", "quota", "network", "/details", "used", 409, a_network),
)
PATHS = {"compute": "/servers", "block_storage": "/volumes", "network": "/v2.0/networks"}
DELETES = {"compute": "delete_server", "block_storage": "delete_volume", "network": "delete_network"}


@pytest.mark.parametrize("quota", QUOTAS, ids=lambda quota: quota.service)
def test_what_is_in_use_is_enough(
    cloud: Any, admin: Any, name: str, undo: Any, home: Any, quota: Quota
) -> None:
    """All of it is used; then one is left, which is the first site's, and the project lives at the last."""
    far = sites()[-1]
    path = quota.path.format(cloud.current_project_id)
    service = getattr(admin, quota.service)
    kind = quota.service.replace("_", "-")

    def write(total: int) -> Any:
        return service.put(path, json={quota.envelope: {quota.total: total}})

    def make(zone: str | None = None) -> Any:
        one = quota.made(cloud, f"{name}-{time.monotonic_ns()}", zone)
        undo(until_gone, cloud, quota.service, one.id)
        return one

    undo(service.delete, path)
    make(far.zone)
    used = service.get(path + quota.used).json()[quota.envelope][quota.total][quota.in_use]
    for total in (used, used):  # Cinder looks at what is used from the second time on
        written = write(total)
        assert written.status_code == 200, written.text
        assert written.json()[quota.envelope][quota.total] == used
    at_sites = [_share(site.admin, kind, quota, cloud.current_project_id) for site in sites()]
    assert [limit for limit, _ in at_sites] == [there for _, there in at_sites]
    refused = write(used - 1)
    assert refused.status_code == 400, refused.text
    with pytest.raises(openstack.exceptions.HttpException) as over:
        make()
    assert over.value.status_code == quota.over
    assert write(used + 1).status_code == 200
    last = make()
    home(kind, f"{PATHS[quota.service]}/{last.id}", sites()[0].zone)
    with pytest.raises(openstack.exceptions.HttpException) as over:
        make()
    assert over.value.status_code == quota.over


def _share(site: Cloud, kind: str, quota: Quota, project: str) -> tuple[int, int]:
    """(limit, in use) at a site itself."""
    version = "/v2.0" if kind == "network" else ""
    found = site.get(kind, version + quota.path.format(project) + quota.used)
    figures = found[quota.envelope][quota.total]
    return figures["limit"], figures[quota.in_use]


def until_gone(cloud: Any, service: str, ident: str) -> None:
    """Delete it, and wait until nobody has it."""
    proxy = getattr(cloud, service)
    getattr(proxy, DELETES[service])(ident, ignore_missing=True)
    for _ in range(600):
        if proxy.get(f"{PATHS[service].removeprefix('/v2.0')}/{ident}").status_code == 404:
            return
        time.sleep(0.5)
    pytest.fail(f"{ident} is still there")
