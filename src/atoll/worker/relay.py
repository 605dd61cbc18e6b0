"""Telling others what happens to runs: every line of their logs, at least once, those of a run in order.

Nothing of it stands between a run and its end: what is to be told is in the store, and a receiver that is
away is told once it is back. Each receiver is told at its own pace; what all have is marked as sent, so one
that starts anew is told again what it may have.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from atoll.store.database import StoreError
from atoll.store.leases import Leases
from atoll.store.run_outbox import News, RunOutbox, Waiting
from atoll.worker.leading import lead

_log = structlog.get_logger(__name__)

LEASE: Final = "runs/relay"

TOGETHER: Final = 100
"""Lines, and runs, that are told at once."""

PAGE: Final = 500
"""Runs that are looked at in one read, without their logs."""

AHEAD: Final = 10_000
"""Runs of which one receiver may know more than the slowest: what is kept of them is in memory."""

POLL_SECONDS: Final = (0.5, 5.0)
"""How often the store is asked where there is nothing to tell; less often where one look takes long."""

BUSY: Final = 0.05
"""The share of the time that looks in vain may take."""

BACKOFF_SECONDS: Final = (1.0, 60.0)
"""The wait after a first failure, and the longest; doubled from one to the other, and half more by chance."""


class Untold(Exception):
    """A receiver did not take what it was told."""


class Receiver(Protocol):
    """Somebody who is told. `name` is for the log: nothing secret."""

    name: str

    async def tell(self, news: Sequence[News]) -> None:
        """Have lines taken, those of a run in their order. Raises `Untold`; takes a bounded time."""


class Told:
    """How far each receiver has been told of the runs that not all have been told of; bounded."""

    def __init__(self, receivers: int, *, ahead: int = AHEAD) -> None:
        self._ahead = ahead
        self._numbers: list[dict[str, int]] = [{} for _ in range(receivers)]

    def upto(self, receiver: int, run: Waiting) -> int:
        """The last line of a run that a receiver has."""
        return max(run.sent, self._numbers[receiver].get(run.id, 0))

    def wants(self, receiver: int, run: Waiting) -> bool:
        """Whether a receiver is to be told of a run, and is not so far before another that it has to wait."""
        mine = self._numbers[receiver]
        room = len(mine) < self._ahead or run.id in mine
        return room and self.upto(receiver, run) < run.number

    def take(self, receiver: int, run_id: str, number: int) -> None:
        """Take in that a receiver has the lines up to a number."""
        self._numbers[receiver][run_id] = number

    def least(self, run: Waiting) -> int:
        """The last line that all have."""
        return min(self.upto(receiver, run) for receiver in range(len(self._numbers)))

    def drop(self, run_id: str, number: int) -> None:
        """Forget what the store knows by now."""
        for every in self._numbers:
            if every.get(run_id, number + 1) <= number:
                del every[run_id]


class Relay:
    """Tells receivers for as long as it runs, in one process of all. `jitter`: from 0 to 1."""

    def __init__(
        self,
        outbox: RunOutbox,
        leases: Leases,
        receivers: Sequence[Receiver],
        *,
        ahead: int = AHEAD,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._leases = leases
        self._receivers = receivers
        self._ahead = ahead
        self._jitter = jitter

    async def run(self) -> None:
        """Tell, whenever it is this process that does so."""
        await lead(self._leases, LEASE, self._relay)

    async def _relay(self) -> None:
        told = Told(len(self._receivers), ahead=self._ahead)
        async with asyncio.TaskGroup() as group:
            for place, one in enumerate(self._receivers):
                group.create_task(_Course(self._outbox, one, place, told, self._jitter).run())


class _Course:
    """One receiver's way through the runs: round and round, in the order of their ids.

    What it does not take is told alone the next time, and passed over if that fails too: one run that it
    takes offence at holds up no other for longer than a wait.
    """

    def __init__(
        self, outbox: RunOutbox, receiver: Receiver, place: int, told: Told, jitter: Callable[[], float]
    ) -> None:
        self._outbox = outbox
        self._receiver = receiver
        self._place = place
        self._told = told
        self._jitter = jitter
        self._after = ""
        self._alone = 0
        self._failures = 0

    async def run(self) -> None:
        """Tell for ever."""
        loop = asyncio.get_running_loop()
        looked = 0.0
        least, longest = POLL_SECONDS
        while True:
            began = loop.time()
            try:
                found = await self._next()
                if found:
                    await self._tell(found)
                    looked = 0.0
                    continue
            except StoreError as error:
                _log.warning("relay_store_failed", reason=str(error)[:256])
                await asyncio.sleep(self._backoff(1))
                continue
            looked += loop.time() - began
            if self._after == "":  # once round
                await asyncio.sleep(min(longest, max(least, looked / BUSY)))
                looked = 0.0

    async def _next(self) -> list[Waiting]:
        """The next runs of which it has not heard all; none where there are none, or not on this page."""
        page = await self._outbox.waiting(self._after, PAGE)
        for run in page:
            # One that all know of: its mark was not written, or it was written without a new line.
            if (least := self._told.least(run)) >= run.number:
                await self._mark(run, least)
        new = [run for run in page if self._told.wants(self._place, run)]
        found = new[: 1 if self._alone else TOGETHER]
        if not found:
            self._after = page[-1].id if len(page) == PAGE else ""
        return found

    async def _tell(self, runs: Sequence[Waiting]) -> None:
        told = await self._read(runs)
        lines = [news for _, news in told if news.lines]
        try:
            if lines:
                await self._receiver.tell(lines)
        except Untold as error:
            await self._failed(error, [run.id for run, _ in told])
            return
        self._worked()
        self._after = told[-1][0].id if told else runs[-1].id
        for run, news in told:
            self._told.take(self._place, run.id, news.upto)
        for run, news in told:
            least = self._told.least(run)
            if least > run.sent or least >= news.upto:
                await self._mark(run, least)

    async def _read(self, runs: Sequence[Waiting]) -> list[tuple[Waiting, News]]:
        """What is to be told of some runs, of so many as there is room for."""
        told = []
        room = TOGETHER
        for run in runs:
            news = await self._outbox.news(run.id, self._told.upto(self._place, run), room)
            if news is not None:
                told.append((run, news))
                room -= len(news.lines)
            if room <= 0:
                break
        return told

    async def _mark(self, run: Waiting, number: int) -> None:
        await self._outbox.sent(run.id, number)
        self._told.drop(run.id, number)

    async def _failed(self, error: Untold, runs: Sequence[str]) -> None:
        self._failures += 1
        wait = self._backoff(self._failures)
        _log.warning(
            "run_events_not_taken",
            receiver=self._receiver.name,
            reason=str(error)[:256],
            failures=self._failures,
            again_in=round(wait, 1),
        )
        if len(runs) > 1:
            self._alone = len(runs)
        else:
            self._after = runs[0]
            self._alone = max(0, self._alone - 1)
        await asyncio.sleep(wait)

    def _worked(self) -> None:
        if self._failures:
            _log.info("run_events_taken_again", receiver=self._receiver.name, failures=self._failures)
        self._failures = 0
        self._alone = max(0, self._alone - 1)

    def _backoff(self, failures: int) -> float:
        first, longest = BACKOFF_SECONDS
        return min(longest, first * 2.0 ** min(failures - 1, 20)) * (1.0 + 0.5 * self._jitter())
