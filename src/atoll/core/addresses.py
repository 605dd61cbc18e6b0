"""Which addresses Atoll may be told to go to: URLs come from others, what is behind Atoll is not theirs."""

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from atoll.core.errors import BadRequest

# What readers of URLs disagree about: some drop these, some take a backslash for a slash.
_ODD: Final = re.compile(r"[\x00-\x20\x7f\\]")
# Of the public net by the registry, and all the same what a cloud has for its own machines: 192.0.0.192 and
# 168.63.129.16 give out what a machine of theirs may know (RFC 6890; the vendors' documentation).
_NOT_PUBLIC: Final = tuple(
    ipaddress.IPv4Network(one) for one in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")
)
# All that is given out for anybody to reach (RFC 4291 2.4); documentation stands in it (RFC 9637).
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
_DOCUMENTATION: Final = ipaddress.IPv6Network("3fff::/20")
# A translator goes on to the IPv4 address in the last bits (RFC 6052).
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")


def checked_url(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) of a URL that may be gone to, its host not yet resolved.

    Raises BadRequest for anything but http and https, user names in it, and what is no URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRequest(f"{url!r} is not a URL: {error}.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BadRequest(f"{url!r} is not an http or https URL.")
    if "@" in parts.netloc:
        raise BadRequest("A URL with a user name or password in it is not taken.")
    if _ODD.search(url):
        raise BadRequest(f"{url!r} is not a URL: no blank, control character or backslash stands in one.")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


def is_public(address: str) -> bool:
    """Whether an address is of the public net: not loopback, link-local, private, multicast or reserved.

    Where an IPv6 address leads to the IPv4 address that is in it, that one counts.
    """
    one = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(one, ipaddress.IPv4Address):
        return _is_public_v4(one)
    if one.ipv4_mapped is not None:
        return _is_public_v4(one.ipv4_mapped)
    if one in _TRANSLATED:
        return _is_public_v4(ipaddress.IPv4Address(int(one) & 0xFFFFFFFF))
    if one.sixtofour is not None and not _is_public_v4(one.sixtofour):
        return False
    return one in _GLOBAL and one not in _DOCUMENTATION and one.is_global


def _is_public_v4(one: ipaddress.IPv4Address) -> bool:
    return one.is_global and not one.is_multicast and not any(one in net for net in _NOT_PUBLIC)
