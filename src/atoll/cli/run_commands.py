"""`atoll run`: work that touches several sites, over a running gateway."""

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from atoll.cli import completing
from atoll.cli.api import Api, F, gateway_options
from atoll.cli.follow import amount, follow_run
from atoll.cli.output import format_option, short, show

STATES: Final = ["queued", "running", "undoing", "paused", "parked", "done", "undone", "dirty", "killed"]
LIST_PAGE: Final = 200
RESULT_WIDTH: Final = 60
DETAILS: Final = ("steps", "progress", "residue", "allowed")


@click.group()
def run() -> None:
    """Work that touches several sites or takes long: it finishes, or is undone, whatever dies meanwhile.

    \b
    What there is:     atoll run definitions
    Begin and watch:   atoll run start NAME -i key=value --follow
    What goes on:      atoll run list --state running
                       atoll run show ID
                       atoll run explain ID
    Stop it:           atoll run pause ID; atoll run resume ID
                       atoll run cancel ID         undoes what was done
                       atoll run kill ID           leaves it as it stands
    What went wrong:   atoll run list --dead
                       atoll run redo ID

    `atoll run start probe` touches nothing: try these on it, as an administrator.
    """  # noqa: D301 - click wants the character, not the two letters


wait_option = click.option(
    "--wait-all", is_flag=True,
    help="Wait for a site that is away also where the run only clears up there: its work is done.",
)  # fmt: skip
GOING: Final = ("queued", "running", "undoing", "paused", "parked")


def id_argument(*states: str) -> Callable[[F], F]:
    """The argument `run_id`; a shell offers runs in some states, or all."""
    return click.argument("run_id", metavar="ID", shell_complete=completing.runs(*states))


@run.command("list")
@gateway_options
@format_option
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--dead", is_flag=True, help="Only what an operator has to look at: parked, dirty, killed.")
@click.option(
    "--definition",
    metavar="NAME",
    shell_complete=completing.definitions,
    help="Only of this definition, NAME or NAME@VERSION.",
)
@click.option("--waits", metavar="WHAT", help="Only what waits for this: lock, site/paris, retry, …")
@click.option("--project", metavar="ID", help="Only of this project (for administrators).")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at the most.")
def list_runs(url: str | None, os_cloud: str | None, form: str, *, limit: int, **wanted: Any) -> None:
    """List runs, newest first."""
    wanted["project_id"] = wanted.pop("project")
    wanted["dead"] = "true" if wanted["dead"] else None
    rows: list[dict[str, Any]] = []
    more = False
    for one in Api(url, os_cloud).all("/runs", "runs", limit=min(limit + 1, LIST_PAGE), **wanted):
        if len(rows) == limit:
            more = True
            break
        rows.append(dict(one) if form == "json" else _row(one))
    show(rows, form, empty="There is no such run.")
    if more and form != "json":
        click.echo(f"There are more: --limit {limit * 2} shows them.", err=True)


@run.command("show")
@gateway_options
@format_option
@id_argument()
@click.option("--log", "with_log", is_flag=True, help="Its log too: every try, and what became of it.")
def show_run(url: str | None, os_cloud: str | None, form: str, run_id: str, *, with_log: bool) -> None:
    """Show the run ID: its steps, what they gave, what went wrong, what may be done now."""
    api = Api(url, os_cloud)
    one = dict(api.get(f"/runs/{quote(run_id)}")["run"])
    if with_log:
        one["log"] = list(api.all(f"/runs/{quote(run_id)}/log", "log"))
    _shown(one, form)


@run.command("start")
@gateway_options
@format_option
@click.argument("definition", metavar="NAME", shell_complete=completing.definitions)
@click.option(
    "-i", "--set", "pairs", multiple=True, metavar="KEY=VALUE",
    help="A part of the input: VALUE is JSON where it reads as JSON, else a text. Repeat it.",
)  # fmt: skip
@click.option(
    "--input",
    "file",
    type=click.File("rb"),
    metavar="FILE",
    help="The whole input as JSON; - is standard input.",
)
@click.option("--key", help="Asked again with the same key, the run of the first time is answered.")
@click.option("--follow", is_flag=True, help="Watch it to its end; exit status 1 unless it is done.")
@wait_option
def start_run(  # noqa: PLR0913 - one for each option
    url: str | None,
    os_cloud: str | None,
    form: str,
    *,
    definition: str,
    pairs: tuple[str, ...],
    file: Any,
    key: str | None,
    follow: bool,
    wait_all: bool,
) -> None:
    """Have NAME run: a definition of `atoll run definitions`, or an older one as NAME@VERSION.

    \b
    atoll run start probe -i steps=5 -i seconds=2 --follow
    atoll run start probe -i 'sites=["paris", "tokyo"]'
    atoll run start probe --input probe.json --key first-try
    """  # noqa: D301 - click wants the character, not the two letters
    body = {"definition": definition, "input": _input(pairs, file), "key": key}
    api = Api(url, os_cloud)
    one = api.call("POST", "/runs", body)["run"]
    if follow:
        sys.exit(follow_run(api, one["id"], form, wait_all=wait_all))
    if form == "json":
        show([one], form)
        return
    click.echo(f"Run {one['id']} is {one['state']}.")
    click.echo(f"Watch it: atoll run follow {one['id']}", err=True)


