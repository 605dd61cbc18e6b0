"""Ids of servers that are no site's: what the client holds, and the site's own server behind it.

An alias is `building` while no site has the server, `bound` once one has, `failed` where none will have it,
and `dropped` when it was deleted; that is told for a while, so that every gateway forgets it. Changes
are numbered, so that gateways ask for what is new and not for all there is.

What is `hidden` is no alias: it is a site's own server, under its id there, that is not shown, for it is what
another server was before, or is to be. It is of no project, so that beside it its id may be an alias, as that
of a server that was moved is.

What is `expected` is no alias either: a server that a site is about to make, which will say of itself which
alias it is. Nobody knows its id yet, and that of the row is made of the alias, which may stand beside it.

One that was `found` is known from what a server says of itself, which its users may have written. So it
counts in its project only, beside others of the same id, and less than one that Atoll made.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are parameters

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, cast

import msgspec

from atoll.store.database import Access, Connection, Database

DROPPED_SECONDS: Final = 7 * 86400.0
"""How long it is told that an alias was dropped: longer than any gateway goes without asking."""

EXPECTED_SECONDS: Final = 86400.0
"""How long a server is expected: no run takes as long to make one, and what was killed never does."""

State = Literal["building", "bound", "failed", "hidden", "expected", "dropped"]

_SAYS: Final = "says:"

_NUMBER: Final = "SELECT number FROM alias_revision WHERE id = 1"
_INSERT: Final = """
    INSERT INTO aliases (id, project_id, user_id, state, site, site_id, found, asked, message, code,
        created_at, changed, changed_at)
    VALUES (:id, :project_id, :user_id, :state, :site, :site_id, :found, :asked, NULL, NULL,
        :now, :changed, :now)"""
_PLACED: Final = """
    UPDATE aliases SET state = 'bound', site = :site, site_id = :site_id, found = 0, asked = NULL,
        message = NULL, code = NULL, changed = :changed, changed_at = :now
    WHERE """
_CONTEST: Final = """
    UPDATE aliases SET message = :message, changed = :changed, changed_at = :now
    WHERE id = :id AND project_id = :project_id"""
_FAIL: Final = """
    UPDATE aliases SET state = 'failed', message = :message, code = :code, changed = :changed,
        changed_at = :now
    WHERE id = :id AND found = 0 AND state = 'building'"""
_DROP: Final = """
    UPDATE aliases SET state = 'dropped', site = NULL, site_id = NULL, asked = NULL, message = NULL,
        code = NULL, changed = :changed, changed_at = :now
    WHERE state <> 'dropped' AND """
_SHOW: Final = "DELETE FROM aliases WHERE state = 'hidden' AND site = :site AND site_id = :site_id"
_WHOSE: Final = "id = :id AND project_id = :project_id"
_OURS: Final = "id = :id AND found = 0 AND project_id <> ''"
_BIND: Final = f"{_PLACED} {_OURS} AND state <> 'dropped'"
_PROMOTE: Final = _PLACED + _WHOSE


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """An alias and what it stands for. Times are seconds since 1970."""

    id: str
    project_id: str
    user_id: str
    state: State
    site: str | None
    """Of one that is bound, hidden or expected; None for others."""
    site_id: str | None
    """The id of the site's own server."""
    found: bool
    """It is known from what the server says of itself, which its users may have written."""
    asked: str | None
    """What the client asked for, in JSON, while no site has it; only its writer knows what is in it."""
    message: str | None
    """Why there is no server, of one that failed; of one that was found the sites that claim it, in JSON."""
    code: int | None
    created_at: float
    changed_at: float

    @property
    def expected(self) -> str | None:
        """Of a row that is or was of an expected server, which alias it says it is."""
        return self.id.removeprefix(_SAYS) if self.id.startswith(_SAYS) else None

    @property
    def claims(self) -> tuple[str, ...]:
        """The sites of all servers that say they are it, the one on record first, where there are several."""
        return msgspec.json.decode(self.message, type=tuple[str, ...]) if self.found and self.message else ()


_PLACE: Final = ("site", "site_id")
_COLUMNS: Final = ", ".join(Alias.__struct_fields__)


class AliasChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed, dropped aliases among them; `whole`: it is all that there is."""

    revision: int
    aliases: Sequence[Alias]
    whole: bool


class Aliases:
    """The aliases in a database. `clock` gives seconds since 1970. Every method may raise `StoreError`.

    All changes may be made again, as steps of runs are: what is so already stays so.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def accept(self, alias: str, *, project_id: str, user_id: str, asked: str) -> None:
        """Write down an id that a client is given for a server that no site has yet.

        It outlasts a power cut. An alias that is there already stays as it is.
        """
        row = {"id": alias, "project_id": project_id, "user_id": user_id, "state": "building",
               "site": None, "site_id": None, "found": 0, "asked": asked}  # fmt: skip

        def do(connection: Connection) -> None:
            values = self._numbered(connection) | row
            if _ours(connection, alias) is None:
                connection.change(_INSERT, values)

        await self._database.run(Access.DURABLE, do)

    async def bind(
        self,
        alias: str,
        site: str,
        site_id: str,
        *,
        project_id: str = "",
        user_id: str = "",
        was: tuple[str, str] | None = None,
    ) -> bool:
        """Write down which server an alias stands for from now on.

        One that was never accepted (of a server that is moved) is made for the project and user given. False,
        and nothing is written, where it was dropped or there is none to make: nobody holds that id any more.
        What it `was` before, a site's own server, is hidden from now on, until `unhide`. Raises `Clash` where
        the site's server has another alias already.
        """
        row = {"id": alias, "project_id": project_id, "user_id": user_id, "state": "bound",
               "site": site, "site_id": site_id, "found": 0, "asked": None}  # fmt: skip

        def do(connection: Connection) -> bool:
            values = self._numbered(connection) | row
            place = _of(values, "site", "site_id", "changed", "now")
            # What the server was thought to be by its own words counts no more.
            connection.change(f"{_DROP} site = :site AND site_id = :site_id AND found = 1", place)
            connection.change(_SHOW, _of(values, *_PLACE))
            if not connection.change(_BIND, {"id": alias, **place}):
                if _ours(connection, alias) is not None or not project_id:
                    return False
                if not connection.change(_PROMOTE, {"id": alias, "project_id": project_id, **place}):
                    connection.change(_INSERT, values)
            if was is not None:
                _hide(connection, values, *was)
            return True

        return await self._database.run(Access.WRITE, do)

    async def hide(self, site: str, site_id: str) -> None:
        """Write down that a site's own server is not shown, until an alias stands for it."""
        await self._database.run(
            Access.WRITE, lambda connection: _hide(connection, self._numbered(connection), site, site_id)
        )

    async def unhide(self, site: str, site_id: str) -> None:
        """Forget that it is not shown."""

        def do(connection: Connection) -> None:
            values = self._numbered(connection) | {"site": site, "site_id": site_id}
            connection.change(f"{_DROP} state = 'hidden' AND site = :site AND site_id = :site_id", values)

        await self._database.run(Access.WRITE, do)

    async def expect(self, alias: str, site: str, *, project_id: str) -> None:
        """Write down that a site is about to make a server that will say it is this alias."""
        says = _SAYS + alias
        row = {"id": says, "project_id": project_id, "user_id": "", "state": "expected", "site": site,
               "site_id": says, "found": 0, "asked": None}  # fmt: skip

        def do(connection: Connection) -> None:
            connection.change("DELETE FROM aliases WHERE id = :id", {"id": says})
            connection.change(_INSERT, self._numbered(connection) | row)

        await self._database.run(Access.WRITE, do)

    async def expect_no_more(self, alias: str) -> None:
        """Forget that one is expected."""

        def do(connection: Connection) -> None:
            values = self._numbered(connection) | {"id": _SAYS + alias}
            connection.change(f"{_DROP} id = :id", values)

        await self._database.run(Access.WRITE, do)

    async def fail(self, alias: str, message: str, *, code: int = 500) -> bool:
        """Write down that no site will have the server; whether it is so now, by this or before."""

        def do(connection: Connection) -> bool:
            values = self._numbered(connection) | {"id": alias, "message": message, "code": code}
            return bool(connection.change(_FAIL, values)) or _ours(connection, alias) == "failed"

        return await self._database.run(Access.WRITE, do)

    async def drop(self, alias: str, *, waiting: bool = False) -> bool:
        """Forget an alias; whether it was there. Nothing can be bound to it from now on.

        With `waiting` only one that no site has a server for.
        """
        which = f"{_OURS} AND state IN ('building', 'failed')" if waiting else _OURS

        def do(connection: Connection) -> bool:
            return bool(connection.change(_DROP + which, self._numbered(connection) | {"id": alias}))

        return await self._database.run(Access.WRITE, do)

    async def release(self, alias: str, site: str, site_id: str) -> bool:
        """Forget a bound alias whose site has said 404; whether it was there.

        If the server is there all the same, what it says of itself brings the alias back.
        """

        def do(connection: Connection) -> bool:
            sql = f"{_DROP} {_OURS} AND site = :site AND site_id = :site_id"
            this = {"id": alias, "site": site, "site_id": site_id}
            values = self._numbered(connection) | this
            return bool(connection.change(sql.replace(" SET ", " SET found = 1, "), values))

        return await self._database.run(Access.WRITE, do)

    async def forget_found(self, alias: str) -> bool:
        """Forget in all projects what servers say that they are this one; they may be found again."""

        def do(connection: Connection) -> bool:
            sql = f"{_DROP} id = :id AND found = 1"
            return bool(connection.change(sql, self._numbered(connection) | {"id": alias}))

        return await self._database.run(Access.WRITE, do)

    async def find(self, alias: str, site: str, site_id: str, *, project_id: str) -> Alias | None:
        """Write down what a project's server says that it is, where nothing better is on record.

        Gives what is on record of the alias, or of that server, then; None where the alias was dropped. Where
        another server of the project's has said so, it stays, and its `claims` are both.
        """
        row = {"id": alias, "project_id": project_id, "user_id": "", "state": "bound",
               "site": site, "site_id": site_id, "found": 1, "asked": None}  # fmt: skip

        def do(connection: Connection) -> Alias | None:
            values = self._numbered(connection) | row
            known = _first(connection, _OURS, {"id": alias})
            known = known or _first(connection, "site = :site AND site_id = :site_id", _of(values, *_PLACE))
            if known is not None:
                return known if known.state != "dropped" else None
            this = _of(values, "id", "project_id")
            if (known := _first(connection, _WHOSE, this)) is None:
                connection.change(_INSERT, values)
            elif known.state == "dropped":
                connection.change(f"DELETE FROM aliases WHERE {_WHOSE}", this)
                connection.change(_INSERT, values)
            elif site not in known.claims[1:]:
                claims = [*(known.claims or [known.site]), site]
                text = {"message": msgspec.json.encode(claims).decode()}
                connection.change(_CONTEST, this | text | _of(values, "changed", "now"))
            return _first(connection, _WHOSE, this)

        return await self._database.run(Access.WRITE, do)

    async def of(self, alias: str) -> Alias | None:
        """Give what is on record of an alias that Atoll made; None where there is none, or none any more."""
        return await self._one(f"{_OURS} AND state <> 'dropped'", {"id": alias})

    async def standing_for(self, site: str, site_id: str) -> Alias | None:
        """Give the alias of a site's own server, where it has one."""
        place = {"site": site, "site_id": site_id}
        return await self._one("site = :site AND site_id = :site_id AND state = 'bound'", place)

    async def since(self, revision: int) -> AliasChanges:
        """Give what has changed after a revision; 0 for all."""

        def look(connection: Connection) -> AliasChanges:
            # The number first: what is written meanwhile is given twice rather than never.
            newest = _number(connection)
            if newest == revision:
                return AliasChanges(revision=revision, aliases=(), whole=False)
            # A number that went back is another database: all of it is new.
            after = revision if newest > revision else 0
            where = "WHERE changed > :after" if after else "WHERE changed > :after AND state <> 'dropped'"
            rows = connection.rows(f"SELECT {_COLUMNS} FROM aliases {where}", {"after": after})
            found = [_alias(row) for row in rows]
            return AliasChanges(revision=newest, aliases=found, whole=not after)

        return await self._database.run(Access.READ, look)

    async def prune(self) -> int:
        """Forget what was dropped, or expected, long ago; give how many."""

        def do(connection: Connection) -> int:
            old = {"old": self._clock() - EXPECTED_SECONDS}
            vain = "state = 'expected' AND changed_at < :old"
            if connection.rows(f"SELECT 1 FROM aliases WHERE {vain} LIMIT 1", old):
                connection.change(f"{_DROP} {vain}", self._numbered(connection) | old)
            dropped = {"old": self._clock() - DROPPED_SECONDS}
            return connection.change(
                "DELETE FROM aliases WHERE state = 'dropped' AND changed_at < :old", dropped
            )

        return await self._database.run(Access.SWEEP, do)

    def _numbered(self, connection: Connection) -> dict[str, Any]:
        """The number and the time of a change. Whoever has the number holds its row: all others wait."""
        if not connection.change("UPDATE alias_revision SET number = number + 1 WHERE id = 1"):
            connection.change("INSERT INTO alias_revision (id, number) VALUES (1, 1)")
        return {"changed": _number(connection), "now": self._clock()}

    async def _one(self, where: str, values: Mapping[str, Any]) -> Alias | None:
        return await self._database.run(Access.READ, lambda connection: _first(connection, where, values))


