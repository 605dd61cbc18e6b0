"""What is HTTP/1.1 and what is not, beside what h11 says of the same bytes.

A gateway that reads a message otherwise than the next hop hands requests to whoever wants to hide one. So we
are never more lenient than h11, but for what LENIENT lists, and where we are stricter STRICTER says why.
"""

import h11
import pytest
from tests.unit.wire.feeding import feed

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

# name -> (bytes, status we refuse with)
REFUSED = {
    "two lengths that differ": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "two lengths that agree": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "a list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "a list of lengths that differ": (POST + b"Content-Length: 3, 4\r\n\r\nabcd", 400),
    "a signed length": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a negative length": (POST + b"Content-Length: -3\r\n\r\nabc", 400),
    "a hexadecimal length": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "a length with a blank in it": (POST + b"Content-Length: 1 1\r\n\r\nabcdefghijk", 400),
    "an empty length": (POST + b"Content-Length:\r\n\r\n", 400),
    "a length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    "a length and chunks": (
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    "chunks and a length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
        400,
    ),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked twice": (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked on two lines": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked, then identity": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    "an unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "a coding with a tab before it": (POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "a coding in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a folded header": (HEAD + b"X-A: b\r\n c\r\n\r\n", 400),
    "a folded first header": (b"GET / HTTP/1.1\r\n X-A: b\r\nHost: x\r\n\r\n", 400),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "a bare line feed after a header": (b"GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n", 400),
    "a bare line feed before the body": (b"GET / HTTP/1.1\r\nHost: x\r\n\n", 400),
    "a bare carriage return in a value": (HEAD + b"X-A: b\rX-Roles: admin\r\n\r\n", 400),
    "a NUL in a value": (HEAD + b"X-A: b\x00c\r\n\r\n", 400),
    "a control byte in a value": (HEAD + b"X-A: b\x01c\r\n\r\n", 400),
    "a NUL in a name": (HEAD + b"X-\x00A: b\r\n\r\n", 400),
    "a blank before the colon": (HEAD + b"X-A : b\r\n\r\n", 400),
    "a blank before a framing colon": (POST + b"Content-Length : 3\r\n\r\nabc", 400),
    "no colon": (HEAD + b"X-A\r\n\r\n", 400),
    "no name": (HEAD + b": b\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (HEAD + b"Host: y\r\n\r\n", 400),
    "two tokens": (HEAD + b"X-Auth-Token: a\r\nX-Auth-Token: b\r\n\r\n", 400),
    "two Expects": (
        POST + b"Content-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\na",
        400,
    ),
    "another expectation": (HEAD + b"Expect: a-miracle\r\n\r\n", 417),
    "a chunk size that is none": (CHUNKED + b"g\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size with 0x": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "a signed chunk size": (CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    "a negative chunk size": (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk size beyond 64 bits": (CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk without its end of line": (CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n", 400),
    "a chunk size line with a bare line feed": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "chunk data that ends in a bare line feed": (CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    "a line feed in a chunk extension": (CHUNKED + b"3;a=\nb\r\nabc\r\n0\r\n\r\n", 400),
    "a blank before a chunk size": (CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n", 400),
    "a blank after a chunk size": (CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    "an empty chunk size": (CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    "a length in the trailers": (CHUNKED + b"0\r\nContent-Length: 9\r\n\r\n", 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/2.0 in the request line": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "a version that is none": (b"GET / HTTP/1.12\r\nHost: x\r\n\r\n", 400),
    "another protocol's name": (b"GET / HTCPCP/1.1\r\nHost: x\r\n\r\n", 400),
    "a lower case version": (b"GET / http/1.1\r\nHost: x\r\n\r\n", 400),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an absolute target with another scheme": (b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a target that is a name": (b"GET servers HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a target with a blank": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a target with a NUL": (b"GET /a\x00b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a target with a fragment": (b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a method in lower case": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an unknown method": (b"MAKE /coffee HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), 400),
    "too many header bytes": (HEAD + b"X-A: " + b"a" * 70000 + b"\r\n\r\n", 431),
    "too many headers": (HEAD + b"X-A: b\r\n" * 9000 + b"\r\n", 431),
    "a target that is too long": (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
}

# What h11 takes and we do not, and why.
STRICTER = {
    "two lengths that agree": "RFC 9112 6.3 allows it; a next hop may take the first, the last or both",
    "a list of lengths": "the same",
    "a chunk size with a blank": "RFC 9112 7.1.1 has no blank there; hops differ in where the number ends",
    "a blank after a chunk size": "the same",
    "a bare line feed": "RFC 9112 2.2 lets a recipient take it; a next hop may not see the same lines",
    "a bare line feed after a header": "the same",
    "a bare line feed before the body": "the same",
    "a folded header": "RFC 9112 5.2: a server that is no gateway may unfold; hops differ in the value",
    "a folded first header": "the same",
    "two tokens": "a WSGI service joins them, others take the first: who is it then?",
    "two Expects": "a single-valued header",
    "another expectation": "RFC 9110 10.1.1: what cannot be met is 417",
    "a length and chunks": "RFC 9112 6.3 lets the coding win and warns of it: one hop may go by the length",
    "chunks and a length": "the same",
    "a length in the trailers": "nothing in trailers may say anything of framing",
    "the preface of HTTP/2": "another protocol begins here",
    "a coding in HTTP/1.0": "RFC 9112 6.1: framing of such a message is to be taken as faulty",
    "HTTP/2.0 in the request line": "h11 hands any version on; we speak 1.1 and 1.0",
    "a version that is none": "the same",
    "CONNECT": "we are no tunnel",
    "an absolute target with another scheme": "nothing of ours is under it",
    "a target that is a name": "RFC 9112 3.2: no form of a target",
    "a target with a fragment": "RFC 9112 3.2: a target has none; services cut it off, we would not",
    "a method in lower case": "no service has it; methods are case-sensitive and llhttp knows a list",
    "an unknown method": "the same",
    "too many header bytes": "our bound is configured, h11's is the caller's",
    "too many headers": "the same",
    "a target that is too long": "the same",
    "a control byte in a value": "RFC 9110 5.5: invalid; a WSGI service may end the value there",
    "chunk data that ends in a bare line feed": "RFC 9112 7.1",
    "a line feed in a chunk extension": "the end of the line is where hops would differ",
}
# What we take and h11 does not, and why that is safe.
LENIENT = {
    "an empty line first": "RFC 9112 2.2: ignored, for old clients send one after a body",
    "blanks before the target": "RFC 9112 3 allows it; the next hop gets a request line of our own",
}


def h11_takes(data: bytes) -> bool:
    """Whether h11 reads at least one whole request of these bytes, and no error."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    whole = 0
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                break
            whole += type(event) is h11.EndOfMessage
    except h11.RemoteProtocolError:
        return False
    return bool(whole)


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_and_nothing_handed_on(name: str) -> None:
    data, status = REFUSED[name]
    fed = await feed([data])
    assert fed.requests == []
    assert fed.closed, "what follows a refused message cannot be read"
    if not fed.broken:  # else the handler answered for a body that broke off
        assert fed.statuses == [status]


@pytest.mark.parametrize("name", REFUSED)
def test_stricter_than_h11_only_with_a_reason(name: str) -> None:
    if h11_takes(REFUSED[name][0]):
        assert name in STRICTER


# name -> (bytes, [(method, target, body)])
TAKEN: dict[str, tuple[bytes, list[tuple[bytes, bytes, bytes]]]] = {
    "a plain GET": (HEAD + b"\r\n", [(b"GET", b"/", b"")]),
    "an empty line first": (b"\r\n" + HEAD + b"\r\n", [(b"GET", b"/", b"")]),
    "blanks before the target": (b"GET   / HTTP/1.1\r\nHost: x\r\n\r\n", [(b"GET", b"/", b"")]),
    "an absolute target": (
        b"GET http://y:1/servers?limit=2 HTTP/1.1\r\nHost: x\r\n\r\n",
        [(b"GET", b"/servers?limit=2", b"")],
    ),
    "an absolute target without a path": (b"GET http://y HTTP/1.1\r\nHost: x\r\n\r\n", [(b"GET", b"/", b"")]),
    "no Host in HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", [(b"GET", b"/", b"")]),
    "bytes above ASCII in a value": (HEAD + b"X-A: \xc3\xa4\xff\r\n\r\n", [(b"GET", b"/", b"")]),
    "an empty value": (HEAD + b"X-A:\r\n\r\n", [(b"GET", b"/", b"")]),
    "blanks around a value": (HEAD + b"X-A: \t b \t\r\n\r\n", [(b"GET", b"/", b"")]),
    "a length with zeros": (POST + b"Content-Length: 003\r\n\r\nabc", [(b"POST", b"/", b"abc")]),
    "a chunk extension": (CHUNKED + b'3;a="b"\r\nabc\r\n0\r\n\r\n', [(b"POST", b"/", b"abc")]),
    "trailers": (CHUNKED + b"3\r\nabc\r\n0\r\nX-Roles: admin\r\n\r\n", [(b"POST", b"/", b"abc")]),
    "chunk sizes in either case": (CHUNKED + b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
                                   [(b"POST", b"/", b"01234567890123456789")]),
    "chunked in upper case": (
        POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
        [(b"POST", b"/", b"")],
    ),
    "pipelined": (
        POST + b"Content-Length: 3\r\n\r\nabc" + HEAD + b"\r\n" + CHUNKED + b"1\r\nz\r\n0\r\n\r\n",
        [(b"POST", b"/", b"abc"), (b"GET", b"/", b""), (b"POST", b"/", b"z")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
async def test_taken_as_it_is_meant(name: str) -> None:
    data, expected = TAKEN[name]
    fed = await feed([data])
    assert [(got.method, got.target, got.body) for got in fed.requests] == expected
    assert fed.statuses == [200] * len(expected)


@pytest.mark.parametrize("name", TAKEN)
def test_never_more_lenient_than_h11(name: str) -> None:
    assert h11_takes(TAKEN[name][0]) or name in LENIENT


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.0"])
async def test_an_upgrade_is_not_taken_up(protocol: bytes) -> None:
    """The request is answered as any other; what comes after it is not HTTP/1.1 to us and never read."""
    data = HEAD + b"Connection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n" + SMUGGLED
    fed = await feed([data])
    assert [got.target for got in fed.requests] == [b"/"]
    assert fed.statuses == [200]
    assert b"101" not in fed.written
    assert fed.closed
    assert all(not line.lower().startswith(b"upgrade") for line in fed.requests[0].lines)


async def test_pipelined_requests_are_answered_in_order() -> None:
    data = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(100))
    fed = await feed([data])
    assert [got.target for got in fed.requests] == [b"/%d" % number for number in range(100)]


async def test_a_refused_request_comes_after_the_answers_of_those_before_it() -> None:
    fed = await feed([HEAD + b"\r\n" + HEAD + b"\r\n" + b"NONSENSE\r\n\r\n"])
    assert fed.statuses == [200, 200, 400]
    assert fed.closed


async def test_trailers_are_no_headers() -> None:
    fed = await feed([CHUNKED + b"0\r\nX-Roles: admin\r\nHost: y\r\n\r\n" + HEAD + b"\r\n"])
    assert len(fed.requests) == 2
    assert all(b"admin" not in line for got in fed.requests for line in got.lines)


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_the_header_bound_holds_however_the_bytes_come(piece: int) -> None:
    data = HEAD + b"X-A: " + b"a" * 20000
    fed = await feed([data[at : at + piece] for at in range(0, len(data), piece)], header_bytes=8192)
    assert fed.statuses == [431]


async def test_headers_below_the_bound_are_taken() -> None:
    fed = await feed([HEAD + b"X-A: " + b"a" * 8000 + b"\r\n\r\n"], header_bytes=8192)
    assert fed.statuses == [200]
