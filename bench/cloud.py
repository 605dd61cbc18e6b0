"""A lean cloud of many sites for lists: pages as Nova gives them, after a fixed delay, from one process.

    python -m bench.cloud PORTS-FILE SERVERS-PER-SITE DELAY-MS

One port for each site, named in a JSON file. Servers are rendered when they are asked for, so that a thousand
sites take no memory. `GET /counted` gives the lists asked for since the last time: requests, rounds (the most
that one site was asked for), bytes of their bodies. `GET /layout/NAME` says how the ages of servers lie over
the sites:

    uniform  one by one in turn             random  each at a site drawn by lot
    hot      half of the newest at one      sorted  all of one site newer than all of the next
"""

import asyncio
import gc
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import uvloop

from bench.backend import PROJECT_ID, SERVER_ID, server_answer, token_answer

LAYOUTS = ("uniform", "hot", "sorted", "random")
MAX_LIMIT = 1000
# The newest server's age (seconds): all were made before this run.
START = int(time.time()) - 3600
BACKLOG = 4096
NOVA_LIMITS = {
    "maxServerMeta": 128, "maxImageMeta": 128, "maxPersonality": 5, "maxPersonalitySize": 10240,
    "maxTotalCores": 20, "maxTotalInstances": 10, "maxTotalRAMSize": 51200, "maxServerGroups": 10,
    "maxServerGroupMembers": 10, "maxTotalKeypairs": 100, "maxSecurityGroups": -1,
    "maxSecurityGroupRules": -1, "maxTotalFloatingIps": -1, "totalRAMUsed": 2048, "totalCoresUsed": 1,
    "totalInstancesUsed": 1, "totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0,
    "totalServerGroupsUsed": 0,
}  # fmt: skip
Ages = Callable[[int], int]


def server_id(layout: str, site: int, number: int) -> str:
    """The id of a site's server; its number is where it stands in the site's list.

    Each layout has servers of its own: what is known of one server is never of another's age.
    """
    return f"{site:08x}-5b7d-4e63-9{LAYOUTS.index(layout):03x}-{number:012x}"


def ages(layout: str, site: int, sites: int, per_site: int) -> Ages:
    """How old (seconds, from the newest of all) the servers of a site are, by their place in its list."""
    if layout == "uniform":
        return lambda number: number * sites + site
    if layout == "sorted":
        return lambda number: site * per_site + number
    if layout == "hot":
        if site == 0:
            return lambda number: 2 * number
        return lambda number: 2 * (number * (sites - 1) + site) - 1
    if layout == "random":
        chance = random.Random(site)  # noqa: S311 - a layout, no secret
        gaps = (chance.expovariate(1 / sites) for _ in range(per_site))
        return [int(age) for age in itertools.accumulate(gaps)].__getitem__
    raise LookupError(layout)


class Site:
    """One site: the bytes it answers."""

    def __init__(self, cloud: "Cloud", number: int, base: str) -> None:
        self.cloud, self.number, self.base = cloud, number, base
        shown = server_answer(base)["server"]
        brief = {key: shown[key] for key in ("id", "name", "links")}
        self._detail, self._brief = (_template(one) for one in (shown, brief))
        self.age: Ages = int

    def page(self, *, detail: bool, query: dict[str, list[str]]) -> tuple[int, bytes]:
        """A page by Nova's rules: newest first, `limit`, `marker`, a next link on every full page."""
        collection = "servers/detail" if detail else "servers"
        limit = min(int(query.get("limit", [str(MAX_LIMIT)])[0]), MAX_LIMIT)
        start = 0
        if "marker" in query:
            marker = query["marker"][0]
            start = int(marker[-12:], 16) + 1
            if marker != server_id(self.cloud.layout, self.number, start - 1) or start > self.cloud.per_site:
                message = f"marker [{marker}] not found"
                return 400, json.dumps({"badRequest": {"code": 400, "message": message}}).encode()
        stop = min(start + limit, self.cloud.per_site)
        template = self._detail if detail else self._brief
        items = [self._item(template, number, detail=detail) for number in range(start, stop)]
        text = b'{"servers": [%b]' % b", ".join(items)
        if len(items) == limit:
            # Nova links on from any full page, were it the last.
            last = server_id(self.cloud.layout, self.number, stop - 1)
            text += b', "servers_links": [{"rel": "next", "href": "%b"}]' % (
                f"{self.base}/v2.1/{collection}?limit={limit}&marker={last}".encode()
            )
        return 200, text + b"}"

    def _item(self, template: list[bytes], number: int, *, detail: bool) -> bytes:
        ident = server_id(self.cloud.layout, self.number, number).encode()
        if not detail:
            return ident.join(template)
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START - self.age(number))).encode()
        return ident.join(template).replace(CREATED, made, 1)


CREATED = server_answer("")["server"]["created"].encode()


