"""Start services in sessions of their own, know later which of them are alive, and stop them.

A service's pid file holds the first line of its /proc/PID/stat, written by the service's own process before
it becomes the service: killing us at any moment leaves no service without a pid file, and the start time in
it tells our process from a later one with the same number.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atoll.sandbox.real.commands import Argument, environment
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.ports import require_free

LAUNCH = 'read -r line </proc/$$/stat && echo "$line" >"$0.new" && mv "$0.new" "$0" && exec "$@"'
LOG_TAIL = 2500
POLL = 0.2
KILL_LIMIT = 10  # seconds a process may take to go after SIGKILL
STAT_STATE, STAT_SESSION, STAT_STARTED = 0, 3, 19  # fields after the command's closing parenthesis


@dataclass(frozen=True)
class Service:
    """One long-lived process: how it is started and which port it takes, if any."""

    name: str
    command: Sequence[Argument]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    site: str | None = None


@dataclass(frozen=True)
class ServiceStatus:
    """One service as it is now; `rss` in bytes, its children included. `site` is None for shared ones."""

    name: str
    site: str | None
    pid: int | None
    port: int | None
    alive: bool
    rss: int


class Processes:
    """The services of one sandbox, by their pid files."""

    def __init__(self, layout: Layout) -> None:
        self.directory = layout.pids
        self.logs = layout.logs
        self.run = layout.run
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def leader(self, name: str) -> int | None:
        """Give the pid of a live service, None when it does not run."""
        recorded = self._recorded(name)
        if recorded is None:
            return None
        pid, started = recorded
        fields = _stat(pid)
        return pid if fields and fields[STAT_STARTED] == started else None

    def start(self, service: Service) -> None:
        """Start a service unless it runs; remains of an earlier one are ended first.

        Raises `SandboxError` when its port is taken by somebody else.
        """
        if self.leader(service.name) is not None:
            return
        self.stop([service.name], grace=0)
        if service.port is not None:
            require_free(service.port, service.name)
        described = {"port": service.port, "site": service.site}
        (self.directory / f"{service.name}.json").write_text(json.dumps(described))
        pid_file = self.directory / f"{service.name}.pid"
        with (self.logs / f"{service.name}.log").open("ab") as log:
            self.children[service.name] = subprocess.Popen(  # noqa: S603 - made by us, see `region`
                ["/bin/sh", "-c", LAUNCH, str(pid_file), *(str(word) for word in service.command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment(service.environment),
                cwd=self.run,
            )

    def wait(self, name: str, ready: Callable[[], bool], timeout: float = 180) -> None:
        """Wait until `ready` gives True; an exception in it means not yet.

        Raises `SandboxError` with the end of the log when the service dies or `timeout` seconds pass.
        """
        deadline = time.monotonic() + timeout
        last = ""
        while time.monotonic() < deadline:
            try:
                if ready():
                    return
            except (OSError, ValueError, SandboxError) as not_yet:
                last = f" (last: {not_yet})"
            child = self.children.get(name)
            gone = child.poll() is not None if child else self.leader(name) is None
            if gone:
                raise SandboxError(f"{name} died; see {self._log(name)}\n{self.tail(name)}")
            time.sleep(POLL)
        raise SandboxError(
            f"{name} is not ready after {timeout:.0f} s{last}; see {self._log(name)}\n{self.tail(name)}"
        )

    def tail(self, name: str) -> str:
        """Give the end of a service's log."""
        try:
            return self._log(name).read_text(errors="replace")[-LOG_TAIL:].rstrip()
        except FileNotFoundError:
            return ""

    def names(self) -> list[str]:
        """Name every service that was started and not stopped since."""
        return sorted(path.stem for path in self.directory.glob("*.json"))

    def stop(self, names: Iterable[str], grace: float = 8) -> int:
        """End services and every process of their sessions; give how many ran.

        They get `grace` seconds after SIGTERM, then SIGKILL (neutron's API ignores SIGTERM).
        """
        sessions = {name: self._session(name) for name in names}
        leaders = [pid for name in sessions if (pid := self.leader(name)) is not None]
        for pid in leaders:
            _kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(self._runs(pid) for pid in leaders):
            time.sleep(POLL / 2)
        for name, members in sessions.items():
            self._end(name, members)
            for suffix in ("pid", "pid.new", "json"):
                (self.directory / f"{name}.{suffix}").unlink(missing_ok=True)
        return len(leaders)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to every process of a service."""
        for pid in self._session(name):
            _kill(pid, number)

    def status(self) -> list[ServiceStatus]:
        """Describe every service that was started and not stopped since, dead ones included."""
        found = []
        for name in self.names():
            described = json.loads((self.directory / f"{name}.json").read_text() or "{}")
            pid = self.leader(name)
            rss = sum(_rss(member) for member in self._session(name))
            found.append(
                ServiceStatus(name, described.get("site"), pid, described.get("port"), pid is not None, rss)
            )
        return found

    def _end(self, name: str, members: Iterable[int]) -> None:
        """Kill what is left of a session and wait until it is gone: its port is wanted again."""
        left = set(members) | set(self._session(name))
        for pid in left:
            _kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + KILL_LIMIT
        while time.monotonic() < deadline and any(_stat(pid) for pid in left):
            time.sleep(POLL / 10)
        child = self.children.pop(name, None)
        if child:
            child.wait(KILL_LIMIT)

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _recorded(self, name: str) -> tuple[int, str] | None:
        try:
            text = (self.directory / f"{name}.pid").read_text()
            return int(text.split(" ", 1)[0]), _fields(text)[STAT_STARTED]
        except (OSError, ValueError, IndexError):
            return None

    def _session(self, name: str) -> list[int]:
        """Every live process of a service's session, also when its leader is gone.

        A pid is not given out again while a session has it as its id, so members without a leader are ours;
        under a leader with another start time they are somebody else's.
        """
        recorded = self._recorded(name)
        if recorded is None:
            return []
        session, started = recorded
        leader = _stat(session)
        if leader and leader[STAT_STARTED] != started:
            return []
        pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [pid for pid in pids if (fields := _stat(pid)) and int(fields[STAT_SESSION]) == session]

    def _runs(self, pid: int) -> bool:
        for child in self.children.values():
            if child.pid == pid:
                return child.poll() is None
        return _stat(pid) is not None


def _fields(stat: str) -> list[str]:
    return stat.rsplit(")", 1)[1].split()


def _stat(pid: int) -> list[str] | None:
    """Give a live process's stat fields after the command; None for a missing one and for a zombie."""
    try:
        fields = _fields(Path(f"/proc/{pid}/stat").read_text())
    except (OSError, IndexError):
        return None
    return None if fields[STAT_STATE] == "Z" else fields


def _rss(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
