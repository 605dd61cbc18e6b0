"""The configuration file as commands find it."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from atoll.core.config import file_references, load
from atoll.core.settings import Config, ConfigError, Fault

DEFAULT = "atoll.toml"
EXTRAS = (
    ("transport_url", "notifications", "oslo_messaging"),
    ("coordination_url", "coordination", "tooz"),
)
"""Options of [runs], with the extra and its module that they need."""

config_option = click.option(
    "-c", "--config", "config_path", default=DEFAULT, envvar="ATOLL_CONFIG", show_default=True,
    type=click.Path(dir_okay=False), help="The configuration file (or ATOLL_CONFIG).",
)  # fmt: skip


def read_config(path: str) -> Config:
    """The configuration in a file; every fault on standard error and exit status 2 where it has any."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        click.echo(f"{path}: {error.strerror}. {_instead()}", err=True)
        sys.exit(2)
    try:
        config = load(text, source=path, env=os.environ)
    except ConfigError as error:
        _complain(path, error.faults)
    faults = _file_faults(config) + _extra_faults(config)
    if faults:
        _complain(path, faults)
    return config


def _instead() -> str:
    """What else there is than a configuration that is not where it was looked for."""
    state = os.environ.get("XDG_STATE_HOME")
    home = (Path(state) if state else Path.home() / ".local" / "state") / "atoll"
    said = "`atoll config new` writes one, --config names another, `atoll serve --clouds A,B` needs none."
    for made in sorted(home.glob("*/atoll.toml")):
        said += f"\n`atoll serve --clouds` made one: export ATOLL_CONFIG={made}"
    return said


def _file_faults(config: Config) -> list[Fault]:
    """What is wrong with the files that a configuration names."""
    faults = []
    for reference in file_references(config):
        file = Path(reference.path)
        directory = reference.place.endswith(".cacert") and file.is_dir()
        if not (file.is_file() or directory) or not os.access(file, os.R_OK):
            faults.append(Fault(reference.place, f"{reference.path} is no file that can be read"))
        elif reference.secret and file.stat().st_mode & 0o077:
            faults.append(Fault(reference.place, f"{reference.path} can be read by others: chmod 600 it"))
    return faults


def _extra_faults(config: Config) -> list[Fault]:
    """What is configured and needs what is not installed."""
    return [
        Fault(f"runs.{option}", f"needs what is not installed: pip install atoll[{extra}]")
        for option, extra, module in EXTRAS
        if getattr(config.runs, option) and importlib.util.find_spec(module) is None
    ]


def _complain(path: str, faults: list[Fault]) -> NoReturn:
    for fault in faults:
        click.echo(f"{path}: {fault}", err=True)
    click.echo(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}; nothing was started.", err=True)
    sys.exit(2)
