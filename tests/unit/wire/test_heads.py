"""What is read without the parser is read as the parser would have read it."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.wire.feeding import Wire

from atoll.wire.client import NAMES, Broken, Connection, Exchange
from atoll.wire.heads import OFTEN, PLAIN_TARGET, SECTIONS, Answers, Head, Heads
from atoll.wire.message import Request, Response
from atoll.wire.outbox import Outbox
from atoll.wire.server import Reply, ServerConnection, ServerSettings

FAST = settings(deadline=None, max_examples=150)
Read = tuple[int, dict[bytes, bytes], list[bytes], bytes, bool] | None


class Silent(asyncio.Transport):
    """A transport to nobody."""

    closed = False

    def write(self, data: Any) -> None:
        del data

    def abort(self) -> None:
        self.closed = True

    close = abort


class Kept(Exchange):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(b"GET", 1e9, 60.0)
        self.got: Response | None = None

    def finished(self, response: Response) -> None:
        self.got = response


async def parsed(data: bytes) -> Read:
    """The answer as the parser reads it: it gets the first byte alone."""
    back: list[Connection] = []
    transport = Silent()
    connection = Connection(back.append, lambda _: None, Outbox())
    connection.connection_made(transport)
    exchange = Kept()
    connection.begin(exchange, b"", more=False)
    connection.data_received(data[:1])
    if not transport.closed:
        connection.data_received(data[1:])
    got = exchange.got
    if got is None:
        return None
    return got.status, got.index, each(got.lines), got.body.taken(), bool(back) and not transport.closed


def read(answers: Answers, data: bytes) -> Read:
    found = answers.read(data)
    if found is None:
        return None
    response, text, keeps = found
    assert all(response.value(name) == value for name, value in response.index.items())
    assert not response.value(b"x-nobody-sends-this")
    return response.status, response.index, each(response.lines), text, keeps


def each(pieces: Sequence[bytes]) -> list[bytes]:
    """Header lines, one by one."""
    return b"".join(pieces).splitlines(keepends=True)


HEADERS: Sequence[bytes] = (
    b"Content-Type: application/json", b"Vary: A", b"Vary: B", b"Date: Sat, 21 Nov 2026 09:00:00 GMT",
    b"x-openstack-request-id: req-1", b"X-Compute-Request-Id: req-2", b"Connection: keep-alive",
    b"Connection: close", b"Location: http://site/v2.1/x", b'ETag: "1"', b"X-Empty:", b"X-Tight:value",
    b"X-Wide:   value  ", b"X-Latin: \xe9", b"Set-Cookie: a=b", b"Content-Encoding: gzip",
)  # fmt: skip
ODD = (
    b"Transfer-Encoding: chunked", b"Content-Length: 5", b"Content-Length: +5", b" folded: line", b"no colon",
    b"Bad Name: x", b": nameless", b"X-Null: \0", b"X-Bare: a\rb", b"X-Feed: a\nb", b"Connection: upgrade",
    b"X-Bell: \x07", b"Upgrade: h2c",
)  # fmt: skip
STATUSES = (b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 500 ", b"HTTP/1.1 202 Accepted")
ODD_STATUSES = (b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 100 Continue", b"HTTP/1.1 20 X",
                b"HTTP/1.1 200", b"HTTP/1.1 999 X", b"http/1.1 200 OK", b"HTTP/1.1  200 OK")  # fmt: skip


@st.composite
def answer(draw: st.DrawFn, *, odd: bool) -> bytes:
    statuses = STATUSES + (ODD_STATUSES if odd else ())
    lines = draw(st.lists(st.sampled_from([*HEADERS, *(ODD if odd else ())]), max_size=7))
    body = draw(st.binary(max_size=12))
    length = len(body) + (draw(st.sampled_from([0, 0, 0, 1, -1])) if odd else 0)
    lines.insert(draw(st.integers(0, len(lines))), b"Content-Length: %d" % length)
    return b"\r\n".join([draw(st.sampled_from(statuses)), *lines, b"", body])


def alike(data: bytes, answers: Answers) -> Read:
    """What is read of an answer without the parser, which agrees with what the parser reads."""
    found = read(answers, data)
    if found is not None:
        theirs = asyncio.run(parsed(data))
        assert theirs is not None
        assert plain(found) == plain(theirs)
    return found


def plain(got: tuple[int, dict[bytes, bytes], list[bytes], bytes, bool]) -> object:
    """An answer without the blanks around values, of which the parser keeps those at the end."""
    status, index, lines, text, keeps = got
    values = {name: re.sub(rb"[ \t]+(?=, |\Z)", b"", value) for name, value in index.items()}
    return (
        status,
        values,
        [re.sub(rb":[ \t]*(.*?)[ \t]*\r\n\Z", rb": \1", line) for line in lines],
        text,
        keeps,
    )


@FAST
@given(answer(odd=True))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: b\n\r\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nX-A: b\r\r\nContent-Length: 0\r\n\r\n")
def test_whatever_is_read_the_parser_reads_alike(data: bytes) -> None:
    alike(data, Answers(NAMES))


@FAST
@given(answer(odd=False), answer(odd=True), st.binary(max_size=8))
def test_a_form_reads_as_the_parser_does(data: bytes, other: bytes, body: bytes) -> None:
    """After a head has become a form: the same head with other values, and other heads."""
    answers = Answers(NAMES)
    for _ in range(OFTEN):
        alike(data, answers)
    head, _, text = data.partition(b"\r\n\r\n")
    head = head.replace(b"req-1", b"req-77").replace(
        b"Content-Length: %d" % len(text), b"Content-Length: %d" % len(body)
    )
    alike(head + b"\r\n\r\n" + body, answers)
    alike(head + b"\r\n\r\n" + body + b"x", answers)
    alike(other, answers)


def test_plain_answers_need_no_parser() -> None:
    """The common case is read here, with and without a form, or all this would be for nothing."""
    answers = Answers(NAMES)
    for number in range(OFTEN + 3):
        data = (
            b"HTTP/1.1 200 OK\r\nVary: A\r\nDate: day %d\r\nContent-Type: application/json\r\nVary: B\r\n"
            b"Content-Length: 2\r\nx-openstack-request-id: req-%d\r\n\r\n{}" % (number, number)
        )
        found = alike(data, answers)
        assert found is not None
        assert found[1][b"vary"] == b"A, B"
        assert b"Date: day %d\r\n" % number in found[2]
        assert b"x-openstack-request-id: req-%d\r\n" % number in found[2]
    assert len(answers.forms) == 1


def test_heads_that_never_come_again_make_no_form() -> None:
    answers = Answers(NAMES)
    for number in range(2000):
        assert read(answers, b"HTTP/1.1 200 OK\r\nX-Trace: %d\r\nContent-Length: 0\r\n\r\n" % number)
    assert not answers.forms
    assert len(answers.seen) <= 500


def test_header_sections_are_bounded() -> None:
    heads = Heads()
    head = Head({}, [])
    for number in range(SECTIONS + 10):
        heads.remember(b"GET /a HTTP/1.1\r\nHost: %d\r\n\r\n" % number, head)
    assert 0 < len(heads) <= SECTIONS
    heads.clear()
    for data in (
        b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nG",
        b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 9000),
    ):
        heads.remember(data, head)
    assert not heads


class Lane:
    """Takes every request and answers with what it was."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, tuple[bytes, ...]]] = []

    def take(self, head: Head, target: bytes, connection: ServerConnection) -> bool:
        if PLAIN_TARGET.match(target) is None:
            return False
        self.taken.append((target, tuple(head.lines)))
        connection.lane_answers(200, [], target)
        return True


