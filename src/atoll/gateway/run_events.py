"""A run as server-sent events, for those who follow it.

    event: log       id: NUMBER   a line of the log; `Last-Event-ID` goes on after it
    event: lost                   lines between are not kept any more
    event: state                  where it stands, whenever that changes; `fulfilled`: what it was started
                                  for is done for good, and what is left only clears up
    event: progress               how far the steps under way are, by name
    event: end                    it has ended: nothing more comes

A stream that ends without `end` is to be asked for again: tokens are looked at once for each.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final

import msgspec

from atoll.gateway.run_shown import entry_views, finished, fulfilled
from atoll.store import StoreError
from atoll.store.run_records import Run
from atoll.store.run_views import RunViews
from atoll.workflow.journal import ENDED, State

STREAM_SECONDS: Final = 300.0
"""How long one answer goes on."""

LOOK_SECONDS: Final = (0.1, 0.5)
"""How often the store is asked, just after something happened and when nothing does."""

QUIET_SECONDS: Final = 15.0
"""How often something is sent, so that proxies between do not take it for dead."""

AGAIN: Final = b"retry: 1000\n\n"
ALIVE: Final = b":\n\n"


class Following:
    """One follower of a run. `after` is the last line of the log that it knows."""

    def __init__(self, views: RunViews, run_id: str, after: int) -> None:
        self._views = views
        self._id = run_id
        self._number = after
        self._read = -1
        self._finished = (0, 0)
        self._fulfilled = False
        self._state: Any = None
        self._progress: Mapping[str, Any] = {}
        self.ended = False

    async def news(self) -> list[bytes]:
        """What happened since, as events. Raises `StoreError`."""
        heard = await self._views.heard(self._id)
        if heard is None:
            self.ended = True
            return [event("end", {"state": "gone", "reason": "it was pruned"})]
        said: list[bytes] = []
        reason = ""
        if heard.number != self._read or heard.state in ENDED:
            run = await self._views.show(self._id)
            if run is not None and run.journal is not None:
                said += self._logged(run)
                heard = msgspec.structs.replace(heard, state=run.state, stop=run.stop, waits=run.waits)
                reason = run.journal.reason
        state = (heard.state, heard.stop, heard.waits, self._finished, self._fulfilled)
        if state != self._state:
            self._state = state
            said.append(event("state", _standing(*state)))
        if heard.progress != self._progress and heard.state not in ENDED:
            self._progress = heard.progress
            said.append(event("progress", heard.progress))
        if heard.state in ENDED:
            self.ended = True
            said.append(event("end", {"state": heard.state.value, "reason": reason}))
        return said

    def _logged(self, run: Run) -> list[bytes]:
        """The lines of the log that are new, and before them that some are lost."""
        if run.plan is None or run.journal is None:
            return []
        journal = run.journal
        self._read, self._finished = run.number, finished(journal)
        self._fulfilled = fulfilled(run.plan, journal)
        new = [one for one in journal.log if one.number > self._number]
        said = []
        if new and new[0].number > self._number + 1 and journal.log[0].number == new[0].number:
            said.append(event("lost", {"from": self._number + 1, "to": new[0].number - 1}))
        names = [step.name for step in run.plan.steps]
        said += [event("log", msgspec.to_builtins(one), one.number) for one in entry_views(new, names)]
        if new:
            self._number = new[-1].number
        return said


async def followed(
    following: Following,
    draining: Callable[[], bool],
    *,
    seconds: float = STREAM_SECONDS,
    quiet: float = QUIET_SECONDS,
) -> AsyncGenerator[bytes, None]:
    """Events until the run has ended, the gateway is to, or some seconds are over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    sent = loop.time()
    wait, longest = LOOK_SECONDS
    yield AGAIN
    while not following.ended and not draining() and loop.time() < end:
        try:
            said = await following.news()
        except StoreError:
            said = []  # it may be back in a moment; the follower has lost nothing
        if said:
            wait, sent = LOOK_SECONDS[0], loop.time()
            yield b"".join(said)
        elif loop.time() - sent > quiet:
            sent = loop.time()
            yield ALIVE
        if not following.ended:
            await asyncio.sleep(wait)
            wait = min(longest, wait * 1.5)


def event(name: str, data: object, number: int | None = None) -> bytes:
    """One event as it goes over the wire; its data is JSON, which has no line ends."""
    ident = b"" if number is None else b"id: %d\n" % number
    return b"event: %b\n%bdata: %b\n\n" % (name.encode(), ident, msgspec.json.encode(data))


def _standing(
    state: State, stop: str | None, waits: str, steps: tuple[int, int], is_fulfilled: bool
) -> dict[str, object]:
    finished_steps, all_steps = steps
    return {
        "state": state.value,
        "stop": stop,
        "waits": waits,
        "steps_finished": finished_steps,
        "steps": all_steps,
        "fulfilled": is_fulfilled,
    }
