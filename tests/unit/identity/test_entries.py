"""One entry of a clouds.yaml, and the rest left as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.identity.entries import EntryError, read_entry, write_entry

ENTRY: dict[str, Any] = {
    "auth": {"auth_url": "http://127.0.0.1:8774/identity/v3", "username": "me", "password": "p: #'\""},
    "region_name": "Atoll",
}
OTHERS = """\
# what I have
cache:
    expiration_time: 3600
clouds:
    one:   # the first
        auth:
            auth_url: https://one/v3
            username: "me"
        regions: [a, b]

    # the second
    two:
        profile: vexxhost   # of a vendor
# the end
"""


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "openstack" / "clouds.yaml"
    write_entry(path, "atoll", ENTRY)
    assert yaml.safe_load(path.read_text()) == {"clouds": {"atoll": ENTRY}}
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_entry(path, "atoll") == ENTRY


def test_behind_the_others(tmp_path: Path) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text(OTHERS)
    path.chmod(0o644)
    write_entry(path, "atoll", ENTRY)
    text = path.read_text()
    before, _, after = OTHERS.partition("# the end\n")
    assert text.startswith(before)
    assert text.endswith("# the end\n" + after)
    assert read_entry(path, "atoll") == ENTRY
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["clouds.yaml"]


@pytest.mark.parametrize("name", ["one", "two"])
def test_in_the_place_of_the_one_of_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text(OTHERS)
    write_entry(path, name, ENTRY)
    wanted = yaml.safe_load(OTHERS)
    wanted["clouds"][name] = ENTRY
    assert yaml.safe_load(path.read_text()) == wanted
    for comment in ("# what I have", "# the second", "# the end"):
        assert comment in path.read_text()
    again = path.read_text()
    write_entry(path, name, ENTRY)
    assert path.read_text() == again


@pytest.mark.parametrize(
    "text",
    [
        "", "# nothing yet\n", "cache: {}", "clouds:", "clouds:\n", "clouds: {}\n", "clouds: # none\n",
        "clouds:\n  a: {profile: x}", "clouds:\n  a:\n    b: |\n      c\n\n", "clouds:\n  a:\n",
        "---\n", "clouds:\n  a:\n  b: 1\ncache: 1",
        "cache: 1\nclouds:\n  a:\n    c:\n    - 1\n    -\n      d: e\nother: 1\n",
    ],
)  # fmt: skip
def test_files_of_all_sorts(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text(text)
    wanted = yaml.safe_load(text) or {}
    wanted = {**wanted, "clouds": {**(wanted.get("clouds") or {}), "atoll": ENTRY}}
    write_entry(path, "atoll", ENTRY)
    assert yaml.safe_load(path.read_text()) == wanted


@pytest.mark.parametrize(
    "text", ["{clouds: {a: {profile: x}}}", "clouds: {a: {profile: x}}\n", "- a", "a: [", "x", "[1]", "1"]
)
def test_what_cannot_be_changed_is_left(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text(text)
    with pytest.raises(EntryError):
        write_entry(path, "atoll", ENTRY)
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["clouds.yaml"]


def test_json_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "clouds.yaml"
    path.write_text('{"cache": 1, "clouds": {"a": {"profile": "x"}}}')
    write_entry(path, "atoll", ENTRY)
    clouds = {"a": {"profile": "x"}, "atoll": ENTRY}
    assert json.loads(path.read_text()) == {"cache": 1, "clouds": clouds}


def test_a_link_stays_one(tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.yaml"
    kept.write_text(OTHERS)
    path = tmp_path / "clouds.yaml"
    path.symlink_to(kept)
    write_entry(path, "atoll", ENTRY)
    assert path.is_symlink()
    assert read_entry(kept, "atoll") == ENTRY


def test_an_entry_that_is_not_there(tmp_path: Path) -> None:
    assert read_entry(tmp_path / "none.yaml", "atoll") == {}
    (tmp_path / "clouds.yaml").write_text("clouds: [1]")
    assert read_entry(tmp_path / "clouds.yaml", "atoll") == {}


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "openstack").write_text("no directory")
    with pytest.raises(EntryError):
        write_entry(tmp_path / "openstack" / "clouds.yaml", "atoll", ENTRY)
