"""Services that are started once, known later, and ended with their children."""

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.processes import Processes, Service

FAMILY = "sleep 60 & sleep 60"  # a leader and a child of its session


@pytest.fixture
def processes(tmp_path):
    layout = Layout(tmp_path)
    for directory in (layout.pids, layout.logs):
        directory.mkdir(parents=True)
    found = Processes(layout)
    yield found
    found.stop(found.names(), grace=0)


def start(processes: Processes, name: str = "a", script: str = FAMILY) -> int:
    processes.start(Service(name, ["/bin/sh", "-c", script], site="RegionOne"))
    deadline = time.monotonic() + 30
    while processes.leader(name) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    pid = processes.leader(name)
    assert pid
    return pid


def members_of(processes: Processes, leader: int) -> set[int]:
    """The processes of service `a`, once its child is what it is to be."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        members = set(processes._session("a"))  # noqa: SLF001 - what must be gone afterwards
        with suppress(OSError):
            if any(Path(f"/proc/{one}/comm").read_text() == "sleep\n" for one in members - {leader}):
                return members
        time.sleep(0.01)
    pytest.fail("it has no child")


def test_a_running_service_is_not_started_twice(processes):
    first = start(processes)
    assert start(processes) == first


def test_another_run_of_the_program_finds_what_this_one_started(processes, tmp_path):
    pid = start(processes)
    assert Processes(Layout(tmp_path)).leader("a") == pid


def test_status_names_site_pid_and_memory(processes):
    pid = start(processes)
    (found,) = processes.status()
    assert (found.name, found.site, found.pid, found.alive) == ("a", "RegionOne", pid, True)
    assert found.rss > 0


def test_stopping_ends_the_children_too_and_forgets_the_service(processes):
    pid = start(processes)
    members = members_of(processes, pid)
    assert processes.stop(["a"], grace=1) == 1
    assert processes.status() == []
    assert all(not Path(f"/proc/{member}/cwd").exists() for member in members - {pid})


def test_children_that_outlive_a_killed_leader_go_before_the_next_start(processes):
    pid = start(processes)
    children = members_of(processes, pid) - {pid}
    os.kill(pid, signal.SIGKILL)
    processes.children["a"].wait()
    assert processes.leader("a") is None
    assert start(processes) != pid
    assert all(not Path(f"/proc/{child}/cwd").exists() for child in children)


def test_a_pid_that_now_is_somebody_elses_is_not_ours_and_is_left_alone(processes):
    stat = Path("/proc/self/stat").read_text()
    fields = stat.rsplit(")", 1)[1].split()
    fields[19] = str(int(fields[19]) + 1)
    (processes.directory / "a.pid").write_text(f"{os.getpid()} (x) {' '.join(fields)}")
    (processes.directory / "a.json").write_text("{}")
    assert processes.leader("a") is None
    assert processes.stop(["a"], grace=0) == 0


@pytest.mark.parametrize("rest", ["", "12", "x y z", "1 (a) S"])
def test_a_pid_file_that_was_not_finished_is_no_process(processes, rest):
    (processes.directory / "a.pid").write_text(rest)
    assert processes.leader("a") is None


def test_a_description_that_was_not_finished_is_shown_as_dead(processes):
    (processes.directory / "a.json").write_text("")
    (found,) = processes.status()
    assert (found.alive, found.site) == (False, None)


def test_waiting_for_a_service_that_dies_shows_the_end_of_its_log(processes):
    processes.start(Service("a", ["/bin/sh", "-c", "echo no such table >&2; exit 3"]))
    with pytest.raises(SandboxError, match=r"a died.*\n?.*no such table"):
        processes.wait("a", lambda: False, timeout=30)


def test_waiting_is_bounded(processes):
    start(processes)
    with pytest.raises(SandboxError, match="not ready after 0 s"):
        processes.wait("a", lambda: False, timeout=0.3)


def test_an_error_while_waiting_means_not_yet(processes):
    start(processes)
    tries = []

    def ready() -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("refused")
        return True

    processes.wait("a", ready, timeout=30)


def test_the_description_is_written_before_the_process_starts(processes):
    start(processes)
    assert json.loads((processes.directory / "a.json").read_text()) == {"port": None, "site": "RegionOne"}
