"""The first user, made without anybody's leave: for who starts Atoll and can write its store anyway."""

import asyncio
import secrets

import msgspec

from atoll.identity.directory import Directory
from atoll.identity.passwords import matches
from atoll.identity.records import Project, User


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user of a project, and how to log in."""

    user: User
    project: Project
    password: str

    def __repr__(self) -> str:
        """Whose it is, without the password."""
        return f"<Account {self.user.name} of {self.project.name}>"


async def ensure_account(
    directory: Directory, user: str, project: str, *, role: str = "admin", known: str = ""
) -> Account:
    """Have a user with a role on a project, both made where they are not there.

    `known` is the password that was noted down earlier; where it is not the user's a random one is set, which
    ends the user's tokens. Safe to repeat. Raises Conflict where another does the same, `StoreError`.
    """
    of = directory.project_named(project) or await directory.create_project(project)
    who = directory.user_named(user)
    password = known
    if who is None:
        password = known or secrets.token_urlsafe(24)
        who = await directory.create_user(user, password)
    elif not known or not who.password or not await asyncio.to_thread(matches, known, who.password):
        password = secrets.token_urlsafe(24)
        who = await directory.update_user(who.id, password)
    if not who.enabled:
        who = await directory.update_user(who.id, enabled=True)
    await directory.assign(who.id, of.id, role)
    return Account(user=who, project=of, password=password)
