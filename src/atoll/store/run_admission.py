"""Granting locks and reserves, and giving them back, in the transaction that accepts, takes up or ends a run.

Whoever grants or gives back writes `run_turn` first, so that of two at once one waits for the other and sees
what it did. All of a run's locks are granted together or none: what waits holds nothing, so no two runs wait
for each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from atoll.core.errors import Conflict
from atoll.store.database import Connection
from atoll.workflow.locks import Mode, Row, all_wanted, go_together, in_the_way
from atoll.workflow.plan import Plan

AT_ONCE: Final = 50
"""Names in one statement."""

_TURN: Final = "UPDATE run_turn SET number = number + 1 WHERE id = 1"
_TURN_NUMBER: Final = "SELECT number FROM run_turn WHERE id = 1"
_ASK: Final = """
    INSERT INTO run_locks (path, run_id, mode, number, granted)
    VALUES (:path, :run_id, :mode, :number, :granted)"""
_OWN: Final = "SELECT path, mode, number FROM run_locks WHERE run_id = :run_id"
# Those alone that may be in the way: of intentions there are many above everything.
_OTHERS: Final = {
    mode: "SELECT path, mode, run_id, number, granted FROM run_locks WHERE path = :path AND mode IN "  # noqa: S608
    f"({', '.join(repr(one.value) for one in Mode if not go_together(mode, one))})"
    for mode in Mode
}
_GRANT: Final = "UPDATE run_locks SET granted = 1 WHERE run_id = :run_id"
_RESERVED: Final = (
    "SELECT COALESCE(SUM(amount), 0) FROM run_reserves WHERE name = :name AND run_id <> :run_id"
)
_RESERVE: Final = "INSERT INTO run_reserves (name, run_id, amount) VALUES (:name, :run_id, :amount)"
_SUSPECT: Final = "SELECT resource, run_id FROM suspects WHERE resource = :resource"
_WAKE: Final = """
    UPDATE runs SET due_at = {now} WHERE waits IN ({names}) AND admitted = 0 AND due_at IS NOT NULL"""


def take_turn(connection: Connection) -> int:
    """Have nobody else grant or give back until this transaction ends; the number of the turn."""
    connection.change(_TURN)
    return int(connection.rows(_TURN_NUMBER)[0][0])


def ask(connection: Connection, run_id: str, plan: Plan, number: int) -> str:
    """Put down what a run wants to lock, and grant it all that it wants where that can be.

    Gives what it waits for, "" where it has all. Raises `Conflict` where something is suspect, or where a
    reserve that does not wait has too little.
    """
    for resource in dict.fromkeys((*plan.touches, *(want.path for want in plan.locks))):
        for row in connection.rows(_SUSPECT, {"resource": resource}):
            raise Conflict(
                f"{row[0]} is suspect since run {row[1]} was ended in the middle. Redo that run, or look at "
                "it and have an administrator clear it (atoll run clear)."
            )
    own = [
        Row(path=want.path, mode=want.mode, run_id=run_id, number=number, granted=False)
        for want in all_wanted(plan.locks)
    ]
    amounts: dict[str, float] = {}
    waits = _blocked(connection, own) or _reserved(connection, run_id, plan, amounts, first=True)
    if own:
        each = [
            {"path": one.path, "mode": one.mode.value, "run_id": run_id, "number": number,
             "granted": int(not waits)}
            for one in own
        ]  # fmt: skip
        connection.change_each(_ASK, each)
    if not waits:
        _reserve(connection, run_id, amounts)
    return waits


def grant(connection: Connection, run_id: str, plan: Plan) -> str:
    """Grant a run that waited all that it wants; what it waits for where that cannot be, as `ask`."""
    own = [
        Row(path=path, mode=Mode(mode), run_id=run_id, number=number, granted=False)
        for path, mode, number in connection.rows(_OWN, {"run_id": run_id})
    ]
    amounts: dict[str, float] = {}
    waits = _blocked(connection, own) or _reserved(connection, run_id, plan, amounts, first=False)
    if not waits:
        connection.change(_GRANT, {"run_id": run_id})
        _reserve(connection, run_id, amounts)
    return waits


def _blocked(connection: Connection, own: Sequence[Row]) -> str:
    """The lock of another one that is in the way; "" where none is."""
    blocking = in_the_way(own, _others(connection, own))
    return "" if blocking is None else f"lock/{blocking.path}"


def _reserved(
    connection: Connection, run_id: str, plan: Plan, amounts: dict[str, float], *, first: bool
) -> str:
    """Add up what a run reserves, by name; the reserve of which there is too little, "" where none."""
    for one in plan.reserves:
        values = {"name": one.name, "run_id": run_id}
        taken = amounts.get(one.name, 0.0) + float(connection.rows(_RESERVED, values)[0][0])
        if taken + one.amount > one.limit:
            if one.amount > one.limit or (one.refuse and first):
                raise Conflict(
                    f"{one.name}: {taken:g} of {one.limit:g} are taken, and it needs {one.amount:g}."
                )
            return f"reserve/{one.name}"
        amounts[one.name] = amounts.get(one.name, 0.0) + one.amount
    return ""


def _reserve(connection: Connection, run_id: str, amounts: Mapping[str, float]) -> None:
    if amounts:
        each = [{"name": name, "run_id": run_id, "amount": amount} for name, amount in amounts.items()]
        connection.change_each(_RESERVE, each)


def _others(connection: Connection, own: Iterable[Row]) -> list[Row]:
    return [
        Row(path=path, mode=Mode(mode), run_id=run_id, number=number, granted=bool(granted))
        for mine in own
        for path, mode, run_id, number, granted in connection.rows(_OTHERS[mine.mode], {"path": mine.path})
    ]


def give_back(connection: Connection, run_id: str, plan: Plan) -> int:
    """Drop what a run holds, and have those taken up that wait for it; how many."""
    connection.change(_TURN)
    if plan.locks:
        connection.change("DELETE FROM run_locks WHERE run_id = :run_id", {"run_id": run_id})
    if plan.reserves:
        connection.change("DELETE FROM run_reserves WHERE run_id = :run_id", {"run_id": run_id})
    held = [f"lock/{want.path}" for want in all_wanted(plan.locks)]
    held += dict.fromkeys(f"reserve/{one.name}" for one in plan.reserves)
    woken = 0
    for first in range(0, len(held), AT_ONCE):
        names = {f"n{place}": name for place, name in enumerate(held[first : first + AT_ONCE])}
        wake = _WAKE.format(now=connection.now, names=", ".join(f":{one}" for one in names))
        woken += connection.change(wake, names)
    return woken
