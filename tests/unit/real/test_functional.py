"""How the clients' own functional tests are run."""

import pytest
from click.testing import CliRunner

from atoll.cli.sandbox_commands import functional
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.functional import HERE, SUITES, USERS, Front, baseline, clouds, run_functional, told
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Credentials
from atoll.sandbox.real.stestr import Outcome

URL = "http://127.0.0.1:1/v3"


@pytest.mark.parametrize("suite", SUITES)
def test_baselines_are_names_of_the_suite_each_once(suite: str) -> None:
    names = baseline(suite)
    assert len(names) > 100
    assert len(set(names)) == len(names)
    assert all(name.startswith(SUITES[suite].names) for name in names)


def test_what_the_suites_are_of_is_pinned() -> None:
    pins = {line.partition("==")[0] for line in (HERE / "pins.txt").read_text().split()}
    assert {one.distribution for one in SUITES.values()} | {"stestr", "osc-placement"} <= pins


def test_the_clouds_are_those_that_the_suites_know() -> None:
    users = {name: Credentials(URL, name, "x", name) for name in USERS}
    entries = clouds(Front(Credentials(URL, "admin", "x", "admin"), "Atoll"), users)["clouds"]
    assert sorted(entries) == ["devstack", "devstack-admin", "devstack-alt", "devstack-system-admin"]
    assert {one["region_name"] for one in entries.values()} == {"Atoll"}
    assert entries["devstack"]["auth"]["project_name"] != entries["devstack-alt"]["auth"]["project_name"]
    system = entries["devstack-system-admin"]["auth"]
    assert system["system_scope"] == "all"
    assert not any(key.startswith("project") for key in system)


def test_only_what_did_not_pass_is_told() -> None:
    outcomes = [Outcome("a", "success"), Outcome("b", "fail", "boom"), Outcome("c", "skip")]
    assert list(told(outcomes)) == ["fail: b: boom", "skip: c: no reason given"]


def test_an_unknown_suite_is_refused_before_anything_is_done(tmp_path) -> None:
    front = Front(Credentials(URL, "u", "x", "p"), "R")
    with pytest.raises(SandboxError, match="no suite swift"):
        run_functional(["swift"], front, Layout(tmp_path), work_dir=tmp_path)
    said = CliRunner().invoke(functional, ["swift"], env={"HOME": str(tmp_path)})
    assert (said.exit_code, list(tmp_path.iterdir())) == (2, [])
