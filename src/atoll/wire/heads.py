"""Header sections that come again and again: parsed once, then known by their bytes.

A client that polls sends the same header lines with every request. Once the parser has taken a section and
the checks have passed it, the same bytes mean the same; only the request line before them is another.
"""

import re
from collections import Counter

from atoll.wire.body import EMPTY, nothing
from atoll.wire.message import HeaderNames, Recurring, Response

# Sections remembered, and how long one may be (bytes): a few thousand clients, a token each.
SECTIONS = 4096
LONGEST_SECTION = 4096
# Header lines of answers remembered: dates and numbers come and go, so they are all forgotten at the bound.
LINES = 2048
# Forms of heads kept: sites differ in a few headers, answers in their status. A form is made of a head that
# has come so often among so many.
FORMS = 16
OFTEN = 8
HEADS = 500

END = b"\r\n\r\n"
_VERSION = b" HTTP/1.1"
# What may stand as the target before a known section: nothing encoded, no query, nothing to parse.
PLAIN_TARGET = re.compile(rb"/[0-9A-Za-z._/-]{1,300}\Z")
# What may stand between the line ends of a head: no bare CR or LF, no control bytes (RFC 9110 5.5).
_FIELD_BYTES = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Names whose values never come again.
_UNIQUE = frozenset({b"date", b"x-openstack-request-id", b"x-compute-request-id", b"content-length", b"etag"})
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
_VALUES = {b"content-length": rb"[0-9]{1,18}"}
# Twice, these would leave open where the answer ends.
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_DIGITS = 18  # of a length: more are not a length


class Head(Recurring):
    """The header section of a GET without a body; shared by all requests that bring it, never changed.

    `index` and `lines` are as in `Request`.
    """

    __slots__ = ("index", "lines")

    def __init__(self, index: dict[bytes, bytes], lines: list[bytes]) -> None:
        super().__init__()
        self.index = index
        self.lines = lines


class Heads(dict[bytes, Head]):
    """A header section, from the CRLF before it to its end, -> what it says."""

    def remember(self, data: bytes, head: Head) -> None:
        """Remember the section of a request that was parsed, if `data` is that request and no more."""
        if not data.startswith(b"GET /") or data.find(END) != len(data) - len(END):
            return
        end = data.find(b"\r\n")
        if not data.endswith(_VERSION, 0, end) or len(data) - end > LONGEST_SECTION:
            return
        if len(self) >= SECTIONS:
            self.clear()
        self[data[end:]] = head


def target_of(data: bytes, end: int) -> bytes | None:
    """What stands between GET and HTTP/1.1 in the first `end` bytes; it is to be held to PLAIN_TARGET."""
    if data.startswith(b"GET /") and data.endswith(_VERSION, 4, end):
        return data[4 : end - len(_VERSION)]
    return None


class Form(Recurring):
    """A head of answers that came again and again: every line is fixed but those that are new each time.

    `index` is as in `Response`, with the values of the first one.
    """

    __slots__ = ("index", "keeps", "length", "lines", "match", "status", "values")

    def __init__(
        self, status: int, keeps: bool, lines: list[bytes], read: list[tuple[bytes, bytes, bytes]]
    ) -> None:
        super().__init__()
        self.status = status
        self.keeps = keeps
        self.index: dict[bytes, bytes] = {}
        self.values: dict[bytes, int] = {}  # the group of each new value, by its name
        blocks = []  # the groups of what is passed on: lines that stand one after the other are one
        pattern = [re.escape(lines[0]), b"\r\n"]
        groups = 0
        inside = False
        for line, (name, value, whole) in zip(lines[1:], read, strict=True):
            _add(self.index, name, value)
            if bool(whole) is not inside:
                inside = not inside
                pattern.append(b"(" if inside else b")")
                if inside:
                    groups += 1
                    blocks.append(groups)
            if name in _UNIQUE:
                groups += 1
                self.values[name] = groups
                start = line.index(b":") + 2
                pattern += (re.escape(line[:start]), b"(", _VALUES.get(name, _VALUE), b")\r\n")
            else:
                pattern += (re.escape(line), b"\r\n")
        # One group more, of nothing: asked for several, a match gives a tuple.
        pattern.append(b")\r\n()" if inside else b"\r\n()")
        self.lines = (*blocks, groups + 1, groups + 1)
        self.length = self.values[b"content-length"]
        self.match = re.compile(b"".join(pattern)).match


