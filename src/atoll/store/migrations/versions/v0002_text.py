"""Text on MariaDB: case and blanks at the end tell ids apart, and a cursor of a thousand sites fits.

By default MariaDB takes `Web` and `web` for one, and ends a TEXT at 64 KB. The other databases have it right.
"""

from alembic import op
from sqlalchemy import inspect

revision = "0002"
down_revision = "0001"

_CONVERT = "ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
_WIDEN = {
    "conflicts": "ALTER TABLE conflicts MODIFY sites MEDIUMTEXT NOT NULL",
    "cursors": "ALTER TABLE cursors MODIFY state MEDIUMTEXT NOT NULL",
}


def upgrade() -> None:
    """Change the tables of MariaDB."""
    bind = op.get_bind()
    if bind.dialect.name != "mariadb":
        return
    there = inspect(bind).get_table_names()
    for table in ("locations", "conflicts", "cursors"):
        if table in there:
            op.execute(_CONVERT.format(table))
            if table in _WIDEN:
                op.execute(_WIDEN[table])


def downgrade() -> None:
    """Nothing: the wider columns hold what the narrower did."""
