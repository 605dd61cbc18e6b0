"""How copies of servers are kept, on SQLite, PostgreSQL and MariaDB."""

from tests.stores.recovery_contract import *  # noqa: F403
