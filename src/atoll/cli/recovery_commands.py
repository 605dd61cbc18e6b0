"""`atoll recovery`: copies of servers at other sites, over a running gateway."""

import click

from atoll.cli.api import Api, gateway_options
from atoll.cli.output import format_option, show


@click.group()
def recovery() -> None:
    """Copies of servers at other sites, of which they are made anew when their site is dead.

    \b
    Make one:             atoll run start server.protect -i server=ID -i site=tokyo --follow
    See what there is:    atoll recovery list
    The site is dead:     atoll run start server.evacuate -i server=ID --follow
    Delete the copies:    atoll run start server.unprotect -i server=ID
    """  # noqa: D301 - click wants the character, not the two letters


@recovery.command("list")
@gateway_options
@format_option
@click.option("--server", metavar="ID", help="Only of this server.")
def list_points(url: str | None, os_cloud: str | None, form: str, server: str | None) -> None:
    """List copies of servers, the oldest first."""
    rows = [
        {
            "server": one["server"],
            "name": one["name"],
            "of": _site(one["source"], known=one["source_known"]),
            "at": _site(one["target"], known=one["target_known"]),
            "made": one["made_at"],
            "copies": len(one["volumes"]) + (one["image"] is not None),
            "used by": one["used_by"] or "",
            "id": one["id"],
        }
        if form != "json"
        else one
        for one in Api(url, os_cloud).all("/recovery-points", "recovery_points", server=server)
    ]
    show(rows, form, empty="No server is protected.")


def _site(name: str, *, known: bool) -> str:
    return name if known else f"{name} (removed)"
