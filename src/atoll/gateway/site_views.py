"""Sites and zones as Atoll's own API shows them."""

import asyncio
import time
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Literal

from atoll.gateway.own_route import Out
from atoll.gateway.parts import Parts
from atoll.inventory.changes import revision_of
from atoll.inventory.inventory import Inventory, ZoneEntry, inventory_of
from atoll.inventory.records import Capacity, Finding, SiteSeenRecord
from atoll.sites.site import Endpoint, Site, State

Declared = Literal["file", "api", "implied"]
Health = Literal["up", "partly", "unsteady", "away", "unknown"]


class EndpointView(Out, frozen=True, kw_only=True):
    """A service of a site. `health` as of the gateway that answers; `since` is when it came or went last."""

    url: str
    health: Health
    healthy: bool
    """Whether it is asked at all: all but `away`."""
    reason: str
    since: str
    versions: list[str] | None
    """The least and the newest microversion, None where they are not known (or the service has none)."""
    contradiction: str
    """What the site said of its versions that its answers disprove."""
    extensions: list[str] | None
    """None until a check has read them."""


class FullView(Out, frozen=True, kw_only=True):
    """A create for which there was no room."""

    at: str
    text: str


class SiteView(Out, frozen=True, kw_only=True):
    """A site. `state`, `reason`, `since` and `by` are the operator's; `health` is seen."""

    name: str
    number: int
    region: str
    cloud: str | None
    backup_store: str
    """Sites of one name can read each other's backups; "": nobody said so."""
    declared: Declared
    state: State
    reason: str
    since: str | None
    by: str
    health: Health
    trouble: str
    """Why nobody can be logged in there."""
    zones: list[str]
    endpoints: dict[str, EndpointView]
    findings: list[Finding]
    """What the last check found that is not as it is set up."""
    checked_at: str | None
    capacity: Capacity | None
    """None is unknown: only an administrator's credential can ask for it, in a check."""
    last_full: FullView | None
    revision: str


class ZoneView(Out, frozen=True, kw_only=True):
    """An availability zone: the site it is in, and the zone of that site, of all services or of each."""

    name: str
    site: str
    zone: str | dict[str, str] | None
    declared: Declared
    site_state: State
    revision: str


def there(parts: Parts) -> Inventory:
    """What is set up, as this gateway knows it."""
    return inventory_of(parts.config, parts.registry)


def site_view(parts: Parts, site: Site, inventory: Inventory) -> SiteView:
    """One site."""
    entry = inventory.sites[site.name]
    seen = parts.registry.get(SiteSeenRecord, site.name)
    extensions = seen.extensions if seen is not None else {}
    endpoints = {name: _endpoint(one, extensions.get(name)) for name, one in site.endpoints.items()}
    return SiteView(
        name=site.name,
        number=site.number,
        region=site.region,
        cloud=site.cloud,
        backup_store=site.backup_store,
        declared="file" if entry.declared else "api",
        state=site.state,
        reason=site.reason,
        since=None if site.since is None else iso(site.since),
        by=site.by,
        health=worst({one.health for one in endpoints.values()}),
        trouble=site.trouble,
        zones=sorted(site.zones),
        endpoints=endpoints,
        findings=[*_now(site), *(seen.findings if seen is not None else ())],
        checked_at=iso(seen.at) if seen is not None else None,
        capacity=seen.capacity if seen is not None else None,
        last_full=None if site.full is None else FullView(at=iso(site.full[0]), text=site.full[1]),
        revision=revision_of(entry),
    )


def zone_view(name: str, entry: ZoneEntry, inventory: Inventory) -> ZoneView:
    """One zone."""
    zone = entry.settings.zone
    return ZoneView(
        name=name,
        site=entry.settings.site,
        zone=dict(zone) if isinstance(zone, Mapping) else zone,
        declared="file" if entry.declared else "implied" if entry.implied else "api",
        site_state=inventory.sites[entry.settings.site].state,
        revision=revision_of(entry),
    )


def worst(healths: AbstractSet[Health]) -> Health:
    """How a site is, of how its services are."""
    if not healths or healths == {"unknown"}:
        return "unknown"
    if "away" in healths:
        return "away" if healths <= {"away", "unknown"} else "partly"
    return "unsteady" if "unsteady" in healths else "up"


def iso(seconds: float) -> str:
    """A moment as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _now(site: Site) -> list[Finding]:
    """What shows without a check."""
    said = {name: one.learnt.contradiction for name, one in site.endpoints.items()}
    return [Finding(what="version", text=f"{name}: {text}") for name, text in said.items() if text]


def _endpoint(endpoint: Endpoint, extensions: Collection[str] | None) -> EndpointView:
    origin = endpoint.origin
    now = asyncio.get_running_loop().time()
    health: Health = "up"
    reason = ""
    if not origin.breaker.closed:
        health, reason = "away", origin.breaker.reason
    elif not endpoint.learnt.looked_at:
        health = "unknown"
    elif origin.unsteady:
        health, reason = "unsteady", origin.unsteady
    return EndpointView(
        url=endpoint.url,
        health=health,
        healthy=origin.breaker.closed,
        reason=reason,
        since=iso(time.time() - (now - origin.steadiness.since)),
        versions=None
        if endpoint.versions is None
        else [f"{major}.{minor}" for major, minor in endpoint.versions],
        contradiction=endpoint.learnt.contradiction,
        extensions=None if extensions is None else sorted(extensions),
    )
