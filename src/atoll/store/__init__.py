"""The only package that talks SQL: where resources live, and where lists over sites stand.

Nothing here is the truth about a resource; that is with the sites. `Intent` is what operators and users have
set up, which is nowhere else.
"""

from atoll.store.aliases import Alias, Aliases
from atoll.store.database import StoreError
from atoll.store.intent import Changes, Document, Intent, Ledger
from atoll.store.leases import Held, Leases
from atoll.store.locations import Locations, LocationStore
from atoll.store.records import Conflict, Cursor, Location, Made, Pruned, Sighting, Source
from atoll.store.recovery_points import RecoveryPoint, RecoveryPoints
from atoll.store.registry import Registry
from atoll.store.sealed_values import SealedValues
from atoll.store.store import Store, open_store

__all__ = [
    "Alias",
    "Aliases",
    "Changes",
    "Conflict",
    "Cursor",
    "Document",
    "Held",
    "Intent",
    "Leases",
    "Ledger",
    "Location",
    "LocationStore",
    "Locations",
    "Made",
    "Pruned",
    "RecoveryPoint",
    "RecoveryPoints",
    "Registry",
    "SealedValues",
    "Sighting",
    "Source",
    "Store",
    "StoreError",
    "open_store",
]
