"""`atoll recovery`: copies of servers at other sites, over a running gateway."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import click

from atoll.cli import completing
from atoll.cli.api import Api, gateway_options
from atoll.cli.follow import amount
from atoll.cli.output import format_option, show

LIST_PAGE: Final = 200


@click.group()
def recovery() -> None:
    """Copies of servers at other sites, of which they are made anew when their site is dead.

    \b
    Make one:             atoll run start server.protect -i server=ID -i site=tokyo --follow
    See what there is:    atoll recovery list --source paris
    The site is dead:     atoll run start server.evacuate -i server=ID --follow
    Delete the copies:    atoll run start server.unprotect -i server=ID
    """  # noqa: D301 - click wants the character, not the two letters


@recovery.command("list")
@gateway_options
@format_option
@click.option("--server", metavar="ID", help="Only of this server.")
@click.option(
    "--source", metavar="SITE", shell_complete=completing.zoned_sites, help="Only of servers of this site."
)
@click.option(
    "--target",
    metavar="SITE",
    shell_complete=completing.zoned_sites,
    help="Only those whose copies are at this site.",
)
@click.option("--project", metavar="ID", help="Only of this project (for administrators).")
@click.option("--limit", type=click.IntRange(1), help="How many at the most; default: all.")
def list_points(
    url: str | None, os_cloud: str | None, form: str, *, limit: int | None, **wanted: Any
) -> None:
    """List copies of servers, the oldest first: of what site, at what site, how old, how large.

    What was written after a copy was made is not in it: AGE says how much that may be. A site that is
    "removed" is none of Atoll's any more: copies there can only be forgotten, by `server.unprotect`.

    \b
    atoll recovery list --source paris           what can be had back if paris dies
    atoll recovery list --target tokyo           what takes room at tokyo
    atoll recovery list --format json | jq -r '.[].server'
    """  # noqa: D301 - click wants the character, not the two letters
    wanted["project_id"] = wanted.pop("project")
    every = Api(url, os_cloud).all("/recovery-points", "recovery_points", limit=LIST_PAGE, **wanted)
    rows = list(islice(every, limit))
    empty = "There is no such copy of a server." if any(wanted.values()) else "No server is protected."
    show(rows if form == "json" else [_row(one) for one in rows], form, empty=empty)
    if len(rows) == limit and next(every, None) is not None:
        click.echo("There are more: without --limit all are shown.", err=True)


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    size = one["size_bytes"]
    return {
        "server": one["server"],
        "name": one["name"],
        "of": _site(one["source"], known=one["source_known"]),
        "at": _site(one["target"], known=one["target_known"]),
        "age": age(datetime.now(UTC) - datetime.fromisoformat(one["made_at"])),
        "copies": len(one["volumes"]) + (one["image"] is not None),
        "size": "" if size is None else amount({"done": size, "of": None, "unit": "bytes"}),
        "used by": one["used_by"] or "",
        "id": one["id"],
    }


def _site(name: str, *, known: bool) -> str:
    return name if known else f"{name} (removed)"


def age(passed: timedelta) -> str:
    """How long ago, in the largest unit of which there are two."""
    seconds = max(0, int(passed.total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
