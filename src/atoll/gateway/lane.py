"""The short way of a GET by id: everything about it is known, so nothing waits but for the site's answer.

The same steps as in `app` and `placed`, in the same order, without a task: token and location are in this
process' caches, the site is well, a connection to it is idle. Whatever is not so, or goes wrong before the
site has answered, is left to the ordinary way; nothing is decided here that is decided differently there.
What follows from a path alone, or from a header section alone, is found out once and kept.
"""

from dataclasses import dataclass

from atoll.core.image_sites import with_members
from atoll.core.rewrite import Ids, Others
from atoll.gateway import bodies, versions
from atoll.gateway.aliases import SERVER
from atoll.gateway.app import App, given_id
from atoll.gateway.call import Call, Caller, RequestIds
from atoll.gateway.default_groups import SHOWING
from atoll.gateway.forward import (
    CREDENTIALS,
    OF_THE_CLOUD,
    SPEAKING,
    Forward,
    rewritten,
    said_lines,
    without,
)
from atoll.gateway.known_images import Known, KnownImages
from atoll.gateway.parts import Parts
from atoll.gateway.telemetry import Sent, Way
from atoll.services.table import RANKS, Kind, Match, Service, Shape
from atoll.sites.site import Endpoint, Site
from atoll.wire.client import Broken, Connection, Exchange
from atoll.wire.heads import PLAIN_TARGET, Head
from atoll.wire.message import Response
from atoll.wire.server import Reply, ServerConnection

