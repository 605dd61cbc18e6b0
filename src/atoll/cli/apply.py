"""`atoll apply`: a small file says what is to be there; what is missing is created, all of it or nothing."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
import yaml

from atoll.cli.api import Api, gateway_options
from atoll.cli.follow import follow_run
from atoll.cli.output import format_option, show

FIELDS: Final = ("purpose", "resources", "absent")
MORE: Final = ("version", "after")
SIGNS: Final = {"create": "+", "keep": "=", "delete": "-"}


@click.command()
@gateway_options
@format_option
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--no-follow", is_flag=True, help="Return when it is accepted, not when it has ended.")
def apply(
    url: str | None, os_cloud: str | None, form: str, file: Any, *, dry_run: bool, no_follow: bool
) -> None:
    """Have all be there that FILE says, over any services and sites: all of it, or nothing is changed.

    What is there already, by its name, is kept; where it is different nothing is done, and the difference
    is said. So a file can be applied again and again. FILE is YAML or JSON, - is standard input:

    \b
    resources:
      net:
        network: {name: web, availability_zone_hints: [oslo]}
      subnet:
        subnet: {name: web, network_id: {$from: net.id}, ip_version: 4, cidr: 10.0.0.0/24}
      vm:
        server: {name: web-1, flavorRef: "42", imageRef: IMAGE, networks: [{uuid: {$from: net.id}}]}
        after: [subnet]
    absent:
      - volume: old-data

    Each resource stands under a name of its own, by which others refer to it, as the service's API has it.
    Exit status 0 where all is there, 1 otherwise.
    """  # noqa: D301 - click wants the character, not the two letters
    body = read(file.name, file.read())
    api = Api(url, os_cloud)
    plan = api.call("POST", "/transactions/plan", body)["plan"]
    rows = [_row(one) for one in plan["steps"] if _word(one) in SIGNS]
    if form == "json" and dry_run:
        show(rows, form)
        return
    if form != "json":
        for row in rows:
            click.echo(f"{SIGNS[row['do']]} {row['do']:6} {row['kind']:20} {row['name']}")
    changes = [row for row in rows if row["do"] != "keep"]
    if not changes:
        click.echo("All is there as it is to be.", err=True)
        return
    if dry_run:
        return
    run = api.call("POST", "/transactions", body)["run"]
    if no_follow:
        click.echo(f"Run {run['id']} is {run['state']}.")
        click.echo(f"Watch it: atoll run follow {run['id']}", err=True)
        return
    sys.exit(follow_run(api, run["id"], form))


def _word(step: Mapping[str, Any]) -> str:
    return str(step["action"]).removeprefix("transaction.").partition("@")[0]


def _row(step: Mapping[str, Any]) -> dict[str, Any]:
    given = step["input"]
    name = given["id"] if _word(step) == "delete" else step["name"]
    return {"do": _word(step), "kind": given["kind"], "name": name, "id": given.get("id")}


def read(name: str, text: bytes) -> dict[str, Any]:
    """The transaction that a file asks for. Raises ClickException with what is wrong, and where."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise click.ClickException(
            f"{name} is no YAML{where}: {getattr(error, 'problem', error)}."
        ) from error
    if wrong := [*_wrong(content)]:
        raise click.ClickException(f"{name}: {'; '.join(wrong)}.")
    resources, absent = content.get("resources") or {}, content.get("absent") or []
    body = {
        "create": [_create(key, one) for key, one in resources.items()],
        "delete": [{"delete": kind, "name": str(called)} for one in absent for kind, called in one.items()],
    }
    return {**body, **({"purpose": content["purpose"]} if "purpose" in content else {})}


def _wrong(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        yield "it is to have resources, absent or both"
        return
    for key in content:
        if key not in FIELDS:
            yield f"{key} is not known: there are {', '.join(FIELDS)}"
    resources, absent = content.get("resources") or {}, content.get("absent") or []
    if not isinstance(resources, dict):
        yield "resources is to be a mapping of names"
        resources = {}
    if not isinstance(absent, list) or not all(isinstance(one, dict) and len(one) == 1 for one in absent):
        yield "absent is to be a list of KIND: NAME"
    if not resources and not absent:
        yield "it names nothing"
    for key, one in resources.items():
        kinds = [word for word in one if word not in MORE] if isinstance(one, dict) else []
        if len(kinds) != 1 or not isinstance(one[kinds[0]], dict):
            yield f"{key} is to have one kind with its fields, as `volume: {{name: data, size: 1}}`"


def _create(key: Any, one: Mapping[str, Any]) -> dict[str, Any]:
    (kind,) = [word for word in one if word not in MORE]
    given = {"name": str(key), "create": kind, "body": one[kind], "unless_there": True}
    if "version" in one:
        given["version"] = str(one["version"])
    if "after" in one:
        given["after"] = one["after"]
    return given
