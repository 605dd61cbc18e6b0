"""RabbitMQ, etcd, Redis and ZooKeeper of the system's packages, for as long as the tests run.

Each listens on 127.0.0.1 on ports of its own, Erlang's port mapper included. Its data is in a directory that
is removed with it. Nothing of a server that the machine runs already is touched.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from bench.ports import free_ports
from tests.stores.servers import LOG_TAIL, START_SECONDS, STOP_SECONDS, ServerError

USER: Final = "atoll"
PASSWORD: Final = "not-a-secret"
AMQP_HELLO: Final = b"AMQP\x00\x00\x09\x01"
RABBITMQ_HOME: Final = Path("/usr/lib/rabbitmq/lib")
ZOOKEEPER_JAR: Final = Path("/usr/share/java/zookeeper.jar")


class Kind(Protocol):
    """How one kind of server is started. `ports[0]` is for its clients, the others are for itself."""

    name: str
    package: str

    def programs(self) -> Path | None:
        """Where its program is; None where it is not installed."""

    def prepare(self, home: Path, ports: Sequence[int]) -> None:
        """Write what it reads, before it is started first."""

    def helpers(self, ports: Sequence[int]) -> Sequence[Sequence[str]]:
        """What has to run beside it."""

    def command(self, programs: Path, home: Path, ports: Sequence[int]) -> Sequence[str]:
        """The server itself, in the foreground."""

    def environment(self, home: Path, ports: Sequence[int]) -> Mapping[str, str]:
        """What its environment has beside PATH and HOME."""

    def url(self, port: int) -> str:
        """How it is named in Atoll's configuration."""

    def answers(self, port: int) -> bool:
        """Whether it serves. Raises OSError."""


class _Plain:
    """Nothing but a program."""

    def prepare(self, home: Path, ports: Sequence[int]) -> None:
        """Nothing."""

    def helpers(self, ports: Sequence[int]) -> Sequence[Sequence[str]]:
        """None."""
        del ports
        return ()

    def environment(self, home: Path, ports: Sequence[int]) -> Mapping[str, str]:
        """Nothing."""
        del home, ports
        return {}


class Rabbitmq:
    """RabbitMQ. The scripts on the PATH insist on a user; those of its directory run as anyone."""

    name = "rabbitmq"
    package = "rabbitmq-server"

    def programs(self) -> Path | None:
        """By version."""
        found = sorted(RABBITMQ_HOME.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
        return found[-1] if found and shutil.which("epmd") else None

    def prepare(self, home: Path, ports: Sequence[int]) -> None:
        """One user, one virtual host."""
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "users": [{"name": USER, "password": PASSWORD, "tags": ""}],
            "vhosts": [{"name": "/"}],
            "permissions": [{"user": USER, "vhost": "/", **everything}],
        }
        (home / "definitions.json").write_text(json.dumps(definitions))
        (home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{ports[0]}\nload_definitions = {home}/definitions.json\n"
            "log.console = true\nlog.file = false\nlog.console.level = warning\n"
            "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n"
        )
        (home / "advanced.config").write_text("[].\n")
        (home / "enabled_plugins").write_text("[].\n")
        cookie = home / ".erlang.cookie"
        cookie.write_text(os.urandom(16).hex())
        cookie.chmod(0o400)

    def helpers(self, ports: Sequence[int]) -> Sequence[Sequence[str]]:
        """Erlang would start a port mapper that listens on every address and outlives it."""
        return [("epmd", "-address", "127.0.0.1", "-port", str(ports[2]))]

    def command(self, programs: Path, home: Path, ports: Sequence[int]) -> Sequence[str]:
        """With input allowed the script becomes the server, and leaves no shell that waits for it."""
        del home, ports
        return [str(programs)]

    def environment(self, home: Path, ports: Sequence[int]) -> Mapping[str, str]:
        """Where its files are, and that all of it stays on the loopback."""
        return {
            "LANG": "C.UTF-8",
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_NODENAME": f"atoll-stores-{ports[0]}@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(ports[0]),
            "RABBITMQ_DIST_PORT": str(ports[1]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(ports[2]),
            "ERL_MAX_PORTS": "4096",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} "
                "+S 1:1 +SDio 2 +sbwt none +sbwtdcpu none +sbwtdio none +A 8"
            ),
        }

    def url(self, port: int) -> str:
        """A transport URL, with queues that outlive the broker."""
        return f"rabbit://{USER}:{PASSWORD}@127.0.0.1:{port}/?amqp_durable_queues=true"

    def answers(self, port: int) -> bool:
        """It says hello when it takes part in AMQP."""
        return _said(port, AMQP_HELLO)[:1] == b"\x01"


