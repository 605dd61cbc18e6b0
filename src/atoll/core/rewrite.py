"""What Atoll changes in a site's answer: links, zone names and declared equivalents. Nothing else.

Works on bytes. A JSON string cannot hold an unescaped quote, so a quoted key with its colon is a key; what
remains is to tell the API's keys from those that users choose (metadata). Links stand in arrays of objects,
where no service puts user data; zone names are checked by position when the key occurs more than once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from operator import contains
from typing import Final

from atoll.core.key_names import KeyNames
from atoll.core.spans import find, splice

# What stands before the URL of a link: an array's bracket or comma, then the object. Neutron writes the
# href first, Nova the rel; Cinder and Nova know further members.
_BEFORE_HREF = re.compile(
    rb'[\[,]\s*\{\s*(?:"(?:rel|type|media-types|min_version|max_version)":\s*"[^"\\]*",\s*)*"href":\s*"\Z'
)
# How Nova and Cinder write it nearly always: looked for first, for it is the request path.
_USUAL = tuple(
    before + b'{"rel": "' + rel + b'", "href": "'
    for before in (b"[", b", ")
    for rel in (b"self", b"bookmark")
)
# Keystone's links are one object: {"links": {"self": …, "next": …}}.
_IN_LINKS = re.compile(rb'"links":\s*\{[^{}]*"\Z')
# No service puts more than this before an href in its object (bytes).
_LOOK_BACK = 200
# Ids that are looked for one by one; more are found by their form.
_FEW = 4
# Values of names kept: zones are few.
_REMEMBERED = 1000
_AN_IMAGE = re.compile(rb"/images/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z")
_URL_GOES_ON = (b"/", b'"', b"?")


@dataclass(frozen=True, slots=True)
class Links:
    """The beginnings of a site's URLs and what stands for them at Atoll, longest first."""

    bases: tuple[tuple[bytes, bytes], ...]
    objects: bool = False  # links stand in an object, as Keystone's do
    images: bytes = b""  # where Atoll has images, for a service that makes some

    def rewrite(self, text: bytes) -> bytes:
        """The text with the site's links pointing at Atoll."""
        for base, ours in self.bases:
            pieces = text.split(base)
            if len(pieces) > 1:
                text = ours.join(pieces) if _usual(pieces) else self._joined(text, pieces, base, ours)
        return text

    def _joined(self, text: bytes, pieces: list[bytes], base: bytes, ours: bytes) -> bytes:
        """The pieces between the bases, joined with ours where the base begins a link."""
        parts: list[bytes] = []
        at = 0
        for before, after in pairwise(pieces):
            at += len(before)
            # "http://site:8774" must not match "http://site:87745"
            link = after.startswith(_URL_GOES_ON) and (before.endswith(_USUAL) or self._is_link(text, at))
            parts += (before, ours if link else base)
            at += len(base)
        parts.append(pieces[-1])
        return b"".join(parts)

    def _is_link(self, text: bytes, at: int) -> bool:
        start = max(0, at - _LOOK_BACK)
        if _BEFORE_HREF.search(text, start, at) is not None:
            return True
        return self.objects and _IN_LINKS.search(text, max(0, at - 1000), at) is not None

    def location(self, value: bytes, root: bytes, *, within: bool = False) -> bytes | None:
        """A Location header, pointing at Atoll; None where it leads to nothing below a site's `root`.

        `within` leaves out what is at another address than the site's.
        """
        for base, ours in self.bases:
            if value.startswith(base) and value[len(base) : len(base) + 1] in _URL_GOES_ON:
                return ours + value[len(base) :]
        if within:
            return None
        # Nova tells an image that it made by a URL of Glance, in which nothing but the id counts.
        if self.images and (image := _AN_IMAGE.search(value)) is not None:
            return self.images + image.group(1)
        # By another name of the site's, or another site: only the path is used.
        path = re.sub(rb"\A[a-z]+://[^/]*", b"", value)
        if not path.startswith(root + b"/") or path.startswith(b"//"):
            return None
        return self.bases[0][1] + path[len(root) :]


def _usual(pieces: list[bytes]) -> bool:
    """Whether what was split at the base of links was split at nothing but links in the usual form."""
    for before in pieces[:-1]:
        if not before.endswith(_USUAL):
            return False
    for after in pieces[1:]:  # noqa: SIM110 - a generator takes twice as long
        if not after.startswith(_URL_GOES_ON):
            return False
    return True


