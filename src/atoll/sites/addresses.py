"""Where a URL that somebody gave leads to: asks the resolver."""

import asyncio

from atoll.core.addresses import checked_url, is_public
from atoll.core.errors import BadRequest


async def require_public(url: str) -> None:
    """Make sure that a URL leads out of what is behind Atoll. Raises BadRequest."""
    _, host, port = checked_url(url)
    try:
        found = await _addresses(host, port)
    except (OSError, UnicodeError) as error:
        raise BadRequest(f"The host {host} of {url} cannot be found.") from error
    if not all(is_public(one) for one in found):
        raise BadRequest(
            f"{url} is at a loopback, link-local or private address: where that is meant to be, set "
            "private_addresses = true in [limits] of the configuration."
        )


async def public_address(host: str, port: int) -> str:
    """An address of a host that may be gone to now, whatever the host's name led to before.

    Raises OSError where there is none: to be asked for each connection, and that very address gone to.
    """
    for one in await _addresses(host, port):
        if is_public(one):
            return one
    raise OSError(
        f"{host} is at no public address, which the operator has to allow: [limits] private_addresses = true"
    )


async def _addresses(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port)
    return [str(one[4][0]) for one in found]
