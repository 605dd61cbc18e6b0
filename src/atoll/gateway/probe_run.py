"""The definition `probe`: a run that touches nothing, to try pause, cancel, kill and redo with.

Its steps wait, and fail as they are told to.
"""

import asyncio
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from atoll.core.errors import BadRequest
from atoll.gateway.call import Call
from atoll.gateway.definitions import Definition
from atoll.gateway.own_route import In, Who
from atoll.gateway.parts import Parts
from atoll.worker.actions import Action, Doing
from atoll.workflow.locks import Want
from atoll.workflow.outcomes import Absent, Refused, SiteAway, Unavailable
from atoll.workflow.plan import Plan, Step

TICK: Final = 0.1
"""Seconds between two looks whether it is to stop."""

REMEMBERED: Final = 1000
"""Steps whose failures are counted at a time."""

TIMEOUT: Final = 30.0
"""Seconds that a step may take beyond what it waits."""


class ProbeInput(In, frozen=True, kw_only=True):
    """What a probe is to do."""

    steps: Annotated[int, Meta(ge=1, le=100)] = 3
    seconds: Annotated[float, Meta(ge=0, le=600)] = 1.0
    """How long each step waits."""
    sites: Annotated[list[Annotated[str, Meta(max_length=63)]], Meta(max_length=16)] = msgspec.field(
        default_factory=list
    )
    """Where the steps are said to be, in turn; nothing is asked of these sites."""
    together: bool = False
    """The steps are done at once, not one after the other."""
    fail: Literal["", "refuse", "unavailable", "away"] = ""
    """`refuse`: a step fails for good. `unavailable`: it fails and is tried again. `away`: its site is."""
    fail_step: Annotated[int, Meta(ge=1, le=100)] | None = None
    """Which step fails, from 1; default: the last."""
    fail_times: Annotated[int, Meta(ge=1, le=100)] = 1
    """How often, where it is tried again."""
    stuck: bool = False
    """The first step cannot be undone: a run that is undone ends dirty."""
    pivot: bool = False
    """There is no way back once the first step has begun: what fails after it waits for an operator."""
    lock: Annotated[str, Meta(max_length=63, pattern=r"^[A-Za-z0-9._-]*$")] = ""
    """A name that only one probe has at a time; a probe that is killed leaves it suspect."""


class Waiting:
    """The action of a probe's steps."""

    def __init__(self) -> None:
        self._failed: dict[str, int] = {}

    async def do(self, doing: Doing) -> dict[str, float]:
        """Wait, and fail as the input says. Raises `Refused`, `Unavailable`, `SiteAway`, `Stopped`."""
        given = doing.input
        seconds, fail = float(given["seconds"]), given.get("fail", "")
        for tick in range(round(seconds / TICK)):
            doing.check()
            doing.stop()
            doing.progress(tick * TICK, seconds, "s")
            await asyncio.sleep(TICK)
        if fail == "refuse":
            raise Refused("it was told to fail")
        if fail and self._fails_again(doing.mark, int(given["fail_times"])):
            if fail == "away":
                raise SiteAway(doing.site, "it was told that the site is away")
            raise Unavailable("it was told to fail this time")
        return {"waited": seconds}

    def _fails_again(self, mark: str, times: int) -> bool:
        """Count a failure; False after as many as there are to be. Another worker begins anew."""
        before = self._failed.pop(mark, 0)
        if before >= times:
            return False
        self._failed[mark] = before + 1
        if len(self._failed) > REMEMBERED:
            del self._failed[next(iter(self._failed))]
        return True

    async def undo(self, doing: Doing) -> None:
        """Do nothing, or say that it cannot be. Raises `Refused`."""
        if doing.input.get("stuck"):
            raise Refused("it was told that it cannot be undone")

    async def verify(self, doing: Doing) -> Absent:
        """Say that it was not done: it may be done again."""
        del doing
        return Absent()


def actions() -> list[Action]:
    """The actions of probes."""
    waiting = Waiting()
    return [Action(name="probe.wait@1", do=waiting.do, undo=waiting.undo, verify=waiting.verify)]


def planned(given: ProbeInput) -> Plan:
    """The plan of a probe."""
    failing = given.fail_step or given.steps
    steps = []
    for number in range(1, given.steps + 1):
        asked: dict[str, object] = {"seconds": given.seconds}
        if given.fail and number == failing:
            asked |= {"fail": given.fail, "fail_times": given.fail_times}
        if given.stuck and number == 1:
            asked["stuck"] = True
        steps.append(
            Step(
                name=f"wait-{number}",
                action="probe.wait@1",
                site=given.sites[(number - 1) % len(given.sites)] if given.sites else "",
                input=asked,
                after=() if given.together or number == 1 else (f"wait-{number - 1}",),
                seconds=given.seconds + TIMEOUT,
                pivot=given.pivot and number == 1,
            )
        )
    lock = f"probe/{given.lock}"
    return Plan(
        steps=tuple(steps),
        purpose=f"probe: {given.steps} steps of {given.seconds:g} s",
        locks=(Want(lock),) if given.lock else (),
        touches=(lock,) if given.lock else (),
    )


async def _plan(parts: Parts, call: Call, given: ProbeInput) -> Plan:
    del call
    if (given.fail_step or 1) > given.steps:
        raise BadRequest(f"Step {given.fail_step} is to fail, and there are {given.steps}.")
    if given.fail == "away" and not given.sites:
        raise BadRequest("Which site is to be away? Name some in `sites`.")
    for name in given.sites:
        if name not in parts.sites.by_name:
            there = ", ".join(parts.sites.by_name)
            raise BadRequest(f"There is no site {name}: there are {there}.", resource="site", id=name)
    return planned(given)


PROBE: Final = Definition(
    name="probe",
    version=1,
    summary="Wait for a while, and fail as told: to try pause, cancel, kill and redo. It touches nothing.",
    input=ProbeInput,
    plan=_plan,
    example=planned(ProbeInput()),
    who=Who.ADMIN,
)
