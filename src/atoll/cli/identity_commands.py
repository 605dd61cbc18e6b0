"""`atoll user`, `atoll project`, `atoll role`: the built-in identity, directly in the store.

So they work before anybody could log in, and without a gateway running: who can write the store needs no
leave. Running gateways see a change within a second or two.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from atoll.cli.files import config_option, read_config
from atoll.cli.output import format_option, show
from atoll.core.errors import AtollError
from atoll.identity.directory import Directory
from atoll.identity.passwords import Passwords
from atoll.identity.records import ROLES, Assignment, Project, User

T = TypeVar("T")

password_option = click.option(
    "--password-from", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True),
    help="Read the password from the first line of FILE, - for standard input; default: ask for it.",
)  # fmt: skip
role_argument = click.argument("role_name", metavar="ROLE", type=click.Choice(ROLES))
user_option = click.option("--user", "user_name", required=True, metavar="USER", help="Whose.")
project_option = click.option("--project", "project_name", required=True, metavar="PROJECT", help="Where.")


@click.group()
def user() -> None:
    """The users of the built-in identity.

    \b
    The first one:  atoll project add lab
                    atoll user add me --project lab --role admin
    """  # noqa: D301 - click wants the character, not the two letters


@click.group()
def project() -> None:
    """The projects of the built-in identity."""


@click.group()
def role() -> None:
    """The roles that users have on projects: admin, manager, member, reader, service."""


def _done(config_path: str, work: Callable[[Directory], Awaitable[T]]) -> T:
    """Do something with the records in the store of a configuration."""
    from atoll.store import Registry, StoreError, open_store  # noqa: PLC0415 - slow to import

    settings = read_config(config_path)
    if settings.identity.mode != "built-in":
        raise click.ClickException(
            f"the identity of {config_path} is the Keystone at {settings.identity.auth_url}: users, projects "
            "and roles are set up there, with `openstack user create` for one. Atoll has its own with "
            'mode = "built-in" in [identity].'
        )

    async def do() -> T:
        store = await open_store(settings.store.url)
        passwords = Passwords(now=time.monotonic)
        try:
            registry = Registry(store.intent)
            await registry.load()
            return await work(Directory(registry, passwords))
        finally:
            passwords.close()
            await store.close()

    try:
        return asyncio.run(do())
    except (AtollError, StoreError) as error:
        raise click.ClickException(str(error)) from error


def _user(directory: Directory, name: str) -> User:
    found = directory.user_named(name) or directory.registry.get(User, name)
    if found is None:
        names = ", ".join(sorted(one.name for one in directory.registry.all(User).values()))
        raise click.ClickException(
            f"there is no user {name}; there are {names or 'none yet: atoll user add'}"
        )
    return found


def _project(directory: Directory, name: str) -> Project:
    found = directory.project_named(name) or directory.registry.get(Project, name)
    if found is None:
        names = ", ".join(sorted(one.name for one in directory.registry.all(Project).values()))
        raise click.ClickException(
            f"there is no project {name}; there are {names or f'none yet: atoll project add {name}'}"
        )
    return found


def _password(source: str | None) -> str:
    """The password, asked for or read. Never from the command line, which others can see."""
    if source is None:
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    try:
        text = sys.stdin.readline() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{source} cannot be read") from error
    password = (text.splitlines() or [""])[0]
    if not password:
        raise click.ClickException("the password is empty")
    return password


def _user_row(directory: Directory, one: User) -> dict[str, Any]:
    names = {key: kept.name for key, kept in directory.registry.all(Project).items()}
    roles = [
        f"{assigned.role}@{names.get(assigned.project_id, assigned.project_id)}"
        for assigned in directory.registry.all(Assignment).values()
        if assigned.user_id == one.id
    ]
    return {"id": one.id, "name": one.name, "enabled": one.enabled, "roles": roles}


@user.command("add")
@config_option
@format_option
@password_option
@click.option("--project", "project_name", metavar="PROJECT", help="The project the user works in.")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES),
    help="What the user may do there (repeat); default: member.",
)  # fmt: skip
@click.argument("name")
def add_user(
    config_path: str,
    form: str,
    password_from: str | None,
    project_name: str | None,
    roles: tuple[str, ...],
    name: str,
) -> None:
    """Add the user NAME, with a password that is asked for.

    \b
    atoll user add alice --project lab --role member
    """  # noqa: D301 - click wants the character, not the two letters
    if roles and project_name is None:
        raise click.UsageError("--role needs --project: a role is on a project")

    async def work(directory: Directory) -> dict[str, Any]:
        of = _project(directory, project_name) if project_name is not None else None
        one = await directory.create_user(
            name, _password(password_from), default_project_id=of.id if of is not None else None
        )
        for each in (roles or ("member",)) if of is not None else ():
            await directory.assign(one.id, of.id if of is not None else "", each)
        return _user_row(directory, one)

    show([_done(config_path, work)], form)


@user.command("list")
@config_option
@format_option
def list_users(config_path: str, form: str) -> None:
    """List the users with their roles."""

    async def work(directory: Directory) -> list[dict[str, Any]]:
        every = directory.registry.all(User).values()
        return [_user_row(directory, one) for one in sorted(every, key=lambda one: one.name)]

    show(_done(config_path, work), form, empty="There are no users yet: atoll user add NAME makes one.")


@user.command("show")
@config_option
@format_option
@click.argument("name")
def show_user(config_path: str, form: str, name: str) -> None:
    """Show the user NAME, or of that id."""

    async def work(directory: Directory) -> dict[str, Any]:
        one = _user(directory, name)
        credentials = [each.name for each in directory.credentials_of(one.id)]
        shown = {"description": one.description, "application_credentials": credentials}
        return {**_user_row(directory, one), **shown}

    show([_done(config_path, work)], form)


@user.command("set-password")
@config_option
@password_option
@click.argument("name")
def set_password(config_path: str, password_from: str | None, name: str) -> None:
    """Give the user NAME another password, which ends all their tokens."""

    async def work(directory: Directory) -> None:
        one = _user(directory, name)
        await directory.update_user(one.id, _password(password_from))

    _done(config_path, work)
    click.echo(f"{name} has a new password.")


def _switch(config_path: str, name: str, *, enabled: bool) -> None:
    async def work(directory: Directory) -> None:
        await directory.update_user(_user(directory, name).id, enabled=enabled)

    _done(config_path, work)
    click.echo(f"{name} is {'enabled' if enabled else 'disabled, and all their tokens are ended'}.")


@user.command()
@config_option
@click.argument("name")
def disable(config_path: str, name: str) -> None:
    """Keep the user NAME out, now and until enabled again."""
    _switch(config_path, name, enabled=False)


@user.command()
@config_option
@click.argument("name")
def enable(config_path: str, name: str) -> None:
    """Let the user NAME log in again."""
    _switch(config_path, name, enabled=True)


@user.command("remove")
@config_option
@click.argument("name")
def remove_user(config_path: str, name: str) -> None:
    """Remove the user NAME with roles and application credentials; what they made stays."""

    async def work(directory: Directory) -> None:
        await directory.remove_user(_user(directory, name).id)

    _done(config_path, work)
    click.echo(f"{name} is removed.")


@project.command("add")
@config_option
@format_option
@click.option("--description", default="", help="What it is for.")
@click.argument("name")
def add_project(config_path: str, form: str, description: str, name: str) -> None:
    """Add the project NAME.

    \b
    atoll project add lab
    """  # noqa: D301 - click wants the character, not the two letters

    async def work(directory: Directory) -> Project:
        return await directory.create_project(name, description=description)

    show([_project_row(_done(config_path, work))], form)


@project.command("list")
@config_option
@format_option
def list_projects(config_path: str, form: str) -> None:
    """List the projects."""

    async def work(directory: Directory) -> list[Project]:
        return sorted(directory.registry.all(Project).values(), key=lambda one: one.name)

    found = _done(config_path, work)
    show(
        [_project_row(one) for one in found], form, empty="There are no projects yet: atoll project add NAME."
    )


@project.command("remove")
@config_option
@click.argument("name")
def remove_project(config_path: str, name: str) -> None:
    """Remove the project NAME with the roles on it. What it has at the sites stays there."""

    async def work(directory: Directory) -> None:
        await directory.remove_project(_project(directory, name).id)

    _done(config_path, work)
    click.echo(f"{name} is removed.")


def _project_row(one: Project) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "enabled": one.enabled, "description": one.description}


@role.command("add")
@config_option
@user_option
@project_option
@role_argument
def add_role(config_path: str, user_name: str, project_name: str, role_name: str) -> None:
    """Give a user ROLE on a project.

    \b
    atoll role add reader --user alice --project lab
    """  # noqa: D301 - click wants the character, not the two letters

    async def work(directory: Directory) -> None:
        who, where = _user(directory, user_name), _project(directory, project_name)
        await directory.assign(who.id, where.id, role_name)

    _done(config_path, work)
    click.echo(f"{user_name} is {role_name} of {project_name}.")


@role.command("remove")
@config_option
@user_option
@project_option
@role_argument
def remove_role(config_path: str, user_name: str, project_name: str, role_name: str) -> None:
    """Take ROLE on a project from a user, with the user's application credentials there."""

    async def work(directory: Directory) -> None:
        who, where = _user(directory, user_name), _project(directory, project_name)
        await directory.unassign(who.id, where.id, role_name)

    _done(config_path, work)
    click.echo(f"{user_name} is no longer {role_name} of {project_name}.")


@role.command("list")
@config_option
@format_option
@click.option("--user", "user_name", metavar="USER", help="Only this user's.")
@click.option("--project", "project_name", metavar="PROJECT", help="Only on this project.")
def list_roles(config_path: str, form: str, user_name: str | None, project_name: str | None) -> None:
    """List who has which role where."""

    async def work(directory: Directory) -> list[dict[str, Any]]:
        who = _user(directory, user_name).id if user_name is not None else None
        where = _project(directory, project_name).id if project_name is not None else None
        registry = directory.registry
        return [
            {
                "role": one.role,
                "user": directory.user(one.user_id).name,
                "project": directory.project(one.project_id).name,
            }
            for one in registry.all(Assignment).values()
            if who in {None, one.user_id} and where in {None, one.project_id}
        ]

    show(_done(config_path, work), form, empty="Nobody has a role yet: atoll role add makes one.")
