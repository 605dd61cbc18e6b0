"""Locations, conflicts and cursors.

MariaDB commits each of these by itself, so what an interrupted start made already is left as it is.
"""

from alembic import op
from sqlalchemy import Column, Double, String, Text

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "locations",
        Column("resource_type", String(64), primary_key=True),
        Column("id", String(255), primary_key=True),
        Column("site", String(63), nullable=False),
        Column("project_id", String(64)),
        Column("created_at", Double),
        Column("seen_at", Double, nullable=False),
        Column("source", String(8), nullable=False),
        Column("deleted_at", Double),
        if_not_exists=True,
    )
    op.create_index("ix_locations_site", "locations", ["site"], if_not_exists=True)
    op.create_index("ix_locations_project", "locations", ["project_id", "resource_type"], if_not_exists=True)
    op.create_index("ix_locations_deleted", "locations", ["deleted_at"], if_not_exists=True)
    op.create_table(
        "conflicts",
        Column("resource_type", String(64), primary_key=True),
        Column("id", String(255), primary_key=True),
        Column("sites", Text, nullable=False),
        Column("seen_at", Double, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "cursors",
        Column("project_id", String(64), primary_key=True),
        Column("query_hash", String(64), primary_key=True),
        Column("last_id", String(255), primary_key=True),
        Column("state", Text, nullable=False),
        Column("expires_at", Double, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_cursors_expires", "cursors", ["expires_at"], if_not_exists=True)


def downgrade() -> None:
    """Drop them: the locations can be found again."""
    op.drop_table("cursors")
    op.drop_table("conflicts")
    op.drop_table("locations")
