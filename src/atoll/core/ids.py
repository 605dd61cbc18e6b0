"""Ids: which values can be one at all, integer ids and host names that carry their site. Looks nothing up."""

import re
from collections.abc import Collection
from enum import Enum
from typing import Final

from atoll.core.errors import BadRequest

SITE_SHIFT: Final = 40
"""Integer ids of a site are below 2**40; the site's number is above."""

MAX_SITE_NUMBER: Final = (1 << 13) - 1
"""53 bits in all: what every JSON reader, JavaScript's included, keeps exact."""

_LOCAL_MASK: Final = (1 << SITE_SHIFT) - 1
_MAX_NAME: Final = 255  # the width of the services' own columns
_HEX32: Final = re.compile(r"[0-9a-f]{32}")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_INTEGER: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)


class IdForm(Enum):
    """The form of the ids of a resource type."""

    UUID = "uuid"
    """Eight-four-four-four-twelve: servers, volumes, images, networks."""
    UUID_OR_HEX = "uuid_or_hex"
    """With or without hyphens: projects, users."""
    INTEGER = "integer"
    """Hypervisors before 2.53, aggregates, agents."""
    NAME = "name"
    """1 to 255 characters without a slash: keypairs, hosts."""
    ANY = "any"
    """Whatever somebody chose: flavors."""


def canonical(form: IdForm, value: str) -> str | None:
    """Give the form in which `value` is looked up, or None if it cannot be an id of that form.

    UUIDs are lowered, since the services' databases compare them without case. None means 404 without
    a search.
    """
    if form is IdForm.UUID:
        lowered = value.lower()
        return lowered if _UUID.fullmatch(lowered) else None
    if form is IdForm.UUID_OR_HEX:
        lowered = value.lower()
        return lowered if _UUID.fullmatch(lowered) or _HEX32.fullmatch(lowered) else None
    if form is IdForm.INTEGER:
        whole = _INTEGER.fullmatch(value) and int(value) < 1 << 53
        return value if whole else None
    longest = _MAX_NAME if form is IdForm.NAME else 4 * _MAX_NAME
    fits = 0 < len(value) <= longest and value.isprintable() and not (form is IdForm.NAME and "/" in value)
    return value if fits else None


def possible(form: IdForm, value: str) -> bool:
    """Say whether `value` can be an id of that form at all."""
    return canonical(form, value) is not None


def time_ordered(nanoseconds: int, chance: int) -> str:
    """Give a UUID of version 7 (RFC 9562) for a moment, in nanoseconds since 1970, and 62 bits of chance.

    Such ids sort as their moments do, to a quarter of a microsecond.
    """
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    digits = f"{milliseconds & (1 << 48) - 1:012x}7{fraction:03x}{0b10 << 62 | chance & (1 << 62) - 1:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def qualify(site_number: int, local_id: int) -> int:
    """Put the number of the site into the upper bits of one of its integer ids; site 0 leaves it as it is.

    Raises `ValueError` if either does not fit.
    """
    if not 0 <= site_number <= MAX_SITE_NUMBER:
        raise ValueError(f"site number {site_number} is not within 0 and {MAX_SITE_NUMBER}")
    if not 0 <= local_id <= _LOCAL_MASK:
        raise ValueError(f"id {local_id} does not fit into {SITE_SHIFT} bits")
    return site_number << SITE_SHIFT | local_id


def unqualify(value: int) -> tuple[int, int]:
    """Split an integer id into (site number, the site's own id); raises `BadRequest` if out of range."""
    if not 0 <= value < 1 << 53:
        raise BadRequest(f"{value} is not an id: ids are from 0 to {(1 << 53) - 1}")
    return value >> SITE_SHIFT, value & _LOCAL_MASK


def qualify_host(host: str, site: str) -> str:
    """Name a host (or Cinder's `host@backend#pool`) together with its site."""
    return f"{host}@{site}"


def unqualify_host(value: str, sites: Collection[str]) -> tuple[str, str | None]:
    """Split `host@site` into (host, site); the site is None where none is named.

    Cinder's own hosts are `host@backend`: only what follows the last `@` and is the name of a site is one,
    so a backend should not be named like a site.
    """
    host, at, site = value.rpartition("@")
    return (host, site) if at and host and site in sites else (value, None)
