"""What makes things of several sites one thing, and what is written down of it. Pure.

Flavors are one by name and specs, keypairs of a user by name and fingerprint, images by name, hash and owner:
- one that is private or shared for its own project only;
- a public one by its owner where the sites share the clients' Keystone. At a cloud of its own ids of projects
  mean nothing here: there it counts that it is public, which is the right of that cloud's operator;
- a community image, which anybody can make, only with itself: under the very same id;
- one that has no bytes yet with what has the same id, name and scope: its copies at other sites.
The same id with other content is never the same thing: the site that was recorded first has the id; an image
elsewhere is hidden, a flavor gets the id `ID@SITE`.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from atoll.same.records import PUBLIC, Foreign, SameRecord

MOST: Final = 5_000
"""Records of a type: what is new beyond that is told apart by its id alone."""

MOST_OF_USERS: Final = 500
"""Records of a scope that users fill: those of a project, those of community images."""

BY_NAME: Final = frozenset({"volume_type", "group_type", "qos_spec"})
"""Types of which a site has one of a name: those of one name are one, whatever is in them."""

_OPERATORS: Final = frozenset({"", "public"})
_EMPTY: Final = "none:"


class Thing(NamedTuple):
    """Something as one site shows it; the rest is as in `SameRecord`."""

    site: str
    id: str
    name: str
    scope: str
    content: str
    shown: Mapping[str, Any]
    owner: str = ""
    """Whose it is, where everybody sees it and owners can be compared."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes it one with others."""
        return self.scope, self.name, self.content


def flavor(site: str, item: Mapping[str, Any]) -> Thing | None:
    """A public flavor with its extra specs; None for what cannot be compared.

    Who may use one that is not public is not in it, so those are one by their id only.
    """
    if item.get("os-flavor-access:is_public") is not True or not isinstance(item.get("extra_specs"), dict):
        return None
    shown = {
        "ram": item.get("ram"),
        "vcpus": item.get("vcpus"),
        "disk": item.get("disk"),
        "ephemeral": item.get("OS-FLV-EXT-DATA:ephemeral"),
        "swap": item.get("swap") or 0,
        "rxtx_factor": item.get("rxtx_factor"),
        "extra_specs": dict(sorted(item["extra_specs"].items())),
    }
    return Thing(site, str(item.get("id")), str(item.get("name")), "", _digest(shown), shown)


def image(site: str, item: Mapping[str, Any], *, ours: bool) -> Thing | None:
    """An image; None for what is none. One without a hash yet is like no other but under the same id.

    `ours` says that the site's projects are those of the clients' Keystone.
    """
    ident, name = item.get("id"), item.get("name")
    if not isinstance(ident, str):
        return None
    algorithm, value = item.get("os_hash_algo"), item.get("os_hash_value")
    if not value:  # from before Glance knew others
        algorithm, value = "md5", item.get("checksum")
    visibility = item.get("visibility")
    scope = str(visibility) if visibility in PUBLIC else f"project:{item.get('owner')}"
    shown = {
        "os_hash_algo": algorithm,
        "os_hash_value": value,
        "visibility": visibility,
        "owner": item.get("owner"),
    }
    parts = {key: item[key] for key in ("kernel_id", "ramdisk_id") if item.get(key)}
    content = f"{algorithm}:{value}" if value else f"{_EMPTY}{ident}"
    owner = ""
    if scope == "community":
        content += f":{item.get('owner')}:{ident}"
    elif scope in PUBLIC:
        owner = str(item.get("owner")) if ours else ""
        # What is booted is not in the hash of an image that names others for it.
        content += "".join(f":{one}" for one in parts.values())
    return Thing(site, ident, str(name or ""), scope, content, {**shown, **parts}, owner)


def keypair(site: str, item: Mapping[str, Any], user_id: str) -> Thing | None:
    """A keypair of a user; None for what is none."""
    item = item.get("keypair", item)
    name, fingerprint = item.get("name"), item.get("fingerprint")
    if not isinstance(name, str) or not isinstance(fingerprint, str):
        return None
    return Thing(site, name, name, f"user:{user_id}", fingerprint, {"fingerprint": fingerprint})


