"""Atoll's own paths.

GET /                 what is served here
GET /healthz          this process answers
GET /readyz           it can serve: the store is open and a site answers
GET /metrics          Prometheus
*   /atoll/v1/…       Atoll's own API: the lines of `own_table`
GET /atoll/v1/openapi.json  what they are
"""

import contextlib
import functools
from collections.abc import Sequence
from importlib import metadata
from typing import Final

import msgspec

from atoll.core import access_rules
from atoll.core.errors import MethodNotAllowed, NotFound, TooManyRequests, Unauthorized
from atoll.gateway.call import Call
from atoll.gateway.catalog import endpoint_url
from atoll.gateway.own_openapi import PREFIX, document
from atoll.gateway.own_route import Route, Stream
from atoll.gateway.own_table import ROUTES
from atoll.gateway.parts import Parts
from atoll.store import StoreError

READS = frozenset({b"GET", b"HEAD"})
JSON = b"Content-Type: application/json\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
EVENTS = b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\n"
METRICS = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"

STREAMS: Final = 256
"""Answers of this process that go on at a time: each asks the store a few times a second."""


class Own:
    """Answers what is neither of a service nor of a site."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._streams = 0

    async def handle(self, call: Call, segments: Sequence[bytes]) -> None:
        """Answer one of Atoll's own paths."""
        parts = [part for part in segments if part]
        if parts[:2] == [b"atoll", b"v1"]:
            await self._api(call, call.request.path.removeprefix(PREFIX.encode()).rstrip(b"/"))
            return
        if call.request.method not in READS:
            raise MethodNotAllowed(f"{call.request.method.decode('latin-1')} is not known here.")
        match parts:
            case []:
                self._index(call)
            case [b"healthz"]:
                call.reply.send(200, [TEXT], b"ok\n")
            case [b"readyz"]:
                await self._ready(call)
            case [b"metrics"]:
                call.reply.send(200, [METRICS], self._parts.telemetry.metrics())
            case _:
                raise NotFound("Nothing is served under this path.")

    def _index(self, call: Call) -> None:
        services = {service for site in self._parts.sites for service in site.endpoints}
        content = {
            "atoll": {
                "region": self._parts.region,
                "endpoints": {
                    name: endpoint_url(self._parts.public_url, name)
                    for name in ("identity", *sorted(services))
                },
            }
        }
        call.reply.send(200, [JSON], msgspec.json.format(msgspec.json.encode(content)) + b"\n")

    async def _ready(self, call: Call) -> None:
        reasons = []
        try:
            await self._parts.store.is_empty()
        except StoreError as error:
            reasons.append(f"the store does not answer ({error})")
        if not any(site.healthy(name) for site in self._parts.sites for name in site.endpoints):
            reasons.append("no site answers")
        if reasons:
            call.reply.send(503, [TEXT], ("; ".join(reasons) + "\n").encode())
        else:
            call.reply.send(200, [TEXT], ("; ".join(["ready", *self._remarks()]) + "\n").encode())

    def _remarks(self) -> list[str]:
        """What is amiss, and keeps nothing from being served."""
        group = self._parts.group
        seen = group.seen() if group is not None else None
        if seen is None or seen.members is not None:
            return []
        return [f"the coordinator of workers does not answer ({seen.reason})"]

    async def _api(self, call: Call, path: bytes) -> None:
        """Find the line of the table, let it check what comes in, and send what its handler gives."""
        if path == b"/openapi.json" and call.request.method in READS:
            call.reply.send(200, [JSON], _openapi())
            return
        call.caller = await self._parts.tokens.caller(call.request.index.get(b"x-auth-token"))
        method = call.request.method.decode("latin-1")
        rules = call.caller.rules
        below = f"/v1{path.decode('latin-1')}"
        if rules is not None and not access_rules.allowed(rules, ("atoll",), method, below):
            raise Unauthorized("The access rules of this application credential do not allow that.")
        there: dict[str, tuple[Route, tuple[str, ...]]] = {}
        for route in ROUTES:
            if (names := route.names(path)) is not None:
                # The first line: a path that is spelt out stands before one with a name in its place.
                there.setdefault(route.method, (route, names))
        if not there:
            raise NotFound("Nothing is served under this path.")
        found = there.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = ", ".join(there)
            raise MethodNotAllowed(
                f"{method} is not known here: there is {allowed}.", headers=[("Allow", allowed)]
            )
        route, names = found
        content = await route.answered(self._parts, call, names)
        if content is None:
            call.reply.send(204, [], b"")
        elif isinstance(content, Stream):
            await self._stream(call, content)
        else:
            call.reply.send(route.status, [JSON, *call.extra_lines], msgspec.json.encode(content))

    async def _stream(self, call: Call, stream: Stream) -> None:
        """Send what goes on until it ends. Raises TooManyRequests, ClientGone."""
        async with contextlib.aclosing(stream.parts) as parts:
            if call.request.method == b"HEAD":
                call.reply.send_head(200, [EVENTS], None)
                return
            if self._streams >= STREAMS:
                raise TooManyRequests("Too many follow something here: ask again later.", retry_after=5)
            self._streams += 1
            try:
                call.reply.start(200, [EVENTS], None)
                async for part in parts:
                    await call.reply.write(part)
                call.reply.finish()
            finally:
                self._streams -= 1


@functools.cache
def _openapi() -> bytes:
    return msgspec.json.encode(document(ROUTES, metadata.version("atoll")))
