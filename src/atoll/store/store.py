"""What the database knows: locations, conflicts and list cursors. Everything but intent can be found again.

Plain portable SQL; every method is one transaction and raises `StoreError` if the database fails.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Double, Row, String, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from atoll.store.database import Database, StoreError, open_database
from atoll.store.records import Conflict, Cursor, Location, Pruned, Sighting, Source
from atoll.store.schema import CONFLICTS, CURSORS, LOCATIONS

CURSOR_SECONDS: Final = 3600.0
"""How long a page's successor can be asked for without walking the sites again."""

TOMBSTONE_SECONDS: Final = 7 * 86400.0
"""How long it is known where a deleted resource was: longer than any client polls a delete."""

REVIVE_SECONDS: Final = 60.0
"""A list seen so soon after a 404 may have been on its way before it."""

TOUCH_SECONDS: Final = 3600.0
"""`seen_at` is not worth a write more often than this."""

_CHUNK: Final = 400  # ids in one IN; SQLite takes 999 parameters at the least
_TRIES: Final = 3  # another process may insert the same row between our look and our insert

_Key = tuple[str, str]


async def open_store(url: str, *, clock: Callable[[], float] = time.time) -> "Store":
    """Open the store, its tables brought up to date; raises `StoreError`."""
    return Store(await open_database(url), clock=clock)


