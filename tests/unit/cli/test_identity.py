"""`atoll user`, `project` and `role`, on a store nobody serves yet."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from atoll.cli.main import main

SITE = """
[sites.one]
region = "one"
endpoints = {compute = "http://127.0.0.1:9/compute/v2.1"}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "atoll.toml"
    path.write_text(f"""
[identity]
mode = "built-in"
[store]
url = "sqlite:///{tmp_path}/atoll.db"
[clouds.one]
auth_url = "http://127.0.0.1:9/v3"
{SITE}cloud = "one"
""")
    return path


def run(config: Path, *words: str, given: str = "") -> Result:
    return CliRunner().invoke(main, [*words, "--config", str(config)], input=given)


def rows(config: Path, *words: str, given: str = "") -> list[dict[str, Any]]:
    done = run(config, *words, "--format", "json", given=given)
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_the_first_administrator(config: Path) -> None:
    assert run(config, "user", "list").output.startswith("There are no users yet")
    assert run(config, "project", "list").output.startswith("There are no projects yet")
    assert run(config, "role", "list").output.startswith("Nobody has a role yet")
    (lab,) = rows(config, "project", "add", "lab", "--description", "the first")
    given = ("user", "add", "me", "--project", "lab", "--role", "admin", "--password-from", "-")
    (me,) = rows(config, *given, given="secret\n")
    assert (lab["name"], me["roles"], me["enabled"]) == ("lab", ["admin@lab"], True)
    assert rows(config, "role", "list") == [{"role": "admin", "user": "me", "project": "lab"}]
    (shown,) = rows(config, "user", "show", "me")
    assert shown["id"] == me["id"]
    assert "secret" not in json.dumps(shown)
    assert b"secret" not in (config.parent / "atoll.db").read_bytes()


def test_roles_come_and_go(config: Path) -> None:
    run(config, "project", "add", "lab")
    assert run(config, "user", "add", "me", given="pw\npw\n").exit_code == 0
    assert rows(config, "user", "list")[0]["roles"] == []
    where = ("--user", "me", "--project", "lab")
    assert run(config, "role", "add", "reader", *where).output == "me is reader of lab.\n"
    assert len(rows(config, "role", "list", *where)) == 1
    assert run(config, "role", "remove", "reader", *where).exit_code == 0
    again = run(config, "role", "remove", "reader", *where)
    assert (again.exit_code, "Could not find role assignment" in again.output) == (1, True)


def test_disabled_enabled_renamed_and_removed(config: Path, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("first\nsecond\n")
    source = ("--password-from", str(tmp_path / "password"))
    assert run(config, "user", "add", "me", *source).exit_code == 0
    assert run(config, "user", "set-password", "me", *source).output == "me has a new password.\n"
    assert "are ended" in run(config, "user", "disable", "me").output
    assert rows(config, "user", "list")[0]["enabled"] is False
    assert run(config, "user", "enable", "me").output == "me is enabled.\n"
    assert run(config, "user", "remove", "me").exit_code == 0
    assert rows(config, "user", "list") == []
    run(config, "project", "add", "lab")
    assert run(config, "project", "remove", "lab").output == "lab is removed.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("user", "add", "me", "--project", "none"), "there is no project none; there are none yet"),
        (("user", "show", "nobody"), "there is no user nobody; there are you"),
        (("user", "add", "you", "--password-from", "-"), "Duplicate entry found with name you"),
        (("user", "add", "x", "--password-from", "/nowhere"), "/nowhere cannot be read"),
        (("user", "add", "x", "--role", "admin"), "--role needs --project"),
        (("role", "add", "king", "--user", "you", "--project", "x"), "'king' is not one of"),
        (("user", "add", " ", "--password-from", "-"), "1 to 255 characters"),
    ],
)
def test_what_is_wrong_is_told(config: Path, words: tuple[str, ...], said: str) -> None:
    assert run(config, "user", "add", "you", "--password-from", "-", given="x\n").exit_code == 0
    done = run(config, *words, given="x\n")
    assert done.exit_code in {1, 2}
    assert said in done.output
    assert "Traceback" not in done.output


def test_an_empty_password_is_none(config: Path) -> None:
    done = run(config, "user", "add", "x", "--password-from", "-", given="\n")
    assert (done.exit_code, "the password is empty" in done.output) == (1, True)


def test_users_of_a_keystone_are_made_there(tmp_path: Path) -> None:
    path = tmp_path / "atoll.toml"
    path.write_text(
        f'[identity]\nauth_url = "http://keystone/v3"\n[store]\nurl = "sqlite:///{tmp_path}/x"\n{SITE}'
    )
    done = run(path, "user", "list")
    assert done.exit_code == 1
    assert "is the Keystone at http://keystone/v3" in done.output
    assert not (tmp_path / "x").exists()
