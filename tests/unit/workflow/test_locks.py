"""Locks: which go together, what is locked above a path, who is in whose way."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.workflow.locks import Mode, Row, Want, all_wanted, go_together, in_the_way

TABLE = {  # Gray's, without SIX
    (Mode.IR, Mode.IR), (Mode.IR, Mode.IW), (Mode.IR, Mode.R), (Mode.IW, Mode.IW), (Mode.R, Mode.R),
}  # fmt: skip


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Mode, Mode)))
def test_modes_go_together_as_in_the_table(one: Mode, other: Mode) -> None:
    assert go_together(one, other) == ((one, other) in TABLE or (other, one) in TABLE)
    assert go_together(one, other) == go_together(other, one)


def test_what_is_above_is_locked_by_intention_in_one_order() -> None:
    wanted = all_wanted([Want("p/1/server/x", Mode.W), Want("p/1/quota", Mode.R), Want("a", Mode.R)])
    assert wanted == [
        Want("a", Mode.R), Want("p", Mode.IW), Want("p/1", Mode.IW), Want("p/1/quota", Mode.R),
        Want("p/1/server", Mode.IW), Want("p/1/server/x", Mode.W),
    ]  # fmt: skip


def test_a_path_that_is_wanted_twice_is_wanted_as_strongly_as_both() -> None:
    assert all_wanted([Want("p/x", Mode.R), Want("p/x", Mode.W)])[-1] == Want("p/x", Mode.W)
    assert all_wanted([Want("p", Mode.R), Want("p/x", Mode.W)])[0] == Want("p", Mode.W)  # R and IW
    assert all_wanted([Want("p", Mode.R), Want("p/x", Mode.R)])[0] == Want("p", Mode.R)


def rows(run_id: str, number: int, wants: list[Want], *, granted: bool) -> list[Row]:
    return [
        Row(path=want.path, mode=want.mode, run_id=run_id, number=number, granted=granted)
        for want in all_wanted(wants)
    ]


paths = st.sampled_from(["p", "p/a", "p/a/x", "p/b", "q"])
wants = st.lists(st.builds(Want, paths, st.sampled_from([Mode.R, Mode.W])), min_size=1, max_size=3)


@given(st.lists(wants, min_size=1, max_size=6), st.data())
def test_of_those_that_are_granted_none_disturbs_another_and_none_waits_in_a_circle(
    asking: list[list[Want]], data: st.DataObject
) -> None:
    """Asked for and given back in any order: exclusive, and everybody comes to it at last."""
    granted: dict[int, list[Row]] = {}
    waiting: dict[int, list[Row]] = {}
    for number, want in enumerate(asking):
        waiting[number] = rows(f"run-{number}", number, want, granted=False)
        give_back: bool = data.draw(st.booleans())
        if granted and give_back:
            del granted[data.draw(st.sampled_from(sorted(granted)))]
        _give(granted, waiting)
    while granted:
        del granted[data.draw(st.sampled_from(sorted(granted)))]
        _give(granted, waiting)
    assert waiting == {}


def _give(granted: dict[int, list[Row]], waiting: dict[int, list[Row]]) -> None:
    for number in sorted(waiting):
        others = [row for all_rows in (*granted.values(), *waiting.values()) for row in all_rows]
        if in_the_way(waiting[number], others) is None:
            mine = waiting.pop(number)
            granted[number] = [
                Row(path=row.path, mode=row.mode, run_id=row.run_id, number=row.number, granted=True)
                for row in mine
            ]
    for one, other in itertools.combinations(granted.values(), 2):
        for row, another in itertools.product(one, other):
            assert row.path != another.path or go_together(row.mode, another.mode)


def test_who_asked_first_goes_first() -> None:
    reader = rows("r1", 1, [Want("p", Mode.R)], granted=True)
    writer = rows("w", 2, [Want("p", Mode.W)], granted=False)
    late = rows("r2", 3, [Want("p", Mode.R)], granted=False)
    assert in_the_way(writer, [*reader, *writer, *late]) == reader[0]
    assert in_the_way(late, [*reader, *writer, *late]) == writer[0]
    assert in_the_way(writer, [*writer, *late]) is None
