"""How a list is asked for: sort, limit, marker and filters, in the words of each service.

Pure: a query string in, what it means out, and query strings for sites. Parameters that are not about place
in the list are passed on as they came. What a service would refuse is not judged here: `parse` gives None and
a site says so in its own words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import parse_qsl, quote_plus, unquote_plus, urlencode

from atoll.services.table import Resource

Direction = Literal["asc", "desc"]

# Filters that make a list a look-up: a missing site may be the one that has the thing.
LOOK_UPS = frozenset(
    {"name", "display_name", "id", "uuid", "ip", "ip6", "fixed_ips", "floating_ip_address", "hostname"}
)
_PLACE = frozenset({"limit", "marker", "offset", "page_reverse", "with_count"})
_LEFT_OUT = frozenset({"marker", "offset"})
_YES = frozenset({"true", "1", "t", "on", "yes", "y"})
_NO = frozenset({"false", "0", "f", "off", "no", "n", ""})


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A list as it was asked for. `rest` are the parameters passed on to sites, encoded, in order."""

    rest: tuple[bytes, ...]
    sort: tuple[tuple[str, Direction], ...]
    explicit_sort: bool
    limit: int | None
    marker: str | None
    offset: int
    reverse: bool
    with_count: bool
    look_up: bool
    zone: str | None

    @property
    def filtered(self) -> bool:
        """Whether it may be of less than all."""
        return any(not part.startswith(b"sort") for part in self.rest)

    def at_site(self, *, limit: int | None, marker: str | None, count: bool) -> bytes:
        """The query for one page of one site."""
        parts = list(self.rest)
        if limit is not None:
            parts.append(b"limit=%d" % limit)
        if marker is not None:
            parts.append(b"marker=" + quote_plus(marker).encode())
        if count:
            parts.append(b"with_count=true")
        return b"&".join(parts)


def parse(resource: Resource, query: bytes, *, paged: bool = True) -> ListQuery | None:
    """Read a list's query string; None where a number, a key or a direction is none.

    A list that is not `paged` in the version asked for ignores what it is told of pages.
    """
    pairs = []
    for part in query.split(b"&") if query else ():
        name, _, value = part.partition(b"=")
        pairs.append((unquote_plus(name.decode("latin-1")), unquote_plus(value.decode("latin-1")), part))
    if not paged:
        pairs = [one for one in pairs if one[0] not in _PLACE]
    given = {name: value for name, value, _ in pairs}
    sort = _sort([(name, value) for name, value, _ in pairs], [key for key, _ in resource.sort])
    limit, offset = given.get("limit", "0"), given.get("offset", "0")
    if sort is None or not limit.isdecimal() or not offset.isdecimal():
        return None
    if resource.counted and given.get("with_count", "false").lower() not in _YES | _NO:
        return None
    place = _PLACE - {"marker"} if resource.by_offset else _PLACE  # then it is for a site to judge
    place = place if resource.counted else place - {"with_count"}
    return ListQuery(
        rest=tuple(part for name, _, part in pairs if name not in place),
        sort=sort or tuple((key, "asc" if way == "asc" else "desc") for key, way in resource.sort),
        explicit_sort=bool(sort),
        limit=int(limit) if "limit" in given and not (resource.by_offset and int(limit) == 0) else None,
        marker=None if resource.by_offset else given.get("marker") or None,
        offset=int(offset),
        reverse=given.get("page_reverse", "").lower() == "true",  # as Neutron reads it
        with_count=resource.counted and given.get("with_count", "").lower() in _YES,
        # One of several (`in:a,b`) is a list again: clients look names up that way and can do without some.
        look_up=any(name in LOOK_UPS and not value.startswith("in:") for name, value in given.items()),
        zone=given.get("availability_zone"),
    )


def parse_plain(resource: Resource, query: bytes, look_ups: frozenset[str]) -> ListQuery | None:
    """Read the query of a list that has one order and no zones; None where its limit is no number.

    What such a list knows nothing of is passed on: from some version on it is refused. `look_ups` are the
    filters that make this one a look-up.
    """
    parts = query.split(b"&") if query else []
    sorting = tuple(part for part in parts if part.startswith(b"sort"))
    found = parse(resource, b"&".join(part for part in parts if part not in sorting))
    if found is None:
        return None
    filters = {name for name, value in parse_qsl(query.decode("latin-1")) if value}
    look_up = not look_ups.isdisjoint(filters)
    return replace(found, rest=found.rest + sorting, look_up=look_up, zone=None)


