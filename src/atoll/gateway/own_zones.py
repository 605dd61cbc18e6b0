"""The availability zones: /atoll/v1/zones."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from atoll.gateway.own_route import Asked, In, NoBody, NoQuery, Out, Paging, Route, Who, page_of
from atoll.gateway.site_views import ZoneView, there, zone_view
from atoll.inventory import changes
from atoll.inventory.records import ZoneRecord

ZoneName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f:/]*$")]
SiteZone = ZoneName | dict[str, ZoneName] | None


class ZoneAdd(In, frozen=True, kw_only=True):
    """A zone: `zone` is the zone of the site, of all services or of each; without it the site decides."""

    name: ZoneName
    site: Annotated[str, Meta(min_length=1, max_length=63)]
    zone: SiteZone = None


class ZoneSet(In, frozen=True, kw_only=True):
    """What of a zone is to be changed; with `revision` only if it still has that."""

    site: Annotated[str, Meta(min_length=1, max_length=63)] | UnsetType = UNSET
    zone: SiteZone | UnsetType = UNSET
    revision: Annotated[str, Meta(max_length=64)] = ""


class ZonePage(Out, frozen=True, kw_only=True):
    """A page of the zones."""

    zones: list[ZoneView]
    next: str | None


class ZoneAnswer(Out, frozen=True, kw_only=True):
    """One zone."""

    zone: ZoneView


async def list_zones(asked: Asked[Paging, NoBody]) -> ZonePage:
    """List the zones, by name."""
    inventory = there(asked.parts)
    views = {name: zone_view(name, one, inventory) for name, one in inventory.zones.items()}
    page, marker = page_of(views, asked.query)
    return ZonePage(zones=page, next=marker)


async def show_zone(asked: Asked[NoQuery, NoBody]) -> ZoneAnswer:
    """Show a zone."""
    inventory = there(asked.parts)
    (name,) = asked.names
    return ZoneAnswer(zone=zone_view(name, changes.known_zone(inventory, name), inventory))


async def add_zone(asked: Asked[NoQuery, ZoneAdd]) -> ZoneAnswer:
    """Add a zone. What is made from now on finds it; what is there already is shown under it."""
    body = asked.body
    record = ZoneRecord(name=body.name, site=body.site, zone=body.zone)
    await asked.parts.registry.change(lambda ledger: changes.add_zone(asked.parts.config, ledger, record))
    return _answer(asked, record.name)


async def set_zone(asked: Asked[NoQuery, ZoneSet]) -> ZoneAnswer:
    """Change what a zone stands for."""
    (name,) = asked.names
    body = asked.body
    entry = changes.own_zone(there(asked.parts), name, "changed")
    record = ZoneRecord(
        name=name,
        site=entry.settings.site if body.site is UNSET else body.site,
        zone=msgspec.convert(entry.settings.zone, SiteZone) if body.zone is UNSET else body.zone,
    )
    revision = body.revision or changes.revision_of(entry)
    await asked.parts.registry.change(
        lambda ledger: changes.set_zone(asked.parts.config, ledger, record, revision)
    )
    return _answer(asked, name)


async def remove_zone(asked: Asked[NoQuery, NoBody]) -> None:
    """Remove a zone. What was made in it stays where it is, and is shown in the zone of its site."""
    (name,) = asked.names
    await asked.parts.registry.change(lambda ledger: changes.remove_zone(asked.parts.config, ledger, name))


def _answer(asked: Asked[NoQuery, ZoneAdd] | Asked[NoQuery, ZoneSet], name: str) -> ZoneAnswer:
    inventory = there(asked.parts)
    return ZoneAnswer(zone=zone_view(name, changes.known_zone(inventory, name), inventory))


ROUTES = (
    Route(method="GET", path="/zones", who=Who.ANYONE, handle=list_zones, query=Paging, answer=ZonePage),
    Route(
        method="POST", path="/zones", who=Who.ADMIN, handle=add_zone, body=ZoneAdd, answer=ZoneAnswer,
        status=201,
    ),
    Route(method="GET", path="/zones/{name}", who=Who.ANYONE, handle=show_zone, answer=ZoneAnswer),
    Route(
        method="PATCH", path="/zones/{name}", who=Who.ADMIN, handle=set_zone, body=ZoneSet, answer=ZoneAnswer
    ),
    Route(method="DELETE", path="/zones/{name}", who=Who.ADMIN, handle=remove_zone),
)  # fmt: skip
