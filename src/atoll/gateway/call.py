"""One request on its way through the gateway, with what is known of it so far."""

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from typing import cast

import msgspec

from atoll.core.access_rules import AccessRule, allowed
from atoll.core.choose import Reason
from atoll.core.errors import BadRequest, RequestTimeout, TooLarge
from atoll.core.meanings import Meanings
from atoll.same.table import Table
from atoll.services.table import RANKS, Match, Service
from atoll.wire.body import BodyTooLarge
from atoll.wire.message import Request
from atoll.wire.server import Reply, ServerConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as Keystone said. `until` is loop time: the answer counts no longer than that."""

    token: bytes
    user_id: str
    project_id: str
    roles: frozenset[str]
    is_admin: bool
    until: float
    system: bool = False
    rules: tuple[AccessRule, ...] | None = None  # all that the token may be used for; None: anything
    rank: int = field(init=False)  # of the strongest role, as `RANKS` has them
    plain: bool = field(init=False)  # the token is of a project and without conditions
    logged: bytes = field(init=False, repr=False, compare=False)  # as it stands in a line of the access log

    def __post_init__(self) -> None:
        project, user = (msgspec.json.encode(one) for one in (self.project_id, self.user_id))
        strongest = (
            "admin"
            if self.is_admin
            else max(self.roles.intersection(RANKS), key=RANKS.__getitem__, default="any")
        )
        object.__setattr__(self, "rank", RANKS[strongest])
        object.__setattr__(self, "plain", not self.system and self.rules is None)
        object.__setattr__(self, "logged", b'"project_id":%b,"user_id":%b' % (project, user))

    @property
    def key(self) -> tuple[str, str, frozenset[str]]:
        """What cached results must not cross."""
        return (self.project_id, self.user_id, self.roles)

    def sees(self, *, apart: bool) -> str:
        """Of which project's things a site's 404 says that they are gone; "" for all.

        At a site that is `apart` an administrator is asked for as the credential of the project.
        """
        return "" if self.is_admin and not apart else self.project_id or "-"


UNMATCHED = Match(None, b"")
NOBODY = Caller(token=b"", user_id="", project_id="", roles=frozenset(), is_admin=False, until=0.0)


def own_call(caller: Caller, deadline: float) -> "Call":
    """A call of Atoll's own making, which no client waits for; `deadline` is loop time."""
    request = Request(b"GET", b"/", {}, [])
    return Call(
        request, Reply(cast("ServerConnection", None), request), new_request_id(), deadline, caller=caller
    )


# Of the system: no two processes begin alike, and nobody else's numbers change.
_random = random.SystemRandom()


def new_request_id() -> str:
    """A request id in the form that every service takes from its caller: req-<uuid4>."""
    digits = f"{_random.getrandbits(128):032x}"
    return f"req-{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


class RequestIds:
    """Request ids for one process, random but for the last part, which counts."""

    def __init__(self) -> None:
        self._numbers = itertools.count(_random.getrandbits(31))
        self._start = new_request_id()[:-8].encode()

    def new(self) -> bytes:
        """An id that this process has not given before."""
        return b"%b%08x" % (self._start, next(self._numbers) & 0xFFFFFFFF)


@dataclass(slots=True)
class Call:
    """One request: the wire's side, the caller, the route, and what is logged at its end.

    `service` is None for Atoll's own paths. `path` is the path below the service, still encoded.
    `deadline` is loop time.
    """

    request: Request
    reply: Reply
    id: str
    deadline: float
    service: Service | None = None
    match: Match = UNMATCHED
    caller: Caller = NOBODY
    path: bytes = b""  # /v2.1/servers/…
    sites: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # the sites that the answer lacks, with the reason
    inside: bool = False  # a run of Atoll's own asks
    as_admin: bool = False  # acts at other clouds as their administrator, see `policy`
    text: bytes | None = None  # the body, once it was read whole
    token_ms: float | None = None  # how long its validation took, where the token was not known
    made: list[str] = field(default_factory=list)  # ids of what it created
    error: Exception | None = None  # what became a fault of ours
    servers: Meanings | None = None  # what ids of servers mean to it; None: what they mean now
    table: Table | None = None  # what of several sites is one thing to it; None: what is so now
    alias: str = ""  # the id in the path, as the client sent it, where it is another one at the site
    asked_query: bytes | None = None  # the query as the client sent it
    asked_text: bytes | None = None  # the body as the client sent it, where it may name servers
    learnt: int = 0  # how often it was begun anew, since ids had come to mean something else
    extra_lines: list[bytes] = field(default_factory=list)  # of the answer

    @property
    def service_type(self) -> str:
        """The service called, for faults and logs."""
        return self.service.service_type if self.service is not None else "atoll"

    def permits(self, service: Service, method: str, path: str) -> bool:
        """Whether the access rules of the caller's token, if it has any, allow a call."""
        rules = self.caller.rules
        types = (service.service_type, *service.aliases)
        return rules is None or allowed(rules, types, method, path)

    def aside(self, deadline: float, *, versioned: bool = True) -> "Call":
        """For questions of Atoll's own on the caller's behalf: same caller and id, a deadline of its own.

        Without `versioned` they are asked in the version that every site has.
        """
        index = self.request.index if versioned else {}
        return Call(
            Request(b"GET", b"/", index, []), self.reply, self.id, deadline, self.service, self.match,
            self.caller, self.path, sites=self.sites, as_admin=self.as_admin,
        )  # fmt: skip

    async def read_body(self, limit: int) -> bytes:
        """The whole request body.

        Raises TooLarge over `limit` bytes (unread where the length says so), RequestTimeout when it does not
        come before the deadline.
        """
        if self.text is not None:
            return self.text
        request = self.request
        if request.content_length is not None and request.content_length > limit:
            raise TooLarge(f"The request body is over {limit} bytes.")
        if request.expects_continue:
            request.expects_continue = False
            self.reply.informational(100)
        try:
            if request.body.complete:
                self.text = await request.body.read_all(limit)
            else:
                async with asyncio.timeout_at(self.deadline):
                    self.text = await request.body.read_all(limit)
        except TimeoutError as error:
            raise RequestTimeout("The request body did not come in time.") from error
        except BodyTooLarge as error:
            raise TooLarge(f"The request body is over {limit} bytes.") from error
        return self.text

    def header(self, name: bytes) -> str:
        """A header of the request as text, "" where it is not given."""
        value = self.request.index.get(name, b"")
        try:
            return value.decode("ascii")
        except UnicodeDecodeError as error:
            raise BadRequest(f"The header {name.decode()} is not ASCII.") from error
