"""What every family of routes needs of the gateway, built once at the start and passed down."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

import structlog

from atoll.gateway.call import Call
from atoll.gateway.equivalents import Equivalents
from atoll.gateway.forward import Forward
from atoll.gateway.limiter import Limiter
from atoll.gateway.locate import Locator
from atoll.gateway.outcomes import Outcomes
from atoll.gateway.reach import Reach
from atoll.gateway.telemetry import Telemetry
from atoll.gateway.tokens import Tokens
from atoll.sites.site import Endpoint, Site, Sites
from atoll.store import Locations, Store, StoreError

# What a project has somewhere for its next things to join: not the images it may use anywhere.
PLACED_TYPES = (
    "server",
    "volume",
    "snapshot",
    "network",
    "subnet",
    "port",
    "router",
    "security_group",
    "floatingip",
)

# Projects whose home is remembered; of others it is the site where most of their things are.
HOMES = 100_000

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Parts:
    """The gateway's parts.

    `together` and `spread` are weights, `body_limit` bytes, `homes` the site each project was last placed at.
    """

    sites: Sites
    reach: Reach
    forward: Forward
    locator: Locator
    locations: Locations
    outcomes: Outcomes
    store: Store
    limiter: Limiter
    equivalents: Equivalents
    telemetry: Telemetry
    tokens: Tokens
    identity: Endpoint
    body_limit: int
    page_limit: int
    together: float
    spread: float
    strict: bool
    public_url: str
    region: str
    homes: OrderedDict[str, str] = field(default_factory=OrderedDict)

    def set_home(self, project: str, site: str) -> None:
        """Remember where a project's things go when nothing tells where."""
        self.homes[project] = site
        self.homes.move_to_end(project)
        if len(self.homes) > HOMES:
            self.homes.popitem(last=False)

    def endpoint(self, site: Site, call: Call) -> Endpoint:
        """The endpoint of the service called, as the caller uses it. Raises what `Reach.endpoint` raises."""
        return self.reach.endpoint(site, call)

    async def counts(self, project: str, resource: str) -> tuple[dict[str, int], dict[str, int]]:
        """How many things a project has at each site, and how much each site carries in all.

        The load is what there is of the type, and the servers made lately: projects begin with a network and
        go on with servers beside it, so it is the servers that have to be spread. Counts only weigh in a
        choice: without a store the choice goes on without them.
        """
        try:
            of_project = await self.store.count_by_site_of_project(project, PLACED_TYPES)
            load = Counter(await self.store.count_lately("server"))
            if resource != "server":
                load.update(await self.store.count_by_site(resource))
        except StoreError as error:
            log.warning("counts_not_read", reason=str(error)[:256])
            return {}, {}
        return of_project, load
