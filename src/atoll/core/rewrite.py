"""What Atoll changes in a site's answer: links, zone names and declared equivalents. Nothing else.

Works on bytes. A JSON string cannot hold an unescaped quote, so a quoted key with its colon is a key; what
remains is to tell the API's keys from those that users choose (metadata). Links stand in arrays of objects,
where no service puts user data; zone names are checked by position when the key occurs more than once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.core.spans import find, splice

# What stands before the URL of a link: an array's bracket or comma, then the object. Neutron writes the
# href first, Nova the rel; Cinder and Nova know further members.
_BEFORE_HREF = re.compile(
    rb'[\[,]\s*\{\s*(?:"(?:rel|type|media-types|min_version|max_version)":\s*"[^"\\]*",\s*)*"href":\s*"\Z'
)
# Keystone's links are one object: {"links": {"self": …, "next": …}}.
_IN_LINKS = re.compile(rb'"links":\s*\{[^{}]*"\Z')
# No service puts more than this before an href in its object (bytes).
_LOOK_BACK = 200
_URL_GOES_ON = frozenset({b"/", b'"', b"?"})


@dataclass(frozen=True, slots=True)
class Links:
    """The beginnings of a site's URLs and what stands for them at Atoll, longest first."""

    bases: tuple[tuple[bytes, bytes], ...]
    objects: bool = False  # links stand in an object, as Keystone's do

    def rewrite(self, text: bytes) -> bytes:
        """The text with the site's links pointing at Atoll."""
        for base, ours in self.bases:
            if base not in text:
                continue
            text = self._replace(text, base, ours)
        return text

    def _replace(self, text: bytes, base: bytes, ours: bytes) -> bytes:
        parts = []
        last = 0
        size = len(base)
        at = text.find(base)
        while at >= 0:
            end = at + size
            # "http://site:8774" must not match "http://site:87745"
            if text[end : end + 1] in _URL_GOES_ON and self._is_link(text, at):
                parts += [text[last:at], ours]
                last = end
            at = text.find(base, end)
        if not parts:
            return text
        return b"".join([*parts, text[last:]])

    def _is_link(self, text: bytes, at: int) -> bool:
        start = max(0, at - _LOOK_BACK)
        if _BEFORE_HREF.search(text, start, at) is not None:
            return True
        return self.objects and _IN_LINKS.search(text, max(0, at - 1000), at) is not None

    def location(self, value: bytes) -> bytes:
        """A Location header, pointing at Atoll."""
        for base, ours in self.bases:
            if value.startswith(base):
                return ours + value[len(base) :]
        return value


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one site that clients see by another: zones, or ids of equivalents.

    `keys` are the JSON keys that carry them (as string, or array of strings); `names` maps the site's to
    ours, `other` is what stands for every name that is not in it (None: itself).
    """

    keys: tuple[str, ...]
    names: Mapping[str, str]
    other: str | None = None
    filled: frozenset[str] = frozenset()  # keys whose empty list becomes [other]: the site was told nothing
    _pattern: re.Pattern[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        keys = b"|".join(re.escape(key.encode()) for key in self.keys)
        pattern = re.compile(rb'"(' + keys + rb')":\s*("[^"\\]*"|\[[^\]\\]*\])')
        object.__setattr__(self, "_pattern", pattern)

    def translated(self, name: str) -> str:
        """What a client sees for a site's name."""
        return self.names.get(name, name if self.other is None else self.other)

    def rewrite(self, item: bytes, envelope: tuple[str, ...] = ()) -> bytes:
        """One item (or an envelope with one) with its names translated.

        `envelope` is the path from the start of the text to the object whose keys count.
        """
        found = self._pattern.search(item)
        if found is None:
            return item
        if self._pattern.search(item, found.end()) is not None:
            return self._by_position(item, envelope)
        start, end = found.span(2)
        return item[:start] + self._value(found.group(1).decode(), found.group(2)) + item[end:]

    def _by_position(self, item: bytes, envelope: tuple[str, ...]) -> bytes:
        changes = []
        for key in self.keys:
            for start, end in find(item, (*envelope, key)):
                changes.append(((start, end), self._value(key, item[start:end])))
        return splice(item, changes)

    def _value(self, key: str, raw: bytes) -> bytes:
        if self.other is not None and key in self.filled and not raw[1:-1].strip() and raw[:1] == b"[":
            return b'["%b"]' % self.other.encode()
        return re.sub(rb'"([^"\\]*)"', self._one, raw)

    def _one(self, found: re.Match[bytes]) -> bytes:
        name = found.group(1)
        return b'"%b"' % self.translated(name.decode()).encode() if name else found.group()
