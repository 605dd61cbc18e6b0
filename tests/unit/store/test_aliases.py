"""How ids of servers are kept that are no site's, on SQLite files."""

from pathlib import Path

import pytest
from tests.stores.alias_contract import *  # noqa: F403


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/atoll.db"
