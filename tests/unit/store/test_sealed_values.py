"""How what is sealed is put under another key, on SQLite files."""

from pathlib import Path

import pytest
from tests.stores.sealed_contract import *  # noqa: F403


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/atoll.db"
