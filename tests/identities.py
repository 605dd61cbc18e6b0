"""Built-in identities for tests: records in a store, made with passwords that cost little."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from atoll.identity.directory import Directory
from atoll.identity.passwords import Cost, Passwords
from atoll.store import Registry, open_store

# A hash says what it costs, so a gateway that is shown one of these takes no longer over it.
CHEAP = Cost(4, 8, 1)


@asynccontextmanager
async def directory_in(
    database: Path | None, *, now: Callable[[], float] = time.monotonic
) -> AsyncIterator[Directory]:
    """The records in a database; None: one in memory."""
    store = await open_store(f"sqlite:///{database}" if database is not None else "sqlite://")
    passwords = Passwords(now=now, cost=CHEAP)
    try:
        registry = Registry(store.intent)
        await registry.load()
        yield Directory(registry, passwords)
    finally:
        passwords.close()
        await store.close()
