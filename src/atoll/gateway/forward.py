"""Sending one request to one site and passing its answer on: the innermost part of every route.

Nothing is decided here about which site; nothing is changed but what design says is changed.
"""

import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from atoll.core.access_rules import allowed
from atoll.core.errors import (
    AtollError,
    BadSiteAnswer,
    Forbidden,
    NotAcceptable,
    SiteTimeout,
    SiteUnavailable,
)
from atoll.core.microversions import Version, requested
from atoll.gateway.call import Call
from atoll.gateway.telemetry import Sent, Telemetry
from atoll.services.catalog import SERVICES
from atoll.sites.health import contradicted
from atoll.sites.site import Endpoint, Grant
from atoll.wire.body import BodyTooLarge
from atoll.wire.client import Broken
from atoll.wire.message import Response

# JSON answers are read whole to be rewritten; a page of 1,000 servers is 3 MB.
ANSWER_LIMIT = 64 * 1024 * 1024
# Requests whose body has arrived and is this small go out in one write with their head.
INLINE_BODY = 64 * 1024

# Taken out by the wire: set anew by `send`, or never believed from a client.
SET_BY_US = frozenset(
    {b"host", b"expect", b"accept-encoding", b"x-openstack-request-id", b"openstack-api-version",
     b"x-openstack-nova-api-version"}
)  # fmt: skip
IDENTITY_HEADERS = frozenset(
    f"x-{prefix}{name}".encode()
    for prefix in ("", "service-")
    for name in (
        "identity-status", "roles", "user", "user-id", "user-name", "user-domain-id", "user-domain-name",
        "project-id", "project-name", "project-domain-id", "project-domain-name", "domain-id", "domain-name",
        "tenant", "tenant-id", "tenant-name", "role", "is-admin-project", "system-scope", "token", "catalog",
    )
    if f"{prefix}{name}" != "token"
) | {
    b"forwarded", b"openstack-system-scope", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port",
    b"x-forwarded-proto", b"x-forwarded-prefix",
}  # fmt: skip


# What only the clients' own cloud is to see.
CREDENTIALS = (b"x-auth-token", b"x-subject-token", b"x-storage-token", b"authorization", b"cookie")
# What a cloud's answer says to Atoll, not to the client.
OF_THE_CLOUD = frozenset({b"x-auth-token", b"x-subject-token", b"set-cookie", b"www-authenticate"})
# What may name a project or a user in words of the site's.
SPEAKING = frozenset({b"link", b"warning", b"content-location"})
# Never followed, and nobody is sent to follow them.
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Headers, beside those of versions, without which a change is another one: Glance's.
SAY_MORE = (b"x-openstack-append", b"x-image-cache-clear-target", b"x-image-meta-store")
# Codings of an answer that are undone to read it.
_DECODED = frozenset({b"identity", b"gzip", b"deflate"})
_VERSIONS = (b"openstack-api-version", b"x-openstack-nova-api-version")
# A word of its own and in this case: `LATEST` and `2.latest` are malformed, and the site's to refuse.
LATEST = re.compile(rb"(?<![^\s,])latest(?![^\s,])")
_UNVERSIONED = frozenset(_VERSIONS).isdisjoint


@dataclass(frozen=True, slots=True)
class SiteAnswer:
    """A site's answer to a question of the gateway's own, read whole."""

    status: int
    response: Response
    text: bytes


