"""`atoll repair`: what runs that were killed, ended dirty or are stuck have left, and its end."""

import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from atoll.cli import completing
from atoll.cli.api import Api, gateway_options
from atoll.cli.follow import follow_run
from atoll.cli.output import format_option, show


@click.command()
@gateway_options
@format_option
@click.argument(
    "ids", metavar="[RUN]…", nargs=-1, shell_complete=completing.runs("parked", "dirty", "killed")
)
@click.option("--dry-run", is_flag=True, help="Show what differs, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def repair(
    url: str | None, os_cloud: str | None, form: str, ids: tuple[str, ...], *, dry_run: bool, yes: bool
) -> None:
    """Compare what runs have left at the sites with what is to be there, and make it so.

    Looked at are the runs named, or all that were killed, ended dirty, or wait for an operator. Each is then
    redone: what is left of one that is undone goes, one that is stuck goes on. What it touched is no longer
    suspect when it has ended well.

    \b
    atoll repair --dry-run          what differs
    atoll repair                    and have it mended, after a question
    atoll repair 01a2… --yes        that run only

    Exit status 0 where nothing differs in the end, 1 otherwise.
    """  # noqa: D301 - click wants the character, not the two letters
    api = Api(url, os_cloud)
    wanted = list(ids) or [str(one["id"]) for one in api.all("/runs", "runs", dead="true")]
    seen = [dict(api.get(f"/runs/{quote(one)}/compare")) for one in wanted]
    rows = [_row(run, step) for run in seen for step in run["steps"]]
    if form == "json" and dry_run:
        show(seen, form)
    elif form != "json":
        show(rows, form, empty="No run has left anything behind.")
    fixes = [run for run in seen if run["fix"]]
    if dry_run:
        sys.exit(1 if any(run["differs"] for run in seen) else 0)
    if not fixes:
        return
    many = f"{len(fixes)} runs" if len(fixes) > 1 else f"run {fixes[0]['run_id']}"
    if not yes:
        click.confirm(f"Redo {many}?", abort=True, err=True)
    sys.exit(max([_redone(api, run["run_id"], form) for run in fixes]))


def _row(run: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": run["run_id"],
        "state": run["state"],
        "step": step["name"],
        "site": step["site"],
        "there": step["there"] or (f"not known: {step['unknown']}" if step["unknown"] else "nothing"),
        "wanted": "there" if step["wanted"] else "nothing",
        "differs": "yes" if step["name"] in run["differs"] else "",
    }


def _redone(api: Api, run_id: str, form: str) -> int:
    """Redo a run and watch it; 0 where it ended well, undone or done."""
    api.call("POST", f"/runs/{quote(run_id)}/redo", {})
    follow_run(api, run_id, form)
    return 0 if api.get(f"/runs/{quote(run_id)}")["run"]["state"] in {"done", "undone"} else 1
