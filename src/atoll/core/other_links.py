"""Links in the answers of services beside the five: each has places of its own for them.

Works on bytes, as `rewrite` does. A link is a string under one of a few keys; a string elsewhere that holds a
site's URL is the user's own.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from atoll.core.rewrite import Links

_LINK: Final = re.compile(
    rb'("(?:href|self|first|next|previous|last|bookmark|[a-z_]+_ref)"\s*:\s*")((?:https?:/)?/[^"\\]*)'
)
_GOES_ON: Final = frozenset({b"/", b"?", b""})


@dataclass(frozen=True, slots=True)
class OtherLinks(Links):
    """As `Links`. `root`: the path of the site's endpoint, where the service's links are paths, else None."""

    root: bytes | None = None

    def rewrite(self, text: bytes) -> bytes:
        """The text with the site's links pointing at Atoll."""
        return _LINK.sub(lambda found: found.group(1) + self._ours(found.group(2)), text)

    def _ours(self, url: bytes) -> bytes:
        for base, ours in self.bases:
            if url.startswith(base) and url[len(base) : len(base) + 1] in _GOES_ON:
                return ours + url[len(base) :]
        if self.root is not None and url.startswith(self.root + b"/"):
            path = re.sub(rb"\Ahttps?://[^/]*", b"", self.bases[0][1])
            return path + url[len(self.root) :]
        return url

    def at(self, ours: bytes) -> Self:
        """The same, for links that are to begin otherwise."""
        return replace(self, bases=tuple((theirs, ours) for theirs, _ in self.bases))


def links_of(text: bytes, public_url: bytes) -> list[tuple[str, bytes]]:
    """(service, path below it) of each of a body's strings that is a URL of Atoll's."""
    start = b'"' + public_url + b"/"
    if start not in text:
        return []
    pattern = re.compile(re.escape(start) + rb'([a-z-]+)(?:@[^/"]+)?/([^"\\]*)"')
    return [(found.group(1).decode(), found.group(2)) for found in pattern.finditer(text)]


def inward(text: bytes, public_url: bytes, theirs: dict[bytes, bytes]) -> bytes:
    """A body with its links to Atoll's services (`theirs`: to where, by type) pointing at a site."""
    start = b'"' + public_url + b"/"
    if start not in text:
        return text
    pattern = re.compile(re.escape(start) + rb"([a-z-]+)(?:@[^/\"]+)?(?=[/\"])")

    def one(found: re.Match[bytes]) -> bytes:
        base = theirs.get(found.group(1))
        return found.group() if base is None else b'"' + base

    return pattern.sub(one, text)
