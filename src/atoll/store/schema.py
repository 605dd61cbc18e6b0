"""The tables, for queries. What makes them is under `migrations`; a test holds the two together."""

from typing import Final

from sqlalchemy import Column, Double, Index, MetaData, String, Table, Text

METADATA: Final = MetaData()

LOCATIONS: Final = Table(
    "locations",
    METADATA,
    Column("resource_type", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("site", String(63), nullable=False),
    Column("project_id", String(64)),
    Column("created_at", Double),  # when the site made it; like all times here, seconds since 1970 in UTC
    Column("seen_at", Double, nullable=False),
    Column("source", String(8), nullable=False),  # create, list or search
    Column("deleted_at", Double),  # a tombstone: the site said 404
    Index("ix_locations_site", "site"),
    Index("ix_locations_project", "project_id", "resource_type"),
    Index("ix_locations_deleted", "deleted_at"),
)

CONFLICTS: Final = Table(
    "conflicts",
    METADATA,
    Column("resource_type", String(64), primary_key=True),
    Column("id", String(255), primary_key=True),
    Column("sites", Text, nullable=False),  # JSON list; the recorded site first
    Column("seen_at", Double, nullable=False),
)

CURSORS: Final = Table(
    "cursors",
    METADATA,
    Column("project_id", String(64), primary_key=True),
    Column("query_hash", String(64), primary_key=True),
    Column("last_id", String(255), primary_key=True),
    Column("state", Text, nullable=False),  # JSON: the marker of each site, and the sites that are missing
    Column("expires_at", Double, nullable=False),
    Index("ix_cursors_expires", "expires_at"),
)
