"""Changing sites and zones: what is checked and written, inside the one change that may be under way.

Each function is the work of a `Registry.change`. What does not fit is refused with words that say what to do.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from atoll.core.config_checks import WITH_ZONES, site_faults
from atoll.core.errors import BadRequest, Conflict, NotFound
from atoll.core.settings import Config, Site
from atoll.inventory.inventory import Inventory, SiteEntry, ZoneEntry, inventory_of
from atoll.inventory.records import SiteNumberRecord, SiteRecord, SiteStateRecord, ZoneRecord
from atoll.store import Ledger

FIRST_NUMBER: Final = 4096
"""Numbers given here begin above those that a file gives by its order: a site added to the file fits."""
LAST_NUMBER: Final = 8191
"""The upper bits of an integer id hold no more."""


def revision_of(entry: SiteEntry | ZoneEntry) -> str:
    """What changes whenever the settings or the state of a site or zone do (16 hex digits)."""
    text = msgspec.json.encode(msgspec.to_builtins(entry, enc_hook=dict), order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16]


def add_site(config: Config, ledger: Ledger, site: SiteRecord, number: int | None) -> SiteRecord:
    """Record a site under a number of its own. Raises BadRequest, Conflict."""
    there = inventory_of(config, ledger)
    if site.name in there.sites or site.name in ledger.all(SiteRecord):
        raise Conflict(
            f"There is a site {site.name} already: choose another name, or change it with `atoll site set`.",
            resource="site",
            id=site.name,
        )
    zone = there.zones.get(site.name)
    if zone is not None:
        raise Conflict(
            f"The availability zone {site.name} is in the site {zone.settings.site}; a site of that name "
            "would get a zone of that name. Choose another name for the site.",
            resource="site",
            id=site.name,
        )
    _check_endpoints(there, site)
    site = msgspec.structs.replace(site, number=_number(there, ledger, site.name, number))
    ledger.put(SiteNumberRecord(number=site.number, name=site.name))
    ledger.put(site)
    ledger.drop(SiteStateRecord, site.name)
    return site


def set_site(config: Config, ledger: Ledger, site: SiteRecord, revision: str) -> None:
    """Write a changed site, if it still has the revision ("" for any).

    Raises BadRequest, Conflict, NotFound.
    """
    there = inventory_of(config, ledger)
    entry = own_site(there, site.name, "changed")
    _check_revision(entry, revision)
    _check_endpoints(there, site)
    ledger.put(site)


def remove_site(config: Config, ledger: Ledger, name: str) -> None:
    """Drop a site and its state. Raises Conflict while zones are in it, NotFound."""
    there = inventory_of(config, ledger)
    own_site(there, name, "removed")
    zones = [zone for zone, one in there.zones.items() if one.settings.site == name and not one.implied]
    if zones:
        raise Conflict(
            f"The zones {', '.join(zones)} are in the site {name}: remove them first, with `atoll zone "
            "remove`.",
            resource="site",
            id=name,
        )
    ledger.drop(SiteRecord, name)
    ledger.drop(SiteStateRecord, name)


def set_state(config: Config, ledger: Ledger, state: SiteStateRecord) -> None:
    """Give a site a state; one that it has already keeps its moment. Raises NotFound."""
    entry = known_site(inventory_of(config, ledger), state.name)
    if entry.state == state.state and entry.since is not None:
        state = msgspec.structs.replace(state, since=entry.since)
    ledger.put(state)


def add_zone(config: Config, ledger: Ledger, zone: ZoneRecord) -> None:
    """Record a zone. Raises BadRequest, Conflict, NotFound."""
    there = inventory_of(config, ledger)
    known = there.zones.get(zone.name)
    if (known is not None and not known.implied) or zone.name in ledger.all(ZoneRecord):
        raise Conflict(
            f"There is a zone {zone.name} already: change it with `atoll zone set`.",
            resource="zone",
            id=zone.name,
        )
    _check_zone(there, zone)
    ledger.put(zone)


def set_zone(config: Config, ledger: Ledger, zone: ZoneRecord, revision: str) -> None:
    """Write a changed zone, if it still has the revision ("" for any). Raises as `add_zone` does."""
    there = inventory_of(config, ledger)
    _check_revision(own_zone(there, zone.name, "changed"), revision)
    _check_zone(there, zone)
    ledger.put(zone)


def remove_zone(config: Config, ledger: Ledger, name: str) -> None:
    """Drop a zone. Raises Conflict, NotFound."""
    own_zone(inventory_of(config, ledger), name, "removed")
    ledger.drop(ZoneRecord, name)


def known_site(there: Inventory, name: str) -> SiteEntry:
    """A site of that name. Raises NotFound."""
    entry = there.sites.get(name)
    if entry is None:
        raise NotFound(
            f"There is no site {name}: there are {', '.join(there.sites)}.", resource="site", id=name
        )
    return entry


def own_site(there: Inventory, name: str, done: str) -> SiteEntry:
    """A site that no file declares. Raises Conflict, NotFound."""
    entry = known_site(there, name)
    if entry.declared:
        raise Conflict(
            f"The configuration file declares the site {name}, so it can only be {done} there, in "
            f"[sites.{name}]. Its state can be set here.",
            resource="site",
            id=name,
        )
    return entry


def known_zone(there: Inventory, name: str) -> ZoneEntry:
    """A zone of that name. Raises NotFound."""
    entry = there.zones.get(name)
    if entry is None:
        raise NotFound(
            f"There is no zone {name}: there are {', '.join(sorted(there.zones))}.", resource="zone", id=name
        )
    return entry


def own_zone(there: Inventory, name: str, done: str) -> ZoneEntry:
    """A zone that was recorded. Raises Conflict, NotFound."""
    entry = known_zone(there, name)
    if entry.declared:
        raise Conflict(
            f"The configuration file declares the zone {name}, so it can only be {done} there, in "
            f"[zones.{name}].",
            resource="zone",
            id=name,
        )
    if entry.implied:
        raise Conflict(
            f"The zone {name} is there because the site {name} has no other, and cannot be {done}: "
            "`atoll zone add` gives the site others.",
            resource="zone",
            id=name,
        )
    return entry


def _check_revision(entry: SiteEntry | ZoneEntry, revision: str) -> None:
    if revision and revision != revision_of(entry):
        raise Conflict(
            f"{entry.settings.name} was changed since revision {revision}: look at it again.",
            id=entry.settings.name,
        )


def _check_endpoints(there: Inventory, site: SiteRecord) -> None:
    settings = Site(name=site.name, region=site.region, endpoints=site.endpoints)
    faults = site_faults(site.name, settings)
    if faults:
        raise BadRequest("; ".join(str(one) for one in faults) + ".", resource="site", id=site.name)
    for name, other in there.sites.items():
        if name == site.name:
            continue
        for service, url in site.endpoints.items():
            if service != "identity" and _same(url, other.settings.endpoints.get(service, "")):
                raise Conflict(
                    f"{url} is the endpoint of {service} of the site {name} too: everything there would be "
                    "listed twice. A site is one region of one cloud.",
                    resource="site",
                    id=site.name,
                )


def _same(one: str, other: str) -> bool:
    return one.rstrip("/").lower() == other.rstrip("/").lower()


def _number(there: Inventory, ledger: Ledger, name: str, wanted: int | None) -> int:
    given: dict[int, str] = {one.number: one.name for one in ledger.all(SiteNumberRecord).values()}
    given |= {one.settings.number: other for other, one in there.sites.items()}
    before = [number for number, other in given.items() if other == name]
    if wanted is None:
        number = before[0] if before else max(FIRST_NUMBER - 1, *given, FIRST_NUMBER - 1) + 1
        if number > LAST_NUMBER:
            raise Conflict(f"All numbers up to {LAST_NUMBER} were given: choose a free one with `number`.")
        return number
    if given.get(wanted, name) != name:
        raise Conflict(
            f"The number {wanted} is or was that of the site {given[wanted]}, and ids that clients keep may "
            "hold it: choose another, or none and get one.",
            resource="site",
            id=name,
        )
    return wanted


def _check_zone(there: Inventory, zone: ZoneRecord) -> None:
    if zone.site not in there.sites:
        raise BadRequest(
            f"There is no site {zone.site} to map the zone {zone.name} to: there are "
            f"{', '.join(there.sites)}.",
            resource="zone",
            id=zone.name,
        )
    if isinstance(zone.zone, Mapping) and (odd := sorted(set(zone.zone) - WITH_ZONES)):
        known = ", ".join(sorted(WITH_ZONES))
        raise BadRequest(f"{', '.join(odd)} has no zones: {known} have.", resource="zone", id=zone.name)
    for name, other in there.zones.items():
        settings = other.settings
        if name == zone.name:
            # Only the implied zone of a site can still be there: of that site it is made explicit.
            if settings.site != zone.site and other.implied:
                raise Conflict(
                    f"The zone {name} is that of the site {name}, which has no other: give that one too.",
                    resource="zone",
                    id=name,
                )
        elif not other.implied and (settings.site, settings.zone) == (zone.site, zone.zone):
            raise Conflict(
                f"The zone {name} is the same zone of {zone.site}: a zone has one name.",
                resource="zone",
                id=zone.name,
            )
