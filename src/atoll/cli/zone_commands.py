"""`atoll zone`: what users pick from, over a running gateway."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from atoll.cli import completing
from atoll.cli.api import Api, gateway_options
from atoll.cli.output import format_option, show

new_name_argument = click.argument("name", metavar="NAME")
name_argument = click.argument("name", metavar="NAME", shell_complete=completing.zones)
zone_option = click.option(
    "--zone", "zones", multiple=True, metavar="[SERVICE=]ZONE",
    help="The zone of the site: one for all services, or one for each, such as compute=az1.",
)  # fmt: skip


@click.group()
def zone() -> None:
    """The availability zones users pick from.

    \b
    atoll zone add tokyo-1 --site tokyo --zone az1
    atoll zone add tokyo-2 --site tokyo --zone compute=az2 --zone block-storage=nova
    """  # noqa: D301 - click wants the character, not the two letters


@zone.command("list")
@gateway_options
@format_option
def list_zones(url: str | None, os_cloud: str | None, form: str) -> None:
    """List the zones with the site, and the zone in it, that each stands for."""
    show([_row(one) for one in Api(url, os_cloud).all("/zones", "zones")], form)


@zone.command("show")
@gateway_options
@format_option
@name_argument
def show_zone(url: str | None, os_cloud: str | None, form: str, name: str) -> None:
    """Show the zone NAME."""
    show([_row(Api(url, os_cloud).get(f"/zones/{quote(name)}")["zone"])], form)


@zone.command("add")
@gateway_options
@format_option
@new_name_argument
@click.option("--site", required=True, shell_complete=completing.sites, help="The site that it is in.")
@zone_option
def add_zone(
    *, url: str | None, os_cloud: str | None, form: str, name: str, site: str, zones: tuple[str, ...]
) -> None:
    """Add a zone NAME in a site. Without --zone the site chooses among its own."""
    body = {"name": name, "site": site, "zone": _zone(zones)}
    show([_row(Api(url, os_cloud).call("POST", "/zones", body)["zone"])], form)


@zone.command("set")
@gateway_options
@format_option
@name_argument
@click.option("--site", shell_complete=completing.sites, help="The site that it is in.")
@zone_option
@click.option("--any-zone", is_flag=True, help="Let the site choose among its own.")
def set_zone(
    *,
    url: str | None,
    os_cloud: str | None,
    form: str,
    name: str,
    site: str | None,
    zones: tuple[str, ...],
    any_zone: bool,
) -> None:
    """Change what the zone NAME stands for."""
    body: dict[str, Any] = {} if site is None else {"site": site}
    if zones or any_zone:
        body["zone"] = _zone(zones)
    if not body:
        raise click.UsageError("nothing to change: give --site, --zone or --any-zone")
    show([_row(Api(url, os_cloud).call("PATCH", f"/zones/{quote(name)}", body)["zone"])], form)


@zone.command("remove")
@gateway_options
@name_argument
def remove_zone(url: str | None, os_cloud: str | None, name: str) -> None:
    """Remove the zone NAME. What was made in it stays where it is."""
    Api(url, os_cloud).call("DELETE", f"/zones/{quote(name)}")
    click.echo(f"The zone {name} was removed.")


def _zone(words: tuple[str, ...]) -> str | dict[str, str] | None:
    if not words:
        return None
    plain = [word for word in words if "=" not in word]
    if plain and len(words) > 1:
        raise click.UsageError("--zone: one zone for all services, or SERVICE=ZONE for each")
    return plain[0] if plain else dict(word.split("=", 1) for word in words)


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    zone = one["zone"]
    return {
        "name": one["name"],
        "site": one["site"],
        "zone_of_site": [f"{key}={value}" for key, value in zone.items()] if isinstance(zone, dict) else zone,
        "site_state": one["site_state"],
        "declared": one["declared"],
    }
