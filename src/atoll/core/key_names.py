"""Keypairs of many users under one user of a site: each has its own, by a name that begins with who it is.

Nova takes `@` in a name from 2.92 on only, so what stands between is a dash; a user's id has a fixed form.
"""

import re
from collections.abc import Callable
from urllib.parse import quote_plus

import msgspec

from atoll.core.spans import find, splice

_PLACES = (("keypair", "name"), ("server", "key_name"), ("rebuild", "key_name"))
_SHOWN = re.compile(rb'("key_name":\s*")[0-9a-f]{32,64}-(?=[^"])')
_NAMED = b'"key_name":'
# A list, of which only some items are the user's, or one keypair.
_KEYPAIRS = re.compile(rb'\s*\{\s*"keypair(s)?":')
_COLLECTION = b"/os-keypairs"


class KeyNames:
    """The names of one user's keypairs at a site."""

    __slots__ = ("_begun", "_prefix", "_quoted")

    def __init__(self, user_id: str) -> None:
        self._prefix = f"{user_id}-".encode()
        self._begun = b'"' + self._prefix
        self._quoted = quote_plus(f"{user_id}-").encode()

    def target(self, target: bytes) -> bytes:
        """A path with its query, with the names that the site has."""
        if _COLLECTION not in target and b"key_name=" not in target:
            return target
        path, mark, query = target.partition(b"?")
        before, collection, name = path.partition(_COLLECTION)
        if collection and len(name) > 1:
            path = before + collection + b"/" + self._quoted + name[1:]
        if query and collection:
            # The site's pages count everybody's: all of them are asked for.
            query = self._prefixed(query, b"marker=", keep=lambda one: not one.startswith(b"limit="))
        elif b"key_name=" in query:
            query = self._prefixed(query, b"key_name=")
        return path + mark + query

    def inward(self, text: bytes) -> bytes:
        """A body, with the name that the site has."""
        if b'"key' not in text:
            return text
        changes = []
        for place in _PLACES:
            for start, end in find(text, place):
                if text[start:end].startswith(b'"') and end - start > 2:
                    changes.append(((start, start + 1), b'"' + self._prefix))
        return splice(text, changes)

    def outward(self, text: bytes) -> bytes:
        """An answer, with the names that the user gave; of a list only what is the user's."""
        if (found := _KEYPAIRS.match(text)) is not None:
            return (self._own(text) if found.group(1) else text).replace(self._begun, b'"')
        # Whoever made a server, it has the key's own name.
        at = text.find(_NAMED)
        if at < 0:
            return text
        if text.find(_NAMED, at + 1) >= 0:
            return _SHOWN.sub(rb"\1", text)
        found = _SHOWN.match(text, at)
        return text if found is None else text[: found.end(1)] + text[found.end() :]

    def said(self, text: bytes) -> bytes:
        """A message, with the names that the user gave."""
        return text.replace(self._prefix, b"")

    def _own(self, text: bytes) -> bytes:
        content = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        items = msgspec.json.decode(content["keypairs"], type=list[msgspec.Raw])
        named = b'"name":'
        kept = [
            item for item in items if bytes(item).replace(b" ", b"").find(named + b'"' + self._prefix) >= 0
        ]
        return msgspec.json.encode(content | {"keypairs": kept})

    def _prefixed(self, query: bytes, name: bytes, keep: Callable[[bytes], bool] = lambda _: True) -> bytes:
        parts = [part for part in query.split(b"&") if keep(part)]
        return b"&".join(
            name + self._quoted + part[len(name) :] if part.startswith(name) and part != name else part
            for part in parts
        )
