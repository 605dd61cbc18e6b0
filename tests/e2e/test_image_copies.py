"""The run image.copy on real sites: through a gateway that is killed in the middle, too."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.runs import ENDS, SECONDS, Runs, begun, two_gateways
from tests.e2e.sites import CLOUD, sites

pytestmark = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site has no runs")

BYTES = 96 * 1024 * 1024


@pytest.fixture
def image(cloud: Any, name: str) -> Iterator[Any]:
    """An image of random bytes at the first site alone."""
    data = os.urandom(1 << 20) * (BYTES >> 20)
    made = cloud.image.create_image(
        name, data=None, disk_format="raw", container_format="bare", allow_duplicates=True,
        atoll_sites=sites()[0].name, atoll_test="kept", tags=["one"],
    )  # fmt: skip
    cloud.image.put(
        f"/images/{made.id}/file", data=data, headers={"Content-Type": "application/octet-stream"}
    )
    yield cloud.image.get_image(made.id)
    for site in sites():
        for one in site.admin.get("image", f"/v2/images?name={name}&limit=100")["images"]:
            site.admin.call("DELETE", "image", f"/v2/images/{one['id']}")


def copy_of(runs: Runs, image: str, *to: str) -> str:
    """Accept a copy; its run's id."""
    return runs.start("image.copy", image=image, sites=list(to))


def at(site: Any, name: str) -> list[Any]:
    """The images of a name at a site."""
    found: list[Any] = site.admin.get("image", f"/v2/images?name={name}&limit=100")["images"]
    return found


def test_an_image_is_brought_to_the_other_site_as_it_is(cloud: Any, image: Any, name: str) -> None:
    first, second = sites()[:2]
    runs = Runs(cloud)
    run = runs.ended(copy_of(runs, image.id, second.name))
    assert run["state"] == "done", run
    (original,), (copy,) = at(first, name), at(second, name)
    for key in ("id", "owner", "visibility", "os_hash_value", "size", "tags", "atoll_test", "status"):
        assert copy[key] == original[key], key
    assert "atoll_run" not in copy
    downloaded = hashlib.sha512(cloud.image.download_image(image).content).hexdigest()
    assert downloaded == copy["os_hash_value"]


def test_a_copy_that_is_cancelled_leaves_nothing(cloud: Any, image: Any, name: str) -> None:
    second = sites()[1]
    runs = Runs(cloud)
    run = copy_of(runs, image.id, second.name)
    runs.until(run, lambda shown: begun(shown, shown["steps"][0]["name"]))
    assert runs.ask("POST", f"/{run}/cancel", json={}).status_code in {202, 409}  # 409: it is over
    assert runs.ended(run)["state"] in {"undone", "done"}
    if runs.ended(run)["state"] == "undone":
        assert at(second, name) == []


def test_a_copy_goes_on_when_its_gateway_was_killed_in_the_middle(
    cloud: Any, image: Any, name: str, tmp_path: Path
) -> None:
    """Two gateways share a database; the one that copies is killed when bytes flow."""
    first, second = sites()[:2]
    with two_gateways(tmp_path) as (process, url, other_url):
        runs, others = Runs(cloud, url), Runs(cloud, other_url)
        run = copy_of(runs, image.id, second.name)
        end = time.monotonic() + SECONDS
        while not any(one["status"] == "saving" for one in at(second, name)):
            shown = runs.ask("GET", f"/{run}").json()["run"]
            assert shown["state"] not in ENDS, shown
            assert time.monotonic() < end, shown
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        shown = others.ended(run)
        assert shown["state"] == "done", json.dumps(shown)
        assert others.log(run) >= {"lost", "absent"}
    (original,), copies = at(first, name), at(second, name)
    assert [one["os_hash_value"] for one in copies if one["status"] == "active"] == [
        original["os_hash_value"]
    ]
    assert len(copies) == 1
