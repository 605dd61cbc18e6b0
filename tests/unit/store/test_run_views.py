"""How runs are read, on a SQLite file: `tests.stores.run_view_contract`."""

from pathlib import Path

import pytest
from tests.stores.run_view_contract import *  # noqa: F403


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/atoll.db"
