"""Things of several sites that the operator declared to be one: listed once, ids translated per site."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True, slots=True)
class Group:
    """One thing: its type, the id clients see, and the id at each site."""

    resource: str
    id: str
    ids: Mapping[str, str]


class Equivalents:
    """The declared groups, by any of their ids."""

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self._by_id = {ident: group for group in groups for ident in group.ids.values()}
        self._outward: dict[str, tuple[re.Pattern[bytes], dict[bytes, bytes]]] = {}
        for site in {site for group in groups for site in group.ids}:
            names = {
                group.ids[site].encode(): group.id.encode()
                for group in groups
                if site in group.ids and group.ids[site] != group.id
            }
            if names:
                # Only where a key says that an id follows: an id in a user's own value stays.
                pattern = re.compile(
                    rb'("(?:[a-z_]*id|uuid)":\s*")(' + b"|".join(map(re.escape, names)) + rb')"'
                )
                self._outward[site] = (pattern, names)

    def __bool__(self) -> bool:
        return bool(self.groups)

    def group(self, ident: str) -> Group | None:
        """The group of an id, whichever site's it is."""
        return self._by_id.get(ident)

    def at(self, ident: str, site: str) -> str:
        """The id a site has for what a client names."""
        group = self._by_id.get(ident)
        return ident if group is None else group.ids.get(site, ident)

    def query_at(self, query: bytes, site: str) -> bytes:
        """A query string with the ids a site has."""
        if not self._by_id:
            return query
        for group in self.groups:
            for ident in group.ids.values():
                if ident.encode() in query:
                    query = query.replace(ident.encode(), group.ids.get(site, ident).encode())
        return query

    def of_site(self, site: str) -> Callable[[bytes], bytes] | None:
        """What translates a site's answers; None where its ids are those that clients see."""
        return partial(self.outward, site=site) if site in self._outward else None

    def outward(self, text: bytes, site: str) -> bytes:
        """A site's answer with the ids that clients see."""
        if (known := self._outward.get(site)) is None:
            return text
        pattern, names = known
        return pattern.sub(lambda found: b'%b%b"' % (found.group(1), names[found.group(2)]), text)
