"""How ids of servers are kept that are no site's, on SQLite, PostgreSQL and MariaDB."""

from tests.stores.alias_contract import *  # noqa: F403
