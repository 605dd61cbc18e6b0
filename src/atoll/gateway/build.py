"""Making a gateway of a configuration: every part is made here, once, and handed to those that need it."""

import os
from functools import partial

from atoll.core.limiter import Limiter
from atoll.core.settings import Config
from atoll.gateway import probe_run
from atoll.gateway.alias_marks import AliasMarks
from atoll.gateway.aliases import Aliases
from atoll.gateway.app import App
from atoll.gateway.audit import Audit
from atoll.gateway.built_in import LocalTokens, SealedKeys
from atoll.gateway.catalog import endpoint_url, endpoint_urls
from atoll.gateway.definition_table import DEFINITIONS
from atoll.gateway.delegation import Delegation, Person
from atoll.gateway.equivalents import Equivalents
from atoll.gateway.flavor_copy import FlavorCopy
from atoll.gateway.forward import Forward
from atoll.gateway.image_copy import ImageCopy
from atoll.gateway.inside import Inside
from atoll.gateway.locate import Locator
from atoll.gateway.operator import Operator
from atoll.gateway.outcomes import Outcomes
from atoll.gateway.parts import Parts
from atoll.gateway.placements import Placements
from atoll.gateway.reach import Reach
from atoll.gateway.secret_files import secret_text
from atoll.gateway.server_bringing import cancelling
from atoll.gateway.server_create import ServerCreate
from atoll.gateway.server_move import ServerMove
from atoll.gateway.server_recovery import ServerRecovery
from atoll.gateway.site_building import SiteBuilder
from atoll.gateway.site_wakes import SiteWakes
from atoll.gateway.tallies import Tallies
from atoll.gateway.telemetry import Telemetry
from atoll.gateway.tokens import Tokens
from atoll.gateway.transaction import Transaction
from atoll.gateway.volume_backup import VolumeBackup
from atoll.gateway.volume_copy import VolumeCopy
from atoll.identity.service import Identity
from atoll.inventory.inventory import inventory_of
from atoll.inventory.records import KINDS, SiteSeenRecord
from atoll.same.records import SameRecord
from atoll.sites.health import Health
from atoll.sites.pool import Watch
from atoll.sites.site import Sites
from atoll.store import Locations, Registry, Store
from atoll.trust.records import certificates_of
from atoll.trust.run_secrets import RunSecrets
from atoll.trust.sealing import Sealer, read_key
from atoll.trust.service_user import ServiceUser
from atoll.trust.trust import Trust
from atoll.worker.actions import Actions
from atoll.worker.group import Group
from atoll.worker.worker import Settings as WorkerSettings
from atoll.worker.worker import Worker


def build(
    config: Config, store: Store, registry: Registry, tallies: Tallies | None = None
) -> tuple[App, Parts, Watch]:
    """A gateway for a configuration and what is set up in the store; needs a running event loop."""
    watch = Watch()
    locations = Locations(store)
    builder = SiteBuilder(
        config,
        watch,
        partial(endpoint_url, config.gateway.public_url),
        partial(certificates_of, config, registry),
    )
    sites = builder.build(inventory_of(config, registry))
    # Before all that follows from the sites: it is told of changes in this order.
    registry.on_change(KINDS, lambda: builder.refresh(sites, inventory_of(config, registry)))
    health = Health(sites, SiteWakes(sites, store.runs).look)
    registry.on_change(KINDS, health.look)
    service_user = ServiceUser(config)
    tokens = _tokens(config, registry, builder, sites, service_user)
    trust = Trust(
        config,
        registry,
        told=lambda cloud, reason: _trouble(sites, cloud, reason),
        disowned=tokens.forget,
    )
    telemetry = Telemetry(config.gateway.access_log, sites=sites, tallies=tallies)
    forward = Forward(telemetry, body_limit=config.limits.body_bytes)
    limiter = Limiter(
        config.limits.fan_out_per_second,
        config.limits.fan_out_burst,
        "This project asks all sites too often.",
    )
    reach = Reach(sites, trust.grants, trust.federation.settle, trust.federation.why_not)
    aliases = Aliases(store.aliases, locations)
    equivalents = Equivalents(registry, sites, reach, forward, locations, aliases, _configured(config))
    locator = Locator(sites, reach, forward, locations, limiter, equivalents)
    operator = Operator(sites, reach, forward, service_user)
    delegation = Delegation(tokens, forward, service_user)
    inside, run_secrets = Inside(delegation), RunSecrets(_keys(config), config.store.url)
    actions = _actions(operator, Person(sites, reach, forward, delegation), inside, aliases, store)
    parts = Parts(
        sites=sites,
        reach=reach,
        forward=forward,
        locator=locator,
        locations=locations,
        outcomes=Outcomes(forward, reach, locator, locations, seconds=config.limits.outcome_seconds),
        store=store,
        placements=Placements(store),
        limiter=limiter,
        equivalents=equivalents,
        aliases=aliases,
        marks=AliasMarks(aliases, locator),
        telemetry=telemetry,
        audit=Audit(
            config.audit,
            observer=config.gateway.region,
            secret=config.audit.webhook_secret,
            private=config.limits.private_addresses,
            missed=lambda events: telemetry.count("audit_missed", events=events),
        ),
        trust=trust,
        secrets=run_secrets,
        registry=registry,
        tokens=tokens,
        health=health,
        builder=builder,
        worker=Worker(
            store.runs,
            actions.by_name,
            WorkerSettings(lease=config.runs.lease_seconds, runs=config.runs.at_once),
            ended=delegation.ended,
            secrets=run_secrets,
        ),
        group=_group(config),
        actions=actions,
        operator=operator,
        delegation=delegation,
        inside=inside,
        config=config,
        body_limit=config.limits.body_bytes,
        page_limit=config.limits.page_limit,
        together=config.placement.together,
        spread=config.placement.spread,
        follow=config.placement.follow,
        strict=config.gateway.partial == "strict",
        public_url=config.gateway.public_url,
        region=config.gateway.region,
    )
    app = App(parts, deadline_seconds=config.limits.deadline_seconds)
    inside.answering = app.answer
    aliases.on_delete(cancelling(parts))
    registry.on_change(KINDS, app.serve_what_is_there)
    registry.on_change(KINDS, locator.sites_changed)
    registry.on_change((*KINDS, SiteSeenRecord), partial(_count_findings, sites, registry))
    _count_findings(sites, registry)
    return app, parts, watch


