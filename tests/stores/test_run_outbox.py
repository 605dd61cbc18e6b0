"""The outbox of runs, on SQLite, PostgreSQL and MariaDB."""

from tests.stores.run_outbox_contract import *  # noqa: F403
