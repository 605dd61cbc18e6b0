"""What stands between an Atoll of the test's own and a service of a real site, and fails when told to.

It passes every request on as it came, and every answer. Must not know what the requests are about: rules say
which of them fare otherwise.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from tests.origin import Exchange, Origin
from tests.scenarios.between import hand_back, passed_on

Ask = Callable[[], Awaitable[httpx.Response]]
Act = Callable[[Exchange, Ask], Awaitable[None]]


async def through(exchange: Exchange, ask: Ask) -> None:
    """As if nothing stood between."""
    await hand_back(exchange, await ask())


async def lost(exchange: Exchange, ask: Ask) -> None:
    """The site has done it, and its answer never arrives."""
    await ask()
    exchange.drop(reset=True)


def refused(status: int, fault: dict[str, Any]) -> Act:
    """The site refuses; the request does not reach it."""

    async def act(exchange: Exchange, ask: Ask) -> None:
        del ask
        await exchange.body()
        await exchange.answer(status, json.dumps(fault).encode())

    return act


@dataclass(slots=True)
class Rule:
    """How requests of a method fare whose path ends so. `times` is how many more; None: all."""

    method: str
    ending: str
    act: Act
    times: int | None

    def takes(self, exchange: Exchange) -> bool:
        """Whether it is about a request."""
        path = exchange.head.target.partition(b"?")[0].decode()
        asked = exchange.head.method.decode() == self.method and path.endswith(self.ending)
        return asked and self.times != 0


class Way:
    """The way to the service at a URL. What has passed is in `origin.seen`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._there = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path
        self._rules: list[Rule] = []
        self.origin = Origin(self._serve)

    async def __aenter__(self) -> Self:
        await self.origin.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.origin.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        """The URL of the service by this way."""
        return f"{self.origin.url}{self._path}"

    def when(self, method: str, ending: str, act: Act, times: int | None = 1) -> None:
        """Let the next requests of a method, to paths that end so, fare otherwise."""
        self._rules.append(Rule(method, ending, act, times))

    def asked(self, method: str, ending: str) -> int:
        """How many such requests came."""
        return sum(
            head.method.decode() == method and head.target.partition(b"?")[0].decode().endswith(ending)
            for head in self.origin.seen
        )

    async def _serve(self, exchange: Exchange) -> None:
        act: Act = through
        for rule in self._rules:
            if rule.takes(exchange):
                act = rule.act
                if rule.times is not None:
                    rule.times -= 1
                break
        # What is sent reaches the site whoever still waits for the answer.
        await act(exchange, lambda: asyncio.shield(asyncio.ensure_future(passed_on(self._there, exchange))))
