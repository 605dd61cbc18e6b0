"""A database as somebody at a prompt sees it: not opened by the store, which would bring it up to date."""

from collections.abc import Callable
from typing import Any

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from atoll.store.drivers import driver_of


async def on(url: str, work: Callable[[sqlalchemy.Connection], Any]) -> Any:
    """Do something in a transaction of its own."""
    engine = create_async_engine(driver_of(url)[0], poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


async def changed(url: str, *statements: str) -> None:
    """Run statements."""

    def work(connection: sqlalchemy.Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    await on(url, work)


async def scalar(url: str, query: str) -> Any:
    """The one value of a query."""
    return await on(url, lambda connection: connection.scalar(text(query)))
