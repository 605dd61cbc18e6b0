"""One RabbitMQ for all sites, a virtual host for each, on the loopback, with an epmd of its own."""

import json
import secrets
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from atoll.sandbox.real.commands import Argument, find, run
from atoll.sandbox.real.errors import SandboxError
from atoll.sandbox.real.installation import RABBITMQ_HOME
from atoll.sandbox.real.layout import Layout
from atoll.sandbox.real.model import PASSWORD
from atoll.sandbox.real.ports import require_free
from atoll.sandbox.real.processes import Processes, Service

AMQP_HELLO = b"AMQP\x00\x00\x09\x01"
METHOD_FRAME = b"\x01"
USER = "sandbox"
CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
load_definitions = {directory}/definitions.json
log.console = true
log.file = false
log.console.level = warning
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
"""


class Messaging:
    """The broker and its virtual hosts."""

    def __init__(self, layout: Layout, processes: Processes) -> None:
        self.port = layout.messaging_port
        self.directory = layout.run / "rabbitmq"
        self.processes = processes

    def url(self, vhost: str) -> str:
        """Give a transport_url."""
        return f"rabbit://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{vhost}"

    def start(self, vhosts: Sequence[str]) -> None:
        """Start the broker; a running one is given the virtual hosts it lacks. `wait` is for the caller."""
        running = self.processes.leader("rabbitmq") is not None
        if not running:
            self.processes.stop(["rabbitmq"])  # Erlang outlives the script that started it
            # Queues are made again by the services; a broker killed half-way is not worth repairing.
            shutil.rmtree(self.directory / "mnesia", ignore_errors=True)
        (self.directory / "mnesia").mkdir(parents=True, exist_ok=True)
        self._configure(vhosts)
        if running:
            self.wait()
            self._add_missing(vhosts)
            return
        require_free(self.port + 1, "rabbitmq's distribution")
        # our own epmd, or Erlang's tools would start one that listens on every address and outlives us
        epmd: list[Argument] = [find("epmd") or "epmd", "-address", "127.0.0.1", "-port", self.port + 2]
        self.processes.start(Service("epmd", epmd, port=self.port + 2))
        server = self._home() / "sbin/rabbitmq-server"
        self.processes.start(Service("rabbitmq", [server], self._environment(), port=self.port))

    def wait(self) -> None:
        """Wait until the broker speaks AMQP."""
        self.processes.wait("rabbitmq", self._speaks, timeout=180)

    def _speaks(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
            connection.sendall(AMQP_HELLO)
            return connection.recv(7)[:1] == METHOD_FRAME

    def _add_missing(self, vhosts: Sequence[str]) -> None:
        control = self._home() / "sbin/rabbitmqctl"
        have = run([control, "-q", "list_vhosts"], env=self._environment(), timeout=120).split()
        if not set(vhosts) <= set(have):
            definitions = self.directory / "definitions.json"
            run([control, "import_definitions", definitions], env=self._environment(), timeout=120)

    def _configure(self, vhosts: Sequence[str]) -> None:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "users": [{"name": USER, "password": PASSWORD, "tags": "administrator"}],
            "vhosts": [{"name": vhost} for vhost in vhosts],
            "permissions": [{"user": USER, "vhost": vhost, **everything} for vhost in vhosts],
        }
        (self.directory / "definitions.json").write_text(json.dumps(definitions))
        (self.directory / "rabbitmq.conf").write_text(
            CONFIGURATION.format(port=self.port, directory=self.directory)
        )
        (self.directory / "advanced.config").write_text("[].\n")
        cookie = self.directory / ".erlang.cookie"
        if not cookie.exists() or not cookie.stat().st_size:
            cookie.unlink(missing_ok=True)
            cookie.write_text(secrets.token_hex(16))
            cookie.chmod(0o400)

    def _home(self) -> Path:
        """The scripts on the PATH insist on root or the rabbitmq user; these run as anyone."""
        found = sorted(RABBITMQ_HOME.glob("rabbitmq_server-*"))
        if not found:
            raise SandboxError("missing packages: rabbitmq-server")
        return found[-1]

    def _environment(self) -> dict[str, str]:
        here = self.directory
        return {
            "HOME": str(here),
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": "atoll@localhost",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(here / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(here / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(here / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(here / "mnesia"),
            "RABBITMQ_LOG_BASE": str(here),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(here / "rabbitmq.pid"),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.port + 1),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.port + 2),
            "ERL_MAX_PORTS": "4096",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} "
                "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none +A 8"
            ),
        }
