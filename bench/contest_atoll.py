"""A contestant: Atoll, six durable steps that do nothing: `python -m bench.contest_atoll URL`."""

import asyncio
import json
import sys
from typing import Any

import uvloop

from atoll.worker.worker import Settings
from bench.contest import STEPS, said, tasks
from bench.durable import NOTHING, durable, new_run, one_after_another


async def main(url: str) -> None:
    """Compete, with the settings of a worker that nobody changed."""
    plan = one_after_another(STEPS, NOTHING.name)
    async with durable(url, [NOTHING], Settings()) as ours:
        await ours.done(new_run(plan))
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            told: dict[str, Any] = json.loads(line)
            said(await tasks(lambda: ours.done(new_run(plan)), told["at_once"], told["seconds"]))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
