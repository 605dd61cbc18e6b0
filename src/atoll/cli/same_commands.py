"""`atoll same`: what several sites have and is one thing to users."""

import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from atoll.cli.api import Api, gateway_options
from atoll.cli.output import format_option, show

RESOURCES = ("flavor", "image", "network", "security_group", "subnet", "volume_type")

resource_argument = click.argument("resource", type=click.Choice((*RESOURCES, "keypair")))


@click.group()
def same() -> None:
    """What several sites have and is one thing to users, under one id.

    \b
    See it:       atoll same list
    Why not:      atoll same check
    Say so:       atoll same add network paris=ID tokyo=ID --name private
    Take it back: atoll same remove network ID
    """  # noqa: D301 - click wants the character, not the two letters


@same.command("list")
@gateway_options
@format_option
@click.option("--type", "resource", type=click.Choice((*RESOURCES, "keypair")), help="Only of this type.")
@click.option("--name", help="Only of this name.")
def list_same(
    url: str | None, os_cloud: str | None, form: str, resource: str | None, name: str | None
) -> None:
    """List what is one thing, with the id at each site and the reason."""
    found = Api(url, os_cloud).all("/same", "same", resource=resource, name=name)
    show([_row(one) for one in found], form, empty="No two sites have the same, as far as was seen.")


@same.command("show")
@gateway_options
@format_option
@resource_argument
@click.argument("ident", metavar="ID")
def show_same(url: str | None, os_cloud: str | None, form: str, resource: str, ident: str) -> None:
    """Show the RESOURCE that clients, or a site, know as ID."""
    one = Api(url, os_cloud).get(f"/same/{resource}/{quote(ident, safe='')}")["same"]
    if form == "json":
        show([one], form)
        return
    show([{"field": key, "value": _value(value)} for key, value in one.items()], form)


@same.command()
@gateway_options
@format_option
@click.option("--name", default="", help="What it is called.")
@click.option(
    "--id", "ident", default="", help="Which of the ids clients see. Default: that of the first site."
)
@click.option("--project", is_flag=True, help="For your project only. Without a role of admin always so.")
@click.argument("resource", type=click.Choice(RESOURCES))
@click.argument("ids", nargs=-1, required=True, metavar="SITE=ID...")
def add(  # noqa: PLR0913, PLR0917 - one for each option
    url: str | None,
    os_cloud: str | None,
    form: str,
    name: str,
    ident: str,
    project: bool,
    resource: str,
    ids: tuple[str, ...],
) -> None:
    """Declare things of several sites to be one, or put together again what was removed.

    \b
    atoll same add network paris=defa6c2e-… tokyo=9119ee98-… --name private
    """  # noqa: D301 - click wants the character, not the two letters
    pairs = dict(one.partition("=")[::2] for one in ids)
    if len(pairs) < 2 or not all(pairs.values()):
        raise click.UsageError("give two sites or more, each as SITE=ID")
    body = {"resource": resource, "ids": pairs, "id": ident, "name": name, "project": project}
    show([_row(Api(url, os_cloud).call("POST", "/same", body)["same"])], form)


@same.command()
@gateway_options
@resource_argument
@click.argument("ident", metavar="ID")
def remove(url: str | None, os_cloud: str | None, resource: str, ident: str) -> None:
    """Put apart what is one. What was found stays apart until `atoll same add`."""
    Api(url, os_cloud).call("DELETE", f"/same/{resource}/{quote(ident, safe='')}")
    click.echo(f"The {resource.replace('_', ' ')} {ident} is as many things as there are sites that have it.")


@same.command()
@gateway_options
@format_option
def check(url: str | None, os_cloud: str | None, form: str) -> None:
    """Look at all sites now and say what looks alike and is not the same.

    Exit status 1 where there is such a thing, or a site could not be looked at.
    """
    checked = Api(url, os_cloud).get("/same/check")
    rows = [
        {"type": one["resource"], "name": one["name"], "reason": one["reason"]}
        for one in checked["near_misses"]
    ]
    show(rows, form, empty="Nothing looks alike that is not the same.")
    for site, resources in checked["not_compared"].items():
        click.echo(f"{site}: its {' and '.join(resources)}s could not be looked at now.", err=True)
    sys.exit(1 if rows or checked["not_compared"] else 0)


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": one["resource"],
        "name": one["name"],
        "id": one["id"],
        "ids_at_sites": [f"{site}={ident}" for site, ident in one["ids"].items()],
        "reason": one["reason"],
    }


def _value(value: Any) -> Any:
    return [f"{key}={one}" for key, one in value.items()] if isinstance(value, dict) else value
