"""A member in a process of its own, to be killed: `python -m tests.stores.one_member URL GROUP WORKER`."""

import asyncio
import signal
import sys
from collections.abc import Sequence

from atoll.store.run_records import WorkerRow
from atoll.worker.group import Group


async def nobody() -> tuple[Sequence[WorkerRow], float]:
    """The workers of a database that has none."""
    return [], 0.0


async def main(url: str, group: str, worker: str) -> None:
    """Be a member until SIGTERM."""
    task = asyncio.ensure_future(Group(group, lambda: url).run(lambda: worker, nobody))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.wait({task})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
