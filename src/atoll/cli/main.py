"""The `atoll` command. Thin: each command reads its arguments, calls, and prints."""

import importlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from atoll.cli.files import config_option, read_config
from atoll.cli.logs import configure
from atoll.core.settings import Config

if TYPE_CHECKING:
    from atoll.trust.login import Login

# Command -> the module that has it by that name, imported when the command is wanted: `serve` is to be up
# within a second and needs none of them.
ELSEWHERE: Final = {
    "apply": "atoll.cli.apply",
    "cloud": "atoll.cli.cloud_commands",
    "config": "atoll.cli.config_commands",
    "credential": "atoll.cli.credential_commands",
    "demo": "atoll.cli.demo",
    "explain": "atoll.cli.explain",
    "keystone": "atoll.cli.keystone_commands",
    "lock": "atoll.cli.run_commands",
    "project": "atoll.cli.identity_commands",
    "recovery": "atoll.cli.recovery_commands",
    "repair": "atoll.cli.repair",
    "role": "atoll.cli.identity_commands",
    "run": "atoll.cli.run_commands",
    "same": "atoll.cli.same_commands",
    "sandbox": "atoll.cli.sandbox_commands",
    "secrets": "atoll.cli.secrets_commands",
    "site": "atoll.cli.site_commands",
    "user": "atoll.cli.identity_commands",
    "where": "atoll.cli.where",
    "worker": "atoll.cli.run_commands",
    "zone": "atoll.cli.zone_commands",
}


class Commands(click.Group):
    """The commands of this file and those of other modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None where there is none."""
        if cmd_name in ELSEWHERE and cmd_name not in self.commands:
            self.add_command(getattr(importlib.import_module(ELSEWHERE[cmd_name]), cmd_name))
        return super().get_command(ctx, cmd_name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="atoll")
def main() -> None:
    """One OpenStack cloud made of many.

    \b
    Try it:           atoll demo
    Your own clouds:  atoll serve --clouds paris,tokyo
    Set it up:        atoll config new --cloud mycloud > atoll.toml
                      atoll keystone register --cloud mycloud-admin
    Run it:           atoll serve
    Ask what it did:  atoll explain REQUEST-ID
    """  # noqa: D301 - click wants the character, not the two letters
    configure("console", logging.WARNING)


@main.command()
@config_option
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; default: from the configuration.")
@click.option(
    "--clouds", metavar="A,B,…", help="Entries of your clouds.yaml to make one cloud of; no configuration."
)
@click.option("--listen", default="127.0.0.1:8774", show_default=True, help="With --clouds: address:port.")
@click.option("--entry", default="atoll", show_default=True, help="With --clouds: its entry in clouds.yaml.")
@click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), help="With --clouds: where things are kept."
)
def serve(
    config_path: str, workers: int | None, clouds: str | None, listen: str, entry: str, state: Path | None
) -> None:
    """Serve the one endpoint over all sites until stopped.

    SIGTERM and Ctrl-C finish what is under way first.

    \b
    Sites of an atoll.toml:        atoll serve
    Clouds of your clouds.yaml:    atoll serve --clouds paris,tokyo
                                   OS_CLOUD=atoll openstack server list
    """  # noqa: D301 - click wants the character, not the two letters
    if clouds is not None:
        from atoll.cli.own_clouds import serve_clouds  # noqa: PLC0415 - only this needs it

        configure("console", logging.WARNING)
        names = [name.strip() for name in clouds.split(",") if name.strip()]
        served = serve_clouds(names, listen=listen, entry=entry, state=state)
        _run(served.config, served.ready, served.logins)
        return
    settings = read_config(config_path)
    if workers is not None:
        gateway = msgspec.structs.replace(settings.gateway, workers=workers)
        settings = msgspec.structs.replace(settings, gateway=gateway)
    configure(settings.gateway.log_format)
    _run(settings)


def _run(
    settings: Config,
    ready: Callable[[], None] = lambda: None,
    logins: "Mapping[str, Login] | None" = None,
) -> None:
    from atoll.gateway.serve import run  # noqa: PLC0415 - only this command needs the gateway
    from atoll.store import StoreError  # noqa: PLC0415
    from atoll.trust.sealing import SecretsError  # noqa: PLC0415

    try:
        run(settings, ready=ready, logins=logins or {})
    except OSError as error:
        listen = ", ".join(settings.gateway.listen)
        raise click.ClickException(f"cannot listen at {listen}: {error.strerror or error}") from error
    except StoreError as error:
        raise click.ClickException(f"cannot open the store: {error}") from error
    except SecretsError as error:
        raise click.ClickException(f"not started: {error}") from error


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete atoll's commands: eval "$(atoll completion bash)".

    Names of sites, zones, clouds and definitions, and the runs that a command can act on, are asked of the
    gateway: log in first, by OS_CLOUD or OS_TOKEN. One that does not answer within 3 s offers nothing.
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - rarely wanted

    made = get_completion_class(shell)
    if made is not None:
        click.echo(made(main, {}, "atoll", "_ATOLL_COMPLETE").source())


if __name__ == "__main__":
    main()
