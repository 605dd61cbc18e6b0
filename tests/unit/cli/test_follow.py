"""Watching a run from the command line: what is read of the stream, where it goes on, what is drawn."""

import json
import os
import select
import sys
from collections.abc import Iterator, Mapping
from io import RawIOBase
from typing import Any

import click
import pytest

from atoll.cli.follow import Bar, Lines, Told, amount, events, follow_run, followed

RUN = "01a20000-0000-7000-8000-000000000000"
STATE = (
    'event: state\ndata: {"state":"%s","stop":null,"waits":"","steps_finished":1,"steps":2,'
    '"fulfilled":false}\n'
)
AWAY = (
    'event: state\ndata: {"state":"running","stop":null,"waits":"site/paris","steps_finished":1,"steps":2,'
    '"fulfilled":%s}\n\n'
)
LOG = 'id: %d\nevent: log\ndata: {"number":%d,"at":"now","what":"done","step":"copy","text":""}\n'
END = 'event: end\ndata: {"state":"done","reason":""}\n'


class Gateway:
    """A gateway that gives one text after another; None: it is away."""

    def __init__(self, *texts: str | None) -> None:
        self._texts = list(texts)
        self.asked: list[str | None] = []

    def lines(self, path: str, headers: Mapping[str, str]) -> Iterator[str]:
        """The next text, and after it a cut."""
        assert path == f"/runs/{RUN}/events"
        self.asked.append(headers.get("Last-Event-ID"))
        text = self._texts.pop(0)
        if text is None:
            raise ConnectionError("away")
        yield from text.split("\n")

    def get(self, path: str, /) -> Mapping[str, Any]:
        """The run."""
        assert path == f"/runs/{RUN}"
        return {"run": {"reason": "copy: no room", "purpose": "make it anew at oslo"}}


def test_events_out_of_lines() -> None:
    first, last = events(
        ["retry: 1000", "", ":", "", *(LOG % (7, 7)).split("\n"), "event: end", 'data: {"a":1}', ""]
    )
    assert (first.name, first.number, first.data["what"]) == ("log", 7, "done")
    assert last == Told(name="end", data={"a": 1}, number=None)


def test_it_goes_on_after_the_last_line_that_came() -> None:
    gateway = Gateway(STATE % "running" + "\n" + LOG % (4, 4) + "\n", None, LOG % (5, 5) + "\n" + END + "\n")
    assert followed(gateway, RUN, Lines(), again=0.0) == ("done", "")
    assert gateway.asked == [None, "4", "4"]


def test_a_gateway_that_stays_away_is_given_up() -> None:
    with pytest.raises(click.ClickException, match="the gateway is away"):
        followed(Gateway(None), RUN, Lines(), again=0.0)
    with pytest.raises(click.ClickException, match="the gateway is away"):
        followed(Gateway(LOG % (1, 1) + "\n", None), RUN, Lines(), again=0.0, lost=-1.0)


def test_a_parked_run_is_not_waited_for() -> None:
    assert followed(Gateway(STATE % "parked" + "\n"), RUN, Lines(), again=0.0) == ("parked", "copy: no room")


def test_what_only_clears_up_is_not_waited_for_while_a_site_is_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert follow_run(Gateway(AWAY % "true"), RUN, "table") == 0
    said = capsys.readouterr()
    assert said.out == f"Run {RUN} has done what it was started for: make it anew at oslo.\n"
    assert "waits for the site paris" in said.err
    assert f"atoll run follow {RUN} --wait-all" in said.err
    assert follow_run(Gateway(AWAY % "true"), RUN, "json") == 0
    assert json.loads(capsys.readouterr().out)["data"]["fulfilled"] is True


def test_a_site_is_waited_for_where_something_is_not_done_or_all_is_wanted() -> None:
    gateway = Gateway(AWAY % "false" + END + "\n", AWAY % "true" + END + "\n")
    assert followed(gateway, RUN, Lines(), again=0.0) == ("done", "")
    assert followed(gateway, RUN, Lines(), wait_all=True, again=0.0) == ("done", "")


def drawn_until(screen: RawIOBase, text: str) -> str:
    """What a terminal draws until a text is there; it comes in pieces, as the kernel passes it on."""
    drawn = ""
    while text not in drawn:
        assert select.select([screen], [], [], 10)[0], f"{text!r} is not in {drawn!r}"
        drawn += screen.read(4096).decode()
    return drawn


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    main, terminal = os.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as stdout, os.fdopen(main, "rb", 0) as screen:
        monkeypatch.setattr(sys, "stdout", stdout)
        bar = Bar()
        standing = {"state": "running", "stop": None, "waits": "", "steps": 4}
        bar.take(Told(name="state", data={**standing, "steps_finished": 1}))
        copied = {"copy": {"done": 3 << 20, "of": 6 << 20, "unit": "B"}}
        bar.take(Told(name="progress", data=copied))
        assert bar.label() == "1/4 running copy 3 of 6 MiB"
        assert "25%" in drawn_until(screen, "37%"), "one of four steps, and then half of another"
        bar.take(Told(name="log", data={"what": "done", "step": "copy"}))
        bar.take(Told(name="state", data={**standing, "steps_finished": 4, "waits": "lock/server/x"}))
        assert bar.label() == "4/4 running, waits for lock/server/x"
        bar.close()
        drawn_until(screen, "100%")


@pytest.mark.parametrize(
    ("one", "text"),
    [
        ({"done": 1.5, "of": 3.0, "unit": "s"}, "1.5 of 3 s"),
        ({"done": 5, "of": None, "unit": "s"}, "5 s"),
        ({"done": 512, "of": 4 << 30, "unit": "bytes"}, "0 of 4 GiB"),
        ({"done": 2048, "of": None, "unit": "B"}, "2 KiB"),
        ({"done": 0, "of": 0, "unit": "B"}, "0 of 0 bytes"),
    ],
)
def test_amounts(one: dict[str, Any], text: str) -> None:
    assert amount(one) == text
