"""What the rest of the store needs of a database: transactions, and errors that are `StoreError`.

Statements are plain portable SQL with `:name` parameters, which SQLite and SQLAlchemy understand alike.
Work may be done twice: a transaction that lost against another one, or its connection, is tried again.
SQLite goes straight to its driver: SQLAlchemy alone takes half of the second in which Atoll is to be up.
"""

import enum
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")

BUSY_SECONDS: Final = 10
"""How long SQLite waits for another process's write; those take milliseconds."""

_NOTHING: Final[Mapping[str, Any]] = {}


class StoreError(Exception):
    """The database cannot be opened, or did not do what it was asked to."""


class Clash(StoreError):
    """A row of that key is there already."""


class MissingTable(StoreError):
    """A table is not there: somebody dropped it. Opening the database again makes it."""


class Access(enum.Enum):
    """What a transaction may do."""

    READ = "read"
    WRITE = "write"
    SWEEP = "sweep"
    """A write of any number of rows, for which no request waits."""
    DURABLE = "durable"
    """A write that has to outlast a power cut: nobody else knows what it says."""


class Connection(Protocol):
    """Inside a transaction. The driver's errors pass through: who runs the transaction translates them."""

    @property
    def now(self) -> str:
        """The database's time as an expression of its SQL: seconds since 1970, with fractions."""

    def rows(self, sql: str, values: Mapping[str, Any] = _NOTHING, /) -> Sequence[Sequence[Any]]:
        """Give all rows of a query, their columns in its order."""

    def change(self, sql: str, values: Mapping[str, Any] = _NOTHING, /) -> int:
        """Run one statement; give how many rows it changed."""

    def change_each(self, sql: str, values: Iterable[Mapping[str, Any]], /) -> None:
        """Run one statement for each of some values."""


class Database(Protocol):
    """An open database with current tables."""

    async def run(self, access: Access, work: Callable[[Connection], T]) -> T:
        """Do some work in a transaction, committed if it returns; give what it gives.

        The work may be done in another thread, and more than once. A table that is not there is made again
        first. Raises `StoreError`, and `Clash` where a key is taken.
        """

    async def change(self, sql: str, values: Mapping[str, Any], *, lasting: bool = True) -> int:
        """Run one statement, `DURABLE`; give how many rows it changed. `{now}` in it is the database's time.

        `lasting` False: a power cut may undo it. Raises as `run` does.
        """

    def expect(self, writers: int) -> None:
        """Take in how many in this process may write soon, so that they can share a commit."""

    async def notify(self) -> None:
        """Tell all who `listen` that there is something to look at; nothing where it cannot do that."""

    async def listen(self, told: Callable[[], None]) -> None:
        """Have `told` called for each `notify` of any process; nothing where a database cannot do that."""

    async def close(self) -> None:
        """Close every connection."""


@functools.lru_cache(maxsize=256)
def stated(sql: str, now: str) -> str:
    """A statement with the database's time in the place of `{now}`."""
    return sql.format(now=now)


def make_directory(path: str) -> None:
    """Make a SQLite file and the directory it is in, for their owner only; raises `StoreError`."""
    if path == ":memory:":
        return
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        Path(path).touch(mode=0o600)
    except OSError as exc:
        raise StoreError(f"cannot make {folder} for the database: {exc.strerror}") from exc