class Forward:
    """Sends requests of clients to endpoints of sites."""

    def __init__(self, telemetry: Telemetry, *, body_limit: int = ANSWER_LIMIT) -> None:
        self._telemetry = telemetry
        self._body_limit = body_limit

    def now(self) -> float:
        """Loop time."""
        return self._telemetry.now()

    async def send(
        self, call: Call, endpoint: Endpoint, *, raw: bool = False, body: bytes | None = None
    ) -> Response:
        """Send the call's request, its own path and headers, to an endpoint.

        `body` replaces the client's; without it the client's own is passed on, streaming unless it has
        already arrived. `raw` asks for the answer in whatever coding the client takes.
        """
        request, grant = call.request, endpoint.grant
        if grant is not None:
            await self._token(endpoint, grant)
            _may_be_used(endpoint, grant, request.method, call.path)
        if body is None and request.has_body:
            if grant is not None and not raw and b"json" in request.index.get(b"content-type", b"json"):
                body = await call.read_body(self._body_limit)
            elif call.text is not None:
                body = call.text
            elif request.body.complete and request.body.received <= INLINE_BODY:
                body = await request.body.read_all(INLINE_BODY)
        streamed = body is None and request.has_body
        if streamed:
            end = self._stream_end(call)
        elif body is None:
            end = b"\r\n"
        else:
            body = body if grant is None else grant.ids.inward(body)
            end = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

        def attempt(token: bytes) -> Awaitable[Response]:
            head = b"".join([*self.head(call, endpoint, token, raw=raw), end])
            return self.exchange(call, endpoint, request.method, head, streamed=streamed)

        return await self._trusted(endpoint, attempt, again=not streamed)

    async def _token(self, endpoint: Endpoint, grant: Grant) -> bytes:
        """A token that the site's cloud knows; from then on it is known who the caller is there.

        Raises Forbidden, SiteUnavailable.
        """
        token = grant.token(self.now())
        if token is not None:
            return token
        try:
            return await grant.fetch()
        except AtollError as error:
            raise type(error)(
                f"The site {endpoint.site} cannot be used: {error}",
                site=endpoint.site,
                retry_after=error.retry_after,
            ) from error

    async def _trusted(
        self, endpoint: Endpoint, attempt: Callable[[bytes], Awaitable[Response]], *, again: bool = True
    ) -> Response:
        """Attempt with a token that the site's cloud knows, and again with a new one where it was refused."""
        grant = endpoint.grant
        if grant is None:
            return await attempt(b"")
        for _ in range(1 + again):
            token = await self._token(endpoint, grant)
            response = await attempt(token)
            if response.status != 401 or not token:
                return response
            response.close()
            grant.refused(token)
        raise SiteUnavailable(
            f"The site {endpoint.site} does not take the token that its own Keystone gave.",
            site=endpoint.site,
        )

    @classmethod
    def head(cls, call: Call, endpoint: Endpoint, token: bytes, *, raw: bool = False) -> list[bytes]:
        """The head of the call's request as the endpoint gets it, but for lengths and its end.

        `token` takes the place of the caller's at a cloud that does not know that.
        """
        request, grant = call.request, endpoint.grant
        path, query, lines = call.path, request.query, request.lines
        if grant is not None:
            path, _, query = grant.ids.target(path + b"?" + query).partition(b"?")
            lines = [b"X-Auth-Token: %b\r\n" % token, *without(lines, *CREDENTIALS)]
        parts = [request.method, b" ", endpoint.root, path]
        if query:
            parts += (b"?", query)
        parts.append(endpoint.head_end)
        parts += lines
        parts.append(b"X-OpenStack-Request-ID: %b\r\n" % call.id.encode())
        if raw and (coding := request.index.get(b"accept-encoding")):
            parts.append(b"Accept-Encoding: %b\r\n" % coding)
        if not _UNVERSIONED(request.index):
            parts += cls.version_lines(request.index, endpoint)
        return parts

    @staticmethod
    def names_latest(index: Mapping[bytes, bytes]) -> bool:
        """Whether a version header says `latest`, which stands for another number at each moment."""
        return not _UNVERSIONED(index) and any(
            b"latest" in index.get(name, b"").lower() for name in _VERSIONS
        )

    @staticmethod
    def version_lines(index: Mapping[bytes, bytes], endpoint: Endpoint | None = None) -> list[bytes]:
        """The header lines that say a version; of `latest` it depends on the endpoint what it stands for."""
        lines = []
        for name in _VERSIONS:
            if (value := index.get(name)) is not None:
                if endpoint is not None and b"latest" in value.lower():
                    value = numbered(value, endpoint)
                lines.append(b"%b: %b\r\n" % (name, value))
        return lines

    @staticmethod
    def _stream_end(call: Call) -> bytes:
        """The end of a head whose body is sent as it comes; the client continues when the site says so."""
        request = call.request
        length = request.content_length
        framing = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
        return framing + (b"Expect: 100-continue\r\n\r\n" if request.expects_continue else b"\r\n")

    async def exchange(
        self,
        call: Call,
        endpoint: Endpoint,
        method: bytes,
        head: bytes,
        *,
        streamed: bool = False,
        why: str = "",
    ) -> Response:
        """One exchange with a site, told to the log and the metrics; `why` as in the log's `SiteLine`."""
        call.sites.append(endpoint.site)
        sent = Sent(method, _path_below(endpoint, method, head), self._telemetry.now(), why)
        try:
            response = sent.response = await endpoint.origin.exchange(
                method,
                head,
                deadline=call.deadline,
                body=call.request.body if streamed else None,
                chunked=streamed and call.request.content_length is None,
                informational=call.reply.informational if streamed else None,
            )
            sent.repeated = response.repeated
            if response.status == 406:
                _doubt(call, endpoint)
        except SiteTimeout as error:
            raise SiteTimeout(f"{error} The request id there is {call.id}.", site=endpoint.site) from error
        finally:
            self._telemetry.site_answered(call, endpoint, sent)
        return response

    async def ask(
        self,
        call: Call,
        endpoint: Endpoint,
        method: bytes,
        target: bytes,
        *,
        body: bytes | None = None,
        why: str = "",
    ) -> SiteAnswer:
        """Ask a site something for the caller, in the version the client asked for, and read the answer.

        `target` is path and query below the endpoint's root. Raises what `exchange` raises.
        """
        self._permit(call, endpoint, method, target)
        grant = endpoint.grant
        if grant is not None:
            await self._token(endpoint, grant)
            _may_be_used(endpoint, grant, method, target)
            target = grant.ids.target(target)
            body = None if body is None else grant.ids.inward(body)

        def attempt(token: bytes) -> Awaitable[Response]:
            lines = [
                method, b" ", endpoint.root, target, endpoint.head_end,
                b"X-Auth-Token: %b\r\nAccept: application/json\r\n"
                % (call.caller.token if grant is None else token),
                b"X-OpenStack-Request-ID: %b\r\n" % call.id.encode(),
                *self.version_lines(call.request.index, endpoint),
            ]  # fmt: skip
            if method != b"GET":
                lines += said_with(call.request.index)
            if body is not None:
                kind = call.request.index.get(b"content-type", b"application/json")
                lines.append(b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind, len(body)))
            lines += (b"\r\n", body or b"")
            return self.exchange(call, endpoint, method, b"".join(lines), why=why)

        response = await self._trusted(endpoint, attempt)
        if response.status == 401 and call.caller.rules is not None and grant is None:
            response.close()
            raise _by_no_rule(endpoint, method, target, " as the site reads them")
        return SiteAnswer(response.status, response, await read_json(endpoint, response))

    @staticmethod
    def _permit(call: Call, endpoint: Endpoint, method: bytes, target: bytes) -> None:
        """Ask nothing for a caller that the caller's own token could not be used for. Raises Forbidden."""
        if call.caller.rules is None:
            return
        path = target.partition(b"?")[0].decode("latin-1")
        if not call.permits(SERVICES[endpoint.service_type], method.decode(), path):
            raise _by_no_rule(endpoint, method, target)

    def answer(self, call: Call, endpoint: Endpoint, answer: SiteAnswer, text: bytes | None = None) -> None:
        """Give the client an answer that was read, rewritten unless `text` says what it is to be."""
        lines = without(passed_on(endpoint, answer.response), b"etag", b"content-encoding")
        if text is None:
            text = answer.text
            if b"json" in answer.response.index.get(b"content-type", b""):
                text = rewrite(endpoint, text, call)
        call.reply.send(answer.status, lines + call.extra_lines, text)

    async def pass_on(self, call: Call, endpoint: Endpoint, response: Response, *, raw: bool = False) -> None:
        """Give the client the site's answer: links and names changed in JSON, everything else as it is."""
        reply = call.reply
        lines, status = passed_on(endpoint, response), response.status
        if call.request.method == b"HEAD" or status in {204, 304}:
            reply.send_head(status, lines, response.content_length if status == 200 else None)
        elif _is_message(endpoint, response):
            lines = without(lines, b"etag", b"content-encoding")
            text = await read_json(endpoint, response)
            if b"json" in response.index.get(b"content-type", b""):
                text = rewrite(endpoint, text, call)
            reply.send(status, lines, text)
        elif not raw and b"json" in response.index.get(b"content-type", b""):
            text = await read_json(endpoint, response)
            if b"etag" in response.index or b"content-encoding" in response.index:
                lines = without(lines, b"etag", b"content-encoding")
            reply.send(status, lines, rewrite(endpoint, text, call))
        else:
            await self._stream_back(call, response, lines)

    @staticmethod
    async def _stream_back(call: Call, response: Response, lines: Iterable[bytes]) -> None:
        reply = call.reply
        body = response.body
        if body.complete:
            reply.send(response.status, lines, await body.read_all(ANSWER_LIMIT))
            return
        reply.start(response.status, lines, response.content_length)
        try:
            while data := await body.read():
                await reply.write(data)
        except Broken:
            # The head has gone out with its promise of a length: only a cut tells the client the truth.
            reply.abort()
            raise
        except BaseException:
            response.close()
            raise
        reply.finish()


