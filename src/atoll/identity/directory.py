"""Making, changing and removing users, projects, roles and application credentials: for the API and the CLI.

Whoever may do so was decided before. Errors are told as Keystone tells them.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from atoll.core.errors import BadRequest, Conflict, Forbidden, NotFound
from atoll.identity.passwords import Passwords
from atoll.identity.records import (
    DOMAIN_ID,
    ROLE_IDS,
    ROLE_NAMES,
    ApplicationCredential,
    Assignment,
    KeptRule,
    NumberedRule,
    Project,
    User,
)
from atoll.store import Document, Ledger, Registry

NAME_LENGTH: Final = 255
# Documents of one person or team; a bound, so that a script in a loop does not fill every gateway's memory.
MOST_CREDENTIALS: Final = 1000

D = TypeVar("D", bound=Document)


def new_id() -> str:
    """Give an id as Keystone makes them: 32 hexadecimal digits."""
    return uuid.uuid4().hex


class Directory:
    """The records, with what has to hold between them. Everything raises `StoreError` too."""

    def __init__(self, registry: Registry, passwords: Passwords) -> None:
        self.registry = registry
        self._passwords = passwords

    # What is there
    def user(self, ident: str) -> User:
        """Give a user by id. Raises NotFound."""
        return _found(self.registry.get(User, ident), "user", ident)

    def project(self, ident: str) -> Project:
        """Give a project by id. Raises NotFound."""
        return _found(self.registry.get(Project, ident), "project", ident)

    def user_named(self, name: str) -> User | None:
        """Give a user by name; names differ in more than case, as in MySQL and most people's minds."""
        return _named(self.registry.all(User), name)

    def project_named(self, name: str) -> Project | None:
        """Give a project by name."""
        return _named(self.registry.all(Project), name)

    def projects_of(self, user_id: str) -> list[Project]:
        """Give the projects that a user has a role on."""
        mine = {one.project_id for one in self.registry.all(Assignment).values() if one.user_id == user_id}
        return [one for key, one in self.registry.all(Project).items() if key in mine]

    def credentials_of(self, user_id: str) -> list[ApplicationCredential]:
        """Give the application credentials of a user."""
        every = self.registry.all(ApplicationCredential).values()
        return [one for one in every if one.user_id == user_id]

    # Users
    async def create_user(self, name: str, password: str | None = None, **fields: Any) -> User:
        """Make a user. Raises Conflict, BadRequest, Forbidden (a password too long)."""
        _check_name(name)
        kept = await self.hashed(password) if password is not None else ""
        user = User(id=new_id(), name=name, password=kept, **fields)

        def work(ledger: Ledger) -> User:
            _free(ledger, user)
            ledger.put(user)
            return user

        return await self.registry.change(work)

    async def update_user(self, ident: str, password: str | None = None, **fields: Any) -> User:
        """Change a user; another password, or to be disabled, ends all tokens. Raises as `create_user`."""
        if "name" in fields:
            _check_name(fields["name"])
        kept = await self.hashed(password) if password is not None else None

        def work(ledger: Ledger) -> User:
            before = _found(ledger.get(User, ident), "user", ident)
            after = msgspec.structs.replace(before, **fields)
            if kept is not None:
                after = msgspec.structs.replace(after, password=kept)
            if kept is not None or (before.enabled and not after.enabled):
                after = msgspec.structs.replace(after, generation=before.generation + 1)
            _free(ledger, after)
            ledger.put(after)
            return after

        return await self.registry.change(work)

    async def revoke_tokens(self, ident: str) -> None:
        """End all tokens of a user. Raises NotFound."""

        def work(ledger: Ledger) -> None:
            user = _found(ledger.get(User, ident), "user", ident)
            ledger.put(msgspec.structs.replace(user, generation=user.generation + 1))

        await self.registry.change(work)

    async def remove_user(self, ident: str) -> None:
        """Remove a user with roles, application credentials and tokens. Raises NotFound."""

        def work(ledger: Ledger) -> None:
            if not ledger.drop(User, ident):
                raise _missing("user", ident)
            for type_ in (Assignment, ApplicationCredential, KeptRule):
                _drop_of(ledger, type_, "user_id", ident)

        await self.registry.change(work)

    async def hashed(self, password: str) -> str:
        """Give the hash of a new password. Raises Forbidden, as Keystone does, where it is too long."""
        try:
            return await self._passwords.hashed(password)
        except ValueError as error:
            message = "The server could not comply with the request because the password is invalid."
            raise Forbidden(f"{error} {message}") from error

    # Projects
    async def create_project(self, name: str, **fields: Any) -> Project:
        """Make a project. Raises Conflict, BadRequest."""
        _check_name(name)
        project = Project(id=new_id(), name=name, **fields)

        def work(ledger: Ledger) -> Project:
            _free_project(ledger, project)
            ledger.put(project)
            return project

        return await self.registry.change(work)

    async def update_project(self, ident: str, **fields: Any) -> Project:
        """Change a project; to be disabled ends all tokens for it. Raises NotFound, Conflict, BadRequest."""
        if "name" in fields:
            _check_name(fields["name"])

        def work(ledger: Ledger) -> Project:
            before = _found(ledger.get(Project, ident), "project", ident)
            after = msgspec.structs.replace(before, **fields)
            if before.enabled and not after.enabled:
                after = msgspec.structs.replace(after, generation=before.generation + 1)
            _free_project(ledger, after)
            ledger.put(after)
            return after

        return await self.registry.change(work)

    async def remove_project(self, ident: str) -> None:
        """Remove a project with the roles on it and the application credentials for it. Raises NotFound."""

        def work(ledger: Ledger) -> None:
            if not ledger.drop(Project, ident):
                raise _missing("project", ident)
            for type_ in (Assignment, ApplicationCredential):
                _drop_of(ledger, type_, "project_id", ident)

        await self.registry.change(work)

    # Roles
    async def assign(self, user_id: str, project_id: str, role: str) -> None:
        """Give a user a role, by its name, on a project. Raises NotFound."""

        def work(ledger: Ledger) -> None:
            _found(ledger.get(User, user_id), "user", user_id)
            _found(ledger.get(Project, project_id), "project", project_id)
            ledger.put(Assignment(user_id=user_id, project_id=project_id, role=role))

        await self.registry.change(work)

    async def unassign(self, user_id: str, project_id: str, role: str) -> None:
        """Take a role away; as in Keystone the user's application credentials there go too."""

        def work(ledger: Ledger) -> None:
            one = Assignment(user_id=user_id, project_id=project_id, role=role)
            if not ledger.drop(Assignment, one.key):
                raise NotFound(
                    f"Could not find role assignment with role: {ROLE_IDS[role]}, user or group: {user_id}, "
                    f"project, domain, or system: {project_id}."
                )
            for key, credential in ledger.all(ApplicationCredential).items():
                if (credential.user_id, credential.project_id) == (user_id, project_id):
                    ledger.drop(ApplicationCredential, key)

        await self.registry.change(work)

    # Application credentials
    async def create_credential(self, credential: ApplicationCredential) -> None:
        """Keep an application credential and its access rules. Raises Conflict, Forbidden (too many)."""

        def work(ledger: Ledger) -> None:
            every = ledger.all(ApplicationCredential).values()
            mine = [one for one in every if one.user_id == credential.user_id]
            if any(one.name == credential.name for one in mine):
                raise Conflict(
                    "Conflict occurred attempting to store application_credential - Duplicate entry found "
                    f"with name {credential.name}."
                )
            if len(mine) >= MOST_CREDENTIALS:
                raise Forbidden(
                    "Unable to create additional application credentials, maximum of "
                    f"{MOST_CREDENTIALS} already exceeded for user."
                )
            if ledger.get(ApplicationCredential, credential.id) is not None:
                raise Conflict(
                    "Conflict occurred attempting to store application_credential - Duplicate entry found "
                    f"with ID {credential.id}."
                )
            ledger.put(credential)
            for rule in credential.access_rules or ():
                ledger.put(KeptRule(user_id=credential.user_id, rule=rule))

        await self.registry.change(work)

    async def remove_credential(self, ident: str) -> None:
        """Remove an application credential and its tokens. Raises NotFound."""
        if not await self.registry.change(lambda ledger: ledger.drop(ApplicationCredential, ident)):
            raise _missing("Application Credential", ident)

    def rules_of(self, user_id: str) -> list[NumberedRule]:
        """Give the access rules that a user has used."""
        return [one.rule for one in self.registry.all(KeptRule).values() if one.user_id == user_id]

    async def remove_rule(self, user_id: str, ident: str) -> None:
        """Remove an access rule. Raises NotFound, Forbidden while a credential has it."""

        def work(ledger: Ledger) -> None:
            kept = ledger.get(KeptRule, ident)
            if kept is None or kept.user_id != user_id:
                raise _missing("Access Rule", ident)
            every = ledger.all(ApplicationCredential).values()
            if any(rule.id == ident for one in every for rule in one.access_rules or ()):
                raise Forbidden(
                    "You are not authorized to perform the requested action: May not delete access rule in "
                    "use by application credential."
                )
            ledger.drop(KeptRule, ident)

        await self.registry.change(work)