def _template(shown: object) -> list[bytes]:
    """The parts of an item between its ids."""
    return json.dumps(shown).encode().split(SERVER_ID.encode())


class Cloud:
    """All sites. `per_site` servers each, every answer after `delay` seconds."""

    def __init__(self, ports: Sequence[int], per_site: int, delay: float) -> None:
        self.per_site, self.delay = per_site, delay
        self.requests: Counter[int] = Counter()
        self.bytes = 0
        self.sites = [Site(self, number, f"http://127.0.0.1:{port}") for number, port in enumerate(ports)]
        self._token = json.dumps(token_answer()).encode()
        self._limits = json.dumps({"limits": {"rate": [], "absolute": NOVA_LIMITS}}).encode()
        self.lay_out("uniform")

    def lay_out(self, layout: str) -> None:
        """Give every server its age. Raises LookupError."""
        self.layout = layout
        for site in self.sites:
            site.age = ages(layout, site.number, len(self.sites), self.per_site)

    def count(self, site: Site, size: int) -> None:
        """Count a list."""
        self.requests[site.number] += 1
        self.bytes += size

    def counted(self) -> bytes:
        """What was counted, from now on counted anew."""
        counts = self.requests
        said = {"requests": counts.total(), "rounds": max(counts.values(), default=0), "bytes": self.bytes}
        self.requests, self.bytes = Counter(), 0
        return json.dumps(said).encode()

    def answer(self, site: Site, target: str) -> tuple[int, bytes]:
        """(status, body) of a GET."""
        path, _, query = target.partition("?")
        parts = [part for part in path.split("/") if part]
        if parts[:1] in (["counted"], ["layout"], ["v3"]):
            return 200, self._aside(parts)
        below = [part for part in parts[1:] if part != PROJECT_ID]
        if below in (["servers"], ["servers", "detail"]):
            return site.page(detail=len(below) == 2, query=parse_qs(query))
        if below not in ([], ["limits"]):
            return 404, json.dumps({"itemNotFound": {"code": 404, "message": "Not here."}}).encode()
        return 200, self._limits if below else _versions(site.base)

    def _aside(self, parts: list[str]) -> bytes:
        """What is not Nova's: Keystone's answer, and what the measurement wants."""
        if parts[0] == "layout":
            self.lay_out(parts[1])
        return self.counted() if parts[0] == "counted" else self._token


def _versions(base: str) -> bytes:
    links = [{"rel": "self", "href": f"{base}/v2.1/"}]
    version = {
        "id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z", "links": links,
    }  # fmt: skip
    return json.dumps({"version": version}).encode()


class Connection(asyncio.Protocol):
    """One client of one site. Requests have no body and come one at a time."""

    def __init__(self, cloud: Cloud, site: Site) -> None:
        self._cloud, self._site = cloud, site
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._text = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answer a request once its head is there."""
        self._text += data
        if not self._text.endswith(b"\r\n\r\n"):
            return
        due = self._loop.time() + self._cloud.delay
        target = self._text.split(b" ", 2)[1].decode("latin-1")
        self._text = b""
        status, body = self._cloud.answer(self._site, target)
        data = _head(status, body) + body
        if "/servers" in target:
            self._cloud.count(self._site, len(body))
        # Rendered while the client waits anyway, and sent when the time has come.
        self._loop.call_at(due, self._transport.write, data)


def _head(status: int, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %d %b\r\nContent-Length: %d\r\nContent-Type: application/json\r\n"
        b"OpenStack-API-Version: compute 2.1\r\nX-OpenStack-Nova-API-Version: 2.1\r\n"
        b"Vary: OpenStack-API-Version\r\nVary: X-OpenStack-Nova-API-Version\r\n"
        b"x-openstack-request-id: req-d00eba8f-8f83-4fb2-9baa-b8b8053959f6\r\n"
        b"x-compute-request-id: req-d00eba8f-8f83-4fb2-9baa-b8b8053959f6\r\n"
        b"Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nConnection: keep-alive\r\n\r\n"
    ) % (status, {200: b"OK", 400: b"Bad Request", 404: b"Not Found"}[status], len(body))


async def listen(cloud: Cloud, ports: Sequence[int]) -> list[asyncio.Server]:
    """Serve each site at its port."""
    loop = asyncio.get_running_loop()
    return [
        await loop.create_server(
            lambda site=site: Connection(cloud, site), "127.0.0.1", port, backlog=BACKLOG  # type: ignore[misc]
        )
        for site, port in zip(cloud.sites, ports, strict=True)
    ]  # fmt: skip


async def _serve(ports: Sequence[int], per_site: int, delay: float) -> None:
    servers = await listen(Cloud(ports, per_site, delay), ports)
    gc.collect()
    gc.freeze()
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), float(sys.argv[3]) / 1000))
