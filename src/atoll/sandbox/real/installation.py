"""Install what the sandbox runs: the system's MariaDB and RabbitMQ, and releases of OpenStack in venvs."""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from atoll.sandbox.real.commands import find, run
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.model import Release

DATA = Path(str(resources.files("atoll.sandbox.real"))) / "data"
PACKAGES = {"rabbitmq-server": "rabbitmq-server", "mariadbd": "mariadb-server", "mariadb": "mariadb-client"}
RABBITMQ_HOME = Path("/usr/lib/rabbitmq/lib")  # the scripts on the PATH change user; these do not
PYTHONS = ((3, 11), (3, 12))  # what the pins were tried on, best first
STAMP = ".atoll-pins"
INSTALL_LIMIT = 1800  # seconds; a slow index and a compiler run
DISK_NEEDED = 3 << 30  # bytes: two virtual environments, the data of two sites
POLICY = Path("/usr/sbin/policy-rc.d")
NEEDS = (
    "It needs a package index (PyPI, or a mirror named by UV_DEFAULT_INDEX or PIP_INDEX_URL); "
    "uWSGI needs a C compiler and Python's headers"
)
ENTRY_POINTS = "[neutron.ml2.mechanism_drivers]\nsandbox = atoll_sandbox_drivers.ml2:SandboxMechanismDriver\n"
METADATA = "Metadata-Version: 2.1\nName: atoll-sandbox-drivers\nVersion: 1.0\n"


def require_disk(state: Path) -> None:
    """Raise `SandboxError` when the disk below `state` has no room for an installation and its data."""
    free = shutil.disk_usage(state).free
    if free < DISK_NEEDED:
        raise SandboxError(
            f"{state} has {free >> 20} MiB free and the sandbox needs {DISK_NEEDED >> 20} MiB: "
            "free some space, or set ATOLL_CACHE to a directory on another disk"
        )


def require_packages(*, install: bool, say: Callable[[str], None]) -> None:
    """Have MariaDB and RabbitMQ, installing them with apt where we may.

    Raises `SandboxError` naming the packages when they are missing and cannot be installed.
    """
    install_packages(missing_packages, install=install, say=say)


def install_packages(look: Callable[[], list[str]], *, install: bool, say: Callable[[str], None]) -> None:
    """Install the Debian packages that `look` finds missing, where we may. Raises `SandboxError`."""
    missing = look()
    if not missing:
        return
    names = " ".join(missing)
    if not install or os.geteuid() != 0 or not find("apt-get"):
        raise SandboxError(
            f"missing packages: {names}. Install them as root (apt-get install {names}), then start again; "
            "their own services need not run"
        )
    say(f"installing {names}")
    with services_kept_from_starting():
        run(["apt-get", "update", "-q"], timeout=INSTALL_LIMIT, accept=range(256))
        run(
            ["apt-get", "install", "-y", "--no-install-recommends", *missing],
            env={"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
            timeout=INSTALL_LIMIT,
        )
    if look():
        raise SandboxError(f"apt-get installed {names} and {look()} are still not found")


def missing_packages() -> list[str]:
    """Name the Debian packages whose programs are not here."""
    missing = {package for program, package in PACKAGES.items() if not find(program)}
    if not any(RABBITMQ_HOME.glob("rabbitmq_server-*/sbin/rabbitmq-server")):
        missing.add("rabbitmq-server")
    return sorted(missing)


@contextmanager
def services_kept_from_starting() -> Iterator[None]:
    """Debian's packages start their daemons, on every address, unless policy-rc.d says no."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def require_release(release: Release, *, install: bool, say: Callable[[str], None]) -> None:
    """Have the release's pins installed in its virtual environment, and the sandbox's drivers in it.

    Raises `SandboxError` as `require_pins` does.
    """
    require_pins(f"OpenStack {release.name}", release.pins, release.venv, install=install, say=say)
    install_drivers(release)


def require_pins(what: str, pins: str, venv: Path, *, install: bool, say: Callable[[str], None]) -> None:
    """Have what a file of pins names installed in a virtual environment of its own.

    An environment without our stamp is half-installed or of other pins and is completed; one whose Python
    does not start is made anew. Raises `SandboxError` when it is incomplete and `install` is false, or no
    index can be reached.
    """
    stamp = venv / STAMP
    wanted = digest(pins)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not install:
        raise SandboxError(f"{what} is not installed in {venv}: allow installing")
    say(f"installing {what} from its packages")
    stamp.unlink(missing_ok=True)
    _virtual_environment(venv)
    _packages(what, venv, DATA / pins)
    stamp.write_text(wanted)


def pins_digest(release: Release) -> str:
    """Give a short digest of the release's pins; schema dumps are kept under it."""
    return digest(release.pins)


def digest(pins: str) -> str:
    """Give a short digest of a file of pins."""
    return hashlib.sha256((DATA / pins).read_bytes()).hexdigest()[:12]


def python_for_services() -> str:
    """Give the Python that OpenStack's services are installed for.

    Raises `SandboxError` when there is none of at least 3.11.
    """
    if sys.version_info[:2] in PYTHONS:
        return sys.executable
    for major, minor in PYTHONS:
        found = shutil.which(f"python{major}.{minor}")
        if found:
            return found
    if sys.version_info >= PYTHONS[0]:
        return sys.executable
    raise SandboxError("no Python 3.11 or 3.12: install one (on Debian: apt-get install python3.11-venv)")


def _virtual_environment(venv: Path) -> None:
    python = venv / "bin" / "python"
    if python.exists() and _starts(python):
        return
    shutil.rmtree(venv, ignore_errors=True)
    if uv := shutil.which("uv"):
        run([uv, "venv", "-q", "--no-python-downloads", "--python", python_for_services(), venv])
    else:
        run([python_for_services(), "-m", "venv", venv])


def _starts(python: Path) -> bool:
    try:
        run([python, "-c", "import encodings"], timeout=30)
    except SandboxError:
        return False
    return True


def _packages(what: str, venv: Path, pins: Path) -> None:
    python = venv / "bin" / "python"
    if uv := shutil.which("uv"):
        command = [uv, "pip", "install", "-q", "-p", str(python)]
    else:
        run([python, "-m", "ensurepip", "-q"], accept=range(256))
        command = [str(python), "-m", "pip", "install", "-q"]
    try:
        run([*command, "-r", pins], timeout=INSTALL_LIMIT)
    except SandboxError as failed:
        raise SandboxError(f"{failed}\n{what} could not be installed. {NEEDS}") from failed


def site_packages(release: Release) -> Path:
    """Give the directory of the release's installed packages."""
    found = sorted(release.venv.glob("lib/python3*/site-packages"))
    if not found:
        raise SandboxError(f"{release.venv} is no virtual environment: remove it and start again")
    return found[-1]


def install_drivers(release: Release) -> None:
    """Copy the sandbox's drivers into the virtual environment.

    nova looks up compute_driver below nova.virt only; neutron finds its driver by entry point.
    """
    target = site_packages(release)
    drivers = DATA / "drivers"
    _copy(drivers / "nova_virt_sandbox.py", target / "nova/virt/sandbox.py")
    for module in (drivers / "atoll_sandbox_drivers").glob("*.py"):
        _copy(module, target / "atoll_sandbox_drivers" / module.name)
    information = target / "atoll_sandbox_drivers-1.0.dist-info"
    information.mkdir(exist_ok=True)
    (information / "METADATA").write_text(METADATA)
    (information / "entry_points.txt").write_text(ENTRY_POINTS)


def _copy(source: Path, target: Path) -> None:
    if not target.exists() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
