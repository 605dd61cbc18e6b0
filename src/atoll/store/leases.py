"""What one process of all that share the database does at a time.

A lease is held by who shows life: its `beat` goes up while it is held. One whose beat stands still for some
seconds of the onlooker's own clock is taken over, so the clocks of machines need not agree.
"""

from typing import Final, NamedTuple

from atoll.store.database import Access, Clash, Connection, Database

_LOOK: Final = "SELECT holder, beat FROM leases WHERE name = :name"
_TAKE: Final = "INSERT INTO leases (name, holder, beat) VALUES (:name, :holder, 0)"
_TAKE_OVER: Final = """
    UPDATE leases SET holder = :holder, beat = 0
    WHERE name = :name AND holder = :old_holder AND beat = :old_beat"""
_BEAT: Final = "UPDATE leases SET beat = beat + 1 WHERE name = :name AND holder = :holder"
_GIVE_BACK: Final = "DELETE FROM leases WHERE name = :name AND holder = :holder"


class Held(NamedTuple):
    """Who holds a lease, and how often it has shown life."""

    holder: str
    beat: int


class Leases:
    """The leases in a database. Names have up to 255 characters, holders 64. All raise `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, name: str, holder: str, *, stale: Held | None = None) -> Held | None:
        """Take a lease, where nobody has it or it stands as `stale` still; None, or who has it instead."""
        values = {"name": name, "holder": holder}

        def work(connection: Connection) -> Held | None:
            if stale is not None:
                old = {"old_holder": stale.holder, "old_beat": stale.beat}
                if connection.change(_TAKE_OVER, {**values, **old}):
                    return None
            rows = connection.rows(_LOOK, {"name": name})
            if rows:
                return Held(str(rows[0][0]), int(rows[0][1]))
            connection.change(_TAKE, values)
            return None

        try:
            return await self._database.run(Access.WRITE, work)
        except Clash:
            return Held("", 0)  # somebody was faster; who, the next look tells

    async def beat(self, name: str, holder: str) -> bool:
        """Show life; False where the lease is another's by now."""
        return bool(await self._change(_BEAT, name, holder))

    async def give_back(self, name: str, holder: str) -> None:
        """Let others have it."""
        await self._change(_GIVE_BACK, name, holder)

    async def _change(self, sql: str, name: str, holder: str) -> int:
        values = {"name": name, "holder": holder}
        return await self._database.run(Access.WRITE, lambda connection: connection.change(sql, values))