class Store:
    """Locations, conflicts and cursors. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def locate(self, resource_type: str, id: str) -> Location | None:  # noqa: A002 - OpenStack's word
        """Give the location of one resource, tombstones included."""
        return (await self.locate_many(resource_type, [id])).get(id)

    async def locate_many(self, resource_type: str, ids: Iterable[str]) -> dict[str, Location]:
        """Give the locations of those that have one, by id."""
        keys = [(resource_type, one) for one in dict.fromkeys(ids)]
        async with self._database.read() as connection:
            rows = await _rows(connection, LOCATIONS, keys)
            claims = await _rows(connection, CONFLICTS, list(rows))
        return {key[1]: _location(row, claims.get(key)) for key, row in rows.items()}

    async def learn(self, sightings: Sequence[Sighting], source: Source) -> list[Conflict]:
        """Record where resources were seen; give those that another site is on record for.

        What was seen at a create is authoritative. What was seen in a list or a search never replaces a
        record: it is put down as a conflict.
        """
        for attempt in range(_TRIES):
            try:
                async with self._database.write() as connection:
                    return await self._learn(connection, sightings, source)
            except StoreError as exc:
                if not isinstance(exc.__cause__, IntegrityError) or attempt == _TRIES - 1:
                    raise
        return []

    async def _learn(
        self, connection: AsyncConnection, sightings: Sequence[Sighting], source: Source
    ) -> list[Conflict]:
        known = await _rows(connection, LOCATIONS, [sighting.key for sighting in sightings])
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
        await self._write_locations(connection, added, changed, source)
        return await self._write_conflicts(connection, claims, sites)

    def _is_news(self, row: Row[Any], sighting: Sighting) -> bool:
        if row.deleted_at is not None:
            return bool(self._clock() - row.deleted_at > REVIVE_SECONDS)
        completes = row.project_id is None and sighting.project_id is not None
        return completes or bool(self._clock() - row.seen_at > TOUCH_SECONDS)

    async def _write_locations(
        self,
        connection: AsyncConnection,
        added: Mapping[_Key, Sighting],
        changed: Mapping[_Key, Sighting],
        source: Source,
    ) -> None:
        fixed = {"seen_at": self._clock(), "source": source}
        if added:
            rows = [msgspec.structs.asdict(sighting) | fixed for sighting in added.values()]
            await connection.execute(insert(LOCATIONS), rows)
        if changed:
            statement = (
                update(LOCATIONS)
                .where(LOCATIONS.c.resource_type == bindparam("b_type"), LOCATIONS.c.id == bindparam("b_id"))
                .values(
                    site=bindparam("b_site"),
                    project_id=func.coalesce(bindparam("b_project", type_=String), LOCATIONS.c.project_id),
                    created_at=func.coalesce(bindparam("b_created", type_=Double), LOCATIONS.c.created_at),
                    seen_at=fixed["seen_at"],
                    source=source,
                    deleted_at=None,
                )
            )
            rows = [
                {
                    "b_type": sighting.resource_type,
                    "b_id": sighting.id,
                    "b_site": sighting.site,
                    "b_project": sighting.project_id,
                    "b_created": sighting.created_at,
                }
                for sighting in changed.values()
            ]
            await connection.execute(statement, rows)

    async def _write_conflicts(
        self, connection: AsyncConnection, claims: Mapping[_Key, list[str]], sites: Mapping[_Key, str]
    ) -> list[Conflict]:
        before = await _rows(connection, CONFLICTS, list(claims))
        conflicts = []
        for key, claiming in claims.items():
            old = msgspec.json.decode(before[key].sites, type=list[str]) if key in before else []
            conflict = Conflict(
                resource_type=key[0], id=key[1], sites=tuple(dict.fromkeys([sites[key], *old, *claiming]))
            )
            conflicts.append(conflict)
            values = {"sites": msgspec.json.encode(conflict.sites).decode(), "seen_at": self._clock()}
            if key in before:
                where = (CONFLICTS.c.resource_type == key[0], CONFLICTS.c.id == key[1])
                await connection.execute(update(CONFLICTS).where(*where).values(**values))
            else:
                await connection.execute(insert(CONFLICTS).values(resource_type=key[0], id=key[1], **values))
        return conflicts

    async def tombstone(self, resource_type: str, id: str, *, site: str | None = None) -> bool:  # noqa: A002
        """Put down that the recorded site (only if it is `site`, where given) has said 404."""
        where = [LOCATIONS.c.resource_type == resource_type, LOCATIONS.c.id == id]
        where.append(LOCATIONS.c.deleted_at.is_(None))
        if site is not None:
            where.append(LOCATIONS.c.site == site)
        async with self._database.write() as connection:
            done = await connection.execute(update(LOCATIONS).where(*where).values(deleted_at=self._clock()))
        return bool(done.rowcount)

    async def conflicts(self) -> list[Conflict]:
        """Give every id that several sites claim."""
        order = (CONFLICTS.c.resource_type, CONFLICTS.c.id)
        async with self._database.read() as connection:
            rows = (await connection.execute(select(CONFLICTS).order_by(*order))).all()
        return [Conflict(resource_type=row.resource_type, id=row.id, sites=_sites(row)) for row in rows]

    async def forget(self, site: str) -> int:
        """Drop every location at a site and the conflicts it had a part in; give how many locations."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(LOCATIONS).where(LOCATIONS.c.site == site))
            rows = (await connection.execute(select(CONFLICTS))).all()
            for row in rows:
                if site in _sites(row):
                    where = (CONFLICTS.c.resource_type == row.resource_type, CONFLICTS.c.id == row.id)
                    await connection.execute(delete(CONFLICTS).where(*where))
        return gone.rowcount

    async def clear_locations(self) -> None:
        """Drop every location and conflict; they are found again as they are asked for."""
        async with self._database.write() as connection:
            await connection.execute(delete(LOCATIONS))
            await connection.execute(delete(CONFLICTS))

    async def count_by_site(self, resource_type: str) -> dict[str, int]:
        """Count the resources of a type that each site has, as far as is known."""
        return await self._counts(
            [LOCATIONS.c.resource_type == resource_type, LOCATIONS.c.deleted_at.is_(None)]
        )

    async def count_lately(self, resource_type: str) -> dict[str, int]:
        """Count the resources of a type on record at each site, those deleted lately included."""
        return await self._counts([LOCATIONS.c.resource_type == resource_type])

    async def count_by_site_of_project(
        self, project_id: str, resource_types: Sequence[str]
    ) -> dict[str, int]:
        """Count what a project has in each site, of the given types together."""
        where = [
            LOCATIONS.c.project_id == project_id,
            LOCATIONS.c.resource_type.in_(resource_types),
            LOCATIONS.c.deleted_at.is_(None),
        ]
        return await self._counts(where)

    async def _counts(self, where: Sequence[Any]) -> dict[str, int]:
        query = select(LOCATIONS.c.site, func.count()).where(*where).group_by(LOCATIONS.c.site)
        async with self._database.read() as connection:
            return {row[0]: row[1] for row in await connection.execute(query)}

    async def save_cursor(self, project_id: str, query: str, last_id: str, cursor: Cursor) -> None:
        """Keep where a page ended, by the id of its last item; `query` is what tells lists apart."""
        key = _cursor_key(project_id, query, last_id)
        where = [CURSORS.c[name] == value for name, value in key.items()]
        state = msgspec.json.encode(cursor).decode()
        values = {**key, "state": state, "expires_at": self._clock() + CURSOR_SECONDS}
        try:
            async with self._database.write() as connection:
                await connection.execute(delete(CURSORS).where(*where))
                await connection.execute(insert(CURSORS).values(**values))
        except StoreError as exc:
            # Another process may have kept the same page just now.
            if not isinstance(exc.__cause__, IntegrityError):
                raise

    async def load_cursor(self, project_id: str, query: str, last_id: str) -> Cursor | None:
        """Give where the page that ended with `last_id` left each site; None if it is not known."""
        where = [CURSORS.c[name] == value for name, value in _cursor_key(project_id, query, last_id).items()]
        async with self._database.read() as connection:
            query_ = select(CURSORS.c.state).where(*where, CURSORS.c.expires_at > self._clock())
            state = await connection.scalar(query_)
        return None if state is None else msgspec.json.decode(state, type=Cursor)

    async def prune(self, now: float) -> Pruned:
        """Drop cursors that have expired and tombstones that nobody polls any more."""
        async with self._database.write() as connection:
            cursors = await connection.execute(delete(CURSORS).where(CURSORS.c.expires_at <= now))
            old = LOCATIONS.c.deleted_at <= now - TOMBSTONE_SECONDS
            tombstones = await connection.execute(delete(LOCATIONS).where(old))
        return Pruned(cursors=cursors.rowcount, tombstones=tombstones.rowcount)