# Larger answers, and those of unknown length, are streamed by the ordinary way (bytes).
LARGEST = 128 * 1024
BODILESS = frozenset({204, 304})
NOT_PLAIN = frozenset({b"location", b"content-encoding"}) | OF_THE_CLOUD | SPEAKING
IMAGE = "image"
# Paths whose meaning is kept, each a few hundred bytes.
PATHS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """What a path means, whoever asks: the route, the id, the project it may name."""

    service: Service
    service_type: str
    match: Match
    resource: str
    id: str
    project: str | None
    below: bytes  # the service: /v2.1/servers/…
    shows_groups: bool  # its answer may name a security group
    image: bool  # where it is may be more than one site
    same: bool  # whether it reads so at every site, whatever projects and users are called there
    envelope: tuple[str, ...]
    rank: int  # the least that may ask for it
    way: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """What a header section means on any path: whose token, which id, the lines that go to the site."""

    token: bytes
    request_id: bytes | None
    lines: bytes
    bare: bytes  # the lines without the token, for a cloud that does not know it
    own: bytes  # the lines of a question of Atoll's own
    own_bare: bytes
    versioned: bool


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the headers of an answer say of how it is passed on."""

    plain: bool
    json: bool
    etag: bool


def _kind(response: Response) -> _Kind:
    """What kind of answer it is; found out once for each form of heads."""
    form = response.form
    known = form.note if form is not None else None
    if isinstance(known, _Kind):
        return known
    index = response.index
    found = _Kind(
        plain=NOT_PLAIN.isdisjoint(index),
        json=b"json" in index.get(b"content-type", b""),
        etag=b"etag" in index,
    )
    if form is not None:
        form.note = found
    return found


class Lane:
    """Takes requests off the connections; `take` is called for every GET without a body."""

    def __init__(self, app: App, parts: Parts) -> None:
        self._app = app
        self.deadline = app.deadline
        self._now = parts.telemetry.now
        self._tokens = parts.tokens
        self._locations = parts.locations
        self._sites = parts.sites.by_name
        self._reach = parts.reach
        self._telemetry = parts.telemetry
        self._forward = parts.forward
        self._ids = RequestIds()
        self._aliases = parts.aliases
        self._groups = parts.equivalents.defaults
        self._images = KnownImages(parts)
        self._paths: dict[bytes, _Path] = {}

    def take(self, head: Head, target: bytes, connection: ServerConnection) -> bool:
        """Begin to answer, if all is known; False leaves the request as it was."""
        path = self._paths.get(target) or self._path(target)
        section = head.note or self._section(head)
        if path is None or not isinstance(section, _Section):
            return False
        started = self._now()
        caller = self._tokens.known(section.token, started)
        if (
            caller is None
            or not caller.plain
            or (path.project is not None and path.project != caller.project_id)
            or self._concerned(path, caller)
            or (path.shows_groups and not self._groups.fresh(caller.project_id))
        ):
            return False
        exchange = _LaneExchange(self, connection, started)
        exchange.head, exchange.target, exchange.path = head, target, path
        exchange.caller, exchange.request_id = caller, section.request_id or self._ids.new()
        site: Site | None
        if path.image:
            site = self._image_at(exchange, section)
        else:
            name = self._locations.cached(path.resource, path.id)
            site = self._sites.get(name) if name is not None else None
        endpoint = site.endpoints.get(path.service_type) if site is not None else None
        if site is None or endpoint is None:
            return False
        below, lines = path.below, section.lines if not exchange.told else section.own
        if site.cloud is not None:
            granted = self._granted(exchange, section, site, endpoint)
            if granted is None:
                return False
            endpoint, below, lines = granted
        exchange.endpoint, exchange.stall = endpoint, endpoint.origin.stall_seconds
        connection.on_gone = exchange.cancel
        out = (
            b"GET ", endpoint.root, below, endpoint.head_end, lines,
            b"X-OpenStack-Request-ID: ", exchange.request_id, b"\r\n\r\n",
        )  # fmt: skip
        exchange.connection = endpoint.origin.begin(exchange, b"".join(out))
        if exchange.connection is None:
            connection.on_gone = None
            return False
        return True

    def _concerned(self, path: _Path, caller: Caller) -> bool:
        """Whether the id of a server in a path is not, or not only, a site's own."""
        now = self._aliases.now
        return now.hiding and path.resource == SERVER and now.concerns(path.id, caller.project_id)

    def _granted(
        self, exchange: "_LaneExchange", section: _Section, site: Site, endpoint: Endpoint
    ) -> tuple[Endpoint, bytes, bytes] | None:
        """(endpoint, path, header lines) for a cloud that does not know the token; None where not all is."""
        caller, path = exchange.caller, exchange.path
        grant = self._reach.known(site, caller)
        # An administrator may mean what is another project's: that takes a look at whose it is.
        usual = path.rank <= caller.rank < RANKS["admin"]
        token = grant.token(exchange.started) if grant is not None and usual else None
        if grant is None or token is None or grant.rules is not None:
            return None
        below = path.below if path.same else grant.ids.target(path.below)
        bare = section.own_bare if exchange.told else section.bare
        return endpoint.granted(grant), below, b"X-Auth-Token: %b\r\n%b" % (token, bare)

    def _image_at(self, exchange: "_LaneExchange", section: _Section) -> Site | None:
        """The first site that would be asked for an image, where that is known."""
        if section.versioned:
            return None
        known = exchange.known = self._images.find(
            exchange.path.id, exchange.caller, exchange.started, lambda: self.call(exchange)
        )
        if known is None:
            return None
        exchange.told = known.told
        return known.site

    def _path(self, target: bytes) -> _Path | None:
        """What a path means; None where it is not one of a placed thing or an image."""
        if PLAIN_TARGET.match(target) is None:
            return None
        found = self._app.matched(target)
        if found is None:
            return None
        service, project, match = found
        route = match.route
        if route is None or route.shape is not Shape.BY_ID or route.raw:
            return None
        image = service.service_type == IMAGE and route.template == "images/{id}"
        if not bodies.is_id(match.id.decode()) if image else route.kind is not Kind.PLACED:
            return None
        below = target[target.index(b"/", 1) :]
        path = _Path(
            service=service,
            service_type=service.service_type,
            match=match,
            resource=route.resource,
            id=match.id.decode(),
            project=project,
            below=below,
            same=project is None and Ids.names_none(below.replace(match.id, b"")),
            envelope=service.envelope(route),
            shows_groups=service.service_type == "network" and route.resource in SHOWING,
            image=image,
            rank=RANKS[route.role],
            way=Way(service.service_type, route.template, target, below),
        )
        if len(self._paths) >= PATHS:
            self._paths.clear()
        self._paths[target] = path
        return path

    @staticmethod
    def _section(head: Head) -> object:
        """What a header section means; False where it cannot be said once for all."""
        head.note = False
        if not Forward.names_latest(head.index):
            token, version = head.index.get(b"x-auth-token", b""), Forward.version_lines(head.index)
            own = b"".join([b"Accept: application/json\r\n", *version])
            head.note = _Section(
                token=token,
                request_id=given.encode() if (given := given_id(head.index)) is not None else None,
                lines=b"".join([*head.lines, *version]),
                bare=b"".join([*without(head.lines, *CREDENTIALS), *version]),
                own=b"X-Auth-Token: %b\r\n%b" % (token, own),
                own_bare=own,
                versioned=any(name in head.index for name in versions.HEADERS),
            )
        return head.note

    def call(self, exchange: "_LaneExchange") -> Call:
        """The call of a request in the lane, for the ordinary way."""
        request = exchange.client.request(exchange.head, exchange.target, exchange.started)
        call = Call(request, Reply(exchange.client, request), exchange.request_id.decode(), exchange.until)
        call.service = exchange.path.service
        call.match = exchange.path.match
        call.caller = exchange.caller
        call.path = exchange.path.below
        return call

    def streams(self, exchange: "_LaneExchange", response: Response) -> None:
        """Leave a long answer to the ordinary way."""
        if response.status == 401 and exchange.endpoint.grant is not None:
            response.close()
            self._refused(exchange)
            return
        if exchange.known is not None and not exchange.known.decides(response.status, b""):
            response.close()
            self._undecided(exchange, response)
            return
        endpoint = exchange.endpoint
        call = self._answered(
            exchange, Sent(b"GET", exchange.path.below, exchange.started, response=response)
        )
        work = self._app.finish(call, self._forward.pass_on(call, endpoint, response))
        exchange.client.lane_hands_over(call.request, call.reply, work)

    def answers(self, exchange: "_LaneExchange", response: Response, kind: _Kind, text: bytes) -> None:
        """Pass the answer on."""
        endpoint, path, status = exchange.endpoint, exchange.path, response.status
        if status == 401 and endpoint.grant is not None:
            self._refused(exchange)
            return
        known = exchange.known
        moved = status == 404 and self._concerned(path, exchange.caller)
        if moved or (known is not None and not known.decides(status, text)):
            self._undecided(exchange, response)
            return
        if status == 404 and known is None and path.below.endswith(path.id.encode()):
            sees = exchange.caller.sees(apart=endpoint.grant is not None)
            self._locations.deleted(path.resource, path.id, endpoint.site, sees)
        lines = response.lines
        if endpoint.grant is not None and status >= 400:
            lines, text = said_lines(endpoint.grant, lines), endpoint.grant.ids.said(text)
        if exchange.told is not None or kind.json:
            if endpoint.grant is not None:
                others = path.service_type in Others.SERVICES
                text = endpoint.grant.ids.outward(text, others=others)
            text = rewritten(endpoint, text, path.envelope, exchange.caller.project_id, None)
            if exchange.told is not None:
                text = with_members(text, exchange.told)
            if kind.etag:
                lines = without(lines, b"etag")
        exchange.client.lane_answers(status, lines, text)
        self._telemetry.lane_answered(
            path.way, exchange.request_id, endpoint, exchange.caller, exchange.client.logged, response,
            exchange.started, len(text),
        )  # fmt: skip

    def _answered(self, exchange: "_LaneExchange", sent: Sent) -> Call:
        """The call of a request with the site's answer, or that there was none, written down."""
        call = self.call(exchange)
        call.sites.append(exchange.endpoint.site)
        self._telemetry.site_answered(call, exchange.endpoint, sent)
        return call

    def _undecided(self, exchange: "_LaneExchange", response: Response) -> None:
        """Other sites are to be asked, too: the ordinary way does it."""
        self._answered(exchange, Sent(b"GET", exchange.path.below, exchange.started, response=response))
        self._left(exchange)

    def _left(self, exchange: "_LaneExchange") -> None:
        """Leave a request to the ordinary way, under the id that the site was told."""
        request = exchange.client.request(exchange.head, exchange.target, exchange.started)
        request.id = exchange.request_id.decode()
        exchange.client.lane_failed(request)

    def _refused(self, exchange: "_LaneExchange") -> None:
        """The site's cloud takes the token no more: the ordinary way asks for another one."""
        endpoint = exchange.endpoint
        assert endpoint.grant is not None  # noqa: S101 - what refuses it
        if (token := endpoint.grant.token(exchange.started)) is not None:
            endpoint.grant.refused(token)
        self._left(exchange)

    def failed(self, exchange: "_LaneExchange", error: Broken) -> None:
        """Leave a request whose connection was dead to the ordinary way; answer for every other failure."""
        endpoint, client = exchange.endpoint, exchange.client
        origin = endpoint.origin
        sent = Sent(b"GET", exchange.path.below, exchange.started)
        if exchange.connection is not None and origin.closed_early(exchange.connection, error):
            self._telemetry.lost(exchange.request_id.decode(), endpoint, sent)
            self._left(exchange)
            return
        call = self._answered(exchange, sent)
        work = self._app.finish(call, _fail(origin.failure(error, repeatable=True)))
        client.lane_hands_over(call.request, call.reply, work)


