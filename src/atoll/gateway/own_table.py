"""Every route of Atoll's own API, below /atoll/v1. A noun adds its lines here: one import, one name."""

from typing import Final

from atoll.gateway import (
    own_clouds,
    own_credentials,
    own_definitions,
    own_locations,
    own_locks,
    own_recovery,
    own_runs,
    own_same,
    own_sites,
    own_transactions,
    own_zones,
)
from atoll.gateway.own_route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *own_sites.ROUTES,
    *own_zones.ROUTES,
    *own_locations.ROUTES,
    *own_same.ROUTES,
    *own_clouds.ROUTES,
    *own_credentials.ROUTES,
    *own_definitions.ROUTES,
    *own_runs.ROUTES,
    *own_transactions.ROUTES,
    *own_locks.ROUTES,
    *own_recovery.ROUTES,
)
