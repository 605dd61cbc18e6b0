"""What the command line has, and what it does not load for it."""

import importlib
import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from atoll.cli.main import ELSEWHERE, main


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_every_command_is_where_it_is_said_to_be(name):
    assert getattr(importlib.import_module(ELSEWHERE[name]), name).name == name


def test_help_lists_every_command_with_what_it_is_for():
    lines = CliRunner().invoke(main, ["--help"]).output.partition("Commands:\n")[2].splitlines()
    listed = {line.split()[0]: line.split()[1:] for line in lines}
    assert sorted(listed) == sorted({*ELSEWHERE, "serve", "completion"})
    assert all(listed.values())


def test_commands_complete():
    completed = main.shell_complete(click.Context(main), "s")
    assert {one.value for one in completed} == {"same", "sandbox", "secrets", "serve", "site"}


def test_an_unknown_command_is_told():
    done = CliRunner().invoke(main, ["sevre"])
    assert (done.exit_code, "No such command 'sevre'" in done.output) == (2, True)


def _run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603


def test_serving_loads_nothing_slow():
    loaded = _run("import sys, atoll.cli.main, atoll.gateway.serve, atoll.store.sqlite; print(*sys.modules)")
    slow = {"alembic", "sqlalchemy", "rich", "openstack", "keystoneauth1", "requests", *ELSEWHERE.values()}
    assert not slow & set(loaded.stdout.split())


LOG = """
import structlog
from atoll.cli.logs import configure
configure("json")
def fail(body):
    raise LookupError("gone")
try:
    fail("hunter2")
except LookupError:
    structlog.get_logger().exception("failed", token="hunter2")
"""


def test_a_traceback_in_the_log_shows_no_values():
    written = _run(LOG).stderr
    line = json.loads(written)
    assert line["exception"][0]["exc_type"] == "LookupError"
    assert line["token"] == "***"
    assert "hunter2" not in written
