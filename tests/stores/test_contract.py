"""What every database has to keep, on SQLite, PostgreSQL and MariaDB."""

from tests.stores.contract import *  # noqa: F403