# Keys that name a project or user in bodies of requests; a value under another key is the user's own.
_OWNERS = (
    "project_id", "tenant_id", "tenant", "project", "owner", "owner_id", "user_id", "member", "target_tenant",
    "target_project_id", "requested_project_id", "os-vol-tenant-attr:tenant_id", "project_domain_id",
)  # fmt: skip
_KEYED = re.compile(rb'"(?:' + b"|".join(re.escape(key.encode()) for key in _OWNERS) + rb')"\s*:\s*"')
# Shorter ids (the domain `default`) are words that stand for other things too.
_LEAST = 32
_ID = rb"[0-9a-f-]{32,64}"


class _Scope:
    """The project after the version in a path or link, and what is put there."""

    __slots__ = ("instead", "pattern", "probe")

    def __init__(self, pattern: bytes, instead: bytes, probe: bytes) -> None:
        self.pattern = re.compile(pattern)
        self.instead = instead
        self.probe = probe  # not in a text without it


# What stands around an id that is one by itself: a string's quotes, a URL's separators.
_BEGINS = (b'"', b"/", b"=")
_ENDS = (b'"', b"/", b"?", b"&")


def _put(text: bytes, theirs: bytes, ours: bytes) -> bytes:
    """The text with one id for the other, wherever it stands by itself."""
    pieces = text.split(theirs)
    if len(pieces) == 1:
        return text
    joints = [
        ours if before.endswith(_BEGINS) and after.startswith(_ENDS) else theirs
        for before, after in pairwise(pieces)
    ]
    if theirs not in joints:
        return ours.join(pieces)
    return b"".join([*chain.from_iterable(zip(pieces, joints, strict=False)), pieces[-1]])


def _translated(here: Mapping[str, str]) -> dict[bytes, bytes]:
    """Ids that are long enough to be nothing else, and others at the site."""
    return {
        ours.encode(): theirs.encode()
        for ours, theirs in here.items()
        if ours != theirs and min(len(ours), len(theirs)) >= _LEAST
    }


class Others:
    """Further projects that a request or an answer may name: whom an image or a network is shared with.

    Looked for only where one may stand, for there may be very many.
    """

    SERVICES: Final = frozenset({"image", "network"})
    """Whose answers may name one."""

    __slots__ = ("here", "there")
    _IN_BODY = (b'"member"', b'"target_tenant"')
    # A key, and the same where its value can be an id: a user's metadata have an `owner` too.
    _IN_ANSWER = tuple(
        (key, re.compile(key + rb':\s*"' + _ID + b'"'))
        for key in (b'"member_id"', b'"target_tenant"', b'"owner"')
    )

    def __init__(self, here: Mapping[str, str]) -> None:
        self.here = _translated(here)
        self.there = {theirs: ours for ours, theirs in reversed(self.here.items())}

    def in_path(self, target: bytes) -> bool:
        """Whether a path may name one."""
        return bool(self.here) and (b"?" in target or b"/members/" in target)

    def in_body(self, text: bytes) -> bool:
        """Whether a body may name one."""
        return bool(self.here) and any(key in text for key in self._IN_BODY)

    def in_answer(self, text: bytes) -> bool:
        """Whether an answer may name one."""
        if self.here:
            for key, pattern in self._IN_ANSWER:
                at = text.find(key)
                while at >= 0:
                    if pattern.match(text, at) is not None:
                        return True
                    at = text.find(key, at + 1)
        return False


NO_OTHERS = Others({})


