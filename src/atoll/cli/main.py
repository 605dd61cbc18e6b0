"""The `atoll` command. Thin: each command reads its arguments, calls, and prints."""

import os
import sys
from pathlib import Path

import click

from atoll.cli.logs import configure
from atoll.core.config import load
from atoll.core.settings import Config, ConfigError

DEFAULT_CONFIG = "atoll.toml"


def read_config(path: str) -> Config:
    """The configuration in a file; every fault on standard error and exit status 2 where it has any."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        click.echo(f"{path}: {error.strerror}. Write one with `atoll config new`, or name it with --config.", err=True)
        sys.exit(2)
    try:
        return load(text, source=path, env=os.environ)
    except ConfigError as error:
        for fault in error.faults:
            click.echo(f"{path}: {fault}", err=True)
        sys.exit(2)


config_option = click.option(
    "-c", "--config", "config_path", default=DEFAULT_CONFIG, envvar="ATOLL_CONFIG", show_default=True,
    help="The configuration file (or ATOLL_CONFIG).",
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="atoll")
def main() -> None:
    """One OpenStack cloud made of many."""


@main.command()
@config_option
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; default: from the configuration.")
def serve(config_path: str, workers: int | None) -> None:
    """Serve the one endpoint over all sites until stopped.

    SIGTERM and Ctrl-C finish what is under way first.
    """
    from atoll.gateway.serve import run  # noqa: PLC0415 - only this command needs the gateway

    config = read_config(config_path)
    if workers is not None:
        import msgspec  # noqa: PLC0415

        config = msgspec.structs.replace(
            config, gateway=msgspec.structs.replace(config.gateway, workers=workers)
        )
    configure(config.gateway.log_format)
    try:
        run(config)
    except OSError as error:
        click.echo(f"Cannot listen at {', '.join(config.gateway.listen)}: {error.strerror or error}.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
