"""A request explained, as a person reads it: who asked for what, what was done, and when.

Only what the log says; what follows from the tables (the route, what its kind means) is said as such.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from atoll.core.access_log import RequestLine
from atoll.core.choose import CHOSEN, Reason
from atoll.core.explain import CallOut, Event, Explained
from atoll.services.catalog import SERVICES
from atoll.services.table import Kind, Shape

# A list over many sites is drawn as its failures and its slowest calls; `--all` has every one.
MANY = 30
SLOWEST = 10
WIDEST_BAR, NARROWEST_BAR = 40, 10
LONGEST_PATH = 40

READS: Final = frozenset({"GET", "HEAD"})
MEANS: Final = {
    (Kind.PLACED, Shape.BY_ID): "it goes to the site of its id",
    (Kind.PLACED, Shape.CREATE): "it is made at one site, which is chosen",
    (Kind.PLACED, Shape.LIST): "the lists of all sites are merged",
    (Kind.SHARED, Shape.BY_ID): "any site that has it answers",
    (Kind.SHARED, Shape.CREATE): "it is made at every site or at none",
    (Kind.SHARED, Shape.LIST): "the lists of all sites are merged, each thing once",
    (Kind.SUMMED, None): "a figure over all sites",
    (Kind.PER_SITE, None): "it belongs to a site; lists are joined",
    (Kind.TOPOLOGY, None): "it is at the site that has it already, else at the default site",
    (Kind.EACH, None): "each site has its own: all are asked, and answered for together",
    (Kind.ANY_SITE, None): "every site answers alike, so one is asked",
    (Kind.COMMON, None): "what every site has, and no more",
    (Kind.ZONES, None): "the zones of all sites, under the operator's names",
    (Kind.EVENTS, None): "each event goes to the site of its server",
    (Kind.IDENTITY, None): "Keystone's, passed on",
    (Kind.CATALOG, None): "Keystone's, with Atoll's catalogue in the answer",
}
# Rules that name the site, where others leave it out or give it points.
DECIDING: Final = frozenset({CHOSEN, "alias", "equivalent", "nowhere"})


class Matched(NamedTuple):
    """What the tables say of a path: the route's template, kind and resource, and what the kind means."""

    template: str
    kind: str
    resource: str
    means: str


UNMATCHED: Final = Matched("", "", "", "it is in no table: one site says what it thinks of it")


def matched(method: str, path: str) -> Matched | None:
    """What the tables of this version say of a path; None where it is none of a service's."""
    parts = path.encode("latin-1", "replace").split(b"/")
    service = SERVICES.get(parts[1].decode("latin-1")) if len(parts) > 1 else None
    if service is None:
        return None
    tail = parts[3:]
    if not any(tail):
        return Matched("", "", "", "what versions there are, over all sites")
    if service.project_in_path == "optional" and service.project_form.match(tail[0]):
        tail = tail[1:]
    route = service.match(method.encode("latin-1", "replace"), tail).route
    if route is None:
        return UNMATCHED
    means = MEANS.get((route.kind, route.shape)) or MEANS[route.kind, None]
    if route.kind is Kind.SHARED and route.shape is Shape.BY_ID and method not in READS and not route.raw:
        means = "it is carried to every site that has it"
    return Matched(route.template, route.kind.value, route.resource, means)


def draw(one: Explained, *, width: int, bar: str, every: bool) -> Iterator[str]:
    """The explanation of a request in lines of about `width` columns; `bar` is what bars are made of."""
    yield f"{one.request_id}   {_moment(one.started)}"
    yield from _answer(one)
    yield ""
    yield from _columns(_facts(one))
    if one.calls or one.token_ms is not None:
        yield ""
        yield from _timeline(one, width, bar, every=every)
    if one.reasons:
        yield ""
        decided = any(reason.rule in DECIDING for reason in one.reasons)
        yield "WHY THIS SITE" if decided else "WHAT WAS CONSIDERED"
        yield from _columns([_reason(reason) for reason in one.reasons])
    if one.missing:
        yield ""
        yield "MISSING IN THE ANSWER"
        yield from _columns([[site, reason] for site, reason in one.missing.items()])
    if one.events:
        yield ""
        yield "EVENTS"
        yield from _columns([_event(event) for event in one.events])
    known = [call for call in one.calls if call.site_request_id and (every or not call.why)]
    if known:
        yield ""
        yield "ITS NAMES IN THE LOGS OF THE SITES"
        yield from _columns(
            [[call.site, call.site_request_id] for call in (known if every else known[:SLOWEST])]
        )


