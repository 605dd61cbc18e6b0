"""What is made of tempest's results."""

import re

import pytest
from click.testing import CliRunner

from atoll.cli.sandbox_commands import tempest
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import DATA
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import Credentials
from atoll.sandbox.real.stestr import Outcome, include_list, judge, reason
from atoll.sandbox.real.tempest import SERVICES, TRIED, Target, baseline, run_tempest, unlisted

TRACEBACK = """\
Traceback (most recent call last):
  File "a.py", line 1, in test
    raise Gone()
  File "b.py", line 2, in call
    self._raise(
    ~~~~~~~~~~~^
tempest.lib.exceptions.NotFound: Object not found
Details: {'code': 404}
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_baseline_is_names_only_sorted_each_once(service):
    names = baseline(service)
    assert names == sorted(set(names))
    assert all(re.fullmatch(r"tempest(\.\w+)+", name) for name in names)


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "smoke"])
def test_a_baseline_is_of_what_is_tried_for_it(service):
    assert all(re.search(TRIED[service], name) for name in baseline(service, computes=2))


def test_smoke_is_what_bears_its_name():
    assert re.search(TRIED["smoke"], "tempest.api.image.A.test_a[id-1,smoke]")
    assert re.search(TRIED["smoke"], "tempest.api.image.A.test_a[id-1,network,smoke,x]")
    assert not re.search(TRIED["smoke"], "tempest.api.image.A.test_smoke[id-1,nosmoke]")


def test_two_computes_bring_the_tests_that_need_them():
    one, two = set(baseline("compute")), baseline("compute", computes=2)
    assert two == sorted(set(two))
    assert one < set(two)
    assert all("igrat" in name or "multinodes" in name for name in set(two) - one)
    assert baseline("volume", computes=2) == baseline("volume")


def test_tempest_is_told_the_filters_that_nova_has():
    nova = (DATA / "templates" / "nova.conf").read_text()
    told = (DATA / "tempest" / "tempest.conf").read_text()
    filters = re.findall(r"^(?:scheduler_)?enabled_filters = (\S+)$", nova + told, re.MULTILINE)
    assert len(filters) == 2
    assert filters[0] == filters[1]


def test_an_entry_selects_one_test_also_where_its_name_begins_anothers():
    lines = include_list(["t.C.test_a"]).split()
    wanted = ["t.C.test_a[id-1,smoke]", "t.C.test_a"]
    others = ["t.C.test_a_b[id-2]", "t.CxTest_a[id-3]", "x.t.C.test_a[id-4]"]
    assert [name for name in [*wanted, *others] if any(re.search(line, name) for line in lines)] == wanted


def test_every_name_gets_an_outcome_and_a_broken_class_gives_its_own():
    results = [
        ("t.A.test_good[id-1,smoke]", "success", ""),
        ("t.A.test_bad[id-2]", "fail", TRACEBACK),
        ("t.A.test_off[id-3]", "skip", "no such feature"),
        ("setUpClass (t.B)", "fail", TRACEBACK),
    ]
    names = ["t.A.test_bad", "t.A.test_good", "t.A.test_lost", "t.A.test_off", "t.B.test_x"]
    said = "tempest.lib.exceptions.NotFound: Object not found Details: {'code': 404}"
    assert judge(names, results) == [
        Outcome("t.A.test_bad", "fail", said),
        Outcome("t.A.test_good", "success", ""),
        Outcome("t.A.test_lost", "not run", ""),
        Outcome("t.A.test_off", "skip", "no such feature"),
        Outcome("t.B.test_x", "fail", said),
    ]


def test_what_is_in_no_baseline_is_told_too():
    results = [
        ("t.A.test_known[id-1]", "success", ""),
        ("t.A.test_new[id-2]", "success", ""),
        ("t.A.test_bad[id-3]", "fail", TRACEBACK),
        ("setUpClass (t.B)", "skip", "no such feature"),
    ]
    said = "tempest.lib.exceptions.NotFound: Object not found Details: {'code': 404}"
    assert unlisted(["t.A.test_known"], results) == [
        Outcome("setUpClass (t.B)", "skip", "no such feature"),
        Outcome("t.A.test_bad", "fail", said),
        Outcome("t.A.test_new", "success", ""),
    ]


def test_the_reason_is_what_was_raised():
    assert reason(TRACEBACK).startswith("tempest.lib.exceptions.NotFound: Object not found")
    assert reason("") == ""


def test_a_service_without_a_baseline_is_refused_before_anything_is_done(tmp_path):
    target = Target(Credentials("http://127.0.0.1:1/v3", "u", "p", "x"), "R", "i", "j", "n")
    with pytest.raises(SandboxError, match="no baseline for swift"):
        run_tempest(["swift"], target, Layout(tmp_path), work_dir=tmp_path)
    said = CliRunner().invoke(tempest, ["--services", "smoke,swift"], env={"HOME": str(tmp_path)})
    assert (said.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "no baseline for swift: choose from smoke, compute" in " ".join(said.output.split())
