"""What a run is to do: steps that name their action, its input and what has to be done before.

A plan is made when a run is accepted and never changes. So what is under way does not depend on how a later
release would plan it: a release has to know the actions of the plans that are open, each by name and version.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from atoll.core.errors import BadRequest
from atoll.workflow.locks import Want

STEPS: Final = 500
"""Steps of one run. The whole journal of a run is written at each of its commits."""

PLAN_BYTES: Final = 256 * 1024
"""A plan as JSON."""

RESULT_BYTES: Final = 64 * 1024
"""What one step gives, as JSON."""

FROM: Final = "$from"
"""`{"$from": "disk.volume.id"}` stands for what the step `disk` gave under `volume`, `id`."""

_LEAF: Final = (str, int, float, type(None))
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
_ACTION: Final = re.compile(r"^[a-z_]+(\.[a-z_]+)+@[1-9]\d*$")


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call, or a few that belong together, with its undo."""

    name: Name
    action: str
    """Its name and version: `image.upload@1`."""
    site: str = ""
    """Where it acts; "" for none, or several."""
    input: dict[str, Any] = msgspec.field(default_factory=dict)
    after: tuple[str, ...] = ()
    """Steps that have to be done before, besides those that the input refers to."""
    tries: Annotated[int, Meta(ge=1, le=100)] = 5
    undo_tries: Annotated[int, Meta(ge=1, le=100)] = 8
    seconds: Annotated[float, Meta(gt=0, le=7 * 86400)] = 60.0
    """How long one try may take."""
    pivot: bool = False
    """It cannot be undone: once it has begun the run goes on to its end, or waits for an operator."""
    afterwards: bool = False
    """It only clears up: what the run was started for is done without it."""


class Reserve(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of something limited, held until the run has ended."""

    name: Annotated[str, Meta(min_length=1, max_length=255)]
    amount: float
    limit: float
    refuse: bool = False
    """Whether the run is refused where too little is left; otherwise it waits."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The steps of a run, in an order in which none stands before one that it needs."""

    steps: tuple[Step, ...]
    purpose: Annotated[str, Meta(max_length=255)] = ""
    """In words, for whoever meets its locks: `copy image cirros to oslo`."""
    locks: tuple[Want, ...] = ()
    reserves: tuple[Reserve, ...] = ()
    touches: tuple[str, ...] = ()
    """What is suspect until it is looked at, where the run is killed or ends dirty: `server/ID`."""
    width: Annotated[int, Meta(ge=1, le=16)] = 4
    """Steps at a time."""

    @property
    def holds(self) -> bool:
        """Whether others may have to wait for it, or it for them."""
        return bool(self.locks or self.reserves or self.touches)


class Graph:
    """Which step needs which, by their places in the plan."""

    def __init__(self, plan: Plan) -> None:
        places = {step.name: place for place, step in enumerate(plan.steps)}
        self.needs = tuple(tuple(places[name] for name in sorted(needed(step))) for step in plan.steps)
        needed_by: list[list[int]] = [[] for _ in plan.steps]
        for place, before in enumerate(self.needs):
            for one in before:
                needed_by[one].append(place)
        self.needed_by = tuple(map(tuple, needed_by))


def needed(step: Step) -> set[str]:
    """The names of the steps that have to be done before."""
    return {*step.after, *(path.partition(".")[0] for path in references(step.input))}


def references(value: object) -> Iterator[str]:
    """Every reference in an input."""
    if isinstance(value, _LEAF):
        return
    if isinstance(value, Mapping):
        if FROM in value:
            yield str(value[FROM])
            return
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from references(one)


def resolved(value: object, results: Mapping[str, Any]) -> Any:
    """An input with what the steps before gave in the place of references. Raises `BadRequest`."""
    if isinstance(value, Mapping):
        if FROM in value:
            return _looked_up(str(value[FROM]), results)
        return {key: resolved(one, results) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(one, results) for one in value]
    return value


def _looked_up(path: str, results: Mapping[str, Any]) -> Any:
    name, *parts = path.split(".")
    value = results.get(name)
    for part in parts:
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, Sequence) and not isinstance(value, str) and _is_place(part, value):
            value = value[int(part)]
        else:
            raise BadRequest(f"The step {name} gave nothing under {'.'.join(parts)}.")
    return value


def _is_place(part: str, value: Sequence[Any]) -> bool:
    return part.isdecimal() and len(part) < 7 and int(part) < len(value)


def check(plan: Plan, actions: Iterable[str]) -> None:
    """Raise `BadRequest` for a plan that cannot be run, with all that is wrong with it."""
    wrong = [*_wrong(plan, frozenset(actions))]
    if wrong:
        raise BadRequest(f"This cannot be run: {'; '.join(wrong)}.")


def _wrong(plan: Plan, actions: frozenset[str]) -> Iterator[str]:
    names = [step.name for step in plan.steps]
    if not names:
        yield "there is no step"
    if len(names) > STEPS:
        yield f"there are {len(names)} steps, and {STEPS} is the most"
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield f"several steps are called {', '.join(twice)}"
        return
    for step in plan.steps:
        if step.action not in actions:
            yield f"the step {step.name} has the action {step.action}, which is not known here"
        if strange := sorted(needed(step) - set(names)):
            yield f"the step {step.name} needs {', '.join(strange)}, which no step is called"
    if circle := _circle({step.name: needed(step) & set(names) for step in plan.steps}):
        yield f"steps need each other in a circle: {' needs '.join(circle)}"
    try:
        if (size := len(msgspec.json.encode(plan))) > PLAN_BYTES:
            yield f"it has {size:,} bytes, and {PLAN_BYTES:,} is the most"
    except (TypeError, ValueError, OverflowError) as error:
        yield f"it cannot be written as JSON ({error})"


def _circle(needs: Mapping[str, set[str]]) -> list[str]:
    """The steps of a circle, the first one again at the end; nothing where there is none."""
    left = dict(needs)
    while free := [name for name, before in left.items() if not before & left.keys()]:
        for name in free:
            del left[name]
    if not left:
        return []
    way = [min(left)]
    while (following := min(needs[way[-1]] & left.keys())) not in way:
        way.append(following)
    return [*way[way.index(following) :], following]


def ordered(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, each after those that it needs, else in the order given. They have no circle."""
    left = {step.name: step for step in steps}
    given: list[Step] = []
    while left:
        for name, step in list(left.items()):
            if not needed(step) & left.keys():
                given.append(left.pop(name))
                break
        else:
            return tuple(steps)
    return tuple(given)


def action_name(text: str) -> tuple[str, int]:
    """(name, version) of an action. Raises ValueError."""
    if not _ACTION.match(text):
        raise ValueError(f"{text} is not NAME@VERSION")
    name, _, version = text.partition("@")
    return name, int(version)
