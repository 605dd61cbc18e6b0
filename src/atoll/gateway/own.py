"""Atoll's own paths.

GET /                         what is served here
GET /healthz                  this process answers
GET /readyz                   it can serve: the store is open and a site answers
GET /metrics                  Prometheus
GET /atoll/v1/sites[/{name}]  the sites, with state, health and versions
GET /atoll/v1/zones           the availability zones
GET /atoll/v1/locations/{id}  where a resource is (admins; others see their own)
"""

from collections.abc import Sequence

import msgspec

from atoll.core.errors import Forbidden, MethodNotAllowed, NotFound
from atoll.gateway.call import Call
from atoll.gateway.keystone import endpoint_url
from atoll.gateway.parts import Parts
from atoll.services.catalog import HOMES
from atoll.sites.site import Site
from atoll.store import StoreError

JSON = b"Content-Type: application/json\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
METRICS = b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"


class Own:
    """Answers what is neither of a service nor of a site."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.draining = False

    async def handle(self, call: Call, segments: Sequence[bytes]) -> None:
        """Answer one of Atoll's own paths."""
        if call.request.method not in {b"GET", b"HEAD"}:
            raise MethodNotAllowed(f"{call.request.method.decode('latin-1')} is not known here.")
        match [part for part in segments if part]:
            case []:
                self._index(call)
            case [b"healthz"]:
                call.reply.send(200, [TEXT], b"ok\n")
            case [b"readyz"]:
                await self._ready(call)
            case [b"metrics"]:
                call.reply.send(200, [METRICS], self._parts.telemetry.metrics())
            case [b"atoll", b"v1", *rest]:
                await self._api(call, rest)
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
            await self._parts.store.count_by_site("server")
        except StoreError as error:
            reasons.append(f"the store does not answer ({error})")
        if not any(site.healthy(name) for site in self._parts.sites for name in site.endpoints):
            reasons.append("no site answers")
        if reasons:
            call.reply.send(503, [TEXT], ("; ".join(reasons) + "\n").encode())
        else:
            call.reply.send(200, [TEXT], b"ready\n")

    async def _api(self, call: Call, rest: Sequence[bytes]) -> None:
        parts = self._parts
        call.caller = await parts.tokens.caller(call.request.index.get(b"x-auth-token"))
        match rest:
            case [b"sites", *_] if not call.caller.is_admin:
                raise Forbidden("Only administrators see the sites.")
            case [b"sites"]:
                content: object = {"sites": [describe(site) for site in parts.sites]}
            case [b"sites", name]:
                site = parts.sites.by_name.get(name.decode("latin-1"))
                if site is None:
                    raise NotFound(f"There is no site {name.decode('latin-1')}.", resource="site")
                content = {"site": describe(site)}
            case [b"zones"]:
                content = {
                    "zones": [
                        {"name": zone, "site": site.name, "zone": here}
                        for site in parts.sites
                        for zone, here in site.zones.items()
                    ]
                }
            case [b"locations", ident]:
                content = {"locations": await self._locations(call, ident.decode("latin-1"))}
            case _:
                raise NotFound("Nothing is served under this path.")
        call.reply.send(200, [JSON], msgspec.json.encode(content))

    async def _locations(self, call: Call, ident: str) -> list[dict[str, object]]:
        found = [await self._parts.store.locate(resource, ident) for resource in HOMES]
        rows = [row for row in found if row is not None]
        if not call.caller.is_admin:
            if any(row.project_id != call.caller.project_id for row in rows):
                raise Forbidden("Only administrators see where other projects' resources are.")
            rows = [row for row in rows if row.project_id == call.caller.project_id]
        return [msgspec.to_builtins(row) for row in rows]


def describe(site: Site) -> dict[str, object]:
    """A site as the API shows it."""
    return {
        "name": site.name,
        "number": site.number,
        "region": site.region,
        "state": site.state,
        "zones": sorted(site.zones),
        "endpoints": {
            name: {
                "url": endpoint.url,
                "healthy": endpoint.origin.breaker.closed,
                "reason": endpoint.origin.breaker.reason,
                "versions": None
                if endpoint.versions is None
                else [f"{major}.{minor}" for major, minor in endpoint.versions],
            }
            for name, endpoint in site.endpoints.items()
        },
    }
