"""How runs are read, on SQLite, PostgreSQL and MariaDB."""

from tests.stores.run_view_contract import *  # noqa: F403
