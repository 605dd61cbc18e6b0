"""Horizon with Atoll as its cloud: stock, from the package index, its files apart from everything else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from atoll.sandbox.real.api import Cloud
from atoll.sandbox.real.commands import find, run
from atoll.sandbox.real.configuration import render, write
from atoll.sandbox.real.installation import DATA, digest, require_pins
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import PASSWORD, Credentials, Release, newest
from atoll.sandbox.real.ports import answers
from atoll.sandbox.real.processes import Processes
from atoll.sandbox.real.serving import Application, closing, python_environment

PROCESS = "horizon"
LOGIN = "/auth/login/"
BROWSER = {"chromium": "chromium", "chromedriver": "chromium-driver"}  # program, Debian package
REGION = "Atoll"
DEFINITIONS = "Sandbox"  # a namespace of metadata definitions
DEFINED = (
    *("OS::Cinder::Snapshot", "OS::Cinder::Volume", "OS::Glance::Image"),
    *("OS::Nova::Aggregate", "OS::Nova::Flavor", "OS::Nova::Server"),
)
COLLECT_LIMIT = 900  # seconds: some thousand files, and style sheets to compile


def port(layout: Layout) -> int:
    """Give the port of Horizon."""
    return layout.port_base + 80


def release(layout: Layout) -> Release:
    """Describe Horizon as a release: the sites' newest one, in an environment of its own."""
    return replace(newest(layout), pins="pins-horizon.txt", venv=layout.venv_horizon, templates=("horizon",))


def start(layout: Layout, atoll: str, say: Callable[[str], None] = print) -> str:
    """Start Horizon with the identity of the Atoll at this URL as its Keystone; give Horizon's own URL.

    Idempotent: one that runs with the same settings is left alone. Raises `SandboxError`.
    """
    horizon = release(layout)
    require_pins("Horizon", horizon.pins, horizon.venv, install=True, say=say)
    processes = Processes(layout)
    directory = layout.run / PROCESS
    if _configure(horizon, directory, f"{atoll}/identity/v3") or processes.leader(PROCESS) is None:
        processes.stop([PROCESS])
        _collect(horizon, directory, say)
        application = Application(
            PROCESS, None, "openstack_dashboard.wsgi", port(layout), _environment(directory)
        )
        service = closing(application, horizon)
        files = ("--static-map", f"/static={_static(horizon)}", "--mime-file", directory / "mime.types")
        processes.start(replace(service, command=[*service.command, *files]))
        processes.wait(PROCESS, lambda: answers(port(layout), LOGIN, timeout=60))
    _define(Cloud(Credentials(f"{atoll}/identity/v3", "admin", PASSWORD, "admin"), REGION))
    url = f"http://127.0.0.1:{port(layout)}"
    say(f"Horizon answers at {url}; its log is {layout.logs / 'horizon.log'}")
    return url


def _define(cloud: Cloud) -> None:
    """Have metadata definitions, as clouds have: without any Horizon's forms end in an error of its own."""
    have = cloud.get("image", "/v2/metadefs/namespaces?limit=1000")["namespaces"]
    if DEFINITIONS not in [one["namespace"] for one in have]:
        body: dict[str, Any] = {"namespace": DEFINITIONS, "visibility": "public"}
        body["resource_type_associations"] = [{"name": name} for name in DEFINED]
        cloud.post("image", "/v2/metadefs/namespaces", body)


def missing_browser() -> list[str]:
    """Name the Debian packages that the tests of Horizon miss: a browser, and what drives it."""
    return sorted(package for program, package in BROWSER.items() if not find(program))


def _configure(horizon: Release, directory: Path, keystone_url: str) -> bool:
    """Write its settings as the module it looks for, outside its package; say whether they are new."""
    values = {
        "DIRECTORY": str(directory),
        "KEYSTONE_URL": keystone_url,
        "STATIC": str(_static(horizon)),
    }
    text = render(horizon, "local_settings.py", values)
    module = directory / "local" / "local_settings.py"
    changed = not module.exists() or module.read_text() != text
    write(directory / "local" / "__init__.py", "")
    write(module, text)
    write(directory / "mime.types", (DATA / "horizon" / "mime.types").read_text())
    return changed


def _collect(horizon: Release, directory: Path, say: Callable[[str], None]) -> None:
    """Gather what browsers load, once for an installation."""
    static = _static(horizon)
    stamp = static / ".atoll-collected"
    wanted = digest(horizon.pins)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("gathering Horizon's scripts and style sheets")
    variables = python_environment(horizon) | _environment(directory)
    for words in (("collectstatic", "--noinput", "--clear"), ("compress", "--force")):
        run([horizon.bin / "python", "-m", "django", *words], env=variables, timeout=COLLECT_LIMIT)
    write(stamp, wanted)


def _static(horizon: Release) -> Path:
    return horizon.venv / "static"


def _environment(directory: Path) -> dict[str, str]:
    """Give what leads Horizon to its settings."""
    return {"DJANGO_SETTINGS_MODULE": "openstack_dashboard.settings", "PYTHONPATH": str(directory)}
