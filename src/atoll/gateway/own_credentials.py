"""How projects log in at clouds: /atoll/v1/credentials. What is secret comes in and never goes out."""

from typing import Annotated

from msgspec import Meta

from atoll.core.errors import Conflict, Forbidden, NotFound
from atoll.gateway.call import Caller
from atoll.gateway.own_route import Asked, In, NoBody, NoQuery, Out, Paging, Route, Who, page_of
from atoll.services.table import RANKS
from atoll.trust.login import Options
from atoll.trust.records import CredentialRecord
from atoll.trust.sealing import SecretsError
from atoll.trust.trust import API_TYPES, NewCredential

AuthValue = Annotated[str, Meta(max_length=8192)] | bool | int | list[str] | None


class CredentialAdd(In, frozen=True, kw_only=True):
    """A credential, as clouds.yaml has it: `auth_type` and `auth`, whose auth_url is that of the cloud."""

    cloud: Annotated[str, Meta(min_length=1, max_length=63)]
    project_id: Annotated[str, Meta(max_length=64, pattern=r"^[\x21-\x7e]*$")] = ""
    """The clients' project; default: the caller's."""
    admin: bool = False
    """Whether it is an administrator's at the cloud, for what administrators of Atoll ask."""
    admin_for_members: bool = False
    """Whether one that is an administrator's by its roles, and not marked so, is used for callers without an
    admin role too."""
    auth_type: Annotated[str, Meta(min_length=1, max_length=63)] = "v3applicationcredential"
    auth: Annotated[dict[Annotated[str, Meta(max_length=63)], AuthValue], Meta(max_length=64)]
    replace: bool = False
    """Whether it takes the place of the one that is there."""


class CredentialView(Out, frozen=True, kw_only=True):
    """A credential, without what is secret.

    `fault` says why nobody can be logged in with it, `warning` what whoever gave it should know.
    `site_project_id` and `site_user_id` are who one is with it at the cloud, `roles` those seen there: what a
    caller may do is decided by the caller's own roles. `checked_at` is in seconds since 1970.
    """

    id: str
    cloud: str
    project_id: str
    admin: bool
    admin_for_members: bool
    auth_type: str
    declared: bool
    owner: str
    site_project_id: str
    site_user_id: str
    roles: list[str]
    checked_at: float | None
    fault: str
    warning: str


class CredentialPage(Out, frozen=True, kw_only=True):
    """A page of the credentials."""

    credentials: list[CredentialView]
    next: str | None


class CredentialAnswer(Out, frozen=True, kw_only=True):
    """One credential."""

    credential: CredentialView


class CredentialPaging(Paging, frozen=True, kw_only=True):
    """A page of the credentials, of a project or at a cloud where one is named."""

    project_id: Annotated[str, Meta(max_length=64)] = ""
    cloud: Annotated[str, Meta(max_length=63)] = ""


async def list_credentials(asked: Asked[CredentialPaging, NoBody]) -> CredentialPage:
    """List credentials, by id."""
    query = asked.query
    wanted = {
        ident: one
        for ident, one in asked.parts.trust.credentials().items()
        if _may_see(asked.caller, one)
        and query.project_id in {"", one.project_id}
        and query.cloud in {"", one.cloud}
    }
    page, marker = page_of(wanted, query)
    return CredentialPage(credentials=[_view(one) for one in page], next=marker)


async def show_credential(asked: Asked[NoQuery, NoBody]) -> CredentialAnswer:
    """Show a credential."""
    return CredentialAnswer(credential=_view(_own(asked)))


async def add_credential(asked: Asked[NoQuery, CredentialAdd]) -> CredentialAnswer:
    """Log in with a credential and keep it, encrypted. It is used from then on."""
    body, caller = asked.body, asked.caller
    project_id = body.project_id or caller.project_id
    if not project_id:
        raise Forbidden("This token is of no project: name the one the credential is for.")
    if not caller.is_admin:
        _may_change(caller)
        if project_id != caller.project_id:
            raise Forbidden("Only administrators give credentials to other projects.")
        if body.admin:
            raise Forbidden("Only administrators give an administrator's credential.")
        if body.admin_for_members:
            raise Forbidden("Only administrators let members use an administrator's credential.")
        if body.auth_type not in API_TYPES:
            raise Forbidden(
                f"Only administrators give credentials of the type {body.auth_type}; others of the types "
                f"{', '.join(sorted(API_TYPES))}."
            )
    new = NewCredential(
        cloud=body.cloud,
        project_id=project_id,
        admin=body.admin,
        admin_for_members=body.admin_for_members,
        options=Options(auth_type=body.auth_type, auth=body.auth),
        owner=caller.user_id if project_id == caller.project_id else "",
    )
    try:
        added = await asked.parts.trust.add(new, replace=body.replace)
    except SecretsError as error:
        raise Conflict(f"Credentials cannot be kept: {error}.") from error
    return CredentialAnswer(credential=_view(added))


async def check_credential(asked: Asked[NoQuery, NoBody]) -> CredentialAnswer:
    """Log in anew with a credential; `fault` of the answer says how that went."""
    _may_change(asked.caller)
    return CredentialAnswer(credential=_view(await asked.parts.trust.check(_own(asked).id)))


async def remove_credential(asked: Asked[NoQuery, NoBody]) -> None:
    """Remove a credential. What was made with it stays where it is, unseen through Atoll."""
    _may_change(asked.caller)
    await asked.parts.trust.drop(_own(asked).id)


def _may_see(caller: Caller, one: CredentialRecord) -> bool:
    return caller.is_admin or (one.project_id == caller.project_id and not one.admin)


def _may_change(caller: Caller) -> None:
    if not caller.plain and not caller.system:
        raise Forbidden("A token with access rules is not for credentials.")
    if caller.rank < RANKS["member"]:
        raise Forbidden("Credentials are changed by those with the role member.")


def _own(asked: Asked[NoQuery, NoBody]) -> CredentialRecord:
    (ident,) = asked.names
    found = asked.parts.trust.credential(ident)
    if not _may_see(asked.caller, found):
        raise NotFound(f"There is no credential {ident}.", resource="credential", id=ident)
    return found


def _view(one: CredentialRecord) -> CredentialView:
    return CredentialView(
        roles=list(one.roles),
        **{name: getattr(one, name) for name in CredentialView.__struct_fields__ if name != "roles"},
    )


ROUTES = (
    Route(
        method="GET", path="/credentials", who=Who.OWN, handle=list_credentials, query=CredentialPaging,
        answer=CredentialPage,
    ),
    Route(
        method="POST", path="/credentials", who=Who.OWN, handle=add_credential, body=CredentialAdd,
        answer=CredentialAnswer, status=201,
    ),
    Route(
        method="GET", path="/credentials/{id}", who=Who.OWN, handle=show_credential, answer=CredentialAnswer
    ),
    Route(
        method="POST", path="/credentials/{id}/check", who=Who.OWN, handle=check_credential,
        answer=CredentialAnswer,
    ),
    Route(method="DELETE", path="/credentials/{id}", who=Who.OWN, handle=remove_credential),
)  # fmt: skip
