"""What only Neutron's lists have: `fields`, pages backwards, and links both ways.

A page backwards (`page_reverse`) is the items before its marker, in the list's own order. It is had by
walking the list from its end: each site is asked backwards, the sites come in the other order and the sort
keys go the other way, and what was found is turned round when it is answered.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

import msgspec

from atoll.core.merge_source import Described, Describes
from atoll.gateway.call import Call
from atoll.gateway.default_groups import DefaultGroups
from atoll.gateway.items import COPY, Cut, Read, Reader
from atoll.gateway.queries import Direction, ListQuery
from atoll.same.records import SameRecord
from atoll.services.table import Resource

# What a rule of a security group says.
RULE = (
    "security_group_id",
    "direction",
    "ethertype",
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
    "remote_address_group_id",
)
BACKWARDS = b"page_reverse=True"


# What Neutron's links do not take over from the request.
_PLACE = frozenset({"marker", "page_reverse"})
_TURNED: dict[Direction, Direction] = {"asc": "desc", "desc": "asc"}


def as_meant(query: ListQuery, resource: Resource) -> ListQuery:
    """A query as Neutron reads it: without a limit, or with 0, there are no pages, and no marker counts.

    What the list is merged by is asked for beside the `fields` that are (see `Fields`).
    """
    wanted = fields(query)
    lacking = [one for one in needed(query, resource) if one not in wanted] if wanted else []
    query = replace(query, rest=query.rest + tuple(f"fields={one}".encode() for one in lacking))
    if not query.limit:
        return replace(query, limit=None, marker=None, reverse=False)
    if not query.reverse:
        return query
    sort = tuple((key, _TURNED[way]) for key, way in query.sort)
    return replace(query, rest=(*query.rest, BACKWARDS), sort=sort)


def fields(query: ListQuery) -> tuple[str, ...]:
    """The fields that are asked for; none: all of them."""
    asked = (part for part in query.rest if part.startswith(b"fields="))
    return tuple(value for part in asked for _, value in parse_qsl(part.decode("latin-1")))


def needed(query: ListQuery, resource: Resource) -> tuple[str, ...]:
    """The fields that a list is merged by."""
    told_apart = RULE if resource.name == "security_group_rule" else ()
    return resource.marker, *(resource.shown.get(key, key) for key, _ in query.sort), *told_apart


def _copies(identity: Callable[[str, str], Hashable]) -> Callable[[str, str], Hashable]:
    """What tells copies backwards: the one that stays is the first in the list's order, whose id is shown."""
    return lambda site, ident: COPY if identity(site, ident) not in {None, ident} else None


def reader(
    call: Call,
    resource: Resource,
    query: ListQuery,
    identity: Callable[[str, str], Hashable] | None,
    defaults: DefaultGroups,
) -> Reader:
    """What reads the pages of a list, of whatever service; `identity` tells copies by site and id."""
    keys = [resource.shown.get(key, key) for key, _ in query.sort]
    if query.reverse:
        made: Reader = Backwards(resource, keys, None if identity is None else _copies(identity))
    else:
        made = Reader(resource, keys, identity)
    if resource.name != "security_group_rule" or call.service_type != "network":
        return made
    group = defaults.of(call.caller.project_id)
    return made if group is None else Rules(made, group)


