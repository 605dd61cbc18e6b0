"""What is written down about requests: an access line in and out, counters, nothing secret.

On the request path, so it is lean: lines are encoded by msgspec into a buffer that is flushed a few times a
second. Bodies, tokens and query values are never in a line.
"""

import asyncio
import itertools
import math
import operator
import os
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import structlog
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from atoll.core.access_log import LONGEST_ID, PLAIN, REQUEST, SITE, RequestLine, SiteLine, request_id_of
from atoll.core.errors import AtollError, BadSiteAnswer, Internal
from atoll.gateway.call import Call, Caller
from atoll.gateway.tallies import Board, Key, Tallies, Values
from atoll.sites.site import Endpoint, Sites
from atoll.wire.client import Broken
from atoll.wire.message import Response

FLUSH_SECONDS = 0.2
FLUSH_BYTES = 64 * 1024
BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# A histogram: how many in each bucket and above the last, and the sum of seconds.
SECONDS = len(BUCKETS) + 1
HISTOGRAM = SECONDS + 1

# Gauges, by kind: what stands for several workers. A site is up where each of them finds it so.
GAUGES: dict[str, Callable[[float, float], float]] = {
    "up": min,
    "connections": operator.add,
    "versions": max,
    "findings": max,
    "state": max,
    "memory": operator.add,
}

# A message with many sites in it is as long as a list of sites (characters).
LONGEST_MESSAGE = 1000

log = structlog.get_logger()


@dataclass(slots=True)
class Sent:
    """A request to a site, with what is said of it at its end. `started` is loop time."""

    method: bytes
    path: bytes
    started: float
    why: str = ""
    response: Response | None = None
    repeated: bool = False


class Way:
    """What of the access log and the counters follows from the path of a GET alone.

    `path` (the client's) and `below` (the site's) are what stands in a line between request id and status.
    """

    __slots__ = ("below", "histograms", "path", "service", "template")

    def __init__(self, service: str, template: str, path: bytes, below: bytes) -> None:
        self.service = service
        self.template = template
        self.path, self.below = (
            b'","service":%b,"method":"GET","path":%b,"status":'
            % (msgspec.json.encode(service), msgspec.json.encode(one.decode("latin-1")))
            for one in (path, below)
        )
        self.histograms: dict[tuple[str, int], Values] = {}


