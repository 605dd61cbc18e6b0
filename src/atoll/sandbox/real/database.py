"""One MariaDB for all sites, on a unix socket only; and databases that are either complete or made anew."""

import os
import shutil
from pathlib import Path

from atoll.sandbox.real.commands import find, run
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.processes import Processes, Service

URL = "mysql+pymysql://root@localhost"
DUMP_END = "-- Dump completed"
# What was finished is written in the database itself, so that no mark outlives what it is about.
MARKS = "atoll_sandbox.done"


class Database:
    """The server, its databases, and marks of what was finished in them."""

    def __init__(self, layout: Layout, processes: Processes) -> None:
        self.socket = layout.socket
        self.directory = layout.run / "mysql"
        self.processes = processes

    def url(self, name: str) -> str:
        """Give the address of a database as SQLAlchemy wants it."""
        return f"{URL}/{name}?unix_socket={self.socket}&charset=utf8"

    def start(self) -> None:
        """Start the server, on a data directory that was initialised whole."""
        self._initialise()
        self.processes.start(Service("mariadb", self._command()))
        self.processes.wait("mariadb", lambda: "1" in self.execute("select 1"), timeout=120)
        self.execute(
            f"create database if not exists {MARKS.split('.', maxsplit=1)[0]};"
            f"create table if not exists {MARKS} (name varchar(100) primary key)"
        )

    def execute(self, statement: str, database: str = "") -> str:
        """Run SQL and give its rows, tab-separated, without headings; raises `SandboxError`."""
        return run([*self._client(), "-N", "-e", statement, *([database] if database else [])], timeout=120)

    def done(self, mark: str) -> bool:
        """Whether `mark_done` was called for this."""
        return self.execute(f"select name from {MARKS} where name='{mark}'").strip() == mark  # noqa: S608 - ours

    def mark_done(self, mark: str) -> None:
        """Remember that something is finished, as long as the data directory lives."""
        self.execute(f"replace into {MARKS} values ('{mark}')")  # noqa: S608 - names of ours

    def recreate(self, name: str) -> None:
        """Give an empty database; one that was there is dropped with all it holds."""
        self.execute(f"drop database if exists `{name}`; create database `{name}`")

    def load(self, dump: Path, name: str) -> None:
        """Fill a database from a dump."""
        with dump.open("rb") as source:
            run([*self._client(), name], stdin=source, timeout=300)

    def dump(self, name: str, target: Path) -> None:
        """Write a database to a file that appears only when it is complete."""
        partial = target.with_suffix(f".{os.getpid()}")
        run(
            [
                *("mariadb-dump", "--no-defaults", "-uroot", f"--socket={self.socket}", "--skip-lock-tables"),
                *("--skip-dump-date", f"--result-file={partial}", name),
            ]
        )
        if not dump_is_whole(partial):
            partial.unlink()
            raise SandboxError(f"the dump of {name} is cut short: is the disk full?")
        partial.rename(target)

    def _client(self) -> list[str]:
        return ["mariadb", "--no-defaults", "-uroot", f"--socket={self.socket}"]

    def _initialise(self) -> None:
        if self.directory.exists():
            return
        half = self.directory.with_name("mysql.new")
        shutil.rmtree(half, ignore_errors=True)
        run(
            [
                *("mariadb-install-db", "--no-defaults", f"--datadir={half}", "--skip-test-db"),
                *("--auth-root-authentication-method=normal", *_as_root()),
            ]
        )
        half.rename(self.directory)

    def _command(self) -> list[str]:
        return [
            find("mariadbd") or "mariadbd",
            "--no-defaults",
            *_as_root(),
            f"--datadir={self.directory}",
            f"--socket={self.socket}",
            f"--pid-file={self.directory}.pid",
            "--skip-networking",
            "--skip-log-bin",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--max-connections=2000",
            "--table-open-cache=4000",
            # a sandbox loses its last second when the machine crashes, and starts in half the time
            "--innodb-buffer-pool-size=128M",
            "--innodb-log-file-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--innodb-doublewrite=0",
            "--character-set-server=utf8mb3",
            "--collation-server=utf8mb3_general_ci",
        ]


def dump_is_whole(dump: Path) -> bool:
    """Whether a dump ends as mariadb-dump ends one."""
    try:
        with dump.open("rb") as source:
            source.seek(max(0, dump.stat().st_size - 200))
            return DUMP_END.encode() in source.read()
    except FileNotFoundError:
        return False


def _as_root() -> list[str]:
    """The server refuses to run as root unless told to."""
    return ["--user=root"] if os.geteuid() == 0 else []
