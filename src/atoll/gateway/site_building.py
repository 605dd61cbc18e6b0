"""Sites as the gateway uses them, made of what is set up, and made anew in place when that changes.

What has not changed stays as it is: connections, circuit breakers, what was learnt. Nothing here waits, so no
request sees half of a change.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from atoll.core.other_links import OtherLinks
from atoll.core.rewrite import Links, Names
from atoll.core.settings import Config
from atoll.inventory.inventory import Inventory, SiteEntry, ZoneEntry
from atoll.services.catalog import SERVICES
from atoll.sites.certificates import Certificates, CertificatesError, context_of, nobody
from atoll.sites.pool import Bounds, Origin, Watch
from atoll.sites.site import ByName, Endpoint, Learnt, Site, Sites, root_of

log = structlog.get_logger()

GONE_SECONDS: Final = 600.0
"""How long a removed site can still be named by requests that had begun: more than any deadline's double."""


class SiteBuilder:
    """Makes sites and endpoints; needs a running event loop. `ours` gives Atoll's own URL of a service."""

    def __init__(
        self,
        config: Config,
        watch: Watch,
        ours: Callable[[str], str],
        certificates: Callable[[str], Certificates] = lambda _: Certificates(),
    ) -> None:
        self._ours = ours
        self._certificates = certificates
        self._contexts: dict[Certificates, ssl.SSLContext] = {}
        self._config = config
        self._watch = watch
        self._told: Mapping[str, str] = {}

    def build(self, there: Inventory) -> Sites:
        """The sites there are."""
        sites = Sites(ByName({}), Site(name="", number=0, region=""))
        self.refresh(sites, there)
        sites.default = sites.by_name[self._config.placement.default_site]
        return sites

    def refresh(self, sites: Sites, there: Inventory) -> None:
        """Bring the sites up to date in place."""
        before = dict(sites.by_name)
        zones: dict[str, dict[str, ZoneEntry]] = {}
        for name, zone in there.zones.items():
            zones.setdefault(zone.settings.site, {})[name] = zone
        fresh = {}
        for name, entry in there.sites.items():
            site = before.get(name) or Site(name=name, number=entry.settings.number, region="")
            self._set(sites, site, entry, zones.get(name, {}))
            fresh[name] = site
        sites.by_name.clear()
        sites.by_name.update(fresh)
        for name, site in before.items():
            if name not in fresh:
                self._leave(sites, site)
        for name in fresh.keys() - before.keys():
            sites.by_name.gone.pop(name, None)
        if there.unused != self._told:
            self._told = there.unused
            for what, why in there.unused.items():
                log.error("record_not_used", record=what, reason=why)

    def _set(self, sites: Sites, site: Site, entry: SiteEntry, zones: Mapping[str, ZoneEntry]) -> None:
        settings = entry.settings
        site.number, site.region, site.cloud = settings.number, settings.region, settings.cloud or None
        if site.state != entry.state:
            log.info("site_state", site=site.name, state=entry.state, reason=entry.reason, by=entry.by)
        site.state, site.reason, site.since, site.by = entry.state, entry.reason, entry.since, entry.by
        site.zones = {name: one.settings.zone for name, one in zones.items()}
        site.backup_store = settings.backup_store
        before = site.endpoints
        site.endpoints = {}
        for service_type, url in settings.endpoints.items():
            if service_type in SERVICES and service_type != "identity":
                here = {name: one.settings.at(service_type) for name, one in zones.items()}
                known = before.get(service_type)
                endpoint = self._endpoint(
                    sites, site, service_type, url.rstrip("/"), here, known, declared=entry.declared
                )
                endpoint.origin.notice = site.notice
                site.endpoints[service_type] = endpoint
        kept = {one.origin for one in site.endpoints.values()}
        for endpoint in before.values():
            if endpoint.origin not in kept:
                endpoint.origin.retire()

    def _endpoint(
        self,
        sites: Sites,
        site: Site,
        service_type: str,
        url: str,
        zones: Mapping[str, str | None],
        known: Endpoint | None,
        *,
        declared: bool,
    ) -> Endpoint:
        cloud = site.cloud or ""
        if known is None or known.url != url or known.origin.tls is not self._tls(url, cloud):
            made = self.endpoint(site.name, service_type, url, zones, cloud=cloud, declared=declared)
            others = (one.endpoints.get(service_type) for one in sites)
            # Until it has said its versions it is taken to have those that all others have.
            made.learnt.latest = next((one.latest for one in others if one is not None), None)
            return made
        if dict(known.zones) == dict(zones):
            return known
        # Requests under way go on with the names they began with.
        return Endpoint(
            site=site.name,
            service_type=service_type,
            origin=known.origin,
            root=known.root,
            url=url,
            learnt=known.learnt,
            zones=zones,
            names=_zone_names(service_type, zones),
        )

    def endpoint(
        self,
        site: str,
        service_type: str,
        url: str,
        zones: Mapping[str, str | None] | None = None,
        *,
        cloud: str = "",
        declared: bool,
    ) -> Endpoint:
        """A new endpoint with connections of its own; one that is not `declared` by the file must be public.

        Its certificate is checked as its cloud's are ("": the clients' own).
        """
        limits = self._config.limits
        origin = Origin(
            url,
            site=site,
            watch=self._watch,
            bounds=Bounds(
                connections=limits.site_connections,
                queue=limits.site_queue,
                connect_seconds=limits.connect_seconds,
                stall_seconds=limits.deadline_seconds,
            ),
            tls=self._tls(url, cloud),
            public=not (declared or limits.private_addresses),
        )
        origin.on_breaker = _tell(service_type)
        root = root_of(url)
        ours = root_of(self._ours(service_type))
        path = root.partition("://")[2].partition("/")[2]
        images = f"{root_of(self._ours('image'))}/v2/images/".encode() if service_type == "compute" else b""
        base = ((root.encode(), ours.encode()),)
        links = Links(base, objects=service_type == "identity", images=images)
        if SERVICES[service_type].other:
            links = OtherLinks(
                base, root=f"/{path}".rstrip("/").encode() if service_type == "placement" else None
            )
        return Endpoint(
            site=site,
            service_type=service_type,
            origin=origin,
            root=f"/{path}".encode() if path else b"",
            url=url,
            learnt=Learnt(links=links),
            zones=zones or {},
            names=_zone_names(service_type, zones or {}),
        )

    def _tls(self, url: str, cloud: str) -> ssl.SSLContext | None:
        """How the certificate at a URL is checked: the same object as long as the cloud's settings are."""
        if not url.lower().startswith("https:"):
            return None
        said = self._certificates(cloud)
        context = self._contexts.get(said)
        if context is None:
            try:
                context = context_of(said)
            except CertificatesError as error:
                # The site is away, with a reason that is plain; the others go on.
                log.error("certificates_not_read", cloud=cloud, reason=str(error))  # noqa: TRY400 - it says all
                context = nobody()
            self._contexts[said] = context
        return context

    @staticmethod
    def _leave(sites: Sites, site: Site) -> None:
        gone = sites.by_name.gone
        gone[site.name] = site
        for endpoint in site.endpoints.values():
            endpoint.origin.retire()

        def forget() -> None:
            if gone.get(site.name) is site:
                del gone[site.name]

        asyncio.get_running_loop().call_later(GONE_SECONDS, forget)
        log.info("site_removed", site=site.name)


def _zone_names(service_type: str, zones: Mapping[str, str | None]) -> tuple[Names, ...]:
    """How a site's zones are named outwards: by the operator's names, the rest by the site's zone for all."""
    service = SERVICES[service_type]
    keys = service.zone_keys
    if not keys or not zones:
        return ()
    named = {here: zone for zone, here in zones.items() if here is not None}
    other = next((zone for zone, here in zones.items() if here is None), None)
    return (Names(keys, named, other, service.zones_filled),)


def _tell(service_type: str) -> Callable[[str, bool, str], None]:
    def tell(site: str, up: bool, reason: str) -> None:
        if up:
            log.info("site_up", site=site, service=service_type)
        else:
            log.warning("site_down", site=site, service=service_type, reason=reason[:256])

    return tell
