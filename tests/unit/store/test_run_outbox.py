"""The outbox of runs, on a SQLite file: `tests.stores.run_outbox_contract`."""

from pathlib import Path

import pytest
from tests.stores.run_outbox_contract import *  # noqa: F403


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/atoll.db"
