"""Where answers and requests name a server, and how its id there becomes another.

An id is changed only where its place says that it is a server's: what users write into metadata stays. That
a text has any of the ids in it is found out first, by their form: most have none, and cost no more.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from atoll.core.spans import Path, around, splice

Translate = Callable[[bytes], bytes]
Names = Mapping[bytes, bytes]

_UUID: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Its middle is found ten times sooner, for it begins with a byte that is seldom; what is on its sides.
_MIDDLE: Final = re.compile(rb"-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-")
_BEFORE, _AFTER, _LENGTH = 8, 12, 36
_GOES_ON: Final = frozenset(
    bytes([one]) for one in b"-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
# No JSON has it, in a string or outside: what stands between items that are changed together.
_BETWEEN: Final = bytes(16)

_HREFS: Final[Path] = ("links", "*", "href")
# Of a server, of something that names one; below its envelope, or bare as items of lists pass.
_SERVER: Final[tuple[Path, ...]] = (
    ("id",), _HREFS, ("fault", "message"),
    *(("scheduler_hints", name, *each) for name in ("same_host", "different_host") for each in ((), ("*",))),
)  # fmt: skip
_BARE: Final[Mapping[str, tuple[Path, ...]]] = {
    "compute": (
        *_SERVER, ("members", "*"), ("serverId",), ("instance_uuid",), ("server_uuid",), ("instance_id",),
        ("servers", "*", "uuid"), ("server", "id"), ("server", *_HREFS), ("attachments", "*", "serverId"),
    ),
    "block-storage": (("instance",), ("attachments", "*", "server_id")),
    "network": (("device_id",), ("port_details", "device_id")),
}  # fmt: skip
_ENVELOPES: Final[Mapping[str, Mapping[str, tuple[Path, ...]]]] = {
    "compute": {
        "server": _SERVER,
        "volumeAttachment": (("serverId",),),
        "instanceAction": (("instance_uuid",),),
        "migration": (("instance_uuid",), ("server_uuid",), _HREFS),
        "server_group": (("members", "*"),),
        "hypervisor": (("servers", "*", "uuid"),),
        "console": (("instance_uuid",),),
        "floating_ip": (("instance_id",),),
        "image": (("server", "id"), ("server", *_HREFS)),
        "volume": (("attachments", "*", "serverId"),),
        "event": (("server_uuid",),),
    },
    "block-storage": {
        "volume": (("attachments", "*", "server_id"),),
        "attachment": (("instance",),),
    },
    "network": {"port": (("device_id",),), "floatingip": (("port_details", "device_id"),)},
}
_LINKS: Final = ("servers_links", "*", "href")
_FAULTS: Final = frozenset(
    {"badRequest", "unauthorized", "forbidden", "itemNotFound", "badMethod", "conflictingRequest",
     "overLimit", "badMediaType", "notImplemented", "serviceUnavailable", "computeFault", "NeutronError"}
)  # fmt: skip
# Where Nova writes the id of nearly every server: no object of a user's stands in an array, or begins a text.
_ITEMS: Final = (b'[{"id": "', b', {"id": "', b'{"server": {"id": "')
_FIRST: Final = b'{"id": "'
_HREF: Final = tuple(
    before + b'{"rel": "' + rel + b'", "href": "'
    for before in (b"[", b", ")
    for rel in (b"self", b"bookmark")
)
_LOOK_BACK: Final = 300

# Where bodies of requests name a server, by service.
_ASKED: Final[Mapping[str, frozenset[Path]]] = {
    "compute": frozenset(
        {
            *(
                (hints, name, *each)
                for hints in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints")
                for name in ("same_host", "different_host")
                for each in ((), ("*",))
            ),
            ("events", "*", "server_uuid"),
        }
    ),
    "block-storage": frozenset(
        {
            ("attachment", "instance_uuid"),
            ("os-attach", "instance_uuid"),
            ("OS-SCH-HNT:scheduler_hints", "local_to_instance"),
        }
    ),
    "network": frozenset({("port", "device_id"), ("ports", "*", "device_id")}),
}
SERVICES: Final = frozenset(_BARE)
"""Whose answers and requests name servers."""


def outward(service_type: str, names: Names) -> Translate:
    """What puts `names` (the site's id -> the client's) into the answers of a service."""
    places = _places(service_type)
    usual = _all_usual if service_type == "compute" else _none_usual

    def translate(text: bytes) -> bytes:
        if not _starts(text, names):
            return text
        return _BETWEEN.join([_changed(one, names, places, usual) for one in text.split(_BETWEEN)])

    return translate


def inward(service_type: str, text: bytes, names: Names) -> bytes:
    """A request's body with `names` (the client's id -> the site's) put in. Its JSON may be none at all."""
    return _changed(text, names, _ASKED[service_type].__contains__, _none_usual)


def named(text: bytes) -> Iterable[bytes]:
    """Whatever has the form of a server's id in a text."""
    return _UUID.findall(text)


def _starts(text: bytes, names: Names) -> list[int]:
    """Where ids stand in a text that are among some, ascending; not as parts of longer words."""
    found = []
    for one in _MIDDLE.finditer(text):
        start, end = one.start() - _BEFORE, one.end() + _AFTER
        if (
            text[start:end] in names
            and text[end : end + 1] not in _GOES_ON
            and (start == 0 or text[start - 1 : start] not in _GOES_ON)
        ):
            found.append(start)
    return found


def _places(service_type: str) -> Callable[[Path], bool]:
    """What says of a path in an answer whether the id of a server stands there."""
    whole = set(_BARE[service_type])
    for envelope, paths in _ENVELOPES[service_type].items():
        for path in paths:
            whole |= {(envelope, *path), (f"{envelope}s", "*", *path)}
    whole.add(_LINKS)

    def is_one(path: Path) -> bool:
        return path in whole or (len(path) == 2 and path[1] == "message" and path[0] in _FAULTS)

    return is_one


def _changed(
    text: bytes, names: Names, is_place: Callable[[Path], bool], usual: Callable[[bytes, list[int]], bool]
) -> bytes:
    """One text in JSON with the ids at their places changed."""
    starts = _starts(text, names)
    if not starts:
        return text
    changes = [((start, start + _LENGTH), names[text[start : start + _LENGTH]]) for start in starts]
    if usual(text, starts):
        return splice(text, changes)
    changed = []
    for path, (start, end) in around(text, starts):
        if is_place(path):
            alone = path[-1] not in {"href", "message"}
            inside = changes[bisect_left(starts, start) : bisect_left(starts, end)]
            changed += [one for one in inside if not alone or one[0] == (start + 1, end - 1)]
    return splice(text, changed)


def _all_usual(text: bytes, starts: list[int]) -> bool:
    """Whether ids stand nowhere but where Nova writes those of servers, in the form in which it does."""
    return all(
        text.endswith(_ITEMS, 0, start)
        or (start == len(_FIRST) and text.startswith(_FIRST))
        or _is_href(text, start)
        for start in starts
    )


def _is_href(text: bytes, start: int) -> bool:
    """Whether an id ends the link of a server, in the form in which Nova writes links."""
    quote = text.rfind(b'"', max(0, start - _LOOK_BACK), start)
    return text.endswith(_HREF, 0, quote + 1) and text.endswith(b"/servers/", 0, start)


def _none_usual(text: bytes, starts: list[int]) -> bool:
    del text, starts
    return False