def role_named(ident: str) -> str:
    """Give the name of a role by its id. Raises NotFound."""
    return _found(ROLE_NAMES.get(ident), "role", ident)


T = TypeVar("T")
N = TypeVar("N", User, Project)


def _found(record: T | None, what: str, ident: str) -> T:
    if record is None:
        raise _missing(what, ident)
    return record


def _missing(what: str, ident: str) -> NotFound:
    return NotFound(f"Could not find {what}: {ident}.")


def _named(records: Mapping[str, N], name: str) -> N | None:
    wanted = name.casefold()
    return next((one for one in records.values() if one.name.casefold() == wanted), None)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_LENGTH:
        raise BadRequest(
            f"Invalid input for field 'name': it is to be 1 to {NAME_LENGTH} characters, not only blanks."
        )


def _free(ledger: Ledger, one: User) -> None:
    other = _named(ledger.all(User), one.name)
    if other is not None and other.id != one.id:
        raise Conflict(
            f"Conflict occurred attempting to store user - Duplicate entry found with name {one.name} "
            f"at domain ID {DOMAIN_ID}."
        )


def _free_project(ledger: Ledger, one: Project) -> None:
    other = _named(ledger.all(Project), one.name)
    if other is not None and other.id != one.id:
        raise Conflict(
            "Conflict occurred attempting to store project - it is not permitted to have two projects with "
            f"either the same name or same id in the same domain: name is {one.name}, project id {one.id}."
        )


def _drop_of(ledger: Ledger, type_: type[D], field: str, ident: str) -> None:
    for key, one in ledger.all(type_).items():
        if getattr(one, field) == ident:
            ledger.drop(type_, key)
