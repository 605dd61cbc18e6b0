"""The keys of what is secret in runs: configured, beside the database, in memory, or none."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atoll.trust.run_secrets import RunSecrets
from atoll.trust.sealing import SecretsError, fingerprint, new_key
from atoll.workflow.outcomes import Withheld
from atoll.workflow.sealed import unders

INPUT = {"server": {"name": "vm", "user_data": "hush"}}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a SQLite file."""
    return f"sqlite:///{tmp_path}/atoll.db"


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """Where its key is."""
    return tmp_path / "atoll.db.key"


def test_a_key_is_made_beside_the_database_when_it_is_needed(url: str, beside: Path, tmp_path: Path) -> None:
    secrets = RunSecrets([], url)
    assert secrets.sealed({"name": "vm"}) == {"name": "vm"}
    assert not beside.exists()
    found = secrets.sealed(INPUT)
    assert "hush" not in str(found)
    assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["atoll.db.key"]
    assert {*unders(found)} == {fingerprint(beside.read_text().strip())}
    assert secrets.opened(found) == RunSecrets([], url).opened(found) == INPUT


def test_processes_that_begin_at_once_have_one_key(url: str) -> None:
    every = [RunSecrets([], url) for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        sealed = list(threads.map(lambda one: one.sealed(INPUT), every))
    assert len({under for one in sealed for under in unders(one)}) == 1
    assert all(one.opened(other) == INPUT for one in every for other in sealed)


def test_configured_ones_seal_and_the_one_beside_opens(url: str) -> None:
    before = RunSecrets([], url).sealed(INPUT)
    newer, older = new_key(), new_key()
    under_older = RunSecrets([older], url).sealed(INPUT)
    secrets = RunSecrets([newer, older], url)
    for one in (before, under_older):
        assert secrets.opened(one) == INPUT
        assert {*unders(secrets.renewed(one))} == {*unders(secrets.sealed(one))} == {fingerprint(newer)}
    assert secrets.opened(secrets.renewed(before)) == INPUT


def test_no_key_is_made_where_one_is_configured(url: str, beside: Path) -> None:
    RunSecrets([new_key()], url).sealed(INPUT)
    assert not beside.exists()


def test_in_memory_it_is_gone_with_the_process() -> None:
    secrets = RunSecrets([], "sqlite:///:memory:")
    sealed = secrets.sealed(INPUT)
    assert secrets.opened(sealed) == INPUT
    with pytest.raises(Withheld):
        RunSecrets([], "sqlite:///:memory:").opened(sealed)


@pytest.mark.parametrize("url", ["postgresql://u:p@host/atoll", "mariadb://u:p@host/atoll"])
def test_a_store_of_several_machines_needs_a_configured_one(url: str) -> None:
    secrets = RunSecrets([], url)
    assert secrets.sealed({"name": "vm"}) == {"name": "vm"}
    with pytest.raises(SecretsError, match=r"\[secrets\] key is needed"):
        secrets.sealed(INPUT)
    with_key = RunSecrets([new_key()], url)
    assert with_key.opened(with_key.sealed(INPUT)) == INPUT


def test_a_key_that_is_not_there_is_named(url: str, beside: Path) -> None:
    sealed = RunSecrets([], url).sealed(INPUT)
    (under,) = unders(sealed)
    lost = beside.rename(beside.with_name("elsewhere"))
    secrets = RunSecrets([], url)
    for _ in range(2):
        with pytest.raises(Withheld, match=under) as told:
            secrets.opened(sealed)
        assert str(beside) in str(told.value)
        assert secrets.renewed(sealed) == sealed
    newer = secrets.sealed(INPUT)
    assert {*unders(newer)} != {under}, "another key was made"
    lost.replace(beside)
    assert secrets.opened(sealed) == secrets.opened(newer) == INPUT, "it is put back while this one works"


def test_one_that_another_process_has_made_anew_is_used(url: str, beside: Path) -> None:
    first, second = RunSecrets([], url), RunSecrets([], url)
    before = first.sealed(INPUT)
    beside.unlink()
    anew = second.sealed(INPUT)
    assert {*unders(first.sealed(INPUT))} == {*unders(anew)} != {*unders(before)}
    assert first.opened(before) == first.opened(anew) == INPUT


def test_one_that_others_can_read_is_not_used(url: str, beside: Path) -> None:
    sealed = RunSecrets([], url).sealed(INPUT)
    beside.chmod(0o644)
    with pytest.raises(SecretsError, match="chmod 600"):
        RunSecrets([], url).sealed(INPUT)
    with pytest.raises(Withheld, match="chmod 600"):
        RunSecrets([], url).opened(sealed)


def test_where_none_can_be_made_it_says_what_to_do(tmp_path: Path) -> None:
    secrets = RunSecrets([], f"sqlite:///{tmp_path}/none/atoll.db")
    with pytest.raises(SecretsError, match="secrets new-key"):
        secrets.sealed(INPUT)