class Ids:
    """Ids of projects and users that a site knows by others: `here` maps the clients' to the site's.

    `keys` are the names of the user's keypairs, where several users are one at the site. `scope` is the
    project that a path may name after its version, (the clients', the token's): an administrator's credential
    has one of its own there, while further on the same path may name any project.
    """

    __slots__ = ("_few", "_here", "_keys", "_others", "_scope_here", "_scope_there", "_there")
    _IN_PATH = re.compile(rb"(?<![^/=])" + _ID + rb"(?![^/?&])")
    _IN_BODY = re.compile(_KEYED.pattern + b"(" + _ID + b')"')
    _ANYWHERE = re.compile(rb"(?<=[\"/=])" + _ID + rb"(?=[\"/?&])")
    _SAID = re.compile(
        rb"(?<![0-9A-Za-z])(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9A-Za-z])"
    )

    def __init__(
        self,
        here: Mapping[str, str],
        keys: KeyNames | None = None,
        *,
        scope: tuple[str, str] | None = None,
        others: Others = NO_OTHERS,
    ) -> None:
        self._keys = keys
        self._others = others
        self._scope_here = self._scope_there = None
        if scope is not None and here.get(scope[0], scope[0]) != scope[1]:
            ours, theirs = (one.encode() for one in scope)
            self._scope_here = _Scope(rb"\A(/v[0-9.]+/)%b(?![^/?])" % re.escape(ours), theirs, ours)
            self._scope_there = _Scope(rb"(/v[0-9.]+/)%b(?=[\"/?])" % re.escape(theirs), ours, b"/" + theirs)
        self._here = pairs = _translated(here)
        # Several that are one there are called by the first.
        self._there = {theirs: ours for ours, theirs in reversed(pairs.items())}
        self._few = tuple(self._there.items()) if len(self._there) <= _FEW else ()

    _NAMES_NONE = re.compile(rb"(?!.*(?:[?]|[0-9a-f-]{32}|/members/|/os-keypairs))")

    @classmethod
    def names_none(cls, path: bytes) -> bool:
        """Whether a path, whatever the ids are, is the same at every site."""
        return cls._NAMES_NONE.match(path) is not None

    def target(self, target: bytes) -> bytes:
        """A path with its query, or a part of it, as the site knows it."""
        if self._keys is not None:
            target = self._keys.target(target)
        start = b""
        if self._scope_here is not None and (found := self._scope_here.pattern.match(target)) is not None:
            start, target = found.group(1) + self._scope_here.instead, target[found.end() :]
        if self._others.in_path(target):
            target = self._sent(target, self._others.here)
        for ours in self._here:
            if ours in target:
                target = self._sent(target, self._here)
                break
        return start + target if start else target

    def _sent(self, target: bytes, here: Mapping[bytes, bytes]) -> bytes:
        return self._IN_PATH.sub(lambda found: here.get(found.group(), found.group()), target)

    def inward(self, text: bytes) -> bytes:
        """A body in JSON as the site knows it: what names a project, a user or a key, nothing else."""
        if self._keys is not None:
            text = self._keys.inward(text)
        here: Mapping[bytes, bytes] = self._here
        if self._others.in_body(text):
            here = {**self._others.here, **here}
        elif not any(ours in text for ours in here):
            return text
        found = self._IN_BODY.finditer(text)
        return splice(text, [(one.span(1), here[one.group(1)]) for one in found if one.group(1) in here])

    def outward(self, text: bytes, *, others: bool = True) -> bytes:
        """An answer as clients know it, links included. Only the site could have said its own ids.

        `others` is False where the service names nobody else's.
        """
        if self._keys is not None:
            text = self._keys.outward(text)
        if self._scope_there is not None and self._scope_there.probe in text:
            text = self._scope_there.pattern.sub(rb"\g<1>" + self._scope_there.instead, text)
        there = self._there
        if others and self._others.in_answer(text):
            there = {**self._others.there, **there}
        elif self._few:
            for one, ours in self._few:
                text = _put(text, one, ours)
            return text
        elif not any(theirs in text for theirs in there):
            return text
        return self._ANYWHERE.sub(lambda found: there.get(found.group(), found.group()), text)

    def said(self, text: bytes) -> bytes:
        """A message or a header of the site's as clients know it: an id may stand between any two words."""
        if self._keys is not None:
            text = self._keys.said(text)

        def ours(found: re.Match[bytes]) -> bytes:
            ident = found.group()
            if self._scope_there is not None and ident == self._scope_there.probe[1:]:
                return self._there.get(ident, self._scope_there.instead)
            return self._there.get(ident) or self._others.there.get(ident, ident)

        return self._SAID.sub(ours, text)