def _keys(config: Config) -> list[str]:
    return [read_key(one, os.environ) for one in config.secrets.key]


def _group(config: Config) -> Group | None:
    """The group that workers are members of, where a coordinator is configured."""
    if not config.runs.coordination_url:
        return None
    return Group(config.runs.coordination_group, partial(secret_text, config.runs.coordination_url))


def _actions(operator: Operator, person: Person, inside: Inside, aliases: Aliases, store: Store) -> Actions:
    """What the steps of runs do."""
    actions = Actions()
    actions.add(
        [
            *probe_run.actions(),
            *ImageCopy(operator).actions(),
            *FlavorCopy(operator).actions(),
            *VolumeCopy(person.asker).actions(),
            *VolumeBackup(person.asker, operator).actions(),
            *Transaction(inside).actions(),
            *ServerCreate(inside, person, aliases).actions(),
            *ServerMove(person.asker, aliases).actions(),
            *ServerRecovery(person.asker, store.recovery_points, aliases).actions(),
        ]
    )
    DEFINITIONS.check(actions.by_name)
    return actions


def _tokens(
    config: Config, registry: Registry, builder: SiteBuilder, sites: Sites, own: ServiceUser
) -> Tokens | LocalTokens:
    """Who knows the callers: the Keystone that is there, or the built-in identity."""
    cache_seconds = config.identity.token_cache_seconds
    admin_roles = frozenset(config.gateway.admin_roles)
    if config.identity.mode == "keystone":
        endpoint = builder.endpoint("identity", "identity", config.identity.auth_url, declared=True)
        return Tokens(
            endpoint,
            cache_seconds=cache_seconds,
            admin_roles=admin_roles,
            own=own if own.configured else None,
        )
    keys = _keys(config)
    identity = Identity(
        registry,
        region=config.gateway.region,
        endpoints=lambda: endpoint_urls(config.gateway.public_url, sites),
        token_seconds=config.identity.token_seconds,
        sealing=SealedKeys(Sealer(keys)) if keys else None,
    )
    return LocalTokens(identity, cache_seconds=cache_seconds, admin_roles=admin_roles)


def _count_findings(sites: Sites, registry: Registry) -> None:
    seen = registry.all(SiteSeenRecord)
    for site in sites:
        site.findings = len(seen[site.name].findings) if site.name in seen else 0


def _trouble(sites: Sites, cloud: str, reason: str) -> None:
    """Have the sites of a cloud say why nobody can be logged in there; "" when that is over."""
    for site in sites:
        if site.cloud == cloud:
            site.trouble = f"nobody can be logged in at the cloud {cloud}: {reason}" if reason else ""


def _configured(config: Config) -> list[SameRecord]:
    """What the configuration says is one thing; the id clients see is the one at the first of its sites."""
    order = list(config.sites)
    return [
        SameRecord(
            resource=one.resource,
            id=one.ids[min(one.ids, key=order.index)],
            name=one.name,
            ids=one.ids,
            origin="configured",
        )
        for one in config.equivalents
    ]
