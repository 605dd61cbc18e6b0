"""What can go wrong at a site, on demand: slow, silent, refusing, failing, lying or dying after the work.

Faults are set from Python (`site.faults.add(Fault("status", status=503))`) or over HTTP: `POST /_faults` with
one fault or a list of them as JSON, `DELETE /_faults` to clear, `GET /_faults` to see what is left.
"""

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

Kind = Literal[
    "latency",  # answer after a delay
    "stall",  # accept, read, never answer
    "refuse",  # stop listening and reset what is open, for `seconds` (None: until cleared)
    "reset",  # RST instead of an answer, nothing done
    "status",  # `status` with the service's own fault body, nothing done
    "cut",  # do the work, break off in the middle of the body
    "not_json",  # do the work, answer HTML with status 200
    "wrong_json",  # do the work, answer JSON of another shape
    "other_id",  # do the work, answer with another resource's id
    "expired_token",  # 401 as for a token that is no longer valid
    "rate_limit",  # 429 with Retry-After
    "stale",  # close a kept connection, unanswered, when its next request arrives
    "idle",  # close kept connections after `seconds` without a request
    "die_after_commit",  # do the work, close unanswered
]


class Fault(msgspec.Struct, kw_only=False, omit_defaults=True, forbid_unknown_fields=True):
    """One fault and what it applies to.

    `service` is a service type's prefix (`compute`, `volume`, `image`, `network`, `identity`), `method` an
    HTTP method, `path` a regular expression searched in the path with query; None means any. `count` is how
    many requests it hits before it is spent (None: all until cleared).

    `latency` draws from `distribution`: `fixed` is `seconds` (None: until all are cleared); `uniform` is
    between `low` and `high`; `normal` has mean `seconds` and standard deviation `deviation`, never below 0.
    All in seconds.
    """

    kind: Kind
    service: str | None = None
    method: str | None = None
    path: str | None = None
    count: int | None = None
    status: int = 500
    retry_after: int = 1
    seconds: float | None = None
    distribution: Literal["fixed", "uniform", "normal"] = "fixed"
    low: float = 0.0
    high: float = 0.0
    deviation: float = 0.0

    def __post_init__(self) -> None:
        if self.path is not None:
            re.compile(self.path)

    def matches(self, service: str, method: str, target: str) -> bool:
        """Whether a request to `service` is hit by this fault."""
        return (
            self.service in (None, service)
            and self.method in (None, method)
            and (self.path is None or re.search(self.path, target) is not None)
        )

    def delay(self, rng: random.Random) -> float:
        """Seconds to wait, drawn from the distribution."""
        if self.distribution == "uniform":
            return rng.uniform(self.low, self.high)
        if self.distribution == "normal":
            return max(0.0, rng.gauss(self.seconds or 0.0, self.deviation))
        return self.seconds or 0.0


class Faults:
    """The faults set at one site. `hits` records (kind, method, target) of every request that met one."""

    def __init__(self, seed: int = 0) -> None:
        self._faults: list[Fault] = []
        self._rng = random.Random(seed)  # noqa: S311 - repeatable delays, no secret
        self.hits: list[tuple[str, str, str]] = []
        self.on_change: Callable[[], None] = lambda: None
        self._cleared = asyncio.Event()

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, *faults: Fault) -> None:
        """Set faults; the first that matches a request wins, except that `latency` adds to any other."""
        self._faults.extend(faults)
        self.on_change()

    def clear(self) -> None:
        """Take all faults away."""
        self._faults.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()
        self.on_change()

    def remove(self, fault: Fault) -> None:
        """Take one fault away, if it is still set."""
        if fault in self._faults:
            self._faults.remove(fault)
            self.on_change()

    def find(self, kind: Kind) -> Fault | None:
        """The first fault of a kind that concerns the whole site (`refuse`, `idle`), or None."""
        return next((fault for fault in self._faults if fault.kind == kind), None)

    def take(self, service: str, method: str, target: str, *, reused: bool) -> list[Fault]:
        """The faults that hit this request, spent by one: latencies, then at most one other.

        `reused` says that the connection has answered before; `stale` only hits those.
        """
        if not self._faults:
            return []
        taken: list[Fault] = []
        for fault in list(self._faults):
            if fault.kind in ("refuse", "idle") or not fault.matches(service, method, target):
                continue
            if (fault.kind == "stale" and not reused) or (fault.kind != "latency" and _decided(taken)):
                continue
            taken.append(fault)
            self.hits.append((fault.kind, method, target))
            if fault.count is not None:
                fault.count -= 1
                if fault.count <= 0:
                    self._faults.remove(fault)
        return taken

    def delay(self, taken: list[Fault]) -> float:
        """The seconds that the latencies among `taken` add up to."""
        return sum(fault.delay(self._rng) for fault in taken if fault.kind == "latency")

    async def hold(self, taken: list[Fault]) -> None:
        """Wait as long as the latencies among `taken` last."""
        if any((one.kind, one.seconds, one.distribution) == ("latency", None, "fixed") for one in taken):
            await self._cleared.wait()
        elif delay := self.delay(taken):
            await asyncio.sleep(delay)


def _decided(taken: list[Fault]) -> bool:
    return any(fault.kind != "latency" for fault in taken)
