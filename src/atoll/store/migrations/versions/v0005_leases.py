"""What one process of all does at a time, and which one."""

from alembic import op
from sqlalchemy import BigInteger, Column, String

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "leases",
        Column("name", String(255), primary_key=True),
        Column("holder", String(64), nullable=False),
        Column("beat", BigInteger, nullable=False),
        if_not_exists=True,
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_nopad_bin",
    )


def downgrade() -> None:
    """Drop it: whoever holds a lease finds it lost."""
    op.drop_table("leases")