def by_name(site: str, item: Mapping[str, Any]) -> Thing | None:
    """What goes by its name, under an id of each site's own; None for what is none."""
    ident, name = item.get("id"), item.get("name")
    if not isinstance(ident, str) or not isinstance(name, str):
        return None
    return Thing(site, ident, name, "", "", {})


def _digest(shown: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(shown, order="deterministic")).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What sites showed of a type of resource.

    `whole` are (site, scope) of which everything was shown: what is not among the things is gone there.
    `first` names the site that is known to have had an id first. `order` is that of the sites, `now` in
    seconds since 1970.
    """

    resource: str
    things: Sequence[Thing]
    whole: Collection[tuple[str, str]]
    order: Sequence[str]
    now: float
    first: Callable[[str], str | None] = lambda _: None


@dataclass(slots=True, eq=False)
class _Work:
    """A record in the making."""

    record: SameRecord
    ids: dict[str, str]
    foreign: dict[tuple[str, str], str]
    """Who sees what is something else, by (site, id)."""
    owner: str = ""
    new: bool = False
    old_key: str = ""  # of a record whose id is another now

    def made(self) -> SameRecord:
        """The record as it is to be."""
        foreign = tuple(Foreign(site, ident, scope) for (site, ident), scope in self.foreign.items())
        return replace_in(self.record, ids=self.ids, foreign=foreign, owner=self.owner)


def compared(known: Iterable[SameRecord], seen: Seen) -> tuple[list[SameRecord], list[str]]:
    """(the records to write, the keys of those to drop) after something was seen.

    A site that showed nothing keeps what was known of it; an id, once given, stays.
    """
    records = [one for one in known if one.resource == seen.resource]
    before = {one.key: one for one in records}
    if seen.resource == "image":
        records, seen = _filled(records, seen)
    taken = {(site, ident) for one in records if one.origin != "found" for site, ident in one.ids.items()}
    things = _by_owner([one for one in seen.things if (one.site, one.id) not in taken], records, seen)
    there = {(one.site, one.id): one for one in things}
    if seen.resource in BY_NAME:
        return _named([one for one in records if one.origin == "found"], there, seen)
    works = {one.identity: _kept(one, there, seen) for one in records if one.origin == "found"}
    former = _former(works, there)
    held = _Held([one for one in works.values() if one not in former.values()], seen.resource)
    for identity, group in _by_identity(things, seen).items():
        work = works.get(identity)
        if work is None:
            work = _new(identity, group, held, seen, former.get(identity))
            if work is None:
                continue
            works[identity] = work
        for one in group:
            work.ids.setdefault(one.site, one.id)
            work.owner = work.owner or one.owner
        held.add(work)
    used = {(site, ident) for work in works.values() for site, ident in work.ids.items()}
    for work in works.values():
        work.foreign = {at: scope for at, scope in work.foreign.items() if at not in used}
    _plain(works.values())
    return _changes(works.values(), seen.resource, before)


def _former(
    works: Mapping[tuple[str, str, str], _Work], there: Mapping[tuple[str, str], Thing]
) -> dict[tuple[str, str, str], _Work]:
    """What has another name or other specs now, everywhere, by what it is now."""
    former: dict[tuple[str, str, str], _Work] = {}
    for work in works.values():
        now = [there[member].identity for member in work.record.ids.items() if member in there]
        if not work.ids and now and now[0] not in works:
            former.setdefault(now[0], work)
    return former


def _filled(records: Sequence[SameRecord], seen: Seen) -> tuple[list[SameRecord], Seen]:
    """Records and things with the content of what has their id, name, scope and owner, where they have none.

    Where several have other contents it is that of the record, else that of the site that is first.
    """
    full: dict[Hashable, tuple[str, Mapping[str, Any]]] = {}
    for record in (one for one in records if one.origin == "found"):
        for ident in record.ids.values():
            _fill(full, record, ident)
    for thing in _in_order(seen.things, seen):
        _fill(full, thing, thing.id)
    kept = []
    for record in records:
        content = full.get(_copy(record, record.id)) if record.content.startswith(_EMPTY) else None
        kept.append(record if content is None else replace_in(record, content=content[0], shown=content[1]))
    things = []
    for thing in seen.things:
        content = full.get(_copy(thing, thing.id)) if thing.content.startswith(_EMPTY) else None
        things.append(thing if content is None else thing._replace(content=content[0], shown=content[1]))
    return kept, dataclasses.replace(seen, things=things)


def _copy(one: SameRecord | Thing, ident: str) -> Hashable:
    """What copies of one image have in common although one of them may have no bytes yet."""
    return ident, one.name, one.scope, one.shown.get("owner")


def _fill(full: dict[Hashable, tuple[str, Mapping[str, Any]]], one: SameRecord | Thing, ident: str) -> None:
    if not one.content.startswith(_EMPTY):
        full.setdefault(_copy(one, ident), (one.content, one.shown))


def _by_owner(things: Sequence[Thing], records: Iterable[SameRecord], seen: Seen) -> list[Thing]:
    """The things, those of another owner than the one who was first told apart from that one's."""
    whose = {one.identity: one.owner for one in records if one.owner}
    for one in _in_order(things, seen):
        if one.owner:
            whose.setdefault(one.identity, one.owner)
    return [
        one._replace(content=f"{one.content}:{one.owner}")
        if one.owner and whose[one.identity] != one.owner
        else one
        for one in things
    ]


