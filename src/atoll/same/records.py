"""What is kept of a thing that is one to users although sites have it under ids of their own."""

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import msgspec

from atoll.store import Document

PUBLIC: Final = frozenset({"", "public", "community"})
"""Scopes that every caller is in."""


class Foreign(msgspec.Struct, frozen=True):
    """Something else that a site has under an id of a thing: where, the id, who sees what it is there."""

    site: str
    id: str
    scope: str


class SameRecord(Document, frozen=True, kw_only=True):
    """One thing. `id` is what clients see and never changes; `ids` is the id at each site that has it.

    `scope` says who sees it as one: "" for all, `public` and `community` for images, `project:ID`, `user:ID`.
    `content` tells equal things (found ones only) and `shown` is what of it is compared, for people.
    `owner` is the project whose it is at sites that share the clients' Keystone, for what everybody sees.
    `foreign` is what is something else under one of its ids: that is hidden. `by` is the user that
    declared it, or that put one that was found `apart`: then its parts are things of their own. `at` is in
    seconds since 1970.
    """

    kind: ClassVar[str] = "same"

    resource: str
    id: str
    ids: Mapping[str, str]
    name: str = ""
    scope: str = ""
    content: str = ""
    shown: Mapping[str, Any] = {}
    foreign: tuple[Foreign, ...] = ()
    owner: str = ""
    origin: Literal["found", "declared", "configured"] = "found"
    by: str = ""
    at: float = 0.0
    apart: bool = False

    @property
    def key(self) -> str:
        """What identifies it: ids of flavors and names of keypairs may be as long as a key itself."""
        digest = hashlib.sha256(f"{self.scope}\0{self.id}".encode()).hexdigest()[:32]
        return f"{self.resource}/{self.origin}/{digest}"

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes found things one."""
        return self.scope, self.name, self.content
