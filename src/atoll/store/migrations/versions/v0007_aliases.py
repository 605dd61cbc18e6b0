"""Ids of servers that are no site's own."""

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, SmallInteger, String, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0007"
down_revision = "0006"

_TABLE: dict[str, Any] = {
    "if_not_exists": True,
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "aliases",
        Column("id", String(64), primary_key=True),
        Column("project_id", String(64), primary_key=True),
        Column("user_id", String(64), nullable=False),
        Column("state", String(8), nullable=False),
        Column("site", String(63)),
        Column("site_id", String(64)),
        Column("found", SmallInteger, nullable=False),
        Column("asked", Text().with_variant(MEDIUMTEXT(), "mariadb")),
        Column("message", Text),
        Column("code", Integer),
        Column("created_at", Double, nullable=False),
        Column("changed", BigInteger, nullable=False),
        Column("changed_at", Double, nullable=False),
        **_TABLE,
    )
    op.create_index("ix_aliases_changed", "aliases", ["changed"], if_not_exists=True)
    op.create_index("ix_aliases_site", "aliases", ["site", "site_id"], unique=True, if_not_exists=True)
    op.create_table(
        "alias_revision",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("number", BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.execute(
        "INSERT INTO alias_revision (id, number) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM alias_revision)"
    )


def downgrade() -> None:
    """Drop them: servers have their sites' own ids again."""
    op.drop_table("alias_revision")
    op.drop_table("aliases")
