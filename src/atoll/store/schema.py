"""The tables as they are now: what an empty SQLite file gets at once, for Alembic is slow to import.

What changes tables that are there already is under `migrations`; a test holds the two together.
"""

from typing import Final

HEAD: Final = "0005"
"""The newest step of `migrations`."""

NAMES: Final = ("locations", "conflicts", "cursors", "intent", "intent_revision", "leases")
"""The tables whose content is ours; `alembic_version` beside them says how new they are."""

VERSION: Final = "SELECT version_num FROM alembic_version"

# Times are seconds since 1970 in UTC. `source` is create, list or search. `deleted_at` makes a tombstone:
# the site said 404. `sites` is a JSON list, the recorded site first. `state` is JSON: the marker of each
# site, and the sites that are missing. `intent` is what operators and users have set up, one JSON document a
# row (NULL: dropped), `changed` the number of its last change, counted in `intent_revision`. Who holds
# a lease counts `beat` up.
TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS locations (
        resource_type VARCHAR(64) NOT NULL,
        id VARCHAR(255) NOT NULL,
        site VARCHAR(63) NOT NULL,
        project_id VARCHAR(64),
        created_at DOUBLE,
        seen_at DOUBLE NOT NULL,
        source VARCHAR(8) NOT NULL,
        deleted_at DOUBLE,
        PRIMARY KEY (resource_type, id))""",
    "CREATE INDEX IF NOT EXISTS ix_locations_site ON locations (site)",
    "CREATE INDEX IF NOT EXISTS ix_locations_project ON locations (project_id, resource_type)",
    "CREATE INDEX IF NOT EXISTS ix_locations_deleted ON locations (deleted_at)",
    "CREATE INDEX IF NOT EXISTS ix_locations_created ON locations (created_at, resource_type, site)",
    "CREATE INDEX IF NOT EXISTS ix_locations_newest ON locations (project_id, created_at)",
    """CREATE TABLE IF NOT EXISTS conflicts (
        resource_type VARCHAR(64) NOT NULL,
        id VARCHAR(255) NOT NULL,
        sites TEXT NOT NULL,
        seen_at DOUBLE NOT NULL,
        PRIMARY KEY (resource_type, id))""",
    """CREATE TABLE IF NOT EXISTS cursors (
        project_id VARCHAR(64) NOT NULL,
        query_hash VARCHAR(64) NOT NULL,
        last_id VARCHAR(255) NOT NULL,
        state TEXT NOT NULL,
        expires_at DOUBLE NOT NULL,
        PRIMARY KEY (project_id, query_hash, last_id))""",
    "CREATE INDEX IF NOT EXISTS ix_cursors_expires ON cursors (expires_at)",
    """CREATE TABLE IF NOT EXISTS intent (
        kind VARCHAR(32) NOT NULL,
        id VARCHAR(255) NOT NULL,
        document TEXT,
        changed BIGINT NOT NULL,
        changed_at DOUBLE NOT NULL,
        PRIMARY KEY (kind, id))""",
    "CREATE INDEX IF NOT EXISTS ix_intent_changed ON intent (changed)",
    """CREATE TABLE IF NOT EXISTS intent_revision (
        id INTEGER NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL)""",
    """INSERT INTO intent_revision (id, number)
        SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM intent_revision)""",
    """CREATE TABLE IF NOT EXISTS leases (
        name VARCHAR(255) NOT NULL,
        holder VARCHAR(64) NOT NULL,
        beat BIGINT NOT NULL,
        PRIMARY KEY (name))""",
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
    f"""INSERT INTO alembic_version (version_num)
        SELECT '{HEAD}' WHERE NOT EXISTS (SELECT 1 FROM alembic_version)""",  # noqa: S608 - ours
)