class Names:
    """Names of one site that clients see by another: availability zones.

    `keys` are the JSON keys that carry them (as string, or array of strings); `names` maps the site's to
    ours, `other` is what stands for every name that is not in it (None: itself). An empty list under one of
    `filled` becomes `[other]`: the site was told nothing, since the zone is all of it.
    """

    __slots__ = ("_keys", "_last", "_longest", "_names", "_other", "_pattern", "_probe", "_values")

    def __init__(
        self,
        keys: Sequence[str],
        names: Mapping[str, str],
        other: str | None = None,
        filled: frozenset[str] = frozenset(),
    ) -> None:
        self._keys = tuple(keys)
        self._names = names
        self._other = other
        either = b"|".join(re.escape(key.encode()) for key in keys)
        self._pattern = re.compile(rb'"(' + either + rb')":\s*("[^"\\]*"|\[[^\]\\]*\])')
        self._longest = max(len(key) for key in keys) + 1
        # What all keys have in them, to find out cheaply that a text has none, or one.
        self._probe = _common(keys).encode()
        self._values = _Values(names, other, filled)
        # What was found last: how far before the probe it began, the text, what was put instead.
        self._last = (0, b"\0", b"")

    def rewrite(self, item: bytes, envelope: tuple[str, ...] = ()) -> bytes:
        """One item (or an envelope with one) with its names translated.

        `envelope` is the path from the start of the text to the object whose keys count.
        """
        at = item.find(self._probe)
        if at < 0:
            return item
        if item.find(self._probe, at + 1) >= 0:
            return self._several(item, envelope)
        lead, text, instead = self._last
        if at >= lead and item.startswith(text, at - lead):
            return b"".join((item[: at - lead], instead, item[at - lead + len(text) :]))
        found = self._pattern.search(item, max(0, at - self._longest))
        if found is None:
            return item
        start, end = found.span(2)
        instead = item[found.start() : start] + self._values[found.groups()]
        # Most answers say the same as the one before.
        self._last = (at - found.start(), found.group(), instead)
        return b"".join((item[: found.start()], instead, item[end:]))

    def rewrite_each(self, text: bytes, between: bytes, count: int) -> bytes:
        """So many items at once, with something between them that is in none of them."""
        found = self._pattern.search(text)
        if found is None:
            return text
        # Most items say the same: where each says it once, and nothing else, it is replaced in all at once.
        pieces = text.split(found.group())
        if (
            len(pieces) == count + 1
            and all(map(contains, pieces[1:-1], repeat(between)))
            and text.count(self._probe) == count
        ):
            key, value = found.groups()
            instead = found.group()[: -len(value)] + self._values[key, value]
            return instead.join(pieces)
        return between.join([self.rewrite(item) for item in text.split(between)])

    def _several(self, item: bytes, envelope: tuple[str, ...]) -> bytes:
        """Where a key stands twice, one may be a user's: only its place tells."""
        found = list(self._pattern.finditer(item))
        if len({one.group(1) for one in found}) == len(found):
            return splice(item, [(one.span(2), self._values[one.groups()]) for one in found])
        changes = []
        for key in self._keys:
            for start, end in find(item, (*envelope, key)):
                changes.append(((start, end), self._values[key.encode(), item[start:end]]))
        return splice(item, changes)


class _Values(dict[tuple[bytes, ...], bytes]):
    """(key, value as it stands in JSON) -> the value as clients see it; each is worked out once."""

    def __init__(self, names: Mapping[str, str], other: str | None, filled: frozenset[str]) -> None:
        super().__init__()
        self._names = names
        self._other = other
        self._filled = filled

    def __missing__(self, at: tuple[bytes, ...]) -> bytes:
        key, raw = at
        if (
            self._other is not None
            and raw[:1] == b"["
            and not raw[1:-1].strip()
            and key.decode() in self._filled
        ):
            value = b'["%b"]' % self._other.encode()
        else:
            value = re.sub(rb'"([^"\\]+)"', self._one, raw)
        # Names come from sites: a site that makes them up must not fill the memory.
        if len(self) >= _REMEMBERED:
            self.clear()
        self[at] = value
        return value

    def _one(self, found: re.Match[bytes]) -> bytes:
        name = found.group(1).decode()
        return b'"%b"' % self._names.get(name, name if self._other is None else self._other).encode()


def _common(keys: Sequence[str]) -> str:
    """The longest text that is in every key."""
    first = min(keys, key=len)
    parts = (first[i:j] for i in range(len(first)) for j in range(len(first), i, -1))
    return max((part for part in parts if all(part in key for key in keys)), key=len)
