"""How what is sealed is put under another key, on SQLite, PostgreSQL and MariaDB."""

from tests.stores.sealed_contract import *  # noqa: F403