def _may_be_used(endpoint: Endpoint, grant: Grant, method: bytes, target: bytes) -> None:
    """Send a site nothing that Atoll's credential for it may not be used for: the token would seem a bad one.

    Raises Forbidden.
    """
    if grant.rules is None:
        return
    service = SERVICES[endpoint.service_type]
    types = (service.service_type, *service.aliases)
    verb, path = method.decode("latin-1"), grant.ids.target(target.partition(b"?")[0])
    # What stands before the version is in the path that some sites compare, and not in that of others.
    spelled = (path.decode("latin-1"), (endpoint.root + path).decode("latin-1"))
    if not any(allowed(grant.rules, types, verb, one) for one in spelled):
        raise Forbidden(
            f"The access rules of Atoll's credential for the site {endpoint.site} do not allow {verb} "
            f"{spelled[0]} of the service {endpoint.service_type}: another one is given with "
            "`atoll credential add --replace`.",
            site=endpoint.site,
        )


def _by_no_rule(endpoint: Endpoint, method: bytes, target: bytes, how: str = "") -> Forbidden:
    """What to raise where a token may not be used for a part of what was asked: the client's own is good."""
    path = target.partition(b"?")[0].decode("latin-1")
    return Forbidden(
        f"The access rules of this application credential{how} do not allow {method.decode()} {path} of the "
        f"service {endpoint.service_type}, which is needed for this where there are several sites."
    )


