"""Watching a run: its server-sent events as a bar on a terminal, as lines elsewhere, as JSON for programs."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote

import click

AGAIN_SECONDS: Final = 1.0
"""Between two tries to follow on."""

LOST_SECONDS: Final = 60.0
"""How long a gateway may be away before following is given up."""

LINE_SECONDS: Final = 5.0
"""Between two lines that only say how far it is."""

FULFILLED: Final = "fulfilled"
"""What a run was started for is done."""

PARTS: Final = 1000  # of a step, in a bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event."""

    name: str
    data: Mapping[str, Any]
    number: int | None = None


class Source(Protocol):
    """Where events come from: `Api`."""

    def lines(self, path: str, headers: Mapping[str, str]) -> Iterator[str]:
        """The lines of a stream. Raises ConnectionError where it is cut, ClickException with a refusal."""

    def get(self, path: str, /) -> Mapping[str, Any]:
        """What is at a path. Raises ClickException."""


class Shown(Protocol):
    """Something that shows events."""

    def take(self, told: Told) -> None:
        """Show one."""

    def close(self) -> None:
        """Nothing more comes."""


def follow_run(api: Source, run_id: str, form: str, *, wait_all: bool = False) -> int:
    """Show a run until it ends or waits for an operator; the exit status. Raises ClickException.

    `wait_all`: also while it waits for a site only to clear up.
    """
    if form == "json":
        shown: Shown = Lines(as_json=True)
    elif sys.stdout.isatty():
        shown = Bar()
    else:
        shown = Lines()
    try:
        state, reason = followed(api, run_id, shown, wait_all=wait_all)
    except KeyboardInterrupt:
        shown.close()
        click.echo(f"\nThe run goes on: atoll run follow {run_id}", err=True)
        return 130
    shown.close()
    if state == FULFILLED:
        if form != "json":
            _say_fulfilled(api, run_id, reason)
        return 0
    if form != "json":
        why = f": {reason.rstrip('.')}" if reason else ""
        click.echo(f"Run {run_id} is {state}{why}.")
        if state == "parked":
            click.echo(f"It waits for an operator: atoll run explain {run_id}", err=True)
    return 0 if state == "done" else 1


def _say_fulfilled(api: Source, run_id: str, waits: str) -> None:
    purpose = api.get(f"/runs/{quote(run_id)}")["run"]["purpose"]
    click.echo(f"Run {run_id} has done what it was started for: {purpose}.")
    click.echo(
        f"What is left clears up, and waits for the {waits.replace('/', ' ', 1)}; it goes on by itself: "
        f"atoll run follow {run_id} --wait-all",
        err=True,
    )


def followed(
    api: Source,
    run_id: str,
    shown: Shown,
    *,
    wait_all: bool = False,
    again: float = AGAIN_SECONDS,
    lost: float = LOST_SECONDS,
) -> tuple[str, str]:
    """(the state it came to, why), having shown all that happened. Raises ClickException.

    (FULFILLED, `site/NAME`) where that is what it waits for, only to clear up.
    """
    after, heard_at = 0, 0.0
    while True:
        headers = {"Last-Event-ID": str(after)} if after else {}
        try:
            for told in events(api.lines(f"/runs/{quote(run_id)}/events", headers)):
                heard_at = time.monotonic()
                after = told.number or after
                shown.take(told)
                if told.name == "end":
                    return told.data["state"], told.data["reason"]
                if told.name == "state" and not wait_all and _only_clears_up(told.data):
                    return FULFILLED, str(told.data["waits"])
                if told.name == "state" and told.data["state"] == "parked" and told.data["stop"] is None:
                    return "parked", str(api.get(f"/runs/{quote(run_id)}")["run"]["reason"])
        except ConnectionError as error:
            if time.monotonic() - heard_at > lost or not heard_at:
                raise click.ClickException(f"the gateway is away: {error}") from error
        time.sleep(again)


def _only_clears_up(standing: Mapping[str, Any]) -> bool:
    """Whether a run has done what it was started for, and waits for a site with the rest."""
    return bool(standing["fulfilled"]) and standing["waits"].startswith("site/")


def events(lines: Iterable[str]) -> Iterator[Told]:
    """Events out of the lines of a stream."""
    name, number, data = "", None, ""
    for line in lines:
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if name:
                yield Told(name=name, data=json.loads(data or "{}"), number=number)
            name, number, data = "", None, ""
        elif key == "event":
            name = value
        elif key == "id" and value.isdecimal():
            number = int(value)
        elif key == "data":
            data += value


@dataclass(slots=True)
class Lines:
    """A line for each thing that happens."""

    as_json: bool = False
    _said_at: float = 0.0

    def take(self, told: Told) -> None:
        """Print one."""
        if self.as_json:
            click.echo(json.dumps({"event": told.name, "id": told.number, "data": told.data}))
        elif told.name == "log":
            one = told.data
            words = [one["at"], one["step"] or "run", one["what"], one["text"]]
            click.echo("  ".join(word for word in words if word))
        elif told.name == "lost":
            click.echo(f"Lines {told.data['from']} to {told.data['to']} of the log are not kept any more.")
        elif told.name == "progress" and time.monotonic() - self._said_at > LINE_SECONDS:
            self._said_at = time.monotonic()
            for name, one in told.data.items():
                click.echo(f"{name}: {amount(one)}")

    def close(self) -> None:
        """Nothing is left open."""


@dataclass(slots=True)
class Bar:
    """One bar for the whole run, with what is under way beside it."""

    _bar: Any = None
    _finished: int = 0
    _steps: int = 0
    _state: str = ""
    _under_way: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def take(self, told: Told) -> None:
        """Draw anew."""
        if told.name == "state":
            self._finished, self._steps = told.data["steps_finished"], told.data["steps"]
            self._state = told.data["state"]
            if told.data["waits"]:
                self._state += f", waits for {told.data['waits']}"
        elif told.name == "progress":
            self._under_way = dict(told.data)
        elif told.name == "log" and told.data["what"] in {"done", "failed", "undone"}:
            self._under_way.pop(told.data["step"], None)
        if told.name in {"state", "progress"}:  # which a line of the log is followed by
            self._draw()

    def _draw(self) -> None:
        length = max(1, self._steps) * PARTS
        if self._bar is None or self._bar.length != length:
            self.close()  # what is undone has a length of its own
            self._bar = click.progressbar(
                length=length, show_eta=False, show_percent=True, item_show_func=lambda _: self.label()
            )
            self._bar.__enter__()
        parts = [min(1.0, one["done"] / one["of"]) for one in self._under_way.values() if one["of"]]
        self._bar.pos = min(length, round((self._finished + sum(parts)) * PARTS))
        self._bar.finished = False
        self._bar.current_item = self.label()
        self._bar.render_progress()

    def label(self) -> str:
        """What stands beside the bar."""
        under_way = [f"{name} {amount(one)}" for name, one in self._under_way.items()]
        return " ".join([f"{self._finished}/{self._steps}", self._state, *under_way])

    def close(self) -> None:
        """End the line of the bar."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def amount(one: Mapping[str, Any]) -> str:
    """How far something is: `1.5 of 3 GiB`."""
    done, of, unit = one["done"], one["of"], one["unit"]
    if unit in {"B", "bytes"}:
        scale, unit = _scale(of or done)
        done, of = done / scale, of / scale if of else of
    far = _short(done) if of is None else f"{_short(done)} of {_short(of)}"
    return f"{far} {unit}"


def _short(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _scale(size: float) -> tuple[float, str]:
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size >= 1024**power:
            return float(1024**power), unit
    return 1.0, "bytes"
