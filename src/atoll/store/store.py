"""What the database knows: locations, conflicts and list cursors. Everything but intent can be found again.

Plain portable SQL; every method is one transaction and raises `StoreError` if the database fails.
"""

# ruff: noqa: S608 - statements are put together from constants of this file; values are parameters

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from atoll.store.aliases import Aliases
from atoll.store.database import Access, Clash, Connection, Database
from atoll.store.intent import Intent
from atoll.store.leases import Leases
from atoll.store.opening import open_database
from atoll.store.records import Conflict, Cursor, Location, Made, Pruned, Sighting, Source
from atoll.store.recovery_points import RecoveryPoints
from atoll.store.run_outbox import RunOutbox
from atoll.store.run_views import RunViews
from atoll.store.runs import Runs
from atoll.store.sealed_values import SealedValues

CURSOR_SECONDS: Final = 3600.0
"""How long a page's successor can be asked for without walking the sites again."""

TOMBSTONE_SECONDS: Final = 7 * 86400.0
"""How long it is known where a deleted resource was: longer than any client polls a delete."""

REVIVE_SECONDS: Final = 60.0
"""A list seen so soon after a 404 may have been on its way before it."""

TOUCH_SECONDS: Final = 86400.0
"""`seen_at` is not worth a write more often than this."""

_CHUNK: Final = 400  # ids in one IN; SQLite takes 999 parameters at the least
_TRIES: Final = 8  # other processes may write the same rows between our look and our write
_LONGEST: Final = {"id": 255, "project_id": 64}  # characters; more are in no database, or cut in one
_UNFIT: Final = re.compile("[\0\ud800-\udfff]")  # no text to PostgreSQL

_Key = tuple[str, str]

_IS_THIS = "resource_type = :resource_type AND id = :id"
_INSERT_LOCATION = """
    INSERT INTO locations (resource_type, id, site, project_id, created_at, seen_at, source)
    VALUES (:resource_type, :id, :site, :project_id, :created_at, :seen_at, :source)"""
_UPDATE_LOCATION = f"""
    UPDATE locations SET site = :site, project_id = COALESCE(:project_id, project_id),
        created_at = COALESCE(:created_at, created_at), seen_at = :seen_at, source = :source,
        deleted_at = NULL
    WHERE {_IS_THIS}"""
# What a list or search showed is news only of the record that was looked at: another process may have
# written a create, or a 404, since.
_CONFIRM_LOCATION = f"""
    UPDATE locations SET project_id = COALESCE(:project_id, project_id),
        created_at = COALESCE(:created_at, created_at), seen_at = :seen_at, source = :source,
        deleted_at = NULL
    WHERE {_IS_THIS} AND site = :site AND (deleted_at IS NULL OR deleted_at < :revived_before)"""
_INSERT_CONFLICT = """
    INSERT INTO conflicts (resource_type, id, sites, seen_at)
    VALUES (:resource_type, :id, :sites, :seen_at)"""
_UPDATE_CONFLICT = f"""
    UPDATE conflicts SET sites = :sites, seen_at = :seen_at WHERE {_IS_THIS} AND sites = :before"""
# Columns as expressions: SQLite, which knows no figures of the table, would take the index of the column over
# that of the time, and so read most of the table.
_PLAIN_SITE = "COALESCE(site, '')"
_PLAIN_TYPE = "COALESCE(resource_type, '')"
_IS_CURSOR = "project_id = :project_id AND query_hash = :query_hash AND last_id = :last_id"
_INSERT_CURSOR = """
    INSERT INTO cursors (project_id, query_hash, last_id, state, expires_at)
    VALUES (:project_id, :query_hash, :last_id, :state, :expires_at)"""


class _Row(NamedTuple):
    """A row of `locations`."""

    resource_type: str
    id: str
    site: str
    project_id: str | None
    created_at: float | None
    seen_at: float
    deleted_at: float | None


async def open_store(url: str, *, clock: Callable[[], float] = time.time, published: bool = False) -> "Store":
    """Open the store, its tables brought up to date; raises `StoreError`.

    `published`: somebody relays the log of runs.
    """
    return Store(await open_database(url), clock=clock, published=published)


