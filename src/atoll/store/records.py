"""What goes into the store and comes out of it."""

from typing import Literal

import msgspec

Source = Literal["create", "list", "search"]


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A resource seen at a site. Times are seconds since 1970."""

    resource_type: str
    id: str
    site: str
    project_id: str | None = None
    created_at: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the resource."""
        return self.resource_type, self.id


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a resource lives, or lived. It only routes: what may be seen there the site decides."""

    resource_type: str
    id: str
    site: str
    project_id: str | None = None
    created_at: float | None = None
    deleted: bool = False
    """The site has said 404. Nobody else needs to be asked; the site may still be, and knows best."""
    conflicting: tuple[str, ...] = ()
    """All the sites that claim the id, if it is more than one; the one recorded first comes first."""


class Made(msgspec.Struct, frozen=True):
    """Where and when something was made, in seconds since 1970."""

    site: str
    at: float


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """An id that several sites claim."""

    resource_type: str
    id: str
    sites: tuple[str, ...]
    """The recorded site first."""


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """Where each site stands after a page of a list."""

    markers: dict[str, str | None]
    """Per site the id of the last item taken from it."""
    earlier: dict[str, list[str | None]] = {}
    """Per site some ids before that one, oldest first, in case it is deleted meanwhile (None: the start)."""
    keys: dict[str, list[str | int | float | None]] = {}
    """Per site the sort keys that the last item taken from it counted by."""
    last: str | None = None
    """The site of the page's last item."""
    missing: dict[str, str] = {}
    """Sites that take no further part in the walk, with the reason."""
    seen: list[str] = []
    """Which equivalents have been shown."""


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows were no longer needed."""

    cursors: int
    tombstones: int
