"""Ports for processes that are started next."""

import random
import socket
from typing import Final

# Below what the system gives out by itself: nobody has one by chance before the process listens.
_PORTS: Final = range(10_000, 20_000)
_random = random.SystemRandom()  # tests seed the other one, and run at once


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback that nobody has."""
    found: list[int] = []
    while len(found) < count:
        port = _random.choice(_PORTS)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
