"""Sites that hold things, steps that make and unmake them, and workers that die."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.virtual import Mortal, VirtualStore

from atoll.store.run_records import NewRun
from atoll.store.runs import Runs
from atoll.worker.actions import NO_SECRETS, Action, Doing, Secrets
from atoll.worker.worker import Settings, Worker
from atoll.workflow.locks import Mode, Want
from atoll.workflow.machine import fresh
from atoll.workflow.outcomes import Absent, Done, Refused, SiteAway, Unavailable, Unknown
from atoll.workflow.plan import Plan, Reserve, Step

LATENCY: Final = 0.05


class Place:
    """All sites: what was made there, by mark, and how often anything was made or gone."""

    def __init__(self, seed: int = 0) -> None:
        self.things: dict[str, int] = {}
        self.made: dict[str, int] = {}
        self.uses: dict[str, set[str]] = {}
        self.random = random.Random(seed)  # noqa: S311 - repeatable
        self.faults = 0.0
        """The share of calls that something happens to."""
        self.away: set[str] = set()
        self.refused: set[str] = set()
        self.stuck: set[str] = set()
        """What can be made and never unmade."""

    async def call(self, worker: Mortal, doing: Doing, change: Callable[[], Any]) -> Any:
        """A call to a site: the way there, what it does there, and the way back."""
        await worker.living()
        doing.check()
        if doing.site in self.away:
            await asyncio.sleep(LATENCY)
            raise SiteAway(doing.site, "it does not answer")
        fault = self.random.random() < self.faults and self.random.choice(["before", "after", "slow"])
        if fault == "before":
            await asyncio.sleep(LATENCY)
            raise Unavailable("503")
        landed = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(
            LATENCY / 2, self._land, landed, change
        )  # whoever dies meanwhile
        given = await landed
        await asyncio.sleep(20.0 if fault == "slow" else LATENCY / 2)
        await worker.living()
        if fault == "after":
            raise Unknown("the answer was lost")
        return given

    @staticmethod
    def _land(landed: "asyncio.Future[Any]", change: Callable[[], Any]) -> None:
        try:
            given = change()
        except Exception as error:  # noqa: BLE001 - the site's answer
            if not landed.cancelled():
                landed.set_exception(error)
        else:
            if not landed.cancelled():
                landed.set_result(given)

    def make(self, doing: Doing) -> dict[str, Any]:
        """Make something that bears a mark; made twice it is there twice, as a server would be."""
        mark = doing.mark
        self.things[mark] = self.things.get(mark, 0) + 1
        self.made[mark] = self.made.get(mark, 0) + 1
        self.uses[mark] = set(doing.input.get("of", []))
        return {"id": mark}

    def unmake(self, mark: str) -> None:
        """Have everything gone that bears a mark; what others need stays."""
        users = [one for one, used in self.uses.items() if mark in used and one in self.things]
        if users and mark in self.things:
            raise Refused(f"409: {users} need it")
        self.things.pop(mark, None)

    def actions(self, worker: Mortal) -> Mapping[str, Action]:
        """What steps can do here, by one worker."""

        async def make(doing: Doing) -> Any:
            if doing.input.get("name") in self.refused:
                await asyncio.sleep(LATENCY)
                raise Refused("403: it may not be")
            return await self.call(worker, doing, lambda: self.make(doing))

        async def unmake(doing: Doing) -> None:
            if doing.input.get("name") in self.stuck:
                raise Unavailable("409: it is in use")
            await self.call(worker, doing, lambda: self.unmake(doing.mark))

        async def look(doing: Doing) -> Done | Absent:
            found = await self.call(worker, doing, lambda: self.things.get(doing.mark, 0))
            return Done({"id": doing.mark}) if found else Absent()

        return {"test.make@1": Action(name="test.make@1", do=make, undo=unmake, verify=look)}


def chain(length: int, **changes: Any) -> Plan:
    """Steps one after the other, each with what the one before gave, under a lock and a reserve."""
    steps = [
        Step(
            name=f"s{place}",
            action="test.make@1",
            site="oslo" if place % 2 else "paris",
            input={"name": f"s{place}", **({"of": [{"$from": f"s{place - 1}.id"}]} if place else {})},
            seconds=10.0,
        )
        for place in range(length)
    ]
    return Plan(
        steps=tuple(steps), locks=HOLDS, reserves=(Reserve(name="room", amount=1, limit=1),), **changes
    )


def fan(width: int) -> Plan:
    """One step, several that need it, and one that needs them all."""
    first = Step(name="first", action="test.make@1", site="paris", input={"name": "first"}, seconds=10.0)
    middle = [_needing(f"m{place}", "first") for place in range(width)]
    last = _needing("last", *(step.name for step in middle))
    return Plan(steps=(first, *middle, last), locks=HOLDS, width=3)


def _needing(name: str, *others: str) -> Step:
    needs = [{"$from": f"{other}.id"} for other in others]
    return Step(name=name, action="test.make@1", input={"name": name, "of": needs}, seconds=10.0)


HOLDS: Final = (Want("project/p/server/x", Mode.W),)


def new_run(plan: Plan, ident: str = "run-1", **fields: Any) -> NewRun:
    """A run of a plan."""
    return NewRun(
        id=ident, definition="test@1", project_id="p", user_id="u", plan=plan, journal=fresh(plan), **fields
    )


class World:
    """A store, sites, and workers that come and go."""

    def __init__(self, seed: int = 0) -> None:
        self.store = VirtualStore()
        self.place = Place(seed)
        self.random = random.Random(seed)  # noqa: S311 - repeatable
        self.workers: list[Worker] = []
        self.actions: Callable[[Mortal], Mapping[str, Action]] = self.place.actions
        """What steps can do, by a worker."""
        self.secrets: Secrets = NO_SECRETS
        """What workers that come from now on open sealed values with."""

    async def worker(
        self,
        *,
        dies_at: int = 0,
        freezes_at: int = 0,
        after: bool = False,
        clock: Callable[[], float] | None = None,
        published: bool = False,
    ) -> tuple[Worker, Mortal]:
        """Have one more worker; it dies, or stands still, at a commit of its own."""
        mortal = Mortal(self.store, dies_at=dies_at, freezes_at=freezes_at, after=after)
        worker = Worker(
            Runs(mortal, published=published),
            self.actions(mortal),
            Settings(),
            clock=clock,
            jitter=self.random.random,
            secrets=self.secrets,
        )
        await worker.start()
        self.workers.append(worker)
        return worker, mortal

    def knows(self, ident: str) -> bool:
        """Whether a run was accepted."""
        return ident in {row[0] for row in self.store.rows("SELECT id FROM runs")}

    def state(self, ident: str = "run-1") -> str:
        """Where a run stands."""
        return str(self.store.rows(f"SELECT state FROM runs WHERE id = '{ident}'")[0][0])  # noqa: S608

    async def ended(self, ident: str = "run-1", seconds: float = 3600.0) -> str:
        """Where a run stands once it has ended, or an operator has to look at it."""
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            if self.knows(ident) and self.state(ident) in STILL:
                return self.state(ident)
            await asyncio.sleep(0.1)
        raise AssertionError(f"{ident} is still {self.state(ident)}")

    def held(self) -> int:
        """Locks and reserves that anybody has."""
        counts = "SELECT (SELECT COUNT(*) FROM run_locks) + (SELECT COUNT(*) FROM run_reserves)"
        return int(self.store.rows(counts)[0][0])

    async def close(self) -> None:
        """Have all workers gone, the dead too."""
        for worker in self.workers:
            worker.abandon()


STILL: Final = frozenset({"done", "undone", "dirty", "killed", "parked", "paused"})