class Fields(Cut):
    """Cuts items down to the fields that a request asked for."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self._wanted = wanted

    @classmethod
    def of(cls, call: Call, resource: Resource, query: ListQuery) -> Self | None:
        """What does so for a request; None where its items have no more than it asked for."""
        if b"fields=" not in call.request.query or call.service_type != "network":
            return None
        pairs = parse_qsl(call.request.query.decode("latin-1"))
        wanted = frozenset(value for name, value in pairs if name == "fields")
        return cls(wanted) if wanted and not wanted.issuperset(needed(query, resource)) else None

    def __call__(self, items: Iterable[bytes | msgspec.Raw]) -> list[bytes]:
        """The items, cut down."""
        shown = msgspec.json.decode(b"[%b]" % b",".join(items), type=list[dict[str, msgspec.Raw]])
        return [msgspec.json.encode({key: one[key] for key in one if key in self._wanted}) for one in shown]


class Backwards(Reader):
    """Reads the pages of sites that are asked backwards: the last item comes first."""

    def read(self, site: str, text: bytes) -> Read:
        """Read a page. Raises BadSiteAnswer."""
        page = super().read(site, text)
        items = page.items[::-1]
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get(f"{self._plural}_links")
        found = msgspec.json.decode(raw, type=list[_Link]) if raw is not None else []
        more = any(link.rel == "previous" for link in found)
        return Read(items, _Turned(page.described, len(items)), more, page.total)


class _Link(msgspec.Struct):
    rel: str = ""


@dataclass(frozen=True, slots=True)
class _Turned:
    """The items of such a page, described when that is asked for; `plain` describes them as they came."""

    plain: Describes
    count: int

    def part(self, start: int, stop: int) -> Described:
        """What the merge has to know of some of them. Raises BadSiteAnswer."""
        ids, keys, identities = self.plain.part(self.count - stop, self.count - start)
        turned = None if identities is None else identities[::-1]
        return Described(ids[::-1], [column[::-1] for column in keys], turned)


def links(call: Call, resource: Resource, public_url: str, ends: Sequence[str], *, full: bool) -> bytes:
    """The member with the links of a page, with the comma before it, as Neutron writes it.

    `ends` are the ids of the page's first and last item, none of an empty page. Neutron takes a page that is
    full for one that another follows, in the direction that was asked for; in the other one it always has a
    link.
    """
    url = f"{public_url}{call.request.path.decode('latin-1')}"
    pairs = parse_qsl(call.request.query.decode("latin-1"), keep_blank_values=True)
    backwards = any(name == "page_reverse" and value.lower() == "true" for name, value in pairs)
    kept = [(name, value) for name, value in pairs if name not in _PLACE]
    after = [("marker", one) for one in ends[-1:]]
    before = [("marker", one) for one in ends[:1]] + [("page_reverse", "True")]
    found = []
    if full or backwards:
        found.append({"rel": "next", "href": f"{url}?{urlencode(kept + after)}"})
    if full or not backwards:
        found.append({"rel": "previous", "href": f"{url}?{urlencode(kept + before)}"})
    return b', "%b_links": %b' % (resource.plural.encode(), msgspec.json.encode(found))


class Rules(Reader):
    """Reads rules of security groups: those of default groups that say the same are one."""

    def __init__(self, inner: Reader, group: SameRecord) -> None:
        self._inner = inner
        self._group = group

    def read(self, site: str, text: bytes) -> Read:
        """Read a page. Raises BadSiteAnswer."""
        page = self._inner.read(site, text)
        return page._replace(described=_Rules(page.described, page.items, self._group))


@dataclass(frozen=True, slots=True)
class _Rules:
    """Rules, described when that is asked for."""

    plain: Describes
    items: Sequence[msgspec.Raw]
    group: SameRecord

    def part(self, start: int, stop: int) -> Described:
        """What the merge has to know of some of them. Raises BadSiteAnswer."""
        identities = [said_by(item, self.group) for item in self.items[start:stop]]
        return self.plain.part(start, stop)._replace(identities=identities)


def said_by(item: bytes | msgspec.Raw, group: SameRecord) -> str | None:
    """What a rule of a default group says, the same text at every site; None for a rule of another group."""
    rule = msgspec.json.decode(item, type=dict[str, Any])
    own = frozenset(group.ids.values())
    if rule.get("security_group_id") not in own:
        return None
    said = [group.id if rule.get(name) in own else rule.get(name) for name in RULE]
    return msgspec.json.encode(said).decode()