async def asked(pieces: Sequence[bytes]) -> tuple[Lane, list[bytes], bytes]:
    """(the lane, the targets that the handler got, what was written), piece by piece."""
    lane = Lane()
    handled: list[bytes] = []

    async def handler(request: Request, reply: Reply) -> None:
        handled.append(request.path)
        reply.send(200, [], b"")

    wire = Wire()
    connection = wire.protocol = ServerConnection(ServerSettings(handler, lane=lane.take))
    connection.connection_made(wire)
    await asyncio.sleep(0)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
        for _ in range(6):
            await asyncio.sleep(0)
    if not wire.closed:
        connection.connection_lost(None)
    await asyncio.sleep(0)
    return lane, handled, bytes(wire.written)


SECTION = b"\r\nHost: a\r\nX-Auth-Token: t\r\nX-Roles: admin\r\n\r\n"


async def test_a_known_section_is_as_good_as_a_parsed_one() -> None:
    lane, handled, written = await asked([b"GET /%d HTTP/1.1" % number + SECTION for number in range(5)])
    assert not handled
    assert [target for target, _ in lane.taken] == [b"/%d" % number for number in range(5)]
    assert len({lines for _, lines in lane.taken}) == 1
    assert written.count(b"HTTP/1.1 200 OK") == 5


async def test_a_known_section_opens_no_door() -> None:
    """What stands before a known section has to be a plain request line, or the parser decides."""
    known = b"GET /known HTTP/1.1" + SECTION
    for line, status in (
        (b"GET /a HTTP/1.1\nX: y", b"400"),
        (b"GET /a\0b HTTP/1.1", b"400"),
        (b"GET /a HTTP/1.1 HTTP/1.1", b"400"),
        (b"GET  HTTP/1.1", b"400"),
        (b"get /a HTTP/1.1", b"400"),
        (b"GET /a HTTP/2.0", b"505"),
        (b"GET /a HTTP/3.7", b"400"),
    ):
        lane, handled, written = await asked([known, line + SECTION])
        assert [target for target, _ in lane.taken] == [b"/known"], line
        assert not handled
        assert re.findall(rb"HTTP/1.1 (\d+)", written) == [b"200", status], line


async def test_a_known_section_does_not_make_a_get() -> None:
    known = b"GET /known HTTP/1.1" + SECTION
    lane, handled, _ = await asked([known, b"PUT /up HTTP/1.1" + SECTION, b"HEAD /h HTTP/1.1" + SECTION])
    assert [target for target, _ in lane.taken] == [b"/known"]
    assert handled == [b"/up", b"/h"]


async def test_a_section_amid_a_body_is_body() -> None:
    """Bytes that look like a known request are the body of the upload they stand in."""
    known = b"GET /known HTTP/1.1" + SECTION
    upload = b"PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(known)
    lane, handled, _ = await asked([known, upload, known, known])
    assert [target for target, _ in lane.taken] == [b"/known", b"/known"]
    assert handled == [b"/up"]


async def test_requests_in_one_piece_are_answered_in_order() -> None:
    known = b"GET /%d HTTP/1.1" + SECTION
    _, _, written = await asked([known % 0, known % 1 + known % 2 + known % 3, known % 4])
    assert written.count(b"HTTP/1.1 200 OK") == 5


def test_an_exchange_is_told_of_a_whole_answer_in_steps() -> None:
    """Who does not care how an answer came is told of its head and its end."""
    told = []

    class Steps(Exchange):
        def answered(self, response: Response) -> None:
            told.append(("answered", response.body.taken()))

        def finished(self, response: Response) -> None:
            told.append(("finished", b"%d" % response.status))

        def failed(self, error: Broken) -> None:
            told.append(("failed", str(error).encode()))

    Steps(b"GET", 0.0, 0.0).whole(Response(200, {}, []), b"text")
    assert told == [("answered", b"text"), ("finished", b"200")]