def plainly(text: str) -> str:
    """Text of a log fit for a terminal: nothing in it moves the cursor."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def summary(line: RequestLine) -> dict[str, object]:
    """A request in a row, for a list of the last ones."""
    return {
        "time": _moment(line.time - line.ms / 1000),
        "request_id": line.request_id,
        "status": line.status,
        "ms": round(line.ms, 1),
        "method": line.method,
        "path": plainly(line.path),
        "sites": list(dict.fromkeys(line.sites)),
        "missing": list(line.missing),
        "project_id": line.project_id,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(" ", "milliseconds").replace("+00:00", "Z")


def _answer(one: Explained) -> Iterator[str]:
    if not one.answered:
        yield "no line of its end: it is under way, its gateway was killed, or the line is in another log"
        return
    size = f", {one.bytes} bytes" if one.bytes else ""
    yield f"{one.method} {plainly(one.path)}   {one.status} in {_ms(one.ms)} ms{size}"
    if one.fault:
        yield f"Atoll's own fault, {one.fault}: {plainly(one.message) or 'see the log for its traceback'}"
    elif one.status == 499:
        yield "the client went away before it was answered"
    elif one.status >= 400 and one.calls:
        own = [call for call in one.calls if not call.why and call.status == one.status]
        yield f"as the site {own[-1].site} answered" if own else "as a site answered"


def _facts(one: Explained) -> Iterator[list[str]]:
    if not one.answered:
        return
    if one.client:
        yield ["client", one.client]
    if one.user_id:
        yield ["caller", f"user {one.user_id}, project {one.project_id or 'none'}"]
    known = matched(one.method, one.path)
    if known is not None:
        route = f"{one.service} {known.template or '-'}"
        named = ", ".join(word for word in (known.resource, known.kind) if word)
        yield ["route", f"{route} ({named}): {known.means}" if named else f"{route}: {known.means}"]
        if known.kind == Kind.PLACED.value and (place := _place(one, known)):
            yield ["place", place]
    elif one.service == "atoll":
        yield ["route", "Atoll's own"]
    yield ["time", f"{_ms(one.waited_ms)} ms until others answered, {_ms(one.ms - one.waited_ms)} ms besides"]


def _place(one: Explained, known: Matched) -> str:
    """How it was known where a thing is."""
    if known.means != MEANS[Kind.PLACED, Shape.BY_ID]:
        return ""
    if searched := one.searched:
        found = [call.site for call in searched if call.status == 200]
        silent = [call.site for call in searched if call.status not in {200, 400, 404, 410}]
        text = f"not on record, so {len(searched)} sites were asked: "
        text += f"found at {', '.join(found)}" if found else "found at none"
        return text + (f"; {', '.join(silent)} could not say" if silent else "")
    if any(reason.rule == "nowhere" for reason in one.reasons):
        return "known to be nowhere, from a search a moment before"
    return "on record, so nobody was asked" if one.calls else ""


def _reason(reason: Reason) -> list[str]:
    verdict = "left out" if reason.points is None else f"{reason.points:+8.2f}"
    if reason.rule in DECIDING:
        verdict = reason.rule
    return [reason.site, verdict, plainly(reason.text)]


def _event(event: Event) -> list[str]:
    data = "  ".join(f"{key}={plainly(str(value))}" for key, value in event.data.items())
    return [f"+{_ms(event.at_ms)} ms", event.level, event.event, data]


# -- the time line ------------------------------------------------------------------------------------


def _timeline(one: Explained, width: int, bar: str, *, every: bool) -> Iterator[str]:
    shown = one.calls if every or len(one.calls) <= MANY else _telling(one.calls)
    heads = ["SITE", "", "REQUEST", "STATUS", "FROM MS", "FOR MS"]
    rows = [_row(call, whole=every) for call in shown]
    spans = [(call.at_ms, call.ms) for call in shown]
    if one.token_ms is not None:
        rows.insert(0, ["identity", "token", "is it valid, and whose", "", "0", _ms(one.token_ms)])
        spans.insert(0, (0.0, one.token_ms))
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    room = min(WIDEST_BAR, max(NARROWEST_BAR, width - sum(widths) - 2 * len(widths) - 2))
    total = max(one.ms, *(begin + took for begin, took in spans), 0.01)
    yield _line(heads, widths).rstrip()
    for row, (begin, took) in zip(rows, spans, strict=True):
        first = min(room - 1, int(begin / total * room))
        length = max(1, min(room - first, round(took / total * room)))
        yield f"{_line(row, widths)}  {' ' * first + bar * length:<{room}}|"
    if len(shown) < len(one.calls):
        left = [call for call in one.calls if call not in shown]
        times = f"{_ms(min(call.ms for call in left))} to {_ms(max(call.ms for call in left))} ms"
        yield f"… and {len(left)} more that answered, in {times}: --all shows them"


def _telling(calls: Sequence[CallOut]) -> list[CallOut]:
    """The calls that failed and the slowest ones, in their order."""
    slow = sorted(calls, key=lambda call: call.ms)[-SLOWEST:]
    return [call for call in calls if call.failed or call in slow]


def _row(call: CallOut, *, whole: bool) -> list[str]:
    status = str(call.status or "none")
    if call.repeated:
        status += ", sent again" if call.status == 0 else ", sent twice"
    path = plainly(call.path)
    request = f"{call.method} {path if whole else _shortened(path)}"
    return [call.site, call.why, request, status, _ms(call.at_ms), _ms(call.ms)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    text = [cell.ljust(width) for cell, width in zip(cells[:4], widths[:4], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[4:], widths[4:], strict=True)]
    return "  ".join(text + numbers)


def _shortened(path: str) -> str:
    if len(path) <= LONGEST_PATH:
        return path
    return path[:20] + "…" + path[21 - LONGEST_PATH :]


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.1f}"


def _columns(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Rows in columns, the last one as long as it is."""
    every = list(rows)
    widths = [max(len(row[column]) for row in every) for column in range(len(every[0]) - 1)] if every else []
    for row in every:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        yield ("  " + "  ".join([*cells, row[-1]])).rstrip()
