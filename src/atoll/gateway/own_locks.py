"""What runs hold, who works on them, what they left suspect: /atoll/v1/locks, /workers, /suspects."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from atoll.core.errors import Forbidden, NotFound
from atoll.gateway.own_route import PAGE, Asked, In, NoBody, NoQuery, Out, Paging, Route, Who
from atoll.gateway.run_shown import moment
from atoll.store.run_records import LockRow, WorkerRow
from atoll.worker.group import Seen, apart

Path = Annotated[str, Meta(max_length=300, pattern=r"^[^\x00-\x1f]*$")]


class LockQuery(In, frozen=True, kw_only=True):
    """Which locks; none named: all that the caller may see."""

    path: Path = ""
    """At this path or below it."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = PAGE
    marker: Path = ""
    """What `next` of the page before said."""


class LockView(Out, frozen=True, kw_only=True):
    """A lock that a run has, or waits for.

    `mode`: W and R of the path itself, IW and IR of something below it.
    """

    path: str
    mode: str
    granted: bool
    run_id: str
    definition: str
    purpose: str
    project_id: str
    state: str
    since: str
    """When the run was accepted."""


class LockPage(Out, frozen=True, kw_only=True):
    """A page of the locks, by path."""

    locks: list[LockView]
    next: str | None


class WorkerView(Out, frozen=True, kw_only=True):
    """A worker. One that does not show life in `seconds_left` is taken for dead, and its runs are others'."""

    id: str
    about: str
    runs: int
    began_at: str
    seconds_left: float
    in_group: bool | None
    """Whether the coordinator has it as a member; null where none is configured, or it does not answer."""


class MemberView(Out, frozen=True, kw_only=True):
    """A member of the coordinator's group."""

    id: str
    about: str


class GroupView(Out, frozen=True, kw_only=True):
    """The group of workers as the coordinator has it. The database alone says who works on a run."""

    answers: bool
    reason: str
    """Why it does not answer."""
    not_in_database: list[MemberView]
    """Members that the database does not know, or holds for dead."""


class WorkerPage(Out, frozen=True, kw_only=True):
    """All workers. `group` is null where no coordinator is configured."""

    workers: list[WorkerView]
    group: GroupView | None


class SuspectView(Out, frozen=True, kw_only=True):
    """What a killed or dirty run touched: no run works on it until it was looked at."""

    resource: str
    run_id: str
    since: str


class SuspectPage(Out, frozen=True, kw_only=True):
    """A page of what is suspect, by its name."""

    suspects: list[SuspectView]
    next: str | None


async def list_locks(asked: Asked[LockQuery, NoBody]) -> LockPage:
    """List what runs have locked, and who waits for it, with what for."""
    query, caller = asked.query, asked.caller
    if not caller.is_admin and not caller.project_id:
        raise Forbidden("This token is of no project.")
    path, _, run_id = query.marker.rpartition("/")
    rows = await asked.parts.store.run_views.locks(
        project_id="" if caller.is_admin else caller.project_id,
        path=query.path,
        after=(path, run_id),
        limit=query.limit + 1,
    )
    page = rows[: query.limit]
    marker = f"{page[-1].path}/{page[-1].run_id}" if len(rows) > query.limit else None
    return LockPage(locks=[_lock(one) for one in page], next=marker)


async def list_workers(asked: Asked[NoQuery, NoBody]) -> WorkerPage:
    """List who works on runs."""
    workers, now = await asked.parts.store.run_views.workers()
    group = asked.parts.group
    seen = group.seen() if group is not None else Seen()
    members = {one.id for one in seen.members} if seen.members is not None else None
    return WorkerPage(
        workers=[
            WorkerView(
                id=one.id,
                about=one.about,
                runs=one.runs,
                began_at=moment(one.began_at),
                seconds_left=round(one.lease_until - now, 3),
                in_group=None if members is None else one.id in members,
            )
            for one in workers
        ],
        group=None if group is None else _group(seen, workers, now),
    )


async def list_suspects(asked: Asked[Paging, NoBody]) -> SuspectPage:
    """List what killed and dirty runs touched, and nobody has looked at since."""
    query = asked.query
    rows = await asked.parts.store.run_views.suspects(after=query.marker, limit=query.limit + 1)
    page = rows[: query.limit]
    return SuspectPage(
        suspects=[
            SuspectView(resource=one.resource, run_id=one.run_id, since=moment(one.since)) for one in page
        ],
        next=page[-1].resource if len(rows) > query.limit else None,
    )


async def clear_suspect(asked: Asked[NoQuery, NoBody]) -> None:
    """Take in that a suspect resource was looked at, and is as it should be: runs may work on it again."""
    (resource,) = asked.names
    if not await asked.parts.store.runs.cleared(resource):
        raise NotFound(f"{resource} is not suspect.", resource="suspect", id=resource)


def _group(seen: Seen, workers: Sequence[WorkerRow], now: float) -> GroupView:
    strangers = apart(seen, workers, now).not_in_database
    return GroupView(
        answers=seen.members is not None,
        reason=seen.reason,
        not_in_database=[MemberView(id=one.id, about=one.about) for one in strangers],
    )


def _lock(one: LockRow) -> LockView:
    return LockView(
        path=one.path,
        mode=one.mode,
        granted=one.granted,
        run_id=one.run_id,
        definition=one.definition,
        purpose=one.purpose,
        project_id=one.project_id,
        state=one.state.value,
        since=moment(one.created_at),
    )


ROUTES = (
    Route(method="GET", path="/locks", who=Who.OWN, handle=list_locks, query=LockQuery, answer=LockPage),
    Route(method="GET", path="/workers", who=Who.ADMIN, handle=list_workers, answer=WorkerPage),
    Route(
        method="GET", path="/suspects", who=Who.ADMIN, handle=list_suspects, query=Paging, answer=SuspectPage
    ),
    Route(method="DELETE", path="/suspects/{resource}", who=Who.ADMIN, handle=clear_suspect),
)  # fmt: skip
