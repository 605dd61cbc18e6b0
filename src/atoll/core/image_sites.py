"""What an image says of the sites that have it, and how one of several sites is shown as one. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from atoll.core.spans import Span, find, splice

PROPERTY: Final = "atoll_sites"
"""Where the bytes of an image are to be, in a create; where they are, in an answer."""

STATUS: Final = "atoll_sites_status"
"""The status at each site, in an answer."""

ALL: Final = "all"

# What an image is that is not the same everywhere: the first of these that some site says.
LEAST_FIRST: Final = (
    "killed", "deleted", "pending_delete", "queued", "saving", "uploading", "importing", "deactivated",
    "active",
)  # fmt: skip


def where(names: Sequence[str], everywhere: Sequence[str]) -> str:
    """Sites in the form in which a create names them."""
    return ALL if len(everywhere) > 1 and set(names) >= set(everywhere) else ",".join(names)


def together(
    text: bytes, shown: Mapping[str, Mapping[str, Any]], away: Mapping[str, Any], everywhere: Sequence[str]
) -> bytes:
    """An image as one site shows it, with what it is at all of them.

    Its status is what is least of all: it is active when it is so wherever it was asked for. Stores are
    `STORE@SITE`, as what is a site's own is called.
    """
    names = [name for name in everywhere if name in shown or name in away]
    said = {name: str(one.get("status")) for name, one in shown.items()}
    least = min(said.values(), key=lambda one: LEAST_FIRST.index(one) if one in LEAST_FIRST else -1)
    stores = [
        f"{store}@{name}"
        for name in names
        for store in str(shown.get(name, {}).get("stores") or "").split(",")
        if store
    ]
    changes = [(span, msgspec.json.encode(least)) for span in find(text, ("status",))]
    if stores:
        changes += [(span, msgspec.json.encode(",".join(stores))) for span in find(text, ("stores",))]
    told = {
        PROPERTY: where(names, everywhere),
        STATUS: ",".join(f"{name}={said.get(name, 'unknown')}" for name in names),
    }
    return with_properties(text, told, changes)


def with_properties(
    text: bytes, told: Mapping[str, str], changes: Sequence[tuple[Span, bytes]] = ()
) -> bytes:
    """An image changed, with further properties at its end."""
    return with_members(splice(text, changes), members(told))


def members(told: Mapping[str, str]) -> bytes:
    """Further properties as they stand at the end of an image."""
    return b", " + msgspec.json.encode(told)[1:-1]


def with_members(text: bytes, more: bytes) -> bytes:
    """An image with `members` at its end."""
    end = text.rindex(b"}")
    return text[:end] + more + text[end:]
