"""Whether a port of the loopback is free, who has it if not, and whether something answers on it."""

import contextlib
import http.client
import socket
import time
from pathlib import Path

from atoll.sandbox.real.errors import SandboxError

ENDING = 5  # seconds
LISTENING = "0A"  # state column of /proc/net/tcp


def require_free(port: int, service: str) -> None:
    """Raise `SandboxError` naming the port, and its owner where we may see it, when it cannot be bound.

    A port without an owner to be seen may be of a process that is just ending: it gets `ENDING` seconds.
    """
    deadline = time.monotonic() + ENDING
    while not _is_free(port):
        owner = holder(port)
        if owner is not None or time.monotonic() > deadline:
            raise SandboxError(
                f"port {port} of 127.0.0.1, wanted by {service}, is taken by {owner or 'another process'}: "
                "stop that, or give another --port-base (ATOLL_SANDBOX_PORT_BASE)"
            )
        time.sleep(0.1)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is no owner
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def holder(port: int) -> str | None:
    """Give `pid (command)` of the process that listens on a port, None when it cannot be seen."""
    inodes = _listening(port)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and inodes & _sockets(entry / "fd"):
            try:
                return f"process {entry.name} ({(entry / 'comm').read_text().strip()})"
            except OSError:
                return None
    return None


def _listening(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING and int(columns[1].rsplit(":", 1)[1], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return found


def _sockets(directory: Path) -> set[str]:
    """Descriptors come and go while they are read."""
    found = set()
    try:
        for descriptor in directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(str(descriptor.readlink()))
    except OSError:
        return found
    return found


def answers(port: int, path: str = "/", timeout: float = 10) -> bool:
    """Whether an HTTP server gives anything but a 5xx; raises OSError while nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status < 500
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
