"""The items of lists: pages of sites read into them, and written out as clients see them.

Items pass as raw bytes. What the merge and the location table have to know of them is decoded beside, when
they ask for it; only links, zones and equivalents in them are changed, for a site at a time.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import structlog

from atoll.core.errors import BadSiteAnswer
from atoll.core.merge_source import Described, Describes
from atoll.gateway.call import Call
from atoll.gateway.forward import rewritten
from atoll.services.table import Resource
from atoll.sites.site import Endpoint

log = structlog.get_logger()

# Forms of items kept: types of resources times the sort keys that clients think of.
FORMS = 256
# Stands between items while a site's are changed together: no JSON has it, in a string or outside. A long
# text is sooner found than a single byte.
BETWEEN = bytes(16)
# What single items have ids of that only their envelope tells from others.
OWN_IDS = frozenset(
    {"flavor", "image", "volume", "volume_type", "group", "group_snapshot", "group_type", "qos_specs"}
)
# What all copies are that are not shown, whatever they are copies of.
COPY = ""
Item = msgspec.Raw
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Read(NamedTuple):
    """A page as a site answered it. `total` is the `count` of its answer, None where that has none."""

    items: list[Item]
    described: Describes
    more: bool
    total: int | None

    def whole(self) -> Described:
        """What the merge has to know of all items. Raises BadSiteAnswer."""
        return self.described.part(0, len(self.items))


def one_list(pages: Sequence[Read]) -> tuple[list[Item], Described]:
    """The pages of one site's whole list as one."""
    parts = [page.whole() for page in pages]
    return [item for page in pages for item in page.items], Described(
        [one for part in parts for one in part.ids],
        [[one for part in parts for one in part.keys[at]] for at in range(len(parts[0].keys))],
        None if parts[0].identities is None else [one for part in parts for one in part.identities or ()],
    )


class _Form(NamedTuple):
    """How items of a type are read: decoders for a page and for its items, and where in those is what."""

    split: Callable[[bytes], Any]
    decode: Callable[[bytes], Any]
    decode_some: Callable[[bytes], Any]
    marker: Callable[[Any], Any]
    same: Callable[[Any], Any]
    keys: tuple[Callable[[Any], Any], ...]


class Reader:
    """Reads the pages of one list.

    `keys` are the fields of its sort keys, `identity` tells copies by site and id.
    """

    def __init__(
        self,
        resource: Resource,
        keys: Sequence[str],
        identity: Callable[[str, str], Hashable] | None,
    ) -> None:
        self._plural = resource.plural
        self._form = _form(
            resource.plural, resource.links_key, resource.identity, resource.marker, tuple(keys)
        )
        self._identity = identity
        self.expected: Callable[[str, Item], bool] | None = None
        """Whether an item of a site is not shown for what it says of itself."""

    def read(self, site: str, text: bytes) -> Read:
        """Read a page; of what its items are nothing is known before they are described.

        Raises BadSiteAnswer.
        """
        try:
            page = self._form.split(text)
        except UNREADABLE as error:
            raise self._bad(site, error) from error
        more = page.next is not msgspec.UNSET or any(link.rel == "next" for link in page.links)
        return Read(page.items, _Page(self, site, text, page.items), more, page.count)

    def of(self, site: str, items: Sequence[Item]) -> Describes:
        """What describes items of a site that were read before."""
        return _Page(self, site, b'{"%b": [%b]}' % (self._plural.encode(), b",".join(items)), items)

    def describe(self, site: str, text: bytes, *, whole: bool) -> Described:
        """What the merge has to know of items of a site: of a whole page, or of some in an array.

        Raises BadSiteAnswer.
        """
        form = self._form
        try:
            shown = form.decode(text).items if whole else form.decode_some(text)
        except UNREADABLE as error:
            raise self._bad(site, error) from error
        same = None
        if self._identity is not None:
            same = [self._identity(site, str(one)) for one in map(form.same, shown)]
        ids = list(map(str, map(form.marker, shown)))
        return Described(ids, [list(map(key, shown)) for key in form.keys], same)

    def _bad(self, site: str, error: Exception) -> BadSiteAnswer:
        said = str(error)[:128]
        log.warning("items_not_read", site=site, reason=said)
        return BadSiteAnswer(f"The site {site} answered what are no {self._plural}: {said}.", site=site)


@dataclass(frozen=True, slots=True)
class _Page:
    """The items of a page, described when that is asked for."""

    reader: Reader
    site: str
    text: bytes
    items: Sequence[Item]

    def part(self, start: int, stop: int) -> Described:
        """What the merge has to know of some of them. Raises BadSiteAnswer."""
        some = self.items[start:stop]
        whole = len(some) == len(self.items)
        text = self.text if whole else b"[%b]" % b",".join(some)
        described = self.reader.describe(self.site, text, whole=whole)
        if (expected := self.reader.expected) is None:
            return described
        same = described.identities or [None] * len(some)
        same = [COPY if expected(self.site, item) else one for item, one in zip(some, same, strict=True)]
        return described._replace(identities=same)


class _Link(msgspec.Struct):
    rel: str = ""