class Telemetry:
    """The access log of one process, and the counters of all. `now` is the clock of the event loop."""

    def __init__(
        self, access_log: str = "stdout", *, sites: Sites | None = None, tallies: Tallies | None = None
    ) -> None:
        self.now: Callable[[], float] = time.monotonic
        self._encode = msgspec.json.Encoder().encode_into
        self._buffer = bytearray()
        self._path = None if access_log in {"none", "stdout"} else Path(access_log)
        self._out = _open(access_log)
        self._timer: asyncio.TimerHandle | None = None
        self._tallies = tallies or Board().tallies(0)
        self._stamped, self._stamp = 0.0, b""
        self._sites = sites
        self._resident = Path("/proc/self/statm")

    # -- on the request path ----------------------------------------------------------------------

    def site_answered(self, call: Call, endpoint: Endpoint, sent: Sent) -> None:
        """Write down one call out; status 0 stands for no answer."""
        took = self.now() - sent.started
        status = sent.response.status if sent.response is not None else 0
        self._add(("site_request", endpoint.site, endpoint.service_type, str(status)), took)
        self._site_line(call.id, endpoint, sent, took)

    def lost(self, request_id: str, endpoint: Endpoint, sent: Sent) -> None:
        """Write down a request that was lost with a dead connection and goes out again: it counts once."""
        sent.repeated = True
        self._site_line(request_id, endpoint, sent, self.now() - sent.started)

    def _site_line(self, request_id: str, endpoint: Endpoint, sent: Sent, took: float) -> None:
        if self._out is None:
            return
        response = sent.response
        self._write(
            SiteLine(
                time.time(),
                SITE,
                request_id,
                endpoint.service_type,
                sent.method.decode(),
                sent.path.decode("latin-1"),
                response.status if response is not None else 0,
                round(took * 1000, 2),
                endpoint.site,
                request_id_of(response.index.get(b"x-openstack-request-id", b"")) if response else "",
                sent.why,
                sent.repeated,
            )
        )

    def answered(self, call: Call) -> None:
        """Write down one request at its end."""
        request, reply = call.request, call.reply
        took = self.now() - request.started
        route = call.match.route
        service = call.service_type
        method = request.method.decode()
        template = route.template if route is not None else ""
        self._add(("request", service, template, method, str(reply.status)), took)
        if self._out is not None:
            caller = call.caller
            fault, message = _told(call.error)
            self._write(
                RequestLine(
                    time.time(),
                    REQUEST,
                    call.id,
                    service,
                    method,
                    request.path.decode("latin-1"),
                    reply.status,
                    round(took * 1000, 2),
                    caller.project_id,
                    caller.user_id,
                    request.peer,
                    call.sites,
                    call.reasons,
                    call.missing,
                    call.token_ms,
                    fault,
                    message,
                    reply.sent,
                )
            )

    def lane_answered(  # noqa: PLR0913, PLR0917 - an object to hold them would cost as much as the line
        self,
        way: Way,
        request_id: bytes,
        endpoint: Endpoint,
        caller: Caller,
        peer: bytes,
        response: Response,
        started: float,
        sent: int,
    ) -> None:
        """`site_answered` and `answered` of a request that took the lane, in one."""
        now = self.now()
        took = now - started
        status = response.status
        histogram = way.histograms.get((endpoint.site, status))
        if histogram is None:
            key = ("lane", way.service, way.template, str(status), endpoint.site)
            histogram = way.histograms[endpoint.site, status] = self._tallies.series(key, HISTOGRAM)
        histogram[bisect_left(BUCKETS, took)] += 1
        histogram[SECONDS] += took
        if self._out is None:
            return
        if now != self._stamped:
            self._stamped, self._stamp = now, b"%.6f" % time.time()
        stamp, site = self._stamp, endpoint.logged
        end = b'%d,"ms":%.2f' % (status, took * 1000)
        there = response.value(b"x-openstack-request-id").translate(PLAIN)[:LONGEST_ID]
        # Both lines as they would be encoded: the request path has no time to build two of them.
        self._buffer += b"".join((
            b'{"time":', stamp, b',"event":"site_answered","request_id":"', request_id, way.below, end,
            b',"site":', site, b',"site_request_id":"', there,
            b'"}\n{"time":', stamp, b',"event":"request_answered","request_id":"', request_id, way.path, end,
            b",", caller.logged, b',"client":"', peer, b'","sites":[', site, b'],"bytes":%d}\n' % sent,
        ))  # fmt: skip
        if self._timer is None or len(self._buffer) > FLUSH_BYTES:
            self._written()

    def _write(self, line: SiteLine | RequestLine) -> None:
        self._encode(line, self._buffer, -1)
        self._buffer += b"\n"
        self._written()

    def _written(self) -> None:
        buffer = self._buffer
        if len(buffer) > FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._buffer and self._out is not None:
            self._reopen()
            self._out.write(self._buffer)
            self._out.flush()
            self._buffer = bytearray()

    def close(self) -> None:
        """Write out what is buffered and close a log file."""
        self.flush()
        if self._out is not None and self._out is not sys.stdout.buffer:
            self._out.close()
        self._out = None

    def _reopen(self) -> None:
        """Go on in a new file where the old one was renamed: how logs are rotated."""
        if self._path is None or self._out is None:
            return
        try:
            same = self._path.stat().st_ino == os.fstat(self._out.fileno()).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            self._out.close()
            self._out = self._path.open("ab")

    def count(self, what: str, label: str = "", *, events: int = 1) -> None:
        """Count an event: a cache hit, a search, a refused request."""
        self._tallies.series(("event", what, label))[0] += events

    def _add(self, key: Key, seconds: float) -> None:
        histogram = self._tallies.series(key, HISTOGRAM)
        histogram[bisect_left(BUCKETS, seconds)] += 1
        histogram[SECONDS] += seconds

    # -- metrics ----------------------------------------------------------------------------------

    def metrics(self) -> bytes:
        """What all workers counted, in Prometheus' text format."""
        self.publish()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def publish(self) -> None:
        """Show the other workers how things stand here."""
        up: dict[Key, float] = {}
        connections: dict[Key, float] = {}
        versions: dict[Key, float] = {}
        for site in self._sites or ():
            for service, endpoint in site.endpoints.items():
                if endpoint.versions is not None:
                    least, most = (f"{major}.{minor}" for major, minor in endpoint.versions)
                    versions[site.name, service, least, most] = 1.0
                up[site.name, service] = float(endpoint.origin.breaker.closed)
                for state, count in zip(("busy", "idle", "waiting"), endpoint.origin.counts(), strict=True):
                    connections[site.name, service, state] = float(count)
        self._tallies.gauge("findings", {(site.name,): float(site.findings) for site in self._sites or ()})
        self._tallies.gauge("state", {(site.name, site.state): 1.0 for site in self._sites or ()})
        self._tallies.gauge("up", up)
        self._tallies.gauge("connections", connections)
        self._tallies.gauge("versions", versions)
        if self._resident.exists():
            pages = int(self._resident.read_text().split()[1])
            self._tallies.gauge("memory", {(): float(pages * os.sysconf("SC_PAGE_SIZE"))})

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        kinds = _together(self._tallies.of_all())
        requests = HistogramMetricFamily(
            "atoll_request_duration_seconds",
            "Requests answered, by route.",
            labels=["service", "route", "method", "status"],
        )
        for labels, one in kinds["request"].items():
            requests.add_metric(labels, _cumulated(one), one[SECONDS])
        yield requests
        out = HistogramMetricFamily(
            "atoll_site_request_duration_seconds",
            "Requests sent to sites; status 0 is no answer.",
            labels=["site", "service", "status"],
        )
        for labels, one in kinds["site_request"].items():
            out.add_metric(labels, _cumulated(one), one[SECONDS])
        yield out
        events = CounterMetricFamily(
            "atoll_events", "Things that happened inside.", labels=["event", "label"]
        )
        for labels, one in kinds["event"].items():
            events.add_metric(labels, one[0])
        yield events
        yield from _gauges(kinds)


