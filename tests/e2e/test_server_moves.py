"""The run server.move on real sites: with its volume and its id, past a killed gateway, and back."""

import base64
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.exceptions import ConnectFailure
from tests.e2e.runs import Runs, files_with, two_gateways, user_data_of
from tests.e2e.sites import CLOUD, Site, sites

pytestmark = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site moves nothing")

SECONDS = 600
USER_DATA = base64.b64encode(b"#!/bin/sh\necho a password of mine").decode()
VERSION = {"OpenStack-API-Version": "compute 2.46"}


@pytest.fixture
def two() -> tuple[Site, Site]:
    """Two sites, if there are two."""
    found = list(sites())
    if len(found) < 2:
        pytest.skip("there is one site only")
    return found[0], found[1]


@pytest.fixture
def networks(cloud: Any, name: str, two: tuple[Site, Site]) -> Iterator[dict[str, str]]:
    """A network at each site, of the same range; the ids by site. All that bears the name goes at the end."""
    made = []
    for number, site in enumerate(two):
        one = cloud.network.create_network(name=f"{name}-{number}", availability_zone_hints=[site.zone])
        cloud.network.create_subnet(
            network_id=one.id, name=f"{name}-{number}", ip_version=4, cidr="10.66.0.0/24"
        )
        made.append(one.id)
    yield {site.name: one for site, one in zip(two, made, strict=True)}
    assert [left for site in two for left in site.sweep(name)] == []


@pytest.fixture
def server(cloud: Any, name: str, networks: dict[str, str], two: tuple[Site, Site]) -> Iterator[Any]:
    """A server at the first site, on a network that both have, with a volume."""
    image = str(next(cloud.image.images(name="cirros")).id)
    made = cloud.compute.create_server(
        name=name, flavor_id="42", image_id=image, availability_zone=two[0].zone, metadata={"mine": "1"},
        networks=[{"uuid": networks[two[0].name]}], user_data=USER_DATA,
    )  # fmt: skip
    made = cloud.compute.wait_for_server(made, wait=SECONDS)
    volume = cloud.block_storage.create_volume(name=name, size=1, availability_zone=two[0].zone)
    cloud.block_storage.wait_for_status(volume, "available", ["error"], 0.5, SECONDS)
    cloud.compute.create_volume_attachment(made, volume_id=volume.id)
    cloud.block_storage.wait_for_status(volume, "in-use", ["error"], 0.5, SECONDS)
    yield cloud.compute.get_server(made.id)
    for site in two:
        for one in site.admin.get("image", f"/v2/images?atoll_moved={made.id}")["images"]:
            site.admin.call("DELETE", "image", f"/v2/images/{one['id']}")


def at(site: Site, many: str, name: str) -> list[dict[str, Any]]:
    """The servers of a name at a site itself."""
    found: list[dict[str, Any]] = site.admin.get("compute", f"/{many}?all_tenants=1&name={name}")[many]
    return found


def until(look: Callable[[], Any]) -> Any:
    """What it gives once that is something."""
    end = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def addresses(server: dict[str, Any]) -> list[str]:
    """The addresses of a server; each site has a name of its own for the network."""
    return [one["addr"] for network in server["addresses"].values() for one in network]


@contextmanager
def declared(cloud: Any, url: str, networks: dict[str, str], name: str) -> Iterator[None]:
    """Have a gateway take the networks for one."""
    ident = next(iter(networks.values()))
    body = {"resource": "network", "ids": networks, "id": ident, "name": name}
    answer = cloud.session.post(f"{url}/atoll/v1/same", json=body, raise_exc=False)
    assert answer.status_code == 201, answer.text
    try:
        yield
    finally:
        with suppress(ConnectFailure):  # that gateway was killed, and what it knew is of the test alone
            cloud.session.delete(f"{url}/atoll/v1/same/network/{ident}", raise_exc=False)


def shown(cloud: Any, url: str, ident: str) -> dict[str, Any]:
    """A server, as a gateway shows it."""
    answer = cloud.session.get(f"{url}/compute/v2.1/servers/{ident}", headers=VERSION, raise_exc=False)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["server"]
    return found


def listed_once(cloud: Any, url: str, server: Any) -> bool:
    """Check that each kind of list shows it, and nothing else of its name."""
    for rest in ("?", "/detail?", "?sort_key=created_at&", "?limit=1&"):
        answer = cloud.session.get(f"{url}/compute/v2.1/servers{rest}name={server.name}")
        assert [one["id"] for one in answer.json()["servers"]] == [server.id], rest
    return True