@lru_cache(FORMS)
def _form(plural: str, links_key: str, identity: str, marker: str, keys: tuple[str, ...]) -> _Form:
    nest, _, id_field = identity.rpartition("/")
    marker = id_field if nest else marker
    sorts = [key.rpartition("/")[2] for key in keys]
    names = {name: f"field_{at}" for at, name in enumerate(dict.fromkeys([marker, id_field, *sorts]))}
    fields: list[Any] = [
        (alias, str | int) if name in {marker, id_field} else (alias, Any, None)
        for name, alias in names.items()
    ]
    renamed = {alias: name for name, alias in names.items()}
    shape: Any = msgspec.defstruct("Shown", fields, rename=renamed, gc=False)
    if nest:
        shape = msgspec.defstruct("Nested", [("nested", shape)], rename={"nested": nest})
    at = "nested." if nest else ""
    links = (links_key, list[_Link])
    split = msgspec.defstruct(
        "Split",
        [
            ("items", list[Item]),
            ("links", links[1], msgspec.field(default_factory=list)),
            ("next", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET),
            ("count", int | None, None),
        ],
        rename={"items": plural, "links": links[0]},
    )
    page = msgspec.defstruct("Described", [("items", list[shape])], rename={"items": plural})
    return _Form(
        msgspec.json.Decoder(split).decode,
        msgspec.json.Decoder(page).decode,
        msgspec.json.Decoder(list[shape]).decode,
        attrgetter(at + names[marker]),
        attrgetter(at + names[id_field]),
        tuple(attrgetter(at + names[name]) for name in sorts),
    )


class Cut:
    """Cuts items of a detailed list down to what the brief list shows.

    A server of a cell that is down has no name and shows its status instead.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self._instead = "status" not in fields
        self._decode = _cut(tuple(dict.fromkeys([*fields, "status"])))
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, items: Iterable[bytes | msgspec.Raw]) -> list[bytes]:
        """The items, cut down."""
        found = self._decode(b"[%b]" % b",".join(items))
        for one in found:
            if self._instead and one.name is not msgspec.UNSET:
                one.status = msgspec.UNSET
        return [self._encode(one) for one in found]


@lru_cache(FORMS)
def _cut(fields: tuple[str, ...]) -> Callable[[bytes], Any]:
    shape = msgspec.defstruct(
        "Brief", [(name, msgspec.Raw | msgspec.UnsetType, msgspec.UNSET) for name in fields]
    )
    return msgspec.json.Decoder(list[shape]).decode  # type: ignore[valid-type]


def outward(
    items: Sequence[Item],
    origins: Sequence[str],
    endpoints: Mapping[str, Endpoint],
    cuts: Mapping[str, Cut],
    call: Call,
    envelope: str,
) -> list[bytes]:
    """The items of a page as a caller sees them, in the same order; `cuts` cut down those of some sites.

    `envelope` is what one of them would stand in.
    """
    by_site: dict[str, list[Item]] = {}
    for item, site in zip(items, origins, strict=True):
        by_site.setdefault(site, []).append(item)
    changed = {
        site: iter(_changed(endpoints[site], cuts[site](ones) if site in cuts else ones, call, envelope))
        for site, ones in by_site.items()
    }
    return [next(changed[site]) for site in origins]


def _changed(
    endpoint: Endpoint, items: Sequence[bytes | msgspec.Raw], call: Call, envelope: str
) -> list[bytes]:
    """A site's items with links, zones and equivalents as clients see them."""
    project_id = call.caller.project_id
    translate = endpoint.same(project_id, call) if endpoint.same is not None else None
    if translate is not None and envelope in OWN_IDS:
        # What an id is of is said by what it stands in.
        start = b'{"%b":' % envelope.encode()
        items = [translate(start + item + b"}")[len(start) : -1] for item in items]
        translate = None
    text = endpoint.links.rewrite(BETWEEN.join(items))
    if translate is not None:
        text = translate(text)
    for names in endpoint.names:
        text = names.rewrite_each(text, BETWEEN, len(items))
    changed = text.split(BETWEEN)
    if len(changed) != len(items):
        return [rewritten(endpoint, bytes(item), (), project_id, call) for item in items]
    return changed


def joined(head: bytes, items: list[bytes], tail: bytes) -> bytes:
    """The items between two texts: put together at once, for a page is megabytes long."""
    if not items:
        return head + tail
    items[0] = head + items[0]
    items[-1] += tail
    return b", ".join(items)


# Under which names things show their project: Cinder's do under those of an extension.
OWNER = (
    "tenant_id", "project_id", "os-vol-tenant-attr:tenant_id", "os-extended-snapshot-attributes:project_id",
    "os-backup-project-attr:project_id",
)  # fmt: skip
_owner_fields = [
    (f"owner_{at}", Any, msgspec.field(name=name, default=None)) for at, name in enumerate(OWNER)
]
_Made: Any = msgspec.defstruct("Made", [*_owner_fields, ("created", Any, None), ("created_at", Any, None)])
_made = msgspec.json.Decoder(_Made).decode


def made_by(item: bytes | msgspec.Raw) -> tuple[str | None, float | None]:
    """The project of an item and its creation time (seconds since 1970), as far as it shows them."""
    shown = _made(item)
    owners = (getattr(shown, name) for name, _, _ in _owner_fields)
    project = next((one for one in owners if isinstance(one, str) and one), None)
    made = shown.created or shown.created_at
    return project, seconds(made) if isinstance(made, str) else None


def seconds(text: str) -> float | None:
    """A time as a service writes it, always in UTC, in seconds since 1970."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return None
    return made.replace(tzinfo=made.tzinfo or UTC).timestamp()
