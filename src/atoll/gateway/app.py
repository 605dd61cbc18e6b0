"""The way of a request, top to bottom: accept, authenticate, match, hand to the kind of its route, answer.

    /{service}/{version}[/{project}]/…   an OpenStack service
    /{service}[@{site}]/…                any other service of the sites
    /atoll/v1/…                          Atoll's own API
    /healthz /readyz /metrics /          for operators

Middleware there is none: what is true of every request stands in `handle`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog

from atoll.core.errors import AtollError, BadRequest, Forbidden, NotFound, SiteUnavailable, Unauthorized
from atoll.gateway import other_project, policy, versions
from atoll.gateway.alias_routes import AliasRoutes
from atoll.gateway.aliases import AliasLearnt
from atoll.gateway.auto_topology import AutoTopology
from atoll.gateway.built_in import BuiltIn, LocalTokens
from atoll.gateway.call import Call, new_request_id
from atoll.gateway.common import Common
from atoll.gateway.discovery import Discovery
from atoll.gateway.each import Each
from atoll.gateway.events import Events
from atoll.gateway.faults import fault
from atoll.gateway.group_rules import GroupRules
from atoll.gateway.keystone import Keystone
from atoll.gateway.lists import Lists
from atoll.gateway.other import Other
from atoll.gateway.own import Own
from atoll.gateway.parts import Parts
from atoll.gateway.per_site import PerSite
from atoll.gateway.placed import Placed
from atoll.gateway.settings_alike import SettingsAlike
from atoll.gateway.shared import Shared
from atoll.gateway.summed import Summed
from atoll.gateway.zones import Zones
from atoll.services.catalog import SERVICES
from atoll.services.table import Kind, Match, Route, Service, Shape
from atoll.sites.site import Site
from atoll.wire.client import Broken
from atoll.wire.message import ProtocolRefused, Request
from atoll.wire.server import ClientGone, Reply

log = structlog.get_logger()

Handle = Callable[[Call], Awaitable[None]]

IDENTITY = "identity"
# What is one character whether it is encoded or not (RFC 3986 6.2.2.2); to the services the slash is too.
_ENCODED = re.compile(rb"%(2[DEFdef]|3[0-9]|4[1-9A-Fa-f]|5[0-9AFaf]|6[1-9A-Fa-f]|7[0-9AEae])")
_ROUNDABOUT = re.compile(rb"//|/\.{1,2}(?:/|$)|" + _ENCODED.pattern)
# What is no character, and those that a service may take a path to end before.
_NO_PATH = re.compile(rb"%(?:[01][0-9A-Fa-f]|7[Ff]|(?![0-9A-Fa-f]{2}))")
_READS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
# Kinds of which one site is asked by id, whatever the method.
AT_ONE_SITE = frozenset({Kind.PLACED, Kind.SHARED, Kind.ANY_SITE})


class App:
    """Answers requests; one for each process."""

    def __init__(self, parts: Parts, *, deadline_seconds: float) -> None:
        self._parts = parts
        self._telemetry = parts.telemetry
        self._tokens = parts.tokens
        self.deadline = deadline_seconds
        self._services: dict[bytes, Service] = {}
        self._catalog: list[str] = []
        self.serve_what_is_there()
        self._loop = asyncio.get_running_loop()
        self._telemetry.now = self._loop.time
        self._own = Own(parts)
        self._aliases = AliasRoutes(parts)
        self._discovery = Discovery(parts)
        placed = Placed(parts)
        shared = Shared(parts, placed)
        lists = Lists(parts)
        per_site = PerSite(parts, lists)
        summed = Summed(parts)
        group_rules = GroupRules(parts, placed)
        zones = Zones(parts)
        self._other = Other(parts, placed, self._discovery, self._authenticate)
        identity, with_catalog = _identity(parts, self._catalog)
        # The whole dispatch: what a route's kind and shape lead to.
        self._handlers: dict[tuple[Kind, Shape], Handle] = {
            (Kind.PLACED, Shape.BY_ID): placed.by_id,
            (Kind.PLACED, Shape.CREATE): placed.create,
            (Kind.PLACED, Shape.LIST): partial(group_rules.listed, lists.handle),
            (Kind.GROUP_RULES, Shape.CREATE): group_rules.create,
            (Kind.GROUP_RULES, Shape.BY_ID): group_rules.delete,
            (Kind.SHARED, Shape.BY_ID): shared.by_id,
            (Kind.SHARED, Shape.CREATE): shared.create,
            (Kind.SHARED, Shape.LIST): lists.handle,
            **{(Kind.SUMMED, shape): summed.handle for shape in Shape},
            **{(Kind.PER_SITE, shape): per_site.handle for shape in Shape},
            **{(Kind.TOPOLOGY, shape): AutoTopology(parts).handle for shape in Shape},
            **{(Kind.EACH, shape): Each(parts).handle for shape in Shape},
            **{(Kind.SETTING, shape): SettingsAlike(parts).handle for shape in Shape},
            **{(Kind.ANY_SITE, shape): self._any_site for shape in Shape},
            **{(Kind.COMMON, shape): Common(parts).handle for shape in Shape},
            **{(Kind.ZONES, shape): zones.handle for shape in Shape},
            **{(Kind.EVENTS, shape): Events(parts).handle for shape in Shape},
            **{(Kind.IDENTITY, shape): identity for shape in Shape},
            **{(Kind.CATALOG, shape): with_catalog for shape in Shape},
        }

    def serve_what_is_there(self) -> None:
        """Serve, and have in the catalogue, the services that some site has."""
        there = self._parts.sites.with_service
        names = [name for name in SERVICES if name == IDENTITY or there(name)]
        self._services = {name.encode(): SERVICES[name] for name in names if not SERVICES[name].other}
        self._catalog[:] = names

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request, whatever happens."""
        # The lane has named what it could not answer.
        ident = request.id or given_id(request.index) or new_request_id()
        await self.answer(Call(request, reply, ident, request.started + self.deadline))

    async def answer(self, call: Call) -> None:
        """Answer a call, whatever happens."""
        await self.finish(call, self._route(call))

    def matched(self, target: bytes) -> tuple[Service, str | None, Match] | None:
        """(service, the project in the path, route) of a plain path; None where it is none of a service's."""
        segments = target.split(b"/")
        service = self._services.get(segments[1])
        if service is None or len(segments) < 5 or service.service_type == IDENTITY:
            return None
        if segments[2].decode() not in service.versions:
            return None
        project, tail = _project_in(service, segments[3:])
        return service, project, service.match(b"GET", tail)

    async def finish(self, call: Call, work: Awaitable[None]) -> None:
        """Do what answers a call, and make a fault of whatever goes wrong."""
        try:
            await work
        except (ClientGone, asyncio.CancelledError):
            self._telemetry.count("client_gone", call.service_type)
            if not call.reply.started:
                call.reply.status = 499
            raise
        except Exception as error:  # noqa: BLE001 - the last net: every error becomes a fault
            self.fail(call, error)
        finally:
            self._telemetry.answered(call)
            self._parts.audit.answered(call)

    async def _route(self, call: Call) -> None:
        request = call.request
        segments = request.path.split(b"/")
        service = self._services.get(segments[1])
        if service is None:
            if (other := self._other.service(segments[1])) is not None:
                await self._other.handle(call, other, segments)
            else:
                await self._own.handle(call, segments)
            return
        call.service = service
        call.path = request.path[len(segments[1]) + 1 :] or b"/"
        if service.service_type == IDENTITY:
            await self._dispatch(call, service, None, [_decoded(one) for one in segments[3:]])
            return
        if _NO_PATH.search(call.path):
            raise BadRequest("A path holds no control characters, and a % only before two digits.")
        odd = False
        if _ROUNDABOUT.search(call.path):
            odd = policy.odd(call)
            segments = _straight(call, segments)
        version, tail = segments[2] if len(segments) > 2 else b"", segments[3:]
        if version.decode("latin-1") not in service.versions or not any(tail):
            if any(tail) or (odd and version.decode("latin-1") not in {"", *service.versions}):
                raise NotFound("There is nothing at that path: it names no version of the service.")
            self._of_versions(call)
            await self._discovery.handle(call)
            return
        await self._authenticate(call, service, odd=odd)
        project, tail = _project_in(service, tail)
        await self._dispatch(call, service, project, tail)

    @staticmethod
    def _of_versions(call: Call) -> None:
        """Refuse what a site could take for more than a question for its versions. Raises NotFound.

        Glance takes an `Accept` for a version.
        """
        request = call.request
        accepts = request.index.get(b"accept", b"")
        if request.method not in _READS or request.has_body or b"images-v" in accepts:
            raise NotFound("There is nothing at that path but the versions of the service, to be read.")

    async def _authenticate(self, call: Call, service: Service, *, odd: bool = False) -> None:
        """Find out who asks, before anything else is done; `odd` says how the path was written.

        Raises Unauthorized, Forbidden.
        """
        request = call.request
        caller = self._tokens.known(request.index.get(b"x-auth-token", b""), request.started)
        if caller is None:
            try:
                caller = await self._tokens.caller(request.index.get(b"x-auth-token"))
            finally:
                call.token_ms = round((self._loop.time() - request.started) * 1000, 2)
        call.caller = caller
        if caller.system:
            raise Forbidden("A system-scoped token is for Atoll's own API only.")
        permitted = call.permits(service, request.method.decode("latin-1"), call.path.decode("latin-1"))
        # A rule for a path is none for another one that a site may take it for.
        if not permitted or (caller.rules is not None and (odd or policy.odd(call))):
            raise Unauthorized("The access rules of this application credential do not allow that.")

    async def _dispatch(self, call: Call, service: Service, project: str | None, tail: list[bytes]) -> None:
        """Match the path below version and project, and hand the call to the kind of its route."""
        call.match = service.match(call.request.method, tail)
        route = call.match.route
        sites = self._parts.reach.sites(call) or self._parts.reach.administered(call)
        self._somewhere(call, sites)
        if route is None or self._as_a_site_says(call, service, route, tail):
            await policy.check(self._parts, call, route)
            await self._any_site(call)
            return
        versions.check(call, route, sites)
        if project not in {None, call.caller.project_id}:
            raise await other_project.refusal(call, project or "", sites, body_limit=self._parts.body_limit)
        call.asked_query = call.request.query
        while True:
            call.servers = self._parts.aliases.now
            if call.servers.known and await self._aliases.settled(call):
                return
            try:
                await policy.check(self._parts, call, route)
                self._somewhere(call, self._parts.reach.sites(call))
                await self._handlers[route.kind, route.shape](call)
            except AliasLearnt:
                call.learnt += (
                    1  # what is meant has another id at a site than was thought: it is settled anew
                )
                continue
            return

    def _somewhere(self, call: Call, sites: Sequence[Site]) -> None:
        """Refuse a caller who is nobody at all sites. Raises Forbidden."""
        if not sites and call.service_type != IDENTITY:
            for site in self._parts.sites.with_service(call.service_type):
                if why := self._parts.reach.why_not(call, site):
                    raise Forbidden(
                        f"The site {site.name} has nothing for this caller: {why}", site=site.name
                    )
            raise Forbidden(
                f"This project has no credential at any site with the service {call.service_type}. "
                "`atoll credential add` gives it one."
            )

    @staticmethod
    def _as_a_site_says(call: Call, service: Service, route: Route, tail: list[bytes]) -> bool:
        """A HEAD of what is not at one site, or a trailing slash where the service knows none.

        Each has its own answer.
        """
        if service.service_type == IDENTITY or (route.shape is Shape.BY_ID and route.kind in AT_ONE_SITE):
            return False
        slash = route.shape is Shape.LIST and not tail[-1] and service.service_type != "network"
        return call.request.method == b"HEAD" or slash

    async def _any_site(self, call: Call) -> None:
        """What every site answers alike, and routes in no table: the first site that answers says."""
        parts = self._parts
        sites = parts.reach.sites(call)
        self._somewhere(call, sites)
        without = versions.lacking(call, sites)
        fit = [one for one in sites if one not in without] or sites
        order = sorted(fit, key=lambda one: (bool(one.notice), not one.healthy(call.service_type)))
        if call.request.method not in {b"GET", b"HEAD"} or call.request.has_body:
            order = order[:1]
        for site in order:
            endpoint = parts.endpoint(site, call)
            try:
                response = await parts.forward.send(call, endpoint)
            except SiteUnavailable:
                if site is order[-1]:
                    raise
                continue
            await parts.forward.pass_on(call, endpoint, response)
            return

    def fail(self, call: Call, error: Exception) -> None:
        """Answer with the fault of the service that was called."""
        if isinstance(error, ProtocolRefused):
            error = BadRequest(str(error))
        if not isinstance(error, AtollError | Broken):
            path = call.request.path.decode("latin-1")
            log.error("request_failed", request_id=call.id, path=path, exc_info=error)
        call.error = error
        if call.reply.started:
            call.reply.abort()
            return
        answer = fault(
            call.service_type, error, accept=call.request.index.get(b"accept", b"").decode("latin-1") or None,
            request_id=call.id,
        )  # fmt: skip
        lines = [b"%b: %b\r\n" % header for header in answer.headers]
        if isinstance(error, Unauthorized):
            lines.append(
                b'WWW-Authenticate: Keystone uri="%b"\r\n' % f"{self._parts.public_url}/identity/v3".encode()
            )
        body = self._aliases.said(call, answer.body)
        call.reply.send(answer.status, lines + call.extra_lines, body)


