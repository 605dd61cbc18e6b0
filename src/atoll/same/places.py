"""Where answers of the services name a flavor, an image, a volume type, a network, and how that is changed.

An id is translated only where its place says what it is the id of: `42` is a flavor here and a port number
there, and what users write into metadata stays. Works on bytes, as `core.rewrite` does: a quoted key with a
colon after it is a key, for a JSON string cannot hold a quote as it is.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from atoll.core.spans import find

Translate = Callable[[bytes], bytes]
Names = Mapping[bytes, bytes]

# The object under a key -> (its member that is an id, of which type).
_OBJECTS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "compute": {"flavor": ("id", "flavor"), "image": ("id", "image")},
    "block-storage": {"volume_image_metadata": ("image_id", "image")},
}
# Collections that links name things in.
_LINKS: Final = {"compute": {"flavors": "flavor", "images": "image"}}
# Texts that are an object which begins with such a key have ids of a type at these places below it.
_WHOLE: Final[Mapping[str, Mapping[str, Sequence[tuple[tuple[str, ...], str]]]]] = {
    "compute": {
        "flavors": ((("*", "id"), "flavor"),),
        "images": ((("*", "id"), "image"),),
        "flavor_access": ((("*", "flavor_id"), "flavor"),),
        "interfaceAttachment": ((("net_id",), "network"),),
        "interfaceAttachments": ((("*", "net_id"), "network"),),
    },
    "block-storage": {
        "volume_type": ((("id",), "volume_type"), (("qos_specs_id",), "qos_spec")),
        "volume_types": ((("*", "id"), "volume_type"), (("*", "qos_specs_id"), "qos_spec")),
        "volume_type_access": ((("*", "volume_type_id"), "volume_type"),),
        "volume_type_id": (((), "volume_type"),),  # of its encryption
        "volume": ((("volume_type_id",), "volume_type"),),
        "volumes": ((("*", "volume_type_id"), "volume_type"),),
        "qos_specs": ((("*", "id"), "qos_spec"), (("id",), "qos_spec")),
        "qos_associations": ((("*", "id"), "volume_type"),),
        "group_type": ((("id",), "group_type"),),
        "group_types": ((("*", "id"), "group_type"),),
        "default_type": ((("volume_type_id",), "volume_type"),),
        "default_types": ((("*", "volume_type_id"), "volume_type"),),
        "group_snapshot": ((("group_type_id",), "group_type"),),
        "group_snapshots": ((("*", "group_type_id"), "group_type"),),
        "group": ((("group_type",), "group_type"), (("volume_types", "*"), "volume_type")),
        "groups": ((("*", "group_type"), "group_type"), (("*", "volume_types", "*"), "volume_type")),
    },
}
# Glance's own: an image is flat, and these keys are not for users to set.
_IMAGE: Final = re.compile(rb'("(?:id|self|file|image_id)":\s*"(?:/v2/images/)?)([0-9A-Za-z-]{1,64})(?=["/])')
# Neutron has nothing that users name the keys of.
_NETWORK: Final = re.compile(rb'("[a-z_]*id":\s*")([0-9A-Za-z-]{1,64})(?=")')
_NETWORK_LISTS: Final = re.compile(rb'"(?:subnets|security_groups)":\s*\[[^\]{]*\]')
_QUOTED: Final = re.compile(rb'"([^"\\]*)"')
# How far before an id its link begins at most (bytes).
_LOOK_BACK: Final = 300


def translate_of(service_type: str, names: Mapping[str, Names]) -> Translate | None:
    """What changes the ids of a site in the answers of a service, None where nothing; `names` by type."""
    if service_type == "image":
        return _flat((_IMAGE,), names["image"]) if "image" in names else None
    if service_type == "network":
        every = {theirs: ours for one in names.values() for theirs, ours in one.items()}
        every = {theirs: ours for theirs, ours in every.items() if len(theirs) >= 32}
        return _network(every) if every else None
    steps: list[Translate] = []
    objects = {
        key.encode(): (member, names[resource])
        for key, (member, resource) in _OBJECTS.get(service_type, {}).items()
        if resource in names
    }
    if objects:
        steps.append(_Objects(objects))
    steps += [
        _Links(f"/{collection}/".encode(), names[resource])
        for collection, resource in _LINKS.get(service_type, {}).items()
        if resource in names
    ]
    whole = {
        key: [((key, *path), names[resource]) for path, resource in places if resource in names]
        for key, places in _WHOLE.get(service_type, {}).items()
    }
    if any(whole.values()):
        steps.append(_Whole(whole))
    return _all(steps) if steps else None


def _all(steps: list[Translate]) -> Translate:
    def translate(text: bytes) -> bytes:
        for step in steps:
            text = step(text)
        return text

    return translate


def _flat(patterns: tuple[re.Pattern[bytes], ...], names: Names) -> Translate:
    def one(found: re.Match[bytes]) -> bytes:
        return found.group(1) + names.get(found.group(2), found.group(2))

    def translate(text: bytes) -> bytes:
        for pattern in patterns:
            text = pattern.sub(one, text)
        return text

    return translate


def _network(names: Names) -> Translate:
    flat = _flat((_NETWORK,), names)

    def quoted(found: re.Match[bytes]) -> bytes:
        return b'"%b"' % names.get(found.group(1), found.group(1))

    def array(found: re.Match[bytes]) -> bytes:
        key, bracket, rest = found.group().partition(b"[")
        return key + bracket + _QUOTED.sub(quoted, rest)

    return lambda text: _NETWORK_LISTS.sub(array, flat(text))


def _put(text: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The text with some of it replaced, given in order."""
    if not changes:
        return text
    parts: list[bytes] = []
    at = 0
    for start, end, instead in changes:
        parts += (text[at:start], instead)
        at = end
    parts.append(text[at:])
    return b"".join(parts)


