"""Making a gateway of a configuration: every part is made here, once, and handed to those that need it."""

from collections.abc import Callable, Mapping

import structlog

from atoll.core.rewrite import Links, Names
from atoll.core.settings import Config
from atoll.core.settings import Site as SiteSettings
from atoll.gateway.app import App
from atoll.gateway.equivalents import Equivalents, Group
from atoll.gateway.forward import Forward
from atoll.gateway.keystone import endpoint_url
from atoll.gateway.limiter import Limiter
from atoll.gateway.locate import Locator
from atoll.gateway.outcomes import Outcomes
from atoll.gateway.parts import Parts
from atoll.gateway.reach import Reach
from atoll.gateway.telemetry import Telemetry
from atoll.gateway.tokens import Tokens
from atoll.services.catalog import SERVICES
from atoll.sites.pool import Bounds, Origin, Watch
from atoll.sites.site import Endpoint, Learnt, Site, Sites, root_of
from atoll.store import Locations, Store

log = structlog.get_logger()


def build(config: Config, store: Store) -> tuple[App, Parts, Watch]:
    """A gateway for a configuration; needs a running event loop."""
    watch = Watch()
    locations = Locations(store)
    equivalents = _equivalents(config)
    sites = build_sites(config, watch)
    telemetry = Telemetry(config.gateway.access_log, sites=sites)
    forward = Forward(telemetry, body_limit=config.limits.body_bytes)
    limiter = Limiter(config.limits.fan_out_per_second, config.limits.fan_out_burst)
    identity = _endpoint(config, watch, "identity", "identity", config.identity.auth_url)
    reach = Reach(sites)
    locator = Locator(sites, reach, forward, locations, limiter, equivalents)
    parts = Parts(
        sites=sites,
        reach=reach,
        forward=forward,
        locator=locator,
        locations=locations,
        outcomes=Outcomes(forward, reach, locator, locations, seconds=config.limits.outcome_seconds),
        store=store,
        limiter=limiter,
        equivalents=equivalents,
        telemetry=telemetry,
        tokens=Tokens(
            identity,
            cache_seconds=config.identity.token_cache_seconds,
            admin_roles=frozenset(config.gateway.admin_roles),
        ),
        identity=identity,
        body_limit=config.limits.body_bytes,
        page_limit=config.limits.page_limit,
        together=config.placement.together,
        spread=config.placement.spread,
        strict=config.gateway.partial == "strict",
        public_url=config.gateway.public_url,
        region=config.gateway.region,
    )
    served = {name: SERVICES[name] for name in SERVICES if name == "identity" or sites.with_service(name)}
    return App(parts, served, deadline_seconds=config.limits.deadline_seconds), parts, watch


def _equivalents(config: Config) -> Equivalents:
    """The declared groups; the id clients see is the one at the first of its sites."""
    order = list(config.sites)
    return Equivalents(
        [Group(one.resource, one.ids[min(one.ids, key=order.index)], one.ids) for one in config.equivalents]
    )


def build_sites(config: Config, watch: Watch) -> Sites:
    """The sites of a configuration with their endpoints; needs a running event loop."""
    equivalents = _equivalents(config)
    by_name = {name: _site(config, watch, name, one) for name, one in config.sites.items()}
    for name, site in by_name.items():
        ids = equivalents.of_site(name)
        for endpoint in site.endpoints.values():
            endpoint.ids = ids
    return Sites(by_name, by_name[config.placement.default_site])


def _site(config: Config, watch: Watch, name: str, settings: SiteSettings) -> Site:
    zones = {zone: one for zone, one in config.zones.items() if one.site == name}
    endpoints = {
        service_type: _endpoint(
            config,
            watch,
            name,
            service_type,
            url,
            {zone: one.at(service_type) for zone, one in zones.items()},
        )
        for service_type, url in settings.endpoints.items()
        if service_type in SERVICES and service_type != "identity"
    }
    return Site(
        name=name,
        number=settings.number,
        region=settings.region,
        state=settings.state,
        endpoints=endpoints,
        zones={zone: one.zone for zone, one in zones.items()},
    )


def _endpoint(
    config: Config,
    watch: Watch,
    site: str,
    service_type: str,
    url: str,
    zones: Mapping[str, str | None] | None = None,
) -> Endpoint:
    limits = config.limits
    origin = Origin(
        url,
        site=site,
        watch=watch,
        bounds=Bounds(
            connections=limits.site_connections,
            queue=limits.site_queue,
            connect_seconds=limits.connect_seconds,
            stall_seconds=limits.deadline_seconds,
        ),
    )
    origin.on_breaker = _tell(service_type)
    root = root_of(url)
    ours = root_of(endpoint_url(config.gateway.public_url, service_type))
    path = root.partition("://")[2].partition("/")[2]
    return Endpoint(
        site=site,
        service_type=service_type,
        origin=origin,
        root=f"/{path}".encode() if path else b"",
        url=url,
        learnt=Learnt(links=Links(((root.encode(), ours.encode()),), objects=service_type == "identity")),
        zones=zones or {},
        names=_zone_names(service_type, zones or {}),
    )


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