async def _rows(connection: AsyncConnection, table: Any, keys: Sequence[_Key]) -> dict[_Key, Row[Any]]:
    """Give the rows of a table keyed by (resource type, id)."""
    by_type: dict[str, list[str]] = {}
    for resource_type, one in dict.fromkeys(keys):
        by_type.setdefault(resource_type, []).append(one)
    found = {}
    for resource_type, ids in by_type.items():
        for start in range(0, len(ids), _CHUNK):
            where = (table.c.resource_type == resource_type, table.c.id.in_(ids[start : start + _CHUNK]))
            rows = await connection.execute(select(table).where(*where))
            found.update({(row.resource_type, row.id): row for row in rows})
    return found


def _location(row: Row[Any], claims: Row[Any] | None) -> Location:
    return Location(
        resource_type=row.resource_type,
        id=row.id,
        site=row.site,
        project_id=row.project_id,
        created_at=row.created_at,
        deleted=row.deleted_at is not None,
        conflicting=() if claims is None else _sites(claims),
    )


def _sites(row: Row[Any]) -> tuple[str, ...]:
    return msgspec.json.decode(row.sites, type=tuple[str, ...])


def _cursor_key(project_id: str, query: str, last_id: str) -> dict[str, str]:
    digest = hashlib.sha256(query.encode()).hexdigest()
    return {"project_id": project_id, "query_hash": digest, "last_id": last_id}