class _Formed(Response):
    """An answer whose head is of a form: its headers are read when they are asked for."""

    __slots__ = ("_form", "_found", "_read")

    def __init__(self, form: Form, found: re.Match[bytes], length: int) -> None:
        self.status = form.status
        self.lines = found.group(*form.lines)
        self.body = EMPTY
        self.close = nothing
        self.content_length = length
        self.repeated = False
        self.form = self._form = form
        self._found = found
        self._read: dict[bytes, bytes] | None = None

    @property
    def index(self) -> dict[bytes, bytes]:
        """As in `Response`."""
        if self._read is None:
            found, form = self._found, self._form
            self._read = form.index | {name: found[group] for name, group in form.values.items()}
        return self._read

    def value(self, name: bytes) -> bytes:
        """As in `Response`."""
        group = self._form.values.get(name)
        return self._found[group] if group is not None else self._form.index.get(name, b"")


def _add(index: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    index[name] = index[name] + b", " + value if name in index else value


class Answers:
    """Reads answers that arrive whole in one piece, as short ones do.

    Takes only what leaves no question: HTTP/1.1, a status with a body, framing headers once, exactly the
    announced length. Everything else is left to the parser, faults included.
    """

    def __init__(self, names: HeaderNames) -> None:
        self._names = names
        self._lines: dict[bytes, tuple[bytes, bytes, bytes]] = {}
        self.seen: Counter[tuple[bytes, ...]] = Counter()
        self.forms: list[Form] = []

    def read(self, data: bytes) -> tuple[Response, bytes, bool] | None:
        """(the head, the body, whether the connection stays open), None where the parser has to look."""
        for form in self.forms:
            found = form.match(data)
            if found is not None:
                break
        else:
            return self._new(data)
        text = data[found.end() :]
        length = int(found[form.length])
        if length != len(text):
            return None
        if form is not self.forms[0]:
            self.forms.remove(form)
            self.forms.insert(0, form)
        return _Formed(form, found, length), text, form.keeps

    def _new(self, data: bytes) -> tuple[Response, bytes, bool] | None:
        """The same for a head of no known form."""
        size = data.find(END)
        lines = data[:size].split(b"\r\n") if size > 0 else [b""]
        status = _status(lines[0])
        if not status or len(data[:size].translate(None, _FIELD_BYTES)) != 2 * len(lines) - 2:
            return None
        index: dict[bytes, bytes] = {}
        headers = []
        for line in lines[1:]:
            read = self._lines.get(line) or self._line(line)
            if read is None or (read[0] in index and read[0] in _FRAMING):
                return None
            _add(index, read[0], read[1])
            headers.append(read)
        length = index.get(b"content-length", b"")
        connection = index.get(b"connection", b"keep-alive").lower()
        text = data[size + len(END) :]
        if (
            not (length.isdigit() and len(length) <= _DIGITS and int(length) == len(text))
            or connection not in {b"keep-alive", b"close"}
            or b"transfer-encoding" in index
        ):
            return None
        keeps = connection == b"keep-alive"
        self._learn(status, keeps, lines, headers)
        return Response(status, index, [whole for _, _, whole in headers if whole]), text, keeps

    def _line(self, line: bytes) -> tuple[bytes, bytes, bytes] | None:
        """(name in lower case, value, the line to pass on or b""), None for what is no plain header."""
        name, _, value = line.partition(b": ")
        if not name or not _TOKEN.issuperset(name):
            return None
        lower, passed_on = self._names[name]
        read = lower, value.strip(b" \t"), line + b"\r\n" if passed_on else b""
        if lower not in _UNIQUE:
            if len(self._lines) >= LINES:
                self._lines.clear()
            self._lines[line] = read
        return read

    def _learn(
        self, status: int, keeps: bool, lines: list[bytes], headers: list[tuple[bytes, bytes, bytes]]
    ) -> None:
        """Make a form of a head that has come often enough to be worth it."""
        names = [name for name, _, _ in headers]
        if len(set(names) & _UNIQUE) != sum(name in _UNIQUE for name in names):
            return  # one of the new lines comes twice
        fixed = (
            lines[0],
            *(name if name in _UNIQUE else line for line, name in zip(lines[1:], names, strict=True)),
        )
        if len(self.seen) >= HEADS:
            self.seen.clear()
        self.seen[fixed] += 1
        if self.seen[fixed] == OFTEN:
            del self.forms[FORMS - 1 :]
            self.forms.append(Form(status, keeps, lines, headers))


def _status(line: bytes) -> int:
    """The status of a first line, 0 where its answer is not plain."""
    code = line[9:12]
    if line[:9] != b"HTTP/1.1 " or not code.isdigit() or line[12:13] != b" ":
        return 0
    status = int(code)
    return status if 200 <= status <= 599 and status not in {204, 205, 304} else 0
