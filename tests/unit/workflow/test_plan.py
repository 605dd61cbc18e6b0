"""Plans: what is refused, what steps need, what references stand for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.core.errors import BadRequest
from atoll.workflow.plan import FROM, PLAN_BYTES, STEPS, Graph, Plan, Step, check, needed, ordered, resolved

KNOWN = ["test.make@1"]


def step(name: str, *after: str, **fields: object) -> Step:
    return Step(name=name, action="test.make@1", after=after, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((), "there is no step"),
        ((step("a"), step("a")), "several steps are called a"),
        ((step("a", "b"),), "the step a needs b, which no step is called"),
        ((step("a", input={"x": [{FROM: "b.id"}]}),), "needs b"),
        ((step("a", "c"), step("b", "a"), step("c", "b")), "in a circle: a needs c needs b needs a"),
        ((step("a", "a"),), "in a circle: a needs a"),
        ((Step(name="a", action="test.other@2"),), "has the action test.other@2, which is not known here"),
        ((step("a", input={"x": "y" * PLAN_BYTES}),), "262,144 is the most"),
        (
            tuple(step(f"s{number}") for number in range(STEPS + 1)),
            "there are 501 steps, and 500 is the most",
        ),
        ((step("a", input={"x": object()}),), "it cannot be written as JSON"),
    ],
)
def test_what_cannot_be_run_is_refused(steps: tuple[Step, ...], said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check(Plan(steps=steps), KNOWN)
    assert said in str(refused.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    plan = Plan(steps=(step("a", "x"), Step(name="b", action="none@1", after=("y",))))
    with pytest.raises(BadRequest, match=r"needs x.*none@1.*needs y"):
        check(plan, KNOWN)


def test_references_stand_for_what_steps_gave() -> None:
    results = {"disk": {"volume": {"id": "v1", "sizes": [1, 2]}}, "none": None}
    asked = {
        "id": {FROM: "disk.volume.id"},
        "all": [{FROM: "disk.volume.sizes.1"}, "x"],
        "deep": {"d": {FROM: "none"}},
    }
    assert resolved(asked, results) == {"id": "v1", "all": [2, "x"], "deep": {"d": None}}
    for path in ("disk.volume.name", "disk.volume.sizes.2", "disk.volume.sizes.x", "none.id", "gone"):
        if path != "gone":
            with pytest.raises(BadRequest, match="gave nothing under"):
                resolved({FROM: path}, results)


def test_a_reference_is_a_need() -> None:
    assert needed(step("a", "b", input={"x": {FROM: "c.id"}, "y": [{"z": {FROM: "d"}}]})) == {"b", "c", "d"}


@st.composite
def acyclic(draw: st.DrawFn) -> list[Step]:
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    steps = []
    for place, name in enumerate(names):
        before = draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else []
        steps.append(step(name, *before))
    return list(draw(st.permutations(steps)))


@given(acyclic())
def test_an_order_has_each_step_after_those_it_needs(steps: list[Step]) -> None:
    inorder = ordered(steps)
    assert sorted(one.name for one in inorder) == sorted(one.name for one in steps)
    check(Plan(steps=inorder), KNOWN)
    graph = Graph(Plan(steps=inorder))
    assert all(before < place for place, needs in enumerate(graph.needs) for before in needs)