class Store:
    """Locations, conflicts, cursors, beside them `intent`, `aliases`, `leases`, `recovery_points`, `runs`.

    `sealed_values` are in the last two of these.

    `clock` gives seconds since 1970.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], float] = time.time, published: bool = False
    ) -> None:
        self._database = database
        self._clock = clock
        self.intent = Intent(database, clock=clock)
        self.aliases = Aliases(database, clock=clock)
        self.leases = Leases(database)
        self.recovery_points = RecoveryPoints(database)
        self.runs = Runs(database, published=published)
        self.run_views = RunViews(database)
        self.run_outbox = RunOutbox(database)
        self.sealed_values = SealedValues(database)

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def locate(self, resource_type: str, id: str) -> Location | None:  # noqa: A002 - OpenStack's word
        """Give the location of one resource, tombstones included."""
        return (await self.locate_many(resource_type, [id])).get(id)

    async def locate_many(self, resource_type: str, ids: Iterable[str]) -> dict[str, Location]:
        """Give the locations of those that have one, by id."""
        keys = [(resource_type, one) for one in dict.fromkeys(ids) if _fits("id", one)]

        def look(connection: Connection) -> dict[str, Location]:
            rows = _locations(connection, keys)
            claims = _claims(connection, list(rows))
            return {key[1]: _location(row, claims.get(key, ())) for key, row in rows.items()}

        return await self._database.run(Access.READ, look)

    async def learn(self, sightings: Sequence[Sighting], source: Source) -> list[Conflict]:
        """Record where resources were seen; give those that another site is on record for.

        What was seen at a create is authoritative, and made just now unless it says when. What was seen in a
        list or a search never replaces a record: it is put down as a conflict. An id that no database can
        hold is left out.
        """
        # In one order everywhere, so that processes wait for each other and never in a circle.
        sightings = sorted(filter(_storable, sightings), key=_by_key)
        if source == "create":
            made = {"created_at": self._clock()}
            sightings = [
                msgspec.structs.replace(one, **made) if one.created_at is None else one for one in sightings
            ]
        for attempt in range(_TRIES):
            try:
                return await self._database.run(
                    Access.WRITE, lambda connection: self._learn(connection, sightings, source)
                )
            except Clash:
                if attempt == _TRIES - 1:
                    raise
        return []

    def _learn(self, connection: Connection, sightings: Sequence[Sighting], source: Source) -> list[Conflict]:
        known = _locations(connection, [sighting.key for sighting in sightings])
        sites = {key: row.site for key, row in known.items()}
        added: dict[_Key, Sighting] = {}
        changed: dict[_Key, Sighting] = {}
        claims: dict[_Key, list[str]] = {}
        for sighting in sightings:
            recorded = sites.setdefault(sighting.key, sighting.site)
            if recorded != sighting.site:
                claims.setdefault(sighting.key, [recorded]).append(sighting.site)
                if source != "create":
                    continue
                sites[sighting.key] = sighting.site
            if sighting.key not in known:
                added[sighting.key] = sighting
            elif source == "create" or self._is_news(known[sighting.key], sighting):
                changed[sighting.key] = sighting
        update = _UPDATE_LOCATION if source == "create" else _CONFIRM_LOCATION
        now = self._clock()
        fixed = {"seen_at": now, "source": source, "revived_before": now - REVIVE_SECONDS}
        for statement, ones in ((_INSERT_LOCATION, added), (update, changed)):
            connection.change_each(statement, [msgspec.structs.asdict(one) | fixed for one in ones.values()])
        return self._write_conflicts(connection, claims, sites)

    def _is_news(self, row: _Row, sighting: Sighting) -> bool:
        if row.deleted_at is not None:
            return self._clock() - row.deleted_at > REVIVE_SECONDS
        completes = row.project_id is None and sighting.project_id is not None
        return completes or self._clock() - row.seen_at > TOUCH_SECONDS

    def _write_conflicts(
        self, connection: Connection, claims: Mapping[_Key, list[str]], sites: Mapping[_Key, str]
    ) -> list[Conflict]:
        before = _claims(connection, list(claims))
        conflicts = []
        for key, claiming in claims.items():
            all_sites = tuple(dict.fromkeys([sites[key], *before.get(key, ()), *claiming]))
            conflicts.append(Conflict(resource_type=key[0], id=key[1], sites=all_sites))
            values = {**_this(*key), "sites": _text(all_sites), "seen_at": self._clock()}
            if key not in before:
                connection.change(_INSERT_CONFLICT, values)
            elif not connection.change(_UPDATE_CONFLICT, {**values, "before": _text(before[key])}):
                raise Clash("another process wrote the same conflict")
        return conflicts

    async def tombstone(
        self,
        resource_type: str,
        id: str,  # noqa: A002
        *,
        site: str | None = None,
        project_id: str = "",
    ) -> bool:
        """Put down that the recorded site (only if it is `site`, where given) has said 404.

        To somebody of a project that counts for what is that project's.
        """
        sql = f"UPDATE locations SET deleted_at = :now WHERE {_IS_THIS} AND deleted_at IS NULL"
        values: dict[str, Any] = {**_this(resource_type, id), "now": self._clock()}
        if site is not None:
            sql += " AND site = :site"
            values["site"] = site
        if project_id:
            sql += " AND (project_id IS NULL OR project_id = :project_id)"
            values["project_id"] = project_id
        return bool(await self._change(sql, values))

    async def conflicts(self) -> list[Conflict]:
        """Give every id that several sites claim."""
        rows = await self._rows("SELECT resource_type, id, sites FROM conflicts ORDER BY resource_type, id")
        return [Conflict(resource_type=row[0], id=row[1], sites=_sites(row[2])) for row in rows]

    async def forget(self, site: str) -> int:
        """Drop every location at a site and the conflicts it had a part in; give how many locations."""

        def drop(connection: Connection) -> int:
            gone = connection.change("DELETE FROM locations WHERE site = :site", {"site": site})
            for resource_type, one, sites in connection.rows(
                "SELECT resource_type, id, sites FROM conflicts"
            ):
                if site in _sites(sites):
                    connection.change(f"DELETE FROM conflicts WHERE {_IS_THIS}", _this(resource_type, one))
            return gone

        return await self._database.run(Access.SWEEP, drop)

    async def forget_one(self, resource_type: str, id: str) -> None:  # noqa: A002 - OpenStack's word
        """Drop what is on record of one resource."""

        def drop(connection: Connection) -> None:
            for table in ("locations", "conflicts"):
                connection.change(f"DELETE FROM {table} WHERE {_IS_THIS}", _this(resource_type, id))

        await self._database.run(Access.WRITE, drop)

    async def clear_locations(self) -> None:
        """Drop every location and conflict; they are found again as they are asked for."""

        def drop(connection: Connection) -> None:
            connection.change("DELETE FROM locations")
            connection.change("DELETE FROM conflicts")

        await self._database.run(Access.SWEEP, drop)

    async def is_empty(self) -> bool:
        """Whether there is no location at all: the table is new, or was lost."""
        return not await self._rows("SELECT 1 FROM locations LIMIT 1")

    async def count_by_site(self, resource_type: str) -> dict[str, int]:
        """Count the resources of a type that each site has, as far as is known."""
        where = "resource_type = :resource_type AND deleted_at IS NULL"
        return await self._counts(where, {"resource_type": resource_type})

    async def count_by_type(self, *, site: str = "", project_id: str = "") -> dict[tuple[str, str], int]:
        """Count what is on record by (site, type); of one site, one project, or ("") all."""
        where, values = _named(site=site, project_id=project_id)
        rows = await self._rows(
            f"SELECT site, resource_type, COUNT(*) FROM locations WHERE deleted_at IS NULL{where} "
            "GROUP BY site, resource_type ORDER BY site, resource_type",
            values,
        )
        return {(row[0], row[1]): row[2] for row in rows}

    async def list_locations(
        self,
        *,
        site: str = "",
        project_id: str = "",
        resource_type: str = "",
        deleted: bool = False,
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> list[Location]:
        """Give what is on record, by type and id, after one of them; "" stands for any."""
        if not all(_fits("id", one) for one in after):
            return []
        where, values = _named(site=site, project_id=project_id, resource_type=resource_type)
        if not deleted:
            where += " AND deleted_at IS NULL"

        def look(connection: Connection) -> list[Location]:
            rows = connection.rows(
                f"SELECT {', '.join(_Row._fields)} FROM locations "
                "WHERE (resource_type > :type_after OR (resource_type = :type_after AND id > :id_after))"
                f"{where} ORDER BY resource_type, id LIMIT {limit:d}",
                {**values, "type_after": after[0], "id_after": after[1]},
            )
            found = [_Row(*row) for row in rows]
            claims = _claims(connection, [(row.resource_type, row.id) for row in found])
            return [_location(row, claims.get((row.resource_type, row.id), ())) for row in found]

        return await self._database.run(Access.READ, look)

    async def count_made(self, resource_types: Sequence[str], *, since: float) -> dict[str, int]:
        """Count what was made at each site since a moment, what is deleted by now included."""
        names, values = _placeholders(resource_types)
        rows = await self._rows(
            f"SELECT {_PLAIN_SITE}, COUNT(*) FROM locations "
            f"WHERE created_at > :since AND {_PLAIN_TYPE} IN ({names}) GROUP BY {_PLAIN_SITE}",
            {**values, "since": since},
        )
        return {row[0]: row[1] for row in rows}

    async def newest_of(self, project_id: str, resource_types: Sequence[str]) -> Made | None:
        """Give where the newest thing of a project was made; None where no time is on record."""
        names, values = _placeholders(resource_types)
        rows = await self._rows(
            "SELECT site, created_at FROM locations WHERE project_id = :project_id "
            f"AND created_at IS NOT NULL AND {_PLAIN_TYPE} IN ({names}) ORDER BY created_at DESC LIMIT 1",
            {**values, "project_id": project_id},
        )
        return Made(*rows[0]) if rows else None

    async def newest_beginning(self, resource_types: Sequence[str], *, since: float) -> Made | None:
        """Give where the project that began last made its first thing; None if none began since a moment."""
        names, values = _placeholders(resource_types)
        rows = await self._rows(
            "SELECT site, created_at FROM locations l "
            f"WHERE created_at > :since AND {_PLAIN_TYPE} IN ({names}) AND project_id IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM locations o "
            f"WHERE o.project_id = l.project_id AND o.resource_type IN ({names}) "
            "AND o.created_at < l.created_at) "
            "ORDER BY created_at DESC LIMIT 1",
            {**values, "since": since},
        )
        return Made(*rows[0]) if rows else None

    async def count_by_site_of_project(
        self, project_id: str, resource_types: Sequence[str]
    ) -> dict[str, int]:
        """Count what a project has in each site, of the given types together."""
        if not resource_types:
            return {}
        names, values = _placeholders(resource_types)
        where = f"project_id = :project_id AND resource_type IN ({names}) AND deleted_at IS NULL"
        return await self._counts(where, {**values, "project_id": project_id})

    async def known_at(
        self, resource_type: str, sites: Sequence[str], *, project_id: str | None, limit: int
    ) -> list[Location]:
        """Give what is on record at some sites, of one project or (None) of all, newest first.

        Only what is on record with its project and its creation time.
        """
        if not sites:
            return []
        names, values = _placeholders(sites)
        where = f"resource_type = :resource_type AND site IN ({names}) AND deleted_at IS NULL"
        where += " AND project_id IS NOT NULL AND created_at IS NOT NULL"
        if project_id is not None:
            where += " AND project_id = :project_id"
            values["project_id"] = project_id
        sql = f"SELECT {', '.join(_Row._fields)} FROM locations WHERE {where}"
        sql += f" ORDER BY created_at DESC, id LIMIT {limit:d}"
        rows = await self._rows(sql, {**values, "resource_type": resource_type})
        return [_location(_Row(*row), ()) for row in rows]

    async def _counts(self, where: str, values: Mapping[str, Any]) -> dict[str, int]:
        sql = f"SELECT site, COUNT(*) FROM locations WHERE {where} GROUP BY site"
        return {row[0]: row[1] for row in await self._rows(sql, values)}

    async def save_cursor(self, project_id: str, query: str, last_id: str, cursor: Cursor) -> None:
        """Keep where a page ended, by the id of its last item; `query` is what tells lists apart."""
        if not _fits("id", last_id):
            return
        key = _cursor_key(project_id, query, last_id)
        state = msgspec.json.encode(cursor).decode()
        values = {**key, "state": state, "expires_at": self._clock() + CURSOR_SECONDS}

        def replace(connection: Connection) -> None:
            connection.change(f"DELETE FROM cursors WHERE {_IS_CURSOR}", key)
            connection.change(_INSERT_CURSOR, values)

        with contextlib.suppress(Clash):  # another process may have kept the same page just now
            await self._database.run(Access.WRITE, replace)

    async def load_cursor(self, project_id: str, query: str, last_id: str) -> Cursor | None:
        """Give where the page that ended with `last_id` left each site; None if it is not known."""
        if not _fits("id", last_id):
            return None
        values = {**_cursor_key(project_id, query, last_id), "now": self._clock()}
        rows = await self._rows(f"SELECT state FROM cursors WHERE {_IS_CURSOR} AND expires_at > :now", values)
        return msgspec.json.decode(rows[0][0], type=Cursor) if rows else None

    async def prune(self, now: float) -> Pruned:
        """Drop cursors that have expired and tombstones that nobody polls any more."""
        old = now - TOMBSTONE_SECONDS

        def drop(connection: Connection) -> Pruned:
            return Pruned(
                cursors=connection.change("DELETE FROM cursors WHERE expires_at <= :now", {"now": now}),
                tombstones=connection.change("DELETE FROM locations WHERE deleted_at <= :old", {"old": old}),
            )

        return await self._database.run(Access.SWEEP, drop)

    async def _rows(self, sql: str, values: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        return await self._database.run(Access.READ, lambda connection: connection.rows(sql, values or {}))

    async def _change(self, sql: str, values: Mapping[str, Any]) -> int:
        return await self._database.run(Access.WRITE, lambda connection: connection.change(sql, values))


def _select(
    connection: Connection, table: str, columns: Iterable[str], keys: Iterable[_Key]
) -> Iterator[Sequence[Any]]:
    """Give columns of the rows of a table that have one of some keys."""
    by_type: dict[str, list[str]] = {}
    for resource_type, one in dict.fromkeys(keys):
        by_type.setdefault(resource_type, []).append(one)
    for resource_type, ids in by_type.items():
        for start in range(0, len(ids), _CHUNK):
            names, values = _placeholders(ids[start : start + _CHUNK])
            yield from connection.rows(
                f"SELECT {', '.join(columns)} FROM {table} "
                f"WHERE resource_type = :resource_type AND id IN ({names})",
                {**values, "resource_type": resource_type},
            )


def _placeholders(values: Iterable[str]) -> tuple[str, dict[str, str]]:
    """Give the inside of an IN and its parameters."""
    named = {f"v{number}": value for number, value in enumerate(values)}
    return ", ".join(f":{name}" for name in named), named


def _named(**columns: str) -> tuple[str, dict[str, str]]:
    """Give conditions for the columns that are to have a value, and its parameters."""
    given = {name: value for name, value in columns.items() if value}
    return "".join(f" AND {name} = :{name}" for name in given), given


def _locations(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, _Row]:
    rows = (_Row(*row) for row in _select(connection, "locations", _Row._fields, keys))
    return {(row.resource_type, row.id): row for row in rows}


def _claims(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, tuple[str, ...]]:
    """Give the sites that claim each of some keys, where it is more than one."""
    rows = _select(connection, "conflicts", ("resource_type", "id", "sites"), keys)
    return {(row[0], row[1]): _sites(row[2]) for row in rows}


def _location(row: _Row, claims: tuple[str, ...]) -> Location:
    return Location(
        resource_type=row.resource_type,
        id=row.id,
        site=row.site,
        project_id=row.project_id,
        created_at=row.created_at,
        deleted=row.deleted_at is not None,
        conflicting=claims,
    )


def _by_key(sighting: Sighting) -> _Key:
    return sighting.key


def _storable(sighting: Sighting) -> bool:
    return _fits("id", sighting.id) and _fits("project_id", sighting.project_id or "")


def _fits(column: str, text: str) -> bool:
    """Whether every database can hold a text that a site or a client made up."""
    return len(text) <= _LONGEST[column] and not _UNFIT.search(text)


def _this(resource_type: str, one: str) -> dict[str, str]:
    return {"resource_type": resource_type, "id": one}


def _text(sites: tuple[str, ...]) -> str:
    return msgspec.json.encode(sites).decode()


def _sites(text: str) -> tuple[str, ...]:
    return msgspec.json.decode(text, type=tuple[str, ...])


def _cursor_key(project_id: str, query: str, last_id: str) -> dict[str, str]:
    digest = hashlib.sha256(query.encode()).hexdigest()
    return {"project_id": project_id, "query_hash": digest, "last_id": last_id}
