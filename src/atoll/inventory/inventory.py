"""The sites and zones there are now: the configuration's and the recorded ones, each with its state."""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from atoll.core.settings import Config, Site, Zone
from atoll.inventory.records import SiteRecord, SiteStateRecord, State, ZoneRecord
from atoll.store import Document

D = TypeVar("D", bound=Document)


class Records(Protocol):
    """Where documents are read: a registry, or the ledger of a change."""

    def all(self, type_: type[D]) -> Mapping[str, D]:
        """Every document of a kind, by key."""


class SiteEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A site as it is set up. `since` is in seconds since 1970, None where the file gives the state."""

    settings: Site
    declared: bool
    """Whether the configuration declares it: then nothing but its state can be changed here."""
    state: State
    reason: str = ""
    since: float | None = None
    by: str = ""


class ZoneEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A zone as it is set up. `implied`: the one that a site without any gets, of its own name."""

    settings: Zone
    declared: bool = False
    implied: bool = False


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """Sites in their order, zones, both by name; and what is recorded but cannot be used, with the reason."""

    sites: Mapping[str, SiteEntry]
    zones: Mapping[str, ZoneEntry]
    unused: Mapping[str, str]


def inventory_of(config: Config, records: Records) -> Inventory:
    """Put together what the configuration declares and what is recorded; where both do, the file counts."""
    unused: dict[str, str] = {}
    sites: dict[str, Site] = dict(config.sites)
    numbers = {site.number: name for name, site in sites.items()}
    for record in sorted(records.all(SiteRecord).values(), key=lambda one: one.number):
        taken = numbers.get(record.number, record.name)
        if record.name in config.sites:
            unused[f"site {record.name}"] = "the configuration file declares a site of this name"
        elif taken != record.name:
            unused[f"site {record.name}"] = (
                f"its number {record.number} is that of {taken} in the configuration file: give that one "
                "another"
            )
        else:
            sites[record.name] = _site(record)
    states = records.all(SiteStateRecord)
    entries = {name: _entry(config, site, states.get(name)) for name, site in sites.items()}
    zones = _zones(config, entries, records.all(ZoneRecord).values(), unused)
    return Inventory(sites=entries, zones=zones, unused=unused)


def _site(record: SiteRecord) -> Site:
    return Site(
        name=record.name,
        region=record.region,
        number=record.number,
        cloud=record.cloud or "",
        endpoints=record.endpoints,
        backup_store=record.backup_store,
    )


def _entry(config: Config, site: Site, given: SiteStateRecord | None) -> SiteEntry:
    declared = site.name in config.sites
    if given is None:
        return SiteEntry(settings=site, declared=declared, state=site.state)
    return SiteEntry(
        settings=site,
        declared=declared,
        state=given.state,
        reason=given.reason,
        since=given.since,
        by=given.by,
    )


def _zones(
    config: Config,
    sites: Mapping[str, SiteEntry],
    records: Iterable[ZoneRecord],
    unused: dict[str, str],
) -> dict[str, ZoneEntry]:
    zones = {name: ZoneEntry(settings=zone, declared=True) for name, zone in config.zones.items()}
    for record in records:
        if record.name in zones:
            unused[f"zone {record.name}"] = "the configuration file declares a zone of this name"
        elif record.site not in sites:
            unused[f"zone {record.name}"] = f"there is no site {record.site}"
        else:
            settings = Zone(name=record.name, site=record.site, zone=record.zone)
            zones[record.name] = ZoneEntry(settings=settings)
    mapped = {one.settings.site for one in zones.values()}
    for name in sites:
        if name not in mapped and name not in zones:
            zones[name] = ZoneEntry(settings=Zone(name=name, site=name), implied=True)
    return zones
