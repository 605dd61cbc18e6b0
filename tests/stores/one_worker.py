"""A worker in a process of its own, to be killed: `python -m tests.stores.one_worker URL FOLDER`.

The folder is the site: making something makes a file that bears the mark, a new one each time.
"""

import asyncio
import random
import secrets
import signal
import sys
from pathlib import Path
from typing import Any, Final

from atoll.store.opening import open_database
from atoll.store.runs import Runs
from atoll.worker.actions import Action, Doing
from atoll.worker.worker import Settings, Worker
from atoll.workflow.outcomes import Absent, Done, Refused, Unavailable, Unknown

LEASE: Final = 1.0
_chance: Final = random.Random()  # noqa: S311 - each process has its own faults


def there(folder: Path, mark: str) -> list[Path]:
    """What bears a mark."""
    return list(folder.glob(f"{mark}=*"))


def actions(folder: Path) -> dict[str, Action]:
    """Making, unmaking and looking, by a site that fails now and then."""

    async def make(doing: Doing) -> Any:
        if doing.input.get("refuse"):
            raise Refused("it may not be")
        if _chance.random() < 0.05:
            raise Unavailable("503")
        doing.check()
        (folder / f"{doing.mark}={secrets.token_hex(4)}").touch()  # the request is sent
        await asyncio.sleep(_chance.uniform(0.005, 0.08))
        if _chance.random() < 0.05:
            raise Unknown("the answer was lost")
        return {"mark": doing.mark}

    async def unmake(doing: Doing) -> None:
        if _chance.random() < 0.05:
            raise Unavailable("503")
        doing.check()
        for one in there(folder, doing.mark):
            one.unlink(missing_ok=True)
        await asyncio.sleep(_chance.uniform(0.005, 0.04))

    async def look(doing: Doing) -> Done | Absent:
        doing.check()
        found = there(folder, doing.mark)
        await asyncio.sleep(_chance.uniform(0.005, 0.02))
        return Done({"mark": doing.mark}) if found else Absent()

    return {"site.make@1": Action(name="site.make@1", do=make, undo=unmake, verify=look)}


async def main(url: str, folder: Path) -> None:
    """Work until SIGTERM."""
    database = await open_database(url)
    worker = Worker(Runs(database), actions(folder), Settings(lease=LEASE, poll=0.1, runs=16))
    await worker.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("working", flush=True)  # noqa: T201 - whoever started it waits for this
    await stop.wait()
    await worker.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
