"""Where things are, as far as is on record: /atoll/v1/locations, /atoll/v1/counts."""

from typing import Annotated

from msgspec import Meta

from atoll.core.errors import Forbidden, NotFound
from atoll.gateway.own_route import Asked, In, NoBody, Out, Paging, Route, Who
from atoll.gateway.site_views import iso
from atoll.services.catalog import HOMES
from atoll.store import Location

Word = Annotated[str, Meta(max_length=64, pattern=r"^[^\x00-\x1f]*$")]


class LocationQuery(Paging, frozen=True, kw_only=True):
    """Which locations; none named: all that the caller may see."""

    site: Word = ""
    project_id: Word = ""
    resource_type: Word = ""
    deleted: bool = False
    """Also those whose site has said 404."""


class CountQuery(In, frozen=True, kw_only=True):
    """What is counted."""

    site: Word = ""
    project_id: Word = ""


class OfType(In, frozen=True, kw_only=True):
    """Which of the types that may have the id; "" for all."""

    resource_type: Word = ""


class LocationView(Out, frozen=True, kw_only=True):
    """Where a resource is."""

    resource_type: str
    id: str
    site: str
    project_id: str | None
    created_at: str | None
    deleted: bool
    """The site has said 404."""
    conflicting: list[str]
    """All sites that claim the id, where it is more than one."""


class LocationPage(Out, frozen=True, kw_only=True):
    """A page of the locations, by type and id."""

    locations: list[LocationView]
    next: str | None


class Locations(Out, frozen=True, kw_only=True):
    """The locations of one id: ids of two types may be equal."""

    locations: list[LocationView]


class Count(Out, frozen=True, kw_only=True):
    """How many of a type are on record at a site."""

    site: str
    resource_type: str
    count: int


class Counts(Out, frozen=True, kw_only=True):
    """What is on record, counted."""

    counts: list[Count]


async def list_locations(asked: Asked[LocationQuery, NoBody]) -> LocationPage:
    """List what is on record."""
    query = asked.query
    kind, _, ident = query.marker.partition("/")
    rows = await asked.parts.store.list_locations(
        site=query.site,
        project_id=_project(asked, query.project_id),
        resource_type=query.resource_type,
        deleted=query.deleted,
        after=(kind, ident),
        limit=query.limit + 1,
    )
    page, more = rows[: query.limit], len(rows) > query.limit
    return LocationPage(
        locations=[_view(one) for one in page],
        next=f"{page[-1].resource_type}/{page[-1].id}" if more else None,
    )


async def count_locations(asked: Asked[CountQuery, NoBody]) -> Counts:
    """Count what is on record, by site and type."""
    query = asked.query
    project = _project(asked, query.project_id)
    counts = await asked.parts.store.count_by_type(site=query.site, project_id=project)
    return Counts(
        counts=[Count(site=site, resource_type=kind, count=number) for (site, kind), number in counts.items()]
    )


async def show_location(asked: Asked[OfType, NoBody]) -> Locations:
    """Show where an id is.

    An empty answer: nothing is on record. The thing may exist, and is found when it is asked for.
    """
    return Locations(locations=[_view(one) for one in await _of(asked)])


async def forget_location(asked: Asked[OfType, NoBody]) -> None:
    """Forget where an id is: it is looked for at all sites when it is asked for the next time.

    Also what servers say by their metadata that they are the one of that id.
    """
    (ident,), locations = asked.names, asked.parts.locations
    recorded = {one.resource_type for one in await _of(asked)}
    # What passed by a moment ago is not on record yet, though it is known.
    known = [kind for kind in _kinds(asked) if kind in recorded or locations.cached(kind, ident)]
    forgotten = await asked.parts.aliases.forget(ident)
    if not known and not forgotten:
        raise NotFound(f"Nothing is on record of {ident}.", resource="location", id=ident)
    for kind in known:
        await locations.forget_one(kind, ident)


def _kinds(asked: Asked[OfType, NoBody]) -> list[str]:
    return [kind for kind in HOMES if asked.query.resource_type in {"", kind}]


async def _of(asked: Asked[OfType, NoBody]) -> list[Location]:
    (ident,) = asked.names
    found = [await asked.parts.store.locate(kind, ident) for kind in _kinds(asked)]
    rows = [one for one in found if one is not None]
    if asked.caller.is_admin:
        return rows
    own = [one for one in rows if one.project_id == asked.caller.project_id]
    if rows and not own:
        raise Forbidden("Only administrators see where other projects' resources are.")
    return own


def _project(asked: Asked[LocationQuery, NoBody] | Asked[CountQuery, NoBody], project_id: str) -> str:
    """Whose: "" for all, of administrators only."""
    caller = asked.caller
    if caller.is_admin:
        return project_id
    if project_id not in {"", caller.project_id} or not caller.project_id:
        raise Forbidden("Only administrators see where other projects' resources are.")
    return caller.project_id


def _view(one: Location) -> LocationView:
    return LocationView(
        resource_type=one.resource_type,
        id=one.id,
        site=one.site,
        project_id=one.project_id,
        created_at=None if one.created_at is None else iso(one.created_at),
        deleted=one.deleted,
        conflicting=list(one.conflicting),
    )


ROUTES = (
    Route(
        method="GET", path="/locations", who=Who.OWN, handle=list_locations, query=LocationQuery,
        answer=LocationPage,
    ),
    Route(method="GET", path="/counts", who=Who.OWN, handle=count_locations, query=CountQuery, answer=Counts),
    Route(
        method="GET", path="/locations/{id}", who=Who.OWN, handle=show_location, query=OfType,
        answer=Locations,
    ),
    Route(method="DELETE", path="/locations/{id}", who=Who.ADMIN, handle=forget_location, query=OfType),
)  # fmt: skip
