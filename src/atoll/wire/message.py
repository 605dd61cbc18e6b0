"""Requests and responses as values, and the checks that go beyond what the parser refuses by itself.

The parser (llhttp, strict) refuses conflicting lengths, folded headers, bare line feeds, broken chunks and
control bytes. What it lets through and a gateway must not is refused here: a smuggled request starts with
two hops that read one message differently.
"""

from collections.abc import Callable, Sequence

from atoll.wire.body import EMPTY, Body, nothing

# RFC 9110 7.6.1, and what belongs to one hop by its nature. Lengths are set anew for each hop.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Headers of which two different readings exist when they come twice.
SINGLE = frozenset(
    {b"host", b"content-length", b"content-type", b"transfer-encoding", b"authorization", b"x-auth-token",
     b"x-subject-token", b"content-range", b"expect"}
)  # fmt: skip
PLAIN_CONNECTION = frozenset({b"", b"keep-alive", b"close"})
# Header names are few and come again and again. What is beyond these bounds is not remembered (names, bytes).
REMEMBERED = 1000
LONGEST_REMEMBERED = 64

REASONS = {
    100: b"Continue", 200: b"OK", 201: b"Created", 202: b"Accepted", 203: b"Non-Authoritative Information",
    204: b"No Content", 206: b"Partial Content", 207: b"Multi-Status", 300: b"Multiple Choices",
    301: b"Moved Permanently", 302: b"Found", 303: b"See Other", 304: b"Not Modified",
    307: b"Temporary Redirect", 308: b"Permanent Redirect", 400: b"Bad Request", 401: b"Unauthorized",
    403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 406: b"Not Acceptable",
    408: b"Request Timeout", 409: b"Conflict", 410: b"Gone", 411: b"Length Required",
    412: b"Precondition Failed", 413: b"Request Entity Too Large", 414: b"URI Too Long",
    415: b"Unsupported Media Type", 416: b"Range Not Satisfiable", 417: b"Expectation Failed",
    422: b"Unprocessable Entity", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip
STATUS_LINES = {code: b"HTTP/1.1 %d %b\r\n" % (code, reason) for code, reason in REASONS.items()}


def status_line(status: int) -> bytes:
    """The first line of an HTTP/1.1 response."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


class HeaderNames(dict[bytes, tuple[bytes, bool]]):
    """A header's name as it is written -> (its lower case, whether the header is passed on).

    Looked up for every header of every message, so what there is to say of a name is found out once. `drop`
    are names in lower case; `as_wsgi` drops those too that a WSGI service takes for one of them.
    """

    def __init__(self, drop: frozenset[bytes], *, as_wsgi: bool = False) -> None:
        super().__init__()
        self._drop = drop
        self._as_wsgi = as_wsgi

    def __missing__(self, name: bytes) -> tuple[bytes, bool]:
        lower = name.lower()
        # A WSGI service reads X_Roles as X-Roles.
        read = lower.replace(b"_", b"-") if self._as_wsgi else lower
        known = lower, read not in self._drop
        if len(name) <= LONGEST_REMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[name] = known
        return known


class ProtocolRefused(Exception):
    """The message is not HTTP/1.1 that two hops would read alike; `status` is what its sender gets."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Request:
    """One request as it came.

    `target` is the raw request target; `path` and `query` are its parts, still percent-encoded. `index` maps
    lower-case names to values; `lines` are the header lines fit to be passed on, in order and as written.
    """

    __slots__ = (
        "body", "content_length", "expects_continue", "id", "index", "keep_alive", "lines", "method", "path",
        "peer", "query", "started", "version",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, index: dict[bytes, bytes], lines: list[bytes]) -> None:
        self.method = method
        path, _, query = target.partition(b"?")
        self.path = path
        self.query = query
        self.index = index
        self.lines = lines
        self.version = "1.1"
        self.keep_alive = True
        self.expects_continue = False
        self.content_length: int | None = 0  # None: chunked
        self.body: Body
        self.started = 0.0
        self.id = ""
        self.peer = ""

    @property
    def has_body(self) -> bool:
        """Whether bytes follow the head."""
        return self.content_length != 0


def check_request(request: Request, duplicates: set[bytes]) -> None:
    """Refuse what the parser accepts and a gateway must not. Raises ProtocolRefused."""
    index = request.index
    if request.version != "1.1" and request.version != "1.0":
        raise ProtocolRefused(505, f"HTTP/{request.version} is not spoken here.")
    if duplicates:
        for name in sorted(duplicates & SINGLE):
            raise ProtocolRefused(400, f"The header {name.decode()} is given more than once.")
    if request.version == "1.1" and not index.get(b"host"):
        raise ProtocolRefused(400, "HTTP/1.1 wants exactly one Host header.")
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if coding.strip().lower() != b"chunked":
            raise ProtocolRefused(501, "The only transfer coding taken is chunked.")
        if request.version == "1.0":
            raise ProtocolRefused(400, "HTTP/1.0 has no transfer codings.")
        request.content_length = None
    elif (length := index.get(b"content-length")) is not None:
        request.content_length = int(length)
    if (expect := index.get(b"expect")) is not None:
        _check_expectation(request, expect)
    _check_target(request)


def _check_expectation(request: Request, expect: bytes) -> None:
    if expect.lower() != b"100-continue":
        raise ProtocolRefused(417, "The only expectation taken is 100-continue.")
    request.expects_continue = request.version == "1.1" and request.has_body


def _check_target(request: Request) -> None:
    path = request.path
    if path[:1] != b"/":
        scheme, found, rest = path.partition(b"://")
        if not found or scheme.lower() not in {b"http", b"https"}:
            raise ProtocolRefused(400, "The request target is not a path.")
        _, slash, tail = rest.partition(b"/")
        request.path = slash + tail or b"/"
    if b"#" in request.path or b"#" in request.query:
        raise ProtocolRefused(400, "A request target has no fragment.")


class Recurring:
    """What many messages have alike. `note` is for whoever takes them: what follows from it alone."""

    __slots__ = ("note",)

    def __init__(self) -> None:
        self.note: object = None


class Response:
    """The head of an answer that came from a site, and its body.

    `lines` are the header lines fit to be passed on, in pieces of one or more; hop-by-hop ones, `Location`
    and the length are not among them. `content_length` is None where the answer does not say. `close` cuts
    the answer off. `repeated`: what it answers was sent again, after a kept connection had turned out to be
    dead. `form` is what its head was recognised by, if it was.
    """

    __slots__ = ("_index", "body", "close", "content_length", "form", "lines", "repeated", "status")

    def __init__(
        self,
        status: int,
        index: dict[bytes, bytes],
        lines: Sequence[bytes],
        body: Body = EMPTY,
        close: Callable[[], None] = nothing,
    ) -> None:
        self.status = status
        self.close = close
        self.repeated = False
        self.form: Recurring | None = None
        self._index = index
        self.lines = lines
        self.body = body
        length = index.get(b"content-length")
        self.content_length = int(length) if length is not None else None

    @property
    def index(self) -> dict[bytes, bytes]:
        """The values of its headers by name, in lower case; of one that came twice, joined by a comma."""
        return self._index

    def value(self, name: bytes) -> bytes:
        """The value of a header (lower case), empty where it has none."""
        return self._index.get(name, b"")
