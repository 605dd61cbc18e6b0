"""How copies of servers are kept, on SQLite files."""

from pathlib import Path

import pytest
from tests.stores.recovery_contract import *  # noqa: F403


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/atoll.db"
