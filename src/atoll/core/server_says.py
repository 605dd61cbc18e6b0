"""What a site's own server says of itself: which id clients hold for it. Pure.

A server made under an alias carries that in its metadata, from its creation on. So it is known for what it
is before anybody has heard the id that its site gave it.
"""

from typing import Final

import msgspec

MARK: Final = "atoll_id"
"""The key in the metadata of a server that Atoll made under an alias."""

_QUOTED: Final = f'"{MARK}"'.encode()


class _Marked(msgspec.Struct):
    tenant_id: str
    metadata: dict[str, str]


_decode = msgspec.json.Decoder(_Marked).decode


def marked(item: bytes) -> tuple[str, str]:
    """(which id a server says is its own to clients, its project); "" where it says nothing."""
    if _QUOTED not in item:
        return "", ""
    try:
        found = _decode(item)
    except msgspec.MsgspecError:
        return "", ""  # the key of something else
    return found.metadata.get(MARK, ""), found.tenant_id