def _identity(parts: Parts, services: Sequence[str]) -> tuple[Handle, Handle]:
    """What answers identity's routes, and those of them that have the catalogue."""
    if isinstance(parts.tokens, LocalTokens):
        built_in = BuiltIn(parts.tokens, parts.public_url)
        return built_in.handle, built_in.handle
    keystone = Keystone(parts, parts.tokens.endpoint, services)
    return keystone.pass_on, keystone.with_catalog


def given_id(index: Mapping[bytes, bytes]) -> str | None:
    """The client's own request id where it is one: it goes to every site."""
    given = index.get(b"x-openstack-request-id")
    if (
        given is not None
        and len(given) == 40
        and given.startswith(b"req-")
        and given[4:].replace(b"-", b"").isalnum()
    ):
        return given.decode("latin-1")
    return None


def _decoded(path: bytes) -> bytes:
    """A path, or a segment, with what means the same decoded."""
    return _ENCODED.sub(lambda found: bytes.fromhex(found.group(1).decode()), path) if b"%" in path else path


def _straight(call: Call, segments: list[bytes]) -> list[bytes]:
    """The segments of a path as the services take it: then nothing here is got round by writing it so.

    Several slashes are one to them, an encoded one too; some go the steps of RFC 3986 5.2.4.
    """
    parts = _decoded(b"/".join(segments[2:])).split(b"/")
    below: list[bytes] = []
    for one in parts:
        if one == b"..":
            del below[-1:]
        elif one not in {b"", b"."}:
            below.append(one)
    if parts[-1] in {b"", b".", b".."}:
        below.append(b"")
    segments = [*segments[:2], *below]
    call.request.path = b"/".join(segments)
    call.path = call.request.path[len(segments[1]) + 1 :] or b"/"
    return segments


def _project_in(service: Service, tail: list[bytes]) -> tuple[str | None, list[bytes]]:
    """(the project a path names where it may, the path below it)."""
    if service.project_in_path == "optional" and service.project_form.match(tail[0]):
        return tail[0].decode("latin-1"), tail[1:]
    return None, tail
