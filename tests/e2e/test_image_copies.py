"""The run image.copy on real sites: through a gateway that is killed in the middle, too."""

import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.serving import serving
from tests.e2e.sites import CLOUD, STATE, sites

pytestmark = pytest.mark.skipif(CLOUD != "atoll", reason="a bare site has no runs")

PREFIX = "/atoll/v1/runs"
BYTES = 96 * 1024 * 1024


class Runs:
    """Runs over the API of a gateway."""

    def __init__(self, cloud: Any, url: str = "") -> None:
        self._session = cloud.session
        self._url = url or cloud.config.get_auth_args()["auth_url"].rpartition("/identity")[0]

    def ask(self, method: str, path: str = "", **more: Any) -> Any:
        """Ask for something."""
        return self._session.request(f"{self._url}{PREFIX}{path}", method, raise_exc=False, **more)

    def copy(self, image: str, *to: str) -> str:
        """Accept a copy; its id."""
        body = {"definition": "image.copy", "input": {"image": image, "sites": list(to)}}
        answer = self.ask("POST", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run"]["id"])

    def until(self, run: str, look: Callable[[Any], bool], seconds: float = 120.0) -> Any:
        """A run once `look` says so."""
        end = time.monotonic() + seconds
        while not look(shown := self.ask("GET", f"/{run}").json()["run"]):
            assert time.monotonic() < end, shown
            time.sleep(0.1)
        return shown

    def ended(self, run: str) -> Any:
        """A run at its end."""
        ends = {"done", "undone", "dirty", "parked", "killed"}
        return self.until(run, lambda shown: shown["state"] in ends)


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


def at(site: Any, name: str) -> list[Any]:
    """The images of a name at a site."""
    found: list[Any] = site.admin.get("image", f"/v2/images?name={name}&limit=100")["images"]
    return found


def test_an_image_is_brought_to_the_other_site_as_it_is(cloud: Any, image: Any, name: str) -> None:
    first, second = sites()[:2]
    runs = Runs(cloud)
    run = runs.ended(runs.copy(image.id, second.name))
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
    run = runs.copy(image.id, second.name)
    runs.until(run, lambda shown: shown["steps"][0]["state"] == "intent")
    assert runs.ask("POST", f"/{run}/cancel", json={}).status_code == 202
    assert runs.ended(run)["state"] in {"undone", "done"}
    if runs.ended(run)["state"] == "undone":
        assert at(second, name) == []


def test_a_copy_goes_on_when_its_gateway_was_killed_in_the_middle(
    cloud: Any, image: Any, name: str, tmp_path: Path
) -> None:
    """Two gateways share a database; the one that copies is killed when bytes flow."""
    assert STATE is not None
    first, second = sites()[:2]
    gateways = []
    for number in range(2):
        port = 23340 + number
        text = (STATE / "atoll.toml").read_text()
        text = re.sub(r'listen = ".*"', f'listen = "127.0.0.1:{port}"', text)
        text = text.replace(str(STATE / "atoll.db"), str(tmp_path / "atoll.db"))
        text = text.replace(str(STATE / "log" / "access.log"), str(tmp_path / f"access{number}.log"))
        file = tmp_path / f"atoll{number}.toml"
        file.write_text(text)
        gateways.append((file, f"127.0.0.1:{port}"))
    clouds = {"OS_CLIENT_CONFIG_FILE": str(STATE / "clouds.yaml")}
    (file, listen), (other_file, other_listen) = gateways
    with serving(["serve", "--config", str(other_file)], other_listen, tmp_path / "other.out", **clouds):
        with serving(["serve", "--config", str(file)], listen, tmp_path / "one.out", **clouds) as process:
            runs, others = Runs(cloud, f"http://{listen}"), Runs(cloud, f"http://{other_listen}")
            run = runs.copy(image.id, second.name)
            end = time.monotonic() + 60
            while not any(one["status"] == "saving" for one in at(second, name)):
                assert time.monotonic() < end
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGKILL)
            shown = others.ended(run)
        assert shown["state"] == "done", json.dumps(shown)
        assert {one["what"] for one in others.ask("GET", f"/{run}/log").json()["log"]} >= {"lost", "absent"}
    (original,), copies = at(first, name), at(second, name)
    assert [one["os_hash_value"] for one in copies if one["status"] == "active"] == [
        original["os_hash_value"]
    ]
    assert len(copies) == 1
