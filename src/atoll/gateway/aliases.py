"""Ids of servers that are no site's, in memory, and within a second or two the same in every gateway.

What a run uses: `accept` before it does anything, `bind` when a site has the server, `fail` when it gave up,
`drop` when the server is gone; `hide` and `unhide` for what it was before, or is to be, at another site,
`expect` for what it is to be before that has an id. How requests and answers are changed is in `alias_routes`
and `equivalents`.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from atoll.core.accepted_servers import Accepted, AskedServer
from atoll.core.meanings import Bound, Change, Meanings
from atoll.gateway.call import Call
from atoll.store import Alias, Locations, Sighting, StoreError
from atoll.store import Aliases as Stored
from atoll.wire.message import Response

log = structlog.get_logger()

FOLLOW_SECONDS: Final = 1.0
"""How long a change made through another gateway may go unseen; asking is one row."""

KNOWN_SECONDS: Final = 3.0
"""After so long every gateway that has its database knows of a change: only then may a run delete what an id
stood for before."""

SERVER: Final = "server"
BY_ID: Final = ("servers/{id}", "os-volumes_boot/{id}")
"""How the templates of the routes begin that name a server in their path."""

_decode = msgspec.json.Decoder(AskedServer).decode


class AliasLearnt(Exception):
    """An id turned out to be an alias, or to mean another server by now: the request is to be read anew."""


class Aliases:
    """The aliases this process knows: `now` is what ids mean as far as it has heard."""

    def __init__(self, store: Stored, locations: Locations) -> None:
        self._store = store
        self._locations = locations
        self._revision = 0
        self._loading = asyncio.Lock()
        self._cancel: Callable[[Alias], Awaitable[None]] | None = None
        self.now = Meanings()

    # -- what runs use ----------------------------------------------------------------------------

    async def accept(self, alias: str, *, project_id: str, user_id: str, asked: AskedServer) -> None:
        """Give a client an id for a server that no site has yet. May be done again. Raises StoreError."""
        text = msgspec.json.encode(asked).decode()
        await self._store.accept(alias, project_id=project_id, user_id=user_id, asked=text)
        await self.load()

    async def bind(
        self,
        alias: str,
        site: str,
        site_id: str,
        *,
        project_id: str = "",
        user_id: str = "",
        was: tuple[str, str] | None = None,
    ) -> bool:
        """Have an alias stand for a site's own server; of one that was not accepted the owner is told, too.

        What it `was` before, a site's own server, is not shown any more: until `unhide`.

        False where the alias was dropped: the user has deleted the server, and the site's is to be deleted.
        May be done again, with the same place or another. Raises StoreError.
        """
        if not await self._store.bind(alias, site, site_id, project_id=project_id, user_id=user_id, was=was):
            return False
        await self._locations.forget_one(SERVER, alias)
        await self.load()
        if (bound := self.now.bound(alias, "")) is not None:
            await self._locations.created(
                Sighting(resource_type=SERVER, id=site_id, site=site, project_id=bound.project_id)
            )
        return True

    async def hide(self, site: str, site_id: str) -> None:
        """Have a site's own server not shown until an alias stands for it. Raises StoreError."""
        await self._store.hide(site, site_id)
        await self.load()

    async def expect(self, alias: str, site: str, *, project_id: str) -> None:
        """Have a server that a site is about to make not shown, by what it will say. Raises StoreError."""
        await self._store.expect(alias, site, project_id=project_id)
        await self.load()

    async def expect_no_more(self, alias: str) -> None:
        """Forget that it is about to be made: its id is known, or it was not made. Raises StoreError."""
        await self._store.expect_no_more(alias)
        await self.load()

    async def unhide(self, site: str, site_id: str) -> None:
        """Forget that it is not shown: it is gone. Raises StoreError."""
        await self._store.unhide(site, site_id)
        await self.load()

    async def fail(self, alias: str, message: str, *, code: int = 500) -> bool:
        """Have an accepted server shown as ERROR with that message until it is deleted. Raises StoreError."""
        failed = await self._store.fail(alias, message, code=code)
        await self.load()
        return failed

    async def drop(self, alias: str) -> bool:
        """Forget an alias; whether there was one. Nothing can be bound to it any more. Raises StoreError."""
        dropped = await self._store.drop(alias)
        await self.load()
        return dropped

    async def of(self, alias: str) -> Alias | None:
        """What is on record of an alias. Raises StoreError."""
        return await self._store.of(alias)

    def on_delete(self, cancel: Callable[[Alias], Awaitable[None]]) -> None:
        """Have the run cancelled of an accepted server that its user deletes, after the alias was dropped."""
        self._cancel = cancel

    async def delete(self, alias: str) -> bool:
        """Delete an accepted server for its user; False where it is no such thing (any more).

        Raises StoreError, and what the cancelling of its run raises.
        """
        row = await self._store.of(alias)
        if row is None or row.state == "bound":
            await self.load()
            return False
        dropped = await self._store.drop(alias, waiting=True)
        await self.load()
        if not dropped:  # a site has it by now
            return False
        if self._cancel is not None:
            await self._cancel(row)
        return True

    async def not_there(self, call: Call, site: str, response: Response) -> None:
        """Take in that a site has said 404 to a request by id, if it is Nova that says it of a server."""
        route, ident = call.match.route, call.match.id
        plain = call.path.endswith(b"/servers/" + ident) and b"json" in response.index.get(
            b"content-type", b""
        )
        if plain and route is not None and route.resource == SERVER:
            await self.gone(site, ident.decode("latin-1"), call.caller.project_id)

    async def gone(self, site: str, site_id: str, project_id: str) -> None:
        """Take in that a site has said 404 of its own server to somebody of its project."""
        alias = self.now.shown(site, site_id, project_id)
        meant = self.now.means(alias, project_id)
        if alias == site_id or meant is None or meant.project_id != project_id:
            return
        try:
            if isinstance(meant, Bound) and meant.found:
                await self._store.forget_found(alias)
            else:
                await self._store.release(alias, site, site_id)
            await self.load()
        except StoreError as error:
            log.warning("alias_not_dropped", alias=alias, reason=str(error)[:256])

    async def found(self, alias: str, site: str, site_id: str, *, project_id: str) -> None:
        """Take in what a site's own server says that it is: an id that no site has. Raises StoreError."""
        known = await self._store.find(alias, site, site_id, project_id=project_id)
        await self.load()
        if known is not None and known.claims:
            log.warning("alias_conflict", alias=alias, project_id=project_id, sites=known.claims)

    def again(self, site_id: str) -> None:
        """Have a site's own server looked into again when it is listed the next time."""
        self._locations.evict(SERVER, site_id)

    async def forget(self, alias: str) -> bool:
        """Forget what servers say that they are this one; whether any did. Raises StoreError."""
        forgotten = await self._store.forget_found(alias)
        await self.load()
        return forgotten

    # -- keeping up -------------------------------------------------------------------------------

    async def learnt(self, ident: str, project_id: str) -> bool:
        """Whether an id is an alias to a project, asked of the database; where that fails, of memory."""
        try:
            await self.load()
        except StoreError as error:
            log.warning("aliases_not_read", reason=str(error)[:256])
        return self.now.means(ident, project_id) is not None

    async def load(self) -> None:
        """Read what has changed. Raises StoreError."""
        async with self._loading:
            changes = await self._store.since(self._revision)
            if changes.whole:
                self._look_again()
            elif not changes.aliases:
                self._revision = changes.revision
                return
            change = (Meanings() if changes.whole else self.now).change()
            for row in changes.aliases:
                self._take(row, change)
            self.now, self._revision = change.done(), changes.revision

    async def follow(self) -> None:
        """See what other gateways change, for as long as it runs."""
        failing = False
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await self.load()
            except StoreError as error:
                if not failing:
                    log.warning("aliases_not_read", reason=str(error)[:256])
                failing = True
            else:
                failing = False

    def _take(self, row: Alias, change: Change) -> None:
        if row.expected is not None:
            change.expect_no_more(row.expected)
            if row.state == "expected" and row.site is not None:
                change.expect(row.expected, sys.intern(row.site), sys.intern(row.project_id))
            return
        if not row.project_id:
            change.unhide(row.id)
            if row.state == "hidden" and row.site is not None:
                change.hide(sys.intern(row.site), row.id)
                self._locations.evict(SERVER, row.id)
            return
        whose = row.project_id if row.found else ""
        change.forget(row.id, row.project_id)
        if not row.found or ((before := change.means(row.id)) and before.project_id == row.project_id):
            change.forget(row.id, "")  # it was made by Atoll, or was until now
        if row.state == "dropped":
            return
        if not row.found:
            self._locations.evict(SERVER, row.id)
        if row.site is not None and row.site_id is not None:
            site, project = sys.intern(row.site), sys.intern(row.project_id)  # there are few
            change.bind(row.id, whose, Bound(site, row.site_id, project, row.found, row.claims))
        elif (asked := _asked(row)) is not None:
            message = None if row.state == "building" else row.message or ""
            one = Accepted(
                id=row.id, project_id=row.project_id, user_id=row.user_id, asked=asked,
                created_at=row.created_at, changed_at=row.changed_at, message=message, code=row.code,
            )  # fmt: skip
            change.accept(one)

    def _look_again(self) -> None:
        """Have what servers say of themselves looked at again when they are listed again."""
        for one in self.now.known.values():
            if isinstance(one, Bound):
                self._locations.evict(SERVER, one.id)


def _asked(row: Alias) -> AskedServer | None:
    """What was asked for; None, and it is told, where it is nothing that this release understands."""
    try:
        return _decode(row.asked or "")
    except msgspec.DecodeError as error:
        log.warning("alias_not_read", alias=row.id, reason=str(error)[:256])
        return None
