"""A lean cloud of many sites for lists: pages as services give them, after a fixed delay, from one process.

    python -m bench.cloud PORTS-FILE THINGS-PER-SITE DELAY-MS

One port for each site, named in a JSON file: Nova's `/v2.1`, Cinder's `/volume/v3`, Neutron's `/network/v2.0`
and Glance's `/image/v2`. What they list is `bench.cloud_lists`'s, rendered when it is asked for, so that a
thousand sites take no memory. `GET /counted` gives the lists asked for since the last time: requests, rounds
(the most that one site was asked for), bytes of their bodies, and requests beside them (security groups, what
is public). `GET /layout/NAME` says how the ages of things lie over the sites:

    uniform  one by one in turn             random  each at a site drawn by lot
    hot      half of the newest at one      sorted  all of one site newer than all of the next
"""

import asyncio
import gc
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

import uvloop

from bench.backend import token_answer
from bench.cloud_lists import Images, Place, Ports, Servers, Things, Volumes, ages
from bench.things import PROJECT_ID

BACKLOG = 4096
# What an answer is counted as: the list that is measured, or what is asked for besides.
LIST, BESIDE = "list", "beside"
NOVA_LIMITS = {
    "maxServerMeta": 128, "maxImageMeta": 128, "maxPersonality": 5, "maxPersonalitySize": 10240,
    "maxTotalCores": 20, "maxTotalInstances": 10, "maxTotalRAMSize": 51200, "maxServerGroups": 10,
    "maxServerGroupMembers": 10, "maxTotalKeypairs": 100, "maxSecurityGroups": -1,
    "maxSecurityGroupRules": -1, "maxTotalFloatingIps": -1, "totalRAMUsed": 2048, "totalCoresUsed": 1,
    "totalInstancesUsed": 1, "totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0,
    "totalServerGroupsUsed": 0,
}  # fmt: skip


class Site(Place):
    """One site: the lists it answers, by their paths, and what it says of its versions, by the service's."""

    def __init__(self, number: int, base: str, per_site: int) -> None:
        super().__init__(number, base, per_site)
        self.lists: dict[str, Things] = {
            "v2.1/servers": Servers(self, brief=True),
            "v2.1/servers/detail": Servers(self, brief=False),
            "volume/v3/volumes/detail": Volumes(self),
            "network/v2.0/ports": Ports(self),
            "image/v2/images": Images(self),
        }

    def beside(self, path: str) -> bytes | None:
        """What it answers for what lists are of no use without; None for what it has not."""
        if path == "network/v2.0/security-groups":
            return json.dumps({"security_groups": [{"id": self.group_id, "name": "default"}]}).encode()
        return None


class Answer(NamedTuple):
    """An answer of a service, named as its path begins; `counted` is what it is counted as, if it is."""

    status: int
    body: bytes
    service: str = ""
    counted: str = ""


class Cloud:
    """All sites. `per_site` things of each type, every answer after `delay` seconds."""

    def __init__(self, ports: Sequence[int], per_site: int, delay: float) -> None:
        self.per_site, self.delay = per_site, delay
        self.requests: Counter[int] = Counter()
        self.bytes = self.beside = 0
        self.sites = [Site(number, f"http://127.0.0.1:{port}", per_site) for number, port in enumerate(ports)]
        self._token = json.dumps(token_answer()).encode()
        self._limits = json.dumps({"limits": {"rate": [], "absolute": NOVA_LIMITS}}).encode()
        self.lay_out("uniform")

    def lay_out(self, layout: str) -> None:
        """Give every thing its age. Raises LookupError."""
        for site in self.sites:
            site.age = ages(layout, site.number, len(self.sites), self.per_site)
            site.layout = layout

    def count(self, site: Site, answer: Answer) -> None:
        """Count a list, or what is asked for beside it."""
        if answer.counted == LIST:
            self.requests[site.number] += 1
            self.bytes += len(answer.body)
        elif answer.counted:
            self.beside += 1

    def counted(self) -> bytes:
        """What was counted, from now on counted anew."""
        counts = self.requests
        said = {
            "requests": counts.total(),
            "rounds": max(counts.values(), default=0),
            "bytes": self.bytes,
            "beside": self.beside,
        }
        self.requests, self.bytes, self.beside = Counter(), 0, 0
        return json.dumps(said).encode()

    def answer(self, site: Site, target: str) -> Answer:
        """What a site answers to a GET."""
        path, _, query = target.partition("?")
        parts = [part for part in path.split("/") if part]
        if parts[:1] in (["counted"], ["layout"], ["v3"]):
            return Answer(200, self._aside(parts))
        service = parts[0] if parts else ""
        below = "/".join(part for part in parts if part != PROJECT_ID)
        asked = parse_qs(query)
        if below in site.lists:
            # What is public is looked at, to find what sites have in common: it is not the list itself.
            counted = BESIDE if "visibility" in asked else LIST
            return Answer(*site.lists[below].page(asked), service, counted)
        beside = site.beside(below)
        if beside is not None:
            return Answer(200, beside, service, BESIDE)
        if below == "v2.1/limits":
            return Answer(200, self._limits, service)
        if below in VERSIONS:
            return Answer(200, VERSIONS[below](site.base), service)
        fault = {"itemNotFound": {"code": 404, "message": "Not here."}}
        return Answer(404, json.dumps(fault).encode(), service, BESIDE)

    def _aside(self, parts: list[str]) -> bytes:
        """What is no list's: Keystone's answer, and what the measurement wants."""
        if parts[0] == "layout":
            self.lay_out(parts[1])
        return self.counted() if parts[0] == "counted" else self._token