def _named(
    records: Sequence[SameRecord], there: Mapping[tuple[str, str], Thing], seen: Seen
) -> tuple[list[SameRecord], list[str]]:
    """As `compared`, of what goes by its name. Who may see one is the sites' to say: it is in no scope."""
    names: dict[str, dict[str, str]] = {}
    for one in (one for group in _by_identity(there.values(), seen).values() for one in group):
        names.setdefault(one.name, {})[one.site] = one.id
    puts, drops, used = [], [], set()
    for record in records:
        shown = [there[member].name for member in record.ids.items() if member in there]
        name = shown[0] if shown else record.name
        now = names.pop(name, {})
        # What is not shown may be there; not under another id than the one that has the name now.
        ids = {
            site: ident
            for site, ident in record.ids.items()
            if (site, ident) not in there and site not in now and (site, "") not in seen.whole
        } | now
        if not set(ids.items()) & set(record.ids.items()):
            names[name] = now
            drops.append(record.key)
            continue
        used.add(record.id)
        if (name, ids) != (record.name, record.ids):
            puts.append(replace_in(record, name=name, ids=ids))
    for name, now in names.items():
        ident = next((one for one in now.values() if one not in used), None)
        if ident is not None and len(used) < MOST:
            used.add(ident)
            puts.append(SameRecord(resource=seen.resource, id=ident, ids=now, name=name, at=seen.now))
    written = {one.key for one in puts}
    return puts, [key for key in drops if key not in written]


def _plain(works: Collection[_Work]) -> None:
    """Give things that are `ID@SITE` their own id where that is nobody else's any more."""
    held = {work.record.id for work in works if work.ids or work.foreign}
    for work in works:
        plain, at, _ = work.record.id.rpartition("@")
        if (
            at
            and plain not in held
            and plain in work.ids.values()
            and work.record.id not in work.ids.values()
        ):
            held.add(plain)
            work.old_key, work.new = "" if work.new else work.record.key, True
            work.record = replace_in(work.record, id=plain)


def _kept(record: SameRecord, there: Mapping[tuple[str, str], Thing], seen: Seen) -> _Work:
    """A record without what is no longer so."""

    def stays(site: str, ident: str, scope: str, *, same: bool) -> bool:
        thing = there.get((site, ident))
        if thing is None:
            return (site, scope) not in seen.whole
        return (thing.identity == record.identity) is same

    ids = {site: one for site, one in record.ids.items() if stays(site, one, record.scope, same=True)}
    foreign = {
        (one.site, one.id): there[one.site, one.id].scope if (one.site, one.id) in there else one.scope
        for one in record.foreign
        if stays(one.site, one.id, one.scope, same=False)
    }
    if not ids and not any(member in there for member in record.ids.items()):
        # It is gone. What everybody sees under its id does not take its place; what is somebody's own may.
        foreign = {at: scope for at, scope in foreign.items() if scope in PUBLIC}
    return _Work(record, ids, foreign, record.owner)


