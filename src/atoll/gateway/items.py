"""The items of lists: pages of sites read into them, and written out as clients see them.

Items pass as raw bytes. What the merge and the location table have to know of them is decoded beside, for a
page at a time; only links, zones and equivalents in them are changed, for a site at a time.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from atoll.core.errors import BadSiteAnswer
from atoll.core.merge import Described
from atoll.gateway.forward import rewritten
from atoll.services.table import Resource
from atoll.sites.site import Endpoint

# Forms of items kept: types of resources times the sort keys that clients think of.
FORMS = 256
# Stands between items while a site's are changed together: no JSON has it, in a string or outside.
BETWEEN = b"\0"
MADE_BY = ("tenant_id", "project_id", "created", "created_at")
# What single items have ids of that only their envelope tells from others.
OWN_IDS = frozenset({"flavor", "image", "volume", "volume_type"})
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Item(NamedTuple):
    """One item of a list: its bytes, and what of it is decoded (the object of `_Form`)."""

    raw: msgspec.Raw
    shown: Any


class Read(NamedTuple):
    """A page as a site answered it. `total` is the `count` of its answer, None where that has none."""

    items: list[Item]
    described: Described
    more: bool
    total: int | None


class _Form(NamedTuple):
    """How items of a type are read: decoders for a whole page, and where in the decoded is what."""

    split: Callable[[bytes], Any]
    decode: Callable[[bytes], Any]
    nest: Callable[[Any], Any] | None
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
        self._form = _form(resource.plural, resource.identity, resource.marker, tuple(keys))
        self._identity = identity

    def read(self, site: str, text: bytes) -> Read:
        """Read a page. Raises BadSiteAnswer."""
        form = self._form
        try:
            page = form.split(text)
            shown = form.decode(text).items
        except UNREADABLE as error:
            raise BadSiteAnswer(
                f"The site {site} answered what are no {self._plural}: {str(error)[:128]}.", site=site
            ) from error
        if form.nest is not None:
            shown = list(map(form.nest, shown))
        ids = [str(one) for one in map(form.marker, shown)]
        same = None
        if self._identity is not None:
            same = [self._identity(site, str(one)) for one in map(form.same, shown)]
        described = Described(ids, [list(map(key, shown)) for key in form.keys], same)
        more = page.next is not msgspec.UNSET or any(link.rel == "next" for link in page.links)
        return Read(list(map(Item, page.items, shown)), described, more, page.count)


class _Link(msgspec.Struct):
    rel: str = ""


@lru_cache(FORMS)
def _form(plural: str, identity: str, marker: str, keys: tuple[str, ...]) -> _Form:
    nest, _, id_field = identity.rpartition("/")
    marker = id_field if nest else marker
    sorts = [key.rpartition("/")[2] for key in keys]
    # What made it and when is for the location table, where an item says so.
    names = list(dict.fromkeys([marker, id_field, *sorts, *MADE_BY]))
    aliases = {name: name if name in MADE_BY else f"field_{at}" for at, name in enumerate(names)}
    fields: list[Any] = [
        (aliases[name], str | int) if name in {marker, id_field} else (aliases[name], Any, None)
        for name in names
    ]
    renamed = {alias: name for name, alias in aliases.items()}
    shape: Any = msgspec.defstruct("Shown", fields, rename=renamed, gc=False)
    if nest:
        shape = msgspec.defstruct("Nested", [("nested", shape)], rename={"nested": nest})
    links = (f"{plural}_links", list[_Link])
    split = msgspec.defstruct(
        "Split",
        [
            ("items", list[msgspec.Raw]),
            ("links", links[1], msgspec.field(default_factory=list)),
            ("next", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET),
            ("count", int | None, None),
        ],
        rename={"items": plural, "links": links[0]},
    )
    decoded = msgspec.defstruct("Decoded", [("items", list[shape])], rename={"items": plural})
    return _Form(
        msgspec.json.Decoder(split).decode,
        msgspec.json.Decoder(decoded).decode,
        attrgetter("nested") if nest else None,
        attrgetter(aliases[marker]),
        attrgetter(aliases[id_field]),
        tuple(attrgetter(aliases[name]) for name in sorts),
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
    items: Sequence[msgspec.Raw],
    origins: Sequence[str],
    endpoints: Mapping[str, Endpoint],
    cuts: Mapping[str, Cut],
    project_id: str,
    envelope: str,
) -> list[bytes]:
    """The items of a page as a project sees them, in the same order; `cuts` cut down those of some sites.

    `envelope` is what one of them would stand in.
    """
    by_site: dict[str, list[msgspec.Raw]] = {}
    for item, site in zip(items, origins, strict=True):
        by_site.setdefault(site, []).append(item)
    changed = {
        site: iter(
            _changed(endpoints[site], cuts[site](ones) if site in cuts else ones, project_id, envelope)
        )
        for site, ones in by_site.items()
    }
    return [next(changed[site]) for site in origins]


def _changed(
    endpoint: Endpoint, items: Sequence[bytes | msgspec.Raw], project_id: str, envelope: str
) -> list[bytes]:
    """A site's items with links, zones and equivalents as clients see them."""
    translate = endpoint.same(project_id) if endpoint.same is not None else None
    if translate is not None and envelope in OWN_IDS:
        # What an id is of is said by what it stands in.
        start = b'{"%b":' % envelope.encode()
        items = [translate(start + item + b"}")[len(start) : -1] for item in items]
        translate = None
    text = BETWEEN.join(items)
    if text.count(BETWEEN) != len(items) - 1:
        return [rewritten(endpoint, bytes(item), (), project_id) for item in items]
    text = endpoint.links.rewrite(text)
    if translate is not None:
        text = translate(text)
    for names in endpoint.names:
        text = names.rewrite_each(text, BETWEEN)
    return text.split(BETWEEN)


def joined(head: bytes, items: list[bytes], tail: bytes) -> bytes:
    """The items between two texts: put together at once, for a page is megabytes long."""
    if not items:
        return head + tail
    items[0] = head + items[0]
    items[-1] += tail
    return b", ".join(items)


class Made(msgspec.Struct):
    """What a thing says of its making."""

    tenant_id: Any = None
    project_id: Any = None
    created: Any = None
    created_at: Any = None


def made_by(shown: Any) -> tuple[str | None, float | None]:
    """The project of an item and its creation time (seconds since 1970), as far as it shows them."""
    project = shown.tenant_id or shown.project_id
    made = shown.created or shown.created_at
    return project if isinstance(project, str) else None, seconds(made) if isinstance(made, str) else None


def seconds(text: str) -> float | None:
    """A time as a service writes it, always in UTC, in seconds since 1970."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return None
    return made.replace(tzinfo=made.tzinfo or UTC).timestamp()
