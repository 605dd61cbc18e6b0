"""Opening a database by its URL: SQLite by Python's own driver, every other one by SQLAlchemy."""

from atoll.store.database import Database, StoreError


async def open_database(url: str) -> Database:
    """Open the database and bring its tables up to date; any number of processes may do so at once.

    Raises `StoreError` if it cannot be reached, its driver is not installed or its tables are of a later
    release.
    """
    path = sqlite_path(url)
    if path is not None:
        from atoll.store.sqlite import open_sqlite  # noqa: PLC0415 - one of two, and only that one

        return await open_sqlite(path)
    from atoll.store.engine import open_engine  # noqa: PLC0415 - SQLAlchemy is slow to import

    return await open_engine(url)


def sqlite_path(url: str) -> str | None:
    """Give the file that a SQLite URL names; None for another database."""
    scheme, separator, rest = url.partition("://")
    if scheme.partition("+")[0] != "sqlite" or not separator:
        return None
    if scheme != "sqlite" or "?" in rest or (rest and not rest.startswith("/")):
        raise StoreError("a SQLite URL has no driver, host or options: write sqlite:///PATH")
    return rest[1:] or ":memory:"
