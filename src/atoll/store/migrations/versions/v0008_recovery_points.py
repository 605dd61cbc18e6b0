"""Copies of servers at other sites, from which they are made anew."""

from alembic import op
from sqlalchemy import Column, Double, String, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "recovery_points",
        Column("id", String(64), primary_key=True),
        Column("server", String(64), nullable=False),
        Column("project_id", String(64), nullable=False),
        Column("user_id", String(64), nullable=False),
        Column("source", String(63), nullable=False),
        Column("own", String(64), nullable=False),
        Column("target", String(63), nullable=False),
        Column("content", Text().with_variant(MEDIUMTEXT(), "mariadb"), nullable=False),
        Column("claimed_by", String(64)),
        Column("made_at", Double, nullable=False),
        if_not_exists=True,
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_nopad_bin",
    )
    op.create_index(
        "ix_recovery_points_server", "recovery_points", ["project_id", "server"], if_not_exists=True
    )


def downgrade() -> None:
    """Drop it: the copies stay at their sites."""
    op.drop_table("recovery_points")