def _by_identity(things: Iterable[Thing], seen: Seen) -> dict[tuple[str, str, str], list[Thing]]:
    """Equal things, those of the site that had their id first, then in the order of the sites."""
    found: dict[tuple[str, str, str], list[Thing]] = {}
    for one in _in_order(things, seen):
        found.setdefault(one.identity, []).append(one)
    return found


def _in_order(things: Iterable[Thing], seen: Seen) -> list[Thing]:
    """Those of the site that is known to have had their id first, then in the order of the sites."""
    place = {site: at for at, site in enumerate(seen.order)}
    return sorted(
        things, key=lambda one: (seen.first(one.id) != one.site, place.get(one.site, len(place)), one.id)
    )


class _Held:
    """Which ids are whose already."""

    def __init__(self, works: Iterable[_Work], resource: str) -> None:
        self._resource = resource
        self._by_id: dict[str, list[_Work]] = {}
        for work in works:
            if work.ids or work.foreign:
                self.add(work)

    def add(self, work: _Work) -> None:
        """A thing has its ids."""
        idents = {work.record.id}
        if self._resource == "image":
            # A site's own id may be in use, in a body or a script, though it is not the one that is shown.
            idents.update(work.ids.values())
        for ident in idents:
            ones = self._by_id.setdefault(ident, [])
            if all(one is not work for one in ones):
                ones.append(work)

    def of(self, ident: str, scope: str) -> _Work | None:
        """Whose an id is; that of a keypair, a name, only among those of its user."""
        ones = self._by_id.get(ident, ())
        if scope.startswith("user:"):
            ones = [one for one in ones if one.record.scope == scope]
        return min(ones, key=lambda one: one.record.id != ident, default=None)


def _new(
    identity: tuple[str, str, str], group: Sequence[Thing], held: _Held, seen: Seen, former: _Work | None
) -> _Work | None:
    """A record of things that are in none yet; None where all that they have are ids of other things.

    What was another by name or specs, the `former`, keeps its id and what is hidden for it.
    """
    scope, name, content = identity
    idents = [*([former.record.id] if former is not None else ()), *(one.id for one in group)]
    ident = next((one for one in idents if held.of(one, scope) is None), None)
    if ident is None:
        if seen.resource != "flavor":
            for one in group:
                holder = held.of(one.id, scope)
                if holder is not None:
                    holder.foreign[one.site, one.id] = one.scope
            return None
        ident = f"{group[0].id}@{group[0].site}"
    record = SameRecord(
        resource=seen.resource, id=ident, ids={}, name=name, scope=scope, content=content,
        shown=group[0].shown, at=seen.now,
    )  # fmt: skip
    made = _Work(record, {}, {}, new=True)
    if former is not None:
        made.foreign, former.foreign = former.foreign, made.foreign
    return made


def _changes(
    works: Collection[_Work], resource: str, before: Mapping[str, SameRecord]
) -> tuple[list[SameRecord], list[str]]:
    """(what to write, what to drop), within the bounds; `before` are the records that are there, by key."""
    puts, drops = [], []
    room = {True: MOST, False: MOST_OF_USERS}
    count = Counter(_room(work) for work in works if not work.new)
    for work in works:
        record = work.record
        if work.old_key:
            drops.append(work.old_key)
        if not _needed(work, resource):
            if not work.new:
                drops.append(record.key)
        elif work.new and not work.old_key:
            place = _room(work)
            count[place] += 1
            if count[place] <= room[record.scope in _OPERATORS]:
                puts.append(work.made())
        elif work.new or work.made() != before.get(record.key):
            puts.append(work.made())
    written = {one.key for one in puts}
    return puts, [key for key in drops if key not in written]


def _room(work: _Work) -> str:
    return "" if work.record.scope in _OPERATORS else work.record.scope


def _needed(work: _Work, resource: str) -> bool:
    """Whether it is worth a record: it has several ids, or may come to have."""
    if work.foreign:
        return True
    if resource == "keypair":
        return False
    return bool(work.ids) and (work.record.scope in _OPERATORS or len(work.ids) > 1)


