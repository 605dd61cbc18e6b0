"""What happened to a request, put together from the lines of a log. Pure: lines come in, in any order.

The lines of the access log say nearly all of it; events that name the request (`undone`, `request_failed`, …)
are taken in where they are among the lines. What is not in the lines is not made up.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from atoll.core.access_log import REQUEST, SITE, RequestLine, SiteLine
from atoll.core.choose import Reason

# When a line was written is of the wall's clock, its length of the loop's, which goes in steps (seconds).
STEP = 0.005
# Where those who collect logs put the line they were given: journalctl -o json, Docker's json-file.
WRAPPED = ("MESSAGE", "log")
# Keys of an event that are said elsewhere, and events that only repeat what the access log has.
SAID = frozenset({"event", "request_id", "timestamp", "level", "exception"})
REPEATING = frozenset({"site_chosen"})


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the log that names the request. `at_ms` counts from the start of the request."""

    at_ms: float
    event: str
    level: str
    data: dict[str, Any]


class CallOut(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a site. `at_ms` counts from the start of the client's; the rest is as in the log."""

    at_ms: float
    ms: float
    site: str
    service: str
    method: str
    path: str
    status: int
    why: str
    repeated: bool
    site_request_id: str

    @property
    def end_ms(self) -> float:
        """When its answer began, or it was given up."""
        return self.at_ms + self.ms

    @property
    def failed(self) -> bool:
        """Whether it got no answer, or one that says that the site is not well."""
        return self.status == 0 or self.status >= 500 or self.status == 429


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a client. `started` is in seconds since 1970.

    Without `answered` there is no line of its end: it is under way, its gateway was killed, or the line is in
    another log; then all that is known comes from its calls out.
    """

    request_id: str
    started: float
    answered: bool
    service: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    ms: float = 0.0
    bytes: int = 0
    client: str = ""
    project_id: str = ""
    user_id: str = ""
    token_ms: float | None = None
    fault: str = ""
    message: str = ""
    missing: dict[str, str] = {}
    reasons: list[Reason] = []
    calls: list[CallOut] = []
    events: list[Event] = []

    @property
    def waited_ms(self) -> float:
        """How long at least one site, or the identity service, had not begun to answer."""
        spans = sorted((call.at_ms, call.end_ms) for call in self.calls)
        if self.token_ms is not None:
            spans.insert(0, (0.0, self.token_ms))
        waited = end = 0.0
        for begin, until in spans:
            last = min(until, self.ms)
            waited += max(0.0, last - max(begin, end))
            end = max(end, last)
        return waited

    @property
    def searched(self) -> list[CallOut]:
        """The calls that looked for something."""
        return [call for call in self.calls if call.why == "search"]


class _Any(msgspec.Struct):
    event: str = ""
    request_id: str = ""
    message: str = msgspec.field(default="", name="MESSAGE")
    log: str = ""


Read = RequestLine | SiteLine | dict[str, Any]

_any = msgspec.json.Decoder(_Any).decode
_request = msgspec.json.Decoder(RequestLine).decode
_site = msgspec.json.Decoder(SiteLine).decode
_event = msgspec.json.Decoder(dict[str, Any]).decode


def read(line: bytes) -> Read | None:
    """What a line says of a request, None where it says nothing. What stands before the JSON is skipped."""
    start = line.find(b"{")
    if start < 0:
        return None
    text = line[start:].rstrip()
    try:
        known = _any(text)
        if not known.event and (inside := known.message or known.log):
            text = inside.strip().encode()
            known = _any(text)
        if not known.event or not known.request_id:
            return None
        if known.event == REQUEST:
            return _request(text)
        return _site(text) if known.event == SITE else _event(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def request_ids(entries: Iterable[Read], ident: str) -> set[str]:
    """The ids of the requests that `ident` stands for: Atoll's own id of one, or a site's of a call out."""
    found = set()
    for entry in entries:
        if isinstance(entry, SiteLine) and entry.site_request_id == ident:
            found.add(entry.request_id)
        elif id_of(entry) == ident:
            found.add(ident)
    return found


def id_of(entry: Read) -> str:
    """The request that an entry belongs to."""
    return str(entry["request_id"]) if isinstance(entry, dict) else entry.request_id


def began(entry: Read) -> float:
    """When what an entry tells of began, in seconds since 1970."""
    if not isinstance(entry, dict):
        return entry.time - entry.ms / 1000
    try:
        return datetime.fromisoformat(str(entry.get("timestamp", ""))).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def put_together(entries: Iterable[Read], request_id: str) -> list[Explained]:
    """All requests of an id, in the order of their starts: more than one where a client used it again."""
    own = [entry for entry in entries if id_of(entry) == request_id]
    ends = sorted((one for one in own if isinstance(one, RequestLine)), key=began)
    rest = [one for one in own if not isinstance(one, RequestLine)]
    if not ends:
        return [_one(request_id, None, rest)] if rest else []
    parts: list[list[Read]] = [[] for _ in ends]
    for one in rest:
        parts[_belongs(one, ends)].append(one)
    return [_one(request_id, end, part) for end, part in zip(ends, parts, strict=True)]


def _belongs(entry: Read, ends: Sequence[RequestLine]) -> int:
    """Which of several requests an entry is of: the last begun that was under way, else the last begun."""
    start = began(entry)
    before = [n for n, end in enumerate(ends) if began(end) - STEP <= start]
    during = [n for n in before if start <= ends[n].time + STEP]
    return (during or before or [0])[-1]


def _one(request_id: str, end: RequestLine | None, rest: Sequence[Read]) -> Explained:
    started = began(end) if end is not None else min(map(began, rest))
    calls = [_call(one, started) for one in rest if isinstance(one, SiteLine)]
    calls.sort(key=lambda call: (call.at_ms, call.site, call.ms))
    told = sorted((one for one in rest if isinstance(one, dict)), key=began)
    events = [_event_of(one, started) for one in told if one["event"] not in REPEATING]
    if end is None:
        return Explained(
            request_id=request_id, started=started, answered=False, calls=calls, events=events,
            ms=max((call.end_ms for call in calls), default=0.0),
        )  # fmt: skip
    return Explained(
        request_id=request_id,
        started=started,
        answered=True,
        calls=calls,
        events=events,
        **{name: getattr(end, name) for name in _SHARED},
    )


_SHARED = [name for name in Explained.__struct_fields__ if name in set(RequestLine.__struct_fields__)]
_SHARED.remove("request_id")


def _call(line: SiteLine, started: float) -> CallOut:
    return CallOut(
        at_ms=_since(started, began(line)),
        **{name: getattr(line, name) for name in CallOut.__struct_fields__ if name != "at_ms"},
    )


def _event_of(entry: dict[str, Any], started: float) -> Event:
    data = {key: value for key, value in entry.items() if key not in SAID}
    raised = entry.get("exception")
    if isinstance(raised, list) and raised and isinstance(raised[0], dict):
        data["error"] = f"{raised[0].get('exc_type')}: {raised[0].get('exc_value')}"
    return Event(
        at_ms=_since(started, began(entry)),
        event=str(entry["event"]),
        level=str(entry.get("level", "")),
        data=data,
    )


def _since(started: float, then: float) -> float:
    """Milliseconds; the two clocks differ by a step at most, so nothing begins before the request."""
    return round(max(0.0, then - started) * 1000, 2)