def _of(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _number(connection: Connection) -> int:
    rows = connection.rows(_NUMBER)
    return int(rows[0][0]) if rows else 0


def _ours(connection: Connection, alias: str) -> State | None:
    """The state of an alias that Atoll made."""
    rows = connection.rows(f"SELECT state FROM aliases WHERE {_OURS}", {"id": alias})
    return cast("State", rows[0][0]) if rows else None


def _hide(connection: Connection, numbered: Mapping[str, Any], site: str, site_id: str) -> None:
    """Write a row of a hidden server, unless something is on record of it."""
    values = {"id": site_id, "project_id": "", "user_id": "", "state": "hidden", "site": site,
              "site_id": site_id, "found": 0, "asked": None, **_of(numbered, "changed", "now")}  # fmt: skip
    this = _of(values, "id", "project_id")
    connection.change(f"DELETE FROM aliases WHERE {_WHOSE} AND state = 'dropped'", this)
    there = f"({_WHOSE}) OR (site = :site AND site_id = :site_id)"
    if _first(connection, there, this | _of(values, *_PLACE)) is None:
        connection.change(_INSERT, values)


def _first(connection: Connection, where: str, values: Mapping[str, Any]) -> Alias | None:
    rows = connection.rows(f"SELECT {_COLUMNS} FROM aliases WHERE {where}", values)
    return _alias(rows[0]) if rows else None


def _alias(row: Sequence[Any]) -> Alias:
    values = dict(zip(Alias.__struct_fields__, row, strict=True))
    return Alias(**values | {"found": bool(values["found"])})
