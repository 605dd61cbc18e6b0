"""The programs of the measurement: Debian's packages, installed where that is possible."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Program -> package.
PROGRAMS = {"haproxy": "haproxy", "nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}
APT_SECONDS = 120
# Debian asks this script before a package may start its daemon; 101 says no.
_POLICY = Path("/usr/sbin/policy-rc.d")
_NO_DAEMONS = "#!/bin/sh\nexit 101\n"


def missing() -> list[str]:
    """The programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def provide() -> list[str]:
    """Install what is missing, where this is Debian and we are root; the programs missing after that."""
    wanted = [PROGRAMS[name] for name in missing()]
    if not wanted or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return missing()
    print(f"Installing {' '.join(wanted)} (Debian packages; their daemons are not started).")
    with _no_daemons():
        if not _apt("install", "-y", "--no-install-recommends", *wanted):
            _apt("update")
            _apt("install", "-y", "--no-install-recommends", *wanted)
    return missing()


@contextmanager
def _no_daemons() -> Iterator[None]:
    if _POLICY.exists():
        # The machine has a policy of its own, and containers' is to start nothing.
        yield
        return
    _POLICY.write_text(_NO_DAEMONS)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


def _apt(*arguments: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            ["apt-get", "-q", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=APT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"apt-get {arguments[0]} took more than {APT_SECONDS} s.")
        return False
    if done.returncode:
        print(f"apt-get {arguments[0]} failed: {done.stderr.strip()[-500:]}")
    return done.returncode == 0
