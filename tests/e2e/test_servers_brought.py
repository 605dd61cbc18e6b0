"""A server whose image is at another site, on real sites: BUILD at once, and one id from then on."""

import base64
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.runs import Runs, files_with, two_gateways, user_data_of
from tests.e2e.sites import CLOUD, Site, sites

pytestmark = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site brings nothing")

BYTES = 64 * 1024 * 1024
SECONDS = 300


@pytest.fixture
def two() -> tuple[Site, Site]:
    """Two sites, if there are two."""
    found = list(sites())
    if len(found) < 2:
        pytest.skip("there is one site only")
    return found[0], found[1]


@pytest.fixture
def image(cloud: Any, name: str, two: tuple[Site, Site]) -> Iterator[str]:
    """An image of random bytes at the first site alone."""
    made = cloud.image.create_image(
        name, data=None, disk_format="raw", container_format="bare", allow_duplicates=True,
        atoll_sites=two[0].name,
    )  # fmt: skip
    octets = {"Content-Type": "application/octet-stream"}
    cloud.image.put(f"/images/{made.id}/file", data=os.urandom(1 << 20) * (BYTES >> 20), headers=octets)
    yield str(made.id)
    for site in two:
        for one in site.admin.get("image", f"/v2/images?name={name}&limit=100")["images"]:
            site.admin.call("DELETE", "image", f"/v2/images/{one['id']}")


def until(look: Callable[[], Any]) -> Any:
    """What it gives once that is something."""
    end = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def create(cloud: Any, url: str, name: str, image: str, site: Site, **more: str) -> dict[str, Any]:
    """Ask for a server; what the answer says of it."""
    server = {
        "name": name, "flavorRef": "42", "imageRef": image, "networks": "none",
        "availability_zone": site.zone, "metadata": {"mine": "1"}, **more,
    }  # fmt: skip
    version = {"OpenStack-API-Version": "compute 2.90"}
    answer = cloud.session.post(f"{url}/compute/v2.1/servers", json={"server": server}, headers=version)
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()["server"]
    return accepted


def url_of(cloud: Any) -> str:
    """The gateway that the sandbox runs."""
    return str(cloud.config.get_auth_args()["auth_url"].rpartition("/identity")[0])


def test_its_image_is_brought_and_the_id_stays(
    cloud: Any, name: str, image: str, two: tuple[Site, Site]
) -> None:
    accepted = create(cloud, url_of(cloud), name, image, two[1])
    first = cloud.compute.get_server(accepted["id"])
    assert first.status in {"BUILD", "ACTIVE"}
    server = cloud.compute.wait_for_server(first, wait=SECONDS)
    assert (server.id, server.status) == (accepted["id"], "ACTIVE")
    assert server.metadata == {"mine": "1", "atoll_id": server.id}
    (run,) = [
        one
        for one in Runs(cloud).ask("GET", "?definition=server.create&limit=20").json()["runs"]
        if server.id in one["purpose"]
    ]
    at_site = Runs(cloud).ended(run["id"])["steps"][-1]["result"]["at_site"]
    assert two[1].has("compute", f"/servers/{at_site}")
    assert [one.id for one in cloud.compute.servers(name=name)] == [server.id]
    cloud.compute.stop_server(server)
    cloud.compute.wait_for_server(server, status="SHUTOFF", wait=SECONDS)
    cloud.compute.delete_server(server.id)
    until(lambda: cloud.compute.find_server(server.id) is None)
    assert not two[1].has("compute", f"/servers/{at_site}")


def test_the_gateway_that_brings_is_killed_in_the_middle(
    cloud: Any, name: str, image: str, two: tuple[Site, Site], tmp_path: Path
) -> None:
    with two_gateways(tmp_path) as (process, url, other):
        secret = {"user_data": base64.b64encode(f"#!{name}".encode()).decode(), "adminPass": f"pass-{name}"}
        accepted = create(cloud, url, name, image, two[1], **secret)
        assert accepted["adminPass"] == secret["adminPass"]
        until(lambda: [one for one in at(two[1], name) if one["status"] in {"saving", "active"}])
        os.kill(process.pid, signal.SIGKILL)

        def shown() -> dict[str, Any]:
            answer = cloud.session.get(f"{other}/compute/v2.1/servers/{accepted['id']}")
            found: dict[str, Any] = answer.json()["server"]
            return found

        until(lambda: shown()["status"] in {"ACTIVE", "ERROR"})
        assert (shown()["status"], shown()["id"]) == ("ACTIVE", accepted["id"])
        listed = cloud.session.get(f"{other}/compute/v2.1/servers?name={name}").json()["servers"]
        assert [one["id"] for one in listed] == [accepted["id"]]
        assert len([one for one in at(two[1], name) if one["status"] == "active"]) == 1
        (there,) = two[1].admin.get("compute", f"/servers?all_tenants=1&name={name}")["servers"]
        assert user_data_of(two[1], there["id"]) == secret["user_data"]
        assert [files_with(tmp_path, one) for one in secret.values()] == [[], []]
        cloud.session.delete(f"{other}/compute/v2.1/servers/{accepted['id']}")
        until(lambda: not list(two[1].admin.get("compute", f"/servers?all_tenants=1&name={name}")["servers"]))


def at(site: Site, name: str) -> list[dict[str, Any]]:
    """The images of a name at a site."""
    found: list[dict[str, Any]] = site.admin.get("image", f"/v2/images?name={name}&limit=100")["images"]
    return found
