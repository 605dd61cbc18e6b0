"""Copies of servers at other sites: /atoll/v1/recovery-points."""

from typing import Annotated

import msgspec
from msgspec import Meta

from atoll.core.errors import Forbidden
from atoll.gateway.own_route import Asked, NoBody, Out, Paging, Route, Who
from atoll.gateway.run_shown import moment
from atoll.gateway.server_recovery import Content
from atoll.sites.site import Sites
from atoll.store import RecoveryPoint


class RecoveryQuery(Paging, frozen=True, kw_only=True):
    """Which recovery points; none named: all that the caller may see."""

    server: Annotated[str, Meta(max_length=64)] = ""
    """Of this server."""
    source: Annotated[str, Meta(max_length=63)] = ""
    """Of servers of this site."""
    target: Annotated[str, Meta(max_length=63)] = ""
    """Whose copies are at this site."""
    project_id: Annotated[str, Meta(max_length=64)] = ""


class RecoveryView(Out, frozen=True, kw_only=True):
    """A copy of a server as it was when the run of this id began.

    `server.evacuate` makes the server of it, if `source` does not answer.
    """

    id: str
    server: str
    name: str
    project_id: str
    source: str
    source_known: bool
    """False where that site was removed from Atoll."""
    target: str
    """The site that has the copies."""
    target_known: bool
    """False where that site was removed: the copies are there, and Atoll can neither use nor delete them."""
    image: str | None
    """The copy of the server's own disk, if it has one."""
    volumes: list[str]
    """The copies of its volumes, the one that it boots from first."""
    size_bytes: int | None
    """What the copies take; null where that is not known."""
    made_at: str
    used_by: str | None
    """The run that makes the server of it, or deletes it."""


class RecoveryPage(Out, frozen=True, kw_only=True):
    """A page of recovery points, by id: the oldest first."""

    recovery_points: list[RecoveryView]
    next: str | None


async def list_points(asked: Asked[RecoveryQuery, NoBody]) -> RecoveryPage:
    """List copies of servers: the project's, for administrators those of all."""
    query, caller = asked.query, asked.caller
    if not caller.is_admin and not caller.project_id:
        raise Forbidden("This token is of no project.")
    if not caller.is_admin and query.project_id not in {"", caller.project_id}:
        raise Forbidden("Only administrators see the recovery points of other projects.")
    rows = await asked.parts.store.recovery_points.page(
        (query.project_id or None) if caller.is_admin else caller.project_id,
        server=query.server.lower(),
        source=query.source,
        target=query.target,
        after=query.marker,
        limit=query.limit + 1,
    )
    page = rows[: query.limit]
    return RecoveryPage(
        recovery_points=[_view(one, asked.parts.sites) for one in page],
        next=page[-1].id if len(rows) > query.limit else None,
    )


def _view(one: RecoveryPoint, sites: Sites) -> RecoveryView:
    content = msgspec.json.decode(one.content, type=Content)
    return RecoveryView(
        id=one.id,
        server=one.server,
        name=str(content.body.get("name", "")),
        project_id=one.project_id,
        source=one.source,
        source_known=one.source in sites.by_name,
        target=one.target,
        target_known=one.target in sites.by_name,
        image=content.image,
        volumes=[str(disk.volume) for disk in content.disks],
        size_bytes=content.size_bytes,
        made_at=moment(one.made_at),
        used_by=one.claimed_by,
    )


ROUTES = (
    Route(
        method="GET", path="/recovery-points", who=Who.OWN, handle=list_points, query=RecoveryQuery,
        answer=RecoveryPage,
    ),
)  # fmt: skip
