"""A PostgreSQL and a MariaDB of the system's packages, for as long as the tests run.

Each listens on 127.0.0.1 on a port of its own, with TLS for who wants it, and asks for a password. Its data
is in a directory that is removed with it. Nothing of a server that the machine runs already is touched.
"""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from bench.ports import free_port
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

USER, PASSWORD = "atoll", "not a secret: %/@?"  # every character that a URL would read otherwise
QUOTED = "not%20a%20secret%3A%20%25%2F%40%3F"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
LOG_TAIL = 1500
CERT, KEY = "cert.pem", "key.pem"
CERTIFICATE = (
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
    *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", KEY, "-out", CERT),
)


class ServerError(Exception):
    """A database server did not do what it should."""


class Kind(Protocol):
    """How one kind of server is made and started."""

    name: str
    package: str
    stop_signal: signal.Signals

    def programs(self) -> Path | None:
        """The directory with its programs; None where they are not installed."""

    def account(self) -> str | None:
        """The user it has to run as; None for whoever we are."""

    def prepare(self, programs: Path, home: Path) -> Sequence[Sequence[str]]:
        """The commands that make its data directory, run once."""

    def command(self, programs: Path, home: Path, port: int) -> Sequence[str]:
        """The server itself, in the foreground."""

    def tls(self, home: Path) -> Sequence[str]:
        """What makes the server speak TLS, with the certificate in a directory."""

    def url(self, port: int, database: str) -> str:
        """A database of it, as Atoll's configuration names it."""

    def admin_url(self, port: int) -> str:
        """The database to make others from, as SQLAlchemy names it."""

    def create(self, database: str) -> str:
        """The statement that makes a database, with defaults that are no help."""

    def drop(self, database: str) -> str:
        """The statement that removes a database, whoever has it open."""


class Postgresql:
    """PostgreSQL. It refuses to run as root, and runs as the package's user there."""

    name = "postgresql"
    package = "postgresql"
    stop_signal = signal.SIGINT  # at once, but with a checkpoint

    def programs(self) -> Path | None:
        """Debian keeps them off PATH, by version."""
        found = shutil.which("initdb")
        if found is not None:
            return Path(found).resolve().parent
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
        return versions[-1].parent if versions else None

    def account(self) -> str | None:
        """Debian's own user for it."""
        return "postgres" if os.geteuid() == 0 else None

    def prepare(self, programs: Path, home: Path) -> Sequence[Sequence[str]]:
        """A cluster with one superuser that has a password."""
        secret = home / "password"
        secret.write_text(PASSWORD)
        options = ("--auth=scram-sha-256", f"--pwfile={secret}", f"--username={USER}", "--no-sync")
        initdb = str(programs / "initdb")
        return [(initdb, "-D", str(home / "data"), *options, "--locale=C", "--encoding=UTF8")]

    def command(self, programs: Path, home: Path, port: int) -> Sequence[str]:
        """Without unix sockets; what is lost in a crash of the machine does not matter."""
        settings = ("unix_socket_directories=", "listen_addresses=127.0.0.1", "fsync=off")
        options = [word for setting in settings for word in ("-c", setting)]
        return (str(programs / "postgres"), "-D", str(home / "data"), "-p", str(port), *options)

    def tls(self, home: Path) -> Sequence[str]:
        """It speaks TLS beside plain text."""
        return ("-c", "ssl=on", "-c", f"ssl_cert_file={home / CERT}", "-c", f"ssl_key_file={home / KEY}")

    def url(self, port: int, database: str) -> str:
        """As Atoll's configuration names it."""
        return f"postgresql://{USER}:{QUOTED}@127.0.0.1:{port}/{database}"

    def admin_url(self, port: int) -> str:
        """By the driver the store uses."""
        return f"postgresql+asyncpg://{USER}:{QUOTED}@127.0.0.1:{port}/postgres"

    def create(self, database: str) -> str:
        """Of the empty template, which is quick."""
        return f"CREATE DATABASE {database} TEMPLATE template0"

    def drop(self, database: str) -> str:
        """Ends its connections too."""
        return f"DROP DATABASE IF EXISTS {database} WITH (FORCE)"


