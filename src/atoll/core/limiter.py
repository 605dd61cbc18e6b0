"""How often somebody may do something: a token bucket each, so that one loop cannot take all there is."""

from collections import OrderedDict

from atoll.core.errors import TooManyRequests

# Buckets kept at once; a full one says nothing and may be dropped.
KEPT = 10_000


class Limiter:
    """Token buckets by key. `rate` is per second, `burst` a bucket's size, `message` for who is refused."""

    def __init__(self, rate: float, burst: float, message: str) -> None:
        self._rate = rate
        self._burst = burst
        self._message = message
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float, cost: float = 1.0) -> None:
        """Take from a bucket; `now` is in seconds. Raises TooManyRequests with the seconds to wait."""
        level, since = self._buckets.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        if level < cost:
            self._buckets[key] = (level, now)
            wait = (cost - level) / self._rate
            raise TooManyRequests(self._message, retry_after=max(1.0, wait))
        self._buckets[key] = (level - cost, now)
        if len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)

    def give_back(self, key: str, cost: float = 1.0) -> None:
        """Take it back: what was taken is not to count."""
        if key in self._buckets:
            level, since = self._buckets[key]
            self._buckets[key] = (min(self._burst, level + cost), since)
