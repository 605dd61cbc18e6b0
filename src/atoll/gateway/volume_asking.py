"""What the steps of a volume's copy ask of a site: things listed, made, waited for and removed.

Cinder answers before it is done, so most of it is waiting: a site that cannot say for a moment how far it is
ends no wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode

from atoll.gateway.asking import SiteAsker
from atoll.worker.actions import Doing
from atoll.workflow.outcomes import Failed, Refused, Unavailable

STORAGE: Final = "block-storage"
IMAGE: Final = "image"

FIRST_SECONDS: Final = 0.25
LAST_SECONDS: Final = 5.0
"""How often it is looked how far a site is: less often the longer it takes."""

PATIENCE: Final = 20
"""Looks in a row that a site may not answer."""

BUSY_SECONDS: Final = 600.0
"""How long a thing may be too busy to be deleted, before that counts as a try."""

Thing = Mapping[str, Any]
Found = TypeVar("Found")


class Kind(NamedTuple):
    """A kind of thing: the service that has it, its path, and the names of one and of many."""

    service: str
    path: str
    one: str
    many: str

    @property
    def cinders(self) -> bool:
        """Whether it is Cinder's, whose bodies name what they hold."""
        return self.service == STORAGE


VOLUMES: Final = Kind(STORAGE, "/v3/{project}/volumes", "volume", "volumes")
SNAPSHOTS: Final = Kind(STORAGE, "/v3/{project}/snapshots", "snapshot", "snapshots")
TYPES: Final = Kind(STORAGE, "/v3/{project}/types", "volume_type", "volume_types")
BACKUPS: Final = Kind(STORAGE, "/v3/{project}/backups", "backup", "backups")
RECORDS: Final = Kind(STORAGE, "/v3/backups", "backup", "backups")
"""Backups as the operator asks for them, whatever project they are of."""
IMAGES: Final = Kind(IMAGE, "/v2/images", "image", "images")

DETAILED: Final = frozenset({VOLUMES, SNAPSHOTS, BACKUPS})
"""Kinds whose lists tell all only when asked for it."""


@contextmanager
def changed() -> Iterator[None]:
    """Something was made by then: what is refused now is not as if nothing had been done. Raises `Failed`."""
    try:
        yield
    except Refused as refused:
        raise Failed(str(refused)) from refused


class VolumeAsking:
    """One try of a step, at its site or another one."""

    def __init__(self, asks: SiteAsker, doing: Doing, site: str = "") -> None:
        self._asks = asks
        self.doing = doing
        self.site = site or doing.site

    async def ask(
        self, service: str, method: str, target: str, body: object = None, *, version: str = ""
    ) -> tuple[int, Any]:
        """As `SiteAsker.ask`, at the site."""
        self.doing.check()
        return await self._asks.ask(self.site, service, method, target, body, version=version)

    # -- what is there -----------------------------------------------------------------------------

    async def show(self, kind: Kind, ident: str) -> Thing | None:
        """A thing; None where it is not there. Raises `Unavailable`."""
        status, answer = await self.ask(kind.service, "GET", f"{kind.path}/{ident}")
        if status == 404:
            return None
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"{self.site} answers {status} for the {kind.one} {ident}")
        shown: Thing = answer[kind.one] if kind.cinders else answer
        return shown

    async def listed(self, kind: Kind, **filters: str) -> list[Thing]:
        """Things of the run's project. Raises `Unavailable`."""
        path = f"{kind.path}/detail" if kind in DETAILED else kind.path
        status, answer = await self.ask(kind.service, "GET", f"{path}?{urlencode(filters)}")
        if status != 200 or not isinstance(answer, Mapping):
            raise Unavailable(f"{self.site} answers {status} for a list of {kind.many}")
        return list(answer[kind.many])

    async def named(self, kind: Kind, name: str) -> list[Thing]:
        """Things of a name."""
        return [one for one in await self.listed(kind, name=name) if one.get("name") == name]

    # -- what is changed -----------------------------------------------------------------------------

    async def created(self, kind: Kind, body: Mapping[str, Any]) -> str:
        """Make a volume, a snapshot or a backup; its id. Raises `Refused`."""
        status, answer = await self.ask(kind.service, "POST", kind.path, body)
        if status != 202:
            raise Refused(f"{self.site} makes no {kind.one} ({status}): {said(answer)}")
        return str(answer[kind.one]["id"])

    async def acted(self, volume: str, action: Mapping[str, Any], *good: int) -> None:
        """Change a volume by an action. Raises `Refused`."""
        status, answer = await self.ask(STORAGE, "POST", f"{VOLUMES.path}/{volume}/action", action)
        if status not in good:
            (name,) = action
            raise Refused(f"{self.site} answers {status} to {name}: {said(answer)}")

    async def removed(self, kind: Kind, ident: str) -> None:
        """Delete a thing, once it can be, and wait until it is gone. Raises `Refused`, `Unavailable`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + BUSY_SECONDS

        async def taken() -> str | None:
            status, answer = await self.ask(kind.service, "DELETE", f"{kind.path}/{ident}")
            if status in {200, 202, 204, 404}:
                return ""
            text = f"{self.site} does not delete the {kind.one} {ident} ({status}): {said(answer)}"
            shown = await self.show(kind, ident)  # 400, 409: something goes on with it
            if shown is not None and shown["status"] == "error_deleting":
                raise Refused(text)
            return text if loop.time() > end else None

        if busy := await self.until(taken):
            raise Unavailable(busy)
        await self.until_gone(kind, ident)

    # -- what takes time -----------------------------------------------------------------------------

    @staticmethod
    async def until(look: Callable[[], Awaitable[Found | None]]) -> Found:
        """Look until that gives something; `Unavailable` is put up with for a while."""
        seconds, left = FIRST_SECONDS, PATIENCE
        while True:
            try:
                found = await look()
            except Unavailable:
                left -= 1
                if not left:
                    raise
            else:
                if found is not None:
                    return found
                left = PATIENCE
            await asyncio.sleep(seconds)
            seconds = min(seconds * 1.5, LAST_SECONDS)

    async def until_available(self, kind: Kind, ident: str) -> Thing:
        """Wait for a volume, a snapshot or a backup. Raises `Failed`, `Stopped`."""

        async def ready() -> Thing | None:
            self.doing.stop()
            shown = await self.show(kind, ident)
            if shown is None:
                raise Failed(f"the {kind.one} {ident} at {self.site} was deleted before it was ready")
            if str(shown["status"]).startswith("error"):
                raise Failed(f"the {kind.one} {ident} at {self.site} came to {shown['status']}")
            return shown if shown["status"] == "available" else None

        return await self.until(ready)

    async def until_gone(self, kind: Kind, ident: str) -> None:
        """Wait until a thing is deleted. Raises `Refused` where the site could not delete it."""

        async def gone() -> bool | None:
            shown = await self.show(kind, ident)
            if shown is not None and str(shown["status"]).startswith("error"):
                raise Refused(f"the {kind.one} {ident} at {self.site} came to {shown['status']}")
            return True if shown is None or shown["status"] == "deleted" else None

        await self.until(gone)


def said(answer: Any) -> str:
    """What a refusal says."""
    fault = next(iter(answer.values()), None) if isinstance(answer, Mapping) else None
    message = fault.get("message") if isinstance(fault, Mapping) else answer
    return str(message or "no reason given")[:300]
