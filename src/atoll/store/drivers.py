"""The databases that SQLAlchemy reaches: which driver each has, how it is set up, what its errors mean."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    SQLAlchemyError,
)

from atoll.store.database import Clash, MissingTable, StoreError

NOW: Final = {
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)",
    "mariadb": "CAST(UNIX_TIMESTAMP(SYSDATE(6)) AS DOUBLE)",
}
"""The database's time, in the SQL of each."""

STALLED_SECONDS: Final = 30
"""A transaction whose gateway has said nothing for so long is over: its rows shall not stay locked."""

LOCK_SECONDS: Final = 5
"""A statement that MariaDB has nobody to give to any more ends here; PostgreSQL's driver takes it back."""


@dataclass(frozen=True, slots=True)
class Driver:
    """How one kind of database is reached."""

    name: str
    """As SQLAlchemy calls it."""
    arguments: Mapping[str, Any]
    """For its `connect`."""


_POSTGRESQL: Final = Driver(
    "postgresql+asyncpg",
    {
        "server_settings": {
            "application_name": "atoll",
            # A plan of when the table was empty reads all of it, until PostgreSQL looks again a minute later.
            "plan_cache_mode": "force_custom_plan",
            "idle_in_transaction_session_timeout": str(STALLED_SECONDS * 1000),
        }
    },
)
# MariaDB may be set up to cut what is too long for its column, which would make one id of two.
_MARIADB: Final = Driver(
    "mariadb+asyncmy",
    {
        "charset": "utf8mb4",
        "init_command": "SET SESSION sql_mode = 'TRADITIONAL', time_zone = '+00:00', "
        f"idle_transaction_timeout = {STALLED_SECONDS}, innodb_lock_wait_timeout = {LOCK_SECONDS}",
    },
)
_DRIVERS: Final[Mapping[str, Driver]] = {
    "postgresql": _POSTGRESQL,
    "mariadb": _MARIADB,
    "mysql": _MARIADB,  # how many write it; SQLAlchemy refuses what is MySQL itself
}


def driver_of(url: str) -> tuple[URL, Driver]:
    """Read a database URL; raises `StoreError`. Its options are handed to the driver as they are."""
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise StoreError("the store's url is not a database URL: write sqlite:///PATH") from exc
    backend, _, named = parsed.drivername.partition("+")
    driver = _DRIVERS.get(backend)
    if driver is None:
        known = ", ".join(("sqlite", *_DRIVERS))
        raise StoreError(f"{backend} is not a database Atoll knows: there are {known}")
    if named and named != driver.name.partition("+")[2]:
        raise StoreError(f"Atoll does not use {named} for {backend}: write {backend}://…")
    return parsed.set(drivername=driver.name), driver


class Transient(StoreError):
    """Another transaction, or the end of a connection, was in the way: once more may do."""


# By SQLSTATE of PostgreSQL, by number of MariaDB.
_FAULTS: Final[Mapping[object, type[StoreError]]] = {
    "40001": Transient,  # serialization failure
    "40P01": Transient,  # deadlock
    "0A000": Transient,  # a prepared statement of a table that was made again
    "25P03": Transient,  # ended as stalled
    "42P01": MissingTable,
    1020: Transient,  # the record has changed since it was read
    1205: Transient,  # waited too long for a lock
    1213: Transient,  # deadlock
    1146: MissingTable,
}


def kind_of_number(number: object) -> type[StoreError]:
    """What an error number of MariaDB means."""
    return _FAULTS.get(number, StoreError)


def kind_of_state(sqlstate: str | None) -> type[StoreError]:
    """What a SQLSTATE of PostgreSQL means."""
    if sqlstate is not None and sqlstate.startswith("23"):  # integrity
        return Clash
    if sqlstate is not None and sqlstate.startswith(("08", "57P")):  # the connection, the server's end
        return Transient
    return _FAULTS.get(sqlstate, StoreError)


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the errors of SQLAlchemy and the drivers into `StoreError`."""
    try:
        yield
    except IntegrityError as exc:
        raise Clash(f"{what}: {_brief(exc)}") from exc
    except DBAPIError as exc:
        raise _kind(exc)(f"{what}: {_brief(exc)}") from exc
    except InvalidRequestError as exc:
        words = "it is MySQL, and Atoll knows MariaDB" if "not a MariaDB variant" in str(exc) else _brief(exc)
        raise StoreError(f"{what}: {words}") from exc
    except (SQLAlchemyError, OSError) as exc:
        raise StoreError(f"{what}: {_brief(exc)}") from exc


def _kind(exc: DBAPIError) -> type[StoreError]:
    if exc.connection_invalidated:
        return Transient
    number = next(iter(exc.orig.args), None) if exc.orig is not None else None
    return _FAULTS.get(number) or _FAULTS.get(getattr(exc.orig, "sqlstate", None), StoreError)


def _brief(exc: BaseException) -> str:
    """Give the driver's own words, without the statement and its parameters."""
    cause = getattr(exc, "orig", None) or exc
    words = str(cause).partition("\n")[0]
    # SQLAlchemy puts the class of the driver's error in front.
    return words.partition(">: ")[2] or words or type(cause).__name__
