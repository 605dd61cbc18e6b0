"""A worker that starts servers on schedule: `python -m bench.arrivals_worker URL MULTIPLE SECONDS [SITE]`.

Each start is a run of its own: it locks the server, reserves a slot of its host, and has five steps, one
after the other, as an image, a disk, a port, the server and its start would be. Without a site a step does
nothing; with one it is a request to it. Prints what it did as JSON: `arrivals.Found`.
"""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
import uvloop

from atoll.core.errors import Conflict
from atoll.sites.pool import Origin, Watch
from atoll.worker.actions import Action, Doing
from atoll.worker.worker import Settings
from atoll.workflow.locks import Want
from atoll.workflow.outcomes import Absent, Done, Unknown
from atoll.workflow.plan import Plan, Reserve, Step
from bench.arrivals import HOSTS, SEED, SLOTS, Found, begin_of_window, schedule
from bench.durable import NOTHING, Durable, durable, new_run

KINDS = ("image", "disk", "port", "server", "start")
SITE_SECONDS = 30.0
ANSWER_BYTES = 1 << 16
SETTLE_SECONDS = 1.0


@asynccontextmanager
async def actions_at(site: str) -> AsyncIterator[list[Action]]:
    """What steps do: nothing, or a request to a site."""
    if not site:
        yield [NOTHING]
        return
    watch = Watch()
    origin = Origin(site, site="bench", watch=watch)

    async def ask(method: str, path: str, said: object = None) -> tuple[int, Any]:
        body = b"" if said is None else json.dumps(said).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        deadline = asyncio.get_running_loop().time() + SITE_SECONDS
        response = await origin.exchange(method.encode(), head + body, deadline=deadline)
        return response.status, json.loads(await response.body.read_all(ANSWER_BYTES))

    async def do(doing: Doing) -> Any:
        doing.check()
        status, made = await ask("POST", f"/{doing.input['kind']}", {**doing.input, "mark": doing.mark})
        if status != 202:
            raise Unknown(f"the site said {status}")
        return made

    async def verify(doing: Doing) -> Done | Absent:
        status, made = await ask("GET", f"/{doing.mark}")
        return Done(made) if status == 200 else Absent()

    try:
        yield [Action(name="bench.make@1", do=do, verify=verify)]
    finally:
        watch.close()


def _plan(action: str, host: int) -> Plan:
    """What a start is to do."""
    steps = tuple(
        Step(
            name=kind,
            action=action,
            site="bench",
            input={"kind": kind, "host": host},
            after=KINDS[place - 1 : place] if place else (),
        )
        for place, kind in enumerate(KINDS)
    )
    return Plan(
        steps=steps,
        purpose="start a server",
        locks=(Want(f"server/{uuid.uuid4()}"),),
        reserves=(Reserve(name=f"host/{host}", amount=1.0, limit=float(SLOTS)),),
        touches=(),
    )


class _Starts:
    """The starts of a schedule, and what came of them."""

    def __init__(self, ours: Durable, action: str) -> None:
        self._ours, self._action = ours, action
        self._by_chance = Random(SEED)  # noqa: S311 - the same each time
        self.accepted: list[float] = []
        self.done: list[float] = []
        self.refused = self.waited = 0

    async def one(self, due: float) -> None:
        run = new_run(_plan(self._action, self._by_chance.randrange(HOSTS)))
        end = self._ours.runs.end_of(run.id)
        try:
            accepted = await self._ours.worker.accept(run)
        except Conflict:
            self.refused += 1
            return
        self.accepted.append((time.perf_counter() - due) * 1e3)
        self.waited += bool(accepted.waits)
        state = await end
        if state != "done":
            raise RuntimeError(f"a run ended as {state}")
        self.done.append((time.perf_counter() - due) * 1e3)

    async def all(self, times: list[float]) -> None:
        """Start each when it is due, however the others are."""
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for one in times:
                due = begin + one
                if (left := due - time.perf_counter()) > 0:
                    await asyncio.sleep(left)
                group.create_task(self.one(due))


async def main(url: str, multiple: float, seconds: float, site: str) -> Found:
    """Start servers for some seconds of the hour's peak."""
    times = schedule(multiple, begin_of_window(seconds), seconds)
    async with actions_at(site) as actions, durable(url, actions, Settings()) as ours:
        warm = _Starts(ours, actions[0].name)
        await warm.all([0.01 * number for number in range(20)])
        await asyncio.sleep(SETTLE_SECONDS)
        starts = _Starts(ours, actions[0].name)
        cpu, begin = time.process_time(), time.perf_counter()
        await starts.all(times)
        found = Found(
            accepted=starts.accepted,
            done=starts.done,
            cpu_seconds=time.process_time() - cpu,
            seconds=time.perf_counter() - begin,
            refused=starts.refused,
            waited=starts.waited,
        )
        await asyncio.sleep(SETTLE_SECONDS)
    if found.refused or len(found.done) != len(times):
        raise RuntimeError(f"{found.refused} refused, {len(found.done)} of {len(times)} done")
    return found


if __name__ == "__main__":
    given = [*sys.argv[4:], ""][0]
    told = uvloop.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), given))
    print(msgspec.json.encode(told).decode())
