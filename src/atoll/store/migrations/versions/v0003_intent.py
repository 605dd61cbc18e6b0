"""What operators and users have set up: sites, credentials, users, equivalents."""

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, String, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "intent",
        Column("kind", String(32), primary_key=True),
        Column("id", String(255), primary_key=True),
        Column("document", Text().with_variant(MEDIUMTEXT(), "mariadb")),
        Column("changed", BigInteger, nullable=False),
        Column("changed_at", Double, nullable=False),
        if_not_exists=True,
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_nopad_bin",
    )
    op.create_index("ix_intent_changed", "intent", ["changed"], if_not_exists=True)
    op.create_table(
        "intent_revision",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("number", BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.execute(
        "INSERT INTO intent_revision (id, number) "
        "SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM intent_revision)"
    )


def downgrade() -> None:
    """Drop them; what was set up is lost."""
    op.drop_table("intent_revision")
    op.drop_table("intent")
