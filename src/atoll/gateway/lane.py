"""The short way of a GET by id: everything about it is known, so nothing waits but for the site's answer.

The same steps as in `app` and `placed`, in the same order, without a task: token and location are in this
process' caches, the site is well, a connection to it is idle. Whatever is not so, or goes wrong before the
site has answered, is left to the ordinary way; nothing is decided here that is decided differently there.
"""

from atoll.gateway.app import App
from atoll.gateway.call import Call
from atoll.gateway.forward import Forward, rewrite, without
from atoll.gateway.parts import Parts
from atoll.services.table import Kind, Shape
from atoll.sites.site import Endpoint
from atoll.wire.client import Broken, Connection, Exchange
from atoll.wire.message import Request, Response
from atoll.wire.server import Reply, ServerConnection

# Larger answers, and those of unknown length, are streamed by the ordinary way (bytes).
LARGEST = 128 * 1024
BODILESS = frozenset({204, 304})
NOT_PLAIN = frozenset({b"location", b"content-encoding"})


class Lane:
    """Takes requests off the connections; `take` is called for every one without a body."""

    def __init__(self, app: App, parts: Parts) -> None:
        self._app = app
        self._parts = parts

    def take(self, request: Request, connection: ServerConnection) -> bool:
        """Begin to answer, if all is known; False leaves the request as it was."""
        if request.method != b"GET":
            return False
        call = self._app.ready(request, Reply(connection, request))
        if call is None:
            return False
        route = call.match.route
        if route is None or route.kind is not Kind.PLACED or route.shape is not Shape.BY_ID or route.raw:
            return False
        site = self._parts.locator.cached(route.resource, call.match.id.decode("latin-1"))
        endpoint = site.endpoints.get(call.service_type) if site is not None else None
        if endpoint is None or Forward.names_latest(request):
            return False
        exchange = _LaneExchange(self, call, endpoint, connection)
        head = Forward.head(call, endpoint)
        head.append(b"\r\n")
        connection.on_gone = exchange.cancel
        exchange.connection = endpoint.origin.begin(exchange, b"".join(head))
        if exchange.connection is None:
            connection.on_gone = None
            return False
        call.sites.append(endpoint.site)
        return True

    def streams(self, exchange: "_LaneExchange", response: Response) -> None:
        """Leave a long answer to the ordinary way."""
        call, endpoint = exchange.call, exchange.endpoint
        self._parts.telemetry.site_answered(call, endpoint, b"GET", response.status, call.request.started)
        work = self._app.finish(call, self._parts.forward.pass_on(call, endpoint, response))
        exchange.client.lane_hands_over(call.request, call.reply, work)

    def finished(self, exchange: "_LaneExchange", response: Response) -> None:
        """Pass the answer on."""
        call, endpoint, connection = exchange.call, exchange.endpoint, exchange.client
        telemetry = self._parts.telemetry
        route = call.match.route
        if response.status == 404 and route is not None:
            ident = call.match.id.decode("latin-1")
            self._parts.locations.deleted(route.resource, ident, endpoint.site)
        telemetry.site_answered(call, endpoint, b"GET", response.status, call.request.started)
        lines = response.lines
        text = response.body.taken()
        if b"json" in response.index.get(b"content-type", b""):
            text = rewrite(endpoint, text, call)
            if b"etag" in response.index:
                lines = without(lines, b"etag")
        if response.status == 204 or response.status == 304:
            call.reply.send_head(response.status, lines, None)
        else:
            call.reply.send(response.status, lines, text)
        telemetry.answered(call)
        connection.lane_done(call.request, call.reply)

    def failed(self, exchange: "_LaneExchange", error: Broken) -> None:
        """Leave a request whose connection was dead to the ordinary way; answer for every other failure."""
        call, endpoint, connection = exchange.call, exchange.endpoint, exchange.client
        origin = endpoint.origin
        if exchange.connection is not None and origin.closed_early(exchange.connection, error):
            connection.lane_failed(call.request)
            return
        self._parts.telemetry.site_answered(call, endpoint, b"GET", 0, call.request.started)
        self._app.fail(call, origin.failure(error, repeatable=True))
        self._parts.telemetry.answered(call)
        connection.lane_done(call.request, call.reply)


class _LaneExchange(Exchange):
    """One request in the lane."""

    __slots__ = ("call", "client", "connection", "endpoint", "lane", "streaming")

    def __init__(self, lane: Lane, call: Call, endpoint: Endpoint, client: ServerConnection) -> None:
        super().__init__(b"GET", call.deadline, endpoint.origin.stall_seconds)
        self.lane = lane
        self.call = call
        self.endpoint = endpoint
        self.client = client
        self.connection: Connection | None = None
        self.streaming = False

    def answered(self, response: Response) -> None:
        """See whether the answer is short and plain."""
        length = response.content_length
        short = (length is not None and length <= LARGEST) or response.status in BODILESS
        plain = response.index.keys().isdisjoint(NOT_PLAIN)
        if not (short and plain) and self.client.on_gone is not None:
            self.streaming = True
            self.lane.streams(self, response)

    def finished(self, response: Response) -> None:
        """Pass the answer on, unless the client has gone."""
        if self.streaming:
            response.body.finish()
        elif self.client.on_gone is not None:
            self.lane.finished(self, response)

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
