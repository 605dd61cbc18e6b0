"""Any bytes, cut anywhere: the same requests or none, and never an accident."""

import asyncio
import re
from collections.abc import Sequence
from itertools import pairwise

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.wire.feeding import Fed, feed
from tests.unit.wire.test_strict import REFUSED, TAKEN

FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CORPUS = [data for data, _ in [*REFUSED.values(), *TAKEN.values()] if len(data) < 2000]
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"5", b"chunked", b"HTTP/1.1", b"\x0b",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n", b"0\r\n\r\n", b"\xff",
    b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", b"Connection: X-Auth-Token\r\n",
    b"Expect: 100-continue\r\n",
)  # fmt: skip


def fed(pieces: Sequence[bytes]) -> Fed:
    """Feed pieces on a loop of their own."""
    with asyncio.Runner() as runner:
        return runner.run(feed(pieces))


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A few well-formed requests one after the other."""
    return b"".join(
        draw(st.lists(st.sampled_from([data for data, _ in TAKEN.values()]), min_size=1, max_size=4))
    )


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Requests with bytes put in, taken out, doubled or changed."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(CORPUS), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        new = draw(
            st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3), st.just(bytes(data[at:end]) * 2))
        )
        data[at:end] = new
    return bytes(data)


def pieces_of(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """The data cut at some places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@FAST
@given(streams(), st.lists(st.integers(0, 4000), max_size=12))
def test_any_split_gives_the_same_requests(data: bytes, cuts: list[int]) -> None:
    whole, split = fed([data]), fed(pieces_of(data, cuts))
    assert split.requests == whole.requests
    assert split.statuses == whole.statuses
    assert split.closed == whole.closed


@FAST
@given(mutated(), st.lists(st.integers(0, 4000), max_size=6))
def test_any_split_of_nonsense_gives_the_same_too(data: bytes, cuts: list[int]) -> None:
    whole, split = fed([data]), fed(pieces_of(data, cuts))
    assert split.requests == whole.requests


@FAST
@given(mutated())
def test_what_is_handed_on_h11_reads_alike(data: bytes) -> None:
    """What a next hop is told of the first request is what h11 would have told it."""
    got = fed([data])
    if not got.requests or data.startswith(b"\r\n"):
        return
    first = got.requests[0]
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(re.sub(rb"\A[\r\n]*([A-Z]+) +(\S+) +HTTP", rb"\1 \2 HTTP", data))
    event = connection.next_event()
    assert type(event) is h11.Request
    assert event.method == first.method
    body = b""
    while type(event := connection.next_event()) is h11.Data:
        body += event.data
    assert type(event) is h11.EndOfMessage
    assert body == first.body


@FAST
@given(mutated())
def test_every_line_handed_on_is_one_line(data: bytes) -> None:
    for request in fed([data]).requests:
        for line in request.lines:
            assert line.endswith(b"\r\n")
            assert not set(line[:-2]) & set(b"\r\n\0")
        assert not set(request.target) & set(b"\r\n\0 ")


@FAST
@given(st.binary(max_size=400))
def test_any_bytes_end_in_order(data: bytes) -> None:
    """No exception escapes; whatever is answered is a status."""
    got = fed([data])
    assert all(status in {200, 400, 408, 414, 417, 431, 501, 505} for status in got.statuses)