@run.command("follow")
@gateway_options
@format_option
@id_argument(*GOING)
@wait_option
def follow(url: str | None, os_cloud: str | None, form: str, run_id: str, *, wait_all: bool) -> None:
    """Watch the run ID until it ends, or waits for an operator: exit status 0 where it is done, else 1.

    It is 0 too, and said, where its work is done and it waits for a site only to clear up there: the run
    goes on. Ctrl-C ends the watching, not the run. With --format json each event is a line.
    """
    sys.exit(follow_run(Api(url, os_cloud), run_id, form, wait_all=wait_all))


@run.command()
@gateway_options
@id_argument("queued", "running", "undoing")
def pause(url: str | None, os_cloud: str | None, run_id: str) -> None:
    """Pause the run ID once the steps under way have ended. It keeps what it holds."""
    _act(url, os_cloud, run_id, "pause", "is to be paused")


@run.command()
@gateway_options
@id_argument("paused")
def resume(url: str | None, os_cloud: str | None, run_id: str) -> None:
    """Let the run ID go on."""
    _act(url, os_cloud, run_id, "resume", "goes on")


@run.command()
@gateway_options
@id_argument("queued", "running", "paused", "parked")
def cancel(url: str | None, os_cloud: str | None, run_id: str) -> None:
    """Have the run ID undone once the steps under way have ended."""
    _act(url, os_cloud, run_id, "cancel", "is to be undone")


@run.command()
@gateway_options
@id_argument(*GOING)
@click.option("--reason", default="", help="Why, for its log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def kill(url: str | None, os_cloud: str | None, run_id: str, reason: str, *, yes: bool) -> None:
    """Close the run ID as it stands: nothing is undone, and what it touched is suspect.

    `cancel` undoes it; this is for where that cannot be waited for.
    """
    if not yes:
        click.confirm(f"Leave what run {run_id} has begun as it stands?", abort=True, err=True)
    _act(url, os_cloud, run_id, "kill", "was killed", reason=reason)


@run.command()
@gateway_options
@id_argument("undone", "dirty", "killed", "parked")
def redo(url: str | None, os_cloud: str | None, run_id: str) -> None:
    """Try the run ID once more: one that was undone begins anew, one that is parked goes on.

    One that is dirty or was killed is undone as far as it is not.
    """
    _act(url, os_cloud, run_id, "redo", "is tried again")


@run.command()
@gateway_options
@format_option
@id_argument(*GOING)
def explain(url: str | None, os_cloud: str | None, form: str, run_id: str) -> None:
    """Say what the run ID waits for: a lock and who has it, a site, a retry, a worker, an operator."""
    told = Api(url, os_cloud).get(f"/runs/{quote(run_id)}/explain")
    if form == "json":
        show([told], form)
        return
    click.echo(f"Run {told['run_id']} is {told['state']}.")
    for one in told["waits_for"]:
        click.echo(one["text"])
    click.echo(f"Allowed now: {', '.join(told['allowed']) or 'nothing'}.")


@run.command()
@gateway_options
@format_option
@click.argument("name", metavar="[NAME]", required=False, shell_complete=completing.definitions)
def definitions(url: str | None, os_cloud: str | None, form: str, name: str | None) -> None:
    """List what can be run; of NAME show its input, and its steps as a Mermaid diagram."""
    api = Api(url, os_cloud)
    if name is None:
        every = api.get("/runs/definitions")["definitions"]
        keys = ("name", "version", "who", "summary")
        show(every if form == "json" else [{key: one[key] for key in keys} for one in every], form)
        return
    one = api.get(f"/runs/definitions/{quote(name)}")["definition"]
    if form == "json":
        show([one], form)
        return
    click.echo(f"{one['name']}@{one['version']}, for {one['who']}: {one['summary']}\n")
    show(_fields(one["input"]), form, empty="It takes no input.")
    click.echo(f"\n{one['diagram']}", nl=False)


@run.command()
@gateway_options
@click.option(
    "--older-than-days", type=click.FloatRange(min=0), required=True, help="Since they ended; 30, or 0.5."
)
def prune(url: str | None, os_cloud: str | None, older_than_days: float) -> None:
    """Drop runs that were done or undone long ago. Dead letters stay until they are redone."""
    api = Api(url, os_cloud)
    pruned, more = 0, True
    while more:
        answer = api.call("POST", "/runs/prune", {"older_than_days": older_than_days})
        pruned, more = pruned + answer["pruned"], answer["more"]
    click.echo(f"{pruned} runs were dropped.")


@run.command()
@gateway_options
@format_option
def suspects(url: str | None, os_cloud: str | None, form: str) -> None:
    """List what killed and dirty runs touched, and nobody has looked at since: no run works on it."""
    show(list(Api(url, os_cloud).all("/suspects", "suspects")), form, empty="Nothing is suspect.")


@run.command()
@gateway_options
@click.argument("resource")
def clear(url: str | None, os_cloud: str | None, resource: str) -> None:
    """Say that RESOURCE was looked at and is as it should be: it is suspect no more.

    \b
    atoll run suspects
    atoll run clear server/8f9b6a3e-0c1d-4a57-9f57-0d9e6c2b7a10
    """  # noqa: D301 - click wants the character, not the two letters
    Api(url, os_cloud).call("DELETE", f"/suspects/{quote(resource, safe='')}")
    click.echo(f"{resource} is suspect no more.")


@click.group()
def lock() -> None:
    """What runs have locked, so that no other one works on it."""


@lock.command("list")
@gateway_options
@format_option
@click.option("--path", help="Only at this path or below it, such as server/ID.")
def list_locks(url: str | None, os_cloud: str | None, form: str, path: str | None) -> None:
    """List who has locks and who waits for one, with what for.

    W and R are on the path itself, IW and IR on something below it.
    """
    rows = [
        {
            "path": one["path"],
            "mode": one["mode"],
            "held": "yes" if one["granted"] else "waits",
            "run": one["run_id"],
            "state": one["state"],
            "purpose": one["purpose"],
            "since": one["since"],
        }
        if form != "json"
        else one
        for one in Api(url, os_cloud).all("/locks", "locks", path=path)
    ]
    show(rows, form, empty="Nothing is locked.")


@click.group()
def worker() -> None:
    """Who works on runs: every gateway does."""


@worker.command("list")
@gateway_options
@format_option
def list_workers(url: str | None, os_cloud: str | None, form: str) -> None:
    """List the workers, with how many runs each has. One without seconds left is dead.

    Where a coordinator is configured, also whether it has each of them as a member of its group. What it has
    besides, and that it does not answer, is said on standard error.
    """
    page = Api(url, os_cloud).get("/workers")
    workers, group = page["workers"], page.get("group")
    if group is None:
        workers = [{key: one[key] for key in one if key != "in_group"} for one in workers]
    show(workers, form, empty="No worker is alive: nothing goes on until one is (`atoll serve`).")
    if group is not None and not group["answers"]:
        click.echo(f"The coordinator does not answer: {group['reason']}", err=True)
    for one in group["not_in_database"] if group is not None else ():
        click.echo(f"In the group, and not alive in the database: {one['id']} ({one['about']})", err=True)


def _act(
    url: str | None,
    os_cloud: str | None,
    run_id: str,
    what: str,
    said: str,
    **body: str,
) -> None:
    one = Api(url, os_cloud).call("POST", f"/runs/{quote(run_id)}/{what}", body)["run"]
    click.echo(f"Run {one['id']} {said}; it is {one['state']}.")


def _input(pairs: tuple[str, ...], file: Any) -> dict[str, Any]:
    """The input that is given in words or in a file. Raises UsageError."""
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = json.load(file)
        except ValueError as error:
            raise click.UsageError(f"--input is not JSON: {error}") from error
        if not isinstance(given, dict):
            raise click.UsageError("--input is to be a JSON object: {…}")
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"-i {pair}: write KEY=VALUE, such as steps=5")
        try:
            given[key] = json.loads(value)
        except ValueError:
            given[key] = value
    return given


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": one["id"],
        "definition": one["definition"],
        "state": f"{one['state']} ({one['stop']} asked)" if one["stop"] else one["state"],
        "purpose": one["purpose"],
        "waits": one["waits"],
        "created_at": one["created_at"],
        "ended_at": one["ended_at"],
    }