def _path_below(endpoint: Endpoint, method: bytes, head: bytes) -> bytes:
    """The path of a request below the endpoint's root, without its query."""
    target = head[len(method) + 1 + len(endpoint.root) : head.index(b" HTTP/1.1")]
    return target.partition(b"?")[0]


async def read_json(endpoint: Endpoint, response: Response) -> bytes:
    """A site's JSON answer, whole, decoded, in the clients' ids.

    Raises BadSiteAnswer when it is cut, endless or garbled.
    """
    site = endpoint.site
    try:
        text = await response.body.read_all(ANSWER_LIMIT)
        coding = response.index.get(b"content-encoding", b"identity")
        if coding in _DECODED and coding != b"identity":
            text = zlib.decompress(text, wbits=47)
    except BodyTooLarge as error:
        response.close()
        raise BadSiteAnswer(
            f"The answer of the site {site} is over {ANSWER_LIMIT} bytes.", site=site
        ) from error
    except zlib.error as error:
        raise BadSiteAnswer(f"The answer of the site {site} is not {coding.decode()}.", site=site) from error
    except Broken as error:
        raise BadSiteAnswer(f"The answer of the site {site} broke off: {error}.", site=site) from error
    if endpoint.grant is None:
        return text
    text = endpoint.grant.ids.outward(text)
    return text if response.status < 400 else endpoint.grant.ids.said(text)


def _is_message(endpoint: Endpoint, response: Response) -> bool:
    """Whether a site of another cloud says what is wrong, in words that may have its own ids in them."""
    coding = response.index.get(b"content-encoding", b"identity")
    return endpoint.grant is not None and response.status >= 400 and coding in _DECODED