def ids(query: bytes) -> list[str]:
    """The ids that a list is to be of (`id=…&id=…`), where it names them so."""
    return [value for name, value in parse_qsl(query.decode("latin-1")) if name == "id"]


def _sort(
    pairs: Sequence[tuple[str, str]], default: Sequence[str]
) -> tuple[tuple[str, Direction], ...] | None:
    """Sort keys with directions, from both of the forms in use; None for a direction that is none.

    A direction alone is that of the `default` keys.
    """
    keys: list[str] = []
    ways: list[str] = []
    for name, value in pairs:
        if name == "sort_key" and value:
            keys.append(value)
        elif name == "sort_dir":
            ways.append(value.lower())
        elif name == "sort":
            for one in filter(None, value.split(",")):
                key, _, way = one.strip().partition(":")
                keys.append(key)
                ways.append(way.lower() or "desc")
    if ways and not keys:
        keys = list(default)  # each goes the one way that is named
        ways = ways[:1]
    ways += [ways[-1] if ways else "desc"] * (len(keys) - len(ways))
    if any(way not in {"asc", "desc"} for way in ways) or not all(key.isprintable() for key in keys):
        return None
    return tuple(zip(keys, (_direction(way) for way in ways), strict=False))


def _direction(way: str) -> Direction:
    return "asc" if way == "asc" else "desc"


def with_zone(query: ListQuery, zone: str | None) -> tuple[bytes, ...]:
    """The parameters with the zone filter in a site's words; None leaves it out."""
    rest = tuple(part for part in query.rest if part.partition(b"=")[0] != b"availability_zone")
    return rest if zone is None else (*rest, b"availability_zone=" + quote_plus(zone).encode())


# Parameters that name a thing of another type than the list's, or of the list's own.
_NAMED = {
    "compute": {"flavor": "flavor", "image": "image"},
    "block-storage": {"volume_type": "volume_type", "volume_type_id": "volume_type",
                      "vol_type_id": "volume_type"},
    "image": {"id": "image"},
    "network": {
        "network_id": "network", "floating_network_id": "network", "subnet_id": "subnet",
        "security_groups": "security_group", "security_group_id": "security_group",
        "remote_group_id": "security_group", "fixed_ips": "subnet",
    },
}  # fmt: skip


def with_ids(service_type: str, resource: str, query: bytes, at: Callable[[str, str], str]) -> bytes:
    """A query string with the ids that a site has; `at` gives the site's of a type and an id."""
    named = _NAMED.get(service_type, {})
    parts = []
    for part in query.split(b"&"):
        name, equals, value = part.partition(b"=")
        kind = named.get(name.decode("latin-1"))
        if kind is None and name == b"id" and service_type == "network":
            kind = resource
        if kind is not None and equals:
            text = unquote_plus(value.decode("latin-1"))
            lead, separator, last = text.rpartition("=" if name == b"fixed_ips" else ":")
            idents = [at(kind, ident) for ident in last.split(",")]
            here = f"{lead}{separator}{','.join(idents)}"
            part = part if here == text else name + b"=" + quote_plus(here).encode()  # noqa: PLW2901
        parts.append(part)
    return b"&".join(parts)


def named_ids(query: bytes) -> list[tuple[str, str]]:
    """(type, id) of flavors and images that a list of servers is to be of."""
    return [
        (name, value)
        for name, value in parse_qsl(query.decode("latin-1"))
        if name in _NAMED["compute"] and value
    ]


def next_query(service_type: str, query: bytes, last: str) -> str:
    """The query of the next page: the same, after the last item of this one, written as the service does."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    if service_type == "compute":
        pairs.sort(key=lambda pair: pair[0])
    return urlencode([*((name, value) for name, value in pairs if name not in _LEFT_OUT), ("marker", last)])


def first_query(query: bytes) -> str:
    """The query of the first page, as Glance links to it."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([(name, value) for name, value in pairs if name != "marker"])
