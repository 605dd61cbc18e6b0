"""A site that holds 12,500 hosts and 100,000 servers: `python -m bench.arrivals_site PORT`.

`POST /NAME` makes something on a host and answers after a time that is lognormal: half of the answers take
longer than `MEDIAN_SECONDS`, one in a hundred longer than four times that. `GET /MARK` shows what was made.
"""

import asyncio
import json
import sys
from random import Random
from typing import Any

import uvloop

from bench.arrivals import HOSTS, SLOTS

MEDIAN_SECONDS, SIGMA = 0.02, 0.6


class Site:
    """What it holds: things by their marks, and how many each host has."""

    def __init__(self) -> None:
        self.hosts = [SLOTS] * HOSTS
        self.things: dict[str, dict[str, Any]] = {
            f"there-{number}": {"kind": "server", "host": number % HOSTS, "status": "ACTIVE"}
            for number in range(HOSTS * SLOTS)
        }
        self._by_chance = Random(1)  # noqa: S311 - the same each time

    def seconds(self) -> float:
        """How long an answer takes."""
        return MEDIAN_SECONDS * self._by_chance.lognormvariate(0.0, SIGMA)

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        """(status, JSON) of a request."""
        if path == "/ready":
            return 200, {"hosts": len(self.hosts), "servers": len(self.things)}
        if method == "GET":
            found = self.things.get(path.strip("/"))
            return (200, found) if found else (404, {})
        asked = json.loads(body)
        thing = {"kind": path.strip("/"), "host": asked["host"], "status": "ACTIVE"}
        if thing["kind"] == "server":
            self.hosts[asked["host"]] += 1
        self.things[asked["mark"]] = thing
        return 202, {"id": asked["mark"], **thing}


class Connection(asyncio.Protocol):
    """One client. Requests come one at a time, and whole soon."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._text = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]  # a TCP one

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is there."""
        self._text += data
        head, end, body = self._text.partition(b"\r\n\r\n")
        lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if not end or len(body) < int(lengths[0] if lengths else 0):
            return
        self._text = b""
        method, path, _ = head.decode("latin-1").split(" ", 2)
        status, said = self._site.answer(method, path, body)
        text = json.dumps(said).encode()
        answer = (
            b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (status, len(text))
        ) + text
        if method == "POST":
            self._loop.call_later(self._site.seconds(), self._transport.write, answer)
        else:
            self._transport.write(answer)


async def _serve(port: int) -> None:
    site = Site()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(site), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
