"""The words the tables of the services are written in, and how a path is matched against them.

A table must be readable at a glance: one line per route, no code. What a kind means is in `docs/` and in the
gateway's module of that name. The least roles are the services' own defaults; for Nova, Cinder and Glance a
test holds them against what an installed release says of itself. Who checks them is said in ADR 8.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """How a route relates to sites; each kind is served by one module of the gateway."""

    __hash__ = object.__hash__  # looked up for every request: Enum's own is not in C

    PLACED = "placed"  # lives in one site, under that site's id
    SHARED = "shared"  # one thing in every site, under one id or name
    SUMMED = "summed"  # a figure over sites
    PER_SITE = "per site"  # belongs to a site and means nothing elsewhere
    EACH = "each site"  # each site's own, asked of all and done at all
    SETTING = "setting"  # of a project, the same at every site: set at all of them, or at none
    ANY_SITE = "any site"  # the same answer everywhere: schemas
    COMMON = "common"  # what every site has: extensions
    ZONES = "zones"  # the availability zones a user picks from
    TOPOLOGY = "topology"  # a network that Neutron makes when it is asked for: at one site for each project
    GROUP_RULES = "group rules"  # at the site of their security group; at every site where that is `default`
    EVENTS = "events"  # a batch, each part for the site of its own subject
    IDENTITY = "identity"  # Keystone's, passed on
    CATALOG = "catalog"  # Keystone's, with a service catalogue in the answer
    # Only of the services in `services.other`, which says what they mean.
    UNITED = "united"
    ALIKE = "alike"
    ALLOCATED = "allocated"


class Shape(Enum):
    """What a path addresses, from its form: decided once, when the table is read."""

    __hash__ = object.__hash__  # as in Kind

    LIST = "list"  # GET of a collection
    CREATE = "create"  # POST to a collection
    BY_ID = "by id"  # anything below one id


# Least roles, weakest first: each from `reader` to `admin` implies the one before it; `any` is whoever has a
# token of a project, `service` another service (or an administrator), `admin` an administrator.
ROLES = ("any", "reader", "member", "manager", "service", "admin")
RANKS = {role: rank for rank, role in enumerate(ROLES)}


class Others(Enum):
    """What a query that only administrators may ask gets everybody else."""

    __hash__ = object.__hash__  # as in Kind

    REFUSED = "refused"  # 403
    DROPPED = "dropped"  # the answer is as if it had not been asked
    OWN = "own"  # 403 but with the caller's own project or user as its value
    NEEDED = "needed"  # as OWN, and 403 where it is missing, too


@dataclass(frozen=True, slots=True)
class Ref:
    """A place in a body that names another resource.

    `path` is written with slashes, `*` for each element; `resource` is the type named. `only_if` is (key,
    value) of a sibling that has to match (block device mappings name their type beside the id). One text may
    name several, with a `separator` between them.
    """

    path: str
    resource: str
    only_if: tuple[str, str] | None = None
    separator: str = ""

    @property
    def steps(self) -> tuple[str, ...]:
        """The path in parts."""
        return tuple(self.path.split("/"))


class Ends(Enum):
    """What shows that nothing follows a page of a list."""

    LINKED = "linked"
    """It has no link to a next one."""
    NEARLY = "nearly"
    """It has none, and more is lacking than a few: Nova drops servers that it has twice, and looks whether
    the page is full only then (`get_all`, `_get_unique_filter_method`)."""
    EMPTY = "empty"
    """It is empty: links are never given, or not where something was left out after the page was cut."""

    def goes_on(self, asked: int, came: int) -> bool:
        """Whether others may follow a page without a link, of so many items where so many were asked for."""
        if self is Ends.NEARLY:
            return 0 < asked - came <= asked // 11 + 1 and came > 0
        return self is Ends.EMPTY and came > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One type of resource of a service.

    `name` is the type (`server`), `plural` the envelope of a list (`servers`), `path` the collection below
    the version. `sort` is the order of a list that names none: (key, direction)…; `shown` maps sort keys to
    the fields that show them where the two differ; keys in `unseen` are never shown. `identity` is the
    field that makes two items of different sites one (shared kinds). `brief` are the fields of a brief list
    where the detailed one has to be read for its order. Lists that are not `paged` know no limit and no
    marker, and some sites break on them; `paged_since` is the microversion from which they do. Those that
    go `by_offset` know no marker, and take a limit of 0 for none. `marker` is the field after whose last
    value the next page is asked for. `ends` says what shows that nothing follows a page. What is another
    name of a type is `kept_as` that. `links` is the key of a list's links; only lists that are `counted`
    say how many there are in all, when asked to.
    """

    name: str
    plural: str
    path: str
    singular: str = ""
    id_form: str = "uuid"
    identity: str = "id"
    marker: str = "id"
    detail: str = ""
    brief: tuple[str, ...] = ()
    sort: tuple[tuple[str, str], ...] = ()
    shown: Mapping[str, str] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    refs: tuple[Ref, ...] = ()
    zone: str = ""  # where a create body names its availability zone
    paged: bool = True
    paged_since: tuple[int, int] = (0, 0)
    by_offset: bool = False
    ends: Ends = Ends.LINKED
    kept_as: str = ""
    links: str = ""
    counted: bool = False

    @property
    def envelope(self) -> str:
        """The envelope of one: `server`."""
        return self.singular or self.name

    @property
    def links_key(self) -> str:
        """Where a list has its links: `servers_links`."""
        return self.links or f"{self.plural}_links"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of a line of a table, matched. `role` is the least that may ask for it."""

    template: str
    methods: frozenset[str]
    kind: Kind
    resource: str
    role: str
    actions: Mapping[str, str]
    admin_queries: Mapping[str, Others]
    admin_fields: tuple[str, ...]
    of_project: bool
    refs: tuple[Ref, ...]
    makes: tuple[Ref, ...]
    blind: bool
    of_host: str
    at_all: bool
    zones: tuple[str, ...]
    below: str
    shape: Shape
    detail: bool
    raw: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line as written: path, methods, kind, resource, and what is out of the ordinary.

    `methods` is `GET PUT:admin`: methods, each with its least role if that is neither the `role` of the line
    nor, where the line has none, the usual one (reader for GET and HEAD, member for the rest). `actions` are
    the actions (the one key of the body) with a least role of their own. `admin_queries` are parameters (or
    `parameter=value`) that only administrators may use, with what others get for them; `admin_fields` places
    (or `place=value`) in the body that only they may fill; where a line is `of_project` the id is a project,
    and another's than the caller's own is for them. What is `listed` is a list although an id stands in its
    path: of what matches that. What hangs `below` another type's resource is at the site of that. `beyond`
    says why a line stands here though the release that the tests know has no such route.
    """

    path: str
    methods: str
    kind: Kind
    resource: str = ""
    role: str = ""
    actions: Mapping[str, str] = field(default_factory=dict)
    admin_queries: Mapping[str, Others] = field(default_factory=dict)
    admin_fields: tuple[str, ...] = ()
    of_project: bool = False
    refs: tuple[Ref, ...] = ()
    makes: tuple[Ref, ...] = ()  # where an answer names what else was made at the site
    blind: bool = False  # those who may ask need not be able to see it by its id
    of_host: str = ""  # where a request names the host that it is for (`?name`: in the query)
    at_all: bool = False  # done at all sites, answered by all together
    zones: tuple[str, ...] = ()  # where a body names an availability zone of the site
    listed: bool = False
    below: str = ""  # the type of the first id in the path
    raw: bool = False  # bodies are not JSON: streamed, never read
    beyond: str = ""

    @property
    def roles(self) -> dict[str, str]:
        """Each method with its least role."""
        found = {}
        for word in self.methods.split():
            method, _, role = word.partition(":")
            found[method] = role or self.role or ("reader" if method in {"GET", "HEAD"} else "member")
        return found


