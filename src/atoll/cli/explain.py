"""`atoll explain`: how a request was matched, which sites were asked, how long each took, why one was chosen.

It reads the access log, so it says as much about a request of last week, of another gateway, of a process
that was killed. Nothing is done for it on the request path but writing the lines.
"""

import lzma
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from atoll.cli.explained import draw, matched, summary
from atoll.cli.files import config_option, read_config
from atoll.cli.log_files import PACKED, Logs, lines_backwards, lines_with
from atoll.cli.output import format_option, show
from atoll.core.access_log import REQUEST, RequestLine
from atoll.core.explain import Explained, Read, began, put_together, read, request_ids

# Every service makes its ids like this; around one may stand what a client printed with it.
REQUEST_ID = re.compile(r"req-[0-9A-Za-z-]{36}(?![0-9A-Za-z-])")
LAST = 20
# What monitoring asks every few seconds: in a list of the last requests it would be all there is.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
# Lines come to the log in bunches: a request may have begun this long before the lines around it (seconds).
BUNCH = 2.0
UNREADABLE = (OSError, EOFError, lzma.LZMAError)


@click.command()
@click.argument("request_id", required=False, metavar="[REQUEST-ID]")
@config_option
@click.option(
    "--log", "logs", multiple=True, type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="A log to read instead of the configured one, with its rotated files; - is standard input. Repeat "
    "it for several gateways, or for the log of events.",
)  # fmt: skip
@click.option(
    "--last", is_flag=False, flag_value=LAST, type=click.IntRange(1, 100_000), metavar="[N]",
    help=f"List the last N requests instead [{LAST}].",
)  # fmt: skip
@click.option(
    "--failed",
    is_flag=True,
    help="With --last: only those of status 429 or from 499 on, or that lacked a site.",
)
@click.option(
    "--with", "texts", multiple=True, metavar="TEXT",
    help="With --last: only those with TEXT in their line, an id or a site say (repeat).",
)  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Draw every request to a site, however many.")
@format_option
def explain(
    request_id: str | None,
    config_path: str,
    logs: tuple[Path, ...],
    last: int | None,
    every: bool,
    form: str,
    **only: Any,
) -> None:
    """Say what happened to a request: which route it took, which sites were asked, and why one was chosen.

    REQUEST-ID is what a client prints with an error, `x-openstack-request-id`: the id that the site gave the
    request, or Atoll's own. It is looked for in the access log that the configuration names.

    Exit status 1 where no log has it, 2 where there is no log to read.

    \b
    atoll explain req-2f1b3f0a-6f3e-4c53-a3a5-5f4b4f6f8a11
    atoll explain --last 10 --failed
    journalctl -u atoll -o cat --since -1h | atoll explain --log - req-…
    """  # noqa: D301 - click wants the character, not the two letters
    if (request_id is None) == (last is None):
        raise click.UsageError("Name a request id, or --last for a list of requests.")
    if last is None and any(only.values()):
        raise click.UsageError("--failed and --with are for --last.")
    ident = _request_id(request_id) if request_id is not None else ""
    with Logs(logs or [_configured(config_path)]) as opened:
        if last is not None:
            _list(opened, last, form, **only)
            return
        found = _find(opened, ident)
        files = [str(path) for path in opened.files]
    if not found:
        raise click.ClickException(
            f"{ident} is not in {', '.join(files)}. Was it another gateway's (--log), or is the line not "
            "written yet? Lines are written within a second of the answer."
        )
    _print(found, form, every=every)


def _request_id(given: str) -> str:
    """The id in what was given, which may be the whole of an error message."""
    found = REQUEST_ID.search(given)
    if found is None:
        raise click.UsageError(f"{given[:80]!r} is no request id: one is req- and 36 characters.")
    return found.group()


def _configured(config_path: str) -> Path:
    """The access log that the configuration names."""
    if not Path(config_path).exists():
        raise click.UsageError(
            f"There is no {config_path}: name the configuration (--config), or the log itself (--log FILE)."
        )
    name = read_config(config_path).gateway.access_log
    if name == "none":
        raise click.UsageError(
            f'No access log is written: gateway.access_log is "none" in {config_path}. Name a file there.'
        )
    if name == "stdout":
        raise click.UsageError(
            f'The access log goes to standard output (gateway.access_log is "stdout" in {config_path}). '
            "Hand it in from where that goes: journalctl -u atoll -o cat | atoll explain --log - REQUEST-ID"
        )
    return Path(name)


