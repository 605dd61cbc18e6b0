"""`atoll cloud`: the Keystones that do not know the clients, over a running gateway."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from atoll.cli import completing
from atoll.cli.api import Api, gateway_options
from atoll.cli.output import format_option, show

new_name_argument = click.argument("name", metavar="NAME")
name_argument = click.argument("name", metavar="NAME", shell_complete=completing.clouds)


@click.group()
def cloud() -> None:
    """The clouds that do not know the clients: each a Keystone that Atoll logs in at with credentials.

    \b
    atoll cloud add tokyo --auth-url https://tokyo.example:5000/v3
    atoll credential add --cloud tokyo --from-cloud my-tokyo
    atoll site add tokyo-east --cloud tokyo …
    """  # noqa: D301 - click wants the character, not the two letters


@cloud.command("list")
@gateway_options
@format_option
def list_clouds(url: str | None, os_cloud: str | None, form: str) -> None:
    """List the clouds with their sites, and why nobody can be logged in where that is so."""
    show([_row(one) for one in Api(url, os_cloud).all("/clouds", "clouds")], form, empty="There is no cloud.")


@cloud.command("show")
@gateway_options
@format_option
@name_argument
def show_cloud(url: str | None, os_cloud: str | None, form: str, name: str) -> None:
    """Show the cloud NAME."""
    show([_row(Api(url, os_cloud).get(f"/clouds/{quote(name)}")["cloud"])], form)


@cloud.command("add")
@gateway_options
@format_option
@new_name_argument
@click.option("--auth-url", required=True, help="Its Keystone, with the version (/v3).")
@click.option("--insecure", is_flag=True, help="Do not check its certificate.")
@click.option("--cacert", default="", help="Path, at the gateways, of the certificates to check it against.")
def add_cloud(
    *, url: str | None, os_cloud: str | None, form: str, name: str, auth_url: str, insecure: bool, cacert: str
) -> None:
    """Add a cloud NAME."""
    body = {"name": name, "auth_url": auth_url, "verify": not insecure, "cacert": cacert}
    show([_row(Api(url, os_cloud).call("POST", "/clouds", body)["cloud"])], form)


@cloud.command("remove")
@gateway_options
@name_argument
def remove_cloud(url: str | None, os_cloud: str | None, name: str) -> None:
    """Remove the cloud NAME, which must have neither sites nor credentials."""
    Api(url, os_cloud).call("DELETE", f"/clouds/{quote(name)}")
    click.echo(f"The cloud {name} was removed.")


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "auth_url", "trust", "sites", "declared", "trouble")
    return {key: one[key] for key in keys}
