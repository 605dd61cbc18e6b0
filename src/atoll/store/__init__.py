"""The only package that talks SQL: where resources live, and where lists over sites stand.

Nothing here is the truth about a resource; that is with the sites.
"""

from atoll.store.database import StoreError
from atoll.store.locations import Locations, LocationStore
from atoll.store.records import Conflict, Cursor, Location, Pruned, Sighting, Source
from atoll.store.store import Store, open_store

__all__ = [
    "Conflict",
    "Cursor",
    "Location",
    "LocationStore",
    "Locations",
    "Pruned",
    "Sighting",
    "Source",
    "Store",
    "StoreError",
    "open_store",
]
