"""Where the sites of a walk stood after a page, kept for whoever asks for the next one."""

import hashlib
from collections.abc import Sequence

import structlog

from atoll.core.merge import Page
from atoll.gateway.call import Call
from atoll.gateway.items import Item
from atoll.store import Cursor, Store, StoreError

log = structlog.get_logger()


class Cursors:
    """The cursors of lists. `rest` are the parameters of a query that tell one walk from another."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self, call: Call, rest: Sequence[bytes], marker: str) -> Cursor | None:
        """Where the sites stood after the page before; None sends the walk back to the start."""
        try:
            return await self._store.load_cursor(*_key(call, rest), marker)
        except StoreError as error:
            log.warning("cursor_not_read", reason=str(error)[:256])
            return None

    async def save(self, call: Call, rest: Sequence[bytes], page: Page[Item], last: str) -> None:
        """Keep where the sites stand after a page that ends, for clients, with `last`."""
        seen = [one for one in page.seen if isinstance(one, str)]
        cursor = Cursor(
            markers=page.markers,
            earlier=page.earlier,
            keys=page.keys,
            last=page.origins[-1],
            missing=page.missing,
            seen=seen,
        )
        try:
            await self._store.save_cursor(*_key(call, rest), last, cursor)
        except StoreError as error:
            log.warning("cursor_not_saved", reason=str(error)[:256])


def _key(call: Call, rest: Sequence[bytes]) -> tuple[str, str]:
    """Whose walk of which list: a cursor counts for the same project and query only."""
    asked = b"\0".join((call.request.path, *sorted(rest)))
    return call.caller.project_id, hashlib.sha256(asked).hexdigest()
