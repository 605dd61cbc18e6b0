"""Servers that say by their metadata which id clients hold for them, found again as lists pass by.

A server made under an alias carries it as `atoll_id`. Where the table of aliases was lost, this is what
brings them back. Users can write the same, so what is found counts in the server's own project only, and
never where a site has a server of that very id.
"""

import asyncio
import re
from typing import Final, NamedTuple

import structlog

from atoll.core.errors import AtollError, TooManyRequests
from atoll.core.server_says import marked
from atoll.gateway.aliases import SERVER, Aliases
from atoll.gateway.call import Call
from atoll.gateway.locate import Locator
from atoll.store import StoreError

log = structlog.get_logger()

LOOK_SECONDS: Final = 5.0
"""How long sites may take to say that none has a server of that id."""

MOST: Final = 10_000
"""Servers that wait to be looked into; of more the rest is when they are listed again."""

PAUSE_SECONDS: Final = 0.2
"""How long to leave the sites alone when a project has asked them too often: its turn comes again."""

_ALIAS: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class _Look(NamedTuple):
    """A server that is looked into for whoever listed it."""

    call: Call
    alias: str
    site: str
    id: str
    project_id: str


class AliasMarks:
    """Looks into the marks of servers that are seen for the first time, one after the other."""

    def __init__(self, aliases: Aliases, locator: Locator) -> None:
        self._aliases = aliases
        self._locator = locator
        self._looks: dict[tuple[str, str], _Look] = {}  # in order
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def passed(self, call: Call, site: str, ident: str, item: bytes) -> None:
        """Take in a server that a list showed; what it says is looked into while others are answered."""
        alias, project = marked(item)
        whose = project == call.caller.project_id or call.caller.is_admin
        if not whose or not _ALIAS.match(alias) or alias == ident:
            return
        bound = self._aliases.now.bound(alias, project)
        if bound is not None and ((bound.site, bound.id) == (site, ident) or not bound.found):
            return
        if len(self._looks) >= MOST:
            self._aliases.again(ident)
            return
        aside = call.aside(call.deadline, versioned=False)
        self._looks[site, ident] = _Look(aside, alias, site, ident, project)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Look into all that wait."""
        while self._looks:
            key, look = next(iter(self._looks.items()))
            look.call.deadline = asyncio.get_running_loop().time() + LOOK_SECONDS
            try:
                await self._look(look)
            except TooManyRequests:
                del self._looks[key]
                self._looks[key] = look  # others' turn
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except (AtollError, StoreError) as error:
                log.warning(
                    "alias_not_found_again", alias=look.alias, id=look.id, site=look.site,
                    reason=str(error)[:256],
                )  # fmt: skip
                self._aliases.again(look.id)
            self._looks.pop(key, None)

    async def _look(self, look: _Look) -> None:
        """Put down what a server says that it is, unless a site has a server of that id."""
        if await self._locator.anywhere(look.call, SERVER, look.alias):
            log.warning(
                "alias_refused", alias=look.alias, id=look.id, site=look.site, project_id=look.project_id
            )
            return
        await self._aliases.found(look.alias, look.site, look.id, project_id=look.project_id)