async def _fail(error: Exception) -> None:
    raise error


class _LaneExchange(Exchange):
    """One request in the lane."""

    __slots__ = (
        "caller", "client", "connection", "endpoint", "head", "known", "lane", "path", "request_id",
        "started", "streaming", "target", "told", "until",
    )  # fmt: skip
    head: Head
    target: bytes
    path: _Path
    caller: Caller
    endpoint: Endpoint
    request_id: bytes

    def __init__(self, lane: Lane, client: ServerConnection, started: float) -> None:
        self.method = b"GET"
        self.started = started
        self.deadline = self.until = started + lane.deadline
        self.response = None
        self.informational = None
        self.lane = lane
        self.client = client
        self.connection: Connection | None = None
        self.streaming = False
        self.known: Known | None = None  # of an image
        self.told: bytes | None = None

    def whole(self, response: Response, text: bytes) -> None:
        """Pass the answer on, unless the client has gone."""
        if self.client.on_gone is None:
            return
        kind = _kind(response)
        if kind.plain:
            self.lane.answers(self, response, kind, text)
        else:
            super().whole(response, text)

    def answered(self, response: Response) -> None:
        """An answer that is long or out of the ordinary takes the ordinary way; of others the body is due."""
        length = response.content_length
        short = length is not None and length <= LARGEST and response.status not in BODILESS
        if not (short and _kind(response).plain) and self.client.on_gone is not None:
            self.streaming = True
            self.lane.streams(self, response)

    def finished(self, response: Response) -> None:
        """Pass the answer on, unless the client has gone."""
        if self.streaming:
            response.body.finish()
        elif self.client.on_gone is not None:
            self.lane.answers(self, response, _kind(response), response.body.taken())

    def failed(self, error: Broken) -> None:
        """Say so, unless the client has gone."""
        if self.streaming and self.response is not None:
            self.response.body.fail(error)
        elif self.client.on_gone is not None:
            self.lane.failed(self, error)

    def cancel(self) -> None:
        """The client has gone: nobody wants the answer."""
        self.client.on_gone = None
        if self.connection is not None:
            self.connection.close()
