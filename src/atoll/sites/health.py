"""Looking at sites without being asked: do they answer, and which versions do they speak."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import replace

import structlog

from atoll.core.errors import AtollError
from atoll.core.jitter import JITTER
from atoll.core.microversions import Range, Version, intersection
from atoll.sites.site import Endpoint, Sites, root_of
from atoll.wire.body import BodyTooLarge
from atoll.wire.client import Broken

log = structlog.get_logger()

# Where a service tells its versions without a token, below the endpoint's root.
DOCUMENTS = {
    "compute": b"/v2.1/",
    "block-storage": b"/",
    "image": b"/versions",
    "network": b"/",
    "placement": b"/",
}
INTERVAL = 15.0
PROBE_SECONDS = 5.0
# Probes under way at once: a thousand sites are looked at without a burst.
AT_ONCE = 50
DOCUMENT_LIMIT = 256 * 1024

_MAXIMUM = re.compile(rb'"(?:max_)?version":\s*"(\d+)\.(\d+)"')
_MINIMUM = re.compile(rb'"min_version":\s*"(\d+)\.(\d+)"')
_SELF = re.compile(rb'"href":\s*"(https?://[^"/]+[^"]*/)v\d')


class Health:
    """Probes every endpoint of every site, for as long as it runs."""

    def __init__(self, sites: Sites, changed: Callable[[], None] = lambda: None) -> None:
        self._sites = sites
        self._changed = changed
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Probe for ever, at once and then each interval, each endpoint at a moment of its own."""
        while True:
            self._wake.clear()
            await self.probe_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL * JITTER.uniform(0.8, 1.2)):
                    await self._wake.wait()

    def look(self) -> None:
        """Probe now: there may be sites that were not there before."""
        self._wake.set()

    async def probe_all(self) -> None:
        """Probe each endpoint once."""
        endpoints = [endpoint for site in self._sites for endpoint in site.endpoints.values()]
        await asyncio.gather(*(self._probe(endpoint) for endpoint in endpoints))
        self._set_latest()

    async def _probe(self, endpoint: Endpoint) -> None:
        path = DOCUMENTS.get(endpoint.service_type)
        if path is None:
            return
        async with self._at_once:
            loop = asyncio.get_running_loop()
            head = b"GET %b%b%bAccept: application/json\r\n\r\n" % (endpoint.root, path, endpoint.head_end)
            with contextlib.suppress(AtollError, Broken, BodyTooLarge):
                response = await endpoint.origin.exchange(b"GET", head, deadline=loop.time() + PROBE_SECONDS)
                text = await response.body.read_all(DOCUMENT_LIMIT)
                if response.status in {200, 300}:
                    learn(endpoint, text)
            endpoint.learnt.looked_at = True

    def _set_latest(self) -> None:
        for service_type in DOCUMENTS:
            ranges = []
            endpoints = []
            for site in self._sites.with_service(service_type):
                endpoint = site.endpoints[service_type]
                endpoints.append(endpoint)
                if site.accepts_creates and endpoint.versions is not None:
                    low, high = endpoint.versions
                    ranges.append(Range(Version(*low), Version(*high)))
            shared = intersection(ranges)
            for endpoint in endpoints:
                endpoint.learnt.latest = (
                    (shared.maximum.major, shared.maximum.minor) if shared is not None else None
                )
        self._changed()


def learn(endpoint: Endpoint, text: bytes) -> None:
    """Take the range of microversions, and how the site writes its own URL, from a version document."""
    maximum, minimum = _MAXIMUM.search(text), _MINIMUM.search(text)
    if maximum is not None and minimum is not None:
        found = (
            (int(minimum.group(1)), int(minimum.group(2))),
            (int(maximum.group(1)), int(maximum.group(2))),
        )
        if endpoint.versions != found:
            log.info(
                "site_versions",
                site=endpoint.site,
                service=endpoint.service_type,
                versions=[f"{major}.{minor}" for major, minor in found],
            )
            endpoint.learnt.contradiction = ""
        endpoint.learnt.versions = found
    for found_url in _SELF.finditer(text):
        base = root_of(found_url.group(1).decode("latin-1")).encode()
        known = {theirs for theirs, _ in endpoint.links.bases}
        ours = endpoint.links.bases[0][1]
        # A site behind a proxy of its own names itself by another URL than it is reached by.
        if base not in known and b"docs.openstack.org" not in base:
            endpoint.learnt.links = replace(endpoint.links, bases=(*endpoint.links.bases, (base, ours)))


def contradicted(endpoint: Endpoint, asked: Version) -> None:
    """Take in that a site answered 406 to a version; written down where it had said that it has it."""
    if endpoint.versions is None or endpoint.learnt.contradiction:
        return
    low, high = (Version(*one) for one in endpoint.versions)
    if low <= asked <= high:
        text = f"it says that it has {low} to {high} and answers 406 at {asked}"
        endpoint.learnt.contradiction = text
        log.warning("site_contradicts", site=endpoint.site, service=endpoint.service_type, reason=text)
