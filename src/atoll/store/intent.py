"""What operators and users have set up: documents by kind and id, and the order of their changes.

Unlike locations these cannot be found again at the sites. There are few of them and they change seldom, so
every gateway has them all in memory, asks what has changed since, and writes one change after the other.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are parameters

import time
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Protocol, TypeVar

import msgspec

from atoll.store.database import Access, Connection, Database

DROPPED_SECONDS: Final = 86400.0
"""How long it is told that a document was dropped: no gateway goes without asking for a day."""

_BUMP: Final = "UPDATE intent_revision SET number = number + 1 WHERE id = 1"
_NUMBER: Final = "SELECT number FROM intent_revision WHERE id = 1"
_IS_THIS: Final = "kind = :kind AND id = :id"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """Something set up. `kind` tells the types apart, `key` one from another of its type (255 characters)."""

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """What identifies it among its kind."""
        raise NotImplementedError  # each kind has its own; msgspec's structs cannot be abstract classes


D = TypeVar("D", bound=Document)
T = TypeVar("T")


class Ledger(Protocol):
    """All that is set up, inside the one transaction that may change it now."""

    def get(self, type_: type[D], key: str) -> D | None:
        """Give one document."""

    def all(self, type_: type[D]) -> Mapping[str, D]:
        """Give every document of a kind, by key."""

    def put(self, document: Document) -> None:
        """Write a document, new or in the place of the one with its key."""

    def drop(self, type_: type[Document], key: str) -> bool:
        """Drop a document; whether it was there."""


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed: by kind and key the document's text, None where it was dropped."""

    revision: int
    documents: Mapping[tuple[str, str], str | None]


class Intent:
    """The documents in a database. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def since(self, revision: int) -> Changes:
        """Give what has changed after a revision; 0 for all. Raises `StoreError`."""

        def look(connection: Connection) -> Changes:
            # The number first: what is written meanwhile is given twice rather than never.
            number = connection.rows(_NUMBER)
            newest = int(number[0][0]) if number else 0
            if newest == revision:
                return Changes(revision=revision, documents={})
            # A number that went back is another database: all of it is new.
            after = revision if newest > revision else 0
            rows = connection.rows(
                "SELECT kind, id, document FROM intent WHERE changed > :after", {"after": after}
            )
            return Changes(revision=newest, documents={(row[0], row[1]): row[2] for row in rows})

        return await self._database.run(Access.READ, look)

    async def change(self, work: Callable[[Ledger], T]) -> T:
        """Change documents, all or (where the work raises) none; one change at a time in all gateways.

        The work may be done more than once. Raises `StoreError` and what the work raises.
        """

        def do(connection: Connection) -> T:
            # Whoever has changed the number holds its row: everybody else waits here.
            if not connection.change(_BUMP):
                connection.change("INSERT INTO intent_revision (id, number) VALUES (1, 1)")
            number = int(connection.rows(_NUMBER)[0][0])
            return work(_Ledger(connection, number, self._clock()))

        return await self._database.run(Access.WRITE, do)

    async def prune(self) -> int:
        """Forget what was dropped long ago; give how many documents."""
        values = {"old": self._clock() - DROPPED_SECONDS}
        sql = "DELETE FROM intent WHERE document IS NULL AND changed_at < :old"
        return await self._database.run(Access.SWEEP, lambda connection: connection.change(sql, values))


class _Ledger:
    def __init__(self, connection: Connection, number: int, now: float) -> None:
        self._connection = connection
        self._number = number
        self._now = now

    def get(self, type_: type[D], key: str) -> D | None:
        rows = self._connection.rows(
            f"SELECT document FROM intent WHERE {_IS_THIS}",
            {"kind": type_.kind, "id": key},
        )
        return msgspec.json.decode(rows[0][0], type=type_) if rows and rows[0][0] is not None else None

    def all(self, type_: type[D]) -> dict[str, D]:
        rows = self._connection.rows(
            "SELECT id, document FROM intent WHERE kind = :kind AND document IS NOT NULL ORDER BY id",
            {"kind": type_.kind},
        )
        return {row[0]: msgspec.json.decode(row[1], type=type_) for row in rows}

    def put(self, document: Document) -> None:
        self._write(document.kind, document.key, msgspec.json.encode(document).decode())

    def drop(self, type_: type[Document], key: str) -> bool:
        if self.get(type_, key) is None:
            return False
        self._write(type_.kind, key, None)
        return True

    def _write(self, kind: str, key: str, text: str | None) -> None:
        values = {
            "kind": kind, "id": key, "document": text, "changed": self._number, "changed_at": self._now,
        }  # fmt: skip
        changed = self._connection.change(
            "UPDATE intent SET document = :document, changed = :changed, changed_at = :changed_at "
            f"WHERE {_IS_THIS}",
            values,
        )
        if not changed:
            self._connection.change(
                "INSERT INTO intent (kind, id, document, changed, changed_at) "
                "VALUES (:kind, :id, :document, :changed, :changed_at)",
                values,
            )
