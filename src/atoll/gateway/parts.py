"""What every family of routes needs of the gateway, built once at the start and passed down."""

from dataclasses import dataclass

from atoll.core.limiter import Limiter
from atoll.core.meanings import Meanings
from atoll.core.settings import Config
from atoll.gateway.alias_marks import AliasMarks
from atoll.gateway.aliases import Aliases
from atoll.gateway.audit import Audit
from atoll.gateway.built_in import LocalTokens
from atoll.gateway.call import Call
from atoll.gateway.delegation import Delegation
from atoll.gateway.equivalents import Equivalents
from atoll.gateway.forward import Forward
from atoll.gateway.inside import Inside
from atoll.gateway.locate import Locator
from atoll.gateway.operator import Operator
from atoll.gateway.outcomes import Outcomes
from atoll.gateway.placements import Placements
from atoll.gateway.reach import Reach
from atoll.gateway.site_building import SiteBuilder
from atoll.gateway.telemetry import Telemetry
from atoll.gateway.tokens import Tokens
from atoll.sites.health import Health
from atoll.sites.site import Endpoint, Site, Sites
from atoll.store import Locations, Registry, Store
from atoll.trust.run_secrets import RunSecrets
from atoll.trust.trust import Trust
from atoll.worker.actions import Actions
from atoll.worker.group import Group
from atoll.worker.worker import Worker


@dataclass(slots=True, kw_only=True)
class Parts:
    """The gateway's parts.

    `together`, `spread` and `follow` are weights, `body_limit` bytes.
    """

    sites: Sites
    reach: Reach
    forward: Forward
    locator: Locator
    locations: Locations
    outcomes: Outcomes
    store: Store
    placements: Placements
    limiter: Limiter
    equivalents: Equivalents
    aliases: Aliases
    marks: AliasMarks
    telemetry: Telemetry
    audit: Audit
    trust: Trust
    secrets: RunSecrets
    registry: Registry
    tokens: Tokens | LocalTokens
    health: Health
    builder: SiteBuilder
    worker: Worker
    group: Group | None
    actions: Actions
    operator: Operator
    delegation: Delegation
    inside: Inside
    config: Config
    body_limit: int
    page_limit: int
    together: float
    spread: float
    follow: float
    strict: bool
    public_url: str
    region: str

    def servers(self, call: Call) -> Meanings:
        """What ids of servers mean to a call, from its beginning to its end."""
        return self.aliases.now if call.servers is None else call.servers

    def endpoint(self, site: Site, call: Call) -> Endpoint:
        """The endpoint of the service called, as the caller uses it. Raises what `Reach.endpoint` raises."""
        return self.reach.endpoint(site, call)