class _Objects:
    """Ids in objects that stand under a key: `"flavor": {"id": "42"`."""

    def __init__(self, members: Mapping[bytes, tuple[str, Names]]) -> None:
        either = b"|".join(map(re.escape, members))
        self._pattern = re.compile(rb'"(' + either + rb')":\s*(?=\{)')
        self._members = {
            key: (member, b'{"%b": "' % member.encode(), names) for key, (member, names) in members.items()
        }

    def __call__(self, text: bytes) -> bytes:
        changes = []
        for found in self._pattern.finditer(text):
            member, usual, names = self._members[found.group(1)]
            brace = found.end()
            if text.startswith(usual, brace):  # as most services write it
                start = brace + len(usual)
                end = text.find(b'"', start)
            else:
                start, end = next(find(text, (member,), brace), (0, 0))
                if text[start : start + 1] != b'"':
                    continue
                start, end = start + 1, end - 1
            ours = names.get(text[start:end])
            if ours is not None:
                changes.append((start, end, ours))
        return _put(text, changes)


class _Links:
    """Ids in links: `"href": "http://…/flavors/42"`."""

    def __init__(self, collection: bytes, names: Names) -> None:
        self._pattern = re.compile(re.escape(collection) + rb'([^"/?\\]+)(?=["/?])')
        self._names = names

    def __call__(self, text: bytes) -> bytes:
        changes = []
        for found in self._pattern.finditer(text):
            ours = self._names.get(found.group(1))
            if ours is None:
                continue
            start = found.start()
            quote = text.rfind(b'"', max(0, start - _LOOK_BACK), start)
            if text[max(0, quote - 8) : quote].endswith((b'"href": ', b'"href":')):
                changes.append((*found.span(1), ours))
        return _put(text, changes)


class _Whole:
    """Ids at places that are told from the start of the text."""

    def __init__(self, places: Mapping[str, Sequence[tuple[tuple[str, ...], Names]]]) -> None:
        self._places = {b'{"%b":' % key.encode(): some for key, some in places.items() if some}
        self._starts = tuple(self._places)

    def __call__(self, text: bytes) -> bytes:
        if not text.startswith(self._starts):
            return text
        for path, names in next(some for start, some in self._places.items() if text.startswith(start)):
            changes = [
                (begin + 1, end - 1, ours)
                for begin, end in find(text, path)
                if text[begin : begin + 1] == b'"'
                and (ours := names.get(text[begin + 1 : end - 1])) is not None
            ]
            text = _put(text, changes)
        return text
