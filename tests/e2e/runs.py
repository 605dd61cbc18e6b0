"""Runs over the API of a gateway, and two gateways of one database of which one can be killed."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.serving import serving
from tests.e2e.sites import STATE, Site

PREFIX = "/atoll/v1/runs"
ENDS = {"done", "undone", "dirty", "parked", "killed"}
PORT = 23340
SECONDS = 600.0
"""Time for a run to move a gigabyte on a slow disk: it is over long before."""


class Runs:
    """Runs over the API of a gateway."""

    def __init__(self, cloud: Any, url: str = "") -> None:
        self._session = cloud.session
        self._url = url or cloud.config.get_auth_args()["auth_url"].rpartition("/identity")[0]

    def ask(self, method: str, path: str = "", **more: Any) -> Any:
        """Ask for something."""
        return self._session.request(f"{self._url}{PREFIX}{path}", method, raise_exc=False, **more)

    def start(self, definition: str, **given: Any) -> str:
        """Accept a run; its id."""
        answer = self.ask("POST", json={"definition": definition, "input": given})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run"]["id"])

    def until(self, run: str, look: Callable[[Any], bool], seconds: float = SECONDS) -> Any:
        """A run once `look` says so."""
        end = time.monotonic() + seconds
        while not look(shown := self.ask("GET", f"/{run}").json()["run"]):
            assert time.monotonic() < end, shown
            time.sleep(0.1)
        return shown

    def ended(self, run: str) -> Any:
        """A run at its end."""
        return self.until(run, lambda shown: shown["state"] in ENDS)

    def log(self, run: str) -> set[str]:
        """What happened in a run."""
        return {one["what"] for one in self.ask("GET", f"/{run}/log").json()["log"]}


def begun(run: Any, name: str) -> bool:
    """Whether a step of a run is being done, or is done; or the run is over, which a test is told of."""
    states = {step["name"]: step["state"] for step in run["steps"]}
    return states[name] in {"intent", "done"} or run["state"] in ENDS


def user_data_of(site: Site, server: str) -> str:
    """What a site's own server was created with."""
    shown = site.admin.get("compute", f"/servers/{server}", "2.79")["server"]
    return str(shown["OS-EXT-SRV-ATTR:user_data"])


def files_with(folder: Path, text: str) -> list[str]:
    """The files of gateways, their stores and logs, in which something stands in clear."""
    names = [one for one in folder.iterdir() if one.is_file()]
    assert any(one.name == "atoll.db" for one in names)
    return [one.name for one in names if text.encode() in one.read_bytes()]


@contextmanager
def two_gateways(
    folder: Path, backup_store: str = ""
) -> Iterator[tuple["subprocess.Popen[bytes]", str, str]]:
    """The process of the first one, its URL, and the URL of the other; they share a database of their own.

    `backup_store`: what they are told that all sites share.
    """
    assert STATE is not None
    files = []
    for number in range(2):
        text = (STATE / "atoll.toml").read_text()
        text = re.sub(r'listen = ".*"', f'listen = "127.0.0.1:{PORT + number}"', text)
        if backup_store:
            text = re.sub(r"(\[sites\.\w+\]\n)", rf'\1backup_store = "{backup_store}"\n', text)
        text = text.replace(str(STATE / "atoll.db"), str(folder / "atoll.db"))
        text = text.replace(str(STATE / "log" / "access.log"), str(folder / f"access{number}.log"))
        file = folder / f"atoll{number}.toml"
        file.write_text(text)
        files.append(str(file))
    clouds = {"OS_CLIENT_CONFIG_FILE": str(STATE / "clouds.yaml")}
    one, other = (f"127.0.0.1:{PORT + number}" for number in range(2))
    with (
        serving(["serve", "--config", files[1]], other, folder / "other.out", **clouds),
        serving(["serve", "--config", files[0]], one, folder / "one.out", **clouds) as process,
    ):
        yield process, f"http://{one}", f"http://{other}"
