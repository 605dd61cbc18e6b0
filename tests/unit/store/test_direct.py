"""Statements by a driver alone: how they are written, and which connections are used on."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from atoll.store.database import Clash, StoreError
from atoll.store.direct import Direct
from atoll.store.direct_mariadb import formatted
from atoll.store.direct_postgresql import numbered
from atoll.store.drivers import Transient


def test_names_are_as_each_driver_has_them() -> None:
    sql = "UPDATE a SET b = :b, c = '%' WHERE b <> :b AND d = CAST(:long_1 AS TEXT) || x::text"
    text = "UPDATE a SET b = {0}, c = '{1}' WHERE b <> {0} AND d = CAST({2} AS TEXT) || x::text"
    assert numbered(sql) == (text.format("$1", "%", "$2"), ("b", "long_1"))
    assert formatted(sql) == text.format("%(b)s", "%%", "%(long_1)s")


class Cut(Exception):
    """The way's word for a connection that ended."""


class Words:
    """A way whose connections are numbers; `then` is what happens to each statement."""

    now = "now()"

    def __init__(self, *then: Exception | None) -> None:
        self.then = [*then]
        self.made: list[list[int]] = []
        self.dropped: list[list[int]] = []
        self.closed: list[list[int]] = []
        self.asked: list[str] = []
        self.stalled = asyncio.Event()

    async def connect(self) -> Any:
        self.made.append([len(self.made)])
        return self.made[-1]

    async def change(self, connection: Any, sql: str, values: Mapping[str, Any]) -> int:
        self.asked.append(sql)
        assert connection in self.made
        if values.get("stalls"):
            self.stalled.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        error = self.then.pop(0) if self.then else None
        if error is not None:
            raise error
        return int(values["rows"])

    def fault(self, error: Exception) -> StoreError | None:
        return (
            Transient("cut") if isinstance(error, Cut) else error if isinstance(error, StoreError) else None
        )

    def usable(self, connection: Any) -> bool:
        return connection is not None

    def drop(self, connection: Any) -> None:
        self.dropped.append(connection)

    async def close(self, connection: Any) -> None:
        self.closed.append(connection)


async def test_a_connection_is_used_again_and_closed_at_the_end() -> None:
    way = Words()
    direct = Direct(way, 2, 600)
    assert [await direct.change("X {now}", {"rows": rows}) for rows in (1, 0)] == [1, 0]
    assert (way.asked[0], len(way.made)) == ("X now()", 1)
    await asyncio.gather(*(direct.change("X", {"rows": 1}) for _ in range(9)))
    assert len(way.made) == 2
    await direct.close()
    assert (sorted(way.closed), way.dropped) == ([[0], [1]], [])


async def test_one_that_was_idle_for_long_is_not_used_again() -> None:
    way = Words()
    direct = Direct(way, 2, 0.0)
    await direct.change("X", {"rows": 1})
    await asyncio.sleep(0.01)
    await direct.change("X", {"rows": 1})
    assert (len(way.made), way.dropped) == (2, [[0]])


@pytest.mark.parametrize(
    ("error", "kind", "dropped"), [(Clash("twice"), Clash, []), (Cut(), Transient, [[0]])]
)
async def test_errors_of_the_database_are_the_stores(
    error: Exception, kind: type[Exception], dropped: list[list[int]]
) -> None:
    way = Words(error)
    with pytest.raises(kind):
        await Direct(way, 2, 600).change("X", {"rows": 1})
    assert way.dropped == dropped


async def test_one_whose_statement_was_given_up_is_dropped() -> None:
    way = Words()
    direct = Direct(way, 2, 600)
    task = asyncio.create_task(direct.change("X", {"stalls": True}))
    await way.stalled.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert way.dropped == way.made
    with pytest.raises(KeyError):
        await direct.change("X", {})
    assert len(way.dropped) == 2