def _shown(one: Mapping[str, Any], form: str) -> None:
    if form == "json":
        show([one], form)
        return
    plain = [{"field": key, "value": value} for key, value in one.items() if key not in {*DETAILS, "log"}]
    show([*plain, {"field": "allowed", "value": one["allowed"]}], form)
    click.echo()
    show([_step(step) for step in one["steps"]], form)
    if one["residue"]:
        click.echo()
        show(one["residue"], form)
    if "log" in one:
        click.echo()
        show(one["log"], form)


def _step(one: Mapping[str, Any]) -> dict[str, Any]:
    tries = one["attempts"]
    return {
        "step": one["name"],
        "site": one["site"],
        "state": one["state"],
        "tries": one["tries"],
        "began": tries[0]["began_at"] if tries else None,
        "ended": tries[-1]["ended_at"] if tries else None,
        "progress": _progress(one["progress"]),
        "result": _brief(one["result"]),
        "error": one["error"],
    }


def _brief(result: Any) -> str | None:
    """What a step gave, in a line: of a thing that it made the id. `--format json` has all."""
    text = None if result is None else json.dumps(result)
    if text is None or len(text) <= RESULT_WIDTH:
        return text
    ident = result.get("id") if isinstance(result, Mapping) else None
    return ident if isinstance(ident, str) else short(text, RESULT_WIDTH)


def _progress(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return ""
    return amount(one)


def _fields(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of an input, of its JSON schema."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = schema.get("$defs", {}).get(name, schema)
    return [
        {
            "key": key,
            "type": _type(one),
            "default": "required" if key in found.get("required", ()) else json.dumps(one.get("default")),
        }
        for key, one in found.get("properties", {}).items()
    ]


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(json.dumps(one) for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))
