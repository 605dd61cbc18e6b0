"""What is said of the URLs of [runs] before anything is started."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from atoll.cli import files
from atoll.cli.main import main

CONFIG = """
[identity]
auth_url = "http://127.0.0.1:2/v3"
[store]
url = "sqlite:///{folder}/atoll.db"
[sites.paris]
region = "paris"
[sites.paris.endpoints]
compute = "http://127.0.0.1:1"
[runs]
transport_url = "file:{folder}/bus"
coordination_url = "file:{folder}/coordinator"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a configuration whose secrets are as they should be."""
    (tmp_path / "atoll.toml").write_text(CONFIG.format(folder=tmp_path))
    for name in ("bus", "coordinator"):
        (tmp_path / name).write_text("x://y")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def said(folder: Path) -> str:
    """What a check says of it."""
    return CliRunner().invoke(main, ["config", "check", str(folder / "atoll.toml")]).output


def test_a_file_that_is_missing_and_one_that_others_may_read_are_told_together(folder: Path) -> None:
    (folder / "bus").unlink()
    (folder / "coordinator").chmod(0o644)
    output = said(folder)
    assert f"runs.transport_url: {folder}/bus is no file that can be read" in output
    assert f"runs.coordination_url: {folder}/coordinator can be read by others: chmod 600 it" in output
    assert "2 faults" in output


def test_an_extra_that_is_not_installed_is_told(folder: Path, monkeypatch) -> None:
    assert "nothing was started" not in said(folder)
    monkeypatch.setattr(files, "EXTRAS", (("transport_url", "notifications", "no_such_module"),))
    assert "runs.transport_url: needs what is not installed: pip install atoll[notifications]" in said(folder)
