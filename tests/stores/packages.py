"""The servers' own packages, installed where that is possible."""

import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

from atoll.sandbox.real.commands import run
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import services_kept_from_starting

APT_SECONDS = 300


class Packaged(Protocol):
    """What a package of Debian brings."""

    name: str
    package: str

    def programs(self) -> Path | None:
        """Where it is; None where it is not installed."""


def provide(kind: Packaged) -> str | None:
    """Have a server's programs, by Debian's package if we may install it; why not, otherwise."""
    if kind.programs() is not None:
        return None
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"{kind.name} is not installed, and only root can install {kind.package} with apt-get"
    print(f"installing {kind.package} (its own service is not started)", file=sys.stderr)  # noqa: T201
    try:
        with services_kept_from_starting():
            run(["apt-get", "update", "-q"], timeout=APT_SECONDS, accept=range(256))
            run(
                ["apt-get", "install", "-y", "--no-install-recommends", kind.package],
                env={"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
                timeout=APT_SECONDS,
            )
    except SandboxError as error:
        return f"{kind.package} could not be installed: {error}"
    return (
        None if kind.programs() is not None else f"{kind.package} is installed without {kind.name}'s programs"
    )
