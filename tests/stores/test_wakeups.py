"""Workers are told of what there is to do, where the database tells."""

import asyncio
import time

from tests.stores.servers import Server

from atoll.store.opening import open_database
from atoll.store.run_records import NewRun
from atoll.store.runs import Runs
from atoll.worker.actions import Action
from atoll.worker.worker import Settings, Worker
from atoll.workflow.machine import fresh
from atoll.workflow.plan import Plan, Step


async def test_a_worker_of_another_process_is_told_of_a_run(postgresql: Server) -> None:
    url = postgresql.create("wakeups")
    done = asyncio.Event()

    async def do(_: object) -> None:
        done.set()

    ours, theirs = await open_database(url), await open_database(url)
    # It looks by itself once in a minute.
    actions = {"test.do@1": Action(name="test.do@1", do=do)}
    worker = Worker(Runs(theirs), actions, Settings(poll=60.0))
    await worker.start()
    await asyncio.sleep(0.5)
    plan = Plan(steps=(Step(name="s", action="test.do@1"),))
    begun = time.monotonic()
    await Runs(ours).accept(
        NewRun(id="a", definition="test@1", project_id="p", user_id="u", plan=plan, journal=fresh(plan))
    )
    async with asyncio.timeout(10):
        await done.wait()
    assert time.monotonic() - begun < 10
    await worker.close()
    await ours.close()
    await theirs.close()
    postgresql.drop("wakeups")