def row(path: str, methods: str, kind: Kind, resource: str = "", **more: object) -> Row:
    """Write a line of a table."""
    return Row(path=path, methods=methods, kind=kind, resource=resource, **more)  # type: ignore[arg-type]


ANY = "GET HEAD POST PUT PATCH DELETE"
READ_BY_ALL = "GET HEAD POST:admin PUT:admin PATCH:admin DELETE:admin"


class _Node:
    __slots__ = ("children", "param", "rest", "routes")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.param: _Node | None = None
        self.rest: _Node | None = None
        self.routes: dict[bytes, Route] = {}


_NOWHERE = _Node()


class Match(NamedTuple):
    """A route with what the path said: the id it is below (b"" for a collection) and the tail after it."""

    route: Route | None
    id: bytes
    allowed: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service: its names, its versions and its table.

    `service_type` is the official one and the first part of Atoll's path; `versions` the version parts a path
    may begin with; `project_in_path` says where a project id may follow: "optional", "required" or "never".
    """

    service_type: str
    aliases: tuple[str, ...]
    versions: tuple[str, ...]
    resources: tuple[Resource, ...]
    rows: Sequence[Row]
    project_in_path: str = "never"
    project_form: re.Pattern[bytes] = re.compile(rb"[0-9a-f\-]{32,36}\Z")
    microversion_header: str = ""
    zone_keys: tuple[str, ...] = ()
    zones_filled: frozenset[str] = frozenset()  # keys whose empty list names the site's zone, see Names
    suffix: bytes = b" "  # what a collection's name may end with (.json)
    other: bool = False  # of those that `gateway.other` serves; its paths may have no version

    def __post_init__(self) -> None:
        root = _Node()
        for line in self.rows:
            self._add(root, line)
        object.__setattr__(self, "_root", root)
        object.__setattr__(self, "by_name", {one.name: one for one in self.resources})

    _root: _Node = field(init=False, repr=False)
    by_name: dict[str, Resource] = field(init=False, repr=False)

    def _add(self, root: _Node, line: Row) -> None:
        node = root
        parts = line.path.split("/")
        for part in parts:
            if part == "**":
                node.rest = node.rest or _Node()
                node = node.rest
            elif part.startswith("{"):
                node.param = node.param or _Node()
                node = node.param
            else:
                node = node.children.setdefault(part.encode(), _Node())
        below = any(part.startswith("{") for part in parts)
        for method, role in line.roles.items():
            shape = Shape.CREATE if method == "POST" else Shape.LIST
            if below and not line.listed:
                shape = Shape.BY_ID
            node.routes[method.encode()] = Route(
                template=line.path,
                methods=frozenset(line.roles),
                kind=line.kind,
                resource=line.resource,
                role=role,
                actions=line.actions,
                admin_queries=line.admin_queries,
                admin_fields=line.admin_fields,
                of_project=line.of_project,
                refs=line.refs,
                makes=line.makes,
                blind=line.blind,
                of_host=line.of_host,
                at_all=line.at_all,
                zones=line.zones,
                below=line.below,
                shape=shape,
                detail=parts[-1] == "detail",
                raw=line.raw,
            )

    def match(self, method: bytes, parts: Sequence[bytes]) -> Match:
        """The route of a path below version and project.

        A trailing slash is the same route; whether it has the same answer is the gateway's. `route` is None
        where the path is in no table; then `allowed` names the methods it would have had.
        """
        node = self._root
        ident = b""
        rest = node.rest  # the deepest "**" passed on the way
        for index, part in enumerate(parts):
            if not part and index == len(parts) - 1:
                break
            child = node.children.get(part) or node.children.get(part.removesuffix(self.suffix))
            if child is None:
                child = node.param
                if child is None:
                    node = rest or _NOWHERE
                    break
                ident = ident or part
            node = child
            rest = node.rest or rest
        if not node.routes and rest is not None:
            node = rest
        routes = node.routes
        found = routes.get(method) or (routes.get(b"GET") if method == b"HEAD" else None)
        if found is None:
            return Match(None, ident, tuple(routes))
        return Match(found, ident)

    def envelope(self, route: Route) -> tuple[str, ...]:
        """The path to what an answer of the route shows."""
        resource = self.by_name.get(route.resource)
        return (resource.envelope,) if resource is not None else ()

    def routes(self) -> Iterator[Row]:
        """The lines of the table."""
        return iter(self.rows)
