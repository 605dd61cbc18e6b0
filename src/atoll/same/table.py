"""Which id is whose: what a caller names, at each site, and the other way round. Pure.

Made anew from the records whenever one has changed, so that a look-up is one or two dictionary reads.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from atoll.same.compare import BY_NAME
from atoll.same.places import Translate, translate_of
from atoll.same.records import PUBLIC, SameRecord

NOWHERE: Final = str(uuid.uuid4())
"""Stands for the id of a thing that a site has not got: nobody can have made something under it."""


class Who(NamedTuple):
    """Who asks: what is one thing to them depends on it."""

    project_id: str
    user_id: str = ""

    def sees(self, scope: str) -> bool:
        """Whether a scope is theirs."""
        return scope in PUBLIC or scope in {f"project:{self.project_id}", f"user:{self.user_id}"}


class Table:
    """All that is one thing, by any of its ids."""

    def __init__(self, records: Iterable[SameRecord] = ()) -> None:
        self.records = sorted(records, key=lambda one: (one.origin == "found", one.at))
        self._by_id: dict[tuple[str, str], list[SameRecord]] = {}
        self._by_own: dict[tuple[str, str, str], list[SameRecord]] = {}
        self._members: dict[tuple[str, str], list[SameRecord]] = {}
        self._by_name: dict[tuple[str, str], str] = {}
        self._foreign: set[tuple[str, str, str]] = set()
        self._outward: dict[tuple[str, str, str], Translate | None] = {}
        self.copies: dict[str, list[SameRecord]] = {}
        """By id, the images that several sites have under this very id."""
        self._types = {one.resource for one in self.records}
        self._projects = {one.scope for one in self.records if one.scope.startswith("project:")}
        for one in self.records:
            if one.apart:
                continue
            self._by_id.setdefault((one.resource, one.id), []).append(one)
            if one.resource in BY_NAME:
                self._by_name.setdefault((one.resource, one.name), one.id)
            for site, ident in one.ids.items():
                self._by_own.setdefault((one.resource, site, ident), []).append(one)
                self._members.setdefault((one.resource, ident), []).append(one)
            if one.resource == "image" and list(one.ids.values()).count(one.id) > 1:
                self.copies.setdefault(one.id, []).append(one)
            if one.resource != "keypair":
                self._foreign.update((one.resource, other.site, other.id) for other in one.foreign)

    def __bool__(self) -> bool:
        return bool(self.records)

    def has(self, resource: str) -> bool:
        """Whether anything of a type is one thing."""
        return resource in self._types

    def group(self, resource: str, ident: str, who: Who) -> SameRecord | None:
        """What a caller means by an id: that of the thing, or the one that a site has for it."""
        for one in self._by_id.get((resource, ident)) or self._members.get((resource, ident)) or ():
            if who.sees(one.scope):
                return one
        return None

    def named(self, resource: str, name: str) -> str:
        """The id of what goes by its name; "" where nothing does."""
        return self._by_name.get((resource, name), "")

    def of_site(self, resource: str, site: str, ident: str, who: Who) -> SameRecord | None:
        """What a site's own id is to a caller."""
        return next(
            (one for one in self._by_own.get((resource, site, ident), ()) if who.sees(one.scope)), None
        )

    def at(self, resource: str, ident: str, site: str, who: Who) -> str | None:
        """The id that a site has for what a caller names; None where it has it not, as far as is known."""
        group = self.group(resource, ident, who)
        if group is None:
            return ident
        if ident != group.id and resource not in BY_NAME:  # a site's own id means that site's
            return ident if group.ids.get(site) == ident else None
        return group.ids.get(site)

    def is_hidden(self, resource: str, site: str, ident: str) -> bool:
        """Whether a site's own id is another thing's, and its own not to be used."""
        return (resource, site, ident) in self._foreign

    def outward(self, site: str, service_type: str, project_id: str) -> Translate | None:
        """What changes a site's ids in its answers to those that a project sees; None where nothing does."""
        mine = self._projects and f"project:{project_id}" in self._projects
        key = (site, service_type, project_id if mine else "")
        try:
            return self._outward[key]
        except KeyError:
            made = self._outward[key] = translate_of(service_type, self._names(site, Who(project_id)))
            return made

    def _names(self, site: str, who: Who) -> dict[str, dict[bytes, bytes]]:
        """By type: each id of a site's that clients see another for."""
        names: dict[str, dict[bytes, bytes]] = {}
        for one in self.records:
            if one.apart or one.resource == "keypair" or not who.sees(one.scope):
                continue
            theirs = one.ids.get(site)
            if theirs is not None and theirs != one.id:
                names.setdefault(one.resource, {}).setdefault(theirs.encode(), one.id.encode())
        for resource, where, ident in self._foreign:
            if where == site:
                other = f"{ident}@{site}".encode()
                names.setdefault(resource, {}).setdefault(ident.encode(), other)
        return names


def ids_of(record: SameRecord, ident: str) -> Mapping[str, str]:
    """The sites that an id stands for with the id at each: all, or the one whose own it is.

    Of what goes by its name any site's own id stands for all.
    """
    if ident == record.id or record.resource in BY_NAME:
        return record.ids
    return {site: own for site, own in record.ids.items() if own == ident}
