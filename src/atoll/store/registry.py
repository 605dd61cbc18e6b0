"""All that is set up, in memory, and within a second or two the same in every gateway."""

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec
import structlog

from atoll.store.database import StoreError
from atoll.store.intent import Changes, Document, Intent, Ledger

_log = structlog.get_logger(__name__)

FOLLOW_SECONDS: Final = 1.0
"""How long a change made through another gateway may go unseen; asking is one row."""

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})

D = TypeVar("D", bound=Document)
T = TypeVar("T")


class Registry:
    """The documents of an `Intent`, read once and then kept up to date.

    Whoever derives something from documents says so with `on_change` and derives it anew when called.
    """

    def __init__(self, intent: Intent) -> None:
        self._intent = intent
        self._revision = 0
        self._texts: dict[str, dict[str, str]] = {}
        self._decoded: dict[type[Document], Mapping[str, Any]] = {}
        self._listeners: list[tuple[frozenset[str], Callable[[], None]]] = []
        self._loading = asyncio.Lock()

    def all(self, type_: type[D]) -> Mapping[str, D]:
        """Give every document of a kind, by key, in the order of the keys."""
        found = self._decoded.get(type_)
        if found is None:
            texts = self._texts.get(type_.kind, _NONE)
            decode = msgspec.json.Decoder(type_).decode
            found = self._decoded[type_] = MappingProxyType(
                {key: decode(texts[key]) for key in sorted(texts)}
            )
        return found

    def get(self, type_: type[D], key: str) -> D | None:
        """Give one document."""
        return self.all(type_).get(key)

    def on_change(self, types: tuple[type[Document], ...], call: Callable[[], None]) -> None:
        """Call when documents of some kinds have changed, from now on."""
        self._listeners.append((frozenset(one.kind for one in types), call))

    async def load(self) -> None:
        """Read what has changed. Raises `StoreError`."""
        async with self._loading:
            self._take(await self._intent.since(self._revision))

    async def change(self, work: Callable[[Ledger], T]) -> T:
        """Change documents as `Intent.change` does; here it is seen at once.

        Raises `StoreError` and what the work raises.
        """
        result = await self._intent.change(work)
        await self.load()
        return result

    async def follow(self) -> None:
        """See what other gateways change, for as long as it runs."""
        failing = False
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await self.load()
            except StoreError as error:
                if not failing:
                    _log.warning("changes_not_read", reason=str(error)[:256])
                failing = True
            else:
                failing = False

    def _take(self, changes: Changes) -> None:
        self._revision, before = changes.revision, self._revision
        if changes.revision < before:
            self._texts.clear()
            self._decoded.clear()
        changed = set()
        for (kind, key), text in changes.documents.items():
            texts = self._texts.setdefault(kind, {})
            if texts.get(key) == text:
                continue
            changed.add(kind)
            if text is None:
                del texts[key]
            else:
                texts[key] = text
        for type_ in [one for one in self._decoded if one.kind in changed]:
            del self._decoded[type_]
        for kinds, call in self._listeners:
            if changes.revision < before or kinds & changed:
                call()
