"""The group that workers are members of at a coordinator: etcd, Redis or ZooKeeper, by tooz.

It is for show. Who works on a run is the database's alone to say: nothing here frees a run, or keeps one. So
a coordinator that is away stops nothing, and one that errs harms nothing.

tooz blocks, and some of it for as long as a coordinator says nothing: it has a thread of its own, and what
that saw is taken for true for a while only.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import re
import socket
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec
import structlog

from atoll.store.database import StoreError
from atoll.store.run_records import WorkerRow

_log = structlog.get_logger(__name__)

SESSION_SECONDS: Final = 5
"""How long a member that shows no life stays one, where the URL does not say (`timeout=`)."""

BEAT_SECONDS: Final = 1.0
"""How often life is shown and the members are read."""

FRESH_SECONDS: Final = 15.0
"""How long what was read is held for true: longer than a try to read takes that fails."""

BACKOFF_SECONDS: Final = (1.0, 10.0)
"""The wait after a coordinator was first found to be away, and the longest."""

COMPARE_SECONDS: Final = 10.0
"""How often the members are compared with the database's workers; twice the same is a finding."""

PARTING_SECONDS: Final = 2.0
"""How long leaving may take at the end."""

_LOGIN: Final = re.compile(r"(?<=//)[^/\s]*@")


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as the coordinator has it. `about`: its machine and process."""

    id: str
    about: str


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the group. `members` is None where the coordinator does not answer; `reason`: why."""

    members: tuple[Member, ...] | None = None
    reason: str = ""


class Coordinator(Protocol):
    """What is used of a coordinator. All block, and raise whatever they do."""

    def join(self) -> None:
        """Become a member."""

    def members(self) -> Collection[str]:
        """Show life, and give the members' names."""

    def leave(self) -> None:
        """Cease to be a member."""

    def close(self) -> None:
        """End the session, and with it what was not left."""


Connect = Callable[[str, str, str], Coordinator]
"""Of a URL, the name of a group and that of a member."""


Workers = Callable[[], Awaitable[tuple[Sequence[WorkerRow], float]]]
"""Gives the workers of the database, and its time."""


class Tooz:
    """A coordinator of tooz."""

    def __init__(self, url: str, group: str, member: str) -> None:
        warnings.filterwarnings("ignore", message=r"\s*eventlet")  # loaded by what tooz loads, and not used
        for name in ("tooz", "kazoo", "etcd3gw", "redis", "urllib3"):
            logging.getLogger(name).setLevel(
                logging.CRITICAL
            )  # the rest is in what they raise, which is logged
        self._tooz = importlib.import_module("tooz.coordination")
        self._group, self._member = group.encode(), member
        options = parse_qs(urlsplit(url).query)
        self._seconds = float(options.get("timeout", [SESSION_SECONDS])[-1])
        given = {} if "timeout" in options else {"timeout": SESSION_SECONDS}
        self._coordinator: Any = self._tooz.get_coordinator(url, member.encode(), **given)
        self._coordinator.start()

    def join(self) -> None:
        """Become a member of the group, which is made where there is none."""
        with contextlib.suppress(self._tooz.GroupAlreadyExist):
            self._coordinator.create_group(self._group).get(timeout=self._seconds)
        # One that is there already is of a session before: when that ends, this is missed and joins anew.
        with contextlib.suppress(self._tooz.MemberAlreadyExist):
            self._coordinator.join_group(self._group).get(timeout=self._seconds)

    def members(self) -> Collection[str]:
        """Show life, and give the members' names."""
        found = self._coordinator.get_members(self._group).get(timeout=self._seconds)
        self._coordinator.heartbeat()
        return [one.decode() for one in found]

    def leave(self) -> None:
        """Cease to be a member."""
        self._coordinator.leave_group(self._group).get(timeout=self._seconds)

    def close(self) -> None:
        """End the session. Takes a second, and with ZooKeeper until that is back."""
        self._coordinator.stop()


class Apart(NamedTuple):
    """Where the coordinator and the database do not agree."""

    not_in_group: tuple[str, ...] = ()
    """Workers that the database holds for alive."""
    not_in_database: tuple[Member, ...] = ()
    """Members that are no worker of the database's, or one that it holds for dead."""