def _gauges(kinds: Mapping[str, Mapping[Key, list[float]]]) -> Iterator[GaugeMetricFamily]:
    up = GaugeMetricFamily(
        "atoll_site_up", "Whether the service of a site answers.", labels=["site", "service"]
    )
    connections = GaugeMetricFamily(
        "atoll_site_connections", "Connections to a site.", labels=["site", "service", "state"]
    )
    versions = GaugeMetricFamily(
        "atoll_site_versions",
        "The microversions a site said it has.",
        labels=["site", "service", "least", "most"],
    )
    memory = GaugeMetricFamily("atoll_resident_memory_bytes", "Resident memory of the workers.", labels=[])
    findings = GaugeMetricFamily(
        "atoll_site_findings", "What the last check of a site found.", labels=["site"]
    )
    state = GaugeMetricFamily("atoll_site_state", "The operator's state of a site.", labels=["site", "state"])
    for kind, family in (
        ("findings", findings),
        ("state", state),
        ("up", up),
        ("connections", connections),
        ("versions", versions),
        ("memory", memory),
    ):
        for labels, one in kinds[kind].items():
            family.add_metric(labels, one[0])
    yield up
    yield connections
    for family in (findings, state, versions, memory):
        if family.samples:
            yield family


def _together(series: Iterable[tuple[Key, Values]]) -> dict[str, dict[Key, list[float]]]:
    """The series of all workers in one, by kind and labels."""
    kinds: dict[str, dict[Key, list[float]]] = {
        kind: {} for kind in ("request", "site_request", "event", *GAUGES)
    }
    for (kind, *labels), values in series:
        keys = [(kind, tuple(labels))]
        if kind == "lane":
            # One count stands for the request and for what was sent to the site.
            service, template, status, site = labels
            keys = [
                ("request", (service, template, "GET", status)),
                ("site_request", (site, service, status)),
            ]
        combine = GAUGES.get(kind, operator.add)
        for family, key in keys:
            before = kinds[family].get(key)
            if not math.isnan(values[0]):
                kinds[family][key] = list(values if before is None else map(combine, before, values))
    return kinds


def _told(error: Exception | None) -> tuple[str, str]:
    """(kind, message) of what Atoll answers itself."""
    if error is None:
        return "", ""
    if isinstance(error, AtollError):
        return error.kind, str(error)[:LONGEST_MESSAGE] if error.safe else ""
    if isinstance(error, Broken):
        return BadSiteAnswer.kind, str(error)
    # What is no error of ours is a bug; its traceback is in the log.
    return Internal.kind, ""


def _cumulated(one: list[float]) -> list[tuple[str, float]]:
    bounds = (*map(str, BUCKETS), "+Inf")
    return list(zip(bounds, itertools.accumulate(one[:SECONDS]), strict=True))


def _open(access_log: str) -> IO[bytes] | None:
    if access_log == "none":
        return None
    if access_log == "stdout":
        return sys.stdout.buffer
    return Path(access_log).open("ab")
