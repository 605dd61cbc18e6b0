"""A plan, sealed, run by a worker that dies, with another one there."""

import asyncio
from collections.abc import Callable, Mapping

from msgspec.structs import replace
from tests.unit.worker.world import World, new_run
from tests.virtual import Mortal

from atoll.trust.run_secrets import RunSecrets
from atoll.worker.actions import Action
from atoll.workflow.plan import Plan

SECRETS = RunSecrets([], "sqlite:///:memory:")
USER_DATA = "password: of-the-crash-tests"
"""What plans of servers have in clear before they are sealed; no row of a run may have it."""

By = Callable[[Mortal], Mapping[str, Action]]


async def told(by: By, plan: Plan, *, dies_at: int = 0, after: bool = False) -> tuple[str, int]:
    """(the end of a run, the commits of the first worker): that one dies at one of them, or after it."""
    world = World()
    world.actions, world.secrets = by, SECRETS
    plan = replace(plan, steps=tuple(replace(one, input=SECRETS.sealed(one.input)) for one in plan.steps))
    worker, mortal = await world.worker(dies_at=dies_at, after=after)
    accepting = asyncio.create_task(worker.accept(new_run(plan)))
    died = asyncio.create_task(mortal.died.wait())
    await asyncio.wait({accepting, died}, return_when=asyncio.FIRST_COMPLETED)
    second, _ = await world.worker()
    if mortal.dead and not world.knows("run-1"):
        await second.accept(new_run(plan))
    state = await world.ended(seconds=86400.0)
    await asyncio.sleep(100)
    accepting.cancel()
    died.cancel()
    await world.close()
    assert world.held() == 0
    assert USER_DATA not in str(world.store.rows("SELECT plan, journal, acting FROM runs"))
    return state, mortal.commits
