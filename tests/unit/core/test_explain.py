"""A request put together from lines of a log, in whatever order and wrapping they come."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.access_log import LONGEST_ID, request_id_of
from atoll.core.explain import put_together, read, request_ids

Line = dict[str, Any]

OWN = "req-00000000-0000-4000-a000-000000000001"
SITES = "req-00000000-0000-4000-a000-000000000002"


def asked(site: str, at: float, ms: float, **more: Any) -> Line:
    """A line of a call out that began `at` seconds and took `ms`."""
    line = {
        "time": at + ms / 1000, "event": "site_answered", "request_id": OWN, "service": "compute",
        "method": "GET", "path": "/v2.1/servers", "status": 200, "ms": ms, "site": site,
        "site_request_id": "",
    }  # fmt: skip
    return line | more


def ended(at: float, ms: float, **more: Any) -> Line:
    """The line of the end of a request that began `at` seconds and took `ms`."""
    line = {
        "time": at + ms / 1000, "event": "request_answered", "request_id": OWN, "service": "compute",
        "method": "GET", "path": "/compute/v2.1/servers", "status": 200, "ms": ms,
    }  # fmt: skip
    return line | more


def entries(*lines: Line):
    return [read(json.dumps(line).encode()) for line in lines]


WRAPPINGS = {
    "as it is": lambda line: line,
    "journalctl": lambda line: f"Nov 21 10:00:00 host atoll[12]: {line}",
    "journalctl -o json": lambda line: json.dumps({"__CURSOR": "s=1", "MESSAGE": line, "_PID": "12"}),
    "docker": lambda line: json.dumps(
        {"log": line + "\n", "stream": "stdout", "time": "2026-11-21T10:00:00Z"}
    ),
    "containerd": lambda line: f"2026-11-21T10:00:00Z stdout F {line}",
    "a carriage return": lambda line: line + "\r",
}


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS)
def test_a_line_is_read_in_what_collectors_put_around_it(wrapping):
    line = json.dumps(ended(5.0, 10.0, client="127.0.0.1:1"))
    assert read(wrapping(line).encode()) == read(line.encode())
    assert read(line.encode()) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"req-1 but no JSON",
        b"{",
        b'{"event": "request_answered", "request_id": "req-1", "tim',
        b'{"event": "request_answered", "request_id": "req-1"}',
        b'{"event": 1, "request_id": "req-1"}',
        b'{"event": "serving"}',
        b'{"MESSAGE": "no JSON inside"}',
        b'{"event": "undone", "request_id": "\xff"}',
        b"[1]",
    ],
)
def test_what_is_no_line_of_ours_is_passed_over(line):
    assert read(line) is None


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_lines_is_of_no_account(shuffled: random.Random):
    lines: list[Line] = [
        asked("a", 100.001, 5, why="search"),
        asked("b", 100.001, 9, why="search"),
        asked("b", 100.012, 3),
        ended(100.0, 20, token_ms=0.5),
        {"event": "undone", "request_id": OWN, "timestamp": "1970-01-01T00:01:40.015Z", "level": "info"},
    ]
    expected = put_together(entries(*lines), OWN)
    shuffled.shuffle(lines)
    (one,) = put_together(entries(*lines), OWN)
    assert [one] == expected
    assert sorted(call.at_ms for call in one.calls) == [call.at_ms for call in one.calls]
    assert (one.calls[-1].site, one.calls[-1].at_ms, one.calls[-1].ms) == ("b", 12.0, 3)
    assert [call.site for call in one.searched] == ["a", "b"]
    assert [(event.event, event.at_ms) for event in one.events] == [("undone", 15.0)]
    assert one.waited_ms == pytest.approx(0.5 + 9 + 3)


def test_what_overlaps_is_waited_for_once_and_what_comes_after_the_answer_not_at_all():
    lines = [asked("a", 10.0, 8), asked("b", 10.002, 3), asked("c", 10.007, 5), asked("d", 10.5, 90)]
    (one,) = put_together(entries(*lines, ended(10.0, 15)), OWN)
    assert one.waited_ms == pytest.approx(12)


def test_a_request_without_its_end_is_told_from_its_calls():
    (one,) = put_together(entries(asked("a", 7.0, 5), asked("b", 7.01, 30, status=0)), OWN)
    assert not one.answered
    assert (one.started, one.ms) == (7.0, 40.0)
    assert [call.status for call in one.calls] == [200, 0]


def test_one_id_that_a_client_used_for_several_requests():
    """Each call out goes to the request that was under way; what came after goes to the one before it."""
    lines = [
        ended(10.0, 50, path="/compute/one"),
        ended(20.0, 50, path="/compute/two"),
        asked("a", 10.01, 5),
        asked("b", 20.01, 5),
        asked("c", 25.0, 5),
        asked("d", 9.0, 5),
    ]
    one, two = put_together(entries(*lines), OWN)
    assert (one.path, [call.site for call in one.calls]) == ("/compute/one", ["d", "a"])
    assert (two.path, [call.site for call in two.calls]) == ("/compute/two", ["b", "c"])


def test_requests_at_the_same_time_under_one_id_keep_all_their_calls():
    lines = [ended(10.0, 50), ended(10.01, 50), *(asked(f"s{n}", 10.0 + n / 100, 5) for n in range(5))]
    found = put_together(entries(*lines), OWN)
    assert sorted(call.site for one in found for call in one.calls) == ["s0", "s1", "s2", "s3", "s4"]


def test_a_site_that_has_its_own_id_for_it():
    lines = entries(asked("a", 1.0, 1, site_request_id=SITES), ended(1.0, 2))
    assert request_ids(lines, SITES) == {OWN}
    assert request_ids(lines, OWN) == {OWN}
    assert request_ids(lines, "req-3") == set()


def test_an_error_is_told_without_its_traceback():
    raised = [{"exc_type": "LookupError", "exc_value": "gone", "frames": [{"filename": "x.py"}]}]
    line: Line = {
        "event": "request_failed", "request_id": OWN, "level": "error", "exception": raised, "path": "/x",
        "timestamp": "1970-01-01T00:00:01.005Z",
    }  # fmt: skip
    (one,) = put_together(entries(line, ended(1.0, 9, status=500, fault="internal")), OWN)
    assert one.events[0].data == {"path": "/x", "error": "LookupError: gone"}


@given(st.binary(max_size=200))
def test_a_site_cannot_write_into_the_log_by_its_request_id(value: bytes):
    written = request_id_of(value)
    assert len(written) <= LONGEST_ID
    assert json.loads(f'{{"site_request_id":"{written}"}}')["site_request_id"] == written
    assert written.isprintable()
