"""Servers that say by their metadata which id clients hold for them, found again as lists pass by.

A server made under an alias carries it as `atoll_id`. Where the table of aliases was lost, this is what
brings them back. Users can write the same, so what is found counts in the server's own project only, and never
where a site has a server of that very id.
"""

import asyncio
import re
from typing import Final

import msgspec
import structlog

from atoll.core.errors import AtollError
from atoll.gateway.aliases import SERVER, Aliases
from atoll.gateway.call import Call
from atoll.gateway.locate import Locator
from atoll.store import StoreError

log = structlog.get_logger()

MARK: Final = "atoll_id"
"""The key in the metadata of a server that Atoll made under an alias."""

LOOK_SECONDS: Final = 5.0
"""How long sites may take to say that none has a server of that id."""

AT_ONCE: Final = 8
"""Marks that are looked into at a time; of more the rest is when the lists are read again."""

_QUOTED: Final = f'"{MARK}"'.encode()
_ALIAS: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class _Marked(msgspec.Struct):
    tenant_id: str
    metadata: dict[str, str]


_decode = msgspec.json.Decoder(_Marked).decode


class AliasMarks:
    """Looks into the marks of servers that are seen for the first time."""

    def __init__(self, aliases: Aliases, locator: Locator) -> None:
        self._aliases = aliases
        self._locator = locator
        self._looks: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def close(self) -> None:
        """End looks that are under way."""
        for task in self._looks.values():
            task.cancel()
        await asyncio.gather(*self._looks.values(), return_exceptions=True)

    def passed(self, call: Call, site: str, ident: str, item: bytes) -> None:
        """Take in a server that a list showed; what it says is looked into while others are answered."""
        if _QUOTED not in item:
            return
        try:
            marked = _decode(item)
        except msgspec.MsgspecError:
            return  # the key of something else
        alias, project = marked.metadata.get(MARK, ""), marked.tenant_id
        whose = project == call.caller.project_id or call.caller.is_admin
        if not whose or not _ALIAS.match(alias) or alias == ident:
            return
        bound = self._aliases.bound(alias, project)
        if bound is not None and ((bound.site, bound.id) == (site, ident) or not bound.found):
            return
        if len(self._looks) >= AT_ONCE or (site, ident) in self._looks:
            self._aliases.again(ident)
            return
        aside = call.aside(asyncio.get_running_loop().time() + LOOK_SECONDS, versioned=False)
        task = asyncio.get_running_loop().create_task(self._look(aside, alias, (site, ident, project)))
        self._looks[site, ident] = task
        task.add_done_callback(lambda _: self._looks.pop((site, ident), None))

    async def _look(self, call: Call, alias: str, server: tuple[str, str, str]) -> None:
        """Put down what a server (site, id, project) says that it is, unless a site has one of that id."""
        site, ident, project = server
        try:
            if await self._locator.anywhere(call, SERVER, alias):
                log.warning("alias_refused", alias=alias, id=ident, site=site, project_id=project)
                return
            await self._aliases.found(alias, site, ident, project_id=project)
        except (AtollError, StoreError) as error:
            log.warning("alias_not_found_again", alias=alias, id=ident, site=site, reason=str(error)[:256])
            self._aliases.again(ident)
