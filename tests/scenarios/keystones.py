"""Keystones of a few lines, for tokens that no ordinary one would give."""

import json
from collections.abc import Awaitable, Callable, Mapping

from tests.origin import Exchange

TOKEN = {
    "user": {"id": "2" * 32},
    "roles": [{"id": "3", "name": "admin"}],
    "expires_at": "2099-01-01T00:00:00.000000Z",
}


def keystone_of(special: Mapping[str, object]) -> Callable[[Exchange], Awaitable[None]]:
    """For an `Origin`: every token is an administrator's, with something special about it."""
    text = json.dumps({"token": TOKEN | dict(special)}).encode()

    async def keystone(exchange: Exchange) -> None:
        await exchange.answer(200, text)

    return keystone
