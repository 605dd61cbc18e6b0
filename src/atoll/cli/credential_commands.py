"""`atoll credential`: how projects log in at clouds, over a running gateway. What is secret only goes in."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from atoll.cli import completing
from atoll.cli.api import Api, gateway_options
from atoll.cli.output import format_option, show

id_argument = click.argument("ident", metavar="ID")


@click.group()
def credential() -> None:
    """How projects log in at clouds that do not know the clients.

    \b
    An entry of clouds.yaml:    atoll credential add --cloud tokyo --from-cloud my-tokyo
    An application credential:  atoll credential add --cloud tokyo --application-credential-id ID
    """  # noqa: D301 - click wants the character, not the two letters


@credential.command("list")
@gateway_options
@format_option
@click.option("--cloud", default="", shell_complete=completing.clouds, help="Only those for this cloud.")
@click.option("--project", default="", help="Only those of the project with this id.")
def list_credentials(url: str | None, os_cloud: str | None, form: str, cloud: str, project: str) -> None:
    """List the credentials of your project; an administrator sees those of all."""
    found = Api(url, os_cloud).all("/credentials", "credentials", cloud=cloud, project_id=project)
    rows = [_row(one) for one in found]
    if form == "table":  # the rest is shown with one of them
        rows = [{**row, "warning": row["warning"].partition(",")[0]} for row in rows]
    show(rows, form, empty="There is no credential.")


@credential.command("show")
@gateway_options
@format_option
@id_argument
def show_credential(url: str | None, os_cloud: str | None, form: str, ident: str) -> None:
    """Show the credential ID, without what is secret."""
    _show(Api(url, os_cloud).get(f"/credentials/{quote(ident)}"), form)


@credential.command("check")
@gateway_options
@format_option
@id_argument
def check_credential(url: str | None, os_cloud: str | None, form: str, ident: str) -> None:
    """Log in anew with the credential ID; exit status 1 where that fails."""
    answer = Api(url, os_cloud).call("POST", f"/credentials/{quote(ident)}/check")
    _show(answer, form)
    sys.exit(1 if answer["credential"]["fault"] else 0)


@credential.command("remove")
@gateway_options
@id_argument
def remove_credential(url: str | None, os_cloud: str | None, ident: str) -> None:
    """Remove the credential ID. What was made with it stays at the cloud."""
    Api(url, os_cloud).call("DELETE", f"/credentials/{quote(ident)}")
    click.echo(f"The credential {ident} was removed.")


@credential.command("add")
@gateway_options
@format_option
@click.option("--cloud", required=True, shell_complete=completing.clouds, help="The cloud it is for.")
@click.option("--from-cloud", metavar="ENTRY", help="Take an entry of your clouds.yaml.")
@click.option("--application-credential-id", metavar="ID", help="Take an application credential.")
@click.option(
    "--secret-from", metavar="FILE", default=None, type=click.Path(dir_okay=False, allow_dash=True),
    help="Read its secret from the first line of FILE, - for standard input; default: ask for it.",
)  # fmt: skip
@click.option("--project", default="", metavar="ID", help="The project it is for; default: yours.")
@click.option("--admin", is_flag=True, help="It is an administrator's there: for administrators' calls only.")
@click.option(
    "--admin-for-members",
    is_flag=True,
    help="Use it for members too, were it an administrator's by its roles: they see what is of all projects.",
)
@click.option("--yes", is_flag=True, help="Do not ask where the entry is for another URL than the cloud's.")
@click.option("--replace", is_flag=True, help="Put it in the place of the one that is there.")
def add_credential(  # noqa: PLR0913 - what the command takes
    *, url: str | None, os_cloud: str | None, form: str, cloud: str, from_cloud: str | None,
    application_credential_id: str | None, secret_from: str | None, project: str, admin: bool,
    admin_for_members: bool, replace: bool, yes: bool,
) -> None:  # fmt: skip
    """Log in with a credential, and keep it if that works: encrypted, under the gateway's key."""
    if (from_cloud is None) == (application_credential_id is None):
        raise click.UsageError("give either --from-cloud or --application-credential-id")
    api = Api(url, os_cloud)
    if from_cloud is not None:
        given = _entry(api, cloud, from_cloud, yes=yes)
    else:
        auth = {
            "application_credential_id": application_credential_id,
            "application_credential_secret": _secret(secret_from),
        }
        given = {"auth_type": "v3applicationcredential", "auth": auth}
    body = {
        "cloud": cloud, "project_id": project, "admin": admin, "admin_for_members": admin_for_members,
        "replace": replace, **given,
    }  # fmt: skip
    _show(api.call("POST", "/credentials", body), form)


def _entry(api: Api, cloud: str, name: str, *, yes: bool) -> dict[str, Any]:
    """An entry of clouds.yaml as the API takes it; asked for a yes where it is for another Keystone."""
    from atoll.trust.clouds_yaml import read_entry  # noqa: PLC0415 - slow to import
    from atoll.trust.login import LoginError  # noqa: PLC0415

    try:
        entry = read_entry(name)
    except LoginError as error:
        raise click.ClickException(str(error)) from error
    options, here = entry.options, entry.cloud.auth_url
    there = api.get(f"/clouds/{quote(cloud)}")["cloud"]["auth_url"]
    if not yes and here.lower() != there.lower():
        # A password is not to be sent to another cloud because of a slip.
        click.echo(f"The entry {name} is for {here}, the cloud {cloud} is at {there}.", err=True)
        click.confirm("Log in there with what the entry says?", abort=True, err=True)
    return {"auth_type": options.auth_type, "auth": dict(options.auth)}


def _secret(source: str | None) -> str:
    """The secret, asked for or read. Never from the command line, which others can see."""
    if source is None:
        return str(click.prompt("Secret", hide_input=True, err=True))
    try:
        with click.open_file(source, encoding="utf-8") as file:
            return str(file.readline()).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{Path(source).name} cannot be read") from error


def _show(answer: Mapping[str, Any], form: str) -> None:
    show([_row(answer["credential"])], form)
    if answer["credential"]["warning"]:
        click.echo(f"Warning: it is {answer['credential']['warning']}.", err=True)


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    checked = one["checked_at"]
    return {
        **{key: one[key] for key in ("id", "cloud", "project_id", "admin", "auth_type", "site_project_id")},
        "checked_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(checked)) if checked else "",
        "fault": one["fault"],
        "warning": one["warning"],
    }