def replace_in(record: SameRecord, **changes: Any) -> SameRecord:
    """The record with other values."""
    return msgspec.structs.replace(record, **changes)


# -- what people are told -------------------------------------------------------------------------

_UNITS: Final = {"ram": " MB", "disk": " GB", "ephemeral": " GB", "swap": " MB"}
_OPEN: Final = frozenset({"os_hash_algo", "owner", "visibility"})


def near_misses(records: Sequence[SameRecord]) -> list[dict[str, Any]]:
    """Things that share a name or an id and are not one, each with what differs in words."""
    named: dict[tuple[str, str, str], list[SameRecord]] = {}
    found: list[dict[str, Any]] = []
    for one in records:
        if one.origin == "found" and one.ids:
            named.setdefault((one.resource, one.scope, one.name), []).append(one)
        for other in one.foreign:
            holder = ", ".join(one.ids) or "no site now"
            found.append(
                {
                    "resource": one.resource,
                    "name": one.name,
                    "ids": {**one.ids, other.site: other.id},
                    "reason": f"{_words(one.resource)} {other.id} at {other.site} is another one than that "
                    f"of {holder}, which was there first: it is not shown and not used",
                }
            )
    found += _renamed(records)
    for (resource, _, name), ones in named.items():
        found += [
            {
                "resource": resource,
                "name": name,
                "ids": {**one.ids, **ones[0].ids},
                "reason": f"{_words(resource)} {name}: {differences(ones[0], one)}",
            }
            for one in ones[1:]
        ]
    return found


def _renamed(records: Sequence[SameRecord]) -> list[dict[str, Any]]:
    """Flavors of another name under an id that was another's first."""
    flavors = {one.id: one for one in records if one.resource == "flavor" and one.origin == "found"}
    return [
        {
            "resource": "flavor",
            "name": one.name,
            "ids": {**flavors[ident].ids, site: ident},
            "reason": f"flavor {ident} at {site} is {one.name}, and {flavors[ident].name} at "
            f"{_where(flavors[ident], ident)}: it is shown as {one.id}",
        }
        for one in flavors.values()
        for site, ident in one.ids.items()
        if ident != one.id and ident in flavors and flavors[ident].name != one.name
    ]


def _where(record: SameRecord, ident: str) -> str:
    """The sites whose own an id is."""
    own = [site for site, theirs in record.ids.items() if theirs == ident]
    return ", ".join(own or record.ids) or "no site now"


def differences(one: SameRecord, other: SameRecord) -> str:
    """What differs between two, in words: `paris has 2048 MB ram, tokyo 4096 MB ram`."""
    here, there = ", ".join(one.ids), ", ".join(other.ids)
    if one.apart or other.apart:
        return f"that of {here} and that of {there} were put apart"
    said = [
        f"{here} has {_value(key, value)}, {there} {_value(key, other.shown.get(key))}"
        for key, value in one.shown.items()
        if key not in _OPEN and value != other.shown.get(key)
    ]
    if not said and one.shown.get("owner") != other.shown.get("owner"):
        return f"that of {here} and that of {there} are of different projects"
    return "; ".join(said) or f"{here} and {there} have equal ones"


def reason(record: SameRecord) -> str:
    """Why the parts of a record are one thing."""
    if record.origin == "configured":
        return "declared in the configuration"
    if record.origin == "declared":
        return f"declared by the user {record.by}"
    what = {
        "flavor": "same name and specs",
        "keypair": "same name and fingerprint",
        **dict.fromkeys(BY_NAME, "same name"),
        "image": "same name, owner and hash"
        if record.scope not in PUBLIC
        else f"same name and hash, {record.scope}{', same owner' if record.owner else ''}",
    }[record.resource]
    return f"found: {what}" + (f"; put apart by the user {record.by}" if record.apart else "")


def _value(key: str, value: Any) -> str:
    if key == "os_hash_value":
        return f"the hash {str(value)[:12]}…"
    text = msgspec.json.encode(value).decode() if isinstance(value, dict) else str(value)
    return f"{text}{_UNITS.get(key, '')} {key}"


def _words(resource: str) -> str:
    return resource.replace("_", " ")