def rewrite(endpoint: Endpoint, text: bytes, call: Call, *, item: bool = False) -> bytes:
    """An answer that holds one resource (or a fault), with links, zones and equivalents as clients see them.

    `item` says that the text is the resource itself, without its envelope.
    """
    envelope: tuple[str, ...] = ()
    if not item and call.service is not None and call.match.route is not None:
        envelope = call.service.envelope(call.match.route)
    return rewritten(endpoint, text, envelope, call.caller.project_id, call)


def rewritten(
    endpoint: Endpoint, text: bytes, envelope: tuple[str, ...], project_id: str, call: Call | None
) -> bytes:
    """A resource with links, zones and equivalents as a project sees them, standing in `envelope`.

    What ids mean is what they mean to the call; None: what they mean now.
    """
    text = endpoint.links.rewrite(text)
    translate = endpoint.same(project_id, call) if endpoint.same is not None else None
    if translate is not None:
        text = translate(text)
    for names in endpoint.names:
        text = names.rewrite(text, envelope)
    return text


def passed_on(endpoint: Endpoint, response: Response) -> Sequence[bytes]:
    """The header lines of an answer for the client: none that leads away from Atoll, no cloud's token."""
    lines = response.lines
    if endpoint.grant is not None:
        if not OF_THE_CLOUD.isdisjoint(response.index):
            lines = without(lines, *OF_THE_CLOUD)
        if response.status >= 400 or not SPEAKING.isdisjoint(response.index):
            lines = said_lines(endpoint.grant, lines)
    location = response.index.get(b"location")
    if location is not None:
        # Of a redirect only one within the site: it is for the client to follow, through Atoll.
        within = response.status in REDIRECTS
        ours = endpoint.links.location(location, endpoint.root, within=within)
        if ours is not None:
            ours = ours if endpoint.grant is None else endpoint.grant.ids.outward(ours)
            lines = [*lines, b"Location: %b\r\n" % ours]
    return lines


def said(answer: SiteAnswer) -> str:
    """The message in a site's fault, short."""
    return message_of(answer.text)


def message_of(text: bytes) -> str:
    """The message in a fault of any service, short."""
    content = _object(text)
    for part in [content, *content.values()]:
        if isinstance(part, dict):
            for key in ("message", "detail", "title"):
                if isinstance(part.get(key), str) and part[key]:
                    return str(part[key])[:200]
    return "no reason given"


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        content = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def said_with(index: Mapping[bytes, bytes]) -> list[bytes]:
    """The headers in which a change says what it means."""
    return [b"%b: %b\r\n" % (name, index[name]) for name in SAY_MORE if name in index]


def said_lines(grant: Grant, lines: Iterable[bytes]) -> list[bytes]:
    """Header lines in the clients' ids."""
    return grant.ids.said(b"".join(lines)).splitlines(keepends=True)


def without(lines: Iterable[bytes], *names: bytes) -> list[bytes]:
    """Header lines but for some names (lower case)."""
    starts = tuple(name + b":" for name in names)
    each = b"".join(lines).splitlines(keepends=True)
    return [line for line in each if not line.lower().startswith(starts)]


def _doubt(call: Call, endpoint: Endpoint) -> None:
    """Have it written down where a site refuses a version that it said it has."""
    index = call.request.index
    given = [(name.decode(), index[name].decode("latin-1")) for name in _VERSIONS if name in index]
    if Forward.names_latest(index):
        asked = None if endpoint.latest is None else Version(*endpoint.latest)
    else:
        try:
            asked = requested(endpoint.service_type, given).version if given else None
        except AtollError:
            asked = None
    if asked is not None:
        contradicted(endpoint, asked)


def numbered(value: bytes, endpoint: Endpoint) -> bytes:
    """`latest` as a number: the newest that every enabled site has. Raises NotAcceptable if unknown."""
    if endpoint.latest is None:
        raise NotAcceptable(
            f"The versions of {endpoint.service_type} at the site {endpoint.site} are not known yet.",
            site=endpoint.site,
        )
    return LATEST.sub(b"%d.%d" % endpoint.latest, value)
