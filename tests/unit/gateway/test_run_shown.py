"""What is shown of a run, what may be done with it, what it waits for, how a plan is drawn. No I/O."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from atoll.core.errors import BadRequest, Forbidden, NotFound
from atoll.gateway.definition_table import DEFINITIONS
from atoll.gateway.definitions import Definition, Definitions
from atoll.gateway.own_route import Who
from atoll.gateway.probe_run import PROBE, ProbeInput, actions, planned
from atoll.gateway.run_diagram import mermaid
from atoll.gateway.run_explained import Known, SiteSeen, explained
from atoll.gateway.run_shown import allowed, attempts_of, finished, fulfilled, whole_run_view
from atoll.store.run_records import LockRow, Run
from atoll.workflow.journal import ENDED, Entry, Journal, State, StepRecord, StepState
from atoll.workflow.machine import fresh
from atoll.workflow.plan import Plan, Step, check

PLAN = Plan(
    steps=(
        Step(name="one", action="a.b@1", site="paris"),
        Step(name="two", action="a.b@1", after=("one",), pivot=True),
    ),
    purpose="try",
)


def run_of(state: State = State.RUNNING, journal: Journal | None = None, **fields: Any) -> Run:
    """A run of `PLAN`."""
    given: dict[str, Any] = {
        "id": "r1", "definition": "probe@1", "project_id": "p", "user_id": "u", "purpose": "try",
        "request_key": None, "state": state, "stop": None, "owner": "w1", "takeovers": 0, "due_at": None,
        "waits": "", "number": 0, "created_at": 100.0, "changed_at": 100.0, "ended_at": None, "progress": {},
        "plan": PLAN, "journal": journal or fresh(PLAN),
    }  # fmt: skip
    return Run(**given | fields)


@pytest.mark.parametrize(
    ("state", "stop", "pivoted", "given"),
    [
        (State.QUEUED, None, False, ("pause", "cancel", "kill")),
        (State.RUNNING, None, False, ("pause", "cancel", "kill")),
        (State.RUNNING, None, True, ("pause", "kill")),
        (State.RUNNING, "pause", False, ("resume", "cancel", "kill")),
        (State.RUNNING, "term", False, ("kill",)),
        (State.UNDOING, None, False, ("pause", "kill")),
        (State.UNDOING, "pause", False, ("resume", "kill")),
        (State.PAUSED, None, False, ("resume", "cancel", "kill")),
        (State.PAUSED, None, True, ("resume", "kill")),
        (State.PARKED, None, False, ("redo", "cancel", "kill")),
        (State.PARKED, None, True, ("redo", "kill")),
        (State.DONE, None, False, ()),
        (State.UNDONE, None, False, ("redo",)),
        (State.DIRTY, None, True, ("redo",)),
        (State.KILLED, None, True, ("redo",)),
    ],
)
def test_what_is_allowed(state: State, stop: str | None, pivoted: bool, given: Sequence[str]) -> None:
    assert allowed(state, stop, pivoted=pivoted) == given


def test_the_tries_of_a_step_are_read_out_of_the_log() -> None:
    said = [
        ("taken", -1), ("do", 0), ("failed", 0), ("do", 0), ("unknown", 0), ("lost", -1), ("absent", 0),
        ("do", 0), ("done", 0), ("do", 1), ("undo", 0),
    ]  # fmt: skip
    log = [Entry(number, float(number), what, step) for number, (what, step) in enumerate(said)]
    tries = attempts_of(Journal(steps=[], log=log))
    assert [(one.what, one.outcome, one.began_at[17:], one.ended_at) for one in tries[0]] == [
        ("do", "failed", "01.000Z", "1970-01-01T00:00:02.000Z"),
        ("do", "absent", "03.000Z", "1970-01-01T00:00:06.000Z"),
        ("do", "done", "07.000Z", "1970-01-01T00:00:08.000Z"),
        ("undo", None, "10.000Z", None),
    ]
    assert [one.outcome for one in tries[1]] == [None]


def test_of_a_log_that_lost_its_beginning_no_try_is_made_up() -> None:
    assert attempts_of(Journal(steps=[], log=[Entry(9, 9.0, "done", 0)])) == {0: []}


def test_a_run_with_its_steps() -> None:
    journal = Journal(
        steps=[
            StepRecord(state=StepState.AGAIN, tries=1, at=160.0, error="full", site="paris"),
            StepRecord(state=StepState.RESIDUE, tries=1, error="stuck"),
        ],
        back=True,
        reason="one: full",
    )
    seen = whole_run_view(run_of(journal=journal, progress={"one": {"done": 1.0, "of": 2.0, "unit": "B"}}))
    first, second = seen.steps
    assert (first.state, first.again_at, first.waits_for) == ("again", "1970-01-01T00:02:40.000Z", "paris")
    assert first.progress is not None
    assert (first.progress.done, second.progress, second.again_at) == (1.0, None, None)
    assert [(one.step, one.text) for one in seen.residue] == [("two", "stuck")]
    assert (seen.reason, seen.back) == ("one: full", True)
    assert whole_run_view(run_of()).steps[0].state == "waiting"
    with pytest.raises(ValueError, match="without its plan"):
        whole_run_view(run_of(plan=None))


def test_how_much_of_a_run_is_finished() -> None:
    done, undone = StepRecord(state=StepState.DONE, tries=1), StepRecord(state=StepState.UNDONE, tries=1)
    assert finished(Journal(steps=[done, StepRecord()])) == (1, 2)
    assert finished(Journal(steps=[undone, done, StepRecord()], back=True)) == (1, 2)


def texts(run: Run, **known: Any) -> list[tuple[str, str]]:
    """(kind, words) of what a run waits for, at second 120."""
    waits = explained(run, Known(**{"now": 120.0, "workers": {"w1"}, **known}))
    return [(one.what, one.text) for one in waits]


def journal_with(**record: Any) -> Journal:
    """The journal of a run whose first step stands so."""
    return Journal(steps=[StepRecord(**record), StepRecord()], log=[Entry(1, 110.0, "do", 0)], number=1)


def lock_of(*, granted: bool) -> LockRow:
    """Who has the lock `server/1`."""
    return LockRow(
        path="server/1", mode="W", run_id="r0", granted=granted, definition="d@1", purpose="move it",
        project_id="p", state=State.PAUSED, created_at=60.0,
    )  # fmt: skip


QUEUED: dict[str, Any] = {"state": State.QUEUED, "owner": None, "due_at": 150.0}


@pytest.mark.parametrize(
    ("fields", "known", "what", "words"),
    [
        ({"waits": "lock/server/1", **QUEUED}, {"blocking": lock_of(granted=True)}, "lock",
         "Run r0 (move it), which is paused, holds the lock server/1."),
        ({"waits": "lock/server/1", **QUEUED}, {"blocking": lock_of(granted=False)}, "lock",
         "asked for first the lock server/1"),
        ({"waits": "lock/server/1", **QUEUED}, {"blocking": lock_of(granted=True), "foreign": True}, "lock",
         "A run of another project holds the lock server/1."),
        ({"waits": "lock/server/1", **QUEUED}, {}, "lock", "is free by now"),
        ({"waits": "reserve/link/a", **QUEUED}, {}, "reserve", "Too little is left of link/a"),
        ({"journal": journal_with(state=StepState.AGAIN, tries=1, at=130.0, error="full")}, {}, "retry",
         "A try of one failed: full. The next one is at 1970-01-01T00:02:10.000Z."),
        ({"journal": journal_with(state=StepState.UNDO_AGAIN, tries=1, at=110.0)}, {}, "retry",
         "A try of the undo of one failed. The next one is at once."),
        ({"journal": journal_with(state=StepState.AGAIN, at=130.0, error="no answer", site="paris")},
         {"sites": {"paris": SiteSeen(away=True, reason="compute: refused", since=90.0)}}, "site",
         "The site paris is away since 1970-01-01T00:01:30.000Z (compute: refused): one waits for it."),
        ({"journal": journal_with(state=StepState.AGAIN, at=130.0, error="no answer", site="paris")},
         {"sites": {"paris": SiteSeen(away=False)}}, "site", "was away for one (no answer)"),
        ({"journal": journal_with(state=StepState.INTENT, tries=2)}, {}, "step", "Try 2 of one is"),
        ({"journal": journal_with(state=StepState.UNDOING, undo_tries=3)}, {}, "step", "Try 3 of the undo"),
        ({"stop": "term"}, {}, "step", "to be undone once"),
        ({**QUEUED, "due_at": 110.0}, {"workers": ()}, "worker", "No worker is alive"),
        ({**QUEUED, "due_at": 110.0}, {}, "worker", "a worker with room: 1 are alive"),
        (QUEUED, {"unknown": {"a.b@2"}}, "worker", "does not know a.b@2"),
        ({"owner": "w9"}, {}, "worker", "Its worker has died"),
        ({"state": State.PAUSED, "owner": None}, {}, "operator", "atoll run resume r1"),
        ({"state": State.PARKED, "journal": Journal(steps=[], reason="no idea")}, {}, "operator", "no idea"),
        ({"state": State.DIRTY, "journal": Journal(steps=[], reason="no idea")}, {}, "nothing", "no idea"),
    ],
)  # fmt: skip
def test_what_is_waited_for_is_said(
    fields: dict[str, Any], known: dict[str, Any], what: str, words: str
) -> None:
    ((kind, text),) = texts(run_of(**fields), **known)
    assert (kind, words in text) == (what, True), text


def test_every_end_is_said_and_a_run_under_way_goes_on() -> None:
    assert {kind for state in ENDED for kind, _ in texts(run_of(state))} == {"nothing"}
    assert texts(run_of()) == [("nothing", "It goes on.")]
    with pytest.raises(ValueError, match="without its plan"):
        texts(run_of(plan=None))


def test_a_plan_is_drawn() -> None:
    assert mermaid(PLAN) == (
        'flowchart TD\n    s0["one<br/>a.b@1 at paris"]\n    s1{{"two<br/>a.b@1"}}\n    s0 --> s1\n'
    )


def test_what_is_needed_through_others_has_no_line_of_its_own() -> None:
    steps = (
        Step(name="last", action="a.b@1", after=("first", "middle", "other")),
        Step(name="middle", action="a.b@1", after=("first",)),
        Step(name="first", action="a.b@1"),
        Step(name="other", action="a.b@1"),
    )
    lines = [line.strip() for line in mermaid(Plan(steps=steps)).splitlines() if "-->" in line]
    assert sorted(lines) == ["s1 --> s0", "s2 --> s1", "s3 --> s0"]


def test_nothing_of_a_plan_is_read_as_a_diagram() -> None:
    strange = Plan(steps=(Step(name="x", action="a.b@1", site='a"];<b>#1'),))
    assert mermaid(strange).splitlines()[1] == '    s0["x<br/>a.b@1 at a#quot;];#lt;b#gt;#35;1"]'


def version_of(number: int, name: str = "copy", who: Who = Who.ANYONE) -> Definition[ProbeInput]:
    """A definition."""
    return Definition(
        name=name, version=number, summary="", input=ProbeInput, plan=PROBE.plan, example=PLAN, who=who
    )


def test_definitions_are_found_by_name_and_version() -> None:
    ten, nine, hidden = version_of(10), version_of(9), version_of(1, "hide", Who.ADMIN)
    there = Definitions((nine, ten, hidden))
    assert there.find("copy", admin=False) is ten
    assert there.find("copy@9", admin=False) is nine
    assert there.latest(admin=False) == [ten]
    assert there.latest(admin=True) == [ten, hidden]
    with pytest.raises(NotFound, match=r"no definition move: there are copy\.$"):
        there.find("move", admin=False)
    with pytest.raises(NotFound, match=r"no version 8 .* there are 9, 10"):
        there.find("copy@8", admin=False)
    with pytest.raises(Forbidden):
        there.find("hide@1", admin=False)
    with pytest.raises(ValueError, match="twice"):
        Definitions((nine, nine))
    for name, version in (("Copy", 1), ("", 1), ("x" * 57, 1), ("copy", 0), ("copy", 10_000_000)):
        with pytest.raises(ValueError, match="NAME@VERSION"):
            version_of(version, name)


def test_every_definition_has_an_example_that_can_be_run() -> None:
    for one in DEFINITIONS.latest(admin=True):
        assert one.summary
        assert msgspec.json.schema(one.input)
    Definitions((PROBE,)).check({one.name for one in actions()})
    with pytest.raises(BadRequest, match="not known here"):
        Definitions((PROBE,)).check(())


def test_a_probe_of_any_size_is_a_plan() -> None:
    check(
        planned(ProbeInput(steps=100, seconds=600, sites=["a", "b"], fail="away", stuck=True)),
        ["probe.wait@1"],
    )
    together = planned(ProbeInput(together=True, lock="x"))
    assert [step.after for step in together.steps] == [(), (), ()]
    assert together.touches == ("probe/x",)


@pytest.mark.parametrize(
    ("states", "back", "told"),
    [
        (["done", "done", "again"], False, True),
        (["done", "done", "done"], False, True),
        (["done", "again", ""], False, False),
        (["done", "done", "again"], True, False),
    ],
)
def test_what_a_run_was_started_for_is_done_before_it_has_cleared_up(
    states: list[str], back: bool, told: bool
) -> None:
    plan = Plan(steps=(*PLAN.steps, Step(name="three", action="a.b@1", pivot=True, afterwards=True)))
    steps = [StepRecord(state=StepState(one), tries=1) for one in states]
    journal = Journal(steps=steps, back=back)
    assert fulfilled(plan, journal) is told
    assert whole_run_view(run_of(plan=plan, journal=journal)).fulfilled is told


def test_what_may_still_be_undone_is_not_done_for_good() -> None:
    steps = (Step(name="one", action="a.b@1"), Step(name="two", action="a.b@1", afterwards=True))
    journal = Journal(steps=[StepRecord(state=StepState.DONE, tries=1), StepRecord()])
    assert not fulfilled(Plan(steps=steps), journal)