def _compute_versions(base: str) -> bytes:
    links = [{"rel": "self", "href": f"{base}/v2.1/"}]
    version = {
        "id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z", "links": links,
    }  # fmt: skip
    return json.dumps({"version": version}).encode()


def _volume_versions(base: str) -> bytes:
    version = {
        "id": "v3.0", "status": "CURRENT", "version": "3.71", "min_version": "3.0",
        "updated": "2023-08-31T00:00:00Z", "links": [{"rel": "self", "href": f"{base}/volume/v3/"}],
    }  # fmt: skip
    return json.dumps({"versions": [version]}).encode()


def _network_versions(base: str) -> bytes:
    links = [{"rel": "self", "href": f"{base}/network/v2.0/"}]
    return json.dumps({"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}).encode()


def _image_versions(base: str) -> bytes:
    links = [{"rel": "self", "href": f"{base}/image/v2/"}]
    return json.dumps({"versions": [{"id": "v2.17", "status": "CURRENT", "links": links}]}).encode()


VERSIONS = {
    "v2.1": _compute_versions,
    "volume": _volume_versions,
    "network": _network_versions,
    "image/versions": _image_versions,
}


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
        answer = self._cloud.answer(self._site, target)
        data = _head(answer) + answer.body
        self._cloud.count(self._site, answer)
        # Rendered while the client waits anyway, and sent when the time has come.
        self._loop.call_at(due, self._transport.write, data)


REQUEST_ID = b"req-d00eba8f-8f83-4fb2-9baa-b8b8053959f6"
COMPUTE_HEAD = (
    b"OpenStack-API-Version: compute 2.1\r\nX-OpenStack-Nova-API-Version: 2.1\r\n"
    b"Vary: OpenStack-API-Version\r\nVary: X-OpenStack-Nova-API-Version\r\n"
    b"x-compute-request-id: %b\r\n"
) % REQUEST_ID
# What a service's answers have besides, by how its paths begin.
HEADS = {
    "volume": (
        b"OpenStack-API-Version: volume 3.0\r\nVary: OpenStack-API-Version\r\nx-compute-request-id: %b\r\n"
    )
    % REQUEST_ID,
    "network": b"",
    "image": b"",
}
REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found"}


def _head(answer: Answer) -> bytes:
    # Glance's faults are plain text; the others' are not.
    plain = answer.service == "image" and answer.status != 200
    return (
        b"HTTP/1.1 %d %b\r\nContent-Length: %d\r\nContent-Type: %b\r\n%bx-openstack-request-id: %b\r\n"
        b"Date: Fri, 20 Nov 2026 10:00:00 GMT\r\nConnection: keep-alive\r\n\r\n"
    ) % (
        answer.status,
        REASONS[answer.status],
        len(answer.body),
        b"text/plain; charset=UTF-8" if plain else b"application/json",
        HEADS.get(answer.service, COMPUTE_HEAD),
        REQUEST_ID,
    )


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