def test_it_moves_with_all_that_it_has_past_a_killed_gateway_and_back(
    cloud: Any,
    server: Any,
    networks: dict[str, str],
    name: str,
    two: tuple[Site, Site],
    tmp_path: Path,
) -> None:
    first, second = two
    with two_gateways(tmp_path) as (process, url, other), declared(cloud, url, networks, name):
        before = shown(cloud, url, server.id)
        runs, others = Runs(cloud, url), Runs(cloud, other)
        run = runs.start("server.move", server=server.id, site=second.name)
        runs.until(run, lambda one: any(step["state"] == "done" for step in one["steps"][3:]))
        os.kill(process.pid, signal.SIGKILL)
        ended = others.until(run, lambda one: one["state"] in {"done", "undone", "dirty", "parked"}, SECONDS)
        assert ended["state"] == "done", ended
        assert "lost" in others.log(run)
        after = shown(cloud, other, server.id)
        for key in ("id", "name", "status", "key_name", "tenant_id", "tags", "description"):
            assert after[key] == before[key], key
        assert after["flavor"]["id"] == before["flavor"]["id"]
        assert after["metadata"] == {"mine": "1", "atoll_id": server.id}
        assert addresses(after) == addresses(before) != []
        (there,) = at(second, "servers", name)
        assert at(first, "servers", name) == []
        assert (user_data_of(second, there["id"]), files_with(tmp_path, USER_DATA)) == (USER_DATA, [])
        (volume,) = cloud.session.get(
            f"{other}/block-storage/v3/{cloud.current_project_id}/volumes/detail?name={name}"
        ).json()["volumes"]
        assert (volume["status"], volume["attachments"][0]["server_id"]) == ("in-use", server.id)
        assert second.has("block-storage", f"/volumes/{volume['id']}")
        back = others.start("server.move", server=server.id, site=first.name)
        ends = {"done", "undone", "dirty", "parked"}
        ended = others.until(
            back, lambda one: listed_once(cloud, other, server) and one["state"] in ends, SECONDS
        )
        assert ended["state"] == "done", ended
        assert listed_once(cloud, other, server)
        assert shown(cloud, other, server.id)["status"] == "ACTIVE"
        assert (len(at(first, "servers", name)), at(second, "servers", name)) == (1, [])
        answer = cloud.session.delete(f"{other}/compute/v2.1/servers/{server.id}", raise_exc=False)
        assert answer.status_code == 204


def test_deleted_by_its_user_meanwhile_it_stays_deleted(
    cloud: Any, server: Any, networks: dict[str, str], name: str, two: tuple[Site, Site]
) -> None:
    """The one that was made at the other site goes, too."""
    first, second = two
    runs, url = Runs(cloud), cloud.config.get_auth_args()["auth_url"].rpartition("/identity")[0]
    with declared(cloud, url, networks, name):
        run = runs.start("server.move", server=server.id, site=second.name)
        until(lambda: at(second, "servers", name))
        answer = cloud.session.delete(f"{url}/compute/v2.1/servers/{server.id}", raise_exc=False)
        assert answer.status_code == 204, answer.text
        ends = {"done", "undone", "dirty", "parked"}
        ended = runs.until(run, lambda one: one["state"] in ends, SECONDS)
        assert (ended["state"], "deleted meanwhile" in ended["reason"]) == ("undone", True), ended
        path = f"{url}/compute/v2.1/servers/{server.id}"
        until(lambda: cloud.session.get(path, raise_exc=False).status_code == 404)
    until(lambda: (at(first, "servers", name), at(second, "servers", name)) == ([], []))
    until(lambda: [one.status for one in cloud.block_storage.volumes(name=name)] == ["available"])


def test_refused_there_it_runs_where_it_was(
    cloud: Any, server: Any, networks: dict[str, str], name: str, two: tuple[Site, Site]
) -> None:
    """The quota there is used up: the run finds out when all is copied."""
    first, second = two
    project = cloud.current_project_id
    used = second.admin.get("compute", f"/os-quota-sets/{project}/detail")["quota_set"]["instances"]
    quota = {"quota_set": {"instances": used["in_use"]}}
    second.admin.call("PUT", "compute", f"/os-quota-sets/{project}", quota)
    try:
        runs, url = Runs(cloud), cloud.config.get_auth_args()["auth_url"].rpartition("/identity")[0]
        with declared(cloud, url, networks, name):
            run = runs.start("server.move", server=server.id, site=second.name)
            ends = {"done", "undone", "dirty", "parked"}
            ended = runs.until(run, lambda one: one["state"] in ends, SECONDS)
    finally:
        quota = {"quota_set": {"instances": used["limit"]}}
        second.admin.call("PUT", "compute", f"/os-quota-sets/{project}", quota)
    assert ended["state"] == "undone", ended
    assert "uota" in ended["reason"]
    now = cloud.compute.get_server(server.id)
    assert (now.status, now.metadata) == ("ACTIVE", {"mine": "1"})
    assert (len(at(first, "servers", name)), at(second, "servers", name)) == (1, [])
    assert [one.status for one in cloud.block_storage.volumes(name=name)] == ["in-use"]