class Etcd(_Plain):
    """etcd."""

    name = "etcd"
    package = "etcd-server"

    def programs(self) -> Path | None:
        """On PATH."""
        return _on_path("etcd")

    def command(self, programs: Path, home: Path, ports: Sequence[int]) -> Sequence[str]:
        """A cluster of one."""
        clients, peers = (f"http://127.0.0.1:{port}" for port in ports[:2])
        return (
            *(str(programs), "--name", "atoll", "--data-dir", str(home / "data")),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"atoll={peers}"),
        )

    def url(self, port: int) -> str:
        """As tooz names it; two seconds are the least that etcd takes."""
        return f"etcd3+http://127.0.0.1:{port}?timeout=2"

    def answers(self, port: int) -> bool:
        """It is well when it has a leader: itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return b"true" in answer.read()


class Redis(_Plain):
    """Redis, with a password."""

    name = "redis"
    package = "redis-server"

    def programs(self) -> Path | None:
        """On PATH."""
        return _on_path("redis-server")

    def command(self, programs: Path, home: Path, ports: Sequence[int]) -> Sequence[str]:
        """Without files: what was in it is gone when it stops."""
        options = ("--bind", "127.0.0.1", "--save", "", "--dir", str(home), "--requirepass", PASSWORD)
        return (str(programs), "--port", str(ports[0]), *options)

    def url(self, port: int) -> str:
        """As tooz names it."""
        return f"redis://:{PASSWORD}@127.0.0.1:{port}?timeout=2"

    def answers(self, port: int) -> bool:
        """It wants a password."""
        return b"NOAUTH" in _said(port, b"PING\r\n")


class Zookeeper(_Plain):
    """ZooKeeper."""

    name = "zookeeper"
    package = "zookeeper"

    def programs(self) -> Path | None:
        """A class of Debian's Java library."""
        java = Path("/usr/bin/java")
        return java if java.exists() and ZOOKEEPER_JAR.exists() else None

    def prepare(self, home: Path, ports: Sequence[int]) -> None:
        """Short ticks: a session lives for two of them at least."""
        (home / "zoo.cfg").write_text(
            f"tickTime=500\ndataDir={home}/data\nclientPort={ports[0]}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\n4lw.commands.whitelist=srvr\n"
        )

    def command(self, programs: Path, home: Path, ports: Sequence[int]) -> Sequence[str]:
        """By itself; a small heap, and a compiler that is quick to start."""
        del ports
        server = "org.apache.zookeeper.server.ZooKeeperServerMain"
        options = (
            "-Xmx96m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Dzookeeper.jmx.log4j.disable=true",
        )
        return (str(programs), *options, "-cp", str(ZOOKEEPER_JAR), server, str(home / "zoo.cfg"))

    def url(self, port: int) -> str:
        """As tooz names it."""
        return f"zookeeper://127.0.0.1:{port}?timeout=2"

    def answers(self, port: int) -> bool:
        """It tells its version."""
        return b"Zookeeper version" in _said(port, b"srvr")


RABBITMQ: Final = Rabbitmq()
COORDINATORS: tuple[Kind, ...] = (Etcd(), Redis(), Zookeeper())
PORTS: Final = 3


class Daemon:
    """One server. `start` may follow `stop`; `close` also removes its data."""

    def __init__(self, kind: Kind, programs: Path) -> None:
        self.kind = kind
        self._programs = programs
        self._home = Path(tempfile.mkdtemp(prefix=f"atoll-{kind.name}-"))
        self._ports = free_ports(PORTS)
        self._process: subprocess.Popen[bytes] | None = None
        self._helpers: list[subprocess.Popen[bytes]] = []
        self.port = self._ports[0]
        self.url = kind.url(self.port)
        kind.prepare(self._home, self._ports)

    def start(self) -> None:
        """Start it and wait until it serves; raises ServerError with the end of its log."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it. It ends with the thread that does so: not for one of a pool."""
        if not self._helpers:
            self._helpers = [self._begin(one) for one in self.kind.helpers(self._ports)]
        self._process = self._begin(self.kind.command(self._programs, self._home, self._ports))

    def wait(self) -> None:
        """Wait until it serves, in any thread; raises ServerError with the end of its log."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self._home / "log").read_text(errors="replace")[-LOG_TAIL:]
                self.stop()
                raise ServerError(f"{self.kind.name} did not start: {said}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it; its data stays, as far as it writes it down."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def freeze(self) -> None:
        """Have it stand still, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its data."""
        self.stop()
        for helper in self._helpers:
            _end(helper)
        shutil.rmtree(self._home, ignore_errors=True)

    def _begin(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # One that outlived killed tests would be found by nobody: it ends with the thread it is of.
        words = ["setpriv", "--pdeathsig", "TERM", "--", *command]
        path = os.environ.get("PATH", "/usr/bin:/bin")
        environment = {"PATH": path, "HOME": str(self._home)}
        environment |= self.kind.environment(self._home, self._ports)
        with (self._home / "log").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - of ours
                words,
                cwd=self._home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us, who then stop it
            )

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.kind.answers(self.port)
        return False


def open_daemon(kind: Kind) -> Daemon:
    """A server that runs; raises ServerError. Its programs have to be there, see `packages`."""
    programs = kind.programs()
    if programs is None:
        raise ServerError(f"{kind.name} is not installed")
    daemon = Daemon(kind, programs)
    try:
        daemon.start()
    except BaseException:
        daemon.close()
        raise
    return daemon


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _said(port: int, hello: bytes) -> bytes:
    """The first that it says. Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), 2) as connection:
        connection.sendall(hello)
        return connection.recv(256)


def _on_path(name: str) -> Path | None:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None
