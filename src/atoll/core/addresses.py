"""Which addresses Atoll may be told to go to: URLs come from others, what is behind Atoll is not theirs."""

import ipaddress
from urllib.parse import urlsplit

from atoll.core.errors import BadRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


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
    if parts.username or parts.password:
        raise BadRequest("A URL with a user name or password in it is not taken.")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


def is_public(address: str) -> bool:
    """Whether an address is of the public net: not loopback, link-local, private, multicast or reserved."""
    one: Address = ipaddress.ip_address(address.partition("%")[0])
    mapped = one.ipv4_mapped if isinstance(one, ipaddress.IPv6Address) else None
    one = mapped or one
    return one.is_global and not one.is_multicast