class Mariadb:
    """MariaDB."""

    name = "mariadb"
    package = "mariadb-server"
    stop_signal = signal.SIGTERM

    def programs(self) -> Path | None:
        """They are on PATH, or where Debian puts servers."""
        found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        return Path(found).parent if found else None

    def account(self) -> str | None:
        """Debian's own user for it."""
        return "mysql" if os.geteuid() == 0 else None

    def prepare(self, programs: Path, home: Path) -> Sequence[Sequence[str]]:
        """Its system tables, and one user who may make databases."""
        del programs
        (home / "users.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
        )
        return [("mariadb-install-db", "--no-defaults", f"--datadir={home / 'data'}", "--skip-test-db")]

    def command(self, programs: Path, home: Path, port: int) -> Sequence[str]:
        """With the defaults of MariaDB itself: latin1, and a mode that cuts what is too long."""
        return (
            *(str(programs / "mariadbd"), "--no-defaults", f"--datadir={home / 'data'}"),
            *(f"--port={port}", "--bind-address=127.0.0.1", f"--socket={home / 'socket'}"),
            *(f"--pid-file={home / 'pid'}", f"--init-file={home / 'users.sql'}", "--skip-name-resolve"),
            *("--sql-mode=", "--character-set-server=latin1", "--innodb-flush-log-at-trx-commit=0"),
            *("--skip-log-bin", "--performance-schema=OFF", "--innodb-buffer-pool-size=32M"),
        )

    def tls(self, home: Path) -> Sequence[str]:
        """It speaks TLS beside plain text."""
        return (f"--ssl-cert={home / CERT}", f"--ssl-key={home / KEY}")

    def url(self, port: int, database: str) -> str:
        """As Atoll's configuration names it."""
        return f"mariadb://{USER}:{QUOTED}@127.0.0.1:{port}/{database}"

    def admin_url(self, port: int) -> str:
        """By the driver the store uses."""
        return f"mariadb+asyncmy://{USER}:{QUOTED}@127.0.0.1:{port}/mysql"

    def create(self, database: str) -> str:
        """With the character set that was the default for twenty years."""
        return f"CREATE DATABASE {database} CHARACTER SET latin1"

    def drop(self, database: str) -> str:
        """Connections to it stay, and find nothing."""
        return f"DROP DATABASE IF EXISTS {database}"


KINDS: tuple[Kind, ...] = (Postgresql(), Mariadb())


class Server:
    """One server. `start` may follow `stop`; `close` also removes its data."""

    def __init__(self, kind: Kind, programs: Path, *, tls: bool) -> None:
        self.kind = kind
        self._programs = programs
        self._home = Path(tempfile.mkdtemp(prefix=f"atoll-{kind.name}-"))
        self._account = kind.account()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self._tls = tls
        self.certificate = self._home / CERT

    def prepare(self) -> None:
        """Make the data directory; raises ServerError."""
        commands = [*self.kind.prepare(self._programs, self._home), *([CERTIFICATE] if self._tls else [])]
        if self._account is not None:
            owner = pwd.getpwnam(self._account)
            for path in (self._home, *self._home.iterdir()):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        for command in commands:
            done = subprocess.run(  # noqa: S603 - of ours
                command,
                user=self._account,
                group=self._group(),
                extra_groups=[] if self._account else None,
                cwd=self._home,
                capture_output=True,
                text=True,
                timeout=START_SECONDS,
                check=False,
            )
            if done.returncode:
                raise ServerError(f"{command[0]} failed: {(done.stderr or done.stdout)[-LOG_TAIL:]}")

    def start(self) -> None:
        """Start it and wait until it answers; raises ServerError with the end of its log."""
        log = self._home / "log"
        command = [*self._ends_with_us(), *self.kind.command(self._programs, self._home, self.port)]
        command += self.kind.tls(self._home) if self._tls else ()
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - of ours
                command,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us, who then stop it
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerError(f"{self.kind.name} did not start: {log.read_text()[-LOG_TAIL:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; its data stays."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self.kind.stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End it and remove its data."""
        self.stop()
        shutil.rmtree(self._home)

    def url(self, database: str) -> str:
        """A database of it, as Atoll's configuration names it."""
        return self.kind.url(self.port, database)

    def create(self, database: str) -> str:
        """Make an empty database; its URL."""
        self.execute(self.kind.create(database))
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever has it open."""
        self.execute(self.kind.drop(database))

    def execute(self, statement: str) -> None:
        """Run a statement as the administrator, outside any transaction, also while an event loop runs."""
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self._execute(statement)).result()

    async def _execute(self, statement: str) -> None:
        engine = create_async_engine(
            self.kind.admin_url(self.port), isolation_level="AUTOCOMMIT", poolclass=NullPool
        )
        try:
            async with engine.connect() as connection:
                await connection.execute(text(statement))
        finally:
            await engine.dispose()

    def _ends_with_us(self) -> list[str]:
        """A server that outlived killed tests would be found by nobody. It ends with the thread it is of."""
        signal_name = self.kind.stop_signal.name.removeprefix("SIG")
        words = ["setpriv", "--pdeathsig", signal_name]
        if self._account is not None:
            words += ["--reuid", self._account, "--regid", str(self._group()), "--clear-groups"]
        return [*words, "--"]

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except (SQLAlchemyError, OSError):
            return False
        return True

    def _group(self) -> int | None:
        return pwd.getpwnam(self._account).pw_gid if self._account else None


def open_server(kind: Kind, *, tls: bool = False) -> Server:
    """A server that runs; raises ServerError. Its programs have to be there, see `packages`."""
    programs = kind.programs()
    if programs is None:
        raise ServerError(f"{kind.name} is not installed")
    server = Server(kind, programs, tls=tls)
    try:
        server.prepare()
        server.start()
    except BaseException:
        server.close()
        raise
    return server


def _version(path: Path) -> tuple[int, ...]:
    """The number in /usr/lib/postgresql/15/bin/initdb."""
    return tuple(int(part) for part in path.parts[-3].split("."))
