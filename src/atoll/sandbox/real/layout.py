"""Where the sandbox keeps its files and which ports it uses. Paths and numbers only; touches nothing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atoll.sandbox.real.errors import SandboxError

PORT_BASE = 21000
OLDER_INDEX = 11
MAX_SITES = 9  # the older site has the ports from base + 1100 on
PORTS = {"nova": 74, "cinder": 76, "placement": 78, "glance": 92, "neutron": 96}
REGION_NAMES = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes


@dataclass(frozen=True)
class Layout:
    """All paths below `state`, all ports from `port_base` up.

    Raises `SandboxError` when `state` is too long for a unix socket below it, or the ports do not fit.
    """

    state: Path
    port_base: int = PORT_BASE

    def __post_init__(self) -> None:
        if len(str(self.socket)) > SOCKET_PATH_LIMIT:
            raise SandboxError(
                f"{self.state} is too long a path for the database's unix socket: "
                "set ATOLL_CACHE to a directory with a shorter name"
            )
        if not 1024 <= self.port_base <= 60000:
            raise SandboxError(f"port base {self.port_base}: choose one from 1024 to 60000")

    @property
    def run(self) -> Path:
        """Configuration, data, logs and pid files of what runs; `down --wipe` removes it."""
        return self.state / "run"

    @property
    def pids(self) -> Path:
        """One pid file and one description per service."""
        return self.run / "pids"

    @property
    def logs(self) -> Path:
        """One log per service."""
        return self.run / "log"

    @property
    def venv(self) -> Path:
        """The newest release, its clients, and tempest."""
        return self.state / "venv"

    @property
    def venv_older(self) -> Path:
        """The older release's services."""
        return self.state / "venv-older"

    @property
    def venv_horizon(self) -> Path:
        """Horizon, and the files that browsers load from it."""
        return self.state / "venv-horizon"

    @property
    def schemas(self) -> Path:
        """Dumps of empty, migrated databases by release."""
        return self.state / "schemas"

    @property
    def socket(self) -> Path:
        """The database listens here and on no port."""
        return self.run / "mysql.sock"

    @property
    def clouds(self) -> Path:
        """The clouds.yaml of the bare sites."""
        return self.run / "clouds.yaml"

    @property
    def description(self) -> Path:
        """sites.json: one entry per site."""
        return self.run / "sites.json"

    @property
    def federation(self) -> Path:
        """How the Keystone of the older site believes the others', where it does."""
        return self.run / "federation.json"

    @property
    def messaging_port(self) -> int:
        """AMQP; Erlang's distribution and epmd are the two after it."""
        return self.port_base + 72

    def port(self, index: int, service: str | None = None) -> int:
        """The port of a site's service, or of the Keystone at this index (0 is the shared one)."""
        return self.port_base + 100 * index + (PORTS[service] if service else 0)


def locate(
    state: Path | None = None, port_base: int | None = None, environ: Mapping[str, str] = os.environ
) -> Layout:
    """Give the layout for explicit values, else for ATOLL_CACHE, XDG_CACHE_HOME, ATOLL_SANDBOX_PORT_BASE.

    Raises `SandboxError` for a port base that is no number.
    """
    if state is None:
        cache = environ.get("ATOLL_CACHE")
        xdg = environ.get("XDG_CACHE_HOME")
        root = Path(cache) if cache else (Path(xdg) if xdg else Path.home() / ".cache") / "atoll"
        state = root / "real"
    if port_base is None:
        text = environ.get("ATOLL_SANDBOX_PORT_BASE") or str(PORT_BASE)
        if not text.isdecimal():
            raise SandboxError(f"ATOLL_SANDBOX_PORT_BASE={text!r} is no port number")
        port_base = int(text)
    return Layout(state.expanduser().absolute(), port_base)


def region_name(index: int) -> str:
    """RegionOne for 1, RegionTwo for 2, ..., RegionOld for the older site."""
    return "RegionOld" if index == OLDER_INDEX else f"Region{REGION_NAMES[index - 1]}"
