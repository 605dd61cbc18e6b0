"""A peer: all sites asked at once for their share of a page by a client that does nothing else.

    python -m bench.at_once PORTS-FILE PATH ROUNDS

One process plays all sites, so that the last answer leaves later than one site's alone would; when it has
come is how long the slowest site takes, and what nobody who asks them all can be faster than. Bodies are
counted and thrown away. Prints {"ms": [...]}, a value for each round.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

PAUSE_SECONDS = 0.25


class Asking(asyncio.Protocol):
    """A connection to one site: one request after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._answered: asyncio.Future[float]
        self._head = b""
        self._left: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]

    def ask(self, path: str) -> "asyncio.Future[float]":
        """Ask; the answer is when (`time.perf_counter`) the last byte of it came."""
        self._head, self._left = b"", None
        self._answered = self._loop.create_future()
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: site\r\n\r\n".encode())
        return self._answered

    def data_received(self, data: bytes) -> None:
        """Count down to the end of the answer."""
        if self._left is None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            lines = head.lower().split(b"\r\n")
            self._left = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        self._left -= len(data)
        if not self._left:
            self._answered.set_result(time.perf_counter())

    def connection_lost(self, _: Exception | None) -> None:
        """Fail what waits."""
        if not self._answered.done():
            self._answered.set_exception(ConnectionResetError("The site closed the connection."))


async def slowest(ports: list[int], path: str, rounds: int) -> list[float]:
    """Milliseconds until the last site has answered, for each round."""
    loop = asyncio.get_running_loop()
    sites = [(await loop.create_connection(Asking, "127.0.0.1", port))[1] for port in ports]
    found = []
    for _ in range(rounds + 1):  # the first one warms up
        begin = time.perf_counter()
        ends = await asyncio.gather(*(site.ask(path) for site in sites))
        found.append((max(ends) - begin) * 1e3)
        await asyncio.sleep(PAUSE_SECONDS)
    return found[1:]


if __name__ == "__main__":
    listed = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps({"ms": uvloop.run(slowest(listed, sys.argv[2], int(sys.argv[3])))}))
