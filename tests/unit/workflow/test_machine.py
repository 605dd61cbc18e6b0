"""The machine of a run, under any outcomes and deaths: what holds whatever happens."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.workflow.journal import Journal, State, StepState
from atoll.workflow.machine import Machine, Signal, What, Work, fresh
from atoll.workflow.outcomes import (
    Absent,
    Broken,
    Done,
    Failed,
    Outcome,
    Refused,
    SiteAway,
    Unavailable,
    Unknown,
)
from atoll.workflow.plan import Graph, Plan, Step

DO: list[Outcome] = [
    Done({"id": 1}), Refused("no"), Failed("half"), Unavailable("later"), SiteAway("oslo", "gone"),
    Unknown("lost"), Broken("bug"),
]  # fmt: skip
LOOK: list[Outcome] = [Done({"id": 1}), Absent(), Unavailable("later"), Unknown("cannot tell")]
UNDO: list[Outcome] = [Done(), Unavailable("later"), SiteAway("oslo", "gone"), Refused("in use")]

DEATHS = 20
"""Workers that die of one run. A worker parks it after a few that die in a row; here nobody does."""


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    steps: list[Step] = []
    for place in range(draw(st.integers(1, 5))):
        names = [step.name for step in steps]
        after = tuple(draw(st.lists(st.sampled_from(names), unique=True))) if names else ()
        pivot = draw(st.integers(0, 9)) == 0
        steps.append(Step(name=f"s{place}", action="t.t@1", after=after, tries=3, undo_tries=3, pivot=pivot))
    return Plan(steps=tuple(steps), width=draw(st.integers(1, 3)))


class Life:
    """A machine, what is under way, and what may be at the sites of it; `maybe` by place."""

    def __init__(self, plan: Plan, data: st.DataObject) -> None:
        self._plan, self._data = plan, data
        self.graph = Graph(plan)
        self.maybe = [False] * len(plan.steps)
        self.under_way: list[Work] = []
        self.now = 0.0
        self.deaths = 0
        self.machine = Machine(plan, fresh(plan), lambda _: 1.0)
        self.machine.taken_up(0.0, "w1")

    def rare(self, often: int) -> bool:
        """Whether something happens that happens once in a while."""
        return bool(self._data.draw(st.integers(0, often)) == often)

    def begin(self) -> None:
        """Begin what can be begun."""
        begun = self.machine.advance(self.now, Signal.TERM if self.rare(30) else None)
        for work in begun:
            _allowed(self.machine.journal, self.graph, work, self.maybe)
        self.under_way += begun

    def die(self) -> None:
        """The worker dies; what is under way may have been done, and another one takes up the journal."""
        for work in self.under_way:
            if work.what is What.DO:
                self.maybe[work.place] = True
        text = msgspec.json.encode(self.machine.journal)
        self.machine = Machine(self._plan, msgspec.json.decode(text, type=Journal), lambda _: 1.0)
        self.machine.taken_up(self.now, "w2")
        self.under_way = []
        self.deaths += 1

    def end_one(self) -> None:
        """One of the tries ends, in any way that it may."""
        work = self.under_way.pop(self._data.draw(st.integers(0, len(self.under_way) - 1)))
        kinds = {What.DO: DO, What.VERIFY: LOOK, What.UNDO: UNDO}[work.what]
        outcome: Outcome = self._data.draw(st.sampled_from(kinds))
        if work.what is What.DO and isinstance(outcome, Done | Failed | Unknown | Broken):
            self.maybe[work.place] = True
        if work.what is What.UNDO and isinstance(outcome, Done):
            self.maybe[work.place] = False
        self.now += 0.5
        self.machine.settle(work, outcome, self.now)


@settings(max_examples=300)
@given(plans(), st.data())
def test_every_run_comes_to_rest_and_says_the_truth(plan: Plan, data: st.DataObject) -> None:
    """What may be there of each step is followed beside the machine; workers die at any moment."""
    life = Life(plan, data)
    for _ in range(500):
        life.begin()
        if not life.under_way:
            rest = life.machine.rest(None)
            if rest.at is None:
                _true(life.machine, rest.state, life.maybe)
                return
            life.now = max(life.now, rest.at)
        elif life.deaths < DEATHS and life.rare(25):
            life.die()
        else:
            life.end_one()
    raise AssertionError("it comes to no end")


def _allowed(journal: Journal, graph: Graph, work: Work, maybe: list[bool]) -> None:
    """What is begun is in the journal, and in an order in which nothing lacks what it needs."""
    if work.what is What.DO:
        assert journal.steps[work.place].state is StepState.INTENT
        assert (
            all(journal.steps[one].state is StepState.DONE for one in graph.needs[work.place]) or journal.back
        )
    if work.what is What.UNDO:
        assert journal.back
        assert journal.steps[work.place].state is StepState.UNDOING
        assert not any(maybe[one] for one in graph.needed_by[work.place])


def _true(machine: Machine, state: State, maybe: list[bool]) -> None:
    steps = machine.journal.steps
    if state is State.DONE:
        assert all(step.state is StepState.DONE for step in steps)
    elif state is State.UNDONE:
        assert not any(maybe)
    elif state is State.DIRTY:
        named = [step.state is StepState.RESIDUE for step in steps]
        assert any(named)
        assert all(known or not there for known, there in zip(named, maybe, strict=True))
    else:
        assert state is State.PARKED


def test_a_journal_of_the_first_release_can_be_gone_on_with() -> None:
    """As it stood in the store when version 1 of the document was written: the worker had died in `b`."""
    plan = msgspec.json.decode(
        b'{"steps":[{"name":"a","action":"t.t@1"},{"name":"b","action":"t.t@1","site":"oslo",'
        b'"input":{"of":{"$from":"a.id"}},"after":["a"],"tries":3}],"purpose":"try","locks":[{"path":"x/y","mode":"W"}],'
        b'"reserves":[{"name":"link","amount":1.0,"limit":2.0}],"touches":["x/y"],"width":2}',
        type=Plan,
    )
    journal = msgspec.json.decode(
        b'{"steps":[{"state":"done","tries":1,"result":{"id":"a1"}},{"state":"intent","tries":1}],'
        b'"log":[[1,17.0,"taken",-1,"w"],[2,17.0,"do",0],[3,17.5,"done",0],[4,17.5,"do",1]],"number":4}',
        type=Journal,
    )
    machine = Machine(plan, journal, lambda _: 1.0)
    machine.taken_up(20.0, "w2")
    (look,) = machine.advance(20.0, None)
    assert (look.place, look.what) == (1, What.VERIFY)
    machine.settle(look, Done({"id": "b1"}), 21.0)
    assert machine.advance(21.0, None) == []
    assert machine.rest(None).state is State.DONE
    assert [entry.what for entry in machine.journal.log[4:]] == ["lost", "taken", "done"]
