"""Work across sites: the runs, who works on them, and what they hold."""

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Column, Double, Integer, SmallInteger, String, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0006"
down_revision = "0005"

_TABLE: dict[str, Any] = {
    "if_not_exists": True,
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_nopad_bin",
}


def upgrade() -> None:
    """Make the tables."""
    long_text = Text().with_variant(MEDIUMTEXT(), "mariadb")
    op.create_table(
        "runs",
        Column("id", String(36), primary_key=True),
        Column("definition", String(64), nullable=False),
        Column("project_id", String(64), nullable=False),
        Column("user_id", String(64), nullable=False),
        Column("purpose", String(255), nullable=False),
        Column("request_key", String(255)),
        Column("state", String(16), nullable=False),
        Column("stop", String(8)),
        Column("owner", String(64)),
        Column("fence", BigInteger, nullable=False),
        Column("takeovers", Integer, nullable=False),
        Column("admitted", SmallInteger, nullable=False),
        Column("holds", SmallInteger, nullable=False),
        Column("due_at", Double),
        Column("waits", String(300), nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("unsent", SmallInteger),
        Column("sent", BigInteger),
        Column("created_at", Double, nullable=False),
        Column("changed_at", Double, nullable=False),
        Column("ended_at", Double),
        Column("acting", Text),
        Column("plan", long_text, nullable=False),
        Column("journal", long_text, nullable=False),
        Column("progress", long_text),
        **_TABLE,
    )
    for name, columns, unique in (
        ("ix_runs_due", ["due_at"], False),
        ("ix_runs_waits", ["waits"], False),
        ("ix_runs_owner", ["owner"], False),
        ("ix_runs_unsent", ["unsent", "id"], False),
        ("ix_runs_project", ["project_id", "id"], False),
        ("ix_runs_state", ["state", "id"], False),
        ("ix_runs_key", ["project_id", "request_key"], True),
    ):
        op.create_index(name, "runs", columns, unique=unique, if_not_exists=True)
    op.create_table(
        "workers",
        Column("id", String(64), primary_key=True),
        Column("about", String(255), nullable=False),
        Column("runs", Integer, nullable=False),
        Column("began_at", Double, nullable=False),
        Column("lease_until", Double, nullable=False),
        **_TABLE,
    )
    op.create_table(
        "run_locks",
        Column("path", String(255), primary_key=True),
        Column("run_id", String(36), primary_key=True),
        Column("mode", String(2), nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("granted", SmallInteger, nullable=False),
        **_TABLE,
    )
    op.create_index("ix_run_locks_run", "run_locks", ["run_id"], if_not_exists=True)
    op.create_table(
        "run_reserves",
        Column("name", String(255), primary_key=True),
        Column("run_id", String(36), primary_key=True),
        Column("amount", Double, nullable=False),
        **_TABLE,
    )
    op.create_index("ix_run_reserves_run", "run_reserves", ["run_id"], if_not_exists=True)
    op.create_table(
        "suspects",
        Column("resource", String(255), primary_key=True),
        Column("run_id", String(36), nullable=False),
        Column("since", Double, nullable=False),
        **_TABLE,
    )
    op.create_table(
        "run_turn",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("number", BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.execute("INSERT INTO run_turn (id, number) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM run_turn)")


def downgrade() -> None:
    """Drop them: what is under way stays as it stands at the sites."""
    for name in ("run_turn", "suspects", "run_reserves", "run_locks", "workers", "runs"):
        op.drop_table(name)