# -- one request --------------------------------------------------------------------------------------


def _find(logs: Logs, ident: str) -> list[Explained]:
    """The requests that an id stands for: Atoll's own id, or a site's of what was sent to it."""
    entries = _entries(logs, ident)
    found: list[Explained] = []
    for own in sorted(request_ids(entries, ident)):
        found += put_together(entries if own == ident else _entries(logs, own), own)
    return found


def _entries(logs: Logs, ident: str) -> list[Read]:
    """What the logs have of an id. Of each log the newest file is read first, none that is not needed."""
    needle = ident.encode()
    entries: list[Read] = []
    for family in logs.families:
        for path in family:
            here, begins = _in_file(logs, path, needle)
            entries += here
            if here and min(map(began, here)) > begins + BUNCH:
                break
    return entries


def _in_file(logs: Logs, path: Path, needle: bytes) -> tuple[list[Read], float]:
    """What a file has of an id, and when it begins."""
    try:
        with logs.opened(path) as stream:
            first = read(stream.readline())
            stream.seek(0)
            found = [entry for line in lines_with(stream, needle) if (entry := read(line)) is not None]
    except UNREADABLE as error:
        raise _unread(path, error) from error
    return found, began(first) if first is not None else float("inf")


def _unread(path: Path, error: Exception) -> click.UsageError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return click.UsageError(f"{path}: {why}. Name the log to read: --log FILE.")


def _print(found: Sequence[Explained], form: str, *, every: bool) -> None:
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode([_as_json(one) for one in found])).decode())
        return
    width = shutil.get_terminal_size((110, 24)).columns
    for number, one in enumerate(found):
        if number:
            click.echo("")
        for line in draw(one, width=width, bar=_bar(), every=every):
            click.echo(line)


def _as_json(one: Explained) -> dict[str, Any]:
    route = matched(one.method, one.path)
    return {
        **msgspec.to_builtins(one),
        "waited_ms": round(one.waited_ms, 2),
        "route": route._asdict() if route is not None else None,
    }


def _bar() -> str:
    try:
        "█…".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#"
    return "█"


# -- the last ones ------------------------------------------------------------------------------------


def _list(logs: Logs, count: int, form: str, *, failed: bool, texts: Iterable[str]) -> None:
    """The last requests of all logs, the last one at the end."""
    needles = [text.encode() for text in texts]

    def wanted(line: bytes) -> RequestLine | None:
        if not all(needle in line for needle in needles):
            return None
        entry = read(line)
        if not isinstance(entry, RequestLine) or not (_failed(entry) or _telling(entry, failed=failed)):
            return None
        return entry

    lines: list[RequestLine] = []
    for family in logs.families:
        lines += _latest(logs, family, count, wanted)
    lines.sort(key=lambda line: line.time)
    show([summary(line) for line in lines[-count:]], form, empty="No such request is in the log.")


def _latest(
    logs: Logs, family: Sequence[Path], count: int, wanted: Callable[[bytes], RequestLine | None]
) -> list[RequestLine]:
    """The last `count` requests of a log that are wanted, in any order."""
    needle = REQUEST.encode()
    found: list[RequestLine] = []
    for path in family:
        left = count - len(found)
        if not left:
            break
        try:
            with logs.opened(path) as stream:
                if path.suffix in PACKED:
                    found += deque(filter(None, map(wanted, lines_with(stream, needle))), maxlen=left)
                else:
                    found += islice(filter(None, map(wanted, lines_backwards(stream, needle))), left)
        except UNREADABLE as error:
            raise _unread(path, error) from error
    return found


def _telling(line: RequestLine, *, failed: bool) -> bool:
    """Whether a request that did not fail is listed: not where only failures are, and no probe."""
    return not failed and line.path not in PROBES


def _failed(line: RequestLine) -> bool:
    return line.status >= 499 or line.status == 429 or bool(line.missing)
