"""How often things of sites are looked at, and of whose images all were compared.

Looking is done on behalf of callers, with what they ask for; a look counts for a while.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import structlog

from atoll.gateway.call import Call

log = structlog.get_logger()

FRESH_SECONDS: Final = 30.0
"""How long a change at a site (a flavor made anew, an image deleted) may go unseen while it is used."""

LOOKED_A_SECOND: Final = 100
"""Things looked at in a second, at most, in the long run: many are looked at less often."""

AGAIN_SECONDS: Final = 5.0
"""A site that did not answer is looked at again after this long."""

WHOLE_SECONDS: Final = 60.0
"""How long it may take, beside answers, to read all images that somebody is shown."""

PROJECTS: Final = 500
"""Projects of which it is kept when all that they are shown was compared."""


def fresh_for(count: int) -> float:
    """How long (seconds) a look at so many things counts."""
    return max(FRESH_SECONDS, count / LOOKED_A_SECOND)


@dataclass(slots=True)
class _Look:
    """When all that a project is shown was compared, in loop time, and at which sites how much it was."""

    at: float
    sites: frozenset[str]
    count: int


class ImageLooks:
    """What was compared for whom."""

    def __init__(self, most: int = PROJECTS) -> None:
        self._most = most
        self._known: dict[tuple[str, bool], _Look] = {}
        self._under_way: dict[tuple[str, bool], asyncio.Task[None]] = {}

    def known(self, call: Call) -> bool:
        """Whether all that a caller is shown was compared."""
        return _key(call) in self._known

    def learn(self, call: Call, now: float, sites: Collection[str], count: int) -> None:
        """Everything of these sites was compared, so many images."""
        key = _key(call)
        self._known.pop(key, None)  # what is seen last goes last
        self._known[key] = _Look(now, frozenset(sites), count)
        for oldest in list(islice(self._known, max(0, len(self._known) - self._most))):
            del self._known[oldest]

    def due(self, call: Call, now: float, sites: Collection[str]) -> bool:
        """Whether it is time to compare anew: the last time is long ago, or one of `sites` was away."""
        look = self._known.get(_key(call))
        if look is None:
            return True
        return now - look.at > fresh_for(look.count if look.sites.issuperset(sites) else 0)

    def begin(self, call: Call, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Compare in the background, unless that is under way."""
        key = _key(call)
        if key not in self._under_way:
            task = self._under_way[key] = asyncio.get_running_loop().create_task(look())
            task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: tuple[str, bool], task: "asyncio.Task[None]") -> None:
        self._under_way.pop(key, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("images_not_compared", reason=str(error)[:256])

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _key(call: Call) -> tuple[str, bool]:
    """Whose images: an administrator is shown everybody's."""
    return call.caller.project_id, call.caller.is_admin
