"""Indexes of what was made lately, by all and by a project: placing a create must not count everything."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the indexes."""
    columns = ["created_at", "resource_type", "site"]
    op.create_index("ix_locations_created", "locations", columns, if_not_exists=True)
    op.create_index("ix_locations_newest", "locations", ["project_id", "created_at"], if_not_exists=True)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_locations_newest", "locations")
    op.drop_index("ix_locations_created", "locations")