class Group:
    """The workers of all processes at a coordinator, of which this process's is one.

    `read_url` gives the coordinator's URL whenever it is connected to; it is called in the thread.
    """

    def __init__(self, name: str, read_url: Callable[[], str], connect: Connect = Tooz) -> None:
        self._name = name
        self._read_url = read_url
        self._connect = connect
        self._about = f"{socket.gethostname()} pid {os.getpid()}"
        self._stop, self._left = threading.Event(), threading.Event()
        self._seen = Seen(reason="it was not reached yet")
        self._at = time.monotonic()
        self._failures = 0

    def seen(self) -> Seen:
        """What is known of the group by now."""
        seen, age = self._seen, time.monotonic() - self._at
        return seen if age < FRESH_SECONDS else Seen(reason=f"it has said nothing for {age:.0f} s")

    async def run(self, worker: Callable[[], str], workers: Workers) -> None:
        """Be a member for as long as this runs; log where `workers`, of the database, are others.

        `worker` gives the id of this process's worker: a new one after a lost lease.
        """
        thread = threading.Thread(target=self._attend, args=(worker,), name="atoll-group", daemon=True)
        thread.start()
        try:
            await self._compare(workers)
        finally:
            self._stop.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PARTING_SECONDS):
                    while thread.is_alive() and not self._left.is_set():  # noqa: ASYNC110 - of a thread
                        await asyncio.sleep(0.02)

    async def _compare(self, workers: Workers) -> None:
        before = told = Apart()
        while True:
            await asyncio.sleep(COMPARE_SECONDS)
            seen = self.seen()
            if seen.members is None:
                continue
            try:
                now = apart(seen, *await workers())
            except StoreError:
                continue  # which others say
            if now == before != told:
                told = now
                log = _log.warning if any(now) else _log.info
                members = [f"{one.id} {one.about}" for one in now.not_in_database]
                log("group_compared", not_in_group=list(now.not_in_group), not_in_database=members)
            before = now

    def _attend(self, worker: Callable[[], str]) -> None:
        """Be a member until told to stop, whatever happens to the coordinator."""
        first, longest = BACKOFF_SECONDS
        while not self._stop.is_set():
            try:
                self._be_member(worker)
            except Exception as error:  # noqa: BLE001 - each driver of tooz has its own
                self._lost(error)
            if self._failures:
                self._stop.wait(min(longest, first * 2.0 ** min(self._failures - 1, 10)))

    def _be_member(self, worker: Callable[[], str]) -> None:
        """Be one for as long as the worker is the same. Raises what tooz does."""
        now = worker()
        mine = _name_of(now, self._about)
        coordinator = self._connect(self._read_url(), self._name, mine)
        try:
            coordinator.join()
            while not self._stop.is_set() and worker() == now:
                self._show_life(coordinator, mine)
                self._stop.wait(BEAT_SECONDS)
        except Exception as error:  # noqa: BLE001 - as above
            self._lost(error)  # before leaving, which may take until the coordinator is back
        finally:
            self._leave(coordinator)

    def _leave(self, coordinator: Coordinator) -> None:
        for end in (coordinator.leave, coordinator.close):
            with contextlib.suppress(Exception):  # a session ends by itself
                end()
            if self._stop.is_set():
                self._left.set()

    def _show_life(self, coordinator: Coordinator, mine: str) -> None:
        names = coordinator.members()
        if mine not in names:
            raise LookupError("the session of this worker was ended")
        before, now = self._seen.members, tuple(map(_member, sorted(names)))
        self._at, self._seen = time.monotonic(), Seen(members=now)
        if before is not None and before != now:
            joined = [f"{one.id} {one.about}" for one in now if one not in before]
            left = [f"{one.id} {one.about}" for one in before if one not in now]
            _log.info("group_changed", joined=joined, left=left)
        if self._failures:
            _log.info("group_joined_again", failures=self._failures)
            self._failures = 0

    def _lost(self, error: Exception) -> None:
        reason = _LOGIN.sub("", f"{type(error).__name__}: {error}")[:256]
        self._at, self._seen = time.monotonic(), Seen(reason=reason)
        if not self._failures:
            _log.warning("group_lost", reason=reason)
        self._failures += 1


def apart(seen: Seen, workers: Iterable[WorkerRow], now: float) -> Apart:
    """Where the group and the database's workers differ, by the database's time; nowhere while unseen."""
    if seen.members is None:
        return Apart()
    alive = [one.id for one in workers if one.lease_until >= now]
    members = {one.id for one in seen.members}
    return Apart(
        tuple(one for one in alive if one not in members),
        tuple(one for one in seen.members if one.id not in alive),
    )


def _name_of(worker: str, about: str) -> str:
    """A member's name, which tells who it is where the database does not know it."""
    return f"{worker}@{about.replace('/', '-').replace(' ', '_')}"


def _member(name: str) -> Member:
    worker, _, about = name.partition("@")
    return Member(id=worker, about=about.replace("_", " "))
