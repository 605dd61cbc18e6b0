"""The tables as they are now: what an empty SQLite file gets at once, for Alembic is slow to import.

What changes tables that are there already is under `migrations`; a test holds the two together.
"""

from typing import Final

HEAD: Final = "0008"
"""The newest step of `migrations`."""

NAMES: Final = (
    "locations",
    "conflicts",
    "cursors",
    "intent",
    "intent_revision",
    "leases",
    "runs",
    "workers",
    "run_locks",
    "run_reserves",
    "suspects",
    "run_turn",
    "aliases",
    "alias_revision",
    "recovery_points",
)
"""The tables whose content is ours; `alembic_version` beside them says how new they are."""

VERSION: Final = "SELECT version_num FROM alembic_version"

# Times are seconds since 1970 in UTC. `source` is create, list or search. `deleted_at` makes a tombstone:
# the site said 404. `sites` is a JSON list, the recorded site first. `state` is JSON: the marker of each
# site, and the sites that are missing. `intent` is what operators and users have set up, one JSON document a
# row (NULL: dropped), `changed` the number of its last change, counted in `intent_revision`. Who holds
# a lease counts `beat` up.
#
# Of a run `plan` and `journal` are JSON, `stop` is what somebody wants of it, `owner` the worker that has it.
# One that nobody has is taken up at `due_at` (NULL: not by itself), in the database's time; `waits` says what
# for. Every change of hands makes `fence` one more. `holds` says whether it has rows in run_locks or
# run_reserves, `admitted` whether it was granted them; `unsent` is 1 while its log has lines that were not
# published, `sent` the number of the last one that was, as `number` is of the last one that is there.
# `run_turn` is written by whoever grants or gives back, so that they take turns.
#
# Of an alias `asked` is JSON, there while no site has the server; `changed` is counted in `alias_revision`.
# Of a recovery point `content` is JSON, and `claimed_by` the run that uses or drops it.
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
    """CREATE TABLE IF NOT EXISTS runs (
        id VARCHAR(36) NOT NULL,
        definition VARCHAR(64) NOT NULL,
        project_id VARCHAR(64) NOT NULL,
        user_id VARCHAR(64) NOT NULL,
        purpose VARCHAR(255) NOT NULL,
        request_key VARCHAR(255),
        state VARCHAR(16) NOT NULL,
        stop VARCHAR(8),
        owner VARCHAR(64),
        fence BIGINT NOT NULL,
        takeovers INTEGER NOT NULL,
        admitted SMALLINT NOT NULL,
        holds SMALLINT NOT NULL,
        due_at DOUBLE,
        waits VARCHAR(300) NOT NULL,
        number BIGINT NOT NULL,
        unsent SMALLINT,
        sent BIGINT,
        created_at DOUBLE NOT NULL,
        changed_at DOUBLE NOT NULL,
        ended_at DOUBLE,
        acting TEXT,
        plan TEXT NOT NULL,
        journal TEXT NOT NULL,
        progress TEXT,
        PRIMARY KEY (id))""",
    "CREATE INDEX IF NOT EXISTS ix_runs_due ON runs (due_at)",
    "CREATE INDEX IF NOT EXISTS ix_runs_owner ON runs (owner)",
    "CREATE INDEX IF NOT EXISTS ix_runs_waits ON runs (waits)",
    "CREATE INDEX IF NOT EXISTS ix_runs_unsent ON runs (unsent, id)",
    "CREATE INDEX IF NOT EXISTS ix_runs_project ON runs (project_id, id)",
    "CREATE INDEX IF NOT EXISTS ix_runs_state ON runs (state, id)",
    "CREATE UNIQUE INDEX IF NOT EXISTS ix_runs_key ON runs (project_id, request_key)",
    """CREATE TABLE IF NOT EXISTS workers (
        id VARCHAR(64) NOT NULL,
        about VARCHAR(255) NOT NULL,
        runs INTEGER NOT NULL,
        began_at DOUBLE NOT NULL,
        lease_until DOUBLE NOT NULL,
        PRIMARY KEY (id))""",
    """CREATE TABLE IF NOT EXISTS run_locks (
        path VARCHAR(255) NOT NULL,
        run_id VARCHAR(36) NOT NULL,
        mode VARCHAR(2) NOT NULL,
        number BIGINT NOT NULL,
        granted SMALLINT NOT NULL,
        PRIMARY KEY (path, run_id))""",
    "CREATE INDEX IF NOT EXISTS ix_run_locks_run ON run_locks (run_id)",
    """CREATE TABLE IF NOT EXISTS run_reserves (
        name VARCHAR(255) NOT NULL,
        run_id VARCHAR(36) NOT NULL,
        amount DOUBLE NOT NULL,
        PRIMARY KEY (name, run_id))""",
    "CREATE INDEX IF NOT EXISTS ix_run_reserves_run ON run_reserves (run_id)",
    """CREATE TABLE IF NOT EXISTS suspects (
        resource VARCHAR(255) NOT NULL,
        run_id VARCHAR(36) NOT NULL,
        since DOUBLE NOT NULL,
        PRIMARY KEY (resource))""",
    """CREATE TABLE IF NOT EXISTS run_turn (
        id INTEGER NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL)""",
    """INSERT INTO run_turn (id, number)
        SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM run_turn)""",
    """CREATE TABLE IF NOT EXISTS aliases (
        id VARCHAR(64) NOT NULL,
        project_id VARCHAR(64) NOT NULL,
        user_id VARCHAR(64) NOT NULL,
        state VARCHAR(8) NOT NULL,
        site VARCHAR(63),
        site_id VARCHAR(64),
        found SMALLINT NOT NULL,
        asked TEXT,
        message TEXT,
        code INTEGER,
        created_at DOUBLE NOT NULL,
        changed BIGINT NOT NULL,
        changed_at DOUBLE NOT NULL,
        PRIMARY KEY (id, project_id))""",
    "CREATE INDEX IF NOT EXISTS ix_aliases_changed ON aliases (changed)",
    "CREATE UNIQUE INDEX IF NOT EXISTS ix_aliases_site ON aliases (site, site_id)",
    """CREATE TABLE IF NOT EXISTS alias_revision (
        id INTEGER NOT NULL PRIMARY KEY,
        number BIGINT NOT NULL)""",
    """INSERT INTO alias_revision (id, number)
        SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM alias_revision)""",
    """CREATE TABLE IF NOT EXISTS recovery_points (
        id VARCHAR(64) NOT NULL PRIMARY KEY,
        server VARCHAR(64) NOT NULL,
        project_id VARCHAR(64) NOT NULL,
        user_id VARCHAR(64) NOT NULL,
        source VARCHAR(63) NOT NULL,
        own VARCHAR(64) NOT NULL,
        target VARCHAR(63) NOT NULL,
        content TEXT NOT NULL,
        claimed_by VARCHAR(64),
        made_at DOUBLE NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS ix_recovery_points_server ON recovery_points (project_id, server)",
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
    f"""INSERT INTO alembic_version (version_num)
        SELECT '{HEAD}' WHERE NOT EXISTS (SELECT 1 FROM alembic_version)""",  # noqa: S608 - ours
)
