"""How a site's server is found again that a run has made: it bears the id that its users hold."""

from typing import Final

from atoll.core.server_says import MARK
from atoll.gateway.transaction_kinds import Ask, Ordinary

_SERVER: Final = Ordinary(word="server", path="/v2.1/servers", listed="/v2.1/servers/detail", by_name=True)


async def made_for(ask: Ask, ident: str, name: str) -> str | None:
    """The site's own id of the server that is `ident` to its users; None where the site has none.

    `ask` asks that site.
    """
    for one in await _SERVER.called(ask, "name", name):
        if (one.get("metadata") or {}).get(MARK) == ident:
            return str(one["id"])
    return None
