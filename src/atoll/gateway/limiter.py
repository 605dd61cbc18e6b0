"""How many fan-outs a project may cause: a token bucket each, so that one loop cannot flood every site."""

from collections import OrderedDict

from atoll.core.errors import TooManyRequests

# Buckets kept at once; a full one says nothing and may be dropped.
PROJECTS = 10_000


class Limiter:
    """Token buckets by project. `rate` is per second, `burst` a bucket's size; times are loop seconds."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, project: str, now: float, cost: float = 1.0) -> None:
        """Take from the project's bucket. Raises TooManyRequests with the seconds to wait."""
        level, since = self._buckets.pop(project, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        if level < cost:
            self._buckets[project] = (level, now)
            wait = (cost - level) / self._rate
            raise TooManyRequests("This project asks all sites too often.", retry_after=max(1.0, wait))
        self._buckets[project] = (level - cost, now)
        if len(self._buckets) > PROJECTS:
            self._buckets.popitem(last=False)
